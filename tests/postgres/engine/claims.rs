//! Every row proves its claim; a lost answer is settled by the history; and whoever lacks a right is told which.

use std::time::Duration;

use dunlin::{
    core::{desired::Action, outcome::Reason},
    execute::{End, Shell, Stop},
};

use super::{fixture::Fixture, proxy};
use crate::support::eventually;

const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\n");
const STEAL: &str = "UPDATE dunlin.set SET session = 'somebody else'";

/// Once somebody else has claimed the set, a journal writes nothing more.
#[tokio::test]
async fn a_claim_lost_in_the_middle_of_a_journal_ends_it() {
    for (steal, journal) in [
        // Inside a transaction: the statement goes back with its row.
        (format!("{STEAL};"), "1done"),
        // Outside of one: the intent stays, for whoever has the claim to judge.
        (format!("DO $$ BEGIN {STEAL}; COMMIT; END $$;"), "1done,2intent"),
    ] {
        let fixture = Fixture::new().await;
        let file = format!(
            "-- migrate: no-transaction\nCREATE TABLE before (a int);\n{steal}\nCREATE TABLE after (a int);\nVACUUM;\n"
        );
        let report = fixture.execute(&[("001_stolen.sql", &file)]).await;
        let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
        assert_eq!(failure.reason, Reason::Retrying, "{}", failure.message);
        assert_eq!(fixture.ask("SELECT to_regclass('after') IS NULL").await, "t");
        assert_eq!(
            fixture.ask("SELECT string_agg(ordinal || state, ',' ORDER BY ordinal) FROM dunlin.statement").await,
            journal
        );
        assert_eq!(fixture.ask("SELECT outcome FROM dunlin.run").await, "running");
    }
}

/// The session that waits for a statement is robbed meanwhile: what it finishes is not written down.
#[tokio::test]
async fn a_claim_lost_during_a_concurrent_build_writes_no_end() {
    let fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    let reader = fixture.another().await;
    reader.batch_execute("BEGIN; INSERT INTO one VALUES (1)").await.expect("a writer is in the way");
    let steal = async {
        eventually("the build to wait", Duration::from_secs(10), async || {
            let waiting = fixture.ask("SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase LIKE 'waiting%'").await;
            if waiting == "1" { Ok(()) } else { Err(waiting) }
        })
        .await;
        fixture.run_sql(STEAL).await;
        reader.batch_execute("COMMIT").await.expect("the writer ends");
    };
    let files = [ONE, ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY one_a ON one (a);\n")];
    let (report, ()) = tokio::join!(fixture.execute(&files), steal);
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::Retrying);
    assert_eq!(fixture.ask("SELECT string_agg(state, ',') FROM dunlin.statement").await, "intent");
    fixture.apply(&files).await.is_up_to_date();
}

/// Amendments, the rows that carry statements over, and failures prove the claim like any other.
#[tokio::test]
async fn no_amendment_is_written_under_a_lost_claim() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    fixture
        .run_sql(&format!(
            "CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {STEAL}; RETURN NULL; END $$; \
             CREATE TRIGGER steal AFTER UPDATE ON dunlin.run EXECUTE FUNCTION steal()"
        ))
        .await;
    fixture.resolve(1, Action::AcceptChecksum);
    let report = fixture.execute(&[("001_one.sql", "CREATE TABLE one (a bigint);\n")]).await;
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::Retrying);
    assert_eq!(fixture.ask("SELECT resolution IS NULL FROM dunlin.run").await, "t");
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run").await, "1");
}

