//! Several files into one by hand: what it holds, what becomes of databases, and what is refused.

use crate::project::{Project, line};

/// The schema of the tables, their columns and indexes.
const SHAPE: &str = "SELECT string_agg(what, E'\\n' ORDER BY what) FROM (\
    SELECT table_name || '.' || column_name || ' ' || data_type AS what FROM information_schema.columns WHERE table_schema = 'public' \
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public') AS shape";

/// Files that come apart wherever they are only written one behind the other.
const FILES: [(&str, &str); 4] = [
    (
        "001_users.sql",
        "-- migration: Add users\nCREATE TABLE users (id int PRIMARY KEY) -- no semicolon\n-- ROLLBACK\nDROP TABLE users",
    ),
    (
        "002_posts.sql",
        "-- depends: 001_users\n-- migrate: up\nBEGIN;\nCREATE TABLE posts (id int);\nCOMMIT;\n-- migrate: down\nDROP TABLE posts /* still open */\n",
    ),
    (
        "003_rows.sql",
        "-- id: 003\n-- migrate: up\nCOPY posts (id) FROM stdin;\n1\n2\n\\.\n-- migrate: down\nDELETE FROM posts; -- gone",
    ),
    (
        "004_text.sql",
        "ALTER TABLE users ADD COLUMN words text DEFAULT $$\n-- depends: 009\n$$;\n-- migrate: down\nALTER TABLE users DROP COLUMN words;\n",
    ),
];

