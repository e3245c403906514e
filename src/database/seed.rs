//! Rows into tables: each statement typed by the columns that it fills, every name quoted here, and what became of the
//! rows counted by the server.

use tokio_postgres::Client;

use super::{
    answer,
    apply::{self, Extent, Frame, Part},
    error::{ServerError, SqlError},
    quote,
    session::{self, Row, SessionSql},
};
use crate::{
    core::{
        history::SeedCounts,
        seed::rows::{Batch, OnConflict, Table},
    },
    fail_points::{Point, reached},
};

/// How far the rows of a seed came.
#[derive(Debug)]
pub enum Loaded {
    /// Committed, and the session is ours again.
    Whole,
    /// Committed, but the session could not be brought back: it must not be used any more.
    CommittedSessionLost(SqlError),
    /// Not committed, as far as is known.
    Not(RowsRefusal),
}

/// Where an error struck.
#[derive(Debug)]
pub struct RowsRefusal {
    /// The line of the file, and the table, where it was about rows.
    pub place: Option<(u32, String)>,
    /// The part of the transaction.
    pub part: Part,
    /// The error.
    pub error: SqlError,
}

/// A table as the database has it.
struct Target {
    /// Its name, quoted.
    name: String,
    kind: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    data_type: String,
    is_key: bool,
    /// `GENERATED ALWAYS AS IDENTITY`: a value is only taken over the system's.
    is_always: bool,
    /// The sequence that gives its defaults, if it belongs to the column and may be advanced.
    sequence: Option<String>,
}

/// Loads tables of rows in one transaction, and writes what `record` makes of the counts with it. `begin` is told the
/// index of each table.
pub async fn load(
    client: &Client,
    tables: &[Table],
    session: &SessionSql,
    record: impl FnOnce(SeedCounts) -> String,
    begin: &(impl Fn(usize) + Sync),
) -> Loaded {
    let refused = |part, error| Loaded::Not(RowsRefusal { place: None, part, error });
    let mut opening = vec!["BEGIN".to_owned()];
    opening.extend(session.file_settings("LOCAL "));
    reached(Point::BeginBefore).await;
    if let Err(error) = session::query(client, &opening.join(";")).await {
        return refused(Part::Opening, error);
    }
    reached(Point::BeginAfter).await;
    let mut counts = SeedCounts::default();
    for (index, table) in tables.iter().enumerate().filter(|(_, table)| !table.rows.is_empty()) {
        begin(index);
        if let Err((line, error)) = fill(client, table, session, &mut counts).await {
            let place = Some((line, table.shown()));
            return Loaded::Not(RowsRefusal { place, part: Part::Statement(index), error });
        }
    }
    let closing = apply::closing(session, Frame { begins: true, commits: true }, &record(counts));
    let reset = session.reset();
    let message = format!("{};{reset}", closing.join(";"));
    reached(Point::CommitBefore).await;
    let extent = Extent::new(closing.len(), &reset);
    let (completed, error) = apply::send_all(client, &message, extent, Some(Point::CommitSent)).await;
    reached(Point::CommitAfter).await;
    match error {
        None => Loaded::Whole,
        Some(error) if completed >= closing.len() => Loaded::CommittedSessionLost(error),
        Some(error) => refused(apply::closing_part(&closing, completed), error),
    }
}

/// Fills one table; an error comes with the line of the file that it is about.
async fn fill(
    client: &Client,
    table: &Table,
    session: &SessionSql,
    counts: &mut SeedCounts,
) -> Result<(), (u32, SqlError)> {
    let target = look_up(client, table, session).await.map_err(|error| (table.line, error))?;
    for batch in table.batches() {
        let sql = insert(&target, table, &batch)?;
        reached(Point::StatementBefore).await;
        let answer = unhurried(client, &sql).await;
        reached(Point::StatementAfter).await;
        let rows = answer.map_err(|error| (batch.line, error))?;
        let count = |column| rows.first().and_then(|row| row.get(column)).and_then(|text| text.parse::<u64>().ok());
        let (inserted, updated) = (count(0).unwrap_or(0), count(1).unwrap_or(0));
        counts.inserted += inserted;
        counts.updated += updated;
        counts.unchanged += batch.count.saturating_sub(inserted + updated);
    }
    advance_sequences(client, &target, table).await.map_err(|error| (table.line, error))
}

