//! Which seeds are due, what holds them up, and what a person has decided about them.

use std::sync::Arc;

use super::*;
use crate::core::{
    desired::TaskResolution,
    history::RecordedSeed,
    seed::{self, Seed},
    task::{TaskKind, TaskRun},
};

fn seeds(texts: &[(&str, &str)]) -> Arc<[Seed]> {
    texts
        .iter()
        .map(|(name, text)| {
            let file = BundleFile { name: (*name).into(), bytes: text.as_bytes().into(), origin: "the test".into() };
            seed::read(&file, |_| unreachable!("it is SQL")).expect("it is sound")
        })
        .collect()
}

fn recorded(seed: &Seed, run: i64) -> RecordedSeed {
    RecordedSeed {
        name: seed.path.clone(),
        checksum: seed.checksum.as_str().to_owned(),
        applied_at: None,
        run,
        counts: None,
    }
}

fn failed(seed: &Seed, run: i64) -> TaskRun {
    TaskRun {
        kind: TaskKind::Seed,
        key: seed.path.clone(),
        run,
        outcome: RunOutcome::Failed,
        attempts: 1,
        checksum: seed.checksum.as_str().to_owned(),
        error: Some(RunError { message: format!("{} failed", seed.path), ..RunError::default() }),
        resolution: None,
        finished_at: None,
    }
}

/// Two seeds behind one migration, which is run 1.
struct World {
    dir: MigrationDir,
    history: History,
    desired: Desired,
}

impl World {
    fn new() -> Self {
        let dir = tables(&["001"]);
        let history = history(applied(&dir, &["001"]));
        let desired = Desired { seeds: seeds(&[("a.sql", "SELECT 1;"), ("b.sql", "SELECT 2;")]), ..desired() };
        Self { dir, history, desired }
    }

    fn plan(&self) -> Assessment {
        plan(&self.dir, &self.history, &self.desired)
    }
}

#[test]
fn seeds_are_due_when_the_schema_is_complete_and_nothing_else_holds_the_set_up() {
    let mut world = World::new();
    assert_eq!(world.plan().seeds, ["a.sql", "b.sql"]);
    world.dir = tables(&["001", "002"]);
    let pending = world.plan();
    assert_eq!((steps(&pending), pending.seeds.len()), (vec!["002"], 0));
    world.desired.target = Target::parse("001").expect("a target");
    assert_eq!(world.plan().seeds.len(), 0, "the target leaves a migration out");
    world.dir = tables(&["001"]);
    assert_eq!(world.plan().seeds.len(), 2, "this target leaves none out");
    world.desired.target = Target::None;
    world.desired.policy.rollback = Rollback::Allow;
    assert_eq!(world.plan().seeds.len(), 0, "something is to be rolled back");
}

#[test]
fn what_has_run_runs_again_only_if_it_asks_for_it() {
    let mut world = World::new();
    let [a, b] = &*seeds(&[("a.sql", "SELECT 1;"), ("b.sql", "SELECT 2;")]) else { panic!("two") };
    world.history.seeds = vec![recorded(a, 2), recorded(b, 3)];
    let verdict = world.plan();
    assert_eq!((verdict.seeds.len(), verdict.seeded, verdict.seeds_edited.len()), (0, 2, 0));
    world.desired.seeds = seeds(&[("a.sql", "SELECT 10;"), ("b.sql", "-- seed: on-change\nSELECT 20;")]);
    let verdict = world.plan();
    assert_eq!((verdict.seeds, verdict.seeds_edited), (vec!["b.sql".to_owned()], vec!["a.sql".to_owned()]));
}

#[test]
fn an_empty_seed_is_never_due() {
    let mut world = World::new();
    world.desired.seeds = seeds(&[("a.sql", "-- to be written\n")]);
    assert_eq!(world.plan().seeds.len(), 0);
}

