//! What a person decides by annotation, while something else holds the spec: it does what the field does, and stands in
//! the history with who said it, where and when.

use dunlin::api::v1alpha1::MigrationSet;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    going::{ITEMS, ORDERS, USERS, standing, tables},
    line::is_ready,
    shop::{Shop, message},
};

async fn remove_annotation(shop: &Shop, key: &str) {
    let patch = json!({"metadata": {"annotations": {key: null}}});
    shop.sets().patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("it is removed");
}

/// Asks for a look, and waits for it.
async fn look(shop: &Shop, token: &str) -> MigrationSet {
    shop.annotate("dunlin.dev/reconcile", token).await;
    let answered = |set: &MigrationSet| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref()) == Some(token)
    };
    shop.until_that("shop", "it was looked at", answered).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_taken_over_by_annotation_and_that_is_recorded() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let recorded = "SELECT COALESCE(taken_over_from || '; ' || taken_over_by || '; ' || (taken_over_at IS NOT NULL)::text, '-') \
                    FROM dunlin.set";
    assert_eq!(shop.ask(recorded).await, "-");
    shop.ask("UPDATE dunlin.set SET owner = 'elsewhere/shop'").await;
    look(&shop, "look").await;
    let set = shop.until("Conflict").await;
    let owner = format!("{}/shop", shop.namespace);
    for words in ["spec.history.takeOver: elsewhere/shop", "dunlin.dev/take-over=elsewhere/shop"] {
        assert!(message(&set).contains(words), "{words} in: {}", message(&set));
    }
    shop.annotate("dunlin.dev/take-over", "elsewhere/another").await;
    look(&shop, "another").await;
    shop.until("Conflict").await;
    assert_eq!(shop.ask("SELECT owner FROM dunlin.set").await, "elsewhere/shop", "that isn't the recorded owner");
    shop.annotate("dunlin.dev/take-over", "elsewhere/shop").await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask("SELECT owner FROM dunlin.set").await, owner);
    let said = format!("elsewhere/shop; MigrationSet {owner}: annotation dunlin.dev/take-over, set by unknown; true");
    assert_eq!(shop.ask(recorded).await, said);
    remove_annotation(&shop, "dunlin.dev/take-over").await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.until_that("shop", "it goes on", |set| standing(set).1 == 2 && is_ready(set)).await;
    assert_eq!(shop.ask(recorded).await, said, "the record stays");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_undone_by_hand_is_said_by_annotation_and_recorded() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[USERS]).await;
    let set = shop.until("MissingMigration").await;
    let run = shop.ask("SELECT run FROM dunlin.migration WHERE version = '002'").await;
    let command = format!(
        "kubectl -n {} annotate --overwrite migrationset shop dunlin.dev/resolve={run}=MarkRolledBack",
        shop.namespace
    );
    assert!(message(&set).contains(&command), "{}", message(&set));
    shop.ask("DROP TABLE orders").await;
    shop.annotate("dunlin.dev/resolve", &format!("{run}=MarkRolledBack")).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(standing(&set), (Some("001".to_owned()), 1, 0));
    let recorded = format!(
        "SELECT resolution || '; ' || resolved_by || '; ' || (resolved_at IS NOT NULL)::text FROM dunlin.run WHERE id = {run}"
    );
    let said = format!(
        "MarkRolledBack; MigrationSet {}/shop: annotation dunlin.dev/resolve, set by unknown; true",
        shop.namespace
    );
    assert_eq!(shop.ask(&recorded).await, said);
    assert_eq!(shop.ask("SELECT state FROM dunlin.migration WHERE version = '002'").await, "rolled_back");
    // The file comes back, and the annotation is still there: it was about another run.
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.until_that("shop", "it is applied again", |set| standing(set).1 == 2 && is_ready(set)).await;
    assert_eq!(tables(&shop).await, "orders users");
    shop.files("sql", &[USERS]).await;
    let set = shop.until("MissingMigration").await;
    let again = shop.ask("SELECT run FROM dunlin.migration WHERE version = '002'").await;
    assert_ne!(again, run);
    assert!(message(&set).contains(&format!("names run {run}; the run that waits is {again}")), "{}", message(&set));
    shop.close().await;
}

/// A way back that can't be gone by itself is gone by hand, and the rest by the operator.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_without_a_way_down_is_undone_by_hand_and_the_rest_is_rolled_back() {
    const ONE_WAY: (&str, &str) = ("002_orders.sql", "CREATE TABLE orders (id int);");
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ONE_WAY, ITEMS]).await;
    shop.apply(json!({"policy": {"rollback": "Allow"}})).await;
    shop.until("UpToDate").await;
    shop.apply(json!({"policy": {"rollback": "Allow"}, "target": "001"})).await;
    shop.until("NoDownMigration").await;
    let run = shop.ask("SELECT run FROM dunlin.migration WHERE version = '002'").await;
    shop.ask("DROP TABLE orders").await;
    shop.annotate("dunlin.dev/resolve", &format!("{run}=MarkRolledBack")).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), ((Some("001".to_owned()), 1, 2), "users".to_owned()));
    let by = format!("MigrationSet {}/shop: annotation dunlin.dev/resolve, set by unknown", shop.namespace);
    assert_eq!(shop.ask(&format!("SELECT resolved_by FROM dunlin.run WHERE id = {run}")).await, by);
    shop.close().await;
}
