//! The operator's release binary on the shared cluster, and the objects that the parts make.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
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
use serde_json::{Value, json};

use crate::{
    binary,
    support::{eventually, kubernetes},
};

/// A running operator, with what the chart gives it; ends when dropped.
pub struct Operator {
    child: Child,
    metrics: SocketAddr,
}

impl Operator {
    pub fn start(namespace: &str, flags: &[&str]) -> Self {
        // If another takes the port meanwhile, the operator says so and ends.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let metrics = free.expect("a port is free");
        let child = Command::new(binary::dunlin())
            .args(["operator", "--namespace", namespace, "--health-addr", "127.0.0.1:0"])
            .args(["--metrics-addr", &metrics.to_string()])
            .args(flags)
            .env("KUBECONFIG", kubernetes().kubeconfig())
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .expect("the operator starts");
        Self { child, metrics }
    }

    /// Resident memory in megabytes: the most that it was, and what it is.
    pub fn memory(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is alive");
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says it");
            line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).expect("a number")
        };
        (kibibytes("VmHWM:") * 1.024e-3, kibibytes("VmRSS:") * 1.024e-3)
    }

    /// How many sets it has found Ready.
    pub fn ready(&self) -> usize {
        self.scrape().lines().filter(|line| line.starts_with("dunlin_ready{") && line.ends_with(" 1")).count()
    }

    /// What it says of itself; nothing before it listens.
    fn scrape(&self) -> String {
        let mut text = String::new();
        let asked = TcpStream::connect(self.metrics).and_then(|mut stream| {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
            stream.read_to_string(&mut text)
        });
        if asked.is_ok() { text } else { String::new() }
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
    status_with(namespace, name, |status| {
        let ready = status["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
        ready && status["applied"]["count"] == applied
    })
    .await
}

/// Waits, by a watch, until the set has a status at all; returns when that was seen.
pub async fn first_status(namespace: &str, name: &str) -> Instant {
    status_with(namespace, name, |status| status["conditions"].is_array()).await
}

async fn status_with(namespace: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Instant {
    let sets: Api<MigrationSet> = Api::namespaced(kubernetes().client().await, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let stream = watcher(sets, config).applied_objects();
    pin_mut!(stream);
    let mut last = None;
    let wait = async {
        while let Some(seen) = stream.next().await {
            let Ok(set) = seen else { continue };
            let status = serde_json::to_value(&set.status).unwrap_or_default();
            if wanted(&status) {
                return Instant::now();
            }
            last = Some(status);
        }
        panic!("the watch ended");
    };
    let seen = tokio::time::timeout(Duration::from_mins(2), wait).await;
    seen.unwrap_or_else(|_| panic!("{namespace}/{name} isn't as it is to be: {last:#?}"))
}
