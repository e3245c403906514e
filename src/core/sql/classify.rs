//! What a statement is: transaction control, something that can't run in a transaction, or anything else.

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
