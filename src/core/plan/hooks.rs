//! Hooks: which are to run before the steps, which are due by themselves, and which failed and wait for a person.
//!
//! A hook that runs after a plan has an open run from before the plan's first step on, so that no crash makes it forgotten:
//! it is due when nothing is left to run and something has moved since. Nothing here makes a migration run again.

use std::fmt::Write as _;

use super::{Assessment, FailedRun, Finding, Ground, tasks, words};
use crate::core::{
    desired::{Action, Audience, Target},
    history::{History, Recorded, RunOutcome, State},
    hook::{Context, Hook, HookRun, Key, Outcome, Place},
    migration::{Direction, TransactionMode},
    task::{Subject, TaskKind, TaskRun},
};

/// The hooks of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanHooks {
    /// Those to run before the plan's steps, in order.
    pub before: Vec<DueHook>,
    /// Those that are due whether or not there are steps: after a plan, or after a failure, in order.
    pub due: Vec<DueHook>,
    /// Those to run after the plan's steps, to be written down before these.
    pub after: Vec<LaterHook>,
}

/// A hook that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueHook {
    /// What it is told.
    pub context: Context,
    /// Checksum of what it does.
    pub checksum: String,
    /// The run that is open for it, and how often that was begun; None: it has a new one.
    pub open: Option<(i64, i64)>,
    /// The first batch that it runs for; None: that of the plan.
    pub batch: Option<i64>,
}

/// A hook that is to run after the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterHook {
    /// Which hook.
    pub key: Key,
    /// Which way the steps go after which it runs.
    pub direction: Direction,
    /// Checksum of what it does.
    pub checksum: String,
    /// The run that is open for it already, and how often that was begun.
    pub open: Option<(i64, i64)>,
    /// The first batch that it runs for; None: that of the plan.
    pub batch: Option<i64>,
}

/// Says which hooks are to run, and which failed ones hold the set up.
pub(super) fn judge(ground: &Ground<'_>, assessment: &mut Assessment) {
    // Decisions alone are written down, and nothing runs.
    if ground.desired.target == Target::Stay {
        return;
    }
    judge_failure(ground, assessment);
    judge_after(ground, assessment);
    judge_before(ground, assessment);
}

/// What is to run before the plan's steps, ways down first, as they run.
fn judge_before(ground: &Ground<'_>, assessment: &mut Assessment) {
    let Ground { desired, history, .. } = ground;
    let plan = assessment.plan.digest().to_string();
    let settled = last_settled(history);
    for direction in [Direction::Down, Direction::Up] {
        let steps = assessment.plan.steps.iter().filter(|step| step.direction == direction);
        let versions: Vec<String> = steps.map(|step| step.version.to_string()).collect();
        if versions.is_empty() {
            continue;
        }
        for (key, hook) in desired.hooks.keyed(Place::before(direction)) {
            let checksum = hook.checksum();
            if let Some(task) = waiting(ground, key, &checksum) {
                let says = "Nothing of the plan was run";
                assessment.findings.push(finding(ground, task, says));
                break;
            }
            let last = last(history, key);
            let has_run = |run: &HookRun| {
                run.outcome == RunOutcome::Succeeded
                    && run.checksum == checksum
                    && run.plan == plan
                    && run.run > settled
            };
            if last.is_some_and(has_run) {
                continue;
            }
            let context = Context { key, direction, versions: versions.clone(), plan: plan.clone(), outcome: None };
            let open = last.filter(|run| run.outcome == RunOutcome::Running).map(|run| (run.run, run.attempts));
            assessment.hooks.before.push(DueHook { context, checksum, open, batch: None });
        }
        let later =
            desired.hooks.keyed(Place::after(direction)).map(|(key, hook)| later(history, key, hook, direction));
        assessment.hooks.after.extend(later);
    }
}

/// What is to be written down of a hook that runs after the steps: what an earlier plan left to it, it runs for as well.
fn later(history: &History, key: Key, hook: &Hook, direction: Direction) -> LaterHook {
    let last = last(history, key).filter(|run| run.outcome != RunOutcome::Succeeded);
    let open = last.filter(|run| run.outcome == RunOutcome::Running).map(|run| (run.run, run.attempts));
    LaterHook { key, direction, checksum: hook.checksum(), open, batch: last.map(|run| run.batch) }
}

/// What is due after the steps of a plan, all of which have run, and the seeds behind them.
fn judge_after(ground: &Ground<'_>, assessment: &mut Assessment) {
    let Ground { desired, history, .. } = ground;
    let left = !assessment.plan.steps.is_empty() || !assessment.seeds.is_empty();
    if left || !assessment.findings.is_empty() {
        return;
    }
    for direction in [Direction::Down, Direction::Up] {
        for (key, hook) in desired.hooks.keyed(Place::after(direction)) {
            let Some(last) = last(history, key).filter(|run| run.outcome != RunOutcome::Succeeded) else { continue };
            let versions = moved(history, direction, last.batch);
            if versions.is_empty() {
                continue;
            }
            let checksum = hook.checksum();
            if let Some(task) = waiting(ground, key, &checksum) {
                let says = "The migrations that it runs after are in the database, and none of them runs again";
                assessment.findings.push(finding(ground, task, says));
                break;
            }
            let outcome = Some(Outcome::Succeeded);
            let context = Context { key, direction, versions, plan: last.plan.clone(), outcome };
            let open = (last.outcome == RunOutcome::Running).then_some((last.run, last.attempts));
            assessment.hooks.due.push(DueHook { context, checksum, open, batch: Some(last.batch) });
        }
    }
}

