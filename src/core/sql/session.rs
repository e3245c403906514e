//! What a statement leaves behind in the session, and whether a DO block commits.

use std::borrow::Cow;

use super::{
    classify::SessionEffect,
    lexer::{Backslashes, TokenKind},
    literal,
    tokens::{Part, Tokens},
};

/// Session-level advisory locks; those of a transaction end with it.
const ADVISORY_LOCKS: &[&str] =
    &["pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared"];

/// What a statement leaves in the session.
pub(super) fn effect(tokens: Tokens) -> SessionEffect {
    let mut rest = tokens.clone();
    let Some(verb) = rest.next() else { return SessionEffect::None };
    let is = |keyword| verb.is(keyword);
    match () {
        () if is("set") => set(rest),
        // LOAD changes nothing but what the session can do, and may be sent again.
        () if is("reset") || is("load") => SessionEffect::Setting,
        () if is("select") && is_set_config_alone(rest.clone()) => SessionEffect::Setting,
        () if is("prepare") && !rest.accept("transaction") => SessionEffect::State,
        () if is("listen") => SessionEffect::State,
        () if is("declare") && has(rest.clone(), &["with", "hold"]) => SessionEffect::State,
        () if is("do") => body(rest)
            .map_or(SessionEffect::None, |body| deep_effect(Tokens::new(&body, Backslashes::Ordinary), Depth::Block)),
        () if !may_leave_something(&tokens) => SessionEffect::None,
        () if is("create") && creates_temporary(rest.clone()) => SessionEffect::State,
        () => deep_effect(tokens, Depth::Statement),
    }
}

/// Whether the body of a DO block ends a transaction.
pub(super) fn may_commit(tokens: Tokens) -> bool {
    let Some(body) = body(tokens) else { return false };
    let mut tokens = Tokens::new(&body, Backslashes::Ordinary);
    let mut previous: Option<Part> = None;
    while let Some(part) = tokens.next() {
        let begins_statement = previous.is_none_or(|previous| {
            previous.kind == TokenKind::Semicolon
                || ["begin", "then", "else", "loop"].iter().any(|keyword| previous.is(keyword))
        });
        if begins_statement && (part.is("commit") || part.is("rollback")) {
            let mut ahead = tokens.clone();
            if ahead.next().is_none_or(|next| next.kind == TokenKind::Semicolon || next.is("and")) {
                return true;
            }
        }
        previous = Some(part);
    }
    false
}

fn set(mut tokens: Tokens) -> SessionEffect {
    if tokens.accept_any(&["local", "transaction", "constraints"]) {
        SessionEffect::None
    } else {
        SessionEffect::Setting
    }
}

/// `SELECT set_config(…)` and nothing beside it that would happen again if it were sent again.
fn is_set_config_alone(mut tokens: Tokens) -> bool {
    if tokens.accept("pg_catalog") {
        tokens.accept_symbol(b'.');
    }
    if !tokens.accept("set_config") || !tokens.accept_parentheses() {
        return false;
    }
    tokens.accept("as");
    tokens.identifier();
    tokens.next().is_none()
}

/// Whether one of the words may stand in it, without which a statement leaves nothing: nearly all have none, and aren't
/// read through. Each is told by how it begins.
fn may_leave_something(tokens: &Tokens) -> bool {
    const WORDS: [u32; 3] = [beginning(*b"temp"), beginning(*b"set_"), beginning(*b"advi")];
    let text = tokens.rest().as_bytes();
    text.windows(4).any(|four| four.first_chunk().is_some_and(|four| WORDS.contains(&beginning(*four))))
}

/// Four bytes, with letters of either case the same.
const fn beginning(four: [u8; 4]) -> u32 {
    u32::from_le_bytes(four) | 0x2020_2020
}

fn creates_temporary(mut tokens: Tokens) -> bool {
    tokens.accept_all(&["or", "replace"]);
    tokens.accept_any(&["local", "global"]);
    tokens.accept_any(&["temp", "temporary"]) || tokens.any(|part| part.is("pg_temp"))
}

/// Where words are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// A statement of SQL.
    Statement,
    /// A block of PL/pgSQL, which can hold any statement.
    Block,
}

/// Effects of functions and clauses anywhere in a statement.
fn deep_effect(mut tokens: Tokens, depth: Depth) -> SessionEffect {
    let selects = tokens.clone().next().is_some_and(|part| {
        part.is("select") || part.is("with") || part.is("table") || part.kind == TokenKind::OpenParenthesis
    });
    let mut previous: Option<Part> = None;
    while let Some(part) = tokens.next() {
        if part.kind == TokenKind::Word {
            let into =
                selects && part.is("into") && !previous.is_some_and(|part| part.is("insert") || part.is("merge"));
            let create = depth == Depth::Block && part.is("create");
            if ADVISORY_LOCKS.iter().any(|lock| part.is(lock))
                || part.is("set_config")
                || (into || create) && creates_next_temporary(tokens.clone())
            {
                return SessionEffect::State;
            }
        }
        previous = Some(part);
    }
    SessionEffect::None
}

/// As [`creates_temporary`], looking no further than the object's name.
fn creates_next_temporary(mut tokens: Tokens) -> bool {
    tokens.accept_all(&["or", "replace"]);
    tokens.accept_any(&["local", "global"]);
    tokens.accept_any(&["temp", "temporary"]) || {
        tokens.accept("table");
        tokens.accept("pg_temp")
    }
}

fn has(mut tokens: Tokens, words: &[&str]) -> bool {
    loop {
        if tokens.accept_all(words) {
            return true;
        }
        if tokens.next().is_none() {
            return false;
        }
    }
}

/// The body of a DO block. Its language may be a string, too.
fn body(mut tokens: Tokens<'_>) -> Option<Cow<'_, str>> {
    loop {
        let part = tokens.next()?;
        if part.is("language") {
            tokens.next()?;
        } else if matches!(part.kind, TokenKind::DollarString | TokenKind::String) {
            return literal::content(part.text, Backslashes::Ordinary);
        }
    }
}
