//! Verbs by which a person decides: approve, resolve, retry, suspend, resume, rollback.

use dunlin::api::v1alpha1::MigrationSet;
use kube::ResourceExt;
use serde_json::json;

use super::plugin::Plugin;
use crate::{
    going::{ORDERS, USERS, tables},
    shop::Shop,
};

const DONE: &str = "migrationset.dunlin.dev/shop";
/// It fails until a table named `ready` is there.
const NEEDS: (&str, &str) = ("002_needs.sql", "INSERT INTO ready VALUES (1);");

fn failed_run(set: &MigrationSet) -> String {
    let run = set.status.as_ref().and_then(|status| status.failure.as_ref()?.run);
    run.expect("a run failed").to_string()
}

fn digest(set: &MigrationSet) -> String {
    set.status.as_ref().and_then(|status| status.plan.as_ref()?.digest.clone()).expect("a plan is shown")
}

fn managers_of(set: &MigrationSet, field: &str) -> Vec<String> {
    let entries = set.managed_fields().iter().filter(|entry| {
        entry.subresource.is_none() && serde_json::to_string(&entry.fields_v1).is_ok_and(|text| text.contains(field))
    });
    entries.filter_map(|entry| entry.manager.clone()).collect()
}

/// M36: who approved it stands in the history.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_approved_as_it_is_shown() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({"approval": {"required": "Always"}})).await;
    let digest = digest(&shop.until("ApprovalRequired").await);
    let other = format!("sha256:{}", "0".repeat(64));
    let said = plugin.fails(4, &["approve", "shop", "--plan", &other]);
    assert!(said.contains(&other) && said.contains(&digest), "{said}");
    let said = plugin.fails(2, &["approve", "shop", "--plan", "sha256:12"]);
    assert!(said.contains("is no digest"), "{said}");
    shop.until("ApprovalRequired").await;
    assert_eq!(tables(&shop).await, "", "nothing ran");
    let shown = plugin.succeeds(&["approve", "shop", "--plan", &digest]);
    assert!(shown.contains("001       users    Up") && shown.contains("002       orders   Up"), "{shown}");
    assert!(shown.contains(&format!("plan {digest}\n")), "{shown}");
    assert!(shown.ends_with(&format!("{DONE} approved\n")), "{shown}");
    shop.until("UpToDate").await;
    assert_eq!(tables(&shop).await, "orders users");
    let set = shop.sets().get("shop").await.expect("it is there");
    assert_eq!(managers_of(&set, "approved-plan"), ["dunlin"]);
    let by = format!("MigrationSet {}/shop: annotation dunlin.dev/approved-plan, set by dunlin", shop.namespace);
    assert_eq!(shop.ask("SELECT approved_by FROM dunlin.plan").await, by);
    let said = plugin.fails(3, &["approve", "shop"]);
    assert!(said.contains("has no plan that waits for approval: its status is UpToDate"), "{said}");
    shop.close().await;
}

/// M21: what failed is decided by a person.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_run_again_and_what_was_done_by_hand_is_not() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS, NEEDS]).await;
    shop.apply(json!({})).await;
    let run = failed_run(&shop.until("MigrationFailed").await);
    for (arguments, why) in [
        (&["--run", "4711", "--as", "retry"], format!("run 4711 waits for no decision: those that do are {run}")),
        (&["--run", &run, "--as", "accept-checksum"], "has no edited file to accept".to_owned()),
    ] {
        let said = plugin.fails(3, &[&["resolve", "shop"][..], arguments].concat());
        assert!(said.contains(&why), "{said}");
    }
    for arguments in [&["--run", "0", "--as", "retry"], &["--run", &run, "--as", "nonsense"]] {
        plugin.fails(2, &[&["resolve", "shop"][..], arguments].concat());
    }
    let set = shop.sets().get("shop").await.expect("it is there");
    assert_eq!(set.annotations().get("dunlin.dev/resolve"), None, "nothing was decided");

    assert_eq!(plugin.succeeds(&["retry", "shop"]), format!("{DONE} retried\n"));
    let again = shop
        .until_that("shop", "it failed again", |set| {
            set.status
                .as_ref()
                .and_then(|status| status.failure.as_ref()?.run)
                .is_some_and(|now| now.to_string() != run)
        })
        .await;
    shop.ask("CREATE TABLE ready (id int)").await;
    let run = failed_run(&again);
    assert_eq!(plugin.succeeds(&["resolve", "shop", "--run", &run, "--as", "retry"]), format!("{DONE} resolved\n"));
    shop.until("UpToDate").await;
    let set = shop.sets().get("shop").await.expect("it is there");
    assert_eq!(set.annotations().get("dunlin.dev/resolve"), Some(&format!("{run}=Retry")));
    assert_eq!(managers_of(&set, "dunlin.dev/resolve"), ["dunlin"]);
    let said = plugin.fails(3, &["retry", "shop"]);
    assert!(said.contains("shows no failed run, its status is UpToDate") && said.contains("reconcile"), "{said}");
    shop.close().await;
}

