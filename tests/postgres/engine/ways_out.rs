//! A statement was cut off, nothing proves what it did, and a person decides: each way out does what it says.

use dunlin::core::{desired::Action, outcome::Reason};

use super::{
    cut::{cut_off, is_asked},
    fixture::Fixture,
    proxy::Moment,
};

/// A file whose second statement nothing proves.
fn file(first: &str, second: &str, third: &str) -> String {
    format!("-- migrate: no-transaction\n{first};\n{second};\n{third};\n")
}

const FIRST: &str = "CREATE TABLE IF NOT EXISTS ahead (a int)";
const SECOND: &str = "DO /* the cut */ $$ BEGIN INSERT INTO log VALUES ('second'); COMMIT; END $$";
const THIRD: &str = "INSERT INTO log VALUES ('third')";

/// A database where the second statement was cut off after it was through.
async fn asked() -> (Fixture, i64) {
    let fixture = Fixture::new().await;
    fixture.run_sql("CREATE TABLE log (a text)").await;
    let file = file(FIRST, SECOND, THIRD);
    let files = [("001_it.sql", file.as_str())];
    cut_off(&fixture, &files, Moment::After).await;
    let ran = fixture.apply(&files).await;
    is_asked(&ran, "a DO block that commits");
    let run = ran.finding().failure.as_ref().expect("the run is named").run;
    (fixture, run)
}

async fn log(fixture: &Fixture) -> String {
    fixture.ask("SELECT string_agg(a, ',') FROM log").await
}

#[tokio::test]
async fn nothing_runs_until_somebody_decides() {
    let (fixture, _) = asked().await;
    let file = file(FIRST, SECOND, THIRD);
    for _ in 0..2 {
        let ran =
            fixture.apply(&[("001_it.sql", file.as_str()), ("002_later.sql", "CREATE TABLE later (a int);")]).await;
        is_asked(&ran, "again");
    }
    assert_eq!(log(&fixture).await, "second");
    assert_eq!(fixture.ask("SELECT to_regclass('later') IS NULL").await, "t");
    assert_eq!(fixture.ask("SELECT string_agg(outcome, ',') FROM dunlin.run").await, "interrupted");
}

#[tokio::test]
async fn retry_runs_all_of_it_from_the_top() {
    let (mut fixture, run) = asked().await;
    fixture.resolve(run, Action::Retry);
    fixture.apply(&[("001_it.sql", &file(FIRST, SECOND, THIRD))]).await.is_up_to_date();
    assert_eq!(log(&fixture).await, "second,second,third");
    let runs = fixture.ask("SELECT string_agg(kind || ' ' || outcome || coalesce(' ' || resolution, ''), ', ' ORDER BY id) FROM dunlin.run").await;
    assert_eq!(runs, "apply interrupted Retry, apply succeeded");
}

#[tokio::test]
async fn resume_runs_it_from_the_statement_that_was_cut_off() {
    let (mut fixture, run) = asked().await;
    // Were it run again, the first statement would fail.
    fixture.run_sql("DROP TABLE ahead; CREATE VIEW ahead AS SELECT 1").await;
    fixture.resolve(run, Action::Resume);
    fixture.apply(&[("001_it.sql", &file(FIRST, SECOND, THIRD))]).await.is_up_to_date();
    assert_eq!(log(&fixture).await, "second,second,third");
    let states =
        "SELECT string_agg(run || ' ' || ordinal || ' ' || state, ', ' ORDER BY run, ordinal) FROM dunlin.statement";
    assert_eq!(fixture.ask(states).await, "1 1 done, 1 2 intent, 2 1 done, 2 2 done, 2 3 done");
}

/// Whoever has seen that the statement did its work takes it out of the file, and lets the rest run.
#[tokio::test]
async fn resume_takes_an_edit_behind_what_is_done() {
    let (mut fixture, run) = asked().await;
    fixture.resolve(run, Action::Resume);
    let edited = file(FIRST, "SELECT 'it is there'", THIRD);
    fixture.apply(&[("001_it.sql", &edited)]).await.is_up_to_date();
    assert_eq!(log(&fixture).await, "second,third");
}

#[tokio::test]
async fn resume_is_refused_over_an_edit_of_what_is_done() {
    let (mut fixture, run) = asked().await;
    fixture.resolve(run, Action::Resume);
    let edited = file("CREATE TABLE IF NOT EXISTS ahead (a bigint)", SECOND, THIRD);
    let ran = fixture.apply(&[("001_it.sql", &edited)]).await;
    assert_eq!(ran.finding().reason, Reason::Interrupted);
    for words in ["edited within the 1 statements that already ran", "asks for Resume, which is not possible"] {
        assert!(ran.finding().message.contains(words), "{}", ran.finding().message);
    }
    assert_eq!(log(&fixture).await, "second");
}

#[tokio::test]
async fn mark_applied_takes_it_for_done() {
    let (mut fixture, run) = asked().await;
    fixture.resolve(run, Action::MarkApplied);
    let file = file(FIRST, SECOND, THIRD);
    fixture
        .apply(&[("001_it.sql", &file), ("002_later.sql", "INSERT INTO log VALUES ('later');")])
        .await
        .is_up_to_date();
    assert_eq!(log(&fixture).await, "second,later");
    assert_eq!(fixture.ask("SELECT state FROM dunlin.migration WHERE version = '001'").await, "applied");
}

#[tokio::test]
async fn mark_rolled_back_makes_it_pending_again() {
    let (mut fixture, run) = asked().await;
    fixture.run_sql("DELETE FROM log").await;
    fixture.resolve(run, Action::MarkRolledBack);
    fixture.apply(&[("001_it.sql", &file(FIRST, SECOND, THIRD))]).await.is_up_to_date();
    assert_eq!(log(&fixture).await, "second,third");
    let runs = fixture.ask("SELECT string_agg(kind || ' ' || outcome || coalesce(' ' || resolution, ''), ', ' ORDER BY id) FROM dunlin.run").await;
    assert_eq!(runs, "apply interrupted MarkRolledBack, apply succeeded");
}
