//! One message reads a set's whole history.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::error::SqlState;

use super::{Tables, layout};
use crate::{
    core::{
        desired::Action,
        history::{
            History, OfferedPlan, Recorded, RecordedSeed, Retrying, Run, RunError, RunOutcome, SeedCounts, State,
        },
        hook::{self, HookRun, Hooks, Key, Place},
        migration::{Checksum, Direction, TransactionMode, Version},
        outcome::{Failure, Reason},
        task::{TaskKind, TaskRun},
    },
    database::{error::SqlError, quote, session::Row},
};

/// The queries; each row says in its first column which one it belongs to.
///
/// Sessions are often new, and then to plan a query takes the server longer than to run it: what isn't looked at isn't
/// asked for. Of runs that have succeeded, which nearly all have, nobody looks at more than their numbers; and at those of
/// hooks nobody does unless there are `hooks`.
#[must_use]
pub fn queries(tables: &Tables, hooks: &Hooks) -> String {
    let [set, migration, run, statement, plan, seed] =
        ["set", "migration", "run", "statement", "plan", "seed"].map(|name| tables.table(name));
    let name = tables.set_literal();
    let time =
        |column: &str| format!("pg_catalog.to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    let current = "m.run = r.id AND m.state IN ('failed', 'interrupted')";
    let hooks = if hooks.places().is_empty() { String::new() } else { last_hooks(tables) };
    format!(
        "SELECT 'layout', {mark}; SELECT 'set', s.owner FROM {set} AS s WHERE s.name = {name}; \
         SELECT 'migration', m.version, m.name, m.state, m.checksum, m.transactional, m.down_checksum, m.batch, \
         pg_catalog.date_part('epoch', m.applied_at), m.duration_ms, m.run, pg_catalog.array_to_string(m.depends, ','), \
         pg_catalog.array_to_string(m.replaces, ',') FROM {migration} AS m WHERE m.\"set\" = {name}; \
         SELECT 'run', r.version, r.id, r.outcome, r.checksum, r.attempts, r.error, r.sqlstate, r.statement, r.error_line, \
         r.error_column, r.resolution, {finished_at}, d.done, d.prefix_sha256, r.direction, r.kind, {current}, \
         CASE WHEN r.direction = 'down' AND ({current} OR r.id = pg_catalog.max(r.id) OVER (PARTITION BY r.version)) \
         THEN m.down_sql END \
         FROM {run} AS r LEFT JOIN {migration} AS m ON m.\"set\" = r.\"set\" AND m.version = r.version \
         LEFT JOIN LATERAL (SELECT x.prefix_sha256, pg_catalog.count(*) OVER () AS done FROM {statement} AS x \
         WHERE {current} AND x.run = r.id AND x.state = 'done' ORDER BY x.ordinal DESC LIMIT 1) AS d ON true \
         WHERE r.\"set\" = {name} AND r.outcome <> 'succeeded' AND CASE WHEN r.kind IN ('seed', 'hook') THEN NOT EXISTS \
         (SELECT FROM {run} AS l WHERE l.\"set\" = r.\"set\" AND l.version = r.version AND l.kind = r.kind AND l.id > r.id) \
         ELSE {current} OR r.outcome = 'retrying' OR r.direction = 'down' AND r.outcome = 'failed' AND r.id > m.run \
         AND m.state IN ('applied', 'stamped') END; {hooks}\
         SELECT 'seed', s.name, s.checksum, {seeded_at}, s.run, s.inserted, s.updated, s.unchanged FROM {seed} AS s WHERE s.\"set\" = {name}; \
         SELECT 'plan', p.id, p.digest, p.rest, p.approved_by, p.steps FROM {plan} AS p \
         WHERE p.\"set\" = {name} AND p.spent_at IS NULL ORDER BY GREATEST(p.offered_at, p.approved_at) DESC, p.id DESC LIMIT {PLANS}",
        mark = layout::mark_sql(tables),
        finished_at = time("r.finished_at"),
        seeded_at = time("s.applied_at"),
    )
}

/// The query for the last run of each hook that there can be.
fn last_hooks(tables: &Tables) -> String {
    format!(
        "SELECT 'hook', r.version, r.id, r.outcome, r.checksum, r.attempts, r.error, r.sqlstate, r.statement, r.error_line, \
         r.error_column, r.resolution, r.batch, r.plan_digest FROM pg_catalog.unnest({places}) AS p (place) \
         CROSS JOIN pg_catalog.generate_series(0, {last}) AS i (index) CROSS JOIN LATERAL (SELECT * FROM {run} AS l \
         WHERE l.\"set\" = {name} AND l.kind = 'hook' AND l.version = p.place || '[' || i.index || ']' ORDER BY l.id DESC LIMIT 1) AS r; ",
        run = tables.table("run"),
        name = tables.set_literal(),
        places = quote::text_array(Place::ALL.iter().map(|place| place.word())),
        last = hook::MOST - 1,
    )
}

/// The kinds of rows.
const KINDS: [&str; 7] = ["layout", "set", "migration", "run", "hook", "seed", "plan"];

/// A history that is being read: row by row, so that a long one isn't kept beside its rows.
pub struct Reading<'a> {
    tables: &'a Tables,
    history: History,
    /// Runs that failed or were cut off, by their numbers, for the migrations that they left so.
    left: HashMap<i64, Run>,
    /// The ways down of which a run is looked at.
    downs: HashMap<Version, String>,
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
        let (left, downs) = (HashMap::new(), HashMap::new());
        Self { tables, history: History::default(), left, downs, known: false, strange: false, wrong: None }
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
        } else if let Err(what) = self.parse(kind, row) {
            let table = self.tables.table(if kind == "hook" { "run" } else { kind });
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
    pub fn end(mut self, answer: Result<(), SqlError>, who: &str) -> Result<History, Failure> {
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
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        // There is hardly ever one.
        let to_tell =
            if self.left.is_empty() && self.downs.is_empty() { &mut [] } else { &mut *self.history.migrations };
        for recorded in to_tell {
            if let Some(run) = self.left.remove(&recorded.run.id) {
                recorded.run = run;
            }
            recorded.down_sql = self.downs.remove(&recorded.version);
        }
        Ok(self.history)
    }

    fn parse(&mut self, kind: &str, row: &Row) -> Result<(), String> {
        let longest = |column: usize| match (kind, column) {
            ("run", 18) => LONGEST_SECTION,
            ("migration", 11 | 12) | ("run" | "hook", 6) | ("plan", 5) => LONGEST_TEXT,
            _ => LONGEST_VALUE,
        };
        let is_long = |column: &usize| row.get(*column).is_some_and(|value| value.len() > longest(*column));
        if let Some(column) = (0..row.columns()).find(is_long) {
            return Err(format!("column {column} holds more than is ever written there"));
        }
        let text = |column: usize| row.get(column).map(str::to_owned);
        let history = &mut self.history;
        match kind {
            "set" => history.owner = text(1),
            "migration" => history.migrations.push(recorded(row)?),
            "run" if TaskKind::ALL.iter().any(|kind| row.get(16) == Some(kind.word())) => {
                history.tasks.push(task(row)?);
            }
            "run" => self.run(row)?,
            "hook" => history.hooks.push(hook_run(row)?),
            "seed" => history.seeds.push(seed(row)?),
            "plan" => history.plans.push(OfferedPlan {
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

    /// A run of a migration that didn't succeed.
    fn run(&mut self, row: &Row) -> Result<(), String> {
        let version = Version::parse(row.get(1).unwrap_or_default())?;
        let run = run(row)?;
        if let Some(down_sql) = row.get(18) {
            self.downs.insert(version.clone(), down_sql.to_owned());
        }
        let is_current = row.get(17) == Some("t");
        if run.outcome == RunOutcome::Retrying {
            let Run { id, direction, attempts, ref inputs, .. } = run;
            self.history.retrying.push(Retrying { version, direction, run: id, attempts, inputs: inputs.clone() });
        } else if !is_current {
            self.history.undoing.push((version, run));
            return Ok(());
        }
        if is_current {
            self.left.insert(run.id, run);
        }
        Ok(())
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

fn recorded(row: &Row) -> Result<Recorded, String> {
    let text = |column: usize| row.get(column).map(str::to_owned);
    let state = match row.get(3) {
        Some("applied") => State::Applied,
        Some("stamped") => State::Stamped,
        Some("failed") => State::Failed,
        Some("interrupted") => State::Interrupted,
        Some("rolled_back") => State::RolledBack,
        Some("replaced") => State::Replaced,
        other => return Err(format!("state {other:?}")),
    };
    Ok(Recorded {
        version: Version::parse(row.get(1).unwrap_or_default())?,
        name: text(2).unwrap_or_default(),
        state,
        checksum: Checksum::from_history(text(4).unwrap_or_default()),
        mode: if row.get(5) == Some("t") { TransactionMode::Transactional } else { TransactionMode::NonTransactional },
        down_checksum: text(6).map(Checksum::from_history),
        batch: integer(row, 7)?,
        applied_at: row.get(8).map(time).transpose()?,
        duration_ms: integer(row, 9)?,
        run: Run::succeeded(integer(row, 10)?, state),
        down_sql: None,
        depends: versions(row, 11)?,
        replaces: versions(row, 12)?,
    })
}

/// Seconds since 1970, written as the session writes floating point, as RFC 3339 in UTC, to the second.
fn time(seconds: &str) -> Result<String, String> {
    let whole = seconds.parse::<f64>().ok().and_then(|seconds| SignedDuration::try_from_secs_f64(seconds.floor()).ok());
    let time = whole.and_then(|whole| Timestamp::from_duration(whole).ok());
    Ok(time.ok_or_else(|| format!("time {seconds:?}"))?.to_string())
}

/// A run of a seed or hook that didn't succeed.
fn task(row: &Row) -> Result<TaskRun, String> {
    let kind = TaskKind::ALL.into_iter().find(|kind| row.get(16) == Some(kind.word()));
    let Run { id, outcome, inputs, attempts, error, resolution, finished_at, .. } = run(row)?;
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

/// A run that didn't succeed.
fn run(row: &Row) -> Result<Run, String> {
    let text = |column: usize| row.get(column).map(str::to_owned);
    Ok(Run {
        id: integer(row, 2)?,
        outcome: outcome(row, 3)?,
        inputs: text(4).unwrap_or_default(),
        attempts: integer(row, 5)?,
        error: run_error(row, 6),
        resolution: row.get(11).map(action).transpose()?,
        finished_at: text(12),
        statements_done: row.get(13).and_then(|value| value.parse().ok()).unwrap_or(0),
        prefix: text(14),
        direction: direction(row, 15)?,
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

#[cfg(test)]
mod tests {
    use super::time;

    /// `extra_float_digits` may be anything; a time that no Dunlin wrote is an error, and never a wrong time.
    #[test]
    fn times_are_read_to_the_second() {
        for (seconds, read) in [
            ("1795337644.987654", Some("2026-11-22T08:54:04Z")),
            ("1795337644", Some("2026-11-22T08:54:04Z")),
            ("1.795e+09", Some("2026-11-18T11:06:40Z")),
            ("0", Some("1970-01-01T00:00:00Z")),
            ("-1.5", Some("1969-12-31T23:59:58Z")),
            ("Infinity", None),
            ("-Infinity", None),
            ("NaN", None),
            ("1e300", None),
            ("", None),
            ("now", None),
        ] {
            assert_eq!(time(seconds).ok().as_deref(), read, "{seconds}");
        }
    }
}
