//! Directory × history → what to do, or why not. A pure verdict; the same for operator and command line.
//!
//! Nothing here trusts a status or a memory: the history is the only witness of what was done.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use sha2::{Digest as _, Sha256};

use super::{
    bundle::{Digest, hexadecimal},
    desired::{Action, Desired, OnChecksumDrift, OnMissing, OutOfOrder, Resolution, SessionSettings, TransactionScope},
    history::{History, Recorded, RunError, RunOutcome, State},
    migration::{Migration, MigrationDir, TransactionMode, Version},
    outcome::Reason,
    sql::{Script, SessionEffect},
};

/// The verdict on a directory and a history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assessment {
    /// What holds the plan up, strongest first by the precedence of reasons. Empty: the plan may run.
    pub findings: Vec<Finding>,
    /// What to run, in order. Also there when findings hold it up.
    pub plan: Plan,
    /// Applied migrations whose file was edited, whatever the policy.
    pub checksum_drift: Vec<ChecksumDrift>,
    /// Versions that the database has and the source has not.
    pub missing: Vec<Version>,
    /// Writes to the history that need no migration to run: edited down sections, resolutions, replaced migrations.
    pub amendments: Vec<Amendment>,
    /// The highest applied version in the set's order.
    pub version: Option<Version>,
    /// Versions of the source that the database has.
    pub applied: usize,
    /// Versions of the source that it has not.
    pub pending: usize,
}

/// Why a plan may not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The reason of Ready.
    pub reason: Reason,
    /// What, where, and the ways out.
    pub message: String,
    /// For failed and interrupted runs.
    pub failure: Option<FailedRun>,
}

/// What `status.failure` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    /// The run's number, which a resolution names.
    pub run: i64,
    /// The migration's version.
    pub version: Version,
    /// The migration's name.
    pub name: String,
    /// Transactional or not.
    pub mode: TransactionMode,
    /// What went wrong.
    pub error: RunError,
    /// Statements of a non-transactional run that are done.
    pub statements_applied: u32,
    /// When, RFC 3339 in UTC.
    pub at: Option<String>,
}

/// An applied migration whose up section is not what was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumDrift {
    /// The version.
    pub version: Version,
    /// The file.
    pub file: String,
    /// The run that applied or last accepted it, which `AcceptChecksum` names.
    pub run: i64,
    /// The checksum in the history.
    pub recorded: String,
    /// The checksum of the source.
    pub found: String,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps in order.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The migration.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// Up or down.
    pub direction: Direction,
    /// Transactional or not.
    pub mode: TransactionMode,
    /// Checksum of the section that runs.
    pub checksum: String,
}

/// Which way a migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Direction {
    Up,
    Down,
}

/// A write to the history alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// The source holds another down section than the history.
    StoreDown {
        /// The migration.
        version: Version,
    },
    /// All that this migration replaces is applied: it is recorded without running.
    Replace {
        /// The migration that stands for others.
        version: Version,
        /// Those others, as the history spells them.
        replaced: Vec<Version>,
    },
    /// A person decided.
    Resolve {
        /// The migration, as the history spells it.
        version: Version,
        /// The run decided about.
        run: i64,
        /// What was decided.
        action: Action,
        /// Where it was said.
        by: String,
    },
}

/// Compares the source with the history under a policy.
#[must_use]
pub fn plan(dir: &MigrationDir, history: &History, desired: &Desired) -> Assessment {
    let recorded: HashMap<&Version, &Recorded> = history.migrations.iter().map(|row| (&row.version, row)).collect();
    let mut assessment = Assessment::default();
    let mut highest_position = None;
    let replaced: HashSet<&Version> = dir.migrations().iter().flat_map(|migration| migration.replaces.iter()).collect();

    for (position, migration) in dir.migrations().iter().enumerate() {
        let row = recorded.get(&migration.version).copied();
        match judge(migration, row, desired, &mut assessment) {
            Standing::Applied => {
                assessment.applied += 1;
                highest_position = Some(position);
                assessment.version = Some(migration.version.clone());
            }
            Standing::Pending => {
                assessment.pending += 1;
                pend(migration, dir, &recorded, &mut assessment);
            }
        }
    }

    assessment.missing = history
        .migrations
        .iter()
        .filter(|row| row.state.is_applied() && dir.get(&row.version).is_none() && !replaced.contains(&row.version))
        .map(|row| row.version.clone())
        .collect();
    assessment.missing.sort();
    if let Some(last) = assessment.missing.last()
        && assessment.version.as_ref().is_none_or(|version| version < last)
    {
        assessment.version = Some(last.clone());
    }

    for row in &history.migrations {
        if dir.get(&row.version).is_none() {
            judge_without_file(row, desired, &mut assessment);
        }
    }
    find_missing(desired, &mut assessment);
    find_drift(desired, &mut assessment);
    find_out_of_order(dir, &recorded, highest_position, desired, &mut assessment);
    find_mixed_single(dir, desired, &mut assessment);
    find_misdirected(desired, &mut assessment);
    assessment.findings.sort_by_key(|finding| finding.reason.precedence());
    assessment
}

