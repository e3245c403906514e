//! What our session looks like, and how it gets back there after a user's file.
//!
//! Settings go by SET after connecting, not as startup options, which PgBouncer refuses; and not before a pooler in
//! transaction mode is ruled out, since a SET would stay in a backend that other clients share.

use std::time::Duration;

use tokio_postgres::Client;

pub use super::answer::{Row, Sent};
use super::{
    answer::{self, AnswerError},
    connect::Connection,
    error::SqlError,
    quote,
};
use crate::core::desired::SessionSettings;

/// The longest that one of our own queries may take.
pub const OWN_DEADLINE: Duration = Duration::from_secs(30);

/// The same for the server, so that a query of ours doesn't outlive us there.
const OWN_LOCK_TIMEOUT: &str = "lock_timeout = '20s'";
const OWN_STATEMENT_TIMEOUT: &str = "statement_timeout = '25s'";

/// Settings of a working session.
#[derive(Debug, Clone)]
pub struct SessionSql {
    role: Option<String>,
    search_path: String,
    lock_timeout_ms: u64,
    statement_timeout_ms: u64,
    application_name: String,
    url_settings: String,
    version_num: u32,
}

impl SessionSql {
    /// `application_name` is `dunlin/<namespace>/<name>`; the connection says what its URL sets, and the server's version.
    #[must_use]
    pub fn new(settings: &SessionSettings, application_name: &str, connection: &Connection) -> Self {
        let search_path = if settings.search_path.is_empty() {
            "DEFAULT".to_owned()
        } else {
            settings.search_path.iter().map(|schema| quote::identifier(schema)).collect::<Vec<_>>().join(", ")
        };
        Self {
            role: settings.role.as_deref().map(quote::identifier),
            search_path,
            lock_timeout_ms: settings.lock_timeout_ms,
            statement_timeout_ms: settings.statement_timeout_ms,
            application_name: application_name.to_owned(),
            url_settings: connection.settings_sql().to_owned(),
            version_num: connection.server.version_num,
        }
    }

    /// Everything of ours, for a session as the login found it. Statements end in a semicolon.
    #[must_use]
    pub fn ours(&self) -> String {
        // A role's own defaults give way to ours, and ours to what the URL asks for.
        let mut sql = format!(
            "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
             SET default_transaction_deferrable = off; \
             {}; SET search_path = pg_catalog; SET standard_conforming_strings = on; SET client_encoding = 'UTF8'; \
             SET application_name = {}; SET client_min_messages = warning; \
             SET {OWN_LOCK_TIMEOUT}; SET {OWN_STATEMENT_TIMEOUT}; SET idle_in_transaction_session_timeout = 0;",
            self.url_settings.trim_end_matches([';', ' ']),
            quote::literal(&self.application_name),
        );
        // Roles carry their own time-outs, which would end a session that waits between migrations.
        if self.version_num >= 140_000 {
            sql.push_str("SET idle_session_timeout = 0; SET client_connection_check_interval = '5s';");
        }
        if self.version_num >= 170_000 {
            sql.push_str("SET transaction_timeout = 0;");
        }
        if let Some(role) = &self.role {
            sql.push_str("SET ROLE ");
            sql.push_str(role);
            sql.push(';');
        }
        sql
    }

    /// Brings the session back to `ours` after a user's file, whatever it left; legal in an implicit transaction.
    #[must_use]
    pub fn reset(&self) -> String {
        format!(
            "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; CLOSE ALL; DEALLOCATE ALL; UNLISTEN *; DISCARD TEMP; {}",
            self.ours()
        )
    }

    /// What a file's transaction begins with: SET alone, since a query would forbid the file's own SET TRANSACTION.
    #[must_use]
    pub fn file_settings(&self, scope: &str) -> Vec<String> {
        let mut statements = vec![
            format!("SET {scope}search_path TO {}", self.search_path),
            format!("SET {scope}lock_timeout = {}", self.lock_timeout_ms),
            format!("SET {scope}statement_timeout = {}", self.statement_timeout_ms),
        ];
        if let Some(role) = &self.role {
            statements.push(format!("SET {scope}ROLE {role}"));
        }
        statements
    }

