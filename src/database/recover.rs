//! What the catalog says about a statement that was cut off: done, to be done again, or nobody knows.
//!
//! Asked only while the set's lock is held, which proves that the old session has ended.

use tokio_postgres::{Client, SimpleQueryRow};

use super::{error::SqlError, quote, session::query};
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
            regclass(table)
        ),
        Alone::Reindex { concurrently: true } => {
            "SELECT pg_catalog.jsonb_build_object('invalid', COALESCE(pg_catalog.jsonb_agg(i.indexrelid::pg_catalog.int8), '[]')) \
             FROM pg_catalog.pg_index AS i WHERE NOT i.indisvalid"
                .to_owned()
        }
        Alone::CreateDatabase { name } => format!(
            "SELECT pg_catalog.jsonb_build_object('exists', EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.datname = {}))",
            quote::literal(name)
        ),
        Alone::DropIndexConcurrently { .. }
        | Alone::DetachConcurrently { .. }
        | Alone::Reindex { concurrently: false }
        | Alone::DropDatabase { .. }
        | Alone::Repeatable
        | Alone::Unproven => return Ok(None),
    };
    let rows = query(client, &sql).await?;
    Ok(rows.first().and_then(|row| row.get(0)).map(str::to_owned))
}

/// What a statement has left behind that doesn't do what it should: an invalid index.
///
/// # Errors
/// [`SqlError`].
pub async fn aftermath(client: &Client, alone: &Alone) -> Result<Option<String>, SqlError> {
    let Alone::CreateIndexConcurrently { name: Some(name), table, .. } = alone else { return Ok(None) };
    let rows = indexes(client, table, &format!("c.relname = {}", quote::literal(name))).await?;
    Ok(rows.first().filter(|row| row.get(2) == Some("f")).map(|row| row.get(1).unwrap_or(name)).map(|index| {
        format!("the index {index} is there but invalid; before Retry or Resume, DROP INDEX CONCURRENTLY {index}")
    }))
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
        Alone::DropIndexConcurrently { name, .. } => {
            let gone = truth(client, &format!("SELECT {} IS NULL", regclass(name))).await?;
            Ok(if gone { Verdict::Done } else { again() })
        }
        Alone::DetachConcurrently { parent, partition } => detach(client, parent, partition).await,
        Alone::Reindex { concurrently: true } => reindex(client, before).await,
        Alone::CreateDatabase { name } => {
            let sql = format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.datname = {})",
                quote::literal(name)
            );
            match (truth(client, &sql).await?, list(before, "exists").contains("true")) {
                (true, false) => Ok(Verdict::Done),
                (true, true) => Ok(Verdict::Unproven(format!("database {name} was there before"))),
                (false, _) => Ok(again()),
            }
        }
        Alone::DropDatabase { name } => {
            let sql = format!(
                "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.datname = {})",
                quote::literal(name)
            );
            Ok(if truth(client, &sql).await? { Verdict::Done } else { again() })
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
    let filter = match name {
        Some(name) => format!("c.relname = {}", quote::literal(name)),
        // An unnamed index is the one that wasn't there before.
        None => format!(
            "NOT ({}::pg_catalog.jsonb @> pg_catalog.to_jsonb(i.indexrelid::pg_catalog.int8))",
            quote::literal(&list(before, "indexes"))
        ),
    };
    let found = indexes(client, table, &filter).await?;
    match found.as_slice() {
        [] => match name {
            Some(name) if truth(client, &name_taken(table, name)).await? => {
                Ok(Verdict::Unproven(format!("the name {name} belongs to another relation")))
            }
            _ => Ok(again()),
        },
        [index] => one_index(client, index, table, statement).await,
        _ => Ok(Verdict::Unproven("several indexes of the table are new".to_owned())),
    }
}

async fn one_index(
    client: &Client,
    index: &SimpleQueryRow,
    table: &QualifiedName,
    statement: &str,
) -> Result<Verdict, SqlError> {
    let column = |column: usize| index.get(column).unwrap_or_default().to_owned();
    let (oid, name, valid, definition) = (column(0), column(1), column(2) == "t", column(3));
    let builder = query(
        client,
        &format!("SELECT p.pid FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.index_relid = {oid}"),
    )
    .await?;
    if let Some(pid) = builder.first().and_then(|row| row.get(0)) {
        return Ok(Verdict::Busy(format!("pid {pid} is building the index {name}")));
    }
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
    Ok(if valid { Verdict::Done } else { Verdict::Again { first: vec![format!("DROP INDEX CONCURRENTLY {name}")] } })
}

