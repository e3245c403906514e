//! The table of cases of the state machine: each line a situation, what is done, what is said, when it is looked again.

use super::*;
use crate::core::{
    desired::{Owner, TakeOver},
    migration::{TransactionMode, Version},
    plan::{Amendment, ChecksumDrift, Finding, Plan, Step},
};

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version of the tests is one")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a second of the tests is a time")
}

fn periodic(now: i64) -> Circumstances {
    Circumstances {
        occasion: Occasion::Periodic,
        places: Places::One,
        interval: Duration::from_mins(10),
        now: at(now),
        chance: 0.5,
    }
}

fn changed(now: i64) -> Circumstances {
    Circumstances { occasion: Occasion::Change, ..periodic(now) }
}

fn several(circumstances: Circumstances) -> Circumstances {
    Circumstances { places: Places::Several, ..circumstances }
}

/// Three migrations, all of them applied.
fn applied() -> Assessment {
    Assessment { version: Some(version("003")), applied: 3, ..Assessment::default() }
}

/// Three migrations, one of them pending.
fn pending() -> Assessment {
    let step = Step {
        version: version("003"),
        name: "add_index".to_owned(),
        direction: Direction::Up,
        mode: TransactionMode::Transactional,
        checksum: "c".repeat(64),
        variables: Vec::new(),
    };
    Assessment { plan: Plan { steps: vec![step] }, version: Some(version("002")), applied: 2, pending: 1, ..applied() }
}

fn found(reason: Reason) -> Assessment {
    let finding = Finding { reason, message: format!("{reason} is said"), failure: None };
    Assessment { findings: vec![finding], ..pending() }
}

fn compare(assessment: &Assessment, memory: &Memory, circumstances: &Circumstances) -> Decision {
    decide(Observed::Compared { assessment, ownership: &Ownership::Ours }, memory, circumstances)
}

fn failed(reason: Reason) -> Failure {
    Failure::new(reason, format!("{reason} is why"))
}

/// What is remembered of a set that was Ready at its last look.
fn ready() -> Memory {
    compare(&applied(), &Memory::default(), &changed(0)).memory
}

fn pause(decision: &Decision) -> Option<u64> {
    decision.again.look.map(|pause| pause.as_secs())
}

