//! Seeds by the operator: behind the migrations, noticed when they change, and left failed until somebody does something.

use serde_json::json;

use crate::{
    shop::{LIMIT, Shop, message},
    support::eventually,
};

const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY, name text);");
const NAMES: &str = "SELECT coalesce(string_agg(name, ' ' ORDER BY id), '') FROM users";

fn rows(names: &str) -> String {
    format!("mode: on-change\nonConflict: update\nusers: [{names}]\n")
}

/// M25, Q64: behind the migrations, those of the environment with those of all; and a change is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn seeds_are_loaded_behind_the_migrations_and_again_when_they_change() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.files("seeds", &[("010_all.yaml", &rows("{id: 1, name: Ada}"))]).await;
    let label = |environment| [("dunlin.dev/environment", environment)];
    shop.labelled_files("dev-seeds", &label("dev"), &[("005_dev.sql", "INSERT INTO users VALUES (2, 'dev');")]).await;
    shop.labelled_files("live-seeds", &label("live"), &[("005_live.sql", "SELECT nothing;")]).await;
    let maps = json!([{"name": "seeds"}, {"name": "dev-seeds"}, {"name": "live-seeds"}]);
    shop.apply(json!({"seeds": {"configMaps": maps, "environment": "dev"}})).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(message(&set), "1 migration applied, 001; 2 seeds loaded");
    assert_eq!(shop.ask(NAMES).await, "Ada dev");
    let recorded = shop.ask("SELECT name || ' ' || coalesce(inserted::text, '-') FROM dunlin.seed ORDER BY name").await;
    assert_eq!(recorded, "010_all.yaml 1,dev/005_dev.sql -");

    shop.files("seeds", &[("010_all.yaml", &rows("{id: 1, name: Eve}, {id: 3, name: Bo}"))]).await;
    eventually("the change is loaded", LIMIT, async || {
        let names = shop.ask(NAMES).await;
        if names == "Eve dev Bo" { Ok(()) } else { Err(names) }
    })
    .await;
    shop.until("UpToDate").await;
    let counts = shop
        .ask("SELECT inserted || ' ' || updated || ' ' || unchanged FROM dunlin.seed WHERE name = '010_all.yaml'")
        .await;
    assert_eq!(counts, "1 1 0");
    shop.labelled_files("dev-seeds", &label("dev"), &[("005_dev.sql", "INSERT INTO users VALUES (9, 'again');")]).await;
    let set = shop.until_that("shop", "the edit is told", |set| message(set).contains("edited since")).await;
    assert!(
        message(&set).contains("2 seeds loaded (dev/005_dev.sql was edited since, and runs once)"),
        "{}",
        message(&set)
    );
    assert_eq!(shop.ask(NAMES).await, "Eve dev Bo");
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.migration").await, "1", "a seed is no migration");
    let recent = set.status.expect("a status").recent;
    assert_eq!(recent.len(), 1, "and none of the last applied");
    shop.close().await;
}

/// Ready isn't True before the seeds are loaded, and says which is under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_not_ready_while_a_seed_is_loaded() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let (client, connection) = tokio_postgres::connect(&shop.url, tokio_postgres::NoTls).await.expect("it answers");
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await.expect("it is free");
    shop.files("seeds", &[("010_all.yaml", &rows("{id: 1, name: Ada}"))]).await;
    shop.apply(json!({"seeds": {"configMaps": [{"name": "seeds"}]}})).await;
    let set = shop
        .until_that("shop", "the seed is shown", |set| {
            let running = set.status.as_ref().and_then(|status| status.running.as_ref());
            running.is_some_and(|running| running.version.as_deref() == Some("010_all.yaml"))
        })
        .await;
    let (truth, reason, words) = crate::shop::ready(&set).expect("Ready is there");
    assert_eq!((truth.as_str(), reason.as_str()), ("Unknown", "Seeding"));
    assert!(words.starts_with("1 of 1: seed 010_all.yaml"), "{words}");
    client.batch_execute("ROLLBACK").await.expect("it was open");
    shop.until("UpToDate").await;
    assert_eq!(shop.ask(NAMES).await, "Ada");
    let reasons = shop.reasons().await;
    assert!(reasons.contains(&"Seeding".to_owned()), "{reasons:?}");
    shop.close().await;
}

