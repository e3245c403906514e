//! What a statement is: transaction control, something that can't run in a transaction, or anything else.
//!
//! Told from its first tokens; a statement of unknown grammar is `Plain`, and the server has the last word.

use super::{
    lexer::{Backslashes, TokenKind},
    session,
    tokens::{Part, Tokens},
};

/// How a statement behaves towards transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// May run inside a transaction.
    Plain,
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`, `END`.
    Commit,
    /// `ROLLBACK` and `ABORT` (not `ROLLBACK TO`), `PREPARE TRANSACTION`, `COMMIT/ROLLBACK AND CHAIN`.
    OtherTransactionControl,
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`.
    Savepoint,
    /// `DISCARD ALL`: refused everywhere, since it drops the lock.
    DiscardAll,
    /// A block from BEGIN to COMMIT of a non-transactional section: one statement of its journal.
    Block,
    /// Can't run, or may not run, inside a transaction; with what a catalog can say about it after a crash.
    Alone(Alone),
}

/// A statement that can't run inside a transaction block, by what proves it after a crash (names as written, unquoted
/// and folded to lower case where they were not quoted).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alone {
    /// `CREATE [UNIQUE] INDEX CONCURRENTLY [IF NOT EXISTS] [name] ON [ONLY] table …`
    CreateIndexConcurrently {
        /// Name of the index, if one is given.
        name: Option<String>,
        /// The table.
        table: QualifiedName,
        /// With `IF NOT EXISTS`.
        if_not_exists: bool,
    },
    /// `DROP INDEX CONCURRENTLY [IF EXISTS] name` (only one name is allowed by the server)
    DropIndexConcurrently {
        /// The index.
        name: QualifiedName,
        /// With `IF EXISTS`.
        if_exists: bool,
    },
    /// `ALTER TABLE parent DETACH PARTITION child CONCURRENTLY`
    DetachConcurrently {
        /// The partitioned table.
        parent: QualifiedName,
        /// The partition.
        partition: QualifiedName,
    },
    /// `REINDEX [(…)] {INDEX|TABLE|SCHEMA|DATABASE|SYSTEM} [CONCURRENTLY] …`: harmless to repeat
    Reindex {
        /// With CONCURRENTLY.
        concurrently: bool,
    },
    /// `CREATE DATABASE name`
    CreateDatabase {
        /// The database.
        name: String,
    },
    /// `DROP DATABASE [IF EXISTS] name`
    DropDatabase {
        /// The database.
        name: String,
    },
    /// Harmless to repeat by its form: `VACUUM`, `CLUSTER`, `ALTER SYSTEM`, …
    Repeatable,
    /// Nothing proves it: `CALL`, a `DO` that commits, subscriptions, tablespaces, …
    Unproven,
}

/// A name with an optional schema, unquoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualifiedName {
    /// The schema, if one is given.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
}

/// What a statement leaves behind in the session, beyond its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEffect {
    /// Nothing.
    None,
    /// A setting that can be sent again: `SET`, `RESET`, `SELECT set_config(…)`.
    Setting,
    /// State that can't be made again: temporary table, PREPARE, LISTEN, cursor WITH HOLD, session advisory lock.
    State,
}

/// A value of `standard_conforming_strings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringsSetting {
    On,
    Off,
    /// Set, but to what or for how long can't be told.
    Unclear,
}

/// What a statement is, and what it leaves in the session; `standard_conforming_strings` being on.
#[must_use]
pub fn classify(statement: &str) -> (Kind, SessionEffect) {
    classify_with(statement, Backslashes::Ordinary)
}

/// As [`classify`], where strings are read otherwise.
#[must_use]
pub fn classify_with(statement: &str, backslashes: Backslashes) -> (Kind, SessionEffect) {
    let tokens = Tokens::new(statement, backslashes);
    (kind(tokens.clone()), session::effect(tokens))
}

