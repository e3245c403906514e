//! Directory × history → what to do, or why not. A pure verdict; the same for operator and command line.
//!
//! Nothing here trusts a status or a memory: the history is the only witness of what was done.

mod adopt;
mod approve;
mod hooks;
mod judge;
mod rollback;
mod squash;
mod target;
mod tasks;
pub mod variables;
mod words;

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

pub use super::migration::Direction;
use super::{
    adopt::Adopted,
    bundle::Digest,
    desired::{Action, Desired, OnMissing, OutOfOrder, TransactionScope},
    history::{History, Recorded, RunError, State},
    migration::{Migration, MigrationDir, TransactionMode, Version},
    outcome::Reason,
    task::Subject,
};
pub use hooks::{DueHook, LaterHook, PlanHooks};
use judge::Standing;
use target::Wanted;
pub(super) use words::list;

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
    /// Versions of the source that it has not, those that the target leaves out among them.
    pub pending: usize,
    /// Versions of the source that it has not, and that the target leaves out.
    pub left_out: usize,
    /// Versions that were recorded as applied without running, on a person's word (`history.baseline`).
    pub on_trust: usize,
    /// Seeds to run when the plan is through, by their paths, in order.
    pub seeds: Vec<String>,
    /// Seeds that have run.
    pub seeded: usize,
    /// Those of them that run once and were edited since: they don't run again.
    pub seeds_edited: Vec<String>,
    /// What a person has to say about the plan.
    pub consent: Consent,
    /// Runs that wait for a person's decision and are no failures.
    pub undecided: Vec<i64>,
    /// The approved plan of which this one is the rest: its row in `dunlin.plan`.
    pub approved: Option<i64>,
    /// What is to run around the plan, or because of one that has run.
    pub hooks: PlanHooks,
}

/// What a person has to say about a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Consent {
    /// Nobody is asked.
    #[default]
    NotAsked,
    /// It waits for somebody's approval.
    Awaited {
        /// Which plan, why it is asked for, and how to give it.
        message: String,
    },
    /// It was approved.
    Given {
        /// The plan and who approved it.
        message: String,
    },
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
    /// What failed.
    pub subject: Subject,
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
    /// Names of the variables that it uses, as far as the source has it.
    pub variables: Vec<String>,
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
    /// A person wants a seed or hook to run again.
    RetryTask {
        /// The run decided about.
        run: i64,
        /// Where it was said.
        by: String,
    },
    /// The source holds those again that this migration stood for, and not itself, or the target lies between them: they
    /// count as applied again, and it as undone, without running.
    Restore {
        /// The migration that stood for others, as the history spells it.
        version: Version,
        /// Those others, as the history spells them, or their files.
        replaced: Vec<Version>,
    },
    /// A database without a history is what a person says that it is: these are recorded without running.
    Stamp {
        /// The migrations.
        versions: Vec<Version>,
    },
    /// Another tool's history is taken over: these are recorded without running.
    Adopt {
        /// The migrations, with what that tool has recorded of them.
        rows: Vec<Adopted>,
    },
    /// A plan that waits is written down, so that its approval has something to name.
    Offer,
    /// The plan was approved.
    Approve {
        /// Where it was said.
        by: String,
    },
}

/// What planning looks things up in.
struct Ground<'a> {
    dir: &'a MigrationDir,
    history: &'a History,
    desired: &'a Desired,
    recorded: HashMap<&'a Version, &'a Recorded>,
    /// What applied migrations stand for.
    stood_for: HashSet<&'a Version>,
}

impl<'a> Ground<'a> {
    fn row(&self, version: &Version) -> Option<&'a Recorded> {
        self.recorded.get(version).copied()
    }

    /// Whether the database has it, by itself or by what stands for it.
    fn has(&self, version: &Version) -> bool {
        self.row(version).is_some_and(|row| row.state.is_applied()) || self.stood_for.contains(version)
    }
}

