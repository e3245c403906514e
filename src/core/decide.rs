//! What a look found, what is remembered, and the time → what to do, what to say, and when to look again.
//!
//! The state machine of a reconcile, without its input and output: its table of cases is its test. It never decides to
//! run anything while a finding stands, and never asks for a retry where a person must act.

use std::{fmt::Write as _, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    bundle::Digest,
    conditions::{Approval, Checksums, Reach, Verdict},
    desired::Desired,
    outcome::{Failure, Kind, Reason},
    pace::{Again, Pace},
    plan::{Assessment, Consent, Direction},
};

/// How long a finding must have stood before it stalls a set whose content comes from several places, which don't
/// change at one moment.
pub const STANDING: SignedDuration = SignedDuration::from_secs(2);
/// When to look again after another set claimed the history first.
const LOST_CLAIM: Pace = Pace::Fixed(Duration::from_secs(1));
/// From which failed look in a row on a Ready set is said to wait for its database.
pub const FAILED_LOOKS: u32 = 3;

/// What is remembered of a MigrationSet from one look to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// What was last said, after a look that came to an end.
    pub said: Option<Said>,
    /// Tries in a row that ended in the reason last said.
    pub retries: u32,
    /// Looks in a row that failed while the set was Ready.
    pub failed_looks: u32,
    /// A finding that would stall the set, and since when it stands.
    pub finding: Option<(Reason, Timestamp)>,
}

/// A reason of Ready, as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The reason.
    pub reason: Reason,
    /// Its message.
    pub message: String,
    /// Since when it is said.
    pub since: Timestamp,
}

/// Why a look was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A new object, spec or content was seen.
    Change,
    /// Nothing changed; it was time, or somebody asked.
    Periodic,
}

/// From how many places a set's content comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// One ConfigMap: its content changes at one moment.
    One,
    /// Several, or as many as a selector finds.
    Several,
}

/// The circumstances of a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circumstances {
    /// Why it was made.
    pub occasion: Occasion,
    /// From how many places the content comes.
    pub places: Places,
    /// How often the database is looked at when nothing changed.
    pub interval: Duration,
    /// The time.
    pub now: Timestamp,
    /// A random number from 0 to 1, for jitter.
    pub chance: f64,
}