#[test]
fn each_place_where_a_look_can_end_has_its_reason_and_its_next_look() {
    let digest = |byte: &str| format!("sha256:{}", byte.repeat(32)).parse::<Digest>().expect("a digest");
    let (wanted, other) = (digest("aa"), digest("bb"));
    let invalid_spec = failed(Reason::InvalidSpec);
    let [no_source, bad_source, duplicate, no_secret, no_database, refused] = [
        Reason::WaitingForSource,
        Reason::InvalidSource,
        Reason::DuplicateVersion,
        Reason::WaitingForSecret,
        Reason::WaitingForDatabase,
        Reason::AuthenticationFailed,
    ]
    .map(failed);
    let up_to_date = applied();
    let ahead = Assessment { missing: vec![version("004")], ..applied() };
    let drifted = found(Reason::ChecksumDrift);
    let broken = found(Reason::MigrationFailed);
    let ours = Ownership::Ours;
    let foreign = Ownership::Foreign { owner: "old/shop".to_owned() };
    let finished = Ending::Finished;
    let stopped = Ending::Stopped;
    let [lost, locked, conflict] =
        [Reason::Retrying, Reason::WaitingForLock, Reason::Conflict].map(|reason| Ending::Failed(failed(reason)));

    let table: Vec<(Observed<'_>, Reason, Option<u64>)> = vec![
        (Observed::Suspended, Reason::Suspended, None),
        (Observed::InvalidSpec(&invalid_spec), Reason::InvalidSpec, None),
        (Observed::Unread(&no_source), Reason::WaitingForSource, Some(1)),
        (Observed::Source(&no_source), Reason::WaitingForSource, Some(600)),
        (Observed::Source(&bad_source), Reason::InvalidSource, Some(600)),
        (Observed::Source(&duplicate), Reason::DuplicateVersion, Some(600)),
        (Observed::OtherDigest { wanted: &wanted, found: &other }, Reason::WaitingForDigest, Some(600)),
        (Observed::Secret(&no_secret), Reason::WaitingForSecret, Some(5)),
        (Observed::Secret(&invalid_spec), Reason::InvalidSpec, Some(5)),
        (Observed::Database(&no_database), Reason::WaitingForDatabase, Some(1)),
        (Observed::Database(&refused), Reason::AuthenticationFailed, Some(600)),
        (Observed::Compared { assessment: &up_to_date, ownership: &ours }, Reason::UpToDate, Some(600)),
        (Observed::Compared { assessment: &ahead, ownership: &ours }, Reason::DatabaseAhead, Some(600)),
        (Observed::Compared { assessment: &drifted, ownership: &ours }, Reason::ChecksumDrift, Some(600)),
        (Observed::Compared { assessment: &broken, ownership: &ours }, Reason::MigrationFailed, Some(600)),
        (Observed::Compared { assessment: &up_to_date, ownership: &foreign }, Reason::Conflict, Some(600)),
        (Observed::Executed { ending: &finished, assessment: Some(&up_to_date) }, Reason::UpToDate, Some(600)),
        (Observed::Executed { ending: &finished, assessment: Some(&broken) }, Reason::MigrationFailed, Some(600)),
        (Observed::Executed { ending: &finished, assessment: None }, Reason::Checking, Some(1)),
        (Observed::Executed { ending: &stopped, assessment: Some(&broken) }, Reason::Checking, Some(0)),
        (Observed::Executed { ending: &lost, assessment: None }, Reason::Retrying, Some(1)),
        (Observed::Executed { ending: &locked, assessment: Some(&broken) }, Reason::WaitingForLock, Some(1)),
        (Observed::Executed { ending: &conflict, assessment: None }, Reason::Conflict, Some(1)),
    ];
    for (observed, reason, again) in table {
        let decision = decide(observed, &Memory::default(), &changed(0));
        assert_eq!(decision.act, Act::Nothing, "{observed:?}");
        assert_eq!(decision.verdict.reason, reason, "{observed:?}");
        assert_eq!(pause(&decision), again, "{observed:?}");
        let said = decision.memory.said.expect("what was said is remembered");
        assert_eq!((said.reason, said.message), (reason, decision.verdict.message), "{observed:?}");
    }
}

#[test]
fn what_is_pending_is_executed_and_said_to_be_applied_meanwhile() {
    let decision = compare(&pending(), &Memory::default(), &changed(0));
    assert_eq!(decision.act, Act::Execute { take_over_from: None });
    assert_eq!(decision.verdict.reason, Reason::Applying);
    assert_eq!(decision.verdict.message, "applying 003_add_index");
}

#[test]
fn nothing_runs_while_a_finding_stands() {
    for &reason in Reason::ALL {
        assert_eq!(compare(&found(reason), &Memory::default(), &changed(0)).act, Act::Nothing, "{reason}");
    }
}

#[test]
fn a_persons_decision_is_carried_out_whatever_was_found() {
    let resolve = Amendment::Resolve {
        version: version("003"),
        run: 7,
        action: crate::core::desired::Action::Retry,
        by: "spec.resolutions[0]".to_owned(),
    };
    let assessment = Assessment { amendments: vec![resolve], ..found(Reason::NonTransactionalFailed) };
    assert_eq!(compare(&assessment, &Memory::default(), &periodic(0)).act, Act::Execute { take_over_from: None });
}

#[test]
fn an_edited_down_section_is_written_to_the_history() {
    let assessment = Assessment { amendments: vec![Amendment::StoreDown { version: version("002") }], ..applied() };
    assert_eq!(compare(&assessment, &ready(), &changed(9)).act, Act::Execute { take_over_from: None });
}

#[test]
fn a_history_that_is_nobodys_is_claimed_and_one_given_up_is_taken_over() {
    let assessment = applied();
    for (ownership, take_over_from) in [
        (Ownership::Unclaimed, None),
        (Ownership::TakeOver { from: "old/shop".to_owned() }, Some("old/shop".to_owned())),
    ] {
        let observed = Observed::Compared { assessment: &assessment, ownership: &ownership };
        assert_eq!(decide(observed, &Memory::default(), &changed(0)).act, Act::Execute { take_over_from });
    }
}

