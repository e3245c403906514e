//! The rows that a run writes, as SQL. Every one of them proves the run's claim.

use std::fmt::Write as _;

use super::Tables;
use crate::{
    core::{
        desired::Action,
        history::RunError,
        migration::{Migration, TransactionMode, Version},
        plan::prefix_hash,
    },
    database::quote,
};

/// What is the same for every row of one execution.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Where the history is.
    pub tables: Tables,
    /// The claim's token.
    pub token: String,
    /// Who runs it, as `MigrationSet shop/shop`.
    pub by: String,
    /// The digest of the plan.
    pub plan_digest: Option<String>,
    /// The digest of the source.
    pub source_digest: String,
    /// `metadata.generation`, for the operator.
    pub generation: Option<i64>,
    /// Number of this plan's batch.
    pub batch: i64,
}

/// Which row of `dunlin.run` a write belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunRow {
    /// A new one, of this kind (`apply`, `resume`, `accept-checksum`, `replace`).
    New(&'static str),
    /// One that is there: a run that is tried again, or goes on.
    Existing(i64),
}

/// How an attempt ended, or that it has begun.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// A non-transactional run begins: until it says otherwise, it was interrupted.
    Begun,
    /// All of it is done.
    Succeeded,
    /// The server refused a statement.
    Failed(&'a Wrong),
    /// Nothing proves what a statement did.
    Interrupted(&'a Wrong),
}

/// An error as the history keeps it, DETAIL included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wrong {
    /// What the status may say.
    pub error: RunError,
    /// DETAIL, which may hold rows of the user's.
    pub detail: Option<String>,
}

impl Writer {
    /// Writes the run and the migration's row in one statement, without a semicolon.
    ///
    /// `version` is the history's spelling; `statements_before` is when the run began: the transaction's start for a
    /// transactional one, the row's own for others.
    #[must_use]
    pub fn record(
        &self,
        migration: &Migration,
        version: &str,
        inputs: &str,
        run: RunRow,
        attempts: i64,
        outcome: Outcome<'_>,
    ) -> String {
        let (run_outcome, state, finished) = match outcome {
            Outcome::Begun => ("running", "interrupted", "NULL"),
            Outcome::Succeeded => ("succeeded", "applied", "pg_catalog.clock_timestamp()"),
            Outcome::Failed(_) => ("failed", "failed", "pg_catalog.clock_timestamp()"),
            Outcome::Interrupted(_) => ("interrupted", "interrupted", "pg_catalog.clock_timestamp()"),
        };
        let wrong = match outcome {
            Outcome::Failed(wrong) | Outcome::Interrupted(wrong) => Some(wrong),
            Outcome::Begun | Outcome::Succeeded => None,
        };
        let applied = matches!(outcome, Outcome::Succeeded);
        let down = migration.down.as_ref();
        format!(
            "WITH run AS ({run}) INSERT INTO {migration_table} AS m (\"set\", version, name, state, checksum, transactional, \
             down_sql, down_checksum, depends, replaces, batch, applied_at, duration_ms, applied_by, run) \
             VALUES ((SELECT run.\"set\" FROM run), {version}, {name}, '{state}', {checksum}, {transactional}, {down_sql}, \
             {down_checksum}, {depends}, {replaces}, {batch}, {applied_at}, (SELECT run.duration_ms FROM run), {applied_by}, \
             (SELECT run.id FROM run)) \
             ON CONFLICT (\"set\", version) DO UPDATE SET \"set\" = EXCLUDED.\"set\", name = EXCLUDED.name, state = EXCLUDED.state, \
             checksum = EXCLUDED.checksum, transactional = EXCLUDED.transactional, down_sql = EXCLUDED.down_sql, \
             down_checksum = EXCLUDED.down_checksum, depends = EXCLUDED.depends, replaces = EXCLUDED.replaces, \
             batch = EXCLUDED.batch, applied_at = EXCLUDED.applied_at, duration_ms = EXCLUDED.duration_ms, \
             applied_by = EXCLUDED.applied_by, run = EXCLUDED.run RETURNING m.run",
            run = self.run(migration, version, inputs, run, attempts, run_outcome, finished, wrong),
            migration_table = self.tables.table("migration"),
            version = quote::literal(version),
            name = quote::literal(&migration.name),
            checksum = quote::literal(migration.up.checksum.as_str()),
            transactional = migration.mode == TransactionMode::Transactional,
            down_sql = quote::optional(down.map(|down| &down.text)),
            down_checksum = quote::optional(down.map(|down| down.checksum.as_str())),
            depends = quote::text_array(migration.depends.iter().map(Version::as_str)),
            replaces = quote::text_array(migration.replaces.iter().map(Version::as_str)),
            batch = if applied { self.batch } else { 0 },
            applied_at = if applied { "pg_catalog.clock_timestamp()" } else { "NULL" },
            applied_by = if applied { self.performed_by() } else { "NULL".to_owned() },
        )
    }

