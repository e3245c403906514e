//! Time-outs that somebody has set for the role, the database or the whole server end none of our sessions, neither in a
//! migration nor while one waits; and a resource that runs out is waited for.

use std::time::Duration;

use dunlin::core::{desired::TransactionScope, outcome::Reason};

use super::fixture::{self, Fixture};
use crate::support::{dedicated_postgres_version, eventually};

const LIMIT: Duration = Duration::from_secs(30);
const HURRY: [(&str, &str); 6] = [
    ("statement_timeout", "900ms"),
    ("lock_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "500ms"),
    ("idle_session_timeout", "1s"),
    ("transaction_timeout", "900ms"),
    ("client_connection_check_interval", "0"),
];
const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\nSELECT pg_sleep(1.2);");
const ALONE: (&str, &str) = (
    "002_alone.sql",
    "-- migrate: no-transaction\nSELECT pg_sleep(1.2);\nCREATE INDEX CONCURRENTLY one_a ON one (a);\nVACUUM one;\n\
     INSERT INTO one SELECT 1 FROM pg_sleep(1.2);\n",
);
const WAITS: (&str, &str) = ("003_waits.sql", "ALTER TABLE one ADD COLUMN b int;");
const RETRIED: (&str, &str) = ("004_retried.sql", "ALTER TABLE one ADD COLUMN c int;");
const COPIED: (&str, &str) =
    ("005_copied.sql", "SELECT pg_sleep(0.6);\nCOPY one (a) FROM stdin;\n5\n\\.\nSELECT pg_sleep(0.6);\n");

/// A fixture whose own session isn't in a hurry.
async fn unhurried(url: &str) -> Fixture {
    let fixture = Fixture::on(url.to_owned()).await;
    for (setting, _) in HURRY {
        fixture.run_sql(&format!("SET {setting} = 0")).await;
    }
    fixture
}

async fn each_time_out_is_kept_off(fixture: &mut Fixture) {
    fixture.desired.session.lock_timeout_ms = 0;
    fixture.apply(&[ONE, ALONE]).await.is_up_to_date();
    // It waits in the server for longer than any of them, and the watching session sees for whom.
    fixture.run_sql("BEGIN; SELECT FROM one").await;
    let release = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dunlin/shop/shop' AND wait_event_type = 'Lock' \
                       AND datname = current_database() AND clock_timestamp() - query_start > '2.5 s'";
        eventually("it has waited", LIMIT, async || {
            // In a transaction this view is a snapshot.
            fixture.run_sql("SELECT pg_stat_clear_snapshot()").await;
            let count = fixture.ask(waiting).await;
            if count == "1" { Ok(()) } else { Err(count) }
        })
        .await;
        let named = |it: &Option<dunlin::execute::Running>| it.as_ref().is_some_and(|it| !it.blocked_by.is_empty());
        fixture.running.subscribe().wait_for(named).await.expect("the blocker is named");
        fixture.run_sql("COMMIT").await;
    };
    let files = [ONE, ALONE, WAITS];
    let (ran, ()) = tokio::join!(fixture.apply(&files), release);
    ran.is_up_to_date();

    // Its session is idle between two tries for longer than an idle session may be.
    fixture.desired.session.lock_timeout_ms = 20;
    fixture.desired.session.lock_retries = 20;
    fixture.run_sql("BEGIN; SELECT FROM one").await;
    let release = async {
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dunlin/shop/shop' AND state = 'idle' \
                    AND datname = current_database() AND clock_timestamp() - state_change > '1.5 s' \
                    AND pid = (SELECT backend_pid FROM dunlin.set)";
        eventually("it has been idle", LIMIT, async || {
            fixture.run_sql("SELECT pg_stat_clear_snapshot()").await;
            let count = fixture.ask(idle).await;
            if count == "1" { Ok(()) } else { Err(count) }
        })
        .await;
        fixture.run_sql("COMMIT").await;
    };
    let files = [ONE, ALONE, WAITS, RETRIED];
    let (ran, ()) = tokio::join!(fixture.apply(&files), release);
    ran.is_up_to_date();

    fixture.desired.session.lock_timeout_ms = 3_000;
    fixture.desired.policy.transaction = TransactionScope::Single;
    let last = ("006_last.sql", "SELECT pg_sleep(0.6);");
    fixture.apply(&[ONE, ALONE, WAITS, RETRIED, COPIED, last]).await.is_up_to_date();
    assert_eq!(
        fixture.ask("SELECT count(*) || min(outcome) || max(attempts) FROM dunlin.run WHERE version <> '004'").await,
        "5succeeded1"
    );
}

