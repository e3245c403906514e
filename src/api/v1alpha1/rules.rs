//! Rules of the CRD that more than one field keeps, in CEL where a message should say what to do.
//!
//! Each rule is written once; what a field's pattern or bounds say already is not said again here.

use kube::core::Rule;

/// Names of ConfigMaps, Secrets and Jobs.
pub const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Keys of ConfigMaps and Secrets.
pub const DATA_KEY: &str = r"^[-._a-zA-Z0-9]+$";
/// `namespace/name` of a MigrationSet.
pub const OWNER: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A version alone.
pub const VERSION: &str = r"^([0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}|[0-9]{8}_[0-9]{6}|[0-9]{8}_[0-9]{2}|[0-9]+)$";

/// `sha256:` and 64 hexadecimal digits.
pub fn digest() -> Rule {
    Rule::new("self.matches('^sha256:[0-9a-f]{64}$')")
        .message("a digest is sha256: and 64 lower-case hexadecimal digits, as the status and `dunlin pack` print it")
}

/// What a resolution names: a migration's version, a seed's path, or a hook's place.
pub fn resolved() -> Rule {
    Rule::new(format!(
        "self.matches('{VERSION}') || self.matches('^([-._a-zA-Z0-9]+/)?[-._a-zA-Z0-9]+[.](sql|json|yaml|yml)$') || \
         self.matches('^(preApply|postApply|preRollback|postRollback|onFailure)[[][0-9]+[]]$')"
    ))
    .message(
        "name what status.failure.version names: a version such as 003, a seed such as dev/010_users.sql, or a hook such as \
         preApply[0]",
    )
}

/// A version, or `version_name`.
pub fn version_or_file() -> Rule {
    Rule::new(
        "self.matches('^([0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}|[0-9]{8}_[0-9]{6}|[0-9]{8}_[0-9]{2}|[0-9]+)(_.+)?$')",
    )
    .message("name a version, such as 003, or version_name, such as 003_add_index")
}

/// The target: `latest`, `none`, `batch:` and a number, a version, or `version_name`.
pub fn target() -> Rule {
    Rule::new(
        "self == 'latest' || self == 'none' || self.matches('^batch:[0-9]{1,9}$') || \
         self.matches('^([0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}|[0-9]{8}_[0-9]{6}|[0-9]{8}_[0-9]{2}|[0-9]+)(_.+)?$')",
    )
    .message(
        "target is latest, none, a version such as 003, version_name such as 003_add_index, or batch: and a number",
    )
}

/// What PostgreSQL takes as the name of something.
pub fn identifier() -> Rule {
    Rule::new("bytes(self).size() <= 63 && !self.contains('\\u0000')")
        .message("a name in PostgreSQL holds at most 63 bytes and no NUL; write it without quotes")
}

/// A name that PostgreSQL doesn't keep for itself.
pub fn not_reserved() -> Rule {
    Rule::new("!self.startsWith('pg_')").message("PostgreSQL keeps names that begin with pg_ for itself")
}

/// Text without NUL, which PostgreSQL can't store.
pub fn no_nul() -> Rule {
    Rule::new("!self.contains('\\u0000')").message("PostgreSQL can't store a NUL character")
}

/// A duration between two others, or zero if that means "none".
pub fn duration(least: &str, most: &str, zero: Zero) -> Rule {
    let (or_zero, said) = match zero {
        Zero::Refused => (String::new(), String::new()),
        Zero::MeansNone => ("duration(self) == duration('0s') || ".to_owned(), ", or 0s for no limit".to_owned()),
    };
    Rule::new(format!(
        "self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && \
         ({or_zero}(duration(self) >= duration('{least}') && duration(self) <= duration('{most}')))"
    ))
    .message(format!("a duration such as 10m, 1h30m, 3s or 500ms, from {least} to {most}{said}").as_str())
}

/// What a duration of zero means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zero {
    /// It is no value of this field.
    Refused,
    /// It means that there is no limit.
    MeansNone,
}
