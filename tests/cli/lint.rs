//! Files looked at by hand: `show`, `lint`, and `check`, which looks at the database too.

use serde_json::json;

use crate::project::{Project, line};

/// P24: what a file says, in full, by its name, its path or its version.
#[tokio::test]
async fn a_migration_is_shown_as_it_was_understood() {
    let up = "CREATE TABLE b (a int);\nCREATE INDEX ON b (a);\n";
    let text =
        format!("-- description: Second\n-- depends: 001_t\n-- migrate: up\n{up}-- migrate: down\nDROP TABLE b;\n");
    let project = line(&["001"]).await;
    project.migration("002_b.sql", &text);
    project.migration("003_c.sql", "-- replaces: 000\n-- migrate: no-transaction\n-- migrate: up\nVACUUM;\n");
    for named in ["002_b.sql", "2", "002_b", "migrations/002_b.sql"] {
        let shown = project.dunlin_with(&["show", named, "-o", "json"], &[]).await.code(0).json();
        let expected = json!({
            "version": "002", "name": "b", "file": "migrations/002_b.sql", "description": "Second", "mode": "transaction",
            "depends": ["001"], "replaces": [],
            "up": {
                "checksum": dunlin::core::migration::Checksum::of(up).as_str(), "statements": 2, "line": 4, "text": up,
            },
            "down": {
                "checksum": dunlin::core::migration::Checksum::of("DROP TABLE b;\n").as_str(), "statements": 1, "line": 7,
                "text": "DROP TABLE b;\n",
            },
        });
        assert_eq!(shown, expected, "{named}");
    }
    let shown = project.dunlin_with(&["show", "003"], &[]).await;
    for words in
        ["mode         no-transaction\n", "replaces     000\n", "down         none\n", "\n-- migrate: up\nVACUUM;\n"]
    {
        assert!(shown.code(0).stdout.contains(words), "{words:?} in {}", shown.stdout);
    }
    for other in ["002_c", "9", "009_x.sql", ""] {
        project.dunlin_with(&["show", other], &[]).await.code(3).says(&["is no migration of migrations"]);
    }
}

/// P16, Q16: everything that is wrong is said at once, with its place, and without a database.
#[tokio::test]
async fn all_that_is_wrong_is_said_at_once() {
    let project = line(&["001"]).await;
    project.dunlin_with(&["lint"], &[]).await.code(0);
    project.migration("002_b.sql", "SELECT 'open;\n");
    project.migration("003_c.sql", "-- depend: 001\nSELECT 1;\n-- depends: 099\n");
    project.migration("notes.txt", "nothing");
    let ran = project.dunlin_with(&["lint"], &[]).await;
    for words in [
        "error: migrations/notes.txt: no migration file",
        "002_b.sql:1:8: error: ",
        "003_c.sql:1:1: error: `-- depend:`",
        "errors: 3",
    ] {
        assert!(ran.code(3).stdout.contains(words), "{words:?} in {}", ran.stdout);
    }
    let found = project.dunlin_with(&["lint", "-o", "json", "migrations/002_b.sql"], &[]).await.code(3).json();
    assert_eq!((&found["sound"], &found["errors"]), (&json!(false), &json!(2)), "its own, and what no file alone has");
    assert_eq!(found["remarks"][1]["file"], "002_b.sql");
    assert_eq!((&found["remarks"][1]["line"], &found["remarks"][1]["column"]), (&json!(1), &json!(8)));
    project.dunlin_with(&["lint", "dunlin.yaml"], &[]).await.code(3).says(&["dunlin.yaml: is no file of migrations"]);

    let cycle =
        Project::with(&[("001_a.sql", "-- depends: 002\nSELECT 1;"), ("002_b.sql", "-- depends: 001\nSELECT 1;")])
            .await;
    let ran = cycle.dunlin_with(&["lint"], &[]).await;
    assert!(ran.code(3).stdout.contains("error: 001 -> 002 -> 001"), "{}", ran.stdout);
}

/// More than the engine's messages show: who asks for all gets all.
#[tokio::test]
async fn no_problem_is_left_out() {
    let project = Project::new().await;
    for number in 1..=30 {
        project.migration(&format!("{number:03}_x.sql"), "SELECT 'open;\n");
    }
    let found = project.dunlin_with(&["lint", "-o", "json"], &[]).await.code(3).json();
    assert_eq!(found["errors"], 30);
}

