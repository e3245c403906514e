//! The operator at work under the account, the arguments and the rights that the chart gives it, at an API server that writes down
//! every request: each right is used, and none is missing.

use std::{
    collections::BTreeSet,
    fs::File,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command},
    sync::{Arc, Mutex},
};

use dunlin::api::v1alpha1::MigrationSet;
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    sync::Notify,
};

use crate::{
    helm::{Release, one},
    install::install_crd_at,
    objects::merged,
    shop::{LIMIT, Shop, message},
    support::{Kubernetes, audited_kubernetes, eventually, fresh_database},
};

/// A right that was used, as `scopes::rights` says it.
type Rights = BTreeSet<String>;

/// Walks through what Dunlin does, and compares what the account asked for with what its roles let it do.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_uses_each_right_that_it_is_given_and_lacks_none() {
    for scope in ["Own", "Cluster"] {
        let kubernetes = audited_kubernetes();
        install_crd_at(&kubernetes);
        let shop = Shop::at(&kubernetes, fresh_database().await).await;
        // A pod has its ports for itself; here each needs others.
        let objects_of_a_pod = || {
            let values = json!({"scope": {"mode": scope}, "bindAddress": "127.0.0.1", "logLevel": "debug"});
            let release = Release {
                name: "dunlin".to_owned(),
                namespace: shop.namespace.clone(),
                values: merged(values, free_ports()),
            };
            release.objects()
        };
        let objects = objects_of_a_pod();
        apply(&kubernetes, &shop.namespace, &objects);
        let hold = Hold::listen().await;
        let pods = ["dunlin-a", "dunlin-b"]
            .map(|pod| OperatorPod::start(&kubernetes, &shop.namespace, &objects_of_a_pod(), pod, &hold));
        walk(&shop, &hold).await;
        let account = format!("system:serviceaccount:{}:dunlin", shop.namespace);
        let granted = granted(&objects);
        let asked = eventually("each right is used", LIMIT, async || {
            let asked = Asked::read(&kubernetes, &account);
            if asked.allowed.is_superset(&granted) {
                Ok(asked)
            } else {
                Err(granted.difference(&asked.allowed).cloned().collect::<Vec<_>>())
            }
        })
        .await;
        let logs = pods.iter().map(OperatorPod::log).collect::<String>();
        assert_eq!(asked.refused, Rights::new(), "it lacks these with scope {scope}: {logs}");
        assert_eq!(asked.allowed, granted, "with scope {scope}");
        assert!(asked.elsewhere.is_empty(), "beside resources it asks for {:?}", asked.elsewhere);
        drop(pods);
        shop.close().await;
    }
}

/// Ports that nobody listens at, as far as can be known.
fn free_ports() -> Value {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [health, metrics] = listeners.map(|listener| listener.local_addr().expect("it has one").port());
    json!({"health": {"port": health}, "metrics": {"port": metrics}})
}

/// Applies what a release is made of.
fn apply(kubernetes: &Kubernetes, namespace: &str, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("objects.json");
    std::fs::write(&file, list.to_string()).expect("it is written");
    let applied = kubernetes.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--namespace",
        namespace,
        "-f",
        &file.to_string_lossy(),
    ]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

/// What the roles that are bound to the operator's account let it do.
fn granted(objects: &[Value]) -> Rights {
    let of = |kinds: [&str; 2]| -> Vec<&Value> {
        objects.iter().filter(|object| kinds.contains(&object["kind"].as_str().expect("a kind"))).collect()
    };
    let bound: BTreeSet<String> = of(["RoleBinding", "ClusterRoleBinding"])
        .iter()
        .map(|binding| binding["roleRef"]["name"].to_string())
        .collect();
    of(["Role", "ClusterRole"])
        .into_iter()
        .filter(|role| bound.contains(&role["metadata"]["name"].to_string()))
        .flat_map(|role| crate::scopes::rights(&role["rules"]))
        .collect()
}

