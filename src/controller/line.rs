//! One look as one straight line: parse → dereference → observe → decide → perform → summarize → write.
//!
//! A step that fails is a value that ends up in the status. Only a status that couldn't be written is an error.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    context::{Context, now, parse_owner},
    dereference::{self, ConfigMaps, SecretStamps},
    due::is_forged,
    hooks::{self, ClusterHooks},
    looks::{Beginning, Expected},
    metrics::{Done, Looked},
    observe::{self, Short},
    perform::{Progress, perform},
    registry::{PastLook, Remembered, Seen},
    status::{Outcome, StatusError, StatusWriter, ready},
    summarize::{Summary, agree_on_times, summarize},
    tokens::Tokens,
};
use crate::{
    api::v1alpha1::{MigrationSet, MigrationSetStatus, Parsed, parse},
    core::{
        conditions::Verdict,
        decide::{Act, Circumstances, Decision, Ending, Memory, Observed, Occasion, Ownership, Places, Said, decide},
        desired::Owner,
        history::History,
        migration::Direction,
        outcome::{Failure, Kind, Reason},
        pace::SECRET_PAUSE,
        plan::{self, Assessment},
        reference::VariableRef,
        task::{Subject, TaskKind},
    },
    execute::{End, Report, Running, Shell, Work},
    source::{Content, Snapshot},
};

/// The interval of a set whose spec can't be read.
const INTERVAL: Duration = Duration::from_mins(10);

/// One look, from what is remembered to what is to be remembered.
pub(super) struct Line<'a> {
    context: &'a Context,
    set: &'a MigrationSet,
    name: Owner,
    uid: String,
    tokens: Tokens,
    generation: i64,
    remembered: Remembered,
    /// Looks in a row that found a status which somebody else had written, this one included.
    mended: u32,
    writer: StatusWriter,
    /// The status as it should be so far: what is written anew is put on top of it.
    status: MigrationSetStatus,
    /// What the look has come to read.
    snapshot: Option<Arc<Snapshot>>,
    secrets: Option<SecretStamps>,
    values: Option<SecretStamps>,
    conflict_with: Option<Owner>,
}

/// How a look ended: with something to say, or early because the operator is to stop or another one works now.
enum Ended {
    Decided(Box<Conclusion>),
    Stopping,
    Gone,
}

/// What a look finds to do.
enum Compared<'a> {
    /// Nothing: it has ended.
    Ended(Ended),
    /// What is to be executed.
    Due(Box<Due<'a>>),
}

/// What is to be executed, and its place.
struct Due<'a> {
    parsed: Parsed,
    content: Content,
    occasion: Occasion,
    places: Places,
    look: observe::Look,
    verdict: Verdict,
    memory: Memory,
    take_over_from: Option<String>,
    place: Beginning<'a>,
}

/// What a look comes to.
struct Conclusion {
    decision: Decision,
    /// What was seen of the database, if the look came so far.
    seen: Option<(History, Assessment)>,
    done: Done,
}

impl<'a> Line<'a> {
    /// A line that begins with what is remembered.
    pub fn new(
        context: &'a Context,
        set: &'a MigrationSet,
        name: Owner,
        uid: String,
        mut remembered: Remembered,
    ) -> Self {
        let generation = set.metadata.generation.unwrap_or_default();
        let before = remembered.look.as_ref().map_or(0, |look| look.mended);
        let mended = if is_forged(set, &remembered) { before.saturating_add(1) } else { 0 };
        let writer = StatusWriter::new(context.client.clone(), context.events.clone(), set, remembered.written.clone());
        // What was written last is believed before what is shown, which may be forged.
        let status = match &remembered.written {
            Some(written) => written.status.clone(),
            None => writer.known().status.clone(),
        };
        if remembered.look.is_none() && status.observed_generation == Some(generation) {
            remembered.memory = remembered_by(&status);
        }
        Self {
            context,
            set,
            tokens: Tokens::of(set),
            generation,
            name,
            uid,
            remembered,
            mended,
            writer,
            status,
            snapshot: None,
            secrets: None,
            values: None,
            conflict_with: None,
        }
    }

    /// Goes the line to its end, and says when to come back.
    pub async fn run(mut self) -> Result<Action, StatusError> {
        match Box::pin(self.look()).await? {
            Ended::Stopping | Ended::Gone => Ok(Action::await_change()),
            Ended::Decided(conclusion) => Box::pin(self.conclude(*conclusion)).await,
        }
    }

