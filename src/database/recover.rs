//! What the catalog says about a statement that was cut off: done, to be done again, or nobody knows.
//!
//! Asked only while the set's lock is held, which proves that the old session has ended. The session is the file's: names
//! are resolved under its path, as the statement's own are, and everything else is asked under ours, so that operators and
//! functions of the file's don't answer.

use tokio_postgres::Client;

use super::{
    error::SqlError,
    quote,
    session::{Row, query, shielded},
};
use crate::core::sql::{Alone, classify::QualifiedName, rewrite::probe_index};

/// The verdict on a statement that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What it asks for is there.
    Done,
    /// It is to be run again, after these statements.
    Again {
        /// Each sent by itself.
        first: Vec<String>,
    },
    /// This statement ends what was begun.
    Finish {
        /// Sent by itself, in the place of the file's own.
        sql: String,
    },
    /// A person must look.
    Unproven(String),
    /// Another session is at work on it.
    Busy(String),
}

/// What is written down before the statement, as jsonb text, by which a rerun is proven.
///
/// # Errors
/// [`SqlError`].
pub async fn before(client: &Client, alone: &Alone) -> Result<Option<String>, SqlError> {
    let sql = match alone {
        Alone::CreateIndexConcurrently { table, .. } => format!(
            "SELECT pg_catalog.jsonb_build_object('indexes', COALESCE(pg_catalog.jsonb_agg(i.indexrelid::pg_catalog.int8), '[]')) \
             FROM pg_catalog.pg_index AS i WHERE i.indrelid = {}",
            oid(client, table).await?
        ),
        Alone::DropIndexConcurrently { name, .. } => {
            format!("SELECT pg_catalog.jsonb_build_object('index', {}::pg_catalog.int8)", oid(client, name).await?)
        }
        Alone::DetachConcurrently { parent, partition } => format!(
            "SELECT pg_catalog.jsonb_build_object('parent', {}::pg_catalog.int8, 'partition', {}::pg_catalog.int8)",
            oid(client, parent).await?,
            oid(client, partition).await?
        ),
        Alone::Reindex { concurrently: true } => {
            "SELECT pg_catalog.jsonb_build_object('invalid', COALESCE(pg_catalog.jsonb_agg(i.indexrelid::pg_catalog.int8), '[]')) \
             FROM pg_catalog.pg_index AS i WHERE NOT i.indisvalid"
                .to_owned()
        }
        Alone::CreateDatabase { name } => {
            format!("SELECT pg_catalog.jsonb_build_object('exists', EXISTS ({}))", database(name))
        }
        Alone::Reindex { concurrently: false }
        | Alone::DropDatabase { .. }
        | Alone::Repeatable
        | Alone::Unproven => return Ok(None),
    };
    let rows = ask(client, &sql).await?;
    Ok(rows.first().and_then(|row| row.get(0)).map(str::to_owned))
}

/// What a statement has left behind that doesn't do what it should: an invalid index.
///
/// # Errors
/// [`SqlError`].
pub async fn aftermath(client: &Client, alone: &Alone, before: Option<&str>) -> Result<Option<String>, SqlError> {
    let names: Vec<String> = match alone {
        Alone::CreateIndexConcurrently { name, table, .. } => {
            let filter = format!("NOT i.indisvalid AND {}", made(name.as_deref(), before));
            let found = indexes(client, table, &filter).await?;
            found.iter().filter_map(|row| row.get(1)).map(str::to_owned).collect()
        }
        Alone::Reindex { concurrently: true } => {
            leftovers(client, before).await?.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect()
        }
        Alone::DropIndexConcurrently { .. }
        | Alone::DetachConcurrently { .. }
        | Alone::Reindex { concurrently: false }
        | Alone::CreateDatabase { .. }
        | Alone::DropDatabase { .. }
        | Alone::Repeatable
        | Alone::Unproven => Vec::new(),
    };
    let left: Vec<String> = names
        .iter()
        .map(|name| {
            format!("the index {name} is there but invalid; before Retry or Resume, DROP INDEX CONCURRENTLY {name}")
        })
        .collect();
    Ok((!left.is_empty()).then(|| left.join("; ")))
}

/// Judges a statement whose intent is open.
///
/// # Errors
/// [`SqlError`].
pub async fn judge(client: &Client, alone: &Alone, statement: &str, before: Option<&str>) -> Result<Verdict, SqlError> {
    match alone {
        Alone::CreateIndexConcurrently { name, table, .. } => {
            create_index(client, name.as_deref(), table, statement, before).await
        }
        Alone::DropIndexConcurrently { if_exists, .. } => {
            // The name may stand for another index by now, in another schema of the path.
            let Some(index) = recorded_oid(before, "index") else {
                return Ok(if *if_exists { Verdict::Done } else { again() });
            };
            let sql = format!("SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = {index})");
            Ok(if truth(client, &sql).await? { Verdict::Done } else { again() })
        }
        Alone::DetachConcurrently { .. } => detach(client, before).await,
        Alone::Reindex { concurrently: true } => reindex(client, before).await,
        Alone::CreateDatabase { name } => {
            let there = truth(client, &format!("SELECT EXISTS ({})", database(name))).await?;
            match (there, member(before, "exists").contains("true")) {
                (true, false) => Ok(Verdict::Done),
                (true, true) => Ok(Verdict::Unproven(format!("database {name} was there before"))),
                (false, _) => Ok(again()),
            }
        }
        Alone::DropDatabase { name } => {
            let gone = truth(client, &format!("SELECT NOT EXISTS ({})", database(name))).await?;
            Ok(if gone { Verdict::Done } else { again() })
        }
        Alone::Reindex { concurrently: false } | Alone::Repeatable => Ok(again()),
        Alone::Unproven => Ok(Verdict::Unproven("nothing in the catalog proves what it did".to_owned())),
    }
}