    /// Writes that a transactional run was lost to something transient, without a semicolon: the run alone.
    #[must_use]
    pub fn retrying(
        &self,
        migration: &Migration,
        version: &str,
        inputs: &str,
        run: RunRow,
        attempts: i64,
        wrong: &Wrong,
    ) -> String {
        let run = self.run(migration, version, inputs, run, attempts, "retrying", "NULL", Some(wrong));
        format!("WITH run AS ({run}) SELECT run.id FROM run")
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of one row")]
    fn run(
        &self,
        migration: &Migration,
        version: &str,
        inputs: &str,
        run: RunRow,
        attempts: i64,
        outcome: &str,
        finished: &str,
        wrong: Option<&Wrong>,
    ) -> String {
        let table = self.tables.table("run");
        let claim = self.tables.claim(&self.token);
        let error = wrong.map(|wrong| &wrong.error);
        let message = quote::optional(error.map(|error| &error.message));
        let sqlstate = quote::optional(error.and_then(|error| error.sqlstate.as_ref()));
        let detail = quote::optional(wrong.and_then(|wrong| wrong.detail.as_ref()));
        let statement = quote::number(error.and_then(|error| error.statement));
        let line = quote::number(error.and_then(|error| error.line));
        let column = quote::number(error.and_then(|error| error.column));
        let inputs = quote::literal(inputs);
        let plan_digest = quote::optional(self.plan_digest.as_ref());
        let source_digest = quote::literal(&self.source_digest);
        let generation = quote::number(self.generation);
        let returning = "RETURNING id, \"set\", \
             (EXTRACT(epoch FROM pg_catalog.clock_timestamp() - started_at) * 1000)::pg_catalog.int8 AS duration_ms";
        match run {
            RunRow::New(kind) => format!(
                "INSERT INTO {table} (\"set\", version, name, direction, kind, started_at, finished_at, outcome, attempts, checksum, \
                 plan_digest, source_digest, generation, error, sqlstate, detail, statement, error_line, error_column, performed_by) \
                 VALUES ({claim}, {version}, {name}, 'up', '{kind}', pg_catalog.transaction_timestamp(), {finished}, '{outcome}', \
                 {attempts}, {inputs}, {plan_digest}, {source_digest}, {generation}, {message}, {sqlstate}, {detail}, {statement}, \
                 {line}, {column}, {by}) {returning}",
                version = quote::literal(version),
                name = quote::literal(&migration.name),
                by = self.performed_by(),
            ),
            RunRow::Existing(id) => format!(
                "UPDATE {table} SET \"set\" = {claim}, finished_at = {finished}, outcome = '{outcome}', attempts = {attempts}, \
                 checksum = {inputs}, plan_digest = {plan_digest}, source_digest = {source_digest}, generation = {generation}, \
                 error = {message}, sqlstate = {sqlstate}, detail = {detail}, statement = {statement}, error_line = {line}, \
                 error_column = {column} WHERE id = {id} {returning}"
            ),
        }
    }

    /// Writes a statement's row: `intent` before it starts, `done` with or after it.
    #[must_use]
    pub fn statement(
        &self,
        migration: &Migration,
        run: i64,
        index: usize,
        state: &str,
        backend: &Backend,
        before: Option<&str>,
    ) -> String {
        let script = &migration.up.script;
        let text = &migration.up.text;
        let finished = if state == "intent" { "NULL" } else { "pg_catalog.clock_timestamp()" };
        format!(
            "INSERT INTO {table} AS s (run, ordinal, \"set\", sha256, prefix_sha256, state, backend_pid, backend_start, before, started_at, finished_at) \
             VALUES ({run}, {ordinal}, {claim}, {sha256}, {prefix}, '{state}', {pid}, {start}, {before}, pg_catalog.clock_timestamp(), {finished}) \
             ON CONFLICT (run, ordinal) DO UPDATE SET \"set\" = EXCLUDED.\"set\", sha256 = EXCLUDED.sha256, \
             prefix_sha256 = EXCLUDED.prefix_sha256, state = EXCLUDED.state, backend_pid = EXCLUDED.backend_pid, \
             backend_start = EXCLUDED.backend_start, before = COALESCE(EXCLUDED.before, s.before), finished_at = EXCLUDED.finished_at",
            table = self.tables.table("statement"),
            ordinal = index + 1,
            claim = self.tables.claim(&self.token),
            sha256 = quote::literal(&statement_hash(text, script, index)),
            prefix = quote::literal(&prefix_hash(text, script, index + 1)),
            pid = backend.pid,
            start = quote::literal(&backend.start),
            before = quote::optional(before),
        )
    }

    /// Takes the statements that an earlier run has done over into a run that goes on from there.
    #[must_use]
    pub fn carry_over(&self, from: i64, to: i64) -> String {
        let table = self.tables.table("statement");
        format!(
            "INSERT INTO {table} (run, ordinal, \"set\", sha256, prefix_sha256, state, backend_pid, backend_start, before, started_at, finished_at) \
             SELECT {to}, s.ordinal, {claim}, s.sha256, s.prefix_sha256, s.state, s.backend_pid, s.backend_start, s.before, s.started_at, s.finished_at \
             FROM {table} AS s WHERE s.run = {from} AND s.state = 'done'",
            claim = self.tables.claim(&self.token),
        )
    }

    /// Writes what a person decided about a run, where and by whom it was `said`, and what follows from it for the
    /// migration; statements end in a semicolon.
    #[must_use]
    pub fn resolve(&self, version: &str, run: i64, action: Action, said: &str) -> String {
        let mut sql = format!(
            "UPDATE {table} SET \"set\" = {claim}, outcome = CASE outcome WHEN 'running' THEN 'interrupted' ELSE outcome END, \
             resolution = '{action:?}', resolved_by = {by}, \
             resolved_at = pg_catalog.clock_timestamp() WHERE id = {run};",
            table = self.tables.table("run"),
            claim = self.tables.claim(&self.token),
            by = quote::literal(&format!("{}: {said}", self.by)),
        );
        let state = match action {
            Action::MarkApplied => "state = 'applied', applied_at = pg_catalog.clock_timestamp(), ",
            Action::MarkRolledBack => "state = 'rolled_back', applied_at = NULL, ",
            Action::Retry | Action::Resume | Action::AcceptChecksum => return sql,
        };
        let _ = write!(
            sql,
            "UPDATE {table} SET {state}applied_by = {by}, \"set\" = {claim} WHERE \"set\" = {set} AND version = {version};",
            table = self.tables.table("migration"),
            by = self.performed_by(),
            claim = self.tables.claim(&self.token),
            set = self.tables.set_literal(),
            version = quote::literal(version),
        );
        sql
    }

    /// Accepts an edited file: a run of its own, so that a resolution left in Git is used up by it.
    #[must_use]
    pub fn accept_checksum(&self, migration: &Migration, version: &str, inputs: &str) -> String {
        let run = self.run(
            migration,
            version,
            inputs,
            RunRow::New("accept-checksum"),
            1,
            "succeeded",
            "pg_catalog.clock_timestamp()",
            None,
        );
        format!(
            "WITH run AS ({run}) UPDATE {table} SET \"set\" = (SELECT run.\"set\" FROM run), checksum = {checksum}, name = {name}, \
             run = (SELECT run.id FROM run) WHERE \"set\" = {set} AND version = {version};",
            table = self.tables.table("migration"),
            checksum = quote::literal(migration.up.checksum.as_str()),
            name = quote::literal(&migration.name),
            set = self.tables.set_literal(),
            version = quote::literal(version),
        )
    }

    /// Records a migration whose work others have done, and that they (`replaced`, as the history spells them) are
    /// replaced by it.
    #[must_use]
    pub fn replace(&self, migration: &Migration, version: &str, replaced: &[Version], inputs: &str) -> String {
        let record = self.record(migration, version, inputs, RunRow::New("replace"), 1, Outcome::Succeeded);
        format!(
            "{record}; UPDATE {table} SET \"set\" = {claim}, state = 'replaced' WHERE \"set\" = {set} AND version = ANY ({replaced});",
            table = self.tables.table("migration"),
            claim = self.tables.claim(&self.token),
            set = self.tables.set_literal(),
            replaced = quote::text_array(replaced.iter().map(Version::as_str)),
        )
    }

    /// Stores the source's down section in the place of the recorded one.
    #[must_use]
    pub fn store_down(&self, migration: &Migration, version: &str) -> String {
        let down = migration.down.as_ref();
        format!(
            "UPDATE {table} SET \"set\" = {claim}, down_sql = {sql}, down_checksum = {checksum} WHERE \"set\" = {set} AND version = {version};",
            table = self.tables.table("migration"),
            claim = self.tables.claim(&self.token),
            sql = quote::optional(down.map(|down| &down.text)),
            checksum = quote::optional(down.map(|down| down.checksum.as_str())),
            set = self.tables.set_literal(),
            version = quote::literal(version),
        )
    }

    fn performed_by(&self) -> String {
        format!("{} || session_user", quote::literal(&format!("{} as ", self.by)))
    }
}

/// The session that executes, as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Its process id.
    pub pid: i32,
    /// When it began, as the server prints it: process ids come again.
    pub start: String,
}

fn statement_hash(text: &str, script: &crate::core::sql::Script, index: usize) -> String {
    use sha2::Digest as _;
    let statement = &script.statements[index];
    let mut hash = sha2::Sha256::new();
    hash.update(text[statement.span.clone()].replace("\r\n", "\n"));
    crate::core::bundle::hexadecimal(&hash.finalize())
}
