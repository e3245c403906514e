//! The splitter's boundaries are the server's: what the server's own parser says of a whole text and of its pieces.
//!
//! The text goes as one message behind a statement that fails, and each piece is prepared in a transaction that has
//! failed: both are parsed, and nothing of them runs. The first error must stand at one place, and a piece must be one
//! statement.

use std::{ops::Range, time::Duration};

use dunlin::core::sql::split::split;
use rand::RngExt as _;
use tokio_postgres::{Client, NoTls, error::ErrorPosition};

use crate::support::{Fuzz, fresh_database};

/// Real statements, from which texts are made.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT 'it''s; -- /* $$', E'\\';\\'', U&'\\0041;' UESCAPE '!', b'01', x'ff', N'n;'",
    "SELECT \";\"\"\", U&\"d\\0061t;\", $1, a.b[1:2], x::text, @ -1, 1e10, .5",
    "SELECT $$;$$, $a$ $$;$$ $b$ $a$, $é$ ; $é$",
    "SELECT 'a'\n'b;' -- more\n  'c'",
    "/* one /* two; */ three; */ SELECT /* ; */ 1 -- ;\n + 2",
    "CREATE TABLE größe (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \"naïve;\" text DEFAULT ';' CHECK (\"naïve;\" <> ''))",
    "CREATE FUNCTION f(a int, OUT b int) RETURNS int LANGUAGE plpgsql AS $body$ BEGIN b := a; RETURN; END; $body$",
    "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql IMMUTABLE RETURN CASE WHEN true THEN 'a' END",
    "CREATE PROCEDURE p(INOUT x int) LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (1); UPDATE t SET a = 2; END",
    "CREATE FUNCTION begin() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS \"end\"; SELECT t.end FROM t; END",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2))",
    "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f('a;b')",
    "DO $do$ BEGIN PERFORM 1; EXECUTE 'SELECT 1;'; END $do$",
    "INSERT INTO t (a, b) SELECT x, ';' FROM generate_series(1, 10) AS x ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b RETURNING *",
    "WITH RECURSIVE w (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM w WHERE n < 5) SELECT * FROM w",
    "ALTER TABLE t ADD COLUMN a$b text, ALTER COLUMN c TYPE int USING c::int, DROP COLUMN IF EXISTS d CASCADE",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t USING gin (to_tsvector('english', a || ';' || b)) WHERE a IS NOT NULL",
    "COMMENT ON TABLE t IS 'a; b'",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "COMMIT AND CHAIN",
    "SAVEPOINT s",
    "ROLLBACK TO SAVEPOINT s",
    "SET LOCAL search_path TO app, \"Other;\", public",
    "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO \"some;one\" WITH GRANT OPTION",
    "COPY t (a, b) TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';')",
    "PREPARE q (int, text) AS SELECT $1, $2",
    "EXPLAIN (ANALYZE, BUFFERS) SELECT 1",
    "CREATE TYPE mood AS ENUM ('sad;', 'ok', 'happy')",
    "CREATE VIEW v AS SELECT count(*) FILTER (WHERE a > 0) OVER (PARTITION BY b ORDER BY c) FROM t",
    "SELECT CASE a WHEN 1 THEN CASE WHEN b THEN 2 END ELSE 3 END FROM t",
    "SELECT 1 AS begin, 2 AS atomic, 3 AS \"end\"",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = f)",
    "SELECT a <-> b, c #>> '{a;b}', d ?| array['x'], e @> '{}', - -1, 1 -- x\n",
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id)",
    "VALUES (1, ';'), (2, $$;$$)",
    "CREATE AGGREGATE agg (int) (SFUNC = int4pl, STYPE = int)",
    "TABLE t",
];

