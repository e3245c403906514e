//! Pods that wait for a database: a scheduling gate `dunlin.dev/<set>` goes when the MigrationSet of that name in the pod's
//! namespace is Ready. Until then the scheduler leaves the pod alone. [KEP-3521]
//!
//! Of pods only those are watched that no node has. A gate is removed by a patch that tests what it removes; whatever
//! prevents it shows in the watch, or is tried again.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;

use super::{
    context::Context,
    registry::name_of,
    status::MANAGER,
    watch::{Pauses, api, complain, scopes},
};
use crate::{api::v1alpha1::MigrationSet, core::desired::Owner};

/// What a gate's name begins with; the set's name follows.
const PREFIX: &str = "dunlin.dev/";
/// The pod's annotation that names the content which it waits for: the set's `status.applied.digest`.
const DIGEST: &str = "dunlin.dev/digest";
/// Pods that no node has, and that may still get one.
const WITHOUT_A_NODE: &str = "spec.nodeName=,status.phase=Pending";
/// How long the API server may take for an answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// When a gate is tried again that couldn't be lifted.
const PAUSE: Duration = Duration::from_secs(5);

/// What a pod waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gated {
    uid: String,
    /// Our gates: their place in `spec.schedulingGates`, and the set.
    gates: Vec<(usize, String)>,
    digest: Option<String>,
}

/// Lifts gates in these namespaces (none: in all) for as long as it is polled.
pub(super) async fn lift(context: &Context, namespaces: &[String]) {
    let mut events = stream::select_all(scopes(namespaces).into_iter().map(|scope| {
        let pods: Api<Pod> = api(&context.client, scope.as_deref());
        let config = watcher::Config::default().fields(WITHOUT_A_NODE);
        watcher(pods, config).backoff(Pauses::default()).map(move |event| (scope.clone(), event)).boxed()
    }));
    let mut waiting: HashMap<Owner, Gated> = HashMap::new();
    let mut failed = false;
    loop {
        tokio::select! {
            Some((scope, event)) = events.next() => match event {
                Ok(event) => learn(&mut waiting, scope.as_deref(), event),
                Err(error) => complain("Pods", scope.as_deref(), &error),
            },
            () = context.sets_changed.notified() => {}
            () = context.leadership.begins(), if !context.leadership.may_work() => {}
            () = tokio::time::sleep(PAUSE), if failed => {}
        }
        failed = false;
        if !context.leadership.may_work() {
            continue;
        }
        for (name, pod) in &waiting {
            let open = |(_, set): &&(usize, String)| {
                let set = Owner { namespace: name.namespace.clone(), name: set.clone() };
                context.set(&set).is_some_and(|set| is_open(&set, pod.digest.as_deref()))
            };
            // One at a time: what stands behind it moves up, and the watch shows where to.
            if let Some((place, set)) = pod.gates.iter().find(open) {
                failed |= !remove(&context.client, name, pod, *place, set).await;
            }
        }
    }
}

/// Keeps what pods wait for.
fn learn(waiting: &mut HashMap<Owner, Gated>, scope: Option<&str>, event: Event<Pod>) {
    match event {
        // What is gone meanwhile isn't shown; the list tells of all that are there.
        Event::Init => waiting.retain(|pod, _| scope.is_some_and(|scope| scope != pod.namespace)),
        Event::InitDone => {}
        Event::Apply(pod) | Event::InitApply(pod) => {
            match gated(&pod) {
                Some(gated) => waiting.insert(name_of(&pod), gated),
                None => waiting.remove(&name_of(&pod)),
            };
        }
        Event::Delete(pod) => {
            waiting.remove(&name_of(&pod));
        }
    }
}

/// What a pod waits for, if it has a gate of ours.
fn gated(pod: &Pod) -> Option<Gated> {
    let gates = pod.spec.as_ref()?.scheduling_gates.iter().flatten().enumerate();
    let gates: Vec<(usize, String)> =
        gates.filter_map(|(place, gate)| Some((place, gate.name.strip_prefix(PREFIX)?.to_owned()))).collect();
    let digest = pod.annotations().get(DIGEST).cloned();
    (!gates.is_empty()).then(|| Gated { uid: pod.uid().unwrap_or_default(), gates, digest })
}

