//! Seeds by hand: loaded, listed, written, and kept out of protected environments.

use crate::project::{Project, line};

const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY, name text);\n");

async fn shop(seeds: &[(&str, &str)]) -> Project {
    let project = Project::with(&[USERS]).await;
    project.write("dunlin.yaml", "envs:\n  dev: {}\n  production: {}\n");
    for (path, text) in seeds {
        let path = project.path("seeds").join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("it is written");
    }
    project
}

impl Project {
    async fn at(&self, env: &str, arguments: &[&str]) -> crate::project::Ran {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-e", env, "--url-overrides"]).collect();
        self.dunlin(&arguments).await
    }
}

/// M25, Q63: after the schema, each once, with counts that say what happened; `apply` loads none.
#[tokio::test]
async fn seeds_are_loaded_once_with_true_counts() {
    let project = shop(&[
        ("010_users.yaml", "mode: on-change\nonConflict: update\nusers: [{id: 1, name: Ada}, {id: 2, name: Bo}]\n"),
        ("020_more.sql", "INSERT INTO users VALUES (3, 'Cy');\n"),
    ])
    .await;
    project.dunlin(&["seed"]).await.code(4).says(&["1 of the migrations are pending", "dunlin apply first"]);
    project.dunlin(&["apply"]).await.code(0);
    assert_eq!(project.ask("SELECT count(*) FROM users").await, "0", "apply loads none");
    let ran = project.dunlin(&["seed"]).await;
    ran.code(0).says(&["loaded 010_users.yaml: 2 inserted, 0 updated, 0 unchanged\n", "loaded 020_more.sql\n"]);
    project.dunlin(&["seed"]).await.code(0).says(&["nothing to do: 2 loaded, none pending"]);
    std::fs::write(
        project.path("seeds/010_users.yaml"),
        "mode: on-change\nonConflict: update\nusers: [{id: 1, name: Eve}, {id: 2, name: Bo}, {id: 4, name: Di}]\n",
    )
    .expect("it is written");
    std::fs::write(project.path("seeds/020_more.sql"), "INSERT INTO users VALUES (9, 'Zoe');\n")
        .expect("it is written");
    let ran = project.dunlin(&["seed"]).await;
    ran.code(0).says(&["020_more.sql was edited after it ran", "1 inserted, 1 updated, 1 unchanged"]);
    let listed = project.dunlin(&["seed", "list", "-o", "json"]).await.code(0).json();
    assert_eq!((&listed[0]["state"], &listed[0]["updated"]), (&"loaded".into(), &1.into()));
    assert_eq!((&listed[1]["state"], &listed[1]["mode"]), (&"edited".into(), &"once".into()));
    let history = project.dunlin(&["history"]).await;
    assert!(history.code(0).stdout.contains("seed    020_more.sql"), "{}", history.stdout);
}

/// Q64: a folder's seeds belong to the environment of its name.
#[tokio::test]
async fn an_environment_has_seeds_of_its_own() {
    let project = shop(&[
        ("010_all.sql", "INSERT INTO users VALUES (1, 'all');\n"),
        ("dev/005_dev.sql", "INSERT INTO users VALUES (2, 'dev');\n"),
        ("other/005_other.sql", "SELECT nothing;\n"),
    ])
    .await;
    project.at("dev", &["apply"]).await.code(0);
    project.at("dev", &["seed"]).await.code(0).says(&["loaded dev/005_dev.sql", "loaded 010_all.sql"]);
    assert_eq!(project.ask("SELECT string_agg(name, ' ' ORDER BY id) FROM users").await, "all dev");
    project.dunlin(&["seed"]).await.code(0).says(&["nothing to do: 1 loaded"]);
}

/// M25: a protected environment wants its yes on the command line.
#[tokio::test]
async fn a_protected_environment_is_seeded_by_an_explicit_yes_alone() {
    let project = shop(&[("010_all.sql", "INSERT INTO users VALUES (1, 'all');\n")]).await;
    project.at("production", &["apply", "--yes"]).await.code(0);
    let refused = project.at("production", &["seed"]).await;
    refused.code(8).says(&["would load 010_all.sql in production, which is protected", "--yes", "Nothing was done"]);
    assert_eq!(project.ask("SELECT count(*) FROM users").await, "0");
    project.at("production", &["seed", "--yes"]).await.code(0);
    assert_eq!(project.ask("SELECT count(*) FROM users").await, "1");
}

