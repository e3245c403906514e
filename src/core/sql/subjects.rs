//! Which tables a script is about, and which of them have something to do with one another.

use std::collections::BTreeSet;

use super::{Script, lexer::Backslashes, tokens::Tokens};

/// A table that a statement makes, changes or drops, for the first time in its script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name, without a schema.
    pub table: String,
    /// Which of the script's statements, from 0.
    pub statement: usize,
}

/// The first table of each group that has nothing to do with the others: neither by one statement that names both, nor
/// by way of a third.
#[must_use]
pub fn unrelated(text: &str, script: &Script) -> Vec<Subject> {
    let mut groups: Vec<(Subject, BTreeSet<String>)> = Vec::new();
    for (index, statement) in script.statements.iter().enumerate() {
        let tokens = Tokens::new(&text[statement.span.clone()], Backslashes::Ordinary);
        let Some(table) = subject(tokens.clone()) else { continue };
        let named = names(tokens);
        let (mut related, others): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|(_, tables)| tables.iter().any(|known| *known == table || named.contains(known)));
        let mut tables: BTreeSet<String> = related.iter_mut().flat_map(|(_, tables)| std::mem::take(tables)).collect();
        tables.insert(table.clone());
        let first = related.into_iter().next().map_or(Subject { table, statement: index }, |(first, _)| first);
        groups = others;
        groups.push((first, tables));
    }
    let mut firsts: Vec<Subject> = groups.into_iter().map(|(first, _)| first).collect();
    firsts.sort_by_key(|first| first.statement);
    firsts
}

/// The table that a statement is about; None for statements that are about none, or about several.
fn subject(mut tokens: Tokens<'_>) -> Option<String> {
    let creates = tokens.accept("create");
    if creates {
        while tokens.accept_any(&["global", "local", "temporary", "temp", "unlogged", "unique"]) {}
    } else if !tokens.accept_any(&["alter", "drop"]) {
        return None;
    }
    if creates && tokens.accept_any(&["index", "trigger", "policy"]) {
        while !tokens.accept("on") {
            tokens.next()?;
        }
        tokens.accept("only");
    } else if !tokens.accept("table") {
        return None;
    }
    tokens.accept_all(&["if", "not", "exists"]);
    tokens.accept_all(&["if", "exists"]);
    tokens.accept("only");
    tokens.qualified_name().map(|name| name.name)
}

/// Every word of a statement that may be a name.
fn names(mut tokens: Tokens<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    loop {
        match tokens.identifier() {
            Some(name) => names.extend([name]),
            None if tokens.next().is_none() => return names,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{migration::TransactionMode, sql::Boundaries};

    #[test]
    fn tables_are_related_by_statements_that_name_both() {
        for (text, expected) in [
            ("CREATE TABLE a (x int);", &["a"][..]),
            ("CREATE TABLE a (x int); CREATE INDEX ON a (x); ALTER TABLE public.a ADD y int;", &["a"]),
            ("CREATE TABLE a (x int); CREATE TABLE b (x int);", &["a", "b"]),
            ("CREATE TABLE a (x int); CREATE TABLE b (a int REFERENCES a);", &["a"]),
            ("CREATE TABLE a (); CREATE TABLE b (); CREATE TABLE c (a int REFERENCES a, b int REFERENCES b);", &["a"]),
            ("CREATE TABLE a (); CREATE TABLE b (); CREATE TABLE c (b int REFERENCES b);", &["a", "b"]),
            ("DROP TABLE IF EXISTS a; ALTER TABLE IF EXISTS ONLY b ADD c int;", &["a", "b"]),
            (
                "CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f(); CREATE UNIQUE INDEX i ON ONLY \"A\" (x);",
                &["a", "A"],
            ),
            ("INSERT INTO a VALUES (1); CREATE VIEW v AS SELECT 1; SELECT 2;", &[]),
        ] {
            let script = Script::read(text, TransactionMode::Transactional, Boundaries::Trusted).expect("it is SQL");
            let found: Vec<String> = unrelated(text, &script).into_iter().map(|subject| subject.table).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