/// Whether who waits for a set, or for a content of it, may go on.
fn is_open(set: &MigrationSet, digest: Option<&str>) -> bool {
    let Some(status) = &set.status else { return false };
    let is_of_now = status.observed_generation.is_some() && status.observed_generation == set.metadata.generation;
    let is_ready = status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let applied = status.applied.as_ref().and_then(|applied| applied.digest.as_deref());
    is_of_now && is_ready && digest.is_none_or(|digest| applied == Some(digest))
}

/// Removes a gate; whether there is nothing left to be tried.
async fn remove(client: &Client, name: &Owner, pod: &Gated, place: usize, set: &str) -> bool {
    let api: Api<Pod> = Api::namespaced(client.clone(), &name.namespace);
    let gate = format!("/spec/schedulingGates/{place}");
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": pod.uid},
        {"op": "test", "path": format!("{gate}/name"), "value": format!("{PREFIX}{set}")},
        {"op": "remove", "path": gate},
    ]);
    let patch = match serde_json::from_value(patch) {
        Ok(patch) => Patch::<()>::Json(patch),
        Err(error) => {
            tracing::error!(%error, "a defect of Dunlin: please report it");
            return true;
        }
    };
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match tokio::time::timeout(DEADLINE, api.patch(&name.name, &params, &patch)).await {
        Ok(Ok(_)) => {
            tracing::info!(pod = %name, set, "the pod may be scheduled: the set is Ready");
            true
        }
        // It has gone, or its gates are others: the watch shows it.
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409 | 422) => true,
        Ok(Err(error)) => {
            tracing::warn!(pod = %name, set, %error, "its scheduling gate can't be lifted; it is tried again");
            false
        }
        Err(_) => {
            tracing::warn!(pod = %name, set, "its scheduling gate can't be lifted: no answer; it is tried again");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(generation: i64, status: &serde_json::Value) -> MigrationSet {
        let object = json!({
            "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet",
            "metadata": {"name": "shop", "namespace": "shop", "generation": generation},
            "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}},
            "status": status,
        });
        serde_json::from_value(object).expect("it is a set")
    }

    #[test]
    fn a_gate_is_open_when_its_set_is_ready_for_what_is_asked_now() {
        let status = |observed: i64, ready: &str| {
            json!({
                "observedGeneration": observed,
                "applied": {"digest": "sha256:a", "count": 1, "pending": 0},
                "conditions": [{"type": "Ready", "status": ready, "reason": "R", "message": "",
                    "lastTransitionTime": "2026-11-21T10:00:00Z"}],
            })
        };
        let table = [
            (status(2, "True"), None, true),
            (status(2, "True"), Some("sha256:a"), true),
            (status(2, "True"), Some("sha256:b"), false),
            (status(1, "True"), None, false),
            (status(2, "False"), None, false),
            (status(2, "Unknown"), Some("sha256:a"), false),
            (json!(null), None, false),
        ];
        for (status, digest, expected) in table {
            assert_eq!(is_open(&set(2, &status), digest), expected, "{status} {digest:?}");
        }
    }

    #[test]
    fn gates_of_others_are_left_alone() {
        let pod = |gates: &[&str]| -> Pod {
            let gates: Vec<_> = gates.iter().map(|name| json!({"name": name})).collect();
            serde_json::from_value(json!({"metadata": {"uid": "u", "annotations": {"dunlin.dev/digest": "sha256:a"}},
                "spec": {"containers": [], "schedulingGates": gates}}))
            .expect("it is a pod")
        };
        assert_eq!(gated(&pod(&["example.org/dunlin.dev/shop", "other"])), None);
        let found = gated(&pod(&["example.org/quota", "dunlin.dev/shop"])).expect("one is ours");
        assert_eq!((found.gates, found.digest.as_deref()), (vec![(1, "shop".to_owned())], Some("sha256:a")));
    }
}
