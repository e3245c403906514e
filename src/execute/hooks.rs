//! Hooks under the lock: written down as begun, run, and written down as ended, with the claim proven each time.
//!
//! A hook runs at least once for its plan, and again where nothing says how it ended. SQL of a hook commits with its row,
//! and so runs once. No hook makes a migration run again.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::{
    End, Running, Shell, Stop, Work,
    claim::Claim,
    describe, forgotten, lost,
    step::{next_batch, now, write},
    supervise::{Supervised, look_every, supervise},
};
use crate::{
    core::{
        desired::Audience,
        history::{History, RunError},
        hook::{self, Act, Fact, Hook, Key, Place, Surroundings},
        migration::{Direction, Section},
        outcome::{Failure, Reason},
        plan::{Assessment, DueHook, LaterHook, PlanHooks},
        task::{Subject, TaskKind},
    },
    database::{
        apply::{self, Applied, Frame, Refusal},
        history::rows::{HookRow, Outcome, Writer, Wrong},
        quote, session,
    },
    fail_points::Point,
};

/// How often the session that holds the lock is asked something while a hook runs elsewhere, so that nothing in between
/// takes it for idle.
const PULSE: Duration = Duration::from_secs(30);

/// How a shell runs a hook that isn't SQL.
pub trait RunHook: Send + Sync {
    /// Runs it to its end, its time limit or the stop, whichever comes first.
    fn run<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookEnd>;
}

/// A hook that is to run.
pub struct HookCall<'a> {
    /// What it does, and for how long it may.
    pub hook: &'a Hook,
    /// Which one it is.
    pub key: Key,
    /// What messages call it.
    pub name: &'a str,
    /// What it is told.
    pub facts: &'a [Fact],
    /// The same for every try of one run, and for nothing else.
    pub id: &'a str,
    /// Whether it is asked to stop.
    pub stop: watch::Receiver<Stop>,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookEnd {
    /// It is done.
    Through,
    /// It failed, or took too long; the text says how, without a secret.
    Failed(String),
    /// It was asked to stop: it runs again.
    Stopped,
}

/// A shell whose hooks are SQL alone.
pub struct SqlAlone;

impl RunHook for SqlAlone {
    fn run<'a>(&'a self, _: HookCall<'a>) -> BoxFuture<'a, HookEnd> {
        async { HookEnd::Failed("only SQL runs here".to_owned()) }.boxed()
    }
}

/// What the hooks of one execution run with.
struct Hooks<'a> {
    claim: &'a Claim,
    work: &'a Work<'a>,
    stop: &'a mut watch::Receiver<Stop>,
    running: &'a watch::Sender<Option<Running>>,
}

/// How hooks ended.
pub(super) enum HooksEnded {
    /// There are none to run.
    None,
    /// All of them are done; or one failed, which is written down: what to say where the history holds nothing up by it.
    Through(Option<Failure>),
    /// They were asked to stop, or couldn't go on.
    Ended(End),
}

/// Runs the hooks that are due, or else those before the plan's steps, if there are any and the plan may run. `before` are
/// those of the last pass: a history that keeps what is written to it doesn't ask for the same again.
pub(super) async fn run(
    claim: &Claim,
    work: &Work<'_>,
    stop: &mut watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
    history: &History,
    assessment: &Assessment,
    before: &PlanHooks,
) -> HooksEnded {
    let planned = &assessment.hooks;
    let due = if planned.due.is_empty() && assessment.findings.is_empty() { &planned.before } else { &planned.due };
    let Some(first) = due.first() else { return HooksEnded::None };
    if before == planned {
        return HooksEnded::Ended(forgotten(&first.context.key.to_string()));
    }
    let writer = claim.writer(work, None, next_batch(history));
    Hooks { claim, work, stop, running }.run(&writer, due).await
}