/// A statement that takes as long as it takes.
async fn unhurried(client: &Client, sql: &str) -> Result<Vec<Row>, SqlError> {
    answer::collect(answer::Sent::now(client, sql).await).await.map_err(SqlError::from)
}

/// Finds the table by the seed's search path, and reads what it is by ours.
async fn look_up(client: &Client, table: &Table, session: &SessionSql) -> Result<Target, SqlError> {
    let name = quote::identifier(&table.name);
    let name =
        table.schema.as_ref().map_or_else(|| name.clone(), |schema| format!("{}.{name}", quote::identifier(schema)));
    let sql = format!("SELECT pg_catalog.to_regclass({})::pg_catalog.oid", quote::literal(&name));
    let found = session::query(client, &sql).await?;
    let Some(oid) = found.first().and_then(|row| row.get(0)).and_then(|oid| oid.parse::<u32>().ok()) else {
        let cure = "name one that the migrations have made, with its schema where search_path doesn't lead to it";
        return Err(own("42P01", format!("there is no such table: {cure}")));
    };
    let settings = session.file_settings("LOCAL ");
    let back = settings.first().map_or("", String::as_str);
    let sql = format!(
        "SET LOCAL search_path = pg_catalog; \
         SELECT 'table', n.nspname, c.relname, c.relkind FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = {oid}; \
         SELECT 'column', a.attname, format_type(a.atttypid, a.atttypmod), \
         EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)), \
         a.attidentity = 'a', \
         (SELECT quote_ident(sn.nspname) || '.' || quote_ident(s.relname) FROM pg_depend AS d \
          JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace AS sn ON sn.oid = s.relnamespace \
          JOIN pg_sequence AS q ON q.seqrelid = s.oid AND q.seqincrement > 0 \
          WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid \
          AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i') \
          AND has_sequence_privilege(s.oid, 'SELECT') AND has_sequence_privilege(s.oid, 'UPDATE') \
          ORDER BY s.oid LIMIT 1) \
         FROM pg_attribute AS a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum; {back}"
    );
    let rows = session::query(client, &sql).await?;
    let text = |row: &Row, column| row.get(column).unwrap_or_default().to_owned();
    let mut target = Target { name: String::new(), kind: String::new(), columns: Vec::new() };
    for row in &rows {
        if row.get(0) == Some("table") {
            target.name = format!("{}.{}", quote::identifier(&text(row, 1)), quote::identifier(&text(row, 2)));
            target.kind = text(row, 3);
        } else {
            target.columns.push(Column {
                name: text(row, 1),
                data_type: text(row, 2),
                is_key: row.get(3) == Some("t"),
                is_always: row.get(4) == Some("t"),
                sequence: row.get(5).map(str::to_owned),
            });
        }
    }
    let what = match target.kind.as_str() {
        "r" | "p" => return Ok(target),
        "v" | "f" if table.on_conflict != OnConflict::Update => return Ok(target),
        "v" | "f" => "onConflict: update needs a table, and this is a view or a foreign table",
        _ => "this is no table",
    };
    Err(own("42809", format!("{what}: name another, or write SQL")))
}

fn own(sqlstate: &str, message: String) -> SqlError {
    SqlError::Server(Box::new(ServerError::own(sqlstate, message)))
}

/// The statement that loads a batch, and answers how many rows are new, and how many changed.
fn insert(target: &Target, table: &Table, batch: &Batch<'_>) -> Result<String, (u32, SqlError)> {
    let columns = columns(target, batch.columns).map_err(|error| (batch.line, error))?;
    let listed = |column: &&Column| quote::identifier(&column.name);
    let names = columns.iter().map(listed).collect::<Vec<_>>().join(", ");
    let values = columns.iter().map(|column| format!("r.{}", listed(column))).collect::<Vec<_>>().join(", ");
    let typed =
        columns.iter().map(|column| format!("{} {}", listed(column), column.data_type)).collect::<Vec<_>>().join(", ");
    let overriding = if columns.iter().any(|column| column.is_always) { "OVERRIDING SYSTEM VALUE " } else { "" };
    let conflict = on_conflict(target, table, &columns).map_err(|error| (batch.line, error))?;
    let (returned, is_new) = how_new(target, table).map_err(|error| (batch.line, error))?;
    Ok(format!(
        "WITH done AS (INSERT INTO {name} AS t ({names}) {overriding}SELECT {values} \
         FROM pg_catalog.json_to_recordset({json}::pg_catalog.json) AS r({typed}) {conflict} RETURNING {returned}) \
         SELECT pg_catalog.count(*) FILTER (WHERE {is_new}), pg_catalog.count(*) FILTER (WHERE NOT ({is_new})) FROM done",
        name = target.name,
        json = quote::literal(&batch.json),
    ))
}