async fn create_index(
    client: &Client,
    name: Option<&str>,
    table: &QualifiedName,
    statement: &str,
    before: Option<&str>,
) -> Result<Verdict, SqlError> {
    let found = indexes(client, table, &made(name, before)).await?;
    match found.as_slice() {
        [] => match name {
            Some(name) if name_taken(client, table, name).await? => {
                Ok(Verdict::Unproven(format!("the name {name} belongs to another relation")))
            }
            _ => Ok(again()),
        },
        [index] => one_index(client, index, table, statement).await,
        _ => Ok(Verdict::Unproven("several indexes of the table are new".to_owned())),
    }
}

async fn one_index(client: &Client, index: &Row, table: &QualifiedName, statement: &str) -> Result<Verdict, SqlError> {
    let column = |column: usize| index.get(column).unwrap_or_default().to_owned();
    let (name, valid, definition) = (column(1), column(2) == "t", column(3));
    match asked_definition(client, table, statement).await? {
        Some(asked) if asked == shape(&definition) => {}
        Some(_) => {
            return Ok(Verdict::Unproven(format!("the index {name} is there with another definition: {definition}")));
        }
        None => {
            return Ok(Verdict::Unproven(format!(
                "the index {name} can't be compared with the statement: {definition}"
            )));
        }
    }
    if valid {
        return Ok(Verdict::Done);
    }
    if let Some(pid) = at_work_on(client, &column(4)).await? {
        return Ok(Verdict::Busy(format!("the index {name} is invalid, and pid {pid} is at work on its table")));
    }
    Ok(Verdict::Again { first: vec![format!("DROP INDEX CONCURRENTLY {name}")] })
}

/// What `pg_get_indexdef` would say of the statement's index: the server is asked, on an empty copy of the table, in a
/// transaction that is rolled back. None when it can't be made there.
async fn asked_definition(client: &Client, table: &QualifiedName, statement: &str) -> Result<Option<String>, SqlError> {
    let Some(probe) = probe_index(statement, "pg_temp.dunlin_probe") else { return Ok(None) };
    // Under the file's path, as the index itself; the question under ours, as the one about the index that is there.
    let sql = format!(
        "BEGIN READ WRITE; CREATE TEMPORARY TABLE dunlin_probe (LIKE {} INCLUDING GENERATED); {probe}\n; \
         SET LOCAL search_path = pg_catalog; \
         SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index AS i \
         WHERE i.indrelid = 'pg_temp.dunlin_probe'::pg_catalog.regclass; ROLLBACK",
        qualified(table)
    );
    match query(client, &sql).await {
        Ok(rows) => Ok(rows.first().and_then(|row| row.get(0)).map(shape)),
        Err(error) if error.ends_session() => Err(error),
        // The statement doesn't fit the table any more, or temporary tables are forbidden: not comparable, says the caller.
        Err(_) => {
            query(client, "ROLLBACK").await?;
            Ok(None)
        }
    }
}

/// A definition without the names of index and table: whether it is unique, and everything from USING on.
fn shape(definition: &str) -> String {
    let unique = definition.starts_with("CREATE UNIQUE");
    let method = definition.find(" USING ").map_or(definition, |at| &definition[at..]);
    format!("{unique}{method}")
}

async fn detach(client: &Client, before: Option<&str>) -> Result<Verdict, SqlError> {
    let (Some(parent), Some(partition)) = (recorded_oid(before, "parent"), recorded_oid(before, "partition")) else {
        return Ok(again());
    };
    let sql = format!(
        "SELECT h.inhdetachpending, pg_catalog.format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', \
         h.inhparent::pg_catalog.regclass, h.inhrelid::pg_catalog.regclass) \
         FROM pg_catalog.pg_inherits AS h WHERE h.inhparent = {parent} AND h.inhrelid = {partition}"
    );
    let rows = ask(client, &sql).await?;
    let Some(row) = rows.first() else { return Ok(Verdict::Done) };
    Ok(match (row.get(0), row.get(1)) {
        (Some("t"), Some(finalize)) => Verdict::Finish { sql: finalize.to_owned() },
        _ => again(),
    })
}

