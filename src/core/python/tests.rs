//! Files of Python into files of SQL, as Dunlin reads them.

use proptest::prelude::*;

use super::{Converted, Source, Tool, convert};
use crate::core::{
    bundle::{Bundle, BundleFile},
    format::{self, Format},
    migration::{MigrationDir, TransactionMode},
    sql::fragments,
};

fn of(tool: Tool, files: &[(&str, &str)], there: &[(&str, &str)]) -> Result<Vec<Converted>, Vec<String>> {
    let origins: Vec<String> = files.iter().map(|(stem, _)| format!("old/{stem}.py")).collect();
    let sources = files.iter().zip(&origins);
    let sources: Vec<Source> =
        sources.map(|((stem, text), origin)| Source { stem, origin, bytes: text.as_bytes() }).collect();
    let there: Vec<BundleFile> = there
        .iter()
        .map(|(name, text)| BundleFile { name: (*name).into(), bytes: (*text).into(), origin: (*name).into() })
        .collect();
    convert(tool, &sources, &there).map_err(|found| found.iter().map(ToString::to_string).collect())
}

/// A file of herogold's, `up` and `down` of these lines.
fn herogold(up: &str, down: &str) -> String {
    let lines = |lines: &str| format!("        {}\n", lines.replace('\n', "\n        "));
    format!(
        "class A(Migration):\n    def up(self, session):\n{}    def down(self, session):\n{}",
        lines(up),
        lines(down)
    )
}

/// One file of herogold's as Dunlin reads it.
fn one(up: &str, down: &str) -> (Converted, MigrationDir) {
    let converted = of(Tool::Herogold, &[("20260215_a", &herogold(up, down))], &[]);
    let converted = converted.unwrap_or_else(|found| panic!("{up}\n{down}\n{found:?}")).remove(0);
    let bytes = converted.text.clone().into_bytes();
    let file = BundleFile { name: converted.file.clone(), bytes, origin: converted.file.clone() };
    let dir = format::read(&Bundle::new(vec![file]).expect("one file"), Format::Auto).expect("it is Dunlin's");
    (converted, dir)
}

fn refused(up: &str, down: &str) -> Vec<String> {
    of(Tool::Herogold, &[("20260215_a", &herogold(up, down))], &[]).expect_err("it isn't possible")
}

fn psqlmodel(attributes: &str) -> String {
    format!(
        "class A(Migration):\n    '''Add users'''\n    {attributes}\n    def up(self, engine):\n        engine.execute('SELECT 1')\n"
    )
}

/// Q27: the file that psqlmodel's document shows.
#[test]
fn a_file_of_psqlmodel_becomes_one_of_dunlin() {
    let text = r#"# migrations/20251212_191130_add_users_table.py

from psqlmodel.migrations import Migration


class AddUsersTable(Migration):
    """Add users table"""
    
    version = "20251212_191130"
    message = "Add users table"
    depends_on = None  # Or previous version
    
    def up(self, engine):
        """Apply the migration."""
        engine.execute("""
            CREATE TABLE users (
                id SERIAL PRIMARY KEY,
                email VARCHAR(255) NOT NULL
            )
        """)
    
    def down(self, engine):
        """Revert the migration."""
        engine.execute("DROP TABLE IF EXISTS users CASCADE")
"#;
    let later = psqlmodel("version = '20251213_000000'\n    depends_on = ['20251212_191130']\n    message = 'up'");
    let files = [("20251212_191130_add_users_table", text), ("20251213_000000_later", &later)];
    let converted = of(Tool::Psqlmodel, &files, &[]).expect("all of it is literal");
    assert_eq!(converted[0].file, "20251212_191130_add_users_table.sql");
    assert_eq!(
        converted[0].text,
        "-- migration: Add users table\n\n-- migrate: up\nCREATE TABLE users (\n    id SERIAL PRIMARY KEY,\n    \
         email VARCHAR(255) NOT NULL\n);\n\n-- migrate: down\nDROP TABLE IF EXISTS users CASCADE;\n"
    );
    assert_eq!(
        converted[1].text,
        "-- description: Add users\n-- depends: 20251212_191130\n\n-- migrate: up\nSELECT 1;\n"
    );
    assert_eq!((converted[0].has_down, converted[1].has_down), (true, false));
}

