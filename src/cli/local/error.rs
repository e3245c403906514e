//! What can go wrong on the way from a command line to the engine, and its exit code.

use std::path::PathBuf;

use super::talk::Event;
use crate::{
    api::v1alpha1::InvalidSpec,
    cli::{CliError, exit::Exit},
    core::{
        outcome::Failure,
        plan::{FailedRun, Finding},
        task::Subject,
    },
    database::parameters::ParametersError,
    yaml::YamlError,
};

/// Why a local command didn't do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file of settings can't be read.
    #[error("{}: {source}; {instead}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
        /// What to do.
        instead: &'static str,
    },
    /// `dunlin.yaml` isn't YAML, or not the YAML that is asked for.
    #[error("{}: {problem}", .path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: YamlError,
    },
    /// A setting can't be honoured.
    #[error("{place}: {problem}")]
    Setting {
        /// Which, and where it stands.
        place: String,
        /// What is wrong with it, and what works.
        problem: String,
    },
    /// Policies and names are checked as a MigrationSet's are.
    #[error("{}", without_spec(.0))]
    Spec(InvalidSpec),
    /// The connection settings.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// Nothing says which database.
    #[error(
        "no database is named: write it into dunlin.yaml (database: …), or set DUNLIN_DATABASE_URL, or PGHOST, PGUSER and PGDATABASE"
    )]
    NoDatabase,
    /// The engine's own word.
    #[error("{}", at_a_terminal(&.0.message))]
    Engine(#[from] Failure),
    /// The engine's own word on one migration.
    #[error("{}", at_a_terminal(&.0.failure.message))]
    Migration(Box<MigrationError>),
    /// A file can't be written.
    #[error("{}: {source}; see to it that it can be written", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something is there already that would be overwritten.
    #[error("{} is there already: {instead}", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do.
        instead: &'static str,
    },
    /// It isn't possible as things are.
    #[error("{0}")]
    Impossible(String),
    /// Nobody said yes.
    #[error("{0}")]
    NotConfirmed(String),
}

/// What is wrong with one migration.
#[derive(Debug)]
pub struct MigrationError {
    /// What is wrong.
    pub failure: Failure,
    /// In which set.
    pub set: String,
    /// With which migration, seed or hook.
    pub subject: Subject,
    /// What the server called it.
    pub sqlstate: Option<String>,
}

impl LocalError {
    /// A setting that can't be honoured.
    pub(super) fn setting(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Setting { place: place.into(), problem: problem.into() }
    }

    /// What holds a plan up, with the migration that it is about, where it is about one.
    pub(super) fn held_up(finding: Finding, set: &str) -> Self {
        let Finding { reason, message, failure: run } = finding;
        let failure = Failure::new(reason, message);
        let Some(FailedRun { subject, error, .. }) = run else { return failure.into() };
        MigrationError { failure, set: set.to_owned(), subject, sqlstate: error.sqlstate }.into()
    }

    /// The same, as an event; `words` are its own and its causes'.
    pub(in crate::cli) fn event(&self, words: String) -> Event {
        let event = Event::new("error", words);
        match self {
            Self::Migration(about) => event.set(&about.set).about(&about.subject).sqlstate(about.sqlstate.as_deref()),
            _ => event,
        }
    }

    /// Its exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { .. }
            | Self::Yaml { .. }
            | Self::Setting { .. }
            | Self::Spec(_)
            | Self::Parameters(_)
            | Self::NoDatabase => Exit::Input,
            Self::Engine(failure) => failure.reason.into(),
            Self::Migration(about) => about.failure.reason.into(),
            Self::Write { .. } => Exit::Error,
            Self::Exists { .. } | Self::Impossible(_) => Exit::Blocked,
            Self::NotConfirmed(_) => Exit::Refused,
        }
    }
}

impl From<MigrationError> for LocalError {
    fn from(error: MigrationError) -> Self {
        Self::Migration(Box::new(error))
    }
}

impl From<LocalError> for CliError {
    fn from(error: LocalError) -> Self {
        Self::Local(Box::new(error))
    }
}

/// What an operator would do by itself is for whoever runs the command.
fn at_a_terminal(message: &str) -> String {
    const PROMISES: [&str; 3] =
        ["; it is tried again until the server takes writes", "; it is tried again", ", and is tried again"];
    let promise = PROMISES.into_iter().find(|promise| message.contains(promise));
    promise.map_or_else(|| message.to_owned(), |promise| message.replace(promise, "; run it again"))
}

/// Fields as `dunlin.yaml` has them.
fn without_spec(invalid: &InvalidSpec) -> String {
    let line = |problem: &crate::api::v1alpha1::Problem| {
        let path = problem.path.strip_prefix("spec.").unwrap_or(&problem.path);
        let path = path.strip_prefix("history.").unwrap_or(path);
        format!("{path}: {}", problem.message)
    };
    invalid.problems.iter().map(line).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_at_a_terminal_is_promised_another_try() {
        for (message, expected) in [
            ("the session was lost; it is tried again", "the session was lost; run it again"),
            ("It gave way, and is tried again", "It gave way; run it again"),
            ("it is read-only; it is tried again until the server takes writes", "it is read-only; run it again"),
            ("column \"b\" does not exist", "column \"b\" does not exist"),
        ] {
            assert_eq!(at_a_terminal(message), expected);
        }
    }
}
