//! What the server says went wrong, and what class that is: chosen here, once.

use std::error::Error as _;

use tokio_postgres::error::ErrorPosition;

use super::answer::AnswerError;
use crate::core::outcome::{Failure, Reason};

/// A statement's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The server refused it.
    #[error("{} (SQLSTATE {})", .0.message, .0.sqlstate)]
    Server(Box<ServerError>),
    /// The connection is gone, or answers no more.
    #[error("the connection to the database was lost: {message}")]
    Lost {
        /// The chain of causes.
        message: String,
    },
}

/// An error report of the server. DETAIL may hold rows: it goes to the history alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// Five characters.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// DETAIL.
    pub detail: Option<String>,
    /// HINT.
    pub hint: Option<String>,
    /// CONTEXT, as the line of a function that failed.
    pub context: Option<String>,
    /// Character of the message, from 1.
    pub position: Option<u32>,
    /// Schema, table and column, of a constraint's error.
    pub object: (Option<String>, Option<String>, Option<String>),
    /// The driver's answers are out of step with its requests: the session's transaction has failed, and the session must
    /// not be asked anything any more.
    pub out_of_step: bool,
}

impl ServerError {
    /// An error that we found ourselves, in the server's terms.
    #[must_use]
    pub fn own(sqlstate: &str, message: String) -> Self {
        Self {
            sqlstate: sqlstate.to_owned(),
            message,
            detail: None,
            hint: None,
            context: None,
            position: None,
            object: (None, None, None),
            out_of_step: false,
        }
    }
}

impl From<&tokio_postgres::Error> for SqlError {
    fn from(error: &tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else {
            return Self::Lost { message: chain(error) };
        };
        Self::Server(Box::new(ServerError {
            sqlstate: server.code().code().to_owned(),
            message: server.message().to_owned(),
            detail: server.detail().map(str::to_owned),
            hint: server.hint().map(str::to_owned),
            context: server.where_().map(str::to_owned),
            position: match server.position() {
                Some(ErrorPosition::Original(position)) => Some(*position),
                Some(ErrorPosition::Internal { .. }) | None => None,
            },
            object: (
                server.schema().map(str::to_owned),
                server.table().map(str::to_owned),
                server.column().map(str::to_owned),
            ),
            out_of_step: false,
        }))
    }
}

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::from(&error)
    }
}

impl From<AnswerError> for SqlError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Driver(error) => Self::from(&error),
            AnswerError::Nonsense(what) => Self::Lost { message: what.to_owned() },
        }
    }
}

impl SqlError {
    /// The SQLSTATE, when the server said one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.sqlstate),
            Self::Lost { .. } => None,
        }
    }

    /// The character of the message at which it points, from 0.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        match self {
            Self::Server(error) => error.position.map(|position| (position as usize).saturating_sub(1)),
            Self::Lost { .. } => None,
        }
    }

    /// Whether a run that met this was lost and rolled back, and may simply be tried again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let Some(state) = self.sqlstate() else { return true };
        state.starts_with("08")
            || state.starts_with("53")
            || matches!(state, "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04")
    }

    /// Whether the session is gone with it.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        let Some(state) = self.sqlstate() else { return true };
        state.starts_with("08") || matches!(state, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04")
    }

    /// Whether the session, though open, must not be asked anything any more.
    #[must_use]
    pub fn is_out_of_step(&self) -> bool {
        matches!(self, Self::Server(error) if error.out_of_step)
    }

    /// Whether a quick retry within the run is worth it: somebody else's lock was in the way.
    #[must_use]
    pub fn is_lock_trouble(&self) -> bool {
        matches!(self.sqlstate(), Some("55P03" | "40P01" | "40001"))
    }

    /// Whether a row that proves our claim could not be written, since somebody has claimed the set after us.
    #[must_use]
    pub fn is_lost_claim(&self, schema: &str) -> bool {
        let Self::Server(error) = self else { return false };
        let (in_schema, _, column) = &error.object;
        error.sqlstate == "23502" && in_schema.as_deref() == Some(schema) && column.as_deref() == Some("set")
    }

    /// What the engine's own query met, for the status; `what` says what it was doing, `cure` what it needs, or nothing
    /// where no particular right is asked for.
    #[must_use]
    pub fn into_failure(self, what: &str, cure: &str) -> Failure {
        let reason = match self.sqlstate() {
            Some("42501" | "22023" | "42704") => Reason::PermissionDenied,
            Some("25006") => Reason::WaitingForDatabase,
            _ => Reason::Retrying,
        };
        let text = match reason {
            Reason::PermissionDenied if cure.is_empty() => format!("{what}: {self}; give the login that right"),
            Reason::PermissionDenied => format!("{what}: {self}; {cure}"),
            Reason::WaitingForDatabase => format!("{what}: {self}; it is tried again until the server takes writes"),
            _ => format!("{what}: {self}"),
        };
        Failure::new(reason, text)
    }
}

/// The whole chain of causes, once: tokio-postgres' own Display leaves its source out.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
