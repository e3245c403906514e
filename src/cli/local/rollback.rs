//! `dunlin rollback`, `down` and `reset`: undo what was applied, exactly what is shown first.

use clap::Args;

use super::{
    apply::{RunArgs, read_target, steps},
    args::HookArgs,
    confirm::{Ask, confirm},
    error::LocalError,
    project::{Both, Project},
    run::Run,
    talk,
};
use crate::{
    cli::exit::Exit,
    core::{
        desired::{Desired, Rollback, Target},
        history::{History, Recorded},
        migration::{Direction, MigrationDir, Version},
        outcome::Failure,
        plan::{self, Assessment},
    },
};

/// Settings of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// How many migrations to undo, the last applied first; one, unless something else is said.
    #[arg(value_name = "COUNT", conflicts_with_all = ["runs", "to"], value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    /// Undo what the last COUNT runs applied, whatever has been undone of it since.
    #[arg(long, value_name = "COUNT", conflicts_with = "to", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: Option<u32>,
    /// Undo everything behind this version, or all with none.
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub hooks: HookArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// Settings of `down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub hooks: HookArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// How much is undone.
enum Extent {
    Last(usize),
    Runs(usize),
    Behind(Target),
}

/// Undoes what was applied.
pub(in crate::cli) async fn rollback(args: RollbackArgs) -> Result<Exit, LocalError> {
    let RollbackArgs { count, runs, to, hooks, run } = args;
    let extent = match (count, runs, to) {
        (_, Some(runs), _) => Extent::Runs(runs as usize),
        (_, None, Some(to)) => Extent::Behind(read_target(&to)?),
        (count, None, None) => Extent::Last(count.unwrap_or(1) as usize),
    };
    carry_out(&extent, Ask::WhereProtected, hooks, &run).await
}

/// Undoes the last migration.
pub(in crate::cli) async fn down(args: DownArgs) -> Result<Exit, LocalError> {
    carry_out(&Extent::Last(1), Ask::WhereProtected, args.hooks, &args.run).await
}

/// Undoes everything.
pub(in crate::cli) async fn reset(args: DownArgs) -> Result<Exit, LocalError> {
    carry_out(&Extent::Behind(Target::None), Ask::Always, args.hooks, &args.run).await
}

async fn carry_out(extent: &Extent, ask: Ask, hooks: HookArgs, args: &RunArgs) -> Result<Exit, LocalError> {
    let mut project = Project::open(&args.project)?;
    project.choose_hooks(hooks);
    let Both { content, parameters, session, history } = project.read_both().await?;
    // Whoever types this allows it.
    project.desired.policy.rollback = Rollback::Allow;
    let down = undone(extent, &content.dir, &history, &project.desired)?;
    if down.is_empty() {
        talk::say("nothingToDo", "nothing to roll back");
        return Ok(Exit::Done);
    }
    project.desired.target = Target::Steps { up: Vec::new(), down };
    let assessment = plan::plan(&content.dir, &history, &project.desired);
    if let Some(finding) = assessment.findings.first() {
        return Err(Failure::new(finding.reason, finding.message.clone()).into());
    }
    talk::say("planned", shown(&assessment));
    confirm(&project, args.confirm, ask, &format!("roll back {}", steps(&assessment)))?;
    let run = Run { project: &project, content: &content, parameters: &parameters, wait: args.wait };
    Box::pin(run.perform(session)).await
}

/// The plan, a line a step.
fn shown(assessment: &Assessment) -> String {
    let line = |step: &plan::Step| format!("\n  {} {}_{}", step.direction.word(), step.version, step.name);
    let lines: String = assessment.plan.steps.iter().map(line).collect();
    format!("the plan {}:{lines}", assessment.plan.digest())
}

/// What is to be undone, in the order in which it is.
fn undone(
    extent: &Extent,
    dir: &MigrationDir,
    history: &History,
    desired: &Desired,
) -> Result<Vec<Version>, LocalError> {
    let mut desired = desired.clone();
    desired.target = match extent {
        Extent::Last(_) => Target::None,
        Extent::Runs(runs) => Target::Batch(before_runs(history, *runs)),
        Extent::Behind(target) => target.clone(),
    };
    let assessment = plan::plan(dir, history, &desired);
    // Nobody knows where that is.
    if let (Extent::Behind(_), Some(finding)) = (extent, assessment.findings.first())
        && assessment.plan.steps.is_empty()
    {
        return Err(Failure::new(finding.reason, finding.message.clone()).into());
    }
    let downs = assessment.plan.steps.into_iter().filter(|step| step.direction == Direction::Down);
    let downs = downs.map(|step| step.version);
    let mut downs: Vec<Version> = match extent {
        Extent::Last(count) => downs.take(*count).collect(),
        Extent::Runs(_) | Extent::Behind(_) => downs.collect(),
    };
    // With one that stands for others go those: if they stayed, they would be restored in its place.
    let goes = |row: &&Recorded| downs.contains(&row.version);
    let parts: Vec<Version> = history.migrations.iter().filter(goes).flat_map(|row| row.replaces.clone()).collect();
    downs.extend(parts);
    Ok(downs)
}

/// The batch that was the last one before so many of those whose migrations are still applied.
fn before_runs(history: &History, runs: usize) -> i64 {
    let mut batches: Vec<i64> =
        history.migrations.iter().filter(|row| row.state.is_applied()).map(|row| row.batch).collect();
    batches.sort_unstable();
    batches.dedup();
    batches.iter().rev().nth(runs).copied().unwrap_or(0)
}
