//! `dunlin plan`: the SQL that would run, byte for byte, and nothing else, on stdout. Reads only,
//! unless it is asked to rehearse, which is rolled back.
//!
//! Variables have their values in it, but for those from the environment, which stay as the file writes them.

use std::{borrow::Cow, time::Duration};

use clap::Args;
use serde::Serialize;

use super::{
    apply::read_target,
    args::ProjectArgs,
    error::LocalError,
    project::{Both, Project},
    rehearse,
    talk::{self, Event},
};
use crate::{
    api::v1alpha1::parse_duration,
    cli::{
        CliError,
        exit::Exit,
        output::{self, OutputFormat},
    },
    core::{
        migration::{Direction, MigrationDir, Section},
        outcome::Reason,
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
    /// Run all of it in one transaction that is rolled back, and say what the server refuses. What the migrations lock
    /// stays locked until the end, and sequences don't go back.
    #[arg(long)]
    pub execute: bool,
    /// How long a statement of --execute waits for somebody else's lock.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration, requires = "execute")]
    pub lock_timeout: Duration,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// What `-o json` prints. A format: fields are added, never renamed.
#[derive(Serialize)]
struct Planned<'a> {
    digest: String,
    steps: Vec<PlannedStep<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rehearsal: Option<rehearse::Told<'a>>,
}

#[derive(Serialize)]
struct PlannedStep<'a> {
    version: &'a str,
    name: &'a str,
    direction: &'static str,
    transactional: bool,
    sql: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    variables: &'a [String],
}

/// Prints what would run.
pub(in crate::cli) async fn plan(args: PlanArgs) -> Result<Exit, CliError> {
    let mut project = Project::open(&args.project)?;
    project.desired.target = read_target(&args.target)?;
    let rehearsal = args.execute.then_some(args.lock_timeout);
    preview(project, Preview { output: args.output, exit_code: args.exit_code, rehearsal }).await
}

/// How a plan is shown.
pub(super) struct Preview {
    pub output: OutputFormat,
    pub exit_code: bool,
    /// Whether it is rehearsed, and how long a statement waits for a lock.
    pub rehearsal: Option<Duration>,
}

/// Shows what would run, and rehearses it if that was asked for.
pub(super) async fn preview(mut project: Project, how: Preview) -> Result<Exit, CliError> {
    let Preview { output, exit_code, rehearsal } = how;
    if let Some(timeout) = rehearsal {
        project.desired.session.lock_timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    }
    let Both { content, parameters, session, history } = project.read_both().await?;
    let assessment = plan::plan(&content.dir, &history, &project.desired);
    let steps = &assessment.plan.steps;
    let texts: Vec<Option<Cow<'_, str>>> =
        steps.iter().map(|step| Some(text(&project, step, section(&content.dir, step)?))).collect();
    // What waits for a person's word may be rehearsed before: that is what the word can rest on.
    let hindered = assessment.findings.iter().any(|finding| finding.reason != Reason::ApprovalRequired);
    if output == OutputFormat::Text {
        show(&project, steps, &texts)?;
    }
    let rehearsed = match rehearsal {
        Some(_) if !hindered && !steps.is_empty() => {
            let subject = (&*content.dir, &history, &assessment.plan);
            Some(rehearse::rehearse(&project, session, &parameters, subject).await?)
        }
        _ => None,
    };
    if output != OutputFormat::Text {
        output::print_as(
            output,
            &Planned {
                digest: assessment.plan.digest().to_string(),
                steps: steps.iter().zip(&texts).map(|(step, text)| planned(step, text.as_deref())).collect(),
                rehearsal: rehearsed.as_ref().map(|rehearsal| rehearse::told(steps, rehearsal)),
            },
        )?;
    }
    if let Some(rehearsal) = &rehearsed
        && let Some(exit) = rehearse::verdict(&project, steps, rehearsal)?
    {
        return Ok(exit);
    }
    if let Some(finding) = assessment.findings.first() {
        return Err(LocalError::held_up(finding.clone(), &project.desired.history.set).into());
    }
    if steps.is_empty() {
        talk::say("nothingToDo", format!("nothing to do: {}", super::apply::in_sync(&assessment)));
    }
    Ok(if exit_code && !steps.is_empty() { Exit::Differs } else { Exit::Done })
}

/// The steps on stderr, and their SQL on stdout.
fn show(project: &Project, steps: &[Step], texts: &[Option<Cow<'_, str>>]) -> Result<(), CliError> {
    let set = &project.desired.history.set;
    for step in steps {
        let words = format!("{} {}_{}", step.direction.word(), step.version, step.name);
        Event::new("planned", words).set(set).of(&step.version, step.direction).say();
    }
    output::print(&texts.iter().flatten().map(AsRef::as_ref).collect::<String>())?;
    for step in steps.iter().zip(texts).filter(|(_, text)| text.is_none()).map(|(step, _)| step) {
        let words = format!(
            "{}_{}: its way down is the one that the history holds, which isn't what its file says now",
            step.version, step.name
        );
        Event::new("otherWayDown", words).set(set).of(&step.version, step.direction).say();
    }
    Ok(())
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

/// The text of a section with the values that may be shown. Why another can't be put in is a finding, which is said.
fn text<'a>(project: &Project, step: &Step, section: &'a Section) -> Cow<'a, str> {
    let shown = project.desired.variables.shown(section, step.mode);
    shown.ok().flatten().map_or(Cow::Borrowed(section.text.as_str()), Cow::Owned)
}

fn planned<'a>(step: &'a Step, sql: Option<&'a str>) -> PlannedStep<'a> {
    PlannedStep {
        version: step.version.as_str(),
        name: &step.name,
        direction: step.direction.word(),
        transactional: step.mode == crate::core::migration::TransactionMode::Transactional,
        sql,
        variables: &step.variables,
    }
}
