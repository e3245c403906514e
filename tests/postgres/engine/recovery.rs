//! The table of what is found after a crash, row by row, against the catalog of a real server.

use std::time::Duration;

use dunlin::{core::outcome::Reason, execute::End};

use super::fixture::{Fixture, Ran};
use crate::support::eventually;

const TABLE: &str = "CREATE TABLE t (a int, b int); INSERT INTO t SELECT n, n FROM generate_series(1, 50) n;";

/// Applies the file, and makes the history what a crash leaves while that statement was under way.
async fn cut_off_at(ordinal: u32, setup: &str, file: &str) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.run_sql(&format!("{TABLE} {setup}")).await;
    fixture.apply(&[("001_it.sql", file)]).await.is_up_to_date();
    fixture
        .run_sql(&format!(
            "DELETE FROM dunlin.statement WHERE ordinal > {ordinal}; \
             UPDATE dunlin.statement SET state = 'intent', finished_at = NULL WHERE ordinal = {ordinal}; \
             UPDATE dunlin.run SET outcome = 'running', finished_at = NULL; UPDATE dunlin.migration SET state = 'interrupted'"
        ))
        .await;
    fixture
}

async fn recovered(setup: &str, file: &str, then: &str) -> (Fixture, Ran) {
    let fixture = cut_off_at(1, setup, file).await;
    if !then.is_empty() {
        fixture.run_sql(then).await;
    }
    let ran = fixture.apply(&[("001_it.sql", file)]).await;
    (fixture, ran)
}

fn journaled(statement: &str) -> String {
    format!("-- migrate: no-transaction\n{statement};\n")
}

#[tokio::test]
async fn an_index_name_that_another_relation_has_is_a_persons_to_judge() {
    for other in ["CREATE TABLE t_a (x int)", "CREATE TABLE u (x int); CREATE INDEX t_a ON u (x)"] {
        let (_, ran) =
            recovered("", &journaled("CREATE INDEX CONCURRENTLY t_a ON t (a)"), &format!("DROP INDEX t_a; {other}"))
                .await;
        assert_eq!(ran.finding().reason, Reason::Interrupted);
        assert!(
            ran.finding().message.contains("the name t_a belongs to another relation"),
            "{}",
            ran.finding().message
        );
    }
}

#[tokio::test]
async fn an_unnamed_index_is_told_by_what_was_there_before() {
    let file = journaled("CREATE INDEX CONCURRENTLY ON t (a)");
    let setup = "CREATE INDEX old_one ON t (a);";
    let count = "SELECT count(*) || ' ' || bool_and(indisvalid) FROM pg_index WHERE indrelid = 't'::regclass";
    for (then, expected) in [
        ("", "2 true"),
        ("DROP INDEX t_a_idx", "2 true"),
        ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_a_idx'::regclass", "2 true"),
    ] {
        let (fixture, ran) = recovered(setup, &file, then).await;
        ran.is_up_to_date();
        assert_eq!(fixture.ask(count).await, expected, "{then}");
    }
    let (_, ran) = recovered(setup, &file, "CREATE INDEX new_one ON t (b)").await;
    assert!(ran.finding().message.contains("several indexes of the table are new"), "{}", ran.finding().message);
    let (_, ran) = recovered(setup, &file, "DROP INDEX t_a_idx; CREATE INDEX new_one ON t (b)").await;
    assert!(ran.finding().message.contains("another definition"), "{}", ran.finding().message);
}

