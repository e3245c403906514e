//! `dunlin lint`: what is wrong with files, and what of them deserves a second look. `dunlin check` is that, and `verify`.
//!
//! It says what the parser says, for all files at once, and knows no database.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{
    args::{FilesArgs, ProjectArgs},
    error::LocalError,
    project::Project,
    status, talk,
    variables::AllGiven,
    verify::Comparison,
};
use crate::{
    cli::{
        CliError,
        color::Tone,
        exit::Exit,
        output::{self, OutputFormat, toned},
    },
    core::{
        bundle::Bundle,
        format::{self, Format, Place, SourceProblem},
        lint::{self, Hint},
        migration::{Migration, MigrationDir, TransactionMode},
        outcome::Reason,
        sql::{
            Kind, SessionEffect,
            destructive::destructive,
            position::{Location, locate_byte},
            variables::uses,
        },
    },
    source::dir,
};

/// Settings of `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Say what stands in these files alone, and what is wrong between files; all of them are read.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

/// Settings of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// Something that is said of files. A format: fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Remark {
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    /// `InvalidSource` and the like; `Destructive`, `NeedsNoTransaction`, `UndeclaredVariable` and `UnusedVariable` of
    /// warnings, `Name` and `Unrelated` of hints.
    reason: String,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
    Hint,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Error => Tone::Bad,
            Self::Warning | Self::Hint => Tone::Caution,
        }
    }
}

/// Says what is wrong with the files, and ends with 3 where anything is.
pub(in crate::cli) fn lint(args: &LintArgs) -> Result<Exit, CliError> {
    let project = Project::open_files(&args.project)?;
    let named = named(&project.settings.migrations, &args.files)?;
    let mut remarks = remarks(&project)?;
    remarks.retain(|remark| named.is_empty() || remark.file.as_ref().is_none_or(|file| named.contains(file)));
    match args.output {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => output::print_as(format, &as_json(&remarks))?,
        OutputFormat::Text => output::print(&text(&remarks))?,
    }
    Ok(if is_sound(&remarks) { Exit::Done } else { Exit::Input })
}

/// As `lint`, and where files are sound, as `verify`.
pub(in crate::cli) async fn check(args: CheckArgs) -> Result<Exit, CliError> {
    let CheckArgs { output, project } = args;
    let project = Project::open(&project)?;
    let remarks = remarks(&project)?;
    if !is_sound(&remarks) {
        match output {
            format @ (OutputFormat::Json | OutputFormat::Yaml) => {
                output::print_as(format, &json!({"lint": as_json(&remarks), "verify": null}))?;
            }
            OutputFormat::Text => output::print(&text(&remarks))?,
        }
        talk::say("note", "the database wasn't looked at: correct the files first");
        return Ok(Exit::Input);
    }
    if output == OutputFormat::Text {
        output::print(&text(&remarks))?;
    }
    let seen = status::look(project).await?;
    let comparison = Comparison::of(&seen);
    match output {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => {
            output::print_as(format, &json!({"lint": as_json(&remarks), "verify": comparison.as_json()}))?;
        }
        OutputFormat::Text => output::print(&comparison.text())?,
    }
    Ok(comparison.exit())
}

/// The files' names, as the folder has them. One that is elsewhere would be passed over in silence.
fn named(folder: &Path, files: &[PathBuf]) -> Result<BTreeSet<String>, LocalError> {
    let here = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut names = BTreeSet::new();
    for file in files {
        let is_here = file.canonicalize().is_ok_and(|path| path.parent() == Some(here.as_path()));
        let Some(name) = file.file_name().and_then(|name| name.to_str()).filter(|_| is_here) else {
            return Err(LocalError::setting(
                file.display().to_string(),
                format!("is no file of {}: name one, or another folder with --migrations", folder.display()),
            ));
        };
        names.insert(name.strip_suffix(".gz").unwrap_or(name).to_owned());
    }
    Ok(names)
}

/// Everything that is to be said of a folder's files, errors first.
fn remarks(project: &Project) -> Result<Vec<Remark>, LocalError> {
    let folder = &project.settings.migrations;
    let (files, problems) = dir::parts(folder)?;
    let unplaced = |reason: Reason, message: String| error(&SourceProblem { reason, place: None, message });
    let mut remarks: Vec<Remark> =
        problems.into_iter().map(|problem| unplaced(Reason::InvalidSource, problem)).collect();
    match Bundle::new(files) {
        Err(twice) => remarks.push(unplaced(Reason::DuplicateVersion, twice.to_string())),
        // Whoever has named all of them wrong needn't be told that there are none.
        Ok(bundle) if bundle.files().is_empty() && !remarks.is_empty() => {}
        Ok(bundle) => match format::check(&bundle, Format::Auto) {
            Ok(dir) => {
                remarks.extend(warnings(&dir));
                remarks.extend(of_variables(&dir, &project.settings.variables));
            }
            Err(found) => remarks.extend(found.iter().map(error)),
        },
    }
    Ok(remarks)
}

fn error(problem: &SourceProblem) -> Remark {
    let SourceProblem { reason, place, message } = problem;
    Remark {
        severity: Severity::Error,
        file: place.as_ref().map(|place| place.file.clone()),
        line: place.as_ref().map(|place| place.line),
        column: place.as_ref().map(|place| place.column),
        reason: format!("{reason:?}"),
        message: message.clone(),
    }
}