/// M34, Q70: the answer to COMMIT is lost; the history says that it was done, and it isn't done again.
#[tokio::test]
async fn a_lost_answer_to_commit_is_settled_by_the_history() {
    for file in [
        "INSERT INTO counted /* the marked one */ VALUES (1);",
        "-- migrate: no-transaction\nINSERT INTO counted /* the marked one */ VALUES (1);\nSELECT 1;\n",
    ] {
        let direct = Fixture::new().await;
        direct.run_sql("CREATE TABLE counted (a int)").await;
        let (port, hang_up) = proxy::deaf("the marked one").await;
        let mut through = Fixture::on(direct.url.clone()).await;
        through.url = proxy::through(&direct.url, port);
        let committed = async {
            eventually("the row to be committed", Duration::from_secs(10), async || {
                let count = direct.ask("SELECT count(*) FROM counted").await;
                if count == "1" { Ok(()) } else { Err(count) }
            })
            .await;
            hang_up.send_replace(true);
        };
        let files = [("001_once.sql", file)];
        let (report, ()) = tokio::join!(through.execute(&files), committed);
        let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
        assert_eq!(failure.reason, Reason::Retrying, "{}", failure.message);
        eventually("the old session to end", Duration::from_secs(15), async || {
            let report = direct.execute(&files).await;
            if matches!(report.end, End::Finished) { Ok(()) } else { Err(report.end) }
        })
        .await;
        assert_eq!(direct.ask("SELECT count(*) FROM counted").await, "1", "{file}");
        assert_eq!(direct.ask("SELECT count(*) || min(outcome) FROM dunlin.run").await, "1succeeded", "{file}");
    }
}

/// The backend ends in the middle of a transaction: nothing of it is there, and the next run does it.
#[tokio::test]
async fn a_terminated_backend_takes_its_transaction_with_it() {
    let fixture = Fixture::new().await;
    let files = [("001_slow.sql", "CREATE TABLE slow (a int); SELECT pg_sleep(0.7) AS the_slow_one;")];
    let cut = async {
        eventually("the migration to be at work", Duration::from_secs(10), async || {
            let ended = fixture.ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%the_slow_one%' AND state = 'active' AND pid <> pg_backend_pid()").await;
            if ended == "1" { Ok(()) } else { Err(ended) }
        })
        .await;
    };
    let (report, ()) = tokio::join!(fixture.execute(&files), cut);
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::Retrying);
    assert_eq!(fixture.ask("SELECT to_regclass('slow') IS NULL").await, "t");
    fixture.apply(&files).await.is_up_to_date();
}

/// Somebody's cancel is the migration's own error; ours is none.
#[tokio::test]
async fn somebodys_cancel_fails_the_migration() {
    let fixture = Fixture::new().await;
    let files = [("001_slow.sql", "SELECT pg_sleep(60) AS the_cancelled_one;")];
    let cancel = async {
        eventually("the migration to be at work", Duration::from_secs(10), async || {
            let cancelled = fixture.ask("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%the_cancelled_one%' AND state = 'active' AND pid <> pg_backend_pid()").await;
            if cancelled == "1" { Ok(()) } else { Err(cancelled) }
        })
        .await;
    };
    let (ran, ()) = tokio::join!(fixture.apply(&files), cancel);
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert!(ran.finding().message.contains("somebody's cancel"), "{}", ran.finding().message);
}

/// A stop leaves a statement outside a transaction to end; between migrations means between migrations.
#[tokio::test]
async fn a_stop_lets_what_is_not_transactional_end() {
    for (stop, statements, applied) in [(Stop::BetweenMigrations, "1,2", 1), (Stop::CancelTransaction, "1", 0)] {
        let fixture = Fixture::new().await;
        let slow =
            "-- migrate: no-transaction\nDO $$ BEGIN COMMIT; PERFORM pg_sleep(0.6); END $$; -- the long one\nVACUUM;\n";
        let files = [("001_slow.sql", slow), ("002_two.sql", "CREATE TABLE two (a int);")];
        let asked = async {
            eventually("the statement to be under way", Duration::from_secs(10), async || {
                let busy = fixture.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'DO $$ BEGIN COMMIT%' AND state = 'active'").await;
                if busy == "1" { Ok(()) } else { Err(busy) }
            })
            .await;
            fixture.stop.send_replace(stop);
        };
        let (report, ()) = tokio::join!(fixture.execute(&files), asked);
        assert!(matches!(report.end, End::Stopped), "{stop:?}: {:?}", report.end);
        assert_eq!(report.applied.len(), applied, "{stop:?}");
        let done = "SELECT string_agg(ordinal::text, ',' ORDER BY ordinal) FROM dunlin.statement WHERE state = 'done'";
        assert_eq!(fixture.ask(done).await, statements, "{stop:?}");
        fixture.stop.send_replace(Stop::No);
        fixture.apply(&files).await.is_up_to_date();
    }
}

