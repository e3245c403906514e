//! What is wrong with a bundle: collected over all files, said at once.

use super::{Place, SourceError, SourceProblem};
use crate::core::outcome::Reason;

/// More lines than that are no help.
const SHOWN: usize = 20;

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<SourceProblem>,
}

impl Problems {
    pub fn add(&mut self, reason: Reason, message: String) {
        self.found.push(SourceProblem { reason, place: None, message });
    }

    /// An error in a file at a line and a column.
    pub fn at(&mut self, file: &str, line: u32, column: u32, message: &str) {
        self.found.push(SourceProblem {
            reason: Reason::InvalidSource,
            place: Some(Place { file: file.to_owned(), line, column }),
            message: message.to_owned(),
        });
    }

    /// Whether one more wouldn't be shown.
    pub fn is_full(&self) -> bool {
        self.found.len() >= SHOWN
    }

    /// All of them, those of the strongest reason first.
    pub fn into_list(mut self) -> Vec<SourceProblem> {
        let rank = |reason: Reason| match reason {
            Reason::InvalidSource => 0,
            Reason::DuplicateVersion => 1,
            _ => 2,
        };
        self.found.sort_by_key(|problem| rank(problem.reason));
        self.found
    }
}

/// The reason of the first, and the messages of all.
pub(super) fn joined(found: &[SourceProblem]) -> SourceError {
    let mut lines: Vec<String> = found.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = found.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    let reason = found.first().map_or(Reason::InvalidSource, |problem| problem.reason);
    SourceError { reason, message: lines.join("\n") }
}
