//! A bundle into a migration directory; one file a convention.

pub mod dunlin;
pub mod metapg;

use super::{bundle::Bundle, migration::MigrationDir, outcome::Reason};

/// The convention by which files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Told from the files.
    #[default]
    Auto,
    /// Dunlin's own, a superset of Migretti's and metapg's.
    Dunlin,
    /// metapg.migration's.
    Metapg,
}

/// Why a bundle is no migration directory. Everything that is wrong is reported, not just the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// `InvalidSource`, `DuplicateVersion` or `DependencyCycle`.
    pub reason: Reason,
    /// Says what, where (`003_add_index.sql:12:7`), and what to do.
    pub message: String,
}

/// Reads, checks and orders a whole bundle.
///
/// # Errors
/// [`SourceError`] for the first class of trouble by precedence, its message naming every place.
pub fn read(bundle: &Bundle, format: Format) -> Result<MigrationDir, SourceError> {
    todo!("{bundle:?} {format:?}")
}