#[test]
fn a_seed_that_failed_holds_up_those_behind_it_until_something_changes() {
    let mut world = World::new();
    let [a, b] = &*seeds(&[("a.sql", "SELECT 1;"), ("b.sql", "SELECT 2;")]) else { panic!("two") };
    world.history.tasks = vec![failed(a, 2)];
    let verdict = world.plan();
    assert_eq!((reasons(&verdict), verdict.seeds.len()), (vec![Reason::SeedFailed], 0));
    assert!(text(&verdict).starts_with("a.sql failed\nNothing of it was kept (run 2). Mend the seed, or add"));
    assert_eq!(verdict.findings[0].failure.as_ref().map(|failed| failed.subject.key()), Some("a.sql"));

    world.desired.seeds = seeds(&[("a.sql", "SELECT 11;"), ("b.sql", "SELECT 2;")]);
    assert_eq!(world.plan().seeds, ["a.sql", "b.sql"], "its text is another");
    world.desired.seeds = seeds(&[("b.sql", "SELECT 2;")]);
    assert_eq!(world.plan().seeds, ["b.sql"], "it is gone");

    let mut world = World::new();
    world.history.tasks = vec![failed(b, 2)];
    let verdict = world.plan();
    assert_eq!((reasons(&verdict).len(), verdict.seeds), (0, vec!["a.sql".to_owned()]), "a may be what b lacks");
    world.history.seeds = vec![recorded(a, 3)];
    assert_eq!(world.plan().seeds, ["b.sql"], "a has run since");
    world.history.tasks = vec![failed(b, 4)];
    assert_eq!(reasons(&world.plan()), [Reason::SeedFailed]);
    world.history.migrations[0].run.id = 5;
    assert_eq!(world.plan().seeds, ["b.sql"], "a migration has run since");
}

#[test]
fn only_a_retry_lets_the_same_text_run_again() {
    let [a] = &*seeds(&[("a.sql", "SELECT 1;")]) else { panic!("one") };
    let named = |key: &str, run, action| TaskResolution {
        key: key.to_owned(),
        resolution: Resolution { version: None, run, action, by: "spec.resolutions[0]".to_owned() },
    };
    let retry = Amendment::RetryTask { run: 2, by: "spec.resolutions[0]".to_owned() };
    for (resolutions, task_resolutions, expected) in [
        (resolving(&[(None, 2, Action::Retry)]).resolutions, vec![], Ok(())),
        (vec![], vec![named("a.sql", 2, Action::Retry)], Ok(())),
        (vec![], vec![named("b.sql", 2, Action::Retry)], Err("Nothing of it was kept")),
        (vec![], vec![named("a.sql", 3, Action::Retry)], Err("Nothing of it was kept")),
        (
            vec![],
            vec![named("a.sql", 2, Action::MarkApplied)],
            Err("asks for MarkApplied, which is not possible for run 2"),
        ),
        (resolving(&[(None, 2, Action::Resume)]).resolutions, vec![], Err("of a seed's run only Retry is")),
        (resolving(&[(Some("001"), 2, Action::Retry)]).resolutions, vec![], Err("Nothing of it was kept")),
        (resolving(&[(None, 9, Action::Retry)]).resolutions, vec![], Err("names run 9; the run that waits is 2")),
    ] {
        let mut world = World::new();
        world.history.tasks = vec![failed(a, 2)];
        world.desired.resolutions = resolutions;
        world.desired.task_resolutions = task_resolutions;
        let verdict = world.plan();
        match expected {
            Ok(()) => {
                assert_eq!((verdict.amendments.as_slice(), reasons(&verdict).len()), (&[retry.clone()][..], 0));
            }
            Err(said) => {
                assert!(verdict.amendments.is_empty(), "{verdict:?}");
                assert!(text(&verdict).contains(said), "{}", text(&verdict));
            }
        }
    }
    let mut world = World::new();
    world.history.tasks = vec![TaskRun { resolution: Some(Action::Retry), ..failed(a, 2) }];
    assert_eq!(world.plan().seeds, ["a.sql", "b.sql"]);
}
