//! Directory × history → what to do, or why not. A pure verdict; the same for operator and command line.

use super::{
    bundle::Digest,
    desired::{Action, Desired},
    history::{History, RunError},
    migration::{MigrationDir, TransactionMode, Version},
    outcome::Reason,
};

/// The verdict on a directory and a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// What holds the plan up, strongest first by the precedence of reasons. Empty: the plan may run.
    pub findings: Vec<Finding>,
    /// What to run, in order. Also there when findings hold it up.
    pub plan: Plan,
    /// Applied migrations whose file was edited, whatever the policy.
    pub checksum_drift: Vec<ChecksumDrift>,
    /// Versions that the database has and the source has not.
    pub missing: Vec<Version>,
    /// Writes to the history that need no migration to run: edited down sections, resolutions.
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
}

/// Which way a migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
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
    /// A person decided.
    Resolve {
        /// The migration.
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
    todo!("{dir:?} {history:?} {desired:?}")
}

impl Plan {
    /// SHA-256 over the steps: version, direction, transactional, checksum of the section.
    #[must_use]
    pub fn digest(&self) -> Digest {
        todo!()
    }
}