fn kind(mut tokens: Tokens) -> Kind {
    const NOISE: &[&str] = &["work", "transaction"];
    let Some(verb) = tokens.next() else { return Kind::Plain };
    let is = |keyword| verb.is(keyword);
    match () {
        () if is("begin") => Kind::Begin,
        () if is("start") && tokens.accept("transaction") => Kind::Begin,
        () if is("commit") || is("rollback") || is("end") || is("abort") => {
            if tokens.accept("prepared") {
                return Kind::Alone(Alone::Unproven);
            }
            tokens.accept_any(NOISE);
            let chains = tokens.accept("and") && !tokens.accept("no");
            match () {
                () if is("rollback") && tokens.accept("to") => Kind::Savepoint,
                () if chains || is("rollback") || is("abort") => Kind::OtherTransactionControl,
                () => Kind::Commit,
            }
        }
        () if is("prepare") && tokens.accept("transaction") => Kind::OtherTransactionControl,
        () if is("savepoint") || is("release") => Kind::Savepoint,
        () if is("discard") && tokens.accept("all") => Kind::DiscardAll,
        () => alone(&verb, tokens).map_or(Kind::Plain, Kind::Alone),
    }
}

/// What raises 25001 inside a transaction block on PostgreSQL 14 to 18, as far as the statement itself tells: not that a
/// table is partitioned (REINDEX, CLUSTER). And what may commit by itself.
fn alone(verb: &Part, mut tokens: Tokens) -> Option<Alone> {
    let is = |keyword| verb.is(keyword);
    match () {
        () if is("vacuum") || is("alter") && tokens.accept("system") => Some(Alone::Repeatable),
        () if is("call") => Some(Alone::Unproven),
        () if is("do") => session::may_commit(tokens).then_some(Alone::Unproven),
        () if is("reindex") => reindex(tokens),
        () if is("cluster") => cluster(tokens),
        () if is("repack") => tokens.any(|token| token.is("concurrently")).then_some(Alone::Repeatable),
        () if is("create") => create(tokens),
        () if is("drop") => drop_object(tokens),
        () if is("alter") => alter(tokens),
        () => None,
    }
}

fn create(mut tokens: Tokens) -> Option<Alone> {
    if tokens.accept("database") {
        return Some(tokens.identifier().map_or(Alone::Unproven, |name| Alone::CreateDatabase { name }));
    }
    if tokens.accept("tablespace") {
        return Some(Alone::Unproven);
    }
    if tokens.accept("subscription") {
        // Without a slot to create it is an ordinary statement.
        let without_slot = tokens.option_is_off("connect") || tokens.option_is_off("create_slot");
        return (!without_slot).then_some(Alone::Unproven);
    }
    tokens.accept("unique");
    (tokens.accept("index") && tokens.accept("concurrently"))
        .then(|| create_index_concurrently(tokens).unwrap_or(Alone::Unproven))
}

fn create_index_concurrently(mut tokens: Tokens) -> Option<Alone> {
    let if_not_exists = tokens.accept_all(&["if", "not", "exists"]);
    let name = if tokens.accept("on") {
        None
    } else {
        let name = tokens.identifier()?;
        if !tokens.accept("on") {
            return None;
        }
        Some(name)
    };
    tokens.accept("only");
    Some(Alone::CreateIndexConcurrently { name, table: tokens.qualified_name()?, if_not_exists })
}

fn drop_object(mut tokens: Tokens) -> Option<Alone> {
    if tokens.accept("database") {
        tokens.accept_all(&["if", "exists"]);
        return Some(tokens.identifier().map_or(Alone::Unproven, |name| Alone::DropDatabase { name }));
    }
    if tokens.accept("tablespace") || tokens.accept("subscription") {
        return Some(Alone::Unproven);
    }
    if tokens.accept("index") && tokens.accept("concurrently") {
        let if_exists = tokens.accept_all(&["if", "exists"]);
        let dropped = tokens.qualified_name().map(|name| Alone::DropIndexConcurrently { name, if_exists });
        return Some(dropped.unwrap_or(Alone::Unproven));
    }
    None
}

