//! `kubectl dunlin suspend` and `resume`: whether the operator keeps its hands off.

use serde_json::json;

use super::super::{CliError, talk};
use super::{access::Cluster, args::NameArgs, output::done, standing};

/// Has the operator stop between two migrations.
pub(super) async fn suspend(cluster: &Cluster, args: &NameArgs) -> Result<(), CliError> {
    let set = cluster.patch(&args.name, &json!({"spec": {"suspend": true}})).await?;
    if let Some(running) = set.status.as_ref().and_then(|status| status.running.as_ref()) {
        talk::say(
            "note",
            format!("{} is under way and runs to its end", running.version.as_deref().unwrap_or("a migration")),
        );
    }
    done(&standing::name(&set), "suspended")
}

/// Has the operator go on.
pub(super) async fn resume(cluster: &Cluster, args: &NameArgs) -> Result<(), CliError> {
    let set = cluster.patch(&args.name, &json!({"spec": {"suspend": false}})).await?;
    done(&standing::name(&set), "resumed")
}
