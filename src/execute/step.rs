//! One step of a plan: run it, and write down how it went.

use std::time::Duration;

use tokio::sync::watch;

use super::{
    Running, Stop, Work,
    claim::Claim,
    describe, hooks, jobs, lost, retry,
    supervise::{look_every, supervise},
};
use crate::{
    core::{
        desired::{Action, TransactionScope},
        history::{History, Recorded, Retrying, RunOutcome, State},
        job::{self, ApprovedStep, Job},
        migration::{Direction, TransactionMode, Version},
        outcome::{Failure, Reason},
        plan::{Amendment, Assessment},
    },
    database::{
        apply::{self, Applied, Frame, Part, Refusal},
        error::SqlError,
        history::{
            read,
            rows::{Outcome, RunRow, Writer, Wrong},
        },
        journal::{self, Journal},
        session,
    },
    fail_points::{Point, reached},
};

/// How a plan ended.
pub(super) enum Ended {
    /// All of it ran.
    Through,
    /// A migration's failure was written down: the history says.
    Recorded,
    /// It was asked to stop.
    Stopped,
    /// It could not go on.
    Failed(Failure),
}

/// One step on its way: everything that is the same for its attempts.
struct Step<'a> {
    claim: &'a Claim,
    writer: &'a Writer,
    job: &'a Job<'a>,
    recorded: Option<&'a Recorded>,
    /// Quick retries after somebody else's lock.
    lock_retries: u32,
    /// How often to look what it does.
    look_every: Duration,
}

/// Writes what needs no migration to run.
pub(super) async fn amend(
    claim: &Claim,
    work: &Work<'_>,
    history: &History,
    assessment: &Assessment,
) -> Result<(), Failure> {
    let writer = claim.writer(work, None, next_batch(history));
    let desired = work.desired;
    let known = history.by_version();
    let mut sql = "BEGIN;".to_owned();
    for amendment in &assessment.amendments {
        match amendment {
            Amendment::StoreDown { version } => {
                if let Some(migration) = work.dir.get(version) {
                    sql.push_str(&writer.store_down(migration, version.as_str()));
                }
            }
            Amendment::Replace { version, replaced } => {
                if let Some(migration) = work.dir.get(version) {
                    let job = Job::up(migration, known.get(version).copied(), desired);
                    sql.push_str(&writer.replace(&job, replaced));
                }
            }
            Amendment::Resolve { version, run, action, by } => {
                let replaced = known.get(version).map_or([].as_slice(), |row| &row.replaces);
                sql.push_str(&writer.resolve(version, *run, *action, by, replaced));
                if let (Action::AcceptChecksum, Some(migration)) = (action, work.dir.get(version)) {
                    let job = Job::up(migration, known.get(version).copied(), desired);
                    sql.push_str(&writer.accept_checksum(migration, &job));
                }
            }
            Amendment::Restore { version, replaced } => {
                let Some(row) = known.get(version) else { continue };
                sql.push_str(&writer.restore(row, replaced));
                for version in replaced {
                    let part = known.get(version).copied();
                    if part.is_none_or(|part| part.state != State::Replaced)
                        && let Some(migration) = work.dir.get(version)
                    {
                        sql.push_str(&writer.restore_part(&Job::up(migration, part, desired)));
                    }
                }
            }
            Amendment::Stamp { versions } => {
                for migration in versions.iter().filter_map(|version| work.dir.get(version)) {
                    let job = Job::up(migration, known.get(&migration.version).copied(), desired);
                    sql.push_str(&writer.stamp(migration, &job));
                }
                let stamped = versions.iter().filter_map(|version| work.dir.get(version));
                let replaced: Vec<Version> = stamped.flat_map(|migration| &migration.replaces).cloned().collect();
                if !replaced.is_empty() {
                    sql.push_str(&writer.stamp_replaced(&replaced));
                }
            }
            Amendment::Adopt { rows } => {
                for row in rows {
                    let Some(migration) = work.dir.get(&row.version) else { continue };
                    let job = Job::up(migration, known.get(&migration.version).copied(), desired);
                    sql.push_str(&writer.import(migration, &job, row));
                }
            }
            Amendment::RetryTask { run, by } => sql.push_str(&writer.retry_task(*run, by)),
            Amendment::Offer => sql.push_str(&writer.offer(&assessment.plan, None)),
            Amendment::Approve { by } => sql.push_str(&writer.offer(&assessment.plan, Some(by))),
        }
    }
    sql.push_str("COMMIT");
    let written = write(claim, &sql, Point::AmendmentBefore, Point::AmendmentAfter).await;
    written.map_err(|error| claim.refused("amending the history", error))
}

