//! A document of rows: which tables, which rows, and what becomes of those that are there already.

use super::{
    Mode,
    node::{Node, Value, Wrong, push_object},
};

/// What becomes of a row that the database has already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It is an error, and nothing of the seed is kept.
    #[default]
    Fail,
    /// It stays as it is.
    Nothing,
    /// It becomes what the seed says.
    Update,
}

/// A table, and the rows that it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its schema, if the document says one.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub line: u32,
    /// What becomes of a row that is there already.
    pub on_conflict: OnConflict,
    /// The columns by which a row is known; empty for those of the primary key.
    pub key: Vec<String>,
    /// The rows, in their order.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub line: u32,
    /// The columns that it names; the others take their defaults.
    pub columns: Vec<String>,
    /// The row as an object of JSON.
    pub json: String,
}

/// Rows that name the same columns, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The columns.
    pub columns: &'a [String],
    /// The line of the first row.
    pub line: u32,
    /// How many there are.
    pub count: u64,
    /// All of them as an array of JSON.
    pub json: String,
}

/// A batch holds no more than that.
const BATCH_ROWS: u64 = 1_000;
const BATCH_BYTES: usize = 1 << 20;

impl Table {
    /// `app.users`, as messages have it.
    #[must_use]
    pub fn shown(&self) -> String {
        self.schema.as_ref().map_or_else(|| self.name.clone(), |schema| format!("{schema}.{}", self.name))
    }

    /// Its rows in order, as many at a time as one statement takes.
    #[must_use]
    pub fn batches(&self) -> Vec<Batch<'_>> {
        let mut batches: Vec<Batch<'_>> = Vec::new();
        for row in &self.rows {
            match batches.last_mut() {
                Some(batch)
                    if batch.columns == row.columns && batch.count < BATCH_ROWS && batch.json.len() < BATCH_BYTES =>
                {
                    batch.json.push(',');
                    batch.json.push_str(&row.json);
                    batch.count += 1;
                }
                _ => batches.push(Batch {
                    columns: &row.columns,
                    line: row.line,
                    count: 1,
                    json: format!("[{}", row.json),
                }),
            }
        }
        for batch in &mut batches {
            batch.json.push(']');
        }
        batches
    }
}

/// Reads a document: a map of tables, or a list of them.
///
/// # Errors
/// What is wrong first, and where.
pub fn read(document: Node) -> Result<(Mode, Vec<Table>), Wrong> {
    let mut mode = Mode::Once;
    let mut of_all = OnConflict::default();
    let mut tables = Vec::new();
    match document.value {
        // A file without a word has no rows.
        Value::Null => {}
        Value::Map(entries) => {
            let is_setting = |node: &Node| matches!(node.value, Value::Text(_));
            for (name, node) in entries.iter().filter(|(_, node)| is_setting(node)) {
                match name.as_str() {
                    "mode" => mode = read_mode(node)?,
                    "onConflict" => of_all = read_on_conflict(node)?,
                    _ => {
                        let message =
                            format!("{name} is no setting (mode and onConflict are), and text is no list of rows");
                        return Err(Wrong::new(node.line, message));
                    }
                }
            }
            for (name, node) in entries.into_iter().filter(|(_, node)| !is_setting(node)) {
                let line = node.line;
                let (schema, name) = split(&name, line)?;
                let mut table = Table { schema, name, line, on_conflict: of_all, key: Vec::new(), rows: Vec::new() };
                match node.value {
                    Value::List(rows) => table.rows = read_rows(rows)?,
                    Value::Map(fields) => read_fields(&mut table, fields)?,
                    other => {
                        let message = format!("{} has {}: give it a list of rows", table.shown(), other.kind());
                        return Err(Wrong::new(line, message));
                    }
                }
                tables.push(table);
            }
        }
        Value::List(items) => {
            for item in items {
                tables.push(read_table(item)?);
            }
        }
        other => {
            let message = format!("{} where tables and their rows should be: write `users: [{{id: 1}}]`", other.kind());
            return Err(Wrong::new(document.line, message));
        }
    }
    Ok((mode, tables))
}

