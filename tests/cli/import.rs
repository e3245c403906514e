//! `import`: another tool's history is taken over by hand.

use crate::{
    project::{Project, Ran, line},
    support::tools,
};

/// Tables that Migretti has made, with its own word on them; the checksums are `sha256sum`'s of the whole files.
async fn migretti(has: &[&str]) -> Project {
    let project = line(&["001", "002", "003"]).await;
    project.ask(tools::MIGRETTI).await;
    for version in has {
        project.ask(&format!("CREATE TABLE t_{version} (a int)")).await;
        insert(&project, version, &checksum(&project, version)).await;
    }
    project
}

async fn insert(project: &Project, version: &str, checksum: &str) {
    project
        .ask(&format!(
            "INSERT INTO _migrations (id, name, applied_at, checksum) VALUES ('{version}', 't', '2026-02-15 12:00:00Z', '{checksum}')"
        ))
        .await;
}

fn checksum(project: &Project, version: &str) -> String {
    let path = project.path(&format!("migrations/{version}_t.sql"));
    let output = std::process::Command::new("sha256sum").arg(path).output().expect("it runs");
    String::from_utf8(output.stdout).expect("it is text")[..64].to_owned()
}

async fn recorded(project: &Project) -> String {
    let rows = "SELECT coalesce(string_agg(version || ' ' || state, ', ' ORDER BY version), '') FROM dunlin.migration";
    project.ask(rows).await
}

async fn knows_nothing(project: &Project) {
    assert_eq!(project.ask("SELECT count(*) FROM pg_namespace WHERE nspname = 'dunlin'").await, "0");
}

fn import<'a>(project: &'a Project, more: &'a [&'a str]) -> impl Future<Output = Ran> + 'a {
    let arguments: Vec<&str> = ["import", "--from", "migretti"].iter().chain(more).copied().collect();
    async move { project.dunlin(&arguments).await }
}

/// Q83: it is shown, then recorded, then nothing is left to do; apply goes on from there, and the way back is there.
#[tokio::test]
async fn what_another_tool_has_applied_is_recorded_and_gone_on_from() {
    let project = migretti(&["001", "002"]).await;
    let shown = import(&project, &["--dry-run"]).await;
    shown.code(0);
    let expected = "VERSION   NAME   APPLIED AT                    BY\n\
                    001       t      2026-02-15T12:00:00.000000Z   Migretti\n\
                    002       t      2026-02-15T12:00:00.000000Z   Migretti\n";
    assert_eq!((shown.stdout.as_str(), shown.stderr.as_str()), (expected, ""));
    knows_nothing(&project).await;
    let ran = import(&project, &[]).await;
    ran.code(0).says(&["recorded as Migretti applied it, not run: 001_t.sql\n", "002_t.sql\n"]);
    assert!(!ran.stderr.contains("003"), "{}", ran.stderr);
    assert_eq!(recorded(&project).await, "001 applied, 002 applied");
    let listed = project.dunlin(&["list", "-o", "json"]).await.code(0).json();
    assert_eq!(listed[0]["appliedAt"], "2026-02-15T12:00:00Z");
    assert!(listed[0]["performedBy"].as_str().is_some_and(|by| by.starts_with("dunlin by hand as ")), "{listed}");
    let kinds = project.dunlin(&["history", "-o", "json"]).await.code(0).json();
    assert_eq!((&kinds[0]["kind"], &kinds[1]["kind"]), (&"import".into(), &"import".into()));
    import(&project, &[]).await.code(0).says(&["nothing to do", "2 are recorded"]);
    assert_eq!(project.ask("SELECT count(*) FROM dunlin.run").await, "2");
    project.dunlin(&["apply"]).await.code(0).says(&["applied 003_t.sql"]);
    assert_eq!(project.tables().await, "_migrations _migrations_log t_001 t_002 t_003");
    project.dunlin(&["rollback", "3"]).await.code(0);
    assert_eq!(project.tables().await, "_migrations _migrations_log");
}

/// Q83: each thing that is in the way has its code and its way out, and nothing is recorded.
#[tokio::test]
async fn what_is_in_the_way_of_an_import_is_said() {
    let project = line(&["001"]).await;
    import(&project, &[]).await.code(3).says(&["no history of Migretti's", "has _migrations.", "--table SCHEMA.NAME"]);
    for (from, table) in
        [("metapg", "_metapg_migrations"), ("psqlmodel", "_psqlmodel_migrations"), ("herogold", "migrations")]
    {
        project.dunlin(&["import", "--from", from]).await.code(3).says(&[table, "Nothing was recorded"]);
    }
    project.dunlin(&["import"]).await.code(2);
    project.dunlin(&["import", "--from", "flyway"]).await.code(2).says(&["migretti", "herogold"]);
    project.ask(tools::MIGRETTI).await;
    insert(&project, "001", &"0".repeat(64)).await;
    let edited = import(&project, &[]).await;
    edited
        .code(4)
        .says(&["edited since Migretti applied it: 001_t.sql (recorded 000000000000, now ", "--accept-checksums"]);
    insert(&project, "008", "").await;
    project.ask("INSERT INTO _migrations (id, name, status) VALUES ('009', 'x', 'failed')").await;
    let both = import(&project, &[]).await;
    both.code(4).says(&[
        "Migretti failed at 009",
        "mg fix ID --applied",
        "has no file here: 008 ",
        "put the files back",
    ]);
    knows_nothing(&project).await;
    project.ask("DELETE FROM _migrations WHERE id <> '001'").await;
    import(&project, &["--accept-checksums"]).await.code(0).says(&["not run: 001_t.sql"]);
    assert_eq!(project.dunlin(&["verify"]).await.code(0).code, Some(0));
}

