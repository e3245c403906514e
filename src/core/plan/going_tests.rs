//! Going back and forth: targets, ways down and their order, squashes, and a person's consent.

use proptest::prelude::*;

use super::*;
use crate::core::{
    adopt::{Adopt, Edited, Foreign, ForeignRow, Tool, When},
    desired::{ApprovalRequired, Audience, GivenApproval, Reference},
};

/// One file with a way down.
fn both_ways(version: &str, header: &str) -> (String, String) {
    let text = format!(
        "{header}-- migrate: up\nCREATE TABLE t_{version} (a int);\n-- migrate: down\nDROP TABLE t_{version};\n"
    );
    (format!("{version}_t.sql"), text)
}

fn files(files: &[(String, String)]) -> MigrationDir {
    dir(&files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
}

/// A line of migrations with ways down.
fn line(versions: &[&str]) -> MigrationDir {
    files(&versions.iter().map(|version| both_ways(version, "")).collect::<Vec<_>>())
}

/// Migrations that need others, as `("003", "001, 002")`.
fn graph(needs: &[(&str, &str)]) -> MigrationDir {
    let header = |needs: &str| if needs.is_empty() { String::new() } else { format!("-- depends: {needs}\n") };
    files(&needs.iter().map(|(version, needs)| both_ways(version, &header(needs))).collect::<Vec<_>>())
}

fn reference(text: &str) -> Reference {
    let (version, name) = text.split_once('_').map_or((text, None), |(version, name)| (version, Some(name.to_owned())));
    Reference { version: Version::parse(version).unwrap(), name }
}

fn target(text: &str) -> Target {
    match text {
        "latest" => Target::Latest,
        "none" => Target::None,
        _ => match text.strip_prefix("batch:") {
            Some(batch) => Target::Batch(batch.parse().unwrap()),
            None => Target::Version(reference(text)),
        },
    }
}

/// Rollbacks are allowed.
fn going_to(text: &str) -> Desired {
    with(|desired| {
        desired.target = target(text);
        desired.policy.rollback = Rollback::Allow;
    })
}

/// The plan's steps as `-003 +004`.
fn way(assessment: &Assessment) -> String {
    let step = |step: &Step| match step.direction {
        Direction::Up => format!("+{}", step.version),
        Direction::Down => format!("-{}", step.version),
    };
    assessment.plan.steps.iter().map(step).collect::<Vec<_>>().join(" ")
}

fn in_batches(mut rows: Vec<Recorded>, batches: &[i64]) -> Vec<Recorded> {
    for (row, batch) in rows.iter_mut().zip(batches) {
        row.batch = *batch;
    }
    rows
}

/// M14, M15, P07, H10, H11: the target on a line, whatever is there.
#[test]
fn a_target_on_a_line_is_reached_from_below_and_from_above() {
    let all = line(&["001", "002", "003", "004", "005"]);
    for (has, to, expected, left_out) in [
        (&[][..], "003", "+001 +002 +003", 2),
        (&["001", "002"], "003", "+003", 2),
        (&["001", "002", "003"], "003", "", 2),
        (&["001", "002", "003"], "3", "", 2),
        (&["001", "002", "003"], "003_t", "", 2),
        (&["001", "002", "003", "004", "005"], "003", "-005 -004", 0),
        (&["001", "002", "003", "004", "005"], "none", "-005 -004 -003 -002 -001", 0),
        (&[], "none", "", 5),
        (&["001", "002", "003"], "latest", "+004 +005", 0),
        (&["001", "004"], "003", "-004 +002 +003", 1),
    ] {
        let verdict = plan(&all, &history(applied(&all, has)), &going_to(to));
        assert_eq!((way(&verdict).as_str(), reasons(&verdict)), (expected, vec![]), "{has:?} to {to}");
        assert_eq!(verdict.left_out, left_out, "{has:?} to {to}");
        assert_eq!(verdict.applied + verdict.pending, 5, "{has:?} to {to}");
    }
}

/// Q50, Q51, P09: where every file says what it needs, a target is that and what it needs.
#[test]
fn a_target_in_a_graph_takes_what_it_needs_and_leaves_other_branches() {
    // 001 ─ 002 ─ 004 ─ 006, and 001 ─ 003 ─ 005.
    let all = graph(&[("001", ""), ("002", "001"), ("003", "001"), ("004", "002"), ("005", "003"), ("006", "004")]);
    for (has, to, expected) in [
        (&[][..], "004", "+001 +002 +004"),
        (&[], "005", "+001 +003 +005"),
        (&["001", "002", "004"], "003", "-004 +003"),
        (&["001", "002", "003", "004", "005", "006"], "004", "-006 -005"),
        (&["001", "002", "003", "004", "005", "006"], "001", "-006 -005 -004 -003 -002"),
    ] {
        let mut desired = going_to(to);
        desired.policy.out_of_order = OutOfOrder::Allow;
        let verdict = plan(&all, &history(applied(&all, has)), &desired);
        assert_eq!((way(&verdict).as_str(), reasons(&verdict)), (expected, vec![]), "{has:?} to {to}");
    }
}

#[test]
fn one_file_that_does_not_say_what_it_needs_makes_a_line() {
    let all = graph(&[("001", ""), ("002", "001"), ("003", ""), ("004", "002")]);
    assert_eq!(way(&plan(&all, &History::default(), &going_to("004"))), "+001 +002 +003 +004");
}

/// H04, H12: what later plans did goes, by plan, and in each by version; plans may interleave.
#[test]
fn a_batch_undoes_exactly_the_later_ones() {
    let all = line(&["001", "002", "003", "004", "005"]);
    let rows = in_batches(applied(&all, &["001", "002", "003", "004", "005"]), &[1, 3, 1, 2, 3]);
    for (to, expected) in [
        ("batch:3", ""),
        ("batch:2", "-005 -002"),
        ("batch:1", "-005 -002 -004"),
        ("batch:0", "-005 -002 -004 -003 -001"),
    ] {
        let verdict = plan(&all, &history(rows.clone()), &going_to(to));
        assert_eq!((way(&verdict).as_str(), reasons(&verdict)), (expected, vec![]), "{to}");
    }
    let verdict = plan(&all, &history(rows), &going_to("batch:4"));
    assert_eq!((way(&verdict).as_str(), reasons(&verdict)), ("", vec![Reason::InvalidSpec]));
    assert!(text(&verdict).contains("batch:4 hasn't been; the last plan that ran here was 3"), "{}", text(&verdict));
}

/// M13, M15: by hand, exactly what is named is applied or undone.
#[test]
fn steps_by_hand_are_exactly_those_that_are_named() {
    let all = line(&["001", "002", "003", "004"]);
    let versions = |names: &[&str]| names.iter().map(|name| Version::parse(name).unwrap()).collect::<Vec<_>>();
    for (has, up, down, expected) in [
        (&["001"][..], &["002"][..], &[][..], "+002"),
        (&["001", "002", "003"], &[], &["002", "003"], "-003 -002"),
        (&["001", "002"], &["003"], &["002"], "-002 +003"),
        (&["001", "002"], &["002"], &["003"], ""),
    ] {
        let history = History { migrations: applied(&all, has), ..History::default() };
        let mut desired = going_to("latest");
        desired.target = Target::Steps { up: versions(up), down: versions(down) };
        assert_eq!(way(&plan(&all, &history, &desired)), expected, "{has:?} +{up:?} -{down:?}");
    }
}

/// A decision by hand is written down by itself, whatever kind of run it is about.
#[test]
fn a_decision_alone_runs_nothing() {
    for mode in [TransactionMode::Transactional, TransactionMode::NonTransactional] {
        let header = if mode == TransactionMode::Transactional { "" } else { "-- migrate: no-transaction\n" };
        let all = files(&[both_ways("001", header), both_ways("002", "")]);
        let mut row = failed_row(&all, "001");
        let mut desired = going_to("latest");
        desired.target = Target::Stay;
        let undecided = plan(&all, &history(vec![row.clone()]), &desired);
        assert_eq!((undecided.findings.len(), way(&undecided).as_str()), (1, ""), "{mode:?}");
        desired.resolutions =
            vec![Resolution { version: None, run: row.run.id, action: Action::Retry, by: "me".into() }];
        let decided = plan(&all, &history(vec![row.clone()]), &desired);
        assert!(matches!(decided.amendments[..], [Amendment::Resolve { .. }]), "{:?}", decided.amendments);
        row.run.resolution = Some(Action::Retry);
        let written = plan(&all, &history(vec![row]), &desired);
        assert_eq!((written.findings.len(), way(&written).as_str()), (0, ""), "{mode:?}");
    }
}

/// Whoever works by hand has no MigrationSet to edit or to annotate.
#[test]
fn messages_by_hand_name_flags_and_fields_of_the_file() {
    let all = files(&[("001_t.sql".to_owned(), "CREATE TABLE t (a int);\n".to_owned())]);
    let history = History { migrations: applied(&all, &["001"]), ..History::default() };
    let mut desired = with(|desired| desired.target = Target::None);
    desired.audience = Audience::CommandLine;
    let findings = plan(&all, &history, &desired).findings;
    let text = findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("\n");
    assert!(text.contains("policy.rollback is Deny"), "{text}");
    assert!(text.contains("dunlin resolve --run 1 --as mark-rolled-back"), "{text}");
    assert!(!text.contains("spec.") && !text.contains("kubectl"), "{text}");
}

#[test]
fn an_unknown_target_names_the_nearest_and_plans_nothing() {
    let all = line(&["001", "002", "004"]);
    let rows = history(applied(&all, &["001", "002"]));
    for (to, words) in [
        ("003", "spec.target: neither the source nor the database has 003; the nearest are 002_t, 004_t"),
        ("000", "has 000; the nearest is 001_t"),
        ("009_x", "has 009_x; the nearest is 004_t"),
        ("002_users", "spec.target: 002_users is named, but that version's file is 002_t.sql"),
    ] {
        let verdict = plan(&all, &rows, &going_to(to));
        assert_eq!((way(&verdict).as_str(), reasons(&verdict)), ("", vec![Reason::InvalidSpec]), "{to}");
        assert!(text(&verdict).contains(words), "{to}: {}", text(&verdict));
    }
    let squashed = files(&[both_ways("003", "-- replaces: 001, 002\n")]);
    let mut replaced = applied(&all, &["001", "002"]);
    for row in &mut replaced {
        row.state = State::Replaced;
    }
    replaced.push(row(&squashed, "003", State::Applied, RunOutcome::Succeeded));
    let verdict = plan(&squashed, &history(replaced), &going_to("002"));
    let words = "spec.target: 002 has no file any more, and 003_t.sql stands for it: name that one";
    assert_eq!((way(&verdict).as_str(), text(&verdict)), ("", words));
    // Its file is gone, and the database has it.
    let source = line(&["001", "004"]);
    let verdict = plan(&source, &rows, &going_to("002_users"));
    assert!(text(&verdict).contains("002_users is named, but what the database has is 002_t"), "{}", text(&verdict));
    let mut ignoring = going_to("002_t");
    ignoring.policy.on_missing = OnMissing::Ignore;
    assert_eq!(way(&plan(&source, &rows, &ignoring)), "");
}

/// The order of application doesn't depend on which files are still there.
#[test]
fn what_has_no_file_goes_in_its_turn() {
    let all = line(&["001", "002", "003", "004", "005"]);
    let rows = history(applied(&all, &["001", "002", "003", "004", "005"]));
    for source in [&["001", "002", "003", "004"][..], &["001", "002", "003", "005"], &["001", "002", "003"]] {
        let verdict = plan(&line(source), &rows, &going_to("003"));
        assert_eq!((way(&verdict).as_str(), reasons(&verdict)), ("-005 -004", vec![]), "{source:?}");
    }
}

/// P09
#[test]
fn a_rollback_that_breaks_what_stays_is_denied_and_names_both() {
    let all = graph(&[("001", ""), ("002", "001"), ("003", "002")]);
    let rows = history(applied(&all, &["001", "002", "003"]));
    let source = files(&[both_ways("001", ""), both_ways("003", "-- depends: 001\n")]);
    let mut desired = going_to("latest");
    desired.policy.on_missing = OnMissing::Rollback;
    let verdict = plan(&source, &rows, &desired);
    assert_eq!(reasons(&verdict), [Reason::RollbackDenied]);
    assert!(text(&verdict).contains("003_t needs 002_t"), "as it was applied: {}", text(&verdict));
    let verdict = plan(&files(&[both_ways("001", "")]), &rows, &desired);
    assert_eq!((way(&verdict).as_str(), reasons(&verdict)), ("-003 -002", vec![]));
}

#[test]
fn a_rollback_is_denied_unless_it_is_allowed() {
    let all = line(&["001", "002"]);
    let rows = history(applied(&all, &["001", "002"]));
    let verdict = plan(&all, &rows, &with(|it| it.target = Target::None));
    assert_eq!((way(&verdict).as_str(), reasons(&verdict)), ("-002 -001", vec![Reason::RollbackDenied]));
    for words in ["002_t, 001_t would be rolled back", "spec.policy.rollback: Allow", "set spec.target back"] {
        assert!(text(&verdict).contains(words), "{words}: {}", text(&verdict));
    }
}

/// M14: what has no way down is named, all of it, and a person may say that it was undone by hand.
#[test]
fn what_has_no_way_down_holds_everything_up() {
    let all = files(&[both_ways("001", ""), ("002_t.sql".into(), "SELECT 2;\n".into()), both_ways("003", "")]);
    let rows = history(applied(&all, &["001", "002", "003"]));
    let mut desired = going_to("none");
    let verdict = plan(&all, &rows, &desired);
    assert_eq!(reasons(&verdict), [Reason::NoDownMigration]);
    assert!(text(&verdict).contains("no way down is recorded for 002_t (run 2)"), "{}", text(&verdict));
    assert_eq!(verdict.undecided, [2]);
    desired.resolutions = resolving(&[(None, 2, Action::MarkRolledBack)]).resolutions;
    let verdict = plan(&all, &rows, &desired);
    assert_eq!((way(&verdict).as_str(), reasons(&verdict)), ("-003 -001", vec![]));
    assert!(matches!(&verdict.amendments[..], [Amendment::Resolve { run: 2, action: Action::MarkRolledBack, .. }]));
}

proptest! {
    /// Q51: whatever needs what, in whatever plans it was applied, nothing goes before what needs it.
    #[test]
    fn nothing_goes_before_what_needs_it(
        edges in prop::collection::vec((0usize..9, 0usize..9), 0..16),
        batches in prop::collection::vec(1i64..4, 9),
        gone in prop::collection::vec(any::<bool>(), 9),
    ) {
        let versions: Vec<String> = (1..=9).map(|n| format!("{n:03}")).collect();
        let needs = |node: usize| -> Vec<&str> {
            edges.iter().filter(|(from, to)| *from == node && to < from).map(|(_, to)| versions[*to].as_str()).collect()
        };
        let header = |node: usize| format!("-- depends: {}\n", needs(node).join(", "));
        let all: Vec<_> = (0..9).map(|node| both_ways(&versions[node], &header(node))).collect();
        let dir = files(&all);
        let names: Vec<&str> = versions.iter().map(String::as_str).collect();
        let rows = history(in_batches(applied(&dir, &names), &batches));
        // Without the files, needs are known from the history.
        let kept: Vec<_> = (0..9).filter(|node| !gone[*node]).map(|node| both_ways(&versions[node], "")).collect();
        for source in [Some(dir), (!kept.is_empty()).then(|| files(&kept))].into_iter().flatten() {
            let verdict = plan(&source, &rows, &going_to("none"));
            prop_assert_eq!(reasons(&verdict), vec![]);
            let order: Vec<&str> = steps(&verdict);
            prop_assert_eq!(order.len(), 9);
            let place = |version: &str| order.iter().position(|other| *other == version).unwrap();
            for (node, version) in versions.iter().enumerate() {
                for needed in needs(node) {
                    prop_assert!(place(version) < place(needed), "{:?}", order);
                }
            }
        }
    }
}

/// What stands for others that the target keeps falls apart into them: its way down would take them along.
#[test]
fn a_target_among_replaced_migrations_restores_them() {
    let all = files(&[both_ways("001", ""), both_ways("002", ""), both_ways("003", "-- replaces: 001, 002\n")]);
    let mut rows = applied(&all, &["001", "002", "003"]);
    rows[0].state = State::Replaced;
    rows[1].state = State::Replaced;
    for to in ["001", "002", "batch:1"] {
        let rows = in_batches(rows.clone(), &[1, 1, 2]);
        let verdict = plan(&all, &history(rows), &going_to(to));
        assert_eq!((way(&verdict).as_str(), reasons(&verdict)), ("", vec![]), "{to}");
        let [Amendment::Restore { version, replaced }] = &verdict.amendments[..] else { panic!("{to}: {verdict:?}") };
        assert_eq!((version.as_str(), replaced.len()), ("003", 2), "{to}");
    }
    let verdict = plan(&all, &history(rows), &going_to("none"));
    assert_eq!((way(&verdict).as_str(), &verdict.amendments[..]), ("-003", &[][..]));
    // It ran where they never did.
    let verdict = plan(&all, &history(applied(&all, &["003"])), &going_to("002"));
    assert!(matches!(&verdict.amendments[..], [Amendment::Restore { .. }]), "{verdict:?}");
    assert_eq!(way(&verdict), "");
}

/// Where a squash ran by itself, the files that it stands for are no news.
#[test]
fn what_an_applied_migration_stands_for_does_not_run() {
    let all = files(&[both_ways("001", ""), both_ways("002", ""), both_ways("003", "-- replaces: 001, 002\n")]);
    let verdict = plan(&all, &history(applied(&all, &["003"])), &desired());
    assert_eq!((way(&verdict).as_str(), reasons(&verdict), verdict.applied), ("", vec![], 3));
}

#[test]
fn a_squash_of_a_squash_is_recorded_and_restored_by_one_layer() {
    let old = files(&[
        both_ways("001", ""),
        both_ways("002", ""),
        both_ways("003", "-- replaces: 001, 002\n"),
        both_ways("004", ""),
    ]);
    let mut rows = applied(&old, &["001", "002", "003", "004"]);
    rows[0].state = State::Replaced;
    rows[1].state = State::Replaced;
    for replaces in ["003, 004", "001, 002, 003, 004"] {
        let new = files(&[both_ways("005", &format!("-- replaces: {replaces}\n"))]);
        let verdict = plan(&new, &history(rows.clone()), &desired());
        assert_eq!((way(&verdict).as_str(), reasons(&verdict)), ("", vec![]), "{replaces}");
        assert!(matches!(&verdict.amendments[..], [Amendment::Replace { .. }]), "{replaces}: {verdict:?}");

        let mut after = rows.clone();
        after[2].state = State::Replaced;
        after[3].state = State::Replaced;
        after.push(row(&new, "005", State::Applied, RunOutcome::Succeeded));
        let verdict = plan(&old, &history(after), &desired());
        let [Amendment::Restore { replaced, .. }] = &verdict.amendments[..] else { panic!("{replaces}: {verdict:?}") };
        assert_eq!(replaced.iter().map(Version::as_str).collect::<Vec<_>>(), ["003", "004"], "{replaces}");
    }
}

#[test]
fn each_rest_is_the_digest_of_the_plan_that_is_left() {
    let all = line(&["001", "002", "003", "004"]);
    let whole = plan(&all, &history(applied(&all, &["001", "002"])), &going_to("latest")).plan;
    let rests = whole.rests();
    assert_eq!(rests.len(), 3);
    for (done, rest) in rests.iter().enumerate() {
        let left = Plan { steps: whole.steps[done..].to_vec() };
        assert_eq!(left.digest(), *rest, "after {done}");
    }
    let distinct: HashSet<String> = rests.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), 3);
    assert_eq!(whole.digest(), rests[0]);
}

