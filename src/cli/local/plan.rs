//! `dunlin plan`: the SQL that would run, byte for byte, and nothing else, on stdout. Reads only.

use clap::Args;
use serde::Serialize;

use super::{apply::read_target, args::ProjectArgs, error::LocalError, project::Project};
use crate::{
    cli::{
        CliError,
        exit::Exit,
        output::{self, OutputFormat},
    },
    core::{
        migration::{Direction, MigrationDir, Section},
        outcome::Failure,
        plan::{self, Step},
    },
};

/// Settings of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    /// Plan to this version, or to none, in place of applying everything.
    #[arg(long, visible_alias = "to", value_name = "VERSION", default_value = "latest")]
    pub target: String,
    /// End with 1 when anything would run.
    #[arg(long)]
    pub exit_code: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// What `-o json` prints. A format: fields are added, never renamed.
#[derive(Serialize)]
struct Planned<'a> {
    digest: String,
    steps: Vec<PlannedStep<'a>>,
}

#[derive(Serialize)]
struct PlannedStep<'a> {
    version: &'a str,
    name: &'a str,
    direction: &'static str,
    transactional: bool,
    sql: Option<&'a str>,
}

/// Prints what would run.
pub(in crate::cli) async fn plan(args: PlanArgs) -> Result<Exit, CliError> {
    let mut project = Project::open(&args.project)?;
    project.desired.target = read_target(&args.target)?;
    let content = project.content()?;
    let (_session, history) = project.look(&project.parameters()?).await.map_err(LocalError::from)?;
    let assessment = plan::plan(&content.dir, &history, &project.desired);
    let steps = &assessment.plan.steps;
    let sections: Vec<Option<&Section>> = steps.iter().map(|step| section(&content.dir, step)).collect();
    match args.output {
        OutputFormat::Json => {
            let planned = Planned {
                digest: assessment.plan.digest().to_string(),
                steps: steps.iter().zip(&sections).map(|(step, section)| planned(step, *section)).collect(),
            };
            output::print_json(&planned)?;
        }
        OutputFormat::Text => {
            for step in steps {
                eprintln!("{} {}_{}", step.direction.word(), step.version, step.name);
            }
            output::print(&sections.iter().flatten().map(|section| section.text.as_str()).collect::<String>())?;
        }
    }
    for step in steps.iter().zip(&sections).filter(|(_, section)| section.is_none()).map(|(step, _)| step) {
        eprintln!(
            "{}_{}: its way down is the one that the history holds, which isn't what its file says now",
            step.version, step.name
        );
    }
    if let Some(finding) = assessment.findings.first() {
        return Err(LocalError::from(Failure::new(finding.reason, finding.message.clone())).into());
    }
    if steps.is_empty() {
        eprintln!("nothing to do: {}", super::apply::in_sync(&assessment));
    }
    Ok(if args.exit_code && !steps.is_empty() { Exit::Differs } else { Exit::Done })
}

/// What a step sends, where the files say it.
fn section<'a>(dir: &'a MigrationDir, step: &Step) -> Option<&'a Section> {
    let migration = dir.get(&step.version)?;
    let section = match step.direction {
        Direction::Up => Some(&migration.up),
        Direction::Down => migration.down.as_ref(),
    };
    section.filter(|section| section.checksum.as_str() == step.checksum)
}

fn planned<'a>(step: &'a Step, section: Option<&'a Section>) -> PlannedStep<'a> {
    PlannedStep {
        version: step.version.as_str(),
        name: &step.name,
        direction: step.direction.word(),
        transactional: step.mode == crate::core::migration::TransactionMode::Transactional,
        sql: section.map(|section| section.text.as_str()),
    }
}
