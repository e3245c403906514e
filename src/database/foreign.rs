//! Other tools' histories: where their tables are, what stands in them, and which lock guards them. Reads only.
//!
//! Of each tool it is known what its table is called and which columns it has. A tool's table is where that tool's search path
//! led it, which is not ours: it is looked for in every schema.

use tokio_postgres::Client;

use super::{
    error::SqlError,
    quote,
    session::{self, Row, SessionSql},
};
use crate::core::{
    adopt::{Adopt, Foreign, ForeignRow, ForeignState, Tool},
    outcome::{Failure, Reason},
};

/// Migretti's own, unless its settings say otherwise (`migretti/db.py`).
const MIGRETTI_LOCK: i64 = 894_321;
/// psqlmodel's, made of the database's name (`psqlmodel/migrations/state.py`).
const PSQLMODEL_LOCK: &str = "SELECT ('x' || pg_catalog.substr(pg_catalog.md5('psqlmodel_migrations_' || \
     pg_catalog.current_database()), 1, 15))::pg_catalog.bit(60)::pg_catalog.int8";
/// Where Migretti writes down who did what.
const MIGRETTI_LOG: &str = "_migrations_log";
/// The most that a value is believed to hold: the tools' own columns hold 255 characters.
const LONGEST: usize = 4 * 1024;

/// A table that may be the tool's.
struct Candidate {
    schema: String,
    table: String,
    columns: Vec<String>,
}

impl Candidate {
    fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    fn quoted(&self) -> String {
        format!("{}.{}", quote::identifier(&self.schema), quote::identifier(&self.table))
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }

    /// The column, or NULL where an older version of the tool made the table without it.
    fn column(&self, name: &str) -> String {
        if self.has(name) { format!("t.{}", quote::identifier(name)) } else { "NULL".to_owned() }
    }
}

/// The key of the advisory lock under which the tool works; None where it has none.
///
/// # Errors
/// The session was lost.
pub async fn lock_key(client: &Client, from: Tool) -> Result<Option<i64>, Failure> {
    match from {
        Tool::Migretti => Ok(Some(MIGRETTI_LOCK)),
        Tool::Psqlmodel => {
            let rows = session::query(client, PSQLMODEL_LOCK).await;
            let rows = rows.map_err(|error| error.into_failure("asking for psqlmodel's lock", ""))?;
            Ok(rows.first().and_then(|row| row.get(0)).and_then(|key| key.parse().ok()))
        }
        Tool::Metapg | Tool::Herogold => Ok(None),
    }
}

/// Reads the tool's table, wherever it is, but in `ours`, the schema of our own history.
///
/// # Errors
/// `PermissionDenied` with the GRANT that `who` needs; `Retrying`.
pub async fn read(client: &Client, sql: &SessionSql, adopt: &Adopt, ours: &str, who: &str) -> Result<Foreign, Failure> {
    let what = format!("looking for the history of {}", adopt.from);
    let found = look(client, sql, &tables_query(adopt, ours)).await;
    let found = candidates(&found.map_err(|error| error.into_failure(&what, ""))?);
    let is_log = |candidate: &&Candidate| candidate.table == MIGRETTI_LOG;
    let (logs, tables): (Vec<_>, Vec<_>) = found.iter().partition(is_log);
    let lacking = |table: &Candidate| -> Vec<&str> {
        required(adopt.from).iter().filter(|column| !table.has(column)).copied().collect()
    };
    let (fit, unfit): (Vec<&Candidate>, Vec<_>) = tables.into_iter().partition(|table| lacking(table).is_empty());
    let table = match fit[..] {
        [] => {
            let unfit = unfit.into_iter().map(|table| {
                format!("{} is there, and has no column {}", table.shown(), lacking(table).join(", nor "))
            });
            return Ok(Foreign::Absent { unfit: unfit.collect() });
        }
        [table] => table,
        _ => return Ok(Foreign::Several(fit.iter().map(|table| table.shown()).collect())),
    };
    let log = logs.into_iter().find(|log| log.schema == table.schema);
    let answer = look(client, sql, &rows_query(adopt.from, table, log)).await.map_err(|error| {
        let who = quote::identifier(who);
        let schema = quote::identifier(&table.schema);
        let cure =
            format!("it needs: GRANT USAGE ON SCHEMA {schema} TO {who}; GRANT SELECT ON {} TO {who}", table.quoted());
        error.into_failure(&format!("reading the history of {} in {}", adopt.from, table.shown()), &cure)
    })?;
    let rows = answer.iter().map(|row| foreign_row(row, adopt.from));
    let rows = rows.collect::<Option<Vec<_>>>().ok_or_else(|| {
        let what = format!("reading {}: the answer isn't one to what was asked; it is tried again", table.shown());
        Failure::new(Reason::Retrying, what)
    })?;
    Ok(Foreign::Table { name: table.shown(), rows })
}

/// One look, which leaves no transaction behind.
async fn look(client: &Client, sql: &SessionSql, query: &str) -> Result<Vec<Row>, SqlError> {
    let answer = session::query(client, &sql.look(query)).await;
    if answer.as_ref().is_err_and(|error| !error.ends_session()) {
        session::query(client, "ROLLBACK").await?;
    }
    answer
}

