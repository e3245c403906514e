//! The table of statements: what each is to a transaction, and what it leaves in the session.

use proptest::prelude::*;

use super::{Alone, Kind, QualifiedName, SessionEffect, classify::classify, fragments};

fn name(text: &str) -> QualifiedName {
    match text.split_once('.') {
        Some((schema, name)) => QualifiedName { schema: Some(schema.into()), name: name.into() },
        None => QualifiedName { schema: None, name: text.into() },
    }
}

fn create_index(index: Option<&str>, table: &str, if_not_exists: bool) -> Kind {
    Kind::Alone(Alone::CreateIndexConcurrently { name: index.map(Into::into), table: name(table), if_not_exists })
}

fn drop_index(index: &str, if_exists: bool) -> Kind {
    Kind::Alone(Alone::DropIndexConcurrently { name: name(index), if_exists })
}

fn detach(parent: &str, partition: &str) -> Kind {
    Kind::Alone(Alone::DetachConcurrently { parent: name(parent), partition: name(partition) })
}

/// M19: what controls a transaction, and what can't run in one on PostgreSQL 14 to 18.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn a_statement_has_the_kind_that_its_first_words_say() {
    let reindex = |concurrently| Kind::Alone(Alone::Reindex { concurrently });
    let repeatable = || Kind::Alone(Alone::Repeatable);
    let unproven = || Kind::Alone(Alone::Unproven);
    let create_database = |name: &str| Kind::Alone(Alone::CreateDatabase { name: name.into() });
    let drop_database = |name: &str| Kind::Alone(Alone::DropDatabase { name: name.into() });
    let table = [
        ("BEGIN", Kind::Begin),
        ("begin work", Kind::Begin),
        ("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE", Kind::Begin),
        ("START TRANSACTION READ WRITE", Kind::Begin),
        ("START /* x */ -- y\n TRANSACTION", Kind::Begin),
        ("COMMIT", Kind::Commit),
        ("COMMIT WORK", Kind::Commit),
        ("COMMIT AND NO CHAIN", Kind::Commit),
        ("END", Kind::Commit),
        ("End Transaction", Kind::Commit),
        ("COMMIT AND CHAIN", Kind::OtherTransactionControl),
        ("END TRANSACTION AND CHAIN", Kind::OtherTransactionControl),
        ("ROLLBACK", Kind::OtherTransactionControl),
        ("ROLLBACK AND CHAIN", Kind::OtherTransactionControl),
        ("ABORT WORK", Kind::OtherTransactionControl),
        ("PREPARE TRANSACTION 'x'", Kind::OtherTransactionControl),
        ("COMMIT PREPARED 'x'", unproven()),
        ("ROLLBACK PREPARED 'x'", unproven()),
        ("SAVEPOINT a", Kind::Savepoint),
        ("RELEASE SAVEPOINT a", Kind::Savepoint),
        ("ROLLBACK TO a", Kind::Savepoint),
        ("ROLLBACK WORK TO SAVEPOINT a", Kind::Savepoint),
        ("DISCARD ALL", Kind::DiscardAll),
        ("DISCARD TEMP", Kind::Plain),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", create_index(Some("i"), "t", false)),
        (
            "create unique index concurrently if not exists I on only S.T using btree (a)",
            create_index(Some("i"), "s.t", true),
        ),
        ("CREATE INDEX CONCURRENTLY ON t (a)", create_index(None, "t", false)),
        ("CREATE INDEX CONCURRENTLY if ON t (a)", create_index(Some("if"), "t", false)),
        ("CREATE INDEX CONCURRENTLY \"My \"\"i\" ON \"S\" . \"T.x\" (a)", {
            let table = QualifiedName { schema: Some("S".into()), name: "T.x".into() };
            Kind::Alone(Alone::CreateIndexConcurrently { name: Some("My \"i".into()), table, if_not_exists: false })
        }),
        ("CREATE /* a */ INDEX -- b\n CONCURRENTLY i ON db.s.t (a)", create_index(Some("i"), "s.t", false)),
        ("CREATE INDEX CONCURRENTLY größe ON t (a)", create_index(Some("größe"), "t", false)),
        ("CREATE INDEX CONCURRENTLY U&\"\\0061\" ON t (a)", unproven()),
        ("CREATE INDEX CONCURRENTLY :\"x\" ON t (a)", unproven()),
        ("CREATE INDEX i ON t (concurrently)", Kind::Plain),
        ("CREATE INDEX \"concurrently\" ON t (a)", Kind::Plain),
        ("CREATE UNIQUE INDEX i ON t (a)", Kind::Plain),
        ("DROP INDEX CONCURRENTLY i", drop_index("i", false)),
        ("DROP INDEX CONCURRENTLY IF EXISTS s.I CASCADE", drop_index("s.i", true)),
        ("DROP INDEX i", Kind::Plain),
        ("ALTER TABLE p DETACH PARTITION c CONCURRENTLY", detach("p", "c")),
        ("ALTER TABLE IF EXISTS a.p * DETACH PARTITION b.c CONCURRENTLY", detach("a.p", "b.c")),
        ("ALTER TABLE p DETACH PARTITION c", Kind::Plain),
        ("ALTER TABLE p DETACH PARTITION c FINALIZE", Kind::Plain),
        ("ALTER TABLE p ATTACH PARTITION c FOR VALUES IN (1)", Kind::Plain),
        ("REINDEX TABLE t", Kind::Plain),
        ("REINDEX INDEX i", Kind::Plain),
        ("REINDEX (VERBOSE) TABLE t", Kind::Plain),
        ("REINDEX (CONCURRENTLY off) TABLE t", Kind::Plain),
        ("REINDEX TABLE CONCURRENTLY t", reindex(true)),
        ("REINDEX (VERBOSE, CONCURRENTLY) INDEX i", reindex(true)),
        ("REINDEX (CONCURRENTLY true, TABLESPACE x) INDEX i", reindex(true)),
        ("REINDEX SCHEMA s", reindex(false)),
        ("REINDEX DATABASE", reindex(false)),
        ("REINDEX SYSTEM CONCURRENTLY d", reindex(true)),
        ("REINDEX SCHEMA CONCURRENTLY s", reindex(true)),
        ("CREATE DATABASE Shop TEMPLATE template0", create_database("shop")),
        ("CREATE DATABASE \"Shop\"", create_database("Shop")),
        ("DROP DATABASE shop", drop_database("shop")),
        ("DROP DATABASE IF EXISTS shop WITH (FORCE)", drop_database("shop")),
        ("ALTER DATABASE shop SET TABLESPACE x", unproven()),
        ("ALTER DATABASE shop SET work_mem = '1MB'", Kind::Plain),
        ("ALTER DATABASE shop OWNER TO x", Kind::Plain),
        ("CREATE TABLESPACE x LOCATION '/x'", unproven()),
        ("DROP TABLESPACE IF EXISTS x", unproven()),
        ("ALTER TABLESPACE x RENAME TO y", Kind::Plain),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", unproven()),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (create_slot = false)", Kind::Plain),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = 'off')", Kind::Plain),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = true)", unproven()),
        ("DROP SUBSCRIPTION s", unproven()),
        ("ALTER SUBSCRIPTION s REFRESH PUBLICATION", repeatable()),
        ("ALTER SUBSCRIPTION s SET PUBLICATION p", repeatable()),
        ("ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false)", Kind::Plain),
        ("ALTER SUBSCRIPTION s ADD PUBLICATION p", unproven()),
        ("ALTER SUBSCRIPTION s DROP PUBLICATION p WITH (refresh = off)", Kind::Plain),
        ("ALTER SUBSCRIPTION s SET (failover = true)", repeatable()),
        ("ALTER SUBSCRIPTION s SET (slot_name = NONE)", Kind::Plain),
        ("ALTER SUBSCRIPTION s DISABLE", Kind::Plain),
        ("ALTER SYSTEM SET work_mem = '1MB'", repeatable()),
        ("ALTER SYSTEM RESET ALL", repeatable()),
        ("VACUUM", repeatable()),
        ("VACUUM (FULL, ANALYZE) t", repeatable()),
        ("CLUSTER", repeatable()),
        ("CLUSTER VERBOSE", repeatable()),
        ("CLUSTER (VERBOSE on)", repeatable()),
        ("CLUSTER t USING i", Kind::Plain),
        ("CLUSTER (VERBOSE) t", Kind::Plain),
        ("REPACK (CONCURRENTLY) t", repeatable()),
        ("CALL p()", unproven()),
        ("DO $$ BEGIN UPDATE t SET a = 1; COMMIT; END $$", unproven()),
        ("DO LANGUAGE plpgsql $x$ BEGIN LOOP rollback and chain; END LOOP; END $x$", unproven()),
        ("DO $$ BEGIN CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1; END $$", Kind::Plain),
        ("DO $$ BEGIN /* COMMIT; */ PERFORM 'COMMIT;'; END $$", Kind::Plain),
        ("DO $$ BEGIN PERFORM a.commit; END $$", Kind::Plain),
        ("DO 'BEGIN COMMIT; END'", unproven()),
        // The language may be a string, and the body an escape string.
        ("DO LANGUAGE 'plpgsql' $$ BEGIN COMMIT; END $$", unproven()),
        ("DO $$ BEGIN NULL; END $$ LANGUAGE 'plpgsql'", Kind::Plain),
        ("DO E'BEGIN\\nCOMMIT; END'", unproven()),
        ("DO 'BEGIN PERFORM ''COMMIT;''; END'", Kind::Plain),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", Kind::Plain),
        ("ALTER TABLE t VALIDATE CONSTRAINT c", Kind::Plain),
        ("ALTER TYPE e ADD VALUE IF NOT EXISTS 'x'", Kind::Plain),
        ("ANALYZE t", Kind::Plain),
        ("CHECKPOINT", Kind::Plain),
        ("CREATE TABLE vacuum (a int)", Kind::Plain),
        ("\"begin\"", Kind::Plain),
        ("SELECT 'BEGIN'", Kind::Plain),
        ("'x'", Kind::Plain),
    ];
    for (statement, expected) in table {
        assert_eq!(classify(statement).0, expected, "{statement}");
    }
}

