//! Other tools' rows and files, and what is recorded of them.

use super::*;
use crate::core::{
    bundle::{Bundle, BundleFile},
    desired::Audience,
    format::{self, Format},
    history::Run,
    outcome::Reason,
};

const FIRST: &str = "01M7YGZ6C0DWT1D38V9AZZED9P";
const SECOND: &str = "01M7YGZ6C0DWT1D38V9AZZED9Q";

fn dir(names: &[&str]) -> MigrationDir {
    files(&names.iter().map(|name| (*name, "SELECT 1;\n")).collect::<Vec<_>>())
}

fn files(files: &[(&str, &str)]) -> MigrationDir {
    let files = files.iter().map(|(name, text)| BundleFile {
        name: (*name).to_owned(),
        bytes: text.as_bytes().to_vec(),
        origin: "the test".to_owned(),
    });
    format::read(&Bundle::new(files.collect()).unwrap(), Format::Auto).unwrap()
}

fn adopt(from: Tool) -> Adopt {
    Adopt { from, table: None, edited: Edited::Refuse, when: When::Always }
}

/// Rows as the tools have them: `version`, or a name where that is what the tool keeps.
fn rows(from: Tool, texts: &[&str]) -> Vec<ForeignRow> {
    let one = |text: &&str| {
        let (version, stem) = match from {
            Tool::Migretti | Tool::Psqlmodel => (Some((*text).to_owned()), None),
            Tool::Metapg => (text.split('_').next().map(str::to_owned), Some((*text).to_owned())),
            Tool::Herogold => (None, Some((*text).to_owned())),
        };
        ForeignRow { version, stem, ..ForeignRow::default() }
    };
    texts.iter().map(one).collect()
}

fn table(rows: Vec<ForeignRow>) -> Foreign {
    Foreign::Table { name: "public.theirs".to_owned(), rows }
}

fn take(dir: &MigrationDir, history: &History, from: Tool, rows: Vec<ForeignRow>) -> Result<Adoption, Vec<Obstacle>> {
    take_over(dir, history, &adopt(from), &table(rows))
}

fn recorded(adoption: &Adoption) -> Vec<&str> {
    adoption.rows.iter().map(|row| row.version.as_str()).collect()
}

fn texts(obstacles: &[Obstacle]) -> Vec<String> {
    obstacles.iter().map(|obstacle| obstacle.message(Audience::CommandLine)).collect()
}

/// Q83, H20: by version, whatever its spelling, and in the set's order; by name, where a tool keeps that alone.
#[test]
fn what_a_tool_has_applied_is_matched_with_the_files() {
    let (first, second) = (format!("{FIRST}_a.sql"), format!("{SECOND}_b.sql"));
    for (from, names, theirs, expected) in [
        (Tool::Migretti, &[first.as_str(), &second][..], &[SECOND, FIRST][..], &[FIRST, SECOND][..]),
        (Tool::Migretti, &["01_a.sql", "02_b.sql", "10_c.sql"], &["01", "02"], &["01", "02"]),
        (Tool::Metapg, &["001_a.sql", "002_b.sql"], &["1_old_name", "002_b"], &["001", "002"]),
        (Tool::Metapg, &["20260215_02_a.sql"], &["20260215_02_a"], &["20260215_02"]),
        (Tool::Psqlmodel, &["20251212_191130_a.sql"], &["20251212_191130"], &["20251212_191130"]),
        (
            Tool::Herogold,
            &["20260215_create_users.sql", "20260215_02_add_user_email.sql"],
            &["20260215_02_add user email!", "20260215_create_users"],
            &["20260215", "20260215_02"],
        ),
        (Tool::Herogold, &["20260215_create_users.sql"], &[], &[]),
    ] {
        let adoption = take(&dir(names), &History::default(), from, rows(from, theirs)).expect("it can be taken over");
        assert_eq!(recorded(&adoption), expected, "{from} {theirs:?}");
    }
}

/// Q83: nothing is recorded where something of it has no file, and it is named, with what may have become of it.
#[test]
fn what_has_no_file_is_named() {
    let all = files(&[("001_a.sql", "SELECT 1;"), ("004_all.sql", "-- replaces: 002, 003\nSELECT 1;")]);
    for (from, theirs, expected) in [
        (Tool::Migretti, &["001", "005"][..], "metapg has applied what has no file here: 005 (public.theirs)"),
        (Tool::Migretti, &["x1"], "x1 (which is no version)"),
        (Tool::Migretti, &["002"], "002 (which 004_all.sql stands for)"),
        (Tool::Migretti, &["001", "1"], "1 (Migretti has 001 for the same version)"),
        (Tool::Herogold, &["001_b"], "001_b (that version's file is 001_a.sql)"),
        (Tool::Herogold, &["a\nb"], "a\\nb (which is no version)"),
    ] {
        let obstacles = take(&all, &History::default(), from, rows(from, theirs)).expect_err("it is in the way");
        let expected = expected.replace("metapg", from.name());
        assert!(obstacles.len() == 1 && texts(&obstacles)[0].contains(&expected), "{:?}", texts(&obstacles));
        assert_eq!(obstacles[0].reason(), Reason::MissingMigration);
    }
}

