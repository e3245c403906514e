//! What kube-state-metrics makes of a set, by its own library and with the values that we ship.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use dunlin::api::v1alpha1::MigrationSet;
use serde_json::{Value, json};

use crate::{
    conduct::USERS,
    shop::{Shop, condition},
    support::kubernetes,
};

const VALUES: &str = "deploy/kube-state-metrics/values.yaml";

/// What would be scraped of a set.
fn scraped(set: &MigrationSet) -> BTreeSet<String> {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut child = Command::new(format!("{root}/target/cluster/bin/kubestate"))
        .arg(VALUES)
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("make cluster has built it");
    let object = serde_json::to_vec(set).expect("it is JSON");
    child.stdin.take().expect("it is piped").write_all(&object).expect("it reads all of it");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list of lines")
}

/// The lines about a set that are expected, each a metric's name, labels of its own, and a value.
fn expected(shop: &Shop, lines: &[(&str, &str, &str)]) -> BTreeSet<String> {
    let of_set = [
        ("customresource_group", "dunlin.dev"),
        ("customresource_kind", "MigrationSet"),
        ("customresource_version", "v1alpha1"),
        ("exported_namespace", &shop.namespace),
        ("name", "shop"),
    ];
    let written = lines.iter().map(|(name, own, value)| {
        let own = own.split(' ').filter_map(|label| label.split_once('='));
        let mut labels: Vec<String> = own.chain(of_set).map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        labels.sort();
        format!("dunlin_resource_{name}{{{}}} {value}", labels.join(","))
    });
    written.collect()
}

/// The conditions as lines: those that the set has, as it has them.
fn conditions(set: &MigrationSet) -> Vec<(String, &'static str)> {
    let conditions = &set.status.as_ref().expect("it was looked at").conditions;
    let line = |name: &str| {
        let (status, reason, _) = condition(set, name).expect("it is there");
        (format!("type={name} reason={reason}"), if status == "True" { "1" } else { "0" })
    };
    conditions.iter().map(|condition| line(&condition.type_)).collect()
}

fn assert_scraped(shop: &Shop, set: &MigrationSet, info: &str, pending: &str) {
    let status = set.status.as_ref().expect("it was looked at");
    let digest = status.source.as_ref().and_then(|source| source.digest.as_deref()).unwrap_or_default();
    let info = info.replace("DIGEST", digest);
    let conditions = conditions(set);
    let mut lines = vec![("info", info.as_str(), "1"), ("pending_migrations", "", pending)];
    lines.extend(conditions.iter().map(|(labels, value)| ("condition", labels.as_str(), *value)));
    let mut found = scraped(set);
    let last_applied = found.iter().find(|line| line.starts_with("dunlin_resource_last_applied_")).cloned();
    let last_applied = last_applied.expect("it was applied once");
    found.remove(&last_applied);
    assert_eq!(found, expected(shop, &lines));
    let at = last_applied.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number");
    assert!(at > 1.7e9, "{last_applied}");
}

/// Ready, stalled and suspended: the conditions, the reason, and what is pending, as the status has them.
#[tokio::test(flavor = "multi_thread")]
async fn kube_state_metrics_says_what_the_status_says() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    let set = shop.until("UpToDate").await;
    assert_scraped(&shop, &set, "ready=True reason=UpToDate suspended=false version=001 digest=DIGEST", "0");
    shop.files("sql", &[USERS, ("002_broken.sql", "SELECT 1 / 0;")]).await;
    let set = shop.until("MigrationFailed").await;
    assert_scraped(&shop, &set, "ready=False reason=MigrationFailed suspended=false version=001 digest=DIGEST", "1");
    shop.apply(json!({"suspend": true})).await;
    let set = shop.until("Suspended").await;
    assert_scraped(&shop, &set, "ready=False reason=Suspended suspended=true version=001 digest=DIGEST", "1");
    shop.close().await;
}

/// A set that nobody has looked at has no status to speak of, and is no trouble.
#[test]
fn kube_state_metrics_has_little_to_say_of_a_set_without_a_status() {
    let set = json!({"apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}}});
    let set: MigrationSet = serde_json::from_value(set).expect("it is one");
    let lines = scraped(&set);
    assert!(lines.iter().any(|line| line.starts_with("dunlin_resource_info{") && line.ends_with(" 1")), "{lines:?}");
    assert!(lines.len() == 1 && !lines.iter().any(|line| line.contains("reason=")), "{lines:?}");
}

/// The rights that the values give: enough to list and watch, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn kube_state_metrics_may_list_and_watch_and_no_more() {
    let shop = Shop::closed().await;
    let text = std::fs::read_to_string(format!("{}/{VALUES}", env!("CARGO_MANIFEST_DIR"))).expect("it is there");
    let values: Value = dunlin::yaml::from_str(&text).expect("it is YAML");
    let account = format!("metrics-of-{}", shop.namespace);
    let role = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": account},
         "rules": values["rbac"]["extraRules"]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": account},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": account},
         "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": account}]},
    ]});
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(role.to_string().as_bytes()).expect("it is written");
    let applied = kubernetes().kubectl(&["apply", "-f", &file.path().to_string_lossy()]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    for (resource, verb, may) in [
        ("migrationsets.dunlin.dev", "list", "yes"),
        ("migrationsets.dunlin.dev", "watch", "yes"),
        ("customresourcedefinitions.apiextensions.k8s.io", "list", "yes"),
        ("customresourcedefinitions.apiextensions.k8s.io", "watch", "yes"),
        ("migrationsets.dunlin.dev", "patch", "no"),
        ("secrets", "list", "no"),
    ] {
        let asked = kubernetes().kubectl(&["auth", "can-i", verb, resource, "--all-namespaces", "--as", &account]);
        assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), may, "{verb} {resource}");
    }
    shop.close().await;
}