    async fn look(&mut self) -> Result<Ended, StatusError> {
        let unparsed = circumstances(Occasion::Periodic, Places::One, INTERVAL);
        if self.set.spec.suspend {
            return Ok(unseen(self.decide(Observed::Suspended, &unparsed)));
        }
        let within = |parsed| hooks::within(parsed, &self.context.allowed_hosts);
        let parsed = match parse(self.set).and_then(within) {
            Ok(parsed) => parsed,
            Err(invalid) => return Ok(unseen(self.decide(Observed::InvalidSpec(&Failure::from(invalid)), &unparsed))),
        };
        let (context, expected) = (self.context, self.expected());
        let comparing = Box::pin(self.compare(parsed));
        match context.looks.take(expected, context.stopping(), comparing).await {
            None => Ok(Ended::Stopping),
            Some(compared) => match compared? {
                Compared::Ended(ended) => Ok(ended),
                Compared::Due(due) => Box::pin(self.carry_out(*due)).await,
            },
        }
    }

    /// Compares source and database.
    async fn compare(&mut self, mut parsed: Parsed) -> Result<Compared<'a>, StatusError> {
        // Seeds come from another place than migrations.
        let is_several = parsed.source.may_be_several() || parsed.seeds.is_some();
        let places = if is_several { Places::Several } else { Places::One };

        let snapshot = match self.read_content(&parsed).await {
            Ok(snapshot) => snapshot,
            Err(failure) => {
                let circumstances = circumstances(Occasion::Periodic, places, parsed.desired.interval);
                return Ok(over(self.decide(Observed::Unread(&failure), &circumstances)));
            }
        };
        let occasion = self.occasion(&snapshot);
        let interval = parsed.desired.interval;
        let at = || circumstances(occasion, places, interval);
        let content = match &snapshot.content {
            Ok(content) => content,
            Err(failure) => return Ok(over(self.decide(Observed::Source(failure), &at()))),
        };
        parsed.desired.seeds = Arc::clone(&content.seeds.seeds);
        if let Some(wanted) = parsed.desired.digest.as_ref().filter(|wanted| **wanted != content.digest) {
            return Ok(over(self.decide(Observed::OtherDigest { wanted, found: &content.digest }, &at())));
        }

