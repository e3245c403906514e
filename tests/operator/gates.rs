//! Pods with a scheduling gate that names a set.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::{
    going::{ORDERS, USERS},
    process::OperatorProcess,
    shop::{LIMIT, Shop},
    support::{eventually, kubernetes},
};

async fn pod(shop: &Shop, name: &str, annotations: Value, gates: &[&str]) {
    let gates: Vec<Value> = gates.iter().map(|name| json!({"name": name})).collect();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"schedulingGates": gates, "containers": [{"name": "app", "image": "example.org/app:1"}]},
    }))
    .expect("it is a pod");
    pods(shop).create(&PostParams::default(), &pod).await.expect("it is created");
}

fn pods(shop: &Shop) -> Api<Pod> {
    Api::namespaced(shop.client.clone(), &shop.namespace)
}

async fn gates(shop: &Shop, name: &str) -> Vec<String> {
    let pod = pods(shop).get(name).await.expect("it is there");
    let gates = pod.spec.expect("it has a spec").scheduling_gates.unwrap_or_default();
    gates.into_iter().map(|gate| gate.name).collect()
}

async fn until_gates(shop: &Shop, name: &str, expected: &[&str]) {
    eventually("the gates are as they should be", LIMIT, async || {
        let found = gates(shop, name).await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_let_go_when_its_set_is_ready_and_no_sooner() {
    let shop = Shop::closed().await;
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &["--pod-gates"]);
    shop.apply(json!({})).await;
    shop.until("WaitingForSource").await;
    pod(&shop, "early", json!({}), &["example.org/quota", "dunlin.dev/shop", "dunlin.dev/other"]).await;
    pod(&shop, "of-another", json!({}), &["dunlin.dev/other"]).await;
    shop.files("sql", &[USERS]).await;
    let set = shop.until("UpToDate").await;
    until_gates(&shop, "early", &["example.org/quota", "dunlin.dev/other"]).await;
    assert_eq!(gates(&shop, "of-another").await, ["dunlin.dev/other"]);

    // One that comes later, and one that waits for a content that isn't there yet.
    let now = set.status.and_then(|status| status.applied?.digest).expect("it is applied");
    pod(&shop, "late", json!({"dunlin.dev/digest": now}), &["dunlin.dev/shop"]).await;
    until_gates(&shop, "late", &[]).await;
    pod(&shop, "next", json!({"dunlin.dev/digest": digest_of(&[USERS, ORDERS])}), &["dunlin.dev/shop"]).await;
    pod(&shop, "marker", json!({}), &["dunlin.dev/shop"]).await;
    until_gates(&shop, "marker", &[]).await;
    assert_eq!(gates(&shop, "next").await, ["dunlin.dev/shop"], "the content of before is Ready, and isn't meant");
    shop.files("sql", &[USERS, ORDERS]).await;
    until_gates(&shop, "next", &[]).await;
    operator.end().await;
    shop.close().await;
}

fn digest_of(files: &[(&str, &str)]) -> String {
    use dunlin::core::bundle::{Bundle, BundleFile};
    let file = |(name, text): &(&str, &str)| BundleFile {
        name: (*name).to_owned(),
        bytes: text.as_bytes().to_vec(),
        origin: String::new(),
    };
    Bundle::new(files.iter().map(file).collect()).expect("names are unique").digest().to_string()
}

/// Without the flag no pod is looked at, and none is touched.
#[tokio::test(flavor = "multi_thread")]
async fn gates_stay_where_nobody_asked_for_them_to_be_lifted() {
    let mut shop = Shop::closed().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    pod(&shop, "gated", json!({}), &["dunlin.dev/shop"]).await;
    shop.start_operator().await;
    shop.until("UpToDate").await;
    assert_eq!(gates(&shop, "gated").await, ["dunlin.dev/shop"]);
    shop.close().await;
}
