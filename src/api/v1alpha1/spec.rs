//! The MigrationSet itself, and its spec.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    database::Database,
    extras::{Hooks, Seeds, Variable},
    history::HistorySpec,
    policy::{Approval, PolicySpec, ResolutionSpec},
    rules,
    source::Source,
    status::MigrationSetStatus,
};

/// What a database's schema is to be: which database, which migrations, up to where, and what is allowed on the way.
///
/// `spec.target` and the source say which state is asked for; the operator applies what is missing, in order, each
/// migration exactly once, or stops and asks a person.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "dunlin.dev",
    version = "v1alpha1",
    kind = "MigrationSet",
    plural = "migrationsets",
    shortname = "mset",
    category = "all",
    category = "dunlin",
    namespaced,
    status = "MigrationSetStatus",
    derive = "PartialEq",
    doc = "A MigrationSet brings one PostgreSQL database to the state that a set of migration files asks for, and keeps looking that it stays there.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the database holds what the source and the target ask for"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "The reason of the Ready condition"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.applied.version",
        description = "The highest applied version"
    ),
    printcolumn(
        name = "Applied",
        type_ = "integer",
        json_path = ".status.applied.count",
        description = "How many versions of the source the database has"
    ),
    printcolumn(
        name = "Pending",
        type_ = "integer",
        json_path = ".status.applied.pending",
        description = "How many versions of the source the database doesn't have"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.source.digest",
        description = "The digest of the content last read",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "The message of the Ready condition",
        priority = 1
    ),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.applied) || !has(oldSelf.status.applied.version) || \
         self.spec.history.schema == oldSelf.spec.history.schema"
    )
    .message(
        "the history's schema can't be changed once migrations are applied: make a new MigrationSet for another \
         history, or set it back"
    )
    .field_path(".spec.history.schema"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.applied) || !has(oldSelf.status.applied.version) || \
         (has(self.spec.history.set) ? self.spec.history.set : self.metadata.name) == \
         (has(oldSelf.spec.history.set) ? oldSelf.spec.history.set : oldSelf.metadata.name)"
    )
    .message(
        "the history's set (metadata.name where none is named) can't be changed once migrations are applied: make a \
         new MigrationSet for another history, or set it back"
    )
    .field_path(".spec.history")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.policy.onMissing != 'Rollback' || has(self.source.digest) || \
     (has(self.source.configMaps) && self.source.configMaps.size() == 1)"
).message(
    "onMissing: Rollback with several ConfigMaps or a selector needs source.digest, so that a ConfigMap that is late \
     doesn't count as migrations that are gone"
).field_path(".policy.onMissing"))]
pub struct MigrationSetSpec {
    /// Whether the operator keeps its hands off. It takes effect between two migrations: a statement under way runs
    /// to its end, the next migration doesn't start. Ready is then False with reason `Suspended`. Deleting the
    /// MigrationSet takes effect in the same way. Default: false.
    #[serde(default)]
    pub suspend: bool,

    /// Which database, how to reach it, and as whom.
    pub database: Database,

    /// Where the migration files are.
    pub source: Source,

    /// Where Dunlin writes down what it did. Absent, it is schema `dunlin`, under this object's name.
    #[serde(default)]
    pub history: HistorySpec,

    /// The state to be in: `latest` (every migration of the source), `none` (not one of them), a version such as
    /// `003`, or `version_name` such as `003_add_index`, which must then be the file's: it, all that comes before it (or,
    /// where every file says what it needs by `-- depends:`, all that it needs), and nothing that comes after it. What
    /// comes after it is rolled back, by the down sections that the history holds, which `policy.rollback` must allow.
    /// `batch:3` undoes what plans after the third have applied, and applies nothing. It names a state, so applying the
    /// same spec again changes nothing. Default: `latest`.
    #[serde(default = "latest")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::target())]
    pub target: String,

    /// What is allowed, what stops the set, and how patient a migration is. Absent, the defaults of its fields hold.
    #[serde(default)]
    pub policy: PolicySpec,

    /// Which plans wait for a person's consent. Absent, none does.
    #[serde(default)]
    pub approval: Approval,

    /// What a person decided about failed, interrupted or drifted runs. Each names one run, is used up by it, and may
    /// stay here (or be removed) afterwards: neither changes anything. The annotation
    /// `dunlin.dev/resolve: <run>=<action>` does the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["version", "run"]))]
    pub resolutions: Vec<ResolutionSpec>,

    /// Values for `:'name'` (as a literal) and `:"name"` (as an identifier) in migration files, in psql's own syntax,
    /// quoted by the engine: a value is one literal or one name, whatever it holds. Only names declared here are replaced,
    /// and nothing within strings, quoted names, `$$` bodies and comments. Checksums are of the text with the variables; a
    /// migration that failed runs again when a variable changes that it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub variables: Vec<Variable>,

    /// SQL and rows to load once every migration of the source is applied, in the order of their names, each in a
    /// transaction of its own and recorded by its checksum. A seed runs once, or (`-- seed: on-change`, `mode: on-change`)
    /// whenever its text is another. Nothing is loaded while the target leaves migrations out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<Seeds>,

    /// What to run before and after: SQL, Jobs, requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,

    /// How often the database is looked at again when nothing changed, give or take 10 %: a duration from 1s to 24h,
    /// such as `10m` or `1h30m`. A change of the spec, a ConfigMap or an annotation is seen at once, whatever stands
    /// here. Default: `10m`.
    #[serde(default = "interval")]
    #[schemars(length(min = 2, max = 32))]
    #[x_kube(validation = rules::duration("1s", "24h", rules::Zero::Refused))]
    pub interval: String,
}

fn latest() -> String {
    "latest".to_owned()
}

fn interval() -> String {
    "10m".to_owned()
}