/// Q27, H05: a file keeps its name wherever that is a migration's; psqlmodel's class says its version.
#[test]
fn names_are_kept_so_that_histories_know_them() {
    for (stem, expected) in [
        ("20260215_create_users", Ok("20260215_create_users.sql")),
        ("20260215_02_create_posts", Ok("20260215_02_create_posts.sql")),
        ("20261121_05_add user email!", Ok("20261121_05_add user email!.sql")),
        ("20260215_12_months", Ok("20260215_12_months.sql")),
        ("create_users", Err("create_users.sql is no migration file")),
        ("20260215", Err("20260215.sql is no migration file")),
        ("20260215_02", Err("20260215_02.sql is no migration file")),
    ] {
        let converted = of(Tool::Herogold, &[(stem, &herogold("pass", "pass"))], &[]);
        match expected {
            Ok(file) => assert_eq!(converted.expect(stem)[0].file, file),
            Err(says) => {
                let found = converted.expect_err(stem);
                assert!(found[0].starts_with(&format!("old/{stem}.py:1:1: {says}")), "{found:?}");
            }
        }
    }
    for (stem, version, expected) in [
        ("20251212_191130_add", "20251212_191130", Ok("20251212_191130_add.sql")),
        ("20251212191130_add", "20251212191130", Ok("20251212191130_add.sql")),
        ("20251212_191130_add", "20251212_191131", Ok("20251212_191131_add.sql")),
        ("add_users", "7", Ok("7_add_users.sql")),
        ("001_add", "1", Ok("1_add.sql")),
        ("20251212_12_x", "20251212", Ok("20251212_x.sql")),
        ("10_x", "20251212", Ok("20251212_x.sql")),
        ("12_x_10", "20251212", Ok("20251212_x_10.sql")),
        ("20251212_1911_add", "20251212_1911", Err("3:5: \"20251212_1911\" is no version")),
        ("a", "2025-12-12", Err("3:5: \"2025-12-12\" is no version")),
        ("20251212_20251213_10_x", "20251213_10", Ok("20251213_10_20251213_10_x.sql")),
        ("7_10_x", "20251212", Err("3:5: 20251212_10_x.sql would be read as another version")),
    ] {
        let text = psqlmodel(&format!("version = '{version}'"));
        let converted = of(Tool::Psqlmodel, &[(stem, &text)], &[]);
        match expected {
            Ok(file) => {
                let converted = converted.expect(stem);
                assert_eq!(converted[0].file, file);
                assert_eq!(converted[0].notes.len(), usize::from(file != format!("{stem}.sql")), "{stem}");
            }
            Err(says) => {
                let found = converted.expect_err(stem);
                assert!(found[0].starts_with(&format!("old/{stem}.py:{says}")), "{found:?}");
            }
        }
    }
    let found = of(Tool::Psqlmodel, &[("1_a", &psqlmodel("message = 'x'"))], &[]).expect_err("no version");
    assert!(found[0].starts_with("old/1_a.py:4:9: no `version` stands in the class"), "{found:?}");
}

#[test]
fn statements_are_ended_and_indented_as_sql_is() {
    for (up, expected) in [
        ("session.exec(text('SELECT 1'))\nsession.exec(text('SELECT 2;'))", "SELECT 1;\n\nSELECT 2;\n"),
        (
            "session.exec('SELECT 1 -- one')\nsession.exec('SELECT 2 /* two */')",
            "SELECT 1; -- one\n\nSELECT 2; /* two */\n",
        ),
        ("session.exec('SELECT 1; SELECT 2')", "SELECT 1; SELECT 2;\n"),
        ("session.exec('''\n    SELECT\n      1\n\n    FROM t\n''')", "SELECT\n  1\n\nFROM t;\n"),
        ("session.exec('''SELECT\n              1''')", "SELECT\n1;\n"),
        ("session.exec('''\n  SELECT 'a\n    b'\n''')", "SELECT 'a\n            b';\n"),
        (
            "session.exec('''\n  DO $$ BEGIN\n    NULL;\n  END $$\n''')",
            "DO $$ BEGIN\n            NULL;\n          END $$;\n",
        ),
        ("session.exec('-- only words')", "-- only words\n"),
        ("session.exec('''-- migrate: down\n-- depends: 7\nSELECT 1''')", "SELECT 1;\n"),
        ("session.exec('SELECT \\'\\\\n\\'')", "SELECT '\\n';\n"),
        ("pass", "-- There is nothing to run.\n"),
    ] {
        let (converted, dir) = one(up, "session.exec('SELECT 3')");
        assert_eq!(dir.migrations()[0].up.text, format!("{expected}\n"), "{up}: {}", converted.text);
    }
}

