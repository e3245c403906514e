//! A non-transactional migration: every statement is written down before it starts and after it ends.
//!
//! A statement that may run in a transaction does so, its row with it: exactly once by construction. The others leave an
//! intent, which `recover` proves or doesn't after a crash. Nothing here runs a statement a second time on a guess.

use tokio_postgres::Client;

use super::{
    apply::{copy_in, send_one, send_past},
    error::SqlError,
    history::{
        Tables,
        rows::{Backend, Writer},
    },
    quote, recover,
    session::{self, Row, SessionSql},
};
use crate::{
    core::{
        job::{Job, prefix_hash},
        sql::{Alone, Kind, SessionEffect, Statement, rewrite::block_parts},
    },
    fail_points::{Point, reached},
};

/// With `synchronous_commit = off` a crash of the server takes the last commits along, and an intent with them; what the
/// statement did outside of the database stays. (Every other level waits for the server's own disk.)
const DURABLY: &str = "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
                       WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";

/// A run's journal, and the session that it is written with.
#[derive(Debug)]
pub struct Journal<'a> {
    /// The working session.
    pub client: &'a Client,
    /// Its process.
    pub backend: &'a Backend,
    /// Its settings.
    pub session: &'a SessionSql,
    /// The rows' writer.
    pub writer: &'a Writer,
    /// The run.
    pub run: i64,
    /// What runs.
    pub job: &'a Job<'a>,
}

/// One row of `dunlin.statement`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Index in the script, from 0.
    pub index: usize,
    /// `done`; else `intent`. (`failed` is written together with the end of its run.)
    pub done: bool,
    /// Hash over all statements up to it.
    pub prefix: String,
    /// What the catalog said before.
    pub before: Option<String>,
}

/// How one statement went.
#[derive(Debug)]
pub enum Step {
    /// Done, and written down.
    Done,
    /// The server refused it, which is yet to be written down; `left` names what it left behind.
    Refused {
        /// The error.
        error: SqlError,
        /// Character of the section at which it points, from 0.
        position: Option<usize>,
        /// What it left behind, as an invalid index.
        left: Option<String>,
    },
    /// Somebody's lock, or a resource that had run out, was in the way of a transaction, which was rolled back, or of a
    /// statement that is harmless to repeat.
    Blocked {
        /// The error.
        error: SqlError,
        /// Character of the section at which it points, from 0.
        position: Option<usize>,
    },
    /// Nothing proves what it did when it was cut off.
    Unproven(String),
    /// Somebody else is at work on the very thing: to be waited for.
    Busy(String),
    /// The session or the claim is lost.
    Lost(SqlError),
}

/// Reads a run's journal, in order.
///
/// # Errors
/// [`SqlError`].
pub async fn entries(client: &Client, tables: &Tables, run: i64) -> Result<Vec<Entry>, SqlError> {
    let sql = format!(
        "SELECT s.ordinal, s.state, s.prefix_sha256, s.before FROM {} AS s WHERE s.run = {run} ORDER BY s.ordinal",
        tables.table("statement")
    );
    let rows = session::query(client, &sql).await?;
    Ok(rows.iter().filter_map(entry).collect())
}

fn entry(row: &Row) -> Option<Entry> {
    Some(Entry {
        index: row.get(0)?.parse::<usize>().ok()?.checked_sub(1)?,
        done: row.get(1)? == "done",
        prefix: row.get(2)?.to_owned(),
        before: row.get(3).map(str::to_owned),
    })
}