/// P30, Q16: what destroys something, and what runs outside of a transaction for nothing, deserves a second look, and is
/// no error.
#[tokio::test]
async fn a_warning_is_no_error() {
    let project = Project::with(&[
        ("001_a.sql", "CREATE TABLE a (x int);\n  DROP TABLE IF EXISTS b;\n-- ROLLBACK\nDROP TABLE a;\n"),
        ("002_i.sql", "-- migrate: no-transaction\n-- migrate: up\nSET lock_timeout = 0;\nCREATE INDEX CONCURRENTLY i ON a (x);\nINSERT INTO a VALUES (1);\n"),
        ("003_n.sql", "-- migrate: no-transaction\n-- migrate: up\nSELECT 1;\n"),
        ("004_v.sql", "-- migrate: no-transaction\n-- migrate: up\nVACUUM a;\n"),
    ])
    .await;
    let ran = project.dunlin_with(&["lint"], &[]).await;
    let lines: Vec<&str> = ran.code(0).stdout.lines().collect();
    let expected = [
        "001_a.sql:2:3: warning: DROP TABLE b: ",
        "001_a.sql:2:3: hint: a and b have nothing to do with one another",
        "002_i.sql:5:1: warning: this could run in a transaction",
        "003_n.sql:3:1: warning: nothing in this file has to run outside",
        "the files are sound; warnings: 3",
    ];
    assert_eq!(lines.len(), expected.len(), "{}", ran.stdout);
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{expected:?} in {line}");
    }
}

/// Q16, Q80: files and database tell different endings apart, and files that are wrong need no database.
#[tokio::test]
async fn a_check_is_of_files_first_and_then_of_the_database() {
    let project = line(&["001", "002"]).await;
    project.dunlin(&["apply"]).await.code(0);
    let ran = project.dunlin(&["check"]).await;
    assert_eq!(ran.code(0).stdout, "the files are sound\nverified: 2 applied, all as their files say\n");
    project.migration("002_t.sql", "CREATE TABLE other (a int);\n");
    let found = project.dunlin(&["check", "-o", "json"]).await.code(1).json();
    assert_eq!((&found["lint"]["sound"], &found["verify"]["changed"][0]["file"]), (&json!(true), &json!("002_t.sql")));
    project.dunlin_with(&["check"], &[]).await.code(3).says(&["no database is named"]);
    project.migration("002_t.sql", "SELECT 'open;\n");
    let ran = project.dunlin_with(&["check"], &[]).await;
    ran.code(3).says(&["the database wasn't looked at"]);
    assert!(ran.stdout.starts_with("002_t.sql:1:8: error: "), "{}", ran.stdout);
    assert_eq!(project.dunlin(&["check", "-o", "json"]).await.code(3).json()["verify"], json!(null));
}

/// P29, H24, H27: what is sound and could be better is a hint, which holds nothing up.
#[tokio::test]
async fn hints_are_given_and_hold_nothing_up() {
    let project = Project::with(&[
        ("001_migration1.sql", "CREATE TABLE users (id int);\n"),
        ("002_two_things.sql", "CREATE TABLE orders (id int);\n\nCREATE TABLE colours (id int);\n"),
        ("003_one_thing.sql", "CREATE TABLE lines (id int);\nCREATE INDEX ON lines (id);\n"),
    ])
    .await;
    let ran = project.dunlin_with(&["lint"], &[]).await;
    let expected = "\
001_migration1.sql:1:1: hint: the name \"migration1\" doesn't say what it does: write what changes, as add_users_email
002_two_things.sql:3:1: hint: orders and colours have nothing to do with one another: a file each can be undone by itself
the files are sound
";
    assert_eq!(ran.code(0).stdout, expected);
    let found = project.dunlin_with(&["lint", "-o", "json"], &[]).await.code(0).json();
    assert_eq!((&found["hints"], &found["warnings"]), (&json!(2), &json!(0)));
    assert_eq!(found["remarks"][1]["reason"], "Unrelated");
}
