//! What the API server shows, as requests to reconcile: MigrationSets whole, ConfigMaps by their metadata alone.
//!
//! Of a ConfigMap nothing is kept: its event is compared with the version that was read, and forgotten. A watch that
//! breaks is begun again by itself, with pauses.

use std::{collections::HashSet, convert::Infallible, pin::Pin, time::Duration};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        controller::ReconcileRequest,
        reflector::store::Writer,
        utils::Backoff,
        watcher::{self, DefaultBackoff, Event, watcher},
    },
};
use std::sync::Arc;
use tokio::sync::mpsc;

use super::{
    context::{Context, reference},
    health::Watched,
    registry::name_of,
};
use crate::{
    api::v1alpha1::{MigrationSet, keep_managers_of_decisions},
    core::desired::Owner,
    source::Stamp,
};

/// Objects to a page of a list: a ConfigMap's metadata may be large, and all of a page are in memory at once.
const PAGE: u32 = 100;
/// The longest pause before a watch that broke is begun again: what a change waits for once the API server is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Requests to reconcile; it never ends and never fails.
pub(super) type Requests = Pin<Box<dyn Stream<Item = Result<ReconcileRequest<MigrationSet>, Infallible>> + Send>>;

/// Watches MigrationSets and ConfigMaps in these namespaces (none: in all of them); whoever is woken is looked at as well.
pub(super) fn requests(
    context: &Arc<Context>,
    namespaces: &[String],
    mut writer: Writer<MigrationSet>,
    mut woken: mpsc::Receiver<Owner>,
) -> Requests {
    // What the store shows is complete enough once the registry knows the namespace; nothing waits for it as a whole.
    writer.apply_watcher_event(&Event::Init);
    writer.apply_watcher_event(&Event::InitDone);
    let scopes = scopes(namespaces);
    let sets = stream::select_all(scopes.iter().map(|scope| {
        let api: Api<MigrationSet> = api(&context.client, scope.as_deref());
        let scope = scope.clone();
        let events = watcher(api, watcher::Config::default().page_size(PAGE)).backoff(Pauses::default());
        events.map(move |event| (scope.clone(), event)).boxed()
    }));
    let mut shown = Sets { context: Arc::clone(context), writer, listing: HashSet::new() };
    let of_sets = sets.map(move |(scope, event)| match event {
        Ok(event) => shown.on(scope.as_deref(), event),
        Err(error) => {
            complain("MigrationSets", scope.as_deref(), &error);
            Vec::new()
        }
    });
    let maps = stream::select_all(scopes.into_iter().map(|scope| {
        let api: Api<PartialObjectMeta<ConfigMap>> = api(&context.client, scope.as_deref());
        let events = watcher(api, watcher::Config::default().page_size(PAGE)).backoff(Pauses::default());
        let mut shown = ConfigMaps { context: Arc::clone(context), scope, listing: HashSet::new() };
        events
            .map(move |event| match event {
                Ok(event) => shown.on(event),
                Err(error) => {
                    complain("ConfigMaps", shown.scope.as_deref(), &error);
                    Vec::new()
                }
            })
            .boxed()
    }));
    let woken = stream::poll_fn(move |task| woken.poll_recv(task).map(|name| name.map(|name| vec![name])));
    let elected = stream::once(elected(Arc::clone(context)));
    let names = stream::select(stream::select(of_sets, maps), stream::select(woken, elected)).flat_map(stream::iter);
    let context = Arc::clone(context);
    let names = names.inspect(move |name| {
        // Nobody waits for a standby.
        if context.may_work() {
            context.metrics.asked(name);
        }
    });
    names.map(|name| Ok(ReconcileRequest::from(reference(&name)))).boxed()
}

/// Every set that there is, once this process has come to lead: what was asked for before was left to another.
async fn elected(context: Arc<Context>) -> Vec<Owner> {
    context.leadership.begins().await;
    context.store.state().iter().map(|set| name_of(&**set)).collect()
}

