//! The queue behind a lock: who waits in it, for how long, and who is said to be in the way.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use dunlin::{
    core::outcome::Reason,
    execute::{End, Running},
};
use tokio_postgres::Client;

use super::fixture::Fixture;
use crate::support::{dedicated_postgres, eventually};

const TABLE: (&str, &str) =
    ("001_table.sql", "CREATE TABLE t (a int, b int); INSERT INTO t SELECT n, n FROM generate_series(1, 100) n;");
const ALTER: (&str, &str) = ("002_alter.sql", "ALTER TABLE t ADD COLUMN c int;");
const ALTER_ALONE: (&str, &str) =
    ("002_alter.sql", "-- migrate: no-transaction\nALTER TABLE t ADD COLUMN c int;\nVACUUM t;\n");

/// A fixture with the table and these limits, and a session that reads from it without an end.
async fn held(lock_timeout_ms: u64, lock_retries: u32) -> (Fixture, Client) {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[TABLE]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = lock_timeout_ms;
    fixture.desired.session.lock_retries = lock_retries;
    let holder = fixture.another().await;
    let hold = "SET application_name = 'the report'; BEGIN; SELECT FROM t LIMIT 1";
    holder.batch_execute(hold).await.expect("it reads");
    (fixture, holder)
}

/// Reads from the table without a pause until the future ends; what it had to wait each time, above `felt`.
async fn reading<T>(fixture: &Fixture, felt: Duration, until: impl Future<Output = T>) -> (T, Vec<Duration>) {
    let over = AtomicBool::new(false);
    let read = async || {
        let session = fixture.another().await;
        let mut waits = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            session.batch_execute("SELECT FROM t LIMIT 1").await.expect("a reader reads");
            waits.push(begun.elapsed());
        }
        waits.retain(|wait| *wait > felt);
        waits
    };
    let until = async {
        let value = until.await;
        over.store(true, Ordering::Relaxed);
        value
    };
    let (value, one, two, three) = tokio::join!(until, read(), read(), read());
    (value, [one, two, three].concat())
}

/// A reader behind a waiting ALTER TABLE waits as long as that does, and gets through before it tries again. The figures
/// are printed.
#[tokio::test]
async fn no_reader_is_held_up_longer_than_the_lock_time_out() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    for (what, file) in [("in a transaction", ALTER), ("outside of one", ALTER_ALONE)] {
        let (fixture, holder) = held(1_000, 3).await;
        let (ran, waits) = Box::pin(reading(&fixture, TIMEOUT / 2, fixture.apply(&[TABLE, file]))).await;
        assert_eq!(ran.failure().reason, Reason::Retrying);
        let longest = waits.iter().max().copied().unwrap_or_default();
        eprintln!(
            "{what}: of {} waits behind an ALTER TABLE with lockTimeout {TIMEOUT:?}, the longest took {longest:?}",
            waits.len()
        );
        // Three readers and four tries: whoever is held up in one gets through before the next.
        assert!(waits.len() > 3, "{what}: {waits:?}");
        assert!(longest < TIMEOUT + Duration::from_millis(500), "{what}: {waits:?}");
        holder.batch_execute("COMMIT").await.expect("the report ends");
        fixture.apply(&[TABLE, file]).await.is_up_to_date();
    }
}

fn is_pausing(running: &Running, retry: &str) -> bool {
    running.progress.as_ref().is_some_and(|progress| progress.phase == format!("pausing before retry {retry}"))
}