/// How far a look came, and what it found there.
#[derive(Debug, Clone, Copy)]
pub enum Observed<'a> {
    /// The spec asks for a pause; nothing was looked at.
    Suspended,
    /// The spec asks for something that can't be.
    InvalidSpec(&'a Failure),
    /// The source couldn't be asked for: nothing is known of it.
    Unread(&'a Failure),
    /// The source is absent, or is no migration directory.
    Source(&'a Failure),
    /// The content isn't the one that the spec means.
    OtherDigest {
        /// The spec's.
        wanted: &'a Digest,
        /// The content's.
        found: &'a Digest,
    },
    /// The Secret is absent, or can't be used.
    Secret(&'a Failure),
    /// No session, or the history can't be read.
    Database(&'a Failure),
    /// Source and history were compared.
    Compared {
        /// The verdict on both.
        assessment: &'a Assessment,
        /// Whose history it is.
        ownership: &'a Ownership,
    },
    /// The plan was executed.
    Executed {
        /// How that ended.
        ending: &'a Ending,
        /// Source and history, compared again; None when the history could not be read.
        assessment: Option<&'a Assessment>,
    },
}

/// Whose a history is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// This set's.
    Ours,
    /// Nobody's yet.
    Unclaimed,
    /// Another's, who gave it up.
    TakeOver {
        /// `namespace/name`.
        from: String,
    },
    /// Another's.
    Foreign {
        /// `namespace/name`.
        owner: String,
    },
}

/// What the cluster knows of the MigrationSet that a history records as its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedOwner {
    /// It would live where the operator doesn't look.
    OutOfReach,
    /// There is no such MigrationSet.
    Absent,
    /// It names a history of this schema and set.
    SameHistory,
    /// It names a history of another schema or set.
    OtherHistory,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// What was planned has run, or what held it up is in the history.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// It could not go on.
    Failed(Failure),
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub act: Act,
    /// What to say: at once, or while it is done.
    pub verdict: Verdict,
    /// When to look again (after what is to be done, if something is).
    pub again: Again,
    /// What to remember.
    pub memory: Memory,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Say it, and wait.
    Nothing,
    /// Execute the plan.
    Execute {
        /// The recorded owner from whom the history is taken over.
        take_over_from: Option<String>,
    },
}

/// Whose a history is, given its recorded owner and what the cluster knows of that.
#[must_use]
pub fn ownership(recorded: Option<&str>, desired: &Desired, state: RecordedOwner) -> Ownership {
    let Some(recorded) = recorded else { return Ownership::Unclaimed };
    if recorded == desired.owner.to_string() {
        return Ownership::Ours;
    }
    let named = desired.history.take_over.as_ref().is_some_and(|owner| owner.from.to_string() == recorded);
    match state {
        RecordedOwner::Absent | RecordedOwner::OtherHistory => Ownership::TakeOver { from: recorded.to_owned() },
        RecordedOwner::OutOfReach | RecordedOwner::SameHistory if named => {
            Ownership::TakeOver { from: recorded.to_owned() }
        }
        RecordedOwner::OutOfReach | RecordedOwner::SameHistory => Ownership::Foreign { owner: recorded.to_owned() },
    }
}

/// Decides what follows from a look.
#[must_use]
pub fn decide(observed: Observed<'_>, memory: &Memory, circumstances: &Circumstances) -> Decision {
    match observed {
        Observed::Suspended => {
            let message = "spec.suspend is true: nothing is looked at and nothing runs until it is false";
            say(Verdict::before_database(Reason::Suspended, message), Pace::Never, memory, circumstances)
        }
        Observed::InvalidSpec(failure) => say(before_database(failure), Pace::Never, memory, circumstances),
        Observed::Unread(failure) => say(before_database(failure), Pace::RETRY, memory, circumstances),
        Observed::Source(failure) => find(before_database(failure), memory, circumstances),
        Observed::OtherDigest { wanted, found } => {
            let message = format!(
                "the content is {found}, and spec.source.digest asks for {wanted}: nothing runs until the ConfigMaps \
                 hold the content that is meant"
            );
            find(Verdict::before_database(Reason::WaitingForDigest, message), memory, circumstances)
        }
        Observed::Secret(failure) => {
            let pace = Pace::of_secret(memory.since(failure.reason, circumstances.now), circumstances.now);
            say(before_database(failure), pace, memory, circumstances)
        }
        Observed::Database(failure) => out_of_reach(failure, memory, circumstances),
        Observed::Compared { assessment, ownership } => compared(assessment, ownership, memory, circumstances),
        Observed::Executed { ending, assessment } => executed(ending, assessment, memory, circumstances),
    }
}

fn before_database(failure: &Failure) -> Verdict {
    Verdict::before_database(failure.reason, failure.message.clone())
}

/// A look at the database failed. A set that is Ready stays so for two looks: what failed once may be a restart.
fn out_of_reach(failure: &Failure, memory: &Memory, circumstances: &Circumstances) -> Decision {
    let database = Reach::Failed { reason: failure.reason, message: failure.message.clone() };
    let ready = memory.said.as_ref().filter(|said| said.reason.kind() == Kind::Ready);
    let failed_looks = memory.failed_looks + 1;
    match (ready, circumstances.occasion) {
        (Some(said), Occasion::Periodic)
            if failure.reason == Reason::WaitingForDatabase && failed_looks < FAILED_LOOKS =>
        {
            let verdict = Verdict {
                reason: said.reason,
                message: said.message.clone(),
                database,
                checksums: Checksums::NotChecked,
                approval: Approval::Kept,
            };
            let again = Pace::of(failure.reason).again(memory.failed_looks, circumstances);
            let memory = Memory { failed_looks, retries: failed_looks, ..memory.clone() };
            Decision { act: Act::Nothing, verdict, again, memory }
        }
        (Some(_) | None, Occasion::Periodic | Occasion::Change) => {
            let verdict = Verdict {
                reason: failure.reason,
                message: failure.message.clone(),
                database,
                checksums: Checksums::NotChecked,
                approval: Approval::Kept,
            };
            say(verdict, Pace::of(failure.reason), memory, circumstances)
        }
    }
}

fn compared(
    assessment: &Assessment,
    ownership: &Ownership,
    memory: &Memory,
    circumstances: &Circumstances,
) -> Decision {
    let take_over_from = match ownership {
        Ownership::Foreign { owner } => {
            let message = conflict(owner);
            let verdict = Verdict { reason: Reason::Conflict, message, ..verdict_on(assessment) };
            return say(verdict, Pace::of(Reason::Conflict), memory, circumstances);
        }
        Ownership::TakeOver { from } => Some(from.clone()),
        Ownership::Ours | Ownership::Unclaimed => None,
    };
    // Writes to the history alone run nothing, and may be what a finding waits for: a person's decision.
    // A hook that is due runs whether or not there are steps: after a plan, or because of a failure.
    let besides = !assessment.amendments.is_empty() || !assessment.hooks.due.is_empty();
    let held_up = !assessment.findings.is_empty() && !besides;
    let claimed = matches!(ownership, Ownership::Ours);
    let idle = assessment.plan.steps.is_empty() && assessment.seeds.is_empty() && !besides && claimed;
    if held_up || idle {
        return conclude(assessment, memory, circumstances);
    }
    Decision {
        act: Act::Execute { take_over_from },
        verdict: at_work(assessment),
        again: Again::NEVER,
        memory: Memory { failed_looks: 0, ..memory.clone() },
    }
}

fn executed(
    ending: &Ending,
    assessment: Option<&Assessment>,
    memory: &Memory,
    circumstances: &Circumstances,
) -> Decision {
    match (ending, assessment) {
        (Ending::Finished, Some(assessment)) => conclude(assessment, memory, circumstances),
        (Ending::Finished, None) => {
            let message = "the plan has run; reading the history again failed, and will be tried again";
            say(Verdict::under_way(Reason::Checking, message), Pace::RETRY, memory, circumstances)
        }
        (Ending::Stopped, _) => {
            let message = "stopped between two migrations, as asked";
            say(Verdict::under_way(Reason::Checking, message), Pace::AtOnce, memory, circumstances)
        }
        (Ending::Failed(failure), assessment) => {
            let database = if failure.reason.is_of_the_connection() {
                Reach::Failed { reason: failure.reason, message: failure.message.clone() }
            } else {
                Reach::Reached
            };
            let checksums = assessment.map_or(Checksums::Kept, checksums);
            let approval = assessment.map_or(Approval::Kept, approval);
            let verdict =
                Verdict { reason: failure.reason, message: failure.message.clone(), database, checksums, approval };
            // Who claimed the history meanwhile is read from it by another look.
            let pace = if failure.reason == Reason::Conflict { LOST_CLAIM } else { Pace::of(failure.reason) };
            say(verdict, pace, memory, circumstances)
        }
    }
}

/// Says what source and history compare to, when nothing is (or is any longer) to be done about it.
fn conclude(assessment: &Assessment, memory: &Memory, circumstances: &Circumstances) -> Decision {
    let verdict = verdict_on(assessment);
    let left_over = match (assessment.plan.steps.len(), assessment.seeds.len()) {
        (0, 0) => None,
        (0, seeds) => Some(format!("{seeds} of the seeds are still to be loaded")),
        (steps, _) => Some(format!("{steps} of the migrations planned are still pending")),
    };
    if let Some(message) = left_over.filter(|_| assessment.findings.is_empty()) {
        let verdict = Verdict { reason: Reason::Checking, message, ..verdict };
        return say(verdict, Pace::RETRY, memory, circumstances);
    }
    find(verdict, memory, circumstances)
}

/// What is said where another MigrationSet owns the history.
#[must_use]
pub fn conflict(owner: &str) -> String {
    format!(
        "this history belongs to MigrationSet {owner}: delete that one, give this one another spec.history.set, or take \
         the history over with spec.history.takeOver: {owner} (or the annotation dunlin.dev/take-over={owner})"
    )
}

fn verdict_on(assessment: &Assessment) -> Verdict {
    let (reason, message) = match assessment.findings.first() {
        Some(finding) => (finding.reason, finding.message.clone()),
        None if assessment.missing.is_empty() => (Reason::UpToDate, up_to_date(assessment)),
        None => (Reason::DatabaseAhead, database_ahead(assessment)),
    };
    reached(reason, message, assessment)
}

/// A verdict on what was looked at.
fn reached(reason: Reason, message: String, assessment: &Assessment) -> Verdict {
    Verdict {
        reason,
        message,
        database: Reach::Reached,
        checksums: checksums(assessment),
        approval: approval(assessment),
    }
}

fn approval(assessment: &Assessment) -> Approval {
    match &assessment.consent {
        Consent::NotAsked => Approval::NotAsked,
        Consent::Awaited { message } => Approval::Awaited { message: message.clone() },
        Consent::Given { message } => Approval::Given { message: message.clone() },
    }
}

fn up_to_date(assessment: &Assessment) -> String {
    let applied = match (&assessment.version, assessment.applied) {
        (Some(version), 1) => format!("1 migration applied, {version}"),
        (Some(version), count) => format!("{count} migrations applied, up to {version}"),
        (None, _) => "nothing is applied".to_owned(),
    };
    applied + &beside(assessment)
}

/// What else there is to know of a set that has what it asks for.
fn beside(assessment: &Assessment) -> String {
    let mut text = String::new();
    if assessment.on_trust > 0 {
        let _ = write!(text, "; {} recorded on trust (spec.history.baseline)", assessment.on_trust);
    }
    if assessment.left_out > 0 {
        let _ = write!(text, "; {} more in the source, which spec.target leaves out", assessment.left_out);
    }
    match assessment.seeded {
        0 => {}
        1 => text.push_str("; 1 seed loaded"),
        count => {
            let _ = write!(text, "; {count} seeds loaded");
        }
    }
    if !assessment.seeds_edited.is_empty() {
        let edited = assessment.seeds_edited.join(", ");
        let _ = write!(text, " ({edited} was edited since, and runs once)");
    }
    text + &drift_beside(assessment)
}

fn drift_beside(assessment: &Assessment) -> String {
    match assessment.checksum_drift.len() {
        0 => String::new(),
        1 => "; 1 applied file was edited since, see ChecksumsMatch".to_owned(),
        count => format!("; {count} applied files were edited since, see ChecksumsMatch"),
    }
}

fn database_ahead(assessment: &Assessment) -> String {
    const NAMED: usize = 10;
    let mut missing: Vec<String> = assessment.missing.iter().take(NAMED).map(ToString::to_string).collect();
    if assessment.missing.len() > NAMED {
        missing.push(format!("and {} more", assessment.missing.len() - NAMED));
    }
    let applied = match assessment.applied {
        0 => "nothing of the source to apply".to_owned(),
        1 => "1 migration of the source applied".to_owned(),
        count => format!("{count} migrations of the source applied"),
    };
    let beside = beside(assessment);
    format!("{applied}{beside}; the database also has {}, which the source has not", missing.join(", "))
}

fn checksums(assessment: &Assessment) -> Checksums {
    if assessment.checksum_drift.is_empty() {
        return Checksums::Match;
    }
    let short = |checksum: &str| checksum.chars().take(12).collect::<String>();
    let files: Vec<String> = assessment
        .checksum_drift
        .iter()
        .map(|drift| {
            format!(
                "{} was edited after run {} (applied {}…, now {}…)",
                drift.file,
                drift.run,
                short(&drift.recorded),
                short(&drift.found)
            )
        })
        .collect();
    Checksums::Drift { message: files.join("; ") }
}

fn at_work(assessment: &Assessment) -> Verdict {
    let first = assessment.plan.steps.first().filter(|_| assessment.findings.is_empty());
    if let (None, [first, ..], true) = (first, assessment.seeds.as_slice(), assessment.findings.is_empty()) {
        let message = match assessment.seeds.len() {
            1 => format!("loading the seed {first}"),
            count => format!("loading {count} seeds, first {first}"),
        };
        return reached(Reason::Seeding, message, assessment);
    }
    let Some(first) = first else {
        return match assessment.hooks.due.first().filter(|_| assessment.amendments.is_empty()) {
            Some(hook) => Verdict::under_way(Reason::RunningHook, format!("running the hook {}", hook.context.key)),
            None => Verdict::under_way(Reason::Checking, "writing to the history"),
        };
    };
    let (reason, verb) = match first.direction {
        Direction::Up => (Reason::Applying, "applying"),
        Direction::Down => (Reason::RollingBack, "rolling back"),
    };
    let message = match assessment.plan.steps.len() {
        1 => format!("{verb} {}_{}", first.version, first.name),
        count => format!("{verb} {count} migrations, first {}_{}", first.version, first.name),
    };
    reached(reason, message, assessment)
}

/// Says a finding: at once, or where the content comes from several places, when it has stood for a while.
fn find(verdict: Verdict, memory: &Memory, circumstances: &Circumstances) -> Decision {
    let pace = Pace::of(verdict.reason);
    if !verdict.reason.is_of_the_content() {
        return say(verdict, pace, &Memory { finding: None, ..memory.clone() }, circumstances);
    }
    let now = circumstances.now;
    let since = match memory.finding {
        Some((reason, since)) if reason == verdict.reason => since,
        Some(_) | None => now,
    };
    let stood = now.duration_since(since);
    let said_already = circumstances.occasion == Occasion::Periodic
        && memory.said.as_ref().is_some_and(|said| said.reason == verdict.reason);
    let memory = Memory { finding: Some((verdict.reason, since)), ..memory.clone() };
    match circumstances.places {
        Places::Several if stood < STANDING && !said_already => {
            let message = format!(
                "{}: said for good when it has stood for {} s, since the content comes from several ConfigMaps",
                verdict.reason,
                STANDING.as_secs()
            );
            let verdict = Verdict { reason: Reason::Checking, message, ..verdict };
            say(verdict, Pace::After((STANDING - stood).unsigned_abs()), &memory, circumstances)
        }
        Places::One | Places::Several => say(verdict, pace, &memory, circumstances),
    }
}

/// Says a verdict, and counts how often the same trouble was said in a row.
fn say(verdict: Verdict, pace: Pace, memory: &Memory, circumstances: &Circumstances) -> Decision {
    let reason = verdict.reason;
    let same = memory.said.as_ref().filter(|said| said.reason == reason);
    let tries_before = match (same, circumstances.occasion) {
        (Some(_), Occasion::Periodic) => memory.retries,
        (None, Occasion::Periodic) if reason == Reason::WaitingForDatabase => memory.failed_looks,
        (Some(_) | None, Occasion::Periodic | Occasion::Change) => 0,
    };
    let again = pace.again(tries_before, circumstances);
    let said =
        Said { reason, message: verdict.message.clone(), since: same.map_or(circumstances.now, |said| said.since) };
    let memory = Memory {
        said: Some(said),
        retries: if pace.is_a_retry() { tries_before + 1 } else { 0 },
        failed_looks: 0,
        finding: memory.finding,
    };
    Decision { act: Act::Nothing, verdict, again, memory }
}

impl Memory {
    fn since(&self, reason: Reason, now: Timestamp) -> Timestamp {
        self.said.as_ref().filter(|said| said.reason == reason).map_or(now, |said| said.since)
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
