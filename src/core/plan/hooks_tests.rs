//! When which hook runs, for which plan, and what a failed one holds up.

use std::time::Duration;

use super::*;
use crate::core::{
    desired::Audience,
    hook::{Act, Hook, HookRun, Key, Outcome, Place},
    task::{Subject, TaskKind, TaskRun},
};

fn hook(text: &str) -> Hook {
    Hook { act: Act::Job(text.to_owned()), timeout: Duration::from_mins(10) }
}

/// One hook in each of these places, `name`d by it.
fn hooked(places: &[Place]) -> Desired {
    with(|desired| {
        for place in places {
            desired.hooks.at_mut(*place).push(hook(place.word()));
        }
    })
}

fn key(place: Place) -> Key {
    Key { place, index: 0 }
}

/// The last run of the hook of `hooked`, for the first batch.
fn ran(place: Place, run: i64, outcome: RunOutcome) -> HookRun {
    HookRun {
        key: key(place),
        run,
        outcome,
        checksum: hook(place.word()).checksum(),
        attempts: 1,
        error: (outcome == RunOutcome::Failed)
            .then(|| RunError { message: format!("{} failed", place.word()), ..RunError::default() }),
        resolution: None,
        batch: 1,
        plan: "sha256:first".to_owned(),
    }
}

/// The history that has these runs of hooks, as it is read.
fn with_hooks(migrations: Vec<Recorded>, hooks: Vec<HookRun>) -> History {
    let open = |run: &&HookRun| run.outcome != RunOutcome::Succeeded;
    let task = |run: &HookRun| TaskRun {
        kind: TaskKind::Hook,
        key: run.key.to_string(),
        run: run.run,
        outcome: run.outcome,
        attempts: run.attempts,
        checksum: run.checksum.clone(),
        error: run.error.clone(),
        resolution: run.resolution,
        finished_at: None,
    };
    History { migrations, tasks: hooks.iter().filter(open).map(task).collect(), hooks, ..History::default() }
}

fn keys(due: &[DueHook]) -> Vec<String> {
    due.iter().map(|due| due.context.key.to_string()).collect()
}

/// The hooks before the steps, those that are due, and those to be written down for after the steps.
fn three(assessment: &Assessment) -> [Vec<String>; 3] {
    let PlanHooks { before, due, after } = &assessment.hooks;
    [keys(before), keys(due), after.iter().map(|later| later.key.to_string()).collect()]
}

const NONE: [&str; 0] = [];

/// M26, M28, bug 21: only with work to do, and with what is known of it.
#[test]
fn hooks_run_around_steps_and_not_without() {
    let dir = tables(&["001", "002"]);
    let desired = hooked(&Place::ALL);
    let verdict = plan(&dir, &history(applied(&dir, &["001"])), &desired);
    assert_eq!(three(&verdict), [vec!["preApply[0]".to_owned()], vec![], vec!["postApply[0]".to_owned()]]);
    let context = &verdict.hooks.before[0].context;
    assert_eq!(
        (context.direction, &context.versions, &context.outcome),
        (Direction::Up, &vec!["002".to_owned()], &None)
    );
    assert_eq!(context.plan, verdict.plan.digest().to_string());

    let idle = plan(&dir, &history(applied(&dir, &["001", "002"])), &desired);
    assert_eq!(three(&idle), [NONE, NONE, NONE]);
    let stay = Desired { target: Target::Stay, ..desired };
    assert_eq!(three(&plan(&dir, &History::default(), &stay)), [NONE, NONE, NONE]);
}

#[test]
fn a_plan_that_goes_both_ways_has_the_hooks_of_both_the_way_down_first() {
    let files = dir(&[("001_a.sql", "SELECT 1;\n-- migrate: down\nSELECT 2;\n"), ("002_b.sql", "SELECT 3;\n")]);
    let source = dir(&[("002_b.sql", "SELECT 3;\n")]);
    let mut desired = hooked(&Place::ALL);
    desired.policy.rollback = Rollback::Allow;
    desired.policy.on_missing = OnMissing::Rollback;
    desired.policy.out_of_order = OutOfOrder::Allow;
    let verdict = plan(&source, &history(applied(&files, &["001"])), &desired);
    assert_eq!(steps(&verdict), ["001", "002"]);
    assert_eq!(
        three(&verdict),
        [
            vec!["preRollback[0]".to_owned(), "preApply[0]".to_owned()],
            vec![],
            vec!["postRollback[0]".to_owned(), "postApply[0]".to_owned()]
        ]
    );
}

