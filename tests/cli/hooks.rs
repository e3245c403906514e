//! Commands around a plan: in which order, with what they are told, and what becomes of those that fail.

use std::time::Duration;

use crate::{
    project::{Project, Ran, line, table},
    support,
};

/// Each hook writes a line with its place into a file.
const EACH: &str = "
hooks:
  pre_apply: echo pre_apply >> log
  post_apply: echo post_apply >> log
  pre_rollback: echo pre_rollback >> log
  post_rollback: echo post_rollback >> log
  on_failure: echo on_failure >> log
";

async fn with(versions: &[&str], settings: &str) -> Project {
    let project = line(versions).await;
    project.write("dunlin.yaml", settings);
    project
}

fn log(project: &Project) -> String {
    std::fs::read_to_string(project.path("log")).unwrap_or_default()
}

fn has_log(project: &Project, lines: &[&str]) {
    assert_eq!(log(project).lines().collect::<Vec<_>>(), lines);
}

/// M26, M27, M28, M29: they run around what there is to do, in the project's folder, and not where there is nothing.
#[tokio::test]
async fn hooks_run_around_a_plan_and_only_where_there_is_one() {
    let project = with(&["001", "002"], EACH).await;
    project.dunlin(&["apply"]).await.code(0);
    has_log(&project, &["pre_apply", "post_apply"]);
    project.dunlin(&["apply"]).await.code(0).says(&["nothing to do"]);
    has_log(&project, &["pre_apply", "post_apply"]);
    project.dunlin(&["down"]).await.code(0);
    has_log(&project, &["pre_apply", "post_apply", "pre_rollback", "post_rollback"]);
    std::fs::remove_file(project.path("log")).expect("it is there");
    project.dunlin(&["up"]).await.code(0);
    project.dunlin(&["up"]).await.code(0).says(&["nothing to do"]);
    has_log(&project, &["pre_apply", "post_apply"]);
    project.dunlin(&["reset", "--yes"]).await.code(0);
    has_log(&project, &["pre_apply", "post_apply", "pre_rollback", "post_rollback"]);
    project.dunlin(&["rollback"]).await.code(0).says(&["nothing to roll back"]);
    project.dunlin(&["up", "--no-hooks"]).await.code(0).says(&["hooks are left out, as --no-hooks asks: pre_apply"]);
    has_log(&project, &["pre_apply", "post_apply", "pre_rollback", "post_rollback"]);
}

/// M22, M26: a plan and a dry run run none, and write down none.
#[tokio::test]
async fn a_plan_and_a_dry_run_run_no_hook() {
    let project = with(&["001"], EACH).await;
    project.dunlin(&["plan"]).await.code(0);
    project.dunlin(&["plan", "--execute"]).await.code(0);
    project.dunlin(&["apply", "--dry-run"]).await.code(0);
    project.dunlin(&["plan", "--target", "none"]).await.code(0);
    has_log(&project, &[]);
    assert_eq!(project.ask("SELECT to_regclass('dunlin.run')").await, "NULL");
}

/// M26: a pre hook runs before the first migration, when it is known what will run; a post hook when all of it has.
#[tokio::test]
async fn a_hook_is_told_what_it_runs_for() {
    let told = "env | grep ^DUNLIN_ | grep -v -e _URL= -e _ID= -e _PLAN= | sort >> log";
    let settings = format!("set: shop\nhooks: {{pre_apply: \"{told}\", post_apply: \"echo; {told}\"}}\n")
        .replace("echo; ", "echo >> log; ");
    let project = with(&["001", "002"], &settings).await;
    project.dunlin(&["apply"]).await.code(0);
    let common = ["DUNLIN_DIRECTION=up", "DUNLIN_ENV=default"];
    let mut expected: Vec<&str> = common.to_vec();
    expected.extend(["DUNLIN_HOOK=preApply", "DUNLIN_RUN=1", "DUNLIN_SET=shop", "DUNLIN_VERSIONS=001 002", ""]);
    expected.extend(common);
    expected.extend([
        "DUNLIN_HOOK=postApply",
        "DUNLIN_OUTCOME=succeeded",
        "DUNLIN_RUN=2",
        "DUNLIN_SET=shop",
        "DUNLIN_VERSIONS=001 002",
    ]);
    has_log(&project, &expected);
    let runs = "SELECT string_agg(version || ' ' || outcome, ', ' ORDER BY id) FROM dunlin.run";
    assert_eq!(project.ask(runs).await, "preApply[0] succeeded, postApply[0] succeeded, 001 succeeded, 002 succeeded");
}

