//! The objects that are rendered, whoever installs them.

use std::collections::BTreeSet;

use dunlin::cli::args::{Cli, Program};
use serde_json::{Value, json};

use crate::{
    helm::{Release, called, everything, file, one, root},
    support::markdown::blocks,
};

fn name_of_release(name: &str, values: Value) -> Release {
    Release { name: name.to_owned(), namespace: "dunlin-system".to_owned(), values }
}

fn container(objects: &[Value]) -> Value {
    one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0].clone()
}

fn arguments(objects: &[Value]) -> Vec<String> {
    serde_json::from_value(container(objects)["args"].clone()).expect("a list of texts")
}

#[test]
fn every_object_is_labelled_and_in_the_namespace_of_the_release() {
    let objects = Release::with(merged(everything(), json!({"commonLabels": {"team": "data"}}))).objects();
    let kinds: BTreeSet<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    for kind in [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "CustomResourceDefinition",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PrometheusRule",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    ] {
        assert!(kinds.contains(kind), "no {kind}");
    }
    for object in &objects {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], "dunlin", "{:?}", called(object));
        assert_eq!(labels["app.kubernetes.io/instance"], "dunlin", "{:?}", called(object));
        assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm", "{:?}", called(object));
        assert_eq!(labels["team"], "data", "{:?}", called(object));
        let is_cluster_wide =
            ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"].contains(&&*called(object).0);
        let namespace = if is_cluster_wide { Value::Null } else { json!("dunlin-system") };
        assert_eq!(object["metadata"]["namespace"], namespace, "{:?}", called(object));
    }
    let pod = &one(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(pod["team"], "data");
    assert_eq!(pod["helm.sh/chart"], Value::Null, "a new version of the chart alone is no reason for new pods");
}

#[test]
fn a_label_of_the_selector_is_nobodys_to_change() {
    let mine = json!({"app.kubernetes.io/name": "mine", "app.kubernetes.io/instance": "mine", "team": "data"});
    let objects = Release::with(json!({"commonLabels": mine, "podLabels": mine})).objects();
    let deployment = &one(&objects, "Deployment")["spec"];
    for (key, value) in deployment["selector"]["matchLabels"].as_object().expect("it selects") {
        assert_eq!(deployment["template"]["metadata"]["labels"][key], *value);
    }
    assert_eq!(deployment["selector"]["matchLabels"]["app.kubernetes.io/name"], "dunlin");
}

/// A release's name has up to 53 characters, and an override up to 63; objects of one kind stay apart all the same.
#[test]
fn names_and_labels_fit_whatever_the_release_is_called() {
    let long = "r".repeat(53);
    let many = json!({"scope": {"mode": "Namespaces", "namespaces": ["a", "b", "dunlin-system"]}});
    for (release, values) in [
        (long.as_str(), everything()),
        (long.as_str(), many.clone()),
        ("x", merged(everything(), json!({"fullnameOverride": "f".repeat(63)}))),
        ("x", merged(everything(), json!({"nameOverride": "n".repeat(63)}))),
        ("x", merged(many, json!({"fullnameOverride": "f".repeat(63)}))),
        // Cut in the middle, a name would end in a dash.
        ("x", merged(everything(), json!({"fullnameOverride": format!("{}-{}", "f".repeat(55), "g".repeat(7))}))),
    ] {
        let objects = name_of_release(release, values).objects();
        let mut seen = BTreeSet::new();
        for object in &objects {
            let (kind, name) = called(object);
            let namespace = object["metadata"]["namespace"].to_string();
            assert!(seen.insert((kind.clone(), namespace, name.clone())), "two are called {kind} {name}");
            let is_fine = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.:".contains(letter));
            let longest = if name.contains(':') { 253 } else { 63 };
            assert!(is_fine && name.len() <= longest && !name.ends_with('-'), "{kind} {name}");
            for (key, value) in object["metadata"]["labels"].as_object().expect("labels") {
                let value = value.as_str().expect("a text");
                assert!(value.len() <= 63 && !value.ends_with('-'), "{key}: {value}");
            }
        }
    }
    for (release, name) in [("dunlin", "dunlin"), ("my-dunlin", "my-dunlin"), ("mine", "mine-dunlin")] {
        assert_eq!(called(one(&name_of_release(release, json!({})).objects(), "Deployment")).1, name);
    }
}

