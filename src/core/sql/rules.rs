//! What a section may hold, by its mode.
//!
//! Dunlin opens and closes the transaction of a transactional section; whoever else ends it would part the migration from
//! its history row. In a non-transactional section a block from BEGIN to COMMIT is one statement of the journal.

use super::{
    Alone, Kind, OwnTransaction, Problem, Script, SessionEffect, Statement, classify::standard_conforming_strings,
    lexer::Backslashes, tokens::Tokens,
};

const NO_TRANSACTION: &str = "add a line `-- migrate: no-transaction`, best with this statement in a file of its own";
const DISCARD_ALL: &str =
    "DISCARD ALL would drop the lock that this run holds: remove it; Dunlin resets the session itself";
const NOT_READ_ONLY: &str = "a READ ONLY transaction can't hold the row of the history: remove READ ONLY";

/// Holds a transactional section against its rules.
pub(super) fn transactional(mut script: Script, text: &str) -> Result<Script, Vec<Problem>> {
    let mut problems = Vec::new();
    let own = match script.statements.as_slice() {
        [first, .., last] => first.kind == Kind::Begin && last.kind == Kind::Commit,
        _ => false,
    };
    let mut statements = script.statements.as_slice();
    if own && let [first, inner @ .., _] = statements {
        let modes = modes(&text[first.span.clone()]);
        if Tokens::new(modes, Backslashes::Ordinary).any(|part| part.is("only")) {
            problems.push(problem(first, NOT_READ_ONLY.into()));
        }
        script.own_transaction = Some(OwnTransaction { modes: modes.into() });
        statements = inner;
    }
    for statement in statements {
        let message = match &statement.kind {
            Kind::Plain | Kind::Savepoint | Kind::Block => continue,
            Kind::Alone(_) if may_be_in_transaction(&text[statement.span.clone()]) => continue,
            Kind::Alone(alone) => {
                let label = label(alone, &text[statement.span.clone()]);
                format!("{label} can't run inside a transaction: {NO_TRANSACTION}")
            }
            Kind::DiscardAll => DISCARD_ALL.into(),
            Kind::Begin | Kind::Commit | Kind::OtherTransactionControl => {
                let verb = verb(&text[statement.span.clone()]);
                format!(
                    "{verb} isn't possible here, since Dunlin runs the section in one transaction with its row of the \
                     history: remove it; only BEGIN as the first statement with COMMIT as the last may stay"
                )
            }
        };
        problems.push(problem(statement, message));
    }
    if problems.is_empty() { Ok(script) } else { Err(problems) }
}

/// Holds a non-transactional section against its rules, and makes one statement of each block.
pub(super) fn non_transactional(mut script: Script, text: &str) -> Result<Script, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut statements = Vec::with_capacity(script.statements.len());
    let mut block: Option<Statement> = None;
    for statement in std::mem::take(&mut script.statements) {
        let sql = &text[statement.span.clone()];
        let mut refuse = |message: String| problems.push(problem(&statement, message));
        match (&statement.kind, &mut block) {
            (Kind::DiscardAll, _) => refuse(DISCARD_ALL.into()),
            (Kind::Begin, Some(_)) => refuse("BEGIN inside a block from BEGIN to COMMIT: end that one first".into()),
            (Kind::Begin, None) => block = Some(Statement { kind: Kind::Block, ..statement }),
            (Kind::Commit, Some(_)) => {
                statements.extend(
                    block.take().map(|block| Statement { span: block.span.start..statement.span.end, ..block }),
                );
            }
            (Kind::Commit, None) => refuse(format!("{} without a BEGIN before it: remove it", verb(sql))),
            (Kind::OtherTransactionControl, _) => refuse(format!(
                "{} can't be journaled: let a block from BEGIN to COMMIT do its work or fail, without it",
                verb(sql)
            )),
            (Kind::Savepoint, None) => {
                refuse(format!(
                    "{} stands outside a transaction: put a block from BEGIN to COMMIT around it",
                    verb(sql)
                ));
            }
            (Kind::Alone(alone), Some(_)) if !may_be_in_transaction(sql) => refuse(format!(
                "{} can't run inside a transaction: move it out of the block from BEGIN to COMMIT",
                label(alone, sql)
            )),
            (_, Some(block)) => {
                // The block is one message, and the server reads all of a message in one way.
                if script.standard_conforming_strings_off
                    && standard_conforming_strings(sql, Backslashes::Ordinary).is_some()
                {
                    refuse(
                        "SET standard_conforming_strings inside a block from BEGIN to COMMIT: move it out of the block"
                            .into(),
                    );
                }
                if statement.copy_data.is_some() {
                    refuse("COPY with data inside a block from BEGIN to COMMIT: move it out of the block".into());
                }
                // A block can't be sent again for the sake of a setting.
                if statement.session != SessionEffect::None {
                    block.session = SessionEffect::State;
                }
            }
            (_, None) => statements.push(statement),
        }
    }
    if let Some(block) = block {
        problems.push(problem(&block, "this BEGIN has no COMMIT: add it".into()));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    script.statements = statements;
    if problems.is_empty() { Ok(script) } else { Err(problems) }
}

fn problem(statement: &Statement, message: String) -> Problem {
    Problem { line: statement.line, column: statement.column, message }
}

/// What stands behind BEGIN or START TRANSACTION, as written.
fn modes(begin: &str) -> &str {
    let mut tokens = Tokens::new(begin, Backslashes::Ordinary);
    tokens.next();
    tokens.accept_any(&["work", "transaction"]);
    tokens.rest().trim()
}

/// A procedure that doesn't commit runs in a transaction; only the server knows which does, and says so without harm.
pub(super) fn may_be_in_transaction(sql: &str) -> bool {
    Tokens::new(sql, Backslashes::Ordinary).accept("call")
}

/// The statement's first words, in upper case, up to where they stop saying what it is.
fn label(alone: &Alone, sql: &str) -> String {
    match alone {
        Alone::CreateIndexConcurrently { .. } => "CREATE INDEX CONCURRENTLY".into(),
        Alone::DropIndexConcurrently { .. } => "DROP INDEX CONCURRENTLY".into(),
        Alone::DetachConcurrently { .. } => "DETACH PARTITION … CONCURRENTLY".into(),
        Alone::Reindex { concurrently: true } => "REINDEX … CONCURRENTLY".into(),
        Alone::Reindex { concurrently: false } => "REINDEX of a schema or database".into(),
        Alone::CreateDatabase { .. } => "CREATE DATABASE".into(),
        Alone::DropDatabase { .. } => "DROP DATABASE".into(),
        Alone::Repeatable | Alone::Unproven => match verb(sql) {
            word if word == "DO" => "a DO block with COMMIT or ROLLBACK".into(),
            word if matches!(word.as_str(), "VACUUM" | "CLUSTER" | "REPACK") => word,
            _ => words(sql, 2),
        },
    }
}

/// The statement's verb, with what makes another statement of it.
fn verb(sql: &str) -> String {
    let mut tokens = Tokens::new(sql, Backslashes::Ordinary);
    let first = tokens.next().map(|part| part.text.to_ascii_uppercase()).unwrap_or_default();
    if tokens.clone().any(|part| part.is("chain")) {
        return format!("{first} AND CHAIN");
    }
    match tokens.next() {
        Some(part) if part.is("transaction") => format!("{first} TRANSACTION"),
        _ => first,
    }
}

fn words(sql: &str, count: usize) -> String {
    let words: Vec<String> =
        Tokens::new(sql, Backslashes::Ordinary).take(count).map(|part| part.text.to_ascii_uppercase()).collect();
    words.join(" ")
}
