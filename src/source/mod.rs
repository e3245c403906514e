//! Where files come from: each source is fetched into a [`Bundle`](crate::core::bundle::Bundle), and read from there.
//!
//! A source knows names and bytes. What they mean is the core's; whether they are what is wanted is the shell's.

pub mod config_map;
pub mod dir;
mod files;
pub mod seeds;

use std::{collections::BTreeMap, sync::Arc};

use crate::core::{
    bundle::Digest,
    format::Format,
    migration::MigrationDir,
    outcome::Failure,
    reference::{SeedsRef, SourceRef},
    seed::Seed,
};

/// Content as it was read at one moment, with what it takes to tell whether it has changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What was read.
    pub reference: SourceRef,
    /// Which seeds were read with it.
    pub seeds: Option<SeedsRef>,
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
    /// The seeds that belong to it, if any do.
    pub seeds: SeedFiles,
}

/// Seeds, and the digest of the files that they were read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeedFiles {
    /// The digest of all files; None where no seeds are asked for.
    pub digest: Option<Digest>,
    /// The seeds, in the order in which they run.
    pub seeds: Arc<[Seed]>,
}

impl Stamp {
    /// Whether the other is a later version of the same object. Resource versions that aren't numbers can't be ordered:
    /// whatever differs counts as later then.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        is_older(&self.resource_version, &other.resource_version)
    }
}

/// Whether one resource version is older than another of the same object (Kubernetes API concepts, "Resource versions":
/// comparable as decimal numbers, KEP-5504).
#[must_use]
pub fn is_older(one: &str, other: &str) -> bool {
    match (one.parse::<u128>(), other.parse::<u128>()) {
        (Ok(one), Ok(other)) => one < other,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => one != other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_versions_compare_as_numbers_and_else_by_being_the_same() {
        for (one, other, expected) in [
            ("9", "10", true),
            ("10", "9", false),
            ("10", "10", false),
            ("a", "b", true),
            ("b", "a", true),
            ("a", "a", false),
        ] {
            assert_eq!(is_older(one, other), expected, "{one} {other}");
        }
    }
}
