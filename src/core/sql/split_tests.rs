//! Tests of the splitter: where statements begin and end, what is refused, and that nothing is lost.

use proptest::prelude::*;

use super::{Kind, Script, fragments, lexer::Backslashes, lexer::Lexer, lexer::TokenKind, split::split};

fn script(text: &str) -> Script {
    split(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

fn statements(text: &str) -> Vec<&str> {
    script(text).statements.iter().map(|statement| &text[statement.span.clone()]).collect()
}

/// The first problem as `line:column: message`, its line from 0.
fn problem(text: &str) -> String {
    let problems = split(text).expect_err(text);
    format!("{}:{}: {}", problems[0].line, problems[0].column, problems[0].message)
}

/// M19: each line is a text and how many statements it holds.
#[test]
fn a_text_is_split_where_psql_splits_it() {
    for (text, count) in [
        ("", 0),
        (" ;; ; -- a\n /* b; */ ;", 0),
        ("SELECT 1", 1),
        ("SELECT 1;", 1),
        ("SELECT 1;SELECT 2", 2),
        ("SELECT ';' ; SELECT E'\\';' ; SELECT \";\" ; SELECT $$;$$ ; SELECT $a$ $$;$$ $a$", 5),
        ("/* a /* ; */ ; */ SELECT 1; SELECT 2", 2),
        ("SELECT 1 -- it's ;\n; SELECT 2", 2),
        ("CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); SELECT 3", 2),
        ("DO $$ BEGIN PERFORM 1; END $$; DO $x$ BEGIN END; $x$", 2),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3", 2),
        ("CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC; SELECT 1; END; SELECT 3", 2),
        ("create or replace procedure p() begin /* x */ atomic insert into t values (1); end; select 1", 2),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE a WHEN 1 THEN CASE WHEN b THEN 1 END END; SELECT 2; END; SELECT 3",
            2,
        ),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT (CASE WHEN a THEN 1 END); END; SELECT 3", 2),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT t.end, 2 AS case FROM t; END; SELECT 3",
            2,
        ),
        ("CREATE FUNCTION begin() RETURNS int LANGUAGE sql RETURN 1; SELECT 2", 2),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql RETURN CASE WHEN true THEN 'a' END; SELECT 2", 2),
        ("BEGIN; SELECT 1; END; SELECT CASE WHEN a THEN b END; COMMIT", 5),
        ("CREATE TABLE atomic (begin int); SELECT 2", 2),
        ("SELECT 1)); SELECT 2", 2),
        ("SELECT 'a'\n'b;'; SELECT 2", 2),
        ("SELECT a$b$c; SELECT d$b$e", 2),
        ("PREPARE p AS SELECT $1; SELECT $2", 2),
        ("SELECT :'x;', :\"y;\"; SELECT a[1:2], b::text", 2),
        ("\u{feff}SELECT 1; SELECT 2", 2),
    ] {
        assert_eq!(script(text).statements.len(), count, "{text}");
    }
}

#[test]
fn a_statement_is_what_stands_between_its_first_and_its_last_token() {
    let text = "-- first\n  SELECT 1 /* x */ -- y\n ;\r\n\r\n\tSELECT 'é',\n 2 ; é";
    assert_eq!(statements(text), ["SELECT 1", "SELECT 'é',\n 2", "é"]);
    let places: Vec<_> = script(text).statements.iter().map(|statement| (statement.line, statement.column)).collect();
    assert_eq!(places, [(1, 3), (4, 2), (5, 6)]);
}