/// An item of a list: a table that says its name.
fn read_table(item: Node) -> Result<Table, Wrong> {
    let line = item.line;
    let Value::Map(fields) = item.value else {
        return Err(Wrong::new(
            line,
            format!("{} where a table should be: write {{table: users, rows: […]}}", item.value.kind()),
        ));
    };
    let said = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, node)| node);
    let text = |wanted: &str| said(wanted).map(|node| read_text(wanted, node)).transpose();
    let (schema, name) = match (text("schema")?, text("table")?) {
        // Beside a schema the name is taken as it is.
        (Some(schema), Some(name)) => (Some(schema), name),
        (None, Some(name)) => split(&name, line)?,
        (_, None) => return Err(Wrong::new(line, "no table is named: write {table: users, rows: […]}")),
    };
    let mut table = Table { schema, name, line, on_conflict: OnConflict::default(), key: Vec::new(), rows: Vec::new() };
    let others = fields.into_iter().filter(|(name, _)| !matches!(name.as_str(), "schema" | "table")).collect();
    read_fields(&mut table, others)?;
    Ok(table)
}

fn read_fields(table: &mut Table, fields: Vec<(String, Node)>) -> Result<(), Wrong> {
    let mut has_rows = false;
    for (name, node) in fields {
        let line = node.line;
        match (name.as_str(), node.value) {
            ("onConflict", value) => table.on_conflict = read_on_conflict(&Node { line, value })?,
            ("key", Value::List(items)) if !items.is_empty() => {
                table.key = items.iter().map(|item| read_text("key", item)).collect::<Result<_, _>>()?;
            }
            ("key", value @ Value::Text(_)) => table.key = vec![read_text("key", &Node { line, value })?],
            ("rows", Value::List(rows)) => {
                table.rows = read_rows(rows)?;
                has_rows = true;
            }
            ("key", value) => return Err(Wrong::new(line, format!("key is {}: name columns", value.kind()))),
            ("rows", value) => return Err(Wrong::new(line, format!("rows is {}: give a list", value.kind()))),
            (name, _) => {
                let message = format!("{name} is no field of a table: it has onConflict, key and rows");
                return Err(Wrong::new(line, message));
            }
        }
    }
    if has_rows {
        Ok(())
    } else {
        Err(Wrong::new(table.line, format!("{} has no rows: add `rows: […]`", table.shown())))
    }
}

fn read_rows(rows: Vec<Node>) -> Result<Vec<Row>, Wrong> {
    rows.into_iter()
        .map(|row| match row.value {
            Value::Map(entries) if !entries.is_empty() => {
                let mut json = String::new();
                push_object(&mut json, &entries);
                Ok(Row { line: row.line, columns: entries.into_iter().map(|(name, _)| name).collect(), json })
            }
            Value::Map(_) => Err(Wrong::new(row.line, "a row without a column: name one, or remove the row")),
            other => {
                Err(Wrong::new(row.line, format!("{} where a row should be: write {{column: value}}", other.kind())))
            }
        })
        .collect()
}

/// `users`, or `app.users`.
fn split(name: &str, line: u32) -> Result<(Option<String>, String), Wrong> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        [table] if !table.is_empty() => Ok((None, table.to_owned())),
        [schema, table] if !schema.is_empty() && !table.is_empty() => Ok((Some(schema.to_owned()), table.to_owned())),
        _ => Err(Wrong::new(
            line,
            format!(
                "{name:?} is no table: write users, app.users, or, for other names, {{schema: app, table: \"a.b\", rows: […]}}"
            ),
        )),
    }
}

fn read_text(what: &str, node: &Node) -> Result<String, Wrong> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(Wrong::new(node.line, format!("{what} is {}: write a name", other.kind()))),
    }
}

fn read_mode(node: &Node) -> Result<Mode, Wrong> {
    let text = read_text("mode", node)?;
    Mode::parse(&text).ok_or_else(|| Wrong::new(node.line, format!("mode is {text:?}: once and on-change are known")))
}