#[test]
fn a_conflict_names_the_owner_and_the_way_to_take_over() {
    let (assessment, ownership) = (pending(), Ownership::Foreign { owner: "old/shop".to_owned() });
    let decision =
        decide(Observed::Compared { assessment: &assessment, ownership: &ownership }, &Memory::default(), &changed(0));
    assert_eq!(decision.act, Act::Nothing);
    assert!(decision.verdict.message.contains("takeOver: old/shop"), "{}", decision.verdict.message);
}

/// M32
#[test]
fn an_owner_counts_while_it_lives_and_names_this_history() {
    use RecordedOwner::{Absent, OtherHistory, OutOfReach, SameHistory};
    let take_over = || Ownership::TakeOver { from: "old/shop".to_owned() };
    let foreign = || Ownership::Foreign { owner: "old/shop".to_owned() };
    let named = Some(Owner { namespace: "old".to_owned(), name: "shop".to_owned() });
    for (recorded, state, named, expected) in [
        (None, Absent, None, Ownership::Unclaimed),
        (Some("shop/shop"), SameHistory, None, Ownership::Ours),
        (Some("old/shop"), Absent, None, take_over()),
        (Some("old/shop"), OtherHistory, None, take_over()),
        (Some("old/shop"), SameHistory, None, foreign()),
        (Some("old/shop"), OutOfReach, None, foreign()),
        (Some("old/shop"), SameHistory, named.clone(), take_over()),
        (Some("old/shop"), OutOfReach, named.clone(), take_over()),
        (Some("third/shop"), SameHistory, named, Ownership::Foreign { owner: "third/shop".to_owned() }),
    ] {
        assert_eq!(ownership(recorded, &desired(named), state), expected, "{recorded:?} {state:?}");
    }
}

#[test]
fn a_failed_execution_is_tried_again_after_growing_pauses_that_are_counted() {
    let lost = Ending::Failed(failed(Reason::Retrying));
    let mut memory = Memory::default();
    let mut pauses = Vec::new();
    for second in 0..5 {
        // The look before each execution finds the same plan and doesn't begin the count anew.
        memory = compare(&pending(), &memory, &periodic(second)).memory;
        let decision = decide(Observed::Executed { ending: &lost, assessment: None }, &memory, &periodic(second));
        pauses.push(pause(&decision));
        memory = decision.memory;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16].map(Some));
    assert_eq!(memory.retries, 5);
}

#[test]
fn success_and_change_end_the_count_of_retries() {
    let lost = failed(Reason::WaitingForDatabase);
    let waiting = decide(Observed::Database(&lost), &Memory::default(), &changed(0)).memory;
    let waiting = decide(Observed::Database(&lost), &waiting, &periodic(1)).memory;
    assert_eq!(waiting.retries, 2);
    assert_eq!(decide(Observed::Database(&lost), &waiting, &changed(3)).memory.retries, 1);
    assert_eq!(compare(&applied(), &waiting, &periodic(3)).memory.retries, 0);
}

#[test]
fn a_ready_set_stays_ready_until_the_third_failed_look() {
    let lost = failed(Reason::WaitingForDatabase);
    let mut memory = ready();
    let mut said = Vec::new();
    for second in 600..604 {
        let decision = decide(Observed::Database(&lost), &memory, &periodic(second));
        assert!(matches!(decision.verdict.database, Reach::Failed { .. }), "unreachable is said at once");
        said.push((decision.verdict.reason, pause(&decision)));
        memory = decision.memory;
    }
    assert_eq!(
        said,
        [
            (Reason::UpToDate, Some(1)),
            (Reason::UpToDate, Some(2)),
            (Reason::WaitingForDatabase, Some(4)),
            (Reason::WaitingForDatabase, Some(8)),
        ]
    );
}

#[test]
fn a_look_that_succeeds_in_between_begins_that_count_anew() {
    let lost = failed(Reason::WaitingForDatabase);
    let once = decide(Observed::Database(&lost), &ready(), &periodic(600)).memory;
    let twice = decide(Observed::Database(&lost), &once, &periodic(601)).memory;
    let well = compare(&applied(), &twice, &periodic(603)).memory;
    assert_eq!(decide(Observed::Database(&lost), &well, &periodic(1200)).verdict.reason, Reason::UpToDate);
}

