//! Texts for property tests: pieces of SQL that matter to a lexer, in any order.

use proptest::prelude::*;

const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "$",
    "$$",
    "$a$",
    "$1",
    "--",
    "/*",
    "*/",
    "\\",
    "\\.",
    "\n\\.\n",
    "\\restrict x\n",
    "(",
    ")",
    ";",
    "\n",
    "\r\n",
    "\r",
    " ",
    "\t",
    "E'",
    "U&'",
    "u&\"",
    "N'",
    "begin",
    "atomic",
    "BEGIN ATOMIC",
    "end",
    "case",
    "create",
    "or",
    "replace",
    "function",
    "procedure",
    "copy",
    "from",
    "stdin",
    "COPY t FROM stdin;\n",
    "SET standard_conforming_strings = off;",
    "set_config",
    "commit",
    "rollback",
    "as",
    "do",
    "é",
    "日本",
    "\u{feff}",
    "\0",
    "1",
    ":'x'",
    "::",
    ",",
    "-- migrate: up\n",
    "\n-- migrate: down\n",
    "\n-- ROLLBACK\n",
    "-- migrate: no-transaction\n",
    "\n-- id: 1\n",
    "-- depends: 1\n",
    "SELECT 1;\n",
];

/// Any text, most of it made of pieces that open, close or separate something.
pub fn sql_like() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat()),
        1 => prop::collection::vec(any::<char>(), 0..60).prop_map(|chars| chars.into_iter().collect()),
    ]
}

/// One statement without its semicolon, such that no text in front of it can change where it ends.
pub fn statement() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "SELECT 1",
        "SELECT ';' AS \"a;b\"",
        "INSERT INTO t VALUES ('it''s', E'\\';', $$;$$, $x$ $$;$$ $x$)",
        "CREATE FUNCTION f(a int, b int) RETURNS int LANGUAGE plpgsql AS $body$ BEGIN RETURN 1; END; $body$",
        "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
        "CREATE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); END",
        "create function begin() returns int language sql return 1",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2))",
        "DO $$ BEGIN PERFORM 1; END $$",
        "SELECT /* a /* ; */ b */ 2 -- ;\n + 3",
        "SELECT CASE WHEN a THEN 1 ELSE 2 END FROM t",
        "SELECT U&'\\0041;', -- it's\n b'01', x'ff'",
        "SELECT 'a'\n 'b;'",
        "SELECT 'größe;', \"日本;\"",
        "ALTER TABLE t ADD COLUMN a$b text",
    ])
    .prop_map(str::to_owned)
}