/// By hand, no owner is written and none is respected; a MigrationSet's own stays recorded.
#[tokio::test]
async fn a_person_works_on_the_same_history_and_owns_nothing() {
    let mut fixture = Fixture::new().await;
    fixture.shell = Shell::Hand;
    fixture.apply(&[ONE]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT owner IS NULL FROM dunlin.set").await, "t");
    assert_eq!(fixture.ask("SELECT applied_by FROM dunlin.migration").await, "dunlin by hand as postgres");

    fixture.shell = Shell::Operator;
    fixture.apply(&[ONE, ("002_two.sql", "SELECT 2;")]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT owner FROM dunlin.set").await, "shop/shop");

    fixture.shell = Shell::Hand;
    fixture.desired.owner.name = "whoever".to_owned();
    fixture.apply(&[ONE, ("002_two.sql", "SELECT 2;"), ("003_three.sql", "SELECT 3;")]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT owner FROM dunlin.set").await, "shop/shop");
}

/// Each right that the engine itself lacks is named, as the GRANT that gives it; giving it is enough.
#[tokio::test]
async fn every_right_that_lacks_is_named() {
    let owner = Fixture::new().await;
    let database = owner.ask("SELECT current_database()").await;
    let (login, role) = (format!("poor_{database}"), format!("owner_{database}"));
    owner
        .run_sql(&format!(
            "CREATE ROLE {login} LOGIN NOINHERIT PASSWORD 'pencil'; CREATE ROLE {role}; CREATE SCHEMA app; GRANT ALL ON SCHEMA app TO {login}"
        ))
        .await;
    let (_, rest) = owner.url.split_once('@').expect("the URL names a user");
    let mut poor = Fixture::on(format!("postgres://{login}:pencil@{rest}")).await;
    poor.desired.session.search_path = vec!["app".to_owned()];
    let cure = async |poor: &Fixture| match poor.execute(&[ONE]).await.end {
        End::Failed(failure) => {
            assert_eq!(failure.reason, Reason::PermissionDenied, "{}", failure.message);
            failure.message.split_once("it needs: ").expect("a cure").1.to_owned()
        }
        End::Finished => String::new(),
        End::Stopped => panic!("stopped"),
    };

    let first = cure(&poor).await;
    assert_eq!(
        first,
        format!(
            "GRANT CREATE ON DATABASE \"{database}\" TO \"{login}\", or CREATE SCHEMA \"dunlin\" AUTHORIZATION \"{login}\""
        )
    );
    owner.run_sql("CREATE SCHEMA dunlin").await;
    for expected in [format!("GRANT USAGE, CREATE ON SCHEMA \"dunlin\" TO \"{login}\"")] {
        let asked = cure(&poor).await;
        assert!(asked.starts_with("GRANT USAGE"), "{asked}");
        owner.run_sql(&expected).await;
    }
    assert_eq!(cure(&poor).await, "");

    // Somebody else owns the tables, and takes the rights away one by one.
    owner.run_sql(&format!("REASSIGN OWNED BY {login} TO postgres; GRANT ALL ON SCHEMA app TO {login}; GRANT ALL ON ALL TABLES IN SCHEMA app TO {login}")).await;
    let expected = format!(
        "GRANT USAGE ON SCHEMA \"dunlin\" TO \"{login}\"; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA \"dunlin\" TO \"{login}\""
    );
    for revoked in [
        "USAGE ON SCHEMA dunlin",
        "SELECT ON dunlin.migration",
        "SELECT ON dunlin.statement",
        "INSERT ON dunlin.set",
        "UPDATE ON dunlin.set",
        "INSERT ON dunlin.run",
        "INSERT ON dunlin.migration",
        "UPDATE ON dunlin.migration",
        "INSERT ON dunlin.statement",
    ] {
        owner.run_sql(&format!("{expected}; REVOKE {revoked} FROM {login}")).await;
        let files = [
            ONE,
            ("002_two.sql", "SELECT 2;"),
            ("003_three.sql", "-- migrate: no-transaction\nVACUUM (SKIP_LOCKED) app.one;\n"),
        ];
        let End::Failed(failure) = poor.execute(&files).await.end else { panic!("{revoked}") };
        assert_eq!(failure.reason, Reason::PermissionDenied, "{revoked}: {}", failure.message);
        assert!(failure.message.ends_with(&format!("it needs: {expected}")), "{revoked}: {}", failure.message);
        owner.run_sql("DELETE FROM dunlin.statement; DELETE FROM dunlin.migration WHERE version > '001'; DELETE FROM dunlin.run WHERE version > '001'").await;
    }
    owner.run_sql(&expected).await;

    poor.desired.session.role = Some(role.clone());
    assert_eq!(cure(&poor).await, format!("GRANT \"{role}\" TO \"{login}\""));
    owner.run_sql(&format!("GRANT {role} TO {login}")).await;
    assert!(cure(&poor).await.ends_with(&format!("ON ALL TABLES IN SCHEMA \"dunlin\" TO \"{role}\"")));
}

/// Q49: tables of the same names that somebody else made are named, not tried again and again.
#[tokio::test]
async fn foreign_tables_in_the_historys_schema_are_left_alone() {
    for table in [
        "CREATE TABLE \"set\" (a int)",
        "CREATE TABLE \"set\" (name text, owner text)",
        "CREATE TABLE migration (a int)",
        "CREATE VIEW run AS SELECT 1",
    ] {
        let mut fixture = Fixture::new().await;
        fixture.run_sql(table).await;
        fixture.desired.history.schema = "public".to_owned();
        let End::Failed(failure) = fixture.execute(&[ONE]).await.end else { panic!("{table}") };
        assert_eq!(failure.reason, Reason::InvalidSpec, "{table}: {}", failure.message);
        assert!(failure.message.contains("name another schema"), "{}", failure.message);
        assert_eq!(fixture.ask("SELECT to_regclass('one') IS NULL AND to_regclass('statement') IS NULL").await, "t");
    }
}

/// Names are quoted wherever they go: schema, set, role, path, version, file.
#[tokio::test]
async fn any_name_will_do() {
    let odd = "Größe \"x\" 'y' \\z; --";
    let mut fixture = Fixture::new().await;
    fixture.desired.history.schema = odd.to_owned();
    fixture.desired.history.set = format!("{odd} set");
    let quoted = format!("\"{}\"", odd.replace('"', "\"\""));
    let role = format!("{odd} {}", fixture.ask("SELECT current_database()").await);
    let quoted_role = format!("\"{}\"", role.replace('"', "\"\""));
    fixture.run_sql(&format!("CREATE ROLE {quoted_role}; CREATE SCHEMA {quoted} AUTHORIZATION {quoted_role}")).await;
    fixture.desired.session.role = Some(role.clone());
    fixture.desired.session.search_path = vec![odd.to_owned()];
    fixture.desired.owner.name = odd.to_owned();
    let name = "01m7ygz6c0dwt1d38v9azzed9p_Größe 'x'.sql";
    let journaled = "-- migrate: no-transaction\nCREATE TABLE \"T 'x'\" (a int);\nCREATE INDEX CONCURRENTLY \"I 'x'\" ON \"T 'x'\" (a);\n";
    let files = [
        (name, "CREATE TABLE \"Größe\" (a int);\n-- migrate: down\nDROP TABLE \"Größe\"; SELECT '\\';\n"),
        ("01M7YGZ6C0DWT1D38V9AZZED9Q_alone.sql", journaled),
    ];
    fixture.apply(&files).await.is_up_to_date();
    let broken = ("01M7YGZ6C0DWT1D38V9AZZED9R_broken.sql", "SELECT 'ü' FROM \"Nö'\";\n");
    let ran = fixture.apply(&[files[0], files[1], broken]).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert_eq!(fixture.ask(&format!("SELECT string_agg(version, ',' ORDER BY upper(version)) FROM {quoted}.migration WHERE state = 'applied'")).await, "01m7ygz6c0dwt1d38v9azzed9p,01M7YGZ6C0DWT1D38V9AZZED9Q");
}

/// A `retrying` row counts the tries of one text; another text is counted from the start, in the same row.
#[tokio::test]
async fn tries_are_counted_until_the_section_changes() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = 50;
    fixture.desired.session.lock_retries = 0;
    let blocker = fixture.another().await;
    blocker.batch_execute("BEGIN; SELECT * FROM one").await.expect("a read lock");
    let attempts = "SELECT string_agg(outcome || attempts, ',') FROM dunlin.run WHERE version = '002'";
    let first = [ONE, ("002_alter.sql", "ALTER TABLE one ADD COLUMN b int;")];
    for expected in ["retrying1", "retrying2"] {
        assert_eq!(fixture.apply(&first).await.failure().reason, Reason::Retrying);
        assert_eq!(fixture.ask(attempts).await, expected);
    }
    let second = [ONE, ("002_alter.sql", "ALTER TABLE one ADD COLUMN c int;")];
    assert_eq!(fixture.apply(&second).await.failure().reason, Reason::Retrying);
    assert_eq!(fixture.ask(attempts).await, "retrying1");
    blocker.batch_execute("COMMIT").await.expect("the reader ends");
    fixture.apply(&second).await.is_up_to_date();
    assert_eq!(fixture.ask(attempts).await, "succeeded2");
}

/// 0 is no time-out: the migration waits for as long as it takes.
#[tokio::test]
async fn a_lock_time_out_of_nothing_waits() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = 0;
    let blocker = fixture.another().await;
    blocker.batch_execute("BEGIN; SELECT * FROM one").await.expect("a read lock");
    let release = async {
        let mut running = fixture.running.subscribe();
        let named = running.wait_for(|it| it.as_ref().is_some_and(|it| !it.blocked_by.is_empty()));
        named.await.expect("the blocker is named");
        blocker.batch_execute("COMMIT").await.expect("the reader ends");
    };
    let files = [ONE, ("002_alter.sql", "ALTER TABLE one ADD COLUMN b int;")];
    let (ran, ()) = tokio::join!(fixture.apply(&files), release);
    ran.is_up_to_date();
}

/// Found by `make chaos`: an operator that still saw the spec of before a rollback applied everything once more.
#[tokio::test]
async fn a_generation_that_is_older_than_one_that_was_here_is_not_followed() {
    let mut fixture = Fixture::new().await;
    let files = [("001_a.sql", "CREATE TABLE a (id int);\n"), ("002_b.sql", "CREATE TABLE b (id int);\n")];
    fixture.uid = Some("one".to_owned());
    fixture.desired.generation = 2;
    fixture.apply(&files[..1]).await.is_up_to_date();
    fixture.desired.generation = 1;
    let ran = fixture.apply(&files).await;
    assert_eq!(ran.failure().reason, Reason::Retrying, "{:?}", ran.failure());
    assert_eq!(fixture.ask("SELECT to_regclass('b') IS NULL").await, "t");
    // An object that is made anew begins from 1 again.
    fixture.uid = Some("another".to_owned());
    fixture.apply(&files).await.is_up_to_date();
}
