//! What is wrong with a bundle: collected over all files, said at once.

use super::SourceError;
use crate::core::outcome::Reason;

/// More lines than that are no help.
const SHOWN: usize = 20;

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<(Reason, String)>,
}

impl Problems {
    pub fn add(&mut self, reason: Reason, message: String) {
        self.found.push((reason, message));
    }

    /// An error in a file at a line and a column.
    pub fn at(&mut self, file: &str, line: u32, column: u32, message: &str) {
        self.add(Reason::InvalidSource, format!("{file}:{line}:{column}: {message}"));
    }

    /// Whether one more wouldn't be shown.
    pub fn is_full(&self) -> bool {
        self.found.len() >= SHOWN
    }

    /// The strongest reason, and the messages of all, those of the strongest first.
    ///
    /// # Errors
    /// [`SourceError`] if anything was found.
    pub fn into_result(mut self) -> Result<(), SourceError> {
        let rank = |reason: Reason| match reason {
            Reason::InvalidSource => 0,
            Reason::DuplicateVersion => 1,
            _ => 2,
        };
        self.found.sort_by_key(|(reason, _)| rank(*reason));
        let Some((reason, _)) = self.found.first() else { return Ok(()) };
        let mut lines: Vec<&str> = self.found.iter().take(SHOWN).map(|(_, message)| message.as_str()).collect();
        let more = self.found.len().saturating_sub(SHOWN);
        let more_text = format!("… and {more} more");
        if more > 0 {
            lines.push(&more_text);
        }
        Err(SourceError { reason: *reason, message: lines.join("\n") })
    }
}