/// M19: data of COPY is no SQL.
#[test]
fn copy_data_goes_up_to_its_closing_line() {
    let text = "COPY t (a, b) FROM stdin; -- data\n1\tit's; $$ /*\n-- x\n\\N\t\\.\n\\.\nSELECT 1;\ncopy u from STDIN with (format csv);\r\n\\.\r\nSELECT 2";
    let script = script(text);
    assert_eq!(statements(text)[1], "SELECT 1");
    let data: Vec<_> =
        script.statements.iter().map(|statement| statement.copy_data.clone().map(|range| &text[range])).collect();
    assert_eq!(data, [Some("1\tit's; $$ /*\n-- x\n\\N\t\\.\n"), None, Some(""), None]);
    assert!(script.has_copy_data());
    for text in [
        "COPY t TO stdout;",
        "COPY t FROM '/x';",
        "COPY t FROM PROGRAM 'stdin';",
        "COPY (SELECT a FROM stdin) TO stdout;",
        "SELECT 1 FROM stdin;",
    ] {
        assert!(!split(text).unwrap().has_copy_data(), "{text}");
    }
    assert!(problem("SELECT 1;\n COPY t FROM stdin;\n1\n").starts_with("1:2: the data of this COPY"));
    assert!(problem("COPY t FROM stdin;").contains("isn't closed by a line that holds \\. alone"));
    assert!(problem("COPY t FROM stdin").contains("has no semicolon"));
    assert!(problem("COPY t FROM stdin; SELECT 1;\n\\.\n").starts_with("0:20: behind COPY"));
}

#[test]
fn lines_of_pg_dump_for_psql_are_dropped_and_others_refused() {
    let text = "\\restrict aBc'1\nSELECT 1;\n  \\unrestrict aBc'1\n";
    let script = script(text);
    assert_eq!(statements(text), ["SELECT 1"]);
    let skipped: Vec<&str> = script.skipped.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!(skipped, ["\\restrict aBc'1", "\\unrestrict aBc'1"]);
    for (text, says) in [
        (
            "SELECT 1;\n  \\i other.sql\nSELECT 2;",
            "1:3: \\i is a command of psql, which isn't at work here: put the SQL",
        ),
        ("SELECT 1 \\gexec\n", "0:10: \\gexec is a command"),
        ("SELECT 1\n\\restrict x\n;", "1:1: \\restrict is a command"),
        ("\\copy t from 'x'", "use COPY … FROM stdin"),
        ("\\connect x", "a set works on one database"),
        ("\\.", "no COPY"),
        ("\\", "0:1: \\ is a command"),
        ("SELECT 1\\; SELECT 2;", "0:9: \\; is a command"),
    ] {
        assert!(problem(text).contains(says), "{text}: {}", problem(text));
    }
    assert_eq!(split("\\i a\n\\i b\nSELECT 1;\\i c").unwrap_err().len(), 3);
}

#[test]
fn what_is_left_open_is_said_where_it_began() {
    for (text, says) in [
        ("SELECT 1;\nSELECT 'it's';", "1:13: the string that begins here isn't closed"),
        ("SELECT \"a;", "0:8: the quoted name that begins here"),
        ("SELECT 1; /* a /* b */", "0:11: the comment that begins here"),
        ("\nDO $a$ BEGIN END $b$;", "1:4: the dollar-quoted string that begins here"),
        ("CREATE TABLE é (a int,\nb (c);\nSELECT 1;", "0:16: the parenthesis that begins here isn't closed"),
        (
            "CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC\nSELECT 1;",
            "1:1: the BEGIN ATOMIC that begins here has no END",
        ),
        ("SELECT (1, 'a", "0:12: the string"),
        ("SELECT \0 1", "0:8: a NUL byte"),
        ("SELECT 1;\nSELECT '\0'; -- \0", "1:9: a NUL byte"),
    ] {
        assert!(problem(text).starts_with(says), "{text}: {}", problem(text));
        assert_eq!(split(text).unwrap_err().len(), 1, "{text}");
    }
}

