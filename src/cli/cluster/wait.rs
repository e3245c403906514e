//! `kubectl dunlin wait`: until Ready, for this spec and this content; at once where a person is needed.

use super::super::CliError;
use super::{
    access::Cluster,
    args::{Awaited, WaitArgs},
    error::ClusterError,
    follow::{Look, follow},
    output::done,
    standing,
};
use crate::api::v1alpha1::MigrationSet;
use crate::core::conditions::ConditionType;

/// How the wait ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The set is Ready.
    Ready,
    /// The set is Stalled: reason and message.
    Stalled(String, String),
}

/// Waits until a MigrationSet is Ready.
pub(super) async fn run(cluster: &Cluster, args: &WaitArgs) -> Result<(), CliError> {
    let WaitArgs { set: which, state: Awaited::Ready, digest, timeout } = args;
    let digest = digest.as_ref().map(ToString::to_string);
    let set = cluster.set(&which.name).await?;
    let name = standing::name(&set);
    let end = match look(&set, digest.as_deref()) {
        Look::Done(end) => end,
        Look::NotYet(at_last) if timeout.is_zero() => {
            return Err(ClusterError::TimedOut { name, seconds: 0.0, at_last }.into());
        }
        Look::NotYet(_) => follow(cluster, &which.name, *timeout, |set| look(set, digest.as_deref())).await?,
    };
    match end {
        End::Ready => done(&name, "condition met"),
        End::Stalled(reason, message) => {
            let known = standing::known(&reason);
            Err(ClusterError::Stalled { name, reason, message, known }.into())
        }
    }
}

/// What one look says. With a digest, what is said of other content doesn't count: good or bad, it is yesterday's.
fn look(set: &MigrationSet, digest: Option<&str>) -> Look<End> {
    let status = set.status.as_ref();
    let applied = status.and_then(|status| status.applied.as_ref()?.digest.as_deref());
    let read = status.and_then(|status| status.source.as_ref()?.digest.as_deref());
    if standing::holds(set, ConditionType::Ready) {
        return match digest {
            Some(digest) if applied != Some(digest) => {
                Look::NotYet(format!("Ready with the content {}, not yet {digest}", applied.unwrap_or("unknown")))
            }
            _ => Look::Done(End::Ready),
        };
    }
    if standing::holds(set, ConditionType::Stalled) {
        return match (digest, read) {
            (Some(digest), Some(read)) if read != digest => {
                Look::NotYet(format!("{} with the content {read}, not yet {digest}", standing::reason(set)))
            }
            _ => {
                let stalled = standing::condition(set, ConditionType::Stalled);
                let (reason, message) =
                    stalled.map_or_else(Default::default, |stalled| (stalled.reason.clone(), stalled.message.clone()));
                Look::Done(End::Stalled(reason, message))
            }
        };
    }
    Look::NotYet(standing::in_words(set))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Generation 2; a condition that is True for this generation.
    fn set(condition: &str, generation: i64, applied: Option<&str>, read: Option<&str>) -> MigrationSet {
        serde_json::from_value(json!({
            "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": "shop", "generation": 2},
            "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}},
            "status": {
                "observedGeneration": generation,
                "applied": {"digest": applied}, "source": {"digest": read},
                "conditions": [{
                    "type": condition, "status": "True", "reason": "SomeReason", "message": "why",
                    "observedGeneration": generation, "lastTransitionTime": "2026-03-01T12:00:00Z",
                }],
            },
        }))
        .expect("the types read it")
    }

    #[test]
    fn ready_counts_for_the_spec_and_the_content_that_are_meant() {
        let ready = |generation, applied| set("Ready", generation, applied, applied);
        assert_eq!(look(&ready(2, Some("new")), None), Look::Done(End::Ready));
        assert_eq!(look(&ready(2, Some("new")), Some("new")), Look::Done(End::Ready));
        for (set, digest) in
            [(ready(1, Some("new")), None), (ready(2, Some("old")), Some("new")), (ready(2, None), Some("new"))]
        {
            assert!(matches!(look(&set, digest), Look::NotYet(_)), "{digest:?} {set:?}");
        }
    }

    #[test]
    fn stalled_ends_it_unless_it_is_said_of_another_spec_or_other_content() {
        let stalled = Look::Done(End::Stalled("SomeReason".into(), "why".into()));
        assert_eq!(look(&set("Stalled", 2, None, Some("old")), None), stalled);
        assert_eq!(look(&set("Stalled", 2, None, Some("new")), Some("new")), stalled);
        assert_eq!(look(&set("Stalled", 2, None, None), Some("new")), stalled);
        for (set, digest) in
            [(set("Stalled", 1, None, None), None), (set("Stalled", 2, None, Some("old")), Some("new"))]
        {
            assert!(matches!(look(&set, digest), Look::NotYet(_)), "{digest:?} {set:?}");
        }
    }
}