/// Q83: what was rolled back doesn't count; what failed, a person decides about, whatever else is wrong.
#[test]
fn what_was_rolled_back_does_not_count_and_what_failed_is_refused() {
    let all = dir(&["001_a.sql", "002_b.sql", "003_c.sql"]);
    let mut theirs = rows(Tool::Psqlmodel, &["001", "002", "009"]);
    theirs[1].state = ForeignState::RolledBack;
    theirs[2].state = ForeignState::RolledBack;
    let adoption = take(&all, &History::default(), Tool::Psqlmodel, theirs.clone()).expect("it can be taken over");
    assert_eq!((recorded(&adoption), adoption.rolled_back, adoption.skipped.len()), (vec!["001"], 2, 0));
    theirs[1].state = ForeignState::Failed;
    theirs[2].state = ForeignState::Applied;
    for (from, next) in [
        (Tool::Migretti, "tell Migretti which of the two: mg fix ID --applied, or --remove"),
        (Tool::Metapg, "set error to NULL in its row of public.theirs, or delete the row"),
    ] {
        let obstacles = take(&all, &History::default(), from, theirs.clone()).expect_err("it is in the way");
        let texts = texts(&obstacles);
        assert!(
            texts[0].contains(&format!("{from} failed at 002 (public.theirs)")) && texts[0].contains(next),
            "{texts:?}"
        );
        assert!(texts[1].contains("009"), "{texts:?}");
        assert_eq!(obstacles[0].reason(), Reason::InvalidSpec);
    }
}

/// Q83: a file that stands before what is applied, and isn't, is told of and left to the next plan.
#[test]
fn a_gap_is_told_of() {
    let all = dir(&["001_a.sql", "002_b.sql", "003_c.sql", "004_d.sql"]);
    let theirs = rows(Tool::Migretti, &["001", "003"]);
    let adoption = take(&all, &History::default(), Tool::Migretti, theirs).expect("it can be taken over");
    assert_eq!(recorded(&adoption), ["001", "003"]);
    assert_eq!(adoption.skipped.iter().map(Version::as_str).collect::<Vec<_>>(), ["002"]);
}

/// H04, H20: what was applied together can be rolled back together.
#[test]
fn batches_keep_their_order_and_lose_their_numbers() {
    let all = dir(&["001_a.sql", "002_b.sql", "003_c.sql"]);
    let mut theirs = rows(Tool::Herogold, &["001_a", "002_b", "003_c"]);
    for (row, batch) in theirs.iter_mut().zip([7, 3, 7]) {
        row.batch = Some(batch);
    }
    let adoption = take(&all, &History::default(), Tool::Herogold, theirs).expect("it can be taken over");
    assert_eq!(adoption.rows.iter().map(|row| row.batch).collect::<Vec<_>>(), [1, 0, 1]);
}

/// M18, Q83: a file that isn't what the tool applied is named with both checksums, unless it is to be taken as it is. The
/// digits are those of `sha256sum` and of metapg itself.
#[test]
fn checksums_that_can_be_made_again_are_compared() {
    const TEXT: &str = "-- migration: A\n-- migrate: up\nSELECT 1;\n-- migrate: down\nSELECT 2;\n";
    const SHA256: &str = "1dc20a6b07630d0b7fc0b1068e5c3190dffda62847677d21961e82f48c5cf83e";
    const MD5: &str = "e9e9c81d70303294e63f4325c32f6cf3";
    let crlf = TEXT.replace('\n', "\r\n");
    let edited = TEXT.replace("SELECT 2", "SELECT 3");
    let marked = format!("\u{feff}{TEXT}");
    let metapg = "-- Description: a\n\nCREATE TABLE users (id int);\n\n-- ROLLBACK\nDROP TABLE users;\n";
    for (from, text, checksum, same) in [
        (Tool::Migretti, TEXT, Some(SHA256), true),
        (Tool::Migretti, &crlf, Some(SHA256), true),
        (Tool::Migretti, &edited, Some(SHA256), false),
        (Tool::Migretti, &marked, Some(SHA256), false),
        (Tool::Migretti, &edited, None, true),
        (Tool::Metapg, metapg, Some(MD5), true),
        (Tool::Metapg, &metapg.replace("DROP TABLE users", "DROP TABLE IF EXISTS users"), Some(MD5), true),
        (Tool::Metapg, &metapg.replace("id int", "id bigint"), Some(MD5), false),
        (Tool::Psqlmodel, TEXT, Some("stamped"), true),
    ] {
        let all = files(&[("001_a.sql", text)]);
        let mut theirs = rows(from, &["001_a"]);
        theirs[0].version = Some("001".to_owned());
        theirs[0].checksum = checksum.map(str::to_owned);
        let found = take(&all, &History::default(), from, theirs.clone());
        assert_eq!(found.is_ok(), same, "{from} {text:?}: {found:?}");
        let Err(obstacles) = found else { continue };
        let text = &texts(&obstacles)[0];
        assert!(text.contains(&format!("001_a.sql (recorded {}, now ", &checksum.unwrap()[..12])), "{text}");
        assert!(text.contains("--accept-checksums"), "{text}");
        assert_eq!(obstacles[0].reason(), Reason::ChecksumDrift);
        let accepting = Adopt { edited: Edited::Accept, ..adopt(from) };
        assert!(take_over(&all, &History::default(), &accepting, &table(theirs)).is_ok());
    }
}

