//! Tests of whole sources: what is understood, and what each slip is answered with.

use proptest::prelude::*;

use super::*;
use crate::core::{
    bundle::{Bundle, BundleFile},
    migration::{Checksum, TransactionMode},
    sql::fragments,
};

fn bundle<B: AsRef<[u8]>>(files: &[(&str, B)]) -> Bundle {
    let file = |(name, bytes): &(&str, B)| BundleFile {
        name: (*name).into(),
        bytes: bytes.as_ref().into(),
        origin: format!("ConfigMap m, key {name}"),
    };
    Bundle::new(files.iter().map(file).collect()).unwrap()
}

fn set(files: &[(&str, &str)]) -> MigrationDir {
    read(&bundle(files), Format::Auto).unwrap_or_else(|error| panic!("{error}"))
}

fn one(text: &str) -> Migration {
    set(&[("001_a.sql", text)]).migrations()[0].clone()
}

fn error<B: AsRef<[u8]>>(files: &[(&str, B)]) -> SourceError {
    read(&bundle(files), Format::Auto).unwrap_err()
}

/// The message for one file `001_a.sql`, which is `InvalidSource`.
fn refused(text: &str) -> String {
    let error = error(&[("001_a.sql", text)]);
    assert_eq!(error.reason, Reason::InvalidSource);
    error.message
}

fn order_of(dir: &MigrationDir) -> Vec<&str> {
    dir.migrations().iter().map(|migration| migration.version.as_str()).collect()
}

/// Files and what each of them needs.
type Needs<'a> = &'a [(&'a str, &'a str)];