#[test]
fn a_way_down_that_does_nothing_is_none_unless_there_is_nothing_to_undo() {
    for (up, down, expected) in [
        ("session.exec('SELECT 1')", "pass", None),
        ("session.exec('SELECT 1')", "'''Not possible.'''", None),
        ("session.exec('SELECT 1')", "raise NotImplementedError('no way back')", None),
        ("pass", "pass", Some("-- There is nothing to undo.\n")),
        ("session.exec('SELECT 1')", "session.exec('-- nothing')", Some("-- nothing\n")),
    ] {
        let (converted, dir) = one(up, down);
        let found = dir.migrations()[0].down.as_ref().map(|down| down.text.as_str());
        assert_eq!(found, expected, "{}", converted.text);
        assert_eq!(converted.has_down, expected.is_some());
    }
}

/// H22: what can't run in a transaction runs outside of one, if nothing beside it belongs into one.
#[test]
fn what_can_not_run_in_a_transaction_runs_outside_of_one() {
    const INDEX: &str = "session.exec('CREATE INDEX CONCURRENTLY i ON t (a)')";
    const DROP: &str = "session.exec('DROP INDEX CONCURRENTLY i')";
    const PLAIN: &str = "session.exec('DROP TABLE t')";
    let lines = |lines: &[&str]| lines.join("\n");
    for (up, down) in [
        (INDEX.to_owned(), DROP.to_owned()),
        (lines(&[INDEX, "session.commit()", DROP]), "pass".to_owned()),
        (INDEX.to_owned(), PLAIN.to_owned()),
        (PLAIN.to_owned(), DROP.to_owned()),
        ("session.exec('VACUUM t; VACUUM u')".to_owned(), "pass".to_owned()),
    ] {
        let (converted, dir) = one(&up, &down);
        assert_eq!(dir.migrations()[0].mode, TransactionMode::NonTransactional, "{}", converted.text);
        assert!(converted.notes.is_empty(), "there is no transaction whose commit could be left out");
    }
    for up in
        [PLAIN, "session.exec('CALL p()')", "session.exec('BEGIN')\nsession.exec('SELECT 1')\nsession.exec('COMMIT')"]
    {
        assert_eq!(one(up, "pass").1.migrations()[0].mode, TransactionMode::Transactional);
    }
    for (up, down, says) in [
        (lines(&[PLAIN, INDEX]), PLAIN.to_owned(), "old/20260215_a.py:4:23: this can't run inside a transaction"),
        (INDEX.to_owned(), lines(&[DROP, PLAIN]), "old/20260215_a.py:5:23: this can't run inside a transaction"),
        (INDEX.to_owned(), lines(&[PLAIN, PLAIN]), "old/20260215_a.py:6:23: this and what stands before it"),
    ] {
        let found = refused(&up, &down);
        assert!(found.len() == 1 && found[0].starts_with(says), "{found:?}");
    }
}

