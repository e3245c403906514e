//! A shop for each test: a namespace, a database, its Secret, an operator that watches this namespace alone, and a record
//! of every status that the API server has shown.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use dunlin::{
    api::v1alpha1::MigrationSet,
    controller::{self, Options},
    core::hosts::AllowedHosts,
};
use futures::StreamExt;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Client, Config,
    api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams},
    client::ClientBuilder,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_postgres::NoTls;

use crate::{
    install::install_crd,
    support::{Kubernetes, eventually, fresh_database, kubernetes},
};

/// Longer than anything here takes, on a slow machine with everything else going on.
pub const LIMIT: Duration = Duration::from_mins(1);

/// One test's world.
pub struct Shop {
    pub config: Config,
    pub client: Client,
    pub namespace: String,
    pub url: String,
    pub seen: Arc<Mutex<Vec<MigrationSet>>>,
    operator: Option<Operator>,
    watching: JoinHandle<()>,
}

/// An operator in this process.
pub struct Operator {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), controller::Error>>,
}

impl Operator {
    /// Starts one for a namespace.
    pub fn start(client: Client, namespace: &str, grace_period: Duration) -> Self {
        Self::start_with(client, Options { namespaces: vec![namespace.to_owned()], grace_period, ..Options::default() })
    }

    /// Starts one that is told all of this.
    pub fn start_with(client: Client, options: Options) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(controller::run_until(client, options, async {
            // A test that ends without asking it to stop takes its runtime along.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self { stop, task }
    }

    /// Asks it to stop, as SIGTERM does, and waits until it has.
    pub async fn stop(self) {
        self.stop.send(()).expect("it runs");
        let ended = tokio::time::timeout(LIMIT, self.task).await.expect("it stops").expect("it doesn't panic");
        ended.expect("it was asked to stop");
    }
}

impl Shop {
    /// Everything but migrations and a MigrationSet.
    pub async fn open() -> Self {
        let mut shop = Self::closed().await;
        shop.start_operator().await;
        shop
    }

    /// The same without an operator.
    pub async fn closed() -> Self {
        install_crd();
        Self::at(kubernetes(), fresh_database().await).await
    }

    /// The same at another API server, and at any database; the CustomResourceDefinition is there.
    pub async fn at(kubernetes: &Kubernetes, url: String) -> Self {
        let (config, client) = (kubernetes.config().await, kubernetes.client().await);
        let namespace = kubernetes.fresh_namespace().await;
        let seen = Arc::default();
        let (begun, watched) = oneshot::channel();
        let watching = tokio::spawn(watch(client.clone(), namespace.clone(), Arc::clone(&seen), begun));
        watched.await.expect("the API server can be watched");
        let shop = Self { config, client, namespace, url, seen, operator: None, watching };
        shop.secret("db", &[("uri", &shop.url)]).await;
        shop
    }

    #[allow(clippy::unused_async, reason = "it needs the runtime of whoever awaits it")]
    pub async fn start_operator(&mut self) {
        let client = Client::try_from(self.config.clone()).expect("the configuration makes a client");
        self.operator = Some(Operator::start(client, &self.namespace, controller::GRACE_PERIOD));
    }

    /// The same, with an operator that may connect to these hosts alone.
    #[allow(clippy::unused_async, reason = "it needs the runtime of whoever awaits it")]
    pub async fn start_operator_allowing(&mut self, hosts: &[&str]) {
        let client = Client::try_from(self.config.clone()).expect("the configuration makes a client");
        let allowed = hosts.iter().map(|host| host.parse().expect("it is a host"));
        let options = Options {
            namespaces: vec![self.namespace.clone()],
            allowed_hosts: AllowedHosts::new(allowed.collect()),
            ..Options::default()
        };
        self.operator = Some(Operator::start_with(client, options));
    }

    pub async fn stop_operator(&mut self) {
        self.operator.take().expect("it was started").stop().await;
    }

    pub fn sets(&self) -> Api<MigrationSet> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Writes a Secret, in place of what it was.
    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            data: Some(data.collect()),
            ..Secret::default()
        };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(name, &manager(), &Patch::Apply(&secret)).await.expect("the Secret is written");
    }

    /// Writes a ConfigMap of migration files, in place of what it was.
    pub async fn files(&self, name: &str, files: &[(&str, &str)]) {
        self.labelled_files(name, &[], files).await;
    }