/// Checksum over a section and what it runs with: when it changes, a failed migration is tried again.
#[must_use]
pub fn inputs(migration: &Migration, session: &SessionSettings) -> String {
    let mut hash = Sha256::new();
    hash.update(migration.up.checksum.as_str());
    hash.update([0, u8::from(migration.mode == TransactionMode::Transactional), 0]);
    hash.update(session.role.as_deref().unwrap_or_default());
    for schema in &session.search_path {
        hash.update([0]);
        hash.update(schema);
    }
    hexadecimal(&hash.finalize())
}

/// Hash over the first `count` statements of a section, for `dunlin.statement.prefix_sha256`.
#[must_use]
pub fn prefix_hash(text: &str, script: &Script, count: usize) -> String {
    let mut hash = Sha256::new();
    for statement in script.statements.iter().take(count) {
        hash.update(text[statement.span.clone()].replace("\r\n", "\n"));
        if let Some(data) = &statement.copy_data {
            hash.update([1]);
            hash.update(text[data.clone()].replace("\r\n", "\n"));
        }
        hash.update([0]);
    }
    hexadecimal(&hash.finalize())
}

/// Why `Resume` is not offered for a run, if it isn't.
#[must_use]
pub fn resume_obstacle(migration: &Migration, row: &Recorded) -> Option<String> {
    if migration.mode == TransactionMode::Transactional {
        return Some(format!("{} is no longer marked no-transaction", migration.file));
    }
    let done = row.run.statements_done as usize;
    let statements = &migration.up.script.statements;
    if done > 0 {
        let unchanged = statements.len() >= done
            && row.run.prefix.as_deref() == Some(prefix_hash(&migration.up.text, &migration.up.script, done).as_str());
        if !unchanged {
            return Some(format!("{} was edited within the {done} statements that already ran", migration.file));
        }
    }
    statements.iter().take(done).position(|statement| statement.session == SessionEffect::State).map(|index| {
        format!(
            "statement {} (line {}) left state in the session that can't be made again",
            index + 1,
            migration.up.first_line + statements[index].line
        )
    })
}

enum Standing {
    Applied,
    Pending,
}

/// Judges one migration of the source, adding drift, amendments and findings on the way.
fn judge(migration: &Migration, row: Option<&Recorded>, desired: &Desired, assessment: &mut Assessment) -> Standing {
    let Some(row) = row else { return Standing::Pending };
    match row.state {
        State::Applied | State::Stamped | State::Replaced => {
            judge_applied(migration, row, desired, assessment);
            Standing::Applied
        }
        State::RolledBack => Standing::Pending,
        State::Failed | State::Interrupted => {
            judge_failed(Some(migration), row, desired, assessment);
            Standing::Pending
        }
    }
}

