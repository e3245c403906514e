//! What runs beside migrations: seeds and hooks. Their runs are rows of `dunlin.run`, and a failed one waits for an edit
//! or for a person's `Retry`.

use std::fmt;

use super::{
    desired::Action,
    history::{RunError, RunOutcome},
    migration::{Direction, Version},
    seed::split_path,
};

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// A file of rows.
    Seed,
    /// What the spec asks for before or after a plan.
    Hook,
}

impl TaskKind {
    /// Every kind there is.
    pub const ALL: [Self; 2] = [Self::Seed, Self::Hook];

    /// `dunlin.run.kind`, and the word of messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Hook => "hook",
        }
    }
}

/// The last run of a seed or hook that didn't succeed, if none came after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRun {
    /// Seed or hook.
    pub kind: TaskKind,
    /// Which: a seed's path (`dev/010_users.sql`), a hook's place (`preApply[0]`). In `dunlin.run.version`.
    pub key: String,
    /// The run's number, which a resolution names.
    pub run: i64,
    /// `failed`, `retrying`, or `running` of what doesn't run in one transaction with its row.
    pub outcome: RunOutcome,
    /// Tries so far that the server answered.
    pub attempts: i64,
    /// Checksum of what ran: another text is another attempt.
    pub checksum: String,
    /// What went wrong.
    pub error: Option<RunError>,
    /// What a person decided.
    pub resolution: Option<Action>,
    /// When it ended, RFC 3339 in UTC.
    pub finished_at: Option<String>,
}

impl TaskRun {
    /// Whether it failed, and nobody has said anything about it.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.outcome == RunOutcome::Failed && self.resolution.is_none()
    }
}

/// What a run is of, for whoever is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A migration.
    Migration {
        /// Its version.
        version: Version,
        /// Its name.
        name: String,
        /// Which way it goes.
        direction: Direction,
    },
    /// A seed or hook.
    Task {
        /// Which of the two.
        kind: TaskKind,
        /// Its path or place.
        key: String,
    },
}

impl Subject {
    /// What a resolution's `version` says: a version, a seed's path or a hook's place.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Migration { version, .. } => version.as_str(),
            Self::Task { key, .. } => key,
        }
    }

    /// The name, which only migrations have beside their key.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Migration { name, .. } => Some(name),
            Self::Task { .. } => None,
        }
    }
}

/// `002_index`, `seed dev/010_users.sql`, `hook preApply[0]`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Migration { version, name, direction: _ } => write!(f, "{version}_{name}"),
            Self::Task { kind, key } => write!(f, "{} {key}", kind.word()),
        }
    }
}

/// Whether a text is what a seed or hook is called, as a resolution may name it: a seed's path, or a hook's place.
#[must_use]
pub fn is_key(text: &str) -> bool {
    split_path(text).is_ok() || is_hook_place(text)
}

fn is_hook_place(text: &str) -> bool {
    let Some((list, index)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) else { return false };
    let lists = ["preApply", "postApply", "preRollback", "postRollback", "onFailure"];
    lists.contains(&list) && !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_seeds_path_or_a_hooks_place() {
        for (text, expected) in [
            ("010_users.sql", true),
            ("dev/010_users.yaml", true),
            ("users.v2.yml", true),
            ("a/b/c.sql", false),
            ("/c.sql", false),
            (".sql", false),
            ("users.txt", false),
            ("010 users.sql", false),
            ("preApply[0]", true),
            ("onFailure[12]", true),
            ("preApply[]", false),
            ("preApply", false),
            ("preapply[0]", false),
            ("003", false),
            ("003_users", false),
            ("", false),
        ] {
            assert_eq!(is_key(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_subject_is_called_as_people_know_it() {
        let version = Version::parse("002").expect("a version");
        let migration = Subject::Migration { version, name: "index".to_owned(), direction: Direction::Up };
        assert_eq!((migration.to_string().as_str(), migration.key()), ("002_index", "002"));
        let hook = Subject::Task { kind: TaskKind::Hook, key: "preApply[0]".to_owned() };
        assert_eq!((hook.to_string().as_str(), hook.key(), hook.name()), ("hook preApply[0]", "preApply[0]", None));
    }
}