/// A wait of half a second is too short for a look each second.
#[tokio::test]
async fn who_is_in_the_way_is_named_in_the_pause_and_when_the_retries_are_used_up() {
    for (what, file) in [("in a transaction", ALTER), ("outside of one", ALTER_ALONE)] {
        let (fixture, holder) = held(500, 2).await;
        let mut running = fixture.running.subscribe();
        let watch = async {
            let pausing =
                running.wait_for(|running| running.as_ref().is_some_and(|running| is_pausing(running, "1 of 2")));
            pausing.await.expect("the run tells").clone().expect("it runs")
        };
        let files = [TABLE, file];
        let (ran, pausing) = tokio::join!(fixture.apply(&files), watch);
        assert_eq!(pausing.blocked_by.len(), 1, "{what}: {pausing:?}");
        assert_eq!(pausing.blocked_by[0].application.as_deref(), Some("the report"), "{what}");
        assert!(
            pausing.to_string().contains("pausing before retry 1 of 2, waiting for pid "),
            "{}",
            pausing.to_string()
        );
        let message = &ran.failure().message;
        let since = pausing.blocked_by[0].since.as_deref().expect("it may be seen");
        let pid = pausing.blocked_by[0].pid.expect("a backend has one");
        let expected = format!("Last seen in the way: pid {pid} (the report, ");
        assert!(
            message.contains(&expected) && message.contains(&format!(", at work since {since}\n")),
            "{what}: {message}"
        );
        drop(holder);
    }
}

