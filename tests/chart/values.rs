//! What `values.yaml` says, and what is refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::helm::{Helm, Release, everything, file};

#[test]
fn the_chart_has_nothing_that_helm_complains_of() {
    for helm in Helm::BOTH {
        for values in [json!({}), everything(), json!({"scope": {"mode": "Own"}, "crds": {"enabled": false}})] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("values.yaml");
            std::fs::write(&path, values.to_string()).expect("it is written");
            let chart = crate::helm::chart();
            let said = helm.run(&[
                "lint",
                "--strict",
                &chart.to_string_lossy(),
                "--values",
                &path.to_string_lossy(),
                "--kube-version",
                "1.33.0",
            ]);
            let said = said.unwrap_or_else(|error| panic!("{helm:?} with {values}: {error}"));
            assert!(!said.contains("[WARNING]"), "{helm:?}: {said}");
        }
    }
}

/// The schema, and what it can't say, each with the key that is wrong.
#[test]
fn a_wrong_value_is_refused_and_named() {
    let rows = [
        (json!({"replicas": 3}), "replicas"),
        (json!({"image": {"tagg": "1"}}), "tagg"),
        (json!({"image": {"digest": "sha256:12"}}), "digest"),
        (json!({"image": {"tag": 1.5}}), "tag"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "pullPolicy"),
        (json!({"scope": {"mode": "Namespace"}}), "mode"),
        (json!({"scope": {"mode": "Namespaces"}}), "namespaces"),
        (json!({"scope": {"mode": "Own", "namespaces": ["a"]}}), "namespaces"),
        (json!({"scope": {"namespaces": ["a"]}}), "namespaces"),
        (json!({"scope": {"mode": "Namespaces", "namespaces": ["A"]}}), "namespaces"),
        (json!({"allowedHosts": "db.example.org"}), "allowedHosts"),
        (json!({"allowedHosts": ["a.example.org,b.example.org"]}), "allowedHosts"),
        (json!({"allowedHosts": ["https://example.org"]}), "allowedHosts"),
        (json!({"allowedHosts": ["*"]}), "allowedHosts"),
        (json!({"allowedHosts": [""]}), "allowedHosts"),
        (json!({"logFormat": "yaml"}), "logFormat"),
        (json!({"terminationGracePeriodSeconds": 5}), "terminationGracePeriodSeconds"),
        (json!({"metrics": {"port": 70000}}), "port"),
        (json!({"metrics": {"serviceMonitor": {"interval": "often"}}}), "interval"),
        (json!({"rbac": {"aggregate": {"owner": true}}}), "owner"),
        (json!({"leaderElection": {"enabled": false}}), "replicaCount"),
        (json!({"metrics": {"enabled": false, "serviceMonitor": {"enabled": true}}}), "metrics.serviceMonitor.enabled"),
        (json!({"metrics": {"enabled": false, "prometheusRule": {"enabled": true}}}), "metrics.prometheusRule.enabled"),
        (json!({"metrics": {"enabled": false, "dashboard": {"enabled": true}}}), "metrics.dashboard.enabled"),
        (json!({"metrics": {"port": 8081}}), "health.port and metrics.port"),
    ];
    for helm in Helm::BOTH {
        for (values, word) in &rows {
            let said = helm.render(&Release::with(values.clone())).expect_err(&values.to_string());
            assert!(said.contains(word), "{helm:?} with {values}: {said}");
        }
    }
}

#[test]
fn what_a_parent_chart_shares_is_no_wrong_value() {
    let plain = Release::with(json!({})).objects();
    assert_eq!(Release::with(json!({"global": {"imageRegistry": "example.com"}})).objects(), plain);
}

/// Each key of the values is in the schema, and each of the schema's in the values, so that both can be read alone.
#[test]
fn values_and_schema_have_the_same_keys() {
    let values: Value = dunlin::yaml::from_str(&file("values.yaml")).expect("it is YAML");
    let schema: Value = serde_json::from_str(&file("values.schema.json")).expect("it is JSON");
    let (mut written, mut allowed) = (BTreeSet::new(), BTreeSet::new());
    keys_of_values("", &values, &schema, &mut written);
    keys_of_schema("", &schema, &mut allowed);
    // Somebody else's, and what a default leaves to Kubernetes.
    let unwritten = [
        ".global",
        ".affinity.nodeAffinity",
        ".affinity.podAffinity",
        ".affinity.podAntiAffinity",
        ".resources.claims",
        ".health.readinessProbe.initialDelaySeconds",
        ".health.readinessProbe.successThreshold",
    ];
    for key in unwritten {
        assert!(allowed.remove(key), "{key}");
    }
    assert_eq!(written, allowed);
}

fn keys_of_schema(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        assert!(
            below["properties"].is_null() || below["additionalProperties"] == false,
            "{path} takes keys that mean nothing"
        );
        keys_of_schema(&path, below, found);
        found.insert(path);
    }
}

/// Keys down to where the schema leaves them to whoever writes them.
fn keys_of_values(path: &str, values: &Value, schema: &Value, found: &mut BTreeSet<String>) {
    for (key, below) in values.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let schema = &schema["properties"][key];
        if schema["properties"].is_object() {
            keys_of_values(&path, below, schema, found);
        }
        found.insert(path);
    }
}

/// A key without a `# --` has no row in the chart's README.
#[test]
fn every_value_is_described_in_the_readme() {
    let values: Value = dunlin::yaml::from_str(&file("values.yaml")).expect("it is YAML");
    let schema: Value = serde_json::from_str(&file("values.schema.json")).expect("it is JSON");
    let readme = file("README.md");
    let mut keys = BTreeSet::new();
    keys_of_values("", &values, &schema, &mut keys);
    for key in &keys {
        let is_leaf = !keys.iter().any(|other| other.starts_with(&format!("{key}.")));
        let Some(row) = readme.lines().find(|line| line.starts_with(&format!("| {} |", &key[1..]))) else {
            assert!(
                !is_leaf
                    || keys.iter().any(|other| key.starts_with(&format!("{other}.")) && is_described(&readme, other)),
                "{key}"
            );
            continue;
        };
        assert!(!row.trim_end().ends_with("|  |"), "{key} isn't described");
    }
}

fn is_described(readme: &str, key: &str) -> bool {
    readme.lines().any(|line| line.starts_with(&format!("| {} |", &key[1..])) && !line.trim_end().ends_with("|  |"))
}

/// The chart and the program are released together.
#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart: Value = dunlin::yaml::from_str(&file("Chart.yaml")).expect("it is YAML");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let images = chart["annotations"]["artifacthub.io/images"].as_str().expect("a text");
    assert!(images.contains(&format!("image: ghcr.io/dunlin-dev/dunlin:{}\n", env!("CARGO_PKG_VERSION"))), "{images}");
    for key in ["images", "crds", "crdsExamples", "links", "changes"] {
        let text = chart["annotations"][format!("artifacthub.io/{key}")].as_str().expect("a text");
        let list: Vec<Value> = dunlin::yaml::from_str(text).expect("a list in YAML");
        assert!(!list.is_empty(), "{key}");
    }
}
