//! `spec.database`: which database, how to reach it, and as whom.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Which database, how to reach it, and as whom.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// The Secret that holds the connection parameters, in the namespace of the MigrationSet. Its keys are found by
    /// convention: `uri`, `url`, `DATABASE_URL` or `connectionString` for a whole URL; otherwise `host`, `port`,
    /// `user` or `username`, `password`, `dbname` or `database`. That covers the Secrets that CloudNativePG, Crunchy
    /// PGO, Zalando's operator and Bitnami's charts write. Whoever may create a MigrationSet may use every Secret of
    /// its namespace in this way.
    pub secret_ref: DatabaseSecretReference,

    /// A Secret that leads past a transaction pooler (PgBouncer and the like), straight to the server. Where it is
    /// given, Dunlin connects by it alone, and doesn't read `secretRef`'s, which may stay the application's way through
    /// the pooler. `tls` holds for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_secret_ref: Option<DatabaseSecretReference>,

    /// TLS to the server. Absent, the URL's `sslmode` holds, else libpq's `prefer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// The role to take (`SET ROLE`) before anything runs; it then owns the history's tables and what migrations
    /// make. It is a convenience and no boundary: the SQL of a migration can undo it. Let the login have few rights
    /// instead. At most 63 bytes, written without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::identifier(), validation = Rule::new("self != 'none'").message(
        "to PostgreSQL, none is no role but the way back to the login: leave role out"
    ))]
    pub role: Option<String>,

    /// The `search_path` of migrations, first schema first. Absent or empty, the login's own holds. Schemas need not
    /// exist. Each at most 63 bytes, written without quotes; `$user` is the schema named as the login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = Rule::new("self.all(schema, bytes(schema).size() <= 63 && !schema.contains('\\u0000'))").message(
        "a name in PostgreSQL holds at most 63 bytes and no NUL; write it without quotes"
    ))]
    pub search_path: Vec<String>,
}

/// The Secret of a database, and the keys in it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSecretReference {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::OBJECT_NAME))]
    pub name: String,

    /// Which keys to read, where the conventions don't fit. A key that is named here must be there; it wins over
    /// every convention. Parts that no key is named for are still found by convention. Parts named beside `uri`
    /// replace those of the URL, so that a password can stand apart from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<DatabaseKeys>,
}

/// Keys of a database's Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseKeys {
    /// The key that holds a whole URL (`postgresql://user:password@host:5432/dbname?sslmode=verify-full`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::DATA_KEY))]
    pub uri: Option<String>,
    /// The key that holds the host's name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::DATA_KEY))]
    pub host: Option<String>,
    /// The key that holds the port. Without a port anywhere, it is 5432.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::DATA_KEY))]
    pub port: Option<String>,
    /// The key that holds the login's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::DATA_KEY))]
    pub user: Option<String>,
    /// The key that holds the login's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::DATA_KEY))]
    pub password: Option<String>,
    /// The key that holds the database's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::DATA_KEY))]
    pub dbname: Option<String>,
}

/// TLS to the server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.mode) || self.mode != 'disable' || !(has(self.caSecretRef) || has(self.clientSecretRef))"
).message("mode disable uses no certificates: remove caSecretRef and clientSecretRef, or name another mode"))]
pub struct Tls {
    /// One of libpq's modes: `disable`; `prefer` (where the server offers it); `require` (with whatever certificate);
    /// `verify-ca` (a certificate of a trusted authority); `verify-full` (a trusted certificate for this very host).
    /// Absent, it is `verify-full` where `caSecretRef` is given, else the URL's `sslmode`, else `prefer`. When the
    /// URL speaks too, the stricter of the two holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsModeName>,

    /// The certificate authority to trust, as PEM. Absent, the authorities that the operator's image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyReference>,

    /// A Secret of type `kubernetes.io/tls` with the client's certificate (`tls.crt`) and key (`tls.key`), as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<LocalReference>,
}

/// libpq's TLS modes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the field explains each")]
pub enum TlsModeName {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A key of a Secret in the namespace of the MigrationSet.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::OBJECT_NAME))]
    pub name: String,
    /// The key. Default: `ca.crt`.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::DATA_KEY))]
    pub key: String,
}

/// An object in the namespace of the MigrationSet.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::OBJECT_NAME))]
    pub name: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}
