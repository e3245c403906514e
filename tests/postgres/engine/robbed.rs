//! Another session claims the set in the middle, however a file is sent and whatever is being written: nothing of the file
//! is left, and nothing is written in the old claim's name.

use dunlin::{
    core::{
        desired::{Action, TransactionScope},
        outcome::Reason,
    },
    execute::End,
};

use super::fixture::Fixture;

/// What `robbed()` does: another session takes the set's row, in a transaction of its own.
const ROBBER: &str = "
    CREATE EXTENSION dblink;
    CREATE FUNCTION robbed() RETURNS int LANGUAGE plpgsql AS $$
      BEGIN PERFORM dblink_exec('{connection}', 'SET lock_timeout = 200; UPDATE dunlin.set SET session = ''somebody else'''); RETURN 1; END $$;
";

const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\n");

/// A database whose history is made, in which `robbed()` lets another session claim the set.
async fn prepared() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    fixture.run_sql(&ROBBER.replace("{connection}", &fixture.url)).await;
    fixture
}

#[track_caller]
fn is_lost(end: End, what: &str) {
    let End::Failed(failure) = end else { panic!("{what}: {end:?}") };
    assert_eq!(failure.reason, Reason::Retrying, "{what}: {}", failure.message);
}

/// H30
#[tokio::test]
async fn nothing_of_a_transactional_file_is_left() {
    let many = "INSERT INTO one VALUES (1);\n".repeat(5_001);
    for (what, text) in [
        ("one message", "CREATE TABLE two (a int); SELECT robbed();\n".to_owned()),
        ("its own transaction", "BEGIN; CREATE TABLE two (a int); SELECT robbed(); COMMIT;\n".to_owned()),
        ("piece by piece", format!("CREATE TABLE two (a int);\nSELECT robbed();\n{many}")),
        ("with data", "CREATE TABLE two (a int);\nCOPY two FROM stdin;\n1\n\\.\nSELECT robbed();\n".to_owned()),
        ("a failure", "CREATE TABLE two (a int);\nSELECT robbed();\nSELECT 1/0;\n".to_owned()),
        ("a deferred failure", "CREATE TABLE two (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED); SELECT robbed(); INSERT INTO two VALUES (1), (1);\n".to_owned()),
    ] {
        let fixture = prepared().await;
        is_lost(fixture.execute(&[ONE, ("002_two.sql", &text)]).await.end, what);
        assert_eq!(fixture.ask("SELECT to_regclass('two') IS NULL").await, "t", "{what}");
        assert_eq!(fixture.ask("SELECT count(*) FROM one").await, "0", "{what}");
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.migration WHERE version = '002'").await, "0", "{what}");
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE version = '002'").await, "0", "{what}");
        // Whoever claims next does it once.
        let mended = ("002_two.sql", "CREATE TABLE two (a int);\n");
        fixture.apply(&[ONE, mended]).await.is_up_to_date();
    }
}

#[tokio::test]
async fn nothing_of_a_plan_in_one_transaction_is_left() {
    for robbing in ["SELECT robbed();\n", "COPY one FROM stdin;\n1\n\\.\nSELECT robbed();\n"] {
        let mut fixture = prepared().await;
        fixture.desired.policy.transaction = TransactionScope::Single;
        let files = [ONE, ("002_two.sql", robbing), ("003_three.sql", "CREATE TABLE three (a int);\n")];
        let report = fixture.execute(&files).await;
        assert!(report.applied.len() < 2, "{:?}", report.applied);
        is_lost(report.end, robbing);
        assert_eq!(fixture.ask("SELECT to_regclass('three') IS NULL").await, "t");
        assert_eq!(fixture.ask("SELECT count(*) FROM one").await, "0");
        assert_eq!(fixture.ask("SELECT string_agg(version, ',') FROM dunlin.migration").await, "001");
    }
}

/// From the first of its files on, such a plan holds the set's row: a claim has to wait for its end.
#[tokio::test]
async fn a_plan_in_one_transaction_keeps_its_claim_from_its_first_file_on() {
    let mut fixture = prepared().await;
    fixture.desired.policy.transaction = TransactionScope::Single;
    let attempt = "DO $$ BEGIN PERFORM robbed(); EXCEPTION WHEN lock_not_available THEN NULL; END $$;\n";
    let files = [ONE, ("002_two.sql", "CREATE TABLE two (a int);\n"), ("003_three.sql", attempt)];
    fixture.apply(&files).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT session <> 'somebody else' FROM dunlin.set").await, "t");
}

