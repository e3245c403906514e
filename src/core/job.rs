//! One section on its way to the database: what runs, by which name, which way.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::{
    bundle::hexadecimal,
    desired::Desired,
    history::{History, Recorded, State},
    migration::{Checksum, Direction, Migration, MigrationDir, Section, TransactionMode, Version},
    sql::{Boundaries, Script, SessionEffect},
    variables::{Sent, Variables},
};

/// One section on its way to the database.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The version, in the history's spelling if it is there.
    pub version: Version,
    /// The migration's name.
    pub name: String,
    /// The file's name, for messages; of a way down whose file is gone, what the file was.
    pub file: String,
    /// Which way.
    pub direction: Direction,
    /// Transactional or not.
    pub mode: TransactionMode,
    /// What runs, as the file or the history has it: what is hashed, stored and shown.
    pub section: Cow<'a, Section>,
    /// What the server is sent in its place; None where nothing of it is a variable.
    pub substituted: Option<Sent>,
    /// The set's variables, whose secrets are taken out of what the server says.
    pub variables: &'a Variables,
    /// Checksum over the section and what it runs with.
    pub inputs: String,
    /// On the way up, the whole file.
    pub migration: Option<&'a Migration>,
    /// On the way down, the migrations that this one stands for: what they did goes with it.
    pub replaced: Vec<Version>,
    /// The approved plan that this job is the next step of.
    pub approved: Option<ApprovedStep>,
}

/// Where an approved plan is when a step of it has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedStep {
    /// The plan's row.
    pub plan: i64,
    /// The digest of the steps behind this one; None at the plan's end.
    pub rest: Option<String>,
}

impl<'a> Job<'a> {
    /// The way up of a file.
    #[must_use]
    pub fn up(migration: &'a Migration, recorded: Option<&Recorded>, desired: &'a Desired) -> Self {
        Self {
            version: recorded.map_or(&migration.version, |row| &row.version).clone(),
            name: migration.name.clone(),
            file: migration.file.clone(),
            direction: Direction::Up,
            mode: migration.mode,
            section: Cow::Borrowed(&migration.up),
            substituted: None,
            variables: &desired.variables,
            inputs: inputs(Direction::Up, &migration.up, migration.mode, desired),
            migration: Some(migration),
            replaced: Vec::new(),
            approved: None,
        }
    }

    /// The way down of a migration that is applied, as the history holds it.
    #[must_use]
    pub fn down(row: &Recorded, section: Cow<'a, Section>, history: &History, desired: &'a Desired) -> Self {
        let is_replaced = |version: &&Version| {
            let of_it = |other: &&Recorded| other.version == **version && other.state == State::Replaced;
            history.migrations.iter().any(|other| of_it(&other))
        };
        Self {
            version: row.version.clone(),
            name: row.name.clone(),
            file: down_name(row),
            direction: Direction::Down,
            mode: row.mode,
            inputs: inputs(Direction::Down, &section, row.mode, desired),
            section,
            substituted: None,
            variables: &desired.variables,
            migration: None,
            replaced: row.replaces.iter().filter(is_replaced).cloned().collect(),
            approved: None,
        }
    }

    /// What the server is sent.
    #[must_use]
    pub fn sent(&self) -> &Section {
        self.substituted.as_ref().map_or(&self.section, |sent| &sent.section)
    }

    /// The character of the section for one of what the server was sent.
    #[must_use]
    pub fn source_position(&self, sent: usize) -> usize {
        self.substituted.as_ref().map_or(sent, |substituted| substituted.source_position(sent))
    }
}

/// What a way down is called in messages.
pub(super) fn down_name(row: &Recorded) -> String {
    format!("{}_{}.sql (the way down)", row.version, row.name)
}

/// The recorded way down: that of the file where it is the same, which knows its lines, else the stored text.
///
/// # Errors
/// Why the stored text can't be read, which this version of Dunlin would have said of the file.
pub fn down_section<'a>(row: &Recorded, dir: &'a MigrationDir, stored: &str) -> Result<Cow<'a, Section>, String> {
    let checksum = Checksum::of(stored);
    let file = dir.get(&row.version).filter(|migration| migration.mode == row.mode);
    let file = file.and_then(|migration| migration.down.as_ref());
    if let Some(section) = file.filter(|section| section.checksum == checksum) {
        return Ok(Cow::Borrowed(section));
    }
    // It was held against a grammar when it was stored, if its file didn't ask to be trusted.
    match Script::read(stored, row.mode, Boundaries::Trusted) {
        Ok(script) => Ok(Cow::Owned(Section { text: stored.to_owned(), first_line: 1, script, checksum })),
        Err(problems) => Err(problems
            .first()
            .map_or_else(String::new, |problem| format!("line {} of it: {}", problem.line + 1, problem.message))),
    }
}

/// Checksum over a section and what it runs with, the variables that it uses among them: when it changes, a failed migration
/// is tried again.
#[must_use]
pub fn inputs(direction: Direction, section: &Section, mode: TransactionMode, desired: &Desired) -> String {
    let session = &desired.session;
    let mut hash = Sha256::new();
    if direction == Direction::Down {
        hash.update("down\0");
    }
    hash.update(section.checksum.as_str());
    hash.update([0, u8::from(mode == TransactionMode::Transactional), 0]);
    hash.update(session.role.as_deref().unwrap_or_default());
    for schema in &session.search_path {
        hash.update([0]);
        hash.update(schema);
    }
    if let Some(fingerprint) = desired.variables.fingerprint(&section.text) {
        hash.update([0, 1]);
        hash.update(fingerprint);
    }
    hexadecimal(&hash.finalize())
}

/// Hash over the first `count` statements of a section, for `dunlin.statement.prefix_sha256`.
#[must_use]
pub fn prefix_hash(section: &Section, count: usize) -> String {
    let mut hash = Sha256::new();
    let text = &section.text;
    for statement in section.script.statements.iter().take(count) {
        hash.update(text[statement.span.clone()].replace("\r\n", "\n"));
        if let Some(data) = &statement.copy_data {
            hash.update([1]);
            hash.update(text[data.clone()].replace("\r\n", "\n"));
        }
        hash.update([0]);
    }
    hexadecimal(&hash.finalize())
}

/// Why `Resume` is not offered for a run of this section, if it isn't.
#[must_use]
pub fn resume_obstacle(file: &str, mode: TransactionMode, section: &Section, row: &Recorded) -> Option<String> {
    if mode == TransactionMode::Transactional {
        return Some(format!("{file} is no longer marked no-transaction"));
    }
    let done = row.run.statements_done as usize;
    let statements = &section.script.statements;
    if done > 0 {
        let unchanged =
            statements.len() >= done && row.run.prefix.as_deref() == Some(prefix_hash(section, done).as_str());
        if !unchanged {
            return Some(format!("{file} was edited within the {done} statements that already ran"));
        }
    }
    statements.iter().take(done).position(|statement| statement.session == SessionEffect::State).map(|index| {
        format!(
            "statement {} (line {}) left state in the session that can't be made again",
            index + 1,
            section.first_line + statements[index].line
        )
    })
}
