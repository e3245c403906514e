//! A server that is full of connections: it is waited for with growing pauses, named by its SQLSTATE, and found again.

use dunlin::api::v1alpha1::MigrationSet;
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::{
    install::install_crd,
    line::applied,
    shop::{LIMIT, Shop, message, ready},
    support::{Dedicated, Proxy, dedicated_postgres, eventually, kubernetes},
};

const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id int);");

/// A server for few clients.
fn small() -> Dedicated {
    dedicated_postgres(&["max_connections=8", "superuser_reserved_connections=0", "max_wal_senders=0"], &[], &[])
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Takes every connection that there is.
async fn take_all(url: &str) -> Vec<Client> {
    let mut taken = Vec::new();
    loop {
        match connect(url).await {
            Ok(client) => taken.push(client),
            Err(error) => {
                let state = error.as_db_error().map(|error| error.code().code().to_owned());
                assert_eq!(state.as_deref(), Some("53300"), "{error}");
                return taken;
            }
        }
    }
}

fn waits(set: &MigrationSet, tries: i64) -> bool {
    let retries = set.status.as_ref().map_or(0, |status| status.retries);
    ready(set).is_some_and(|(_, reason, message)| reason == "WaitingForDatabase" && message.contains("53300"))
        && retries >= tries
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_free_connection_is_waited_for_and_not_hammered() {
    install_crd();
    let server = small();
    let mut shop = Shop::at(kubernetes(), server.url().to_owned()).await;
    let proxy = Proxy::to(server.about().port).await;
    shop.secret("db", &[("uri", &proxy.url(server.url()))]).await;
    shop.files("sql", &[USERS]).await;
    let taken = take_all(server.url()).await;
    assert!(taken.len() > 3, "{}", taken.len());
    shop.start_operator().await;
    shop.apply(json!({})).await;
    shop.until_that("shop", "it waits", |set| waits(set, 3)).await;
    assert!(proxy.accepted() <= 4, "one connection a try: {}", proxy.accepted());
    drop(taken);
    let set = shop.until("UpToDate").await;
    assert_eq!((applied(&set), set.status.map(|status| status.retries)), (1, Some(0)));
    shop.close().await;
}

/// There is room for the session that looks, and none for the second one, which watches: nothing is run without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_single_free_connection_runs_nothing_and_is_not_hammered() {
    install_crd();
    let server = small();
    let mut shop = Shop::at(kubernetes(), server.url().to_owned()).await;
    let proxy = Proxy::to(server.about().port).await;
    shop.secret("db", &[("uri", &proxy.url(server.url()))]).await;
    shop.files("sql", &[USERS]).await;
    let mut taken = take_all(server.url()).await;
    drop(taken.pop());
    let watcher = taken.pop().expect("one more to ask with");
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    eventually("there is room for one", LIMIT, async || {
        let count: i64 = watcher.query_one(asked, &[]).await.expect("an answer").get(0);
        if count == 7 { Ok(()) } else { Err(count) }
    })
    .await;
    shop.start_operator().await;
    shop.apply(json!({})).await;
    let set = shop.until_that("shop", "it waits", |set| waits(set, 3)).await;
    assert!(proxy.accepted() <= 8, "two connections a try: {}; {}", proxy.accepted(), message(&set));
    let unmade: bool =
        watcher.query_one("SELECT to_regnamespace('dunlin') IS NULL", &[]).await.expect("an answer").get(0);
    assert!(unmade, "nothing was made");
    drop(taken);
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 1);
    shop.close().await;
}
