//! Files by hand: `init`, `create`, `heads`, `merge`; and what is said of them against a database: `status`, `list`, `verify`.

use crate::project::{Project, line};

/// M02, Q07: a second time changes nothing and is no success; no password is written anywhere.
#[tokio::test]
async fn a_project_begins_once() {
    let project = Project::new().await;
    project.dunlin(&["init", "shop"]).await.code(0).says(&["shop/dunlin.yaml", "dunlin create"]);
    let settings = std::fs::read_to_string(project.path("shop/dunlin.yaml")).expect("it is there");
    assert!(
        settings.lines().all(|line| line.trim_start().starts_with('#') || !line.contains("password:")),
        "{settings}"
    );
    project.write("shop/dunlin.yaml", "set: mine\n");
    project.dunlin(&["init", "shop"]).await.code(4).says(&["is there already"]);
    assert_eq!(std::fs::read_to_string(project.path("shop/dunlin.yaml")).expect("it is there"), "set: mine\n");
}

/// M10, H15, H07: in the order in which they are made, also in the same millisecond; and what is made can be applied.
#[tokio::test]
async fn migrations_are_made_in_order() {
    let project = Project::new().await;
    let mut made = Vec::new();
    for name in ["add_users_table", "Add posts!", "zz"] {
        let ran = project.dunlin_with(&["create", name], &[]).await;
        made.push(ran.code(0).stdout.trim().to_owned());
        let text = std::fs::read_to_string(project.path(made.last().expect("one"))).expect("it is there");
        project.write(made.last().expect("one"), &text.replace("-- migrate: up\n", "-- migrate: up\nSELECT 1;\n"));
    }
    assert!(made[0].ends_with("_add_users_table.sql") && made[1].ends_with("_add_posts.sql"), "{made:?}");
    assert!(made.is_sorted(), "{made:?}");
    let text = std::fs::read_to_string(project.path(&made[0])).expect("it is there");
    assert!(text.starts_with("-- migration: Add users table\n-- id: 0"), "{text}");
    project.dunlin_with(&["create", "!!!"], &[]).await.code(3).says(&["no letter or digit"]);
    project.dunlin(&["apply"]).await.code(0);
}

/// A migration that nobody has filled in isn't taken for one that does nothing.
#[tokio::test]
async fn a_migration_that_was_made_and_not_written_runs_nothing() {
    let project = line(&["001"]).await;
    project.dunlin_with(&["create", "later"], &[]).await.code(0);
    project.dunlin(&["apply"]).await.code(3).says(&["002_later.sql:3:1", "nothing stands behind `-- migrate: up`"]);
    assert_eq!(project.tables().await, "");
}

/// H05, P23: a set of numbers goes on in numbers.
#[tokio::test]
async fn a_new_migration_is_numbered_as_the_others_are() {
    let project = line(&["001", "009"]).await;
    let ran = project.dunlin_with(&["create", "next", "--no-transaction"], &[]).await;
    assert_eq!(ran.code(0).stdout, "migrations/010_next.sql\n");
    let text = std::fs::read_to_string(project.path("migrations/010_next.sql")).expect("it is there");
    assert!(text.contains("\n-- migrate: no-transaction\n") && !text.contains("-- id:"), "{text}");
}

/// Q57, Q58: several heads are shown, and one file joins them.
#[tokio::test]
async fn heads_are_shown_and_merged() {
    let project = Project::with(&[
        ("001_base.sql", "CREATE TABLE base (a int);\n"),
        ("002_left.sql", "-- depends: 001\nCREATE TABLE l (a int);\n"),
        ("003_right.sql", "-- depends: 001_base\nCREATE TABLE r (a int);\n"),
    ])
    .await;
    assert_eq!(project.dunlin_with(&["heads"], &[]).await.code(0).stdout, "002_left\n003_right\n");
    let merged = project.dunlin_with(&["merge", "join them"], &[]).await;
    assert_eq!(merged.code(0).stdout, "migrations/004_join_them.sql\n");
    let text = std::fs::read_to_string(project.path("migrations/004_join_them.sql")).expect("it is there");
    assert!(text.contains("\n-- depends: 002_left, 003_right\n"), "{text}");
    let heads = project.dunlin_with(&["heads", "-o", "json"], &[]).await.code(0).json();
    assert_eq!(heads, serde_json::json!([{"version": "004", "name": "join_them"}]));
    project.dunlin_with(&["merge"], &[]).await.code(4).says(&["there is one head: 004_join_them.sql"]);
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["down"]).await.code(0).says(&["rolled back 004_join_them.sql"]);
}

