//! `spec.variables`, `spec.seeds` and `spec.hooks`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{database::LocalReference, rules};

/// A value for `:'name'` and `:"name"` in migration files.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)").message(
    "give exactly one of value and valueFrom"
))]
pub struct Variable {
    /// The name, as files write it behind the colon. Upper and lower case differ.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// The value itself, for whoever may read this object: a password belongs into a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub value: Option<String>,
    /// Where the value is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueSource>,
}

/// Where a value is found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)").message(
    "give exactly one of secretKeyRef and configMapKeyRef"
))]
pub struct ValueSource {
    /// A key of a Secret, which is read by its name. Its value stays out of every status, event, log and message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,
    /// A key of a ConfigMap. A change of it is seen at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
}

/// A key of a Secret or ConfigMap in the namespace of the MigrationSet.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyReference {
    /// The object's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::OBJECT_NAME))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::DATA_KEY))]
    pub key: String,
}

/// SQL and rows to load once every migration of the source is applied.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Seeds {
    /// The ConfigMaps that hold the seeds, one a key: `<name>.sql`, `.json`, `.yaml` or `.yml` (or one of these with `.gz`
    /// in `binaryData`). Seeds of a ConfigMap with the label `dunlin.dev/environment` belong to that environment alone,
    /// those of the others to all.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub config_maps: Vec<LocalReference>,
    /// The environment whose seeds are loaded, with those that belong to all. Absent, only those that belong to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
    pub environment: Option<String>,
}

/// What to run around a plan: one after the other in the order given, under the set's lock, and only where there is
/// something to do. A hook runs at least once for its plan: where the operator was cut off in the middle of it, again, with
/// the same id.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// Before the first migration of a plan. A failure stops the plan before anything runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pre_apply: Vec<Hook>,
    /// After a plan that has applied something, all of which ran. A failure never runs SQL again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub post_apply: Vec<Hook>,
    /// Before the first down section of a plan. A failure stops the plan before anything runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pre_rollback: Vec<Hook>,
    /// After a plan that has rolled something back, all of which ran. A failure never runs SQL again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub post_rollback: Vec<Hook>,
    /// After a migration has failed, when that stands in the history: once for each failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub on_failure: Vec<Hook>,
}

/// One thing to run. It is told for what: hook, set, direction, versions, plan, run, id, and how the plan ended.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.sql), has(self.job), has(self.http)].filter(given, given).size() == 1").message(
    "give exactly one of sql, job and http"
))]
pub struct Hook {
    /// SQL to run on the set's database, in a transaction of its own, with the set's role and search path. What it is told
    /// are settings, as in `current_setting('dunlin.versions')`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub sql: Option<String>,
    /// A Job to make from the template of the CronJob of that name, as `kubectl create job --from=cronjob/NAME` does: keep it
    /// with `suspend: true`. What it is told are variables of its containers, as `DUNLIN_VERSIONS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<LocalReference>,
    /// A request to send: a POST, whose body is what it is told, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHook>,
    /// How long it may take, from 1s to 24h; then it is ended, and has failed. Absent, `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = rules::duration("1s", "24h", rules::Zero::Refused))]
    pub timeout: Option<String>,
}

/// A request to send.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpHook {
    /// Where to send it: https, or http. An answer of 2xx is success; 5xx, 408, 429 and no answer are tried again until the
    /// time is over; anything else fails at once, and no redirect is followed. It is sent from the operator's pod, and never to
    /// a link-local address; where the operator lists the hosts that it connects to, to those alone. Messages show it without
    /// its query.
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s/]+"))]
    pub url: String,
}