    /// What our own rows in a user's transaction are written with; `scope` is `LOCAL ` or nothing.
    #[must_use]
    pub fn bookkeeping_settings(&self, scope: &str) -> Vec<String> {
        let mut statements = vec![format!("SET {scope}SESSION AUTHORIZATION DEFAULT")];
        // A login may have a role of its own (ALTER ROLE … SET role), with which the history was made.
        statements.push(match &self.role {
            Some(role) => format!("SET LOCAL ROLE {role}"),
            None => "SET LOCAL role TO DEFAULT".to_owned(),
        });
        statements.push("SET LOCAL search_path = pg_catalog".to_owned());
        statements.push("SET LOCAL standard_conforming_strings = on".to_owned());
        statements.push(format!("SET LOCAL {OWN_LOCK_TIMEOUT}"));
        statements.push(format!("SET LOCAL {OWN_STATEMENT_TIMEOUT}"));
        statements
    }

    /// Settings of the session that only watches. It never sets a role, and drops the login's own one: after SET ROLE one's
    /// own session shows as `<insufficient privilege>`.
    #[must_use]
    pub fn watching(&self) -> String {
        let mut sql = format!(
            "SET ROLE NONE; SET search_path = pg_catalog; SET standard_conforming_strings = on; \
             SET client_encoding = 'UTF8'; SET application_name = {}; SET {OWN_LOCK_TIMEOUT}; SET {OWN_STATEMENT_TIMEOUT}; \
             SET idle_in_transaction_session_timeout = 0;",
            quote::literal(&self.application_name)
        );
        if self.version_num >= 140_000 {
            sql.push_str("SET idle_session_timeout = 0;");
        }
        sql
    }

    /// A [`look`] with this session's role.
    #[must_use]
    pub fn look(&self, queries: &str) -> String {
        look(self.role.as_deref(), queries)
    }
}

/// A read-only look that leaves no setting behind, not even in a pooler's backend: one message. The role is a name in quotes.
#[must_use]
pub fn look(role: Option<&str>, queries: &str) -> String {
    format!("{}{queries}; COMMIT", look_opening(role).iter().fold(String::new(), |sql, next| sql + next + ";"))
}

/// Whether a look that was through with so many statements failed at its role.
#[must_use]
pub fn look_failed_at_role(role: Option<&str>, completed: usize) -> bool {
    role.is_some() && completed + 1 == look_opening(role).len()
}

fn look_opening(role: Option<&str>) -> Vec<String> {
    let mut statements = vec![
        // One snapshot for all of it: what somebody commits meanwhile is seen by every query or by none.
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
        "SET LOCAL search_path = pg_catalog".to_owned(),
        format!("SET LOCAL {OWN_LOCK_TIMEOUT}"),
        format!("SET LOCAL {OWN_STATEMENT_TIMEOUT}"),
    ];
    statements.extend(role.map(|role| format!("SET LOCAL ROLE {role}")));
    statements
}

/// A query of our own in the middle of a user's file: names and operators in it are those of `pg_catalog`, whatever the
/// file has set or made; nothing of the session is changed by it.
#[must_use]
pub fn shielded(sql: &str) -> String {
    format!("BEGIN; SET LOCAL search_path = pg_catalog; SET LOCAL {OWN_STATEMENT_TIMEOUT}; {sql}; COMMIT")
}

/// Sends one message of our own and collects its rows, a list for each statement that returned any.
///
/// # Errors
/// [`SqlError`]; one that took longer than [`OWN_DEADLINE`] counts as a lost connection.
pub async fn query(client: &Client, sql: &str) -> Result<Vec<Row>, SqlError> {
    in_time(answer::collect(Sent::now(client, sql).await)).await
}

/// As [`query`] of a message that was sent, but shows each row as it comes in; an error comes with how many statements of the
/// message were through before it.
///
/// # Errors
/// As [`query`].
pub async fn each(sent: Sent, see: impl FnMut(&Row)) -> Result<(), (usize, SqlError)> {
    let mut completed = 0;
    let answered = in_time(answer::each(sent, &mut completed, see)).await;
    answered.map_err(|error| (completed, error))
}

async fn in_time<T>(answer: impl Future<Output = Result<T, AnswerError>>) -> Result<T, SqlError> {
    match tokio::time::timeout(OWN_DEADLINE, answer).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(no_answer()),
    }
}

/// What took longer than [`OWN_DEADLINE`].
pub(super) fn no_answer() -> SqlError {
    SqlError::Lost { message: format!("no answer within {} s", OWN_DEADLINE.as_secs()) }
}
