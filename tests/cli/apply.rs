//! Forth and back by hand: `apply`, `up`, `down`, `rollback`, `reset`, `plan`, and what holds them up.

use crate::project::{Project, line, table};

/// M12, P06, H17, Q10, Q46, H09: everything is applied, once, and what was done is said.
#[tokio::test]
async fn everything_pending_is_applied_and_then_nothing() {
    let project = line(&["001", "002", "003"]).await;
    project.dunlin(&["apply"]).await.code(0).says(&["applied 001_t.sql", "applied 003_t.sql"]);
    assert_eq!(project.tables().await, "t_001 t_002 t_003");
    project.dunlin(&["apply"]).await.code(0).says(&["nothing to do: 3 applied, none pending"]);
    assert_eq!(project.ask("SELECT count(*) FROM dunlin.run").await, "3");
    assert_eq!(project.ask("SELECT owner FROM dunlin.set").await, "NULL", "by hand nobody owns a history");
}

/// M13: one, and no more.
#[tokio::test]
async fn up_applies_the_next_one_alone() {
    let project = line(&["001", "002"]).await;
    project.dunlin(&["up"]).await.code(0).says(&["applied 001_t.sql"]);
    assert_eq!(project.tables().await, "t_001");
    project.dunlin(&["up"]).await.code(0);
    project.dunlin(&["up"]).await.code(0).says(&["nothing to do"]);
    assert_eq!(project.tables().await, "t_001 t_002");
}

/// M14, M15, Q11, H03, H11: the last applied first, by the way down that the history holds; and the plan is shown before.
#[tokio::test]
async fn a_rollback_undoes_the_last_ones_and_shows_its_plan() {
    let project = line(&["001", "002", "003", "004"]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["down"]).await.code(0).says(&["  down 004_t", "rolled back 004_t.sql"]);
    assert_eq!(project.tables().await, "t_001 t_002 t_003");
    let ran = project.dunlin(&["rollback", "2"]).await;
    ran.code(0).says(&["the plan sha256:", "  down 003_t\n  down 002_t\n"]);
    assert_eq!(project.tables().await, "t_001");
    for wrong in [&["rollback", "0"][..], &["rollback", "-1"], &["rollback", "1", "--runs", "1"]] {
        project.dunlin(wrong).await.code(2);
    }
    project.dunlin(&["rollback", "5"]).await.code(0);
    assert_eq!(project.tables().await, "");
    project.dunlin(&["rollback"]).await.code(0).says(&["nothing to roll back"]);
}

/// M15, P07, H12, Q45, Q51: to a version, whose name may stand with it; an unknown one runs nothing.
#[tokio::test]
async fn a_rollback_to_a_version_undoes_what_is_behind_it() {
    let project = line(&["001", "002", "003"]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["rollback", "--to", "009"]).await.code(3).says(&["has 009", "the nearest is 003_t"]);
    project.dunlin(&["rollback", "--to", "1_t"]).await.code(0);
    assert_eq!(project.tables().await, "t_001");
    project.dunlin(&["apply", "--to", "002"]).await.code(0);
    assert_eq!(project.tables().await, "t_001 t_002");
    project.dunlin(&["apply", "--target", "001"]).await.code(4).says(&["policy.rollback is Deny"]);
    assert_eq!(project.tables().await, "t_001 t_002");
}

/// H04, H12, H21: each run is a batch, and `--runs` undoes exactly the last ones of those that still stand.
#[tokio::test]
async fn a_rollback_of_runs_undoes_what_they_applied() {
    let project = line(&["001", "002"]).await;
    project.dunlin(&["apply"]).await.code(0);
    for version in ["003", "004", "005"] {
        let (name, text) = table(version);
        project.migration(&name, &text);
        if version != "003" {
            project.dunlin(&["apply"]).await.code(0);
        }
    }
    assert_eq!(project.tables().await, "t_001 t_002 t_003 t_004 t_005");
    let ran = project.dunlin(&["rollback", "--runs", "1"]).await;
    ran.code(0).says(&["  down 005_t\n"]);
    assert_eq!(project.tables().await, "t_001 t_002 t_003 t_004");
    let ran = project.dunlin(&["rollback", "--runs", "1"]).await;
    ran.code(0).says(&["  down 004_t\n  down 003_t\n"]);
    assert_eq!(project.tables().await, "t_001 t_002");
    project.dunlin(&["rollback", "--runs", "7"]).await.code(0);
    assert_eq!(project.tables().await, "");
}

