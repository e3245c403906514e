//! An API server that is away, forgets, or shows the past: what runs goes on, nothing runs twice, and the status is right when
//! it is over.

use std::time::Duration;

use dunlin::{api::v1alpha1::MigrationSet, controller};
use kube::{Client, Config, api::DeleteParams};
use serde_json::json;

use crate::{
    conduct::{AFTER, GATED, USERS, gate, is_running},
    install::install_crd_at,
    liar::{Liar, Mode},
    line::{applied, is_ready},
    process::OperatorProcess,
    shop::{LIMIT, Operator, Shop, message},
    support::{Proxy, dedicated_kubernetes, eventually, fresh_database},
};

const MORE: (&str, &str) = ("004_more.sql", "CREATE TABLE more (id int);");

/// The shop's API server, by way of a proxy.
async fn proxied(shop: &Shop) -> (Proxy, Config) {
    let port = shop.config.cluster_url.port_u16().expect("the API server has a port");
    let proxy = Proxy::to(port).await;
    let mut config = shop.config.clone();
    config.cluster_url = format!("https://127.0.0.1:{}/", proxy.port()).parse().expect("a URL");
    (proxy, config)
}

fn operator(shop: &Shop, client: Client) -> Operator {
    Operator::start(client, &shop.namespace, controller::GRACE_PERIOD)
}

async fn nothing_ran_twice(shop: &Shop, count: usize) {
    let told = shop.ask("SELECT count(*) || min(outcome) || max(outcome) FROM dunlin.run").await;
    assert_eq!(told, format!("{count}succeededsucceeded"));
}

async fn applied_in_the_database(shop: &Shop, expected: &str) {
    eventually("the database has it", LIMIT, async || {
        let count = shop.ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied'").await;
        if count == expected { Ok(()) } else { Err(count) }
    })
    .await;
}

/// The API server goes away in the middle of a run: that goes on, and its status is written when it can be.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_while_the_api_server_is_out_of_reach() {
    let shop = Shop::closed().await;
    let (proxy, config) = proxied(&shop).await;
    let operator = operator(&shop, Client::try_from(config).expect("a client"));
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    shop.until_that("shop", "it runs", is_running).await;
    proxy.close();
    drop(gate);
    applied_in_the_database(&shop, "3").await;
    let set = shop.sets().get("shop").await.expect("it is there");
    assert!(is_running(&set), "nobody could have written anything else: {:#?}", set.status);
    proxy.open();
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    nothing_ran_twice(&shop, 3).await;
    operator.stop().await;
    shop.close().await;
}

/// What changes while the API server is out of reach of an idle operator is seen afterwards; one that is started then waits.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_the_api_server_is_out_of_reach_is_seen_afterwards() {
    let shop = Shop::closed().await;
    let (proxy, config) = proxied(&shop).await;
    proxy.close();
    let operator = operator(&shop, Client::try_from(config).expect("a client"));
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1h"})).await;
    eventually("it has asked in vain", LIMIT, async || match proxy.accepted() {
        0..3 => Err(proxy.accepted()),
        _ => Ok(()),
    })
    .await;
    assert_eq!(
        shop.sets().get("shop").await.expect("it is there").status.map(|it| it.observed_generation),
        Some(Some(-1))
    );
    proxy.open();
    shop.until("UpToDate").await;
    proxy.close();
    shop.files("sql", &[USERS, AFTER]).await;
    proxy.open();
    shop.until_that("shop", "the change is applied", |set| applied(set) == 2 && is_ready(set)).await;
    nothing_ran_twice(&shop, 2).await;
    operator.stop().await;
    shop.close().await;
}

/// Watches that have grown too old (410 Gone) are begun anew by a list: nothing is lost, and nothing runs twice.
#[tokio::test(flavor = "multi_thread")]
async fn watches_that_are_too_old_lose_nothing() {
    let shop = Shop::closed().await;
    let (proxy, config) = proxied(&shop).await;
    let liar = Liar::new();
    let operator = operator(&shop, liar.client(config));
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED]).await;
    shop.files("others", &[("001_other.sql", "CREATE TABLE other (id int);")]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}, "interval": "1h"})).await;
    shop.apply_as(
        "second",
        json!({"history": {"set": "shared"}, "source": {"configMaps": [{"name": "others"}]}, "interval": "1h"}),
    )
    .await;
    shop.until_of("second", "UpToDate").await;
    shop.until_that("shop", "it runs", is_running).await;
    liar.show(Mode::WatchesAreGone);
    proxy.cut();
    // Seen by lists alone: a change of content, a set that goes, and one that comes in its place.
    shop.sets().delete("second", &DeleteParams::default()).await.expect("nothing holds it");
    shop.apply_as(
        "third",
        json!({"history": {"set": "shared"}, "source": {"configMaps": [{"name": "others"}]}, "interval": "1h"}),
    )
    .await;
    shop.until_of("third", "UpToDate").await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    drop(gate);
    shop.until_that("shop", "the change is applied", |set| applied(set) == 3 && is_ready(set)).await;
    assert!(liar.counts().gone >= 4, "{:?}", liar.counts());
    liar.show(Mode::Truth);
    shop.files("sql", &[USERS, GATED, AFTER, MORE]).await;
    shop.until_that("shop", "the watches go on", |set| applied(set) == 4 && is_ready(set)).await;
    assert_eq!(
        shop.ask("SELECT string_agg(owner, ',') FROM dunlin.set WHERE name = 'shared'").await,
        format!("{}/third", shop.namespace)
    );
    nothing_ran_twice(&shop, 5).await;
    operator.stop().await;
    shop.close().await;
}

