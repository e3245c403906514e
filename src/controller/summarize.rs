//! What a look found, on top of what was known → the status. Pure.
//!
//! What a look didn't come to see stays as it was last seen; everything else is said anew.

use jiff::{Timestamp, tz::Offset};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use super::tokens::Tokens;
use crate::{
    api::v1alpha1::{
        AppliedStatus, Blocker, ChecksumDriftStatus, DriftStatus, FailureStatus, MigrationSetStatus, PlanStatus,
        RecentMigration, RunningStatus, SourceStatus, StepStatus,
    },
    core::{
        conditions::{self, CONDITION_MESSAGE_BYTES, Condition, ConditionType, Verdict, cut},
        history::{History, Recorded},
        migration::{MigrationDir, TransactionMode},
        outcome::{Kind, Truth},
        plan::{Assessment, FailedRun, Plan},
        progress,
    },
    execute,
    source::Content,
};

/// Steps of a plan that the status names.
const STEPS: usize = 50;
/// Drifted files and missing versions that the status names.
const DRIFTED: usize = 50;
/// Migrations last applied that the status names.
const RECENT: usize = 10;
/// Ends of branches that the status names.
const HEADS: usize = 10;
/// Blockers that the status names.
const BLOCKERS: usize = 20;
/// Bytes of short texts.
const SHORT: usize = 253;
/// Bytes of a blocker's query.
const QUERY: usize = 1_024;

/// What a status is made of.
pub(super) struct Summary<'a> {
    /// `metadata.generation` of the object looked at.
    pub generation: i64,
    /// What is said.
    pub verdict: &'a Verdict,
    /// The content, if it was read.
    pub content: Option<&'a Content>,
    /// History and verdict on it, if the database was read.
    pub seen: Option<(&'a History, &'a Assessment)>,
    /// What runs.
    pub running: Option<&'a execute::Running>,
    /// Retries so far, and when the next one is; None while a look is under way.
    pub retries: Option<(u32, Option<Timestamp>)>,
    /// The annotations that the look answers, when it is at its end.
    pub answered: Option<&'a Tokens>,
    /// The time, in whole seconds.
    pub now: Timestamp,
}

/// Puts a status together.
pub(super) fn summarize(summary: &Summary<'_>, before: &MigrationSetStatus) -> MigrationSetStatus {
    let Summary { generation, verdict, content, seen, running, retries, answered, now } = *summary;
    let mut status = before.clone();
    status.observed_generation = Some(generation);
    status.running = running.map(running_status);
    if let Some(content) = content {
        status.source = Some(SourceStatus {
            digest: Some(content.digest.to_string()),
            files: count(content.files),
            heads: heads(&content.dir),
        });
    }
    if let Some((history, assessment)) = seen {
        let digest = before.applied.as_ref().and_then(|applied| applied.digest.clone());
        status.applied = Some(applied(history, assessment, digest));
        status.plan = plan(&assessment.plan);
        status.failure = assessment.findings.iter().find_map(|finding| finding.failure.as_ref()).map(failure);
        status.drift = drift(assessment);
        status.recent = recent(history);
    }
    if let (Kind::Ready, Some(content), Some(_)) = (verdict.reason.kind(), content, seen) {
        status.applied.get_or_insert_default().digest = Some(content.digest.to_string());
    }
    if let Some((tries, _)) = retries {
        status.retries = i64::from(tries);
    }
    // The retry that was announced is the look under way.
    status.next_retry_at = retries.and_then(|(_, next)| next).map(rfc3339);
    if let Some(Tokens { reconcile, flux_reconcile, resolve: _, approved_plan: _, take_over: _ }) = answered {
        status.last_handled_reconcile = reconcile.as_deref().map(|token| cut(token, QUERY).to_owned());
        status.last_handled_reconcile_at = flux_reconcile.as_deref().map(|token| cut(token, QUERY).to_owned());
    }
    let old = read_conditions(&before.conditions);
    status.conditions =
        conditions::conditions(verdict, &old, generation, now).into_iter().map(write_condition).collect();
    status
}

/// Takes over the times at which conditions came to be what they are, where somebody has seen it before: of two operators
/// each would otherwise put its own time in place of the other's, without end.
pub(super) fn agree_on_times(status: &mut MigrationSetStatus, shown: &MigrationSetStatus) {
    for condition in &mut status.conditions {
        let same = shown.conditions.iter().find(|it| it.type_ == condition.type_ && it.status == condition.status);
        if let Some(shown) = same {
            condition.last_transition_time.0 = condition.last_transition_time.0.min(shown.last_transition_time.0);
        }
    }
}