/// A statement of the journal that may run in a transaction goes back with its row; one that can't leaves its intent, for
/// whoever has the claim to judge; and no failure is written down.
#[tokio::test]
async fn a_journal_writes_nothing_more() {
    for (what, second, journal, left) in [
        ("together", "SELECT robbed(), 'CREATE TABLE two (a int)'", "1done", "t"),
        ("a block", "BEGIN; CREATE TABLE two (a int); SELECT robbed(); COMMIT", "1done", "t"),
        ("alone", "DO $$ BEGIN COMMIT; PERFORM robbed(); END $$", "1done,2intent", "t"),
        (
            "alone, and it fails",
            "DO $$ BEGIN COMMIT; PERFORM robbed(); COMMIT; PERFORM 1/0; END $$",
            "1done,2intent",
            "t",
        ),
        ("together, and it fails", "DO $$ BEGIN PERFORM robbed(); PERFORM 1/0; END $$", "1done", "t"),
    ] {
        let fixture = prepared().await;
        let text = format!(
            "-- migrate: no-transaction\nCREATE TABLE ahead (a int);\n{second};\nCREATE TABLE behind (a int);\n"
        );
        is_lost(fixture.execute(&[ONE, ("002_two.sql", &text)]).await.end, what);
        let rows = "SELECT string_agg(ordinal || state, ',' ORDER BY ordinal) FROM dunlin.statement";
        assert_eq!(fixture.ask(rows).await, journal, "{what}");
        let absent = "SELECT to_regclass('two') IS NULL AND to_regclass('behind') IS NULL";
        assert_eq!(fixture.ask(absent).await, left, "{what}");
        let run = "SELECT outcome || coalesce(error, '') FROM dunlin.run WHERE version = '002'";
        assert_eq!(fixture.ask(run).await, "running", "{what}");
    }
}

/// The claim is lost between a row and its commit's own: at the run's beginning, at an intent, at an amendment.
#[tokio::test]
async fn no_row_is_written_under_a_lost_claim() {
    for (what, table, event, when) in [
        ("the run's beginning", "dunlin.run", "INSERT", "NEW.version = '002'"),
        ("the first statement's row", "dunlin.statement", "INSERT", "NEW.ordinal = 1"),
        ("an intent", "dunlin.statement", "INSERT", "NEW.state = 'intent'"),
    ] {
        let fixture = prepared().await;
        // Before the row's own claim is looked at: another session has it by then.
        fixture
            .run_sql(&format!(
                "CREATE FUNCTION rob() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {when} THEN UPDATE dunlin.set SET session = 'somebody else'; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER rob AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION rob()"
            ))
            .await;
        let text =
            "-- migrate: no-transaction\nCREATE TABLE ahead (a int);\nVACUUM one;\nCREATE TABLE behind (a int);\n";
        is_lost(fixture.execute(&[ONE, ("002_two.sql", text)]).await.end, what);
        assert_eq!(fixture.ask("SELECT to_regclass('behind') IS NULL").await, "t", "{what}");
        assert_eq!(
            fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome <> 'running' AND version = '002'").await,
            "0",
            "{what}"
        );
    }
    // A decision is not carried out, nor a run that takes over what is done.
    let mut fixture = prepared().await;
    let broken = ("002_two.sql", "-- migrate: no-transaction\nCREATE TABLE ahead (a int);\nSELECT 1/0;\n");
    let ran = fixture.apply(&[ONE, broken]).await;
    let run = ran.finding().failure.as_ref().expect("the run is named").run;
    fixture.run_sql("CREATE FUNCTION rob() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE dunlin.set SET session = 'somebody else'; RETURN NULL; END $$; \
                     CREATE TRIGGER rob AFTER UPDATE ON dunlin.run EXECUTE FUNCTION rob()").await;
    fixture.resolve(run, Action::MarkApplied);
    is_lost(fixture.execute(&[ONE, broken]).await.end, "a decision");
    assert_eq!(fixture.ask("SELECT state FROM dunlin.migration WHERE version = '002'").await, "failed");
    assert_eq!(fixture.ask("SELECT count(resolution) FROM dunlin.run").await, "0");
}
