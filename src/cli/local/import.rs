//! `dunlin import`: what another tool has applied is recorded, by that tool's own history. Nothing runs.

use clap::{Args, ValueEnum};

use super::{
    apply::RunArgs,
    confirm::{Ask, confirm},
    error::LocalError,
    project::{Both, Project},
    run::Run,
    talk::{self, Event},
};
use crate::{
    cli::{CliError, exit::Exit, output},
    core::{
        adopt::{self, Adopt, Adopted, Adoption, Edited, Foreign, Obstacle, Tool, When},
        desired::{Audience, Target},
        migration::{Direction, MigrationDir, Version},
        outcome::Failure,
    },
};

/// Settings of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The tool that has migrated the database so far.
    #[arg(long, value_name = "TOOL", value_enum)]
    pub from: From,
    /// The tool's table, where it has another name or where there are several: a name, or a schema and a name.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Take files as they are that the tool's checksums say were edited since.
    #[arg(long)]
    pub accept_checksums: bool,
    /// Show what would be recorded, and record nothing.
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// A tool whose history can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "named after the tools")]
pub enum From {
    Migretti,
    Metapg,
    Psqlmodel,
    Herogold,
}

impl From {
    fn tool(self) -> Tool {
        match self {
            Self::Migretti => Tool::Migretti,
            Self::Metapg => Tool::Metapg,
            Self::Psqlmodel => Tool::Psqlmodel,
            Self::Herogold => Tool::Herogold,
        }
    }
}

/// Records what the other tool's table says.
pub(in crate::cli) async fn import(args: ImportArgs) -> Result<Exit, CliError> {
    let ImportArgs { from, table, accept_checksums, dry_run, run: args } = args;
    let from = from.tool();
    let mut project = Project::open(&args.project)?;
    let edited = if accept_checksums { Edited::Accept } else { Edited::Refuse };
    let adopt = Adopt { from, table, edited, when: When::Always };
    project.desired.history.adopt = Some(adopt.clone());
    // What the tool hasn't applied is for the next apply.
    project.desired.target = Target::Stay;
    let Both { content, parameters, session, history } = project.read_both().await?;
    let foreign = history.foreign.clone().unwrap_or(Foreign::Absent { unfit: Vec::new() });
    let adoption =
        adopt::take_over(&content.dir, &history, &adopt, &foreign).map_err(|obstacles| in_the_way(&obstacles))?;
    if dry_run {
        output::print(&preview(&content.dir, &adoption))?;
        tell_the_rest(&adoption, from, &content.dir);
        return Ok(Exit::Done);
    }
    if adoption.rows.is_empty() {
        let known = adoption.known;
        talk::say(
            "nothingToDo",
            format!("nothing to do: of what {from} has applied, {known} are recorded, and no more"),
        );
        return Ok(Exit::Done);
    }
    let count = match adoption.rows.as_slice() {
        [row] => file(&content.dir, &row.version),
        rows => format!("{} migrations", rows.len()),
    };
    let what = format!("record {count} as {from} applied it, without running anything");
    confirm(&project, args.confirm, Ask::WhereProtected, &what)?;
    let run = Run { project: &project, content: &content, parameters: &parameters, wait: args.wait };
    let exit = run.perform(session).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    for row in &adoption.rows {
        let words = format!("recorded as {from} applied it, not run: {}", file(&content.dir, &row.version));
        Event::new("imported", words).set(&project.desired.history.set).of(&row.version, Direction::Up).say();
    }
    tell_the_rest(&adoption, from, &content.dir);
    Ok(exit)
}

/// What was found, where the next thing to do isn't with the settings, waits for a person.
fn in_the_way(obstacles: &[Obstacle]) -> LocalError {
    let settings = obstacles.iter().any(Obstacle::is_of_the_settings);
    let reason = obstacles.first().map(Obstacle::reason);
    let messages: Vec<String> = obstacles.iter().map(|it| it.message(Audience::CommandLine)).collect();
    let message = messages.join("\n");
    match reason {
        Some(reason) if settings => Failure::new(reason, message).into(),
        Some(_) | None => LocalError::Impossible(message),
    }
}

/// A row for each migration that would be recorded.
fn preview(dir: &MigrationDir, adoption: &Adoption) -> String {
    let rows = adoption.rows.iter().map(|row| {
        let Adopted { version, applied_at, duration_ms: _, by, batch: _ } = row;
        let name = dir.get(version).map(|migration| migration.name.clone()).unwrap_or_default();
        vec![version.to_string(), name, applied_at.clone().unwrap_or_default(), by.clone()]
    });
    output::table(vec!["VERSION", "NAME", "APPLIED AT", "BY"], &rows.collect::<Vec<_>>())
}

/// What else there is to know of the tool's history.
fn tell_the_rest(adoption: &Adoption, from: Tool, dir: &MigrationDir) {
    let Adoption { table, rows: _, known, rolled_back, skipped } = adoption;
    if *known > 0 {
        talk::say("alreadyRecorded", format!("{known} more of {table} are recorded already, and left as they are"));
    }
    if *rolled_back > 0 {
        talk::say(
            "rolledBackThere",
            format!("{rolled_back} of {table} were rolled back by {from}, and don't count as applied"),
        );
    }
    for version in skipped {
        let file = file(dir, version);
        let words = format!(
            "{from} hasn't applied {file}, and has what comes behind it: dunlin apply runs it with policy.outOfOrder: Allow"
        );
        Event::new("skipped", words).of(version, Direction::Up).say();
    }
}

fn file(dir: &MigrationDir, version: &Version) -> String {
    dir.get(version).map_or_else(|| version.to_string(), |migration| migration.file.clone())
}
