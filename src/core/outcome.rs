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

/// Which of the three summary conditions is True with a reason, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `Ready` is True: the database holds what is asked for.
    Ready,
    /// `Reconciling` is True: the operator is at work, or waits for something that may come by itself.
    Reconciling,
    /// `Stalled` is True: a person must act.
    Stalled,
    /// None of the three is True.
    Suspended,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the words of every Kubernetes condition")]
pub enum Truth {
    True,
    False,
    Unknown,
}

/// When several reasons hold, the first of these is said; reasons of one row can't hold at the same time, or rank alike.
pub const PRECEDENCE: &[&[Reason]] = &[
    &[Reason::Suspended],
    &[Reason::InvalidSpec],
    &[Reason::WaitingForSource],
    &[Reason::InvalidSource, Reason::DuplicateVersion, Reason::DependencyCycle],
    &[Reason::WaitingForDigest],
    &[Reason::WaitingForSecret],
    &[
        Reason::WaitingForDatabase,
        Reason::AuthenticationFailed,
        Reason::TLSFailed,
        Reason::PermissionDenied,
        Reason::PoolerNotSupported,
    ],
    &[Reason::Conflict],
    &[Reason::WaitingForLock],
    &[Reason::Interrupted],
    &[Reason::NonTransactionalFailed],
    &[Reason::ChecksumDrift],
    &[Reason::MissingMigration],
    &[Reason::OutOfOrder],
    &[Reason::MigrationFailed],
    &[Reason::RollbackDenied],
    &[Reason::NoDownMigration],
    &[Reason::HookFailed],
    &[Reason::SeedFailed],
    &[Reason::SchemaDrift],
    &[Reason::ApprovalRequired],
];

impl Reason {
    /// Every reason there is, in the order of the contract's table.
    pub const ALL: &[Self] = &[
        Self::UpToDate,
        Self::DatabaseAhead,
        Self::Checking,
        Self::Applying,
        Self::RollingBack,
        Self::Seeding,
        Self::RunningHook,
        Self::WaitingForSource,
        Self::WaitingForDigest,
        Self::WaitingForSecret,
        Self::WaitingForDatabase,
        Self::WaitingForLock,
        Self::Retrying,
        Self::ApprovalRequired,
        Self::Suspended,
        Self::MigrationFailed,
        Self::NonTransactionalFailed,
        Self::Interrupted,
        Self::HookFailed,
        Self::SeedFailed,
        Self::ChecksumDrift,
        Self::MissingMigration,
        Self::OutOfOrder,
        Self::SchemaDrift,
        Self::InvalidSource,
        Self::InvalidSpec,
        Self::DependencyCycle,
        Self::DuplicateVersion,
        Self::Conflict,
        Self::RollbackDenied,
        Self::NoDownMigration,
        Self::AuthenticationFailed,
        Self::TLSFailed,
        Self::PermissionDenied,
        Self::PoolerNotSupported,
    ];

