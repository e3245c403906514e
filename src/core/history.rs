//! What the database says was done.

use std::collections::HashMap;

use super::{
    adopt::Foreign,
    desired::Action,
    hook::HookRun,
    migration::{Checksum, Direction, TransactionMode, Version},
    task::TaskRun,
};

/// One set's history, as one query reads it. An absent history (no tables, no row) is `History::default()`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The MigrationSet recorded as the owner, `namespace/name`; None by hand or before first contact.
    pub owner: Option<String>,
    /// The migrations that the database knows.
    pub migrations: Vec<Recorded>,
    /// Transactional runs that were lost and rolled back, and are tried again under the same number.
    pub retrying: Vec<Retrying>,
    /// Transactional ways down that failed and were rolled back, so that their migrations are still applied: the last of
    /// each, while nothing has become of it since.
    pub undoing: Vec<(Version, Run)>,
    /// Seeds and hooks whose last run didn't succeed.
    pub tasks: Vec<TaskRun>,
    /// The last run of each hook.
    pub hooks: Vec<HookRun>,
    /// Seeds that have run: what of them the database has.
    pub seeds: Vec<RecordedSeed>,
    /// Plans that were shown to a person or approved by one, and haven't run to their end.
    pub plans: Vec<OfferedPlan>,
    /// What another tool's table says, where its history is to be taken over and that was looked at.
    pub foreign: Option<Foreign>,
}

/// A row of `dunlin.seed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedSeed {
    /// The seed's path, as `dev/010_users.sql`.
    pub name: String,
    /// Checksum of the text that ran last.
    pub checksum: String,
    /// When it ran last, RFC 3339 in UTC.
    pub applied_at: Option<String>,
    /// The run that did it.
    pub run: i64,
    /// How many rows that run inserted, changed, and found as they were to be; None of SQL, which doesn't say.
    pub counts: Option<SeedCounts>,
}

/// What became of the rows of a seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeedCounts {
    /// New in the database.
    pub inserted: u64,
    /// There, and otherwise.
    pub updated: u64,
    /// There, and left as they are.
    pub unchanged: u64,
}

/// A row of `dunlin.plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedPlan {
    /// Its number.
    pub id: i64,
    /// The digest that a person sees and approves.
    pub digest: String,
    /// The digest of what is left of it: each step that commits writes it anew, in its own transaction.
    pub rest: String,
    /// Its steps in words, a line each, for whoever asks what has changed.
    pub steps: String,
    /// Who approved it, and where it was said; None while nobody has.
    pub approved_by: Option<String>,
}

/// A row of `dunlin.run` whose outcome is `retrying`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrying {
    /// The migration.
    pub version: Version,
    /// Which way it was to go.
    pub direction: Direction,
    /// The run's number.
    pub run: i64,
    /// Tries so far that the server answered: one that went down with its session left nothing in the database.
    pub attempts: i64,
    /// Checksum over the section and its inputs, as of the last try.
    pub inputs: String,
}

/// One row of `dunlin.migration`, with the run that made it what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The version, as the file spelled it.
    pub version: Version,
    /// The name.
    pub name: String,
    /// What became of it.
    pub state: State,
    /// Checksum of the up section as applied or last accepted.
    pub checksum: Checksum,
    /// Transactional or not.
    pub mode: TransactionMode,
    /// Checksum of the stored down section, if there is one.
    pub down_checksum: Option<Checksum>,
    /// The stored down section, of a way down that was cut off or refused; elsewhere it is read when it is to run.
    pub down_sql: Option<String>,
    /// What it needs, as its file said when it was applied.
    pub depends: Vec<Version>,
    /// What it stands for, as its file said when it was applied.
    pub replaces: Vec<Version>,
    /// Which plan made it what it is, from 1; 0 where none did.
    pub batch: i64,
    /// When it was applied, RFC 3339 in UTC.
    pub applied_at: Option<String>,
    /// How long it took.
    pub duration_ms: i64,
    /// The run that applied it, last accepted it, or failed.
    pub run: Run,
}

/// `dunlin.migration.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Applied,
    Stamped,
    Failed,
    Interrupted,
    RolledBack,
    Replaced,
}

/// One row of `dunlin.run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number, which resolutions name.
    pub id: i64,
    /// Which way it went.
    pub direction: Direction,
    /// `running`, `succeeded`, `failed`, `interrupted` or `retrying`.
    pub outcome: RunOutcome,
    /// Checksum over the section and its inputs (role, search path); empty of one that has succeeded, which is compared with
    /// none.
    pub inputs: String,
    /// Tries so far: of a transactional migration those that the server answered, since one that went down with its
    /// session left nothing in the database; of another the runs that its journal was opened for.
    pub attempts: i64,
    /// What went wrong, if something did.
    pub error: Option<RunError>,
    /// Statements of a non-transactional run that are proven done.
    pub statements_done: u32,
    /// Hash over all statements that are proven done, for Resume over an unchanged prefix.
    pub prefix: Option<String>,
    /// What a person decided.
    pub resolution: Option<Action>,
    /// When it ended, RFC 3339 in UTC; None of one that has succeeded.
    pub finished_at: Option<String>,
}

/// `dunlin.run.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RunOutcome {
    Running,
    Succeeded,
    Failed,
    Interrupted,
    Retrying,
}

/// The error of a run, without DETAIL (which may hold rows and stays in the database).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunError {
    /// The whole report: file, line, column, the line with a caret, SQLSTATE, hint.
    pub message: String,
    /// SQLSTATE.
    pub sqlstate: Option<String>,
    /// Statement of the section, from 1.
    pub statement: Option<u32>,
    /// Line of the file, from 1.
    pub line: Option<u32>,
    /// Column, from 1, in characters.
    pub column: Option<u32>,
}

impl History {
    /// Its migrations by their versions, however these are spelled.
    #[must_use]
    pub fn by_version(&self) -> HashMap<&Version, &Recorded> {
        self.migrations.iter().map(|row| (&row.version, row)).collect()
    }
}

impl Run {
    /// The run that left a migration in this state, where it went as it should: nobody looks at more of it.
    #[must_use]
    pub fn succeeded(id: i64, state: State) -> Self {
        Self {
            id,
            direction: if state == State::RolledBack { Direction::Down } else { Direction::Up },
            outcome: RunOutcome::Succeeded,
            inputs: String::new(),
            attempts: 1,
            error: None,
            statements_done: 0,
            prefix: None,
            resolution: None,
            finished_at: None,
        }
    }
}

impl Recorded {
    /// Whether the database has met it: a transaction that failed left nothing.
    #[must_use]
    pub fn is_contact(&self) -> bool {
        self.state != State::Failed || self.mode != TransactionMode::Transactional
    }
}

impl State {
    /// Whether the database has it.
    #[must_use]
    pub fn is_applied(self) -> bool {
        matches!(self, Self::Applied | Self::Stamped)
    }
}
