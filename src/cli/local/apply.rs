//! `dunlin apply` and `dunlin up`: what is pending, or the next of it.

use std::time::Duration;

use clap::Args;

use super::{
    args::{ConfirmArgs, HookArgs, ProjectArgs},
    confirm::{Ask, confirm},
    error::LocalError,
    plan::{self as planning, Preview},
    project::{Both, Project},
    run::Run,
    talk,
};
use crate::{
    api::v1alpha1::parse_duration,
    cli::{CliError, exit::Exit, output::OutputFormat},
    core::{
        desired::{GivenApproval, Target},
        migration::Direction,
        plan::{self, Assessment},
    },
};

/// Settings of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Go to this version, or to none or latest, in place of applying everything. Rolling back needs policy.rollback.
    #[arg(long, visible_alias = "to", value_name = "VERSION", default_value = "latest")]
    pub target: String,
    /// The digest of the plan that is approved, where approval.required asks for it.
    #[arg(long, value_name = "DIGEST")]
    pub approve: Option<String>,
    /// Show the SQL, run all of it in one transaction that is rolled back, and say what the server refuses: what
    /// `dunlin plan --execute` does.
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// How long a statement of --dry-run waits for somebody else's lock.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration, requires = "dry_run")]
    pub lock_timeout: Duration,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub hooks: HookArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// What every command that changes a database takes.
#[derive(Debug, Clone, Args)]
#[allow(missing_docs)]
pub struct RunArgs {
    /// How long somebody else's run is waited for.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    pub wait: Duration,
    #[command(flatten)]
    pub confirm: ConfirmArgs,
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// Settings of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub hooks: HookArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// Applies what is pending.
pub(in crate::cli) async fn apply(args: ApplyArgs) -> Result<Exit, CliError> {
    let ApplyArgs { target, approve, dry_run, lock_timeout, hooks, run } = args;
    let mut project = Project::open(&run.project)?;
    project.desired.target = read_target(&target)?;
    if let Some(plan) = approve {
        project.desired.approval.given.push(GivenApproval { plan, by: "--approve".to_owned() });
    }
    if dry_run {
        let how = Preview { output: OutputFormat::Text, exit_code: false, rehearsal: Some(lock_timeout) };
        return planning::preview(project, how).await;
    }
    project.choose_hooks(hooks);
    Ok(Box::pin(carry_out(project, &run, |_| None)).await?)
}

/// Applies the next migration.
pub(in crate::cli) async fn up(args: UpArgs) -> Result<Exit, LocalError> {
    let mut project = Project::open(&args.run.project)?;
    project.choose_hooks(args.hooks);
    Box::pin(carry_out(project, &args.run, |assessment| {
        let next = assessment.plan.steps.iter().find(|step| step.direction == Direction::Up)?;
        Some(Target::Steps { up: vec![next.version.clone()], down: Vec::new() })
    }))
    .await
}

/// Looks, plans, asks, and runs; `narrow` may aim at less than what was planned.
async fn carry_out(
    mut project: Project,
    args: &RunArgs,
    narrow: impl Fn(&Assessment) -> Option<Target>,
) -> Result<Exit, LocalError> {
    let Both { content, parameters, session, history } = project.read_both().await?;
    let mut assessment = plan::plan(&content.dir, &history, &project.desired);
    if let Some(target) = narrow(&assessment) {
        project.desired.target = target;
        assessment = plan::plan(&content.dir, &history, &project.desired);
    }
    // What is held up is recorded all the same: a plan that waits for its approval is offered by it.
    let due = !assessment.amendments.is_empty() || !assessment.hooks.due.is_empty();
    if assessment.findings.is_empty() && assessment.plan.steps.is_empty() && !due {
        talk::say("nothingToDo", format!("nothing to do: {}", in_sync(&assessment)));
        // The process ends here, and the system takes all of it back at once.
        std::mem::forget((content, history, assessment));
        return Ok(Exit::Done);
    }
    if assessment.findings.is_empty() && !assessment.plan.steps.is_empty() {
        let what = format!("run {} on {}", steps(&assessment), project.settings.env);
        confirm(&project, args.confirm, Ask::WhereProtected, &what)?;
    }
    Run { project: &project, content: &content, parameters: &parameters, wait: args.wait }.perform(session).await
}

/// Counts, for whoever has nothing to do.
pub(super) fn in_sync(assessment: &Assessment) -> String {
    match (assessment.applied, assessment.pending) {
        (applied, 0) => format!("{applied} applied, none pending"),
        (applied, pending) => format!("{applied} applied, {pending} pending"),
    }
}

/// `3 migrations`, or which it is.
pub(super) fn steps(assessment: &Assessment) -> String {
    match assessment.plan.steps.as_slice() {
        [step] => format!("{}_{}", step.version, step.name),
        steps => format!("{} migrations", steps.len()),
    }
}

/// A target as `spec.target` has it, but for batches, which `rollback --runs` counts.
pub(super) fn read_target(text: &str) -> Result<Target, LocalError> {
    match Target::parse(text).map_err(|why| LocalError::setting("--target", why))? {
        Target::Batch(_) => {
            Err(LocalError::setting("--target", "is no batch here: dunlin rollback --runs counts them"))
        }
        target => Ok(target),
    }
}
