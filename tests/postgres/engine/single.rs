//! `transaction: Single`: the whole plan in one transaction, however its files are sent.

use std::time::Duration;

use dunlin::{
    core::{desired::TransactionScope, outcome::Reason},
    execute::{End, Stop},
};

use super::fixture::Fixture;
use crate::support::eventually;

const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\n");
const COPY: (&str, &str) = ("002_copy.sql", "COPY one FROM stdin;\n1\n2\n\\.\n");

async fn single() -> Fixture {
    let mut fixture = Fixture::new().await;
    fixture.desired.policy.transaction = TransactionScope::Single;
    fixture
}

#[tokio::test]
async fn files_that_go_in_pieces_are_part_of_it() {
    let fixture = single().await;
    let roles =
        ("003_session.sql", "SET search_path = pg_catalog; SET ROLE pg_monitor; CREATE TEMP TABLE scratch (a int);");
    let after = ("004_after.sql", "INSERT INTO one SELECT count(*) FROM one WHERE current_user = session_user;\n");
    for broken in ["SELECT 1/0;\n", "COPY nope FROM stdin;\n1\n\\.\n", "COPY one FROM stdin;\nx\n\\.\n"] {
        let ran = fixture.apply(&[ONE, COPY, roles, after, ("005_broken.sql", broken)]).await;
        assert_eq!(ran.finding().reason, Reason::MigrationFailed, "{broken}");
        assert!(ran.report.applied.is_empty());
        assert_eq!(fixture.ask("SELECT to_regclass('one') IS NULL").await, "t");
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied'").await, "0");
    }
    fixture.apply(&[ONE, COPY, roles, after, ("005_broken.sql", "SELECT 1;\n")]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT string_agg(a::text, ',' ORDER BY a) FROM one").await, "1,2,2");
    assert_eq!(
        fixture.ask("SELECT count(DISTINCT xmin::text) || state FROM dunlin.migration GROUP BY state").await,
        "1applied"
    );
}

/// Deferred work waits for the end of the whole, where it may have become right.
#[tokio::test]
async fn deferred_constraints_wait_for_the_end_of_all_files() {
    let fixture = single().await;
    let make = (
        "001_make.sql",
        "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE c (a int REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (1);",
    );
    let ran = fixture.apply(&[make, ("002_more.sql", "SELECT 1;")]).await;
    assert!(ran.finding().message.contains("deferred to the end"), "{}", ran.finding().message);
    let fixture = single().await;
    fixture.apply(&[make, ("002_more.sql", "INSERT INTO p VALUES (1);")]).await.is_up_to_date();
}

/// A lock in the way of a later file gives the whole up, and it is planned again; nothing of it is kept.
#[tokio::test]
async fn a_lock_in_the_way_of_a_later_file_gives_all_up() {
    let mut fixture = single().await;
    fixture.run_sql("CREATE TABLE busy (a int)").await;
    fixture.desired.session.lock_timeout_ms = 50;
    fixture.desired.session.lock_retries = 1;
    let blocker = fixture.another().await;
    blocker.batch_execute("BEGIN; SELECT * FROM busy").await.expect("a read lock");
    let files = [ONE, ("002_alter.sql", "ALTER TABLE busy ADD COLUMN b int;")];
    let ran = fixture.apply(&files).await;
    assert_eq!(ran.failure().reason, Reason::Retrying);
    assert_eq!(fixture.ask("SELECT to_regclass('one') IS NULL").await, "t");
    assert_eq!(fixture.ask("SELECT string_agg(version || outcome, ',') FROM dunlin.run").await, "002retrying");
    blocker.batch_execute("COMMIT").await.expect("the reader ends");
    fixture.apply(&files).await.is_up_to_date();
}

/// It is one migration to a stop: asked between its files, it goes on; at the last call it is rolled back whole.
#[tokio::test]
async fn a_stop_ends_all_of_it_or_nothing() {
    for (stop, made) in [(Stop::BetweenMigrations, "t"), (Stop::CancelTransaction, "f")] {
        let fixture = single().await;
        let files = [ONE, ("002_slow.sql", "SELECT pg_sleep(0.8) AS the_single_one;"), ("003_three.sql", "SELECT 3;")];
        let asked = async {
            eventually("the second file to be under way", Duration::from_secs(10), async || {
                let busy = fixture.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%the_single_one%' AND state = 'active' AND pid <> pg_backend_pid()").await;
                if busy == "1" { Ok(()) } else { Err(busy) }
            })
            .await;
            fixture.stop.send_replace(stop);
        };
        let (report, ()) = tokio::join!(fixture.execute(&files), asked);
        assert!(matches!(report.end, End::Stopped), "{stop:?}: {:?}", report.end);
        assert_eq!(report.applied.len(), if made == "t" { 3 } else { 0 }, "{stop:?}");
        assert_eq!(fixture.ask("SELECT to_regclass('one') IS NOT NULL").await, made, "{stop:?}");
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await, "0");
    }
}
