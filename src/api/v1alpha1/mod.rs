//! `dunlin.dev/v1alpha1`: the MigrationSet as users write and read it.
//!
//! The types hold what stands in the object, unchecked, so that no object can keep the operator from reading the
//! others; [`parse`] turns them into the core's, or says everything that is wrong with them.

mod convert;
mod crd;
mod database;
mod duration;
mod extras;
mod history;
mod managers;
mod policy;
mod rules;
mod source;
mod spec;
mod status;

pub use convert::{
    APPROVED_PLAN_ANNOTATION, InvalidSpec, Parsed, Problem, RESOLVE_ANNOTATION, TAKE_OVER_ANNOTATION, desired, parse,
};
pub use crd::crd;
pub use database::{
    Database, DatabaseKeys, DatabaseSecretReference, LocalReference, SecretKeyReference, Tls, TlsModeName,
};
pub use duration::parse_duration;
pub use extras::{Hook, Hooks, HttpHook, KeyReference, Seeds, ValueSource, Variable};
pub use history::{Adopt, AdoptFrom, HistorySpec};
pub use managers::{Key, Manager, Operation, keep_managers_of_decisions, managers};
pub use policy::{
    Approval, ApprovalRequired, OnChecksumDriftPolicy, OnMissingPolicy, OnSchemaDriftPolicy, OutOfOrderPolicy,
    PolicySpec, ResolutionAction, ResolutionSpec, RollbackPolicy, TransactionPolicy,
};
pub use source::{FormatName, Selector, SelectorOperator, SelectorRequirement, Source};
pub use spec::{MigrationSet, MigrationSetSpec};
pub use status::{
    AppliedStatus, Blocker, ChecksumDriftStatus, DriftStatus, FailureStatus, MigrationSetStatus, PlanStatus,
    RecentMigration, RunningStatus, SourceStatus, StepStatus,
};
