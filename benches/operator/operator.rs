//! The operator's release binary on the shared cluster, and the objects that the parts make.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dunlin::api::v1alpha1::{MigrationSet, crd};
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;

use crate::support::{eventually, kubernetes};

/// A running operator; ends when dropped.
pub struct Operator {
    child: Child,
}

impl Operator {
    pub fn start(namespace: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(["operator", "--namespace", namespace])
            .env("KUBECONFIG", kubernetes().kubeconfig())
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .expect("the operator starts");
        Self { child }
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is alive");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says it");
        line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a number") * 1024
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended by itself, which the part that needed it has then said.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn install_crd() {
    let api: Api<CustomResourceDefinition> = Api::all(kubernetes().client().await);
    let wanted = crd();
    let name = wanted.metadata.name.clone().expect("a CRD has a name");
    let patch = Patch::Apply(&wanted);
    api.patch(&name, &PatchParams::apply("bench").force(), &patch).await.expect("the CRD is good");
    eventually("the CRD to be served", Duration::from_secs(20), async || {
        let sets: Api<MigrationSet> = Api::all(kubernetes().client().await);
        sets.list(&kube::api::ListParams::default()).await
    })
    .await;
}

/// Makes or replaces a ConfigMap.
pub async fn put_config_map(namespace: &str, name: &str, files: BTreeMap<String, String>) {
    let api: Api<ConfigMap> = Api::namespaced(kubernetes().client().await, namespace);
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(files),
        ..ConfigMap::default()
    };
    let applied = api.patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(&map)).await;
    applied.expect("the ConfigMap is taken");
}

/// Makes the Secret and the MigrationSet; the ConfigMap of its name is there.
pub async fn create_set(namespace: &str, name: &str, url: &str, interval: &str) {
    let client = kubernetes().client().await;
    let secret = Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        string_data: Some([("uri".to_owned(), url.to_owned())].into()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.create(&PostParams::default(), &secret).await.expect("the Secret is taken");
    let set: MigrationSet = serde_json::from_value(json!({
        "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": name},
        "spec": {"database": {"secretRef": {"name": name}}, "source": {"configMaps": [{"name": name}]}, "interval": interval},
    }))
    .expect("the set is well formed");
    let sets: Api<MigrationSet> = Api::namespaced(client, namespace);
    sets.create(&PostParams::default(), &set).await.expect("the set is taken");
}

/// Waits, by a watch, until the set is Ready with `applied` migrations; returns when that was seen.
pub async fn ready_with(namespace: &str, name: &str, applied: i64) -> Instant {
    let sets: Api<MigrationSet> = Api::namespaced(kubernetes().client().await, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let stream = watcher(sets, config).applied_objects();
    pin_mut!(stream);
    let mut last = None;
    let wait = async {
        while let Some(seen) = stream.next().await {
            let Ok(set) = seen else { continue };
            let value = serde_json::to_value(&set.status).unwrap_or_default();
            let ready = value["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
            if ready && value["applied"]["count"] == applied {
                return Instant::now();
            }
            last = Some(value);
        }
        panic!("the watch ended");
    };
    let waited = tokio::time::timeout(Duration::from_mins(2), wait).await;
    waited.unwrap_or_else(|_| panic!("{namespace}/{name} isn't Ready with {applied}: {last:#?}"))
}
