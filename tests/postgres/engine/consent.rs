//! Plans that wait for a person: offered, approved by their digest, used up step by step.

use std::time::Duration;

use dunlin::{
    core::{
        desired::{Action, Approval, ApprovalRequired, GivenApproval, TransactionScope},
        outcome::Reason,
    },
    execute::{End, Stop},
};

use super::{
    cut::cut_off,
    fixture::{Fixture, Ran},
    proxy::Moment,
    ways::{Files, borrowed, fixture, line},
};
use crate::support::eventually;

const PLANS: &str = "SELECT coalesce(string_agg(concat_ws(' ', CASE WHEN approved_by LIKE '%spec.approval.plan%' THEN 'approved' END, CASE WHEN rest = digest THEN 'whole' WHEN rest = '' THEN 'none' ELSE 'rest' END, \
                     CASE WHEN spent_at IS NULL THEN 'open' ELSE 'spent' END), ', ' ORDER BY id), 'none') FROM dunlin.plan";

async fn asking(required: ApprovalRequired) -> Fixture {
    let mut fixture = fixture().await;
    fixture.desired.approval.required = required;
    fixture
}

fn approve(fixture: &mut Fixture, plan: &str) {
    fixture.desired.approval.given = vec![GivenApproval { plan: plan.to_owned(), by: "spec.approval.plan".to_owned() }];
}

/// The plan that waits.
#[track_caller]
fn waits(ran: &Ran) -> String {
    assert_eq!(ran.finding().reason, Reason::ApprovalRequired, "{}", ran.finding().message);
    ran.assessment.plan.digest().to_string()
}

#[tokio::test]
async fn a_plan_waits_until_its_digest_is_approved_and_is_used_up_by_its_run() {
    let mut fixture = asking(ApprovalRequired::Always).await;
    let files = line(&["001", "002"]);
    let digest = waits(&fixture.run(&files).await);
    assert_eq!((fixture.went().await.as_str(), fixture.ask(PLANS).await.as_str()), ("nothing", "whole open"));
    let before = fixture.written().await;
    assert_eq!(waits(&fixture.run(&files).await), digest, "the same digest twice");
    assert_eq!(fixture.written().await, before, "it is offered once");
    let row = fixture.ask("SELECT digest || ': ' || steps FROM dunlin.plan").await;
    assert!(row.starts_with(&format!("{digest}: up 001_t (")), "{row}");

    approve(&mut fixture, &digest);
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(
        (fixture.went().await, fixture.ask(PLANS).await),
        ("+001 +002".to_owned(), "approved none spent".to_owned())
    );
    assert_eq!(
        fixture.ask("SELECT count(*) FROM dunlin.run WHERE plan_digest = (SELECT digest FROM dunlin.plan)").await,
        "2"
    );
    assert_eq!(fixture.ask("SELECT approved_at >= offered_at AND spent_at >= approved_at FROM dunlin.plan").await, "t");
}

/// What was approved once is used up; the same plan later is another, unless the spec still names it.
#[tokio::test]
async fn the_same_plan_again_is_approved_again() {
    let mut fixture = asking(ApprovalRequired::Always).await;
    let files = line(&["001"]);
    let up = waits(&fixture.run(&files).await);
    approve(&mut fixture, &up);
    fixture.run(&files).await.is_up_to_date();
    let down = waits(&fixture.go("none", &files).await);
    assert_ne!(up, down);
    approve(&mut fixture, &down);
    fixture.run(&files).await.is_there();
    assert_eq!(waits(&fixture.go("latest", &files).await), up, "the same plan has the same digest");
    fixture.desired.approval.given.clear();
    assert_eq!(waits(&fixture.run(&files).await), up);
    assert_eq!(fixture.went().await, "+001 -001");
    approve(&mut fixture, &up);
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+001");
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.plan WHERE spent_at IS NULL").await, "0");
}