/// Q65: one file, by its path inside the folder, and by none outside of it.
#[tokio::test]
async fn one_file_is_loaded_by_its_path() {
    let project = shop(&[
        ("010_a.sql", "INSERT INTO users VALUES (1, 'a');\n"),
        ("020_b.sql", "INSERT INTO users VALUES (2, 'b');\n"),
        ("dev/030_c.sql", "INSERT INTO users VALUES (3, 'c');\n"),
    ])
    .await;
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["seed", "-f", "020_b.sql"]).await.code(0).says(&["loaded 020_b.sql"]);
    assert_eq!(project.ask("SELECT string_agg(name, ' ') FROM users").await, "b");
    project.dunlin(&["seed", "-f", "seeds/010_a.sql"]).await.code(0).says(&["loaded 010_a.sql"]);
    for (file, said) in [
        ("../migrations/001_users.sql", "is no path of a seed"),
        ("/etc/passwd", "is no path of a seed"),
        ("040_d.sql", "is no seed in"),
        ("dev/030_c.sql", "belongs to the environment dev"),
    ] {
        project.dunlin(&["seed", "-f", file]).await.code(3).says(&[said]);
    }
    project.at("dev", &["seed", "-f", "dev/030_c.sql"]).await.code(0).says(&["loaded dev/030_c.sql"]);
}

/// M25: a failure says where, leaves nothing, stops what is behind it, and is decided about like any other.
#[tokio::test]
async fn a_failing_seed_is_left_by_an_edit_or_a_decision() {
    let project = shop(&[
        ("010_a.sql", "INSERT INTO users VALUES (1, 'a');\n"),
        ("020_b.yaml", "users:\n- {id: 2, name: b}\n- {id: 1, name: again}\n"),
        ("030_c.sql", "INSERT INTO users VALUES (3, 'c');\n"),
    ])
    .await;
    project.dunlin(&["apply"]).await.code(0);
    let failed = project.dunlin(&["seed"]).await;
    failed.code(5).says(&[
        "loaded 010_a.sql",
        "020_b.yaml:2: table users: duplicate key",
        "dunlin resolve --run 3 --as retry",
    ]);
    assert_eq!(project.ask("SELECT string_agg(name, ' ') FROM users").await, "a");
    project.dunlin(&["apply"]).await.code(0).says(&["nothing to do"]);
    project.dunlin(&["resolve", "--run", "3", "--as", "mark-applied"]).await.code(5).says(&["only retry is possible"]);
    project.ask("DELETE FROM users").await;
    project.dunlin(&["resolve", "--run", "3", "--as", "retry"]).await.code(0).says(&["run 3: Retry is recorded"]);
    project.dunlin(&["seed"]).await.code(0).says(&["020_b.yaml: 2 inserted", "loaded 030_c.sql"]);
}

/// M24: a new seed stands in its folder, whatever it is called, and what is there stays; the template runs.
#[tokio::test]
async fn a_new_seed_is_written_into_its_folder() {
    let project = shop(&[]).await;
    let created = project.dunlin(&["seed", "create", "Demo users"]).await;
    assert_eq!(created.code(0).stdout, "seeds/demo_users.sql\n");
    let text = std::fs::read_to_string(project.path("seeds/demo_users.sql")).expect("it is there");
    assert_eq!(text, "-- Demo users\n-- seed: once\n\n");
    project.dunlin(&["seed", "create", "demo_users"]).await.code(4).says(&["is there already"]);
    let evil = project.dunlin(&["seed", "create", "../../evil"]).await;
    assert_eq!(evil.code(0).stdout, "seeds/evil.sql\n");
    project.dunlin(&["seed", "create", "!!!"]).await.code(3);
    let own = project.dunlin(&["seed", "create", "rows", "--yaml", "-e", "dev"]).await;
    assert_eq!(own.code(0).stdout, "seeds/dev/rows.yaml\n");
    project.at("dev", &["apply"]).await.code(0);
    project.at("dev", &["seed"]).await.code(0).says(&["nothing to do: 0 loaded"]);
    let listed = project.at("dev", &["seed", "list", "-o", "json"]).await.code(0).json();
    assert_eq!(listed[2]["path"], "dev/rows.yaml");
    assert_eq!(listed[2]["state"], "empty");
}

/// What is wrong with any seed is said with its place, and nothing is loaded.
#[tokio::test]
async fn a_seed_that_is_wrong_loads_nothing() {
    let project = line(&["001"]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["seed"]).await.code(3).says(&["seeds", "dunlin seed create"]);
    std::fs::create_dir(project.path("seeds")).expect("a folder");
    project.write("seeds/010_a.sql", "INSERT INTO t_001 VALUES (1);\n");
    project.write("seeds/020_b.yaml", "t_001:\n- a: 1\n  a: 2\n");
    project.dunlin(&["seed"]).await.code(3).says(&["020_b.yaml:3: \"a\" stands twice"]);
    project.write("seeds/020_b.yaml", "t_001: []\n");
    project.write("seeds/notes.txt", "");
    project.dunlin(&["seed"]).await.code(3).says(&["notes.txt: no seed"]);
    assert_eq!(project.ask("SELECT count(*) FROM t_001").await, "0");
}
