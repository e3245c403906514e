//! What is sound and could be better: hints on files, which hold nothing up.

use super::{migration::Migration, sql::subjects};

/// A hint, and where it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Which rule it comes from: `Name`, `Unrelated`.
    pub rule: &'static str,
    /// Line of the file, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What could be better, and how.
    pub message: String,
}

/// Longer names are cut where they are shown.
const LONGEST_NAME: usize = 100;
/// Names that every migration could have.
const EMPTY_WORDS: [&str; 12] =
    ["migration", "change", "changes", "update", "updates", "fix", "new", "test", "tmp", "temp", "wip", "untitled"];

/// What could be better in a file.
#[must_use]
pub fn hints(migration: &Migration) -> Vec<Hint> {
    name(&migration.name).into_iter().chain(unrelated(migration)).collect()
}

/// A name is all that a person sees of a migration in a list.
fn name(name: &str) -> Option<Hint> {
    let words = name.trim_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '-');
    let length = name.chars().count();
    let message = if words.is_empty() || EMPTY_WORDS.contains(&words.to_ascii_lowercase().as_str()) {
        format!("the name {name:?} doesn't say what it does: write what changes, as add_users_email")
    } else if length > LONGEST_NAME {
        format!("a name of {length} characters: {LONGEST_NAME} are enough, and `-- description:` has room for more")
    } else {
        return None;
    };
    Some(Hint { rule: "Name", line: 1, column: 1, message })
}

/// What fails is rolled back by files, and so is what a person undoes.
fn unrelated(migration: &Migration) -> Option<Hint> {
    let section = &migration.up;
    let subjects = subjects::unrelated(&section.text, &section.script);
    let [first, second, ..] = subjects.as_slice() else { return None };
    let statement = &section.script.statements[second.statement];
    Some(Hint {
        rule: "Unrelated",
        line: section.first_line + statement.line,
        column: statement.column,
        message: format!(
            "{} and {} have nothing to do with one another: a file each can be undone by itself",
            first.table, second.table
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_changes() {
        for (text, good) in [
            ("add_users", true),
            ("fix_totals", true),
            ("migration1", false),
            ("update", false),
            ("2024_07", false),
            ("", false),
            ("WIP", false),
        ] {
            assert_eq!(name(text).is_none(), good, "{text}");
        }
        assert!(name(&"x".repeat(100)).is_none());
        assert!(name(&"x".repeat(101)).expect("a hint").message.contains("101 characters"));
    }
}
