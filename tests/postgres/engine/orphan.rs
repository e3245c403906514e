//! The client is gone and the server's backend works on, or both are gone while the statement was under way: a successor
//! waits, says for whom, and finishes what is left to finish.

use std::time::Duration;

use dunlin::{core::outcome::Reason, execute::End};

use super::{
    cut::{file, is_asked, until_free},
    fixture::Fixture,
    proxy,
};
use crate::support::eventually;

const MARKER: &str = "/* the cut */";
const LIMIT: Duration = Duration::from_secs(30);

const SETUP: &str = "
    CREATE TABLE t (a int, b int); INSERT INTO t SELECT n, n FROM generate_series(1, 50) n; CREATE INDEX t_old ON t (b);
    CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (2);
";

/// What holds a statement up until it ends, and the statement.
const HELD_UP: &[(&str, &str)] = &[
    ("INSERT INTO t VALUES (1000, 1000)", "CREATE INDEX CONCURRENTLY t_a ON t (a)"),
    ("INSERT INTO t VALUES (1000, 1000)", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a)"),
    ("INSERT INTO t VALUES (1000, 1000)", "CREATE INDEX CONCURRENTLY ON t (a)"),
    ("SELECT * FROM t", "DROP INDEX CONCURRENTLY t_old"),
    ("INSERT INTO t VALUES (1000, 1000)", "REINDEX INDEX CONCURRENTLY t_old"),
    ("INSERT INTO t VALUES (1000, 1000)", "REINDEX TABLE CONCURRENTLY t"),
    ("SELECT * FROM p", "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY"),
];

/// What there is, by name, and whether it is whole.
const SHAPE: &str = "
    SELECT string_agg(x, E'\n' ORDER BY x) FROM (
      SELECT concat_ws(' ', c.relname, c.relkind, i.indisvalid, pg_get_indexdef(i.indexrelid)) FROM pg_class c
        LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace
      UNION ALL SELECT concat_ws(' ', inhrelid::regclass, inhparent::regclass, inhdetachpending) FROM pg_inherits
    ) AS it(x)";

async fn prepared() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.run_sql(SETUP).await;
    fixture
}

async fn undisturbed(statement: &str) -> String {
    let fixture = prepared().await;
    fixture.run_sql("CREATE TABLE ahead (a int)").await;
    fixture.run_sql(statement).await;
    fixture.run_sql("CREATE TABLE behind (a int)").await;
    fixture.ask(SHAPE).await
}

/// Waits until the marked statement waits for a lock.
async fn until_held_up(fixture: &Fixture) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%{MARKER}%' \
         AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
    );
    eventually("the statement to be held up", LIMIT, async || {
        let waiting = fixture.ask(&sql).await;
        if waiting == "1" { Ok(()) } else { Err(waiting) }
    })
    .await;
}

/// The client dies; the backend goes on and keeps the lock. What it brings to an end is not done a second time.
#[tokio::test]
async fn an_orphan_is_waited_for_and_what_it_ends_is_recorded() {
    for (gate, statement) in HELD_UP {
        let shape = undisturbed(statement).await;
        let fixture = prepared().await;
        let (port, hang_up) = proxy::deaf(MARKER).await;
        let mut doomed = Fixture::on(fixture.url.clone()).await;
        doomed.url = proxy::through(&fixture.url, port);
        let holder = fixture.another().await;
        holder.batch_execute(&format!("BEGIN; {gate}")).await.expect("the gate is shut");
        let file = file(statement);
        let files = [("001_it.sql", file.as_str())];
        let killed = async {
            until_held_up(&fixture).await;
            hang_up.send_replace(true);
        };
        let (report, ()) = tokio::join!(doomed.execute(&files), killed);
        assert!(matches!(report.end, End::Failed(_)), "{statement}: {:?}", report.end);

        let pid = fixture.ask("SELECT backend_pid FROM dunlin.set").await;
        let report = fixture.execute(&files).await;
        let End::Failed(failure) = report.end else { panic!("{statement}: {:?}", report.end) };
        assert_eq!(failure.reason, Reason::WaitingForLock, "{statement}: {}", failure.message);
        assert!(failure.message.contains(&format!("pid {pid} (dunlin/shop/shop")), "{}", failure.message);
        until_held_up(&fixture).await;

        holder.batch_execute("ROLLBACK").await.expect("the gate is opened");
        until_free(&fixture).await;
        let made = fixture.ask("SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname ~ '^t_a'").await;
        fixture.apply(&files).await.is_up_to_date();
        assert_eq!(fixture.ask(SHAPE).await, shape, "{statement}");
        let now = fixture.ask("SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname ~ '^t_a'").await;
        assert_eq!(now, made, "{statement}: it was done a second time");
        let runs = fixture.ask("SELECT count(*) || ' ' || min(outcome) || ' ' || min(attempts) FROM dunlin.run").await;
        assert_eq!(runs, "1 succeeded 2", "{statement}");
    }
}

/// The backend is ended where it waits, and leaves whatever such an end leaves.
#[tokio::test]
async fn a_statement_that_was_ended_under_way_is_brought_to_its_end() {
    for (gate, statement) in HELD_UP {
        let shape = undisturbed(statement).await;
        let fixture = prepared().await;
        let holder = fixture.another().await;
        holder.batch_execute(&format!("BEGIN; {gate}")).await.expect("the gate is shut");
        let file = file(statement);
        let files = [("001_it.sql", file.as_str())];
        let cut = async {
            until_held_up(&fixture).await;
            fixture
                .run_sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%{MARKER}%' AND pid <> pg_backend_pid()"))
                .await;
        };
        let (report, ()) = tokio::join!(fixture.execute(&files), cut);
        assert!(matches!(report.end, End::Failed(_)), "{statement}: {:?}", report.end);
        holder.batch_execute("ROLLBACK").await.expect("the gate is opened");
        until_free(&fixture).await;
        fixture.apply(&files).await.is_up_to_date();
        assert_eq!(fixture.ask(SHAPE).await, shape, "{statement}");
    }
}

/// The first half of what commits by itself is there, the second isn't: nobody but a person can tell.
#[tokio::test]
async fn half_of_what_commits_by_itself_is_a_persons_to_judge() {
    let body = "BEGIN INSERT INTO t VALUES (1); COMMIT; LOCK TABLE p; INSERT INTO t VALUES (2); END";
    let call = format!("CREATE PROCEDURE halves() LANGUAGE plpgsql AS '{body}'");
    for statement in ["CALL halves()", &format!("DO $$ {body} $$")] {
        let fixture = Fixture::new().await;
        fixture.run_sql(&format!("CREATE TABLE t (a int); CREATE TABLE p (a int); {call}")).await;
        let holder = fixture.another().await;
        holder.batch_execute("BEGIN; SELECT * FROM p").await.expect("the gate is shut");
        let file = file(statement);
        let files = [("001_it.sql", file.as_str())];
        let cut = async {
            until_held_up(&fixture).await;
            fixture
                .run_sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%{MARKER}%' AND pid <> pg_backend_pid()"))
                .await;
        };
        let (report, ()) = tokio::join!(fixture.execute(&files), cut);
        assert!(matches!(report.end, End::Failed(_)), "{statement}: {:?}", report.end);
        holder.batch_execute("ROLLBACK").await.expect("the gate is opened");
        is_asked(&fixture.apply(&files).await, statement);
        assert_eq!(fixture.ask("SELECT string_agg(a::text, ',') FROM t").await, "1", "{statement}");
    }
}
