//! `kubectl dunlin status`: the columns that the CustomResourceDefinition prints, or the objects.

use std::collections::BTreeMap;

use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};

use super::super::{
    CliError,
    output::{self, Table, print_some},
    talk,
};
use super::{
    access::{Cluster, full_name},
    args::StatusArgs,
    follow::{Trouble, trouble},
    output::{DocumentFormat, ListFormat, age, document, now},
};

/// Prints how MigrationSets stand.
pub(super) async fn run(cluster: &Cluster, args: &StatusArgs) -> Result<(), CliError> {
    let StatusArgs { name, all_namespaces, output, watch } = args;
    let api = if *all_namespaces { cluster.objects_everywhere() } else { cluster.objects() };
    if *watch {
        return follow(cluster, api, args).await;
    }
    let objects = match name {
        Some(name) => vec![cluster.answer(api.get(name)).await?],
        None => cluster.answer(api.list(&ListParams::default())).await?.items,
    };
    let values = objects.iter().map(shown).collect::<Result<Vec<Value>, CliError>>()?;
    if values.is_empty() && !matches!(output, Some(ListFormat::Json | ListFormat::Yaml)) {
        match all_namespaces {
            true => talk::say("note", "No resources found"),
            false => talk::say("note", format!("No resources found in {} namespace.", cluster.namespace)),
        }
        return Ok(());
    }
    let text = match output {
        Some(ListFormat::Json) => document(&whole(name.is_some(), values), DocumentFormat::Json)?,
        Some(ListFormat::Yaml) => document(&whole(name.is_some(), values), DocumentFormat::Yaml)?,
        Some(ListFormat::Name) => names(&values),
        None | Some(ListFormat::Wide) => {
            let columns = Columns::of(args);
            let rows: Vec<Vec<String>> = values.iter().map(|value| columns.row(value, now())).collect();
            columns.table().with_header(&rows)
        }
    };
    output::print(&text)
}

/// Prints how they stand, and each change, until whoever reads goes away.
async fn follow(cluster: &Cluster, api: Api<DynamicObject>, args: &StatusArgs) -> Result<(), CliError> {
    if let Some(name) = &args.name {
        // A watch of what isn't there would wait for it without a word.
        cluster.answer(api.get(name)).await?;
    }
    let config = args.name.as_ref().map_or_else(watcher::Config::default, |name| {
        watcher::Config::default().fields(&format!("metadata.name={name}"))
    });
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut printer = Printer::new(args);
    let mut first = Vec::new();
    while let Some(event) = events.next().await {
        let goes_on = match event {
            Ok(Event::Init | Event::Delete(_)) => true,
            Ok(Event::InitApply(object)) => {
                first.push(object);
                true
            }
            Ok(Event::InitDone) => printer.print(std::mem::take(&mut first))?,
            Ok(Event::Apply(object)) => printer.print(vec![object])?,
            Err(error) => match trouble(cluster, error) {
                Trouble::Final(error) => return Err(error.into()),
                Trouble::Passing(message) => {
                    talk::say("note", message.clone());
                    true
                }
            },
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// Prints states as they come, each once.
struct Printer {
    columns: Columns,
    format: Option<ListFormat>,
    table: Option<Table>,
    printed: BTreeMap<(String, String), String>,
}

impl Printer {
    fn new(args: &StatusArgs) -> Self {
        Self { columns: Columns::of(args), format: args.output, table: None, printed: BTreeMap::new() }
    }

    /// Prints what wasn't printed before, and says whether anybody reads.
    fn print(&mut self, objects: Vec<DynamicObject>) -> Result<bool, CliError> {
        let mut fresh = Vec::new();
        for object in objects {
            let key = (object.metadata.namespace.clone(), object.metadata.name.clone());
            let key = (key.0.unwrap_or_default(), key.1.unwrap_or_default());
            let version = object.metadata.resource_version.clone().unwrap_or_default();
            // A watch that begins again shows everything once more.
            if self.printed.get(&key) != Some(&version) {
                self.printed.insert(key, version);
                fresh.push(shown(&object)?);
            }
        }
        if fresh.is_empty() {
            return Ok(true);
        }
        let text = match self.format {
            Some(ListFormat::Json) => each(&fresh, DocumentFormat::Json, "")?,
            Some(ListFormat::Yaml) => each(&fresh, DocumentFormat::Yaml, "---\n")?,
            Some(ListFormat::Name) => names(&fresh),
            None | Some(ListFormat::Wide) => {
                let rows: Vec<Vec<String>> = fresh.iter().map(|value| self.columns.row(value, now())).collect();
                match &mut self.table {
                    Some(table) => table.rows(&rows),
                    None => self.table.insert(self.columns.table()).with_header(&rows),
                }
            }
        };
        print_some(&text)
    }
}

/// Which columns are printed.
#[derive(Debug, Clone, Copy)]
struct Columns {
    namespace: bool,
    wide: bool,
}

impl Columns {
    fn of(args: &StatusArgs) -> Self {
        Self { namespace: args.all_namespaces, wide: args.output == Some(ListFormat::Wide) }
    }

    fn table(self) -> Table {
        let mut header = vec!["NAME", "READY", "STATUS", "VERSION", "APPLIED", "PENDING", "AGE"];
        if self.namespace {
            header.insert(0, "NAMESPACE");
        }
        if self.wide {
            header.extend(["DIGEST", "MESSAGE"]);
        }
        Table::new(header)
    }

    fn row(self, object: &Value, now: Timestamp) -> Vec<String> {
        let (metadata, status) = (&object["metadata"], &object["status"]);
        let conditions = status["conditions"].as_array();
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        let ready = |field: &str| ready.map_or_else(String::new, |ready| cell(&ready[field]));
        let mut row = vec![
            cell(&metadata["name"]),
            ready("status"),
            ready("reason"),
            cell(&status["applied"]["version"]),
            cell(&status["applied"]["count"]),
            cell(&status["applied"]["pending"]),
            age(metadata["creationTimestamp"].as_str(), now),
        ];
        if self.namespace {
            row.insert(0, cell(&metadata["namespace"]));
        }
        if self.wide {
            row.extend([cell(&status["source"]["digest"]), ready("message")]);
        }
        row
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An object without the book-keeping of who wrote what, as kubectl shows it.
pub(super) fn shown(object: &DynamicObject) -> Result<Value, CliError> {
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    serde_json::to_value(object).map_err(|error| CliError::Encode(error.into()))
}

/// One object, or a List of them.
fn whole(is_one: bool, mut values: Vec<Value>) -> Value {
    match values.pop() {
        Some(value) if is_one => value,
        last => {
            values.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": values})
        }
    }
}

fn names(values: &[Value]) -> String {
    let names: Vec<String> = values.iter().map(|value| full_name(&cell(&value["metadata"]["name"]))).collect();
    names.join("\n") + "\n"
}

fn each(values: &[Value], format: DocumentFormat, before: &str) -> Result<String, CliError> {
    values.iter().map(|value| document(value, format).map(|text| format!("{before}{text}"))).collect()
}