/// A transaction that was prepared and forgotten blocks without a session to be seen.
#[tokio::test]
async fn a_prepared_transaction_in_the_way_is_named() {
    let server = dedicated_postgres(&["max_prepared_transactions=2"], &[], &[]);
    let mut fixture = Fixture::on(server.fresh_database().await).await;
    fixture.apply(&[TABLE]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = 500;
    fixture.desired.session.lock_retries = 0;
    fixture.run_sql("CREATE TABLE other (a int)").await;
    fixture.run_sql("BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'innocent'").await;
    fixture.run_sql("BEGIN; SELECT FROM t LIMIT 1; PREPARE TRANSACTION 'till-7'").await;
    let ran = fixture.apply(&[TABLE, ALTER]).await;
    let message = &ran.failure().message;
    assert!(
        message.contains("Last seen in the way: prepared transaction till-7 (postgres), at work since 2"),
        "{message}"
    );
    fixture.run_sql("ROLLBACK PREPARED 'till-7'").await;
    fixture.apply(&[TABLE, ALTER]).await.is_up_to_date();
    fixture.run_sql("ROLLBACK PREPARED 'innocent'").await;
}

/// At once, not when the next look is due: what doesn't wait for a lock by itself (NOWAIT) is looked at each second.
#[tokio::test]
async fn a_pause_is_not_shown_for_what_runs_again() {
    let (fixture, holder) = held(30_000, 10).await;
    let slow = ("002_slow.sql", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT; SELECT pg_advisory_xact_lock(43);");
    let gate = fixture.another().await;
    gate.batch_execute("SELECT pg_advisory_lock(43)").await.expect("it is free");
    let watch = async {
        let mut running = fixture.running.subscribe();
        let pausing =
            running.wait_for(|running| running.as_ref().is_some_and(|running| is_pausing(running, "1 of 10")));
        drop(pausing.await.expect("the run tells"));
        holder.batch_execute("COMMIT").await.expect("the report ends");
        eventually("it waits at the gate", Duration::from_secs(20), async || {
            let waiting = fixture.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'").await;
            if waiting == "1" { Ok(()) } else { Err(waiting) }
        })
        .await;
        assert_eq!(running.borrow().as_ref().and_then(|running| running.progress.clone()), None);
        drop(gate);
    };
    let files = [TABLE, slow];
    let (ran, ()) = tokio::join!(fixture.apply(&files), watch);
    ran.is_up_to_date();
}

/// `lock_timeout` would end their internal waits, and leave invalid indexes and half-detached partitions.
#[tokio::test]
async fn no_concurrent_form_gives_way_after_the_lock_time_out() {
    let prepare = (
        "001_prepare.sql",
        "CREATE TABLE t (a int); CREATE INDEX old ON t (a); CREATE INDEX worn ON t (a);
         CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF p DEFAULT;
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); DROP TABLE part;",
    );
    for (statement, holds, proof) in [
        (
            "CREATE INDEX CONCURRENTLY new ON t (a)",
            "INSERT INTO t VALUES (1)",
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'new'::regclass",
        ),
        ("DROP INDEX CONCURRENTLY old", "SELECT FROM t", "SELECT to_regclass('old') IS NULL"),
        (
            "REINDEX INDEX CONCURRENTLY worn",
            "INSERT INTO t VALUES (1)",
            "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 't'::regclass",
        ),
        (
            "REINDEX TABLE CONCURRENTLY t",
            "INSERT INTO t VALUES (1)",
            "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 't'::regclass",
        ),
        (
            "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
            "SELECT FROM p",
            "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'p'::regclass)",
        ),
    ] {
        let mut fixture = Fixture::new().await;
        fixture.apply(&[prepare]).await.is_up_to_date();
        fixture.desired.session.lock_timeout_ms = 100;
        fixture.desired.session.lock_retries = 0;
        let holder = fixture.another().await;
        holder.batch_execute(&format!("BEGIN; {holds}")).await.expect("it holds a lock");
        let file = format!("-- migrate: no-transaction\n{statement};\n");
        let free = async {
            eventually(&format!("{statement} to have waited longer than the time-out"), Duration::from_secs(20), async || {
                let waited = fixture.ask(&format!("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = '{statement}' AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > '500 ms'")).await;
                if waited == "1" { Ok(()) } else { Err(waited) }
            })
            .await;
            holder.batch_execute("COMMIT").await.expect("the holder ends");
        };
        let files = [prepare, ("002_it.sql", file.as_str())];
        let (ran, ()) = tokio::join!(fixture.apply(&files), free);
        ran.is_up_to_date();
        assert_eq!(fixture.ask(proof).await, "t", "{statement}");
    }
}

/// What is harmless to repeat gives way to a lock and comes again, as a transaction does: no person has to decide.
#[tokio::test]
async fn a_vacuum_that_meets_a_lock_is_retried_and_needs_nobody() {
    for statement in ["VACUUM t", "REINDEX SCHEMA public"] {
        let (fixture, holder) = held(300, 1).await;
        holder.batch_execute("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE").await.expect("it locks");
        let file = format!("-- migrate: no-transaction\nANALYZE pg_class;\n{statement};\n");
        let files = [TABLE, ("002_it.sql", file.as_str())];
        let ran = fixture.apply(&files).await;
        assert_eq!(ran.failure().reason, Reason::Retrying, "{statement}");
        assert!(ran.failure().message.contains("Last seen in the way: pid "), "{}", ran.failure().message);
        holder.batch_execute("COMMIT").await.expect("the holder ends");
        fixture.apply(&files).await.is_up_to_date();
        assert_eq!(
            fixture.ask("SELECT outcome || attempts FROM dunlin.run WHERE version = '002'").await,
            "succeeded2",
            "{statement}"
        );
    }
}

/// Nothing of a transaction that went down with its session is in the database, its count of tries neither: what the
/// history counts are tries that the server answered.
#[tokio::test]
async fn a_try_that_went_down_with_its_session_leaves_no_trace() {
    let fixture = Fixture::new().await;
    fixture.apply(&[TABLE]).await.is_up_to_date();
    let gate = fixture.another().await;
    gate.batch_execute("SELECT pg_advisory_lock(43)").await.expect("it is free");
    let files = [TABLE, ("002_gated.sql", "ALTER TABLE t ADD COLUMN c int; SELECT pg_advisory_xact_lock(43);")];
    let end = async {
        eventually("it waits at the gate", Duration::from_secs(20), async || {
            let ended = fixture.ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'").await;
            if ended == "1" { Ok(()) } else { Err(ended) }
        })
        .await;
    };
    let (report, ()) = tokio::join!(fixture.execute(&files), end);
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::Retrying);
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE version = '002'").await, "0");
    drop(gate);
    fixture.apply(&files).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT outcome || attempts FROM dunlin.run WHERE version = '002'").await, "succeeded1");
}
