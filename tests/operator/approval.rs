//! A plan that waits for a person: what is shown of it, how it is approved, and what becomes of an approval when the plan
//! is another.

use std::time::Duration;

use dunlin::api::v1alpha1::{MigrationSet, StepStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    conduct::{AFTER, GATED, gate, is_running},
    going::{ITEMS, ORDERS, USERS, standing, tables},
    line::is_ready,
    shop::{LIMIT, Operator, Shop, condition, message, ready},
    support::eventually,
};

fn always() -> Value {
    json!({"approval": {"required": "Always"}})
}

fn approved(plan: &str) -> Value {
    json!({"approval": {"required": "Always", "plan": plan}})
}

/// The digest and the steps of the plan that is shown.
fn shown(set: &MigrationSet) -> (String, Vec<StepStatus>) {
    let plan = set.status.as_ref().and_then(|status| status.plan.clone()).expect("a plan is shown");
    (plan.digest.expect("it has a digest"), plan.steps)
}

fn step(version: &str, name: &str, direction: &str) -> StepStatus {
    StepStatus {
        version: Some(version.to_owned()),
        name: Some(name.to_owned()),
        direction: Some(direction.to_owned()),
        transactional: Some(true),
    }
}

/// Waits until a plan waits for a person, and answers with its digest.
async fn awaited(shop: &Shop) -> String {
    shown(&shop.until("ApprovalRequired").await).0
}

fn approval(set: &MigrationSet) -> Option<Condition> {
    set.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == "Approved").cloned()
}

async fn remove_annotation(shop: &Shop, key: &str) {
    let patch = json!({"metadata": {"annotations": {key: null}}});
    shop.sets().patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("it is removed");
}

/// Rows of `dunlin.plan`: who approved it, whether it is said when, and whether it is used up.
async fn plans(shop: &Shop) -> String {
    let query = "SELECT string_agg(COALESCE(approved_by, '-') || ' ' || (approved_at IS NOT NULL)::text || ' ' || \
                 (spent_at IS NOT NULL)::text, ', ' ORDER BY id) FROM dunlin.plan";
    shop.ask(query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_waits_for_a_person_is_shown_and_does_not_run() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(always()).await;
    let set = shop.until("ApprovalRequired").await;
    let (digest, steps) = shown(&set);
    assert_eq!(steps, [step("001", "users", "Up"), step("002", "orders", "Up")]);
    for (kind, truth) in [("Ready", "False"), ("Reconciling", "True"), ("Stalled", "False"), ("Approved", "False")] {
        assert_eq!(condition(&set, kind).map(|found| found.0).as_deref(), Some(truth), "{kind}");
    }
    let command = format!(
        "kubectl -n {} annotate --overwrite migrationset shop dunlin.dev/approved-plan={digest}",
        shop.namespace
    );
    for words in ["001_users", "002_orders", "spec.approval.plan", &command] {
        assert!(message(&set).contains(words), "{words} in: {}", message(&set));
    }
    assert_eq!(tables(&shop).await, "", "nothing ran");
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, "0");
    assert_eq!(plans(&shop).await, "- false false", "it is offered, and that is all");
    assert_eq!(shop.ask("SELECT digest FROM dunlin.plan").await, digest);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spec_approves_a_plan_by_its_digest_and_that_is_recorded() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(always()).await;
    let digest = awaited(&shop).await;
    shop.apply(approved(&digest)).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(approval(&set), None, "nothing is left that asks for an approval");
    assert_eq!(tables(&shop).await, "orders users");
    let by = format!("MigrationSet {}/shop: spec.approval.plan, set by test", shop.namespace);
    assert_eq!(plans(&shop).await, format!("{by} true true"));
    assert_eq!(shop.ask("SELECT DISTINCT plan_digest FROM dunlin.run").await, digest);
    // What comes next is another plan, and the approval that stays in the spec isn't for it.
    shop.files("sql", &[USERS, ORDERS, ITEMS]).await;
    let set = shop.until("ApprovalRequired").await;
    assert_eq!(shown(&set).1, [step("003", "items", "Up")]);
    assert_eq!((standing(&set), tables(&shop).await), ((Some("002".to_owned()), 2, 1), "orders users".to_owned()));
    shop.close().await;
}