/// M35: an edit is accepted by the run that applied the file, and a file that is gone by the run that the message names.
#[tokio::test(flavor = "multi_thread")]
async fn drift_is_accepted_and_what_was_undone_by_hand_is_said() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let edited = ("001_users.sql", "CREATE TABLE users (id int, name text);");
    shop.files("sql", &[edited, ORDERS]).await;
    let set = shop.until("ChecksumDrift").await;
    let drift = set.status.as_ref().and_then(|status| status.drift.clone()).expect("drift is shown");
    let run = drift.checksums[0].run.expect("it names its run").to_string();
    let said = plugin.fails(3, &["resolve", "shop", "--run", &run, "--as", "retry"]);
    assert!(said.contains("its file edited since"), "{said}");
    plugin.succeeds(&["resolve", "shop", "--run", &run, "--as", "accept-checksum"]);
    shop.until("UpToDate").await;
    shop.files("sql", &[edited]).await;
    shop.until("MissingMigration").await;
    let run = shop.ask("SELECT run FROM dunlin.migration WHERE version = '002'").await;
    shop.ask("DROP TABLE orders").await;
    plugin.succeeds(&["resolve", "shop", "--run", &run, "--as", "mark-rolled-back"]);
    shop.until("UpToDate").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_suspended_and_goes_on() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    assert_eq!(plugin.succeeds(&["suspend", "shop"]), format!("{DONE} suspended\n"));
    let set = shop.until("Suspended").await;
    assert_eq!(managers_of(&set, "f:suspend"), ["dunlin"]);
    assert_eq!(plugin.succeeds(&["resume", "migrationset/shop"]), format!("{DONE} resumed\n"));
    shop.until("UpToDate").await;
    plugin.fails(2, &["suspend", "pod/shop"]);
    plugin.fails(2, &["resume"]);
    shop.close().await;
}

/// H04, H11: by version and by batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_shown_and_asked_for_and_done() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let said = plugin.fails(4, &["rollback", "shop", "--to", "001", "--yes"]);
    assert!(said.contains("spec.policy.rollback is Deny"), "{said}");
    shop.apply(json!({"policy": {"rollback": "Allow"}})).await;
    let said = plugin.fails(8, &["rollback", "shop", "--to", "001"]);
    assert!(said.contains("spec.target: latest -> 001") && said.contains("--yes"), "{said}");
    assert!(said.contains("the manifest is the better place") && said.contains("GitOps"), "{said}");
    let set = shop.until("UpToDate").await;
    assert_eq!(set.spec.target, "latest");
    for wrong in ["latest", "users", "batch:x"] {
        plugin.fails(2, &["rollback", "shop", "--to", wrong, "--yes"]);
    }
    assert_eq!(plugin.succeeds(&["rollback", "shop", "--to", "001", "--yes"]), format!("{DONE} patched\n"));
    let set = shop.until("UpToDate").await;
    assert_eq!((set.spec.target.as_str(), managers_of(&set, "f:target")), ("001", vec!["dunlin".to_owned()]));
    assert_eq!(tables(&shop).await, "users");
    assert_eq!(plugin.succeeds(&["rollback", "shop", "--to", "001"]), format!("{DONE} patched (no change)\n"));
    plugin.succeeds(&["rollback", "shop", "--to", "batch:0", "--yes"]);
    shop.until("UpToDate").await;
    assert_eq!(tables(&shop).await, "");
    shop.close().await;
}
