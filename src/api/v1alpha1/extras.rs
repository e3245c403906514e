//! `spec.variables`, `spec.seeds` and `spec.hooks`. Hooks are there in the schema, and refused until they work.

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

/// What to run before and after, in the order given, and only when there is something to do.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// Before the first migration of a plan. A failure stops the plan before anything runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pre_apply: Vec<Hook>,
    /// After the last migration of a plan. A failure never runs SQL again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub post_apply: Vec<Hook>,
    /// Before the first down section of a plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pre_rollback: Vec<Hook>,
    /// After the last down section of a plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub post_rollback: Vec<Hook>,
    /// After a plan that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub on_failure: Vec<Hook>,
}

/// One thing to run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.sql), has(self.job), has(self.http)].filter(given, given).size() == 1").message(
    "give exactly one of sql, job and http"
))]
pub struct Hook {
    /// SQL to run on the set's database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub sql: Option<String>,
    /// A Job to make from the template of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<LocalReference>,
    /// A request to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHook>,
}

/// A request to send.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpHook {
    /// Where to send it.
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s/]+"))]
    pub url: String,
}
