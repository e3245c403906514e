//! Reasons, classes of failure, and failures: what every part reports in, and where its class is chosen.

use std::fmt;

/// Why `Ready` is what it is; the table of reasons of the MigrationSet contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the specification page explains each")]
pub enum Reason {
    UpToDate,
    DatabaseAhead,
    Checking,
    Applying,
    RollingBack,
    Seeding,
    RunningHook,
    WaitingForSource,
    WaitingForDigest,
    WaitingForSecret,
    WaitingForDatabase,
    WaitingForLock,
    Retrying,
    ApprovalRequired,
    Suspended,
    MigrationFailed,
    NonTransactionalFailed,
    Interrupted,
    HookFailed,
    SeedFailed,
    ChecksumDrift,
    MissingMigration,
    OutOfOrder,
    SchemaDrift,
    InvalidSource,
    InvalidSpec,
    DependencyCycle,
    DuplicateVersion,
    Conflict,
    RollbackDenied,
    NoDownMigration,
    AuthenticationFailed,
    #[allow(clippy::upper_case_acronyms)]
    TLSFailed,
    PermissionDenied,
    PoolerNotSupported,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May come by itself: retried for ever, exponentially, jittered, capped.
    Wait,
    /// A run under way was lost and rolled back: as [`Class::Wait`], its attempts counted.
    Transient,
    /// The migration's own error: nothing until an input changes or a person says so.
    Permanent,
    /// A person must act.
    NeedsPerson,
}

/// A failure on its way to the status: the reason was chosen where it was born.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The reason of Ready.
    pub reason: Reason,
    /// Says what, where, and what to do next; never a secret.
    pub message: String,
}

impl Failure {
    /// Makes a failure.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
