//! What is shown of a long statement: its phase and percentage while it runs, on every version, and nothing afterwards.
//!
//! Nothing here depends on how fast anything is: a statement stops half-way at a gate that the test holds closed.

use std::time::Duration;

use dunlin::{
    core::progress::Progress,
    database::progress,
    execute::{End, Running},
};
use tokio_postgres::Client;

use super::fixture::{Fixture, ask};
use crate::support::{dedicated_postgres_version, eventually};

/// Whoever comes to row 5000 waits at gate 43. (It is no immutable function, but says so, to be allowed in an index.)
const BIG: (&str, &str) = (
    "001_big.sql",
    "CREATE TABLE big AS SELECT n AS a FROM generate_series(1, 10000) AS n;
     CREATE FUNCTION gated(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
       IF n = 5000 THEN PERFORM pg_catalog.pg_advisory_lock_shared(43), pg_catalog.pg_advisory_unlock_shared(43); END IF;
       RETURN n; END $$;",
);

/// A closed gate, opened when it is dropped.
async fn gate(fixture: &Fixture, key: i64) -> Client {
    let gate = fixture.another().await;
    let close = format!("SET application_name = 'gate {key}'; SELECT pg_advisory_lock({key})");
    gate.batch_execute(&close).await.expect("the gate is open");
    gate
}

/// A fixture with the big table, in which nothing gives way.
async fn big() -> Fixture {
    big_in(Fixture::new().await).await
}

async fn big_in(mut fixture: Fixture) -> Fixture {
    fixture.desired.session.lock_timeout_ms = 0;
    fixture.apply(&[BIG]).await.is_up_to_date();
    fixture
}

/// Waits until what runs is shown to be so.
async fn shown(fixture: &Fixture, what: &str, hoped: impl Fn(&Running) -> bool) -> Running {
    eventually(what, Duration::from_secs(30), async || {
        let running = fixture.running.borrow().clone();
        running.filter(&hoped).ok_or_else(|| fixture.running.borrow().clone())
    })
    .await
}

fn is_at(running: &Running, phase: &str) -> bool {
    running.progress.as_ref().is_some_and(|progress| progress.phase == phase)
}

fn at_gate(running: &Running, key: i64) -> bool {
    running.blocked_by.iter().any(|blocker| blocker.application.as_deref() == Some(&format!("gate {key}")))
}

fn percent(running: &Running) -> Option<u8> {
    running.progress.as_ref().and_then(|progress| progress.percent)
}

/// Runs the file, which comes to gate 43; returns what is shown there once `phase` is.
async fn stopped_at_the_gate(fixture: &Fixture, files: &[(&str, &str)], phase: &str) -> Running {
    let gate = gate(fixture, 43).await;
    let watch = async {
        let running = shown(fixture, phase, |running| is_at(running, phase) && at_gate(running, 43)).await;
        drop(gate);
        running
    };
    let (ran, running) = tokio::join!(fixture.apply(files), watch);
    ran.is_up_to_date();
    assert_eq!(*fixture.running.borrow(), None, "nothing is shown of what has ended");
    running
}

async fn shows_an_index_build(fixture: &Fixture) {
    let index = ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY big_a ON big (gated(a));\n");
    let running = stopped_at_the_gate(fixture, &[BIG, index], "building index: scanning table").await;
    let block = "SELECT (100 * split_part(trim('()' FROM ctid::text), ',', 1)::int / (pg_relation_size('big') / 8192))::text FROM big WHERE a = 5000";
    assert_eq!(percent(&running).map(|percent| percent.to_string()), Some(fixture.ask(block).await));
}

/// A reader stands on the block of row 5000, which a freezing VACUUM must have to itself.
async fn shows_a_vacuum(fixture: &Fixture, files: &[(&str, &str)]) {
    let reader = fixture.another().await;
    let stand = "BEGIN; DECLARE rows CURSOR FOR SELECT a FROM big; MOVE 5000 IN rows";
    reader.batch_execute(stand).await.expect("it reads");
    let watch = async {
        let running = shown(fixture, "VACUUM", |running| is_at(running, "VACUUM: scanning heap")).await;
        // It may have been seen on its way to that block.
        let expected = eventually("it stands before the block", Duration::from_secs(20), async || {
            let there = fixture.ask("SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event = 'BufferPin' AND datname = current_database()").await;
            if there != "BufferPin" {
                return Err(there);
            }
            Ok(fixture.ask("SELECT 100 * heap_blks_scanned / heap_blks_total FROM pg_stat_progress_vacuum WHERE datname = current_database()").await)
        })
        .await;
        let there =
            |running: &Running| percent(running).map(|percent| percent.to_string()).as_deref() == Some(&expected);
        let running = shown(fixture, &format!("{expected} %, not {running:?}"), there).await;
        drop(reader);
        running
    };
    let (ran, running) = tokio::join!(fixture.apply(files), watch);
    ran.is_up_to_date();
    assert!(percent(&running).is_some_and(|percent| (1..100).contains(&percent)), "{running:?}");
}

async fn shows_a_copy(fixture: &Fixture, files: &[(&str, &str)]) {
    // Many times the 64 KiB that the server reads at once.
    let file = fixture.ask("SELECT current_setting('data_directory') || '/' || current_database() || '.txt'").await;
    fixture.run_sql(&format!("COPY (SELECT generate_series(1, 100000)) TO '{file}'")).await;
    fixture
        .run_sql(
            "CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM gated(NEW.a); RETURN NEW; END';
             CREATE TRIGGER pass BEFORE INSERT ON big FOR EACH ROW EXECUTE FUNCTION pass()",
        )
        .await;
    let copy = format!("COPY big FROM '{file}';");
    let mut files = files.to_vec();
    files.push(("009_copy.sql", &copy));
    let running = stopped_at_the_gate(fixture, &files, "COPY FROM").await;
    assert!(percent(&running).is_some_and(|percent| (1..50).contains(&percent)), "{running:?}");
}

#[tokio::test]
async fn an_index_build_shows_its_phase_and_how_much_of_the_table_is_scanned() {
    shows_an_index_build(&big().await).await;
}

const VACUUM: (&str, &str) = ("003_vacuum.sql", "-- migrate: no-transaction\nVACUUM (FREEZE) big;\n");

#[tokio::test]
async fn a_vacuum_shows_its_phase_and_how_much_of_the_table_is_scanned() {
    shows_a_vacuum(&big().await, &[BIG, VACUUM]).await;
}

#[tokio::test]
async fn a_copy_from_a_file_shows_how_much_of_the_file_is_read() {
    shows_a_copy(&big().await, &[BIG]).await;
}

/// The views have other columns on 17 and 18 than before. (The shared server is another version again.)
#[tokio::test]
async fn progress_is_shown_on_the_oldest_and_the_newest_versions() {
    let on = async |version| {
        let server = dedicated_postgres_version(Some(version), &[], &[], &[]);
        let fixture = big_in(Fixture::on(server.fresh_database().await).await).await;
        shows_an_index_build(&fixture).await;
        let index =
            ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY big_a ON big (gated(a));\n");
        shows_a_vacuum(&fixture, &[BIG, index, VACUUM]).await;
        shows_a_copy(&fixture, &[BIG, index, VACUUM]).await;
    };
    on(14).await;
    on(17).await;
    on(18).await;
}

/// Where the server gives no total there is a phase alone.
#[tokio::test]
async fn other_commands_show_their_phases_without_a_percentage() {
    let fixture = big().await;
    fixture.run_sql("CREATE INDEX big_a ON big (gated(a))").await;
    let analyze = ("002_analyze.sql", "-- migrate: no-transaction\nANALYZE big;\n");
    let full = ("003_full.sql", "-- migrate: no-transaction\nVACUUM FULL big;\n");
    let cluster = ("004_cluster.sql", "-- migrate: no-transaction\nCLUSTER big USING big_a;\n");
    let reindex = ("005_reindex.sql", "-- migrate: no-transaction\nREINDEX INDEX CONCURRENTLY big_a;\n");
    let files = [BIG, analyze, full, cluster, reindex];
    for (count, phase) in
        [(2, "ANALYZE: computing statistics"), (3, "VACUUM FULL: rebuilding index"), (4, "CLUSTER: rebuilding index")]
    {
        let running = stopped_at_the_gate(&fixture, &files[..count], phase).await;
        assert_eq!((percent(&running), running.statement), (None, Some(1)), "{running:?}");
    }
    let running = stopped_at_the_gate(&fixture, &files, "building index: scanning table").await;
    assert!(percent(&running).is_some(), "{running:?}");
}

#[tokio::test]
async fn a_build_that_waits_for_writers_says_so_and_names_them() {
    let fixture = big().await;
    let writer = fixture.another().await;
    writer
        .batch_execute("SET application_name = 'the writer'; BEGIN; INSERT INTO big VALUES (0)")
        .await
        .expect("it writes");
    let index = ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY big_a ON big (a);\n");
    let watch = async {
        let waits =
            |running: &Running| is_at(running, "waiting for writers before build") && !running.blocked_by.is_empty();
        let running = shown(&fixture, "it waits", waits).await;
        writer.batch_execute("COMMIT").await.expect("the writer ends");
        running
    };
    let files = [BIG, index];
    let (ran, running) = tokio::join!(fixture.apply(&files), watch);
    ran.is_up_to_date();
    assert_eq!(percent(&running), Some(0), "none of the one writer is through");
    assert_eq!(running.blocked_by[0].application.as_deref(), Some("the writer"));
    assert!(
        running.to_string().contains("002_index, waiting for writers before build 0%, waiting for pid "),
        "{running:?}"
    );
}

#[tokio::test]
async fn a_phase_is_gone_when_its_statement_has_ended() {
    let fixture = big().await;
    let file = (
        "002_index.sql",
        "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY big_a ON big (gated(a));\nSELECT pg_advisory_lock(44);\n",
    );
    let (first, second) = (gate(&fixture, 43).await, gate(&fixture, 44).await);
    let watch = async {
        let building = shown(&fixture, "it builds", |running| at_gate(running, 43) && running.progress.is_some()).await;
        assert_eq!((building.statement, building.statements), (Some(1), 2));
        drop(first);
        // At once, not when the next look is due.
        let after = shown(&fixture, "the second statement", |running| running.statement == Some(2)).await;
        assert_eq!(after.progress, None, "{after:?}");
        let waiting = shown(&fixture, "the second gate", |running| at_gate(running, 44)).await;
        assert_eq!((waiting.statement, waiting.progress), (Some(2), None));
        drop(second);
    };
    let files = [BIG, file];
    let (ran, ()) = tokio::join!(fixture.apply(&files), watch);
    ran.is_up_to_date();
}

/// In a transaction likewise; but which of several statements it is, the server tells at the end of the message.
#[tokio::test]
async fn a_file_that_goes_as_one_message_shows_phases_and_no_number_of_its_statement() {
    let fixture = big().await;
    let two = ("002_two.sql", "CREATE INDEX big_a ON big (gated(a));\nSELECT pg_advisory_lock(44);\n");
    let (first, second) = (gate(&fixture, 43).await, gate(&fixture, 44).await);
    let watch = async {
        let building = shown(&fixture, "it builds", |running| at_gate(running, 43) && running.progress.is_some()).await;
        assert!(is_at(&building, "building index: scanning table"), "{building:?}");
        assert_eq!((building.statement, building.statements), (None, 2));
        drop(first);
        let waiting = shown(&fixture, "the second gate", |running| at_gate(running, 44)).await;
        assert_eq!((waiting.statement, waiting.progress), (None, None), "the index is built");
        drop(second);
    };
    let files = [BIG, two];
    let (ran, ()) = tokio::join!(fixture.apply(&files), watch);
    ran.is_up_to_date();
}

#[tokio::test]
async fn a_file_with_data_goes_in_pieces_and_shows_which() {
    let fixture = big().await;
    let file = ("002_data.sql", "COPY big FROM stdin;\n1\n2\n\\.\nSELECT gated(5000);\nSELECT 1;\n");
    let gate = gate(&fixture, 43).await;
    let watch = async {
        let running = shown(&fixture, "the gate", |running| at_gate(running, 43)).await;
        drop(gate);
        running
    };
    let files = [BIG, file];
    let (ran, running) = tokio::join!(fixture.apply(&files), watch);
    ran.is_up_to_date();
    assert_eq!((running.statement, running.statements), (Some(2), 3));
}

/// Nothing may be seen of another role's session without `pg_read_all_stats`: that is no error.
#[tokio::test]
async fn a_login_that_may_not_see_sees_nothing() {
    let fixture = big().await;
    let database = fixture.ask("SELECT current_database()").await;
    fixture.run_sql(&format!("CREATE ROLE login_{database} LOGIN PASSWORD 'pencil'")).await;
    let (_, rest) = fixture.url.split_once('@').expect("the URL names a user");
    let poor = Fixture::on(format!("postgres://login_{database}:pencil@{rest}")).await;
    let gate = gate(&fixture, 43).await;
    let builder = fixture.another().await;
    let pid: i32 = ask(&builder, "SELECT pg_backend_pid()").await.parse().expect("a number");
    let looks = async {
        let phase = "building index: scanning table";
        eventually("the one who may sees it", Duration::from_secs(20), async || {
            let look = progress::look(&fixture.sql, pid).await.expect("it may look");
            let builds = look.progress.as_ref().is_some_and(|progress: &Progress| progress.phase == phase);
            // The phase begins before the gate is reached.
            if builds && !look.blockers.is_empty() { Ok(()) } else { Err(look) }
        })
        .await;
        let look = progress::look(&poor.sql, pid).await.expect("looking is no error");
        assert_eq!(look.progress, None);
        let [blocker] = &look.blockers[..] else { panic!("{look:?}") };
        assert_eq!((blocker.query.as_deref(), blocker.since.as_deref()), (None, None));
        drop(gate);
    };
    let (built, ()) = tokio::join!(builder.batch_execute("CREATE INDEX big_a ON big (gated(a))"), looks);
    built.expect("it is built");
}

/// A watching session that is gone holds up nothing, and nothing old is shown for what is now.
#[tokio::test]
async fn what_was_seen_is_forgotten_when_nothing_can_be_seen_any_more() {
    let fixture = big().await;
    let index = ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY big_a ON big (gated(a));\n");
    let gate = gate(&fixture, 43).await;
    let watch = async {
        shown(&fixture, "the gate", |running| at_gate(running, 43)).await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_blocking_pids%' AND pid <> pg_backend_pid()";
        assert_eq!(fixture.ask(end).await, "1");
        let nothing = |running: &Running| running.progress.is_none() && running.blocked_by.is_empty();
        shown(&fixture, "nothing", nothing).await;
        drop(gate);
    };
    let files = [BIG, index];
    let (report, ()) = tokio::join!(fixture.execute(&files), watch);
    assert!(matches!(report.end, End::Finished), "{:?}", report.end);
}
