//! The line from a ConfigMap to a database that holds it, and what the status says on the way.

use dunlin::api::v1alpha1::MigrationSet;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::shop::{Shop, condition, message, ready};

const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY, name text);");
const ORDERS: (&str, &str) = ("002_orders.sql", "CREATE TABLE orders (id int PRIMARY KEY);");

/// M12: what is pending is applied, in order, and the status says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_config_map_holds_is_applied() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({})).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(
        shop.ask("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('users', 'orders')")
            .await,
        "orders users"
    );
    let status = set.status.as_ref().expect("a status");
    let applied = status.applied.as_ref().expect("something is applied");
    assert_eq!((applied.version.as_deref(), applied.count, applied.pending), (Some("002"), 2, 0));
    assert_eq!(applied.digest, status.source.as_ref().and_then(|source| source.digest.clone()));
    assert_eq!(status.source.as_ref().map(|source| source.files), Some(2));
    let recent: Vec<_> = status.recent.iter().filter_map(|recent| recent.version.clone()).collect();
    assert_eq!(recent, ["002", "001"]);
    assert_eq!(status.plan, None);
    assert_eq!(condition(&set, "DatabaseReachable").map(|found| found.0).as_deref(), Some("True"));
    assert_eq!(condition(&set, "ChecksumsMatch").map(|found| found.0).as_deref(), Some("True"));
    let schema = condition(&set, "SchemaInSync").expect("it is said");
    assert_eq!((schema.0.as_str(), schema.1.as_str()), ("Unknown", "NotChecked"));
    shop.close().await;
}

/// M12: only what is new is applied, and Ready isn't True between a change and its being applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_added_is_applied_and_ready_is_unknown_until_then() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[USERS, ORDERS]).await;
    let set = shop.until_that("shop", "both are applied", |set| applied(set) == 2 && is_ready(set)).await;
    assert_eq!(message(&set), "2 migrations applied, up to 002");
    let mut reasons = shop.reasons().await;
    // Whether it is also shown at work depends on how long that takes.
    reasons.retain(|reason| reason != "Applying");
    assert_eq!(reasons, ["Checking", "UpToDate", "Checking", "UpToDate"], "no stale green in between");
    shop.close().await;
}

/// M35: an applied file that was edited stalls the set; put back, it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_migration_stalls_the_set() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[(USERS.0, "CREATE TABLE users (id bigint PRIMARY KEY);"), ORDERS]).await;
    let set = shop.until("ChecksumDrift").await;
    assert_eq!(condition(&set, "Stalled").map(|found| found.0).as_deref(), Some("True"));
    let drift = condition(&set, "ChecksumsMatch").expect("it is said");
    assert_eq!((drift.0.as_str(), drift.1.as_str()), ("False", "ChecksumDrift"));
    assert!(drift.2.contains("001_users.sql"), "{}", drift.2);
    let shown = set.status.as_ref().and_then(|status| status.drift.clone()).expect("it is shown");
    assert_eq!(shown.checksums.len(), 1);
    assert_eq!(shop.ask("SELECT to_regclass('orders')").await, "NULL", "nothing runs while it is stalled");
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.until_that("shop", "it goes on", |set| applied(set) == 2 && is_ready(set)).await;
    shop.close().await;
}

/// M35: drift that is only to be reported leaves the set Ready.
#[tokio::test(flavor = "multi_thread")]
async fn drift_that_is_to_be_reported_is_reported() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"policy": {"onChecksumDrift": "Report"}})).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[(USERS.0, "CREATE TABLE users (id bigint PRIMARY KEY);")]).await;
    let drifted = |set: &_| condition(set, "ChecksumsMatch").is_some_and(|found| found.0 == "False");
    let set = shop.until_that("shop", "drift is reported", |set| drifted(set) && is_ready(set)).await;
    assert_eq!(ready(&set).map(|found| found.1).as_deref(), Some("UpToDate"));
    shop.close().await;
}