/// What is due after a migration has failed: once for each failure, whoever saw it. That it failed as well is told beside
/// the migration's failure.
fn judge_failure(ground: &Ground<'_>, assessment: &mut Assessment) {
    let Ground { desired, history, .. } = ground;
    let Assessment { findings, hooks, undecided, .. } = assessment;
    let of_a_migration = |finding: &&mut Finding| {
        finding.failure.as_ref().is_some_and(|failed| matches!(failed.subject, Subject::Migration { .. }))
    };
    let finding = findings.iter_mut().filter(of_a_migration).min_by_key(|finding| finding.reason.precedence());
    let Some(Finding { failure: Some(FailedRun { run, subject, error, .. }), message, .. }) = finding else { return };
    let Subject::Migration { version, direction, .. } = &*subject else { return };
    for (key, hook) in desired.hooks.keyed(Place::OnFailure) {
        let checksum = hook.checksum();
        let last = last(history, key);
        if let Some(last) = last.filter(|last| last.run > *run && last.outcome != RunOutcome::Running) {
            if last.outcome == RunOutcome::Succeeded {
                continue;
            }
            if let Some(failed) = waiting_whoever_asks(ground, key, &checksum) {
                message.push_str(&beside(ground, failed));
                undecided.push(failed.run);
                break;
            }
        }
        let failed = Outcome::Failed { version: version.to_string(), run: *run, sqlstate: error.sqlstate.clone() };
        let context = Context {
            key,
            direction: *direction,
            versions: vec![version.to_string()],
            plan: String::new(),
            outcome: Some(failed),
        };
        let open = last.filter(|last| last.outcome == RunOutcome::Running).map(|last| (last.run, last.attempts));
        hooks.due.push(DueHook { context, checksum, open, batch: None });
    }
}

fn beside(ground: &Ground<'_>, failed: &TaskRun) -> String {
    let why = failed.error.as_ref().map_or("no error was recorded", |error| &error.message);
    let mut text = format!("\nBeside that, {why} (run {})", failed.run);
    let again = words::annotate(ground.desired, failed.run, Action::Retry);
    let _ = write!(text, "; run it again with: {again}");
    text
}

/// The failed run of this very hook, about which nobody has said anything. By hand it waits for nobody: whoever runs a
/// command again wants what it does.
fn waiting<'a>(ground: &Ground<'a>, key: Key, checksum: &str) -> Option<&'a TaskRun> {
    match ground.desired.audience {
        Audience::MigrationSet => waiting_whoever_asks(ground, key, checksum),
        Audience::CommandLine => None,
    }
}

fn waiting_whoever_asks<'a>(ground: &Ground<'a>, key: Key, checksum: &str) -> Option<&'a TaskRun> {
    tasks::waiting(ground, TaskKind::Hook, &key.to_string(), checksum)
}

fn finding(ground: &Ground<'_>, task: &TaskRun, says: &str) -> Finding {
    let mut finding = tasks::failed(ground.desired, task, TransactionMode::NonTransactional);
    finding.message.push('\n');
    finding.message.push_str(says);
    finding
}

fn last(history: &History, key: Key) -> Option<&HookRun> {
    history.hooks.iter().find(|run| run.key == key)
}

/// The last run after which what ran before it counts no more for a plan: of a migration, or of a hook that failed. What is
/// tried again by itself is no such run.
fn last_settled(history: &History) -> i64 {
    let migrations = history.migrations.iter().map(|row| row.run.id);
    let undoing = history.undoing.iter().map(|(_, run)| run.id);
    let failed = history.hooks.iter().filter(|run| {
        let is_before = matches!(run.key.place, Place::PreApply | Place::PreRollback);
        is_before && matches!(run.outcome, RunOutcome::Failed | RunOutcome::Interrupted)
    });
    migrations.chain(undoing).chain(failed.map(|run| run.run)).max().unwrap_or(0)
}

/// What plans from this batch on have applied or undone, and is as they left it, in the order in which it ran.
fn moved(history: &History, direction: Direction, batch: i64) -> Vec<String> {
    let is_moved = |row: &&Recorded| {
        let state = match direction {
            Direction::Up => row.state == State::Applied,
            Direction::Down => row.state == State::RolledBack,
        };
        state && row.batch >= batch
    };
    let mut rows: Vec<&Recorded> = history.migrations.iter().filter(is_moved).collect();
    rows.sort_by_key(|row| row.run.id);
    rows.into_iter().map(|row| row.version.to_string()).collect()
}
