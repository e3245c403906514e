//! A migration and a set of them: parsed, checked, sorted and unique by construction.

mod next;
mod version;

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

pub use super::sql::TransactionMode;
pub use next::{Moment, next_version};
pub use version::{Version, VersionKind, split_file_name};

use super::{bundle::hexadecimal, sql::Script};

/// SHA-256 of an up section with its line endings normalized: 64 hexadecimal digits in the history and in messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checksum(String);

/// Which way a migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Direction {
    Up,
    Down,
}

impl Direction {
    /// As plans, the history and files spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One way of a migration: the bytes between its markers, and where they stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What is executed, byte for byte. (Files are UTF-8; anything else is refused when the file is read.)
    pub text: String,
    /// Line of the file on which `text` begins, from 1.
    pub first_line: u32,
    /// `text`, split into statements.
    pub script: Script,
    /// SHA-256 of `text` with CRLF turned into LF.
    pub checksum: Checksum,
}

/// One migration file, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The version, from the file's name.
    pub version: Version,
    /// The rest of the file's name without `.sql`.
    pub name: String,
    /// The file's name, as `003_add_index.sql`.
    pub file: String,
    /// Where the file was found, for messages.
    pub origin: String,
    /// Free text of `-- description:`, else the title of `-- migration:`.
    pub description: Option<String>,
    /// Versions this one needs, resolved.
    pub depends: Vec<Version>,
    /// Versions this one stands for, resolved when they are in the set.
    pub replaces: Vec<Version>,
    /// Transactional or not.
    pub mode: TransactionMode,
    /// SHA-256 of the whole file, as [`hash_of_file`] makes it: what Migretti records. Its digits are wanted once in a set's
    /// life, so that it is kept without them.
    pub file_hash: [u8; 32],
    /// The way up. An up section of comments alone has no statements: it is recorded and sends nothing.
    pub up: Section,
    /// The way down, if the file has one.
    pub down: Option<Section>,
}

/// Migrations in the order in which they run: dependencies first, then by version; versions are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationDir {
    migrations: Vec<Migration>,
    positions: HashMap<Version, usize>,
}

impl MigrationDir {
    /// Takes migrations of unique versions in the order in which they run; [`super::format::read`] sees to both.
    pub(crate) fn new(migrations: Vec<Migration>) -> Self {
        let positions = migrations.iter().enumerate().map(|(at, migration)| (migration.version.clone(), at)).collect();
        Self { migrations, positions }
    }

    /// The migrations in the order in which they run.
    #[must_use]
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    /// The migration of that version.
    #[must_use]
    pub fn get(&self, version: &Version) -> Option<&Migration> {
        self.migrations.get(self.position(version)?)
    }

    /// The migrations that none needs, in the order in which they run: the ends of the set's branches. A file that doesn't
    /// say what it needs needs all that comes before it, and who needs one that was replaced needs what stands for it.
    #[must_use]
    pub fn heads(&self) -> Vec<&Migration> {
        let needed: HashSet<&Version> = self.migrations.iter().flat_map(|migration| &migration.depends).collect();
        let is_needed = |migration: &Migration| {
            needed.contains(&migration.version) || migration.replaces.iter().any(|version| needed.contains(version))
        };
        let line = self.migrations.iter().rposition(|migration| migration.depends.is_empty()).unwrap_or(0);
        self.migrations[line..].iter().filter(|migration| !is_needed(migration)).collect()
    }

    /// The place of that version in the order in which they run, from 0.
    #[must_use]
    pub fn position(&self, version: &Version) -> Option<usize> {
        self.positions.get(version).copied()
    }
}

/// SHA-256 of a whole file's text, a byte order mark included, with each of its line ends (CRLF, CR, LF) as LF, as Python
/// reads text.
pub(super) fn hash_of_file(text: &str) -> [u8; 32] {
    if text.contains('\r') {
        return hash(&text.replace("\r\n", "\n").replace('\r', "\n"));
    }
    hash(text)
}

/// SHA-256 of the text with CRLF turned into LF.
fn hash(text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut rest = text;
    while let Some(at) = rest.find("\r\n") {
        hash.update(&rest[..at]);
        rest = &rest[at + 1..];
    }
    hash.update(rest);
    hash.finalize().into()
}

impl Checksum {
    /// SHA-256 of the text with CRLF turned into LF.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(hexadecimal(&hash(text)))
    }

    /// Takes a checksum as the history holds it.
    #[must_use]
    pub fn from_history(text: String) -> Self {
        Self(text)
    }
    /// 64 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M11: line endings don't change a checksum. The digits come from Python's hashlib.
    #[test]
    fn a_checksum_is_of_the_text_with_its_line_endings_normalized() {
        let expected = "370b989ee10267f1dada50c5e00031ad36bc446086948c4dc2844a7b602bf7f7";
        for text in ["SELECT 1;\n\nSELECT 2;\n", "SELECT 1;\r\n\r\nSELECT 2;\r\n", "SELECT 1;\n\r\nSELECT 2;\n"] {
            assert_eq!(Checksum::of(text).as_str(), expected);
        }
        assert_ne!(Checksum::of("SELECT 1;\r\rSELECT 2;").as_str(), Checksum::of("SELECT 1;\n\nSELECT 2;").as_str());
    }
}
