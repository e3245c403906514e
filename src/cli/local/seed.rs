//! `dunlin seed`: SQL and rows for a database whose schema is complete. A verb of its own: `apply` loads none.

use std::{collections::HashMap, path::Path, time::Duration};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    apply::RunArgs,
    args::{FilesArgs, ProjectArgs},
    block_on,
    error::LocalError,
    files::{slug, title, write_new},
    project::Project,
    run::Run,
    talk,
};
use crate::{
    cli::{
        CliError,
        exit::Exit,
        output::{self, OutputFormat},
    },
    core::{
        desired::Target,
        history::{History, SeedCounts},
        plan::{self, Assessment},
        seed::{Mode, Seed, split_path},
        task::{TaskKind, TaskRun},
    },
    source::{SeedFiles, seeds},
};

/// Settings of `seed`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SeedArgs {
    /// What else to do with seeds.
    #[command(subcommand)]
    pub command: Option<SeedCommand>,
    /// One seed alone, by its path in the folder of seeds, as in `010_users.sql` or `dev/010_users.yaml`.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub file: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// What else to do with seeds.
#[derive(Debug, Subcommand)]
pub enum SeedCommand {
    /// Write a new seed for you to fill in, and print its path; with --env, one of that environment alone.
    Create(CreateSeedArgs),
    /// List the seeds of the environment, and whether each is loaded.
    #[command(visible_alias = "status")]
    List(ListSeedsArgs),
}

/// Settings of `seed create`.
#[derive(Debug, Args)]
pub struct CreateSeedArgs {
    /// What it holds: `010_users`, or "Demo users".
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Write a document of rows in YAML, in place of SQL.
    #[arg(long)]
    pub yaml: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

/// Settings of `seed list`.
#[derive(Debug, Args)]
pub struct ListSeedsArgs {
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// How a seed stands between its file and the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    /// What the file says is loaded.
    Loaded,
    /// It runs with the next `dunlin seed`.
    Pending,
    /// It runs once, has run, and was edited since.
    Edited,
    /// It failed, and waits for an edit or a decision.
    Failed,
    /// There is nothing in it yet.
    Empty,
}

/// One row of `seed list`. A format: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    path: String,
    mode: &'static str,
    state: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<i64>,
    #[serde(flatten)]
    counts: Option<Counts>,
}

#[derive(Debug, Serialize)]
struct Counts {
    inserted: u64,
    updated: u64,
    unchanged: u64,
}

/// Loads what is due, or does what else is asked for.
pub(in crate::cli) fn seed(args: SeedArgs) -> Result<Exit, CliError> {
    let SeedArgs { command, file, run } = args;
    match command {
        None => block_on(load(file, run)),
        Some(SeedCommand::Create(args)) => create(&args),
        Some(SeedCommand::List(args)) => block_on(list(args)),
    }
}

async fn load(file: Option<String>, args: RunArgs) -> Result<Exit, LocalError> {
    let mut project = Project::open(&args.project)?;
    let content = project.content()?;
    let found = read(&project)?;
    let parameters = project.parameters()?;
    project.desired.seeds = match &file {
        Some(file) => [one(&project, &found, file)?].into(),
        None => found.seeds,
    };
    // The schema is the business of apply.
    project.desired.target = Target::Stay;
    let (session, history) = project.look(&parameters).await?;
    let assessment = plan::plan(&content.dir, &history, &project.desired);
    for path in &assessment.seeds_edited {
        talk::say("seedEdited", format!("{path} was edited after it ran, and runs once: it isn't loaded again"));
    }
    if let Some(finding) = assessment.findings.into_iter().next() {
        return Err(LocalError::held_up(finding, &project.desired.history.set));
    }
    if assessment.pending > 0 {
        return Err(LocalError::Impossible(format!(
            "{} of the migrations are pending, and seeds are for a schema that is complete: dunlin apply first. Nothing was loaded",
            assessment.pending
        )));
    }
    if assessment.seeds.is_empty() {
        talk::say("nothingToDo", format!("nothing to do: {} loaded, none pending", assessment.seeded));
        return Ok(Exit::Done);
    }
    allow(&project, args.confirm.yes, &assessment.seeds)?;
    let wait: Duration = args.wait;
    Box::pin(Run { project: &project, content: &content, parameters: &parameters, wait }.perform(session)).await
}

/// M25: where much is at stake, data that was made up is loaded by nobody's Enter key.
fn allow(project: &Project, yes: bool, seeds: &[String]) -> Result<(), LocalError> {
    if yes || !project.settings.protected {
        return Ok(());
    }
    Err(LocalError::NotConfirmed(format!(
        "this would load {} in {}, which is protected: add --yes to allow it. Nothing was done",
        seeds.join(", "),
        project.settings.env
    )))
}

/// The seeds of the environment.
pub(super) fn read(project: &Project) -> Result<SeedFiles, LocalError> {
    Ok(seeds::of_folder(&project.settings.seeds, Some(&project.settings.env))?)
}

