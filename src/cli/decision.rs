//! What a person decides about a run, as a flag has it.

use clap::ValueEnum;

use crate::core::desired::Action;

/// `resolutions[].action` of a MigrationSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Decision {
    /// Run it again from the top.
    Retry,
    /// Go on behind the last statement that is done.
    Resume,
    /// What is missing was done by hand.
    MarkApplied,
    /// What it did was undone by hand.
    MarkRolledBack,
    /// The edit of an applied file is meant, and its effect is in the database.
    AcceptChecksum,
}

impl Decision {
    /// What the engine calls it, as the annotation does.
    #[must_use]
    pub fn action(self) -> Action {
        match self {
            Self::Retry => Action::Retry,
            Self::Resume => Action::Resume,
            Self::MarkApplied => Action::MarkApplied,
            Self::MarkRolledBack => Action::MarkRolledBack,
            Self::AcceptChecksum => Action::AcceptChecksum,
        }
    }
}
