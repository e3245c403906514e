//! What a comment on a line of its own says: a section, a directive, or nothing.
//!
//! A comment that comes close to one of them is refused, since a marker that isn't seen turns the way down into a part of
//! the way up.

/// What a convention's files may say.
#[derive(Debug)]
pub(super) struct Convention {
    /// Its name, as `spec.source.format` spells it.
    pub name: &'static str,
    /// Keys that it reads; others are comments.
    pub keys: &'static [Key],
    /// Whether it knows `-- migrate:`.
    pub migrate: Migrate,
    /// Whether its versions are numbers alone.
    pub versions: Versions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Migrate {
    Read,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    Any,
    Numbers,
}

/// Something that may be said once a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Migration,
    Id,
    Description,
    Depends,
    Replaces,
    Up,
    Down,
    NoTransaction,
    TrustSplitter,
}

/// What a comment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    Comment,
    Directive(Key, &'a str),
    /// `-- ROLLBACK`, alone or followed by a parenthesis: a section unless the file has `-- migrate: up`.
    Rollback,
    /// `-- rollback` followed by anything else: an error unless the file has `-- migrate: up`.
    RollbackWithText,
    Refused(String),
}

const SECTIONS: &[(&str, Key)] = &[
    ("up", Key::Up),
    ("down", Key::Down),
    ("no-transaction", Key::NoTransaction),
    ("trust-splitter", Key::TrustSplitter),
];
const KEYS: &[(&str, Key)] = &[
    ("migration", Key::Migration),
    ("id", Key::Id),
    ("description", Key::Description),
    ("depends", Key::Depends),
    ("replaces", Key::Replaces),
];
/// Words that are no slip of a key although they are close to one.
const ORDINARY: &[&str] = &["defends", "deepens", "relates", "replays", "replicas", "relapses"];

impl Key {
    /// How it is written.
    pub fn written(self) -> &'static str {
        match self {
            Self::Migration => "-- migration:",
            Self::Id => "-- id:",
            Self::Description => "-- description:",
            Self::Depends => "-- depends:",
            Self::Replaces => "-- replaces:",
            Self::Up => "-- migrate: up",
            Self::Down => "-- migrate: down",
            Self::NoTransaction => "-- migrate: no-transaction",
            Self::TrustSplitter => "-- migrate: trust-splitter",
        }
    }
}

