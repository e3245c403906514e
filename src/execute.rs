//! Lock → plan again under the lock → run → report. The only writer to a user's database.
//!
//! Whatever it is told, it believes the history alone, read under the lock.

mod adopt;
mod claim;
mod describe;
mod hooks;
mod jobs;
mod past;
mod rehearse;
mod retry;
mod running;
mod seeding;
mod step;
mod supervise;

use std::time::Duration;

use tokio::sync::watch;

use crate::{
    core::{
        bundle::Digest,
        desired::Desired,
        history::History,
        migration::{Direction, MigrationDir, Version},
        outcome::{Failure, Reason},
        plan::{self, Assessment, PlanHooks},
    },
    database::{
        connect::{self, Connection},
        error::SqlError,
        history::{
            Tables,
            read::{self, Reading},
        },
        parameters::Parameters,
        quote,
        session::{self, Sent, SessionSql},
    },
};
use claim::Claim;
use hooks::HooksEnded;

pub use hooks::{HookCall, HookEnd, RunHook, SqlAlone};
pub use rehearse::{Rehearsal, RehearsalEnd, rehearse};
pub use running::Running;

/// How long a session that may be lost has for a last look.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// A session with a database that has been looked at: what `execute` goes on with.
pub struct Session {
    connection: Connection,
    sql: SessionSql,
    tables: Tables,
    /// The role that reads and writes the history, for the GRANTs that it may lack.
    who: String,
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
    /// Who asks for it.
    pub shell: Shell,
    /// Which object asks, by its uid: a generation of it that is older than one that was here already is not followed.
    pub uid: Option<&'a str>,
    /// The environment, by hand, for hooks.
    pub environment: Option<&'a str>,
    /// How hooks run that aren't SQL.
    pub hooks: &'a dyn RunHook,
}

/// Who asks for an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// A MigrationSet, which owns the history.
    Operator,
    /// A person, by hand: writes no owner and respects none.
    Hand,
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

