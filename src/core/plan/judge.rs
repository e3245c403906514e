//! Each migration by itself: what the history says of it, and whether a person has to say something.

use std::{borrow::Cow, fmt::Write as _};

use super::{
    Amendment, Assessment, ChecksumDrift, FailedRun, Finding, Ground,
    target::Wanted,
    words::{self, drift_message, list},
};
use crate::core::{
    desired::{Action, Desired, OnChecksumDrift, Resolution},
    history::{Recorded, Run, RunOutcome, State},
    job::{self, down_section, resume_obstacle},
    migration::{Direction, Migration, Section, TransactionMode},
    outcome::Reason,
    task::Subject,
};

/// Where a migration stands.
pub(super) enum Standing {
    /// The database has it.
    Applied,
    /// The database hasn't it.
    Pending,
    /// Its way up was cut off, and goes on, whatever the target is.
    Continuing,
    /// Its way down was cut off, and goes on, whatever the target is.
    Undoing,
}

/// Judges one migration of the source, adding drift, amendments and findings on the way.
pub(super) fn judge(
    ground: &Ground<'_>,
    wanted: &Wanted<'_>,
    migration: &Migration,
    assessment: &mut Assessment,
) -> Standing {
    let stood_for = ground.stood_for.contains(&migration.version);
    let Some(row) = ground.row(&migration.version) else {
        return if stood_for { Standing::Applied } else { Standing::Pending };
    };
    match row.state {
        State::Applied | State::Stamped | State::Replaced => {
            judge_applied(ground, migration, row, assessment);
            Standing::Applied
        }
        State::RolledBack if stood_for => Standing::Applied,
        State::RolledBack => Standing::Pending,
        State::Failed | State::Interrupted => judge_failed(ground, wanted, row, Some(migration), assessment),
    }
}

fn judge_applied(ground: &Ground<'_>, migration: &Migration, row: &Recorded, assessment: &mut Assessment) {
    if row.checksum != migration.up.checksum {
        match resolution(ground.desired, row, &[Action::AcceptChecksum]) {
            Some(resolution) => assessment.amendments.push(resolve(row, resolution)),
            None => assessment.checksum_drift.push(ChecksumDrift {
                version: row.version.clone(),
                file: migration.file.clone(),
                run: row.run.id,
                recorded: row.checksum.as_str().to_owned(),
                found: migration.up.checksum.as_str().to_owned(),
            }),
        }
    }
    // A way down is as transactional as its file.
    let is_other_way = row.mode != migration.mode && migration.down.is_some();
    if is_other_way || row.down_checksum.as_ref() != migration.down.as_ref().map(|down| &down.checksum) {
        assessment.amendments.push(Amendment::StoreDown { version: row.version.clone() });
    }
}

/// What a run that failed was to execute, as it would run now.
fn section<'a>(ground: &Ground<'a>, row: &Recorded, file: Option<&'a Migration>) -> Option<Cow<'a, Section>> {
    match row.run.direction {
        Direction::Up => file.map(|migration| Cow::Borrowed(&migration.up)),
        Direction::Down => match file.filter(|file| file.mode == row.mode).and_then(|file| file.down.as_ref()) {
            Some(down) => Some(Cow::Borrowed(down)),
            None => row.down_sql.as_deref().and_then(|stored| down_section(row, ground.dir, stored).ok()),
        },
    }
}