#[test]
fn sql_that_can_not_be_a_files_is_refused_where_it_stands_in_python() {
    for (up, says) in [
        ("session.exec('')", "3:23: there is no SQL in it"),
        ("session.exec('''SELECT 1,\n  'a''')", "4:11: the string that begins here isn't closed"),
        ("session.exec('SELECT \\\n(1')", "4:9: the parenthesis that begins here isn't closed"),
        ("session.exec('SELECT 1;\\n SELECT \"a')", "3:42: the "),
        ("session.exec('COPY t FROM stdin')", "3:23: this COPY … FROM stdin has no semicolon"),
        ("session.exec('COPY t FROM stdin;\\n1\\n\\\\.\\n')", "3:23: COPY … FROM stdin is fed by a program"),
        ("session.exec('SELECT 1')\nsession.exec('COMMIT')", "4:23: COMMIT isn't possible here"),
        ("session.exec('SELECT 1')\nsession.exec('-- migrate: upp')", "4:23: `-- migrate: upp` isn't known"),
        (
            "session.exec('SET standard_conforming_strings = off')\nsession.exec('SELECT \\'\\\\\\'')",
            "4:23: the string that begins here isn't closed",
        ),
    ] {
        let found = refused(up, "pass");
        assert!(found[0].starts_with(&format!("old/20260215_a.py:{says}")), "{up}: {found:?}");
    }
    let found = of(Tool::Herogold, &[("1_a", "x = 'a\nb'\n"), ("2_a", "def up(s):\n  f(1)\n  g(2)\n")], &[]);
    let found = found.expect_err("neither is literal");
    assert!(found.len() == 3 && found[0].starts_with("old/1_a.py:1:5") && found[2].starts_with("old/2_a.py:3:3"));
    let latin = Source { stem: "1_a", origin: "1_a.py", bytes: b"# ok\n# gr\xfc\xdf\n" };
    let found = convert(Tool::Herogold, &[latin], &[]).expect_err("it isn't UTF-8");
    assert_eq!(found[0].to_string(), "1_a.py:2:5: this isn't UTF-8: save the file as UTF-8");
}

#[test]
fn what_is_wrong_between_files_is_said() {
    let two = [("20260215_a", &*herogold("pass", "pass")), ("20260215_b", &herogold("pass", "pass"))];
    let found = of(Tool::Herogold, &two, &[]).expect_err("a version stands twice");
    assert!(found[0].contains("old/20260215_a.py") && found[0].contains("have the same version"), "{found:?}");
    let found = of(Tool::Herogold, &two[..1], &[("01M7YGZ6C0DWT1D38V9AZZED9P_x.sql", "SELECT 1;")]);
    assert!(found.expect_err("two kinds")[0].contains("of two kinds"));
    let needs = |version: &str| psqlmodel(&format!("version = '2'\n    depends_on = '{version}'"));
    let found = of(Tool::Psqlmodel, &[("2_a", &needs("1"))], &[]).expect_err("nobody has it");
    assert!(found[0].starts_with("old/2_a.py:4:18: depends on 1, which no file has"), "{found:?}");
    let found = of(Tool::Psqlmodel, &[("2_a", &needs("one"))], &[]).expect_err("it is no version");
    assert!(found[0].starts_with("old/2_a.py:4:18: depends on what can't be a version"), "{found:?}");
    let found = of(Tool::Psqlmodel, &[("2_a", &needs("2"))], &[]).expect_err("a cycle");
    assert!(found[0].contains("2 -> 2"), "{found:?}");
    assert!(of(Tool::Psqlmodel, &[("2_a", &needs("1"))], &[("001_x.sql", "SELECT 1;")]).is_ok());
    assert!(
        of(Tool::Herogold, &two[..1], &[("1_broken.sql", "SELECT '")]).expect_err("it is broken")[0]
            .contains("1_broken.sql:1:8")
    );
}

/// A literal of Python that holds the text.
fn quoted(text: &str) -> String {
    let mut literal = String::from("'");
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => literal.extend(['\\', letter]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            _ => literal.push(letter),
        }
    }
    literal.push('\'');
    literal
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever SQL stands in calls, it is refused, or read with the same statements.
    #[test]
    fn what_is_converted_holds_the_same_statements(
        texts in prop::collection::vec(prop_oneof![fragments::statement(), fragments::sql_like()], 1..4),
    ) {
        let calls: Vec<String> = texts.iter().map(|text| format!("session.execute({})", quoted(text))).collect();
        let python = herogold(&calls.join("\n"), "pass");
        if let Ok(converted) = of(Tool::Herogold, &[("1_a", &python)], &[]) {
            let bytes = converted[0].text.clone().into_bytes();
            let file = BundleFile { name: "1_a.sql".into(), bytes, origin: String::new() };
            let dir = format::read(&Bundle::new(vec![file]).expect("one file"), Format::Auto).expect("it is Dunlin's");
            let up = &dir.migrations()[0].up;
            let squeezed = |text: &str| text.replace(|letter: char| letter == ';' || letter.is_whitespace(), "");
            let all = squeezed(&format::without_directives(&texts.join("\n")));
            for statement in &up.script.statements {
                prop_assert!(all.contains(&squeezed(&up.text[statement.span.clone()])));
            }
        }
    }
}
