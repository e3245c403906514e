//! `plan --execute` and `apply --dry-run`: what a run would meet, and nothing that stays.

use crate::project::{Project, line, table};

/// Everything that a rehearsal could have left behind.
async fn catalogs(project: &Project) -> String {
    project.ask(crate::support::CATALOGS).await
}

/// M23, P32: what depends on what goes before it is checked with it; both spellings; nothing of it or of ours stays.
#[tokio::test]
async fn dependent_migrations_are_rehearsed_together_and_nothing_stays() {
    let project = Project::with(&[
        ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY);\nINSERT INTO users VALUES (1);\n"),
        ("002_posts.sql", "BEGIN;\nCREATE TABLE posts (author int REFERENCES users DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO posts VALUES (1);\nCOMMIT;\n"),
        ("003_copy.sql", "COPY users FROM stdin;\n2\n3\n\\.\nALTER TABLE posts ADD COLUMN title text;\n"),
        ("004_deferred.sql", "INSERT INTO posts VALUES (9);\nINSERT INTO users VALUES (9);\n"),
    ])
    .await;
    let before = catalogs(&project).await;
    let ran = project.dunlin(&["plan", "--execute"]).await;
    ran.code(0).says(&["up 001_users\n", "rehearsed: all 4 went through, and were rolled back"]);
    assert!(ran.stdout.contains("CREATE TABLE users"), "{}", ran.stdout);
    let dry = project.dunlin(&["apply", "--dry-run"]).await;
    assert_eq!(dry.code(0).stdout, ran.stdout);
    let json = project.dunlin(&["plan", "--execute", "-o", "json"]).await.code(0).json();
    assert_eq!(json["rehearsal"], serde_json::json!({"outcome": "passed", "passed": ["001", "002", "003", "004"]}));
    assert_eq!(catalogs(&project).await, before, "something stayed");
    project.dunlin(&["apply"]).await.code(0);
}

/// M23: the first failure has its place and ends the rehearsal; what went before it is said.
#[tokio::test]
async fn the_first_failure_is_told_with_its_place() {
    let project = line(&["001", "002"]).await;
    project.migration("003_c.sql", "SELECT 1;\nINSERT INTO t_002\n  VALUES (nothing);\n");
    project.migration("004_d.sql", "SELECT also_nothing;\n");
    let before = catalogs(&project).await;
    let ran = project.dunlin(&["plan", "--execute"]).await;
    ran.code(5).says(&["003_c.sql:3:11", "SQLSTATE 42703", "2 of 4 went through before it", "nothing was changed"]);
    assert!(!ran.stderr.contains("also_nothing"), "{}", ran.stderr);
    let json = project.dunlin(&["plan", "--execute", "-o", "json"]).await.code(5).json();
    let rehearsal = &json["rehearsal"];
    assert_eq!(
        (&rehearsal["outcome"], &rehearsal["version"], &rehearsal["line"], &rehearsal["sqlstate"]),
        (&"refused".into(), &"003".into(), &3.into(), &"42703".into())
    );
    assert_eq!(catalogs(&project).await, before, "something stayed");
    project.migration("003_c.sql", "CREATE TABLE c (a int);\nSELEC 1;\n");
    project.dunlin(&["apply", "--dry-run"]).await.code(5).says(&["003_c.sql:2:1", "42601"]);
}

/// M23: deferred constraints are asked for as a COMMIT asks for them, after each migration.
#[tokio::test]
async fn what_a_commit_would_refuse_is_refused() {
    let project = Project::with(&[
        ("001_a.sql", "CREATE TABLE a (id int PRIMARY KEY);\nCREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\n"),
        ("002_b.sql", "INSERT INTO b VALUES (7);\n"),
        ("003_c.sql", "INSERT INTO a VALUES (7);\n"),
    ])
    .await;
    let ran = project.dunlin(&["plan", "--execute"]).await;
    ran.code(5).says(&["002_b.sql: a constraint or trigger that was deferred to the end", "23503", "1 of 3"]);
}

/// M23: what can't be rolled back ends what is checked, and that is said.
#[tokio::test]
async fn a_no_transaction_migration_ends_what_is_checked() {
    let project = line(&["001"]).await;
    project.migration("002_i.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY i ON t_001 (a);\n");
    project.migration("003_b.sql", "SELECT nothing;\n");
    let before = catalogs(&project).await;
    let ran = project.dunlin(&["plan", "--execute"]).await;
    ran.code(0).says(&["1 of 3 went through", "not checked: 002_i, 003_b", "no-transaction"]);
    let json = project.dunlin(&["plan", "--execute", "-o", "json"]).await.code(0).json();
    assert_eq!(json["rehearsal"]["unchecked"], serde_json::json!(["002", "003"]));
    assert_eq!(catalogs(&project).await, before, "something stayed");
}