#[tokio::test]
async fn only_a_rollback_waits_where_destruction_does() {
    let mut fixture = asking(ApprovalRequired::Destructive).await;
    let files = line(&["001", "002"]);
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.ask(PLANS).await, "none");
    fixture.went().await;
    let ran = fixture.go("001", &files).await;
    let digest = waits(&ran);
    assert!(ran.finding().message.contains("destroys something (rolls back 002_t)"), "{}", ran.finding().message);
    assert_eq!(fixture.went().await, "nothing");
    approve(&mut fixture, &digest);
    fixture.run(&files).await.is_there();
    assert_eq!(fixture.went().await, "-002");
}

/// A failing step that is mended outside of its file, and retried: the rest of the plan was approved with it.
#[tokio::test]
async fn an_approved_plan_that_failed_goes_on_without_a_second_approval() {
    let mut fixture = asking(ApprovalRequired::Always).await;
    let mut files = line(&["001", "002", "003"]);
    files[1].1 = files[1].1.replace("CREATE TABLE t_002 (a int)", "CREATE TABLE t_002 AS SELECT * FROM nowhere");
    let digest = waits(&fixture.run(&files).await);
    approve(&mut fixture, &digest);
    let ran = fixture.run(&files).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert_eq!((fixture.went().await, fixture.ask(PLANS).await), ("+001".to_owned(), "approved rest open".to_owned()));
    fixture.desired.approval.given.clear();
    fixture.run_sql("CREATE TABLE nowhere (a int)").await;
    fixture.resolve(ran.failed_run(), Action::Retry);
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(
        (fixture.went().await, fixture.ask(PLANS).await),
        ("+002 +003".to_owned(), "approved none spent".to_owned())
    );
}

/// Mended in its file it is another plan.
#[tokio::test]
async fn an_approved_plan_whose_file_is_mended_is_another() {
    let mut fixture = asking(ApprovalRequired::Always).await;
    let mut files = line(&["001", "002"]);
    let good = files[1].1.clone();
    files[1].1 = good.replace("(a int)", "(a nothing)");
    let digest = waits(&fixture.run(&files).await);
    approve(&mut fixture, &digest);
    assert_eq!(fixture.run(&files).await.finding().reason, Reason::MigrationFailed);
    files[1].1 = good;
    let ran = fixture.run(&files).await;
    let other = waits(&ran);
    let words = format!("spec.approval.plan approves {digest}, which isn't this plan: up 002_t has another text");
    assert!(ran.finding().message.contains(&words), "{}", ran.finding().message);
    approve(&mut fixture, &other);
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+001 +002");
}

#[tokio::test]
async fn an_approved_plan_that_was_stopped_goes_on_without_a_second_approval() {
    let mut fixture = asking(ApprovalRequired::Always).await;
    let mut files = line(&["001", "002", "003"]);
    files[1].1 = files[1].1.replace("CREATE TABLE", "SELECT pg_sleep(0.8) AS the_second; CREATE TABLE");
    let digest = waits(&fixture.run(&files).await);
    approve(&mut fixture, &digest);
    let asked = async {
        eventually("the second file to be under way", Duration::from_secs(20), async || {
            let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%the_second%' AND state = 'active' AND pid <> pg_backend_pid()";
            let busy = fixture.ask(busy).await;
            if busy == "1" { Ok(()) } else { Err(busy) }
        })
        .await;
        fixture.stop.send_replace(Stop::BetweenMigrations);
    };
    let borrowed = borrowed(&files);
    let (report, ()) = tokio::join!(fixture.execute(&borrowed), asked);
    assert!(matches!(report.end, End::Stopped), "{:?}", report.end);
    assert_eq!(
        (fixture.went().await, fixture.ask(PLANS).await),
        ("+001 +002".to_owned(), "approved rest open".to_owned())
    );
    fixture.stop.send_replace(Stop::No);
    fixture.desired.approval.given.clear();
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+003");
    assert_eq!(fixture.ask("SELECT spent_at IS NOT NULL FROM dunlin.plan").await, "t");
}