/// What others need doesn't go alone, and what has no way down is named before anything runs.
#[tokio::test]
async fn a_rollback_that_can_not_be_runs_nothing() {
    let project = line(&["001"]).await;
    project.migration("002_b.sql", "CREATE TABLE b (a int);\n");
    project.dunlin(&["apply"]).await.code(0);
    let ran = project.dunlin(&["rollback", "2"]).await;
    ran.code(4).says(&["no way down is recorded for 002_b (run 2)", "dunlin resolve --run 2 --as mark-rolled-back"]);
    assert_eq!(project.tables().await, "b t_001");
}

/// H14: `reset` asks everywhere, since it undoes everything.
#[tokio::test]
async fn a_reset_wants_a_yes() {
    let project = line(&["001", "002"]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["reset"]).await.code(8).says(&["no terminal", "--yes", "Nothing was done"]);
    assert_eq!(project.tables().await, "t_001 t_002");
    project.dunlin(&["reset", "--yes"]).await.code(0);
    assert_eq!(project.tables().await, "");
}

/// M22, H16, Q61: byte for byte, on stdout alone, by a role that may only read; nothing of ours is made.
#[tokio::test]
async fn a_plan_is_the_sql_that_would_run_and_changes_nothing() {
    let text = "CREATE TABLE ü (a text DEFAULT 'line\n-- no comment\n\n');  -- why\n";
    let project = Project::with(&[("001_a.sql", text), ("002_b.sql", "SELECT 2;\n")]).await;
    let plan = project.dunlin(&["plan", "--exit-code"]).await;
    plan.code(1).says(&["up 001_a\nup 002_b\n"]);
    assert_eq!(plan.stdout, format!("{text}SELECT 2;\n"));
    assert_eq!(project.ask("SELECT count(*) FROM pg_namespace WHERE nspname = 'dunlin'").await, "0");
    let json = project.dunlin(&["plan", "-o", "json"]).await.code(0).json();
    assert_eq!((&json["steps"][0]["sql"], &json["steps"][1]["direction"]), (&text.into(), &"up".into()));
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["plan", "--exit-code"]).await.code(0).says(&["nothing to do"]);
}

/// M12: what is wrong with any file holds everything up before the first statement, with its place.
#[tokio::test]
async fn a_file_that_is_wrong_runs_nothing() {
    let project = line(&["001"]).await;
    project.migration("002_b.sql", "SELECT 'it's';\n");
    project.dunlin(&["apply"]).await.code(3).says(&["002_b.sql:1:13"]);
    project.migration("002_b.sql", "SELECT 1;\n");
    project.migration("notes.txt", "");
    project.dunlin(&["apply"]).await.code(3).says(&["notes.txt: no migration file"]);
    assert_eq!(project.tables().await, "");
}

/// M20, M21, M34: a failure says where, keeps what went before, and is decided about by hand.
#[tokio::test]
async fn a_failure_says_where_and_is_resolved_by_hand() {
    let project = line(&["001"]).await;
    project.migration("002_b.sql", "-- migrate: no-transaction\nCREATE TABLE b (a int);\nSELECT nothing;\n");
    let failed = project.dunlin(&["apply"]).await;
    failed.code(5).says(&[
        "002_b.sql:3:8",
        "42703",
        "run 2",
        "dunlin resolve --run 2 --as one of retry (from the top)",
    ]);
    assert_eq!(project.tables().await, "b t_001");
    project.dunlin(&["down"]).await.code(5).says(&["nothing runs until a person decides"]);
    project.dunlin(&["resolve", "--run", "9", "--as", "retry"]).await.code(5).says(&["run 2"]);
    project.dunlin(&["resolve", "--run", "2", "--as", "mark-applied"]).await.code(0).says(&["is recorded"]);
    project.dunlin(&["status", "--exit-code"]).await.code(0);
    let by = project.ask("SELECT resolved_by FROM dunlin.run WHERE id = 2").await;
    assert_eq!(by, "dunlin by hand: dunlin resolve");
}