#[test]
fn new_content_that_finds_no_database_waits_for_it_at_once() {
    let lost = failed(Reason::WaitingForDatabase);
    assert_eq!(decide(Observed::Database(&lost), &ready(), &changed(9)).verdict.reason, Reason::WaitingForDatabase);
}

#[test]
fn a_refused_password_is_said_at_once_even_of_a_ready_set() {
    let refused = failed(Reason::AuthenticationFailed);
    let decision = decide(Observed::Database(&refused), &ready(), &periodic(600));
    assert_eq!(decision.verdict.reason, Reason::AuthenticationFailed);
    assert_eq!(decision.again.secret, Some(Duration::from_secs(30)));
}

#[test]
fn an_absent_secret_is_asked_for_less_often_after_ten_minutes() {
    let absent = failed(Reason::WaitingForSecret);
    let first = decide(Observed::Secret(&absent), &Memory::default(), &changed(0));
    assert_eq!((pause(&first), first.memory.retries), (Some(5), 0));
    let soon = decide(Observed::Secret(&absent), &first.memory, &periodic(599));
    assert_eq!(pause(&soon), Some(5));
    let late = decide(Observed::Secret(&absent), &soon.memory, &periodic(600));
    assert_eq!(pause(&late), Some(30));
}

#[test]
fn with_several_places_a_finding_of_the_content_stalls_only_when_it_has_stood() {
    let drifted = found(Reason::ChecksumDrift);
    let first = compare(&drifted, &Memory::default(), &several(changed(10)));
    assert_eq!((first.verdict.reason, pause(&first)), (Reason::Checking, Some(2)));
    let again = compare(&drifted, &first.memory, &several(periodic(11)));
    assert_eq!((again.verdict.reason, pause(&again)), (Reason::Checking, Some(1)));
    let stood = compare(&drifted, &again.memory, &several(periodic(12)));
    assert_eq!((stood.verdict.reason, pause(&stood)), (Reason::ChecksumDrift, Some(600)));
    let later = compare(&drifted, &stood.memory, &several(periodic(700)));
    assert_eq!(later.verdict.reason, Reason::ChecksumDrift);
}

#[test]
fn a_target_that_is_on_its_way_with_one_of_several_places_stalls_nobody() {
    let first = compare(&found(Reason::InvalidSpec), &Memory::default(), &several(changed(10)));
    assert_eq!((first.verdict.reason, pause(&first)), (Reason::Checking, Some(2)));
    let spec = failed(Reason::InvalidSpec);
    let nonsense = decide(Observed::InvalidSpec(&spec), &Memory::default(), &several(changed(10)));
    assert_eq!(nonsense.verdict.reason, Reason::InvalidSpec, "what the spec alone says is said at once");
}

#[test]
fn a_finding_that_has_gone_meanwhile_is_never_said() {
    let first = decide(Observed::Source(&failed(Reason::InvalidSource)), &Memory::default(), &several(changed(10)));
    assert_eq!(first.verdict.reason, Reason::Checking);
    let well = compare(&applied(), &first.memory, &several(changed(11)));
    assert_eq!(well.verdict.reason, Reason::UpToDate);
    assert_eq!(well.memory.finding, None);
}

#[test]
fn a_stalled_set_is_not_checking_after_a_restart_of_the_operator() {
    let said = Said { reason: Reason::ChecksumDrift, message: "said".to_owned(), since: at(0) };
    let memory = Memory { said: Some(said), ..Memory::default() };
    let decision = compare(&found(Reason::ChecksumDrift), &memory, &several(periodic(100)));
    assert_eq!(decision.verdict.reason, Reason::ChecksumDrift);
}

#[test]
fn a_failed_migration_is_said_at_once_however_many_places_there_are() {
    let (ending, assessment) = (Ending::Finished, found(Reason::MigrationFailed));
    let observed = Observed::Executed { ending: &ending, assessment: Some(&assessment) };
    let decision = decide(observed, &Memory::default(), &several(changed(0)));
    assert_eq!(decision.verdict.reason, Reason::MigrationFailed);
}