impl Convention {
    /// Reads a comment that stands alone on its line, its dashes included.
    pub fn meaning<'a>(&self, comment: &'a str) -> Meaning<'a> {
        let content = comment.strip_prefix("--").unwrap_or(comment).trim();
        if content.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("+goose")) {
            return Meaning::Refused(format!(
                "this is a marker of goose, which format {} doesn't read: it would run the way down together with the way up",
                self.name
            ));
        }
        if let Some((word, rest)) = content.split_at_checked("rollback".len())
            && word.eq_ignore_ascii_case("rollback")
            && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            let rest = rest.trim_start();
            let is_marker = rest.is_empty() || rest.starts_with('(');
            return if is_marker { Meaning::Rollback } else { Meaning::RollbackWithText };
        }
        let key_end =
            content.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-')).unwrap_or(content.len());
        let (key, rest) = content.split_at(key_end);
        let (key, rest) = (key.to_ascii_lowercase(), rest.trim_start());
        match rest.strip_prefix(':') {
            Some(value) => self.pair(&key, value.trim()),
            None => self.without_colon(&key, rest),
        }
    }

    fn pair<'a>(&self, key: &str, value: &'a str) -> Meaning<'a> {
        if key == "migrate" {
            return self.migrate(value);
        }
        let says_section = SECTIONS.iter().any(|(word, _)| value.eq_ignore_ascii_case(word));
        if says_section && (key == "migration" || distance(key, "migrate") <= 2) {
            return Meaning::Refused(format!(
                "`-- {key}: {value}` comes close to a marker: write `-- migrate: {value}`"
            ));
        }
        let reads = |wanted: &Key| self.keys.contains(wanted);
        if let Some((_, found)) = KEYS.iter().find(|(word, found)| *word == key && reads(found)) {
            return Meaning::Directive(*found, value);
        }
        match slip_of(key).filter(reads) {
            Some(meant) => Meaning::Refused(format!("`-- {key}:` isn't known: write `{}`", meant.written())),
            None => Meaning::Comment,
        }
    }

    fn without_colon<'a>(&self, key: &str, rest: &str) -> Meaning<'a> {
        if key == "migrate" && SECTIONS.iter().any(|(word, _)| rest.eq_ignore_ascii_case(word)) {
            return Meaning::Refused(format!("`-- migrate {rest}` lacks a colon: write `-- migrate: {rest}`"));
        }
        let on = rest.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("on"));
        if key.starts_with("depend")
            && on
            && rest[2..].trim_start().starts_with(':')
            && self.keys.contains(&Key::Depends)
        {
            return Meaning::Refused(format!("`-- {key} on:` isn't known: write `-- depends:`"));
        }
        Meaning::Comment
    }

    /// What stands behind `-- migrate:`; a parenthesis behind the word is a comment.
    fn migrate<'a>(&self, value: &'a str) -> Meaning<'a> {
        if self.migrate == Migrate::Refused {
            return Meaning::Refused(format!(
                "`-- migrate:` isn't read by format {}: use format Dunlin, which reads these files too",
                self.name
            ));
        }
        let word_end = value.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(value.len());
        let (word, tail) = (&value[..word_end], value[word_end..].trim_start());
        match SECTIONS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known)) {
            Some((_, key)) if tail.is_empty() || tail.starts_with('(') || tail.starts_with("--") => {
                Meaning::Directive(*key, value)
            }
            Some((known, _)) => Meaning::Refused(format!(
                "`-- migrate: {known}` stands alone on its line, other directives on lines of their own; words behind it need parentheses"
            )),
            None => {
                let shown: String = value.chars().take(40).collect();
                Meaning::Refused(format!(
                    "`-- migrate: {shown}` isn't known: there are up, down, no-transaction and trust-splitter"
                ))
            }
        }
    }
}

/// The key that was probably meant.
fn slip_of(key: &str) -> Option<Key> {
    if ORDINARY.contains(&key) {
        return None;
    }
    let close = |word: &str| key.as_bytes().first() == word.as_bytes().first() && distance(key, word) <= 2;
    match key {
        "ids" | "migration-id" | "migration_id" | "migrationid" => Some(Key::Id),
        _ if key.starts_with("depend") || close("depends") => Some(Key::Depends),
        _ if key.starts_with("replac") || close("replaces") => Some(Key::Replaces),
        _ => None,
    }
}

