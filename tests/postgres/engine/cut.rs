//! Every statement that can't run in a transaction, and some that can, cut off for real: the connection ends before the
//! server has the statement, or after the server is through with it and before anybody has written that down.
//!
//! What comes of it is proven, and then everything is as in an undisturbed run, or a person is asked.

use std::time::Duration;

use dunlin::{core::outcome::Reason, execute::End};

use super::{
    fixture::{Fixture, Ran},
    proxy::{self, Moment},
};
use crate::support::{dedicated_postgres, eventually};

const SETUP: &str = "
    CREATE TABLE t (a int, b int); INSERT INTO t SELECT n, n FROM generate_series(1, 50) n;
    CREATE INDEX t_old ON t (b); CLUSTER t USING t_old;
    CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (2);
    CREATE INDEX p_a ON p (a);
    CREATE TYPE mood AS ENUM ('sad');
    CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t; CREATE UNIQUE INDEX ON m (count); INSERT INTO t VALUES (51, 51);
    ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 0) NOT VALID;
    CREATE TABLE counted (a int);
    CREATE PROCEDURE halves() LANGUAGE plpgsql AS 'BEGIN INSERT INTO counted VALUES (1); COMMIT; INSERT INTO counted VALUES (2); END';
    CREATE DATABASE {database}_old;
";

/// The schema by names, and what of the data matters here.
const SHAPE: &str = "
    SELECT string_agg(x, E'\n' ORDER BY x) FROM (
      SELECT concat_ws(' ', c.relname, c.relkind, i.indisvalid, pg_get_indexdef(i.indexrelid)) FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace
      UNION ALL SELECT concat_ws(' ', inhrelid::regclass, inhparent::regclass) FROM pg_inherits
      UNION ALL SELECT 'label ' || enumlabel FROM pg_enum
      UNION ALL SELECT concat_ws(' ', conname, convalidated) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c'
      UNION ALL SELECT concat_ws(' ', 'rows', a) FROM counted
      UNION ALL SELECT concat_ws(' ', 'view', count) FROM m
      UNION ALL SELECT 'database' || substr(datname, length(current_database()) + 1) FROM pg_database
        WHERE starts_with(datname, current_database() || '_')
    ) AS it(x)";

/// What a second run of a statement would change: which relations there are, by number, and where their data lie.
const MARKS: &str = "
    SELECT string_agg(concat_ws(' ', oid, relname, relfilenode), ',' ORDER BY oid) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relname <> 'behind'";

const MARKER: &str = "/* the cut */";

/// What is to come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Proven; what was done isn't done again.
    Once,
    /// Proven to be harmless: done again.
    Again,
    /// A person is asked.
    Asked,
    /// A person is asked, where it had begun.
    AskedAfter,
}

use Expected::{Again, Asked, AskedAfter, Once};

/// The statement with the marker in it, between two that leave something behind.
pub fn file(statement: &str) -> String {
    let (verb, rest) = statement.split_once(' ').unwrap_or((statement, ""));
    format!(
        "-- migrate: no-transaction\nCREATE TABLE ahead (a int);\n{verb} {MARKER} {rest};\nCREATE TABLE behind (a int);\n"
    )
}

pub async fn prepared() -> (Fixture, String) {
    let fixture = Fixture::new().await;
    let database = fixture.ask("SELECT current_database()").await;
    for statement in SETUP.replace("{database}", &database).split(";\n") {
        fixture.run_sql(statement).await;
    }
    (fixture, database)
}

/// Runs the file through a proxy that cuts at the marker.
pub async fn cut_off(fixture: &Fixture, files: &[(&str, &str)], moment: Moment) {
    let port = proxy::cut(&fixture.url, MARKER, moment).await;
    let mut through = Fixture::on(fixture.url.clone()).await;
    through.url = proxy::through(&fixture.url, port);
    through.desired = fixture.desired.clone();
    let End::Failed(failure) = through.execute(files).await.end else { panic!("it was cut off") };
    assert_eq!(failure.reason, Reason::Retrying, "{}", failure.message);
    // What the server was at work on ends; and the lock with it.
    until_free(fixture).await;
}

/// Waits until nobody holds the set's lock any more.
pub async fn until_free(fixture: &Fixture) {
    eventually("the old session to end", Duration::from_secs(20), async || {
        let held = fixture.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").await;
        if held == "0" { Ok(()) } else { Err(held) }
    })
    .await;
}

