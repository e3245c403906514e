//! One message reads a set's whole history.

use tokio_postgres::error::SqlState;

use super::{Tables, layout};
use crate::{
    core::{
        desired::Action,
        history::{
            History, OfferedPlan, Recorded, RecordedSeed, Retrying, Run, RunError, RunOutcome, SeedCounts, State,
        },
        hook::{self, HookRun, Key, Place},
        migration::{Checksum, Direction, TransactionMode, Version},
        outcome::{Failure, Reason},
        task::{TaskKind, TaskRun},
    },
    database::{error::SqlError, quote, session::Row},
};

/// The queries; each row says in its first column which one it belongs to.
#[must_use]
pub fn queries(tables: &Tables) -> String {
    let [set, migration, run, statement, plan, seed] =
        ["set", "migration", "run", "statement", "plan", "seed"].map(|name| tables.table(name));
    let name = tables.set_literal();
    let time =
        |column: &str| format!("pg_catalog.to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    // A set's migrations are many, and nearly all have succeeded: of these no more is asked for than somebody reads. To look
    // at the journal for each of thousands takes longer than all the rest.
    let unfinished = |what: &str, order: &str| {
        format!(
            "CASE WHEN m.state IN ('failed', 'interrupted') THEN (SELECT {what} FROM {statement} AS x \
             WHERE x.run = r.id AND x.state = 'done' {order}) END"
        )
    };
    let of_others = |what: &str| format!("CASE WHEN r.outcome <> 'succeeded' THEN {what} END");
    format!(
        "SELECT 'layout', {mark}; SELECT 'set', s.owner FROM {set} AS s WHERE s.name = {name}; \
         SELECT 'migration', m.version, m.name, m.state, m.checksum, m.transactional, m.down_checksum, m.batch, {applied_at}, \
         m.duration_ms, r.id, r.outcome, {inputs}, r.attempts, r.error, r.sqlstate, r.statement, r.error_line, \
         r.error_column, r.resolution, {ended_at}, {done}, {prefix}, r.direction, \
         CASE WHEN r.direction = 'down' AND m.state IN ('failed', 'interrupted') THEN m.down_sql END, \
         pg_catalog.array_to_string(m.depends, ','), pg_catalog.array_to_string(m.replaces, ',') \
         FROM {migration} AS m JOIN {run} AS r ON r.id = m.run \
         WHERE m.\"set\" = {name}; \
         SELECT 'retrying', r.version, r.id, r.attempts, r.checksum, r.direction FROM {run} AS r \
         WHERE r.\"set\" = {name} AND r.outcome = 'retrying' AND r.kind NOT IN ('seed', 'hook'); \
         SELECT 'undoing', r.version, r.id, r.outcome, r.checksum, r.attempts, r.error, r.sqlstate, r.statement, r.error_line, \
         r.error_column, r.resolution, {finished_at}, 0, NULL, r.direction, \
         CASE WHEN r.id = pg_catalog.max(r.id) OVER (PARTITION BY r.version) THEN m.down_sql END FROM {run} AS r \
         JOIN {migration} AS m ON m.\"set\" = r.\"set\" AND m.version = r.version \
         WHERE r.\"set\" = {name} AND r.direction = 'down' AND r.outcome = 'failed' AND r.id > m.run \
         AND m.state IN ('applied', 'stamped'); \
         SELECT 'task', r.version, r.id, r.outcome, r.checksum, r.attempts, r.error, r.sqlstate, r.statement, r.error_line, \
         r.error_column, r.resolution, {finished_at}, 0, NULL, r.direction, r.kind FROM {run} AS r \
         WHERE r.\"set\" = {name} AND r.kind IN ('seed', 'hook') AND r.outcome <> 'succeeded' AND NOT EXISTS (SELECT FROM {run} AS l \
         WHERE l.\"set\" = r.\"set\" AND l.version = r.version AND l.kind = r.kind AND l.id > r.id); \
         SELECT 'hook', r.version, r.id, r.outcome, r.checksum, r.attempts, r.error, r.sqlstate, r.statement, r.error_line, \
         r.error_column, r.resolution, r.batch, r.plan_digest FROM pg_catalog.unnest({places}) AS p (place) \
         CROSS JOIN pg_catalog.generate_series(0, {last_hook}) AS i (index) CROSS JOIN LATERAL (SELECT * FROM {run} AS l \
         WHERE l.\"set\" = {name} AND l.kind = 'hook' AND l.version = p.place || '[' || i.index || ']' ORDER BY l.id DESC LIMIT 1) AS r; \
         SELECT 'seed', s.name, s.checksum, {seeded_at}, s.run, s.inserted, s.updated, s.unchanged FROM {seed} AS s WHERE s.\"set\" = {name}; \
         SELECT 'plan', p.id, p.digest, p.rest, p.approved_by, p.steps FROM {plan} AS p \
         WHERE p.\"set\" = {name} AND p.spent_at IS NULL ORDER BY GREATEST(p.offered_at, p.approved_at) DESC, p.id DESC LIMIT {PLANS}",
        mark = layout::mark_sql(tables),
        done = unfinished("pg_catalog.count(*)", ""),
        prefix = unfinished("x.prefix_sha256", "ORDER BY x.ordinal DESC LIMIT 1"),
        applied_at = time("m.applied_at"),
        finished_at = time("r.finished_at"),
        inputs = of_others("r.checksum"),
        ended_at = of_others(&time("r.finished_at")),
        seeded_at = time("s.applied_at"),
        places = quote::text_array(Place::ALL.iter().map(|place| place.word())),
        last_hook = hook::MOST - 1,
    )
}

/// The kinds of rows.
const KINDS: [&str; 9] = ["layout", "set", "migration", "retrying", "undoing", "task", "hook", "seed", "plan"];

/// A history that is being read: row by row, so that a long one isn't kept beside its rows.
pub struct Reading<'a> {
    tables: &'a Tables,
    history: History,
    /// The row by which the tables are known was among them.
    known: bool,
    /// A row was among them that isn't one of ours.
    strange: bool,
    wrong: Option<Failure>,
}

