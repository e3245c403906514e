//! `kubectl dunlin resolve` and `retry`: what a person decides about a run.

use super::super::{CliError, decision::Decision, talk};
use super::{
    access::Cluster,
    args::{NameArgs, ResolveArgs},
    error::ClusterError,
    output::done,
    standing::{self, Decidable},
};
use crate::api::v1alpha1::{MigrationSet, RESOLVE_ANNOTATION};

/// Decides about a run, if it is one that waits for it.
pub(super) async fn run(cluster: &Cluster, args: &ResolveArgs) -> Result<(), CliError> {
    let ResolveArgs { set: which, run, decision } = args;
    let set = cluster.set(&which.name).await?;
    fits(&set, *run, *decision)?;
    decide(cluster, &set, &which.name, *run, *decision).await?;
    done(&standing::name(&set), "resolved")
}

/// Has the run that failed run again.
pub(super) async fn retry(cluster: &Cluster, args: &NameArgs) -> Result<(), CliError> {
    let set = cluster.set(&args.name).await?;
    let failed = set.status.as_ref().and_then(|status| status.failure.as_ref()?.run);
    let run = failed.ok_or_else(|| ClusterError::NothingFailed {
        name: standing::name(&set),
        status: standing::reason(&set).to_owned(),
    })?;
    decide(cluster, &set, &args.name, run, Decision::Retry).await?;
    done(&standing::name(&set), "retried")
}

async fn decide(
    cluster: &Cluster,
    set: &MigrationSet,
    name: &str,
    run: i64,
    decision: Decision,
) -> Result<(), ClusterError> {
    if let Some(unheard) = standing::unheard(set, run) {
        talk::say("note", format!("it takes the place of {unheard}, which the operator hasn't acted on"));
    }
    cluster.annotate(name, RESOLVE_ANNOTATION, &format!("{run}={:?}", decision.action())).await?;
    Ok(())
}

/// Refuses what the operator would only answer with a message: a run that doesn't wait, and a decision that isn't one
/// about it.
fn fits(set: &MigrationSet, run: i64, decision: Decision) -> Result<(), ClusterError> {
    let name = standing::name(set);
    let runs = standing::decidable(set);
    let Some((_, why)) = runs.iter().find(|(waiting, _)| *waiting == run) else {
        let instead = match runs.as_slice() {
            [] => format!("none does, its status is {}", standing::reason(set)),
            runs => {
                let numbers: Vec<String> = runs.iter().map(|(run, _)| run.to_string()).collect();
                format!("those that do are {}", numbers.join(", "))
            }
        };
        return Err(ClusterError::NoSuchRun { name, run, instead });
    };
    let unfit = |why| Err(ClusterError::UnfitDecision { name, run, why });
    match (why, decision) {
        (Decidable::Drift, Decision::Retry | Decision::Resume | Decision::MarkApplied | Decision::MarkRolledBack) => {
            unfit("was applied, and its file edited since: put the applied text back, or decide accept-checksum")
        }
        (Decidable::Failure | Decidable::Offered, Decision::AcceptChecksum) => {
            unfit("has no edited file to accept: the message of Ready names what can be decided")
        }
        (Decidable::Drift, Decision::AcceptChecksum)
        | (
            Decidable::Failure | Decidable::Offered,
            Decision::Retry | Decision::Resume | Decision::MarkApplied | Decision::MarkRolledBack,
        ) => Ok(()),
    }
}
