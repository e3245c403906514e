//! `kubectl dunlin rollback`: spec.target, set to an earlier state.

use kube::ResourceExt;
use serde_json::json;

use super::super::{CliError, ask, talk};
use super::{access::Cluster, args::RollbackArgs, confirm::confirm, error::ClusterError, output::done, standing};
use crate::api::v1alpha1::{Key, MigrationSet, Operation, RollbackPolicy, managers};

/// Shows what would be patched, asks, and patches it.
pub(super) async fn run(cluster: &Cluster, args: &RollbackArgs) -> Result<(), CliError> {
    let RollbackArgs { set: which, to, yes } = args;
    let set = cluster.set(&which.name).await?;
    let name = standing::name(&set);
    if set.spec.policy.rollback == RollbackPolicy::Deny {
        return Err(ClusterError::RollbackDenied { name }.into());
    }
    if set.spec.target == *to {
        return done(&name, "patched (no change)");
    }
    talk::say("note", format!("{name}: spec.target: {} -> {to}", set.spec.target));
    talk::say("note", better_place(&set));
    match (yes, ask::can_ask()) {
        (true, _) => {}
        (false, true) => confirm("What was applied after that state is undone, and its rows are gone. Go on?").await?,
        (false, false) => {
            let instead = "there is no terminal to ask on: say --yes if that is what you want";
            return Err(ClusterError::NotConfirmed { instead }.into());
        }
    }
    let patched = cluster.patch(&which.name, &json!({"spec": {"target": to}})).await?;
    talk::say("note", format!("follow it with: kubectl dunlin -n {} wait {}", cluster.namespace, patched.name_any()));
    done(&name, "patched")
}

/// Where the change would better be made, and who would undo it here.
fn better_place(set: &MigrationSet) -> String {
    let appliers: Vec<String> = managers(set, &[Key::Field("spec"), Key::Field("target")])
        .into_iter()
        .filter(|manager| manager.operation == Operation::Apply)
        .map(|manager| manager.name)
        .collect();
    let who = match appliers.as_slice() {
        [] => "a GitOps controller that applies its manifest".to_owned(),
        appliers => format!("{}, which applies its manifest,", appliers.join(", ")),
    };
    format!("the manifest is the better place for it: {who} would set spec.target back")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(operation: Option<&str>) -> MigrationSet {
        let mut object = json!({
            "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": "shop"},
            "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}},
        });
        if let Some(operation) = operation {
            object["metadata"]["managedFields"] = json!([{
                "manager": "kustomize-controller", "operation": operation, "apiVersion": "dunlin.dev/v1alpha1",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:target": {}}},
            }]);
        }
        serde_json::from_value(object).expect("the types read it")
    }

    #[test]
    fn whoever_applies_the_target_is_named() {
        assert!(
            better_place(&set(Some("Apply"))).contains("kustomize-controller, which applies its manifest, would set")
        );
        for other in [None, Some("Update")] {
            assert!(better_place(&set(other)).contains("a GitOps controller that applies its manifest would set"));
        }
    }
}
