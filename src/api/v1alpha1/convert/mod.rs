//! From what stands in a MigrationSet to what the core works with, or everything that is wrong with it.
//!
//! Every field is taken apart by name, so that a new one can't be forgotten: what isn't honoured is refused.

mod hooks;
mod policy;
mod problems;
mod references;
mod resolutions;
#[cfg(test)]
mod tests;
mod variables;

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;

use super::{
    duration::parse_duration,
    spec::{MigrationSet, MigrationSetSpec},
};
use crate::core::{
    adopt::Edited,
    desired::{Audience, Desired, OnChecksumDrift, OnMissing, Owner, SessionSettings},
    reference::{DatabaseRef, SeedsRef, SourceRef, ValueRef, VariableRef},
    variables::Variables,
};
use problems::Problems;
pub use problems::{InvalidSpec, Problem};

/// The annotation that approves a plan by its digest.
pub const APPROVED_PLAN_ANNOTATION: &str = "dunlin.dev/approved-plan";

/// The annotation that names the recorded owner from whom a history is taken over: `<namespace>/<name>`.
pub const TAKE_OVER_ANNOTATION: &str = "dunlin.dev/take-over";

/// The annotation that decides about a run: `<run>=<action>`.
pub const RESOLVE_ANNOTATION: &str = "dunlin.dev/resolve";

/// A MigrationSet, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What the engine is to do.
    pub desired: Desired,
    /// Where the connection parameters are.
    pub database: DatabaseRef,
    /// Where the migration files are.
    pub source: SourceRef,
    /// Where the seeds are, if any are asked for.
    pub seeds: Option<SeedsRef>,
    /// The variables, and where their values are.
    pub variables: Vec<VariableRef>,
}

/// Reads what the engine is to do out of a MigrationSet.
///
/// # Errors
/// [`InvalidSpec`] with every field that can't be honoured.
pub fn desired(set: &MigrationSet) -> Result<Desired, InvalidSpec> {
    parse(set).map(|parsed| parsed.desired)
}

impl TryFrom<&MigrationSet> for Desired {
    type Error = InvalidSpec;

    fn try_from(set: &MigrationSet) -> Result<Self, InvalidSpec> {
        desired(set)
    }
}

/// Reads a MigrationSet: what to do, and what it refers to.
///
/// # Errors
/// [`InvalidSpec`] with every field that can't be honoured.
pub fn parse(set: &MigrationSet) -> Result<Parsed, InvalidSpec> {
    let mut problems = Problems::default();
    let owner = Owner { namespace: set.namespace().unwrap_or_default(), name: set.name_any() };
    let MigrationSetSpec {
        suspend,
        database,
        source,
        history,
        target,
        policy,
        approval,
        resolutions,
        variables,
        seeds,
        hooks,
        interval,
    } = &set.spec;

    let (database, role, search_path) = references::read_database(database);
    let (source, digest, format) = references::read_source(source, &mut problems);
    let mut history = policy::read_history(history, set, &mut problems);
    let target = policy::read_target(target, &mut problems);
    let (policy, patience) = policy::read_policy(policy, &mut problems);
    if let (Some(adopt), OnChecksumDrift::Report) = (&mut history.adopt, policy.on_checksum_drift) {
        adopt.edited = Edited::Accept;
    }
    if policy.on_missing == OnMissing::Rollback
        && digest.is_none()
        && source.as_ref().is_some_and(SourceRef::may_be_several)
    {
        problems.add(
            "spec.policy.onMissing",
            "Rollback with several ConfigMaps or a selector needs spec.source.digest, so that a ConfigMap that is late doesn't count as \
             migrations that are gone",
        );
    }
    let approval = policy::read_approval(approval, set, &mut problems);
    let (mut resolutions, task_resolutions) = resolutions::read_resolutions(set, resolutions, &mut problems);
    resolutions.extend(resolutions::read_annotation(set, &mut problems));
    let seeds = seeds.as_ref().map(|seeds| references::read_seeds(seeds, source.as_ref(), &mut problems));
    let variables = variables::read_variables(variables, &mut problems);
    let hooks = hooks.as_ref().map(|hooks| hooks::read_hooks(hooks, &mut problems)).unwrap_or_default();
    let interval = problems.take("spec.interval", parse_duration(interval)).unwrap_or_default();
    if interval < Duration::from_secs(1) && !problems.about("spec.interval") {
        problems.add("spec.interval", "shorter than a second: write a duration from 1s to 24h");
    }

    match (source, problems.0.is_empty()) {
        (Some(source), true) => Ok(Parsed {
            desired: Desired {
                owner,
                audience: Audience::MigrationSet,
                generation: set.metadata.generation.unwrap_or_default(),
                suspend: *suspend,
                digest,
                format,
                history,
                target,
                session: SessionSettings {
                    role,
                    search_path,
                    lock_timeout_ms: patience.lock_timeout_ms,
                    statement_timeout_ms: patience.statement_timeout_ms,
                    lock_retries: patience.lock_retries,
                },
                policy,
                approval,
                resolutions,
                task_resolutions,
                hooks,
                // They are read with the content.
                seeds: Arc::default(),
                variables: Variables::default(),
                interval,
            },
            database,
            source,
            seeds,
            variables,
        }),
        _ => Err(InvalidSpec { problems: problems.0 }),
    }
}

impl MigrationSet {
    /// Where the migration files are, whatever else is wrong with the spec: for an index from ConfigMaps to the sets
    /// that read them. None where the spec doesn't say it, which [`parse`] reports.
    #[must_use]
    pub fn source_ref(&self) -> Option<SourceRef> {
        references::read_source(&self.spec.source, &mut Problems::default()).0
    }

    /// Where the seeds are, whatever else is wrong with the spec.
    #[must_use]
    pub fn seeds_ref(&self) -> Option<SeedsRef> {
        self.spec.seeds.as_ref().map(|seeds| references::read_seeds(seeds, None, &mut Problems::default()))
    }

    /// Where the connection parameters are, whatever else is wrong with the spec.
    #[must_use]
    pub fn database_ref(&self) -> DatabaseRef {
        references::read_database(&self.spec.database).0
    }

    /// Where the values of its variables are, whatever else is wrong with the spec.
    #[must_use]
    pub fn variable_refs(&self) -> Vec<VariableRef> {
        variables::read_variables(&self.spec.variables, &mut Problems::default())
    }

    /// The ConfigMaps that hold values of its variables.
    #[must_use]
    pub fn variable_config_maps(&self) -> Vec<String> {
        let names = self.variable_refs().into_iter().filter_map(|variable| match variable.value {
            ValueRef::ConfigMap(reference) => Some(reference.config_map),
            ValueRef::Given(_) | ValueRef::Secret(_) => None,
        });
        names.collect()
    }
}
