//! `kubectl dunlin report`: what is known of a MigrationSet, as one YAML document that can be pasted.
//!
//! No Secret is read. Of ConfigMaps it prints names and keys, never what stands in them.

use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use super::super::{CliError, output};
use super::{
    access::Cluster,
    args::NameArgs,
    error::ClusterError,
    output::{DocumentFormat, document},
    redact, status,
};
use crate::api::v1alpha1::MigrationSet;
use crate::core::reference::SourceRef;

/// Prints the report. What can't be read besides the MigrationSet is named in it.
pub(super) async fn run(cluster: &Cluster, args: &NameArgs) -> Result<(), CliError> {
    let objects = cluster.objects();
    let object = cluster.answer(objects.get(&args.name)).await?;
    let mut unread = Vec::new();
    let mut note = |what: &str, error: ClusterError| {
        unread.push(format!("{what}: {error}"));
        Value::Array(Vec::new())
    };
    let events = events(cluster, &object).await.unwrap_or_else(|error| note("events", error));
    let config_maps = config_maps(cluster, &object).await.unwrap_or_else(|error| note("ConfigMaps", error));
    let kubernetes = match cluster.answer(cluster.client.apiserver_version()).await {
        Ok(version) => Value::String(version.git_version),
        Err(error) => {
            note("the version of the API server", error);
            Value::Null
        }
    };
    let mut shown = status::shown(&object)?;
    redact::object(&mut shown);
    let report = json!({
        "versions": {"dunlin": env!("CARGO_PKG_VERSION"), "kubernetes": kubernetes},
        "migrationSet": shown,
        "events": events,
        "configMaps": config_maps,
        "unread": unread,
    });
    output::print(&document(&report, DocumentFormat::Yaml)?)
}

/// The events about the object, oldest first.
async fn events(cluster: &Cluster, object: &DynamicObject) -> Result<Value, ClusterError> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let about = format!("involvedObject.uid={}", object.uid().unwrap_or_default());
    let mut events = cluster.answer(api.list(&ListParams::default().fields(&about))).await?.items;
    events.sort_by_key(|event| event.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let told = events.into_iter().map(|event| {
        let Event { type_, reason, message, count, first_timestamp, event_time, last_timestamp, series, .. } = event;
        let first = first_timestamp.map(|time| time.0).or(event_time.map(|time| time.0));
        let again = series.and_then(|series| series.last_observed_time).map(|time| time.0);
        json!({
            "type": type_, "reason": reason, "count": count,
            "first": first.map(|time| time.to_string()),
            "last": last_timestamp.map(|time| time.0).or(again).or(first).map(|time| time.to_string()),
            "message": message.as_deref().map(redact::note),
        })
    });
    Ok(told.collect())
}

/// The ConfigMaps that the source names or selects, and those of the seeds: which content is there, and how it is called.
async fn config_maps(cluster: &Cluster, object: &DynamicObject) -> Result<Value, ClusterError> {
    let set: Option<MigrationSet> = object.clone().try_parse().ok();
    let Some(set) = set else { return Ok(Value::Array(Vec::new())) };
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut told = Vec::new();
    let mut names = Vec::new();
    match set.source_ref() {
        None => {}
        Some(SourceRef::ConfigMaps(of_source)) => names = of_source,
        Some(SourceRef::Selector(selector)) => {
            let query = ListParams::default().labels(&selector.to_string());
            told.extend(cluster.answer(api.list(&query)).await?.items.iter().map(outline));
        }
    }
    names.extend(set.seeds_ref().into_iter().flat_map(|seeds| seeds.config_maps));
    for name in names {
        told.push(match cluster.answer(api.get_opt(&name)).await? {
            Some(map) => outline(&map),
            None => json!({"name": name, "present": false}),
        });
    }
    Ok(Value::Array(told))
}

fn outline(map: &ConfigMap) -> Value {
    let text = map.data.iter().flat_map(|data| data.keys());
    let binary = map.binary_data.iter().flat_map(|data| data.keys());
    let mut keys: Vec<&String> = text.chain(binary).collect();
    keys.sort();
    json!({"name": map.name_any(), "present": true, "resourceVersion": map.resource_version(), "keys": keys})
}
