//! Tests of what a section may hold by its mode, and of the second opinion on its boundaries.

use proptest::prelude::*;

use super::{Boundaries, Kind, Script, SessionEffect, fragments};
use crate::core::migration::TransactionMode::{self, NonTransactional, Transactional};

fn read(text: &str, mode: TransactionMode) -> Result<Script, String> {
    Script::read(text, mode, Boundaries::CrossChecked).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}:{}: {}", problem.line, problem.column, problem.message))
            .collect();
        lines.join("\n")
    })
}

fn refused(text: &str, mode: TransactionMode) -> String {
    read(text, mode).expect_err(text)
}

#[test]
fn a_file_from_begin_to_commit_is_its_own_transaction() {
    for (text, modes) in [
        ("BEGIN; SELECT 1; COMMIT;", ""),
        ("-- x\nbegin work; SELECT 1; END", ""),
        (
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE ; SELECT 1; COMMIT WORK",
            "ISOLATION LEVEL SERIALIZABLE, READ WRITE",
        ),
        ("BEGIN TRANSACTION; COMMIT", ""),
        ("BEGIN; SAVEPOINT a; ROLLBACK TO a; RELEASE a; COMMIT", ""),
    ] {
        let script = read(text, Transactional).unwrap();
        assert_eq!(script.own_transaction.unwrap().modes, modes, "{text}");
        assert_eq!(script.statements.first().unwrap().kind, Kind::Begin);
        assert_eq!(script.statements.last().unwrap().kind, Kind::Commit);
    }
    for text in ["SELECT 1; SAVEPOINT a; ROLLBACK TO a;", "SELECT 1", "CALL p()", ""] {
        assert_eq!(read(text, Transactional).unwrap().own_transaction, None);
    }
}

#[test]
fn other_transaction_control_is_refused_with_its_line() {
    for (text, says) in [
        ("SELECT 1;\n COMMIT;", "1:2: COMMIT isn't possible here"),
        ("BEGIN;\nSELECT 1;", "0:1: BEGIN isn't possible here"),
        ("BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nSELECT 2;\nCOMMIT;", "2:1: COMMIT isn't possible here"),
        ("BEGIN; SELECT 1; COMMIT; SELECT 2", "0:1: BEGIN isn't"),
        ("ROLLBACK", "0:1: ROLLBACK isn't"),
        ("ABORT", "0:1: ABORT isn't"),
        ("END", "0:1: END isn't"),
        ("START TRANSACTION", "0:1: START TRANSACTION isn't"),
        ("PREPARE TRANSACTION 'x'", "0:1: PREPARE TRANSACTION isn't"),
        ("BEGIN; COMMIT AND CHAIN", "COMMIT AND CHAIN isn't"),
        ("BEGIN READ ONLY; COMMIT", "can't hold the row of the history"),
        ("DISCARD ALL", "0:1: DISCARD ALL would drop the lock"),
    ] {
        assert!(refused(text, Transactional).contains(says), "{text}: {}", refused(text, Transactional));
    }
    assert_eq!(refused("COMMIT;\nROLLBACK;\nABORT", Transactional).lines().count(), 3);
}

/// M19: what can't run in a transaction is refused before anything runs, with the cure.
#[test]
fn what_can_not_run_in_a_transaction_asks_for_no_transaction() {
    for (text, label) in [
        ("SELECT 1;\nCREATE INDEX CONCURRENTLY i ON t (a)", "1:1: CREATE INDEX CONCURRENTLY"),
        ("DROP INDEX CONCURRENTLY i", "0:1: DROP INDEX CONCURRENTLY"),
        ("ALTER TABLE p DETACH PARTITION c CONCURRENTLY", "DETACH PARTITION … CONCURRENTLY"),
        ("REINDEX TABLE CONCURRENTLY t", "REINDEX … CONCURRENTLY"),
        ("REINDEX SCHEMA s", "REINDEX of a schema or database"),
        ("VACUUM FULL t", "0:1: VACUUM"),
        ("create database x", "CREATE DATABASE"),
        ("DROP DATABASE x", "DROP DATABASE"),
        ("alter system reset all", "ALTER SYSTEM"),
        ("DROP SUBSCRIPTION s", "DROP SUBSCRIPTION"),
        ("DO $$ BEGIN COMMIT; END $$", "a DO block with COMMIT or ROLLBACK"),
        ("BEGIN; VACUUM; COMMIT", "0:8: VACUUM"),
    ] {
        let message = refused(text, Transactional);
        assert!(message.contains(&format!("{label} can't run inside a transaction")), "{text}: {message}");
        assert!(message.contains("-- migrate: no-transaction"));
    }
}

/// M19: a block is one statement of the journal.
#[test]
fn a_block_of_a_non_transactional_file_is_one_statement() {
    let text =
        "SELECT 1;\n  BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE t SET a = 1; SAVEPOINT b; COMMIT WORK ; VACUUM t";
    let script = read(text, NonTransactional).unwrap();
    let spans: Vec<&str> = script.statements.iter().map(|statement| &text[statement.span.clone()]).collect();
    assert_eq!(
        spans,
        ["SELECT 1", "BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE t SET a = 1; SAVEPOINT b; COMMIT WORK", "VACUUM t"]
    );
    let block = &script.statements[1];
    assert_eq!((&block.kind, block.line, block.column), (&Kind::Block, 1, 3));
    assert_eq!(block.session, SessionEffect::None);
    assert_eq!(script.own_transaction, None);
    let whole = read("BEGIN; SET search_path = a; COMMIT", NonTransactional).unwrap();
    assert_eq!(whole.statements.len(), 1);
    assert_eq!(whole.statements[0].session, SessionEffect::State);
}

