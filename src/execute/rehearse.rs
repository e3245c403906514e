//! The whole plan in one transaction that is rolled back: what a run would meet, without a run.
//!
//! Nothing of ours is made, no lock of ours is taken and no claim written: whoever is at work isn't held up by more than
//! what the migrations themselves lock, and those wait no longer than the session's lock time-out says.

use super::{Session, claim, describe, jobs, lost};
use crate::{
    core::{
        desired::{Desired, TransactionScope},
        history::{History, RunError},
        job::Job,
        migration::{Direction, MigrationDir, TransactionMode, Version},
        outcome::Failure,
        plan::{Plan, Step},
    },
    database::{
        apply::{self, Applied, Part, Refusal},
        connect::{self, Connection},
        error::SqlError,
        history::{read, rows::Wrong},
        parameters::Parameters,
        session::{self, SessionSql},
    },
};

/// Makes the constraints deferred again that begin every transaction so: COMMIT would have done it between two migrations.
/// A name that also stands for one that can't be deferred is left out, since SET CONSTRAINTS refuses it.
const DEFERRED: &str = "SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', n.nspname, c.conname), ', ') \
     FROM pg_catalog.pg_constraint AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.connamespace \
     WHERE c.condeferred AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS o \
     WHERE o.connamespace = c.connamespace AND o.conname = c.conname AND NOT o.condeferrable)";

/// What a rehearsal has shown.
#[derive(Debug)]
pub struct Rehearsal {
    /// What went through, in order.
    pub passed: Vec<(Version, Direction)>,
    /// What was checked otherwise than it will run, a sentence each.
    pub notes: Vec<String>,
    /// How it ended.
    pub end: RehearsalEnd,
}

/// How a rehearsal ended.
#[derive(Debug)]
pub enum RehearsalEnd {
    /// All of the plan went through.
    Passed,
    /// From a step of that number on, from 0, nothing was checked.
    Unchecked {
        /// The first step that wasn't.
        from: usize,
        /// Why.
        why: String,
    },
    /// The server refused a step.
    Refused {
        /// The step, from 0.
        step: usize,
        /// What it said, with file, line and column.
        error: RunError,
        /// Its DETAIL, which may hold rows: for whoever runs this, and nobody else.
        detail: Option<String>,
        /// Whether somebody else's lock was in the way, rather than the step wrong.
        in_the_way: bool,
    },
    /// It was asked to stop.
    Stopped,
}

/// Runs a plan in one transaction, and rolls it back, also when `stop` comes first.
///
/// # Errors
/// A [`Failure`]: the way down that is recorded can't be read, or the session was lost.
pub async fn rehearse(
    session: Session,
    parameters: &Parameters,
    desired: &Desired,
    (dir, history, plan): (&MigrationDir, &History, &Plan),
    stop: impl Future<Output = ()>,
) -> Result<Rehearsal, Failure> {
    let jobs = read_jobs(&session, desired, dir, history, plan).await?;
    let Session { connection, sql, .. } = session;
    let watching = connect::connect(parameters, &super::application_name(desired)).await.map_err(Failure::from)?;
    let pid = claim::rule_out_pooler(&connection.client, &watching.client).await?;
    let single = desired.policy.transaction == TransactionScope::Single;
    let ended = tokio::select! {
        rehearsed = run(&connection, &sql, &jobs, &plan.steps, single) => Some(rehearsed?),
        () = stop => None,
    };
    let Some(rehearsal) = ended else {
        // The statement under way would go on without us, and hold its locks.
        let end = format!("SELECT pg_catalog.pg_terminate_backend({pid})");
        session::query(&watching.client, &end).await.map_err(|error| error.into_failure("ending the rehearsal", ""))?;
        return Ok(Rehearsal { passed: Vec::new(), notes: Vec::new(), end: RehearsalEnd::Stopped });
    };
    Ok(rehearsal)
}

/// What the steps send.
async fn read_jobs<'a>(
    session: &Session,
    desired: &'a Desired,
    dir: &'a MigrationDir,
    history: &History,
    plan: &Plan,
) -> Result<Vec<Job<'a>>, Failure> {
    let downs = jobs::downs(plan);
    let stored = if downs.is_empty() {
        Vec::new()
    } else {
        let query = session.sql.look(&read::downs(&session.tables, &downs));
        session::query(&session.connection.client, &query).await.map_err(|error| {
            let cure = format!("it needs: {}", session.tables.grants(&session.who));
            error.into_failure("reading the recorded ways down", &cure)
        })?
    };
    jobs::jobs(plan, dir, history, desired, &stored)
}

