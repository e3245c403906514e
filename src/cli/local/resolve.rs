//! `dunlin resolve`: a person's decision about a failed, interrupted or edited migration, written into the history.

use clap::Args;

use super::{
    apply::RunArgs,
    confirm::{Ask, confirm},
    error::LocalError,
    project::Project,
    run::Run,
    talk,
};
use crate::{
    cli::{decision::Decision, exit::Exit},
    core::{
        desired::{Resolution, Target},
        history::History,
        outcome::{Failure, Reason},
        plan::{self, Amendment, Assessment},
        task::TaskKind,
    },
};

/// Settings of `resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// The run that is decided about, as the message names it.
    #[arg(long = "run", value_name = "RUN")]
    pub run_id: i64,
    /// What is decided.
    #[arg(long = "as", value_name = "ACTION", value_enum)]
    pub action: Decision,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// Writes the decision down.
pub(in crate::cli) async fn resolve(args: ResolveArgs) -> Result<Exit, LocalError> {
    let ResolveArgs { run_id, action, run: args } = args;
    let action = action.action();
    let mut project = Project::open(&args.project)?;
    let content = project.content()?;
    let parameters = project.parameters()?;
    let (session, history) = project.look(&parameters).await?;
    project.desired.resolutions.push(Resolution {
        version: None,
        run: run_id,
        action,
        by: "dunlin resolve".to_owned(),
    });
    // The decision alone: what follows from it is for the next apply.
    project.desired.target = Target::Stay;
    let assessment = plan::plan(&content.dir, &history, &project.desired);
    let takes = |amendment: &Amendment| matches!(amendment, Amendment::Resolve { run, .. } | Amendment::RetryTask { run, .. } if *run == run_id);
    if !assessment.amendments.iter().any(takes) {
        let why = why_not(run_id, &history, &assessment);
        return Err(Failure::new(Reason::Interrupted, why).into());
    }
    confirm(&project, args.confirm, Ask::WhereProtected, &format!("decide {action:?} about run {run_id}"))?;
    let exit =
        Run { project: &project, content: &content, parameters: &parameters, wait: args.wait }.perform(session).await?;
    let of_a_seed = history.tasks.iter().any(|task| task.run == run_id && task.kind == TaskKind::Seed);
    let verb = if of_a_seed { "seed" } else { "apply" };
    talk::say("resolved", format!("run {run_id}: {action:?} is recorded; dunlin {verb} goes on from there"));
    Ok(exit)
}

/// Why a decision about that run is not possible.
fn why_not(run: i64, history: &History, assessment: &Assessment) -> String {
    if let Some(task) = history.tasks.iter().find(|task| task.run == run && task.is_undecided()) {
        let (kind, key) = (task.kind.word(), &task.key);
        return format!("run {run} is of the {kind} {key}: of a {kind}'s run only retry is possible");
    }
    assessment.findings.first().map_or_else(
        || format!("run {run} waits for no decision: dunlin status names those that do"),
        |finding| finding.message.clone(),
    )
}