/// A run that failed or was interrupted: what holds the set up, unless something has changed or a person has decided.
fn judge_failed(
    ground: &Ground<'_>,
    wanted: &Wanted<'_>,
    row: &Recorded,
    file: Option<&Migration>,
    assessment: &mut Assessment,
) -> Standing {
    let desired = ground.desired;
    let (held, going_on) = match row.run.direction {
        Direction::Up => (Standing::Pending, Standing::Continuing),
        // What is left of it is the database's, until a person says otherwise.
        Direction::Down => (Standing::Applied, Standing::Undoing),
    };
    let mode = match row.run.direction {
        Direction::Up => file.map_or(row.mode, |migration| migration.mode),
        Direction::Down => row.mode,
    };
    let section = section(ground, row, file);
    let described = words::file(row);
    if let (Direction::Down, Some(down)) = (row.run.direction, file.and_then(|migration| migration.down.as_ref()))
        && row.down_checksum.as_ref() != Some(&down.checksum)
    {
        assessment.amendments.push(Amendment::StoreDown { version: row.version.clone() });
    }
    match (row.mode, row.run.outcome) {
        // The run was cut off; whoever holds the lock proves what happened, and goes on or says that it can't.
        (_, RunOutcome::Running) if section.is_some() && mode == row.mode => going_on,
        (_, RunOutcome::Retrying | RunOutcome::Succeeded) => held,
        (TransactionMode::Transactional, RunOutcome::Failed | RunOutcome::Interrupted | RunOutcome::Running) => {
            // It was rolled back whole: without its file there is nothing left of it, and where it isn't wanted, nothing
            // to be said.
            let Some(section) = section.filter(|_| wanted.wants(ground, row)) else { return held };
            if row.run.inputs != job::inputs(row.run.direction, &section.checksum, mode, &desired.session)
                || row.run.resolution == Some(Action::Retry)
            {
                return held;
            }
            if let Some(resolution) = resolution(desired, row, &[Action::Retry]) {
                assessment.amendments.push(resolve(row, resolution));
            } else {
                let message = words::transactional(row, &row.run, &[Action::Retry], desired);
                assessment.findings.push(failed(row, &row.run, Reason::MigrationFailed, message));
            }
            held
        }
        (TransactionMode::NonTransactional, RunOutcome::Failed | RunOutcome::Interrupted | RunOutcome::Running) => {
            if row.run.resolution == Some(Action::Retry) && section.is_some() {
                return going_on;
            }
            let obstacle = match &section {
                Some(section) => resume_obstacle(&described, mode, section, row),
                None => Some("its file is no longer in the source".to_owned()),
            };
            if row.run.resolution == Some(Action::Resume) && obstacle.is_none() {
                return going_on;
            }
            let mut offered = Vec::new();
            if section.is_some() {
                offered.push(Action::Retry);
            }
            if obstacle.is_none() {
                offered.push(Action::Resume);
            }
            offered.extend([Action::MarkApplied, Action::MarkRolledBack]);
            if let Some(resolution) = resolution(desired, row, &offered) {
                assessment.amendments.push(resolve(row, resolution));
            } else {
                let reason = match row.run.outcome {
                    RunOutcome::Failed => Reason::NonTransactionalFailed,
                    _ => Reason::Interrupted,
                };
                let message = words::ways_out(row, obstacle.as_deref(), &offered, desired);
                assessment.findings.push(failed(row, &row.run, reason, message));
            }
            held
        }
    }
}

/// A migration of the history that has no file.
pub(super) fn judge_without_file(
    ground: &Ground<'_>,
    wanted: &Wanted<'_>,
    row: &Recorded,
    assessment: &mut Assessment,
) -> Standing {
    if !matches!(row.state, State::Failed | State::Interrupted) || row.mode == TransactionMode::Transactional {
        return Standing::Pending;
    }
    // What a way up did whose file isn't there is proven by nobody: a person knows. A way down is in the history.
    judge_failed(ground, wanted, row, None, assessment)
}

pub(super) fn find_drift(ground: &Ground<'_>, assessment: &mut Assessment) {
    match ground.desired.policy.on_checksum_drift {
        OnChecksumDrift::Block if !assessment.checksum_drift.is_empty() => {
            let mut message = drift_message(&assessment.checksum_drift);
            if let Some(row) = assessment.checksum_drift.first().and_then(|drift| ground.row(&drift.version)) {
                message.push_str(&words::decide(ground.desired, row, Action::AcceptChecksum));
                let _ = write!(
                    message,
                    "; {}: Report only tells of it",
                    words::field(ground.desired, "policy.onChecksumDrift")
                );
            }
            message.push_str(&unfit_for_drift(ground.desired, &assessment.checksum_drift));
            assessment.findings.push(Finding { reason: Reason::ChecksumDrift, message, failure: None });
        }
        OnChecksumDrift::Block | OnChecksumDrift::Report => {}
    }
}

/// Says of a decision about a drifted run, other than the one that there is, why it is not followed.
fn unfit_for_drift(desired: &Desired, drift: &[ChecksumDrift]) -> String {
    let mut text = String::new();
    for resolution in &desired.resolutions {
        let of_this = |drift: &&ChecksumDrift| {
            drift.run == resolution.run
                && resolution.version.as_ref().is_none_or(|version| *version == drift.version)
                && resolution.action != Action::AcceptChecksum
        };
        if let Some(drift) = drift.iter().find(of_this) {
            let _ = write!(
                text,
                "\n{} asks for {:?}, which is not possible for run {}: it was applied, and its file edited since",
                resolution.place(),
                resolution.action,
                drift.run
            );
        }
    }
    text
}