/// Columns without which a table is somebody else's: others call theirs `migrations`, too.
fn required(from: Tool) -> &'static [&'static str] {
    match from {
        Tool::Migretti => &["id", "applied_at", "checksum"],
        Tool::Metapg => &["name", "version", "checksum", "applied_at", "error"],
        Tool::Psqlmodel => &["version", "applied_at", "rolled_back_at"],
        Tool::Herogold => &["name", "batch", "applied_at"],
    }
}

/// The query for tables that may be the tool's, and for what of its own stands beside them; each with its columns.
fn tables_query(adopt: &Adopt, ours: &str) -> String {
    let (schema, names) = match adopt.table.as_deref().map(|table| (table, table.split_once('.'))) {
        Some((_, Some((schema, name)))) => (Some(schema), vec![name]),
        Some((name, None)) => (None, vec![name]),
        None => (None, adopt.from.tables().to_vec()),
    };
    let in_schema = schema.map_or_else(String::new, |schema| format!("AND n.nspname = {}", quote::literal(schema)));
    let log = match adopt.from {
        Tool::Migretti => {
            format!("OR c.relname = '{MIGRETTI_LOG}' AND pg_catalog.has_table_privilege(c.oid, 'SELECT')")
        }
        Tool::Metapg | Tool::Psqlmodel | Tool::Herogold => String::new(),
    };
    format!(
        "SELECT n.nspname, c.relname, (SELECT pg_catalog.array_to_string(pg_catalog.array_agg(a.attname::pg_catalog.text), ',') \
         FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND n.nspname <> {ours} \
         AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
         AND (c.relname = ANY ({names}) {in_schema} {log}) ORDER BY n.nspname, c.relname",
        ours = quote::literal(ours),
        names = quote::text_array(names),
    )
}

fn candidates(rows: &[Row]) -> Vec<Candidate> {
    let text = |row: &Row, column: usize| row.get(column).unwrap_or_default().to_owned();
    let one = |row: &Row| Candidate {
        schema: text(row, 0),
        table: text(row, 1),
        columns: row.get(2).unwrap_or_default().split(',').map(str::to_owned).collect(),
    };
    rows.iter().map(one).collect()
}

/// The query for what stands in the tool's table: version, name, state, checksum, time, duration, who, and batch. A time
/// without a zone is taken for UTC.
fn rows_query(from: Tool, table: &Candidate, log: Option<&Candidate>) -> String {
    let column = |name: &str| table.column(name);
    let text = |name: &str| format!("({})::pg_catalog.text", table.column(name));
    let null = || "NULL".to_owned();
    let whole = |name: &str| format!("pg_catalog.round(({})::pg_catalog.numeric)::pg_catalog.int8", table.column(name));
    let (version, name, state, checksum, duration, batch) = match from {
        Tool::Migretti => {
            let state =
                format!("CASE COALESCE({}, 'applied') WHEN 'applied' THEN 'applied' ELSE 'failed' END", text("status"));
            (text("id"), null(), state, text("checksum"), null(), null())
        }
        Tool::Metapg => {
            let state = format!("CASE WHEN {} IS NULL THEN 'applied' ELSE 'failed' END", column("error"));
            (text("version"), text("name"), state, text("checksum"), whole("duration_ms"), null())
        }
        Tool::Psqlmodel => {
            let state = format!("CASE WHEN {} IS NULL THEN 'applied' ELSE 'rolled_back' END", column("rolled_back_at"));
            (text("version"), null(), state, null(), whole("execution_time_ms"), null())
        }
        Tool::Herogold => (null(), text("name"), "'applied'".to_owned(), null(), null(), whole("batch")),
    };
    let (by, join) = match log {
        Some(log) => (
            "l.performed_by",
            format!(
                " LEFT JOIN (SELECT DISTINCT ON (l.migration_id) l.migration_id, l.performed_by FROM {} AS l \
                 WHERE l.action <> 'DOWN' ORDER BY l.migration_id, l.id DESC) AS l ON l.migration_id = t.id",
                log.quoted()
            ),
        ),
        None => ("NULL", String::new()),
    };
    format!(
        "SET LOCAL TimeZone = 'UTC'; SELECT {version}, {name}, {state}, {checksum}, \
         NULLIF(pg_catalog.to_char({at}::pg_catalog.timestamptz, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), ''), \
         {duration}, {by}, {batch} FROM {table} AS t{join}",
        at = column("applied_at"),
        table = table.quoted(),
    )
}

/// None for what no such row says.
fn foreign_row(row: &Row, from: Tool) -> Option<ForeignRow> {
    if row.columns() != 8 || (0..8).any(|column| row.get(column).is_some_and(|value| value.len() > LONGEST)) {
        return None;
    }
    let text = |column: usize| row.get(column).map(str::to_owned);
    let number = |column: usize| row.get(column).and_then(|value| value.parse::<i64>().ok());
    let stem = text(1).map(|name| match from {
        Tool::Herogold => name.strip_suffix(".py").unwrap_or(&name).to_owned(),
        Tool::Migretti | Tool::Metapg | Tool::Psqlmodel => name,
    });
    Some(ForeignRow {
        version: text(0),
        stem,
        state: match row.get(2)? {
            "applied" => ForeignState::Applied,
            "rolled_back" => ForeignState::RolledBack,
            "failed" => ForeignState::Failed,
            _ => return None,
        },
        checksum: text(3).filter(|checksum| !checksum.is_empty()),
        applied_at: text(4),
        duration_ms: number(5).unwrap_or_default(),
        by: text(6).filter(|by| !by.is_empty()),
        batch: number(7),
    })
}