fn warnings(dir: &MigrationDir) -> Vec<Remark> {
    let warned = dir.migrations().iter().flat_map(|migration| {
        let mut warnings = destroys(migration);
        warnings.extend(needs_no_transaction(migration));
        warnings.extend(lint::hints(migration).into_iter().map(|hint| could_be_better(migration, hint)));
        warnings
    });
    warned.collect()
}

fn could_be_better(migration: &Migration, hint: Hint) -> Remark {
    let Hint { rule, line, column, message } = hint;
    let place = Place { file: migration.file.clone(), line, column };
    Remark { severity: Severity::Hint, ..warning(place, rule, message) }
}

fn warning(place: Place, reason: &str, message: String) -> Remark {
    let Place { file, line, column } = place;
    Remark {
        severity: Severity::Warning,
        file: Some(file),
        line: Some(line),
        column: Some(column),
        reason: reason.to_owned(),
        message,
    }
}

/// Variables that files use and the settings don't declare, and the other way round.
fn of_variables(dir: &MigrationDir, given: &AllGiven) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut used = BTreeSet::new();
    for migration in dir.migrations() {
        for section in [Some(&migration.up), migration.down.as_ref()].into_iter().flatten() {
            for found in uses(&section.text) {
                if given.contains_key(found.name) {
                    used.insert(found.name.to_owned());
                } else if !found.ambiguous {
                    let written = &section.text[found.range.clone()];
                    let message = format!(
                        "{written} is a variable that nobody declares: add {} to variables of dunlin.yaml, and to \
                         spec.variables where a MigrationSet applies it",
                        found.name
                    );
                    let Location { line, column } = locate_byte(&section.text, section.first_line, found.range.start);
                    let place = Place { file: migration.file.clone(), line, column };
                    remarks.push(warning(place, "UndeclaredVariable", message));
                }
            }
        }
    }
    let unused = given.iter().filter(|(name, _)| !used.contains(*name));
    remarks.extend(unused.map(|(name, given)| Remark {
        severity: Severity::Warning,
        file: None,
        line: None,
        column: None,
        reason: "UnusedVariable".to_owned(),
        message: format!("{}: no file uses {name}: remove it, or write :'{name}' where it is meant", given.place),
    }));
    remarks
}

/// What the way up destroys; the way down is there to do so.
fn destroys(migration: &Migration) -> Vec<Remark> {
    let section = &migration.up;
    let found = destructive(&section.text, &section.script);
    let remark = |found: crate::core::sql::destructive::Destructive| {
        let statement = section.script.statements.get(found.statement);
        let column = statement.filter(|statement| statement.line == found.line).map_or(1, |statement| statement.column);
        let place = Place { file: migration.file.clone(), line: section.first_line + found.line, column };
        let message = format!(
            "{}: what it takes away doesn't come back, and a program that still uses it fails: see that nobody needs it any more",
            found.what
        );
        warning(place, "Destructive", message)
    };
    found.into_iter().map(remark).collect()
}

/// The first statement that runs outside of a transaction without having to, and stays where a later one fails.
fn needs_no_transaction(migration: &Migration) -> Option<Remark> {
    if migration.mode == TransactionMode::Transactional {
        return None;
    }
    let section = &migration.up;
    let could = section.script.statements.iter().find(|statement| {
        matches!(statement.kind, Kind::Plain | Kind::Savepoint) && statement.session == SessionEffect::None
    })?;
    let alone = section.script.statements.iter().any(|statement| matches!(statement.kind, Kind::Alone(_)));
    let message = if alone {
        "this could run in a transaction, and doesn't, for others in the file can't: it stays where one of those fails; \
         give it a file of its own"
    } else {
        "nothing in this file has to run outside of a transaction: remove `-- migrate: no-transaction`, or it stays half \
         done where it fails"
    };
    let place = Place { file: migration.file.clone(), line: section.first_line + could.line, column: could.column };
    Some(warning(place, "NeedsNoTransaction", message.to_owned()))
}

fn is_sound(remarks: &[Remark]) -> bool {
    remarks.iter().all(|remark| remark.severity != Severity::Error)
}

fn count(remarks: &[Remark], severity: Severity) -> usize {
    remarks.iter().filter(|remark| remark.severity == severity).count()
}

fn as_json(remarks: &[Remark]) -> serde_json::Value {
    json!({
        "sound": is_sound(remarks),
        "errors": count(remarks, Severity::Error),
        "warnings": count(remarks, Severity::Warning),
        "hints": count(remarks, Severity::Hint),
        "remarks": remarks,
    })
}

/// A line each, as compilers write them.
fn text(remarks: &[Remark]) -> String {
    let mut text = String::new();
    for Remark { severity, file, line, column, message, .. } in remarks {
        if let (Some(file), Some(line), Some(column)) = (file, line, column) {
            let _ = write!(text, "{file}:{line}:{column}: ");
        }
        let _ = writeln!(text, "{}: {message}", toned(severity.tone(), severity.word()));
    }
    let _ = match (count(remarks, Severity::Error), count(remarks, Severity::Warning)) {
        (0, 0) => writeln!(text, "the files are sound"),
        (0, warnings) => writeln!(text, "the files are sound; warnings: {warnings}"),
        (errors, warnings) => writeln!(text, "errors: {errors}, warnings: {warnings}; nothing of it would run"),
    };
    text
}