/// M26: the lock is held while a hook runs.
#[tokio::test]
async fn a_hook_runs_under_the_lock() {
    let project = with(&["001"], "hooks: {pre_apply: 'touch here; while [ ! -e go ]; do sleep 0.05; done'}\n").await;
    let begun = project.begin(&["apply"]);
    support::eventually("the hook runs", Duration::from_secs(20), async || {
        project.path("here").exists().then_some(()).ok_or("no file")
    })
    .await;
    let held = "SELECT count(*) FROM pg_locks JOIN dunlin.set ON classid = (lock_key >> 32) & 4294967295 AND objid = lock_key & 4294967295 \
                WHERE locktype = 'advisory' AND granted \
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(project.ask(held).await, "1");
    project.dunlin(&["apply", "--wait", "0s"]).await.code(7).says(&["the set's lock is held by"]);
    assert_eq!(project.tables().await, "", "nothing runs before it ends");
    project.write("go", "");
    begun.end().await.code(0);
    assert_eq!(project.tables().await, "t_001");
}

/// M26: a pre hook that fails stops the plan before anything runs; what it printed is told, and kept, without the password.
#[tokio::test]
async fn a_pre_hook_that_fails_stops_the_plan() {
    let hook = "hooks: {pre_apply: [\"echo to stdout\", \"echo $DUNLIN_DATABASE_URL >&2; exit 3\", \"echo never\"], on_failure: \"echo never\"}\n";
    let project = with(&["001"], hook).await;
    let ran = project.dunlin(&["apply"]).await;
    ran.code(5).says(&[
        "hooks.pre_apply[0]: to stdout",
        "hooks.pre_apply[1]: postgres://",
        "hooks.pre_apply[1] ended with exit code 3; its last words:",
        "Nothing of the plan was run",
    ]);
    let password = project.url.split([':', '@']).nth(2).expect("a password").to_owned();
    assert!(!ran.stderr.contains(&password), "{}", ran.stderr);
    assert!(!ran.stderr.contains("never"), "{}", ran.stderr);
    assert_eq!(project.tables().await, "");
    let error = project.ask("SELECT error FROM dunlin.run WHERE outcome = 'failed'").await;
    assert!(error.contains("exit code 3") && !error.contains(&password), "{error}");
    // Whoever runs it again has mended what it needs.
    project.write("dunlin.yaml", "hooks: {pre_apply: 'test ! -e broken'}\n");
    project.write("broken", "");
    project.dunlin(&["apply"]).await.code(5).says(&["ended with exit code 1"]);
    std::fs::remove_file(project.path("broken")).expect("it is there");
    project.dunlin(&["apply"]).await.code(0);
    assert_eq!(project.tables().await, "t_001");
}

/// M27: a post hook that fails is told, and runs again with the next apply; no SQL does.
#[tokio::test]
async fn a_post_hook_that_fails_never_runs_sql_again() {
    let project = with(
        &["001", "002"],
        "hooks: {post_apply: ['echo one >> log', 'echo $DUNLIN_VERSIONS >> log; test -e well']}\n",
    )
    .await;
    let ran = project.dunlin(&["apply"]).await;
    ran.code(5).says(&[
        "applied 002_t.sql",
        "hooks.post_apply[1] ended with exit code 1",
        "What was planned has been applied",
    ]);
    assert_eq!(project.tables().await, "t_001 t_002");
    project.dunlin(&["apply"]).await.code(5).says(&["hooks.post_apply[1] ended with exit code 1"]);
    project.write("well", "");
    project.dunlin(&["apply"]).await.code(0);
    has_log(&project, &["one", "001 002", "001 002", "001 002"]);
    project.dunlin(&["apply"]).await.code(0).says(&["nothing to do"]);
    assert_eq!(project.ask("SELECT count(*) FROM dunlin.run WHERE kind = 'apply'").await, "2");
}

/// M27: a migration that fails for good is told to `on_failure`, once; to post hooks only what has gone through.
#[tokio::test]
async fn a_failure_is_told_once_with_what_failed() {
    let told = "echo $DUNLIN_HOOK $DUNLIN_OUTCOME $DUNLIN_FAILED_VERSION $DUNLIN_SQLSTATE $DUNLIN_VERSIONS >> log";
    let project = with(&["001"], &format!("hooks: {{on_failure: '{told}', post_apply: '{told}'}}\n")).await;
    project.migration("002_t.sql", "CREATE TABLE t_001 (a int);\n");
    project.dunlin(&["apply"]).await.code(5).says(&["002_t.sql:1", "42P07"]);
    has_log(&project, &["onFailure failed 002 42P07 002"]);
    project.dunlin(&["apply"]).await.code(5);
    has_log(&project, &["onFailure failed 002 42P07 002"]);
    let (name, text) = table("002");
    project.migration(&name, &text);
    project.dunlin(&["apply"]).await.code(0);
    has_log(&project, &["onFailure failed 002 42P07 002", "postApply succeeded 001 002"]);
}

