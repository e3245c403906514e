//! `spec.variables` in a cluster: values from the spec, Secrets and ConfigMaps, waited for, taken up, and never shown.

use std::time::Duration;

use dunlin::api::v1alpha1::MigrationSet;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::{
    line::is_ready,
    shop::{Shop, condition, message},
    support::eventually,
};

fn tenant(from: &Value) -> Value {
    json!({"variables": [{"name": "tenant", "valueFrom": from}]})
}

fn says(set: &MigrationSet, reason: &str, words: &str) -> bool {
    condition(set, "Ready").is_some_and(|(_, found, message)| found == reason && message.contains(words))
}

/// M09: values come from the spec, a Secret and a ConfigMap; what isn't there yet is waited for by name and key, and taken
/// up when it comes. None of a Secret's is in a status or an event.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_waited_for_and_taken_up() {
    let shop = Shop::open().await;
    shop.files(
        "sql",
        &[("001_it.sql", "CREATE TABLE :\"tenant\" AS SELECT :'password' AS a, :'region' AS b, :'plain' AS c;")],
    )
    .await;
    shop.apply(json!({"variables": [
        {"name": "tenant", "value": "a\"cme"},
        {"name": "plain", "value": "it's"},
        {"name": "region", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "region"}}},
        {"name": "password", "valueFrom": {"secretKeyRef": {"name": "values", "key": "pw"}}},
    ]}))
    .await;
    shop.until_that("shop", "it waits for the ConfigMap", |set| {
        says(set, "WaitingForSource", "ConfigMap settings isn't there: the variable region")
    })
    .await;
    shop.files("settings", &[("other", "x")]).await;
    shop.until_that("shop", "it waits for its key", |set| says(set, "WaitingForSource", "no key region")).await;
    shop.files("settings", &[("region", "eu")]).await;
    shop.until_that("shop", "it waits for the Secret", |set| {
        says(set, "WaitingForSecret", "Secret values isn't there: the variable password")
    })
    .await;
    shop.secret("values", &[("other", "hunter2")]).await;
    shop.until_that("shop", "it waits for its key", |set| says(set, "WaitingForSecret", "has no key pw")).await;
    shop.secret("values", &[("pw", "hunter2 it's")]).await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask("SELECT concat_ws('|', a, b, c) FROM \"a\"\"cme\"").await, "hunter2 it's|eu|it's");
    shop.close().await;
}

/// M09: a migration that failed for a value runs again when the ConfigMap has another, at once.
#[tokio::test(flavor = "multi_thread")]
async fn another_value_is_another_try() {
    let shop = Shop::open().await;
    shop.files("sql", &[("001_it.sql", "SELECT :'tenant'::int;")]).await;
    shop.files("settings", &[("k", "no number")]).await;
    shop.apply(tenant(&json!({"configMapKeyRef": {"name": "settings", "key": "k"}}))).await;
    let set = shop.until("MigrationFailed").await;
    assert!(message(&set).contains("\"no number\""), "{}", message(&set));
    shop.files("settings", &[("k", "1")]).await;
    shop.until("UpToDate").await;

    shop.close().await;
}

/// The same of a Secret's value, which is in nothing that is shown or kept.
#[tokio::test(flavor = "multi_thread")]
async fn another_secret_is_another_try() {
    let shop = Shop::open().await;
    shop.files("sql", &[("001_it.sql", "SELECT :'tenant'::int;")]).await;
    shop.secret("values", &[("k", "hunter2")]).await;
    shop.apply(tenant(&json!({"secretKeyRef": {"name": "values", "key": "k"}}))).await;
    let set = shop.until("MigrationFailed").await;
    let shown = serde_json::to_string(&set).expect("it is JSON");
    assert!(shown.contains(":'tenant'") && !shown.contains("hunter2"), "{shown}");
    eventually("its event", Duration::from_secs(20), async || {
        let events: Api<Event> = Api::namespaced(shop.client.clone(), &shop.namespace);
        let events = events.list(&ListParams::default()).await.expect("events are listed").items;
        let told: Vec<String> = events.into_iter().filter_map(|event| event.message).collect();
        assert!(!told.iter().any(|message| message.contains("hunter2")), "{told:?}");
        if told.iter().any(|message| message.contains(":'tenant'")) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    let kept = shop.ask("SELECT string_agg(to_jsonb(r)::text, ' ') FROM dunlin.run AS r").await;
    assert!(!kept.contains("hunter2"), "{kept}");
    shop.secret("values", &[("k", "2")]).await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await, "1");
    shop.close().await;
}

/// M09: what isn't declared stalls the set before anything runs; a change of a value runs nothing that is applied again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_declared_is_named() {
    let shop = Shop::open().await;
    shop.files("sql", &[("001_a.sql", "CREATE TABLE a ();"), ("002_b.sql", "CREATE TABLE :\"tenat\" ();")]).await;
    shop.apply(json!({"variables": [{"name": "tenant", "value": "acme"}]})).await;
    let set = shop.until("InvalidSource").await;
    let expected =
        "002_b.sql:1:14: :\"tenat\" is a variable, and spec.variables declares no tenat (did you mean tenant?)";
    assert!(message(&set).contains(expected), "{}", message(&set));
    assert_eq!(shop.ask("SELECT to_regclass('a') IS NULL").await, "t");
    shop.apply(json!({"variables": [{"name": "tenat", "value": ""}]})).await;
    let set = shop.until("InvalidSpec").await;
    assert!(message(&set).contains("can't become a name"), "{}", message(&set));
    shop.apply(json!({"variables": [{"name": "tenat", "value": "acme"}]})).await;
    shop.until("UpToDate").await;
    shop.apply(json!({"variables": [{"name": "tenat", "value": "other"}]})).await;
    shop.until_that("shop", "the new spec is looked at", |set| {
        is_ready(set) && set.status.as_ref().and_then(|status| status.observed_generation) == set.metadata.generation
    })
    .await;
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, "2");
    shop.close().await;
}

/// A Secret that goes away is waited for at the next look, as the database's is.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_gone_is_waited_for() {
    let shop = Shop::open().await;
    shop.files("sql", &[("001_it.sql", "SELECT :'tenant';")]).await;
    shop.secret("values", &[("k", "x")]).await;
    let from = json!({"secretKeyRef": {"name": "values", "key": "k"}});
    shop.apply(tenant(&from)).await;
    shop.until("UpToDate").await;
    let secrets: Api<Secret> = Api::namespaced(shop.client.clone(), &shop.namespace);
    secrets.delete("values", &DeleteParams::default()).await.expect("it is deleted");
    shop.files("sql", &[("001_it.sql", "SELECT :'tenant';"), ("002_it.sql", "SELECT 2;")]).await;
    shop.until("WaitingForSecret").await;
    shop.secret("values", &[("k", "x")]).await;
    shop.until("UpToDate").await;
    shop.close().await;
}