/// Invalid, and somebody is at work on the table: it is waited for, and named.
#[tokio::test]
async fn an_invalid_index_that_somebody_may_be_building_is_waited_for() {
    let file = journaled("CREATE INDEX CONCURRENTLY t_a ON t (a)");
    let fixture = cut_off_at(1, "", &file).await;
    fixture.run_sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_a'::regclass").await;
    let builder = fixture.another().await;
    builder.batch_execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE").await.expect("a lock");
    let ran = fixture.apply(&[("001_it.sql", &file)]).await;
    assert_eq!(ran.failure().reason, Reason::WaitingForLock);
    assert!(ran.failure().message.contains("is at work on its table"), "{}", ran.failure().message);
    assert_eq!(fixture.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass").await, "f");
    builder.batch_execute("COMMIT").await.expect("it ends");
    fixture.apply(&[("001_it.sql", &file)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass").await, "t");
}

/// The name of an index that is gone may stand for another one, further down the path.
#[tokio::test]
async fn a_dropped_index_is_not_taken_for_its_namesake() {
    let setup = "CREATE SCHEMA one; CREATE SCHEMA two; CREATE TABLE one.x (a int); CREATE TABLE two.x (a int); \
                 CREATE INDEX same ON one.x (a); CREATE INDEX same ON two.x (a);";
    let file = "-- migrate: no-transaction\nSET search_path = one, two;\nDROP INDEX CONCURRENTLY same;\n";
    let fixture = cut_off_at(2, setup, file).await;
    fixture.apply(&[("001_it.sql", file)]).await.is_up_to_date();
    assert_eq!(
        fixture.ask("SELECT to_regclass('one.same') IS NULL AND to_regclass('two.same') IS NOT NULL").await,
        "t"
    );
}

#[tokio::test]
async fn a_drop_that_did_not_happen_happens() {
    let fixture = Fixture::new().await;
    fixture.run_sql(&format!("{TABLE} CREATE INDEX t_a ON t (a)")).await;
    let file = journaled("DROP INDEX CONCURRENTLY IF EXISTS t_a");
    let reader = fixture.another().await;
    reader.batch_execute("BEGIN; SELECT * FROM t").await.expect("a reader is in the way");
    let cut = async {
        eventually("the drop to wait for the reader", Duration::from_secs(10), async || {
            let waiting = fixture.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'DROP INDEX%' AND wait_event_type = 'Lock'").await;
            if waiting == "1" { Ok(()) } else { Err(waiting) }
        })
        .await;
        fixture.run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'DROP INDEX%'").await;
    };
    let files = [("001_it.sql", file.as_str())];
    let (report, ()) = tokio::join!(fixture.execute(&files), cut);
    assert!(matches!(report.end, End::Failed(_)), "{:?}", report.end);
    reader.batch_execute("COMMIT").await.expect("the reader ends");
    fixture.apply(&files).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT to_regclass('t_a') IS NULL").await, "t");
}

/// Cut off after its first transaction, DETACH … CONCURRENTLY is pending, and only FINALIZE goes on.
#[tokio::test]
async fn a_pending_detach_is_finalized() {
    let fixture = Fixture::new().await;
    fixture
        .run_sql(
            "CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (2)",
        )
        .await;
    let file = journaled("ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY");
    let reader = fixture.another().await;
    reader.batch_execute("BEGIN; SELECT * FROM p").await.expect("a reader is in the way");
    let cut = async {
        eventually("the partition to be pending", Duration::from_secs(10), async || {
            let pending = fixture.ask("SELECT count(*) FROM pg_inherits WHERE inhdetachpending").await;
            if pending == "1" { Ok(()) } else { Err(pending) }
        })
        .await;
        fixture.run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'ALTER TABLE%'").await;
    };
    let files = [("001_it.sql", file.as_str())];
    let (report, ()) = tokio::join!(fixture.execute(&files), cut);
    assert!(matches!(report.end, End::Failed(_)), "{:?}", report.end);
    reader.batch_execute("COMMIT").await.expect("the reader ends");
    assert_eq!(fixture.ask("SELECT count(*) FROM pg_inherits WHERE inhdetachpending").await, "1");
    fixture.apply(&files).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass").await, "0");
}

/// What a REINDEX left is dropped; what was invalid before it, or belongs to somebody at work, is not ours.
#[tokio::test]
async fn a_reindex_is_repeated_without_its_leftovers() {
    let file = journaled("REINDEX TABLE CONCURRENTLY t");
    let setup = "CREATE INDEX t_a ON t (a); CREATE INDEX t_b_ccnew ON t (b); \
                 UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_b_ccnew'::regclass;";
    let left = "CREATE INDEX t_a_ccnew ON t (a); CREATE INDEX t_a_ccold1 ON t (a); \
                UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('t_a_ccnew'::regclass, 't_a_ccold1'::regclass)";
    let (fixture, ran) = recovered(setup, &file, left).await;
    ran.is_up_to_date();
    let names =
        "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relkind = 'i' AND relname LIKE 't\\_%'";
    assert_eq!(fixture.ask(names).await, "t_a,t_b_ccnew");

    let fixture = cut_off_at(1, setup, &file).await;
    fixture.run_sql(left).await;
    let other = fixture.another().await;
    other.batch_execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE").await.expect("a lock");
    let ran = fixture.apply(&[("001_it.sql", &file)]).await;
    assert_eq!(ran.failure().reason, Reason::WaitingForLock);
    assert_eq!(fixture.ask(names).await, "t_a,t_a_ccnew,t_a_ccold1,t_b_ccnew");
}

#[tokio::test]
async fn databases_are_proven_by_their_presence() {
    let name = format!("made_{}", Fixture::new().await.ask("SELECT current_database()").await);
    let (create, drop) = (journaled(&format!("CREATE DATABASE {name}")), journaled(&format!("DROP DATABASE {name}")));
    let exists = format!("SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{name}')");
    for then in [String::new(), format!("DROP DATABASE {name}")] {
        let (fixture, ran) = recovered("", &create, &then).await;
        ran.is_up_to_date();
        assert_eq!(fixture.ask(&exists).await, "t", "{then}");
        fixture.run_sql(&format!("DROP DATABASE {name}")).await;
    }
    for then in [String::new(), format!("CREATE DATABASE {name}")] {
        let fixture = Fixture::new().await;
        fixture.run_sql(&format!("CREATE DATABASE {name}")).await;
        drop_fixture(&fixture, &drop, &then).await;
        assert_eq!(fixture.ask(&exists).await, "f", "{then}");
    }
}

async fn drop_fixture(fixture: &Fixture, file: &str, then: &str) {
    fixture.apply(&[("001_it.sql", file)]).await.is_up_to_date();
    fixture
        .run_sql(
            "UPDATE dunlin.statement SET state = 'intent'; UPDATE dunlin.run SET outcome = 'running'; \
             UPDATE dunlin.migration SET state = 'interrupted'",
        )
        .await;
    if !then.is_empty() {
        fixture.run_sql(then).await;
    }
    fixture.apply(&[("001_it.sql", file)]).await.is_up_to_date();
}

#[tokio::test]
async fn what_is_harmless_is_repeated() {
    for statement in
        ["VACUUM t", "VACUUM (ANALYZE) t", "REINDEX SCHEMA public", "CLUSTER", "ALTER SYSTEM RESET work_mem"]
    {
        let (fixture, ran) = recovered("", &journaled(statement), "").await;
        ran.is_up_to_date();
        assert_eq!(fixture.ask("SELECT attempts FROM dunlin.run").await, "2", "{statement}");
    }
}

/// These may run in a transaction, and commit with their row: there is nothing to prove.
#[tokio::test]
async fn what_may_run_in_a_transaction_is_done_exactly_once() {
    let setup = "CREATE TYPE mood AS ENUM ('sad'); CREATE MATERIALIZED VIEW m AS SELECT a FROM t; CREATE UNIQUE INDEX ON m (a); \
                 ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 0) NOT VALID; CREATE TABLE counted (a int);";
    for statement in [
        "ALTER TYPE mood ADD VALUE 'happy'",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
        "ALTER TABLE t VALIDATE CONSTRAINT positive",
        "ANALYZE t",
        "INSERT INTO counted VALUES (1)",
        "CLUSTER t USING t_pkey_like",
    ] {
        let fixture = Fixture::new().await;
        fixture.run_sql(&format!("{TABLE} CREATE INDEX t_pkey_like ON t (a); {setup}")).await;
        let file = format!("-- migrate: no-transaction\n{statement};\nSELECT pg_sleep(60);\n");
        let files = [("001_it.sql", file.as_str())];
        let cut = async {
            eventually("the second statement to be under way", Duration::from_secs(10), async || {
                let busy = fixture.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()").await;
                if busy == "1" { Ok(()) } else { Err(busy) }
            })
            .await;
            fixture.run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()").await;
        };
        let (report, ()) = tokio::join!(fixture.execute(&files), cut);
        assert!(matches!(report.end, End::Failed(_)), "{:?}", report.end);
        assert_eq!(
            fixture.ask("SELECT string_agg(ordinal || state, ',') FROM dunlin.statement").await,
            "1done",
            "{statement}"
        );
        let shortened = format!("-- migrate: no-transaction\n{statement};\nSELECT 1;\n");
        fixture.apply(&[("001_it.sql", &shortened)]).await.is_up_to_date();
        assert_eq!(fixture.ask("SELECT count(*) < 2 FROM counted").await, "t", "{statement}");
        assert_eq!(fixture.ask("SELECT attempts FROM dunlin.run").await, "2", "{statement}");
    }
}

/// An unnamed index that failed is named, with what removes it; and so are a REINDEX's leftovers.
#[tokio::test]
async fn what_a_failure_left_is_named() {
    let fixture = Fixture::new().await;
    fixture.run_sql(&format!("{TABLE} INSERT INTO t VALUES (1, 1)")).await;
    let ran = fixture.apply(&[("001_it.sql", &journaled("CREATE UNIQUE INDEX CONCURRENTLY ON t (a)"))]).await;
    assert_eq!(ran.finding().reason, Reason::NonTransactionalFailed);
    assert!(ran.finding().message.contains("DROP INDEX CONCURRENTLY public.t_a_idx"), "{}", ran.finding().message);
    // The statement's row and the end of its run are one commit.
    assert_eq!(
        fixture
            .ask("SELECT s.state || r.outcome || (s.xmin = r.xmin)::text FROM dunlin.statement s JOIN dunlin.run r ON r.id = s.run")
            .await,
        "failedfailedtrue"
    );
}

#[tokio::test]
async fn an_edit_of_the_statement_that_was_cut_off_is_a_persons_to_judge() {
    let fixture = cut_off_at(1, "", &journaled("CREATE INDEX CONCURRENTLY t_a ON t (a)")).await;
    let ran = fixture.apply(&[("001_it.sql", &journaled("CREATE INDEX CONCURRENTLY t_a ON t (b)"))]).await;
    assert_eq!(ran.finding().reason, Reason::Interrupted);
    assert!(ran.finding().message.contains("was edited since"), "{}", ran.finding().message);
}