fn names(project: &Project, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(project.path(folder)).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// M30, Q60: a database that has all of them, and one that has none, end alike, and go back alike.
#[tokio::test]
async fn an_old_database_and_a_fresh_one_end_alike() {
    let old = Project::with(&FILES).await;
    old.dunlin(&["apply"]).await.code(0);
    let shape = old.ask(SHAPE).await;
    let ran = old.dunlin_with(&["squash", "All of it", "--from", "001", "--to", "004_text"], &[]).await;
    assert_eq!(ran.code(0).stdout, "migrations/005_all_of_it.sql\n");
    ran.says(&["migrations/.squash_backup/005"]);
    assert_eq!(names(&old, "migrations"), [".squash_backup", "005_all_of_it.sql"]);
    for (name, text) in FILES {
        let kept = std::fs::read_to_string(old.path(&format!("migrations/.squash_backup/005/{name}")));
        assert_eq!(kept.expect("it is there"), text);
    }
    let text = std::fs::read_to_string(old.path("migrations/005_all_of_it.sql")).expect("it is there");
    assert!(text.starts_with("-- migration: All of it\n-- replaces: 001, 002, 003, 004\n\n-- migrate: up\n"), "{text}");
    old.dunlin(&["apply"]).await.code(0);
    old.dunlin(&["verify"]).await.code(0);
    let fresh = Project::with(&[("005_all_of_it.sql", &text)]).await;
    fresh.dunlin(&["apply"]).await.code(0);
    for project in [&old, &fresh] {
        assert_eq!(project.ask(SHAPE).await, shape);
        assert_eq!(project.ask("SELECT count(*) FROM posts").await, "2");
        assert_eq!(project.dunlin(&["current"]).await.code(0).stdout.trim(), "005");
        project.dunlin(&["reset", "--yes"]).await.code(0);
        assert_eq!(project.tables().await, "");
    }
}

/// M30, Q59: without a range, it is what the database at hand hasn't applied.
#[tokio::test]
async fn what_is_pending_is_joined() {
    let project = line(&["001"]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["squash", "all"]).await.code(4).says(&["nothing is pending"]);
    project.migration("002_b.sql", "-- depends: 001_t\nCREATE TABLE b (a int);\n");
    project.dunlin(&["squash", "all"]).await.code(4).says(&["002_b.sql is alone"]);
    project.migration("003_c.sql", "-- depends: 002\nCREATE TABLE c (a int);\n-- migrate: down\nDROP TABLE c;\n");
    let shown = project.dunlin(&["squash", "both", "--dry-run"]).await;
    shown.code(0).says(&["002_b.sql lacks one", "nothing was changed"]);
    assert_eq!(
        shown.stdout,
        "-- migration: Both\n-- depends: 001_t\n-- replaces: 002, 003\n\n-- migrate: up\n\
         -- 002_b.sql\nCREATE TABLE b (a int);\n\n-- 003_c.sql\nCREATE TABLE c (a int);\n\n"
    );
    assert_eq!(names(&project, "migrations"), ["001_t.sql", "002_b.sql", "003_c.sql"]);
    let ran = project.dunlin(&["squash", "both"]).await;
    assert_eq!(ran.code(0).stdout, "migrations/004_both.sql\n");
    assert_eq!(std::fs::read_to_string(project.path("migrations/004_both.sql")).expect("it is there"), shown.stdout);
    project.dunlin(&["apply"]).await.code(0);
    assert_eq!(project.tables().await, "b c t_001");
}

/// M30: a database that has some of them is told which it lacks.
#[tokio::test]
async fn a_database_that_has_some_of_them_is_told_which_it_lacks() {
    let project = line(&["001", "002", "003"]).await;
    project.dunlin(&["up"]).await.code(0);
    project.dunlin_with(&["squash", "all", "--from", "1", "--to", "3"], &[]).await.code(0);
    project.dunlin(&["apply"]).await.code(4).says(&["004_all.sql", "it lacks 002, 003"]);
    assert_eq!(project.tables().await, "t_001");
}

/// M30: what runs in a transaction and what doesn't stay apart, and what can't run in one can be joined with its like.
#[tokio::test]
async fn transactions_are_never_mixed() {
    let project = Project::with(&[
        ("001_a.sql", "CREATE TABLE a (x int);"),
        ("002_b.sql", "CREATE TABLE b (x int);"),
        ("003_i.sql", "-- migrate: no-transaction\n-- migrate: up\nCREATE INDEX CONCURRENTLY i ON a (x)"),
        ("004_j.sql", "-- migrate: no-transaction\n-- migrate: up\nCREATE INDEX CONCURRENTLY j ON b (x) -- open"),
    ])
    .await;
    project.dunlin(&["squash", "all"]).await.code(4).says(&[
        "002_b.sql runs in a transaction, 003_i.sql outside of one",
        "--from 001 --to 002, or --from 003 --to 004",
    ]);
    assert_eq!(names(&project, "migrations").len(), 4);
    project.dunlin(&["squash", "indexes", "--from", "3", "--to", "4"]).await.code(0);
    project.dunlin(&["apply"]).await.code(0);
    assert_eq!(
        project
            .ask("SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public'")
            .await,
        "i j"
    );
}

/// M30: what one file would mean otherwise than several did is refused, and nothing is changed.
#[tokio::test]
async fn what_would_not_be_the_same_is_refused() {
    let behind = ("002_b.sql", "CREATE TABLE b (x int);");
    for (files, said) in [
        (vec![("001_a.sql", "SET search_path = x;"), behind], "001_a.sql:1:1: leaves a setting"),
        (vec![("001_a.sql", "\nCREATE TEMP TABLE b (x int);"), behind], "001_a.sql:2:1: leaves a setting"),
        (
            vec![("001_a.sql", "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;\nCOMMIT;"), behind],
            "ISOLATION LEVEL SERIALIZABLE",
        ),
        (
            vec![("001_a.sql", "SELECT 1;"), ("002_b.sql", "-- replaces: 001\nSELECT 1;")],
            "002_b.sql stands for 001_a.sql",
        ),
        (vec![("001_a.sql", "SELECT 1;"), behind, ("003_c.sql", "SELECT 1;")], "--to 003"),
    ] {
        let project = Project::with(&files).await;
        let before = names(&project, "migrations");
        project.dunlin_with(&["squash", "all", "--from", "1", "--to", "2"], &[]).await.code(4).says(&[said]);
        assert_eq!(names(&project, "migrations"), before);
    }
    let project = line(&["001", "002"]).await;
    for (arguments, code) in [
        (&["squash", "all", "--from", "1"][..], 2),
        (&["squash", "all", "--from", "2", "--to", "1"], 3),
        (&["squash", "all", "--from", "1", "--to", "7"], 3),
        (&["squash", "!!!", "--from", "1", "--to", "2"], 3),
    ] {
        project.dunlin_with(arguments, &[]).await.code(code);
    }
}

/// M30: between versions that leave room, files behind the range stay where they are, and need what they needed.
#[tokio::test]
async fn a_range_in_the_middle_keeps_its_place() {
    let project = Project::with(&[
        ("20260101_01_a.sql", "CREATE TABLE a (x int);"),
        ("20260101_02_b.sql", "CREATE TABLE b (x int);"),
        ("20260103_01_c.sql", "-- depends: 20260101_01\nCREATE TABLE c (x int);"),
    ])
    .await;
    let ran = project.dunlin_with(&["squash", "ab", "--from", "20260101_01", "--to", "20260101_02"], &[]).await;
    assert_eq!(ran.code(0).stdout, "migrations/20260101_03_ab.sql\n");
    project.dunlin(&["apply"]).await.code(0);
    assert_eq!(project.tables().await, "a b c");
}

/// M30: where versions are ULIDs, the new one stands right behind the last, and before what was made since.
#[tokio::test]
async fn a_squash_of_ulids_stays_before_what_was_made_since() {
    let project = Project::new().await;
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        let path = project.dunlin_with(&["create", name], &[]).await.code(0).stdout.trim().to_owned();
        project.write(&path, &format!("CREATE TABLE {name} (x int);\n"));
        made.push(path.trim_start_matches("migrations/")[..26].to_owned());
    }
    let ran = project.dunlin_with(&["squash", "ab", "--from", &made[0], "--to", &made[1]], &[]).await;
    if made[2][..25] == made[1][..25] {
        // Made in one millisecond, they leave no room.
        ran.code(4).says(&["where none is free"]);
        return;
    }
    let squashed = names(&project, "migrations");
    assert_eq!(squashed.len(), 3, "{squashed:?}");
    assert!(
        made[1] < squashed[1] && squashed[1].ends_with("_ab.sql") && squashed[2].starts_with(&made[2]),
        "{squashed:?}"
    );
    project.dunlin(&["apply"]).await.code(0);
    assert_eq!(project.tables().await, "a b c");
}