/// kube's growing, jittered pauses, with a cap of our own.
#[derive(Default)]
pub(super) struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// What is watched apart: each of the namespaces, or all of them at once.
pub(super) fn scopes(namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}

pub(super) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

pub(super) fn complain(what: &str, namespace: Option<&str>, error: &watcher::Error) {
    let namespace = namespace.unwrap_or("all namespaces");
    tracing::warn!(%namespace, %error, "watching {what} is interrupted; it is tried again");
}

/// Keeps the store of MigrationSets, from one watch or from several.
struct Sets {
    context: Arc<Context>,
    writer: Writer<MigrationSet>,
    /// What a list under way has shown so far.
    listing: HashSet<Owner>,
}

impl Sets {
    fn on(&mut self, scope: Option<&str>, event: Event<MigrationSet>) -> Vec<Owner> {
        match event {
            Event::Init => {
                self.listing.retain(|name| !within(scope, name));
                Vec::new()
            }
            Event::InitApply(set) => {
                self.listing.insert(name_of(&set));
                self.applied(set)
            }
            Event::InitDone => {
                self.context.registry.listed(scope);
                self.context.health.seen(Watched::MigrationSets, scope);
                let gone: Vec<Arc<MigrationSet>> = self.context.store.state_filter(|set| {
                    let name = name_of(set);
                    within(scope, &name) && !self.listing.contains(&name)
                });
                self.listing.retain(|name| !within(scope, name));
                gone.iter().flat_map(|set| self.deleted(set)).collect()
            }
            Event::Apply(set) => self.applied(set),
            Event::Delete(set) => self.deleted(&set),
        }
    }

    fn applied(&mut self, mut set: MigrationSet) -> Vec<Owner> {
        // What is left of the rest is a half of an object that nobody here reads.
        keep_managers_of_decisions(&mut set);
        let mut concerned = self.context.registry.seen(&set);
        concerned.push(name_of(&set));
        self.writer.apply_watcher_event(&Event::Apply(set));
        self.context.sets_changed.notify_one();
        concerned
    }

    fn deleted(&mut self, set: &MigrationSet) -> Vec<Owner> {
        self.writer.apply_watcher_event(&Event::Delete(set.clone()));
        let name = name_of(set);
        let concerned = self.context.registry.gone(&name);
        // Behind the registry, which no look adds to any more.
        self.context.metrics.forget(&name);
        concerned
    }
}

/// Compares the metadata of ConfigMaps with what was read of them.
struct ConfigMaps {
    context: Arc<Context>,
    scope: Option<String>,
    /// Those that anybody refers to, and that a list under way has shown so far.
    listing: HashSet<Owner>,
}

impl ConfigMaps {
    fn on(&mut self, event: Event<PartialObjectMeta<ConfigMap>>) -> Vec<Owner> {
        let registry = &self.context.registry;
        match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::InitApply(map) => {
                let name = name_of(&map);
                let concerned = registry.config_map(&name, map.labels(), Some(&stamp(&map)));
                if registry.refers_to(&name) {
                    self.listing.insert(name);
                }
                concerned
            }
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                self.context.health.seen(Watched::ConfigMaps, self.scope.as_deref());
                registry.config_maps_listed(self.scope.as_deref(), &listing)
            }
            Event::Apply(map) => registry.config_map(&name_of(&map), map.labels(), Some(&stamp(&map))),
            Event::Delete(map) => registry.config_map(&name_of(&map), map.labels(), None),
        }
    }
}

fn stamp(map: &PartialObjectMeta<ConfigMap>) -> Stamp {
    Stamp { uid: map.uid().unwrap_or_default(), resource_version: map.resource_version().unwrap_or_default() }
}

fn within(scope: Option<&str>, name: &Owner) -> bool {
    scope.is_none_or(|scope| scope == name.namespace)
}
