//! Verbs that wait: wait, reconcile.

use kube::api::DeleteParams;
use serde_json::json;

use super::plugin::Plugin;
use crate::{
    going::{ORDERS, USERS, tables},
    shop::{LIMIT, Shop},
    support::eventually,
};

const MET: &str = "migrationset.dunlin.dev/shop condition met\n";
const OTHER: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// P05, Q76, Q75: it is safe to gate a deployment.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_the_set_is_ready() {
    let mut shop = Shop::closed().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    let said = plugin.fails(7, &["wait", "shop", "--timeout", "0s"]);
    assert!(said.contains("nobody has looked at it yet"), "{said}");
    let waits = plugin.start(&["wait", "shop", "--for", "ready", "--timeout", "60s"]);
    shop.start_operator().await;
    let ended = waits.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), MET), "{ended:?}");
    assert_eq!(tables(&shop).await, "users");
    plugin.fails(2, &["wait", "shop", "--for", "stalled"]);
    plugin.fails(2, &["wait", "shop", "--timeout", "soon"]);
    shop.close().await;
}

/// Yesterday's True doesn't count, nor does yesterday's content.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_digest_ends_with_that_content_alone() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let said = plugin.fails(7, &["wait", "shop", "--digest", OTHER, "--timeout", "200ms"]);
    assert!(said.contains("Ready with the content sha256:") && said.contains(OTHER), "{said}");
    let pending = [USERS, ORDERS];
    let files = pending.map(|(name, text)| dunlin::core::bundle::BundleFile {
        name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
        origin: "sql".to_owned(),
    });
    let digest = dunlin::core::bundle::Bundle::new(files.to_vec()).expect("no file twice").digest().to_string();
    let waits = plugin.start(&["wait", "shop", "--digest", &digest, "--timeout", "60s"]);
    shop.files("sql", &pending).await;
    let ended = waits.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), MET), "{ended:?}");
    assert_eq!(tables(&shop).await, "orders users");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_at_once_where_a_person_is_needed_with_the_code_of_the_reason() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[("001_broken.sql", "SELEKT 1;")]).await;
    shop.apply(json!({})).await;
    let said = plugin.fails(5, &["wait", "shop", "--timeout", "60s"]);
    assert!(said.contains("is Stalled, MigrationFailed: 001_broken.sql:1:1"), "{said}");
    shop.files("sql", &[("no_version.sql", "SELECT 1;")]).await;
    shop.until("InvalidSource").await;
    plugin.fails(3, &["wait", "shop"]);
    shop.files("sql", &[USERS]).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[("001_users.sql", "CREATE TABLE users ();")]).await;
    shop.until("ChecksumDrift").await;
    plugin.fails(4, &["wait", "shop"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_what_is_deleted_ends() {
    let shop = Shop::closed().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.apply(json!({})).await;
    let waits = plugin.start(&["wait", "shop", "--timeout", "60s"]);
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("nothing holds it");
    let ended = waits.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
    assert!(ended.stderr.contains("was deleted meanwhile") || ended.stderr.contains("(NotFound)"), "{ended:?}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_asked_for_and_awaited() {
    let mut shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "24h"})).await;
    shop.until("UpToDate").await;
    shop.ask("UPDATE dunlin.set SET owner = 'elsewhere/shop'").await;
    let ran = plugin.run(&["reconcile", "shop"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "migrationset.dunlin.dev/shop reconciled\n"), "{ran:?}");
    assert!(ran.stderr.contains("Conflict"), "it tells what the look found: {ran:?}");
    shop.until("Conflict").await;
    let token = |set: &dunlin::api::v1alpha1::MigrationSet| set.metadata.annotations.clone().unwrap_or_default();
    let first = token(&shop.sets().get("shop").await.expect("it is there"));
    shop.stop_operator().await;
    let said = plugin.fails(7, &["reconcile", "shop", "--timeout", "200ms"]);
    assert!(said.contains("not so within 0.2 s; at last: Conflict"), "{said}");
    let second = token(&shop.sets().get("shop").await.expect("it is there"));
    assert_ne!(first, second, "each look has a token of its own");
    let asked = plugin.succeeds(&["reconcile", "shop", "--no-wait"]);
    assert_eq!(asked, "migrationset.dunlin.dev/shop annotated\n");
    plugin.fails(2, &["reconcile", "shop", "--no-wait", "--timeout", "1s"]);
    shop.start_operator().await;
    let third = token(&shop.sets().get("shop").await.expect("it is there"))["dunlin.dev/reconcile"].clone();
    eventually("the look is answered", LIMIT, async || {
        let set = shop.sets().get("shop").await.map_err(|error| error.to_string())?;
        let answered = set.status.and_then(|status| status.last_handled_reconcile);
        if answered.as_ref() == Some(&third) { Ok(()) } else { Err(format!("{answered:?}")) }
    })
    .await;
    shop.close().await;
}