/// How an execution ended.
#[derive(Debug)]
pub struct Report {
    /// The history as the execution left it, for `plan` to be asked again; None when it could not be read.
    pub history: Option<History>,
    /// Migrations applied and rolled back by this execution, in order.
    pub applied: Vec<(Version, Direction)>,
    /// Seeds loaded by this execution, by their paths, in order.
    pub seeded: Vec<String>,
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

/// Opens a session and reads the history. Reads only; makes nothing, and leaves no setting behind.
///
/// # Errors
/// A [`Failure`] whose reason is one of `WaitingForDatabase`, `AuthenticationFailed`, `TLSFailed`,
/// `PermissionDenied`, `PoolerNotSupported`, `InvalidSpec`, `Retrying`.
pub async fn observe(parameters: &Parameters, desired: &Desired) -> Result<(Session, History), Failure> {
    let name = application_name(desired);
    let tables = Tables::new(&desired.history.schema, &desired.history.set);
    let who = desired.session.role.clone().unwrap_or_else(|| parameters.user().to_owned());
    let role = desired.session.role.as_deref().map(quote::identifier);
    let look = session::look(role.as_deref(), &read::queries(&tables, &desired.hooks));
    let opened = connect::connect_asking(parameters, &name, &look).await;
    let (connection, asked) = opened.map_err(|error| claim::refuses_blocks(&error).unwrap_or_else(|| error.into()))?;
    connection.server.require_writable().map_err(Failure::from)?;
    let sql = SessionSql::new(&desired.session, &name, &connection);
    let mut reading = Reading::new(&tables);
    let answer = session::each(asked, |row| reading.row(row)).await;
    let failed = answer.is_err();
    let answer = answer.map_err(|(completed, error)| {
        if let Some(pooler) = claim::refuses_blocks(&error).filter(|_| completed == 0) {
            return Err(pooler);
        }
        if session::look_failed_at_role(role.as_deref(), completed) {
            Err(role_refused(error, parameters, desired))
        } else {
            Ok(error)
        }
    });
    let answer = match answer {
        Ok(()) => Ok(()),
        Err(Ok(error)) => Err(error),
        Err(Err(failure)) => return Err(failure),
    };
    let mut history = reading.end(answer, &who)?;
    if failed {
        let rollback = session::query(&connection.client, "ROLLBACK").await;
        rollback.map_err(|error| error.into_failure("looking at the database", ""))?;
    }
    adopt::look(&connection.client, &sql, desired, &who, &mut history).await?;
    Ok((Session { connection, sql, tables, who }, history))
}

/// What the login needs for `database.role`.
fn role_refused(error: SqlError, parameters: &Parameters, desired: &Desired) -> Failure {
    let role = desired.session.role.as_deref().unwrap_or_default();
    let grant = format!("GRANT {} TO {}", quote::identifier(role), quote::identifier(parameters.user()));
    let cure = if error.sqlstate() == Some("42501") {
        format!("it needs: {grant}")
    } else {
        format!("create it, and {grant}, or correct the name")
    };
    error.into_failure(&format!("SET ROLE {role} (spec.database.role)"), &cure)
}

/// Takes the lock, plans again under it, and runs the plan.
pub async fn execute(
    session: Session,
    work: Work<'_>,
    mut stop: watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
) -> Report {
    let mut report = Report { history: None, applied: Vec::new(), seeded: Vec::new(), end: End::Finished };
    match claim::take(session, &work).await {
        Ok(mut claim) => {
            report.end = run(&mut claim, &work, &mut stop, running, &mut report).await;
            claim.release().await;
        }
        Err(failure) => report.end = End::Failed(failure),
    }
    if let End::Failed(failure) = &mut report.end {
        // It may hold what the server said of anything at all.
        failure.message = work.desired.variables.redact(&failure.message).into_owned();
    }
    running.send_replace(None);
    report
}

/// Plans and runs until nothing is left to do: what one pass applied may let the next one record more.
async fn run(
    claim: &mut Claim,
    work: &Work<'_>,
    stop: &mut watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
    report: &mut Report,
) -> End {
    let mut amended = Vec::new();
    let mut hooks = PlanHooks::default();
    let mut failed = None;
    loop {
        let (history, assessment) = match look_again(claim, work).await {
            Ok(seen) => seen,
            Err(failure) => return End::Failed(failure),
        };
        report.history = Some(history.clone());
        // A hook's failure that the history holds nothing up by: by hand it is told, and that is the end.
        if let Some(failure) = failed.take().filter(|_| assessment.findings.is_empty()) {
            return End::Failed(failure);
        }
        if *stop.borrow() != Stop::No {
            return End::Stopped;
        }
        match adopt::hold(claim, work.desired, &assessment).await {
            Ok(adopt::Held::Already) => {}
            Ok(adopt::Held::Now) => continue,
            Err(failure) => return End::Failed(failure),
        }
        if !assessment.amendments.is_empty() {
            if amended == assessment.amendments {
                let what = format!("the history doesn't keep what is written to it: {amended:?}");
                return End::Failed(Failure::new(Reason::InvalidSpec, what));
            }
            if let Err(failure) = step::amend(claim, work, &history, &assessment).await {
                return End::Failed(failure);
            }
            amended = assessment.amendments;
            continue;
        }
        let idle = assessment.plan.steps.is_empty() && assessment.seeds.is_empty();
        let goes_on = assessment.findings.is_empty() && !idle;
        match Box::pin(hooks::run(claim, work, stop, running, &history, &assessment, &hooks)).await {
            HooksEnded::None => {}
            HooksEnded::Through(wrong) => {
                failed = wrong;
                hooks = assessment.hooks;
                continue;
            }
            HooksEnded::Ended(end) => {
                report.history = last_look(claim, work).await;
                return end;
            }
        }
        if !goes_on {
            return End::Finished;
        }
        if let Some(end) = run_before(&assessment, report) {
            return end;
        }
        let ended = if assessment.plan.steps.is_empty() {
            seeding::run(claim, work, &history, &assessment.seeds, stop, running, &mut report.seeded).await
        } else {
            step::run_plan(claim, work, &history, &assessment, stop, running, &mut report.applied).await
        };
        let end = match ended {
            // The next pass reads the history that the report shows, and finds nothing more to do or a finding.
            step::Ended::Through | step::Ended::Recorded => continue,
            step::Ended::Stopped => End::Stopped,
            step::Ended::Failed(failure) => End::Failed(failure),
        };
        report.history = last_look(claim, work).await;
        return end;
    }
}

/// What a plan comes to that asks for what this execution has run already.
fn run_before(assessment: &Assessment, report: &Report) -> Option<End> {
    let is_done = |step: &&plan::Step| report.applied.contains(&(step.version.clone(), step.direction));
    if let Some(step) = assessment.plan.steps.iter().find(is_done) {
        return Some(forgotten(step.version.as_str()));
    }
    assessment.seeds.iter().find(|seed| report.seeded.contains(seed)).map(|seed| forgotten(seed))
}

/// What a history that doesn't keep what is written to it comes to.
fn forgotten(what: &str) -> End {
    End::Failed(Failure::new(Reason::Retrying, format!("the history doesn't show {what}, which has just run")))
}

async fn look_again(claim: &Claim, work: &Work<'_>) -> Result<(History, Assessment), Failure> {
    let mut reading = Reading::new(&claim.tables);
    let asked = Sent::now(claim.client(), &read::queries(&claim.tables, &work.desired.hooks)).await;
    let answer = session::each(asked, |row| reading.row(row)).await;
    // Under the lock the tables are there: an absent one is no empty history.
    answer.map_err(|(_, error)| claim.refused("reading the history", error))?;
    let mut history = reading.end(Ok(()), &claim.who)?;
    adopt::look(claim.client(), &claim.sql, work.desired, &claim.who, &mut history).await?;
    let assessment = plan::plan(work.dir, &history, work.desired);
    Ok((history, assessment))
}

/// What the history says after an execution that didn't come to its end, if its session still answers.
async fn last_look(claim: &Claim, work: &Work<'_>) -> Option<History> {
    let look = tokio::time::timeout(LAST_LOOK, look_again(claim, work)).await.ok()?;
    look.ok().map(|(history, _)| history)
}

fn application_name(desired: &Desired) -> String {
    format!("dunlin/{}", desired.owner)
}

/// A session or claim that was lost under a run: what had not committed is rolled back, and the history will say.
fn lost(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Reason::Retrying, format!("{what}: {error}; it is tried again"))
}