        let maps = match self.read_values(&parsed, &at()).await {
            Ok(maps) => maps,
            Err(decision) => return Ok(over(*decision)),
        };
        let namespace = &parsed.desired.owner.namespace;
        let reading = dereference::secrets(&self.context.client, namespace, &parsed.database, &parsed.variables);
        let secrets = match occasion {
            Occasion::Change => {
                let (checking, secrets) = tokio::join!(self.say_checking(content), reading);
                if let Outcome::Gone = checking? {
                    return Ok(Compared::Ended(Ended::Gone));
                }
                secrets
            }
            Occasion::Periodic => reading.await,
        };
        let secrets = match secrets {
            Ok(secrets) => secrets,
            Err(failure) => return Ok(over(self.decide(Observed::Secret(&failure), &at()))),
        };
        let mut stamps = secrets.stamps();
        let look = Box::pin(observe::look(self.context, &mut parsed, content, (secrets, &maps), &mut stamps)).await;
        self.secrets = Some(stamps);
        let look = match look {
            Ok(look) => look,
            Err(Short::Secret(failure)) => return Ok(over(self.decide(Observed::Secret(&failure), &at()))),
            Err(Short::Database(failure)) => return Ok(over(self.decide(Observed::Database(&failure), &at()))),
            Err(Short::Stopping) => return Ok(Compared::Ended(Ended::Stopping)),
        };
        if let Ownership::Foreign { owner } = &look.ownership {
            self.conflict_with = parse_owner(owner);
        }
        let observed = Observed::Compared { assessment: &look.assessment, ownership: &look.ownership };
        let decision = self.decide(observed, &at());
        let Act::Execute { take_over_from } = decision.act else {
            let seen = match look.ownership {
                Ownership::Ours | Ownership::Unclaimed | Ownership::TakeOver { .. } => {
                    Some((look.history, look.assessment))
                }
                // Another's history says nothing about this set, whose own it would be once the status had a version:
                // the API server would refuse a change of `history.set`, which is the way out.
                Ownership::Foreign { .. } => None,
            };
            let may_work = self.context.may_work();
            return Ok(Compared::Ended(if may_work { ended(decision, seen) } else { Ended::Stopping }));
        };
        // Waited for among the looks, so that no more sessions than these are open meanwhile.
        let Some(place) = self.context.looks.begin(self.context.stopping()).await else {
            return Ok(Compared::Ended(Ended::Stopping));
        };
        let (content, verdict, memory) = (content.clone(), decision.verdict, decision.memory);
        let due = Due { parsed, content, occasion, places, look, verdict, memory, take_over_from, place };
        Ok(Compared::Due(Box::new(due)))
    }

    /// Executes what was decided, if it still may.
    async fn carry_out(&mut self, due: Due<'_>) -> Result<Ended, StatusError> {
        let Due { parsed, content, occasion, places, look, verdict, memory, take_over_from, place } = due;
        if !self.context.may_work() {
            return Ok(Ended::Stopping);
        }
        self.remembered.memory = memory;
        let before = (look.history.clone(), look.assessment.clone());
        let performing = self.perform(&parsed, &content, look, &verdict, take_over_from.as_deref());
        let (report, waited, seen) = Box::pin(place.during(performing)).await;
        let begun = !report.applied.is_empty();
        let ending = match report.end {
            End::Finished => Ending::Finished,
            End::Stopped => Ending::Stopped,
            End::Failed(failure) => Ending::Failed(failure),
        };
        let observed = Observed::Executed { ending: &ending, assessment: seen.as_ref().map(|(_, seen)| seen) };
        let decision = self.decide(observed, &circumstances(occasion, places, parsed.desired.interval));
        // What couldn't begin has changed nothing: the status says what the look has seen.
        let seen = seen.or((!begun).then_some(before));
        let done = Done { applied: report.applied, waited };
        Ok(Ended::Decided(Box::new(Conclusion { decision, seen, done })))
    }

    /// Whether the last look found a database.
    fn expected(&self) -> Expected {
        let memory = &self.remembered.memory;
        let found_none = memory.said.as_ref().is_some_and(|said| said.reason.is_of_the_connection());
        if found_none || memory.failed_looks > 0 { Expected::Slow } else { Expected::Quick }
    }

    fn decide(&self, observed: Observed<'_>, circumstances: &Circumstances) -> Decision {
        decide(observed, &self.remembered.memory, circumstances)
    }

    async fn read_content(&mut self, parsed: &Parsed) -> Result<Arc<Snapshot>, Failure> {
        let asked = self.remembered.look.as_ref().is_some_and(|look| self.tokens.ask_again(&look.tokens));
        let reread = if asked { Seen::Yes } else { Seen::No };
        let snapshot = dereference::content(&self.context.client, parsed, &self.remembered, reread).await?;
        self.snapshot = Some(Arc::clone(&snapshot));
        // Known at once, so that an event of what has just been read is no news.
        let read = Arc::clone(&snapshot);
        self.context.registry.remember(&self.name, &self.uid, |remembered| remembered.snapshot = Some(read));
        Ok(snapshot)
    }

    /// Reads the ConfigMaps that hold values of variables. What isn't there is waited for as a part of the source.
    async fn read_values(&mut self, parsed: &Parsed, at: &Circumstances) -> Result<ConfigMaps, Box<Decision>> {
        let namespace = &parsed.desired.owner.namespace;
        let names = self.set.variable_config_maps();
        let maps = dereference::config_maps(&self.context.client, namespace, names).await;
        let maps = maps.map_err(|failure| Box::new(self.decide(Observed::Unread(&failure), at)))?;
        self.values = Some(maps.stamps());
        let complete = maps.complete(&parsed.variables);
        complete.map_err(|failure| Box::new(self.decide(Observed::Source(&failure), at)))?;
        Ok(maps)
    }

    /// Whether this look is for a new object, spec or content. What was seen before a restart stands in the status.
    fn occasion(&self, snapshot: &Snapshot) -> Occasion {
        let (same_spec, same_content) = if let Some(look) = &self.remembered.look {
            let before = look.snapshot.as_ref().map(|snapshot| &snapshot.content);
            (look.generation == self.generation, before.is_some_and(|before| is_same(before, &snapshot.content)))
        } else {
            let digest = self.status.source.as_ref().and_then(|source| source.digest.clone());
            let same = snapshot.content.as_ref().map_or(true, |content| digest == Some(content.digest.to_string()));
            (self.status.observed_generation == Some(self.generation), same)
        };
        if same_spec && same_content { Occasion::Periodic } else { Occasion::Change }
    }

    async fn say_checking(&mut self, content: &Content) -> Result<Outcome, StatusError> {
        let message = format!("comparing {} with the database", content.digest);
        let verdict = Verdict::under_way(Reason::Checking, message);
        let summary = Summary { content: Some(content), ..self.summary(&verdict) };
        let status = self.compose(&summary);
        let outcome = self.writer.write(&status).await?;
        self.status = status;
        Ok(outcome)
    }

    /// Executes the plan, and answers with what source and history compare to afterwards.
    async fn perform(
        &mut self,
        parsed: &Parsed,
        content: &Content,
        look: observe::Look,
        verdict: &Verdict,
        take_over_from: Option<&str>,
    ) -> (Report, Duration, Option<(History, Assessment)>) {
        let observe::Look { parameters, session, history, assessment, ownership: _ } = look;
        let uid = self.uid.clone();
        let Context { client, allowed_hosts, .. } = self.context;
        let owner = self.name.clone();
        let hooks = ClusterHooks { client, set: self.set, name: &owner, allowed_hosts };
        let work = Work {
            parameters: &parameters,
            desired: &parsed.desired,
            dir: &content.dir,
            source_digest: &content.digest,
            take_over_from,
            shell: Shell::Operator,
            uid: Some(&uid),
            environment: None,
            hooks: &hooks,
        };
        let asked = *self.context.stop.borrow();
        let stop = self.context.registry.executing(&self.name, &self.uid, asked);
        // The engine knows no MigrationSet; its lines are this one's all the same.
        let span = tracing::info_span!("run", set = %self.name);
        let mut shown = Shown { line: self, content, seen: (&history, &assessment), verdict };
        let (report, waited) = Box::pin(perform(session, work, stop, &mut shown).instrument(span)).await;
        self.context.registry.executed(&self.name, &self.uid);
        let seen = report.history.clone().map(|history| {
            let assessment = plan::plan(&content.dir, &history, &parsed.desired);
            (history, assessment)
        });
        (report, waited, seen)
    }

    fn summary<'s>(&self, verdict: &'s Verdict) -> Summary<'s> {
        Summary {
            generation: self.generation,
            verdict,
            content: None,
            seen: None,
            running: None,
            retries: None,
            answered: None,
            now: whole_seconds(now()),
        }
    }

    /// The status, in which a condition's time is the one that the object shows, if that is the earlier one of the two.
    fn compose(&self, summary: &Summary<'_>) -> MigrationSetStatus {
        let mut status = summarize(summary, &self.status);
        agree_on_times(&mut status, &self.writer.known().status);
        status
    }

    /// Says what was decided, and remembers it.
    async fn conclude(mut self, conclusion: Conclusion) -> Result<Action, StatusError> {
        let Conclusion { decision: Decision { act: _, verdict, mut again, memory }, seen, done } = conclusion;
        if verdict.reason.kind() == Kind::Stalled && self.set.variable_refs().iter().any(VariableRef::is_secret) {
            // Another value may be what helps.
            let soon = again.look.is_none_or(|look| look > SECRET_PAUSE).then_some(SECRET_PAUSE);
            again.secret = again.secret.or(soon);
        }
        let now = now();
        let next_retry = again.look.filter(|_| again.retry).and_then(|pause| now.checked_add(pause).ok());
        let snapshot = self.snapshot.take();
        let summary = Summary {
            content: snapshot.as_ref().and_then(|snapshot| snapshot.content.as_ref().ok()),
            seen: seen.as_ref().map(|(history, assessment)| (history, assessment)),
            retries: Some((memory.retries, next_retry)),
            answered: Some(&self.tokens),
            ..self.summary(&verdict)
        };
        let status = self.compose(&summary);
        if let Outcome::Gone = self.writer.write(&status).await? {
            return Ok(Action::await_change());
        }
        let said_before = self.remembered.memory.said.as_ref().map(|said| said.reason);
        if said_before == Some(verdict.reason) {
            tracing::debug!(set = %self.name, reason = %verdict.reason, again = ?again.look, "looked");
        } else {
            tracing::info!(set = %self.name, reason = %verdict.reason, said = verdict.message, "looked");
        }
        let looked = looked(&verdict, &status, seen.as_ref(), &done, now);
        let now = Instant::now();
        let look = PastLook {
            generation: self.generation,
            snapshot,
            tokens: self.tokens,
            at: now,
            next: again.look.map(|pause| now + pause),
            next_secret: again.secret.map(|pause| now + pause),
            mended: self.mended,
        };
        let (written, secrets, conflict_with) = (self.writer.known().clone(), self.secrets, self.conflict_with);
        let values = self.values;
        self.context.registry.remember(&self.name, &self.uid, |remembered| {
            // Only of a set that is there: what is counted of one goes with it.
            self.context.metrics.looked(&self.name, &looked);
            remembered.memory = memory;
            remembered.look = Some(look);
            if let Some(secrets) = secrets {
                remembered.secrets = secrets;
            }
            if let Some(values) = values {
                remembered.values = values;
            }
            remembered.written = Some(written);
            remembered.conflict_with = conflict_with;
            remembered.unwritten = 0;
        });
        let pause = [again.look, again.secret].into_iter().flatten().min();
        Ok(pause.map_or_else(Action::await_change, Action::requeue))
    }
}

