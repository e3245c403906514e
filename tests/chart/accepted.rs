//! What a real API server says of everything that the chart and `deploy/` make.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::{
    helm::{Helm, Release, called, documents, everything, one, root},
    install::install_crd,
    objects::merged,
    support::{fresh_namespace, kubernetes},
};

/// Runs kubectl on objects.
pub fn kubectl_with(arguments: &[&str], objects: &[Value]) -> Output {
    let mut child = Command::new(kubernetes().bin().join("kubectl"))
        .args(arguments)
        .args(["-f", "-"])
        .env("KUBECONFIG", kubernetes().kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    child.stdin.take().expect("it was asked for").write_all(list.to_string().as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Has the API server look at objects as if they were applied; it has nothing to say against them.
fn is_accepted(objects: &[Value], what: &str) {
    let tried = kubectl_with(&["apply", "--server-side", "--dry-run=server", "--validate=strict"], objects);
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(tried.status.success() && said.is_empty(), "{what}: {said}");
    let shown = String::from_utf8_lossy(&tried.stdout).lines().count();
    assert_eq!(shown, objects.len(), "{what}");
}

/// A namespace that refuses what isn't confined.
async fn restricted() -> String {
    let namespace = fresh_namespace().await;
    let labels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    let labelled = kubernetes().kubectl(&["label", "namespace", &namespace, &labels[0], &labels[1]]);
    assert!(labelled.status.success());
    namespace
}

/// Objects that this API server knows: what the Prometheus Operator brings isn't there.
fn known(objects: &[Value]) -> Vec<Value> {
    objects.iter().filter(|object| object["apiVersion"] != "monitoring.coreos.com/v1").cloned().collect()
}

/// The pod that the Deployment makes: what enforces Pod Security lets Deployments pass.
fn pod(objects: &[Value], namespace: &str) -> Value {
    let template = &one(objects, "Deployment")["spec"]["template"];
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": "dunlin", "namespace": namespace, "labels": template["metadata"]["labels"]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_accepted_by_the_api_server_where_pods_are_restricted() {
    install_crd();
    let (namespace, other) = (restricted().await, fresh_namespace().await);
    let listed = json!({"scope": {"mode": "Namespaces", "namespaces": [namespace, other]}});
    for values in [
        everything(),
        merged(everything(), listed),
        json!({"scope": {"mode": "Own"}}),
        json!({"replicaCount": 1, "leaderElection": {"enabled": false}, "metrics": {"enabled": false}, "health": {"enabled": false}}),
        json!({
            "extraVolumes": [{"name": "tmp", "emptyDir": {}}], "extraVolumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            "extraEnv": [{"name": "RUST_BACKTRACE", "value": "1"}], "priorityClassName": "system-cluster-critical",
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "dunlin"}}},
            ]}},
            "networkPolicy": {"enabled": true, "metricsFrom": [{"namespaceSelector": {}}], "extraEgress": [{"ports": [{"port": 443}]}]},
        }),
    ] {
        let release = Release { name: "dunlin".to_owned(), namespace: namespace.clone(), values };
        let objects = release.objects();
        is_accepted(&known(&objects), &release.values.to_string());
        is_accepted(&[pod(&objects, &namespace)], &release.values.to_string());
    }
    let mut open = Release::with(json!({}));
    open.namespace.clone_from(&namespace);
    let mut loose = pod(&open.objects(), &namespace);
    loose["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let refused = kubectl_with(&["apply", "--dry-run=server"], &[loose]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("violates PodSecurity"), "the namespace refuses nothing");
}

/// The manifests for those who don't use Helm; the namespaced ones in whichever namespace a kustomization names.
#[tokio::test(flavor = "multi_thread")]
async fn the_manifests_of_deploy_are_accepted() {
    install_crd();
    let text = std::fs::read_to_string(root().join("deploy/install.yaml")).expect("it is there");
    let objects = documents(&text);
    assert!(!text.contains("helm.sh") && !text.contains("managed-by"), "nobody has installed it by Helm");
    let (spaces, rest): (Vec<Value>, Vec<Value>) =
        objects.iter().cloned().partition(|object| object["kind"] == "Namespace");
    assert_eq!(spaces[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let made = kubectl_with(&["apply", "--server-side"], &spaces);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    is_accepted(&rest, "install.yaml");
    is_accepted(&[pod(&objects, "dunlin-system")], "install.yaml");

    let namespace = restricted().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(root().join("deploy/namespaced"), folder.path().join("dunlin")).expect("a link");
    let kustomization = format!("namespace: {namespace}\nresources: [dunlin]\n");
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization).expect("it is written");
    let built = kubernetes().kubectl(&["kustomize", &folder.path().to_string_lossy()]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let objects = documents(&String::from_utf8_lossy(&built.stdout));
    is_accepted(&objects, "namespaced");
    for object in &objects {
        assert_eq!(object["metadata"]["namespace"], namespace.as_str(), "{:?}", called(object));
        for subject in object["subjects"].as_array().into_iter().flatten() {
            assert_eq!(subject["namespace"], namespace.as_str(), "{:?}", called(object));
        }
        assert!(!called(object).0.starts_with("Cluster"), "{:?}", called(object));
    }
}

/// What the notes have to paste is taken as it stands, in a namespace that is looked after.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_migration_set_of_the_notes_is_accepted() {
    install_crd();
    let (own, other) = (fresh_namespace().await, fresh_namespace().await);
    for (scope, namespace) in [
        (json!({"mode": "Cluster"}), "default"),
        (json!({"mode": "Own"}), own.as_str()),
        (json!({"mode": "Namespaces", "namespaces": [other]}), other.as_str()),
    ] {
        let values = json!({"scope": scope, "crds": {"enabled": false}});
        let release = Release { name: "dunlin".to_owned(), namespace: own.clone(), values };
        let [notes, others] = Helm::BOTH.map(|helm| helm.notes(&release, kubernetes().kubeconfig()));
        assert_eq!(notes.trim_end(), others.trim_end(), "Helm 3 and 4 differ");
        let (command, rest) = notes.split_once("-f - <<'END'\n").expect("a command");
        assert!(command.ends_with(&format!("\nkubectl apply --namespace {namespace} ")), "{notes}");
        let mut objects = documents(rest.split_once("\nEND\n").expect("its end").0);
        assert_eq!(objects.len(), 3, "a Secret, a ConfigMap and a MigrationSet");
        for object in &mut objects {
            object["metadata"]["namespace"] = json!(namespace);
        }
        is_accepted(&objects, "the notes");
    }
}
