//! `dunlin squash`: a range of migrations into one file that stands for them.
//!
//! A database that has all of them records the new file without running it, one that has none runs it alone, and one that
//! has some is told which it lacks: that is the engine's part. This one writes a file that does what they did.

mod join;
mod swap;

use std::{collections::HashSet, ops::Range, path::Path};

use clap::Args;

use super::{args::ProjectArgs, error::LocalError, files, project::Project, talk};
use crate::{
    cli::{CliError, exit::Exit, output},
    core::{
        format::{self, Format},
        history::{Recorded, State},
        migration::{Migration, MigrationDir, Version},
        outcome::Failure,
    },
    source::dir,
};

/// Settings of `squash`.
#[derive(Debug, Args)]
pub struct SquashArgs {
    /// What the new file does: `begin`, or "All of the first year".
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The first of the range, in the order in which they run; without a range, it is what is pending in the database.
    #[arg(long, value_name = "VERSION", requires = "to")]
    pub from: Option<String>,
    /// The last of the range.
    #[arg(long, value_name = "VERSION", requires = "from")]
    pub to: Option<String>,
    /// Print the file, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// Joins a range, and puts the originals away.
pub(in crate::cli) async fn squash(args: SquashArgs) -> Result<Exit, CliError> {
    let project = Project::open(&args.project)?;
    let folder = &project.settings.migrations;
    let slug = files::slug(&args.name)?;
    let bundle = dir::bundle(folder).map_err(LocalError::from)?;
    let set = format::read(&bundle, Format::Auto)
        .map_err(|error| LocalError::from(Failure::new(error.reason, error.message)))?;
    let range = match (&args.from, &args.to) {
        (Some(from), Some(to)) => named(&set, from, to)?,
        (Some(_) | None, None) | (None, Some(_)) => pending(&project, &set).await?,
    };
    let joined = join::join(&bundle, &set, range.clone(), (&slug, &files::title(&args.name)))?;
    if !joined.without_down.is_empty() {
        talk::say(
            "note",
            format!("no way down: {} lacks one, so {} has none", joined.without_down.join(", "), joined.file),
        );
    }
    let path = folder.join(&joined.file);
    if args.dry_run {
        output::print(&joined.text)?;
        talk::say("note", format!("nothing was changed: this would be {}", path.display()));
        return Ok(Exit::Done);
    }
    let originals: Vec<&Path> = set.migrations()[range]
        .iter()
        .filter_map(|migration| Path::new(&migration.origin).file_name())
        .map(Path::new)
        .collect();
    let backup = swap::swap(folder, &joined, &originals)?;
    output::print(&format!("{}\n", path.display()))?;
    talk::say(
        "note",
        format!(
            "it stands for {} files, which are in {}: dunlin plan shows what a database makes of it",
            originals.len(),
            backup.display()
        ),
    );
    Ok(Exit::Done)
}

/// The range that the flags name.
fn named(set: &MigrationDir, from: &str, to: &str) -> Result<Range<usize>, LocalError> {
    let position = |flag: &str, text: &str| {
        let (version, name) =
            Version::parse_reference(text).map_err(|why| LocalError::setting(format!("{flag} {text}"), why))?;
        let position = set.position(&version).filter(|&at| name.is_none_or(|name| set.migrations()[at].name == name));
        position.ok_or_else(|| LocalError::setting(format!("{flag} {text}"), "is no file's: dunlin list shows them"))
    };
    let (first, last) = (position("--from", from)?, position("--to", to)?);
    if first > last {
        return Err(LocalError::setting(format!("--from {from}"), format!("runs behind {to}: exchange the two")));
    }
    Ok(first..last + 1)
}

/// The range that the database at hand hasn't applied.
async fn pending(project: &Project, set: &MigrationDir) -> Result<Range<usize>, LocalError> {
    let (_session, history) = project.look(&project.parameters()?).await?;
    let rows = &history.migrations;
    let is_there = |row: &&Recorded| row.state.is_applied() || row.state == State::Replaced;
    let settled: HashSet<&Version> =
        rows.iter().filter(is_there).flat_map(|row| std::iter::once(&row.version).chain(&row.replaces)).collect();
    let is_pending = |migration: &Migration| !settled.contains(&migration.version);
    if let Some(row) = rows.iter().find(|row| {
        matches!(row.state, State::Failed | State::Interrupted) && set.get(&row.version).is_some_and(is_pending)
    }) {
        return Err(LocalError::Impossible(format!(
            "{}_{} has begun in this database and isn't done (run {}): see to it first, as dunlin status says",
            row.version, row.name, row.run.id
        )));
    }
    let migrations = set.migrations();
    let places: Vec<usize> = (0..migrations.len()).filter(|&place| is_pending(&migrations[place])).collect();
    let (Some(&first), Some(&last)) = (places.first(), places.last()) else {
        return Err(LocalError::Impossible(
            "nothing is pending in this database: name a range with --from and --to".to_owned(),
        ));
    };
    if let Some(applied) = migrations[first..=last].iter().find(|migration| !is_pending(migration)) {
        return Err(LocalError::Impossible(format!(
            "{} is applied and stands between those that are pending: name a range beside it with --from and --to",
            applied.file
        )));
    }
    Ok(first..last + 1)
}