/// What opens, closes, separates or continues something.
const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "$",
    "$$",
    "$a$",
    "$1",
    "--",
    "--\n",
    "/*",
    "*/",
    "(",
    ")",
    ";",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\t",
    "\x0b",
    "\x0c",
    "E'",
    "e'\\",
    "U&'",
    "u&\"",
    "N'",
    "b'",
    "x'",
    "begin",
    "BEGIN ATOMIC",
    "atomic",
    "end",
    "END;",
    "case",
    "create",
    "or replace",
    "function",
    "procedure",
    "CREATE FUNCTION f() RETURNS int",
    "as",
    "do",
    "return",
    "é",
    "日本",
    "\u{feff}",
    "\u{a0}",
    "\u{2003}",
    "1",
    "1a",
    "1.",
    "0x",
    ":",
    "::",
    ":'x'",
    ",",
    ".",
    "..",
    "=",
    "+",
    "-",
    "*",
    "/",
    "@",
    "#",
    "?",
    "|",
    "!",
    "~",
    "[",
    "]",
    "{",
    "}",
    "\\",
    "uescape",
    "UESCAPE '!'",
    "not",
    "null",
    "%",
    "^",
    "&",
    "<",
    ">",
    ":=",
    "=>",
    "\u{1}",
    "\u{7f}",
    "_",
    "a$$",
    "a$b$",
    "é$$",
    "select",
    "from",
];

/// The first error that the server's parser has, with its place in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Objection {
    code: String,
    message: String,
    position: Option<usize>,
}

struct Server {
    client: Client,
    /// In the server's own form, as 170003.
    version: i32,
}

impl Server {
    async fn start() -> Self {
        let url = fresh_database().await;
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        let version = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await;
        let version: i32 = version.expect("it says what it is").get(0);
        client.batch_execute("BEGIN").await.expect("a transaction begins");
        client.batch_execute("SELECT 1/0").await.expect_err("and fails");
        Self { client, version }
    }

    /// PostgreSQL takes a vertical tab for a blank since version 17, as the splitter does.
    fn vertical_tabs(&self) -> bool {
        self.version >= 170_000
    }

    /// What is wrong with a whole text.
    async fn whole(&self, text: &str) -> Option<Objection> {
        // Parsed as a whole before any of it runs, and then ended by its first statement: the transaction has failed.
        const FIRST: &str = "SELECT 1;";
        let error = self.client.batch_execute(&format!("{FIRST}{text}")).await.expect_err("the first statement fails");
        objection(&error, FIRST.chars().count())
    }

    /// What is wrong with a piece, that it is more than one statement included.
    async fn piece(&self, text: &str) -> Option<Objection> {
        match self.client.prepare(text).await {
            // What ends a transaction may be prepared.
            Ok(_) => None,
            Err(error) => objection(&error, 0),
        }
    }
}

fn objection(error: &tokio_postgres::Error, before: usize) -> Option<Objection> {
    let error = error.as_db_error().unwrap_or_else(|| panic!("the server has hung up: {error:?}"));
    // The transaction has failed: it was parsed, and refused for that.
    if error.code().code() == "25P02" {
        return None;
    }
    let position = match error.position() {
        Some(ErrorPosition::Original(position)) => Some((*position as usize).saturating_sub(1 + before)),
        Some(ErrorPosition::Internal { .. }) | None => None,
    };
    Some(Objection { code: error.code().code().to_owned(), message: error.message().to_owned(), position })
}

/// What the splitter refuses although PostgreSQL takes it, by a part of the message.
const REFUSALS: &[&str] = &["is a command of psql", "a lone $", "standard_conforming_strings", "NUL byte", "COPY"];

/// Whether splitter and server agree on a text.
async fn agreement(server: &Server, text: &str) -> Result<(), String> {
    if text.contains('\0') || text.contains('\x0b') && !server.vertical_tabs() {
        return Ok(());
    }
    let whole = server.whole(text).await;
    let script = match split(text) {
        Ok(script) => script,
        Err(problems) => {
            let refusal = |message: &str| REFUSALS.iter().any(|known| message.contains(known));
            return match whole {
                None if !problems.iter().any(|problem| refusal(&problem.message)) => {
                    Err(format!("the server takes what is refused: {problems:?}"))
                }
                _ => Ok(()),
            };
        }
    };
    // What these change is known to the splitter, and to the server when they run.
    if script.standard_conforming_strings_off || script.has_copy_data() || !script.skipped.is_empty() {
        return Ok(());
    }
    for statement in &script.statements {
        let piece = &text[statement.span.clone()];
        let Some(theirs) = server.piece(piece).await else { continue };
        let Some(whole) = whole else { return Err(format!("{piece:?} alone: {theirs:?}, and the whole is fine")) };
        return same_place(text, &statement.span, &theirs, &whole)
            .then_some(())
            .ok_or_else(|| format!("{piece:?} alone: {theirs:?}, and the whole: {whole:?}"));
    }
    match whole {
        None => Ok(()),
        Some(whole) => Err(format!("the whole: {whole:?}, and each piece is fine")),
    }
}