/// A REINDEX that was cut off leaves invalid copies, which a rerun doesn't remove.
async fn reindex(client: &Client, before: Option<&str>) -> Result<Verdict, SqlError> {
    let left = leftovers(client, before).await?;
    let mut first = Vec::with_capacity(left.len());
    for row in &left {
        let (Some(name), Some(table)) = (row.get(0), row.get(1)) else { continue };
        if let Some(pid) = at_work_on(client, table).await? {
            return Ok(Verdict::Busy(format!("the index {name} is invalid, and pid {pid} is at work on its table")));
        }
        first.push(format!("DROP INDEX CONCURRENTLY {name}"));
    }
    Ok(Verdict::Again { first })
}

/// Copies of REINDEX CONCURRENTLY that weren't there before: names, and the tables' OIDs.
async fn leftovers(client: &Client, before: Option<&str>) -> Result<Vec<Row>, SqlError> {
    let sql = format!(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), i.indrelid \
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' \
         AND NOT ({}::pg_catalog.jsonb @> pg_catalog.to_jsonb(i.indexrelid::pg_catalog.int8))",
        quote::literal(&member(before, "invalid"))
    );
    ask(client, &sql).await
}

/// Another session that builds an index on that table, or holds the lock that builds and vacuums hold. (Autovacuum,
/// which belongs to no role, gives way.)
async fn at_work_on(client: &Client, table: &str) -> Result<Option<String>, SqlError> {
    let sql = format!(
        "SELECT l.pid FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid \
         WHERE l.relation = {table} AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted AND a.usesysid IS NOT NULL \
         AND a.datname = pg_catalog.current_database() AND l.pid <> pg_catalog.pg_backend_pid()"
    );
    Ok(ask(client, &sql).await?.first().and_then(|row| row.get(0)).map(str::to_owned))
}

/// OID, name, validity, definition and table of a table's indexes.
async fn indexes(client: &Client, table: &QualifiedName, filter: &str) -> Result<Vec<Row>, SqlError> {
    let sql = format!(
        "SELECT i.indexrelid, pg_catalog.format('%I.%I', n.nspname, c.relname), i.indisvalid, \
         pg_catalog.pg_get_indexdef(i.indexrelid), i.indrelid \
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE i.indrelid = {} AND {filter}",
        oid(client, table).await?
    );
    ask(client, &sql).await
}

/// Which of a table's indexes a CREATE INDEX may have made: the one of its name, or those that weren't there before.
fn made(name: Option<&str>, before: Option<&str>) -> String {
    match name {
        Some(name) => format!("c.relname = {}", quote::literal(name)),
        None => format!(
            "NOT ({}::pg_catalog.jsonb @> pg_catalog.to_jsonb(i.indexrelid::pg_catalog.int8))",
            quote::literal(&member(before, "indexes"))
        ),
    }
}

/// Whether another table's index, or anything else, has the name in the table's schema.
async fn name_taken(client: &Client, table: &QualifiedName, name: &str) -> Result<bool, SqlError> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.relname = {} AND c.relnamespace = \
         (SELECT t.relnamespace FROM pg_catalog.pg_class AS t WHERE t.oid = {}))",
        quote::literal(name),
        oid(client, table).await?
    );
    truth(client, &sql).await
}

fn database(name: &str) -> String {
    format!("SELECT FROM pg_catalog.pg_database AS d WHERE d.datname = {}", quote::literal(name))
}

/// What a name stands for under the file's path: an OID, or NULL.
async fn oid(client: &Client, name: &QualifiedName) -> Result<String, SqlError> {
    let sql = format!("SELECT pg_catalog.to_regclass({})::pg_catalog.oid", quote::literal(&qualified(name)));
    let rows = query(client, &sql).await?;
    Ok(rows
        .first()
        .and_then(|row| row.get(0))
        .map_or_else(|| "NULL::pg_catalog.oid".to_owned(), |oid| format!("{oid}::pg_catalog.oid")))
}

/// Asks under our own path, and leaves no transaction open.
async fn ask(client: &Client, sql: &str) -> Result<Vec<Row>, SqlError> {
    let answer = query(client, &shielded(sql)).await;
    if let Err(error) = &answer
        && !error.ends_session()
    {
        query(client, "ROLLBACK").await?;
    }
    answer
}

async fn truth(client: &Client, sql: &str) -> Result<bool, SqlError> {
    Ok(ask(client, sql).await?.first().and_then(|row| row.get(0)) == Some("t"))
}

fn again() -> Verdict {
    Verdict::Again { first: Vec::new() }
}

fn qualified(name: &QualifiedName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote::identifier(schema), quote::identifier(&name.name)),
        None => quote::identifier(&name.name),
    }
}

fn recorded_oid(before: Option<&str>, name: &str) -> Option<u32> {
    member(before, name).parse().ok()
}

/// The text of one member of the recorded object, `[]` when it isn't there.
fn member(before: Option<&str>, name: &str) -> String {
    before
        .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
        .and_then(|value| value.get(name).map(ToString::to_string))
        .unwrap_or_else(|| "[]".to_owned())
}
