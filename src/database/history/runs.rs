//! The last runs of a set, whatever became of them: who did what, when, for how long, and how it ended.

use std::collections::HashMap;

use super::{Tables, layout, read::is_absent};
use crate::{
    core::outcome::{Failure, Reason},
    database::{error::SqlError, session::Row},
};

/// The most of a message that is read; the whole of it stays in the history.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// A row of `dunlin.run`, as the history's columns have it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns are described in the contract")]
pub struct PastRun {
    pub id: i64,
    pub version: String,
    pub name: String,
    pub direction: String,
    pub kind: String,
    pub outcome: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub duration_ms: Option<i64>,
    pub attempts: i64,
    pub batch: i64,
    pub performed_by: String,
    pub checksum: String,
    pub source_digest: Option<String>,
    pub plan_digest: Option<String>,
    pub generation: Option<i64>,
    pub error: Option<String>,
    pub sqlstate: Option<String>,
    /// DETAIL, which may hold rows.
    pub detail: Option<String>,
    pub statement: Option<i64>,
    pub line: Option<i64>,
    pub column: Option<i64>,
    pub resolution: Option<String>,
    pub resolved_by: Option<String>,
    pub resolved_at: Option<String>,
}

/// The query for the last runs but so many that are newer still, the newest first; a row says in its first column what it is.
#[must_use]
pub fn query(tables: &Tables, last: u32, skipped: u32) -> String {
    let time =
        |column: &str| format!("pg_catalog.to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')");
    format!(
        "SELECT 'layout', {mark}; \
         SELECT 'run', r.id, r.version, r.name, r.direction, r.kind, r.outcome, {started}, {finished}, \
         (EXTRACT(epoch FROM r.finished_at - r.started_at) * 1000)::pg_catalog.int8, r.attempts, r.batch, r.performed_by, r.checksum, \
         r.source_digest, r.plan_digest, r.generation, pg_catalog.\"left\"(r.error, {LONGEST_MESSAGE}), r.sqlstate, r.statement, \
         r.error_line, r.error_column, r.resolution, r.resolved_by, {resolved}, pg_catalog.\"left\"(r.detail, {LONGEST_MESSAGE}) \
         FROM {run} AS r WHERE r.\"set\" = {set} ORDER BY r.id DESC LIMIT {last} OFFSET {skipped}",
        mark = layout::mark_sql(tables),
        started = time("r.started_at"),
        finished = time("r.finished_at"),
        resolved = time("r.resolved_at"),
        run = tables.table("run"),
        set = tables.set_literal(),
    )
}

/// The query for who performed the run that each migration of the set is at.
#[must_use]
pub fn performers_query(tables: &Tables) -> String {
    format!(
        "SELECT 'layout', {mark}; \
         SELECT 'performer', r.id, r.performed_by FROM {migration} AS m JOIN {run} AS r ON r.id = m.run WHERE m.\"set\" = {set}",
        mark = layout::mark_sql(tables),
        migration = tables.table("migration"),
        run = tables.table("run"),
        set = tables.set_literal(),
    )
}

/// What the rows say, the newest last; of a history that isn't there yet there are none.
///
/// # Errors
/// `PermissionDenied` with the GRANT that `who` needs, `Retrying`, or `InvalidSpec` for tables and rows that no Dunlin
/// wrote, or a newer one.
pub fn runs(answer: Result<Vec<Row>, SqlError>, tables: &Tables, who: &str) -> Result<Vec<PastRun>, Failure> {
    let mut runs = read(answer, tables, who, "run", past)?;
    runs.reverse();
    Ok(runs)
}

/// Who performed which run.
///
/// # Errors
/// As [`runs`].
pub fn performers(
    answer: Result<Vec<Row>, SqlError>,
    tables: &Tables,
    who: &str,
) -> Result<HashMap<i64, String>, Failure> {
    let one = |row: &Row| Some((row.get(1)?.parse().ok()?, row.get(2)?.to_owned()));
    Ok(read(answer, tables, who, "performer", one)?.into_iter().collect())
}

fn read<T>(
    answer: Result<Vec<Row>, SqlError>,
    tables: &Tables,
    who: &str,
    kind: &str,
    one: impl Fn(&Row) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let rows = match answer {
        Ok(rows) => rows,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => {
            let what = format!("reading the runs in schema {}", tables.schema);
            return Err(error.into_failure(&what, &format!("it needs: {}", tables.grants(who))));
        }
    };
    let mut read = Vec::new();
    for row in &rows {
        match row.get(0) {
            Some("layout") => {
                layout::is_known(row.get(1), tables)?;
            }
            Some(of) if of == kind => read.push(one(row).ok_or_else(|| {
                let what = format!("history: a row of {} can't be read; was it edited by hand?", tables.table("run"));
                Failure::new(Reason::InvalidSpec, format!("{what} Put it back as it was"))
            })?),
            _ => {
                let what = format!("reading the runs in schema {}", tables.schema);
                return Err(Failure::new(Reason::Retrying, format!("{what}: the answer isn't one to what was asked")));
            }
        }
    }
    Ok(read)
}

fn past(row: &Row) -> Option<PastRun> {
    let text = |column: usize| row.get(column).map(str::to_owned);
    let number = |column: usize| row.get(column).and_then(|value| value.parse::<i64>().ok());
    Some(PastRun {
        id: number(1)?,
        version: text(2)?,
        name: text(3)?,
        direction: text(4)?,
        kind: text(5)?,
        outcome: text(6)?,
        started_at: text(7),
        finished_at: text(8),
        duration_ms: number(9),
        attempts: number(10)?,
        batch: number(11)?,
        performed_by: text(12)?,
        checksum: text(13)?,
        source_digest: text(14),
        plan_digest: text(15),
        generation: number(16),
        error: text(17),
        sqlstate: text(18),
        statement: number(19),
        line: number(20),
        column: number(21),
        resolution: text(22),
        resolved_by: text(23),
        resolved_at: text(24),
        detail: text(25),
    })
}
