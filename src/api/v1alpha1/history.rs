//! `spec.history`: where Dunlin writes down what it did.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Where Dunlin writes down what it did. `schema` and `set` can't be changed once migrations are applied.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HistorySpec {
    /// The schema of the history's tables, in the database itself. It is made on first contact, which needs CREATE on
    /// the database; or make it beforehand and let the login (or `database.role`) own it. Can't be changed once
    /// migrations are applied. At most 63 bytes, written without quotes. Default: `dunlin`.
    #[serde(default = "dunlin")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::identifier(), validation = rules::not_reserved())]
    pub schema: String,

    /// The key of this set within those tables: several sets may share one database, each with a history of its own.
    /// Two clusters that work on one database need two. Can't be changed once migrations are applied. Default: this
    /// object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::no_nul())]
    pub set: Option<String>,

    /// The key of a second advisory lock, held as well while anything runs: that of the tool you come from (Migretti's
    /// is 894321), so that the two never run at once. It is taken as `pg_try_advisory_lock(bigint)` after Dunlin's
    /// own, never instead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_id: Option<i64>,

    /// At first contact with a database that has the objects already: the version (or `version_name`) up to which
    /// migrations are recorded as applied without running them. `status.applied.onTrust` counts them. Where the history
    /// knows of a migration already, it changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::version_or_file())]
    pub baseline: Option<String>,

    /// The recorded owner of this history, `namespace/name`, from whom this MigrationSet takes it over: the way out
    /// of `Conflict` after a rename or a move. While another owner is recorded than the one named here, it changes
    /// nothing. The annotation `dunlin.dev/take-over` does the same. Who said so is recorded in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 317), regex(pattern = rules::OWNER))]
    pub take_over: Option<String>,

    /// At first contact with a database that another tool has migrated: what that tool has recorded as applied is recorded
    /// here as applied, at the same times, without running anything. Where the history knows of a migration already, it
    /// changes nothing, and may go or stay. With `baseline` beside it, what the tool has not recorded up to there is
    /// recorded on trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adopt>,
}

/// Another tool's history, taken over without running anything.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Adopt {
    /// The tool whose history is there: Migretti, Metapg, Psqlmodel or Herogold. The others don't work yet: a set that names
    /// one is `InvalidSpec`. Its table is looked for in every schema. Rows and files are matched by version, Herogold's by
    /// name; checksums of Migretti and Metapg are compared, unless `policy.onChecksumDrift` is Report.
    pub from: AdoptFrom,
    /// Whether the other tool's table is written as well, so that the way back stays open. Doesn't work yet: true is
    /// `InvalidSpec`. Default: false.
    #[serde(default)]
    pub keep_in_step: bool,
}

/// Tools that keep a history in the database.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
#[allow(missing_docs, reason = "named after the tools")]
pub enum AdoptFrom {
    Migretti,
    Metapg,
    Psqlmodel,
    Herogold,
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
    Alembic,
}

impl Default for HistorySpec {
    fn default() -> Self {
        Self { schema: dunlin(), set: None, lock_id: None, baseline: None, take_over: None, adopt: None }
    }
}

fn dunlin() -> String {
    "dunlin".to_owned()
}
