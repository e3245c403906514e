//! Where an error stands: file, line, column, the line with a caret, in every way that a file may be sent.

use super::fixture::{Fixture, Ran};

async fn broken(text: &str) -> Ran {
    let fixture = Fixture::new().await;
    fixture.apply(&[("001_broken.sql", text)]).await
}

/// Text, and what the message must hold.
#[tokio::test]
#[allow(clippy::too_many_lines, reason = "it is a table")]
async fn an_error_is_placed_in_whatever_way_the_file_is_sent() {
    let many = "SELECT 1;\n".repeat(5_001);
    let mut wrong = Vec::new();
    for (what, text, expected) in [
        (
            "multibyte characters before it",
            "SELECT 'Größe 日本語 🦆';\nSELECT 'ä' AS größe, nope FROM pg_class;\n",
            "001_broken.sql:2:22: column \"nope\" does not exist (SQLSTATE 42703)\nSELECT 'ä' AS größe, nope FROM pg_class;\n                     ^",
        ),
        (
            "CRLF",
            "SELECT 1;\r\nSELECT 2;\r\n  SELEC 3;\r\n",
            "001_broken.sql:3:3: syntax error at or near \"SELEC\" (SQLSTATE 42601)\n  SELEC 3;\n  ^",
        ),
        ("tabs", "SELECT 1;\n\tSELECT\tnope;\n", "001_broken.sql:2:9: column \"nope\" does not exist"),
        (
            "no position, in the middle",
            "CREATE TABLE u (a int PRIMARY KEY);\n\n-- twice\nINSERT INTO u\n  VALUES (1), (1);\nSELECT 1;\n",
            "001_broken.sql:4:1: duplicate key value violates unique constraint \"u_pkey\" (SQLSTATE 23505)\nINSERT INTO u\n^",
        ),
        (
            "inside a function's body",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN\n RETURN nope; END $$;\nSELECT 1;\n   SELECT f();\n",
            "001_broken.sql:4:4: column \"nope\" does not exist",
        ),
        (
            "inside a function's body, with the function's line",
            "DO $$ BEGIN\n\n  PERFORM 1/0;\nEND $$;\n",
            "CONTEXT: PL/pgSQL function inline_code_block line 3 at PERFORM",
        ),
        (
            "a function's own syntax, at its place in the file",
            "SELECT 1;\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETRUN 1;\nEND $$;\n",
            "001_broken.sql:4:3: syntax error at or near \"RETRUN\"",
        ),
        ("its own transaction", "BEGIN;\nSELECT 1;\nSELECT nope;\nCOMMIT;\n", "001_broken.sql:3:8: column \"nope\""),
        (
            "its own transaction, without a position",
            "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT 'ü';\nSELECT 1/0;\nCOMMIT;\n",
            "001_broken.sql:3:1: division by zero",
        ),
        ("statement by statement", &format!("{many}SELECT 'ü', nope;\n"), "001_broken.sql:5002:13: column \"nope\""),
        (
            "statement by statement, without a position",
            &format!("{many}\n  SELECT 1/0;\n"),
            "001_broken.sql:5003:3: division",
        ),
        (
            "behind COPY's data",
            "CREATE TABLE t (a text);\nCOPY t FROM stdin;\nü\n\\.\nSELECT nope;\n",
            "001_broken.sql:5:8: column \"nope\"",
        ),
        (
            "in COPY's data",
            "CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\nx\n\\.\n",
            "001_broken.sql:2:1: invalid input syntax",
        ),
        (
            "in COPY's own columns",
            "CREATE TABLE t (a int);\nCOPY t (b) FROM stdin;\n1\n\\.\n",
            "001_broken.sql:2:1: column \"b\"",
        ),
        (
            "journaled",
            "-- migrate: no-transaction\nSELECT 'ü';\n  SELECT 'ü', nope;\n",
            "001_broken.sql:3:15: column \"nope\" does not exist",
        ),
        (
            "journaled, without a position",
            "-- migrate: no-transaction\nSELECT 1;\n  SELECT 1/0;\n",
            "001_broken.sql:3:3: division",
        ),
        (
            "journaled, in a block",
            "-- migrate: no-transaction\nSELECT 1;\nBEGIN;\nSELECT 'ü';\nSELECT nope;\nCOMMIT;\n",
            "001_broken.sql:5:8: column \"nope\"",
        ),
        (
            "journaled, what can't be in a transaction",
            "-- migrate: no-transaction\nSELECT 'ü';\nCREATE INDEX CONCURRENTLY ON\n  nope (a);\n",
            "001_broken.sql:3:1: relation \"nope\" does not exist",
        ),
        (
            "behind a heading",
            "-- migration: x\n-- migrate: up\nSELECT 1;\nSELECT nope;\n",
            "001_broken.sql:4:8: column \"nope\"",
        ),
        (
            "deferred to the end",
            "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE c (a int REFERENCES p DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO c VALUES (1);\n",
            "001_broken.sql: a constraint or trigger that was deferred to the end: insert or update on table \"c\" violates",
        ),
        (
            "at the end of a text that ends early",
            "SELECT (\n1 +\n);\n",
            "001_broken.sql:3:1: syntax error at or near \")\"",
        ),
        ("with a hint", "SELECT lenght('a');\n", "HINT: No function matches the given name"),
        (
            "a rule that answers twice",
            "CREATE TABLE a (x int); CREATE TABLE b (x int);\nCREATE RULE r AS ON INSERT TO a DO ALSO INSERT INTO b VALUES (1), (2);\nINSERT INTO a VALUES (1);\nSELECT 1/0;\n",
            "001_broken.sql:4:1: division",
        ),
        (
            "a time-out of the file's own",
            "SET statement_timeout = '50ms';\nSELECT 1;\nSELECT pg_sleep(20);\n",
            "001_broken.sql:3:1: canceling statement due to statement timeout (SQLSTATE 57014). A time-out",
        ),
    ] {
        let ran = broken(text).await;
        let message = &ran.finding().message;
        if !message.contains(expected) {
            wrong.push(format!("{what}: {message}\n  is not: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// DETAIL may hold rows: it stays in the history.
#[tokio::test]
async fn no_value_of_a_row_is_in_a_message() {
    let text = "CREATE TABLE u (a text PRIMARY KEY);\nINSERT INTO u\n  SELECT repeat('secret-', 2) FROM generate_series(1, 2);\n";
    let ran = broken(text).await;
    assert!(!ran.finding().message.contains("secret-secret"), "{}", ran.finding().message);
    let copied = broken("CREATE TABLE t (a int, b text);\nCOPY t FROM stdin;\n1\tx\tsecret-row\n\\.\n").await;
    assert!(!copied.finding().message.contains("secret-row"), "{}", copied.finding().message);
}