    /// The same with labels.
    pub async fn labelled_files(&self, name: &str, labels: &[(&str, &str)], files: &[(&str, &str)]) {
        let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(text(labels)), ..ObjectMeta::default() },
            data: Some(text(files)),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(name, &manager(), &Patch::Apply(&map)).await.expect("the ConfigMap is written");
    }

    pub async fn delete_files(&self, name: &str) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.expect("the ConfigMap is deleted");
    }

    /// Applies the MigrationSet `shop`: Secret `db`, ConfigMap `sql`, and whatever else is said.
    pub async fn apply(&self, spec: Value) {
        self.apply_as("shop", spec).await;
    }

    /// The same under another name.
    pub async fn apply_as(&self, name: &str, spec: Value) {
        let mut object = json!({
            "apiVersion": "dunlin.dev/v1alpha1",
            "kind": "MigrationSet",
            "metadata": {"name": name},
            "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        self.sets().patch(name, &manager(), &Patch::Apply(&object)).await.expect("the MigrationSet is applied");
    }

    /// Annotates the MigrationSet `shop`.
    pub async fn annotate(&self, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.sets().patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("it is annotated");
    }

    /// Waits until the MigrationSet `shop` says this reason for the spec that it has.
    pub async fn until(&self, reason: &str) -> MigrationSet {
        self.until_of("shop", reason).await
    }

    /// The same of another one.
    pub async fn until_of(&self, name: &str, reason: &str) -> MigrationSet {
        self.until_that(name, reason, |set| ready(set).is_some_and(|(_, found, _)| found == reason)).await
    }

    /// Waits until a MigrationSet is as hoped, for the spec that it has.
    pub async fn until_that(&self, name: &str, hope: &str, hoped: impl Fn(&MigrationSet) -> bool) -> MigrationSet {
        let sets = self.sets();
        eventually(hope, LIMIT, async || {
            let set = sets.get(name).await.map_err(|error| error.to_string())?;
            let looked_at =
                set.status.as_ref().is_some_and(|status| status.observed_generation == set.metadata.generation);
            if looked_at && hoped(&set) {
                Ok(set)
            } else {
                Err(serde_json::to_string_pretty(&set.status).expect("a status is JSON"))
            }
        })
        .await
    }

    /// Asks the database.
    pub async fn ask(&self, query: &str) -> String {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.expect("the database answers");
        let connection = tokio::spawn(connection);
        let answer = client.simple_query(query).await.expect("the query is sound");
        drop(client);
        connection.await.expect("the connection doesn't panic").expect("the connection ends well");
        let rows = answer.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        });
        rows.collect::<Vec<_>>().join(",")
    }

    /// The reasons of Ready that the MigrationSet `shop` has shown up to now, in order, repetitions left out.
    pub async fn reasons(&self) -> Vec<String> {
        let now = self.sets().get("shop").await.expect("the API server answers").metadata.resource_version;
        eventually("the watch is up to date", LIMIT, async || {
            let seen = self.seen.lock().expect("nobody panicked");
            let there = seen.iter().any(|set| set.metadata.resource_version == now);
            if there { Ok(()) } else { Err(format!("{now:?} isn't there")) }
        })
        .await;
        let seen = self.seen.lock().expect("nobody panicked");
        let mut reasons: Vec<String> = seen
            .iter()
            .filter(|set| set.metadata.name.as_deref() == Some("shop"))
            .filter_map(|set| ready(set).map(|(_, reason, _)| reason))
            .collect();
        reasons.dedup();
        reasons
    }

    /// Ends the test: what holds of every status held of all that were seen.
    pub async fn close(mut self) {
        if self.operator.is_some() {
            self.stop_operator().await;
        }
        self.watching.abort();
        let seen = self.seen.lock().expect("nobody panicked");
        for set in seen.iter() {
            let Some(status) = &set.status else { continue };
            let truths = status.conditions.iter().filter(|condition| {
                ["Ready", "Reconciling", "Stalled"].contains(&condition.type_.as_str()) && condition.status == "True"
            });
            assert!(truths.count() <= 1, "more than one of Ready, Reconciling and Stalled: {status:#?}");
        }
    }
}

/// What a client has asked for, and when: `PATCH /apis/…`.
pub type Asked = Arc<Mutex<Vec<(Instant, String)>>>;

/// A client that records what it asks for.
pub async fn recording_client() -> (Client, Asked) {
    let asked = Asked::default();
    let record = Arc::clone(&asked);
    let layer = tower::util::MapRequestLayer::new(move |request: http::Request<kube::client::Body>| {
        let line = format!("{} {}", request.method(), request.uri());
        record.lock().expect("nobody panicked").push((Instant::now(), line));
        request
    });
    let builder = ClientBuilder::try_from(kubernetes().config().await).expect("the kubeconfig makes a client");
    (builder.with_layer(&layer).build(), asked)
}

/// Status, reason and message of Ready.
pub fn ready(set: &MigrationSet) -> Option<(String, String, String)> {
    condition(set, "Ready")
}

/// Status, reason and message of a condition.
pub fn condition(set: &MigrationSet, name: &str) -> Option<(String, String, String)> {
    let conditions = &set.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == name)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

/// Status and message of Ready, once it is there.
pub fn message(set: &MigrationSet) -> String {
    ready(set).map(|(_, _, message)| message).unwrap_or_default()
}

fn manager() -> PatchParams {
    PatchParams::apply("test").force()
}

/// Keeps every state of the namespace's MigrationSets; says when none that comes can be missed any more.
async fn watch(client: Client, namespace: String, seen: Arc<Mutex<Vec<MigrationSet>>>, begun: oneshot::Sender<()>) {
    let api: Api<MigrationSet> = Api::namespaced(client, &namespace);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut begun = Some(begun);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(set) | watcher::Event::InitApply(set)) => {
                seen.lock().expect("nobody panicked").push(set);
            }
            Ok(watcher::Event::InitDone) => {
                begun.take().map(|begun| begun.send(()));
            }
            Ok(watcher::Event::Init | watcher::Event::Delete(_)) | Err(_) => {}
        }
    }
}