/// What `pg_get_indexdef` would say of the statement's index: the server is asked, on an empty copy of the table, in a
/// transaction that is rolled back. None when it can't be made there.
async fn asked_definition(client: &Client, table: &QualifiedName, statement: &str) -> Result<Option<String>, SqlError> {
    let Some(probe) = probe_index(statement, "pg_temp.dunlin_probe") else { return Ok(None) };
    let sql = format!(
        "BEGIN; CREATE TEMPORARY TABLE dunlin_probe (LIKE {} INCLUDING GENERATED); {probe}\n; \
         SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index AS i \
         WHERE i.indrelid = 'pg_temp.dunlin_probe'::pg_catalog.regclass; ROLLBACK",
        qualified(table)
    );
    match query(client, &sql).await {
        Ok(rows) => Ok(rows.first().and_then(|row| row.get(0)).map(shape)),
        Err(error) if error.ends_session() => Err(error),
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

async fn detach(client: &Client, parent: &QualifiedName, partition: &QualifiedName) -> Result<Verdict, SqlError> {
    let sql = format!(
        "SELECT h.inhdetachpending FROM pg_catalog.pg_inherits AS h WHERE h.inhparent = {} AND h.inhrelid = {}",
        regclass(parent),
        regclass(partition)
    );
    let rows = query(client, &sql).await?;
    Ok(match rows.first().and_then(|row| row.get(0)) {
        None => Verdict::Done,
        Some("t") => {
            let finalize =
                format!("ALTER TABLE {} DETACH PARTITION {} FINALIZE", qualified(parent), qualified(partition));
            match query(client, &finalize).await {
                Ok(_) => Verdict::Done,
                Err(error) if error.ends_session() => return Err(error),
                Err(error) => Verdict::Unproven(format!("the partition waits for FINALIZE, which failed: {error}")),
            }
        }
        Some(_) => again(),
    })
}

/// A REINDEX that was cut off leaves invalid copies, which a rerun doesn't remove.
async fn reindex(client: &Client, before: Option<&str>) -> Result<Verdict, SqlError> {
    let sql = format!(
        "SELECT pg_catalog.format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, c.relname) \
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' \
         AND NOT ({}::pg_catalog.jsonb @> pg_catalog.to_jsonb(i.indexrelid::pg_catalog.int8))",
        quote::literal(&list(before, "invalid"))
    );
    let rows = query(client, &sql).await?;
    Ok(Verdict::Again { first: rows.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect() })
}

async fn indexes(client: &Client, table: &QualifiedName, filter: &str) -> Result<Vec<SimpleQueryRow>, SqlError> {
    let sql = format!(
        "SELECT i.indexrelid, pg_catalog.format('%I.%I', n.nspname, c.relname), i.indisvalid, \
         pg_catalog.pg_get_indexdef(i.indexrelid) \
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE i.indrelid = {} AND {filter}",
        regclass(table)
    );
    query(client, &sql).await
}

/// Whether another table's index, or anything else, has the name in the table's schema.
fn name_taken(table: &QualifiedName, name: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.relname = {} AND c.relnamespace = \
         (SELECT t.relnamespace FROM pg_catalog.pg_class AS t WHERE t.oid = {}))",
        quote::literal(name),
        regclass(table)
    )
}

async fn truth(client: &Client, sql: &str) -> Result<bool, SqlError> {
    Ok(query(client, sql).await?.first().and_then(|row| row.get(0)) == Some("t"))
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

fn regclass(name: &QualifiedName) -> String {
    format!("pg_catalog.to_regclass({})", quote::literal(&qualified(name)))
}

/// The text of one member of the recorded object, `[]` when it isn't there.
fn list(before: Option<&str>, member: &str) -> String {
    before
        .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
        .and_then(|value| value.get(member).map(ToString::to_string))
        .unwrap_or_else(|| "[]".to_owned())
}