/// A drifted file is accepted by the entry that the message gives; the entry may stay.
#[tokio::test(flavor = "multi_thread")]
async fn drift_is_accepted_by_a_resolution() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[(USERS.0, "CREATE TABLE users (id bigint PRIMARY KEY);")]).await;
    let set = shop.until("ChecksumDrift").await;
    let drift = set.status.and_then(|status| status.drift).expect("it is shown");
    let run = drift.checksums[0].run.expect("the run is shown");
    shop.apply(json!({"resolutions": [{"version": "001", "run": run, "action": "AcceptChecksum"}]})).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(condition(&set, "ChecksumsMatch").map(|found| found.0).as_deref(), Some("True"));
    shop.close().await;
}

/// P04, P05, P26, P28: a broken migration says where; mended, it is applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_migration_says_file_line_and_column_and_is_applied_when_mended() {
    let shop = Shop::open().await;
    let broken = "CREATE TABLE orders (id int);\nINSERT INTO orders\nVALUES (1, nonsense);\n";
    shop.files("sql", &[USERS, ("002_orders.sql", broken)]).await;
    shop.apply(json!({})).await;
    let set = shop.until("MigrationFailed").await;
    assert!(message(&set).contains("002_orders.sql:3:12"), "{}", message(&set));
    let failure = set.status.as_ref().and_then(|status| status.failure.clone()).expect("it is shown");
    assert_eq!((failure.line, failure.column, failure.sqlstate.as_deref()), (Some(3), Some(12), Some("42703")));
    assert_eq!((failure.version.as_deref(), failure.transactional), (Some("002"), Some(true)));
    assert_eq!(applied(&set), 1, "what came before it stays applied");
    assert_eq!(shop.ask("SELECT to_regclass('orders')").await, "NULL", "nothing of it is left");
    shop.files("sql", &[USERS, ORDERS]).await;
    let set = shop.until_that("shop", "it is mended", |set| applied(set) == 2 && is_ready(set)).await;
    assert_eq!(set.status.and_then(|status| status.failure), None);
    shop.close().await;
}

/// P28: a failed migration isn't run again by itself; `Retry` of its run by annotation runs it.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_migration_runs_again_when_a_person_says_so() {
    let shop = Shop::open().await;
    shop.files("sql", &[("001_grant.sql", "SELECT count(*) FROM made_by_hand;")]).await;
    shop.apply(json!({"interval": "1s"})).await;
    let set = shop.until("MigrationFailed").await;
    let run = set.status.and_then(|status| status.failure).and_then(|failure| failure.run).expect("a run");
    shop.ask("CREATE TABLE made_by_hand (id int)").await;
    shop.annotate("dunlin.dev/reconcile", "look").await;
    let looked = |set: &MigrationSet| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref()) == Some("look")
    };
    let set = shop.until_that("shop", "it was looked at", looked).await;
    assert_eq!(ready(&set).map(|found| found.1).as_deref(), Some("MigrationFailed"), "looking is not running");
    shop.annotate("dunlin.dev/resolve", &format!("{run}=Retry")).await;
    shop.until("UpToDate").await;
    shop.close().await;
}

/// M20, M21: a failed statement outside of a transaction stops everything until a person decides about that run.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_statement_outside_of_a_transaction_waits_for_a_person() {
    let shop = Shop::open().await;
    let index =
        "-- migrate: no-transaction\nCREATE TABLE once (id int);\nCREATE INDEX CONCURRENTLY i ON nowhere (id);\n";
    shop.files("sql", &[("001_index.sql", index), ORDERS]).await;
    shop.apply(json!({})).await;
    let set = shop.until("NonTransactionalFailed").await;
    let failure = set.status.as_ref().and_then(|status| status.failure.clone()).expect("it is shown");
    assert_eq!((failure.statement, failure.statements_applied, failure.transactional), (Some(2), 1, Some(false)));
    assert!(message(&set).contains("resolutions") && message(&set).contains("Resume"), "{}", message(&set));
    assert_eq!(shop.ask("SELECT to_regclass('orders')").await, "NULL", "nothing runs after it");
    shop.ask("CREATE TABLE nowhere (id int)").await;
    let run = failure.run.expect("the run is shown");
    shop.apply(json!({"resolutions": [{"version": "001", "run": run, "action": "Resume"}]})).await;
    shop.until("UpToDate").await;
    shop.close().await;
}