/// The seed of that name: its path in the folder, or the folder before it.
fn one(project: &Project, found: &SeedFiles, file: &str) -> Result<Seed, LocalError> {
    let folder = &project.settings.seeds;
    let inside = Path::new(file).strip_prefix(folder).unwrap_or(Path::new(file));
    let inside = inside.strip_prefix(".").unwrap_or(inside);
    let wanted = inside.to_str().unwrap_or_default();
    let wanted = wanted.strip_suffix(".gz").unwrap_or(wanted);
    if let Some(seed) = found.seeds.iter().find(|seed| seed.path == wanted) {
        return Ok(seed.clone());
    }
    let why = match split_path(wanted) {
        Ok((Some(environment), _, _)) if environment != project.settings.env => {
            format!(
                "belongs to the environment {environment}, and this is {}: name it with --env",
                project.settings.env
            )
        }
        Ok(_) => format!("is no seed in {}: dunlin seed list names those that are there", folder.display()),
        Err(_) => format!("is no path of a seed in {}: write 010_users.sql, or dev/010_users.sql", folder.display()),
    };
    Err(LocalError::setting(format!("--file {file}"), why))
}

/// `: 2 inserted, 1 updated, 0 unchanged`; nothing of SQL, which doesn't say.
pub(super) fn in_words(counts: Option<SeedCounts>) -> String {
    counts.map_or_else(String::new, |SeedCounts { inserted, updated, unchanged }| {
        format!(": {inserted} inserted, {updated} updated, {unchanged} unchanged")
    })
}

/// Writes a seed for somebody to fill in.
fn create(args: &CreateSeedArgs) -> Result<Exit, CliError> {
    let project = Project::open_files(&args.project)?;
    let slug = slug(&args.name)?;
    let mut folder = project.settings.seeds.clone();
    if args.project.env.is_some() {
        let env = &project.settings.env;
        if split_path(&format!("{env}/{slug}.sql")).is_err() {
            let why = "can't be a folder's name: letters and digits of ASCII, -, _ and . can";
            return Err(LocalError::setting(format!("the environment {env}"), why).into());
        }
        folder.push(env);
    }
    let title = title(&args.name);
    let (extension, text) = if args.yaml {
        (
            "yaml",
            format!(
                "# {title}\nmode: once # or on-change\nonConflict: fail # or nothing, or update\n\n# users:\n# - {{id: 1, name: Ada}}\n"
            ),
        )
    } else {
        ("sql", format!("-- {title}\n-- seed: once\n\n"))
    };
    let path = folder.join(format!("{slug}.{extension}"));
    if path.exists() {
        return Err(LocalError::Exists { path, instead: "nothing was changed; edit it, or choose another name" }.into());
    }
    std::fs::create_dir_all(&folder).map_err(|source| LocalError::Write { path: folder.clone(), source })?;
    write_new(&path, &text)?;
    output::print(&format!("{}\n", path.display()))?;
    Ok(Exit::Done)
}

async fn list(args: ListSeedsArgs) -> Result<Exit, CliError> {
    let mut project = Project::open(&args.project)?;
    let found = read(&project)?;
    let content = project.content()?;
    let parameters = project.parameters()?;
    let (_session, history) = project.look(&parameters).await.map_err(LocalError::from)?;
    project.desired.seeds = found.seeds;
    project.desired.target = Target::Stay;
    let assessment = plan::plan(&content.dir, &history, &project.desired);
    let listed = listed(&project.desired.seeds, &history, &assessment);
    match args.output {
        OutputFormat::Json => output::print_json(&listed)?,
        OutputFormat::Text => {
            let rows = listed.iter().map(|row| {
                let counts = row.counts.as_ref();
                let count = |of: fn(&Counts) -> u64| counts.map(|counts| of(counts).to_string()).unwrap_or_default();
                let state = serde_json::to_value(row.state).ok().and_then(|state| state.as_str().map(str::to_owned));
                vec![
                    row.path.clone(),
                    row.mode.to_owned(),
                    state.unwrap_or_default(),
                    row.applied_at.clone().unwrap_or_default(),
                    count(|counts| counts.inserted),
                    count(|counts| counts.updated),
                    count(|counts| counts.unchanged),
                ]
            });
            let header = vec!["SEED", "MODE", "STATE", "LOADED AT", "INSERTED", "UPDATED", "UNCHANGED"];
            output::print(&output::table(header, &rows.collect::<Vec<_>>()))?;
        }
    }
    Ok(Exit::Done)
}

fn listed(seeds: &[Seed], history: &History, assessment: &Assessment) -> Vec<Listed> {
    let recorded: HashMap<&str, _> = history.seeds.iter().map(|row| (row.name.as_str(), row)).collect();
    let has_failed = |seed: &Seed| {
        let is_it = |task: &&TaskRun| {
            task.kind == TaskKind::Seed && task.key == seed.path && task.checksum == seed.checksum.as_str()
        };
        history.tasks.iter().find(is_it).is_some_and(TaskRun::is_undecided)
    };
    seeds
        .iter()
        .map(|seed| {
            let row = recorded.get(seed.path.as_str());
            let state = match row {
                _ if seed.is_empty() => Standing::Empty,
                Some(row) if row.checksum == seed.checksum.as_str() => Standing::Loaded,
                Some(_) if seed.mode == Mode::Once => Standing::Edited,
                _ if has_failed(seed) && !assessment.seeds.contains(&seed.path) => Standing::Failed,
                _ => Standing::Pending,
            };
            Listed {
                path: seed.path.clone(),
                mode: seed.mode.word(),
                state,
                applied_at: row.and_then(|row| row.applied_at.clone()),
                run: row.map(|row| row.run),
                counts: row.and_then(|row| row.counts).map(|SeedCounts { inserted, updated, unchanged }| Counts {
                    inserted,
                    updated,
                    unchanged,
                }),
            }
        })
        .collect()
}