#[test]
fn up_and_down_are_two_plans() {
    let step = |direction, variables: &[&str]| Step {
        version: Version::parse("001").unwrap(),
        name: "t".into(),
        direction,
        mode: TransactionMode::Transactional,
        checksum: "c".into(),
        variables: variables.iter().map(|name| (*name).to_owned()).collect(),
    };
    let digest = |direction| Plan { steps: vec![step(direction, &[])] }.digest();
    assert_ne!(digest(Direction::Up), digest(Direction::Down));
    assert_eq!(digest(Direction::Up), digest(Direction::Up));
    let using = |variables| Plan { steps: vec![step(Direction::Up, variables)] }.digest();
    assert_ne!(using(&[]), using(&["a"]));
    assert_ne!(using(&["a", "b"]), using(&["ab"]));
}

fn asking(required: ApprovalRequired, given: &[&str]) -> Desired {
    let given = given.iter().map(|plan| GivenApproval { plan: (*plan).to_owned(), by: "spec.approval.plan".into() });
    with(|desired| {
        desired.policy.rollback = Rollback::Allow;
        desired.approval = Approval { required, given: given.collect() };
    })
}

fn offered(plan: &Plan, approved_by: Option<&str>) -> OfferedPlan {
    OfferedPlan {
        id: 7,
        digest: plan.digest().to_string(),
        rest: plan.digest().to_string(),
        steps: plan.in_words(),
        approved_by: approved_by.map(Into::into),
    }
}