fn alter(mut tokens: Tokens) -> Option<Alone> {
    if tokens.accept("database") {
        tokens.identifier();
        return tokens.accept_all(&["set", "tablespace"]).then_some(Alone::Unproven);
    }
    if tokens.accept("subscription") {
        return alter_subscription(tokens);
    }
    if !tokens.accept("table") {
        return None;
    }
    tokens.accept_all(&["if", "exists"]);
    tokens.accept("only");
    let parent = tokens.qualified_name();
    tokens.accept_symbol(b'*');
    if !tokens.accept_all(&["detach", "partition"]) {
        return None;
    }
    let partition = tokens.qualified_name();
    tokens.accept("concurrently").then_some(match (parent, partition) {
        (Some(parent), Some(partition)) => Alone::DetachConcurrently { parent, partition },
        _ => Alone::Unproven,
    })
}

fn alter_subscription(mut tokens: Tokens) -> Option<Alone> {
    tokens.identifier();
    let (set, publications) = if tokens.accept("refresh") {
        return Some(Alone::Repeatable);
    } else if tokens.accept("set") {
        (true, tokens.accept("publication"))
    } else {
        (false, tokens.accept_any(&["add", "drop"]) && tokens.accept("publication"))
    };
    match (set, publications) {
        (_, true) if tokens.option_is_off("refresh") => None,
        (true, true) => Some(Alone::Repeatable),
        (false, true) => Some(Alone::Unproven),
        // These options talk to the publisher, since 17 and 18.
        (true, false) => tokens.any(|token| token.is("failover") || token.is("two_phase")).then_some(Alone::Repeatable),
        (false, false) => None,
    }
}

fn reindex(mut tokens: Tokens) -> Option<Alone> {
    let mut concurrently = false;
    if tokens.clone().next().is_some_and(|token| token.kind == TokenKind::OpenParenthesis) {
        concurrently = tokens
            .clone()
            .take_while(|token| token.kind != TokenKind::CloseParenthesis)
            .any(|token| token.is("concurrently"))
            && !tokens.option_is_off("concurrently");
        tokens.by_ref().find(|token| token.kind == TokenKind::CloseParenthesis);
    }
    let many = tokens.accept_any(&["schema", "database", "system"]);
    if !many {
        tokens.accept_any(&["index", "table"]);
    }
    concurrently |= tokens.accept("concurrently");
    (many || concurrently).then_some(Alone::Reindex { concurrently })
}

/// Without a table it is about all that were ever clustered, a transaction each.
fn cluster(mut tokens: Tokens) -> Option<Alone> {
    tokens.accept("verbose");
    if tokens.clone().next().is_some_and(|token| token.kind == TokenKind::OpenParenthesis) {
        tokens.by_ref().find(|token| token.kind == TokenKind::CloseParenthesis);
    }
    tokens.next().is_none().then_some(Alone::Repeatable)
}

/// Whether a statement sets `standard_conforming_strings`, and to what.
pub(super) fn standard_conforming_strings(statement: &str, backslashes: Backslashes) -> Option<StringsSetting> {
    let mut tokens = Tokens::new(statement, backslashes);
    if tokens.accept("reset") {
        return tokens.accept_any(&["standard_conforming_strings", "all"]).then_some(StringsSetting::On);
    }
    if !tokens.accept("set") {
        return None;
    }
    let local = tokens.accept("local");
    if !local {
        tokens.accept("session");
    }
    if !tokens.identifier().is_some_and(|name| name.eq_ignore_ascii_case("standard_conforming_strings")) {
        return None;
    }
    if !tokens.accept_symbol(b'=') {
        tokens.accept("to");
    }
    let value =
        tokens.next().map(|token| token.text.trim_matches(['\'', '"']).to_ascii_lowercase()).unwrap_or_default();
    Some(match value.as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" | "default" if !local => StringsSetting::On,
        "off" | "false" | "no" | "0" | "f" | "n" if !local => StringsSetting::Off,
        _ => StringsSetting::Unclear,
    })
}