/// Shows in the status what runs.
struct Shown<'s, 'a> {
    line: &'s mut Line<'a>,
    content: &'s Content,
    seen: (&'s History, &'s Assessment),
    verdict: &'s Verdict,
}

impl Progress for Shown<'_, '_> {
    async fn show(&mut self, running: &Running) {
        // A plan may go both ways, and a decision that only writes to the history may let one run.
        let reason = match &running.subject {
            Subject::Migration { direction: Direction::Up, .. } => Reason::Applying,
            Subject::Migration { direction: Direction::Down, .. } => Reason::RollingBack,
            Subject::Task { kind: TaskKind::Seed, .. } => Reason::Seeding,
            Subject::Task { kind: TaskKind::Hook, .. } => Reason::RunningHook,
        };
        let verdict = Verdict { reason, message: running.to_string(), ..self.verdict.clone() };
        let summary = Summary {
            content: Some(self.content),
            seen: Some(self.seen),
            running: Some(running),
            ..self.line.summary(&verdict)
        };
        let status = self.line.compose(&summary);
        match self.line.writer.write(&status).await {
            Ok(Outcome::Written | Outcome::Gone) => self.line.status = status,
            Err(error) => {
                tracing::warn!(set = %self.line.name, error = error.with_source(), "progress isn't shown");
            }
        }
    }
}

