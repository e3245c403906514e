//! What stands in a status after which look.

use super::*;
use crate::core::{
    conditions::{Approval, Checksums, Reach},
    history::{Run, RunError, State},
    migration::{Checksum, Version},
    outcome::Reason,
    plan::{ChecksumDrift, Direction, Finding, Step},
    task::{Subject, TaskKind},
};

fn version(number: usize) -> Version {
    Version::parse(&format!("{number:03}")).expect("a number is a version")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a second of the tests is a time")
}

fn row(number: usize, state: State) -> Recorded {
    Recorded {
        version: version(number),
        name: format!("step_{number}"),
        state,
        checksum: Checksum::from_history("a".repeat(64)),
        mode: TransactionMode::Transactional,
        down_checksum: None,
        batch: 1,
        applied_at: Some(rfc3339(at(i64::try_from(number).expect("a small number")))),
        duration_ms: 5,
        down_sql: None,
        depends: Vec::new(),
        replaces: Vec::new(),
        run: Run::succeeded(1, state),
    }
}

fn history(count: usize) -> History {
    History { migrations: (1..=count).map(|number| row(number, State::Applied)).collect(), ..History::default() }
}

fn assessment(applied: usize, pending: usize) -> Assessment {
    let steps = (applied + 1..=applied + pending).map(|number| Step {
        version: version(number),
        name: format!("step_{number}"),
        direction: Direction::Up,
        mode: TransactionMode::Transactional,
        checksum: "c".repeat(64),
        variables: Vec::new(),
    });
    Assessment {
        plan: Plan { steps: steps.collect() },
        version: (applied > 0).then(|| version(applied)),
        applied,
        pending,
        ..Assessment::default()
    }
}

fn verdict(reason: Reason) -> Verdict {
    Verdict {
        reason,
        message: "said".to_owned(),
        database: Reach::Reached,
        checksums: Checksums::Match,
        approval: Approval::NotAsked,
    }
}

fn summary<'a>(verdict: &'a Verdict, seen: Option<(&'a History, &'a Assessment)>) -> Summary<'a> {
    Summary {
        generation: 3,
        verdict,
        content: None,
        seen,
        running: None,
        retries: Some((0, None)),
        answered: None,
        now: at(100),
    }
}

#[test]
fn counts_of_nothing_are_written() {
    let (history, assessment, verdict) = (History::default(), assessment(0, 0), verdict(Reason::UpToDate));
    let status = summarize(&summary(&verdict, Some((&history, &assessment))), &MigrationSetStatus::default());
    let written = serde_json::to_value(&status).expect("a status is JSON");
    assert_eq!(written["applied"], serde_json::json!({"count": 0, "pending": 0, "onTrust": 0}));
    assert_eq!(written["retries"], 0);
    assert_eq!(written["observedGeneration"], 3);
}

#[test]
fn the_last_ten_are_named_newest_first() {
    let (history, assessment, verdict) = (history(12), assessment(12, 0), verdict(Reason::UpToDate));
    let status = summarize(&summary(&verdict, Some((&history, &assessment))), &MigrationSetStatus::default());
    let recent: Vec<&str> = status.recent.iter().filter_map(|recent| recent.version.as_deref()).collect();
    assert_eq!(recent, ["012", "011", "010", "009", "008", "007", "006", "005", "004", "003"]);
    assert_eq!(status.applied.and_then(|applied| applied.last_applied_at).as_deref(), Some("1970-01-01T00:00:12Z"));
}

#[test]
fn a_long_plan_is_cut_at_fifty_steps_and_counted() {
    let (history, assessment, verdict) = (History::default(), assessment(0, 51), verdict(Reason::Applying));
    let status = summarize(&summary(&verdict, Some((&history, &assessment))), &MigrationSetStatus::default());
    let plan = status.plan.expect("something is pending");
    assert_eq!((plan.steps.len(), plan.count), (50, 51));
    assert_eq!(plan.digest, Some(assessment.plan.digest().to_string()));
}

#[test]
fn a_look_that_came_to_no_database_keeps_what_was_seen_of_it() {
    let (history, seen, ready) = (history(2), assessment(2, 0), verdict(Reason::UpToDate));
    let before = summarize(&summary(&ready, Some((&history, &seen))), &MigrationSetStatus::default());
    let waiting = Verdict::before_database(Reason::WaitingForSecret, "absent");
    let after = summarize(&summary(&waiting, None), &before);
    assert_eq!((&after.applied, &after.recent), (&before.applied, &before.recent));
}