/// The jobs of a plan, each with what is left to approve behind it.
async fn read_jobs<'a>(
    claim: &Claim,
    work: &Work<'a>,
    history: &History,
    assessment: &Assessment,
) -> Result<Vec<Job<'a>>, Failure> {
    let downs = jobs::downs(&assessment.plan);
    let stored = if downs.is_empty() {
        Vec::new()
    } else {
        let answer = session::query(claim.client(), &read::downs(&claim.tables, &downs)).await;
        answer.map_err(|error| claim.refused("reading the recorded ways down", error))?
    };
    let mut jobs = jobs::jobs(&assessment.plan, work.dir, history, work.desired, &stored)?;
    if let Some(plan) = assessment.approved {
        let rests = assessment.plan.rests();
        let last = jobs.len().saturating_sub(1);
        for (index, job) in jobs.iter_mut().enumerate() {
            let rest = rests.get(index + 1).filter(|_| index < last).map(ToString::to_string);
            job.approved = Some(ApprovedStep { plan, rest });
        }
    }
    Ok(jobs)
}

/// Runs the steps in order, until one doesn't go through.
pub(super) async fn run_plan(
    claim: &mut Claim,
    work: &Work<'_>,
    history: &History,
    assessment: &Assessment,
    stop: &mut watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
    applied: &mut Vec<(Version, Direction)>,
) -> Ended {
    let plan = &assessment.plan;
    let jobs = match read_jobs(claim, work, history, assessment).await {
        Ok(jobs) => jobs,
        Err(failure) => return Ended::Failed(failure),
    };
    let writer = claim.writer(work, Some(plan.digest().to_string()), next_batch(history));
    if let Err(failure) = hooks::open(claim, &writer, &assessment.hooks.after).await {
        return Ended::Failed(failure);
    }
    let single = work.desired.policy.transaction == TransactionScope::Single;
    let mut committed = applied.len();
    let known = history.by_version();
    for (index, job) in jobs.iter().enumerate() {
        if *stop.borrow() != Stop::No && (!single || index == 0) {
            return Ended::Stopped;
        }
        let attempt = Step {
            claim,
            writer: &writer,
            job,
            recorded: known.get(&job.version).copied(),
            lock_retries: work.desired.session.lock_retries,
            look_every: look_every(work.desired.session.lock_timeout_ms),
        };
        running.send_replace(Some(Running::new(job, &now(), index, jobs.len())));
        let frame = Frame { begins: !single || index == 0, commits: !single || index + 1 == jobs.len() };
        let ended = match job.mode {
            TransactionMode::Transactional => attempt.transactional(history, frame, stop, running).await,
            TransactionMode::NonTransactional => attempt.non_transactional(stop, running).await,
        };
        match ended {
            Ended::Through => {
                let what = match job.direction {
                    Direction::Up => "applied",
                    Direction::Down => "rolled back",
                };
                tracing::info!(version = %job.version, name = job.name, history = claim.tables.set, "{what}");
                applied.push((job.version.clone(), job.direction));
                if frame.commits {
                    committed = applied.len();
                }
            }
            other => {
                // A plan in one transaction was rolled back whole.
                applied.truncate(committed);
                return other;
            }
        }
    }
    Ended::Through
}