impl<'a> Reading<'a> {
    /// Before the first row.
    #[must_use]
    pub fn new(tables: &'a Tables) -> Self {
        Self { tables, history: History::default(), known: false, strange: false, wrong: None }
    }

    /// Takes the next row.
    pub fn row(&mut self, row: &Row) {
        let kind = row.get(0).unwrap_or_default();
        self.strange |= !KINDS.contains(&kind);
        if self.strange || self.wrong.is_some() {
            return;
        }
        if kind == "layout" {
            self.known = true;
            self.wrong = layout::is_known(row.get(1), self.tables).err();
        } else if let Err(what) = parse(row, &mut self.history) {
            let table = self.tables.table("migration");
            self.wrong = Some(Failure::new(
                Reason::InvalidSpec,
                format!(
                    "spec.history: a row of {table} can't be read: {what}; was it edited by hand? Put it back as it was"
                ),
            ));
        }
    }

    /// What the rows said, behind the last one; a history that isn't there yet is empty.
    ///
    /// # Errors
    /// `PermissionDenied` with the GRANT that `who` needs, `Retrying`, or `InvalidSpec` for tables and rows that no Dunlin
    /// wrote, or a newer one.
    pub fn end(self, answer: Result<(), SqlError>, who: &str) -> Result<History, Failure> {
        let schema = &self.tables.schema;
        match answer {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(History::default()),
            Err(error) if error.sqlstate() == Some(SqlState::UNDEFINED_COLUMN.code()) => {
                return Err(layout::not_ours(schema, &error.to_string()));
            }
            Err(error) => {
                let what = format!("reading the history in schema {schema}");
                return Err(error.into_failure(&what, &format!("it needs: {}", self.tables.grants(who))));
            }
        }
        // An answer to another question must not pass for an empty history, nor for one that was edited.
        if self.strange || !self.known {
            let what = "the answer isn't one to what was asked; it is tried again";
            return Err(Failure::new(Reason::Retrying, format!("reading the history in schema {schema}: {what}")));
        }
        self.wrong.map_or(Ok(self.history), Err)
    }
}

/// Whether the tables (3F000: or their schema) aren't there yet.
pub(super) fn is_absent(error: &SqlError) -> bool {
    error
        .sqlstate()
        .is_some_and(|state| state == SqlState::UNDEFINED_TABLE.code() || state == SqlState::INVALID_SCHEMA_NAME.code())
}