#[test]
fn a_failure_is_shown_with_its_place_and_gone_with_its_finding() {
    let failed = FailedRun {
        run: 7,
        subject: Subject::Migration { version: version(2), name: "step_2".to_owned(), direction: Direction::Up },
        mode: TransactionMode::Transactional,
        error: RunError {
            message: "002_step_2.sql:9:14: boom".to_owned(),
            sqlstate: Some("23505".to_owned()),
            statement: Some(2),
            line: Some(9),
            column: Some(14),
        },
        statements_applied: 0,
        at: Some("2026-11-21T10:00:00Z".to_owned()),
    };
    let finding = Finding { reason: Reason::MigrationFailed, message: "said".to_owned(), failure: Some(failed) };
    let broken = Assessment { findings: vec![finding], ..assessment(1, 1) };
    let (history, stalled) = (history(1), verdict(Reason::MigrationFailed));
    let status = summarize(&summary(&stalled, Some((&history, &broken))), &MigrationSetStatus::default());
    let failure = status.failure.as_ref().expect("the failure is shown");
    assert_eq!((failure.run, failure.line, failure.column), (Some(7), Some(9), Some(14)));
    assert_eq!(failure.transactional, Some(true));

    let (mended, ready) = (assessment(2, 0), verdict(Reason::UpToDate));
    assert_eq!(summarize(&summary(&ready, Some((&history, &mended))), &status).failure, None);
}

/// What a resolution is to name stands in the version's place.
#[test]
fn a_failed_seed_is_shown_by_its_path() {
    let failed = FailedRun {
        run: 9,
        subject: Subject::Task { kind: TaskKind::Seed, key: "dev/010_users.sql".to_owned() },
        mode: TransactionMode::Transactional,
        error: RunError::default(),
        statements_applied: 0,
        at: None,
    };
    let finding = Finding { reason: Reason::SeedFailed, message: "said".to_owned(), failure: Some(failed) };
    let broken = Assessment { findings: vec![finding], ..assessment(1, 0) };
    let (history, stalled) = (history(1), verdict(Reason::SeedFailed));
    let status = summarize(&summary(&stalled, Some((&history, &broken))), &MigrationSetStatus::default());
    let failure = status.failure.expect("the failure is shown");
    assert_eq!((failure.version.as_deref(), failure.name), (Some("dev/010_users.sql"), None));
}

#[test]
fn drift_and_missing_versions_are_shown_whatever_the_policy() {
    let drift = ChecksumDrift {
        version: version(1),
        file: "001_step_1.sql".to_owned(),
        run: 4,
        recorded: "a".repeat(64),
        found: "b".repeat(64),
    };
    let drifted = Assessment { checksum_drift: vec![drift], missing: vec![version(9)], ..assessment(2, 0) };
    let (history, verdict) = (history(2), verdict(Reason::DatabaseAhead));
    let status = summarize(&summary(&verdict, Some((&history, &drifted))), &MigrationSetStatus::default());
    let drift = status.drift.expect("it is shown");
    assert_eq!(drift.checksums[0].run, Some(4));
    assert_eq!(drift.missing, ["009"]);
}

#[test]
fn annotations_are_answered_only_at_the_end_of_a_look() {
    let tokens =
        Tokens { reconcile: Some("now".to_owned()), flux_reconcile: Some("later".to_owned()), ..Tokens::default() };
    let checking = Verdict::under_way(Reason::Checking, "");
    let status = summarize(&summary(&checking, None), &MigrationSetStatus::default());
    assert_eq!((status.last_handled_reconcile, status.last_handled_reconcile_at), (None, None));
    let ready = verdict(Reason::UpToDate);
    let ended = Summary { answered: Some(&tokens), ..summary(&ready, None) };
    let status = summarize(&ended, &MigrationSetStatus::default());
    assert_eq!(status.last_handled_reconcile.as_deref(), Some("now"));
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("later"));
}

