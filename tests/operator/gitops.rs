//! What tools of GitOps make of a set's status: kstatus by its own library, Argo CD by the script that we ship, kustomize by
//! the component that we ship; and the commands of docs/gitops.md.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use dunlin::api::v1alpha1::MigrationSet;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    going::{ORDERS, USERS},
    line::is_ready,
    shop::{Shop, ready},
    support::{kubernetes, markdown::blocks},
};

const DOCUMENT: &str = include_str!("../../docs/gitops.md");
const BROKEN: (&str, &str) = ("003_items.sql", "CREATE TABLE items (id int);\nINSERT INTO items VALUES (nonsense);");

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the tools say of each object.
fn verdicts(sets: &[MigrationSet]) -> Vec<Value> {
    let mut child = Command::new(repository("target/cluster/bin/gitops"))
        .args(["verdicts", "gitops/argocd/dunlin.dev/MigrationSet"])
        .current_dir(repository("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("make cluster has built it");
    let mut input = child.stdin.take().expect("it is piped");
    let objects: String = sets.iter().map(|set| serde_json::to_string(set).expect("it is JSON") + "\n").collect();
    let writing = std::thread::spawn(move || input.write_all(objects.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    writing.join().expect("it doesn't panic").expect("it reads all of it");
    let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    answers.collect::<Result<_, _>>().expect("each is JSON")
}

/// What is to be said of a set for the reason of its Ready, as the table of the document has it.
fn expected(set: &MigrationSet) -> (&'static str, &'static str) {
    let observed = set.status.as_ref().map(|status| status.observed_generation);
    let reason = ready(set).map(|(_, reason, _)| reason);
    let is_of_now = observed.is_some_and(|observed| Some(observed) == set.metadata.generation.map(Into::into));
    match reason.as_deref().filter(|_| is_of_now) {
        _ if set.spec.suspend => ("InProgress", "Suspended"),
        Some("UpToDate") => ("Current", "Healthy"),
        Some("MigrationFailed") => ("Failed", "Degraded"),
        Some("ApprovalRequired") => ("InProgress", "Suspended"),
        None | Some("Checking" | "Applying" | "WaitingForSource" | "WaitingForSecret" | "Suspended") => {
            ("InProgress", "Progressing")
        }
        Some(other) => panic!("nobody has thought of {other}"),
    }
}

/// Every status that a set shows on its way, at every moment.
#[tokio::test(flavor = "multi_thread")]
async fn kstatus_and_argo_cd_say_of_each_status_what_the_document_says() {
    let shop = Shop::open().await;
    shop.apply(json!({})).await;
    shop.until("WaitingForSource").await;
    shop.files("sql", &[USERS]).await;
    shop.until("UpToDate").await;
    shop.apply(json!({"approval": {"required": "Always"}})).await;
    shop.files("sql", &[USERS, ORDERS]).await;
    let set = shop.until("ApprovalRequired").await;
    let plan = set.status.and_then(|status| status.plan?.digest).expect("a plan is shown");
    shop.annotate("dunlin.dev/approved-plan", &plan).await;
    shop.until("UpToDate").await;
    shop.apply(json!({})).await;
    shop.files("sql", &[USERS, ORDERS, BROKEN]).await;
    shop.until("MigrationFailed").await;
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    shop.sets().patch("shop", &PatchParams::default(), &suspend).await.expect("it is suspended");
    shop.until("Suspended").await;

    let seen = shop.seen.lock().expect("nobody panicked").clone();
    let said = verdicts(&seen);
    assert_eq!(said.len(), seen.len());
    let mut shown = std::collections::BTreeSet::new();
    for (set, said) in seen.iter().zip(&said) {
        let (kstatus, argocd) = expected(set);
        let found = (said["kstatus"].as_str(), said["argocd"]["status"].as_str());
        assert_eq!(found, (Some(kstatus), Some(argocd)), "{said:#} of {set:#?}");
        if kstatus == "Current" {
            assert!(is_ready(set));
        }
        shown.insert(argocd);
    }
    assert_eq!(shown.len(), 4, "{shown:?}");
    let actions: Vec<&Value> = said.iter().map(|said| &said["actions"]).collect();
    assert!(actions.contains(&&json!(["reconcile", "retry", "suspend"])), "a set that failed can be retried");
    assert_eq!(**actions.last().expect("there are some"), json!(["resume"]));
    shop.close().await;
}

/// A generated ConfigMap's name finds its way into the set, by the component and by the example's own configuration.
#[test]
fn the_kustomize_component_names_generated_config_maps() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("the folder takes a file");
    for block in blocks(DOCUMENT).iter().filter(|block| block.language == "yaml" && block.word != "template") {
        write(&block.word, &block.text);
    }
    write("001_customers.sql", "CREATE TABLE customers (id bigint PRIMARY KEY);\n");
    std::fs::create_dir(folder.path().join("component")).expect("a folder");
    for file in ["kustomization.yaml", "kustomizeconfig.yaml"] {
        std::fs::copy(repository("gitops/kustomize").join(file), folder.path().join("component").join(file))
            .expect("it is copied");
    }
    let built = kubernetes().kubectl(&["kustomize", folder.path().to_str().expect("its name is text")]);
    let text = String::from_utf8_lossy(&built.stdout);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let names: Vec<&str> = text.lines().filter(|line| line.contains("name: shop-migrations-")).collect();
    assert_eq!(names.len(), 2, "{text}");
    let read = |path: &str| std::fs::read_to_string(repository(path)).expect("it is there");
    assert_eq!(read("gitops/kustomize/kustomizeconfig.yaml"), read("migrations-example/kustomizeconfig.yaml"));
}

/// The commands of the document, on a cluster that has what they speak of.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_document_work_as_written() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let argocd = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}},
    ]});
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(argocd.to_string().as_bytes()).expect("it is written");
    let created = kubernetes().kubectl(&["apply", "-f", file.path().to_str().expect("its name is text")]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let commands: Vec<_> = blocks(DOCUMENT).into_iter().filter(|block| block.language == "sh").collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        let text = command.text.replace("--namespace shop", &format!("--namespace {}", shop.namespace));
        let path = format!("{}:/usr/bin:/bin", kubernetes().bin().display());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &text])
            .current_dir(repository("."))
            .env("PATH", path)
            .env("KUBECONFIG", kubernetes().kubeconfig())
            .output()
            .expect("there is a bash");
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    shop.until_that("shop", "the token is answered", |set| {
        set.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.is_some())
    })
    .await;
    let patched = kubernetes().kubectl(&["get", "configmap", "argocd-cm", "--namespace", "argocd", "-o", "yaml"]);
    let patched = String::from_utf8_lossy(&patched.stdout).into_owned();
    assert!(patched.contains("resource.customizations.health.dunlin.dev_MigrationSet"), "{patched}");
    shop.close().await;
}
