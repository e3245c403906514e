//! A migration and a set of them: parsed, checked, sorted and unique by construction.

use std::fmt;

use super::sql::Script;

/// What a file's name begins with, and what orders migrations.
///
/// Equality and order follow the value, not the spelling: `1` and `001` are the same version; `20260215` stands
/// before `20260215_02`. The spelling is kept for the history and for messages.
#[derive(Clone)]
pub struct Version {
    text: String,
    key: VersionKey,
}

/// The kind of a version; a set holds one kind (date forms and 8-digit numbers are one kind).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    /// 26 Crockford characters.
    Ulid,
    /// `\d{8}_\d{6}` or `\d{8}_\d{2}`.
    Date,
    /// `\d+`.
    Number,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum VersionKey {
    // whoever fills this in decides; it must make Ord and Eq right
    Todo(String),
}

/// SHA-256 of an up section with its line endings normalized: 64 hexadecimal digits in the history and in messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checksum(String);

/// Whether a migration runs inside one transaction with its history row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionMode {
    /// One transaction holds the file and its history row.
    Transactional,
    /// `-- migrate: no-transaction`: statement by statement, journaled.
    NonTransactional,
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
    /// Free text of `-- description:`.
    pub description: Option<String>,
    /// Versions this one needs, resolved.
    pub depends: Vec<Version>,
    /// Versions this one stands for, resolved when they are in the set.
    pub replaces: Vec<Version>,
    /// Transactional or not.
    pub mode: TransactionMode,
    /// The way up. An up section of comments alone has no statements: it is recorded and sends nothing.
    pub up: Section,
    /// The way down, if the file has one.
    pub down: Option<Section>,
}

/// Migrations in the order in which they run: dependencies first, then by version; versions are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationDir {
    migrations: Vec<Migration>,
}

impl Version {
    /// Parses the version alone, as it is spelled in `depends`, `target` or a resolution.
    ///
    /// # Errors
    /// A sentence saying what a version looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        todo!("{text}")
    }
    /// The version as the file or the history spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> VersionKind {
        todo!()
    }
}

impl MigrationDir {
    /// The migrations in the order in which they run.
    #[must_use]
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }
    /// The migration of that version.
    #[must_use]
    pub fn get(&self, version: &Version) -> Option<&Migration> {
        todo!("{version}")
    }
    /// The place of that version in the order in which they run, from 0.
    #[must_use]
    pub fn position(&self, version: &Version) -> Option<usize> {
        todo!("{version}")
    }
}

impl Checksum {
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

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for Version {}
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
impl std::hash::Hash for Version {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