    /// Which of the summary conditions is True with it.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::UpToDate | Self::DatabaseAhead => Kind::Ready,
            Self::Checking
            | Self::Applying
            | Self::RollingBack
            | Self::Seeding
            | Self::RunningHook
            | Self::WaitingForSource
            | Self::WaitingForDigest
            | Self::WaitingForSecret
            | Self::WaitingForDatabase
            | Self::WaitingForLock
            | Self::Retrying
            | Self::ApprovalRequired => Kind::Reconciling,
            Self::Suspended => Kind::Suspended,
            Self::MigrationFailed
            | Self::NonTransactionalFailed
            | Self::Interrupted
            | Self::HookFailed
            | Self::SeedFailed
            | Self::ChecksumDrift
            | Self::MissingMigration
            | Self::OutOfOrder
            | Self::SchemaDrift
            | Self::InvalidSource
            | Self::InvalidSpec
            | Self::DependencyCycle
            | Self::DuplicateVersion
            | Self::Conflict
            | Self::RollbackDenied
            | Self::NoDownMigration
            | Self::AuthenticationFailed
            | Self::TLSFailed
            | Self::PermissionDenied
            | Self::PoolerNotSupported => Kind::Stalled,
        }
    }

    /// What `Ready` says with it: Unknown while the operator is at work, False while something is in the way.
    #[must_use]
    pub fn ready(self) -> Truth {
        match self.kind() {
            Kind::Ready => Truth::True,
            Kind::Stalled | Kind::Suspended => Truth::False,
            Kind::Reconciling => match self.class() {
                None => Truth::Unknown,
                Some(Class::Wait | Class::Transient | Class::Permanent | Class::NeedsPerson) => Truth::False,
            },
        }
    }

    /// What follows from it; None where nothing is wrong.
    #[must_use]
    pub fn class(self) -> Option<Class> {
        match self {
            Self::UpToDate
            | Self::DatabaseAhead
            | Self::Checking
            | Self::Applying
            | Self::RollingBack
            | Self::Seeding
            | Self::RunningHook
            | Self::Suspended => None,
            Self::WaitingForSource
            | Self::WaitingForDigest
            | Self::WaitingForSecret
            | Self::WaitingForDatabase
            | Self::WaitingForLock
            | Self::ApprovalRequired => Some(Class::Wait),
            Self::Retrying => Some(Class::Transient),
            Self::MigrationFailed | Self::HookFailed | Self::SeedFailed => Some(Class::Permanent),
            Self::NonTransactionalFailed
            | Self::Interrupted
            | Self::ChecksumDrift
            | Self::MissingMigration
            | Self::OutOfOrder
            | Self::SchemaDrift
            | Self::InvalidSource
            | Self::InvalidSpec
            | Self::DependencyCycle
            | Self::DuplicateVersion
            | Self::Conflict
            | Self::RollbackDenied
            | Self::NoDownMigration
            | Self::AuthenticationFailed
            | Self::TLSFailed
            | Self::PermissionDenied
            | Self::PoolerNotSupported => Some(Class::NeedsPerson),
        }
    }

    /// Its place in [`PRECEDENCE`], from 0; reasons that never compete come last.
    #[must_use]
    pub fn precedence(self) -> usize {
        PRECEDENCE.iter().position(|row| row.contains(&self)).unwrap_or(PRECEDENCE.len())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once() {
        let mut seen = Reason::ALL.to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), Reason::ALL.len());
        assert_eq!(seen.len(), Reason::PoolerNotSupported as usize + 1, "the last variant counts them all");
    }

    #[test]
    fn the_precedence_names_no_reason_twice_and_leaves_out_only_those_that_never_compete() {
        let listed: Vec<Reason> = PRECEDENCE.iter().flat_map(|row| row.iter().copied()).collect();
        let mut unique = listed.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), listed.len());
        let left_out: Vec<Reason> = Reason::ALL.iter().copied().filter(|reason| !listed.contains(reason)).collect();
        assert_eq!(
            left_out,
            [
                Reason::UpToDate,
                Reason::DatabaseAhead,
                Reason::Checking,
                Reason::Applying,
                Reason::RollingBack,
                Reason::Seeding,
                Reason::RunningHook,
                Reason::Retrying,
            ]
        );
    }

    #[test]
    fn the_precedence_is_that_of_the_contract() {
        let order: Vec<String> =
            PRECEDENCE.iter().map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join("/")).collect();
        assert_eq!(
            order.join(", "),
            "Suspended, InvalidSpec, WaitingForSource, InvalidSource/DuplicateVersion/DependencyCycle, WaitingForDigest, \
             WaitingForSecret, WaitingForDatabase/AuthenticationFailed/TLSFailed/PermissionDenied/PoolerNotSupported, \
             Conflict, WaitingForLock, Interrupted, NonTransactionalFailed, ChecksumDrift, MissingMigration, OutOfOrder, \
             MigrationFailed, RollbackDenied, NoDownMigration, HookFailed, SeedFailed, SchemaDrift, ApprovalRequired"
        );
        assert!(Reason::Suspended.precedence() < Reason::InvalidSpec.precedence());
        assert_eq!(Reason::InvalidSource.precedence(), Reason::DuplicateVersion.precedence());
        assert!(Reason::UpToDate.precedence() > Reason::ApprovalRequired.precedence());
    }

    #[test]
    fn ready_is_unknown_only_while_the_operator_is_at_work() {
        for &reason in Reason::ALL {
            let expected = match reason {
                Reason::UpToDate | Reason::DatabaseAhead => Truth::True,
                Reason::Checking | Reason::Applying | Reason::RollingBack | Reason::Seeding | Reason::RunningHook => {
                    Truth::Unknown
                }
                _ => Truth::False,
            };
            assert_eq!(reason.ready(), expected, "{reason}");
        }
    }

    #[test]
    fn what_stalls_needs_a_person_and_what_waits_does_not() {
        for &reason in Reason::ALL {
            match reason.kind() {
                Kind::Ready | Kind::Suspended => assert_eq!(reason.class(), None, "{reason}"),
                Kind::Reconciling => {
                    assert!(matches!(reason.class(), None | Some(Class::Wait | Class::Transient)), "{reason}");
                }
                Kind::Stalled => {
                    assert!(matches!(reason.class(), Some(Class::Permanent | Class::NeedsPerson)), "{reason}");
                }
            }
        }
    }
}