fn row(version: &str, state: State, mode: TransactionMode) -> Recorded {
    let version = Version::parse(version).unwrap();
    Recorded {
        name: "t".to_owned(),
        state,
        checksum: crate::core::migration::Checksum::of(""),
        mode,
        down_checksum: None,
        down_sql: None,
        depends: Vec::new(),
        replaces: Vec::new(),
        batch: 1,
        applied_at: None,
        duration_ms: 1,
        run: Run::succeeded(7, state),
        version,
    }
}

/// Q83: what our own history has stays; what it says otherwise is in the way, but for a transaction that left nothing.
#[test]
fn what_the_history_has_already_is_left_as_it_is() {
    use TransactionMode::{NonTransactional, Transactional};
    let all = dir(&["001_a.sql", "002_b.sql"]);
    for (state, mode, expected) in [
        (State::Applied, Transactional, Ok((vec!["2"], 1))),
        (State::Stamped, Transactional, Ok((vec!["2"], 1))),
        (State::Replaced, Transactional, Ok((vec!["2"], 1))),
        (State::Failed, Transactional, Ok((vec!["001", "2"], 0))),
        (State::Failed, NonTransactional, Err("1 (failed in run 7)")),
        (State::Interrupted, NonTransactional, Err("1 (cut off in run 7)")),
        (State::RolledBack, Transactional, Err("1 (rolled back by run 7)")),
    ] {
        let mut second = row("2", State::Failed, Transactional);
        second.name = "as the history spells it".to_owned();
        let history = History { migrations: vec![row("001", state, mode), second], ..History::default() };
        let found = take(&all, &history, Tool::Migretti, rows(Tool::Migretti, &["1", "002"]));
        match (&found, expected) {
            (Ok(adoption), Ok((versions, known))) => {
                assert_eq!((recorded(adoption), adoption.known), (versions, known), "{state:?}");
            }
            (Err(obstacles), Err(text)) => assert!(texts(obstacles)[0].contains(text), "{:?}", texts(obstacles)),
            _ => panic!("{state:?}: {found:?}"),
        }
    }
}

#[test]
fn a_table_that_is_not_there_or_there_twice_is_said_with_the_way_out_of_whoever_reads_it() {
    let all = dir(&["001_a.sql"]);
    let absent = Foreign::Absent { unfit: vec!["public.migrations is there, and has no column batch".to_owned()] };
    let several = Foreign::Several(vec!["a.migrations".to_owned(), "b.migrations".to_owned()]);
    for (foreign, words) in [
        (
            absent,
            "no schema that can be seen has migrationrecord or migrations; public.migrations is there, and has no column batch",
        ),
        (several, "a.migrations, b.migrations"),
    ] {
        let obstacles = take_over(&all, &History::default(), &adopt(Tool::Herogold), &foreign).expect_err("which one?");
        assert!(obstacles[0].is_of_the_settings() && texts(&obstacles)[0].contains(words), "{:?}", texts(&obstacles));
        assert!(texts(&obstacles)[0].contains("say so with --table SCHEMA.NAME"), "{:?}", texts(&obstacles));
        let message = obstacles[0].message(Audience::MigrationSet);
        assert!(message.starts_with("spec.history.adopt: ") && message.contains("dunlin import --table"), "{message}");
    }
}

/// Q83: at first contact alone, where nobody says otherwise.
#[test]
fn a_history_that_knows_of_a_migration_asks_no_other_tool() {
    let first = Adopt { when: When::FirstContact, ..adopt(Tool::Migretti) };
    for (state, mode, concerns) in [
        (State::Failed, TransactionMode::Transactional, true),
        (State::Failed, TransactionMode::NonTransactional, false),
        (State::Applied, TransactionMode::Transactional, false),
        (State::RolledBack, TransactionMode::Transactional, false),
    ] {
        let history = History { migrations: vec![row("001", state, mode)], ..History::default() };
        assert_eq!(first.concerns(&history), concerns, "{state:?}");
        assert!(adopt(Tool::Migretti).concerns(&history));
    }
}