/// The columns of these names.
fn columns<'a>(target: &'a Target, names: &[String]) -> Result<Vec<&'a Column>, SqlError> {
    names
        .iter()
        .map(|name| {
            target.columns.iter().find(|column| column.name == *name).ok_or_else(|| {
                let known = target.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
                own("42703", format!("there is no column {name:?}: it has {known}"))
            })
        })
        .collect()
}

/// The columns by which a row is known.
fn key<'a>(target: &'a Target, table: &Table) -> Result<Vec<&'a Column>, SqlError> {
    if table.key.is_empty() {
        Ok(target.columns.iter().filter(|column| column.is_key).collect())
    } else {
        columns(target, &table.key)
    }
}

/// What a statement returns of a row, and what tells of it whether the row is new.
fn how_new(target: &Target, table: &Table) -> Result<(String, String), SqlError> {
    if table.on_conflict != OnConflict::Update {
        return Ok(("true AS is_new".to_owned(), "done.is_new".to_owned()));
    }
    if target.kind == "r" {
        // A row that was there has been replaced by this statement, which holds the lock on it.
        return Ok(("t.xmax OPERATOR(pg_catalog.=) 0 AS is_new".to_owned(), "done.is_new".to_owned()));
    }
    // Of a partition's row the server doesn't say: this is what was there when the statement began.
    let names: Vec<String> = key(target, table)?.iter().map(|column| quote::identifier(&column.name)).collect();
    let list = |of: &str| names.iter().map(|name| format!("{of}.{name}")).collect::<Vec<_>>().join(", ");
    let is_new =
        format!("NOT EXISTS (SELECT FROM {} AS old WHERE ROW({}) = ROW({}))", target.name, list("old"), list("done"));
    Ok((list("t"), is_new))
}

fn on_conflict(target: &Target, table: &Table, columns: &[&Column]) -> Result<String, SqlError> {
    let key = key(target, table)?;
    let list = |columns: &[&Column]| columns.iter().map(|column| quote::identifier(&column.name)).collect::<Vec<_>>();
    match table.on_conflict {
        OnConflict::Fail => Ok(String::new()),
        OnConflict::Nothing if table.key.is_empty() => Ok("ON CONFLICT DO NOTHING".to_owned()),
        OnConflict::Nothing => Ok(format!("ON CONFLICT ({}) DO NOTHING", list(&key).join(", "))),
        OnConflict::Update if key.is_empty() => Err(own(
            "42P10",
            "onConflict: update needs a primary key, and there is none: name columns of a unique index with key"
                .to_owned(),
        )),
        OnConflict::Update => {
            let is_given = |column: &Column| columns.iter().any(|given| given.name == column.name);
            if let Some(absent) = key.iter().find(|column| !is_given(column)) {
                let message = format!(
                    "a row doesn't say its {:?}, by which onConflict: update knows it: add it, or name other columns with key",
                    absent.name
                );
                return Err(own("42P10", message));
            }
            // What is always generated may be given to a new row, and never to one that is there (428C9).
            let stays = |column: &Column| column.is_always || key.iter().any(|key| key.name == column.name);
            let others: Vec<&Column> = columns.iter().filter(|column| !stays(column)).copied().collect();
            let key = list(&key).join(", ");
            if others.is_empty() {
                return Ok(format!("ON CONFLICT ({key}) DO NOTHING"));
            }
            let names = list(&others);
            let set = names.iter().map(|name| format!("{name} = excluded.{name}")).collect::<Vec<_>>().join(", ");
            // Any type has a text, and not any an equality; a row that is as it should be isn't touched.
            let texts = |of: &str| {
                let text = |name: &String| format!("({of}.{name})::pg_catalog.text COLLATE pg_catalog.\"C\"");
                names.iter().map(text).collect::<Vec<_>>().join(", ")
            };
            Ok(format!(
                "ON CONFLICT ({key}) DO UPDATE SET {set} WHERE ROW({}) IS DISTINCT FROM ROW({})",
                texts("t"),
                texts("excluded")
            ))
        }
    }
}

