//! Seeds and hooks that failed: what a person has decided about them, and what is said of those that wait.

use std::collections::HashMap;

use super::{Amendment, Assessment, FailedRun, Finding, Ground, words};
use crate::core::{
    desired::{Action, Desired, Resolution},
    history::{History, RecordedSeed},
    migration::TransactionMode,
    outcome::Reason,
    seed::Mode,
    task::{Subject, TaskKind, TaskRun},
};

/// Which seeds are due, once the schema is complete: in their order, up to one that failed and waits, which holds up all
/// behind it.
pub(super) fn find_seeds(ground: &Ground<'_>, assessment: &mut Assessment) {
    let Ground { desired, history, .. } = ground;
    let recorded: HashMap<&str, &RecordedSeed> = history.seeds.iter().map(|row| (row.name.as_str(), row)).collect();
    let is_complete = assessment.pending == 0 && assessment.plan.steps.is_empty();
    for seed in desired.seeds.iter().filter(|seed| !seed.is_empty()) {
        match recorded.get(seed.path.as_str()) {
            Some(row) if row.checksum == seed.checksum.as_str() => assessment.seeded += 1,
            Some(_) if seed.mode == Mode::Once => {
                assessment.seeded += 1;
                assessment.seeds_edited.push(seed.path.clone());
            }
            _ if !is_complete => {}
            _ => match waiting(ground, TaskKind::Seed, &seed.path, seed.checksum.as_str())
                .filter(|task| is_last(history, task))
            {
                None => assessment.seeds.push(seed.path.clone()),
                Some(task) => {
                    // What is due before it may be what it lacks.
                    if assessment.findings.is_empty() && assessment.seeds.is_empty() {
                        assessment.findings.push(failed(desired, task, TransactionMode::Transactional));
                    }
                    return;
                }
            },
        }
    }
}

/// Whether nothing has changed the database since a seed failed: neither a migration nor another seed.
fn is_last(history: &History, task: &TaskRun) -> bool {
    let migrations = history.migrations.iter().map(|row| row.run.id);
    let seeds = history.seeds.iter().map(|row| row.run);
    migrations.chain(seeds).all(|run| run < task.run)
}

/// Takes a person's `Retry` of any run of a seed or hook that failed.
pub(super) fn take_decisions(ground: &Ground<'_>, assessment: &mut Assessment) {
    for task in ground.history.tasks.iter().filter(|task| task.is_undecided()) {
        let retry = decisions(ground.desired, task).find(|resolution| resolution.action == Action::Retry);
        if let Some(Resolution { run, by, .. }) = retry {
            assessment.amendments.push(Amendment::RetryTask { run: *run, by: by.clone() });
        }
    }
}

/// What was decided about that run, whatever it is.
fn decisions<'a>(desired: &'a Desired, task: &TaskRun) -> impl Iterator<Item = &'a Resolution> {
    let by_key = desired.task_resolutions.iter().filter(|named| named.key == task.key).map(|named| &named.resolution);
    let by_run = desired.resolutions.iter().filter(|resolution| resolution.version.is_none());
    let run = task.run;
    by_run.chain(by_key).filter(move |resolution| resolution.run == run)
}

/// The failed run of this very text, about which nobody has said anything: it doesn't run again by itself.
pub(super) fn waiting<'a>(ground: &Ground<'a>, kind: TaskKind, key: &str, checksum: &str) -> Option<&'a TaskRun> {
    let is_it = |task: &&TaskRun| task.kind == kind && task.key == key && task.checksum == checksum;
    let task = ground.history.tasks.iter().find(is_it).filter(|task| task.is_undecided())?;
    decisions(ground.desired, task).all(|resolution| resolution.action != Action::Retry).then_some(task)
}

/// What is said of a run that waits. `mode` says whether anything of it may have been kept.
pub(super) fn failed(desired: &Desired, task: &TaskRun, mode: TransactionMode) -> Finding {
    let TaskRun { kind, key, run, error, finished_at, .. } = task;
    let reason = match kind {
        TaskKind::Seed => Reason::SeedFailed,
        TaskKind::Hook => Reason::HookFailed,
    };
    let misfits = decisions(desired, task).filter(|resolution| resolution.action != Action::Retry);
    let message = words::task_failed(desired, task, mode, misfits);
    Finding {
        reason,
        message,
        failure: Some(FailedRun {
            run: *run,
            subject: Subject::Task { kind: *kind, key: key.clone() },
            mode,
            error: error.clone().unwrap_or_default(),
            statements_applied: 0,
            at: finished_at.clone(),
        }),
    }
}
