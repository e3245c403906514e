//! PostgreSQL's lexical rules: statements, what they are, and what can't run in a transaction.

pub mod classify;
#[cfg(test)]
mod classify_tests;
mod cross_check;
pub mod destructive;
#[cfg(test)]
mod destructive_tests;
#[cfg(test)]
pub(crate) mod fragments;
pub mod lexer;
mod literal;
pub mod position;
pub mod rewrite;
mod rules;
#[cfg(test)]
mod rules_tests;
mod scan;
mod session;
pub mod split;
#[cfg(test)]
mod split_tests;
pub mod subjects;
mod tokens;
pub mod variables;

use std::ops::Range;

pub use classify::{Alone, Kind, QualifiedName, SessionEffect};
pub(crate) use scan::{Found, Next, scan};
pub use split::Problem;

/// Whether a migration runs inside one transaction with its history row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionMode {
    /// One transaction holds the file and its history row.
    Transactional,
    /// `-- migrate: no-transaction`: statement by statement, journaled.
    NonTransactional,
}

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
    /// Whether a statement turns `standard_conforming_strings` off: what follows it is read otherwise, so the section
    /// can't be one message.
    pub standard_conforming_strings_off: bool,
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

impl Statement {
    /// Whether it can't run inside a transaction; `text` is its section's.
    #[must_use]
    pub fn needs_no_transaction(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Alone(_)) && !rules::may_be_in_transaction(&text[self.span.clone()])
    }
}

/// Whose word on the boundaries of statements counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundaries {
    /// Two readers must agree: our own, and a grammar of PostgreSQL.
    CrossChecked,
    /// `-- migrate: trust-splitter`: our own alone.
    Trusted,
}

impl Script {
    /// Splits a section and holds it against the rules of its mode.
    ///
    /// A transactional section may be a transaction itself; in a non-transactional one, which alone is split when it
    /// runs, a block from BEGIN to COMMIT becomes one statement.
    ///
    /// # Errors
    /// Everything that is wrong with it, in order.
    pub fn read(text: &str, mode: TransactionMode, boundaries: Boundaries) -> Result<Self, Vec<Problem>> {
        let script = split::split(text)?;
        match mode {
            TransactionMode::Transactional => rules::transactional(script, text),
            TransactionMode::NonTransactional => {
                if boundaries == Boundaries::CrossChecked {
                    cross_check::cross_check(&script, text).map_err(|problem| vec![problem])?;
                }
                rules::non_transactional(script, text)
            }
        }
    }

    /// Whether a statement carries data of `COPY … FROM stdin`.
    #[must_use]
    pub fn has_copy_data(&self) -> bool {
        self.statements.iter().any(|statement| statement.copy_data.is_some())
    }

    /// Whether a statement turns `standard_conforming_strings` off, so that the section must go statement by statement.
    #[must_use]
    pub fn has_standard_conforming_strings_set(&self) -> bool {
        self.standard_conforming_strings_off
    }
}