/// Every feature that asks the API server for something.
async fn walk(shop: &Shop, hold: &Hold) {
    shop.files("sql", &[("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY, name text);")]).await;
    shop.files("seeds", &[("010_users.sql", "INSERT INTO users VALUES (1, 'Ada');")]).await;
    shop.labelled_files("picked", &[("app", "picked")], &[("001_items.sql", "CREATE TABLE items (id int);")]).await;
    // By name and by selector; with a value from a Secret and one from a ConfigMap; with seeds.
    shop.secret("values", &[("key", "secret")]).await;
    shop.files("settings", &[("key", "plain")]).await;
    let variables = json!([
        {"name": "hidden", "valueFrom": {"secretKeyRef": {"name": "values", "key": "key"}}},
        {"name": "shown", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}},
    ]);
    shop.apply(json!({"variables": variables, "seeds": {"configMaps": [{"name": "seeds"}]}})).await;
    shop.until("UpToDate").await;
    let selector = json!({"configMapSelector": {"matchLabels": {"app": "picked"}}});
    shop.apply_as("picked", json!({"source": selector, "history": {"set": "picked"}})).await;
    shop.until_of("picked", "UpToDate").await;
    of_tls(shop).await;
    of_jobs(shop).await;
    // The same said twice is one event that is counted.
    let variables = json!({"suspend": true, "variables": variables, "seeds": {"configMaps": [{"name": "seeds"}]}});
    for suspended in [true, false, true] {
        shop.apply(merged(variables.clone(), json!({"suspend": suspended}))).await;
        shop.until(if suspended { "Suspended" } else { "UpToDate" }).await;
    }
    of_a_set_that_goes(shop, hold).await;
}

/// Certificates from Secrets: the server has none, and that is what is said.
async fn of_tls(shop: &Shop) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    shop.secret("ca", &[("ca.crt", &certificate)]).await;
    shop.secret("client", &[("tls.crt", &certificate), ("tls.key", &key)]).await;
    let tls = json!({"mode": "verify-full", "caSecretRef": {"name": "ca"}, "clientSecretRef": {"name": "client"}});
    shop.apply_as("tls", json!({"database": {"secretRef": {"name": "db"}, "tls": tls}, "history": {"set": "tls"}}))
        .await;
    shop.until_of("tls", "TLSFailed").await;
}

/// Hooks of the kind `job`: one that ends well, one that fails, one that takes too long.
async fn of_jobs(shop: &Shop) {
    let template: CronJob = serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "template"},
        "spec": {"schedule": "@yearly", "suspend": true, "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "work", "image": "localhost/work:1"}],
        }}}}},
    }))
    .expect("a CronJob");
    let templates: Api<CronJob> = Api::namespaced(shop.client.clone(), &shop.namespace);
    templates.create(&PostParams::default(), &template).await.expect("it is made");
    for (name, ends, reason) in
        [("good", Some("Complete"), "UpToDate"), ("bad", Some("Failed"), "HookFailed"), ("slow", None, "HookFailed")]
    {
        let hook = json!({"job": {"name": "template"}, "timeout": if ends.is_some() { "10m" } else { "3s" }});
        shop.files(name, &[("001_nothing.sql", "SELECT 1;")]).await;
        let source = json!({"configMaps": [{"name": name}]});
        shop.apply_as(name, json!({"source": source, "history": {"set": name}, "hooks": {"preApply": [hook]}})).await;
        if let Some(kind) = ends {
            end_the_job_of(shop, name, kind).await;
        }
        let set = shop.until_of(name, reason).await;
        assert!(ends.is_some() || message(&set).contains("it was deleted"), "{}", message(&set));
        assert!(name != "bad" || message(&set).contains("out of luck"), "{}", message(&set));
    }
}

/// Does what the controllers of Jobs and pods do, which don't run here.
async fn end_the_job_of(shop: &Shop, set: &str, kind: &str) {
    let jobs: Api<Job> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let job = eventually("the Job is made", LIMIT, async || {
        let found =
            jobs.list(&ListParams::default().labels(&format!("dunlin.dev/set={set}"))).await.expect("they are listed");
        found.items.into_iter().next().ok_or("none is there")
    })
    .await;
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{set}-pod"), "labels": {"batch.kubernetes.io/job-name": job.name_any()}},
        "spec": {"containers": [{"name": "work", "image": "localhost/work:1"}]},
    }))
    .expect("a pod");
    let pods: Api<Pod> = Api::namespaced(shop.client.clone(), &shop.namespace);
    pods.create(&PostParams::default(), &pod).await.expect("it is made");
    let code = i32::from(kind == "Failed");
    let ended = json!({"status": {"containerStatuses": [{
        "name": "work", "ready": false, "restartCount": 0, "image": "localhost/work:1", "imageID": "",
        "state": {"terminated": {"exitCode": code, "message": "out of luck"}},
    }]}});
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(ended)).await.expect("it has ended");
    let now = "2026-01-01T00:00:00Z";
    let before = if kind == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
    let conditions: Vec<Value> = [before, kind]
        .map(|kind| json!({"type": kind, "status": "True", "reason": "Test", "lastTransitionTime": now, "lastProbeTime": now}))
        .into();
    let mut status = json!({"startTime": now, "conditions": conditions});
    if kind == "Complete" {
        status["completionTime"] = json!(now);
    }
    let patch = Patch::Merge(json!({"status": status}));
    jobs.patch_status(&job.name_any(), &PatchParams::default(), &patch).await.expect("it is patched");
}