/// Levenshtein's distance: how many letters to change, insert or remove.
pub(in crate::core) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, other_letter) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other_letter);
            diagonal = row[place + 1];
            row[place + 1] = change.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::dunlin::DUNLIN, super::metapg::METAPG, *};

    /// M11, P12, P22: markers in any case and spacing; other words are comments.
    #[test]
    fn a_comment_is_a_directive_or_a_comment() {
        for (comment, key, value) in [
            ("-- migrate: up", Key::Up, "up"),
            ("--migrate:up", Key::Up, "up"),
            ("-- MIGRATE : UP", Key::Up, "UP"),
            ("--\tmigrate:   Down  ", Key::Down, "Down"),
            ("-- migrate: down (drops the table)", Key::Down, "down (drops the table)"),
            ("-- migrate: no-transaction", Key::NoTransaction, "no-transaction"),
            ("-- migrate: trust-splitter", Key::TrustSplitter, "trust-splitter"),
            ("-- Migration: Add users", Key::Migration, "Add users"),
            ("-- id: 001", Key::Id, "001"),
            ("-- Depends: a, b", Key::Depends, "a, b"),
            ("--depends:", Key::Depends, ""),
            ("-- replaces: 1", Key::Replaces, "1"),
            ("-- Description: words: more", Key::Description, "words: more"),
        ] {
            assert_eq!(DUNLIN.meaning(comment), Meaning::Directive(key, value), "{comment}");
        }
        for comment in [
            "--",
            "-- words",
            "-- TODO: x",
            "-- note: up",
            "-- see: https://example.com",
            "-- migrate the users",
            "-- é: x",
            "-- depends on the users table",
            "-- relates: #12",
            "-- replicas: 3",
            "-- idx: a",
            "-- author: me",
            "--- migrate: up",
            "-- rollbacks are fine",
            "-- migrations: 3",
            "-- is: x",
            "-- +goo",
        ] {
            assert_eq!(DUNLIN.meaning(comment), Meaning::Comment, "{comment}");
        }
    }

    /// P12: a line that looks like a marker but is none is an error.
    #[test]
    fn a_comment_close_to_a_directive_is_refused_with_the_right_one() {
        for (comment, says) in [
            ("-- migrate: upp", "there are up, down, no-transaction and trust-splitter"),
            ("-- migrate:", "there are up, down"),
            ("-- migrate: up transaction:false", "stands alone on its line"),
            ("-- migrate up", "write `-- migrate: up`"),
            ("-- migration: down", "write `-- migrate: down`"),
            ("-- migrat: down", "write `-- migrate: down`"),
            ("-- migrates: up", "write `-- migrate: up`"),
            ("-- depend: 1", "write `-- depends:`"),
            ("-- Dependencies: 1", "write `-- depends:`"),
            ("-- depends-on: 1", "write `-- depends:`"),
            ("-- depends on: 1", "write `-- depends:`"),
            ("-- dpends: 1", "write `-- depends:`"),
            ("-- replace: 1", "write `-- replaces:`"),
            ("-- repalces: 1", "write `-- replaces:`"),
            ("-- ids: 1", "write `-- id:`"),
            ("-- +goose Down", "marker of goose"),
        ] {
            match DUNLIN.meaning(comment) {
                Meaning::Refused(message) => assert!(message.contains(says), "{comment}: {message}"),
                other => panic!("{comment}: {other:?}"),
            }
        }
    }

    /// P12, P13: alone or with a parenthesis it is a marker.
    #[test]
    fn rollback_is_a_marker_alone_or_with_a_parenthesis() {
        for comment in ["-- ROLLBACK", "--rollback", "-- Rollback  ", "-- ROLLBACK (optional)", "-- ROLLBACK(x)"] {
            assert_eq!(METAPG.meaning(comment), Meaning::Rollback, "{comment}");
        }
        for comment in ["-- ROLLBACK is a word", "-- rollback: x", "-- rollback;", "-- rollback-safe"] {
            assert_eq!(METAPG.meaning(comment), Meaning::RollbackWithText, "{comment}");
        }
    }

    #[test]
    fn metapg_reads_its_own_keys_alone() {
        assert_eq!(METAPG.meaning("-- Depends: (none)"), Meaning::Directive(Key::Depends, "(none)"));
        assert_eq!(METAPG.meaning("-- id: 7"), Meaning::Comment);
        assert_eq!(METAPG.meaning("-- replace: 7"), Meaning::Comment);
        assert!(matches!(METAPG.meaning("-- migrate: down"), Meaning::Refused(_)));
    }

    #[test]
    fn a_distance_counts_letters() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("depends", "depend", 1), ("kitten", "sitting", 3), ("é", "e", 1)]
        {
            assert_eq!(distance(one, other), expected);
            assert_eq!(distance(other, one), expected);
        }
    }

    proptest! {
        #[test]
        fn any_comment_has_a_meaning(comment in "--\\PC*") {
            DUNLIN.meaning(&comment);
            METAPG.meaning(&comment);
        }
    }
}