async fn check(table: &[(&str, Expected)]) {
    for (statement, expected) in table {
        let (undisturbed, database) = prepared().await;
        undisturbed.run_sql("CREATE TABLE ahead (a int)").await;
        undisturbed.run_sql(&statement.replace("{database}", &database)).await;
        undisturbed.run_sql("CREATE TABLE behind (a int)").await;
        let shape = undisturbed.ask(SHAPE).await.replace(&database, "{database}");
        for moment in [Moment::Before, Moment::After] {
            let (fixture, database) = prepared().await;
            let file = file(&statement.replace("{database}", &database));
            let files = [("001_it.sql", file.as_str())];
            cut_off(&fixture, &files, moment).await;
            let (before, half) = (fixture.ask(MARKS).await, fixture.ask(SHAPE).await);
            let ran = fixture.apply(&files).await;
            let what = format!("{statement}, cut {moment:?}");
            let expected = match (expected, moment) {
                (AskedAfter, Moment::Before) => Once,
                (AskedAfter, Moment::After) => Asked,
                (other, _) => *other,
            };
            match expected {
                Asked | AskedAfter => {
                    is_asked(&ran, &what);
                    assert_eq!(fixture.ask(SHAPE).await, half, "{what}: nothing is done before somebody decides");
                }
                Once | Again => {
                    assert_eq!(ran.assessment.findings, [], "{what}");
                    assert_eq!(ran.assessment.pending, 0, "{what}: {:?}", ran.report.end);
                    assert_eq!(fixture.ask(SHAPE).await.replace(&database, "{database}"), shape, "{what}");
                    if expected == Once && moment == Moment::After {
                        assert_eq!(fixture.ask(MARKS).await, before, "{what}: it was done a second time");
                    }
                }
            }
        }
    }
}

/// The failure names the statement, what ran before it, and every way out.
#[track_caller]
pub fn is_asked(ran: &Ran, what: &str) {
    assert!(matches!(ran.report.end, End::Finished), "{what}: {:?}", ran.report.end);
    let finding = ran.assessment.findings.first().unwrap_or_else(|| panic!("{what}: nobody is asked"));
    assert_eq!(finding.reason, Reason::Interrupted, "{what}: {}", finding.message);
    for words in [
        "001_it.sql:3:1: statement 2 of 3 was cut off, and what it did can't be proven",
        MARKER,
        "1 of its statements is done (run 1)",
        "Retry (from the top)",
        "Resume (from statement 2)",
        "MarkApplied",
        "MarkRolledBack",
    ] {
        assert!(finding.message.contains(words), "{what}: no {words:?} in: {}", finding.message);
    }
    let failed = finding.failure.as_ref().expect("the run is named");
    assert_eq!((failed.error.statement, failed.statements_applied), (Some(2), 1), "{what}");
}

#[tokio::test]
async fn indexes_that_were_cut_off_are_proven() {
    check(&[
        ("CREATE INDEX CONCURRENTLY t_a ON t (a)", Once),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a) WHERE a > 3", Once),
        ("CREATE INDEX CONCURRENTLY ON t (a)", Once),
        ("DROP INDEX CONCURRENTLY t_old", Once),
        ("DROP INDEX CONCURRENTLY IF EXISTS public.t_old", Once),
        ("DROP INDEX CONCURRENTLY IF EXISTS never_there", Once),
    ])
    .await;
}

#[tokio::test]
async fn a_reindex_that_was_cut_off_is_repeated() {
    check(&[
        ("REINDEX INDEX CONCURRENTLY t_old", Again),
        ("REINDEX TABLE CONCURRENTLY t", Again),
        ("REINDEX SCHEMA CONCURRENTLY public", Again),
        ("REINDEX DATABASE CONCURRENTLY {database}", Again),
        ("REINDEX SCHEMA public", Again),
        ("REINDEX DATABASE {database}", Again),
        ("REINDEX SYSTEM {database}", Again),
        // That the table is partitioned shows only when it runs, and then nothing proves it.
        ("REINDEX TABLE p", AskedAfter),
        ("REINDEX TABLE t", Once),
    ])
    .await;
}

#[tokio::test]
async fn what_stands_in_the_catalog_is_proven() {
    check(&[
        ("ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY", Once),
        ("CREATE DATABASE {database}_new", Once),
        ("DROP DATABASE {database}_old", Once),
        ("DROP DATABASE IF EXISTS {database}_old WITH (FORCE)", Once),
        ("DROP DATABASE IF EXISTS {database}_never", Once),
    ])
    .await;
}

#[tokio::test]
async fn what_is_harmless_to_repeat_is_repeated() {
    check(&[
        ("VACUUM t", Again),
        ("VACUUM (VERBOSE off)", Again),
        ("VACUUM (FULL, ANALYZE) t", Again),
        ("CLUSTER VERBOSE", Again),
        ("ALTER SYSTEM SET backend_flush_after = 0", Again),
        ("ALTER SYSTEM RESET backend_flush_after", Again),
    ])
    .await;
}