/// Writes down, before a plan's first step, which hooks are to run after its last.
pub(super) async fn open(claim: &Claim, writer: &Writer, later: &[LaterHook]) -> Result<(), Failure> {
    if later.is_empty() {
        return Ok(());
    }
    let mut sql = "BEGIN;".to_owned();
    for LaterHook { key, direction, checksum, open, batch } in later {
        let writer = Writer { batch: batch.unwrap_or(writer.batch), ..writer.clone() };
        let row = HookRow { key: *key, direction: *direction, checksum };
        let attempts = open.map_or(0, |(_, attempts)| attempts);
        sql.push_str(&writer.hook(row, open.map(|(run, _)| run), attempts, Outcome::Begun));
        sql.push(';');
    }
    sql.push_str("COMMIT");
    let written = write(claim, &sql, Point::AmendmentBefore, Point::AmendmentAfter).await;
    written.map_err(|error| claim.refused("writing down which hooks are to run", error))
}

impl Hooks<'_> {
    /// Runs hooks in their order, until one doesn't go through.
    async fn run(&mut self, writer: &Writer, due: &[DueHook]) -> HooksEnded {
        for due in due {
            if *self.stop.borrow() != Stop::No {
                return HooksEnded::Ended(End::Stopped);
            }
            let key = due.context.key;
            let Some(hook) = self.work.desired.hooks.get(key) else { continue };
            let mut writer = writer.clone();
            writer.batch = due.batch.unwrap_or(writer.batch);
            writer.plan_digest = Some(due.context.plan.clone()).filter(|plan| !plan.is_empty()).or(writer.plan_digest);
            let one = One { hooks: self, writer: &writer, due, hook, name: self.name(key) };
            match one.run().await {
                HooksEnded::Through(None) => {
                    tracing::info!(hook = %key, history = self.claim.tables.set, "hook done");
                }
                other => {
                    tracing::warn!(hook = %key, history = self.claim.tables.set, "hook not done");
                    return other;
                }
            }
        }
        HooksEnded::Through(None)
    }

    /// What whoever reads messages calls a hook.
    fn name(&self, key: Key) -> String {
        match self.work.desired.audience {
            Audience::MigrationSet => format!("spec.hooks.{key}"),
            Audience::CommandLine => format!("hooks.{}[{}]", key.place.field(), key.index),
        }
    }
}

/// One hook on its way.
struct One<'a, 'b> {
    hooks: &'a Hooks<'b>,
    writer: &'a Writer,
    due: &'a DueHook,
    hook: &'a Hook,
    name: String,
}

impl One<'_, '_> {
    async fn run(&self) -> HooksEnded {
        let Hooks { claim, work, running, .. } = self.hooks;
        let attempts = self.due.open.map_or(0, |(_, attempts)| attempts) + 1;
        let run = match self.begin(attempts).await {
            Ok(run) => run,
            Err(failure) => return HooksEnded::Ended(End::Failed(failure)),
        };
        let key = self.due.context.key;
        let statements = match &self.hook.act {
            Act::Sql(section) => section.script.statements.len(),
            Act::Job(_) | Act::Http(_) | Act::Command(_) => 0,
        };
        let planned = work.desired.hooks.at(key.place).len();
        let subject = Subject::Task { kind: TaskKind::Hook, key: key.to_string() };
        running.send_replace(Some(Running::of(subject, statements, &now(), (key.index, planned))));
        let id = self.id(run);
        let facts = self.facts(run, &id);
        let ended = match &self.hook.act {
            Act::Sql(section) => self.sql(section, &facts, run, attempts).await,
            Act::Job(_) | Act::Http(_) | Act::Command(_) => self.elsewhere(&facts, &id).await,
        };
        running.send_replace(None);
        match ended {
            Ok(HookEnd::Through) if matches!(self.hook.act, Act::Sql(_)) => HooksEnded::Through(None),
            Ok(HookEnd::Through) => {
                let sql = self.writer.hook(self.row(), Some(run), attempts, Outcome::Succeeded);
                match write(claim, &sql, Point::AmendmentBefore, Point::AmendmentAfter).await {
                    Ok(()) => HooksEnded::Through(None),
                    Err(error) => {
                        HooksEnded::Ended(End::Failed(claim.refused("writing down that a hook is done", error)))
                    }
                }
            }
            Ok(HookEnd::Stopped) => HooksEnded::Ended(End::Stopped),
            Ok(HookEnd::Failed(why)) => {
                self.failed(run, attempts, Wrong { error: why_error(&self.name, &why), detail: None }).await
            }
            Err(NotThrough::Refused(wrong)) => self.failed(run, attempts, *wrong).await,
            Err(NotThrough::Failed(failure)) => HooksEnded::Ended(End::Failed(failure)),
        }
    }

