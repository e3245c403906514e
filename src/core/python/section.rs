//! What several calls run into one section: each statement ended, indented as SQL is, and otherwise as it stood.

use super::{Trouble, literal::Literal};
use crate::core::{
    format::without_directives,
    sql::{
        Script,
        lexer::{Backslashes, Lexer, TokenKind},
        split::{Problem, split},
    },
};

/// One call's SQL, as a section has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    /// The first byte of it in the file of Python.
    pub at: usize,
    pub text: String,
    pub statements: Vec<String>,
    /// Where its statements stand that can't run inside a transaction.
    pub alone: Vec<usize>,
    /// And those that can.
    pub together: Vec<usize>,
}

/// Reads one call's SQL.
///
/// # Errors
/// What PostgreSQL couldn't split, and what has no place in a file.
pub(super) fn body(literal: &Literal) -> Result<Body, Vec<Trouble>> {
    let text = literal.text.as_str();
    if text.trim().is_empty() {
        return Err(vec![Trouble::new(literal.place(0), "there is no SQL in it: write it, or remove the call")]);
    }
    let placed = |problem: Problem| Trouble::new(literal.place(byte_of(text, &problem)), problem.message);
    let refused = |problems: Vec<Problem>| problems.into_iter().map(placed).collect::<Vec<_>>();
    let script = split(text).map_err(refused)?;
    let ended = ended(text, &script);
    if script.has_copy_data() {
        let message = "COPY … FROM stdin is fed by a program: write the rows as INSERT";
        return Err(vec![Trouble::new(literal.place(0), message)]);
    }
    let mut body = Body {
        at: literal.place(0),
        text: without_directives(&as_sql_has_it(&ended)),
        statements: Vec::new(),
        alone: Vec::new(),
        together: Vec::new(),
    };
    for statement in &script.statements {
        let place = literal.place(statement.span.start);
        let kind = if statement.needs_no_transaction(text) { &mut body.alone } else { &mut body.together };
        kind.push(place);
        body.statements.push(without_directives(&text[statement.span.clone()]));
    }
    Ok(body)
}

/// The text with a semicolon behind its last statement, so that it can't run on into the next one.
fn ended(text: &str, script: &Script) -> String {
    let Some(last) = script.statements.last() else { return text.to_owned() };
    let (before, behind) = text.split_at(last.span.end);
    if Lexer::new(behind, Backslashes::Ordinary).any(|token| token.kind == TokenKind::Semicolon) {
        return text.to_owned();
    }
    format!("{before};{behind}")
}

/// Without the blank lines around it, and without the indentation that Python gave it; with that where it is part of a
/// literal, whose bytes count.
fn as_sql_has_it(text: &str) -> String {
    let mut text = text.trim_end();
    while let Some((blank, rest)) = text.split_once('\n')
        && blank.trim().is_empty()
    {
        text = rest;
    }
    let is_literal = |kind| {
        matches!(
            kind,
            TokenKind::String | TokenKind::DollarString | TokenKind::QuotedIdentifier | TokenKind::BlockComment
        )
    };
    let spans_lines = Lexer::new(text, Backslashes::Ordinary)
        .any(|token| is_literal(token.kind) && text[token.start..token.end].contains('\n'));
    if spans_lines {
        return format!("{}\n", text.trim_start());
    }
    let indent = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let filled = |line: &&str| !line.trim().is_empty();
    // Where the text begins behind the quotes, the first line has none.
    let behind = usize::from(!text.starts_with([' ', '\t']));
    let margin = text.lines().skip(behind).filter(filled).map(|line| indent(&line)).min().unwrap_or_default();
    let mut sql = String::with_capacity(text.len());
    for (at, line) in text.lines().enumerate() {
        let line = if at < behind { line } else { line.get(margin..).unwrap_or_default() };
        sql.push_str(line.trim_end());
        sql.push('\n');
    }
    sql
}

/// The byte at which a problem stands.
fn byte_of(text: &str, problem: &Problem) -> usize {
    let mut start = 0;
    for line in text.split_inclusive('\n').take(problem.line as usize) {
        start += line.len();
    }
    let column = problem.column.saturating_sub(1) as usize;
    text[start..].char_indices().nth(column).map_or(text.len(), |(at, _)| start + at)
}