/// They commit with their row of the journal, so that there is nothing to prove.
#[tokio::test]
async fn what_may_run_in_a_transaction_is_done_once() {
    check(&[
        ("ALTER TYPE mood ADD VALUE 'happy'", Once),
        ("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'happy' BEFORE 'sad'", Once),
        ("ALTER TABLE t VALIDATE CONSTRAINT positive", Once),
        ("REFRESH MATERIALIZED VIEW m", Once),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", Once),
        ("ANALYZE t", Once),
        ("CLUSTER t USING t_old", Once),
        ("INSERT INTO counted VALUES (7)", Once),
        ("ALTER TABLE p DETACH PARTITION p1", Once),
        ("ALTER DATABASE {database} SET work_mem = '5MB'", Once),
        ("BEGIN; INSERT INTO counted VALUES (7); INSERT INTO counted VALUES (8); COMMIT", Once),
    ])
    .await;
}

#[tokio::test]
async fn what_nothing_proves_is_a_persons_to_judge() {
    check(&[
        ("CALL halves()", Asked),
        ("DO $$ BEGIN INSERT INTO counted VALUES (1); COMMIT; END $$", Asked),
        ("ALTER DATABASE {database}_old SET TABLESPACE pg_default", Asked),
    ])
    .await;
}

/// What needs a server that is set up for it: tablespaces, subscriptions, prepared transactions.
#[tokio::test]
async fn what_nothing_proves_is_asked_about_on_any_server() {
    let publisher = dedicated_postgres(&["wal_level=logical"], &[], &[]);
    let source = Fixture::on(publisher.fresh_database().await).await;
    source.run_sql("CREATE TABLE t (a int); CREATE PUBLICATION one FOR TABLE t; CREATE PUBLICATION two").await;
    let about = publisher.about();
    let connection = format!(
        "host=127.0.0.1 port={} user={} password={} dbname={}",
        about.port,
        about.user,
        about.password,
        source.ask("SELECT current_database()").await
    );
    let subscriber = dedicated_postgres(&["max_prepared_transactions=5", "allow_in_place_tablespaces=on"], &[], &[]);
    let created = format!("CREATE SUBSCRIPTION s CONNECTION '{connection}' PUBLICATION one");
    for (setup, statement, undo, expected) in [
        ("", "CREATE TABLESPACE space LOCATION ''", "DROP TABLESPACE IF EXISTS space", Asked),
        ("CREATE TABLESPACE space LOCATION ''", "DROP TABLESPACE space", "DROP TABLESPACE IF EXISTS space", Asked),
        ("", created.as_str(), "DROP SUBSCRIPTION IF EXISTS s", Asked),
        (created.as_str(), "ALTER SUBSCRIPTION s ADD PUBLICATION two", "DROP SUBSCRIPTION IF EXISTS s", Asked),
        (created.as_str(), "ALTER SUBSCRIPTION s SET PUBLICATION one, two", "DROP SUBSCRIPTION IF EXISTS s", Again),
        (created.as_str(), "ALTER SUBSCRIPTION s REFRESH PUBLICATION", "DROP SUBSCRIPTION IF EXISTS s", Again),
        (created.as_str(), "DROP SUBSCRIPTION s", "DROP SUBSCRIPTION IF EXISTS s", Asked),
        ("BEGIN; CREATE TABLE prepared (a int); PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "", Asked),
    ] {
        for moment in [Moment::Before, Moment::After] {
            let fixture = Fixture::on(subscriber.fresh_database().await).await;
            fixture.run_sql("CREATE TABLE t (a int)").await;
            for part in setup.split_inclusive("; ").filter(|part| !part.is_empty()) {
                fixture.run_sql(part).await;
            }
            let file = file(statement);
            let files = [("001_it.sql", file.as_str())];
            cut_off(&fixture, &files, moment).await;
            let ran = fixture.apply(&files).await;
            let what = format!("{statement}, cut {moment:?}").replace(&connection, "…");
            if expected == Asked {
                is_asked(&ran, &what);
            } else {
                assert_eq!((ran.assessment.findings.as_slice(), ran.assessment.pending), (&[][..], 0), "{what}");
            }
            if !undo.is_empty() {
                fixture.run_sql(undo).await;
            }
            if setup.contains("PREPARE") && moment == Moment::Before {
                fixture.run_sql("ROLLBACK PREPARED 'x'").await;
            }
        }
    }
}