/// M16, M17, M18, P10, Q53, Q54, H13, H18, Q62: the union of files and history, each in its state, and 1 where they differ.
#[tokio::test]
async fn files_and_history_are_compared() {
    let project = line(&["001", "002", "003"]).await;
    project.dunlin(&["status", "--exit-code"]).await.code(1);
    project.dunlin(&["apply"]).await.code(0);
    let verified = project.dunlin(&["verify"]).await;
    assert_eq!(verified.code(0).stdout, "verified: 3 applied, all as their files say\n");
    project.migration("001_t.sql", "CREATE TABLE t_001 (a bigint);\n");
    std::fs::remove_file(project.path("migrations/002_t.sql")).expect("it is there");
    project.migration("004_new.sql", "SELECT 1;\n");
    let status = project.dunlin(&["status", "-o", "json", "--exit-code"]).await.code(1).json();
    let count = |name: &str| status[name].as_u64();
    assert_eq!(
        ["total", "applied", "pending", "failed", "changed", "missing"].map(count),
        [4, 3, 1, 0, 1, 1].map(Some),
        "{status}"
    );
    let list = project.dunlin(&["list", "-o", "json"]).await.code(0).json();
    let listed: Vec<_> =
        list.as_array().expect("a list").iter().map(|row| (row["version"].as_str(), row["state"].as_str())).collect();
    assert_eq!(
        listed,
        [("001", "changed"), ("003", "applied"), ("004", "pending"), ("002", "missing")]
            .map(|(version, state)| (Some(version), Some(state)))
    );
    let by = list[1]["performedBy"].as_str().unwrap_or_default();
    assert!(by.starts_with("dunlin by hand"), "M17: who applied it: {list}");
    let pending = project.dunlin(&["list", "--state", "pending"]).await;
    assert_eq!(
        pending.code(0).stdout,
        "VERSION   STATE     NAME   APPLIED AT   DURATION   BY\n004       pending   new\n"
    );
    let verified = project.dunlin(&["verify"]).await;
    let text = &verified.code(1).stdout;
    assert!(text.contains("changed      001_t.sql (run 1)") && text.contains("missing      002:"), "{text}");
    assert_eq!(project.dunlin(&["current"]).await.code(0).stdout, "003\n");
    for verb in
        ["status", "list", "current", "verify", "history", "plan", "heads", "lint", "check", "config view", "version"]
    {
        let [json, yaml] = ["json", "yaml"].map(|format| verb.split(' ').chain(["-o", format]).collect::<Vec<_>>());
        let (json, yaml) = (project.dunlin(&json).await, project.dunlin(&yaml).await);
        let read: serde_json::Value = dunlin::yaml::from_str(&yaml.stdout).expect("it is YAML");
        assert_eq!((yaml.code, read), (json.code, json.json()), "{verb}: the same in both");
    }
    project.dunlin(&["apply"]).await.code(4).says(&["edited after it was applied"]);
}

/// Q76: a status is watched: it is printed again when it is otherwise, and a database that is away is waited for.
#[tokio::test]
async fn a_status_is_watched() {
    let project = line(&["001", "002"]).await;
    let (first, watching) = project.begin(&["status", "--watch"]).prints("pending      2\n").await;
    assert!(first.starts_with("environment  default\n"), "{first}");
    project.dunlin(&["apply"]).await.code(0);
    let (second, watching) = watching.prints("pending      0\n").await;
    assert!(second.contains("version      002"), "{second}");
    assert_eq!(watching.end_by("INT").await.code(130).stdout, "");
    project.dunlin(&["status", "--watch", "--exit-code"]).await.code(2);
}