#[test]
fn drift_that_is_only_reported_leaves_the_set_ready_and_names_every_file() {
    let drift = |file: &str, run| ChecksumDrift {
        version: version("001"),
        file: file.to_owned(),
        run,
        recorded: "a".repeat(64),
        found: "b".repeat(64),
    };
    let assessment = Assessment { checksum_drift: vec![drift("001_a.sql", 3), drift("002_b.sql", 4)], ..applied() };
    let decision = compare(&assessment, &Memory::default(), &changed(0));
    assert_eq!(decision.verdict.reason, Reason::UpToDate);
    let Checksums::Drift { message } = decision.verdict.checksums else { panic!("drift is said") };
    assert!(message.contains("001_a.sql") && message.contains("002_b.sql") && message.contains("run 3"), "{message}");
}

#[test]
fn steps_left_over_after_an_execution_are_no_hot_loop() {
    let (ending, assessment) = (Ending::Finished, pending());
    let observed = Observed::Executed { ending: &ending, assessment: Some(&assessment) };
    let first = decide(observed, &Memory::default(), &changed(0));
    assert_eq!((first.verdict.reason, pause(&first)), (Reason::Checking, Some(1)));
    let second = decide(observed, &first.memory, &periodic(1));
    assert_eq!(pause(&second), Some(2));
}

fn desired(take_over: Option<Owner>) -> Desired {
    let mut desired = Desired::new(Owner { namespace: "shop".to_owned(), name: "shop".to_owned() });
    desired.history.take_over = take_over.map(|from| TakeOver { from, by: "spec.history.takeOver".to_owned() });
    desired
}

/// M25: Ready isn't said before the seeds are loaded, and what is loaded or left alone is told.
#[test]
fn seeds_that_are_due_are_loaded_before_the_set_is_ready() {
    let circumstances = periodic(0);
    let due = Assessment { seeds: vec!["a.sql".to_owned(), "b.sql".to_owned()], ..applied() };
    let decision = compare(&due, &Memory::default(), &circumstances);
    assert_eq!(decision.act, Act::Execute { take_over_from: None });
    assert_eq!(
        (decision.verdict.reason, decision.verdict.message.as_str()),
        (Reason::Seeding, "loading 2 seeds, first a.sql")
    );
    let one = Assessment { seeds: vec!["a.sql".to_owned()], ..applied() };
    assert_eq!(compare(&one, &Memory::default(), &circumstances).verdict.message, "loading the seed a.sql");

    let ending = Ending::Finished;
    let observed = Observed::Executed { ending: &ending, assessment: Some(&due) };
    let left = decide(observed, &Memory::default(), &circumstances);
    assert_eq!((left.verdict.reason, left.act), (Reason::Checking, Act::Nothing), "they are still to be loaded");

    for (seeded, edited, expected) in [
        (0, &[][..], "3 migrations applied, up to 003"),
        (1, &[], "3 migrations applied, up to 003; 1 seed loaded"),
        (2, &["a.sql"], "3 migrations applied, up to 003; 2 seeds loaded (a.sql was edited since, and runs once)"),
    ] {
        let seeds_edited = edited.iter().map(|path| (*path).to_owned()).collect();
        let loaded = Assessment { seeded, seeds_edited, ..applied() };
        let verdict = compare(&loaded, &Memory::default(), &circumstances).verdict;
        assert_eq!((verdict.reason, verdict.message.as_str()), (Reason::UpToDate, expected));
    }
}

/// M27: what is due after a plan, or because of a failure, runs though nothing else does.
#[test]
fn a_hook_that_is_due_runs_though_nothing_else_does() {
    use crate::core::{
        hook::{Context, Key, Place},
        plan::{DueHook, PlanHooks},
    };
    let due = |place| {
        let key = Key { place, index: 0 };
        let context =
            Context { key, direction: Direction::Up, versions: Vec::new(), plan: String::new(), outcome: None };
        let due = DueHook { context, checksum: String::new(), open: None, batch: None };
        PlanHooks { due: vec![due], ..PlanHooks::default() }
    };
    for (assessment, says) in [
        (Assessment { hooks: due(Place::PostApply), ..applied() }, "running the hook postApply[0]"),
        (
            Assessment { hooks: due(Place::OnFailure), ..found(Reason::MigrationFailed) },
            "running the hook onFailure[0]",
        ),
    ] {
        let decision = compare(&assessment, &Memory::default(), &periodic(0));
        assert_eq!(decision.act, Act::Execute { take_over_from: None });
        assert_eq!((decision.verdict.reason, decision.verdict.message.as_str()), (Reason::RunningHook, says));
    }
}