/// Q83, M32: a table elsewhere is named; of several, the one that is meant.
#[tokio::test]
async fn a_table_in_another_place_is_named() {
    let project = migretti(&["001"]).await;
    project.ask("CREATE SCHEMA \"Old\"; CREATE TABLE \"Old\"._migrations (LIKE _migrations); ALTER TABLE _migrations RENAME TO mg").await;
    project.ask("INSERT INTO \"Old\"._migrations SELECT * FROM mg").await;
    let one = import(&project, &["--dry-run"]).await;
    assert!(one.code(0).stdout.contains("\n001 "), "{}", one.stdout);
    for table in ["mg", "public.mg", "Old._migrations"] {
        let shown = import(&project, &["--dry-run", "--table", table]).await;
        assert!(shown.code(0).stdout.contains("\n001 "), "{}", shown.stdout);
    }
    import(&project, &["--table", "old._migrations"]).await.code(3).says(&["has old._migrations"]);
    project.ask("ALTER TABLE mg RENAME TO _migrations").await;
    import(&project, &[]).await.code(3).says(&["Old._migrations, public._migrations", "--table SCHEMA.NAME"]);
    // The tool's lock under another key, as its settings and ours say.
    project.write("dunlin.yaml", "lock_id: 5\n");
    project.ask("SELECT pg_advisory_lock(5)").await;
    let held = import(&project, &["--table", "public._migrations", "--wait", "0s"]).await;
    held.code(7).says(&["the lock 5 of history.lockId"]);
    project.ask("SELECT pg_advisory_unlock(5), pg_advisory_lock(894321)").await;
    let held = import(&project, &["--table", "public._migrations", "--wait", "0s"]).await;
    held.code(7).says(&["the lock 894321 of Migretti is held by"]);
    project.ask("SELECT pg_advisory_unlock(894321)").await;
    import(&project, &["--table", "public._migrations"]).await.code(0);
}

/// Q83: what is recorded already stays; what the history says otherwise of is in the way; gaps are told of.
#[tokio::test]
async fn an_import_into_a_history_adds_what_it_lacks() {
    let project = line(&["001", "002", "003"]).await;
    project.dunlin(&["up"]).await.code(0);
    project.ask(tools::MIGRETTI).await;
    for version in ["001", "003"] {
        insert(&project, version, &checksum(&project, version)).await;
    }
    project.ask("CREATE TABLE t_003 (a int)").await;
    let before = project.ask("SELECT applied_at FROM dunlin.migration").await;
    let ran = import(&project, &[]).await;
    ran.code(0).says(&[
        "not run: 003_t.sql",
        "1 more of public._migrations are recorded already",
        "Migretti hasn't applied 002_t.sql",
        "policy.outOfOrder: Allow",
    ]);
    assert_eq!(recorded(&project).await, "001 applied, 003 applied");
    assert_eq!(project.ask("SELECT applied_at FROM dunlin.migration WHERE version = '001'").await, before);
    project.dunlin(&["rollback", "1"]).await.code(0).says(&["rolled back 003_t.sql"]);
    import(&project, &[]).await.code(4).says(&["003 (rolled back by run 3)", "delete the row"]);
    assert_eq!(recorded(&project).await, "001 applied, 003 rolled_back");
}

/// M31, Q83: a protected environment asks; programs get an event for each migration.
#[tokio::test]
async fn an_import_wants_a_yes_where_it_is_protected() {
    let project = migretti(&["001"]).await;
    project.write("dunlin.yaml", "protected: true\n");
    import(&project, &[]).await.code(8).says(&["record 001_t.sql as Migretti applied it", "--yes", "Nothing was done"]);
    knows_nothing(&project).await;
    let ran = import(&project, &["--yes", "--json-log"]).await;
    let event: serde_json::Value = serde_json::from_str(ran.code(0).stderr.trim()).expect("one event");
    assert_eq!(
        (&event["event"], &event["version"], &event["set"]),
        (&"imported".into(), &"001".into(), &"default".into())
    );
}