/// M27: a hook of a failure that fails hides nothing.
#[tokio::test]
async fn a_hook_of_a_failure_that_fails_is_told_beside_it() {
    let project = with(&["001"], "hooks: {on_failure: 'exit 4'}\n").await;
    project.migration("002_t.sql", "CREATE TABLE t_001 (a int);\n");
    let ran = project.dunlin(&["apply"]).await;
    ran.code(5).says(&["42P07", "Beside that, hooks.on_failure[0] ended with exit code 4"]);
}

/// M26: a time limit ends the command and all that it began.
#[tokio::test]
async fn a_hook_that_takes_too_long_is_ended_with_its_children() {
    let hook = "hooks: {timeout: 1s, pre_apply: 'echo $$ > pid; (trap \"\" TERM; exec sleep 300) & sleep 300'}\n";
    let project = with(&["001"], hook).await;
    let ran = project.dunlin(&["apply"]).await;
    ran.code(5).says(&["took longer than its time limit of 1s, and was ended"]);
    assert_eq!(project.tables().await, "");
    nothing_left(&project).await;
}

/// M26: a Ctrl-C ends the command, and the next apply begins again.
#[tokio::test]
async fn a_hook_is_ended_by_ctrl_c() {
    let project = with(&["001"], "hooks: {pre_apply: 'echo $$ > pid; test -e go || sleep 300'}\n").await;
    let begun = project.begin(&["apply"]);
    support::eventually("the hook runs", Duration::from_secs(20), async || {
        log_of(&project, "pid").trim().parse::<u32>().map(|_| ()).map_err(|_| "no process")
    })
    .await;
    begun.end_by("INT").await.code(130).says(&["stopped: 0 of the plan done"]);
    nothing_left(&project).await;
    project.write("go", "");
    project.dunlin(&["apply"]).await.code(0);
    assert_eq!(project.ask("SELECT attempts FROM dunlin.run WHERE kind = 'hook'").await, "2");
}

fn log_of(project: &Project, file: &str) -> String {
    std::fs::read_to_string(project.path(file)).unwrap_or_default()
}

/// Nobody is left of the group whose first process wrote its number down.
async fn nothing_left(project: &Project) {
    let group = log_of(project, "pid").trim().to_owned();
    support::eventually("the group is gone", Duration::from_secs(20), async || {
        let found = std::process::Command::new("sh").args(["-c", &format!("kill -s 0 -- -{group}")]).output();
        if found.is_ok_and(|output| output.status.success()) { Err("somebody is left") } else { Ok(()) }
    })
    .await;
}

/// M05, M26: hooks of an environment stand in the place of those of all; `${…}` in them is the shell's.
#[tokio::test]
async fn an_environment_has_hooks_of_its_own() {
    let settings = "hooks: {pre_apply: 'echo all ${DUNLIN_ENV} >> log', post_apply: 'echo all >> log'}\n\
                    envs:\n  staging:\n    hooks: {pre_apply: 'echo staging ${DUNLIN_ENV} >> log', post_apply: []}\n  other: {}\n";
    let project = with(&["001", "002"], settings).await;
    let apply =
        async |arguments: &[&str]| -> Ran { project.dunlin(&[&["up", "--url-overrides"], arguments].concat()).await };
    apply(&["--env", "staging"]).await.code(0);
    apply(&["--env", "other"]).await.code(0);
    has_log(&project, &["staging staging", "all other", "all"]);
    let view = project.dunlin(&["config", "view", "--env", "staging", "--url-overrides"]).await;
    view.code(0);
    assert!(view.stdout.contains("envs.staging.hooks.pre_apply"), "{}", view.stdout);
    project.write("dunlin.yaml", "hooks: {pre_aply: 'true'}\n");
    project.dunlin(&["apply"]).await.code(3).says(&["dunlin.yaml: hooks.pre_aply: is no hook: there are pre_apply"]);
}

/// A killed command forgets no post hook.
#[tokio::test]
async fn a_post_hook_that_is_due_is_not_forgotten() {
    let project = with(
        &["001"],
        "hooks: {post_apply: 'echo $DUNLIN_VERSIONS >> log; touch here; while [ ! -e go ]; do sleep 0.05; done'}\n",
    )
    .await;
    let begun = project.begin(&["apply"]);
    support::eventually("the hook runs", Duration::from_secs(20), async || {
        project.path("here").exists().then_some(()).ok_or("no file")
    })
    .await;
    begun.end_by("KILL").await;
    project.write("go", "");
    project.dunlin(&["apply", "--wait", "20s"]).await.code(0);
    has_log(&project, &["001", "001"]);
    assert_eq!(project.ask("SELECT count(*) FROM dunlin.run WHERE kind = 'apply'").await, "1");
}
