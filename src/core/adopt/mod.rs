//! Another tool's history × a directory × our own history → what to record, or why not.
//!
//! Pure, as planning is: whoever holds the lock has read the rows. Nothing is recorded unless all of it can be.

mod checksum;
mod obstacle;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    history::{History, Recorded, State},
    migration::{Migration, MigrationDir, TransactionMode, Version},
};
pub use obstacle::Obstacle;

/// A tool whose history can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named after the tools")]
pub enum Tool {
    Migretti,
    Metapg,
    Psqlmodel,
    Herogold,
}

/// What is asked for: `history.adopt`, or `dunlin import`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Adopt {
    /// Whose history it is.
    pub from: Tool,
    /// The tool's table, where it isn't the one that the tool makes: a name, or a schema and a name.
    pub table: Option<String>,
    /// What becomes of a file that isn't what the tool applied.
    pub edited: Edited,
    /// When it is looked at.
    pub when: When,
}

/// What becomes of a file that isn't what the tool applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edited {
    /// Nothing is recorded.
    Refuse,
    /// It counts as what was applied.
    Accept,
}

/// When the other tool's table is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// Where the history knows of no migration yet.
    FirstContact,
    /// Whatever the history knows already.
    Always,
}

/// What the database says of the other tool's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// There is none.
    Absent {
        /// Tables of the name that can't be it, with what they lack.
        unfit: Vec<String>,
    },
    /// There are several.
    Several(Vec<String>),
    /// There is one.
    Table {
        /// Its schema and name.
        name: String,
        /// What stands in it.
        rows: Vec<ForeignRow>,
    },
}

/// A row of the other tool's table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForeignRow {
    /// The version, where the tool keeps one of its own.
    pub version: Option<String>,
    /// The file's name without its ending, where the tool keeps that.
    pub stem: Option<String>,
    /// What became of it.
    pub state: ForeignState,
    /// The checksum, where one can be made of SQL files.
    pub checksum: Option<String>,
    /// When it was applied, RFC 3339 in UTC.
    pub applied_at: Option<String>,
    /// How long it took.
    pub duration_ms: i64,
    /// Who applied it.
    pub by: Option<String>,
    /// With which others.
    pub batch: Option<i64>,
}

/// What became of a migration, as the other tool has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum ForeignState {
    #[default]
    Applied,
    RolledBack,
    Failed,
}

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The other tool's table.
    pub table: String,
    /// What is to be recorded as applied, in the set's order.
    pub rows: Vec<Adopted>,
    /// How many the history has already.
    pub known: usize,
    /// How many the other tool has rolled back.
    pub rolled_back: usize,
    /// Files that nobody has applied, and that stand before one that was.
    pub skipped: Vec<Version>,
}

/// A migration that the other tool has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The migration, as the history spells it, else its file.
    pub version: Version,
    /// When it was applied, RFC 3339 in UTC.
    pub applied_at: Option<String>,
    /// How long it took.
    pub duration_ms: i64,
    /// By which tool, and by whom as far as that knows.
    pub by: String,
    /// How many batches of the tool's come before its own.
    pub batch: i64,
}

impl Tool {
    /// Every tool, as the spec lists them.
    pub const ALL: [Self; 4] = [Self::Migretti, Self::Metapg, Self::Psqlmodel, Self::Herogold];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Migretti => "Migretti",
            Self::Metapg => "metapg",
            Self::Psqlmodel => "psqlmodel",
            Self::Herogold => "herogold",
        }
    }

    /// What its table may be called.
    #[must_use]
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Migretti => &["_migrations"],
            Self::Metapg => &["_metapg_migrations"],
            Self::Psqlmodel => &["_psqlmodel_migrations"],
            // What the tool makes, and what its documents say that it makes.
            Self::Herogold => &["migrationrecord", "migrations"],
        }
    }
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Adopt {
    /// Whether the other tool's table says anything to a history that has come so far.
    #[must_use]
    pub fn concerns(&self, history: &History) -> bool {
        self.when == When::Always || !history.migrations.iter().any(Recorded::is_contact)
    }
}

impl ForeignRow {
    /// What it is called in messages, safe to print.
    fn shown(&self) -> String {
        const LONGEST: usize = 80;
        let text = self.stem.as_deref().or(self.version.as_deref()).unwrap_or_default();
        text.escape_debug().take(LONGEST).collect()
    }
}