#[test]
fn the_heads_are_the_ends_of_branches() {
    let cases: [(Needs<'_>, &[&str]); 7] = [
        (&[("1_a.sql", ""), ("2_b.sql", ""), ("3_c.sql", "")], &["3"]),
        (&[("1_a.sql", ""), ("2_b.sql", "1"), ("3_c.sql", "1")], &["2", "3"]),
        (&[("1_a.sql", ""), ("2_b.sql", "1"), ("3_c.sql", "1"), ("4_d.sql", "2, 3")], &["4"]),
        // The old files are a line, from whose end branches begin.
        (&[("1_a.sql", ""), ("2_b.sql", ""), ("3_c.sql", "2"), ("4_d.sql", "2")], &["3", "4"]),
        // One that says nothing comes after everything before it.
        (&[("1_a.sql", ""), ("2_b.sql", "1"), ("3_c.sql", "1"), ("4_d.sql", "")], &["4"]),
        (&[("1_a.sql", ""), ("2_b.sql", "1"), ("3_c.sql", "")], &["3"]),
        (&[("1_a.sql", ""), ("2_b.sql", "1"), ("3_c.sql", "2")], &["3"]),
    ];
    for (files, expected) in cases {
        let texts: Vec<String> = files.iter().map(|(_, needs)| format!("-- depends: {needs}\nSELECT 1;")).collect();
        let files: Vec<(&str, &str)> =
            files.iter().zip(&texts).map(|((name, _), text)| (*name, text.as_str())).collect();
        let dir = set(&files);
        let heads: Vec<&str> = dir.heads().into_iter().map(|head| head.version.as_str()).collect();
        assert_eq!(heads, expected, "{files:?}");
    }
    // Who needs what is replaced needs what stands for it, while the old files are still there.
    let squashed =
        [("1_a.sql", "SELECT 1;"), ("2_all.sql", "-- replaces: 1\nSELECT 1;"), ("3_c.sql", "-- depends: 1\nSELECT 1;")];
    let dir = set(&squashed);
    assert_eq!(dir.heads().into_iter().map(|head| head.version.as_str()).collect::<Vec<_>>(), ["3"]);
}

/// M11, M19, P22: the example of the contract.
#[test]
fn a_file_says_everything_once() {
    let text = "\
-- migration: Add users table
-- id: 003
-- description: free text
-- depends: 002_add_users, 1
-- replaces: 0001, 77_old
-- migrate: no-transaction
-- migrate: up
CREATE TABLE users (id bigint PRIMARY KEY, name text);
-- migrate: down
DROP TABLE users;
";
    let dir = set(&[("3_users.sql", text), ("002_add_users.sql", "SELECT 1;"), ("001_a.sql", "SELECT 1;")]);
    let migration = dir.get(&Version::parse("3").unwrap()).unwrap();
    assert_eq!(
        (migration.version.as_str(), migration.name.as_str(), migration.file.as_str()),
        ("3", "users", "3_users.sql")
    );
    assert_eq!(migration.origin, "ConfigMap m, key 3_users.sql");
    assert_eq!(migration.description.as_deref(), Some("free text"));
    let spelled = |versions: &[Version]| versions.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(spelled(&migration.depends), ["001", "002"]);
    assert_eq!(spelled(&migration.replaces), ["001", "77"]);
    assert_eq!(migration.mode, TransactionMode::NonTransactional);
    assert_eq!(migration.up.text, "CREATE TABLE users (id bigint PRIMARY KEY, name text);\n");
    assert_eq!((migration.up.first_line, migration.up.script.statements.len()), (8, 1));
    let down = migration.down.as_ref().unwrap();
    assert_eq!((down.text.as_str(), down.first_line), ("DROP TABLE users;\n", 10));
    assert_eq!(dir.position(&migration.version), Some(2));
    assert_eq!(dir.position(&Version::parse("9").unwrap()), None);
    let title = one("-- migration: Add users\nSELECT 1;");
    assert_eq!(title.description.as_deref(), Some("Add users"));
}

/// P02, P12, P13, P15, P22, P27: the sample file of metapg's README, as it is written there.
#[test]
fn a_file_without_markers_is_all_up_until_rollback() {
    let text = "\
-- Description: Create users table
-- Depends: (none)
CREATE TABLE users (id serial PRIMARY KEY);

-- ROLLBACK (optional)
-- first the table
DROP TABLE IF EXISTS users;
";
    for format in [Format::Auto, Format::Dunlin, Format::Metapg] {
        let dir = read(&bundle(&[("001_users.sql", text)]), format).unwrap();
        let migration = &dir.migrations()[0];
        assert_eq!(migration.description.as_deref(), Some("Create users table"));
        assert_eq!(migration.depends, []);
        assert_eq!(migration.mode, TransactionMode::Transactional);
        assert_eq!(migration.up.text, &text[..text.find("-- ROLLBACK").unwrap()]);
        let down = migration.down.as_ref().unwrap();
        assert_eq!((down.first_line, down.text.as_str()), (6, "-- first the table\nDROP TABLE IF EXISTS users;\n"));
        assert_eq!(down.script.statements.len(), 1);
    }
    assert_eq!(one("SELECT 1;").down, None);
    assert_eq!(one("SELECT 1;\n-- migrate: down\nSELECT 2;").down.unwrap().text, "SELECT 2;");
    assert_eq!(one("SELECT 1\n--rollback\nSELECT 2").down.unwrap().text, "SELECT 2");
}

/// P12: a lower-case marker is one; something like a marker is an error, except where `-- migrate: up` says otherwise.
#[test]
fn rollback_with_other_words_is_refused_where_it_could_be_a_marker() {
    let message = refused("SELECT 1;\n  -- rollback the last one\nSELECT 2;");
    assert!(message.starts_with("001_a.sql:2:3: is this `-- ROLLBACK`"), "{message}");
    let text = "-- rollback: see the wiki\n-- migrate: up\nSELECT 1;\n-- ROLLBACK\nSELECT 2;\n-- rollback is a word\n";
    let migration = one(text);
    assert_eq!(migration.up.script.statements.len(), 2);
    assert_eq!(migration.down, None);
}

/// M11, P11, P12: text inside literals is text, whatever it looks like, and sections are byte for byte.
#[test]
fn markers_inside_literals_are_text() {
    let up = "\
SELECT 'a
-- migrate: down
', $$
-- ROLLBACK
-- depends: nothing
$$, \"
-- migrate: up
\" /*
-- migrate: bogus
*/; SELECT 1; -- migrate: down

COPY t FROM stdin;
-- migrate: down
\\.
   \n";
    let migration = one(&format!("-- migrate: up\n{up}\t-- MIGRATE:DOWN\nSELECT 2;"));
    assert_eq!(migration.up.text, up);
    assert_eq!(migration.up.checksum, Checksum::of(up));
    assert_eq!(migration.down.unwrap().text, "SELECT 2;");
}

/// M11: neither a byte order mark nor CRLF changes a checksum.
#[test]
fn a_byte_order_mark_and_crlf_change_no_checksum() {
    let plain = one("-- migrate: up\nSELECT 1;\nSELECT 2;\n-- migrate: down\nSELECT 3;\n");
    let windows = one("\u{feff}-- migrate: up\r\nSELECT 1;\r\nSELECT 2;\r\n-- migrate: down\r\nSELECT 3;\r\n");
    assert_eq!(windows.up.text, "SELECT 1;\r\nSELECT 2;\r\n");
    assert_eq!(windows.up.first_line, 2);
    assert_eq!(windows.up.checksum, plain.up.checksum);
    assert_eq!(windows.down.unwrap().checksum, plain.down.unwrap().checksum);
    assert_eq!(one("\u{feff}SELECT 1;").up.checksum, one("SELECT 1;").up.checksum);
}

#[test]
fn an_edited_down_section_leaves_the_checksum_of_the_up_section() {
    let one_way = one("SELECT 1;\n-- migrate: down\nSELECT 2;");
    let other_way = one("SELECT 1;\n-- migrate: down\nSELECT 3;");
    assert_eq!(one_way.up.checksum, other_way.up.checksum);
    assert_ne!(one_way.down, other_way.down);
}

#[test]
fn an_up_section_of_comments_has_no_statements() {
    for text in ["-- nothing to do", "-- migrate: up\n-- nothing\n-- migrate: down\nSELECT 1;", "/* x */;"] {
        assert_eq!(one(text).up.script.statements, [], "{text}");
    }
    let down = one("-- migrate: up\nSELECT 1;\n-- migrate: down\n-- nothing").down.unwrap();
    assert_eq!(down.script.statements, []);
    for text in ["", " \n\t", "\u{feff}\r\n"] {
        assert!(refused(text).contains("001_a.sql (ConfigMap m, key 001_a.sql) is empty"), "{text:?}");
    }
    for text in ["-- migrate: up", "-- x\n-- migrate: up\n\n", "-- migrate: up\n\n\n-- migrate: down\n\n"] {
        assert!(refused(text).contains(": nothing stands behind `-- migrate: up`"), "{text:?}");
    }
}

#[test]
fn an_empty_source_holds_no_migration() {
    let error = read(&Bundle::default(), Format::Auto).unwrap_err();
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::InvalidSource, "the source holds no migration file: put one into it, named as in 001_users.sql")
    );
}

