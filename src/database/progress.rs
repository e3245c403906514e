//! A look at what a working session does and waits for, on another connection: one round trip, and reads alone.
//!
//! It explains; nothing is ever decided by it.

use tokio_postgres::Client;

use super::{
    error::SqlError,
    session::{self, Row},
};
use crate::core::progress::{Blocker, Progress, View, progress};

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// What the server says that it does, if that is among what it tells of.
    pub progress: Option<Progress>,
    /// Who holds the locks that it waits for.
    pub blockers: Vec<Blocker>,
}

/// Marks the rows of blockers among those of the views.
const BLOCKER: &str = "blocker";

/// Looks at the backend of that process.
///
/// Backends of other roles show little or nothing, unless the login may read all statistics (`pg_read_all_stats`).
///
/// # Errors
/// [`SqlError`].
pub async fn look(watching: &Client, pid: i32) -> Result<Look, SqlError> {
    let rows = session::query(watching, &query(pid)).await?;
    let (blockers, progress): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.get(0) == Some(BLOCKER));
    Ok(Look {
        progress: progress.into_iter().find_map(progress_in),
        blockers: blockers.into_iter().map(blocker_in).collect(),
    })
}

/// The columns of the views differ from version to version: whole rows are asked for.
fn query(pid: i32) -> String {
    let views: Vec<String> = View::ALL
        .iter()
        .map(|view| {
            let name = view.name();
            format!("SELECT '{name}', pg_catalog.to_jsonb(p)::pg_catalog.text FROM pg_catalog.{name} AS p WHERE p.pid = {pid}")
        })
        .collect();
    let utc = |time: &str| format!("pg_catalog.to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    // A prepared transaction has no backend, and counts as process 0 among those that block (manual, 9.27.1). Which one it
    // is, the locks say: it holds its own id beside what is waited for. They are asked only where there is any.
    format!(
        "SELECT '{BLOCKER}', a.pid, a.application_name, a.usename::pg_catalog.text, pg_catalog.left(a.query, 200), {since} \
         FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = ANY (pg_catalog.pg_blocking_pids({pid})) \
         UNION ALL SELECT '{BLOCKER}', NULL, 'prepared transaction ' || p.gid, p.owner::pg_catalog.text, NULL, {prepared} \
         FROM pg_catalog.pg_prepared_xacts AS p WHERE 0 = ANY (pg_catalog.pg_blocking_pids({pid})) AND (SELECT pg_catalog.count(*) \
         FROM pg_catalog.pg_locks AS w JOIN pg_catalog.pg_locks AS h ON h.granted AND h.locktype = w.locktype \
         AND h.database IS NOT DISTINCT FROM w.database AND h.relation IS NOT DISTINCT FROM w.relation \
         AND h.transactionid IS NOT DISTINCT FROM w.transactionid AND h.pid IS NULL \
         JOIN pg_catalog.pg_locks AS x ON x.virtualtransaction = h.virtualtransaction AND x.pid IS NULL \
         WHERE w.pid = {pid} AND NOT w.granted AND x.locktype = 'transactionid' AND x.transactionid = p.transaction) > 0 \
         ORDER BY 2, 3; {views}",
        since = utc("COALESCE(a.xact_start, a.query_start)"),
        prepared = utc("p.prepared"),
        views = views.join(" UNION ALL "),
    )
}

fn progress_in(row: &Row) -> Option<Progress> {
    let view = View::ALL.into_iter().find(|view| row.get(0) == Some(view.name()))?;
    progress(view, &serde_json::from_str(row.get(1)?).ok()?)
}

fn blocker_in(row: &Row) -> Blocker {
    let text = |column| row.get(column).filter(|text: &&str| !text.is_empty()).map(str::to_owned);
    let application = text(2);
    // A statement of Dunlin's may hold the values of another set's variables.
    let is_ours = application.as_ref().is_some_and(|application| application.starts_with("dunlin/"));
    Blocker {
        pid: row.get(1).and_then(|pid| pid.parse().ok()),
        application,
        user: text(3),
        query: text(4).filter(|query| !is_ours && !query.starts_with("<insufficient privilege>")),
        since: text(5),
    }
}
