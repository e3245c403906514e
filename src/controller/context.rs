//! What every reconcile shares.

use std::sync::Arc;

use kube::{
    Client,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    apart::LeftBehind, events::Events, health::Health, lease::Leadership, looks::Looks, metrics::Metrics,
    registry::Registry,
};
use crate::{
    api::v1alpha1::MigrationSet,
    core::{
        decide::RecordedOwner,
        desired::{HistoryLocation, Owner},
        hosts::AllowedHosts,
    },
    execute::Stop,
};

/// What every reconcile shares.
pub(super) struct Context {
    /// The API server.
    pub client: Client,
    /// MigrationSets as the watch shows them.
    pub store: Store<MigrationSet>,
    /// What is remembered of each.
    pub registry: Registry,
    /// Where events are told.
    pub events: Events,
    /// A place for each look at a database.
    pub looks: Looks,
    /// Where work goes on whose object is there no more.
    pub leaving: mpsc::Sender<LeftBehind>,
    /// Which hosts may be connected to.
    pub allowed_hosts: AllowedHosts,
    /// Something was seen of a set, for whoever waits until one is Ready.
    pub sets_changed: Notify,
    /// Whether the operator itself is to stop.
    pub stop: watch::Receiver<Stop>,
    /// Whether this process is the one that works.
    pub leadership: Leadership,
    /// What the probes are told.
    pub health: Arc<Health>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// The MigrationSet of that name, as the watch shows it.
    pub fn set(&self, name: &Owner) -> Option<Arc<MigrationSet>> {
        self.store.get(&reference(name))
    }

    /// Whether work may begin: the operator isn't to stop, and no other one works.
    pub fn may_work(&self) -> bool {
        !self.is_stopping() && self.leadership.may_work()
    }

    /// Whether the operator itself is to stop.
    fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Returns when the operator itself is to stop.
    pub async fn stopping(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|stop| *stop != Stop::No).await.is_err() {
            // Nobody is left who could ask for it.
            std::future::pending::<()>().await;
        }
    }

    /// What the cluster knows of the recorded owner of a history.
    pub fn recorded_owner(&self, owner: &str, history: &HistoryLocation) -> RecordedOwner {
        let Some(owner) = parse_owner(owner) else { return RecordedOwner::OutOfReach };
        if !self.registry.knows(&owner.namespace) {
            return RecordedOwner::OutOfReach;
        }
        match self.set(&owner) {
            None => RecordedOwner::Absent,
            Some(other) => {
                let set = other.spec.history.set.as_ref().unwrap_or(&owner.name);
                if other.spec.history.schema == history.schema && *set == history.set {
                    RecordedOwner::SameHistory
                } else {
                    RecordedOwner::OtherHistory
                }
            }
        }
    }
}

/// A name as the store keeps it.
pub(super) fn reference(name: &Owner) -> ObjectRef<MigrationSet> {
    ObjectRef::new(&name.name).within(&name.namespace)
}

/// An owner as a history records it.
pub(super) fn parse_owner(text: &str) -> Option<Owner> {
    let (namespace, name) = text.split_once('/')?;
    Some(Owner { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// The clock of a reconcile: everything below is given the time.
#[allow(clippy::disallowed_methods, reason = "a reconcile is where the time comes in")]
pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