/// A setting can be sent again before the rest of a file; other state can't be made again.
#[test]
fn a_statement_leaves_in_the_session_what_it_says() {
    use SessionEffect::{None, Setting, State};
    for (statement, expected) in [
        ("SET search_path = a, b", Setting),
        ("SET SESSION work_mem TO '1MB'", Setting),
        ("SET ROLE x", Setting),
        ("SET SESSION AUTHORIZATION x", Setting),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Setting),
        ("set time zone 'UTC'", Setting),
        ("SET LOCAL work_mem = '1MB'", None),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", None),
        ("SET CONSTRAINTS ALL DEFERRED", None),
        ("RESET ALL", Setting),
        ("LOAD 'auto_explain'", Setting),
        ("SELECT set_config('search_path', '', false)", Setting),
        ("SELECT pg_catalog.set_config('search_path', upper('x'), false) AS x", Setting),
        ("SELECT set_config('a.b', 'x', false), nextval('s')", State),
        ("SELECT nextval('s'), set_config('a.b', 'x', false)", State),
        ("CREATE TEMP TABLE t (a int)", State),
        ("CREATE TEMPORARY SEQUENCE s", State),
        ("CREATE LOCAL TEMP TABLE t (a int)", State),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", State),
        ("CREATE TABLE pg_temp.t (a int)", State),
        ("CREATE TABLE temp (a int)", None),
        ("CREATE UNLOGGED TABLE t (a int)", None),
        ("SELECT * INTO TEMP t FROM u", State),
        ("SELECT * INTO LOCAL TEMPORARY TABLE t FROM u", State),
        ("WITH x AS (SELECT 1) SELECT * INTO pg_temp.t FROM x", State),
        ("INSERT INTO temp VALUES (1)", None),
        ("WITH x AS (INSERT INTO temp VALUES (1) RETURNING 1) SELECT * FROM x", None),
        ("PREPARE p AS SELECT 1", State),
        ("PREPARE TRANSACTION 'x'", None),
        ("LISTEN c", State),
        ("UNLISTEN c", None),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", State),
        ("DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", None),
        ("SELECT pg_advisory_lock(1)", State),
        ("SELECT pg_catalog.pg_try_advisory_lock_shared(1, 2)", State),
        ("SELECT pg_advisory_xact_lock(1)", None),
        ("SELECT 'pg_advisory_lock'", None),
        ("DO $$ BEGIN PERFORM pg_advisory_lock(1); END $$", State),
        ("DO $$ BEGIN CREATE TEMP TABLE t (a int); END $$", State),
        ("DO $$ BEGIN UPDATE t SET a = 1; END $$", None),
        ("UPDATE t SET a = 1", None),
        ("ALTER ROLE x SET search_path = a", None),
        ("", None),
    ] {
        assert_eq!(classify(statement).1, expected, "{statement}");
    }
}

/// The server cuts names, so that the catalog knows an index by the cut one.
#[test]
fn a_long_name_is_cut_as_the_server_cuts_it() {
    let sql = format!("CREATE INDEX CONCURRENTLY {}é ON t (a)", "a".repeat(62));
    assert_eq!(classify(&sql).0, create_index(Some(&"a".repeat(62)), "t", false));
    let sql = format!("CREATE INDEX CONCURRENTLY {} ON t (a)", "A".repeat(70));
    assert_eq!(classify(&sql).0, create_index(Some(&"a".repeat(63)), "t", false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn any_text_has_a_kind(text in fragments::sql_like(), verb in prop::sample::select(vec![
        "CREATE INDEX CONCURRENTLY ", "ALTER TABLE ", "DO ", "REINDEX (", "SELECT set_config(", "CREATE SUBSCRIPTION ", "CLUSTER (", "",
    ])) {
        let _ = classify(&format!("{verb}{text}"));
    }
}
