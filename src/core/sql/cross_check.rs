//! A second opinion on where statements begin: squawk's grammar of PostgreSQL.
//!
//! Only non-transactional sections are split when they run, and a wrong boundary there would run half a statement. Both
//! readers see the same text, but psql lines and variables, COPY data and empty statements are blanked out for the
//! grammar, which doesn't know them. It recovers from syntax that it doesn't know, so its errors alone are no objection.

use std::{iter::Peekable, thread};

use squawk_syntax::{SourceFile, ast::AstNode};

use super::{
    Problem, Script,
    lexer::{Backslashes, Lexer, TokenKind},
    position::{Counter, Location},
    variables::masked,
};

/// The grammar descends once for each level of nesting; this is what its thread's stack holds many times over.
const MAX_NESTING: usize = 500;
const STACK_BYTES: usize = 128 << 20;

/// Compares the beginnings of all statements.
pub(super) fn cross_check(script: &Script, text: &str) -> Result<(), Problem> {
    if script.statements.is_empty() {
        return Ok(());
    }
    let place = |at: usize, what: &str| {
        let Location { line, column } = Counter::new(text, 0).advance(at);
        let message = format!(
            "{what}: rewrite the statement, or add a line `-- migrate: trust-splitter` if psql splits the file as you mean it"
        );
        Problem { line, column, message }
    };
    if let Some(deep) = too_deep(script, text) {
        return Err(place(deep, "the statement is nested too deeply to be checked against a grammar of PostgreSQL"));
    }
    let Some(theirs) = beginnings(blanked(script, text)) else {
        return Err(place(script.statements[0].span.start, "the section can't be read by a grammar of PostgreSQL"));
    };
    let mut theirs = theirs.into_iter().peekable();
    for statement in &script.statements {
        let span = &statement.span;
        if theirs.next_if_eq(&span.start).is_none() {
            return Err(place(span.start.min(next(&mut theirs)), DISAGREE));
        }
        if next(&mut theirs) < span.end {
            return Err(place(next(&mut theirs), DISAGREE));
        }
    }
    match theirs.next() {
        Some(at) => Err(place(at, DISAGREE)),
        None => Ok(()),
    }
}

const DISAGREE: &str = "psql's rules and a grammar of PostgreSQL disagree on where a statement begins here";

fn next(beginnings: &mut Peekable<impl Iterator<Item = usize>>) -> usize {
    beginnings.peek().copied().unwrap_or(usize::MAX)
}

/// The first bytes of the statements that the grammar sees; None if it gave up.
fn beginnings(text: String) -> Option<Vec<usize>> {
    // A thread for its stack's size, and because the grammar asserts: its panic ends here.
    let work = move || {
        let parse = SourceFile::parse(&text);
        parse.tree().stmts().map(|statement| usize::from(statement.syntax().text_range().start())).collect()
    };
    thread::Builder::new().name("cross-check".into()).stack_size(STACK_BYTES).spawn(work).ok()?.join().ok()
}

/// The statements in their places, and blanks for everything else.
fn blanked(script: &Script, text: &str) -> String {
    let mut blanked = Vec::with_capacity(text.len());
    let blank = |from: usize, to: usize, blanked: &mut Vec<u8>| {
        blanked.extend(text.as_bytes()[from..to].iter().map(|&byte| if byte == b'\n' { byte } else { b' ' }));
    };
    let mut at = 0;
    for statement in &script.statements {
        let span = statement.span.clone();
        blank(at, span.start, &mut blanked);
        blanked.extend_from_slice(masked(&text[span.clone()], Backslashes::Ordinary).as_bytes());
        at = span.end;
        // Every statement ends in a semicolon of its own; the byte behind it is that semicolon, or a blank.
        if at < text.len() && text.is_char_boundary(at + 1) {
            blanked.push(b';');
            at += 1;
        }
    }
    blank(at, text.len(), &mut blanked);
    String::from_utf8(blanked).unwrap_or_default()
}

/// The first statement that nests deeper than the grammar can be trusted with, by a measure that only errs upwards.
fn too_deep(script: &Script, text: &str) -> Option<usize> {
    let mut spans = script.statements.iter().map(|statement| statement.span.clone());
    spans.find(|span| nesting(&text[span.clone()]) > MAX_NESTING).map(|span| span.start)
}

fn nesting(sql: &str) -> usize {
    const DESCENDING: &[&str] = &["case", "explain", "prepare", "union", "except", "intersect", "join", "setof"];
    let lexer = Lexer::new(sql, Backslashes::Ordinary);
    let (mut open, mut words, mut operators, mut deepest) = (0_usize, 0_usize, 0_usize, 0_usize);
    for token in lexer.clone().filter(|token| !token.kind.is_blank()) {
        let text = lexer.text(token);
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        let operator = is("not") || token.kind == TokenKind::Symbol && !matches!(text, "," | "[" | "]");
        operators = if operator { operators + 1 } else { 0 };
        match text {
            "(" | "[" => open += 1,
            ")" | "]" => open = open.saturating_sub(1),
            _ if token.kind == TokenKind::Word && DESCENDING.iter().any(|word| is(word)) => words += 1,
            _ => {}
        }
        deepest = deepest.max(open + words + operators);
    }
    deepest
}