/// Each value is found where Kubernetes looks for it.
#[test]
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn values_find_their_place() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let volume = json!([{"name": "ca", "secret": {"secretName": "ca"}}]);
    let own = json!([{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}]);
    let rows = [
        (json!({"replicaCount": 3}), "Deployment", "/spec/replicas", json!(3)),
        (json!({"revisionHistoryLimit": 1}), "Deployment", "/spec/revisionHistoryLimit", json!(1)),
        (
            json!({"strategy": {"type": "Recreate", "rollingUpdate": null}}),
            "Deployment",
            "/spec/strategy",
            json!({"type": "Recreate"}),
        ),
        (
            json!({}),
            "Pod",
            "/containers/0/image",
            json!(concat!("ghcr.io/dunlin-dev/dunlin:", env!("CARGO_PKG_VERSION"))),
        ),
        (json!({"image": {"repository": "r/d", "tag": "t"}}), "Pod", "/containers/0/image", json!("r/d:t")),
        (
            json!({"image": {"repository": "r/d", "tag": "t", "digest": digest}}),
            "Pod",
            "/containers/0/image",
            json!(format!("r/d@{digest}")),
        ),
        (json!({"image": {"pullPolicy": "Never"}}), "Pod", "/containers/0/imagePullPolicy", json!("Never")),
        (json!({"imagePullSecrets": [{"name": "s"}]}), "Pod", "/imagePullSecrets", json!([{"name": "s"}])),
        (json!({"priorityClassName": "p"}), "Pod", "/priorityClassName", json!("p")),
        (json!({"nodeSelector": {"a": "b"}}), "Pod", "/nodeSelector", json!({"a": "b"})),
        (json!({"tolerations": [{"operator": "Exists"}]}), "Pod", "/tolerations", json!([{"operator": "Exists"}])),
        (json!({"affinity": {"nodeAffinity": {"x": 1}}}), "Pod", "/affinity", json!({"nodeAffinity": {"x": 1}})),
        (json!({"topologySpreadConstraints": own}), "Pod", "/topologySpreadConstraints", own.clone()),
        (json!({"extraVolumes": volume}), "Pod", "/volumes", volume.clone()),
        (
            json!({"extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}]}),
            "Pod",
            "/containers/0/volumeMounts",
            json!([{"name": "ca", "mountPath": "/ca"}]),
        ),
        (
            json!({"extraEnv": [{"name": "A", "value": "b"}]}),
            "Pod",
            "/containers/0/env/1",
            json!({"name": "A", "value": "b"}),
        ),
        (
            json!({"resources": {"limits": {"memory": "1Gi"}}}),
            "Pod",
            "/containers/0/resources/limits/memory",
            json!("1Gi"),
        ),
        (json!({"podSecurityContext": {"runAsUser": null}}), "Pod", "/securityContext/runAsNonRoot", json!(true)),
        (json!({"serviceAccount": {"name": "me"}}), "Pod", "/serviceAccountName", json!("me")),
        (json!({"serviceAccount": {"create": false}}), "Pod", "/serviceAccountName", json!("default")),
        (json!({"podAnnotations": {"a": "b"}}), "Deployment", "/spec/template/metadata/annotations", json!({"a": "b"})),
        (json!({"podLabels": {"a": "b"}}), "Deployment", "/spec/template/metadata/labels/a", json!("b")),
        (
            json!({"serviceAccount": {"annotations": {"a": "b"}}}),
            "ServiceAccount",
            "/metadata/annotations",
            json!({"a": "b"}),
        ),
        (
            json!({"podDisruptionBudget": {"maxUnavailable": "25%"}}),
            "PodDisruptionBudget",
            "/spec/maxUnavailable",
            json!("25%"),
        ),
        (json!({"metrics": {"port": 9090}}), "Service", "/spec/ports/0/port", json!(9090)),
        (
            json!({"metrics": {"service": {"ipFamilyPolicy": "PreferDualStack"}}}),
            "Service",
            "/spec/ipFamilyPolicy",
            json!("PreferDualStack"),
        ),
        (
            json!({"metrics": {"service": {"annotations": {"a": "b"}}}}),
            "Service",
            "/metadata/annotations",
            json!({"a": "b"}),
        ),
        (
            json!({"metrics": {"serviceMonitor": {"enabled": true, "interval": "30s"}}}),
            "ServiceMonitor",
            "/spec/endpoints/0/interval",
            json!("30s"),
        ),
        (
            json!({"metrics": {"serviceMonitor": {"enabled": true, "labels": {"release": "p"}}}}),
            "ServiceMonitor",
            "/metadata/labels/release",
            json!("p"),
        ),
        (
            json!({"metrics": {"prometheusRule": {"enabled": true, "labels": {"release": "p"}}}}),
            "PrometheusRule",
            "/metadata/labels/release",
            json!("p"),
        ),
        (
            json!({"metrics": {"dashboard": {"enabled": true, "annotations": {"folder": "f"}}}}),
            "ConfigMap",
            "/metadata/annotations/folder",
            json!("f"),
        ),
        (
            json!({"crds": {"annotations": {"a": "b"}}}),
            "CustomResourceDefinition",
            "/metadata/annotations",
            json!({"a": "b", "helm.sh/resource-policy": "keep"}),
        ),
        (json!({"crds": {"keep": false}}), "CustomResourceDefinition", "/metadata/annotations", Value::Null),
    ];
    for (values, kind, place, expected) in rows {
        let objects = Release::with(values.clone()).objects();
        let object = match kind {
            "Pod" => &one(&objects, "Deployment")["spec"]["template"]["spec"],
            kind => one(&objects, kind),
        };
        let found = object.pointer(place).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{values} at {place} of {object:#}");
    }
}

#[test]
fn what_is_turned_off_leaves_nothing_behind() {
    let off = json!({
        "replicaCount": 1, "leaderElection": {"enabled": false}, "metrics": {"enabled": false}, "health": {"enabled": false},
        "crds": {"enabled": false}, "rbac": {"create": false, "aggregate": {"view": false, "admin": false}}, "serviceAccount": {"create": false},
    });
    let objects = Release::with(off).objects();
    assert_eq!(objects.iter().map(called).collect::<Vec<_>>(), [("Deployment".to_owned(), "dunlin".to_owned())]);
    let container = container(&objects);
    for field in ["ports", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[field], Value::Null, "{field}");
    }
    assert_eq!(arguments(&objects), ["operator", "--log-level=info", "--log-format=json", "--grace-period=60s"]);
}

#[test]
fn a_budget_is_for_more_than_one() {
    let is_there =
        |values: Value| Release::with(values).objects().iter().any(|object| object["kind"] == "PodDisruptionBudget");
    assert!(is_there(json!({})));
    assert!(!is_there(json!({"replicaCount": 1})));
    assert!(!is_there(json!({"podDisruptionBudget": {"enabled": false}})));
}

#[test]
fn kubernetes_and_the_operator_are_told_of_the_same_grace_period() {
    let objects = Release::with(json!({"terminationGracePeriodSeconds": 90})).objects();
    assert_eq!(one(&objects, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 90);
    assert!(arguments(&objects).contains(&"--grace-period=90s".to_owned()));
}

/// Q24: how much is logged, and how, are values; an argument that the program doesn't know would end the pod at once.
#[test]
fn the_operator_takes_the_arguments_that_it_is_given() {
    for values in [
        json!({}),
        json!({"scope": {"mode": "Own"}}),
        json!({"scope": {"mode": "Namespaces", "namespaces": ["b", "a"]}}),
        json!({"allowedHosts": ["db.example.org:5432", "*.svc.cluster.local", "10.0.0.0/8:5432", "10.0.0.1", "[fd00::/8]:5432", "::1"]}),
        json!({"extraArgs": ["--color=never"], "logLevel": "dunlin=debug,kube=warn", "logFormat": "text", "bindAddress": "[::1]"}),
    ] {
        let given = arguments(&Release::with(values.clone()).objects());
        // The kubelet fills it in.
        let expanded = given.iter().map(|argument| argument.replace("$(POD_NAMESPACE)", "dunlin-system"));
        let line = std::iter::once("dunlin".to_owned()).chain(expanded);
        let read = Program::Dunlin.parse::<Cli>(line.map(Into::into));
        assert!(read.is_ok(), "{given:?}: {}", read.expect_err("it isn't").render());
        let level = values["logLevel"].as_str().unwrap_or("info");
        assert!(given.contains(&format!("--log-level={level}")), "{given:?}");
        for host in values["allowedHosts"].as_array().into_iter().flatten() {
            assert!(given.contains(&format!("--allowed-hosts={}", host.as_str().expect("a text"))), "{given:?}");
        }
    }
}

/// The values of `docs/operator.md` for an authority of one's own, beside the public ones that the image has.
#[test]
fn an_authority_of_ones_own_is_trusted_beside_the_public_ones() {
    let page = std::fs::read_to_string(root().join("docs/operator.md")).expect("it is there");
    let block = blocks(&page).into_iter().find(|block| block.text.contains("SSL_CERT_DIR")).expect("it says how");
    let container = container(&Release::with(dunlin::yaml::from_str(&block.text).expect("it is YAML")).objects());
    let variables: Vec<&Value> = container["env"].as_array().expect("variables").iter().collect();
    let folders = variables.iter().find(|variable| variable["name"] == "SSL_CERT_DIR").expect("it is set");
    let own = container["volumeMounts"][0]["mountPath"].as_str().expect("it is mounted");
    assert_eq!(folders["value"], format!("/etc/ssl/certs:{own}"));
    let image = std::fs::read_to_string(root().join("Containerfile")).expect("it is there");
    assert!(image.contains("cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/"), "no public ones");
}

#[test]
fn pods_are_spread_by_their_own_labels() {
    let objects = Release::with(json!({})).objects();
    let deployment = &one(&objects, "Deployment")["spec"];
    let spread = &deployment["template"]["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["labelSelector"], deployment["selector"]);
    assert_eq!(spread["matchLabelKeys"], json!(["pod-template-hash"]));
    assert_eq!(spread["topologyKey"], "kubernetes.io/hostname");
}

#[test]
fn the_network_policy_lets_out_what_the_operator_needs_and_in_who_asks_for_metrics() {
    let values = json!({"networkPolicy": {
        "enabled": true, "postgresPorts": [5432, 6432], "apiServerPorts": [6443], "postgresTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "metricsFrom": [{"namespaceSelector": {}}], "extraEgress": [{"ports": [{"port": 443}]}],
    }});
    let objects = Release::with(values).objects();
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["podSelector"], one(&objects, "Deployment")["spec"]["selector"]);
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(
        policy["ingress"],
        json!([{"ports": [{"protocol": "TCP", "port": 8080}], "from": [{"namespaceSelector": {}}]}])
    );
    assert_eq!(
        policy["egress"],
        json!([
            {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
            {"ports": [{"protocol": "TCP", "port": 6443}]},
            {"ports": [{"protocol": "TCP", "port": 5432}, {"protocol": "TCP", "port": 6432}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
            {"ports": [{"port": 443}]},
        ])
    );
    let closed = Release::with(json!({"networkPolicy": {"enabled": true}, "metrics": {"enabled": false}})).objects();
    assert_eq!(one(&closed, "NetworkPolicy")["spec"]["ingress"], json!([]));
}

/// One source, the types; the chart adds labels and annotations and changes nothing.
#[test]
fn the_custom_resource_definition_is_the_generated_one() {
    let generated = std::fs::read_to_string(root().join("crds/migrationsets.dunlin.dev.yaml")).expect("it is there");
    assert_eq!(file("files/migrationsets.dunlin.dev.yaml"), generated, "run make generate, and commit it");
    let mut expected: Value = dunlin::yaml::from_str(&generated).expect("it is YAML");
    for keep in [true, false] {
        let objects = Release::with(json!({"crds": {"keep": keep}})).objects();
        let mut rendered = one(&objects, "CustomResourceDefinition").clone();
        for field in ["labels", "annotations"] {
            rendered["metadata"].as_object_mut().expect("an object").remove(field);
            expected["metadata"].as_object_mut().expect("an object").remove(field);
        }
        assert_eq!(rendered, expected);
    }
}

/// The first with what the second says in place of its own.
pub fn merged(mut first: Value, second: Value) -> Value {
    match (first.as_object_mut(), second) {
        (Some(one), Value::Object(other)) => {
            for (key, value) in other {
                let own = one.remove(&key).unwrap_or_default();
                one.insert(key, merged(own, value));
            }
            first
        }
        (_, second) => second,
    }
}
