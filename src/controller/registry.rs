//! What the operator knows of each MigrationSet between two looks, and what has happened to it meanwhile.
//!
//! Everything here can be lost: a restart finds the same in the database, the source and the status. Locks are held for
//! look-ups alone, never over an await.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt;
use tokio::{sync::watch, time::Instant};

use super::{
    index::{Index, Match},
    tokens::Tokens,
};
use crate::{
    api::v1alpha1::{MigrationSet, MigrationSetStatus},
    core::{decide::Memory, desired::Owner},
    execute::Stop,
    source::{Snapshot, Stamp},
};

/// What is remembered of a set from one look to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    /// What the state machine remembers.
    pub memory: Memory,
    /// The last look that came to an end; None before the first.
    pub look: Option<PastLook>,
    /// The content last read.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The Secrets last read; None for one that wasn't there.
    pub secrets: BTreeMap<String, Option<Stamp>>,
    /// The status last written, as the API server answered.
    pub written: Option<Written>,
    /// The recorded owner that is in the way.
    pub conflict_with: Option<Owner>,
    /// Status writes that failed in a row.
    pub unwritten: u32,
}

/// A look that came to an end.
#[derive(Debug, Clone)]
pub(super) struct PastLook {
    /// `metadata.generation` that it was for.
    pub generation: i64,
    /// The content that it has seen, if it came so far.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The annotations that it has seen.
    pub tokens: Tokens,
    /// When it ended.
    pub at: Instant,
    /// When the next one is due.
    pub next: Option<Instant>,
    /// When the Secret is to be read, before that.
    pub next_secret: Option<Instant>,
    /// Looks in a row that found a status which somebody else had written.
    pub mended: u32,
}

/// A status, in the version that it has.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// `metadata.resourceVersion` of the object with it.
    pub resource_version: String,
    /// The status.
    pub status: MigrationSetStatus,
}

/// What has happened since the last look began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Happened {
    /// A ConfigMap of the source is another than the one read.
    pub source: Seen,
    /// Something else concerns the set: an owner in the way has changed.
    pub other: Seen,
}

/// Whether something was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Seen {
    #[default]
    No,
    Yes,
}

/// Every MigrationSet that is watched.
#[derive(Debug, Default)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    index: Index,
    entries: HashMap<Owner, Entry>,
    /// Namespaces of which every MigrationSet was seen; the empty name for all of them.
    listed: HashSet<String>,
    /// Executions whose object has gone, or another has its name: they are asked to stop, and the last call reaches them.
    left: Vec<watch::Sender<Stop>>,
}

#[derive(Debug, Default)]
struct Entry {
    uid: String,
    happened: Happened,
    remembered: Remembered,
    /// What the object itself asks of an execution: `spec.suspend` and deletion stop it.
    asked: Stop,
    /// Where an execution under way hears it.
    stop: Option<watch::Sender<Stop>>,
    /// Dropped with the entry: whoever works for the object hears that it is there no more.
    present: watch::Sender<()>,
}

