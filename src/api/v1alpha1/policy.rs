//! `spec.policy`, `spec.approval` and `spec.resolutions`: what is allowed, and what a person decided.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// What is allowed, what stops the set, and how patient a migration is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// Whether down sections may run, when the target is below the current version or `onMissing` is `Rollback`. `Deny`
    /// stops the set (`RollbackDenied`) before anything runs. Default: `Deny`.
    #[serde(default)]
    pub rollback: RollbackPolicy,

    /// What becomes of a pending migration with an older version than an applied one, as merging branches brings
    /// about: `Deny` stops the set (`OutOfOrder`) before anything runs; `Allow` applies it. Default: `Deny`.
    #[serde(default)]
    pub out_of_order: OutOfOrderPolicy,

    /// What becomes of an applied migration whose up section was edited since: `Block` stops the set
    /// (`ChecksumDrift`) until the file is as it was or a resolution accepts the new checksum; `Report` says so in the
    /// condition `ChecksumsMatch` and goes on. Default: `Block`.
    #[serde(default)]
    pub on_checksum_drift: OnChecksumDriftPolicy,

    /// What becomes of a migration that was applied and is no longer in the source: `Block` stops the set
    /// (`MissingMigration`); `Ignore` goes on (Ready with reason `DatabaseAhead`); `Rollback` runs its stored down
    /// section, which `rollback: Allow` must permit, never on an absent or empty source, and with several ConfigMaps
    /// or a selector only with `source.digest`. Default: `Block`.
    #[serde(default)]
    pub on_missing: OnMissingPolicy,

    /// What becomes of a schema that isn't as the last run left it: `Ignore`; `Report` in the condition
    /// `SchemaInSync`; `Block` stops the set (`SchemaDrift`). Schemas aren't compared yet: `Report` says so
    /// (`SchemaInSync` is Unknown, `NotChecked`), and a set that asks for `Block` is `InvalidSpec`. Default: `Report`.
    #[serde(default)]
    pub on_schema_drift: OnSchemaDriftPolicy,

    /// Patterns of objects that may differ, such as `table public.cache_*`. Doesn't work yet: a set that asks for it
    /// is `InvalidSpec`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub schema_drift_ignore: Vec<String>,

    /// What commits together: `PerMigration`, each migration with its history row; `Single`, the whole plan, so that
    /// the first failure undoes all of it. `Single` with a no-transaction file pending is `InvalidSpec`. Default:
    /// `PerMigration`.
    #[serde(default)]
    pub transaction: TransactionPolicy,

    /// The longest wait for any one lock, of a row as of a table (PostgreSQL's `lock_timeout`): a duration from 1ms to
    /// 24h, or `0s` for no limit. While a migration waits for a lock, every query that comes after it on that table
    /// waits too, so keep it short and let `lockRetries` try again. It is off for CONCURRENTLY forms, where it would
    /// leave an invalid index. Default: `3s`.
    #[serde(default = "lock_timeout")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = rules::duration("1ms", "24h", rules::Zero::MeansNone))]
    pub lock_timeout: String,

    /// The longest that a single statement may take (PostgreSQL's `statement_timeout`): a duration from 1ms to 576h,
    /// or `0s` for no limit. A statement that takes longer fails its migration. Default: `0s`.
    #[serde(default = "statement_timeout")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = rules::duration("1ms", "576h", rules::Zero::MeansNone))]
    pub statement_timeout: String,

    /// How many times a migration that ran into `lockTimeout` is tried again within a run, with growing pauses;
    /// afterwards the set is `Retrying`, with longer pauses, for ever. From 0 to 1000. Default: 10.
    #[serde(default = "lock_retries")]
    #[schemars(range(min = 0, max = 1000))]
    pub lock_retries: i32,
}

/// Which plans wait for a person's consent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Which plans wait (`ApprovalRequired`): `Never` one; `Destructive` ones, which drop a table, column, schema, type,
    /// view, function or sequence, truncate, delete or update without WHERE, change a column's type, or roll back;
    /// `Always`, all of them. Default: `Never`.
    #[serde(default)]
    pub required: ApprovalRequired,

    /// The digest of the plan that is approved, from `status.plan.digest`: exactly that plan may run. The annotation
    /// `dunlin.dev/approved-plan` does the same. An approval counts from when it is seen, and is recorded in the history;
    /// it may be removed, or stay, afterwards. A change of what would run makes it stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    #[x_kube(validation = rules::digest())]
    pub plan: Option<String>,
}

/// What a person decided about one run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResolutionSpec {
    /// The version of the migration, from `status.failure.version` or `status.drift.checksums`; of a failed seed or hook
    /// what `status.failure.version` says: its path, such as `dev/010_users.sql`, or its place, such as `preApply[0]`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::resolved())]
    pub version: String,

    /// The number of the run that is decided about, from `status.failure.run` or `status.drift.checksums`. A later run
    /// of the same migration needs a decision of its own.
    #[schemars(range(min = 1))]
    pub run: i64,

    /// `Retry`: run it again from the top. `Resume`: go on with the statement that failed (no-transaction files).
    /// `MarkApplied`: it is done, by hand or otherwise (of a failed way down: it is still applied). `MarkRolledBack`:
    /// what it did was undone by hand; it is pending again. `AcceptChecksum`: the edited file is as good as what was
    /// applied. Of a seed or hook, only `Retry` is possible.
    pub action: ResolutionAction,
}

/// `policy.rollback`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum RollbackPolicy {
    #[default]
    Deny,
    Allow,
}

/// `policy.outOfOrder`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum OutOfOrderPolicy {
    #[default]
    Deny,
    Allow,
}

/// `policy.onChecksumDrift`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum OnChecksumDriftPolicy {
    #[default]
    Block,
    Report,
}

/// `policy.onMissing`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum OnMissingPolicy {
    #[default]
    Block,
    Ignore,
    Rollback,
}

/// `policy.onSchemaDrift`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum OnSchemaDriftPolicy {
    Ignore,
    #[default]
    Report,
    Block,
}

/// `policy.transaction`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum TransactionPolicy {
    #[default]
    PerMigration,
    Single,
}

/// `approval.required`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum ApprovalRequired {
    #[default]
    Never,
    Destructive,
    Always,
}

/// `resolutions[].action`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum ResolutionAction {
    Retry,
    Resume,
    MarkApplied,
    MarkRolledBack,
    AcceptChecksum,
}

impl Default for PolicySpec {
    fn default() -> Self {
        Self {
            rollback: RollbackPolicy::default(),
            out_of_order: OutOfOrderPolicy::default(),
            on_checksum_drift: OnChecksumDriftPolicy::default(),
            on_missing: OnMissingPolicy::default(),
            on_schema_drift: OnSchemaDriftPolicy::default(),
            schema_drift_ignore: Vec::new(),
            transaction: TransactionPolicy::default(),
            lock_timeout: lock_timeout(),
            statement_timeout: statement_timeout(),
            lock_retries: lock_retries(),
        }
    }
}

fn lock_timeout() -> String {
    "3s".to_owned()
}

fn statement_timeout() -> String {
    "0s".to_owned()
}

fn lock_retries() -> i32 {
    10
}