fn judge_applied(migration: &Migration, row: &Recorded, desired: &Desired, assessment: &mut Assessment) {
    if row.checksum != migration.up.checksum {
        match resolution(desired, row, &[Action::AcceptChecksum]) {
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
    if row.down_checksum.as_ref() != migration.down.as_ref().map(|down| &down.checksum) {
        assessment.amendments.push(Amendment::StoreDown { version: row.version.clone() });
    }
}

/// A run that failed or was interrupted: what holds the set up, unless something has changed or a person has decided.
fn judge_failed(migration: Option<&Migration>, row: &Recorded, desired: &Desired, assessment: &mut Assessment) {
    match (row.mode, row.run.outcome) {
        // The run was cut off; whoever holds the lock proves what happened, and goes on or says that it can't.
        (_, RunOutcome::Running) if migration.is_some_and(|migration| migration.mode == row.mode) => {}
        (_, RunOutcome::Retrying | RunOutcome::Succeeded) => {}
        (TransactionMode::Transactional, RunOutcome::Failed | RunOutcome::Interrupted | RunOutcome::Running) => {
            // It was rolled back whole: without its file there is nothing left of it.
            let Some(migration) = migration else { return };
            if row.run.inputs != inputs(migration, &desired.session) || row.run.resolution == Some(Action::Retry) {
                return;
            }
            match resolution(desired, row, &[Action::Retry]) {
                Some(resolution) => assessment.amendments.push(resolve(row, resolution)),
                None => {
                    assessment.findings.push(failed(row, Reason::MigrationFailed, transactional_message(row, desired)));
                }
            }
        }
        (TransactionMode::NonTransactional, RunOutcome::Failed | RunOutcome::Interrupted | RunOutcome::Running) => {
            if row.run.resolution == Some(Action::Retry) && migration.is_some() {
                return;
            }
            let obstacle = migration.map_or_else(
                || Some("its file is no longer in the source".to_owned()),
                |migration| resume_obstacle(migration, row),
            );
            if row.run.resolution == Some(Action::Resume) && obstacle.is_none() {
                return;
            }
            let mut offered = vec![Action::MarkApplied, Action::MarkRolledBack];
            if migration.is_some() {
                offered.push(Action::Retry);
            }
            if obstacle.is_none() {
                offered.push(Action::Resume);
            }
            if let Some(resolution) = resolution(desired, row, &offered) {
                assessment.amendments.push(resolve(row, resolution));
            } else {
                let reason = match row.run.outcome {
                    RunOutcome::Failed => Reason::NonTransactionalFailed,
                    _ => Reason::Interrupted,
                };
                let message = ways_out(row, obstacle.as_deref(), migration.is_some(), desired);
                assessment.findings.push(failed(row, reason, message));
            }
        }
    }
}

fn judge_without_file(row: &Recorded, desired: &Desired, assessment: &mut Assessment) {
    if !matches!(row.state, State::Failed | State::Interrupted) || row.mode == TransactionMode::Transactional {
        return;
    }
    // Nobody can prove what a file did that isn't there: a person can.
    judge_failed(None, row, desired, assessment);
}

/// Puts a pending migration into the plan, unless it stands for others that are applied.
fn pend(
    migration: &Migration,
    dir: &MigrationDir,
    recorded: &HashMap<&Version, &Recorded>,
    assessment: &mut Assessment,
) {
    let applied = |version: &&Version| recorded.get(version).is_some_and(|row| row.state.is_applied());
    if !migration.replaces.is_empty() {
        if migration.replaces.iter().all(|version| applied(&version)) {
            let spelled = |version: &Version| recorded.get(version).map_or(version, |row| &row.version).clone();
            assessment.amendments.push(Amendment::Replace {
                version: spelled(&migration.version),
                replaced: migration.replaces.iter().map(spelled).collect(),
            });
            return;
        }
        // The old files are still in the source: they run first, and this one is recorded after them.
        if migration.replaces.iter().all(|version| applied(&version) || dir.get(version).is_some()) {
            return;
        }
        if migration.replaces.iter().any(|version| applied(&version)) {
            let lacking: Vec<&str> =
                migration.replaces.iter().filter(|version| !applied(version)).map(Version::as_str).collect();
            assessment.findings.push(Finding {
                reason: Reason::MissingMigration,
                message: format!(
                    "{} replaces migrations of which the database has only some; it lacks {}: put their files back until they are applied",
                    migration.file,
                    lacking.join(", ")
                ),
                failure: None,
            });
        }
    }
    assessment.plan.steps.push(Step {
        version: migration.version.clone(),
        name: migration.name.clone(),
        direction: Direction::Up,
        mode: migration.mode,
        checksum: migration.up.checksum.as_str().to_owned(),
    });
}

fn find_missing(desired: &Desired, assessment: &mut Assessment) {
    match desired.policy.on_missing {
        OnMissing::Block if !assessment.missing.is_empty() => assessment.findings.push(Finding {
            reason: Reason::MissingMigration,
            message: format!(
                "the database has {}, which the source has not: put the file back, or set policy.onMissing to Ignore",
                list(assessment.missing.iter().map(Version::as_str))
            ),
            failure: None,
        }),
        OnMissing::Block | OnMissing::Ignore => {}
    }
}

fn find_drift(desired: &Desired, assessment: &mut Assessment) {
    match desired.policy.on_checksum_drift {
        OnChecksumDrift::Block if !assessment.checksum_drift.is_empty() => {
            assessment.findings.push(Finding {
                reason: Reason::ChecksumDrift,
                message: drift_message(&assessment.checksum_drift)
                    + &unfit_for_drift(desired, &assessment.checksum_drift),
                failure: None,
            });
        }
        OnChecksumDrift::Block | OnChecksumDrift::Report => {}
    }
}

/// Names every drifted file, both checksums shortened, and the ways out.
#[must_use]
pub fn drift_message(drift: &[ChecksumDrift]) -> String {
    let files = list(drift.iter().map(|drift| {
        format!(
            "{} (run {}: {}, now {})",
            drift.file,
            drift.run,
            drift.recorded.get(..12).unwrap_or(&drift.recorded),
            drift.found.get(..12).unwrap_or(&drift.found)
        )
    }));
    let example = drift.first().map_or_else(String::new, |drift| {
        format!(", as {{version: \"{}\", run: {}, action: AcceptChecksum}}", drift.version, drift.run)
    });
    format!(
        "edited after it was applied: {files}. Put the applied text back and write a new migration, or accept the edit with spec.resolutions{example}"
    )
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

fn find_out_of_order(
    dir: &MigrationDir,
    recorded: &HashMap<&Version, &Recorded>,
    highest_position: Option<usize>,
    desired: &Desired,
    assessment: &mut Assessment,
) {
    if desired.policy.out_of_order == OutOfOrder::Allow {
        return;
    }
    let last_missing = assessment.missing.last();
    let late: Vec<String> = assessment
        .plan
        .steps
        .iter()
        // A migration that the history knows was in order when it first ran.
        .filter(|step| !recorded.contains_key(&step.version))
        .filter(|step| {
            dir.position(&step.version) < highest_position || last_missing.is_some_and(|last| step.version < *last)
        })
        .map(|step| format!("{}_{}", step.version, step.name))
        .collect();
    if late.is_empty() {
        return;
    }
    let newest = assessment.version.as_ref().map_or("", Version::as_str);
    assessment.findings.push(Finding {
        reason: Reason::OutOfOrder,
        message: format!(
            "{} would run after {newest}, which is newer and already applied: give it a newer version, or set policy.outOfOrder to Allow",
            list(late.iter())
        ),
        failure: None,
    });
}

fn find_mixed_single(dir: &MigrationDir, desired: &Desired, assessment: &mut Assessment) {
    if desired.policy.transaction == TransactionScope::PerMigration {
        return;
    }
    let outside = assessment.plan.steps.iter().find(|step| step.mode == TransactionMode::NonTransactional);
    if let Some(step) = outside {
        let message = format!(
            "spec.policy.transaction is Single, but {}_{} is marked no-transaction and can't be part of one transaction: set it to PerMigration",
            step.version, step.name
        );
        assessment.findings.push(Finding { reason: Reason::InvalidSpec, message, failure: None });
    }
    // The first file's modes are the transaction's; those of a later one would come to nothing.
    let later = assessment.plan.steps.iter().skip(1).filter_map(|step| dir.get(&step.version));
    let modes =
        |migration: &&Migration| migration.up.script.own_transaction.as_ref().is_some_and(|own| !own.modes.is_empty());
    if let Some(migration) = { later }.find(modes) {
        let message = format!(
            "spec.policy.transaction is Single, and the BEGIN of {} asks for a transaction of its own kind: set it to PerMigration, or let the file begin without modes",
            migration.file
        );
        assessment.findings.push(Finding { reason: Reason::InvalidSpec, message, failure: None });
    }
}

/// The first resolution that names this run, and whose action is offered for it.
fn resolution<'a>(desired: &'a Desired, row: &Recorded, offered: &[Action]) -> Option<&'a Resolution> {
    desired.resolutions.iter().find(|resolution| {
        resolution.run == row.run.id
            && resolution.version.as_ref().is_none_or(|version| *version == row.version)
            && offered.contains(&resolution.action)
    })
}

fn resolve(row: &Recorded, resolution: &Resolution) -> Amendment {
    Amendment::Resolve {
        version: row.version.clone(),
        run: row.run.id,
        action: resolution.action,
        by: resolution.by.clone(),
    }
}

fn failed(row: &Recorded, reason: Reason, message: String) -> Finding {
    Finding {
        reason,
        message,
        failure: Some(FailedRun {
            run: row.run.id,
            version: row.version.clone(),
            name: row.name.clone(),
            mode: row.mode,
            error: row.run.error.clone().unwrap_or_default(),
            statements_applied: row.run.statements_done,
            at: row.run.finished_at.clone(),
        }),
    }
}

fn transactional_message(row: &Recorded, desired: &Desired) -> String {
    let error = row.run.error.as_ref().map_or("no error was recorded", |error| &error.message);
    format!(
        "{error}\nNothing of it was kept (run {}). Mend the file, or add {{version: \"{}\", run: {}, action: Retry}} to spec.resolutions to run it again as it is{}",
        row.run.id,
        row.version,
        row.run.id,
        misdirected(row, desired, &[Action::Retry])
    )
}

fn ways_out(row: &Recorded, obstacle: Option<&str>, has_file: bool, desired: &Desired) -> String {
    let error = row.run.error.as_ref().map_or_else(
        || format!("{}_{} was cut off, and nothing says how far the statement under way came", row.version, row.name),
        |error| error.message.clone(),
    );
    let mut offered = Vec::new();
    if has_file {
        offered.push(Action::Retry);
    }
    if obstacle.is_none() {
        offered.push(Action::Resume);
    }
    offered.extend([Action::MarkApplied, Action::MarkRolledBack]);
    let actions: Vec<String> = offered
        .iter()
        .map(|action| match action {
            Action::Retry => "Retry (from the top)".to_owned(),
            Action::Resume => format!("Resume (from statement {})", row.run.statements_done + 1),
            Action::MarkApplied => "MarkApplied (what is missing was done by hand)".to_owned(),
            Action::MarkRolledBack => "MarkRolledBack (what it did was undone by hand)".to_owned(),
            Action::AcceptChecksum => "AcceptChecksum".to_owned(),
        })
        .collect();
    let no_resume = obstacle.map_or_else(String::new, |why| format!(" Resume is not possible: {why}."));
    format!(
        "{error}\n{} done (run {}), and nothing runs until a person decides: add {{version: \"{}\", run: {}, action: …}} to spec.resolutions with one of {}.{no_resume}{}",
        match row.run.statements_done {
            0 => "None of its statements is".to_owned(),
            1 => "1 of its statements is".to_owned(),
            done => format!("{done} of its statements are"),
        },
        row.run.id,
        row.version,
        row.run.id,
        actions.join(", "),
        misdirected(row, desired, &offered)
    )
}

/// Says of a resolution that means this migration, but doesn't fit, why it is not followed.
fn misdirected(row: &Recorded, desired: &Desired, offered: &[Action]) -> String {
    let mut text = String::new();
    for resolution in &desired.resolutions {
        if resolution.run == row.run.id && !offered.contains(&resolution.action) {
            let _ = write!(
                text,
                "\n{} asks for {:?}, which is not possible for run {}",
                resolution.place(),
                resolution.action,
                row.run.id
            );
        } else if resolution.run != row.run.id && resolution.version.as_ref() == Some(&row.version) {
            let _ = write!(
                text,
                "\n{} names run {} of {}; the run that waits is {}",
                resolution.place(),
                resolution.run,
                row.version,
                row.run.id
            );
        }
    }
    text
}

/// Says of a decision that names only a run, and none of those that wait, that nothing follows from it.
fn find_misdirected(desired: &Desired, assessment: &mut Assessment) {
    let failed = assessment.findings.iter().filter_map(|finding| finding.failure.as_ref()).map(|failed| failed.run);
    let drifted = assessment.checksum_drift.iter().map(|drift| drift.run);
    let mut waiting: Vec<i64> = failed.chain(drifted).collect();
    waiting.sort_unstable();
    let decided = |run: i64| {
        let is_it = |amendment: &Amendment| matches!(amendment, Amendment::Resolve { run: other, .. } if *other == run);
        assessment.amendments.iter().any(is_it)
    };
    let lost: Vec<&Resolution> = desired
        .resolutions
        .iter()
        .filter(|resolution| resolution.version.is_none() && !decided(resolution.run))
        .filter(|resolution| !waiting.contains(&resolution.run))
        .collect();
    let is_of_a_run = |finding: &&mut Finding| finding.failure.is_some() || finding.reason == Reason::ChecksumDrift;
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

/// At most five items and a count of the rest.
fn list<T: std::fmt::Display>(items: impl ExactSizeIterator<Item = T>) -> String {
    let count = items.len();
    let mut text = items.take(5).map(|item| item.to_string()).collect::<Vec<_>>().join(", ");
    if count > 5 {
        let _ = write!(text, " and {} more", count - 5);
    }
    text
}

impl Plan {
    /// SHA-256 over the steps: version, direction, transactional, checksum of the section.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for step in &self.steps {
            let line = format!("{}\0{:?}\0{:?}\0{}\0", step.version, step.direction, step.mode, step.checksum);
            hash.update(line);
        }
        Digest::from_bytes(hash.finalize().into())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
