//! Seeds, one after the other: each commits with the rows that say so, or leaves nothing.

use tokio::sync::watch;

use super::{
    Running, Stop, Work,
    claim::Claim,
    describe, lost, retry,
    step::{Ended, next_batch, now, write},
    supervise::{look_every, supervise},
};
use crate::{
    core::{
        history::{History, RunOutcome, SeedCounts},
        outcome::{Failure, Reason},
        seed::{Body, Seed},
        task::{Subject, TaskKind, TaskRun},
    },
    database::{
        apply::{self, Applied, Frame, Part},
        error::SqlError,
        history::rows::{Outcome, Task, Writer, Wrong},
        seed::{self, Loaded},
        session,
    },
    fail_points::Point,
};

/// A seed on its way to the database.
struct Load<'a> {
    claim: &'a Claim,
    work: &'a Work<'a>,
    writer: &'a Writer,
    seed: &'a Seed,
    task: Task<'a>,
    /// The run that is tried again.
    again: Option<i64>,
}

/// How a try ended.
enum Tried {
    Through,
    CommittedSessionLost(SqlError),
    Not { error: SqlError, wrong: Wrong, part: Part },
}

/// Loads seeds in order, until one doesn't go through.
pub(super) async fn run(
    claim: &mut Claim,
    work: &Work<'_>,
    history: &History,
    due: &[String],
    stop: &mut watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
    seeded: &mut Vec<String>,
) -> Ended {
    let writer = claim.writer(work, None, next_batch(history) - 1);
    for (index, path) in due.iter().enumerate() {
        if *stop.borrow() != Stop::No {
            return Ended::Stopped;
        }
        let Some(seed) = work.desired.seeds.iter().find(|seed| seed.path == *path) else { continue };
        let task = Task { kind: TaskKind::Seed, key: path, checksum: seed.checksum.as_str() };
        let is_again =
            |run: &&TaskRun| run.kind == TaskKind::Seed && run.key == *path && run.outcome == RunOutcome::Retrying;
        let retrying = history.tasks.iter().find(is_again);
        // Another text is another attempt, which is counted from the start.
        let attempts = retrying.filter(|run| run.checksum == task.checksum).map_or(0, |run| run.attempts);
        let load = Load { claim, work, writer: &writer, seed, task, again: retrying.map(|run| run.run) };
        let subject = Subject::Task { kind: TaskKind::Seed, key: path.clone() };
        running.send_replace(Some(Running::of(subject, seed.parts(), &now(), (index, due.len()))));
        match load.run(attempts, stop, running).await {
            Ended::Through => {
                tracing::info!(seed = path, history = claim.tables.set, "loaded");
                seeded.push(path.clone());
            }
            other => return other,
        }
    }
    Ended::Through
}