/// What only the rehearsal's one transaction refuses is no failure of the migration.
#[tokio::test]
async fn what_needs_a_transaction_of_its_own_is_not_called_wrong() {
    let project =
        Project::with(&[("001_a.sql", "CREATE TYPE mood AS ENUM ('fine');\nCREATE TABLE m (mood mood);\n")]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.migration("002_b.sql", "ALTER TYPE mood ADD VALUE 'great';\n");
    project.migration("003_c.sql", "INSERT INTO m VALUES ('great');\n");
    project
        .dunlin(&["plan", "--execute"])
        .await
        .code(0)
        .says(&["not checked: 003_c", "003_c.sql uses a value of an enum"]);
    project.migration("003_c.sql", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;\n");
    project.dunlin(&["plan", "--execute"]).await.code(0).says(&["not checked: 003_c", "chooses the kind"]);
    project.migration("003_c.sql", "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;\nCOMMIT;\n");
    let ran = project.dunlin(&["plan", "--execute"]).await;
    ran.code(0).says(&["checked without the ISOLATION LEVEL SERIALIZABLE of its BEGIN", "all 2 went through"]);
    project.dunlin(&["apply"]).await.code(0);
}

/// Somebody's lock is waited for no longer than is said, and is nobody's fault.
#[tokio::test]
async fn a_lock_is_not_waited_for_long() {
    let project = line(&["001"]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.migration("002_b.sql", "ALTER TABLE t_001 ADD COLUMN b int;\n");
    project.ask("BEGIN").await;
    project.ask("LOCK TABLE t_001").await;
    let ran = project.dunlin(&["plan", "--execute", "--lock-timeout", "50ms"]).await;
    ran.code(7).says(&["002_b.sql", "55P03", "--lock-timeout"]);
    project.ask("ROLLBACK").await;
    project.dunlin(&["plan", "--execute"]).await.code(0);
}

/// Ctrl-C ends what is under way on the server, too.
#[tokio::test]
async fn a_rehearsal_that_is_stopped_leaves_nothing_behind() {
    let project = line(&["001"]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.migration("002_b.sql", "CREATE TABLE b (a int);\nALTER TABLE t_001 ADD COLUMN b int;\n");
    let before = catalogs(&project).await;
    project.ask("BEGIN").await;
    project.ask("LOCK TABLE t_001").await;
    let begun = project.begin(&["plan", "--execute", "--lock-timeout", "10m"]);
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't_001'::regclass";
    project.until(waiting, "1").await;
    begun.end_by("INT").await.code(130).says(&["stopped: the rehearsal was rolled back"]);
    project.until(waiting, "0").await;
    project.ask("ROLLBACK").await;
    assert_eq!(catalogs(&project).await, before, "something stayed");
}

/// The operator's lock and history are left alone: a rehearsal goes on beside a run.
#[tokio::test]
async fn a_rehearsal_takes_no_lock_of_ours() {
    let project = line(&["001"]).await;
    project.dunlin(&["apply"]).await.code(0);
    let claim = project.ask("SELECT session || claimed_at FROM dunlin.set").await;
    project.take_lock().await;
    let (name, text) = table("002");
    project.migration(&name, &text);
    project.dunlin(&["plan", "--execute"]).await.code(0).says(&["all 1 went through"]);
    assert_eq!(project.ask("SELECT session || claimed_at FROM dunlin.set").await, claim);
    assert_eq!(project.ask("SELECT count(*) FROM dunlin.run").await, "1");
}

/// The ways down that the history holds are rehearsed too, whatever the files say now.
#[tokio::test]
async fn ways_down_are_rehearsed() {
    let project = line(&["001", "002"]).await;
    project.write("dunlin.yaml", "policy: {rollback: Allow}\n");
    project.dunlin(&["apply"]).await.code(0);
    let down = ["plan", "--to", "none", "--execute"];
    project.dunlin(&down).await.code(0).says(&["down 002_t\ndown 001_t\n", "all 2 went through"]);
    assert_eq!(project.tables().await, "t_001 t_002");
    project.ask("CREATE VIEW v AS SELECT * FROM t_001").await;
    project.dunlin(&down).await.code(5).says(&["001_t.sql (the way down):", "2BP01", "1 of 2"]);
    assert_eq!(project.tables().await, "t_001 t_002");
}

/// What was approved can rest on a rehearsal: waiting for approval doesn't hold it up, and it is still said.
#[tokio::test]
async fn what_waits_for_approval_is_rehearsed() {
    let project = line(&["001"]).await;
    project.write("dunlin.yaml", "approval: {required: Always}\n");
    project.dunlin(&["plan", "--execute"]).await.code(4).says(&["all 1 went through", "--approve sha256:"]);
    assert_eq!(project.tables().await, "");
}

/// Roles and search paths are those of a real run.
#[tokio::test]
async fn a_rehearsal_has_the_session_of_a_run() {
    let project = Project::with(&[(
        "001_a.sql",
        "CREATE TABLE a AS SELECT 1 AS x;\nSELECT 1 / (CASE current_schema WHEN 'app' THEN 1 ELSE 0 END);\n",
    )])
    .await;
    project.ask("CREATE SCHEMA app").await;
    project.dunlin(&["plan", "--execute"]).await.code(5).says(&["22012"]);
    project.write("dunlin.yaml", "search_path: [app]\n");
    project.dunlin(&["plan", "--execute"]).await.code(0);
    project.dunlin(&["plan", "--lock-timeout", "1s"]).await.code(2);
    project.dunlin(&["apply", "--dry-run", "--wait", "1s"]).await.code(2);
}