/// Compares the source with the history under a policy.
#[must_use]
pub fn plan(dir: &MigrationDir, history: &History, desired: &Desired) -> Assessment {
    let there = history.migrations.iter().filter(|row| row.state.is_applied() || row.state == State::Replaced);
    let stood_for = there.flat_map(|row| &row.replaces).collect();
    let ground = Ground { dir, history, desired, recorded: history.by_version(), stood_for };
    let mut assessment = Assessment::default();
    let wanted = target::wanted(&ground, &mut assessment);
    let (adopted, stamped) = match adopt::adopt(&ground, &mut assessment) {
        Some(adopted) => {
            let stamped = target::baseline(&ground, &adopted, &mut assessment);
            (adopted, stamped)
        }
        None => Default::default(),
    };
    let mut downs: Vec<&Recorded> = Vec::new();
    let mut highest_position = None;

    for (position, migration) in dir.migrations().iter().enumerate() {
        let row = ground.row(&migration.version);
        let standing = if stamped.contains(&position) || adopted.contains(&position) {
            Standing::Applied
        } else {
            judge::judge(&ground, &wanted, migration, &mut assessment)
        };
        match standing {
            Standing::Applied => {
                assessment.applied += 1;
                assessment.version = Some(migration.version.clone());
                match row.filter(|row| row.state.is_applied() && wanted.undoes(row, Some(position))) {
                    Some(row) if squash::falls_apart(&ground, row, &wanted) => {
                        squash::restore(&ground, row, &mut assessment);
                    }
                    Some(row) => downs.push(row),
                    None => highest_position = Some(position),
                }
            }
            Standing::Undoing => {
                assessment.applied += 1;
                downs.extend(row.filter(|_| wanted.goes_on()));
            }
            Standing::Pending => {
                assessment.pending += 1;
                if wanted.has(position) {
                    squash::pend(&ground, migration, &mut assessment);
                } else {
                    assessment.left_out += 1;
                }
            }
            Standing::Continuing => {
                assessment.pending += 1;
                if wanted.goes_on() {
                    squash::pend(&ground, migration, &mut assessment);
                } else {
                    assessment.left_out += 1;
                }
            }
        }
    }

    downs.extend(find_gone(&ground, &wanted, &mut assessment));
    for row in history.migrations.iter().filter(|row| dir.get(&row.version).is_none()) {
        if matches!(judge::judge_without_file(&ground, &wanted, row, &mut assessment), Standing::Undoing)
            && wanted.goes_on()
        {
            downs.push(row);
        }
    }
    rollback::plan(&ground, downs, &mut assessment);
    variables::find(&ground, &mut assessment);
    find_missing(&ground, &mut assessment);
    judge::find_drift(&ground, &mut assessment);
    find_out_of_order(&ground, highest_position, &mut assessment);
    find_mixed_single(&ground, &mut assessment);
    tasks::take_decisions(&ground, &mut assessment);
    tasks::find_seeds(&ground, &mut assessment);
    hooks::judge(&ground, &mut assessment);
    judge::find_misdirected(desired, &mut assessment);
    approve::ask(&ground, &mut assessment);
    assessment.on_trust = stamped.len() + history.migrations.iter().filter(|row| row.state == State::Stamped).count();
    assessment.findings.sort_by_key(|finding| finding.reason.precedence());
    assessment
}

/// Finds what the database has and the source has not, and what of it goes. What a migration of the source stands for is
/// not gone; nor is what stood for others that are back.
fn find_gone<'a>(ground: &Ground<'a>, wanted: &Wanted<'_>, assessment: &mut Assessment) -> Vec<&'a Recorded> {
    let Ground { dir, history, desired, .. } = ground;
    let replaced: HashSet<&Version> = dir.migrations().iter().flat_map(|migration| migration.replaces.iter()).collect();
    let mut downs = Vec::new();
    for row in history.migrations.iter().filter(|row| row.state.is_applied() && dir.get(&row.version).is_none()) {
        if squash::is_back(ground, row) || squash::falls_apart(ground, row, wanted) {
            squash::restore(ground, row, assessment);
            continue;
        }
        let is_missing = !replaced.contains(&row.version);
        if is_missing {
            assessment.missing.push(row.version.clone());
        }
        if wanted.undoes(row, None) || is_missing && desired.policy.on_missing == OnMissing::Rollback {
            downs.push(row);
        }
    }
    assessment.missing.sort();
    if let Some(last) = assessment.missing.last()
        && assessment.version.as_ref().is_none_or(|version| version < last)
    {
        assessment.version = Some(last.clone());
    }
    downs
}

/// What is gone and isn't undone by the plan holds it up, unless it may be gone or a person has said what became of it.
fn find_missing(ground: &Ground<'_>, assessment: &mut Assessment) {
    let Ground { desired, .. } = ground;
    if desired.policy.on_missing != OnMissing::Block {
        return;
    }
    let mut rows: Vec<&Recorded> = assessment.missing.iter().filter_map(|version| ground.row(version)).collect();
    let undone = assessment.plan.undone();
    rows.retain(|row| !undone.contains(&row.version));
    rows.retain(|row| match judge::resolution(desired, row, &[Action::MarkRolledBack]) {
        Some(resolution) => {
            assessment.amendments.push(judge::resolve(row, resolution));
            false
        }
        None => true,
    });
    if let Some(first) = rows.first() {
        let message = format!(
            "the database has {}, which the source has not: put the file back, set {} to Ignore or Rollback, or \
             say that what it did was undone by hand: {}{}",
            list(rows.iter().map(|row| format!("{} (run {})", row.version, row.run.id))),
            words::field(desired, "policy.onMissing"),
            words::decide(desired, first, Action::MarkRolledBack),
            rows.iter().map(|row| judge::misdirected(row, desired, &[Action::MarkRolledBack])).collect::<String>(),
        );
        assessment.undecided.extend(rows.iter().map(|row| row.run.id));
        assessment.findings.push(Finding { reason: Reason::MissingMigration, message, failure: None });
    }
}