async fn run(
    connection: &Connection,
    sql: &SessionSql,
    jobs: &[Job<'_>],
    steps: &[Step],
    single: bool,
) -> Result<Rehearsal, Failure> {
    let client = &connection.client;
    let failed = |what: &str, error: SqlError| {
        error.into_failure(what, "check database.role and the settings that the URL asks for")
    };
    // Settings of ours are part of the transaction, too: ROLLBACK takes them back.
    let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {}", sql.ours());
    session::query(client, &begin).await.map_err(|error| failed("preparing the rehearsal", error))?;
    let mut rehearsal = Rehearsal { passed: Vec::new(), notes: Vec::new(), end: RehearsalEnd::Passed };
    for (index, job) in jobs.iter().enumerate() {
        if job.mode == TransactionMode::NonTransactional {
            let why = format!("{} is marked no-transaction, and what it does can't be rolled back", job.file);
            rehearsal.end = RehearsalEnd::Unchecked { from: index, why };
            break;
        }
        rehearsal.notes.extend(modes(job));
        let checks = !single || index + 1 == jobs.len();
        match apply::rehearse(client, job.sent(), sql, checks).await {
            Applied::Whole => rehearsal.passed.push((job.version.clone(), steps[index].direction)),
            Applied::CommittedSessionLost(error) => return Err(lost(&format!("rehearsing {}", job.file), &error)),
            Applied::Not(refusal) if refusal.error.ends_session() => {
                return Err(lost(&format!("rehearsing {}, of which nothing stays", job.file), &refusal.error));
            }
            Applied::Not(refusal) => {
                // The session has lost count of its answers; that it ends rolls back as well.
                let out_of_step = refusal.error.is_out_of_step();
                rehearsal.end = refused(job, index, &refusal);
                if out_of_step {
                    return Ok(rehearsal);
                }
                break;
            }
        }
        if checks && index + 1 < jobs.len() {
            defer_again(client).await.map_err(|error| failed("deferring constraints again", error))?;
        }
    }
    session::query(client, "ROLLBACK").await.map_err(|error| lost("rolling the rehearsal back", &error))?;
    Ok(rehearsal)
}

async fn defer_again(client: &tokio_postgres::Client) -> Result<(), SqlError> {
    let rows = session::query(client, DEFERRED).await?;
    if let Some(names) = rows.first().and_then(|row| row.get(0)) {
        session::query(client, &format!("SET CONSTRAINTS {names} DEFERRED")).await?;
    }
    Ok(())
}

/// A file that begins a transaction of a kind of its own gets no such one here.
fn modes(job: &Job<'_>) -> Option<String> {
    let own = job.section.script.own_transaction.as_ref().filter(|own| !own.modes.is_empty())?;
    Some(format!("{}: checked without the {} of its BEGIN", job.file, own.modes))
}

/// What a refusal says about the step: some come from the rehearsal's one transaction alone.
fn refused(job: &Job<'_>, step: usize, refusal: &Refusal) -> RehearsalEnd {
    let statement = match refusal.part {
        Part::Statement(index) => job.section.script.statements.get(index),
        Part::Opening | Part::Deferred | Part::Closing => None,
    };
    let text = statement.map_or("", |statement| &job.section.text[statement.span.clone()]);
    let sets = text.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("set"));
    let why = match refusal.error.sqlstate() {
        // The kind of a transaction is chosen before its first query, and here that was another file's.
        Some("25001") if sets => "chooses the kind of its transaction, and here it has none of its own",
        // A value that was added to an enum in this transaction: in a run, an earlier migration has committed it.
        Some("55P04") if step > 0 => "uses a value of an enum that has to be committed first",
        _ => {
            let Wrong { error, detail } = describe::wrong(job, refusal);
            return RehearsalEnd::Refused { step, error, detail, in_the_way: refusal.error.is_lock_trouble() };
        }
    };
    RehearsalEnd::Unchecked { from: step, why: format!("{} {why}", job.file) }
}
