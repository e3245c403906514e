//! Lock → plan again under the lock → run → report. The only writer to a user's database.

use tokio::sync::watch;

use crate::{
    core::{
        bundle::Digest,
        desired::Desired,
        history::History,
        migration::{MigrationDir, Version},
        outcome::Failure,
    },
    database::parameters::Parameters,
};

/// A session with a database that has been looked at: what `execute` goes on with.
pub struct Session {
    // filled in with the engine
}

/// What one execution is to do.
pub struct Work<'a> {
    /// How to reach the database (for the second, watching connection).
    pub parameters: &'a Parameters,
    /// What is asked for.
    pub desired: &'a Desired,
    /// The migrations.
    pub dir: &'a MigrationDir,
    /// The digest of the source that `dir` was read from, for `dunlin.run`.
    pub source_digest: &'a Digest,
    /// The recorded owner from whom the history is taken over, when the shell has found that it may be.
    pub take_over_from: Option<&'a str>,
}

/// How an execution is asked to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// Start no further migration (suspend, deletion).
    BetweenMigrations,
    /// As above, and cancel a transaction under way; a non-transactional statement is left to end (SIGTERM's last call).
    CancelTransaction,
}

/// Where an execution is, for `status.running`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The migration.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// Statement under way, from 1 (0: the file goes as one message).
    pub statement: u32,
    /// Statements of the section.
    pub statements: u32,
    /// When the migration was begun, RFC 3339 in UTC.
    pub started_at: String,
    /// Migrations of this plan that are through.
    pub completed: usize,
    /// Migrations of this plan.
    pub planned: usize,
    /// Who holds the locks that it waits for.
    pub blocked_by: Vec<Blocker>,
}

/// A backend in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// Its process id.
    pub pid: i32,
    /// `application_name`, when it may be seen.
    pub application: Option<String>,
    /// The role, when it may be seen.
    pub user: Option<String>,
    /// Its query, when it may be seen.
    pub query: Option<String>,
    /// Since when its transaction or query is open, RFC 3339 in UTC.
    pub since: Option<String>,
}

/// How an execution ended.
#[derive(Debug)]
pub struct Report {
    /// The history as the execution left it, for `plan` to be asked again; None when it could not be read.
    pub history: Option<History>,
    /// Migrations applied by this execution, in order.
    pub applied: Vec<Version>,
    /// What ended it.
    pub end: End,
}

/// What ended an execution.
#[derive(Debug)]
pub enum End {
    /// What was planned has run, or a migration's failure or a finding has been recorded: `history` says.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// It could not go on; the failure says why (`WaitingForLock`, `Conflict`, `Retrying`, `WaitingForDatabase`,
    /// `PermissionDenied`, `PoolerNotSupported`, …).
    Failed(Failure),
}

/// Opens a session and reads the history. Reads only; makes nothing.
///
/// # Errors
/// A [`Failure`] whose reason is one of `WaitingForDatabase`, `AuthenticationFailed`, `TLSFailed`,
/// `PermissionDenied`, `PoolerNotSupported`.
pub async fn observe(parameters: &Parameters, desired: &Desired) -> Result<(Session, History), Failure> {
    let _ = (parameters, desired);
    todo!()
}

/// Takes the lock, plans again under it, and runs the plan.
pub async fn execute(
    session: Session,
    work: Work<'_>,
    stop: watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
) -> Report {
    let _ = (&session, &work, stop, running);
    todo!()
}