#[test]
fn the_same_look_again_makes_the_same_status() {
    let (history, seen, ready) = (history(2), assessment(2, 0), verdict(Reason::UpToDate));
    let once = summarize(&summary(&ready, Some((&history, &seen))), &MigrationSetStatus::default());
    let later = Summary { now: at(200), ..summary(&ready, Some((&history, &seen))) };
    assert_eq!(summarize(&later, &once), once);
}

#[test]
fn conditions_survive_being_written_and_read() {
    let approval = Approval::Given { message: "a plan".to_owned() };
    let ready = Verdict { approval, ..verdict(Reason::UpToDate) };
    let status = summarize(&summary(&ready, None), &MigrationSetStatus::default());
    let json = serde_json::to_string(&status).expect("a status is JSON");
    assert_eq!(serde_json::from_str::<MigrationSetStatus>(&json).expect("and back"), status);
    assert_eq!(read_conditions(&status.conditions).len(), ConditionType::ALL.len());
}

#[test]
fn a_retry_under_way_is_counted_and_no_longer_announced() {
    let waiting = verdict(Reason::Retrying);
    let before = summarize(
        &Summary { retries: Some((2, Some(at(104)))), ..summary(&waiting, None) },
        &MigrationSetStatus::default(),
    );
    assert_eq!((before.retries, before.next_retry_at.is_some()), (2, true));
    let applying = verdict(Reason::Applying);
    let during = summarize(&Summary { retries: None, ..summary(&applying, None) }, &before);
    assert_eq!((during.retries, during.next_retry_at), (2, None));
}

#[test]
fn of_two_times_at_which_a_condition_came_to_be_the_earlier_one_stands() {
    let condition = |kind: &str, status: &str, second: i64| meta::Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: String::new(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: meta::Time(at(second)),
    };
    let status = |conditions: Vec<meta::Condition>| MigrationSetStatus { conditions, ..MigrationSetStatus::default() };
    let shown =
        status(vec![condition("Ready", "True", 5), condition("Stalled", "False", 9), condition("Forged", "True", 1)]);
    for (ours, expected) in [
        (condition("Ready", "True", 7), 5),
        (condition("Ready", "True", 3), 3),
        (condition("Ready", "False", 7), 7),
        (condition("Stalled", "False", 7), 7),
        (condition("Reconciling", "False", 7), 7),
    ] {
        let mut status = status(vec![ours]);
        agree_on_times(&mut status, &shown);
        assert_eq!(status.conditions[0].last_transition_time.0, at(expected), "{:?}", status.conditions);
    }
}

#[test]
fn what_runs_is_shown_as_far_as_it_is_known() {
    let verdict = verdict(Reason::Applying);
    let blocker = progress::Blocker {
        pid: Some(4711),
        application: None,
        user: None,
        query: Some("é".repeat(1_000)),
        since: None,
    };
    let mut running = execute::Running {
        subject: Subject::Migration { version: version(2), name: "step_2".to_owned(), direction: Direction::Up },
        statement: None,
        statements: 7,
        started_at: "2026-11-21T10:00:00Z".to_owned(),
        completed: 1,
        planned: 3,
        progress: None,
        blocked_by: vec![blocker; 30],
    };
    let show = |running: &execute::Running| {
        let summary = Summary { running: Some(running), ..summary(&verdict, None) };
        summarize(&summary, &MigrationSetStatus::default()).running.expect("it runs")
    };
    let shown = show(&running);
    let written = serde_json::to_value(&shown).expect("a status is JSON");
    for field in ["statement", "phase", "percent"] {
        assert_eq!(written.get(field), None, "{field}");
    }
    assert_eq!((shown.statements, shown.blocked_by.len()), (Some(7), 20));
    assert!(shown.blocked_by.iter().all(|blocker| blocker.query.as_ref().is_some_and(|query| query.len() == 1_024)));

    running.statement = Some(3);
    running.progress = Some(progress::Progress { phase: "building index".to_owned(), percent: Some(42) });
    let shown = show(&running);
    assert_eq!((shown.statement, shown.phase.as_deref(), shown.percent), (Some(3), Some("building index"), Some(42)));
    let summary = summary(&verdict, None);
    let before = MigrationSetStatus { running: Some(shown), ..MigrationSetStatus::default() };
    assert_eq!(summarize(&summary, &before).running, None, "nothing runs any more");
}
