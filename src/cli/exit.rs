//! Exit codes: a format that scripts rely on. Every command's outcome becomes a number here and nowhere else.
//!
//! | Code | Meaning |
//! | --- | --- |
//! | 0 | done; or the help that was asked for was printed |
//! | 1 | an error, told on stderr together with what to try next |
//! | 2 | the command line wasn't understood; nothing was done |

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: an error, told on stderr.
    Error,
    /// 2: the command line wasn't understood.
    Usage,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
