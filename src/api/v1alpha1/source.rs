//! `spec.source`: where the migration files are.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{database::LocalReference, rules};

/// Where the migration files are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMaps) != has(self.configMapSelector)").message(
    "name exactly one kind of source: configMaps or configMapSelector"
))]
pub struct Source {
    /// ConfigMaps by name. All of them together are the source; their order doesn't matter. Each key is a migration
    /// file, `<version>_<name>.sql` in `data` or `.sql.gz` in `binaryData`. Until all of them are there the set waits
    /// (`WaitingForSource`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub config_maps: Option<Vec<LocalReference>>,

    /// ConfigMaps by label: every one of the namespace that matches. With none, the set waits (`WaitingForSource`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_selector: Option<Selector>,

    /// The digest of the content that the author means. While the content that is there has another, nothing runs,
    /// and the set waits (`WaitingForDigest`). Fill it in by a chart or by `dunlin pack`, and waiting for Ready
    /// can't be answered by yesterday's True. Absent, whatever content is there is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    #[x_kube(validation = rules::digest())]
    pub digest: Option<String>,

    /// How the files are written. `Auto` tells from the files; `Dunlin` is Dunlin's own convention, which Migretti's
    /// files keep too; `Metapg` is metapg.migration's. The other names don't work yet: a set that asks for one is
    /// `InvalidSpec`. Default: `Auto`.
    #[serde(default)]
    pub format: FormatName,
}

/// Conventions of migration files.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "named after the tools")]
pub enum FormatName {
    #[default]
    Auto,
    Dunlin,
    Metapg,
    Goose,
    Dbmate,
    GolangMigrate,
    Sqlx,
    Diesel,
    Flyway,
    Refinery,
    Atlas,
    Liquibase,
    Sqitch,
    NodePgMigrate,
    Prisma,
    Drizzle,
}

/// Labels that must match, all of them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.matchLabels) && self.matchLabels.size() > 0) || (has(self.matchExpressions) && self.matchExpressions.size() > 0)"
).message("an empty selector would take every ConfigMap of the namespace: name a label"))]
pub struct Selector {
    /// Labels and the values that they must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_map")]
    pub match_labels: BTreeMap<String, String>,

    /// Further requirements on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<SelectorRequirement>,
}

/// What one label must be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)"
).message("In and NotIn need values; Exists and DoesNotExist have none"))]
pub struct SelectorRequirement {
    /// The label's key, such as `app.kubernetes.io/part-of`.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')"
    ).message("a label's key is a name such as app, or prefix/name such as app.kubernetes.io/part-of"))]
    pub key: String,
    /// `In` (there, with one of the values), `NotIn` (absent, or with none of the values), `Exists` or `DoesNotExist`.
    pub operator: SelectorOperator,
    /// The values, for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum SelectorOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

fn label_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 63}
    })
}