/// A time as Kubernetes writes it.
pub(super) fn rfc3339(time: Timestamp) -> String {
    Offset::UTC.to_datetime(time).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The conditions that are ours, out of a status.
pub(super) fn read_conditions(conditions: &[meta::Condition]) -> Vec<Condition> {
    let read = |condition: &meta::Condition| {
        let kind = ConditionType::ALL.into_iter().find(|kind| kind.to_string() == condition.type_)?;
        let status = match condition.status.as_str() {
            "True" => Truth::True,
            "False" => Truth::False,
            _ => Truth::Unknown,
        };
        Some(Condition {
            kind,
            status,
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            observed_generation: condition.observed_generation.unwrap_or_default(),
            last_transition_time: condition.last_transition_time.0,
        })
    };
    conditions.iter().filter_map(read).collect()
}

fn write_condition(condition: Condition) -> meta::Condition {
    let Condition { kind, status, reason, message, observed_generation, last_transition_time } = condition;
    meta::Condition {
        type_: kind.to_string(),
        status: format!("{status:?}"),
        reason,
        message,
        observed_generation: Some(observed_generation),
        last_transition_time: meta::Time(last_transition_time),
    }
}

fn applied(history: &History, assessment: &Assessment, digest: Option<String>) -> AppliedStatus {
    let applied_at = history.migrations.iter().filter(|row| row.state.is_applied()).filter_map(applied_at);
    AppliedStatus {
        digest,
        version: assessment.version.as_ref().map(ToString::to_string),
        count: count(assessment.applied),
        pending: count(assessment.pending),
        on_trust: count(assessment.on_trust),
        last_applied_at: applied_at.max().map(str::to_owned),
    }
}

/// The ends of the source's branches, where it has several.
fn heads(dir: &MigrationDir) -> Vec<String> {
    match dir.heads().as_slice() {
        [_] | [] => Vec::new(),
        heads => heads.iter().take(HEADS).map(|migration| migration.version.to_string()).collect(),
    }
}

fn applied_at(row: &Recorded) -> Option<&str> {
    row.applied_at.as_deref()
}

fn plan(plan: &Plan) -> Option<PlanStatus> {
    if plan.steps.is_empty() {
        return None;
    }
    let steps = plan.steps.iter().take(STEPS).map(|step| StepStatus {
        version: Some(step.version.to_string()),
        name: Some(cut(&step.name, SHORT).to_owned()),
        direction: Some(format!("{:?}", step.direction)),
        transactional: Some(step.mode == TransactionMode::Transactional),
    });
    Some(PlanStatus { digest: Some(plan.digest().to_string()), steps: steps.collect(), count: count(plan.steps.len()) })
}

fn failure(failed: &FailedRun) -> FailureStatus {
    let FailedRun { run, subject, mode, error, statements_applied, at } = failed;
    FailureStatus {
        run: Some(*run),
        version: Some(cut(subject.key(), SHORT).to_owned()),
        name: subject.name().map(|name| cut(name, SHORT).to_owned()),
        transactional: Some(*mode == TransactionMode::Transactional),
        statement: error.statement.map(i64::from),
        line: error.line.map(i64::from),
        column: error.column.map(i64::from),
        sqlstate: error.sqlstate.clone(),
        message: Some(cut(&error.message, CONDITION_MESSAGE_BYTES).to_owned()),
        statements_applied: i64::from(*statements_applied),
        at: at.clone(),
    }
}

fn drift(assessment: &Assessment) -> Option<DriftStatus> {
    if assessment.checksum_drift.is_empty() && assessment.missing.is_empty() {
        return None;
    }
    let checksums = assessment.checksum_drift.iter().take(DRIFTED).map(|drift| ChecksumDriftStatus {
        version: Some(drift.version.to_string()),
        run: Some(drift.run),
        recorded: Some(drift.recorded.clone()),
        found: Some(drift.found.clone()),
    });
    Some(DriftStatus {
        checksums: checksums.collect(),
        missing: assessment.missing.iter().take(DRIFTED).map(ToString::to_string).collect(),
        schema: Vec::new(),
    })
}

/// The migrations last applied, newest first; of those applied at one moment, the one last in the set's order first.
fn recent(history: &History) -> Vec<RecentMigration> {
    let mut rows: Vec<&Recorded> =
        history.migrations.iter().filter(|row| row.state.is_applied() && row.applied_at.is_some()).collect();
    rows.sort_by(|a, b| (applied_at(b), &b.version).cmp(&(applied_at(a), &a.version)));
    let recent = rows.into_iter().take(RECENT).map(|row| RecentMigration {
        version: Some(row.version.to_string()),
        name: Some(cut(&row.name, SHORT).to_owned()),
        applied_at: row.applied_at.clone(),
        duration_ms: row.duration_ms,
        batch: row.batch,
    });
    recent.collect()
}

fn running_status(running: &execute::Running) -> RunningStatus {
    let execute::Running { subject, statement, statements, started_at, completed: _, planned: _, progress, blocked_by } =
        running;
    RunningStatus {
        version: Some(cut(subject.key(), SHORT).to_owned()),
        name: subject.name().map(|name| cut(name, SHORT).to_owned()),
        statement: statement.map(i64::from),
        statements: Some(i64::from(*statements)),
        started_at: Some(started_at.clone()),
        phase: progress.as_ref().map(|progress| cut(&progress.phase, QUERY).to_owned()),
        percent: progress.as_ref().and_then(|progress| progress.percent).map(i64::from),
        blocked_by: blocked_by.iter().take(BLOCKERS).map(blocker).collect(),
    }
}

fn blocker(blocker: &progress::Blocker) -> Blocker {
    let progress::Blocker { pid, application, user, query, since } = blocker;
    let short = |text: &Option<String>, bytes| text.as_deref().map(|text| cut(text, bytes).to_owned());
    Blocker {
        pid: pid.map(i64::from),
        user: short(user, SHORT),
        application: short(application, SHORT),
        query: short(query, QUERY),
        since: since.clone(),
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "summarize_tests.rs"]
mod tests;
