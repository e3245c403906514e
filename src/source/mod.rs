//! Where files come from: each source is fetched into a [`Bundle`](crate::core::bundle::Bundle), and read from there.
//!
//! A source knows names and bytes. What they mean is the core's; whether they are what is wanted is the shell's.

pub mod config_map;

use std::{collections::BTreeMap, sync::Arc};

use crate::core::{bundle::Digest, format::Format, migration::MigrationDir, outcome::Failure, reference::SourceRef};

/// Content as it was read at one moment, with what it takes to tell whether it has changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What was read.
    pub reference: SourceRef,
    /// How it was read.
    pub format: Format,
    /// The objects that it was read from, by name, each with the version that was read.
    pub stamps: BTreeMap<String, Stamp>,
    /// What they held.
    pub content: Result<Content, Failure>,
}

/// Which object, in which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// A migration directory, and the digest of the files that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The digest of all files.
    pub digest: Digest,
    /// How many files there are.
    pub files: usize,
    /// The migrations.
    pub dir: Arc<MigrationDir>,
}

impl Snapshot {
    /// Whether it was read from exactly this version of that object.
    #[must_use]
    pub fn holds(&self, name: &str, uid: &str, resource_version: &str) -> bool {
        self.stamps.get(name).is_some_and(|stamp| stamp.uid == uid && stamp.resource_version == resource_version)
    }
}