/// An API server that shows the past: spec, content and status go back, for an operator that has seen more and for a new one.
/// Nothing runs again, nothing is rolled back, and the status is right when that is over.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_shows_the_past_makes_nothing_run_again() {
    let shop = Shop::closed().await;
    let (proxy, config) = proxied(&shop).await;
    let liar = Liar::new();
    let down = ("001_users.sql", "CREATE TABLE users (id int);\n-- migrate: down\nDROP TABLE users;\n");
    let two = ("002_two.sql", "CREATE TABLE two (id int);\n-- migrate: down\nDROP TABLE two;\n");
    shop.files("sql", &[down]).await;
    shop.apply(json!({"interval": "1s"})).await;
    let first = operator(&shop, liar.client(config.clone()));
    shop.until("UpToDate").await;
    liar.mark();
    shop.files("sql", &[down, two]).await;
    shop.files("later", &[AFTER]).await;
    shop.apply(json!({"interval": "2s", "source": {"configMaps": [{"name": "sql"}, {"name": "later"}]}})).await;
    let set = shop.until_that("shop", "all of it is applied", |set| applied(set) == 3 && is_ready(set)).await;
    let generation = set.metadata.generation;

    liar.show(Mode::Past);
    proxy.cut();
    let misled = |set: &MigrationSet| {
        let status = set.status.as_ref();
        status.and_then(|status| status.observed_generation) < generation && message(set).contains("002")
    };
    let sets = shop.sets();
    eventually("it has been misled", LIMIT, async || {
        let set = sets.get("shop").await.map_err(|error| error.to_string())?;
        if misled(&set) { Ok(()) } else { Err(serde_json::to_string(&set.status).expect("JSON")) }
    })
    .await;
    let second = operator(&shop, liar.client(config));
    let before = liar.counts().past;
    eventually("both have asked again and again", LIMIT, async || {
        let past = liar.counts().past - before;
        if past > 12 { Ok(()) } else { Err(past) }
    })
    .await;
    for table in ["users", "two", "after_it"] {
        assert_eq!(shop.ask(&format!("SELECT to_regclass('{table}')")).await, table);
    }
    nothing_ran_twice(&shop, 3).await;

    liar.show(Mode::Truth);
    proxy.cut();
    let set = shop.until("UpToDate").await;
    assert_eq!((applied(&set), set.status.and_then(|status| status.observed_generation)), (3, generation));
    nothing_ran_twice(&shop, 3).await;
    for operator in [first, second] {
        operator.stop().await;
    }
    shop.close().await;
}

/// A real API server is killed while a set is at work, and while one is idle, and comes back: its watches are too old by
/// then. A process that is started while it is away waits for it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make chaos-long"]
async fn an_api_server_that_is_killed_and_comes_back_is_waited_for() {
    let kubernetes = dedicated_kubernetes();
    install_crd_at(&kubernetes);
    let mut shop = Shop::at(&kubernetes, fresh_database().await).await;
    shop.start_operator().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}, "interval": "1h"})).await;
    shop.until_that("shop", "it runs", is_running).await;

    kubernetes.stop();
    drop(gate);
    applied_in_the_database(&shop, "3").await;
    kubernetes.start_again();
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    nothing_ran_twice(&shop, 3).await;

    // Idle.
    kubernetes.stop();
    kubernetes.start_again();
    shop.files("sql", &[USERS, GATED, AFTER, MORE]).await;
    shop.until_that("shop", "a change is seen", |set| applied(set) == 4 && is_ready(set)).await;
    nothing_ran_twice(&shop, 4).await;
    shop.stop_operator().await;

    // Started while it is away.
    shop.files("sql", &[USERS, GATED, AFTER, MORE, ("005_last.sql", "SELECT 5;")]).await;
    kubernetes.stop();
    let process = OperatorProcess::start(&kubernetes, &shop.namespace);
    eventually("it says that it waits", LIMIT, async || {
        let log = process.log();
        if log.contains("watching MigrationSets is interrupted; it is tried again") { Ok(()) } else { Err(log) }
    })
    .await;
    kubernetes.start_again();
    shop.until_that("shop", "it works", |set| applied(set) == 5 && is_ready(set)).await;
    nothing_ran_twice(&shop, 5).await;
    process.end().await;
    shop.close().await;
}

/// The pause before a watch that broke is begun again is a few seconds at most, however long the API server was away.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make chaos-long"]
async fn an_outage_is_noticed_to_be_over_within_seconds() {
    let shop = Shop::closed().await;
    let (proxy, config) = proxied(&shop).await;
    let operator = operator(&shop, Client::try_from(config).expect("a client"));
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1h"})).await;
    shop.until("UpToDate").await;
    proxy.close();
    let before = proxy.accepted();
    let begun = std::time::Instant::now();
    eventually("it has tried for a while", LIMIT, async || {
        if begun.elapsed() > Duration::from_secs(25) { Ok(()) } else { Err(begun.elapsed()) }
    })
    .await;
    let tried = proxy.accepted() - before;
    assert!(tried < 60, "two watches, each with growing pauses: {tried} within 25 s");
    shop.files("sql", &[USERS, AFTER]).await;
    proxy.open();
    let opened = std::time::Instant::now();
    shop.until_that("shop", "the change is applied", |set| applied(set) == 2 && is_ready(set)).await;
    assert!(opened.elapsed() < Duration::from_secs(15), "{:?}", opened.elapsed());
    eprintln!("{tried} connections in an outage of 25 s; seen to be over within {:?}", opened.elapsed());
    operator.stop().await;
    shop.close().await;
}