/// `namespace/name` of an object.
pub(super) fn name_of(object: &impl ResourceExt) -> Owner {
    Owner { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves at worst one entry half-written, which the next look makes whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A MigrationSet was seen, new or changed. Answers with the sets that it was in the way of.
    pub fn seen(&self, set: &MigrationSet) -> Vec<Owner> {
        let name = name_of(set);
        let mut inner = self.lock();
        inner.index.note(&name, set.source_ref(), set.seeds_ref());
        let Inner { entries, left, .. } = &mut *inner;
        let entry = entries.entry(name.clone()).or_default();
        let uid = set.uid().unwrap_or_default();
        if entry.uid != uid {
            let before = std::mem::replace(entry, Entry { uid, ..Entry::default() });
            before.leave(left);
        }
        entry.asked = if set.spec.suspend || set.metadata.deletion_timestamp.is_some() {
            Stop::BetweenMigrations
        } else {
            Stop::No
        };
        entry.stop(entry.asked);
        inner.wake_those_blocked_by(&name)
    }

    /// A MigrationSet is gone. Answers with the sets that it was in the way of.
    pub fn gone(&self, name: &Owner) -> Vec<Owner> {
        let mut inner = self.lock();
        inner.index.forget(name);
        if let Some(entry) = inner.entries.remove(name) {
            entry.leave(&mut inner.left);
        }
        inner.wake_those_blocked_by(name)
    }

    /// All MigrationSets of a namespace (or of all) have been seen.
    pub fn listed(&self, namespace: Option<&str>) {
        self.lock().listed.insert(namespace.unwrap_or_default().to_owned());
    }

    /// Whether every MigrationSet of a namespace has been seen, so that one that wasn't isn't there.
    pub fn knows(&self, namespace: &str) -> bool {
        let inner = self.lock();
        inner.listed.contains(namespace) || inner.listed.contains("")
    }

    /// A ConfigMap was seen in this version, or was deleted (None). Answers with the sets whose content it changes.
    pub fn config_map(&self, map: &Owner, labels: &BTreeMap<String, String>, stamp: Option<&Stamp>) -> Vec<Owner> {
        let mut inner = self.lock();
        let Inner { index, entries, listed: _, left: _ } = &mut *inner;
        let by_name = index.by_name(map).map(|set| (set, Match::Yes));
        let mut concerned = Vec::new();
        for (set, matches) in by_name.chain(index.by_selector(&map.namespace, labels)) {
            let Some(entry) = entries.get_mut(&set) else { continue };
            let wanted = stamp.filter(|_| matches == Match::Yes);
            if entry.has_read(&map.name, wanted) {
                continue;
            }
            entry.happened.source = Seen::Yes;
            concerned.push(set);
        }
        concerned
    }

    /// All ConfigMaps of a namespace (or of all) were listed. Answers with the sets that read one which is gone.
    pub fn config_maps_listed(&self, namespace: Option<&str>, present: &HashSet<Owner>) -> Vec<Owner> {
        let mut inner = self.lock();
        let mut concerned = Vec::new();
        for (set, entry) in &mut inner.entries {
            if namespace.is_some_and(|namespace| namespace != set.namespace) {
                continue;
            }
            let Some(snapshot) = &entry.remembered.snapshot else { continue };
            let all_there = snapshot
                .stamps
                .keys()
                .all(|name| present.contains(&Owner { namespace: set.namespace.clone(), name: name.clone() }));
            if !all_there {
                entry.happened.source = Seen::Yes;
                concerned.push(set.clone());
            }
        }
        concerned
    }

    /// Whether any set reads this ConfigMap, by name or by label.
    pub fn refers_to(&self, map: &Owner) -> bool {
        let inner = self.lock();
        inner.index.by_name(map).next().is_some()
            || inner.index.by_selector(&map.namespace, &BTreeMap::new()).next().is_some()
    }

    /// A reconcile begins: what is remembered, and what has happened, which is taken away with it. Content that is known to
    /// be another by now isn't remembered any more: a look that ends before it reads it leaves it to the next one.
    pub fn begin(&self, name: &Owner, uid: &str) -> (Remembered, Happened) {
        let mut inner = self.lock();
        match inner.entries.get_mut(name) {
            Some(entry) if entry.uid == uid => {
                let happened = std::mem::take(&mut entry.happened);
                if happened.source == Seen::Yes {
                    entry.remembered.snapshot = None;
                }
                (entry.remembered.clone(), happened)
            }
            Some(_) | None => (Remembered::default(), Happened::default()),
        }
    }

    /// Changes what is remembered, unless the object has gone meanwhile.
    pub fn remember(&self, name: &Owner, uid: &str, change: impl FnOnce(&mut Remembered)) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid == uid) {
            change(&mut entry.remembered);
        }
    }

    /// A reconcile couldn't write its status: what had happened has still to be looked at.
    pub fn give_back(&self, name: &Owner, uid: &str, happened: Happened) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid == uid) {
            if happened.source == Seen::Yes {
                entry.happened.source = Seen::Yes;
            }
            entry.happened.other = Seen::Yes;
        }
    }

    /// An execution begins: the receiver hears when it is to stop. It is to stop at once when the object is gone.
    pub fn executing(&self, name: &Owner, uid: &str, stop: Stop) -> watch::Receiver<Stop> {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid == uid) else {
            return watch::channel(stop.max(Stop::BetweenMigrations)).1;
        };
        let (sender, receiver) = watch::channel(stop.max(entry.asked));
        entry.stop = Some(sender);
        receiver
    }

    /// An execution has ended.
    pub fn executed(&self, name: &Owner, uid: &str) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get_mut(name).filter(|entry| entry.uid == uid) {
            entry.stop = None;
        }
    }

    /// Asks everything that is executing to stop.
    pub fn stop_all(&self, stop: Stop) {
        let inner = self.lock();
        for sender in inner.entries.values().filter_map(|entry| entry.stop.as_ref()).chain(&inner.left) {
            ask(sender, stop);
        }
    }

    /// Returns when the object is there no more, or another has its name.
    pub fn departure(&self, name: &Owner, uid: &str) -> impl Future<Output = ()> + Send + use<> {
        let present = {
            let inner = self.lock();
            inner.entries.get(name).filter(|entry| entry.uid == uid).map(|entry| entry.present.subscribe())
        };
        async move {
            if let Some(mut present) = present {
                // Nothing is ever sent: the end of the sender is the message.
                while present.changed().await.is_ok() {}
            }
        }
    }

    /// Work for an object that is there no more has ended: the one that has its name by now, if any, may have waited for it.
    pub fn left_behind(&self, name: &Owner) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get_mut(name) {
            entry.happened.other = Seen::Yes;
        }
    }
}

impl Inner {
    fn wake_those_blocked_by(&mut self, owner: &Owner) -> Vec<Owner> {
        let blocked =
            self.entries.iter_mut().filter(|(_, entry)| entry.remembered.conflict_with.as_ref() == Some(owner));
        blocked
            .map(|(set, entry)| {
                entry.happened.other = Seen::Yes;
                set.clone()
            })
            .collect()
    }
}

impl Entry {
    /// Whether what was read of a ConfigMap is what there is now (None: it isn't there, or doesn't belong to the source),
    /// or newer than what the watch has seen so far. Before anything was read, nothing is known to be.
    fn has_read(&self, map: &str, there: Option<&Stamp>) -> bool {
        let Some(snapshot) = &self.remembered.snapshot else { return false };
        match (snapshot.stamps.get(map), there) {
            (None, None) => true,
            (Some(read), Some(there)) => read.uid == there.uid && !read.is_older_than(there),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    fn stop(&self, stop: Stop) {
        if let Some(sender) = &self.stop {
            ask(sender, stop);
        }
    }

    /// The object has gone: what executes for it is asked to stop, and can still be asked for more.
    fn leave(self, left: &mut Vec<watch::Sender<Stop>>) {
        left.retain(|sender| !sender.is_closed());
        if let Some(sender) = self.stop {
            ask(&sender, Stop::BetweenMigrations);
            left.push(sender);
        }
    }
}

/// Asks an execution to stop, and never for less than it was asked before.
fn ask(sender: &watch::Sender<Stop>, stop: Stop) {
    sender.send_if_modified(|asked| {
        let more = stop > *asked;
        *asked = stop.max(*asked);
        more
    });
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