/// A set that is deleted while its status is about to be written: whether it has gone is asked before that is believed.
async fn of_a_set_that_goes(shop: &Shop, hold: &Hold) {
    let sets: Api<MigrationSet> = shop.sets();
    shop.files("late", &[("001_late.sql", "SELECT 1;")]).await;
    hold.next();
    shop.apply_as("late", json!({"source": {"configMaps": [{"name": "late"}]}, "history": {"set": "late"}})).await;
    hold.held().await;
    sets.delete("late", &DeleteParams::default()).await.expect("it is deleted");
    eventually("it has gone", LIMIT, async || match sets.get_opt("late").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    hold.release();
}

/// What the API server wrote down of an account.
#[derive(Debug, Default)]
struct Asked {
    allowed: Rights,
    refused: Rights,
    elsewhere: BTreeSet<String>,
}

impl Asked {
    fn read(kubernetes: &Kubernetes, account: &str) -> Self {
        let text = std::fs::read_to_string(kubernetes.audit()).expect("it is written down");
        let mut asked = Self::default();
        // The last line may be half written.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let event: Value = serde_json::from_str(line).expect("JSON");
            if event["impersonatedUser"]["username"] != account {
                continue;
            }
            let of = |name: &str| event["objectRef"][name].as_str().map(str::to_owned);
            let Some(resource) = of("resource") else {
                asked.elsewhere.insert(event["requestURI"].to_string());
                continue;
            };
            let group = of("apiGroup").map(|group| group + "/").unwrap_or_default();
            let below = of("subresource").map(|below| format!("/{below}")).unwrap_or_default();
            let right = format!("{} {group}{resource}{below}", event["verb"].as_str().expect("a verb"));
            let is_allowed = event["annotations"]["authorization.k8s.io/decision"] == "allow";
            (if is_allowed { &mut asked.allowed } else { &mut asked.refused }).insert(right);
        }
        asked
    }
}

/// An operator as its pod runs it: the container's arguments, by the pod's account.
struct OperatorPod {
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl OperatorPod {
    fn start(kubernetes: &Kubernetes, namespace: &str, objects: &[Value], name: &str, hold: &Hold) -> Self {
        let pod = &one(objects, "Deployment")["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().expect("a name");
        let arguments: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone()).expect("texts");
        let arguments = arguments.into_iter().map(|argument| argument.replace("$(POD_NAMESPACE)", namespace));
        let folder = tempfile::tempdir().expect("a folder");
        let text = std::fs::read_to_string(kubernetes.kubeconfig()).expect("the cluster wrote a kubeconfig");
        let mut kubeconfig: Value = dunlin::yaml::from_str(&text).expect("it is YAML");
        for user in kubeconfig["users"].as_array_mut().expect("it has users") {
            user["user"]["as"] = json!(format!("system:serviceaccount:{namespace}:{account}"));
        }
        let (config, log) = (folder.path().join("kubeconfig"), folder.path().join("log"));
        std::fs::write(&config, kubeconfig.to_string()).expect("it is written");
        let child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(arguments)
            .env("KUBECONFIG", &config)
            .env("HOSTNAME", name)
            .env("FAILPOINTS", format!("status_before=return({})", hold.address))
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary runs");
        Self { child, log, _folder: folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is text")
    }
}

impl Drop for OperatorPod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where operators ask before they write a status; the next one that asks can be made to wait.
struct Hold {
    address: SocketAddr,
    wanted: Arc<Mutex<bool>>,
    stands: Arc<Notify>,
    released: Arc<Notify>,
}

impl Hold {
    async fn listen() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has one");
        let hold = Self { address, wanted: Arc::default(), stands: Arc::default(), released: Arc::default() };
        let (wanted, stands, released) =
            (Arc::clone(&hold.wanted), Arc::clone(&hold.stands), Arc::clone(&hold.released));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (wanted, stands, released) = (Arc::clone(&wanted), Arc::clone(&stands), Arc::clone(&released));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut point = String::new();
                    // Who has gone by then isn't answered.
                    if stream.read_line(&mut point).await.is_err() {
                        return;
                    }
                    let is_wanted = std::mem::take(&mut *wanted.lock().expect("nobody panicked"));
                    if is_wanted {
                        stands.notify_one();
                        released.notified().await;
                    }
                    let _ = stream.write_all(b"go on\n").await;
                });
            }
        });
        hold
    }

    /// Makes the next one wait.
    fn next(&self) {
        *self.wanted.lock().expect("nobody panicked") = true;
    }

    /// Returns once it waits.
    async fn held(&self) {
        tokio::time::timeout(LIMIT, self.stands.notified()).await.expect("a status is written");
    }

    fn release(&self) {
        self.released.notify_one();
    }
}