/// Matches what the tool has applied with the files, and with what is recorded already.
///
/// # Errors
/// Everything that is in the way: then nothing is recorded.
pub fn take_over(
    dir: &MigrationDir,
    history: &History,
    adopt: &Adopt,
    foreign: &Foreign,
) -> Result<Adoption, Vec<Obstacle>> {
    let from = adopt.from;
    let (table, rows) = match foreign {
        Foreign::Absent { unfit } => {
            let looked_for = adopt.table.clone().unwrap_or_else(|| from.tables().join(" or "));
            return Err(vec![Obstacle::NoTable { from, looked_for, unfit: unfit.clone() }]);
        }
        Foreign::Several(tables) => return Err(vec![Obstacle::SeveralTables { from, tables: tables.clone() }]),
        Foreign::Table { name, rows } => (name, rows),
    };
    let mut found = Found::default();
    let files = Files::new(dir);
    for row in rows {
        match row.state {
            ForeignState::RolledBack => found.rolled_back += 1,
            ForeignState::Failed => found.unfinished.push(row.shown()),
            ForeignState::Applied => found.take(row, &files, from),
        }
    }
    let recorded = Known::new(history);
    let mut known = 0;
    let mut rows: Vec<(usize, &ForeignRow)> = Vec::new();
    for (&place, row) in &found.matched {
        match recorded.of(&dir.migrations()[place].version) {
            Standing::Has => known += 1,
            Standing::HasNot => rows.push((place, row)),
            Standing::Otherwise(what) => found.otherwise.push(format!("{} ({what})", row.shown())),
        }
    }
    rows.sort_by_key(|(place, _)| *place);
    if adopt.edited == Edited::Refuse {
        let edited = rows.iter().filter_map(|(place, row)| checksum::edited(from, &dir.migrations()[*place], row));
        found.edited = edited.collect();
    }
    let obstacles = found.obstacles(from, table);
    if !obstacles.is_empty() {
        return Err(obstacles);
    }
    let has = |place: usize| {
        found.matched.contains_key(&place) || matches!(recorded.of(&dir.migrations()[place].version), Standing::Has)
    };
    let last = (0..dir.migrations().len()).rev().find(|place| has(*place)).unwrap_or(0);
    let skipped = (0..last).filter(|place| !has(*place)).map(|place| dir.migrations()[place].version.clone());
    Ok(Adoption {
        table: table.clone(),
        rows: adopted(dir, &recorded, from, &rows),
        known,
        rolled_back: found.rolled_back,
        skipped: skipped.collect(),
    })
}

/// What is recorded of rows; batches keep their order, and lose their numbers.
fn adopted(dir: &MigrationDir, recorded: &Known<'_>, from: Tool, rows: &[(usize, &ForeignRow)]) -> Vec<Adopted> {
    let batches: BTreeSet<i64> = rows.iter().filter_map(|(_, row)| row.batch).collect();
    let ranks: HashMap<i64, i64> = batches.into_iter().zip(0..).collect();
    let one = |(place, row): &(usize, &ForeignRow)| Adopted {
        version: recorded.spelled(&dir.migrations()[*place].version),
        applied_at: row.applied_at.clone(),
        duration_ms: row.duration_ms,
        by: row.by.as_ref().map_or_else(|| from.name().to_owned(), |by| format!("{from}: {by}")),
        batch: row.batch.and_then(|batch| ranks.get(&batch).copied()).unwrap_or(0),
    };
    rows.iter().map(one).collect()
}

/// What was found in the other tool's table.
#[derive(Default)]
struct Found<'a> {
    matched: HashMap<usize, &'a ForeignRow>,
    rolled_back: usize,
    unfinished: Vec<String>,
    without_file: Vec<String>,
    otherwise: Vec<String>,
    edited: Vec<String>,
}

impl<'a> Found<'a> {
    fn take(&mut self, row: &'a ForeignRow, files: &Files<'_>, from: Tool) {
        match files.place(row) {
            Some(place) => match self.matched.get(&place) {
                None => {
                    self.matched.insert(place, row);
                }
                Some(other) => {
                    let both = format!("{} ({from} has {} for the same version)", row.shown(), other.shown());
                    self.without_file.push(both);
                }
            },
            None => self.without_file.push(row.shown() + &files.hint(row)),
        }
    }

