//! The status: a copy of what the database and the source say, for people and tools to read.
//!
//! Every field is optional, for a status may be absent, partial or forged, and must always be readable. Counts of 0
//! are written. Nothing here is ever the source of a decision that the database could answer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw and did. Deleted or changed by hand, the next look puts it right.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationSetStatus {
    /// The `metadata.generation` that this status speaks of; -1 until the operator has looked at the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The value of `reconcile.fluxcd.io/requestedAt` that the last finished look answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_handled_reconcile_at: Option<String>,

    /// The value of `dunlin.dev/reconcile` that the last finished look answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_handled_reconcile: Option<String>,

    /// The content last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,

    /// What the database has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedStatus>,

    /// What is to run next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,

    /// What runs at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningStatus>,

    /// The failure that stops the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,

    /// Where source, history and database differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,

    /// The last 10 migrations that were applied, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub recent: Vec<RecentMigration>,

    /// How many times in a row what the set waits for wasn't there.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub retries: i64,

    /// When the operator tries again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub next_retry_at: Option<String>,

    /// `Ready`, `Reconciling`, `Stalled`, `DatabaseReachable`, `ChecksumsMatch`, `SchemaInSync`, `Approved`. At most
    /// one of the first three is True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// The content last read.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct SourceStatus {
    /// Its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// How many files it holds.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub files: i64,
    /// The migrations that none depends on, where there are several: the ends of its branches, at most the first 10. A
    /// file that depends on all of them joins them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(max = 253)))]
    pub heads: Vec<String>,
}

/// What the database has.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct AppliedStatus {
    /// The digest of the source at the last Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// The highest in the set's order among the applied versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// How many versions of the source the database has.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub count: i64,
    /// How many versions of the source the database doesn't have, those that the target leaves out included.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub pending: i64,
    /// How many versions were recorded as applied without running, on the word of `history.baseline`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub on_trust: i64,
    /// When the last migration was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub last_applied_at: Option<String>,
}

/// What is to run next.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct PlanStatus {
    /// Its digest, which an approval names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// Its steps in order, at most the first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub steps: Vec<StepStatus>,
    /// How many steps it has in all.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub count: i64,
}

/// One step of a plan.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct StepStatus {
    /// The migration's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// The migration's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// `Up` or `Down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub direction: Option<String>,
    /// Whether it runs in one transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactional: Option<bool>,
}

/// What runs at this moment.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct RunningStatus {
    /// The migration's version; of a seed its path, of a hook its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// The migration's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// The statement under way, from 1. Absent where that isn't known: of several that go to the server as one message, as
    /// a transactional migration's do, the answers come together at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub statement: Option<i64>,
    /// How many statements it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub statements: Option<i64>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub started_at: Option<String>,
    /// What the server says that it does, such as `building index: scanning table`; between two tries to get a lock,
    /// `pausing before retry 2 of 10`. Absent for statements of which it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub phase: Option<String>,
    /// How much of that phase is done, in percent. Absent where the server gives no total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i64>,
    /// Which sessions it waits for; between two tries, which it waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub blocked_by: Vec<Blocker>,
}

/// A session that holds a lock which a migration waits for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Blocker {
    /// Its backend's process number. Absent for a transaction that was prepared for two-phase commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i64>,
    /// Its login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub user: Option<String>,
    /// Its `application_name`; of a prepared transaction, `prepared transaction` and its identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub application: Option<String>,
    /// What it runs or last ran, cut short; absent where the login may not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub query: Option<String>,
    /// Since when its transaction is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub since: Option<String>,
}

/// The failure that stops the set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct FailureStatus {
    /// The number of the run, which a resolution names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// The migration's version; of a seed its path, of a hook its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// The migration's name. Absent for a seed or hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Whether it ran in one transaction, and so left nothing behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactional: Option<bool>,
    /// The statement that failed, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<i64>,
    /// The line of the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,
    /// The column, from 1, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<i64>,
    /// PostgreSQL's code of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub sqlstate: Option<String>,
    /// The error. DETAIL, which may hold rows, stays in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub message: Option<String>,
    /// How many statements are done and stay done.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub statements_applied: i64,
    /// When it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub at: Option<String>,
}

/// Where source, history and database differ.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftStatus {
    /// Applied migrations whose file was edited, at most the first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub checksums: Vec<ChecksumDriftStatus>,
    /// Versions that were applied and are no longer in the source, at most the first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 253)))]
    pub missing: Vec<String>,
    /// Objects that differ, at most the first 50: `+` too much, `-` missing, `~` other than the last run left it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 1024)))]
    pub schema: Vec<String>,
}

/// An applied migration whose file was edited.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ChecksumDriftStatus {
    /// The migration's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// The run that applied or last accepted it, which `AcceptChecksum` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// The checksum in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub recorded: Option<String>,
    /// The checksum of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub found: Option<String>,
}

/// A migration that was applied.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct RecentMigration {
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// When it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub applied_at: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub duration_ms: i64,
    /// Which plan it was applied with, from 1.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub batch: i64,
}

fn time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "format": "date-time", "maxLength": 64})
}

/// `metav1.Condition` with the bounds that Kubernetes gives it
/// (<https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/v1/types.go>).
fn conditions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "What it speaks of.",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
                },
                "status": {
                    "type": "string",
                    "description": "Whether it holds.",
                    "enum": ["True", "False", "Unknown"]
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The metadata.generation that it speaks of."
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When its status last changed."
                },
                "reason": {
                    "type": "string",
                    "description": "Why, in one word of a closed list.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
                },
                "message": {
                    "type": "string",
                    "description": "Why, in sentences, and what to do.",
                    "maxLength": 32768
                }
            }
        }
    })
}