/// Lets the sequences of columns that were given explicitly go on behind the largest value: the next row that says none
/// would else meet one of these.
async fn advance_sequences(client: &Client, target: &Target, table: &Table) -> Result<(), SqlError> {
    let is_given = |column: &&Column| table.rows.iter().any(|row| row.columns.contains(&column.name));
    for column in target.columns.iter().filter(is_given) {
        let Some(sequence) = &column.sequence else { continue };
        let sql = format!(
            "SELECT pg_catalog.setval({literal}, m.top::pg_catalog.int8) FROM (SELECT pg_catalog.max(t.{column}) AS top FROM {table} AS t) AS m, \
             {sequence} AS s WHERE m.top OPERATOR(pg_catalog.>=) s.last_value",
            literal = quote::literal(sequence),
            column = quote::identifier(&column.name),
            table = target.name,
        );
        unhurried(client, &sql).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::seed::{node::from_json, rows};

    fn column(name: &str, data_type: &str, is_key: bool) -> Column {
        Column { name: name.to_owned(), data_type: data_type.to_owned(), is_key, is_always: false, sequence: None }
    }

    fn sql(columns: Vec<Column>, document: &str) -> Result<String, (u32, SqlError)> {
        let target = Target { name: "\"app\".\"users\"".to_owned(), kind: "r".to_owned(), columns };
        let (_, tables) = rows::read(from_json(document).expect("it is JSON")).expect("it is sound");
        insert(&target, &tables[0], &tables[0].batches()[0])
    }

    /// Q63: names are quoted, whatever they hold; values are one literal.
    #[test]
    fn nothing_of_a_document_is_read_as_sql() {
        let evil = "a\\\" VALUES (77); --";
        let document = format!("{{\"users\": [{{\"{evil}\": \"it's\"}}]}}");
        let text = sql(vec![column("a\" VALUES (77); --", "text", false)], &document).expect("there is such a column");
        assert!(text.contains(r#"("a"" VALUES (77); --")"#), "{text}");
        assert!(text.contains("it''s"), "{text}");
        let (line, error) = sql(vec![column("id", "integer", true)], &document).expect_err("there is no such column");
        assert_eq!((line, error.sqlstate()), (1, Some("42703")));
    }

    #[test]
    fn an_update_needs_a_key_and_its_values() {
        let document = r#"{"users": {"onConflict": "update", "rows": [{"name": "Ada"}]}}"#;
        let without = sql(vec![column("name", "text", false)], document).expect_err("there is no key");
        assert!(without.1.to_string().contains("needs a primary key"), "{}", without.1);
        let columns = || vec![column("id", "integer", true), column("name", "text", false)];
        let absent = sql(columns(), document).expect_err("the key isn't given");
        assert!(absent.1.to_string().contains("doesn't say its \"id\""), "{}", absent.1);
        let alone = sql(columns(), r#"{"users": {"onConflict": "update", "rows": [{"id": 1}]}}"#).expect("it is sound");
        assert!(alone.contains("ON CONFLICT (\"id\") DO NOTHING"), "{alone}");
    }

    /// An `update` by another key named an identity in SET, which the server takes for new rows alone.
    #[test]
    fn an_identity_that_is_always_generated_is_given_to_new_rows_alone() {
        let always = Column { is_always: true, ..column("id", "integer", true) };
        let columns = vec![always, column("name", "text", false), column("n", "numeric", false)];
        let row = r#"{"users": {"onConflict": "update", "key": ["name"], "rows": [{"id": 7, "name": "Ada", "n": 1}]}}"#;
        let text = sql(columns, row).expect("it is sound");
        assert!(
            text.contains("OVERRIDING SYSTEM VALUE") && text.contains("SET \"n\" = excluded.\"n\" WHERE"),
            "{text}"
        );
    }
}