/// An annotation counts from when it is seen: it may go while the plan runs, and what is left of the plan is approved even
/// for an operator that starts later.
#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_approves_a_plan_to_its_end_and_may_be_removed_on_the_way() {
    let shop = Shop::closed().await;
    let gate = gate(&shop.url).await;
    let first = Operator::start(shop.client.clone(), &shop.namespace, Duration::from_secs(3));
    shop.files("sql", &[("001_users.sql", "CREATE TABLE users (id int);"), GATED, AFTER]).await;
    shop.apply(json!({"approval": {"required": "Always"}, "policy": {"lockTimeout": "0s"}})).await;
    let digest = awaited(&shop).await;
    shop.annotate("dunlin.dev/approved-plan", &digest).await;
    let set = shop.until_that("shop", "it runs", is_running).await;
    let given = approval(&set).expect("it is said");
    assert_eq!((given.status.as_str(), given.reason.as_str()), ("True", "PlanApproved"));
    assert!(given.message.contains(&digest), "{}", given.message);
    remove_annotation(&shop, "dunlin.dev/approved-plan").await;
    first.stop().await;
    drop(gate);
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'succeeded'").await, "1", "it was stopped");
    let second = Operator::start(shop.client.clone(), &shop.namespace, Duration::from_secs(3));
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), approval(&set)), ((Some("003".to_owned()), 3, 0), None));
    let by = format!("MigrationSet {}/shop: annotation dunlin.dev/approved-plan, set by unknown", shop.namespace);
    assert_eq!(plans(&shop).await, format!("{by} true true"));
    second.stop().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_another_plan_is_stale_and_says_what_changed() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(always()).await;
    let stale = awaited(&shop).await;
    shop.files("sql", &[("001_users.sql", "CREATE TABLE users (id bigint);"), ITEMS]).await;
    shop.until_that("shop", "another plan waits", |set| message(set).contains("003_items")).await;
    shop.apply(approved(&stale)).await;
    let set = shop.until("ApprovalRequired").await;
    for words in [
        format!("spec.approval.plan approves {stale}, which isn't this plan"),
        "up 001_users has another text".to_owned(),
        "up 003_items was added".to_owned(),
        "up 002_orders is no longer in it".to_owned(),
    ] {
        assert!(message(&set).contains(&words), "{words} in: {}", message(&set));
    }
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, "0", "nothing ran");
    let (digest, _) = shown(&set);
    assert_ne!(digest, stale);
    shop.apply(approved(&digest)).await;
    shop.until("UpToDate").await;
    assert_eq!(tables(&shop).await, "items users");
    shop.close().await;
}

/// What is approved is the plan, not the object: a set that is deleted and made again has the same one.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_made_again_has_the_same_plan() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(always()).await;
    let digest = awaited(&shop).await;
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("nothing holds it");
    shop.apply(always()).await;
    assert_eq!(awaited(&shop).await, digest);
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("nothing holds it");
    shop.apply(approved(&digest)).await;
    let set = shop.until("UpToDate").await;
    let seen = shop.seen.lock().expect("nobody panicked").clone();
    let of_this = |other: &&MigrationSet| other.metadata.uid == set.metadata.uid;
    let reasons: Vec<String> = seen.iter().filter(of_this).filter_map(ready).map(|(_, reason, _)| reason).collect();
    assert!(!reasons.contains(&"ApprovalRequired".to_owned()), "it was approved from the start: {reasons:?}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_asks_for_an_approval_nothing_is_said_of_one() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let seen = shop.seen.lock().expect("nobody panicked").clone();
    assert!(seen.iter().all(|set| approval(set).is_none()));
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.plan").await, "0");
    // Nor where a set that asks for one has nothing to do.
    shop.apply(always()).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(approval(&set), None);
    shop.close().await;
}