/// A hook that ran for this very plan runs again only where something has settled since.
#[test]
fn a_pre_hook_runs_once_for_a_plan_that_is_tried_again() {
    let dir = tables(&["001", "002"]);
    let desired = hooked(&[Place::PreApply]);
    let rows = || applied(&dir, &["001"]);
    let digest = plan(&dir, &history(rows()), &desired).plan.digest().to_string();
    let succeeded = HookRun { plan: digest, ..ran(Place::PreApply, 5, RunOutcome::Succeeded) };
    let edited = HookRun { checksum: "another".to_owned(), ..succeeded.clone() };
    let of_another = HookRun { plan: "sha256:another".to_owned(), ..succeeded.clone() };
    let before = HookRun { run: 1, ..succeeded.clone() };
    let open = HookRun { outcome: RunOutcome::Running, ..succeeded.clone() };
    for (run, again) in [(succeeded.clone(), false), (edited, true), (of_another, true), (before, true), (open, true)] {
        let verdict = plan(&dir, &with_hooks(rows(), vec![run.clone()]), &desired);
        assert_eq!(verdict.hooks.before.len(), usize::from(again), "{run:?}");
    }
    let mut two = desired.clone();
    two.hooks.pre_apply.push(hook("second"));
    let failed = HookRun {
        key: Key { place: Place::PreApply, index: 1 },
        checksum: hook("second").checksum(),
        resolution: Some(Action::Retry),
        ..ran(Place::PreApply, 6, RunOutcome::Failed)
    };
    let verdict = plan(&dir, &with_hooks(rows(), vec![succeeded, failed]), &two);
    assert_eq!(
        keys(&verdict.hooks.before),
        ["preApply[0]", "preApply[1]"],
        "what ran before a failure is of yesterday"
    );
}

/// M26: a pre hook that failed holds the plan up until its text changes, or a person says so; by hand, nothing does.
#[test]
fn a_pre_hook_that_failed_waits_for_an_edit_or_a_person() {
    let dir = tables(&["001"]);
    let desired = hooked(&[Place::PreApply, Place::PostApply]);
    let failed = ran(Place::PreApply, 5, RunOutcome::Failed);
    let verdict = plan(&dir, &with_hooks(vec![], vec![failed.clone()]), &desired);
    assert_eq!((reasons(&verdict), keys(&verdict.hooks.before)), (vec![Reason::HookFailed], vec![]));
    for words in ["preApply failed", "Nothing of the plan was run", "version: \"preApply[0]\", run: 5, action: Retry"] {
        assert!(text(&verdict).contains(words), "{words} in: {}", text(&verdict));
    }
    let failure = verdict.findings[0].failure.as_ref().expect("it is a run's");
    assert_eq!(failure.subject, Subject::Task { kind: TaskKind::Hook, key: "preApply[0]".to_owned() });

    let mut edited = desired.clone();
    edited.hooks.pre_apply[0] = hook("mended");
    let by_hand = Desired { audience: Audience::CommandLine, ..desired.clone() };
    for desired in [&edited, &by_hand] {
        let verdict = plan(&dir, &with_hooks(vec![], vec![failed.clone()]), desired);
        assert_eq!((reasons(&verdict), verdict.hooks.before.len()), (vec![], 1));
        assert_eq!(verdict.hooks.before[0].open, None, "it has a run of its own");
    }
    let retried = HookRun { resolution: Some(Action::Retry), ..failed.clone() };
    assert_eq!(reasons(&plan(&dir, &with_hooks(vec![], vec![retried]), &desired)), []);
    let mut decided = desired.clone();
    decided.resolutions.push(Resolution { version: None, run: 5, action: Action::Retry, by: "a person".to_owned() });
    let verdict = plan(&dir, &with_hooks(vec![], vec![failed.clone()]), &decided);
    assert_eq!(verdict.amendments, [Amendment::RetryTask { run: 5, by: "a person".to_owned() }]);

    let idle = plan(&dir, &with_hooks(applied(&dir, &["001"]), vec![failed]), &desired);
    assert_eq!(reasons(&idle), [], "without a plan it holds nothing up");
}

