//! Exit codes: a format that scripts rely on. Every command's outcome becomes a number here and nowhere else.
//!
//! | Code | Meaning |
//! | --- | --- |
//! | 0 | done, or in sync; or the help that was asked for was printed |
//! | 1 | what was compared differs: `verify`, `check`, `status --exit-code` |
//! | 2 | the command line wasn't understood; nothing was done |
//! | 3 | files or settings are wrong; nothing was done |
//! | 4 | a person must decide something first: nothing was run, and the message names the ways out |
//! | 5 | SQL was refused, or a hook failed: what ran before it stands, as the message says |
//! | 6 | the database or the API server can't be reached, or lets nobody in |
//! | 7 | somebody else is at work, or a time limit has passed |
//! | 8 | it asks first, and nobody said yes |
//! | 9 | anything else, told on stderr |
//! | 130 | it was asked to stop (Ctrl-C), and has said what state it left |

use std::process::ExitCode;

use crate::core::outcome::Reason;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or in sync.
    Done,
    /// 1: what was compared differs.
    Differs,
    /// 2: the command line wasn't understood.
    Usage,
    /// 3: files or settings are wrong.
    Input,
    /// 4: a person must decide something first.
    Blocked,
    /// 5: SQL was refused, or a hook failed.
    Failed,
    /// 6: nothing is reached, or nobody let in.
    Unreachable,
    /// 7: somebody else is at work, or time has run out.
    Busy,
    /// 8: nobody said yes.
    Refused,
    /// 9: anything else.
    Error,
    /// 130: it was asked to stop.
    Stopped,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Differs => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Blocked => 4,
            Self::Failed => 5,
            Self::Unreachable => 6,
            Self::Busy => 7,
            Self::Refused => 8,
            Self::Error => 9,
            Self::Stopped => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<Reason> for Exit {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::UpToDate
            | Reason::DatabaseAhead
            | Reason::Checking
            | Reason::Applying
            | Reason::RollingBack
            | Reason::Seeding
            | Reason::RunningHook => Self::Done,
            Reason::WaitingForSource
            | Reason::WaitingForDigest
            | Reason::InvalidSource
            | Reason::InvalidSpec
            | Reason::DependencyCycle
            | Reason::DuplicateVersion => Self::Input,
            Reason::WaitingForSecret
            | Reason::WaitingForDatabase
            | Reason::Retrying
            | Reason::AuthenticationFailed
            | Reason::TLSFailed
            | Reason::PermissionDenied
            | Reason::PoolerNotSupported => Self::Unreachable,
            Reason::WaitingForLock => Self::Busy,
            Reason::MigrationFailed
            | Reason::NonTransactionalFailed
            | Reason::Interrupted
            | Reason::HookFailed
            | Reason::SeedFailed => Self::Failed,
            Reason::ApprovalRequired
            | Reason::Suspended
            | Reason::ChecksumDrift
            | Reason::MissingMigration
            | Reason::OutOfOrder
            | Reason::SchemaDrift
            | Reason::Conflict
            | Reason::RollbackDenied
            | Reason::NoDownMigration => Self::Blocked,
        }
    }
}