/// M30: what one of the range needs is needed by the whole, and what one of them took for granted is too.
#[tokio::test]
async fn what_the_range_needs_stays_needed() {
    let project = Project::with(&[
        ("001_a.sql", "SELECT 1;"),
        ("002_b.sql", "-- depends: 001\nSELECT 1;"),
        ("003_c.sql", "-- depends: 001_a\n-- migrate: up\nSELECT 1;"),
        ("004_d.sql", "-- depends: 003\nSELECT 1;"),
        ("005_e.sql", "SELECT 1;"),
    ])
    .await;
    for (from, to, expected) in [
        ("004", "005", "-- depends: 002_b, 003_c\n"),
        ("001", "005", "-- replaces: 001, 002, 003, 004, 005\n"),
        ("003", "004", "-- depends: 001_a\n"),
    ] {
        if to == "004" {
            std::fs::remove_file(project.path("migrations/005_e.sql")).expect("it is there");
        }
        let ran = project.dunlin_with(&["squash", "Rest", "--dry-run", "--from", from, "--to", to], &[]).await;
        assert!(ran.code(0).stdout.starts_with(&format!("-- migration: Rest\n{expected}")), "{}", ran.stdout);
    }
}

/// M30: a file whose statements were taken as found is taken so by the whole.
#[tokio::test]
async fn a_splitter_that_was_trusted_is_trusted() {
    let odd =
        "-- migrate: no-transaction\n-- migrate: trust-splitter\n-- migrate: up\nSELECT 1;\nFROBNICATE t SELECT 2;\n";
    let even = "-- migrate: no-transaction\n-- migrate: up\nVACUUM";
    let project = Project::with(&[("001_a.sql", even), ("002_b.sql", odd)]).await;
    let ran = project.dunlin_with(&["squash", "all", "--dry-run", "--from", "1", "--to", "2"], &[]).await;
    assert!(
        ran.code(0).stdout.ends_with(
            "-- migrate: no-transaction\n-- migrate: trust-splitter\n\n-- migrate: up\n-- 001_a.sql\nVACUUM\n;\n\n\
             -- 002_b.sql\nSELECT 1;\nFROBNICATE t SELECT 2;\n\n"
        ),
        "{}",
        ran.stdout
    );
}