fn find_out_of_order(ground: &Ground<'_>, highest_position: Option<usize>, assessment: &mut Assessment) {
    let Ground { dir, desired, .. } = ground;
    if desired.policy.out_of_order == OutOfOrder::Allow {
        return;
    }
    let undone = assessment.plan.undone();
    let last_missing = assessment.missing.iter().rfind(|version| !undone.contains(version));
    let is_late = |step: &&Step| {
        step.direction == Direction::Up
            // A migration that the history knows was in order when it first ran.
            && ground.row(&step.version).is_none()
            && (dir.position(&step.version) < highest_position || last_missing.is_some_and(|last| step.version < *last))
    };
    let late: Vec<&Step> = assessment.plan.steps.iter().filter(is_late).collect();
    if late.is_empty() {
        return;
    }
    let highest = highest_position.and_then(|position| dir.migrations().get(position)).map(|newest| &newest.version);
    let newest = highest.max(last_missing).map_or("", Version::as_str);
    let message = format!(
        "{} would run after {newest}, which is newer and already applied: rename the file to a newer version, or set {} to Allow",
        list(late.iter().map(|step| format!("{}_{}", step.version, step.name))),
        words::field(desired, "policy.outOfOrder")
    );
    assessment.findings.push(Finding { reason: Reason::OutOfOrder, message, failure: None });
}

fn find_mixed_single(ground: &Ground<'_>, assessment: &mut Assessment) {
    if ground.desired.policy.transaction == TransactionScope::PerMigration {
        return;
    }
    let field = words::field(ground.desired, "policy.transaction");
    let outside = assessment.plan.steps.iter().find(|step| step.mode == TransactionMode::NonTransactional);
    if let Some(step) = outside {
        let message = format!(
            "{field} is Single, but {}_{} is marked no-transaction and can't be part of one transaction: set {field} to PerMigration",
            step.version, step.name
        );
        assessment.findings.push(Finding { reason: Reason::InvalidSpec, message, failure: None });
    }
    // The first file's modes are the transaction's; those of a later one would come to nothing.
    let later = assessment.plan.steps.iter().skip(1).filter(|step| step.direction == Direction::Up);
    let modes =
        |migration: &&Migration| migration.up.script.own_transaction.as_ref().is_some_and(|own| !own.modes.is_empty());
    if let Some(migration) = { later }.filter_map(|step| ground.dir.get(&step.version)).find(modes) {
        let message = format!(
            "{field} is Single, and the BEGIN of {} asks for a transaction of its own kind: set {field} to PerMigration, or let the file begin without modes",
            migration.file
        );
        assessment.findings.push(Finding { reason: Reason::InvalidSpec, message, failure: None });
    }
}

impl Plan {
    /// SHA-256 over the steps: version, direction, transactional, checksum of the section, names of its variables; the same
    /// for an object that is made anew.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.rests().swap_remove(0)
    }

    /// The digests of what is left of the plan: of all of it, of all but the first step, and so on, down to none.
    #[must_use]
    pub fn rests(&self) -> Vec<Digest> {
        let mut rests = vec![Digest::of(&[])];
        for step in self.steps.iter().rev() {
            let direction = step.direction.word();
            let mode = match step.mode {
                TransactionMode::Transactional => "transactional",
                TransactionMode::NonTransactional => "no-transaction",
            };
            let mut hash = Sha256::new();
            hash.update(format!("{}\0{direction}\0{mode}\0{}\0", step.version, step.checksum));
            for name in &step.variables {
                hash.update(format!("variable\0{name}\0"));
            }
            hash.update(rests.last().map(ToString::to_string).unwrap_or_default());
            rests.push(Digest::from_bytes(hash.finalize().into()));
        }
        rests.reverse();
        rests
    }

    /// What its ways down undo.
    fn undone(&self) -> HashSet<&Version> {
        self.steps.iter().filter(|step| step.direction == Direction::Down).map(|step| &step.version).collect()
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