/// Any failure is decided about by the command that its message names, and the next apply goes on from there.
#[tokio::test]
async fn a_transactional_failure_is_retried_on_a_persons_word() {
    let project = Project::with(&[("001_a.sql", "INSERT INTO later VALUES (1);\n")]).await;
    project.dunlin(&["apply"]).await.code(5).says(&["dunlin resolve --run 1 --as retry"]);
    project.ask("CREATE TABLE later (a int)").await;
    project.dunlin(&["apply"]).await.code(5);
    project.dunlin(&["resolve", "--run", "1", "--as", "retry"]).await.code(0).says(&["is recorded"]);
    assert_eq!(project.ask("SELECT count(*) FROM later").await, "0", "a decision runs nothing");
    project.dunlin(&["apply"]).await.code(0);
    assert_eq!(project.ask("SELECT count(*) FROM later").await, "1");
}

/// M32: somebody else's run is waited for, with a limit, and named.
#[tokio::test]
async fn somebody_elses_run_is_waited_for_and_named() {
    let project = line(&["001"]).await;
    project.dunlin(&["apply"]).await.code(0);
    let key = project.take_lock().await;
    let (name, text) = table("002");
    project.migration(&name, &text);
    project.dunlin(&["apply", "--wait", "0s"]).await.code(7).says(&["pid"]);
    project.until(SESSIONS, "0").await;
    let waits = project.dunlin(&["apply"]);
    let ends = async {
        project.until(&format!("SELECT ({SESSIONS}) > 0"), "t").await;
        project.ask(&format!("SELECT pg_advisory_unlock({key})")).await;
    };
    let (ran, ()) = tokio::join!(waits, ends);
    ran.code(0).says(&["applied 002_t.sql"]);
}

/// The sessions of commands at this project's database: others have their own on the same server.
const SESSIONS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dunlin/%' AND datname = current_database()";

/// M32: whoever waits for somebody else's run stops at once, and says so.
#[tokio::test]
async fn a_wait_for_somebody_elses_run_is_stopped_at_once() {
    let project = line(&["001"]).await;
    project.dunlin(&["apply"]).await.code(0);
    project.take_lock().await;
    let (name, text) = table("002");
    project.migration(&name, &text);
    for signal in ["INT", "TERM"] {
        // A backend outlives the command whose session it was by a moment.
        project.until(SESSIONS, "0").await;
        let begun = project.begin(&["apply", "--wait", "10m"]);
        // It takes the lock with two sessions.
        project.until(SESSIONS, "2").await;
        begun.end_by(signal).await.code(130).says(&["stopped: 0 of the plan done"]);
    }
    assert_eq!(project.tables().await, "t_001");
}

/// What is in a transaction is rolled back when it is stopped, and what went before it stays.
#[tokio::test]
async fn a_migration_under_way_is_stopped_and_leaves_nothing() {
    for signal in ["INT", "TERM"] {
        let project = line(&["001"]).await;
        project.migration("002_b.sql", "CREATE TABLE b (a int);\nSELECT pg_sleep(600);\n");
        let begun = project.begin(&["apply"]);
        project.until(&format!("{SESSIONS} AND query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'"), "1").await;
        begun.end_by(signal).await.code(130).says(&["stopping", "applied 001_t.sql", "stopped: 1 of the plan done"]);
        assert_eq!(project.tables().await, "t_001");
        project.dunlin(&["status", "-o", "json"]).await.code(0);
    }
}
