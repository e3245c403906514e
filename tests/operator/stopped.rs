//! An operator process that is stopped (SIGSTOP) and continued long after another one has come: its session stays alive, since
//! the kernel answers for it, and holds the lock until it is ended; whoever comes next waits for it or takes over, and
//! what it was about to do never reaches the database.

use dunlin::controller;
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::{
    conduct::{AFTER, GATED, USERS, gate, is_running},
    line::applied,
    process::OperatorProcess,
    shop::{LIMIT, Operator, Shop, message},
    support::{Proxy, eventually, kubernetes},
};

const INDEX: (&str, &str) = (
    "002_index.sql",
    "-- migrate: no-transaction\nINSERT INTO busy VALUES (2);\nCREATE INDEX CONCURRENTLY /* the one */ busy_id ON busy (id);\n\
     INSERT INTO busy VALUES (3);\n",
);

/// Everything that the history holds.
const HISTORY: &str = "SELECT concat((SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM dunlin.set AS t), \
     (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM dunlin.run AS t), \
     (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM dunlin.migration AS t), \
     (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM dunlin.statement AS t))";

/// A table, and somebody who writes to it, for whom a concurrent build has to wait.
async fn busy(url: &str) -> Client {
    let (writer, connection) = tokio_postgres::connect(url, NoTls).await.expect("the database answers");
    tokio::spawn(connection);
    writer.batch_execute("CREATE TABLE busy (id int)").await.expect("it can be made");
    writer.batch_execute("BEGIN; INSERT INTO busy VALUES (1)").await.expect("it can be written");
    writer
}

fn second_operator(shop: &Shop) -> Operator {
    let client = kube::Client::try_from(shop.config.clone()).expect("the configuration makes a client");
    Operator::start(client, &shop.namespace, controller::GRACE_PERIOD)
}

/// Waits until the second operator has met the lock, and says whose it is.
async fn waits_for_the_first(shop: &Shop) {
    let waits =
        |set: &_| message(set).contains(&format!("dunlin/{}/shop", shop.namespace)) && message(set).contains("lock");
    shop.until_that("shop", "the second one waits for the first", waits).await;
}

/// Ends the session that has claimed the set, and has the second operator look at once.
async fn end_the_first_session(shop: &Shop) {
    let ended = shop.ask("SELECT pg_terminate_backend(backend_pid) FROM dunlin.set").await;
    assert_eq!(ended, "t");
    shop.annotate("dunlin.dev/reconcile", "the first one is ended").await;
}

/// Continues the first operator when the second one has gone, and returns when it has looked again: it has changed nothing.
async fn continues_in_vain(shop: &Shop, first: OperatorProcess, second: Operator) {
    second.stop().await;
    let before = shop.ask(HISTORY).await;
    first.signal("CONT");
    shop.annotate("dunlin.dev/reconcile", "the first one is back").await;
    let answered = |set: &dunlin::api::v1alpha1::MigrationSet| {
        let status = set.status.as_ref();
        status.and_then(|status| status.last_handled_reconcile.as_deref()) == Some("the first one is back")
    };
    shop.until_that("shop", "the first one has looked again", answered).await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask(HISTORY).await, before);
    first.end().await;
    assert_eq!(shop.ask(HISTORY).await, before);
}

/// The server ends the transaction without its client, and the lock stays: the second operator waits until the first goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_stopped_in_a_transaction_is_waited_for() {
    let shop = Shop::closed().await;
    let gate = gate(&shop.url).await;
    let first = OperatorProcess::start(kubernetes(), &shop.namespace);
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    shop.until_that("shop", "it runs", is_running).await;
    first.signal("STOP");
    let second = second_operator(&shop);
    waits_for_the_first(&shop).await;
    drop(gate);
    eventually("the server has committed it", LIMIT, async || {
        let count = shop.ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied'").await;
        if count == "2" { Ok(()) } else { Err(count) }
    })
    .await;
    shop.annotate("dunlin.dev/reconcile", "look").await;
    waits_for_the_first(&shop).await;
    assert_eq!(shop.ask("SELECT to_regclass('after_it')").await, "NULL", "the lock is still the first one's");
    first.signal("CONT");
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    assert_eq!(shop.ask("SELECT count(*) || min(outcome) FROM dunlin.run").await, "3succeeded");
    second.stop().await;
    first.end().await;
    shop.close().await;
}