/// M27, M29: what is due after a plan is due when nothing is left of it, whatever became of whoever began.
#[test]
fn a_post_hook_is_due_when_its_plan_is_through() {
    let dir = tables(&["001", "002"]);
    let desired = hooked(&[Place::PostApply, Place::PostRollback]);
    let open = || vec![ran(Place::PostApply, 5, RunOutcome::Running)];
    let verdict = plan(&dir, &with_hooks(applied(&dir, &["001", "002"]), open()), &desired);
    let [due] = verdict.hooks.due.as_slice() else { panic!("{:?}", verdict.hooks) };
    assert_eq!((due.context.versions.join(" "), due.open, due.batch), ("001 002".to_owned(), Some((5, 1)), Some(1)));
    assert_eq!((&due.context.outcome, due.context.plan.as_str()), (&Some(Outcome::Succeeded), "sha256:first"));

    let unfinished = plan(&dir, &with_hooks(applied(&dir, &["001"]), open()), &desired);
    assert_eq!(three(&unfinished), [vec![], vec![], vec!["postApply[0]".to_owned()]], "something is left of the plan");
    assert_eq!((unfinished.hooks.after[0].open, unfinished.hooks.after[0].batch), (Some((5, 1)), Some(1)));

    let later = |run| HookRun { batch: 2, ..run };
    let nothing =
        plan(&dir, &with_hooks(applied(&dir, &["001", "002"]), open().into_iter().map(later).collect()), &desired);
    assert_eq!(three(&nothing), [NONE, NONE, NONE], "nothing has run since it was opened");
    let done = vec![ran(Place::PostApply, 5, RunOutcome::Succeeded)];
    assert_eq!(three(&plan(&dir, &with_hooks(applied(&dir, &["001", "002"]), done), &desired)), [NONE, NONE, NONE]);
    let failing = with_hooks(vec![applied(&dir, &["001"]).remove(0), failed_row(&dir, "002")], open());
    assert_eq!(keys(&plan(&dir, &failing, &desired).hooks.due), NONE, "the plan has failed");
}

/// M27, bug 21: a post hook that failed is said while nothing is to be run, never runs SQL again, and holds up no other plan.
#[test]
fn a_post_hook_that_failed_holds_up_no_migration() {
    let files = tables(&["001", "002"]);
    let one = tables(&["001"]);
    let desired = hooked(&[Place::PostApply]);
    let failed = || with_hooks(applied(&files, &["001"]), vec![ran(Place::PostApply, 5, RunOutcome::Failed)]);
    let verdict = plan(&one, &failed(), &desired);
    assert_eq!(
        (reasons(&verdict), steps(&verdict), keys(&verdict.hooks.due)),
        (vec![Reason::HookFailed], vec![], vec![])
    );
    assert!(text(&verdict).contains("none of them runs again"), "{}", text(&verdict));
    let next = plan(&files, &failed(), &desired);
    assert_eq!((reasons(&next), steps(&next)), (vec![], vec!["002"]));
    assert_eq!((next.hooks.after[0].open, next.hooks.after[0].batch), (None, Some(1)), "and is told of both plans");
    let mut edited = desired.clone();
    edited.hooks.post_apply[0] = hook("mended");
    let again = plan(&one, &failed(), &edited);
    assert_eq!((reasons(&again), keys(&again.hooks.due)), (vec![], vec!["postApply[0]".to_owned()]));
    let by_hand = Desired { audience: Audience::CommandLine, ..desired };
    assert_eq!(keys(&plan(&one, &failed(), &by_hand).hooks.due), ["postApply[0]"]);
}

/// M27: a failure is told once, and a hook that fails in telling it is told beside it.
#[test]
fn a_failure_is_told_once() {
    let dir = tables(&["001", "007"]);
    let desired = hooked(&[Place::OnFailure]);
    let with = |hooks| with_hooks(vec![applied(&dir, &["001"]).remove(0), failed_row(&dir, "007")], hooks);
    let verdict = plan(&dir, &with(vec![]), &desired);
    assert_eq!(
        (reasons(&verdict), keys(&verdict.hooks.due)),
        (vec![Reason::MigrationFailed], vec!["onFailure[0]".to_owned()])
    );
    let context = &verdict.hooks.due[0].context;
    let expected = Outcome::Failed { version: "007".to_owned(), run: 7, sqlstate: None };
    assert_eq!((&context.outcome, context.direction), (&Some(expected), Direction::Up));
    for (run, outcome, due) in [
        (6, RunOutcome::Succeeded, true),
        (8, RunOutcome::Succeeded, false),
        (8, RunOutcome::Running, true),
        (6, RunOutcome::Failed, true),
        (8, RunOutcome::Failed, false),
    ] {
        let verdict = plan(&dir, &with(vec![ran(Place::OnFailure, run, outcome)]), &desired);
        assert_eq!(!verdict.hooks.due.is_empty(), due, "{run} {outcome:?}");
        assert_eq!(reasons(&verdict), [Reason::MigrationFailed], "{run} {outcome:?}");
        let beside = text(&verdict).contains("Beside that, onFailure failed (run 8)");
        assert_eq!(beside, (run, outcome) == (8, RunOutcome::Failed), "{}", text(&verdict));
    }
}
