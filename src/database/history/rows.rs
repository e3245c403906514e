//! The rows that a run writes, as SQL. Every one of them proves the run's claim.

use std::fmt::Write as _;

use sha2::Digest as _;

use super::Tables;
use crate::{
    core::{
        adopt::Adopted,
        bundle::hexadecimal,
        desired::Action,
        history::{Recorded, RunError, SeedCounts},
        hook::Key,
        job::{ApprovedStep, Job, prefix_hash},
        migration::{Direction, Migration, Section, TransactionMode, Version},
        plan::Plan,
        task::TaskKind,
    },
    database::quote,
};

const NOW: &str = "pg_catalog.clock_timestamp()";
/// The columns of a migration that say what it is.
const COLUMNS: &str = "version, name, checksum, transactional, down_sql, down_checksum, depends, replaces";
const ON_CONFLICT: &str = "ON CONFLICT (\"set\", version) DO UPDATE SET \"set\" = EXCLUDED.\"set\", name = EXCLUDED.name, \
    state = EXCLUDED.state, checksum = EXCLUDED.checksum, transactional = EXCLUDED.transactional, down_sql = EXCLUDED.down_sql, \
    down_checksum = EXCLUDED.down_checksum, depends = EXCLUDED.depends, replaces = EXCLUDED.replaces, \
    batch = EXCLUDED.batch, applied_at = EXCLUDED.applied_at, duration_ms = EXCLUDED.duration_ms, \
    applied_by = EXCLUDED.applied_by, run = EXCLUDED.run";

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
    /// A new one, of this kind (`apply`, `rollback`, `resume`, `accept-checksum`, `replace`, `baseline`, `import`, `seed`, `hook`).
    New(&'static str),
    /// One that is there: a run that is tried again, or goes on.
    Existing(i64),
}

/// What a run is of, as its row says.
#[derive(Debug, Clone, Copy)]
struct About<'a> {
    version: &'a str,
    name: &'a str,
    direction: &'a str,
    /// Checksum over what runs and what it runs with.
    inputs: &'a str,
}

/// A seed or hook on its way to the database.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Which of the two: the run's kind.
    pub kind: TaskKind,
    /// A seed's path, a hook's place.
    pub key: &'a str,
    /// Checksum of what runs: another text is another attempt.
    pub checksum: &'a str,
}