/// M11, P22: each slip is an error with file, line and column.
#[test]
fn a_slip_in_a_directive_is_an_error_with_its_place() {
    for (text, says) in [
        (
            "-- migrate: up\nSELECT 1;\n-- migrate: dwon\nSELECT 2;",
            "001_a.sql:3:1: `-- migrate: dwon` isn't known: there are up, down, no-transaction and trust-splitter",
        ),
        (
            "-- migrate: up\nSELECT 1;\n-- migrate: up\nSELECT 2;",
            "001_a.sql:3:1: -- migrate: up stands on line 1 already",
        ),
        ("-- ROLLBACK\nSELECT 1;\n-- migrate: down\nSELECT 2;", "001_a.sql:3:1: the way down stands on line 1 already"),
        ("-- depends: none\n-- depends: none\nSELECT 1;", "001_a.sql:2:1: -- depends: stands on line 1 already"),
        (
            "-- migrate: no-transaction\nSELECT 1;\n-- migrate: no-transaction",
            "001_a.sql:3:1: -- migrate: no-transaction stands on line 1 already",
        ),
        ("SELECT 1;\n  -- dependencies: 1\n", "001_a.sql:2:3: `-- dependencies:` isn't known: write `-- depends:`"),
        ("-- id: 2\nSELECT 1;", "001_a.sql:1:1: the id 2 isn't the version 001 of the file's name"),
        ("-- id: first\nSELECT 1;", "001_a.sql:1:1: the id isn't the version 001"),
        ("-- depends: users\nSELECT 1;", "001_a.sql:1:1: -- depends: \"users\" is no version"),
        ("-- replaces: 1\nSELECT 1;", "001_a.sql:1:1: a migration can't replace itself"),
        ("-- a\n SELECT 1;\n-- migrate: up\nSELECT 1;", "001_a.sql:2:2: stands before the file's first section"),
        ("SELECT 'a;\n-- migrate: up\nSELECT 1;", "001_a.sql:1:8: the string that begins here isn't closed"),
        (
            "-- migrate: up\nSELECT (1;\n-- migrate: down\nSELECT 2;",
            "001_a.sql:2:8: the parenthesis that begins here isn't closed",
        ),
        ("SELECT 1;\n-- migrate: down\nSELECT 1;\n COMMIT;", "001_a.sql:4:2: COMMIT isn't possible here"),
        (
            "-- x\nVACUUM t;",
            "001_a.sql:2:1: VACUUM can't run inside a transaction: add a line `-- migrate: no-transaction`",
        ),
        ("-- migrate: no-transaction\nSELECT 1;\nBEGIN;", "001_a.sql:3:1: this BEGIN has no COMMIT"),
        ("-- migrate: no-transaction\nSELECT 1;\nFROBNICATE t SELECT 2;", "-- migrate: trust-splitter"),
        ("\\i x.sql", "001_a.sql:1:1: \\i is a command of psql"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $\nBEGIN RETURN 1; END\n$;", "001_a.sql:1:53: a lone $"),
    ] {
        assert!(refused(text).contains(says), "{text}: {}", refused(text));
    }
    assert_eq!(one("-- id: 1\nSELECT 1;").version.as_str(), "001");
    assert_eq!(one("-- note: id: 7\n-- author: x\nSELECT 1;").depends, []);
    assert!(
        one("-- migrate: trust-splitter\n-- migrate: no-transaction\nFROBNICATE t SELECT 2;")
            .up
            .script
            .statements
            .len()
            == 1
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_with_its_place() {
    let message = error(&[("001_a.sql", b"SELECT 1;\nSELECT '\xe9'".as_slice())]).message;
    assert_eq!(message, "001_a.sql:2:9: byte 18 isn't UTF-8: save the file as UTF-8");
    let message = error(&[("001_a.sql", b"\xff\xfeS\0".as_slice())]).message;
    assert!(message.contains("looks like UTF-16"), "{message}");
}

/// P23: a key that is no migration file is an error, not skipped.
#[test]
fn a_file_that_is_no_migration_is_named_with_its_origin() {
    let error = error(&[("001_a.sql", "SELECT 1;"), ("README.md", "# x"), ("002.sql", "SELECT 1;")]);
    assert_eq!(error.reason, Reason::InvalidSource);
    let lines: Vec<&str> = error.message.lines().collect();
    assert!(lines[0].starts_with("002.sql (ConfigMap m, key 002.sql) is no migration file, since no name"), "{error}");
    assert!(lines[1].starts_with("README.md (ConfigMap m, key README.md) is no migration file"), "{error}");
    assert_eq!(lines.len(), 2);
}

/// P07, P23, H06, H23: numbers order as numbers; the second file of a day behind the first.
#[test]
fn a_set_runs_in_the_order_of_its_versions() {
    let sql = "SELECT 1;";
    assert_eq!(order_of(&set(&[("5_late.sql", sql), ("100_h.sql", sql), ("0020_b.sql", sql)])), ["5", "0020", "100"]);
    let days = [("20260215_02_create_posts.sql", sql), ("20260215_create_users.sql", sql), ("20260216_c.sql", sql)];
    assert_eq!(order_of(&set(&days)), ["20260215", "20260215_02", "20260216"]);
}

/// P23: one version in two spellings is one version.
#[test]
fn a_version_in_two_files_is_refused_naming_both() {
    let error = error(&[("1_a.sql", "SELECT 1;"), ("001_b.sql", "SELECT 1;"), ("2_c.sql", "SELECT 1;")]);
    assert_eq!(error.reason, Reason::DuplicateVersion);
    assert_eq!(
        error.message,
        "001_b.sql (ConfigMap m, key 001_b.sql) and 1_a.sql (ConfigMap m, key 1_a.sql) have the same version: give the \
         one that isn't applied yet another"
    );
}

/// Q26
#[test]
fn versions_of_two_kinds_are_refused_naming_two_files() {
    let sql = "SELECT 1;";
    for (one, other, says) in [
        (
            "001_a.sql",
            "01M7YGZ6C0DWT1D38V9AZZED9P_b.sql",
            "that of 01M7YGZ6C0DWT1D38V9AZZED9P_b.sql is a ULID, that of 001_a.sql a number",
        ),
        ("001_a.sql", "20260215_02_b.sql", "that of 20260215_02_b.sql is a date, that of 001_a.sql a number"),
        ("20260215_a.sql", "01M7YGZ6C0DWT1D38V9AZZED9P_b.sql", "is a ULID"),
    ] {
        let error = error(&[(one, sql), (other, sql)]);
        assert!(error.reason == Reason::InvalidSource && error.message.contains(says), "{error}");
    }
    set(&[("20260215_a.sql", sql), ("20260215_02_b.sql", sql), ("20260216_120000_c.sql", sql)]);
    set(&[("20260215_a.sql", sql), ("7_b.sql", sql)]);
}

/// P14: declared dependencies order the set, the version breaks ties.
#[test]
fn dependencies_order_the_set() {
    let dir = set(&[
        ("010_a.sql", "-- Depends: 020_b\nSELECT 1;"),
        ("020_b.sql", "SELECT 1;"),
        ("030_c.sql", "-- depends: 10 , 020\nSELECT 1;"),
        ("005_d.sql", "-- depends:\nSELECT 1;"),
    ]);
    assert_eq!(order_of(&dir), ["005", "020", "010", "030"]);
    // Who needs a migration that was replaced needs the one that stands for it.
    let squashed = set(&[("1_c.sql", "-- depends: 7_x\nSELECT 1;"), ("9_all.sql", "-- replaces: 7, 8\nSELECT 1;")]);
    assert_eq!(order_of(&squashed), ["9", "1"]);
}

/// P16, Q28, Q47: unknown ones and cycles are refused, each with its own reason.
#[test]
fn unknown_dependencies_and_cycles_are_refused() {
    let sql = "SELECT 1;";
    let unknown = error(&[("010_a.sql", "-- x\n -- depends: 999, 021_users\nSELECT 1;"), ("020_users.sql", sql)]);
    assert_eq!(unknown.reason, Reason::InvalidSource);
    assert_eq!(
        unknown.message,
        "010_a.sql:2:2: depends on 999, which isn't in the source: add its file, or remove it from `-- depends:`\n\
         010_a.sql:2:2: depends on 021_users, which isn't in the source (did you mean 020_users?): add its file, or remove it from \
         `-- depends:`"
    );
    let itself = error(&[("001_a.sql", "-- depends: 007\nSELECT 1;")]);
    assert_eq!(
        itself.message,
        "001_a.sql:1:1: depends on 007, which isn't in the source: add its file, or remove it from `-- depends:`"
    );
    let misnamed = error(&[("010_a.sql", "-- depends: 020_user\nSELECT 1;"), ("020_users.sql", sql)]);
    assert!(
        misnamed.message.contains("020_user is named, but that version's file is 020_users.sql: correct the name"),
        "{misnamed}"
    );
    let cycle = error(&[
        ("010_a.sql", "-- depends: 020\nSELECT 1;"),
        ("020_b.sql", "\n-- depends: 010\nSELECT 1;"),
        ("030_c.sql", "-- depends: 30\nSELECT 1;"),
    ]);
    assert_eq!(cycle.reason, Reason::DependencyCycle);
    let lines: Vec<&str> = cycle.message.lines().collect();
    assert!(lines[0].starts_with("010 -> 020 -> 010: ") && lines[0].contains("010_a.sql:1, 020_b.sql:2"), "{cycle}");
    assert!(lines[1].starts_with("030 -> 030: "), "{cycle}");
}

#[test]
fn the_strongest_reason_is_said_and_all_that_is_wrong() {
    let error = error(&[
        ("1_a.sql", "SELECT 'x"),
        ("01_b.sql", "-- depends: 2\nSELECT 1;"),
        ("2_c.sql", "-- depends: 1\nCOMMIT;\nVACUUM;"),
    ]);
    assert_eq!(error.reason, Reason::InvalidSource);
    let lines: Vec<&str> = error.message.lines().collect();
    assert!(lines[0].starts_with("1_a.sql:1:8: "), "{error}");
    assert!(lines[1].starts_with("2_c.sql:2:1: COMMIT") && lines[2].starts_with("2_c.sql:3:1: VACUUM"), "{error}");
    assert!(lines[3].contains("have the same version"), "{error}");
    let many: Vec<(String, &str)> = (0..30).map(|number| (format!("{number}_x.sql"), "COMMIT")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let message = super::read(&bundle(&many), Format::Auto).unwrap_err().message;
    assert_eq!((message.lines().count(), message.lines().last()), (21, Some("… and 10 more")));
}

#[test]
fn metapg_reads_only_what_metapg_writes() {
    let refused = |file, text| read(&bundle(&[(file, text)]), Format::Metapg).unwrap_err().message;
    assert!(
        refused("001_a.sql", "SELECT 1;\n-- migrate: down\n")
            .contains("001_a.sql:2:1: `-- migrate:` isn't read by format Metapg")
    );
    assert!(
        refused("20260215_02_a.sql", "SELECT 1;").contains("has the version 20260215_02, and those of format Metapg")
    );
    assert!(refused("001_a.sql", "-- Depend: 2\nSELECT 1;").contains("write `-- depends:`"));
    assert!(read(&bundle(&[("001_a.sql", "-- id: 7\nSELECT 1;")]), Format::Metapg).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever a file holds, it is understood or refused; what is understood stands in the file.
    #[test]
    fn any_file_is_understood_or_refused(text in fragments::sql_like()) {
        if let Ok(dir) = read(&bundle(&[("1_a.sql", text.as_bytes())]), Format::Auto) {
            let migration = &dir.migrations()[0];
            prop_assert!(text.contains(&migration.up.text));
            prop_assert!(migration.down.as_ref().is_none_or(|down| text.ends_with(&down.text) || text.contains(&down.text)));
        }
    }

    /// P11: a section is byte for byte what stands between the markers.
    #[test]
    fn a_section_is_what_stands_between_the_markers(
        up in prop::collection::vec(fragments::statement(), 1..5),
        down in prop::collection::vec(fragments::statement(), 1..5),
    ) {
        let (up, down) = (up.join(";\n") + ";\n", down.join(";\r\n"));
        let dir = set(&[("1_a.sql", &format!("-- migrate: up\n{up}-- migrate: down\n{down}"))]);
        prop_assert_eq!(&dir.migrations()[0].up.text, &up);
        prop_assert_eq!(&dir.migrations()[0].down.as_ref().unwrap().text, &down);
    }

    #[test]
    fn any_bytes_are_understood_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bundle(&[("1_a.sql", bytes)]), Format::Auto);
    }
}
