//! Everything that is wrong with a spec, collected.

use crate::core::outcome::{Failure, Reason};

/// Everything that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidSpec {
    /// What is wrong, in the order of the fields; at least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as `spec.policy.rollback`, or the annotation.
    pub path: String,
    /// What is wrong with it, and what works.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl From<InvalidSpec> for Failure {
    fn from(invalid: InvalidSpec) -> Self {
        Self::new(Reason::InvalidSpec, invalid.to_string())
    }
}

/// What was found wrong so far.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    pub(super) fn take<T>(&mut self, path: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(path, message)).ok()
    }

    pub(super) fn about(&self, path: &str) -> bool {
        self.0.iter().any(|problem| problem.path == path)
    }
}
