//! `dunlin convert`: another tool's migrations in Python into files of SQL. Files alone, no database, and no Python.
//!
//! All of them are written, or none; nothing that is there is overwritten.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{args::FilesArgs, error::LocalError, project::Project, talk};
use crate::{
    cli::{CliError, exit::Exit, output},
    core::{
        bundle::BundleFile,
        format::SourceProblem,
        outcome::{Failure, Reason},
        python::{self, Converted, Source, Tool},
    },
    source::dir,
};

/// Settings of `convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The folder of the migrations in Python; folders in it are not looked into.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Whose they are.
    #[arg(long, value_name = "TOOL", value_enum)]
    pub from: ToolArg,
    /// The folder to write into, which is made if it isn't there; that of the project's migrations, unless another is said.
    #[arg(long, value_name = "DIR", conflicts_with = "migrations")]
    pub into: Option<PathBuf>,
    /// Print what would be written, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

/// A tool whose migrations are Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ToolArg {
    /// psqlmodel: classes with a version, up(engine) and down(engine).
    Psqlmodel,
    /// herogold.orm: files named by their day, up(session) and down(session).
    Herogold,
}

/// A file of Python, read.
struct PythonFile {
    stem: String,
    origin: String,
    bytes: Vec<u8>,
}

impl From<ToolArg> for Tool {
    fn from(tool: ToolArg) -> Self {
        match tool {
            ToolArg::Psqlmodel => Self::Psqlmodel,
            ToolArg::Herogold => Self::Herogold,
        }
    }
}

/// Writes a file of SQL for each file of Python.
pub(in crate::cli) fn convert(args: &ConvertArgs) -> Result<Exit, CliError> {
    let ConvertArgs { folder, from, into, dry_run, project } = args;
    let into = match into {
        Some(into) => into.clone(),
        None => Project::open_files(project)?.settings.migrations,
    };
    let files = python_files(folder, *from)?;
    if fs::canonicalize(folder).is_ok_and(|folder| fs::canonicalize(&into).is_ok_and(|into| into == folder)) {
        return Err(LocalError::setting(
            into.display().to_string(),
            "is the folder that is converted, and one of migrations holds nothing else: name another with --into",
        )
        .into());
    }
    let sources: Vec<Source> =
        files.iter().map(|PythonFile { stem, origin, bytes }| Source { stem, origin, bytes }).collect();
    let converted = python::convert((*from).into(), &sources, &there(&into)?).map_err(|found| refused(&found))?;
    let paths: Vec<PathBuf> = converted.iter().map(|one| into.join(&one.file)).collect();
    check_absent(&paths)?;
    if *dry_run {
        let texts = paths.iter().zip(&converted).map(|(path, one)| format!("-- {}\n{}\n", path.display(), one.text));
        output::print(&texts.collect::<String>())?;
    } else {
        write(&into, &paths, &converted)?;
        let lines: Vec<String> = paths.iter().map(|path| format!("{}\n", path.display())).collect();
        output::print(&lines.concat())?;
    }
    remark(&converted);
    if *dry_run {
        talk::say("note", format!("nothing was written: these would be {} files of {}", paths.len(), into.display()));
    }
    Ok(Exit::Done)
}

/// The files that the tool would take for migrations.
fn python_files(folder: &Path, tool: ToolArg) -> Result<Vec<PythonFile>, LocalError> {
    let failed = |path: &Path, instead| {
        let path = path.to_owned();
        move |source| LocalError::Read { path, source, instead }
    };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(failed(folder, "name the folder of the migrations in Python"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(LocalError::setting(path.display().to_string(), "its name isn't UTF-8: rename it"));
        };
        let Some(stem) = name.strip_suffix(".py") else { continue };
        let is_passed_over = match tool {
            ToolArg::Psqlmodel => stem.starts_with('_'),
            ToolArg::Herogold => stem == "__init__",
        };
        if is_passed_over || path.is_dir() {
            continue;
        }
        let bytes = fs::read(&path).map_err(failed(&path, "see to it that it can be read"))?;
        files.push(PythonFile { stem: stem.to_owned(), origin: path.display().to_string(), bytes });
    }
    if files.is_empty() {
        return Err(LocalError::setting(
            folder.display().to_string(),
            "holds no migration in Python, as 20260215_name.py",
        ));
    }
    files.sort_by(|one, other| one.stem.cmp(&other.stem));
    Ok(files)
}

/// What is in the folder already.
fn there(into: &Path) -> Result<Vec<BundleFile>, LocalError> {
    if !into.exists() {
        return Ok(Vec::new());
    }
    Ok(dir::bundle(into)?.files().to_vec())
}

/// Everything that was found, a line each.
fn refused(found: &[SourceProblem]) -> LocalError {
    let reason = found.first().map_or(Reason::InvalidSource, |problem| problem.reason);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    let what = if lines.len() == 1 { "this stands".to_owned() } else { format!("these {} stand", lines.len()) };
    Failure::new(reason, format!("nothing was written; {what} in the way:\n{}", lines.join("\n"))).into()
}

/// Refuses to overwrite, with the names of all that are there, packed ones among them.
fn check_absent(paths: &[PathBuf]) -> Result<(), LocalError> {
    let packed = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".gz");
        PathBuf::from(name)
    };
    let there =
        paths.iter().flat_map(|path| [path.clone(), packed(path)]).filter(|path| path.symlink_metadata().is_ok());
    let there: Vec<String> = there.map(|path| path.display().to_string()).collect();
    if there.is_empty() {
        return Ok(());
    }
    let verb = if there.len() == 1 { "is" } else { "are" };
    Err(LocalError::Impossible(format!(
        "{} {verb} there already, and nothing was written: name another folder with --into, or leave the files out that are \
         converted",
        there.join(", ")
    )))
}

/// Writes all of them, or takes back what was written.
fn write(into: &Path, paths: &[PathBuf], converted: &[Converted]) -> Result<(), LocalError> {
    fs::create_dir_all(into).map_err(|source| LocalError::Write { path: into.to_owned(), source })?;
    for (at, (path, one)) in paths.iter().zip(converted).enumerate() {
        let file = fs::File::create_new(path);
        let is_ours = file.is_ok();
        let written = file.and_then(|mut file| file.write_all(one.text.as_bytes()));
        if let Err(source) = written {
            for path in &paths[..at + usize::from(is_ours)] {
                // What can't be taken back is named by the next run.
                let _ = fs::remove_file(path);
            }
            return Err(LocalError::Write { path: path.clone(), source });
        }
    }
    Ok(())
}

/// Says what a reader should know of the files.
fn remark(converted: &[Converted]) {
    for note in converted.iter().flat_map(|one| &one.notes) {
        talk::say("note", note.as_str());
    }
    let without: Vec<&str> = converted.iter().filter(|one| !one.has_down).map(|one| one.file.as_str()).collect();
    if !without.is_empty() {
        talk::say("note", format!("no way down: `down` does nothing in those that became {}", without.join(", ")));
    }
}