fn same_place(text: &str, span: &Range<usize>, piece: &Objection, whole: &Objection) -> bool {
    let start = text[..span.start].chars().count();
    let length = text[span.clone()].chars().count();
    let (Some(at), Some(whole_at)) = (piece.position, whole.position) else {
        return piece.code == whole.code && piece.position.is_none() && whole.position.is_none();
    };
    // At the end of the piece, the whole goes on with its semicolon, or ends behind blanks and comments.
    at == length && whole_at >= start + length && (piece.message.contains("end of input"))
        || whole_at == start + at && piece.code == whole.code
}

/// A text of some statements, with some mishaps.
fn text(fuzz: &mut Fuzz) -> String {
    let count = fuzz.random.random_range(1..5);
    let mut text = String::new();
    for _ in 0..count {
        text.push_str(fuzz.word(STATEMENTS));
        text.push_str(fuzz.word(&[";", ";", ";\n", " ;; ", "; -- x\n", "\n;\n", ""]));
    }
    for _ in 0..fuzz.random.random_range(0..5) {
        let (from, to) = (place(fuzz, &text), place(fuzz, &text));
        let (from, to) = (from.min(to), from.max(to));
        match fuzz.random.random_range(0..6) {
            0 | 1 => text.insert_str(from, fuzz.word(PIECES)),
            2 => text.replace_range(from..to.min(end(&text, from, 6)), ""),
            3 => text.replace_range(from..to.min(end(&text, from, 3)), fuzz.word(PIECES)),
            4 => {
                let part = text[from..to.min(end(&text, from, 30))].to_owned();
                let at = place(fuzz, &text);
                text.insert_str(at, &part);
            }
            _ => text.truncate(to),
        }
    }
    text
}

/// Somewhere between two characters.
fn place(fuzz: &mut Fuzz, text: &str) -> usize {
    let at = fuzz.random.random_range(0..=text.len());
    text.floor_char_boundary(at)
}

fn end(text: &str, from: usize, length: usize) -> usize {
    text.floor_char_boundary((from + length).min(text.len()))
}

/// Leaves out what isn't needed for the disagreement.
async fn smaller(server: &Server, mut text: String) -> String {
    let mut length = text.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at < text.len() {
            let (from, to) = (text.floor_char_boundary(at), text.ceil_char_boundary((at + length).min(text.len())));
            let without = [&text[..from], &text[to..]].concat();
            if to > from && agreement(server, &without).await.is_err() {
                text = without;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    text
}

#[tokio::test]
async fn a_text_is_split_where_the_server_splits_it() {
    let server = Server::start().await;
    let mut fuzz = Fuzz::begin("statements", Duration::from_secs(5));
    let mut found = Vec::new();
    while found.len() < 5 && fuzz.goes_on() {
        let text = text(&mut fuzz);
        if agreement(&server, &text).await.is_err() {
            let text = smaller(&server, text).await;
            let why = agreement(&server, &text).await.expect_err("it still disagrees");
            found.push(format!("{text:?}: {why}"));
        }
    }
    fuzz.end("disagreements", &found);
}

/// Each of these was a disagreement once, or is a corner of the grammar.
#[tokio::test]
async fn the_corpus_is_split_where_the_server_splits_it() {
    let server = Server::start().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("its entries are read").path();
        let text = String::from_utf8(std::fs::read(&path).expect("a file")).expect("it is text");
        let agreed = agreement(&server, &text).await;
        assert!(agreed.is_ok(), "{}: {agreed:?}", path.display());
        count += 1;
    }
    assert!(count >= STATEMENTS.len().min(10), "only {count} files");
    // PostgreSQL 14 has no MERGE: it is split there like anything else that is refused.
    let taken = |statement: &&&str| server.version >= 150_000 || !statement.starts_with("MERGE");
    for statement in STATEMENTS.iter().filter(taken) {
        assert_eq!(server.whole(statement).await, None, "{statement}: it is to be one that the server takes");
        assert_eq!(server.piece(statement).await, None, "{statement}");
    }
}
