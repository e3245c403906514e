//! PostgreSQL's lexical rules: statements, what they are, and what can't run in a transaction.

pub mod classify;
pub mod lexer;
pub mod split;

use std::ops::Range;

pub use classify::{Alone, Kind, SessionEffect};

/// A section split into statements; empty statements are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The statements in order.
    pub statements: Vec<Statement>,
    /// Set when the section's first statement is BEGIN and its last is COMMIT: those two are not sent. They stay in
    /// `statements` as [`Kind::Begin`] and [`Kind::Commit`]; `modes` is what stood behind BEGIN (`ISOLATION LEVEL …`).
    pub own_transaction: Option<OwnTransaction>,
    /// Byte ranges of psql lines that are accepted and not sent (`\restrict`, `\unrestrict`).
    pub skipped: Vec<Range<usize>>,
}

/// The file is a transaction itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTransaction {
    /// Transaction modes of its BEGIN, empty for none.
    pub modes: String,
}

/// One statement of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Bytes of the section's text, from the statement's first token to its last, without the semicolon.
    pub span: Range<usize>,
    /// Line of the section's text on which the statement begins, from 0.
    pub line: u32,
    /// Column of the statement's first character in its line, from 1, in characters.
    pub column: u32,
    /// The data of a `COPY … FROM stdin` (without the closing `\.` line), bytes of the section's text.
    pub copy_data: Option<Range<usize>>,
    /// What it is.
    pub kind: Kind,
    /// What it leaves in the session.
    pub session: SessionEffect,
}