impl Load<'_> {
    async fn run(
        &self,
        mut attempts: i64,
        stop: &mut watch::Receiver<Stop>,
        running: &watch::Sender<Option<Running>>,
    ) -> Ended {
        let settings = &self.work.desired.session;
        let every = look_every(settings.lock_timeout_ms);
        let mut tried = 0;
        loop {
            attempts += 1;
            let ended = supervise(self.claim, stop, running, every, true, self.once(attempts, running)).await;
            let (error, wrong, part) = match ended.value {
                Tried::Through => return Ended::Through,
                Tried::CommittedSessionLost(error) => return Ended::Failed(lost("after the seed was loaded", &error)),
                Tried::Not { error, wrong, part } => (error, wrong, part),
            };
            if error.ends_session() {
                let what =
                    format!("the session was lost under {}, and the history says what became of it", self.seed.path);
                return Ended::Failed(lost(&what, &error));
            }
            if let Err(failure) = self.roll_back(&error).await {
                return Ended::Failed(failure);
            }
            if ended.cancelled && error.sqlstate() == Some("57014") {
                return Ended::Stopped;
            }
            if error.is_lost_claim(&self.claim.tables.schema) {
                let what = "another session has claimed the set in the middle of a seed, which was rolled back; it is tried again";
                return Ended::Failed(Failure::new(Reason::Retrying, what));
            }
            if error.is_lock_trouble() {
                retry::gave_way(running, ended.in_the_way);
                if tried < settings.lock_retries {
                    tried += 1;
                    if retry::pause(tried, settings.lock_retries, stop, running).await == Stop::No {
                        continue;
                    }
                    return Ended::Stopped;
                }
            }
            return self.settle(&error, &wrong, part, attempts, &retry::last_in_the_way(running)).await;
        }
    }

    /// One try, whole or not at all.
    async fn once(&self, attempts: i64, running: &watch::Sender<Option<Running>>) -> Tried {
        let Self { claim, seed, .. } = self;
        let record = |counts: Option<SeedCounts>| self.writer.seeded(self.task, self.again, attempts, counts);
        let begin = |index| retry::modify(running, |running| running.begin(index));
        match &seed.body {
            Body::Sql(section) => {
                let frame = Frame { begins: true, commits: true };
                match apply::apply(claim.client(), section, &claim.sql, frame, &record(None), &begin).await {
                    Applied::Whole => Tried::Through,
                    Applied::CommittedSessionLost(error) => Tried::CommittedSessionLost(error),
                    Applied::Not(refusal) => {
                        let wrong = describe::wrong_in(&seed.path, section, &refusal);
                        Tried::Not { error: refusal.error, wrong, part: refusal.part }
                    }
                }
            }
            Body::Rows(tables) => {
                let record = |counts| record(Some(counts));
                match seed::load(claim.client(), tables, &claim.sql, record, &begin).await {
                    Loaded::Whole => Tried::Through,
                    Loaded::CommittedSessionLost(error) => Tried::CommittedSessionLost(error),
                    Loaded::Not(refusal) => {
                        let wrong = describe::wrong_rows(&seed.path, &refusal);
                        Tried::Not { error: refusal.error, wrong, part: refusal.part }
                    }
                }
            }
        }
    }

    /// Leaves a transaction that failed, and brings the session back.
    async fn roll_back(&self, error: &SqlError) -> Result<(), Failure> {
        if error.is_out_of_step() {
            self.claim.fall_back().await?;
        }
        let sql = format!("ROLLBACK; {}", self.claim.sql.reset());
        session::query(self.claim.client(), &sql).await.map(|_| ()).map_err(|error| lost("rolling back", &error))
    }

    /// Writes down how it failed, by its class.
    async fn settle(&self, error: &SqlError, wrong: &Wrong, part: Part, attempts: i64, in_the_way: &str) -> Ended {
        let path = &self.seed.path;
        if error.is_transient() {
            let sql = self.writer.task_retrying(self.task, self.again, attempts, wrong);
            return match write(self.claim, &sql, Point::RetryingBefore, Point::RetryingAfter).await {
                Ok(()) => Ended::Failed(Failure::new(
                    Reason::Retrying,
                    format!("{}{in_the_way}\nNothing of it was kept; it is tried again", wrong.error.message),
                )),
                Err(error) => Ended::Failed(self.claim.refused("writing down a seed that is tried again", error)),
            };
        }
        if error.sqlstate() == Some("42501") && matches!(part, Part::Opening | Part::Closing) {
            let what = format!("writing the history with {path}, which was rolled back");
            return Ended::Failed(self.claim.refused(&what, error.clone()));
        }
        let sql = self.writer.task(self.task, self.again, attempts, Outcome::Failed(wrong));
        match write(self.claim, &sql, Point::FailureBefore, Point::FailureAfter).await {
            Ok(()) => {
                tracing::warn!(seed = path, history = self.claim.tables.set, "failed");
                Ended::Recorded
            }
            Err(error) => Ended::Failed(self.claim.refused("writing down a failure", error)),
        }
    }
}