/// The first resolution that names this run, and whose action is offered for it.
pub(super) fn resolution<'a>(desired: &'a Desired, row: &Recorded, offered: &[Action]) -> Option<&'a Resolution> {
    resolution_of(desired, row, row.run.id, offered)
}

/// The same of another run of that migration.
pub(super) fn resolution_of<'a>(
    desired: &'a Desired,
    row: &Recorded,
    run: i64,
    offered: &[Action],
) -> Option<&'a Resolution> {
    desired.resolutions.iter().find(|resolution| {
        resolution.run == run
            && resolution.version.as_ref().is_none_or(|version| *version == row.version)
            && offered.contains(&resolution.action)
    })
}

pub(super) fn resolve(row: &Recorded, resolution: &Resolution) -> Amendment {
    Amendment::Resolve {
        version: row.version.clone(),
        run: resolution.run,
        action: resolution.action,
        by: resolution.by.clone(),
    }
}

pub(super) fn failed(row: &Recorded, run: &Run, reason: Reason, message: String) -> Finding {
    Finding {
        reason,
        message,
        failure: Some(FailedRun {
            run: run.id,
            subject: Subject::Migration {
                version: row.version.clone(),
                name: row.name.clone(),
                direction: run.direction,
            },
            mode: row.mode,
            error: run.error.clone().unwrap_or_default(),
            statements_applied: run.statements_done,
            at: run.finished_at.clone(),
        }),
    }
}

/// Says of a resolution that means this migration, but doesn't fit, why it is not followed.
pub(super) fn misdirected(row: &Recorded, desired: &Desired, offered: &[Action]) -> String {
    misdirected_at(row, row.run.id, desired, offered)
}

/// The same of another run of that migration.
pub(super) fn misdirected_at(row: &Recorded, run: i64, desired: &Desired, offered: &[Action]) -> String {
    let mut text = String::new();
    for resolution in &desired.resolutions {
        if resolution.run == run && !offered.contains(&resolution.action) {
            let _ = write!(
                text,
                "\n{} asks for {:?}, which is not possible for run {run}",
                resolution.place(),
                resolution.action
            );
        } else if resolution.run != run && resolution.version.as_ref() == Some(&row.version) {
            let _ = write!(
                text,
                "\n{} names run {} of {}; the run that waits is {run}",
                resolution.place(),
                resolution.run,
                row.version
            );
        }
    }
    text
}

/// Says of a decision that names only a run, and none of those that wait, that nothing follows from it.
pub(super) fn find_misdirected(desired: &Desired, assessment: &mut Assessment) {
    let failed = assessment.findings.iter().filter_map(|finding| finding.failure.as_ref()).map(|failed| failed.run);
    let drifted = assessment.checksum_drift.iter().map(|drift| drift.run);
    let mut waiting: Vec<i64> = failed.chain(drifted).chain(assessment.undecided.iter().copied()).collect();
    waiting.sort_unstable();
    waiting.dedup();
    let decided = |run: i64| {
        let is_it = |amendment: &Amendment| matches!(amendment, Amendment::Resolve { run: other, .. } | Amendment::RetryTask { run: other, .. } if *other == run);
        assessment.amendments.iter().any(is_it)
    };
    let lost: Vec<&Resolution> = desired
        .resolutions
        .iter()
        .filter(|resolution| resolution.version.is_none() && !decided(resolution.run))
        .filter(|resolution| !waiting.contains(&resolution.run))
        .collect();
    let is_of_a_run = |finding: &&mut Finding| {
        finding.failure.is_some()
            || matches!(finding.reason, Reason::ChecksumDrift | Reason::MissingMigration | Reason::NoDownMigration)
    };
    for finding in assessment.findings.iter_mut().filter(is_of_a_run) {
        for resolution in &lost {
            let (place, run) = (resolution.place(), resolution.run);
            let waits = list(waiting.iter());
            let _ = match waiting.len() {
                1 => write!(finding.message, "\n{place} names run {run}; the run that waits is {waits}"),
                _ => write!(finding.message, "\n{place} names run {run}; the runs that wait are {waits}"),
            };
        }
    }
}
