//! One message reads a set's whole history.

use tokio_postgres::error::SqlState;

use super::{Tables, layout};
use crate::{
    core::{
        desired::Action,
        history::{History, Recorded, Retrying, Run, RunError, RunOutcome, State},
        migration::{Checksum, TransactionMode, Version},
        outcome::{Failure, Reason},
    },
    database::{error::SqlError, session::Row},
};

/// The queries; each row says in its first column which one it belongs to.
#[must_use]
pub fn queries(tables: &Tables) -> String {
    let [set, migration, run, statement] = ["set", "migration", "run", "statement"].map(|name| tables.table(name));
    let name = tables.set_literal();
    let time =
        |column: &str| format!("pg_catalog.to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    format!(
        "SELECT 'layout', {mark}; SELECT 'set', s.owner FROM {set} AS s WHERE s.name = {name}; \
         SELECT 'migration', m.version, m.name, m.state, m.checksum, m.transactional, m.down_checksum, m.batch, {applied_at}, \
         m.duration_ms, r.id, r.outcome, r.checksum, r.attempts, r.error, r.sqlstate, r.statement, r.error_line, \
         r.error_column, r.resolution, {finished_at}, d.count, d.prefix \
         FROM {migration} AS m JOIN {run} AS r ON r.id = m.run \
         LEFT JOIN LATERAL (SELECT pg_catalog.count(*) AS count, \
           (pg_catalog.array_agg(x.prefix_sha256 ORDER BY x.ordinal DESC))[1] AS prefix \
           FROM {statement} AS x WHERE x.run = r.id AND x.state = 'done' AND m.state IN ('failed', 'interrupted')) AS d ON true \
         WHERE m.\"set\" = {name}; \
         SELECT 'retrying', r.version, r.id, r.attempts, r.checksum FROM {run} AS r \
         WHERE r.\"set\" = {name} AND r.outcome = 'retrying'",
        mark = layout::mark_sql(tables),
        applied_at = time("m.applied_at"),
        finished_at = time("r.finished_at"),
    )
}

/// What the rows say; a history that isn't there yet is empty.
///
/// # Errors
/// `PermissionDenied` with the GRANT that `who` needs, `Retrying`, or `InvalidSpec` for tables and rows that no Dunlin
/// wrote, or a newer one.
pub fn history(answer: Result<Vec<Row>, SqlError>, tables: &Tables, who: &str) -> Result<History, Failure> {
    let rows = match answer {
        Ok(rows) => rows,
        Err(error) if is_absent(&error) => return Ok(History::default()),
        Err(error) if error.sqlstate() == Some(SqlState::UNDEFINED_COLUMN.code()) => {
            return Err(layout::not_ours(&tables.schema, &error.to_string()));
        }
        Err(error) => {
            let what = format!("reading the history in schema {}", tables.schema);
            return Err(error.into_failure(&what, &format!("it needs: {}", tables.grants(who))));
        }
    };
    let mut history = History::default();
    // An answer to another question must not pass for an empty history, nor for one that was edited.
    let kinds = ["layout", "set", "migration", "retrying"];
    let first = |row: &Row, wanted: &[&str]| row.get(0).is_some_and(|kind| wanted.contains(&kind));
    if !rows.iter().all(|row| first(row, &kinds)) || !rows.iter().any(|row| first(row, &["layout"])) {
        return Err(Failure::new(
            Reason::Retrying,
            format!(
                "reading the history in schema {}: the answer isn't one to what was asked; it is tried again",
                tables.schema
            ),
        ));
    }
    for row in &rows {
        if row.get(0) == Some("layout") {
            layout::is_known(row.get(1), tables)?;
            continue;
        }
        parse(row, &mut history).map_err(|what| {
            Failure::new(
                Reason::InvalidSpec,
                format!(
                    "spec.history: a row of {} can't be read: {what}; was it edited by hand? Put it back as it was",
                    tables.table("migration")
                ),
            )
        })?;
    }
    Ok(history)
}

/// Whether the tables (3F000: or their schema) aren't there yet.
fn is_absent(error: &SqlError) -> bool {
    error
        .sqlstate()
        .is_some_and(|state| state == SqlState::UNDEFINED_TABLE.code() || state == SqlState::INVALID_SCHEMA_NAME.code())
}

/// The most that a column holds in which Dunlin writes what went wrong; others hold names and digests.
const LONGEST_ERROR: usize = 256 * 1024;
const LONGEST_VALUE: usize = 4 * 1024;
const ERROR: usize = 14;

fn parse(row: &Row, history: &mut History) -> Result<(), String> {
    let longest = |column| if column == ERROR { LONGEST_ERROR } else { LONGEST_VALUE };
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
        }),
        other => return Err(format!("unexpected row {other:?}")),
    }
    Ok(())
}

fn recorded(row: &Row) -> Result<Recorded, String> {
    let text = |column: usize| row.get(column).map(str::to_owned);
    let small = |column: usize| row.get(column).and_then(|value| value.parse::<u32>().ok());
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
        run: Run {
            id: integer(row, 10)?,
            outcome: match row.get(11) {
                Some("running") => RunOutcome::Running,
                Some("succeeded") => RunOutcome::Succeeded,
                Some("failed") => RunOutcome::Failed,
                Some("interrupted") => RunOutcome::Interrupted,
                Some("retrying") => RunOutcome::Retrying,
                other => return Err(format!("outcome {other:?}")),
            },
            inputs: text(12).unwrap_or_default(),
            attempts: integer(row, 13)?,
            error: text(14).map(|message| RunError {
                message,
                sqlstate: text(15),
                statement: small(16),
                line: small(17),
                column: small(18),
            }),
            resolution: row.get(19).map(action).transpose()?,
            finished_at: text(20),
            statements_done: small(21).unwrap_or(0),
            prefix: text(22),
        },
    })
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