/// A rollback destroys something by its nature.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_waits_for_a_person_where_what_destroys_does() {
    let shop = Shop::open().await;
    let spec = |target: &str, plan: Option<&str>| {
        let mut spec = json!({
            "target": target, "policy": {"rollback": "Allow"}, "approval": {"required": "Destructive"},
        });
        if let Some(plan) = plan {
            spec["approval"]["plan"] = json!(plan);
        }
        spec
    };
    shop.files("sql", &[USERS, ORDERS, ITEMS]).await;
    shop.apply(spec("latest", None)).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(approval(&set), None, "what only makes tables waits for nobody");
    shop.apply(spec("001", None)).await;
    let set = shop.until("ApprovalRequired").await;
    let (digest, steps) = shown(&set);
    assert_eq!(steps, [step("003", "items", "Down"), step("002", "orders", "Down")]);
    assert!(
        message(&set).contains("it destroys something (rolls back 003_items, rolls back 002_orders)"),
        "{}",
        message(&set)
    );
    assert_eq!(tables(&shop).await, "items orders users", "nothing ran");
    shop.apply(spec("001", Some(&digest))).await;
    shop.until("UpToDate").await;
    assert_eq!(tables(&shop).await, "users");
    shop.close().await;
}

/// What the policy forbids isn't offered for approval: no approval would let it run.
#[tokio::test(flavor = "multi_thread")]
async fn what_destroys_waits_by_its_file_and_line_and_what_does_not_runs() {
    let shop = Shop::open().await;
    let asks = json!({"approval": {"required": "Destructive"}});
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(asks).await;
    shop.until("UpToDate").await;
    let drops = ("003_drop.sql", "ALTER TABLE users ADD COLUMN a int;\nDROP TABLE orders;\n");
    shop.files("sql", &[USERS, ORDERS, drops]).await;
    let set = shop.until("ApprovalRequired").await;
    assert!(message(&set).contains("003_drop.sql:2: DROP TABLE orders"), "{}", message(&set));
    assert_eq!(tables(&shop).await, "orders users", "nothing ran");
    let (digest, _) = shown(&set);
    shop.annotate("dunlin.dev/approved-plan", &digest).await;
    shop.until("UpToDate").await;
    assert_eq!(tables(&shop).await, "users");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_rollback_is_denied_whatever_is_approved() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.apply(json!({"target": "001", "approval": {"required": "Always"}})).await;
    let set = shop.until("RollbackDenied").await;
    let (digest, _) = shown(&set);
    shop.apply(json!({"target": "001", "approval": {"required": "Always", "plan": digest}})).await;
    shop.until("RollbackDenied").await;
    assert_eq!(tables(&shop).await, "orders users");
    shop.close().await;
}

/// How long something has been so is for people to rely on: it moves when the answer does, and not when it is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_an_approval_moves_only_when_it_is_given() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    let patient = |approval: Value| json!({"approval": approval, "policy": {"lockTimeout": "0s"}});
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(patient(json!({"required": "Always"}))).await;
    let first = approval(&shop.until("ApprovalRequired").await).expect("it is said").last_transition_time;
    eventually("another second has begun", LIMIT, async || {
        let now = shop.ask("SELECT floor(extract(epoch FROM clock_timestamp()))::bigint").await;
        let is_later = now.parse::<i64>().is_ok_and(|now| now > first.0.as_second());
        if is_later { Ok(()) } else { Err(now) }
    })
    .await;
    shop.files("sql", &[("001_users.sql", "CREATE TABLE users (id int);"), GATED]).await;
    let set = shop.until_that("shop", "another plan waits", |set| message(set).contains("002_gated")).await;
    let still = approval(&set).expect("it is said");
    assert_eq!((still.status.as_str(), &still.last_transition_time), ("False", &first), "nobody has approved it");
    let (digest, _) = shown(&set);
    shop.apply(patient(json!({"required": "Always", "plan": digest}))).await;
    let set = shop.until_that("shop", "it runs", is_running).await;
    let given = approval(&set).expect("it is said");
    assert_eq!(given.status, "True");
    assert!(given.last_transition_time.0 > first.0, "{:?} after {first:?}", given.last_transition_time);
    drop(gate);
    let set = shop.until("UpToDate").await;
    assert!(is_ready(&set) && approval(&set).is_none());
    shop.close().await;
}