fn unseen(decision: Decision) -> Ended {
    ended(decision, None)
}

/// The same, of what is under way.
fn over<'a>(decision: Decision) -> Compared<'a> {
    Compared::Ended(unseen(decision))
}

fn ended(decision: Decision, seen: Option<(History, Assessment)>) -> Ended {
    Ended::Decided(Box::new(Conclusion { decision, seen, done: Done::default() }))
}

/// The end of a look, for whoever counts.
fn looked<'l>(
    verdict: &Verdict,
    status: &'l MigrationSetStatus,
    seen: Option<&'l (History, Assessment)>,
    done: &'l Done,
    now: Timestamp,
) -> Looked<'l> {
    let failed = seen.and_then(|(_, seen)| seen.findings.iter().find_map(|finding| finding.failure.as_ref()));
    let failed = failed.and_then(|failed| match failed.subject {
        Subject::Migration { direction, .. } => Some(direction),
        Subject::Task { .. } => None,
    });
    let history = seen.map(|(history, _)| history);
    Looked { reason: verdict.reason, status, failed, done, history, now: now.as_second() }
}

fn circumstances(occasion: Occasion, places: Places, interval: Duration) -> Circumstances {
    Circumstances { occasion, places, interval, now: now(), chance: rand::random() }
}

/// What the status remembers from before a restart.
fn remembered_by(status: &MigrationSetStatus) -> Memory {
    let since = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
        .map_or(Timestamp::UNIX_EPOCH, |condition| condition.last_transition_time.0);
    let said = ready(status).map(|(reason, message)| Said { reason, message: message.to_owned(), since });
    Memory { said, ..Memory::default() }
}

fn is_same(before: &Result<Content, Failure>, now: &Result<Content, Failure>) -> bool {
    match (before, now) {
        (Ok(before), Ok(now)) => before.digest == now.digest && before.seeds.digest == now.seeds.digest,
        (Err(before), Err(now)) => before == now,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

/// Kubernetes writes times in whole seconds: so that what is read back is what was written.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