/// A file that has lost its `$$` gets a message that names the cause.
#[test]
fn a_dollar_quote_that_was_lost_names_the_cause() {
    for text in [
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $\nBEGIN\n  RETURN 'it''s'; END;\n$;",
        "DO $ BEGIN PERFORM 1; END $;",
        "DO $BEGIN PERFORM 1; END$;",
    ] {
        let problems = split(text).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("kustomize.toolkit.fluxcd.io/substitute: disabled"), "{text}");
    }
    assert!(problem("SELECT $ 1").contains("a lone $ begins neither"));
    assert_eq!(statements("SELECT $1, a$b"), ["SELECT $1, a$b"]);
}

#[test]
fn standard_conforming_strings_is_followed_or_refused() {
    let text = "SET standard_conforming_strings = off; SELECT 'it\\'s;'; SET SESSION standard_conforming_strings TO 'on'; SELECT '\\'; SELECT 1";
    assert_eq!(script(text).statements.len(), 5);
    assert!(script(text).has_standard_conforming_strings_set());
    assert!(!script("SET standard_conforming_strings = on; SELECT 1").has_standard_conforming_strings_set());
    assert_eq!(script("SET standard_conforming_strings=0; RESET ALL; SELECT '\\'; SELECT 1").statements.len(), 4);
    for text in [
        "SET LOCAL standard_conforming_strings = off;",
        "SET standard_conforming_strings = perhaps",
        "SELECT 1, pg_catalog.set_config('standard_conforming_strings', 'off', false);",
    ] {
        assert!(problem(text).contains("SET standard_conforming_strings"), "{text}");
    }
    // pg_dump sets it to what it is.
    assert!(split("SELECT pg_catalog.set_config('search_path', '', false);").is_ok());
}

#[test]
fn more_problems_than_anybody_reads_are_not_collected() {
    assert_eq!(split(&"\\x\n".repeat(1_000)).unwrap_err().len(), 50);
}

#[test]
fn long_texts_take_time_in_proportion_to_their_length() {
    for piece in [
        "(",
        "/*",
        "'a'\n--\n",
        "$a$",
        "$a",
        "BEGIN ATOMIC ",
        "CREATE FUNCTION f() BEGIN ATOMIC ",
        "COPY t FROM stdin;\n",
        "SELECT 1;",
        "\\restrict\n",
        "'",
        "\"",
        "x.",
        ";",
        "\\x ",
    ] {
        let text = piece.repeat(2_000_000 / piece.len());
        let _ = split(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_makes_it_fail_and_spans_are_in_order(text in fragments::sql_like()) {
        let Ok(script) = split(&text) else { return Ok(()) };
        let mut at = 0;
        let mut between = String::new();
        let mut skipped = script.skipped.iter().cloned().peekable();
        for statement in &script.statements {
            let Script { statements: _, own_transaction, .. } = &script;
            prop_assert!(own_transaction.is_none() && statement.kind != Kind::Block);
            prop_assert!(statement.span.start >= at && statement.span.end > statement.span.start);
            while let Some(line) = skipped.next_if(|line| line.end <= statement.span.start) {
                between.push_str(&text[at..line.start]);
                at = line.end;
            }
            between.push_str(&text[at..statement.span.start]);
            between.push('\n');
            at = statement.span.end;
            if let Some(data) = &statement.copy_data {
                prop_assert!(data.start >= at && text[data.end..].starts_with("\\."));
                between.push_str(&text[at..data.start]);
                at = data.end + 2;
            }
        }
        for line in skipped {
            between.push_str(&text[at..line.start]);
            at = line.end;
        }
        between.push_str(&text[at..]);
        // Nothing but blanks, comments and semicolons is left.
        for token in Lexer::new(&between, Backslashes::Ordinary) {
            let empty = token.kind.is_blank() || token.kind == TokenKind::Semicolon;
            prop_assert!(empty, "{between:?} of {text:?}");
        }
    }

    #[test]
    fn statements_joined_are_split_again(pieces in prop::collection::vec(fragments::statement(), 0..12), glue in "[ \n\t]*;[; \n]*") {
        let text = pieces.join(&glue);
        prop_assert_eq!(statements(&text), pieces);
    }
}
