//! The table of statements: what each destroys.

use proptest::prelude::*;

use super::{
    Boundaries, Script, TransactionMode,
    destructive::{Destructive, destructive},
    fragments,
    split::split,
};

fn found(text: &str) -> Vec<Destructive> {
    destructive(text, &split(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}")))
}

fn what(text: &str) -> Vec<String> {
    found(text).into_iter().map(|found| found.what).collect()
}

fn assert_table(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(what(text), *expected, "{text}");
    }
}

fn assert_harmless(texts: &[&str]) {
    for text in texts {
        assert_eq!(what(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn dropping_what_holds_data_or_others_depend_on_is_destructive() {
    assert_table(&[
        ("DROP TABLE users", &["DROP TABLE users"]),
        ("drop table Users", &["DROP TABLE users"]),
        ("DROP TABLE IF EXISTS app.users", &["DROP TABLE app.users"]),
        (
            "DROP TABLE a, b.c, \"D\" CASCADE",
            &["DROP TABLE a CASCADE", "DROP TABLE b.c CASCADE", "DROP TABLE \"D\" CASCADE"],
        ),
        ("DROP TABLE a RESTRICT", &["DROP TABLE a"]),
        ("DROP TABLE \"drop\"", &["DROP TABLE \"drop\""]),
        ("DROP TABLE cascade", &["DROP TABLE cascade"]),
        ("DROP TABLE U&\"d\\0061t\"", &["DROP TABLE U&\"d\\0061t\""]),
        ("DROP FOREIGN TABLE f", &["DROP FOREIGN TABLE f"]),
        ("DROP SCHEMA IF EXISTS app CASCADE", &["DROP SCHEMA app CASCADE"]),
        ("DROP TYPE mood", &["DROP TYPE mood"]),
        ("DROP DOMAIN d", &["DROP DOMAIN d"]),
        ("DROP VIEW v", &["DROP VIEW v"]),
        ("DROP MATERIALIZED VIEW v", &["DROP MATERIALIZED VIEW v"]),
        ("DROP FUNCTION f", &["DROP FUNCTION f"]),
        ("DROP FUNCTION f(int, a.b), g()", &["DROP FUNCTION f(int, a.b)", "DROP FUNCTION g()"]),
        ("DROP PROCEDURE IF EXISTS p(numeric(10,2)) CASCADE", &["DROP PROCEDURE p(numeric(10, 2)) CASCADE"]),
        ("DROP ROUTINE r", &["DROP ROUTINE r"]),
        ("DROP AGGREGATE a(*), b(int ORDER BY int)", &["DROP AGGREGATE a(*)", "DROP AGGREGATE b(int order by int)"]),
        ("DROP SEQUENCE s", &["DROP SEQUENCE s"]),
        ("DROP DATABASE d WITH (FORCE)", &["DROP DATABASE d"]),
        ("DROP OWNED BY alice, bob", &["DROP OWNED BY alice", "DROP OWNED BY bob"]),
        ("DROP EXTENSION IF EXISTS hstore", &["DROP EXTENSION hstore"]),
    ]);
}

#[test]
fn dropping_what_can_be_made_again_is_not() {
    assert_harmless(&[
        "DROP INDEX i",
        "DROP INDEX CONCURRENTLY IF EXISTS i",
        "DROP INDEX cascade",
        "DROP INDEX a, cascade",
        "DROP INDEX app.cascade",
        "DROP INDEX text",
        "DROP TRIGGER t ON users",
        "DROP TRIGGER t ON cascade",
        "DROP EVENT TRIGGER cascade",
        "DROP POLICY p ON users RESTRICT",
        "DROP RULE cascade ON users",
        "DROP ROLE r",
        "DROP USER MAPPING FOR cascade SERVER s",
        "DROP SERVER s",
        "DROP FOREIGN DATA WRAPPER w",
        "DROP TEXT SEARCH PARSER IF EXISTS cascade",
        "DROP CAST (a AS b)",
        "DROP OPERATOR CLASS c USING cascade",
        "DROP STATISTICS s",
        "DROP PUBLICATION p",
        "DROP ACCESS METHOD m",
        "DROP TRANSFORM FOR t LANGUAGE cascade",
    ]);
}

#[test]
fn what_cascade_takes_along_is_not_known() {
    assert_table(&[
        ("DROP INDEX i CASCADE", &["DROP INDEX i CASCADE"]),
        ("DROP INDEX text CASCADE", &["DROP INDEX text CASCADE"]),
        ("DROP INDEX cascade CASCADE", &["DROP INDEX cascade CASCADE"]),
        ("DROP TRIGGER t ON users CASCADE", &["DROP TRIGGER t on users CASCADE"]),
        ("DROP OPERATOR === (int, int) CASCADE", &["DROP OPERATOR = = = (int, int) CASCADE"]),
        ("DROP COLLATION IF EXISTS c CASCADE", &["DROP COLLATION c CASCADE"]),
        ("DROP SERVER s CASCADE", &["DROP SERVER s CASCADE"]),
        ("DROP FOREIGN DATA WRAPPER w CASCADE", &["DROP FOREIGN DATA WRAPPER w CASCADE"]),
        ("ALTER TABLE t DROP CONSTRAINT IF EXISTS c CASCADE", &["ALTER TABLE t DROP CONSTRAINT c CASCADE"]),
        ("ALTER DOMAIN d DROP CONSTRAINT c CASCADE", &["ALTER DOMAIN d DROP CONSTRAINT c CASCADE"]),
    ]);
}

#[test]
fn a_column_that_is_dropped_or_gets_another_type_is_destructive() {
    assert_table(&[
        ("ALTER TABLE t DROP COLUMN c", &["ALTER TABLE t DROP COLUMN c"]),
        ("ALTER TABLE t DROP c", &["ALTER TABLE t DROP COLUMN c"]),
        ("ALTER TABLE IF EXISTS ONLY a.t * DROP IF EXISTS c CASCADE", &["ALTER TABLE a.t DROP COLUMN c CASCADE"]),
        ("ALTER TABLE t DROP COLUMN IF EXISTS \"constraint\"", &["ALTER TABLE t DROP COLUMN \"constraint\""]),
        (
            "ALTER TABLE t DROP expression, DROP if",
            &["ALTER TABLE t DROP COLUMN expression", "ALTER TABLE t DROP COLUMN if"],
        ),
        (
            "ALTER TABLE t ADD a int, DROP b, ADD CHECK (f(a, b)), DROP c",
            &["ALTER TABLE t DROP COLUMN b", "ALTER TABLE t DROP COLUMN c"],
        ),
        ("ALTER FOREIGN TABLE t DROP c", &["ALTER FOREIGN TABLE t DROP COLUMN c"]),
        ("ALTER TABLE t ALTER COLUMN c TYPE bigint", &["ALTER TABLE t ALTER COLUMN c TYPE"]),
        ("ALTER TABLE t ALTER c SET DATA TYPE numeric(10,2) USING c::numeric", &["ALTER TABLE t ALTER COLUMN c TYPE"]),
        ("ALTER TABLE t ALTER type TYPE text", &["ALTER TABLE t ALTER COLUMN type TYPE"]),
        (
            "ALTER TABLE t ALTER COLUMN a SET DEFAULT ARRAY[1, 2], ALTER b TYPE int",
            &["ALTER TABLE t ALTER COLUMN b TYPE"],
        ),
        ("ALTER TABLE :\"t\" DROP a", &["ALTER TABLE :\"t\" DROP COLUMN a"]),
        ("ALTER TABLE a.U&\"t\" UESCAPE '!' DROP a", &["ALTER TABLE a.U&\"t\" DROP COLUMN a"]),
        ("ALTER TYPE a.t DROP ATTRIBUTE IF EXISTS x CASCADE", &["ALTER TYPE a.t DROP ATTRIBUTE x CASCADE"]),
        (
            "ALTER TYPE t ADD ATTRIBUTE y int, ALTER ATTRIBUTE x SET DATA TYPE int",
            &["ALTER TYPE t ALTER ATTRIBUTE x TYPE"],
        ),
        ("ALTER TYPE t ALTER ATTRIBUTE x TYPE int", &["ALTER TYPE t ALTER ATTRIBUTE x TYPE"]),
    ]);
    assert_harmless(&[
        "ALTER TABLE t ADD COLUMN type text, ADD \"drop\" int",
        "ALTER TABLE t DROP CONSTRAINT c",
        "ALTER TABLE t ALTER CONSTRAINT type DEFERRABLE",
        "ALTER TABLE t ALTER c DROP DEFAULT, ALTER c DROP NOT NULL, ALTER c DROP EXPRESSION, ALTER COLUMN c DROP IDENTITY IF EXISTS",
        "ALTER TABLE t ALTER COLUMN type SET NOT NULL",
        "ALTER TABLE t ALTER type DROP DEFAULT",
        "ALTER TABLE t ALTER COLUMN \"drop\" SET DEFAULT f(1, drop)",
        "ALTER TABLE t ALTER c SET DEFAULT ARRAY[1, drop]",
        "ALTER TABLE t DETACH PARTITION p",
        "ALTER TABLE drop RENAME TO alter",
        "ALTER TABLE t RENAME COLUMN type TO kind",
        "ALTER TYPE mood ADD VALUE 'sad'",
        "ALTER TYPE mood RENAME ATTRIBUTE a TO b",
        "ALTER DOMAIN d DROP DEFAULT",
        "ALTER DOMAIN d DROP NOT NULL",
        "ALTER DOMAIN d DROP CONSTRAINT c",
        "ALTER EXTENSION e DROP TABLE t",
        "ALTER PUBLICATION p DROP TABLE t",
        "ALTER VIEW v ALTER COLUMN c DROP DEFAULT",
        "ALTER SUBSCRIPTION s DROP PUBLICATION p",
    ]);
}

#[test]
fn rows_that_go_without_a_where_are_destructive() {
    assert_table(&[
        ("TRUNCATE users", &["TRUNCATE users"]),
        ("TRUNCATE TABLE ONLY a.b *, c RESTART IDENTITY CASCADE", &["TRUNCATE a.b", "TRUNCATE c"]),
        ("DELETE FROM orders", &["DELETE FROM orders without WHERE"]),
        ("DELETE FROM ONLY (a.orders) RETURNING id AS where", &["DELETE FROM a.orders without WHERE"]),
        ("DELETE FROM t USING u", &["DELETE FROM t without WHERE"]),
        ("DELETE FROM t USING (SELECT 1 WHERE true) AS u", &["DELETE FROM t without WHERE"]),
        ("DELETE FROM t RETURNING u.where, count(*) FILTER (WHERE true)", &["DELETE FROM t without WHERE"]),
        ("UPDATE t SET a = 1", &["UPDATE t without WHERE"]),
        ("UPDATE ONLY t SET a = (SELECT b FROM u WHERE c)", &["UPDATE t without WHERE"]),
        ("UPDATE t SET (a, b) = (SELECT 1, 2 WHERE true) FROM (SELECT 1 WHERE true) AS u", &["UPDATE t without WHERE"]),
        ("UPDATE \"where\" SET \"where\" = 'where'", &["UPDATE \"where\" without WHERE"]),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", &["MERGE INTO t with DELETE"]),
        (
            "MERGE INTO ONLY t USING u ON true WHEN MATCHED AND a THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
            &["MERGE INTO t with DELETE"],
        ),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d WHERE true", &["DELETE FROM t without WHERE"]),
        ("WITH d(a) AS NOT MATERIALIZED (UPDATE t SET a = 1 RETURNING a) SELECT 1", &["UPDATE t without WHERE"]),
        ("WITH u AS (SELECT 1 WHERE true) DELETE FROM t", &["DELETE FROM t without WHERE"]),
        ("WITH delete AS (SELECT 1), update (a) AS (SELECT 2) UPDATE t SET a = 1", &["UPDATE t without WHERE"]),
        (
            "WITH RECURSIVE r AS (SELECT 1) SEARCH DEPTH FIRST BY a, b SET o CYCLE a SET c USING p DELETE FROM t",
            &["DELETE FROM t without WHERE"],
        ),
        ("WITH a AS (WITH b AS (SELECT 1) DELETE FROM t) SELECT 1", &["DELETE FROM t without WHERE"]),
        ("INSERT INTO old WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", &["DELETE FROM t without WHERE"]),
        ("CREATE TABLE old AS WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", &["DELETE FROM t without WHERE"]),
        ("COPY (DELETE FROM t RETURNING *) TO '/tmp/t'", &["DELETE FROM t without WHERE"]),
        ("EXPLAIN ANALYZE DELETE FROM t", &["DELETE FROM t without WHERE"]),
        ("EXPLAIN (COSTS off, ANALYZE) UPDATE t SET a = 1", &["UPDATE t without WHERE"]),
        ("EXPLAIN VERBOSE ANALYSE DELETE FROM t", &["DELETE FROM t without WHERE"]),
        ("PREPARE p (int) AS DELETE FROM t", &["DELETE FROM t without WHERE"]),
    ]);
    assert_harmless(&[
        "DELETE FROM t WHERE id = 1",
        "DELETE FROM t USING u WHERE t.a = u.a RETURNING *",
        "DELETE FROM t WHERE CURRENT OF c",
        "UPDATE t SET a = CASE WHEN b THEN 1 END WHERE c",
        "WITH d AS (DELETE FROM t WHERE a RETURNING *) SELECT * FROM d",
        "WITH d AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM d)",
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1",
        "INSERT INTO t (delete, update) VALUES (1, 2)",
        "SELECT update, delete FROM t WINDOW w AS (update ORDER BY a) FOR UPDATE",
        "SELECT * FROM t FOR NO KEY UPDATE OF t",
        "SELECT 'DELETE FROM t', \"delete from\", $$DROP TABLE t$$ -- DROP TABLE t",
        "MERGE INTO t USING u ON true WHEN MATCHED THEN UPDATE SET a = CASE WHEN b THEN delete END",
        "EXPLAIN DELETE FROM t",
        "EXPLAIN (ANALYZE off) DELETE FROM t",
        "EXPLAIN (ANALYZE FALSE, VERBOSE) DELETE FROM t",
        "GRANT DELETE, UPDATE, TRUNCATE ON t TO alice",
        "COMMENT ON TABLE t IS 'DROP TABLE t'",
        "VALUES (1)",
        "COPY t FROM stdin;\nDROP TABLE t;\nDELETE FROM t;\n\\.\n",
    ]);
}

#[test]
fn what_is_only_defined_is_not_done() {
    assert_harmless(&[
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; DROP TABLE t; END $$",
        "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC DELETE FROM t; UPDATE t SET a = 1; END",
        "CREATE RULE r AS ON INSERT TO t DO INSTEAD (DELETE FROM u; DELETE FROM v)",
        "CREATE TRIGGER d BEFORE DELETE OR TRUNCATE ON t EXECUTE FUNCTION f()",
        "CREATE POLICY p ON t FOR DELETE USING (true)",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE TABLE t (a int REFERENCES u ON DELETE CASCADE ON UPDATE SET NULL, drop int, type text)",
        "DO $$ BEGIN CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; DELETE FROM t; END; END $$",
    ]);
}

#[test]
fn a_do_block_does_what_its_body_says() {
    assert_table(&[
        ("DO $$ BEGIN DROP TABLE users; END $$", &["DROP TABLE users"]),
        ("DO LANGUAGE plpgsql $x$ BEGIN DELETE FROM t; END $x$", &["DELETE FROM t without WHERE"]),
        ("DO LANGUAGE 'plpgsql' $$ BEGIN TRUNCATE t; END $$", &["TRUNCATE t"]),
        ("DO 'BEGIN UPDATE t SET a = ''x''; END' LANGUAGE plpgsql", &["UPDATE t without WHERE"]),
        (r"DO E'BEGIN\nDROP TABLE t; END'", &["DROP TABLE t"]),
        (
            "DO $$ DECLARE x int := 1; BEGIN IF x > (SELECT 1) THEN DROP VIEW v; ELSE TRUNCATE t; END IF; END $$",
            &["DROP VIEW v", "TRUNCATE t"],
        ),
        ("DO $$ BEGIN IF CASE WHEN a THEN b END THEN DELETE FROM t; END IF; END $$", &["DELETE FROM t without WHERE"]),
        (
            "DO $$ BEGIN FOR r IN DELETE FROM t RETURNING * LOOP UPDATE u SET a = 1 WHERE b; END LOOP; END $$",
            &["DELETE FROM t without WHERE"],
        ),
        (
            "DO $$ BEGIN <<l>> FOR r IN UPDATE t SET a = 1 RETURNING a LOOP NULL; END LOOP; END $$",
            &["UPDATE t without WHERE"],
        ),
        (
            "DO $$ BEGIN FOR r IN (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) LOOP NULL; END LOOP; END $$",
            &["DELETE FROM t without WHERE"],
        ),
        ("DO U&'BEGIN !0044ROP TABLE t; END' UESCAPE '!'", &["DO of a text with UESCAPE, which can't be read"]),
        ("DO $$ BEGIN FOR i IN 1..3 LOOP DELETE FROM t; END LOOP; END $$", &["DELETE FROM t without WHERE"]),
        ("DO $$ BEGIN NULL; EXCEPTION WHEN others THEN ALTER TABLE t DROP c; END $$", &["ALTER TABLE t DROP COLUMN c"]),
        ("DO $$ BEGIN PERFORM 1; DO $x$ BEGIN DROP TABLE t; END $x$; END $$", &["DROP TABLE t"]),
        ("DO LANGUAGE plpython3u $$ plpy.execute('DROP TABLE t') $$", &["DO in plpython3u, which can't be read"]),
    ]);
    assert_harmless(&[
        "DO $$ BEGIN DELETE FROM t WHERE a; UPDATE t SET a = 1 WHERE b; END $$",
        "DO $$ BEGIN IF a THEN CREATE TABLE t (a int); END IF; END $$",
        "DO $$ BEGIN CREATE TYPE t AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "DO $$ BEGIN RAISE NOTICE 'DROP TABLE t'; PERFORM 'DROP TABLE t'; -- DROP TABLE t\n END $$",
        "DO $$ DECLARE update int; delete int; BEGIN update := 1; delete = 2; END $$",
        "DO $$ DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE; BEGIN UPDATE t SET a = 1 WHERE CURRENT OF c; END $$",
    ]);
}

#[test]
fn a_text_that_execute_runs_is_read() {
    assert_table(&[
        ("DO $$ BEGIN EXECUTE 'DROP TABLE users'; END $$", &["DROP TABLE users"]),
        ("DO $$ BEGIN EXECUTE $x$DELETE FROM t$x$ USING a; END $$", &["DELETE FROM t without WHERE"]),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE ' || quote_ident(t); END $$", &["DROP TABLE …"]),
        ("DO $$ BEGIN EXECUTE 'DROP ' || kind || ' ' || name; END $$", &["DROP … …"]),
        ("DO $$ BEGIN EXECUTE 'ALTER TABLE ' || t || ' DROP COLUMN ' || c; END $$", &["ALTER TABLE … DROP COLUMN …"]),
        (
            "DO $$ BEGIN EXECUTE format('ALTER TABLE %I.%I DROP COLUMN %I', s, t, 'c'); END $$",
            &["ALTER TABLE ….… DROP COLUMN …"],
        ),
        ("DO $$ BEGIN EXECUTE pg_catalog.format('DELETE FROM %1$I', t); END $$", &["DELETE FROM … without WHERE"]),
        ("DO $$ BEGIN EXECUTE concat('DROP TABLE ', t); END $$", &["DROP TABLE …"]),
        ("DO $$ BEGIN EXECUTE concat('UPDATE ', t, ' SET a = 1'); END $$", &["UPDATE … without WHERE"]),
        (
            "DO $$ BEGIN EXECUTE CASE WHEN a THEN 'DELETE FROM t' ELSE 'SELECT 1 WHERE b' END; END $$",
            &["DELETE FROM t without WHERE"],
        ),
        (
            "DO $$ BEGIN EXECUTE 'DELETE FROM t' || CASE WHEN a THEN ' WHERE b' END; END $$",
            &["DELETE FROM t… without WHERE"],
        ),
        (
            "DO $$ BEGIN FOR r IN EXECUTE 'DELETE FROM t RETURNING *' LOOP NULL; END LOOP; END $$",
            &["DELETE FROM t without WHERE"],
        ),
        ("DO $$ DECLARE q text := 'DROP TABLE t'; BEGIN EXECUTE q; END $$", &["DROP TABLE t"]),
        (
            "DO $$ BEGIN FOR r IN SELECT format('DROP TABLE %I', name) AS q FROM x LOOP EXECUTE r.q; END LOOP; END $$",
            &["DROP TABLE …"],
        ),
        ("DO $$ BEGIN EXECUTE 'DO $x$ BEGIN TRUNCATE t; END $x$'; END $$", &["TRUNCATE t"]),
        ("DO $$ BEGIN EXECUTE 'SELECT 1; DROP TABLE a; DROP TABLE b'; END $$", &["DROP TABLE a", "DROP TABLE b"]),
    ]);
    assert_harmless(&[
        "DO $$ BEGIN EXECUTE 'CREATE TABLE t (a int)'; END $$",
        "DO $$ BEGIN EXECUTE 'DELETE FROM ' || t || ' WHERE id = ' || id; END $$",
        "DO $$ BEGIN EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', t, c); END $$",
        "DO $$ BEGIN EXECUTE 'GRANT DELETE ON t TO ' || quote_ident(r); RAISE NOTICE 'DROP TABLE t'; END $$",
        "DO $$ BEGIN EXECUTE q; RAISE NOTICE 'DROP TABLE t'; GRANT EXECUTE ON FUNCTION f TO r; END $$",
    ]);
}

#[test]
fn a_temporary_table_of_the_script_may_go() {
    assert_harmless(&[
        "CREATE TEMP TABLE t (a int); UPDATE t SET a = 1; TRUNCATE t; ALTER TABLE t DROP a; DELETE FROM T; DROP TABLE IF EXISTS t",
        "CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS t AS SELECT 1; DROP TABLE pg_temp.t",
        "SELECT 1 AS a INTO TEMP TABLE t FROM u; DROP TABLE t",
        "CREATE OR REPLACE TEMP VIEW v AS SELECT 1; DROP VIEW v",
        "DO $$ BEGIN CREATE TEMP TABLE t (a int) ON COMMIT DROP; DELETE FROM t; DROP TABLE t; END $$",
        "CREATE TEMP TABLE t (a int); DO $$ BEGIN IF a THEN DELETE FROM t; END IF; END $$",
    ]);
    assert_table(&[
        ("DROP TABLE t; CREATE TEMP TABLE t (a int)", &["DROP TABLE t"]),
        ("CREATE TEMP TABLE t (a int); DROP TABLE t; DROP TABLE t", &["DROP TABLE t"]),
        ("CREATE TEMP TABLE t (a int); DROP TABLE t, u, app.t", &["DROP TABLE u", "DROP TABLE app.t"]),
        ("CREATE TEMP TABLE \"T\" (a int); DROP TABLE t", &["DROP TABLE t"]),
        ("CREATE TABLE t (a int); DROP TABLE t", &["DROP TABLE t"]),
        ("CREATE TEMP TABLE t (a int); ALTER TABLE t RENAME TO u; DROP TABLE t", &["DROP TABLE t"]),
        ("SAVEPOINT a; CREATE TEMP TABLE t (a int); ROLLBACK TO a; DROP TABLE t", &["DROP TABLE t"]),
        ("CREATE TEMP TABLE t (a int); DISCARD TEMP; DROP TABLE t", &["DROP TABLE t"]),
        ("CREATE TEMP TABLE t (a int) ON COMMIT DROP; DROP TABLE t", &["DROP TABLE t"]),
        ("SET search_path = app, PG_TEMP; CREATE TEMP TABLE t (a int); DROP TABLE t", &["DROP TABLE t"]),
        (
            "CREATE TEMP TABLE t (a int); SELECT set_config('search_path', 'app,pg_temp', true); DELETE FROM t",
            &["DELETE FROM t without WHERE"],
        ),
        ("DO $$ BEGIN IF a THEN CREATE TEMP TABLE t (a int); END IF; DROP TABLE t; END $$", &["DROP TABLE t"]),
        (
            "DO $$ BEGIN EXECUTE CASE WHEN a THEN 'CREATE TEMP TABLE t (a int)' END; DROP TABLE t; END $$",
            &["DROP TABLE t"],
        ),
        ("DO $$ BEGIN CREATE TEMP TABLE t (a int); EXCEPTION WHEN others THEN DROP TABLE t; END $$", &["DROP TABLE t"]),
    ]);
}

#[test]
fn a_finding_says_its_statement_and_its_line() {
    let text = "\n-- old\nDROP TABLE a;\nDO $$\nBEGIN\n  DROP TABLE b;\n  EXECUTE\n    'DROP TABLE c';\nEND $$;\nSELECT 1; DELETE\nFROM d;";
    let places: Vec<_> = found(text).into_iter().map(|found| (found.statement, found.line, found.what)).collect();
    let expected =
        [(0, 2, "DROP TABLE a"), (1, 5, "DROP TABLE b"), (1, 7, "DROP TABLE c"), (3, 9, "DELETE FROM d without WHERE")];
    assert_eq!(places, expected.map(|(statement, line, what)| (statement, line, what.to_owned())));
}

#[test]
fn a_block_of_a_section_without_transaction_is_read_statement_by_statement() {
    let text = "SELECT 1;\nBEGIN;\nCREATE TEMP TABLE t (a int) ON COMMIT DROP;\nDROP TABLE t;\nDROP TABLE u;\nCOMMIT;\nDROP TABLE t;";
    let script = Script::read(text, TransactionMode::NonTransactional, Boundaries::CrossChecked).expect("it is sound");
    let places: Vec<_> =
        destructive(text, &script).into_iter().map(|found| (found.statement, found.line, found.what)).collect();
    assert_eq!(places, [(1, 4, "DROP TABLE u".to_owned()), (2, 6, "DROP TABLE t".to_owned())]);
}

#[test]
fn strings_are_read_as_the_script_has_them_read() {
    let off = "SET standard_conforming_strings = off; SELECT '\\'; DROP TABLE a; --'; DROP TABLE b";
    assert_eq!(what(off), ["DROP TABLE b"]);
    let body = "SET standard_conforming_strings = off; DO 'BEGIN EXECUTE \\'DROP TABLE t\\'; END'";
    assert_eq!(what(body), ["DROP TABLE t"]);
}

#[test]
fn texts_in_texts_without_end_are_not_followed_without_end() {
    let nested = (0..200)
        .fold("DROP TABLE t;".to_owned(), |inner, depth| format!("DO $a{depth}$ BEGIN {inner} END $a{depth}$;"));
    assert_eq!(what(&nested), ["DO inside too many others to be read"]);
    let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(what(&deep), Vec::<String>::new());
    assert_eq!(what(&format!("{}DELETE FROM t", "EXPLAIN ANALYZE ".repeat(100_000))).len(), 1);
}

#[test]
fn long_texts_take_time_in_proportion_to_their_length() {
    for piece in [
        "DROP TABLE a; ",
        "DROP TABLE a, b, ",
        "CREATE TEMP TABLE t (a int); DO $$ BEGIN EXECUTE q; EXCEPTION END $$; ",
        "x.",
        "ALTER TABLE t DROP a, ",
        "WITH a AS (DELETE FROM t ",
        "MERGE INTO t THEN DELETE ",
        "SELECT 1 INTO TEMP ",
        "EXECUTE q; ",
        "EXECUTE 'DROP ' || ",
        "FOR r IN DELETE FROM ",
        "PREPARE p AS ",
        "IF a THEN CREATE TABLE BEGIN ATOMIC CASE ",
        "'DROP TABLE a; ' || (",
    ] {
        let long = piece.repeat(200_000 / piece.len());
        for text in [format!("DROP TABLE {long}"), format!("DO $x$ BEGIN {long} $x$"), long] {
            if let Ok(script) = split(&text) {
                let _ = destructive(&text, &script);
            }
        }
    }
}

/// Statements whose words may stand apart in any way.
const SPACED: &[&str] = &[
    "DROP TABLE IF EXISTS a . b , \"C\" CASCADE",
    "ALTER TABLE ONLY t DROP COLUMN a , ALTER b SET DATA TYPE int",
    "WITH d AS ( DELETE FROM t RETURNING * ) UPDATE u SET a = ( SELECT 1 WHERE true )",
    "EXPLAIN ( ANALYZE , COSTS off ) DELETE FROM t",
    "DO LANGUAGE plpgsql $$ BEGIN DROP TABLE users; END $$",
    "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
    "DROP FUNCTION f ( int , text ) , g",
    "DROP TRIGGER t ON u CASCADE",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_read(text in fragments::sql_like(), verb in prop::sample::select(vec![
        "", "DROP ", "DROP TABLE ", "ALTER TABLE t ", "DELETE FROM ", "WITH a AS (", "EXPLAIN (ANALYZE", "DO $$ BEGIN EXECUTE ",
        "DO $$ FOR r IN DELETE ", "DO '", "DO E'\\", "TRUNCATE ", "MERGE INTO t ", "CREATE TEMP TABLE ", "PREPARE p AS ", "DO $$ EXECUTE q; ",
    ])) {
        let text = format!("{verb}{text}");
        // What can't be split is read as one statement, so that nothing keeps a text away.
        let script = split(&text).unwrap_or_else(|_| split("SELECT 1").map(|mut script| {
            script.statements[0].span = 0..text.len();
            script
        }).expect("it is sound"));
        let _ = destructive(&text, &script);
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(script) = split(&text) {
            let _ = destructive(&text, &script);
        }
    }

    #[test]
    fn blanks_comments_and_case_change_nothing(
        statement in prop::sample::select(SPACED),
        blanks in prop::collection::vec(prop::sample::select(vec![" ", "\n", "\t\r\n", " /* ' DROP TABLE x; */ ", " -- WHERE\n"]), 1..20),
        upper in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let mut changed = String::new();
        // Blanks within a body are the body's.
        let body = statement.find("$$").map_or(statement.len(), |at| at);
        for (at, word) in statement[..body].split(' ').enumerate() {
            let quoted = word.starts_with('"');
            match upper[at % upper.len()] {
                _ if quoted => changed.push_str(word),
                true => changed.push_str(&word.to_uppercase()),
                false => changed.push_str(&word.to_lowercase()),
            }
            changed.push_str(blanks[at % blanks.len()]);
        }
        changed.push_str(&statement[body..]);
        prop_assert_eq!(what(&changed), what(statement), "{}", changed);
        prop_assert!(!what(statement).is_empty());
    }
}