/// The database holds more than the source: by default that stalls, with `Ignore` it is a Ready of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_stalls_the_set_unless_that_is_ignored() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[USERS]).await;
    let set = shop.until("MissingMigration").await;
    assert_eq!(set.status.and_then(|status| status.drift).map(|drift| drift.missing), Some(vec!["002".to_owned()]));
    shop.apply(json!({"policy": {"onMissing": "Ignore"}})).await;
    let set = shop.until("DatabaseAhead").await;
    assert_eq!(ready(&set).map(|found| found.0).as_deref(), Some("True"));
    shop.close().await;
}

/// M35: a file that comes late stalls the set unless the policy allows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_file_is_out_of_order_unless_that_is_allowed() {
    let shop = Shop::open().await;
    shop.files("sql", &[ORDERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.until("OutOfOrder").await;
    shop.apply(json!({"policy": {"outOfOrder": "Allow"}})).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 2);
    shop.close().await;
}

/// The history says who decided: whoever wrote the entry, or the annotation, whoever else works on the object.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_says_by_whom_a_run_was_resolved() {
    let shop = Shop::open().await;
    shop.files("sql", &[("001_grant.sql", "SELECT count(*) FROM made_by_hand;")]).await;
    shop.apply(json!({})).await;
    let failed = async |after: i64| {
        let has_failed = |set: &MigrationSet| failed_run(set).is_some_and(|run| run > after);
        failed_run(&shop.until_that("shop", "a later run has failed", has_failed).await).expect("a run")
    };
    let first = failed(0).await;
    let resolutions = json!([{"version": "001", "run": first, "action": "Retry"}]);
    let object = json!({
        "apiVersion": "dunlin.dev/v1alpha1",
        "kind": "MigrationSet",
        "metadata": {"name": "shop"},
        "spec": {"resolutions": resolutions},
    });
    shop.sets().patch("shop", &PatchParams::apply("alice"), &Patch::Apply(&object)).await.expect("alice decides");
    let second = failed(first).await;
    shop.ask("CREATE TABLE made_by_hand (id int)").await;
    let annotation = json!({"metadata": {"annotations": {"dunlin.dev/resolve": format!("{second}=Retry")}}});
    let bob = PatchParams { field_manager: Some("bob".to_owned()), ..PatchParams::default() };
    shop.sets().patch("shop", &bob, &Patch::Merge(&annotation)).await.expect("bob decides");
    shop.until("UpToDate").await;
    let owner = format!("MigrationSet {}/shop", shop.namespace);
    let resolved = shop.ask("SELECT resolved_by FROM dunlin.run WHERE resolved_by IS NOT NULL ORDER BY id").await;
    let expected = [
        format!("{owner}: spec.resolutions[0], set by alice"),
        format!("{owner}: annotation dunlin.dev/resolve, set by bob"),
    ];
    assert_eq!(resolved, expected.join(","));
    shop.close().await;
}

pub fn applied(set: &MigrationSet) -> i64 {
    set.status.as_ref().and_then(|status| status.applied.as_ref()).map_or(0, |applied| applied.count)
}

pub fn is_ready(set: &MigrationSet) -> bool {
    ready(set).is_some_and(|(status, _, _)| status == "True")
}

fn failed_run(set: &MigrationSet) -> Option<i64> {
    set.status.as_ref()?.failure.as_ref()?.run
}