#[test]
fn an_unsound_block_is_refused_with_its_line() {
    for (text, says) in [
        ("SELECT 1;\nBEGIN; SELECT 1;", "1:1: this BEGIN has no COMMIT"),
        ("SELECT 1;\nCOMMIT;", "1:1: COMMIT without a BEGIN"),
        ("BEGIN; BEGIN; COMMIT", "0:8: BEGIN inside a block"),
        ("BEGIN;\nROLLBACK;", "1:1: ROLLBACK can't be journaled"),
        ("ROLLBACK", "0:1: ROLLBACK can't be journaled"),
        ("BEGIN; COMMIT AND CHAIN; COMMIT", "0:8: COMMIT AND CHAIN can't be journaled"),
        ("BEGIN; PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION can't be journaled"),
        ("BEGIN; VACUUM; COMMIT", "0:8: VACUUM can't run inside a transaction: move it out"),
        (
            "BEGIN;\nSET standard_conforming_strings = off;\nCOMMIT",
            "1:1: SET standard_conforming_strings inside a block",
        ),
        ("SAVEPOINT a", "0:1: SAVEPOINT stands outside a transaction"),
        ("DISCARD ALL", "0:1: DISCARD ALL would drop the lock"),
        ("BEGIN; COPY t FROM stdin;\n1\n\\.\nCOMMIT", "0:8: COPY with data inside a block"),
    ] {
        assert!(refused(text, NonTransactional).contains(says), "{text}: {}", refused(text, NonTransactional));
    }
}

/// M19: both readers see the same statements in what a non-transactional file may hold.
#[test]
fn a_grammar_agrees_on_where_statements_begin() {
    for text in [
        "",
        "-- nothing\n",
        "CREATE INDEX CONCURRENTLY i ON t (a); DROP INDEX CONCURRENTLY IF EXISTS j;",
        ";;VACUUM (FULL, ANALYZE) t;;; -- x\n;REINDEX TABLE CONCURRENTLY t",
        "ALTER TABLE p DETACH PARTITION c CONCURRENTLY; ALTER SYSTEM SET work_mem = '1MB'; CREATE DATABASE x;",
        "\\restrict x\nSET lock_timeout = 0;\nSELECT pg_catalog.set_config('search_path', '', false);\n\\unrestrict x\n",
        "COPY t (a, b) FROM stdin;\n1\tit's; $$ (\n\\.\nSELECT 1;\n",
        "DO $$ BEGIN UPDATE t SET a = 1; COMMIT; END $$; CALL p(1, 'x');",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END FROM t; END; SELECT 2",
        "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (1); END; SELECT 2",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)); SELECT 1",
        "BEGIN; SELECT 1; COMMIT; START TRANSACTION; SELECT 2; END; ",
        "SELECT 'a'\n'b;'; SELECT E'\\';', U&'\\0041;', b'01', x'ff', $a$;$a$, \"a;\"",
        "ALTER TYPE e ADD VALUE 'x'; REFRESH MATERIALIZED VIEW CONCURRENTLY v; CLUSTER; CHECKPOINT; ANALYZE t",
        "SELECT 1 /* a /* ; */ b */; SELECT 2 -- ;\n",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p; DROP SUBSCRIPTION s; ALTER SUBSCRIPTION s REFRESH PUBLICATION",
        "UPDATE t SET größe = 'ä;ö' WHERE \"日本\" = 1; SELECT 2",
        "SELECT :'name'; CREATE INDEX CONCURRENTLY :\"index\" ON t (a);\nSELECT a::text, b[1:2]",
    ] {
        if let Err(message) = read(text, NonTransactional) {
            panic!("{text}: {message}");
        }
    }
}

#[test]
fn a_disagreement_on_boundaries_is_refused_with_the_way_out() {
    // Nobody's SQL: the grammar takes the second word for a statement of its own.
    let text = "SELECT 1;\nFROBNICATE t SELECT 2;";
    let message = refused(text, NonTransactional);
    assert!(message.starts_with("1:"), "{message}");
    assert!(message.contains("disagree") && message.contains("-- migrate: trust-splitter"), "{message}");
    assert!(Script::read(text, NonTransactional, Boundaries::Trusted).is_ok());
    assert!(read(text, Transactional).is_ok(), "only what is split is checked");
}

#[test]
fn what_nests_without_end_is_refused_and_not_descended_into() {
    for piece in ["(", "[", "NOT ", "CASE WHEN ", "- ", "EXPLAIN ", "SELECT 1 UNION ", "ARRAY["] {
        let text = format!("SELECT {}1{}", piece.repeat(100_000), ")".repeat(if piece == "(" { 100_000 } else { 0 }));
        let message = refused(&text, NonTransactional);
        assert!(message.contains("nested too deeply"), "{piece}: {}", &message[..100]);
        let text = format!("SELECT {}1{}", piece.repeat(490), ")".repeat(if piece == "(" { 490 } else { 0 }));
        let _ = read(&text, NonTransactional);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_a_check_fail(text in fragments::sql_like()) {
        let _ = read(&text, Transactional);
        let _ = read(&text, NonTransactional);
    }

    /// M19: any two statements of any order keep their boundaries in both readers.
    #[test]
    fn joined_statements_are_agreed_upon(pieces in prop::collection::vec(fragments::statement(), 1..8)) {
        let text = pieces.join(";\n");
        prop_assert_eq!(read(&text, NonTransactional).map(|script| script.statements.len()), Ok(pieces.len()));
    }
}