/// Its session ended by somebody in the middle of a transaction, the second operator runs it, and the first does nothing more.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make chaos-long"]
async fn an_operator_that_loses_its_session_while_stopped_in_a_transaction_does_nothing_more() {
    let shop = Shop::closed().await;
    let gate = gate(&shop.url).await;
    let first = OperatorProcess::start(kubernetes(), &shop.namespace);
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    shop.until_that("shop", "it runs", is_running).await;
    first.signal("STOP");
    let second = second_operator(&shop);
    waits_for_the_first(&shop).await;
    end_the_first_session(&shop).await;
    drop(gate);
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    continues_in_vain(&shop, first, second).await;
    assert_eq!(shop.ask("SELECT count(*) || min(outcome) FROM dunlin.run").await, "3succeeded");
    shop.close().await;
}

/// The same in the middle of a concurrent build, which leaves an invalid index behind.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make chaos-long"]
async fn an_operator_that_loses_its_session_while_stopped_outside_of_a_transaction_does_nothing_more() {
    let shop = Shop::closed().await;
    let writer = busy(&shop.url).await;
    let first = OperatorProcess::start(kubernetes(), &shop.namespace);
    shop.files("sql", &[USERS, INDEX, AFTER]).await;
    shop.apply(json!({})).await;
    let builds = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase LIKE 'waiting%'";
    eventually("the build waits", LIMIT, async || {
        let count = shop.ask(builds).await;
        if count == "1" { Ok(()) } else { Err(count) }
    })
    .await;
    first.signal("STOP");
    let second = second_operator(&shop);
    waits_for_the_first(&shop).await;
    end_the_first_session(&shop).await;
    let dropping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DROP INDEX CONCURRENTLY%busy_id%' AND state = 'active' \
                    AND datname = current_database()";
    eventually("the second one clears away what was left", LIMIT, async || {
        let count = shop.ask(dropping).await;
        if count == "1" { Ok(()) } else { Err(count) }
    })
    .await;
    drop(writer);
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    continues_in_vain(&shop, first, second).await;
    the_index_is_there_once(&shop).await;
    shop.close().await;
}

/// Stopped after the intent was written down and before the server got the statement: it never gets there.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_stopped_between_intent_and_statement_never_sends_it() {
    let shop = Shop::closed().await;
    drop(busy(&shop.url).await);
    let proxy = Proxy::to(crate::support::postgres().about().port).await;
    shop.secret("db", &[("uri", &proxy.url(&shop.url))]).await;
    proxy.hold("CREATE INDEX CONCURRENTLY /* the one */");
    let first = OperatorProcess::start(kubernetes(), &shop.namespace);
    shop.files("sql", &[USERS, INDEX, AFTER]).await;
    shop.apply(json!({})).await;
    tokio::time::timeout(LIMIT, proxy.holds()).await.expect("the statement is on its way");
    assert_eq!(
        shop.ask("SELECT string_agg(ordinal || state, ',' ORDER BY ordinal) FROM dunlin.statement").await,
        "1done,2intent"
    );
    first.signal("STOP");
    let second = second_operator(&shop);
    waits_for_the_first(&shop).await;
    end_the_first_session(&shop).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    proxy.release();
    continues_in_vain(&shop, first, second).await;
    the_index_is_there_once(&shop).await;
    shop.close().await;
}

async fn the_index_is_there_once(shop: &Shop) {
    let indexes = "SELECT string_agg(c.relname || i.indisvalid, ',') FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
                   WHERE i.indrelid = 'busy'::regclass";
    assert_eq!(shop.ask(indexes).await, "busy_idtrue");
    assert_eq!(shop.ask("SELECT count(*) FROM busy WHERE id IN (2, 3)").await, "2", "each statement ran once");
    assert_eq!(shop.ask("SELECT count(*) || min(outcome) || max(attempts) FROM dunlin.run").await, "3succeeded2");
}