fn read_on_conflict(node: &Node) -> Result<OnConflict, Wrong> {
    match &node.value {
        Value::Text(text) if text == "nothing" => Ok(OnConflict::Nothing),
        Value::Text(text) if text == "update" => Ok(OnConflict::Update),
        Value::Text(text) if text == "fail" => Ok(OnConflict::Fail),
        Value::Text(text) => {
            Err(Wrong::new(node.line, format!("onConflict is {text:?}: nothing, update and fail are known")))
        }
        other => Err(Wrong::new(node.line, format!("onConflict is {}: write nothing, update or fail", other.kind()))),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::node::from_json, *};

    fn read_json(text: &str) -> Result<(Mode, Vec<Table>), Wrong> {
        read(from_json(text).expect("it is JSON"))
    }

    #[test]
    fn both_forms_of_a_document_are_read() {
        let (mode, tables) = read_json(
            r#"{"mode": "on-change", "onConflict": "nothing", "users": [{"id": 1}],
                "app.orders": {"onConflict": "update", "key": ["number"], "rows": [{"number": 7, "n": null}]}, "mode2": []}"#,
        )
        .expect("it is sound");
        assert_eq!(mode, Mode::OnChange);
        let shown: Vec<_> = tables.iter().map(|table| (table.shown(), table.on_conflict, table.rows.len())).collect();
        assert_eq!(
            shown,
            [
                ("users".to_owned(), OnConflict::Nothing, 1),
                ("app.orders".to_owned(), OnConflict::Update, 1),
                ("mode2".to_owned(), OnConflict::Nothing, 0),
            ]
        );
        assert_eq!(tables[1].key, ["number"]);
        assert_eq!(tables[1].rows[0].json, r#"{"number":7,"n":null}"#);

        let (mode, tables) = read_json(
            r#"[{"table": "users", "rows": [{"id": 1}]}, {"schema": "app", "table": "a.b", "key": "id", "rows": []}]"#,
        )
        .expect("it is sound");
        assert_eq!((mode, tables[0].on_conflict), (Mode::Once, OnConflict::Fail));
        assert_eq!((tables[1].schema.as_deref(), tables[1].name.as_str()), (Some("app"), "a.b"));
    }

    #[test]
    fn what_is_no_document_of_rows_is_refused_with_its_line() {
        for (text, line, said) in [
            ("7", 1, "a number where tables"),
            ("{\n\"users\": 7}", 2, "users has a number"),
            ("{\n\"mood\": \"once\"}", 2, "mood is no setting"),
            ("{\"mode\":\n\"twice\"}", 2, "once and on-change"),
            ("{\"onConflict\": \"ignore\"}", 1, "nothing, update and fail"),
            ("{\"a.b.c\": []}", 1, "is no table"),
            ("{\".\": []}", 1, "is no table"),
            ("{\"users\": [\n7]}", 2, "where a row should be"),
            ("{\"users\": [\n{}]}", 2, "without a column"),
            ("{\"users\": {\"rws\": []}}", 1, "rws is no field"),
            ("{\"users\": {\"onConflict\": \"update\"}}", 1, "users has no rows"),
            ("{\"users\": {\"key\": [], \"rows\": []}}", 1, "key is a list"),
            ("[{\"rows\": []}]", 1, "no table is named"),
            ("[7]", 1, "where a table should be"),
        ] {
            let wrong = read_json(text).expect_err(text);
            assert!(wrong.message.contains(said), "{text}: {wrong:?}");
            assert_eq!(wrong.line, line, "{text}");
        }
    }

    #[test]
    fn rows_of_the_same_columns_go_together_in_their_order() {
        let (_, tables) =
            read_json("{\"t\": [{\"a\": 1}, {\"a\": 2}, {\"b\": 3}, {\"a\": 4, \"b\": 5}, {\"a\": 6, \"b\": 7}]}")
                .expect("it is sound");
        let batches = tables[0].batches();
        let shown: Vec<_> = batches.iter().map(|batch| (batch.count, batch.json.as_str())).collect();
        assert_eq!(
            shown,
            [(2, "[{\"a\":1},{\"a\":2}]"), (1, "[{\"b\":3}]"), (2, "[{\"a\":4,\"b\":5},{\"a\":6,\"b\":7}]")]
        );
    }

    #[test]
    fn a_batch_has_a_limit() {
        let rows = vec!["{\"a\":1}"; 2_500].join(",");
        let (_, tables) = read_json(&format!("{{\"t\": [{rows}]}}")).expect("it is sound");
        assert_eq!(tables[0].batches().iter().map(|batch| batch.count).collect::<Vec<_>>(), [1_000, 1_000, 500]);
    }
}
