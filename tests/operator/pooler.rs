//! A set whose Secret leads through a transaction-mode PgBouncer, and the way past it.

use serde_json::json;

use crate::{
    line::is_ready,
    shop::{Shop, condition, message},
    support::Pooler,
};

const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY);");
const INDEX: (&str, &str) =
    ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY users_id ON users (id);\n");

/// A shop whose Secret `db` leads through the pooler.
async fn pooled() -> (Shop, Pooler) {
    let pooler = Pooler::start("pool_mode = transaction\ndefault_pool_size = 4").await;
    let shop = Shop::open().await;
    shop.secret("db", &[("uri", &pooler.url(&shop.url))]).await;
    shop.files("sql", &[USERS, INDEX]).await;
    (shop, pooler)
}

/// It is said and nothing is run; naming the way past the pooler is enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_pooler_is_named_and_a_direct_secret_is_the_way_out() {
    let (shop, _pooler) = pooled().await;
    shop.apply(json!({})).await;
    let set = shop.until("PoolerNotSupported").await;
    assert_eq!(condition(&set, "Stalled").map(|found| found.0).as_deref(), Some("True"));
    assert!(message(&set).contains("spec.database.directSecretRef"), "{}", message(&set));
    assert_eq!(shop.ask("SELECT to_regclass('users') IS NULL AND to_regnamespace('dunlin') IS NULL").await, "t");

    shop.secret("db-direct", &[("uri", &shop.url)]).await;
    shop.apply(json!({"database": {"secretRef": {"name": "db"}, "directSecretRef": {"name": "db-direct"}}})).await;
    let set = shop.until_that("shop", "everything is applied", is_ready).await;
    assert_eq!(message(&set), "2 migrations applied, up to 002");
    assert_eq!(shop.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 'users_id'::regclass").await, "t");
    shop.close().await;
}

/// The way past the pooler is the only one: what lies on the other isn't asked for, and a missing Secret is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_direct_secret_alone_is_read() {
    let (shop, pooler) = pooled().await;
    drop(pooler);
    shop.apply(json!({"database": {"secretRef": {"name": "absent"}, "directSecretRef": {"name": "db-direct"}}})).await;
    let set = shop.until("WaitingForSecret").await;
    assert!(message(&set).contains("Secret db-direct isn't there"), "{}", message(&set));
    shop.secret("db-direct", &[("uri", &shop.url)]).await;
    shop.until_that("shop", "everything is applied", is_ready).await;
    shop.close().await;
}