/// M25: what fails leaves nothing and stalls the set, until it is edited, or a person says Retry of its run.
#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_fails_stalls_the_set_until_an_edit_or_a_retry() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    let seeds = |text: &'static str| [("010_a.sql", "INSERT INTO users VALUES (1, 'Ada');"), ("020_b.sql", text)];
    shop.files("seeds", &seeds("INSERT INTO users VALUES (2, 'half');\nINSERT INTO users VALUES (1, 'again');")).await;
    let spec = json!({"seeds": {"configMaps": [{"name": "seeds"}]}});
    shop.apply(spec.clone()).await;
    let set = shop.until("SeedFailed").await;
    assert!(message(&set).starts_with("020_b.sql:2:1: duplicate key"), "{}", message(&set));
    let failure = set.status.as_ref().and_then(|status| status.failure.clone()).expect("it is told");
    assert_eq!((failure.version.as_deref(), failure.run, failure.line), (Some("020_b.sql"), Some(3), Some(2)));
    assert_eq!((failure.transactional, failure.sqlstate.as_deref()), (Some(true), Some("23505")));
    assert_eq!(shop.ask(NAMES).await, "Ada", "what came before stays, and nothing of it does");

    shop.annotate("dunlin.dev/reconcile", "1").await;
    shop.until_that("shop", "it is looked at again", |set| {
        set.status.as_ref().is_some_and(|status| status.last_handled_reconcile.as_deref() == Some("1"))
    })
    .await;
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, "3", "it ran again unasked");

    shop.apply(
        json!({"seeds": spec["seeds"], "resolutions": [{"version": "020_b.sql", "run": 3, "action": "Resume"}]}),
    )
    .await;
    let set = shop.until_that("shop", "the wrong decision is told", |set| message(set).contains("only Retry is")).await;
    assert!(message(&set).contains("spec.resolutions[0] asks for Resume"), "{}", message(&set));
    shop.apply(json!({"seeds": spec["seeds"], "resolutions": [{"version": "020_b.sql", "run": 3, "action": "Retry"}]}))
        .await;
    shop.until_that("shop", "it failed again", |set| {
        set.status.as_ref().and_then(|status| status.failure.as_ref()).is_some_and(|failure| failure.run == Some(4))
    })
    .await;
    shop.ask("DELETE FROM users").await;
    shop.annotate("dunlin.dev/resolve", "4=Retry").await;
    let set = shop.until("UpToDate").await;
    assert_eq!(set.status.expect("a status").failure, None);
    assert_eq!(shop.ask(NAMES).await, "again half");

    shop.files("seeds", &[("030_c.json", r#"{"gone": [{"a": 1}]}"#)]).await;
    let set = shop.until("SeedFailed").await;
    assert!(message(&set).starts_with("030_c.json:1: table gone: there is no such table"), "{}", message(&set));
    shop.files("seeds", &[("030_c.json", r#"{"users": [{"id": 3, "name": "c"}]}"#)]).await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask(NAMES).await, "again half c");
    shop.close().await;
}

/// A ConfigMap of seeds that is absent is waited for, and what is wrong in one runs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn seeds_that_are_absent_or_wrong_hold_everything_up() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"seeds": {"configMaps": [{"name": "seeds"}]}})).await;
    let set = shop.until("WaitingForSource").await;
    assert!(message(&set).contains("ConfigMap seeds of spec.seeds isn't there"), "{}", message(&set));
    shop.files("seeds", &[("010_a.sql", "INSERT INTO users VALUES (1, 'Ada');\nCOMMIT;")]).await;
    let set = shop.until("InvalidSource").await;
    assert!(message(&set).contains("010_a.sql:2: COMMIT"), "{}", message(&set));
    assert_eq!(shop.ask("SELECT to_regclass('users') IS NULL").await, "t", "nothing was run");
    shop.files("seeds", &[("010_a.sql", "INSERT INTO users VALUES (1, 'Ada');")]).await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask(NAMES).await, "Ada");
    shop.delete_files("seeds").await;
    shop.until("WaitingForSource").await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.close().await;
}

/// With migrations left out or rolled back the schema isn't complete: nothing is loaded into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_below_the_latest_loads_nothing() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ("002_b.sql", "CREATE TABLE b (a int);\n-- migrate: down\nDROP TABLE b;")]).await;
    shop.files("seeds", &[("010_a.sql", "INSERT INTO users VALUES (1, 'Ada');")]).await;
    let seeds = json!({"configMaps": [{"name": "seeds"}]});
    shop.apply(json!({"seeds": seeds, "target": "001"})).await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask(NAMES).await, "");
    shop.apply(json!({"seeds": seeds})).await;
    shop.until_that("shop", "it is loaded", |set| message(set).contains("1 seed loaded")).await;
    assert_eq!(shop.ask(NAMES).await, "Ada");
    shop.close().await;
}