/// Plans that wait for a person or were approved by one, and are read: the latest, whichever they are.
const PLANS: usize = 20;
/// The most that a column holds in which Dunlin writes a section, what went wrong, what a migration needs or the steps of a
/// plan; others hold names and digests.
const LONGEST_SECTION: usize = 4 * 1024 * 1024;
const LONGEST_TEXT: usize = 256 * 1024;
const LONGEST_VALUE: usize = 4 * 1024;

fn parse(row: &Row, history: &mut History) -> Result<(), String> {
    let longest = |column: usize| match (row.get(0), column) {
        (Some("migration"), 24) | (Some("undoing"), 16) => LONGEST_SECTION,
        (Some("migration"), 14 | 25 | 26) | (Some("undoing" | "task" | "hook"), 6) | (Some("plan"), 5) => LONGEST_TEXT,
        _ => LONGEST_VALUE,
    };
    let is_long = |column: &usize| row.get(*column).is_some_and(|value| value.len() > longest(*column));
    if let Some(column) = (0..row.columns()).find(is_long) {
        return Err(format!("column {column} holds more than is ever written there"));
    }
    let text = |column: usize| row.get(column).map(str::to_owned);
    match row.get(0) {
        Some("set") => history.owner = text(1),
        Some("migration") => history.migrations.push(recorded(row)?),
        Some("retrying") => history.retrying.push(Retrying {
            version: Version::parse(row.get(1).unwrap_or_default())?,
            run: integer(row, 2)?,
            attempts: integer(row, 3)?,
            inputs: row.get(4).unwrap_or_default().to_owned(),
            direction: direction(row, 5)?,
        }),
        Some("undoing") => {
            let version = Version::parse(row.get(1).unwrap_or_default())?;
            // The last run's row has the text that it ran, for the variables that it uses.
            if let Some(down_sql) = text(16)
                && let Some(recorded) = history.migrations.iter_mut().find(|recorded| recorded.version == version)
            {
                recorded.down_sql = Some(down_sql);
            }
            history.undoing.push((version, run(row, 2)?));
        }
        Some("task") => history.tasks.push(task(row)?),
        Some("hook") => history.hooks.push(hook_run(row)?),
        Some("seed") => history.seeds.push(seed(row)?),
        Some("plan") => history.plans.push(OfferedPlan {
            id: integer(row, 1)?,
            digest: text(2).unwrap_or_default(),
            rest: text(3).unwrap_or_default(),
            approved_by: text(4),
            steps: text(5).unwrap_or_default(),
        }),
        other => return Err(format!("unexpected row {other:?}")),
    }
    Ok(())
}

fn recorded(row: &Row) -> Result<Recorded, String> {
    let text = |column: usize| row.get(column).map(str::to_owned);
    Ok(Recorded {
        version: Version::parse(row.get(1).unwrap_or_default())?,
        name: text(2).unwrap_or_default(),
        state: match row.get(3) {
            Some("applied") => State::Applied,
            Some("stamped") => State::Stamped,
            Some("failed") => State::Failed,
            Some("interrupted") => State::Interrupted,
            Some("rolled_back") => State::RolledBack,
            Some("replaced") => State::Replaced,
            other => return Err(format!("state {other:?}")),
        },
        checksum: Checksum::from_history(text(4).unwrap_or_default()),
        mode: if row.get(5) == Some("t") { TransactionMode::Transactional } else { TransactionMode::NonTransactional },
        down_checksum: text(6).map(Checksum::from_history),
        batch: integer(row, 7)?,
        applied_at: text(8),
        duration_ms: integer(row, 9)?,
        run: run(row, 10)?,
        down_sql: text(24),
        depends: versions(row, 25)?,
        replaces: versions(row, 26)?,
    })
}

/// A run of a seed or hook that didn't succeed.
fn task(row: &Row) -> Result<TaskRun, String> {
    let kind = TaskKind::ALL.into_iter().find(|kind| row.get(16) == Some(kind.word()));
    let Run { id, outcome, inputs, attempts, error, resolution, finished_at, .. } = run(row, 2)?;
    Ok(TaskRun {
        kind: kind.ok_or_else(|| format!("kind {:?}", row.get(16)))?,
        key: row.get(1).unwrap_or_default().to_owned(),
        run: id,
        outcome,
        attempts,
        checksum: inputs,
        error,
        resolution,
        finished_at,
    })
}