    /// Finds or makes the hook's run, whose claim is proven by it.
    async fn begin(&self, attempts: i64) -> Result<i64, Failure> {
        let claim = self.hooks.claim;
        let open = self.due.open.map(|(run, _)| run);
        let sql = self.writer.hook(self.row(), open, attempts, Outcome::Begun);
        let rows = session::query(claim.client(), &sql).await;
        let rows = rows.map_err(|error| claim.refused("writing down that a hook begins", error))?;
        let run = rows.first().and_then(|row| row.get(0)).and_then(|id| id.parse().ok());
        run.ok_or_else(|| lost("writing down that a hook begins", &"its run has no number"))
    }

    fn row(&self) -> HookRow<'_> {
        let DueHook { context, checksum, .. } = self.due;
        HookRow { key: context.key, direction: context.direction, checksum }
    }

    /// The same for every try of this run: of another database, or an object that is made anew, it is another.
    fn id(&self, run: i64) -> String {
        let Hooks { claim, work, .. } = self.hooks;
        let owner = work.desired.owner.to_string();
        let key = self.due.context.key.to_string();
        let run = run.to_string();
        let uid = work.uid.unwrap_or_default();
        hook::id(&[uid, &owner, &claim.tables.schema, &claim.tables.set, &key, &run, &self.due.context.plan])
    }

    fn facts(&self, run: i64, id: &str) -> Vec<Fact> {
        let Hooks { claim, work, .. } = self.hooks;
        let owner = work.desired.owner.to_string();
        let owner = (work.shell == Shell::Operator).then_some(owner.as_str());
        let set = claim.tables.set.as_str();
        self.due.context.facts(&Surroundings { set, owner, env: work.environment, run, id })
    }

    /// Runs what the shell runs. The session that holds the lock is kept alive meanwhile; that it was lost shows when the end
    /// is written down.
    async fn elsewhere(&self, facts: &[Fact], id: &str) -> Result<HookEnd, NotThrough> {
        let Hooks { claim, work, stop, .. } = self.hooks;
        let key = self.due.context.key;
        let call = HookCall { hook: self.hook, key, name: &self.name, facts, id, stop: (*stop).clone() };
        let alive = async {
            loop {
                tokio::time::sleep(PULSE).await;
                // What became of it is found out by the row that ends the hook.
                let _ = session::query(claim.client(), "SELECT 1").await;
            }
        };
        tokio::select! {
            biased;
            ended = work.hooks.run(call) => Ok(ended),
            () = alive => unreachable!("the pulse goes on for ever"),
        }
    }

    /// Runs SQL in a transaction of its own, with its row. What it is told are settings of its session, which the reset behind
    /// it takes away again.
    async fn sql(&self, section: &Section, facts: &[Fact], run: i64, attempts: i64) -> Result<HookEnd, NotThrough> {
        let Hooks { claim, running, .. } = self.hooks;
        let settings: Vec<String> = { facts }
            .iter()
            .map(|fact| {
                let (name, value) = (quote::literal(&fact.setting()), quote::literal(&fact.text()));
                format!("pg_catalog.set_config({name}, {value}, false)")
            })
            .collect();
        let told = session::query(claim.client(), &format!("SELECT {}", settings.join(", "))).await;
        told.map_err(|error| NotThrough::Failed(lost("telling a hook what it runs for", &error)))?;
        let frame = Frame { begins: true, commits: true };
        let record = self.writer.hook(self.row(), Some(run), attempts, Outcome::Succeeded);
        let begin = |index| super::retry::modify(running, |running| running.begin(index));
        let mut stop = self.hooks.stop.clone();
        let every = look_every(self.hooks.work.desired.session.lock_timeout_ms);
        let mut late = false;
        let Supervised { value, cancelled, .. } = {
            let applying = apply::apply(claim.client(), section, &claim.sql, frame, &record, &begin);
            let limited = async {
                let mut applying = std::pin::pin!(applying);
                tokio::select! {
                    biased;
                    applied = &mut applying => return applied,
                    () = tokio::time::sleep(self.hook.timeout) => late = true,
                }
                let _ = claim.working.cancel().await;
                applying.await
            };
            supervise(claim, &mut stop, running, every, true, limited).await
        };
        let refusal = match value {
            Applied::Whole => return Ok(HookEnd::Through),
            Applied::CommittedSessionLost(error) => {
                return Err(NotThrough::Failed(lost("after a hook was done", &error)));
            }
            Applied::Not(refusal) => refusal,
        };
        self.refused(section, refusal, cancelled, late).await
    }

    async fn refused(
        &self,
        section: &Section,
        refusal: Refusal,
        cancelled: bool,
        late: bool,
    ) -> Result<HookEnd, NotThrough> {
        let claim = self.hooks.claim;
        let not = |failure| Err(NotThrough::Failed(failure));
        if refusal.error.ends_session() {
            return not(lost(&format!("the session was lost under {}", self.name), &refusal.error));
        }
        if refusal.error.is_out_of_step()
            && let Err(failure) = claim.fall_back().await
        {
            return not(failure);
        }
        let reset = format!("ROLLBACK; {}", claim.sql.reset());
        if let Err(error) = session::query(claim.client(), &reset).await {
            return not(lost("rolling back", &error));
        }
        if refusal.error.sqlstate() == Some("57014") && (cancelled || late) {
            if cancelled {
                return Ok(HookEnd::Stopped);
            }
            let limit = self.hook.timeout;
            return Ok(HookEnd::Failed(format!("took longer than its time limit of {limit:?}, and was rolled back")));
        }
        if refusal.error.is_lost_claim(&claim.tables.schema) || refusal.error.is_transient() {
            return not(lost(&format!("{} was rolled back", self.name), &refusal.error));
        }
        Err(NotThrough::Refused(Box::new(describe::wrong_in(&format!("{}.sql", self.name), section, &refusal))))
    }

    /// Writes the failure down.
    async fn failed(&self, run: i64, attempts: i64, wrong: Wrong) -> HooksEnded {
        let claim = self.hooks.claim;
        let sql = self.writer.hook(self.row(), Some(run), attempts, Outcome::Failed(&wrong));
        match write(claim, &sql, Point::FailureBefore, Point::FailureAfter).await {
            Ok(()) => HooksEnded::Through(Some(Failure::new(
                Reason::HookFailed,
                format!("{}\n{}", wrong.error.message, self.standing()),
            ))),
            Err(error) => HooksEnded::Ended(End::Failed(claim.refused("writing down that a hook failed", error))),
        }
    }

    /// What its failure means, for whoever works by hand.
    fn standing(&self) -> String {
        let done =
            |what| format!("What was planned has {what}, and doesn't again; the hook runs again with the next apply");
        match (self.due.context.key.place, self.due.context.direction) {
            (Place::PreApply | Place::PreRollback, _) => "Nothing of the plan was run".to_owned(),
            (Place::PostApply | Place::PostRollback, Direction::Up) => done("been applied"),
            (Place::PostApply | Place::PostRollback, Direction::Down) => done("been rolled back"),
            (Place::OnFailure, _) => "The migration's failure stands".to_owned(),
        }
    }
}

/// Why SQL of a hook didn't go through.
enum NotThrough {
    /// The server refused it.
    Refused(Box<Wrong>),
    /// It couldn't go on.
    Failed(Failure),
}

fn why_error(name: &str, why: &str) -> RunError {
    RunError { message: format!("{name} {why}"), ..RunError::default() }
}
