//! Sources and histories, and what follows from them.

use std::time::Duration;

use super::*;
use crate::core::{
    bundle::{Bundle, BundleFile},
    desired::{Approval, OnChecksumDrift, Owner, Resolution, Rollback, SessionSettings, Target},
    format::{self, Format},
    history::{OfferedPlan, Run, RunOutcome},
    job::{Job, prefix_hash},
};

#[path = "plan/going_tests.rs"]
mod going;
#[path = "plan/hooks_tests.rs"]
mod hooked;
#[path = "plan/seeds_tests.rs"]
mod seeds;

const NO_TRANSACTION: &str = "-- migrate: no-transaction\n";

fn dir(files: &[(&str, &str)]) -> MigrationDir {
    let files = files
        .iter()
        .map(|(name, text)| BundleFile {
            name: (*name).to_owned(),
            bytes: text.as_bytes().to_vec(),
            origin: "the test".to_owned(),
        })
        .collect();
    format::read(&Bundle::new(files).unwrap(), Format::Auto).unwrap()
}

/// Files of one table each, as `001_a.sql`.
fn tables(versions: &[&str]) -> MigrationDir {
    let names: Vec<(String, String)> = versions
        .iter()
        .map(|version| (format!("{version}_t.sql"), format!("CREATE TABLE t_{version} (a int);\n")))
        .collect();
    dir(&names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
}

fn desired() -> Desired {
    let owner = Owner { namespace: "shop".to_owned(), name: "shop".to_owned() };
    Desired { generation: 1, ..Desired::new(owner) }
}

fn resolving(resolutions: &[(Option<&str>, i64, Action)]) -> Desired {
    let resolutions = resolutions
        .iter()
        .enumerate()
        .map(|(at, (version, run, action))| Resolution {
            version: version.map(|version| Version::parse(version).unwrap()),
            run: *run,
            action: *action,
            by: format!("spec.resolutions[{at}]"),
        })
        .collect();
    Desired { resolutions, ..desired() }
}

fn with(change: impl FnOnce(&mut Desired)) -> Desired {
    let mut desired = desired();
    change(&mut desired);
    desired
}

/// A row as a run of this migration leaves it; its run's number is that of the version.
fn row(dir: &MigrationDir, version: &str, state: State, outcome: RunOutcome) -> Recorded {
    let migration = dir.get(&Version::parse(version).unwrap()).unwrap();
    Recorded {
        version: Version::parse(version).unwrap(),
        name: migration.name.clone(),
        state,
        checksum: migration.up.checksum.clone(),
        mode: migration.mode,
        down_checksum: migration.down.as_ref().map(|down| down.checksum.clone()),
        down_sql: None,
        depends: migration.depends.clone(),
        replaces: migration.replaces.clone(),
        batch: 1,
        applied_at: None,
        duration_ms: 1,
        run: Run {
            outcome,
            direction: Direction::Up,
            inputs: Job::up(migration, None, &desired()).inputs,
            error: (outcome == RunOutcome::Failed)
                .then(|| RunError { message: format!("{} failed", migration.file), ..RunError::default() }),
            ..Run::succeeded(version.parse().unwrap(), state)
        },
    }
}

fn applied(dir: &MigrationDir, versions: &[&str]) -> Vec<Recorded> {
    versions.iter().map(|version| row(dir, version, State::Applied, RunOutcome::Succeeded)).collect()
}

fn failed_row(dir: &MigrationDir, version: &str) -> Recorded {
    row(dir, version, State::Failed, RunOutcome::Failed)
}

fn history(migrations: Vec<Recorded>) -> History {
    History { migrations, ..History::default() }
}

fn steps(assessment: &Assessment) -> Vec<&str> {
    assessment.plan.steps.iter().map(|step| step.version.as_str()).collect()
}

fn reasons(assessment: &Assessment) -> Vec<Reason> {
    assessment.findings.iter().map(|finding| finding.reason).collect()
}

fn text(assessment: &Assessment) -> &str {
    &assessment.findings.first().expect("a finding").message
}

#[test]
fn an_empty_history_lets_everything_run_in_order() {
    let dir = tables(&["003", "001", "002"]);
    let verdict = plan(&dir, &History::default(), &desired());
    assert_eq!(steps(&verdict), ["001", "002", "003"]);
    assert_eq!((reasons(&verdict), verdict.applied, verdict.pending, verdict.version), (vec![], 0, 3, None));
}

#[test]
fn what_the_database_has_is_not_run_again() {
    let dir = tables(&["001", "002", "003"]);
    let verdict = plan(&dir, &history(applied(&dir, &["001", "002"])), &desired());
    assert_eq!(steps(&verdict), ["003"]);
    assert_eq!((verdict.applied, verdict.pending), (2, 1));
    assert_eq!(verdict.version.unwrap().as_str(), "002");
}

#[test]
fn a_spelling_is_no_other_version() {
    let dir = tables(&["001", "002"]);
    let mut rows = applied(&dir, &["001"]);
    rows[0].version = Version::parse("1").unwrap();
    let verdict = plan(&dir, &history(rows), &desired());
    assert_eq!(steps(&verdict), ["002"]);
    assert!(verdict.missing.is_empty());
}

#[test]
fn stamped_and_replaced_count_as_there_and_rolled_back_as_pending() {
    let dir = tables(&["001", "002", "003"]);
    let rows = vec![
        row(&dir, "001", State::Stamped, RunOutcome::Succeeded),
        row(&dir, "002", State::Replaced, RunOutcome::Succeeded),
        row(&dir, "003", State::RolledBack, RunOutcome::Failed),
    ];
    let verdict = plan(&dir, &history(rows), &desired());
    assert_eq!((steps(&verdict), reasons(&verdict), verdict.applied), (vec!["003"], vec![], 2));
}

#[test]
fn dependencies_come_first_and_order_decides_what_is_newest() {
    let dir = dir(&[("001_a.sql", "-- depends: 002\nSELECT 1;\n"), ("002_b.sql", "SELECT 2;\n")]);
    let verdict = plan(&dir, &History::default(), &desired());
    assert_eq!(steps(&verdict), ["002", "001"]);
    let verdict = plan(&dir, &history(applied(&dir, &["002", "001"])), &desired());
    assert_eq!(verdict.version.unwrap().as_str(), "001", "the highest in the set's order");
}

#[test]
fn an_edited_section_is_drift_by_policy() {
    let old = tables(&["001"]);
    let new = dir(&[("001_t.sql", "CREATE TABLE other (a int);\n"), ("002_t.sql", "SELECT 1;\n")]);
    let rows = history(applied(&old, &["001"]));
    let verdict = plan(&new, &rows, &desired());
    assert_eq!(reasons(&verdict), [Reason::ChecksumDrift]);
    assert!(text(&verdict).contains("001_t.sql (run 1:"), "{}", text(&verdict));
    assert_eq!(steps(&verdict), ["002"], "the plan is shown, though it may not run");
    let verdict = plan(&new, &rows, &with(|it| it.policy.on_checksum_drift = OnChecksumDrift::Report));
    assert_eq!((reasons(&verdict), verdict.checksum_drift.len()), (vec![], 1));
}

#[test]
fn an_edit_is_accepted_by_its_run_once() {
    let old = tables(&["001"]);
    let new = dir(&[("001_t.sql", "CREATE TABLE other (a int);\n")]);
    let mut rows = applied(&old, &["001"]);
    let accepting = resolving(&[(Some("001"), 1, Action::AcceptChecksum)]);
    let verdict = plan(&new, &history(rows.clone()), &accepting);
    assert!(matches!(&verdict.amendments[..], [Amendment::Resolve { run: 1, action: Action::AcceptChecksum, .. }]));
    assert_eq!(reasons(&verdict), []);
    // Accepting was a run of its own; the next edit isn't covered by what stands in Git.
    rows[0].run.id = 2;
    assert_eq!(reasons(&plan(&new, &history(rows), &accepting)), [Reason::ChecksumDrift]);
}

#[test]
fn a_resolution_for_another_version_or_run_or_action_does_nothing() {
    let old = tables(&["001"]);
    let new = dir(&[("001_t.sql", "CREATE TABLE other (a int);\n")]);
    let rows = history(applied(&old, &["001"]));
    for misdirected in [
        (Some("002"), 1, Action::AcceptChecksum),
        (Some("001"), 2, Action::AcceptChecksum),
        (Some("001"), 1, Action::Retry),
        (None, 9, Action::AcceptChecksum),
    ] {
        let verdict = plan(&new, &rows, &resolving(&[misdirected]));
        assert_eq!((reasons(&verdict), verdict.amendments), (vec![Reason::ChecksumDrift], vec![]), "{misdirected:?}");
    }
    assert_eq!(reasons(&plan(&new, &rows, &resolving(&[(None, 1, Action::AcceptChecksum)]))), [], "an annotation");
}

#[test]
fn an_edited_down_section_is_stored_and_no_drift() {
    let file = |down: &str| dir(&[("001_t.sql", &format!("-- migrate: up\nSELECT 1;\n-- migrate: down\n{down}\n"))]);
    let (old, new) = (file("SELECT 2;"), file("SELECT 3;"));
    let verdict = plan(&new, &history(applied(&old, &["001"])), &desired());
    assert_eq!(reasons(&verdict), []);
    assert!(matches!(&verdict.amendments[..], [Amendment::StoreDown { version }] if version.as_str() == "001"));
}

#[test]
fn what_left_the_source_is_missing_by_policy() {
    let all = tables(&["001", "002", "003"]);
    let rows = history(applied(&all, &["001", "002", "003"]));
    let verdict = plan(&tables(&["001"]), &rows, &desired());
    assert_eq!(reasons(&verdict), [Reason::MissingMigration]);
    assert!(text(&verdict).contains("002 (run 2), 003 (run 3)"), "{}", text(&verdict));
    let verdict = plan(&tables(&["001"]), &rows, &with(|it| it.policy.on_missing = OnMissing::Ignore));
    assert_eq!(reasons(&verdict), []);
    assert_eq!((verdict.missing.len(), verdict.version.unwrap().as_str()), (2, "003"));
}

#[test]
fn a_version_behind_an_applied_one_is_out_of_order_by_policy() {
    let dir = tables(&["001", "002", "003"]);
    let rows = history(applied(&dir, &["001", "003"]));
    let verdict = plan(&dir, &rows, &desired());
    assert_eq!(reasons(&verdict), [Reason::OutOfOrder]);
    assert!(text(&verdict).contains("002_t would run after 003"), "{}", text(&verdict));
    let verdict = plan(&dir, &rows, &with(|it| it.policy.out_of_order = OutOfOrder::Allow));
    assert_eq!((reasons(&verdict), steps(&verdict)), (vec![], vec!["002"]));
}

#[test]
fn a_version_behind_a_missing_one_is_out_of_order_too() {
    let rows = history(applied(&tables(&["001", "005"]), &["001", "005"]));
    let source = tables(&["001", "003"]);
    let ignoring = with(|it| it.policy.on_missing = OnMissing::Ignore);
    let verdict = plan(&source, &rows, &ignoring);
    assert_eq!(reasons(&verdict), [Reason::OutOfOrder]);
    assert!(text(&verdict).contains("003_t would run after 005"), "{}", text(&verdict));
    assert_eq!(reasons(&plan(&source, &rows, &desired())), [Reason::MissingMigration, Reason::OutOfOrder]);
}

#[test]
fn what_ran_once_in_order_is_not_late_when_it_is_pending_again() {
    let dir = tables(&["001", "002"]);
    let mut rows = applied(&dir, &["002"]);
    rows.push(row(&dir, "001", State::RolledBack, RunOutcome::Failed));
    let verdict = plan(&dir, &history(rows), &desired());
    assert_eq!((reasons(&verdict), steps(&verdict)), (vec![], vec!["001"]));
}

#[test]
fn a_failed_migration_waits_for_a_change_or_a_person() {
    let dir = tables(&["001", "002"]);
    let verdict = plan(&dir, &history(vec![failed_row(&dir, "001")]), &desired());
    assert_eq!(reasons(&verdict), [Reason::MigrationFailed]);
    let failure = verdict.findings[0].failure.as_ref().unwrap();
    assert_eq!((failure.run, failure.subject.key()), (1, "001"));
}

#[test]
fn each_input_of_a_failed_migration_makes_it_run_again() {
    let old = tables(&["001"]);
    let rows = history(vec![failed_row(&old, "001")]);
    for (what, source, changed) in [
        ("the section", dir(&[("001_t.sql", "SELECT 1;\n")]), desired()),
        ("the role", tables(&["001"]), with(|it| it.session.role = Some("owner".into()))),
        ("the path", tables(&["001"]), with(|it| it.session.search_path = vec!["app".into()])),
        ("the mode", dir(&[("001_t.sql", "-- migrate: no-transaction\nSELECT 1;\n")]), desired()),
    ] {
        let verdict = plan(&source, &rows, &changed);
        assert_eq!((reasons(&verdict), steps(&verdict)), (vec![], vec!["001"]), "{what}");
    }
    for (what, changed) in [
        ("a time-out", with(|it| it.session.statement_timeout_ms = 1)),
        ("retries", with(|it| it.session.lock_retries = 1)),
        ("the generation", with(|it| it.generation = 9)),
    ] {
        assert_eq!(reasons(&plan(&old, &rows, &changed)), [Reason::MigrationFailed], "{what}");
    }
}

#[test]
fn paths_and_roles_are_told_apart() {
    let dir = tables(&["001"]);
    let migration = &dir.migrations()[0];
    let session = |role: Option<&str>, path: &[&str]| SessionSettings {
        role: role.map(Into::into),
        search_path: path.iter().map(|it| (*it).to_owned()).collect(),
        ..desired().session
    };
    let all = [
        session(None, &[]),
        session(None, &["a"]),
        session(Some("a"), &[]),
        session(Some("a"), &["a"]),
        session(None, &["a", "b"]),
        session(None, &["b", "a"]),
        session(None, &["ab"]),
    ];
    let inputs = |session: &SessionSettings| {
        let desired = Desired { session: session.clone(), ..desired() };
        Job::up(migration, None, &desired).inputs
    };
    let hashes: HashSet<String> = all.iter().map(inputs).collect();
    assert_eq!(hashes.len(), all.len());
}

#[test]
fn a_retry_is_used_up_by_its_run() {
    let dir = tables(&["001"]);
    let retrying = resolving(&[(Some("001"), 1, Action::Retry)]);
    let mut failed = failed_row(&dir, "001");
    let verdict = plan(&dir, &history(vec![failed.clone()]), &retrying);
    assert!(matches!(&verdict.amendments[..], [Amendment::Resolve { run: 1, action: Action::Retry, .. }]));
    // Written down, it lets the migration run; with or without the resolution in the spec.
    failed.run.resolution = Some(Action::Retry);
    for it in [&retrying, &desired()] {
        let verdict = plan(&dir, &history(vec![failed.clone()]), it);
        assert_eq!((reasons(&verdict), steps(&verdict)), (vec![], vec!["001"]));
        assert_eq!(verdict.amendments, []);
    }
    // It failed again, as another run.
    failed.run.resolution = None;
    failed.run.id = 2;
    let verdict = plan(&dir, &history(vec![failed]), &retrying);
    assert_eq!(reasons(&verdict), [Reason::MigrationFailed]);
    assert!(text(&verdict).contains("spec.resolutions[0] names run 1 of 001; the run that waits is 2"));
}

#[test]
fn a_decision_that_changes_nothing_is_answered() {
    let dir = tables(&["001", "002"]);
    let drifted = self::dir(&[("001_t.sql", "SELECT 1;"), ("002_t.sql", "SELECT 1;")]);
    let failed = history(vec![failed_row(&dir, "002")]);
    let edited = history(applied(&dir, &["001", "002"]));
    let said =
        |dir: &MigrationDir, history: &History, decision| text(&plan(dir, history, &resolving(&[decision]))).to_owned();
    let other = (None, 77, Action::Retry);
    assert!(said(&dir, &failed, other).ends_with("\nspec.resolutions[0] names run 77; the run that waits is 2"));
    assert!(
        said(&drifted, &edited, other).ends_with("\nspec.resolutions[0] names run 77; the runs that wait are 1, 2")
    );
    let unfit = said(&drifted, &edited, (None, 2, Action::Retry));
    assert!(unfit.contains("\nspec.resolutions[0] asks for Retry, which is not possible for run 2"), "{unfit}");
    assert!(!unfit.contains("names run"), "{unfit}");
    // One of two is accepted: the decision was of use, and nothing is said of it.
    let half = said(&drifted, &edited, (None, 2, Action::AcceptChecksum));
    assert!(!half.contains("spec.resolutions[0]"), "{half}");
}

#[test]
fn a_transactional_failure_is_only_retried() {
    let dir = tables(&["001"]);
    for action in [Action::Resume, Action::MarkApplied, Action::MarkRolledBack, Action::AcceptChecksum] {
        let verdict = plan(&dir, &history(vec![failed_row(&dir, "001")]), &resolving(&[(None, 1, action)]));
        assert_eq!(reasons(&verdict), [Reason::MigrationFailed]);
        assert!(text(&verdict).contains(&format!("asks for {action:?}, which is not possible")), "{}", text(&verdict));
    }
}

#[test]
fn a_transactional_failure_without_its_file_is_nothing() {
    let rows = history(vec![failed_row(&tables(&["001"]), "001")]);
    let verdict = plan(&tables(&["002"]), &rows, &desired());
    assert_eq!((reasons(&verdict), steps(&verdict)), (vec![], vec!["002"]));
    assert_eq!(verdict.missing, []);
}

fn journaled(statements: &str) -> MigrationDir {
    dir(&[("001_t.sql", &format!("{NO_TRANSACTION}{statements}"))])
}

/// A journaled migration that failed when so many statements were done.
fn failed_after(dir: &MigrationDir, done: u32) -> Recorded {
    let mut failed = failed_row(dir, "001");
    let up = &dir.migrations()[0].up;
    failed.run.statements_done = done;
    failed.run.prefix = Some(prefix_hash(up, done as usize));
    failed
}

#[test]
fn a_journaled_failure_offers_every_way_out() {
    let dir = journaled("SELECT 1;\nSELECT 2;\n");
    let rows = history(vec![failed_after(&dir, 1)]);
    let verdict = plan(&dir, &rows, &desired());
    assert_eq!(reasons(&verdict), [Reason::NonTransactionalFailed]);
    for way in ["Retry (from the top)", "Resume (from statement 2)", "MarkApplied", "MarkRolledBack"] {
        assert!(text(&verdict).contains(way), "{way}");
    }
    for action in [Action::Retry, Action::Resume, Action::MarkApplied, Action::MarkRolledBack] {
        let verdict = plan(&dir, &rows, &resolving(&[(Some("001"), 1, action)]));
        assert!(matches!(&verdict.amendments[..], [Amendment::Resolve { action: it, .. }] if *it == action));
        assert_eq!(reasons(&verdict), [], "{action:?}");
    }
    assert_eq!(
        reasons(&plan(&dir, &rows, &resolving(&[(None, 1, Action::AcceptChecksum)]))),
        [Reason::NonTransactionalFailed]
    );
}

#[test]
fn a_journaled_failure_is_not_run_again_by_an_edit() {
    let old = journaled("SELECT 1;\nSELECT 2;\n");
    let new = journaled("SELECT 1;\nSELECT 3;\n");
    assert_eq!(
        reasons(&plan(&new, &history(vec![failed_after(&old, 1)]), &desired())),
        [Reason::NonTransactionalFailed]
    );
}

#[test]
fn resume_needs_what_already_ran_to_be_unchanged() {
    let old = journaled("SELECT 1;\nSELECT 2;\n");
    let resuming = resolving(&[(None, 1, Action::Resume)]);
    for (edited, done, possible) in [
        ("SELECT 1;\nSELECT 3;\n", 1, true),
        ("SELECT 1;\r\nSELECT 3;\r\n", 1, true),
        ("-- why\nSELECT 1;\n\nSELECT 2; SELECT 3;\n", 1, true),
        ("SELECT 7;\nSELECT 2;\n", 0, true),
        ("SELECT 7;\nSELECT 2;\n", 1, false),
        ("SELECT 0;\nSELECT 1;\nSELECT 2;\n", 1, false),
        ("SELECT 1;\n", 2, false),
    ] {
        let verdict = plan(&journaled(edited), &history(vec![failed_after(&old, done)]), &resuming);
        assert_eq!(reasons(&verdict).is_empty(), possible, "{edited:?} after {done}");
    }
}

#[test]
fn resume_needs_a_session_that_can_be_made_again() {
    let resuming = resolving(&[(None, 1, Action::Resume)]);
    for (first, possible) in [
        ("SET search_path = app", true),
        ("SELECT set_config('a.b', 'c', false)", true),
        ("CREATE TEMP TABLE x (a int)", false),
        ("PREPARE p AS SELECT 1", false),
        ("LISTEN news", false),
        ("SELECT pg_advisory_lock(1)", false),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", false),
    ] {
        let dir = journaled(&format!("{first};\nSELECT 2;\n"));
        let verdict = plan(&dir, &history(vec![failed_after(&dir, 1)]), &resuming);
        assert_eq!(reasons(&verdict).is_empty(), possible, "{first}");
        if !possible {
            assert!(text(&verdict).contains("Resume is not possible: statement 1 (line 2)"), "{}", text(&verdict));
            assert!(text(&verdict).contains("Retry") && text(&verdict).contains("MarkApplied"));
        }
    }
}

#[test]
fn a_resume_that_an_edit_took_away_waits_again() {
    let old = journaled("SELECT 1;\nSELECT 2;\n");
    let mut failed = failed_after(&old, 1);
    failed.run.resolution = Some(Action::Resume);
    assert_eq!(steps(&plan(&old, &history(vec![failed.clone()]), &desired())), ["001"]);
    let verdict = plan(&journaled("SELECT 9;\nSELECT 2;\n"), &history(vec![failed]), &desired());
    assert_eq!(reasons(&verdict), [Reason::NonTransactionalFailed]);
}

#[test]
fn a_run_that_was_cut_off_goes_on_under_the_lock() {
    let dir = journaled("SELECT 1;\n");
    let verdict = plan(&dir, &history(vec![row(&dir, "001", State::Interrupted, RunOutcome::Running)]), &desired());
    assert_eq!((reasons(&verdict), steps(&verdict)), (vec![], vec!["001"]));
}

/// What it did is not rolled back: in a transaction it would be done twice.
#[test]
fn a_run_that_was_cut_off_and_is_now_transactional_waits_for_a_person() {
    let old = journaled("SELECT 1;\nSELECT 2;\n");
    let cut_off = row(&old, "001", State::Interrupted, RunOutcome::Running);
    let new = dir(&[("001_t.sql", "SELECT 1;\nSELECT 2;\n")]);
    let verdict = plan(&new, &history(vec![cut_off.clone()]), &desired());
    assert_eq!(reasons(&verdict), [Reason::Interrupted]);
    assert!(text(&verdict).contains("no longer marked no-transaction"), "{}", text(&verdict));
    let verdict = plan(&new, &history(vec![cut_off]), &resolving(&[(None, 1, Action::Retry)]));
    assert_eq!(reasons(&verdict), []);
}

#[test]
fn a_journaled_run_without_its_file_can_be_marked_alone() {
    let rows = history(vec![row(&journaled("SELECT 1;\n"), "001", State::Interrupted, RunOutcome::Running)]);
    let source = tables(&["002"]);
    assert_eq!(reasons(&plan(&source, &rows, &desired())), [Reason::Interrupted]);
    for (action, possible) in
        [(Action::MarkApplied, true), (Action::MarkRolledBack, true), (Action::Retry, false), (Action::Resume, false)]
    {
        let verdict = plan(&source, &rows, &resolving(&[(None, 1, action)]));
        assert_eq!(reasons(&verdict).is_empty(), possible, "{action:?}");
    }
}

#[test]
fn what_replaces_others_is_recorded_where_they_ran() {
    let old = tables(&["001", "002"]);
    let squash = dir(&[("003_all.sql", "-- replaces: 001, 002\nSELECT 1;\n")]);
    let mut rows = applied(&old, &["001", "002"]);
    rows[0].version = Version::parse("1").unwrap();
    let verdict = plan(&squash, &history(rows), &desired());
    let [Amendment::Replace { version, replaced }] = &verdict.amendments[..] else { panic!("{verdict:?}") };
    assert_eq!(version.as_str(), "003");
    let spelled: Vec<&str> = replaced.iter().map(Version::as_str).collect();
    assert_eq!(spelled, ["1", "002"], "as the history spells them");
    assert_eq!((reasons(&verdict), steps(&verdict), &verdict.missing[..]), (vec![], vec![], &[][..]));
}

#[test]
fn what_replaces_others_runs_where_none_of_them_did() {
    let squash = dir(&[("003_all.sql", "-- replaces: 001, 002\nSELECT 1;\n")]);
    assert_eq!(steps(&plan(&squash, &History::default(), &desired())), ["003"]);
}

#[test]
fn what_replaces_others_waits_where_only_some_did() {
    let old = tables(&["001", "002"]);
    let squash = dir(&[("003_all.sql", "-- replaces: 001, 002\nSELECT 1;\n")]);
    let verdict = plan(&squash, &history(applied(&old, &["001"])), &desired());
    assert_eq!(reasons(&verdict), [Reason::MissingMigration]);
    assert!(text(&verdict).contains("it lacks 002"), "{}", text(&verdict));
}

#[test]
fn replaced_files_that_are_still_there_run_first() {
    let both = dir(&[
        ("001_a.sql", "SELECT 1;\n"),
        ("002_b.sql", "SELECT 2;\n"),
        ("003_all.sql", "-- replaces: 001, 002\nSELECT 3;\n"),
    ]);
    let verdict = plan(&both, &history(applied(&both, &["001"])), &desired());
    assert_eq!((reasons(&verdict), steps(&verdict)), (vec![], vec!["002"]));
    let verdict = plan(&both, &history(applied(&both, &["001", "002"])), &desired());
    assert!(matches!(&verdict.amendments[..], [Amendment::Replace { .. }]));
    let mut rows = applied(&both, &["003"]);
    rows.extend(["001", "002"].map(|version| row(&both, version, State::Replaced, RunOutcome::Succeeded)));
    let verdict = plan(&both, &history(rows), &desired());
    assert_eq!((reasons(&verdict), steps(&verdict), verdict.pending), (vec![], vec![], 0));
}

#[test]
fn findings_come_in_the_order_of_the_contract() {
    let old = dir(&[
        ("001_edited.sql", "SELECT 1;\n"),
        ("004_gone.sql", "SELECT 4;\n"),
        ("005_journaled.sql", "-- migrate: no-transaction\nSELECT 5;\n"),
        ("006_cut.sql", "-- migrate: no-transaction\nSELECT 6;\n"),
        ("007_failed.sql", "SELECT 7;\n"),
        ("008_index.sql", "-- migrate: no-transaction\nSELECT 8;\n"),
    ]);
    let new = dir(&[
        ("001_edited.sql", "SELECT 'edited';\n"),
        ("002_late.sql", "SELECT 2;\n"),
        ("005_journaled.sql", "-- migrate: no-transaction\nSELECT 5;\n"),
        ("006_cut.sql", "-- migrate: no-transaction\nSELECT 6;\n"),
        ("007_failed.sql", "SELECT 7;\n"),
        ("008_index.sql", "-- migrate: no-transaction\nSELECT 8;\n"),
    ]);
    let mut rows = applied(&old, &["001", "004"]);
    rows.push(failed_row(&old, "007"));
    rows.push(failed_row(&old, "005"));
    rows.push(row(&old, "006", State::Interrupted, RunOutcome::Interrupted));
    let verdict = plan(&new, &history(rows), &with(|it| it.policy.transaction = TransactionScope::Single));
    assert_eq!(
        reasons(&verdict),
        [
            Reason::InvalidSpec,
            Reason::Interrupted,
            Reason::NonTransactionalFailed,
            Reason::ChecksumDrift,
            Reason::MissingMigration,
            Reason::OutOfOrder,
            Reason::MigrationFailed,
        ]
    );
}

#[test]
fn one_transaction_takes_no_file_that_needs_its_own() {
    let single = with(|it| it.policy.transaction = TransactionScope::Single);
    let mixed = dir(&[("001_a.sql", "SELECT 1;\n"), ("002_b.sql", "-- migrate: no-transaction\nVACUUM;\n")]);
    let verdict = plan(&mixed, &History::default(), &single);
    assert_eq!(reasons(&verdict), [Reason::InvalidSpec]);
    assert!(text(&verdict).contains("002_b"), "{}", text(&verdict));
    assert_eq!(reasons(&plan(&mixed, &history(applied(&mixed, &["001", "002"])), &single)), [], "none is pending");

    let kinds = dir(&[
        ("001_a.sql", "SELECT 1;\n"),
        ("002_b.sql", "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT 2;\nCOMMIT;\n"),
    ]);
    let verdict = plan(&kinds, &History::default(), &single);
    assert_eq!(reasons(&verdict), [Reason::InvalidSpec]);
    assert!(text(&verdict).contains("002_b.sql"), "{}", text(&verdict));
    assert_eq!(reasons(&plan(&kinds, &history(applied(&kinds, &["001"])), &single)), [], "it is the first");
}

#[test]
fn a_plans_digest_tells_plans_apart_and_nothing_else() {
    let digest = |dir: &MigrationDir| plan(dir, &History::default(), &desired()).plan.digest();
    let base = digest(&dir(&[("001_a.sql", "SELECT 1;\n"), ("002_b.sql", "SELECT 2;\n")]));
    assert_eq!(base, digest(&dir(&[("002_b.sql", "SELECT 2;\r\n"), ("001_a.sql", "SELECT 1;\r\n")])));
    for other in [
        dir(&[("001_a.sql", "SELECT 1;\n")]),
        dir(&[("001_a.sql", "SELECT 2;\n"), ("002_b.sql", "SELECT 2;\n")]),
        dir(&[("001_a.sql", "-- migrate: no-transaction\nSELECT 1;\n"), ("002_b.sql", "SELECT 2;\n")]),
    ] {
        assert_ne!(base, digest(&other));
    }
}

/// Ten thousand on both sides, all of them replaced: twice the work for twice the rows, and no more.
#[test]
fn a_huge_history_is_planned_in_a_moment() {
    let count = 10_000;
    let names: Vec<String> = (1..=count).map(|n| format!("{n:05}_t.sql")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "SELECT 1;\n")).collect();
    let old = dir(&files);
    let versions: Vec<String> = (1..=count).map(|n| format!("{n:05}")).collect();
    let rows = history(applied(&old, &versions.iter().map(String::as_str).collect::<Vec<_>>()));
    let squash = format!("-- replaces: {}\nSELECT 1;\n", versions.join(", "));
    let new = dir(&[("20000_all.sql", &squash), ("30000_next.sql", "SELECT 1;\n")]);
    // A limit that ten thousand times ten thousand comparisons miss by far, on any machine and in any mood of it.
    let (done, waited) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        for source in [&old, &new] {
            assert_eq!(reasons(&plan(source, &rows, &desired())), []);
        }
        done.send(()).unwrap();
    });
    waited.recv_timeout(Duration::from_secs(5)).expect("linear");
    thread.join().unwrap();
}