/// The last run of a hook.
fn hook_run(row: &Row) -> Result<HookRun, String> {
    let text = |column: usize| row.get(column).map(str::to_owned);
    let key = row.get(1).unwrap_or_default();
    Ok(HookRun {
        key: Key::parse(key).ok_or_else(|| format!("hook {key:?}"))?,
        run: integer(row, 2)?,
        outcome: outcome(row, 3)?,
        checksum: text(4).unwrap_or_default(),
        attempts: integer(row, 5)?,
        error: run_error(row, 6),
        resolution: row.get(11).map(action).transpose()?,
        batch: integer(row, 12)?,
        plan: text(13).unwrap_or_default(),
    })
}

fn seed(row: &Row) -> Result<RecordedSeed, String> {
    let text = |column: usize| row.get(column).map(str::to_owned);
    let count = |column: usize| row.get(column).and_then(|value| value.parse::<u64>().ok());
    let counts = match (count(5), count(6), count(7)) {
        (Some(inserted), Some(updated), Some(unchanged)) => Some(SeedCounts { inserted, updated, unchanged }),
        _ => None,
    };
    Ok(RecordedSeed {
        name: text(1).unwrap_or_default(),
        checksum: text(2).unwrap_or_default(),
        applied_at: text(3),
        run: integer(row, 4)?,
        counts,
    })
}

/// The columns of a run, from this one on.
fn run(row: &Row, from: usize) -> Result<Run, String> {
    let text = |column: usize| row.get(from + column).map(str::to_owned);
    let small = |column: usize| row.get(from + column).and_then(|value| value.parse::<u32>().ok());
    Ok(Run {
        id: integer(row, from)?,
        outcome: outcome(row, from + 1)?,
        inputs: text(2).unwrap_or_default(),
        attempts: integer(row, from + 3)?,
        error: run_error(row, from + 4),
        resolution: row.get(from + 9).map(action).transpose()?,
        finished_at: text(10),
        statements_done: small(11).unwrap_or(0),
        prefix: text(12),
        direction: direction(row, from + 13)?,
    })
}

fn outcome(row: &Row, column: usize) -> Result<RunOutcome, String> {
    match row.get(column) {
        Some("running") => Ok(RunOutcome::Running),
        Some("succeeded") => Ok(RunOutcome::Succeeded),
        Some("failed") => Ok(RunOutcome::Failed),
        Some("interrupted") => Ok(RunOutcome::Interrupted),
        Some("retrying") => Ok(RunOutcome::Retrying),
        other => Err(format!("outcome {other:?}")),
    }
}

/// The columns of a run's error, from its message on.
fn run_error(row: &Row, from: usize) -> Option<RunError> {
    let small = |column: usize| row.get(from + column).and_then(|value| value.parse::<u32>().ok());
    row.get(from).map(|message| RunError {
        message: message.to_owned(),
        sqlstate: row.get(from + 1).map(str::to_owned),
        statement: small(2),
        line: small(3),
        column: small(4),
    })
}

fn direction(row: &Row, column: usize) -> Result<Direction, String> {
    match row.get(column) {
        Some("up") => Ok(Direction::Up),
        Some("down") => Ok(Direction::Down),
        other => Err(format!("direction {other:?}")),
    }
}

fn versions(row: &Row, column: usize) -> Result<Vec<Version>, String> {
    let texts = row.get(column).unwrap_or_default().split(',').filter(|text| !text.is_empty());
    texts.map(Version::parse).collect()
}

/// The query for the stored down sections of some migrations: version and text.
#[must_use]
pub fn downs(tables: &Tables, versions: &[&str]) -> String {
    format!(
        "SELECT m.version, m.down_sql FROM {} AS m WHERE m.\"set\" = {} AND m.version = ANY ({}) AND m.down_sql IS NOT NULL",
        tables.table("migration"),
        tables.set_literal(),
        quote::text_array(versions.iter().copied())
    )
}

fn action(text: &str) -> Result<Action, String> {
    [Action::Retry, Action::Resume, Action::MarkApplied, Action::MarkRolledBack, Action::AcceptChecksum]
        .into_iter()
        .find(|action| format!("{action:?}") == text)
        .ok_or_else(|| format!("resolution {text:?}"))
}

fn integer(row: &Row, column: usize) -> Result<i64, String> {
    row.get(column).unwrap_or_default().parse().map_err(|_| format!("no number in column {column}"))
}