/// By ALTER ROLE, ALTER DATABASE and ALTER SYSTEM alike.
#[tokio::test]
#[ignore = "takes long: make chaos-long"]
async fn time_outs_of_role_database_and_server_end_no_session_of_ours() {
    let server = dedicated_postgres_version(Some(18), &[], &[], &[]);
    let settings = |how: &str| HURRY.map(|(name, value)| format!("{how} SET {name} = '{value}'")).join(";");

    let url = server.fresh_database().await;
    let administrator = Fixture::on(url.clone()).await;
    let database = administrator.ask("SELECT current_database()").await;
    administrator.run_sql(&settings(&format!("ALTER DATABASE {database}"))).await;
    each_time_out_is_kept_off(&mut unhurried(&url).await).await;

    let url = server.fresh_database().await;
    let administrator = Fixture::on(url.clone()).await;
    administrator.run_sql("CREATE ROLE hasty LOGIN SUPERUSER PASSWORD 'pencil'").await;
    administrator.run_sql(&settings("ALTER ROLE hasty")).await;
    let (_, rest) = url.split_once('@').expect("the URL names a user");
    each_time_out_is_kept_off(&mut unhurried(&format!("postgres://hasty:pencil@{rest}")).await).await;

    let url = server.fresh_database().await;
    let mut fixture = unhurried(&url).await;
    for (name, value) in HURRY {
        fixture.run_sql(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    }
    fixture.run_sql("SELECT pg_reload_conf()").await;
    eventually("the server has taken them", LIMIT, async || {
        let hasty = fixture::ask(&fixture.another().await, "SHOW transaction_timeout").await;
        if hasty == "900ms" { Ok(()) } else { Err(hasty) }
    })
    .await;
    each_time_out_is_kept_off(&mut fixture).await;
}

/// A disk that is full, or memory that has run out, under a statement that was rolled back with its row: there is nothing for
/// a person to decide.
#[tokio::test]
async fn a_resource_that_ran_out_under_a_transaction_of_the_journal_is_waited_for() {
    let fixture = Fixture::new().await;
    fixture.run_sql("CREATE TABLE short (state text); INSERT INTO short VALUES ('53100')").await;
    let file = "-- migrate: no-transaction\nCREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\n\
                DO $$ BEGIN IF EXISTS (SELECT FROM short) THEN\n\
                RAISE EXCEPTION 'No space left on device' USING ERRCODE = (SELECT state FROM short); END IF; END $$;\nVACUUM t;\n";
    let files = [("001_t.sql", file)];
    for state in ["53100", "53200", "53400"] {
        fixture.run_sql(&format!("UPDATE short SET state = '{state}'")).await;
        let ran = fixture.apply(&files).await;
        assert_eq!(ran.failure().reason, Reason::Retrying, "{:?}", ran.report);
        assert!(
            ran.failure().message.contains("001_t.sql:4:1") && ran.failure().message.contains(state),
            "{}",
            ran.failure().message
        );
        assert_eq!(fixture.ask("SELECT string_agg(ordinal || state, ',') FROM dunlin.statement").await, "1done,2done");
        assert_eq!(fixture.ask("SELECT state FROM dunlin.migration").await, "interrupted");
    }
    fixture.run_sql("TRUNCATE short").await;
    fixture.apply(&files).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM t").await, "1", "what was done stays done");
    assert_eq!(fixture.ask("SELECT count(*) || min(outcome) FROM dunlin.run").await, "1succeeded");
}