#[test]
fn a_plan_is_offered_once_and_waits() {
    let all = line(&["001", "002"]);
    let verdict = plan(&all, &History::default(), &asking(ApprovalRequired::Always, &[]));
    assert_eq!((reasons(&verdict), &verdict.amendments[..]), (vec![Reason::ApprovalRequired], &[Amendment::Offer][..]));
    let digest = verdict.plan.digest().to_string();
    for words in [
        format!("spec.approval.plan: {digest}"),
        "up 001_t, up 002_t".into(),
        format!("kubectl -n shop annotate --overwrite migrationset shop dunlin.dev/approved-plan={digest}"),
    ] {
        assert!(text(&verdict).contains(&words), "{words}: {}", text(&verdict));
    }
    let known = History { plans: vec![offered(&verdict.plan, None)], ..History::default() };
    let again = plan(&all, &known, &asking(ApprovalRequired::Always, &[]));
    assert_eq!((reasons(&again), &again.amendments[..]), (vec![Reason::ApprovalRequired], &[][..]));
}

#[test]
fn an_approved_plan_runs_and_so_does_its_rest() {
    let all = line(&["001", "002", "003"]);
    let whole = plan(&all, &History::default(), &desired()).plan;
    let given = asking(ApprovalRequired::Always, &[&whole.digest().to_string()]);
    let verdict = plan(&all, &History::default(), &given);
    assert_eq!(reasons(&verdict), []);
    assert!(matches!(&verdict.amendments[..], [Amendment::Approve { by }] if by == "spec.approval.plan"));
    assert!(matches!(&verdict.consent, Consent::Given { .. }));
    // One step is done, and nobody says it any more.
    let mut moved = offered(&whole, Some("somebody"));
    moved.rest = whole.rests()[1].to_string();
    let known = History { plans: vec![moved], ..history(applied(&all, &["001"])) };
    let verdict = plan(&all, &known, &asking(ApprovalRequired::Always, &[]));
    assert_eq!((reasons(&verdict), verdict.approved, &verdict.amendments[..]), (vec![], Some(7), &[][..]));
    assert_eq!(verdict.consent, Consent::Given { message: format!("{} was approved: somebody", whole.digest()) });
}

