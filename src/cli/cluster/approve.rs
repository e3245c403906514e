//! `kubectl dunlin approve`: the plan that waits, exactly the one that is shown.

use super::super::{CliError, ask, output};
use super::{access::Cluster, args::ApproveArgs, confirm::confirm, error::ClusterError, output::done, plan, standing};
use crate::api::v1alpha1::{APPROVED_PLAN_ANNOTATION, MigrationSet, PlanStatus};
use crate::core::outcome::Reason;

/// Shows the plan, and approves it by its digest.
pub(super) async fn run(cluster: &Cluster, args: &ApproveArgs) -> Result<(), CliError> {
    let ApproveArgs { set: which, plan: meant, yes } = args;
    let set = cluster.set(&which.name).await?;
    let (plan, digest) = waiting(&set)?;
    if let Some(meant) = meant.as_ref().map(ToString::to_string).filter(|meant| meant != digest) {
        return Err(ClusterError::OtherPlan { asked: meant, waits: digest.to_owned() }.into());
    }
    output::print(&plan::in_words(plan))?;
    if meant.is_none() && !yes && ask::can_ask() {
        confirm(&format!("Approve this plan for {}?", standing::name(&set))).await?;
    }
    // What is approved is the digest: if the plan changes at this moment, the new one waits for an approval of its own.
    let approved = cluster.annotate(&which.name, APPROVED_PLAN_ANNOTATION, digest).await?;
    done(&standing::name(&approved), "approved")
}

/// The plan that waits for approval, and its digest.
fn waiting(set: &MigrationSet) -> Result<(&PlanStatus, &str), ClusterError> {
    let plan = set.status.as_ref().and_then(|status| status.plan.as_ref());
    let waits = standing::known(standing::reason(set)) == Some(Reason::ApprovalRequired);
    match plan.and_then(|plan| Some((plan, plan.digest.as_deref()?))) {
        Some(found) if waits => Ok(found),
        _ => Err(ClusterError::NoPlanWaits { name: standing::name(set), status: standing::reason(set).to_owned() }),
    }
}