    fn obstacles(&self, from: Tool, table: &str) -> Vec<Obstacle> {
        let sorted = |rows: &[String]| {
            let mut rows = rows.to_vec();
            rows.sort();
            rows
        };
        let table = table.to_owned();
        let all = [
            (&self.unfinished, Obstacle::Unfinished { from, table: table.clone(), rows: sorted(&self.unfinished) }),
            (&self.without_file, Obstacle::NoFile { from, table: table.clone(), rows: sorted(&self.without_file) }),
            (&self.otherwise, Obstacle::Otherwise { from, table, rows: sorted(&self.otherwise) }),
            (&self.edited, Obstacle::Edited { from, rows: self.edited.clone() }),
        ];
        all.into_iter().filter(|(rows, _)| !rows.is_empty()).map(|(_, obstacle)| obstacle).collect()
    }
}

/// The files, by what tools call them.
struct Files<'a> {
    dir: &'a MigrationDir,
    stems: HashMap<&'a str, usize>,
    replaced: HashMap<&'a Version, &'a Migration>,
}

impl<'a> Files<'a> {
    fn new(dir: &'a MigrationDir) -> Self {
        let migrations = || dir.migrations().iter();
        let replaced = migrations().flat_map(|migration| migration.replaces.iter().map(move |part| (part, migration)));
        Self { dir, stems: migrations().map(stem).zip(0..).collect(), replaced: replaced.collect() }
    }

    /// The place of the file that a row is of: by the file's name, where the tool keeps it, or else by the version. A name
    /// that stands alone must be the file's, but for blanks and the like, which don't belong into one.
    fn place(&self, row: &ForeignRow) -> Option<usize> {
        if let Some(place) = row.stem.as_deref().and_then(|stem| self.stems.get(stem)) {
            return Some(*place);
        }
        match (&row.version, &row.stem) {
            (Some(version), _) => self.dir.position(&Version::parse(version).ok()?),
            (None, Some(stem)) => {
                let (version, name) = Version::parse_reference(stem).ok()?;
                let place = self.dir.position(&version)?;
                (words(name.unwrap_or_default()) == words(&self.dir.migrations()[place].name)).then_some(place)
            }
            (None, None) => None,
        }
    }

    /// What may have become of the file.
    fn hint(&self, row: &ForeignRow) -> String {
        let text = row.version.as_deref().or(row.stem.as_deref()).unwrap_or_default();
        let Ok((version, _)) = Version::parse_reference(text) else {
            return " (which is no version)".to_owned();
        };
        if let Some(migration) = self.dir.get(&version) {
            return format!(" (that version's file is {})", migration.file);
        }
        match self.replaced.get(&version) {
            Some(squash) => format!(" (which {} stands for)", squash.file),
            None => String::new(),
        }
    }
}

/// A file's name without its ending.
fn stem(migration: &Migration) -> &str {
    migration.file.strip_suffix(".sql").unwrap_or(&migration.file)
}

/// The letters and digits of a name, by its words, as new files have them in their names.
fn words(name: &str) -> Vec<String> {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

/// What our own history has.
struct Known<'a> {
    rows: HashMap<&'a Version, &'a Recorded>,
    stood_for: HashSet<&'a Version>,
}

/// How a migration that the other tool has applied stands in our own history.
enum Standing {
    Has,
    HasNot,
    /// It says something else of it.
    Otherwise(String),
}

impl<'a> Known<'a> {
    fn new(history: &'a History) -> Self {
        let there = history.migrations.iter().filter(|row| row.state.is_applied() || row.state == State::Replaced);
        Self { rows: history.by_version(), stood_for: there.flat_map(|row| &row.replaces).collect() }
    }

    fn of(&self, version: &Version) -> Standing {
        let Some(row) = self.rows.get(version) else {
            return if self.stood_for.contains(version) { Standing::Has } else { Standing::HasNot };
        };
        match (row.state, row.mode) {
            (State::Applied | State::Stamped | State::Replaced, _) => Standing::Has,
            (State::RolledBack, _) if self.stood_for.contains(version) => Standing::Has,
            // A transaction that failed left nothing: the tables that it met are those that the other tool has made.
            (State::Failed, TransactionMode::Transactional) => Standing::HasNot,
            (State::RolledBack, _) => Standing::Otherwise(format!("rolled back by run {}", row.run.id)),
            (State::Failed, TransactionMode::NonTransactional) => {
                Standing::Otherwise(format!("failed in run {}", row.run.id))
            }
            (State::Interrupted, _) => Standing::Otherwise(format!("cut off in run {}", row.run.id)),
        }
    }

    fn spelled(&self, version: &Version) -> Version {
        self.rows.get(version).map_or(version, |row| &row.version).clone()
    }
}

#[cfg(test)]
mod tests;