/// A hook whose run is written down.
#[derive(Debug, Clone, Copy)]
pub struct HookRow<'a> {
    /// Which hook.
    pub key: Key,
    /// Which way the plan's steps go that it runs for.
    pub direction: Direction,
    /// Checksum of what runs.
    pub checksum: &'a str,
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
    /// Writes the run and the migration's row in one statement, without a semicolon. A run began with its transaction, if
    /// it has one.
    #[must_use]
    pub fn record(&self, job: &Job<'_>, run: RunRow, attempts: i64, outcome: Outcome<'_>) -> String {
        match job.migration {
            Some(migration) => self.record_up(migration, job, run, attempts, outcome),
            None => self.record_down(job, run, attempts, outcome),
        }
    }

    fn record_up(
        &self,
        migration: &Migration,
        job: &Job<'_>,
        run: RunRow,
        attempts: i64,
        outcome: Outcome<'_>,
    ) -> String {
        let words = outcome.words();
        let state = match outcome {
            Outcome::Begun | Outcome::Interrupted(_) => "interrupted",
            Outcome::Succeeded => "applied",
            Outcome::Failed(_) => "failed",
        };
        let applied = matches!(outcome, Outcome::Succeeded);
        let columns = Self::columns(migration, job);
        format!(
            "WITH run AS ({run}){advance} INSERT INTO {table} AS m (\"set\", {names}, state, batch, applied_at, duration_ms, applied_by, run) \
             VALUES ((SELECT run.\"set\" FROM run), {columns}, '{state}', {batch}, {applied_at}, (SELECT run.duration_ms FROM run), \
             {applied_by}, (SELECT run.id FROM run)) {on_conflict} RETURNING m.run",
            run = self.run(job, run, attempts, &words, outcome.wrong()),
            advance = self.advance(job, outcome),
            table = self.tables.table("migration"),
            names = COLUMNS,
            batch = if applied { self.batch } else { 0 },
            applied_at = if applied { "pg_catalog.clock_timestamp()" } else { "NULL" },
            applied_by = if applied { self.performed_by() } else { "NULL".to_owned() },
            on_conflict = ON_CONFLICT,
        )
    }

    /// A migration that is on its way down stays what it is until a statement that can't be rolled back has begun, or all of
    /// it is undone.
    fn record_down(&self, job: &Job<'_>, run: RunRow, attempts: i64, outcome: Outcome<'_>) -> String {
        let row = self.run(job, run, attempts, &outcome.words(), outcome.wrong());
        let table = self.tables.table("migration");
        let set = self.tables.set_literal();
        let version = quote::literal(job.version.as_str());
        let state = match (outcome, job.mode) {
            (Outcome::Succeeded, _) => {
                return format!(
                    "WITH run AS ({row}){advance}, replaced AS (UPDATE {table} SET \"set\" = (SELECT run.\"set\" FROM run), \
                     state = 'rolled_back' WHERE \"set\" = {set} AND state = 'replaced' AND version = ANY ({replaced}) RETURNING version) \
                     UPDATE {table} AS m SET \"set\" = (SELECT run.\"set\" FROM run), state = 'rolled_back', batch = {batch}, \
                     applied_at = NULL, duration_ms = (SELECT run.duration_ms FROM run), applied_by = {by}, run = (SELECT run.id FROM run) \
                     WHERE m.\"set\" = {set} AND m.version = {version} RETURNING m.run",
                    advance = self.advance(job, outcome),
                    replaced = quote::text_array(job.replaced.iter().map(Version::as_str)),
                    batch = self.batch,
                    by = self.performed_by(),
                );
            }
            (_, TransactionMode::Transactional) => return format!("WITH run AS ({row}) SELECT run.id FROM run"),
            (Outcome::Begun | Outcome::Interrupted(_), TransactionMode::NonTransactional) => "interrupted",
            (Outcome::Failed(_), TransactionMode::NonTransactional) => "failed",
        };
        format!(
            "WITH run AS ({row}) UPDATE {table} AS m SET \"set\" = (SELECT run.\"set\" FROM run), state = '{state}', \
             run = (SELECT run.id FROM run) WHERE m.\"set\" = {set} AND m.version = {version} RETURNING m.run"
        )
    }

    /// The columns of a migration that say what it is, as [`COLUMNS`] names them.
    fn columns(migration: &Migration, job: &Job<'_>) -> String {
        let down = migration.down.as_ref();
        format!(
            "{version}, {name}, {checksum}, {transactional}, {down_sql}, {down_checksum}, {depends}, {replaces}",
            version = quote::literal(job.version.as_str()),
            name = quote::literal(&migration.name),
            checksum = quote::literal(migration.up.checksum.as_str()),
            transactional = migration.mode == TransactionMode::Transactional,
            down_sql = quote::optional(down.map(|down| &down.text)),
            down_checksum = quote::optional(down.map(|down| down.checksum.as_str())),
            depends = quote::text_array(migration.depends.iter().map(Version::as_str)),
            replaces = quote::text_array(migration.replaces.iter().map(Version::as_str)),
        )
    }

    /// Moves the approved plan on in which this step stands: what is left of it is approved, and at its end nothing.
    fn advance(&self, job: &Job<'_>, outcome: Outcome<'_>) -> String {
        let Some(ApprovedStep { plan, rest }) = job.approved.as_ref().filter(|_| matches!(outcome, Outcome::Succeeded))
        else {
            return String::new();
        };
        let (rest, spent) = match rest {
            Some(rest) => (quote::literal(rest), "NULL"),
            None => ("''".to_owned(), "pg_catalog.clock_timestamp()"),
        };
        format!(
            ", advance AS (UPDATE {table} SET \"set\" = (SELECT run.\"set\" FROM run), rest = {rest}, spent_at = {spent} \
             WHERE id = {plan} RETURNING id)",
            table = self.tables.table("plan"),
        )
    }

    /// Writes that a transactional run was lost to something transient, without a semicolon: the run alone.
    #[must_use]
    pub fn retrying(&self, job: &Job<'_>, run: RunRow, attempts: i64, wrong: &Wrong) -> String {
        let run = self.run(job, run, attempts, &("retrying", "NULL"), Some(wrong));
        format!("WITH run AS ({run}) SELECT run.id FROM run")
    }

    /// `words` are the outcome, and when the run ended, as SQL.
    fn run(&self, job: &Job<'_>, run: RunRow, attempts: i64, words: &(&str, &str), wrong: Option<&Wrong>) -> String {
        let about = About {
            version: job.version.as_str(),
            name: &job.name,
            direction: job.direction.word(),
            inputs: &job.inputs,
        };
        self.run_of(about, run, attempts, words, wrong)
    }

    fn run_of(
        &self,
        about: About<'_>,
        run: RunRow,
        attempts: i64,
        (outcome, finished): &(&str, &str),
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
        let inputs = quote::literal(about.inputs);
        let plan_digest = quote::optional(self.plan_digest.as_ref());
        let source_digest = quote::literal(&self.source_digest);
        let generation = quote::number(self.generation);
        let returning = "RETURNING id, \"set\", \
             (EXTRACT(epoch FROM pg_catalog.clock_timestamp() - started_at) * 1000)::pg_catalog.int8 AS duration_ms";
        match run {
            RunRow::New(kind) => format!(
                "INSERT INTO {table} (\"set\", version, name, direction, kind, started_at, finished_at, outcome, attempts, checksum, \
                 batch, plan_digest, source_digest, generation, error, sqlstate, detail, statement, error_line, error_column, performed_by) \
                 VALUES ({claim}, {version}, {name}, '{direction}', '{kind}', pg_catalog.transaction_timestamp(), {finished}, '{outcome}', \
                 {attempts}, {inputs}, {batch}, {plan_digest}, {source_digest}, {generation}, {message}, {sqlstate}, {detail}, {statement}, \
                 {line}, {column}, {by}) {returning}",
                version = quote::literal(about.version),
                name = quote::literal(about.name),
                direction = about.direction,
                batch = self.batch,
                by = self.performed_by(),
            ),
            RunRow::Existing(id) => format!(
                "UPDATE {table} SET \"set\" = {claim}, finished_at = {finished}, outcome = '{outcome}', attempts = {attempts}, \
                 checksum = {inputs}, batch = {batch}, plan_digest = {plan_digest}, source_digest = {source_digest}, generation = {generation}, \
                 error = {message}, sqlstate = {sqlstate}, detail = {detail}, statement = {statement}, error_line = {line}, \
                 error_column = {column} WHERE id = {id} {returning}",
                batch = self.batch,
            ),
        }
    }

    /// Writes a run of a seed or hook, without a semicolon; it returns the run's number. `again` is the run that is tried
    /// again. Of what runs in one transaction
    /// with this row, the outcome is the transaction's.
    #[must_use]
    pub fn task(&self, task: Task<'_>, again: Option<i64>, attempts: i64, outcome: Outcome<'_>) -> String {
        let row = self.task_row(task, again, attempts, &outcome.words(), outcome.wrong());
        format!("WITH run AS ({row}) SELECT run.id FROM run")
    }

    /// Writes a seed that has run, without a semicolon: its run, and what of it the database has.
    #[must_use]
    pub fn seeded(&self, task: Task<'_>, again: Option<i64>, attempts: i64, counts: Option<SeedCounts>) -> String {
        format!(
            "WITH run AS ({row}) INSERT INTO {table} (\"set\", name, checksum, applied_at, inserted, updated, unchanged, run) \
             VALUES ((SELECT run.\"set\" FROM run), {name}, {checksum}, {NOW}, {inserted}, {updated}, {unchanged}, (SELECT run.id FROM run)) \
             ON CONFLICT (\"set\", name) DO UPDATE SET \"set\" = EXCLUDED.\"set\", checksum = EXCLUDED.checksum, \
             applied_at = EXCLUDED.applied_at, inserted = EXCLUDED.inserted, updated = EXCLUDED.updated, \
             unchanged = EXCLUDED.unchanged, run = EXCLUDED.run",
            row = self.task_row(task, again, attempts, &Outcome::Succeeded.words(), None),
            table = self.tables.table("seed"),
            name = quote::literal(task.key),
            checksum = quote::literal(task.checksum),
            inserted = quote::number(counts.map(|counts| counts.inserted)),
            updated = quote::number(counts.map(|counts| counts.updated)),
            unchanged = quote::number(counts.map(|counts| counts.unchanged)),
        )
    }

    /// Writes that a seed or hook was lost to something transient and is tried again, without a semicolon.
    #[must_use]
    pub fn task_retrying(&self, task: Task<'_>, again: Option<i64>, attempts: i64, wrong: &Wrong) -> String {
        let row = self.task_row(task, again, attempts, &("retrying", "NULL"), Some(wrong));
        format!("WITH run AS ({row}) SELECT run.id FROM run")
    }

    /// Writes a run of a hook, without a semicolon; it returns the run's number.
    #[must_use]
    pub fn hook(&self, hook: HookRow<'_>, run: Option<i64>, attempts: i64, outcome: Outcome<'_>) -> String {
        let HookRow { key, direction, checksum } = hook;
        let key = key.to_string();
        let about = About { version: &key, name: "", direction: direction.word(), inputs: checksum };
        let run = run.map_or(RunRow::New(TaskKind::Hook.word()), RunRow::Existing);
        let row = self.run_of(about, run, attempts, &outcome.words(), outcome.wrong());
        format!("WITH run AS ({row}) SELECT run.id FROM run")
    }

    fn task_row(
        &self,
        Task { kind, key, checksum }: Task<'_>,
        again: Option<i64>,
        attempts: i64,
        words: &(&str, &str),
        wrong: Option<&Wrong>,
    ) -> String {
        let about = About { version: key, name: "", direction: "up", inputs: checksum };
        let run = again.map_or(RunRow::New(kind.word()), RunRow::Existing);
        self.run_of(about, run, attempts, words, wrong)
    }

    /// Writes down that a seed or hook is to run again, on the word of whoever `said` it; the statement ends in a semicolon.
    #[must_use]
    pub fn retry_task(&self, run: i64, said: &str) -> String {
        self.resolve_run(run, Action::Retry, said)
    }

    fn resolve_run(&self, run: i64, action: Action, said: &str) -> String {
        format!(
            "UPDATE {table} SET \"set\" = {claim}, outcome = CASE outcome WHEN 'running' THEN 'interrupted' ELSE outcome END, \
             resolution = '{action:?}', resolved_by = {by}, \
             resolved_at = pg_catalog.clock_timestamp() WHERE id = {run};",
            table = self.tables.table("run"),
            claim = self.tables.claim(&self.token),
            by = quote::literal(&format!("{}: {said}", self.by)),
        )
    }

    /// Writes a statement's row: `intent` before it starts, `done` with or after it. It has started when the transaction of its
    /// row has, be it that of the intent or its own.
    #[must_use]
    pub fn statement(
        &self,
        job: &Job<'_>,
        run: i64,
        index: usize,
        state: &str,
        backend: &Backend,
        before: Option<&str>,
    ) -> String {
        let finished = if state == "intent" { "NULL" } else { "pg_catalog.clock_timestamp()" };
        format!(
            "INSERT INTO {table} AS s (run, ordinal, \"set\", sha256, prefix_sha256, state, backend_pid, backend_start, before, started_at, finished_at) \
             VALUES ({run}, {ordinal}, {claim}, {sha256}, {prefix}, '{state}', {pid}, {start}, {before}, pg_catalog.transaction_timestamp(), {finished}) \
             ON CONFLICT (run, ordinal) DO UPDATE SET \"set\" = EXCLUDED.\"set\", sha256 = EXCLUDED.sha256, \
             prefix_sha256 = EXCLUDED.prefix_sha256, state = EXCLUDED.state, backend_pid = EXCLUDED.backend_pid, \
             backend_start = EXCLUDED.backend_start, before = COALESCE(EXCLUDED.before, s.before), finished_at = EXCLUDED.finished_at",
            table = self.tables.table("statement"),
            ordinal = index + 1,
            claim = self.tables.claim(&self.token),
            sha256 = quote::literal(&statement_hash(&job.section, index)),
            prefix = quote::literal(&prefix_hash(&job.section, index + 1)),
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
    /// migration and for those that it stands for; statements end in a semicolon.
    #[must_use]
    pub fn resolve(&self, version: &Version, run: i64, action: Action, said: &str, replaced: &[Version]) -> String {
        let claim = self.tables.claim(&self.token);
        let mut sql = self.resolve_run(run, action, said);
        let state = match action {
            Action::MarkApplied => {
                let batch = self.batch;
                format!(
                    "state = 'applied', applied_at = COALESCE(applied_at, {NOW}), batch = CASE batch WHEN 0 THEN {batch} ELSE batch END, "
                )
            }
            Action::MarkRolledBack => "state = 'rolled_back', applied_at = NULL, ".to_owned(),
            Action::Retry | Action::Resume | Action::AcceptChecksum => return sql,
        };
        let table = self.tables.table("migration");
        let set = self.tables.set_literal();
        let _ = write!(
            sql,
            "UPDATE {table} SET {state}applied_by = {by}, \"set\" = {claim} WHERE \"set\" = {set} AND version = {version};",
            by = self.performed_by(),
            version = quote::literal(version.as_str()),
        );
        if action == Action::MarkRolledBack && !replaced.is_empty() {
            sql.push_str(&self.turn(replaced, "rolled_back"));
        }
        sql
    }

    /// Gives migrations that were replaced another state.
    fn turn(&self, replaced: &[Version], state: &str) -> String {
        self.turn_from("replaced", replaced, state)
    }

    fn turn_from(&self, old: &str, replaced: &[Version], state: &str) -> String {
        format!(
            "UPDATE {table} SET \"set\" = {claim}, state = '{state}' WHERE \"set\" = {set} AND state = '{old}' AND version = ANY ({replaced});",
            table = self.tables.table("migration"),
            claim = self.tables.claim(&self.token),
            set = self.tables.set_literal(),
            replaced = quote::text_array(replaced.iter().map(Version::as_str)),
        )
    }

    /// A run that nothing ran for.
    fn noted(&self, job: &Job<'_>, kind: &'static str) -> String {
        self.run(job, RunRow::New(kind), 1, &("succeeded", NOW), None)
    }

    /// Accepts an edited file: a run of its own, so that a resolution left in Git is used up by it.
    #[must_use]
    pub fn accept_checksum(&self, migration: &Migration, job: &Job<'_>) -> String {
        format!(
            "WITH run AS ({run}) UPDATE {table} SET \"set\" = (SELECT run.\"set\" FROM run), checksum = {checksum}, name = {name}, \
             run = (SELECT run.id FROM run) WHERE \"set\" = {set} AND version = {version};",
            run = self.noted(job, "accept-checksum"),
            table = self.tables.table("migration"),
            checksum = quote::literal(migration.up.checksum.as_str()),
            name = quote::literal(&migration.name),
            set = self.tables.set_literal(),
            version = quote::literal(job.version.as_str()),
        )
    }

    /// Records a migration whose work others have done, and that they (`replaced`, as the history spells them) are
    /// replaced by it.
    #[must_use]
    pub fn replace(&self, job: &Job<'_>, replaced: &[Version]) -> String {
        format!(
            "{record}; UPDATE {table} SET \"set\" = {claim}, state = 'replaced' WHERE \"set\" = {set} AND version = ANY ({replaced});",
            record = self.record(job, RunRow::New("replace"), 1, Outcome::Succeeded),
            table = self.tables.table("migration"),
            claim = self.tables.claim(&self.token),
            set = self.tables.set_literal(),
            replaced = quote::text_array(replaced.iter().map(Version::as_str)),
        )
    }

    /// Records that those which were stamped are replaced by one that was stamped with them.
    #[must_use]
    pub fn stamp_replaced(&self, replaced: &[Version]) -> String {
        self.turn_from("stamped", replaced, "replaced")
    }

    /// Records one of those that count again, and that were never applied by themselves; the statement ends in a semicolon.
    #[must_use]
    pub fn restore_part(&self, job: &Job<'_>) -> String {
        self.record(job, RunRow::New("restore"), 1, Outcome::Succeeded) + ";"
    }

    /// Records that those count again which this migration stood for, and itself as undone.
    #[must_use]
    pub fn restore(&self, row: &Recorded, replaced: &[Version]) -> String {
        format!(
            "WITH run AS (INSERT INTO {run} (\"set\", version, name, direction, kind, started_at, finished_at, outcome, checksum, batch, \
             source_digest, generation, performed_by) VALUES ({claim}, {version}, {name}, 'down', 'restore', {NOW}, {NOW}, 'succeeded', \
             {checksum}, {batch}, {source_digest}, {generation}, {by}) RETURNING id, \"set\") \
             UPDATE {table} SET \"set\" = (SELECT run.\"set\" FROM run), state = 'rolled_back', applied_at = NULL, batch = {batch}, \
             run = (SELECT run.id FROM run) WHERE \"set\" = {set} AND version = {version};{turn}",
            run = self.tables.table("run"),
            claim = self.tables.claim(&self.token),
            version = quote::literal(row.version.as_str()),
            name = quote::literal(&row.name),
            checksum = quote::literal(row.checksum.as_str()),
            batch = self.batch,
            source_digest = quote::literal(&self.source_digest),
            generation = quote::number(self.generation),
            by = self.performed_by(),
            table = self.tables.table("migration"),
            set = self.tables.set_literal(),
            turn = self.turn(replaced, "applied"),
        )
    }

    /// Records a migration as applied on a person's word, without running it.
    #[must_use]
    pub fn stamp(&self, migration: &Migration, job: &Job<'_>) -> String {
        format!(
            "WITH run AS ({run}) INSERT INTO {table} AS m (\"set\", {COLUMNS}, state, batch, applied_at, duration_ms, applied_by, run) \
             VALUES ((SELECT run.\"set\" FROM run), {columns}, 'stamped', {batch}, NULL, 0, {by}, (SELECT run.id FROM run)) {ON_CONFLICT};",
            run = self.noted(job, "baseline"),
            table = self.tables.table("migration"),
            columns = Self::columns(migration, job),
            batch = self.batch,
            by = self.performed_by(),
        )
    }

    /// Records a migration that another tool has applied, with what that has recorded of it.
    #[must_use]
    pub fn import(&self, migration: &Migration, job: &Job<'_>, adopted: &Adopted) -> String {
        let Adopted { version: _, applied_at, duration_ms, by, batch } = adopted;
        let writer = Self { batch: self.batch + batch, ..self.clone() };
        format!(
            "WITH run AS ({run}) INSERT INTO {table} AS m (\"set\", {COLUMNS}, state, batch, applied_at, duration_ms, applied_by, run) \
             VALUES ((SELECT run.\"set\" FROM run), {columns}, 'applied', {batch}, {applied_at}, {duration_ms}, {by}, (SELECT run.id FROM run)) \
             {ON_CONFLICT};",
            run = writer.noted(job, "import"),
            table = self.tables.table("migration"),
            columns = Self::columns(migration, job),
            batch = writer.batch,
            applied_at = quote::optional(applied_at.as_ref()),
            by = quote::literal(by),
        )
    }

    /// Writes down a plan that waits for a person, or that one has approved.
    #[must_use]
    pub fn offer(&self, plan: &Plan, approved_by: Option<&str>) -> String {
        let by = approved_by.map(|by| format!("{}: {by}", self.by));
        let at = if by.is_some() { NOW } else { "NULL" };
        format!(
            "INSERT INTO {table} AS p (\"set\", digest, rest, steps, offered_at, approved_at, approved_by) \
             VALUES ({claim}, {digest}, {digest}, {steps}, {NOW}, {at}, {by}) \
             ON CONFLICT (\"set\", digest) WHERE spent_at IS NULL DO UPDATE SET \"set\" = EXCLUDED.\"set\", rest = EXCLUDED.rest, \
             offered_at = EXCLUDED.offered_at, approved_at = COALESCE(EXCLUDED.approved_at, p.approved_at), approved_by = COALESCE(EXCLUDED.approved_by, p.approved_by);",
            table = self.tables.table("plan"),
            claim = self.tables.claim(&self.token),
            digest = quote::literal(&plan.digest().to_string()),
            steps = quote::literal(&plan.in_words()),
            by = quote::optional(by.as_ref()),
        )
    }

    /// Stores the source's down section in the place of the recorded one.
    #[must_use]
    pub fn store_down(&self, migration: &Migration, version: &str) -> String {
        let down = migration.down.as_ref();
        format!(
            "UPDATE {table} SET \"set\" = {claim}, down_sql = {sql}, down_checksum = {checksum}, \
             transactional = CASE WHEN state IN ('failed', 'interrupted') THEN transactional ELSE {transactional} END \
             WHERE \"set\" = {set} AND version = {version};",
            transactional = migration.mode == TransactionMode::Transactional,
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

fn statement_hash(section: &Section, index: usize) -> String {
    let statement = &section.script.statements[index];
    let mut hash = sha2::Sha256::new();
    hash.update(section.text[statement.span.clone()].replace("\r\n", "\n"));
    hexadecimal(&hash.finalize())
}

impl<'a> Outcome<'a> {
    /// `dunlin.run.outcome`, and when the run ended, as SQL.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Begun => ("running", "NULL"),
            Self::Succeeded => ("succeeded", NOW),
            Self::Failed(_) => ("failed", NOW),
            Self::Interrupted(_) => ("interrupted", NOW),
        }
    }

    fn wrong(self) -> Option<&'a Wrong> {
        match self {
            Self::Failed(wrong) | Self::Interrupted(wrong) => Some(wrong),
            Self::Begun | Self::Succeeded => None,
        }
    }
}