/// A way down that was cut off under an approved plan goes on, and so does what is left of the plan.
#[tokio::test]
async fn an_approved_way_back_that_was_cut_off_goes_on_without_a_second_approval() {
    for moment in [Moment::Before, Moment::After] {
        let mut fixture = asking(ApprovalRequired::Destructive).await;
        let mut files = line(&["001", "002", "003"]);
        files[1].1 = format!("-- migrate: no-transaction\n{}VACUUM /* the cut */ went;\n", files[1].1);
        fixture.run(&files).await.is_up_to_date();
        fixture.went().await;
        let digest = waits(&fixture.go("none", &files).await);
        approve(&mut fixture, &digest);
        cut_off(&fixture, &borrowed(&files), moment).await;
        assert_eq!(
            (fixture.went().await.as_str(), fixture.ask(PLANS).await.as_str()),
            ("-003 -002", "approved rest open")
        );
        fixture.desired.approval.given.clear();
        fixture.run(&files).await.is_there();
        assert_eq!(
            (fixture.went().await.as_str(), fixture.ask(PLANS).await.as_str()),
            ("-001", "approved none spent"),
            "{moment:?}"
        );
    }
}

/// One transaction moves the plan on with everything else, or not at all.
#[tokio::test]
async fn an_approved_plan_in_one_transaction_is_used_up_whole() {
    let mut fixture = asking(ApprovalRequired::Always).await;
    fixture.desired.policy.transaction = TransactionScope::Single;
    let mut files = line(&["001", "002"]);
    files[1].1 = files[1].1.replace("CREATE TABLE t_002 (a int)", "CREATE TABLE t_002 AS SELECT * FROM nowhere");
    let digest = waits(&fixture.run(&files).await);
    approve(&mut fixture, &digest);
    let ran = fixture.run(&files).await;
    assert_eq!(
        (fixture.went().await, fixture.ask(PLANS).await),
        ("nothing".to_owned(), "approved whole open".to_owned())
    );
    fixture.desired.approval.given.clear();
    fixture.run_sql("CREATE TABLE nowhere (a int)").await;
    fixture.resolve(ran.failed_run(), Action::Retry);
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(
        (fixture.went().await, fixture.ask(PLANS).await),
        ("+001 +002".to_owned(), "approved none spent".to_owned())
    );
}

/// The digest is of the plan alone: whoever made the set anew, in another place, approves the same.
#[tokio::test]
async fn a_set_that_is_made_anew_has_the_same_plan() {
    let files: Files = line(&["001", "002"]);
    let one = asking(ApprovalRequired::Always).await;
    let mut other = asking(ApprovalRequired::Always).await;
    other.desired.generation = 12;
    other.desired.session.search_path = vec!["public".to_owned()];
    let digest = waits(&one.run(&files).await);
    assert_eq!(waits(&other.run(&files).await), digest);
    approve(&mut other, &digest);
    other.run(&files).await.is_up_to_date();
}

/// An approval that was seen counts, though the spec no longer asks or names it.
#[tokio::test]
async fn nobody_is_asked_where_nothing_asks() {
    let mut fixture = asking(ApprovalRequired::Always).await;
    let files = line(&["001"]);
    waits(&fixture.run(&files).await);
    fixture.desired.approval = Approval::default();
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+001");
}

/// However many plans were approved and never ran, the next is offered, and what was offered long ago is offered anew.
#[tokio::test]
async fn plans_that_never_ran_are_in_no_ones_way() {
    let mut fixture = asking(ApprovalRequired::Always).await;
    let files = line(&["001"]);
    let digest = waits(&fixture.run(&files).await);
    fixture
        .run_sql(
            "INSERT INTO dunlin.plan (\"set\", digest, rest, steps, offered_at, approved_at, approved_by) \
             SELECT 'shop', 'sha256:' || n, 'sha256:' || n, 'up 9_t (x)', now(), now(), 'somebody' FROM generate_series(1, 50) n",
        )
        .await;
    assert_eq!(waits(&fixture.run(&files).await), digest);
    let more = line(&["001", "002"]);
    let other = waits(&fixture.run(&more).await);
    fixture
        .run_sql("UPDATE dunlin.plan SET approved_at = now(), offered_at = now() WHERE approved_at IS NOT NULL")
        .await;
    approve(&mut fixture, &other);
    fixture.run(&more).await.is_up_to_date();
}
