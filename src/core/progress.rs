//! What a server's progress views say of a statement under way → a phase, and how much of it is done. Pure.
//!
//! A percentage is given only where the server itself gives a total for the phase that it is in; counters of another phase,
//! which some views keep standing, are never taken for it. What may not be seen is nothing, never an error.

use std::fmt;

use serde_json::Value;

/// What a statement is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// In the server's words, such as `building index: scanning table`.
    pub phase: String,
    /// How much of this phase is done, 0 to 100; None where the server gives no total.
    pub percent: Option<u8>,
}

/// A backend in the way, or a transaction that was prepared for two-phase commit and waits for its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// Its process id; a prepared transaction has none.
    pub pid: Option<i32>,
    /// `application_name`, when it may be seen; `prepared transaction …` and its identifier.
    pub application: Option<String>,
    /// The role, when it may be seen.
    pub user: Option<String>,
    /// Its query, when it may be seen.
    pub query: Option<String>,
    /// Since when its transaction or query is open, RFC 3339 in UTC.
    pub since: Option<String>,
}

/// A view of the server (PostgreSQL 18 manual, 27.4). Base backups are none of a migration's statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the manual explains each")]
pub enum View {
    CreateIndex,
    Vacuum,
    Cluster,
    Analyze,
    Copy,
}

impl View {
    /// Every view. A backend stands in one of them at most.
    pub const ALL: [Self; 5] = [Self::CreateIndex, Self::Vacuum, Self::Cluster, Self::Analyze, Self::Copy];

    /// Its name, in `pg_catalog`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateIndex => "pg_stat_progress_create_index",
            Self::Vacuum => "pg_stat_progress_vacuum",
            Self::Cluster => "pg_stat_progress_cluster",
            Self::Analyze => "pg_stat_progress_analyze",
            Self::Copy => "pg_stat_progress_copy",
        }
    }
}

/// Reads a row of a view, as an object of its columns: which there are depends on the server's version. None where the
/// login may not see them.
#[must_use]
pub fn progress(view: View, row: &Value) -> Option<Progress> {
    let row = Row(row);
    let (phase, percent) = match view {
        View::CreateIndex => create_index(&row)?,
        View::Vacuum => vacuum(&row)?,
        View::Cluster => cluster(&row)?,
        View::Analyze => analyze(&row)?,
        View::Copy => copy(&row)?,
    };
    Some(Progress { phase, percent })
}

/// `CREATE INDEX` and `REINDEX`. The phases of a build are the access method's own: only those of a B-tree and, from 18,
/// of GIN have names.
fn create_index(row: &Row<'_>) -> Option<(String, Option<u8>)> {
    let phase = row.text("phase")?;
    let blocks = row.percent("blocks_done", "blocks_total");
    let tuples = row.percent("tuples_done", "tuples_total");
    let percent = if phase.starts_with("waiting for ") {
        row.percent("lockers_done", "lockers_total")
    } else if phase.contains(": scanning ") {
        blocks
    } else if phase.contains(": loading tuples") || phase.contains(": merging tuples") {
        tuples
    } else if phase == "building index" {
        // Of a method without names for its phases: the table is scanned, then what was read is put in order, which has
        // a total for a hash index alone.
        tuples.or_else(|| blocks.filter(|percent| *percent < 100))
    } else {
        // Sorting: the counters are those of the scan before it.
        None
    };
    Some((row.of_several(phase, "partition", "partitions_done", "partitions_total"), percent))
}

fn vacuum(row: &Row<'_>) -> Option<(String, Option<u8>)> {
    let phase = row.text("phase")?;
    let percent = match phase {
        "scanning heap" => row.percent("heap_blks_scanned", "heap_blks_total"),
        "vacuuming heap" => row.percent("heap_blks_vacuumed", "heap_blks_total"),
        // From 17 on.
        "vacuuming indexes" | "cleaning up indexes" => row.percent("indexes_processed", "indexes_total"),
        _ => None,
    };
    Some((format!("VACUUM: {phase}"), percent))
}

/// `CLUSTER` and `VACUUM FULL`.
fn cluster(row: &Row<'_>) -> Option<(String, Option<u8>)> {
    let (command, phase) = (row.text("command")?, row.text("phase")?);
    let percent = match phase {
        "seq scanning heap" => row.percent("heap_blks_scanned", "heap_blks_total"),
        // What was sorted is what was scanned.
        "writing new heap" => row.percent("heap_tuples_written", "heap_tuples_scanned"),
        _ => None,
    };
    Some((format!("{command}: {phase}"), percent))
}

fn analyze(row: &Row<'_>) -> Option<(String, Option<u8>)> {
    let phase = row.text("phase")?;
    let percent = match phase {
        "acquiring sample rows" => row.percent("sample_blks_scanned", "sample_blks_total"),
        // The blocks are those of one child after the other.
        "acquiring inherited sample rows" => row.percent("child_tables_done", "child_tables_total"),
        "computing extended statistics" => row.percent("ext_stats_computed", "ext_stats_total"),
        _ => None,
    };
    Some((format!("ANALYZE: {phase}"), percent))
}

/// A total is there only when the server reads a file.
fn copy(row: &Row<'_>) -> Option<(String, Option<u8>)> {
    Some((row.text("command")?.to_owned(), row.percent("bytes_processed", "bytes_total")))
}

struct Row<'a>(&'a Value);

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> Option<&'a str> {
        self.0.get(column)?.as_str()
    }

    fn number(&self, column: &str) -> Option<u64> {
        self.0.get(column)?.as_u64()
    }

    /// Tables and files grow while they are read: what is done may be more than there was.
    fn percent(&self, done: &str, total: &str) -> Option<u8> {
        let (done, total) = (self.number(done)?, self.number(total)?);
        let percent = (u128::from(done) * 100).checked_div(u128::from(total))?;
        Some(u8::try_from(percent).unwrap_or(u8::MAX).min(100))
    }

    fn of_several(&self, phase: &str, one: &str, done: &str, total: &str) -> String {
        match (self.number(done), self.number(total)) {
            (Some(done), Some(total)) if total > 0 => {
                format!("{phase} ({one} {} of {total})", done.saturating_add(1).min(total))
            }
            _ => phase.to_owned(),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.phase)?;
        self.percent.map_or(Ok(()), |percent| write!(f, " {percent}%"))
    }
}

/// Who it is, as far as that may be seen: `pid 4711 (psql, till)`.
impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, application, user, query: _, since: _ } = self;
        let pid = pid.map(|pid| format!("pid {pid}"));
        let mut known = [&pid, application, user].into_iter().flatten().filter(|text| !text.is_empty());
        f.write_str(known.next().map_or("an unknown session", String::as_str))?;
        let aside: Vec<&str> = known.map(String::as_str).collect();
        if aside.is_empty() { Ok(()) } else { write!(f, " ({})", aside.join(", ")) }
    }
}

/// The first of several blockers, and how many more there are; None when nobody is in the way.
#[must_use]
pub fn in_the_way(blockers: &[Blocker]) -> Option<String> {
    let first = blockers.first()?;
    Some(match blockers.len() {
        1 => first.to_string(),
        several => format!("{first} and {} more", several - 1),
    })
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
