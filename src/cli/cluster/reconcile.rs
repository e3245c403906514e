//! `kubectl dunlin reconcile`: a look now, and its end awaited.

use kube::ResourceExt;

use super::super::{CliError, talk};
use super::{
    access::Cluster,
    args::ReconcileArgs,
    follow::{Look, follow},
    output::{done, now},
    standing,
};
use crate::api::v1alpha1::MigrationSet;

/// Look again now.
const RECONCILE_ANNOTATION: &str = "dunlin.dev/reconcile";

/// Asks for a look by a token that was never there before, and waits until it is answered.
pub(super) async fn run(cluster: &Cluster, args: &ReconcileArgs) -> Result<(), CliError> {
    let ReconcileArgs { set: which, no_wait, timeout } = args;
    let token = format!("{}-{:08x}", now(), rand::random::<u32>());
    let set = cluster.annotate(&which.name, RECONCILE_ANNOTATION, &token).await?;
    if *no_wait {
        return done(&standing::name(&set), "annotated");
    }
    let how = follow(cluster, &which.name, *timeout, |set| {
        if is_answered(set, &token) {
            return Look::Done(standing::in_words(set));
        }
        Look::NotYet(standing::in_words(set))
    })
    .await?;
    talk::say("note", format!("{}: {how}", standing::name(&set)));
    done(&standing::name(&set), "reconciled")
}

/// Whether the look came to its end, or one that somebody asked for later did.
fn is_answered(set: &MigrationSet, token: &str) -> bool {
    let answered = set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref());
    let asked = set.annotations().get(RECONCILE_ANNOTATION).map(String::as_str);
    answered == Some(token) || (answered.is_some() && asked != Some(token) && answered == asked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_look_is_answered_by_its_token_or_a_later_one() {
        for (asked, answered, expected) in [
            (Some("mine"), Some("mine"), true),
            (Some("mine"), Some("older"), false),
            (Some("mine"), None, false),
            (Some("later"), Some("mine"), true),
            (Some("later"), Some("later"), true),
            (Some("later"), Some("older"), false),
            (None, Some("mine"), true),
            (None, None, false),
        ] {
            let mut object = json!({
                "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": "shop"},
                "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}},
                "status": {},
            });
            if let Some(token) = asked {
                object["metadata"]["annotations"] = json!({RECONCILE_ANNOTATION: token});
            }
            if let Some(token) = answered {
                object["status"]["lastHandledReconcile"] = json!(token);
            }
            let set: MigrationSet = serde_json::from_value(object).expect("the types read it");
            assert_eq!(is_answered(&set, "mine"), expected, "{asked:?} {answered:?}");
        }
    }
}
