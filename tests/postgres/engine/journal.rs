//! Outside a transaction: written down before and after, proven after a crash, or a person is asked.

use std::time::Duration;

use dunlin::core::{desired::Action, outcome::Reason};

use super::fixture::{Fixture, Ran};
use crate::support::eventually;

const TABLE: (&str, &str) =
    ("001_table.sql", "CREATE TABLE t (a int, b int); INSERT INTO t SELECT n, n FROM generate_series(1, 100) n;");
const INDEX: (&str, &str) = (
    "002_index.sql",
    "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY t_a ON t (a);\nALTER TABLE t ADD COLUMN c int;\nVACUUM t;\n",
);

/// M19, Q71
#[tokio::test]
async fn statements_are_journaled_one_by_one() {
    let fixture = Fixture::new().await;
    fixture.apply(&[TABLE, INDEX]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass").await, "t");
    assert_eq!(
        fixture.ask("SELECT string_agg(ordinal || state, ',' ORDER BY ordinal) FROM dunlin.statement").await,
        "1done,2done,3done"
    );
    assert_eq!(
        fixture.ask("SELECT state || transactional FROM dunlin.migration WHERE version = '002'").await,
        "appliedfalse"
    );
}

/// M20, M21: how far it got, what it left, and the ways out.
#[tokio::test]
async fn a_refused_statement_waits_for_a_person_with_how_far_the_file_got() {
    let mut fixture = Fixture::new().await;
    let unique = (
        "002_unique.sql",
        "-- migrate: no-transaction\nALTER TABLE t ADD COLUMN c int;\nCREATE UNIQUE INDEX CONCURRENTLY t_half ON t ((a / 2));\nVACUUM t;\n",
    );
    let ran = fixture.apply(&[TABLE, unique]).await;
    let finding = ran.finding();
    assert_eq!(finding.reason, Reason::NonTransactionalFailed);
    assert!(finding.message.contains("002_unique.sql:3:1"), "{}", finding.message);
    assert!(finding.message.contains("t_half is there but invalid"), "{}", finding.message);
    assert!(
        finding.message.contains("DROP INDEX CONCURRENTLY public.t_half\n1 of its statements is done"),
        "{}",
        finding.message
    );
    for way in ["Retry", "Resume (from statement 2)", "MarkApplied", "MarkRolledBack"] {
        assert!(finding.message.contains(way), "{way}: {}", finding.message);
    }
    let failed = finding.failure.as_ref().expect("the run is named");
    assert_eq!((failed.error.statement, failed.statements_applied), (Some(2), 1));

    let later = ("003_later.sql", "CREATE TABLE later (a int);");
    fixture.apply(&[TABLE, unique, later]).await;
    assert_eq!(fixture.ask("SELECT to_regclass('later') IS NULL").await, "t", "nothing runs until a person decides");

    // A decision that names another run is not passed over in silence.
    fixture.resolve(failed.run + 5, Action::Resume);
    let (run, ran) = (failed.run, fixture.apply(&[TABLE, unique, later]).await);
    let expected = format!("spec.resolutions[0] names run {}; the run that waits is {run}", run + 5);
    assert!(ran.finding().message.ends_with(&expected), "{}", ran.finding().message);

    // A person mends the data and removes what was left; the file goes on from where it failed.
    fixture.run_sql("DROP INDEX t_half; DELETE FROM t WHERE a % 2 = 1").await;
    fixture.resolve(failed.run, Action::Resume);
    fixture.apply(&[TABLE, unique, later]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_half'::regclass").await, "t");
    assert_eq!(
        fixture
            .ask("SELECT string_agg(kind || ' ' || outcome, ', ' ORDER BY id) FROM dunlin.run WHERE version = '002'")
            .await,
        "apply failed, resume succeeded"
    );
}

#[tokio::test]
async fn each_mark_does_what_it_says() {
    for (action, expected) in [(Action::MarkApplied, "applied"), (Action::MarkRolledBack, "rolled_back")] {
        let mut fixture = Fixture::new().await;
        let broken = ("002_broken.sql", "-- migrate: no-transaction\nSELECT 1/0;\n");
        let run = failed_run(&fixture.apply(&[TABLE, broken]).await);
        fixture.resolve(run, action);
        let ran = fixture.apply(&[TABLE, broken]).await;
        if action == Action::MarkApplied {
            ran.is_up_to_date();
            assert_eq!(fixture.ask("SELECT state FROM dunlin.migration WHERE version = '002'").await, expected);
        } else {
            // It is pending again, and fails again: a new run, which the old resolution doesn't name.
            assert_eq!(ran.finding().reason, Reason::NonTransactionalFailed);
            assert!(failed_run(&ran) > run);
        }
    }
}

#[tokio::test]
async fn an_edit_of_what_already_ran_takes_resume_away() {
    let mut fixture = Fixture::new().await;
    let file = |first: &str, second: &str| format!("-- migrate: no-transaction\n{first};\n{second};\n");
    let broken = file("ALTER TABLE t ADD COLUMN c int", "SELECT 1/0");
    let run = failed_run(&fixture.apply(&[TABLE, ("002_x.sql", &broken)]).await);
    fixture.resolve(run, Action::Resume);
    let edited = file("ALTER TABLE t ADD COLUMN c bigint", "SELECT 1");
    let ran = fixture.apply(&[TABLE, ("002_x.sql", &edited)]).await;
    assert_eq!(ran.finding().reason, Reason::NonTransactionalFailed);
    assert!(ran.finding().message.contains("edited within the 1 statements"), "{}", ran.finding().message);
    assert!(ran.finding().message.contains("asks for Resume, which is not possible"), "{}", ran.finding().message);
    let mended = file("ALTER TABLE t ADD COLUMN c int", "SELECT 1");
    fixture.apply(&[TABLE, ("002_x.sql", &mended)]).await.is_up_to_date();
}

#[tokio::test]
async fn settings_are_sent_again_on_resume_and_other_state_forbids_it() {
    let mut fixture = Fixture::new().await;
    fixture.run_sql("CREATE SCHEMA app; CREATE TABLE app.flag (a int)").await;
    let file = "-- migrate: no-transaction\nSET search_path = app;\nINSERT INTO flag VALUES (1/(SELECT count(*) FROM flag));\n";
    let run = failed_run(&fixture.apply(&[("001_path.sql", file)]).await);
    fixture.run_sql("INSERT INTO app.flag VALUES (7)").await;
    fixture.resolve(run, Action::Resume);
    fixture.apply(&[("001_path.sql", file)]).await.is_up_to_date();

    let temporary = (
        "002_temp.sql",
        "-- migrate: no-transaction\nCREATE TEMP TABLE s (a int);\nSELECT 1/0 FROM s RIGHT JOIN (SELECT 1) x ON true;\n",
    );
    let ran = fixture.apply(&[("001_path.sql", file), temporary]).await;
    assert!(
        ran.finding().message.contains("Resume is not possible: statement 1 (line 2)"),
        "{}",
        ran.finding().message
    );
}

/// The old session ends inside CREATE INDEX CONCURRENTLY: the invalid index goes, and a valid one is built.
#[tokio::test]
async fn an_index_build_that_was_cut_off_is_done_again() {
    let fixture = Fixture::new().await;
    fixture.apply(&[TABLE]).await.is_up_to_date();
    let writer = fixture.another().await;
    writer.batch_execute("BEGIN; INSERT INTO t VALUES (1000, 1000)").await.expect("a writer is in the way");
    let cut = async {
        eventually("the build to wait for the writer", Duration::from_secs(10), async || {
            let waiting = fixture.ask("SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase LIKE 'waiting%'").await;
            if waiting == "1" { Ok(()) } else { Err(waiting) }
        })
        .await;
        fixture.run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index WHERE datname = current_database()").await;
    };
    let files = [TABLE, INDEX];
    let (report, ()) = tokio::join!(fixture.execute(&files), cut);
    let dunlin::execute::End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::Retrying);
    assert_eq!(fixture.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass").await, "f");
    assert_eq!(fixture.ask("SELECT state FROM dunlin.statement").await, "intent");
    writer.batch_execute("COMMIT").await.expect("the writer ends");

    fixture.apply(&[TABLE, INDEX]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass").await, "t");
    assert_eq!(fixture.ask("SELECT attempts || outcome FROM dunlin.run WHERE version = '002'").await, "2succeeded");
}

/// A crash after statement 1 began, and what the catalog shows then.
async fn crashed(catalog: &str, file: &str) -> (Fixture, Ran) {
    let fixture = Fixture::new().await;
    let files = [TABLE, ("002_it.sql", file)];
    fixture.apply(&files).await.is_up_to_date();
    // The history as a crash leaves it before the first statement's end was written down.
    fixture
        .run_sql(
            "DELETE FROM dunlin.statement WHERE ordinal > 1; UPDATE dunlin.statement SET state = 'intent', finished_at = NULL;
             UPDATE dunlin.run SET outcome = 'running', finished_at = NULL WHERE version = '002';
             UPDATE dunlin.migration SET state = 'interrupted' WHERE version = '002'",
        )
        .await;
    if !catalog.is_empty() {
        fixture.run_sql(catalog).await;
    }
    let ran = fixture.apply(&files).await;
    (fixture, ran)
}

const VALID: &str = "SELECT string_agg(indisvalid::text || pg_get_indexdef(indexrelid), ',') FROM pg_index WHERE indrelid = 't'::regclass";

#[tokio::test]
async fn a_valid_index_as_asked_is_recorded_as_done() {
    for file in [
        "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY t_a ON t (a DESC, lower(b::text)) WHERE b > 3;",
        "-- migrate: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_a ON ONLY public.t USING btree (a) INCLUDE (b);",
    ] {
        let (fixture, ran) = crashed("", file).await;
        ran.is_up_to_date();
        assert!(fixture.ask(VALID).await.starts_with("true"), "{}", fixture.ask(VALID).await);
    }
}

#[tokio::test]
async fn an_absent_index_is_built_and_an_invalid_one_replaced() {
    let file = "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY t_a ON t (a);";
    for catalog in ["DROP INDEX t_a", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_a'::regclass"] {
        let (fixture, ran) = crashed(catalog, file).await;
        ran.is_up_to_date();
        assert_eq!(fixture.ask(VALID).await, "trueCREATE INDEX t_a ON public.t USING btree (a)");
    }
}

#[tokio::test]
async fn an_unnamed_index_is_the_one_that_was_not_there_before() {
    let file = "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY ON t (a);";
    let (fixture, ran) = crashed("", file).await;
    ran.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass").await, "1");
}

#[tokio::test]
async fn an_index_with_another_definition_is_a_persons_to_judge() {
    let file = "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY t_a ON t (a);";
    let (_, ran) = crashed("DROP INDEX t_a; CREATE INDEX t_a ON t (b)", file).await;
    assert_eq!(ran.finding().reason, Reason::Interrupted);
    assert!(ran.finding().message.contains("another definition"), "{}", ran.finding().message);
    assert!(ran.finding().message.contains("MarkApplied"), "{}", ran.finding().message);
}

#[tokio::test]
async fn what_is_harmless_is_repeated_and_what_is_unproven_is_asked_about() {
    let (_, ran) = crashed("", "-- migrate: no-transaction\nVACUUM t;").await;
    ran.is_up_to_date();
    let (_, ran) =
        crashed("CREATE INDEX again ON t (b)", "-- migrate: no-transaction\nREINDEX TABLE CONCURRENTLY t;").await;
    ran.is_up_to_date();
    let (_, ran) = crashed("", "-- migrate: no-transaction\nDO $$ BEGIN COMMIT; END $$;").await;
    assert_eq!(ran.finding().reason, Reason::Interrupted);
}

#[tokio::test]
async fn dropping_and_detaching_are_proven_by_absence() {
    let fixture = Fixture::new().await;
    fixture
        .run_sql(
            "CREATE TABLE t (a int); CREATE INDEX gone ON t (a); CREATE TABLE p (a int) PARTITION BY RANGE (a);
             CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (2)",
        )
        .await;
    let file =
        "-- migrate: no-transaction\nDROP INDEX CONCURRENTLY gone;\nALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;\n";
    fixture.apply(&[("001_gone.sql", file)]).await.is_up_to_date();
    fixture
        .run_sql(
            "UPDATE dunlin.statement SET state = 'intent' WHERE ordinal = 2; UPDATE dunlin.run SET outcome = 'running';
             UPDATE dunlin.migration SET state = 'interrupted'",
        )
        .await;
    fixture.apply(&[("001_gone.sql", file)]).await.is_up_to_date();
    fixture
        .run_sql(
            "DELETE FROM dunlin.statement WHERE ordinal = 2; UPDATE dunlin.statement SET state = 'intent';
             UPDATE dunlin.run SET outcome = 'running'; UPDATE dunlin.migration SET state = 'interrupted';
             ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (1) TO (2)",
        )
        .await;
    fixture.apply(&[("001_gone.sql", file)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass").await, "0");
}

/// Somebody's lock is no error of the file's, outside of a transaction either: what waited for it was rolled back.
#[tokio::test]
async fn a_lock_that_a_transaction_of_the_journal_waits_for_is_retried_and_then_said() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[TABLE]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = 200;
    fixture.desired.session.lock_retries = 1;
    let reader = fixture.another().await;
    reader.batch_execute("BEGIN; SELECT * FROM t LIMIT 1").await.expect("a reader is in the way");
    let ran = fixture.apply(&[TABLE, INDEX]).await;
    assert_eq!(ran.failure().reason, Reason::Retrying);
    assert!(ran.failure().message.contains("002_index.sql:3:"), "{}", ran.failure().message);
    assert!(ran.failure().message.contains("55P03"), "{}", ran.failure().message);
    assert_eq!(fixture.ask("SELECT string_agg(ordinal || state, ',') FROM dunlin.statement").await, "1done");
    reader.batch_execute("COMMIT").await.expect("the reader ends");
    fixture.apply(&[TABLE, INDEX]).await.is_up_to_date();
    assert_eq!(
        fixture.ask("SELECT count(*) || outcome FROM dunlin.run WHERE version = '002' GROUP BY outcome").await,
        "1succeeded"
    );
}

/// The statement that was under way has been cut from the file: what it did is not forgotten with it.
#[tokio::test]
async fn a_statement_that_was_under_way_does_not_vanish_with_its_text() {
    let fixture = Fixture::new().await;
    fixture.apply(&[TABLE, INDEX]).await.is_up_to_date();
    fixture
        .run_sql(
            "UPDATE dunlin.statement SET state = 'intent', finished_at = NULL WHERE ordinal = 3;
             UPDATE dunlin.run SET outcome = 'running', finished_at = NULL WHERE version = '002';
             UPDATE dunlin.migration SET state = 'interrupted' WHERE version = '002'",
        )
        .await;
    let shorter = INDEX.1.replace("VACUUM t;\n", "");
    let ran = fixture.apply(&[TABLE, ("002_index.sql", &shorter)]).await;
    assert_eq!(ran.finding().reason, Reason::Interrupted);
    assert!(ran.finding().message.contains("no longer in the file"), "{}", ran.finding().message);
}

/// A partitioned table forbids what any other allows: REINDEX in a transaction.
#[tokio::test]
async fn a_statement_that_turns_out_to_need_no_transaction_goes_alone() {
    let fixture = Fixture::new().await;
    let table = (
        "001_parts.sql",
        "CREATE TABLE parts (a int) PARTITION BY LIST (a); CREATE INDEX ON parts (a); CREATE TABLE part PARTITION OF parts DEFAULT;",
    );
    let reindex = ("002_reindex.sql", "-- migrate: no-transaction\nREINDEX TABLE parts;\nANALYZE parts;\n");
    fixture.apply(&[table, reindex]).await.is_up_to_date();
    assert_eq!(
        fixture.ask("SELECT string_agg(ordinal || state, ',' ORDER BY ordinal) FROM dunlin.statement").await,
        "1done,2done"
    );
    // Cut off, it is a person's to judge: the words of the statement prove nothing.
    fixture
        .run_sql(
            "DELETE FROM dunlin.statement WHERE ordinal = 2; UPDATE dunlin.statement SET state = 'intent';
             UPDATE dunlin.run SET outcome = 'running' WHERE version = '002';
             UPDATE dunlin.migration SET state = 'interrupted' WHERE version = '002'",
        )
        .await;
    assert_eq!(fixture.apply(&[table, reindex]).await.finding().reason, Reason::Interrupted);
}

/// Nobody can prove what a file did that is gone: a person can say.
#[tokio::test]
async fn a_run_whose_file_is_gone_can_still_be_marked() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[TABLE, INDEX]).await.is_up_to_date();
    fixture
        .run_sql(
            "UPDATE dunlin.run SET outcome = 'running' WHERE version = '002';
             UPDATE dunlin.migration SET state = 'interrupted' WHERE version = '002'",
        )
        .await;
    let ran = fixture.apply(&[TABLE]).await;
    assert_eq!(ran.finding().reason, Reason::Interrupted);
    assert!(ran.finding().message.contains("002_index was cut off"), "{}", ran.finding().message);
    fixture.resolve(failed_run(&ran), Action::MarkRolledBack);
    fixture.apply(&[TABLE]).await.is_up_to_date();
    assert_eq!(
        fixture.ask("SELECT outcome || resolution FROM dunlin.run WHERE version = '002'").await,
        "interruptedMarkRolledBack"
    );
}

/// A block from BEGIN to COMMIT is one statement of the journal.
#[tokio::test]
async fn a_block_is_one_statement() {
    let fixture = Fixture::new().await;
    let file =
        "-- migrate: no-transaction\nBEGIN;\nCREATE TABLE x (a int);\nINSERT INTO x VALUES (1);\nCOMMIT;\nVACUUM x;\n";
    fixture.apply(&[("001_block.sql", file)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.statement").await, "2");
    let broken = "-- migrate: no-transaction\nBEGIN;\nCREATE TABLE y (a int);\nSELECT 1/0;\nCOMMIT;\n";
    let ran = fixture.apply(&[("001_block.sql", file), ("002_block.sql", broken)]).await;
    assert_eq!(ran.finding().reason, Reason::NonTransactionalFailed);
    assert_eq!(fixture.ask("SELECT to_regclass('y') IS NULL").await, "t");
}

/// `IF NOT EXISTS` succeeds over an invalid index; that is no success.
#[tokio::test]
async fn an_invalid_index_under_if_not_exists_is_no_success() {
    let fixture = Fixture::new().await;
    fixture.apply(&[TABLE]).await.is_up_to_date();
    fixture
        .run_sql("CREATE INDEX t_a ON t (a); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_a'::regclass")
        .await;
    let file = ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a);");
    let ran = fixture.apply(&[TABLE, file]).await;
    assert_eq!(ran.finding().reason, Reason::NonTransactionalFailed);
    assert!(ran.finding().message.contains("invalid"), "{}", ran.finding().message);
}

#[tokio::test]
async fn a_lock_time_out_does_not_apply_to_concurrent_forms() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[TABLE]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = 100;
    let writer = fixture.another().await;
    writer.batch_execute("BEGIN; INSERT INTO t VALUES (1000, 1000)").await.expect("a writer is in the way");
    let free = async {
        eventually("the build to have waited longer than the time-out", Duration::from_secs(10), async || {
            let waited = fixture.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX%' AND clock_timestamp() - query_start > '400 ms'").await;
            if waited == "1" { Ok(()) } else { Err(waited) }
        })
        .await;
        writer.batch_execute("COMMIT").await.expect("the writer ends");
    };
    let files = [TABLE, INDEX];
    let (ran, ()) = tokio::join!(fixture.apply(&files), free);
    ran.is_up_to_date();
}

fn failed_run(ran: &Ran) -> i64 {
    ran.finding().failure.as_ref().expect("a run is named").run
}