impl Journal<'_> {
    /// Makes the session what the file expects, and sends its settings up to `done` again.
    ///
    /// # Errors
    /// [`SqlError`].
    pub async fn open(&self, done: usize) -> Result<(), SqlError> {
        let mut statements = self.session.file_settings("");
        let script = &self.job.sent().script;
        let settings =
            script.statements.iter().take(done).filter(|statement| statement.session == SessionEffect::Setting);
        statements.extend(settings.map(|statement| self.text(statement).to_owned()));
        // Each by itself: a setting of the file's may be one that can't stand in a longer message.
        for statement in statements {
            session::query(self.client, &statement).await?;
        }
        Ok(())
    }

    /// Runs the statement of that index.
    pub async fn step(&self, index: usize) -> Step {
        let statement = &self.job.sent().script.statements[index];
        match &statement.kind {
            Kind::Alone(alone) => self.alone(index, statement, alone).await,
            Kind::Plain
            | Kind::Block
            | Kind::Savepoint
            | Kind::Begin
            | Kind::Commit
            | Kind::OtherTransactionControl
            | Kind::DiscardAll => self.together(index, statement).await,
        }
    }

    /// Proves what the statement of an open intent did, and finishes it.
    pub async fn recover(&self, entry: &Entry) -> Step {
        let statement = &self.job.sent().script.statements[entry.index];
        if entry.prefix != prefix_hash(&self.job.section, entry.index + 1) {
            return Step::Unproven(format!("{} was edited since", self.job.file));
        }
        let Kind::Alone(alone) = &statement.kind else {
            // Only one that had to go alone, against its words, has an intent.
            return Step::Unproven("nothing in the catalog proves what it did".to_owned());
        };
        match recover::judge(self.client, alone, self.text(statement), entry.before.as_deref()).await {
            Err(error) if error.is_transient() => Step::Lost(error),
            Err(error) => Step::Unproven(format!("the catalog could not be asked: {error}")),
            Ok(recover::Verdict::Done) => self.finish(entry.index).await,
            Ok(recover::Verdict::Unproven(why)) => Step::Unproven(why),
            Ok(recover::Verdict::Busy(who)) => Step::Busy(who),
            Ok(recover::Verdict::Finish { sql }) => match self.repair(&sql).await {
                Ok(()) => self.finish(entry.index).await,
                Err(error) => self.refusal(error, None, statement),
            },
            Ok(recover::Verdict::Again { first }) => {
                for sql in first {
                    if let Err(error) = self.repair(&sql).await {
                        return self.refusal(error, None, statement);
                    }
                }
                self.alone(entry.index, statement, alone).await
            }
        }
    }

    /// Clears away or finishes what was cut off.
    async fn repair(&self, sql: &str) -> Result<(), SqlError> {
        reached(Point::RepairBefore).await;
        let repaired = self.unhurried(sql).await;
        reached(Point::RepairAfter).await;
        repaired
    }

    /// The statement and its row in one transaction.
    async fn together(&self, index: usize, statement: &Statement) -> Step {
        let row = self.writer.statement(self.job, self.run, index, "done", self.backend, None);
        let mut closing = vec!["SET CONSTRAINTS ALL IMMEDIATE".to_owned()];
        closing.extend(self.session.bookkeeping_settings("LOCAL "));
        closing.extend([row, "COMMIT".to_owned()]);
        // A block brings its own BEGIN and COMMIT, which ours stand for.
        let whole = self.text(statement);
        let block = if statement.kind == Kind::Block { block_parts(whole) } else { None };
        let (modes, inner) = block.unwrap_or(("", 0..whole.len()));
        let (text, start) = (&whole[inner.clone()], statement.span.start + inner.start);
        let prefix = format!("{};", format!("BEGIN {modes}").trim_end());
        if let Some(data) = &statement.copy_data {
            return self.copy(&prefix, text, data.clone(), &closing, statement).await;
        }
        reached(Point::StatementBefore).await;
        let message = format!("{prefix}{text}\n;{}", closing.join(";"));
        let (completed, error) = send_past(self.client, &message, Some(Point::CommitSent)).await;
        reached(Point::CommitAfter).await;
        let Some(error) = error else { return Step::Done };
        if error.is_lost_claim(&self.writer.tables.schema) || error.ends_session() {
            return Step::Lost(error);
        }
        let prefix_chars = prefix.chars().count();
        let position = error
            .position()
            .and_then(|position| position.checked_sub(prefix_chars))
            .filter(|position| *position <= text.chars().count() && completed < 1 + closing.len())
            .map(|position| self.chars_before(start) + position);
        let _ = session::query(self.client, "ROLLBACK").await;
        // What a statement meets can forbid a transaction where its words don't: REINDEX of a partitioned table (manual,
        // REINDEX, notes). It has done nothing yet, and goes alone.
        if error.sqlstate() == Some("25001") && statement.kind != Kind::Block {
            return self.alone(index, statement, &Alone::Unproven).await;
        }
        self.rolled_back(error, position, statement)
    }

    async fn copy(
        &self,
        prefix: &str,
        text: &str,
        data: std::ops::Range<usize>,
        closing: &[String],
        statement: &Statement,
    ) -> Step {
        reached(Point::BeginBefore).await;
        let mut answer = session::query(self.client, prefix).await.map(|_| ());
        reached(Point::BeginAfter).await;
        if answer.is_ok() {
            reached(Point::StatementBefore).await;
            answer = copy_in(self.client, text, &self.job.sent().text[data]).await;
            reached(Point::StatementAfter).await;
        }
        if answer.is_ok() {
            answer = send_past(self.client, &closing.join(";"), Some(Point::CommitSent)).await.1.map_or(Ok(()), Err);
            reached(Point::CommitAfter).await;
        }
        match answer {
            Ok(()) => Step::Done,
            Err(error) if error.is_lost_claim(&self.writer.tables.schema) || error.ends_session() => Step::Lost(error),
            Err(error) => {
                if !error.is_out_of_step() {
                    let _ = session::query(self.client, "ROLLBACK").await;
                }
                let position = error.position().map(|position| self.chars_before(statement.span.start) + position);
                self.rolled_back(error, position, statement)
            }
        }
    }

    /// Intent, statement, done.
    async fn alone(&self, index: usize, statement: &Statement, alone: &Alone) -> Step {
        let before = match recover::before(self.client, alone).await {
            Ok(before) => before,
            Err(error) if error.is_transient() => return Step::Lost(error),
            Err(error) => return self.refusal(error, None, statement),
        };
        let intent = self.writer.statement(self.job, self.run, index, "intent", self.backend, before.as_deref());
        reached(Point::IntentBefore).await;
        if let Err(error) = self.bookkeep(&format!("{DURABLY}; {intent}")).await {
            return Step::Lost(error);
        }
        reached(Point::IntentAfter).await;
        let text = self.text(statement);
        let concurrently = matches!(
            alone,
            Alone::CreateIndexConcurrently { .. }
                | Alone::DropIndexConcurrently { .. }
                | Alone::DetachConcurrently { .. }
                | Alone::Reindex { concurrently: true }
        );
        reached(Point::StatementBefore).await;
        let answer = if concurrently { self.unhurried(text).await } else { send_one(self.client, text).await };
        reached(Point::StatementAfter).await;
        match answer {
            Ok(()) if !passes_over(alone) => self.finish(index).await,
            Ok(()) => match recover::aftermath(self.client, alone, before.as_deref()).await {
                Ok(None) => self.finish(index).await,
                Ok(Some(left)) => {
                    let error = SqlError::Server(Box::new(super::error::ServerError::own(
                        "55000",
                        format!("{left}; IF NOT EXISTS passed over it"),
                    )));
                    Step::Refused { error, position: None, left: Some(left) }
                }
                Err(error) => Step::Lost(error),
            },
            Err(error) if error.ends_session() => Step::Lost(error),
            Err(error) => {
                let position = error.position().map(|position| self.chars_before(statement.span.start) + position);
                // Its intent stays open, and proves as much to whoever goes on.
                if error.is_lock_trouble()
                    && matches!(alone, Alone::Repeatable | Alone::Reindex { concurrently: false })
                {
                    return Step::Blocked { error, position };
                }
                // It explains the failure; what can't be seen is left out of it.
                let left = recover::aftermath(self.client, alone, before.as_deref()).await.ok().flatten();
                Step::Refused { error, position, left }
            }
        }
    }

    /// A CONCURRENTLY form: a `lock_timeout` would apply to its internal waits and leave an invalid index; a connection
    /// check would end an orphan, which a successor waits for instead.
    async fn unhurried(&self, sql: &str) -> Result<(), SqlError> {
        let rows = session::query(
            self.client,
            "SELECT pg_catalog.current_setting('lock_timeout'), \
             pg_catalog.current_setting('client_connection_check_interval', true)",
        )
        .await?;
        let old = |column| rows.first().and_then(|row| row.get(column)).map(str::to_owned);
        let (lock_timeout, check) = (old(0).unwrap_or_default(), old(1).filter(|value| !value.is_empty()));
        let mut set = "SET lock_timeout = 0".to_owned();
        let mut back = format!("SET lock_timeout = {}", quote::literal(&lock_timeout));
        if let Some(check) = check {
            set.push_str("; SET client_connection_check_interval = 0");
            back.push_str("; SET client_connection_check_interval = ");
            back.push_str(&quote::literal(&check));
        }
        session::query(self.client, &set).await?;
        if let Err(error) = send_one(self.client, sql).await {
            if !error.ends_session() {
                let _ = session::query(self.client, &back).await;
            }
            return Err(error);
        }
        session::query(self.client, &back).await.map(|_| ())
    }

    async fn finish(&self, index: usize) -> Step {
        let row = self.writer.statement(self.job, self.run, index, "done", self.backend, None);
        reached(Point::DoneBefore).await;
        let written = self.bookkeep(&row).await;
        reached(Point::DoneAfter).await;
        written.map_or_else(Step::Lost, |()| Step::Done)
    }

    /// Writes a row of ours in a transaction of its own, whatever role and path the file has set.
    async fn bookkeep(&self, sql: &str) -> Result<(), SqlError> {
        let mut statements = vec!["BEGIN".to_owned()];
        statements.extend(self.session.bookkeeping_settings("LOCAL "));
        statements.extend([sql.to_owned(), "COMMIT".to_owned()]);
        match session::query(self.client, &statements.join(";")).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if !error.ends_session() {
                    let _ = session::query(self.client, "ROLLBACK").await;
                }
                Err(error)
            }
        }
    }

    /// What a transaction met that is rolled back.
    fn rolled_back(&self, error: SqlError, position: Option<usize>, statement: &Statement) -> Step {
        if error.is_transient() { Step::Blocked { error, position } } else { self.refusal(error, position, statement) }
    }

    fn refusal(&self, error: SqlError, position: Option<usize>, statement: &Statement) -> Step {
        if error.ends_session() {
            return Step::Lost(error);
        }
        let position = position.or_else(|| Some(self.chars_before(statement.span.start)));
        Step::Refused { error, position, left: None }
    }

    fn text(&self, statement: &Statement) -> &str {
        &self.job.sent().text[statement.span.clone()]
    }

    fn chars_before(&self, byte: usize) -> usize {
        self.job.sent().text[..byte].chars().count()
    }
}

/// `IF NOT EXISTS` succeeds over an invalid index.
fn passes_over(alone: &Alone) -> bool {
    matches!(alone, Alone::CreateIndexConcurrently { if_not_exists: true, .. })
}