impl Step<'_> {
    async fn transactional(
        &self,
        history: &History,
        frame: Frame,
        stop: &mut watch::Receiver<Stop>,
        running: &watch::Sender<Option<Running>>,
    ) -> Ended {
        let Job { version, direction, .. } = self.job;
        // What has become of the migration since is later than a try that was given up before it.
        let since = self.recorded.map_or(0, |row| row.run.id);
        let is_this = |run: &&Retrying| run.version == *version && run.direction == *direction && run.run >= since;
        let retrying = history.retrying.iter().find(is_this);
        let row = retrying.map_or(RunRow::New(self.kind()), |run| RunRow::Existing(run.run));
        // Another text is another attempt, which is counted from the start.
        let mut attempts = retrying.filter(|run| run.inputs == self.job.inputs).map_or(0, |run| run.attempts);
        let mut tried = 0;
        let begin = |index| retry::modify(running, |running| running.begin(index));
        loop {
            attempts += 1;
            let record = self.writer.record(self.job, row, attempts, Outcome::Succeeded);
            let client = self.claim.client();
            let run = apply::apply(client, self.job.sent(), &self.claim.sql, frame, &record, &begin);
            let ended = supervise(self.claim, stop, running, self.look_every, true, run).await;
            let refusal = match ended.value {
                Applied::Whole => return Ended::Through,
                Applied::CommittedSessionLost(error) => {
                    return Ended::Failed(lost("after the migration was applied", &error));
                }
                Applied::Not(refusal) => refusal,
            };
            if refusal.error.ends_session() {
                return Ended::Failed(self.lost_under_way(&refusal.error));
            }
            if let Err(failure) = self.roll_back_from(&refusal.error).await {
                return Ended::Failed(failure);
            }
            if ended.cancelled && refusal.error.sqlstate() == Some("57014") {
                return Ended::Stopped;
            }
            if refusal.error.is_lost_claim(&self.claim.tables.schema) {
                return Ended::Failed(Failure::new(
                    Reason::Retrying,
                    "another session has claimed the set in the middle of a migration, which was rolled back; it is tried again",
                ));
            }
            if refusal.error.is_lock_trouble() {
                retry::gave_way(running, ended.in_the_way);
            }
            // A transaction that holds other files' work is given up whole, and planned again.
            if refusal.error.is_lock_trouble() && tried < self.lock_retries && frame.begins {
                tried += 1;
                if retry::pause(tried, self.lock_retries, stop, running).await == Stop::No {
                    continue;
                }
                return Ended::Stopped;
            }
            return self.settle(&refusal, row, attempts, &retry::last_in_the_way(running)).await;
        }
    }

    /// Writes down how a transactional migration failed, by its class.
    async fn settle(&self, refusal: &Refusal, row: RunRow, attempts: i64, in_the_way: &str) -> Ended {
        let wrong = describe::wrong(self.job, refusal);
        if refusal.error.is_transient() {
            let sql = self.writer.retrying(self.job, row, attempts, &wrong);
            return match write(self.claim, &sql, Point::RetryingBefore, Point::RetryingAfter).await {
                Ok(()) => Ended::Failed(Failure::new(
                    Reason::Retrying,
                    format!(
                        "{}{in_the_way}\nNothing of it was kept after {attempts} {}; it is tried again",
                        wrong.error.message,
                        if attempts == 1 { "try" } else { "tries" }
                    ),
                )),
                Err(error) => Ended::Failed(self.claim.refused("writing down a run that is tried again", error)),
            };
        }
        if refusal.error.sqlstate() == Some("42501") && matches!(refusal.part, Part::Opening | Part::Closing) {
            let what = format!("writing the history with {}, which was rolled back", self.job.file);
            return Ended::Failed(self.claim.refused(&what, refusal.error.clone()));
        }
        let sql = self.writer.record(self.job, row, attempts, Outcome::Failed(&wrong));
        self.recorded(&sql).await
    }

    async fn non_transactional(
        &self,
        stop: &mut watch::Receiver<Stop>,
        running: &watch::Sender<Option<Running>>,
    ) -> Ended {
        let begun = match self.begin_journal().await {
            Ok(begun) => begun,
            Err(error) => return Ended::Failed(self.claim.refused("opening the journal", error)),
        };
        let Begun { run, attempts, entries } = begun;
        let journal = Journal {
            client: self.claim.client(),
            backend: &self.claim.backend,
            session: &self.claim.sql,
            writer: self.writer,
            run,
            job: self.job,
        };
        let done = entries.iter().take_while(|entry| entry.done).count();
        let open = entries.get(done).filter(|entry| !entry.done);
        if let Some(entry) = open
            && self.has_other_values(entry.index)
        {
            let why = "the values of its variables, the role or the search path may be others by now";
            return self.interrupt(run, attempts, entry.index, why).await;
        }
        if done > 0
            && let Some(recorded) = self.recorded
            && let Some(obstacle) = job::resume_obstacle(&self.job.file, self.job.mode, &self.job.section, recorded)
        {
            return self.interrupt(run, attempts, open.map_or(done, |entry| entry.index), &obstacle).await;
        }
        if let Some(entry) = open.filter(|entry| entry.index >= self.job.section.script.statements.len()) {
            return self.interrupt(run, attempts, entry.index, "it is no longer in the file").await;
        }
        if let Err(error) = journal.open(done).await {
            if error.is_transient() {
                return Ended::Failed(lost("preparing the session of a no-transaction migration", &error));
            }
            let refusal = Refusal { part: Part::Opening, position: None, error };
            return self.fail(run, attempts, None, &refusal, None).await;
        }
        for index in done..self.job.section.script.statements.len() {
            if *stop.borrow() == Stop::CancelTransaction && index > done {
                // The journal says how far it came; whoever comes next goes on from there.
                return Ended::Stopped;
            }
            retry::modify(running, |running| running.begin(index));
            let entry = open.filter(|entry| entry.index == index);
            match self.statement(&journal, index, entry, stop, running).await {
                journal::Step::Done => {}
                journal::Step::Blocked { .. } if *stop.borrow() != Stop::No => return Ended::Stopped,
                journal::Step::Blocked { error, position } => {
                    let wrong = describe::wrong(self.job, &Refusal { part: Part::Statement(index), position, error });
                    return Ended::Failed(Failure::new(
                        Reason::Retrying,
                        format!(
                            "{}{}\nThe statement gave way, and is tried again",
                            wrong.error.message,
                            retry::last_in_the_way(running)
                        ),
                    ));
                }
                journal::Step::Lost(error) => {
                    let what = "a no-transaction migration was cut off; its journal says how far it came";
                    return Ended::Failed(self.claim.refused(what, error));
                }
                journal::Step::Busy(who) => {
                    return Ended::Failed(Failure::new(Reason::WaitingForLock, format!("{}: {who}", self.job.file)));
                }
                journal::Step::Unproven(why) => return self.interrupt(run, attempts, index, &why).await,
                journal::Step::Refused { error, position, left } => {
                    let refusal = Refusal { part: Part::Statement(index), position, error };
                    return self.fail(run, attempts, Some(index), &refusal, left.as_deref()).await;
                }
            }
        }
        if let Err(failure) = self.roll_back().await {
            return Ended::Failed(failure);
        }
        let existing = RunRow::Existing(run);
        let sql = self.writer.record(self.job, existing, attempts, Outcome::Succeeded);
        match write(self.claim, &sql, Point::AppliedBefore, Point::AppliedAfter).await {
            Ok(()) => Ended::Through,
            Err(error) => Ended::Failed(self.claim.refused("writing down a migration that is done", error)),
        }
    }

    /// Runs or recovers one statement of a journal, with quick retries while somebody's lock is in its way.
    async fn statement(
        &self,
        journal: &Journal<'_>,
        index: usize,
        entry: Option<&journal::Entry>,
        stop: &mut watch::Receiver<Stop>,
        running: &watch::Sender<Option<Running>>,
    ) -> journal::Step {
        let mut tried = 0;
        loop {
            let under_way = async {
                match entry {
                    Some(entry) => journal.recover(entry).await,
                    None => journal.step(index).await,
                }
            };
            let supervised = supervise(self.claim, stop, running, self.look_every, false, under_way).await;
            let ended = supervised.value;
            // What has run out comes back in its own time: that is a pause of the operator's.
            if !matches!(&ended, journal::Step::Blocked { error, .. } if error.is_lock_trouble()) {
                return ended;
            }
            retry::gave_way(running, supervised.in_the_way);
            tried += 1;
            if tried > self.lock_retries || retry::pause(tried, self.lock_retries, stop, running).await != Stop::No {
                return ended;
            }
        }
    }

    /// Whether a statement that was cut off may have been sent with other values than it would be now: what the catalog says
    /// of these proves nothing of those.
    fn has_other_values(&self, index: usize) -> bool {
        let section = &self.job.section;
        let statement = section.script.statements.get(index).map(|statement| &section.text[statement.span.clone()]);
        statement.is_some_and(|statement| !self.job.variables.used(statement).is_empty())
            && self.recorded.is_some_and(|row| row.run.inputs != self.job.inputs)
    }

    /// The kind of a run that begins.
    fn kind(&self) -> &'static str {
        match self.job.direction {
            Direction::Up => "apply",
            Direction::Down => "rollback",
        }
    }

    /// Finds or makes the run's row, and what its journal holds already.
    async fn begin_journal(&self) -> Result<Begun, SqlError> {
        let client = self.claim.client();
        // A run of the other way, that a person has marked, is another story.
        let recorded = self.recorded.filter(|row| row.run.direction == self.job.direction);
        let cut_off = recorded.filter(|row| row.state == State::Interrupted && row.run.outcome == RunOutcome::Running);
        if let Some(row) = cut_off {
            let entries = journal::entries(client, &self.claim.tables, row.run.id).await?;
            return Ok(Begun { run: row.run.id, attempts: row.run.attempts + 1, entries });
        }
        let resumed = recorded.filter(|row| {
            matches!(row.state, State::Failed | State::Interrupted) && row.run.resolution == Some(Action::Resume)
        });
        let kind = if resumed.is_some() { "resume" } else { self.kind() };
        let begin = self.writer.record(self.job, RunRow::New(kind), 1, Outcome::Begun);
        reached(Point::RunBefore).await;
        let rows = session::query(client, &format!("BEGIN; {begin}")).await;
        let made = async {
            let rows = rows?;
            let run = rows.first().and_then(|row| row.get(0)).and_then(|id| id.parse().ok()).unwrap_or_default();
            if let Some(row) = resumed {
                session::query(client, &self.writer.carry_over(row.run.id, run)).await?;
            }
            reached(Point::RunWritten).await;
            session::query(client, "COMMIT").await?;
            reached(Point::RunAfter).await;
            Ok::<_, SqlError>(run)
        }
        .await;
        let run = match made {
            Ok(run) => run,
            Err(error) => {
                if !error.ends_session() {
                    let _ = session::query(client, "ROLLBACK").await;
                }
                return Err(error);
            }
        };
        let entries = match resumed {
            Some(_) => journal::entries(client, &self.claim.tables, run).await?,
            None => Vec::new(),
        };
        Ok(Begun { run, attempts: 1, entries })
    }

    /// The statement's row, the run's and the migration's say it in one commit: a crash between them would leave an intent,
    /// and what the server has refused would run again.
    async fn fail(
        &self,
        run: i64,
        attempts: i64,
        index: Option<usize>,
        refusal: &Refusal,
        left: Option<&str>,
    ) -> Ended {
        if let Err(failure) = self.roll_back_from(&refusal.error).await {
            return Ended::Failed(failure);
        }
        if refusal.error.is_lost_claim(&self.claim.tables.schema) {
            return Ended::Failed(lost("another session has claimed the set", &refusal.error));
        }
        let mut wrong = describe::wrong(self.job, refusal);
        if let Some(left) = left {
            wrong.error.message.push_str("\nIt left something behind: ");
            wrong.error.message.push_str(&self.job.variables.redact(left));
        }
        let existing = RunRow::Existing(run);
        let sql = self.writer.record(self.job, existing, attempts, Outcome::Failed(&wrong));
        let statement = index.map_or_else(String::new, |index| {
            self.writer.statement(self.job, run, index, "failed", &self.claim.backend, None) + ";"
        });
        self.recorded(&format!("BEGIN; {statement}{sql}; COMMIT")).await
    }

    async fn interrupt(&self, run: i64, attempts: i64, index: usize, why: &str) -> Ended {
        if let Err(failure) = self.roll_back().await {
            return Ended::Failed(failure);
        }
        let wrong: Wrong = describe::interrupted(self.job, index, why);
        let existing = RunRow::Existing(run);
        let sql = self.writer.record(self.job, existing, attempts, Outcome::Interrupted(&wrong));
        self.recorded(&sql).await
    }

    async fn recorded(&self, sql: &str) -> Ended {
        match write(self.claim, sql, Point::FailureBefore, Point::FailureAfter).await {
            Ok(()) => {
                tracing::warn!(version = %self.job.version, name = self.job.name, history = self.claim.tables.set, "failed");
                Ended::Recorded
            }
            Err(error) => Ended::Failed(self.claim.refused("writing down a failure", error)),
        }
    }

    async fn roll_back_from(&self, error: &SqlError) -> Result<(), Failure> {
        if error.is_out_of_step() {
            self.claim.fall_back().await?;
        }
        self.roll_back().await
    }

    /// Leaves a transaction that failed, and brings the session back.
    async fn roll_back(&self) -> Result<(), Failure> {
        let sql = format!("ROLLBACK; {}", self.claim.sql.reset());
        session::query(self.claim.client(), &sql).await.map(|_| ()).map_err(|error| lost("rolling back", &error))
    }

    fn lost_under_way(&self, error: &SqlError) -> Failure {
        lost(&format!("the session was lost under {}, and the history says what became of it", self.job.file), error)
    }
}

struct Begun {
    run: i64,
    attempts: i64,
    entries: Vec<journal::Entry>,
}

/// Sends rows of ours, between two fail points; an error leaves no transaction open.
pub(super) async fn write(claim: &Claim, sql: &str, before: Point, after: Point) -> Result<(), SqlError> {
    reached(before).await;
    let written = session::query(claim.client(), sql).await;
    reached(after).await;
    match written {
        Ok(_) => Ok(()),
        Err(error) => {
            if !error.ends_session() {
                let _ = session::query(claim.client(), "ROLLBACK").await;
            }
            Err(error)
        }
    }
}

pub(super) fn next_batch(history: &History) -> i64 {
    history.migrations.iter().map(|row| row.batch).max().unwrap_or(0) + 1
}

#[allow(clippy::disallowed_methods, reason = "when a run started is known to nobody else")]
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
