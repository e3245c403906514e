//! `dunlin show`: one migration, as it was understood. Files alone, no database.

use std::{fmt::Write as _, path::Path};

use clap::Args;
use serde_json::json;

use super::{args::FilesArgs, error::LocalError, project::Project};
use crate::{
    cli::{
        CliError,
        exit::Exit,
        output::{self, OutputFormat},
    },
    core::migration::{Migration, MigrationDir, Section, TransactionMode, Version},
};

/// Settings of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The migration: its file, its version, or version and name.
    #[arg(value_name = "FILE|VERSION")]
    pub migration: String,
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

/// Prints what a file says.
pub(in crate::cli) fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let project = Project::open_files(&args.project)?;
    let content = project.content()?;
    let migration = find(&content.dir, &args.migration).ok_or_else(|| {
        LocalError::setting(
            args.migration.clone(),
            format!("is no migration of {}: dunlin list shows them", project.settings.migrations.display()),
        )
    })?;
    match args.output {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => output::print_as(format, &described(migration))?,
        OutputFormat::Text => output::print(&text(migration))?,
    }
    Ok(Exit::Done)
}

/// The migration of that path, that version, or that version and name.
fn find<'a>(dir: &'a MigrationDir, named: &str) -> Option<&'a Migration> {
    let file = Path::new(named).file_name()?.to_str()?;
    let file = file.strip_suffix(".gz").unwrap_or(file);
    if let Some(migration) = dir.migrations().iter().find(|migration| migration.file == file) {
        return Some(migration);
    }
    let (version, name) = Version::parse_reference(named).ok()?;
    dir.get(&version).filter(|migration| name.is_none_or(|name| name == migration.name))
}

fn mode(migration: &Migration) -> &'static str {
    match migration.mode {
        TransactionMode::Transactional => "transaction",
        TransactionMode::NonTransactional => "no-transaction",
    }
}

/// What `-o json` prints. A format: fields are added, never renamed.
fn described(migration: &Migration) -> serde_json::Value {
    let versions = |list: &[Version]| list.iter().map(|version| version.as_str().to_owned()).collect::<Vec<_>>();
    let section = |section: &Section| {
        json!({
            "checksum": section.checksum.as_str(),
            "statements": section.script.statements.len(),
            "line": section.first_line,
            "text": section.text,
        })
    };
    json!({
        "version": migration.version.as_str(),
        "name": migration.name,
        "file": migration.origin,
        "description": migration.description,
        "mode": mode(migration),
        "depends": versions(&migration.depends),
        "replaces": versions(&migration.replaces),
        "up": section(&migration.up),
        "down": migration.down.as_ref().map(section),
    })
}

fn text(migration: &Migration) -> String {
    let mut text = String::new();
    let list = |list: &[Version]| list.iter().map(Version::as_str).collect::<Vec<_>>().join(", ");
    let facts = [
        ("version", migration.version.to_string()),
        ("name", migration.name.clone()),
        ("file", migration.origin.clone()),
        ("description", migration.description.clone().unwrap_or_default()),
        ("mode", mode(migration).to_owned()),
        ("depends", list(&migration.depends)),
        ("replaces", list(&migration.replaces)),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{name:<12} {value}");
    }
    for (name, section) in [("up", Some(&migration.up)), ("down", migration.down.as_ref())] {
        let Some(section) = section else {
            let _ = writeln!(text, "{name:<12} none");
            continue;
        };
        let count = section.script.statements.len();
        let statements = if count == 1 { "statement" } else { "statements" };
        let _ = writeln!(text, "{name:<12} {count} {statements}, checksum {}", section.checksum.as_str());
    }
    for (name, section) in [("up", Some(&migration.up)), ("down", migration.down.as_ref())] {
        let Some(section) = section else { continue };
        let _ = write!(text, "\n-- migrate: {name}\n{}", section.text);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}