#[test]
fn an_approval_of_another_plan_is_answered_with_what_changed() {
    let old = line(&["001", "002"]);
    let approved = plan(&old, &History::default(), &desired()).plan;
    let digest = approved.digest().to_string();
    let given = asking(ApprovalRequired::Always, &[&digest]);
    let known = History { plans: vec![offered(&approved, Some("somebody"))], ..History::default() };
    let edited = files(&[both_ways("001", ""), ("002_t.sql".into(), "SELECT 'edited';\n".into())]);
    let renamed = files(&[both_ways("001", ""), ("002_u.sql".into(), "SELECT 2;\n".into())]);
    for (source, words) in [
        (line(&["001", "002", "003"]), "up 003_t was added"),
        (line(&["001"]), "up 002_t is no longer in it"),
        (edited, "up 002_t has another text"),
        (renamed, "up 002_u was added, up 002_t is no longer in it"),
    ] {
        let verdict = plan(&source, &known, &given);
        assert_eq!(reasons(&verdict), [Reason::ApprovalRequired]);
        let all = format!("spec.approval.plan approves {digest}, which isn't this plan: {words}");
        assert!(text(&verdict).contains(&all), "{words}: {}", text(&verdict));
    }
    // Of a long plan the first steps are written down.
    let long: Vec<String> = (1..=60).map(|n| format!("{n:03}")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let was = plan(&line(&long[..59]), &History::default(), &desired()).plan;
    let known = History { plans: vec![offered(&was, None)], ..History::default() };
    let verdict = plan(&line(&long), &known, &asking(ApprovalRequired::Always, &[&was.digest().to_string()]));
    assert!(
        text(&verdict).ends_with("which isn't this plan: what follows its first 50 steps is other"),
        "{}",
        text(&verdict)
    );
    let unheard = plan(&line(&["001"]), &History::default(), &given);
    assert!(text(&unheard).ends_with("which isn't this plan"), "{}", text(&unheard));
}

#[test]
fn only_what_destroys_waits_where_that_is_asked() {
    let all = line(&["001", "002"]);
    let only = |target: &str| Desired { target: self::target(target), ..asking(ApprovalRequired::Destructive, &[]) };
    let rows = history(applied(&all, &["001"]));
    assert_eq!(reasons(&plan(&all, &rows, &only("latest"))), []);
    let verdict = plan(&all, &rows, &only("none"));
    assert_eq!(reasons(&verdict), [Reason::ApprovalRequired]);
    assert!(text(&verdict).contains("since it destroys something (rolls back 001_t)"), "{}", text(&verdict));
    assert_eq!(reasons(&plan(&all, &history(vec![]), &only("none"))), [], "a plan without steps");
}

/// A plan that is held up otherwise is no plan yet to be written down.
#[test]
fn what_is_held_up_is_not_offered() {
    let all = line(&["001", "002"]);
    let mut denied = asking(ApprovalRequired::Always, &[]);
    denied.target = Target::None;
    denied.policy.rollback = Rollback::Deny;
    let verdict = plan(&all, &history(applied(&all, &["001"])), &denied);
    assert_eq!(reasons(&verdict), [Reason::RollbackDenied, Reason::ApprovalRequired]);
    assert_eq!(verdict.amendments, []);
}

/// A baseline takes its place in the order, and no file before it runs.
#[test]
fn a_baseline_stamps_what_there_is_up_to_it() {
    let all = line(&["001", "002", "003"]);
    let based = |text: &str| with(|desired| desired.history.baseline = Some(reference(text)));
    let verdict = plan(&all, &History::default(), &based("002_t"));
    assert_eq!((way(&verdict).as_str(), reasons(&verdict), verdict.on_trust), ("+003", vec![], 2));
    let [Amendment::Stamp { versions }] = &verdict.amendments[..] else { panic!("{verdict:?}") };
    assert_eq!(versions.iter().map(Version::as_str).collect::<Vec<_>>(), ["001", "002"]);
    // A transaction that failed left nothing; whatever else is known was a contact.
    let failed = history(vec![failed_row(&all, "001")]);
    assert!(matches!(&plan(&all, &failed, &based("002")).amendments[..], [Amendment::Stamp { .. }]));
    let contact = history(applied(&all, &["001"]));
    assert_eq!(plan(&all, &contact, &based("002")).amendments, []);
    let unknown = plan(&all, &History::default(), &based("009"));
    assert_eq!((reasons(&unknown), &unknown.amendments[..]), (vec![Reason::InvalidSpec], &[][..]));
    assert!(
        text(&unknown)
            .contains("spec.history.baseline: neither the source nor the database has 009; the nearest is 003_t")
    );
}

/// Q83: what another tool has applied takes its place in the order; what it hasn't is pending, or recorded on trust.
#[test]
fn another_tools_history_counts_as_applied() {
    let all = line(&["001", "002", "003"]);
    let adopting = |baseline: Option<&str>| {
        with(|desired| {
            desired.history.adopt =
                Some(Adopt { from: Tool::Migretti, table: None, edited: Edited::Refuse, when: When::FirstContact });
            desired.history.baseline = baseline.map(reference);
        })
    };
    let has = |versions: &[&str], migrations: Vec<Recorded>| {
        let row = |version: &&str| ForeignRow { version: Some((*version).to_owned()), ..ForeignRow::default() };
        let rows = versions.iter().map(row).collect();
        History { foreign: Some(Foreign::Table { name: "public._migrations".to_owned(), rows }), ..history(migrations) }
    };
    let adopted = |verdict: &Assessment| match &verdict.amendments[..] {
        [Amendment::Adopt { rows }, ..] => rows.iter().map(|row| row.version.to_string()).collect(),
        _ => Vec::new(),
    };
    let verdict = plan(&all, &has(&["001", "002"], Vec::new()), &adopting(None));
    assert_eq!((way(&verdict).as_str(), reasons(&verdict), verdict.applied, verdict.on_trust), ("+003", vec![], 2, 0));
    assert_eq!(adopted(&verdict), ["001", "002"]);
    // Before what is applied there is a gap, which is found as any other is, and keeps nothing from being recorded.
    let gap = plan(&all, &has(&["002"], Vec::new()), &adopting(None));
    assert_eq!((reasons(&gap), adopted(&gap)), (vec![Reason::OutOfOrder], vec!["002".to_owned()]));
    let trusted = plan(&all, &has(&["002"], Vec::new()), &adopting(Some("002")));
    assert_eq!((way(&trusted).as_str(), reasons(&trusted), trusted.on_trust), ("+003", vec![], 1));
    assert!(
        matches!(&trusted.amendments[..], [Amendment::Adopt { .. }, Amendment::Stamp { versions }] if versions[0].as_str() == "001")
    );
    // What is in the way holds everything up: nothing is recorded on trust, either.
    for baseline in [None, Some("002")] {
        let unknown = plan(&all, &has(&["009"], Vec::new()), &adopting(baseline));
        assert_eq!((reasons(&unknown), &unknown.amendments[..]), (vec![Reason::MissingMigration], &[][..]));
    }
    let known = plan(&all, &has(&["009"], applied(&all, &["001"])), &adopting(None));
    assert_eq!((way(&known).as_str(), reasons(&known), &known.amendments[..]), ("+002 +003", vec![], &[][..]));
}

/// Ten thousand ways down, each of which needs the one before.
#[test]
fn a_long_way_down_is_planned_in_a_moment() {
    let versions: Vec<String> = (1..=10_000).map(|n| format!("{n:05}")).collect();
    let header = |at: usize| if at == 0 { String::new() } else { format!("-- depends: {}\n", versions[at - 1]) };
    let all: Vec<_> = (0..versions.len()).map(|at| both_ways(&versions[at], &header(at))).collect();
    let dir = files(&all);
    let rows = history(applied(&dir, &versions.iter().map(String::as_str).collect::<Vec<_>>()));
    let one = line(&["00001"]);
    // A limit that ten thousand times ten thousand look-ups miss by far, on any machine and in any mood of it.
    let (done, waited) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        for source in [&dir, &one] {
            assert_eq!(plan(source, &rows, &going_to("none")).plan.steps.len(), 10_000);
        }
        done.send(()).unwrap();
    });
    waited.recv_timeout(Duration::from_secs(20)).expect("linear");
    thread.join().unwrap();
}
