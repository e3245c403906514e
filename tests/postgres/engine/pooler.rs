//! A real PgBouncer: in transaction mode it is recognised before anything is written, in session mode it is no hindrance.

use std::time::Duration;

use dunlin::{core::outcome::Reason, execute::End};

use super::{
    fixture::{Fixture, ask},
    proxy,
};
use crate::support::{Pooler, eventually};

const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\n");
const INDEX: (&str, &str) =
    ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY one_a ON one (a);\n");

/// A fixture that reaches a fresh database through the pooler, and one that reaches it directly.
async fn fixtures(pooler: &Pooler) -> (Fixture, Fixture) {
    let direct = Fixture::new().await;
    let mut fixture = Fixture::on(direct.url.clone()).await;
    fixture.url = pooler.url(&direct.url);
    (fixture, direct)
}

/// Settings of the backend that this client meets, but for those that PgBouncer keeps in step by itself.
async fn settings(client: &tokio_postgres::Client) -> String {
    let sql = "SELECT coalesce(string_agg(name || '=' || setting, ',' ORDER BY name), '') FROM pg_settings \
               WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')";
    ask(client, sql).await
}

/// Whatever the pool's size: with one backend, the second session even has to wait for the first.
#[tokio::test]
async fn a_pool_in_transaction_mode_is_recognised_before_anything_is_written() {
    for size in [1, 2, 20] {
        let pooler = Pooler::start(&format!("pool_mode = transaction\ndefault_pool_size = {size}")).await;
        let (fixture, direct) = fixtures(&pooler).await;
        let neighbour = Fixture::on(fixture.url.clone()).await.sql;
        let before = (direct.catalogs().await, settings(&neighbour).await);
        let report = fixture.execute(&[ONE]).await;
        let End::Failed(failure) = report.end else { panic!("{size}: {:?}", report.end) };
        assert_eq!(failure.reason, Reason::PoolerNotSupported, "{size}: {}", failure.message);
        assert!(failure.message.contains("directSecretRef"), "{}", failure.message);
        // Nor is a lock or a setting left in a backend that others share.
        assert_eq!((direct.catalogs().await, settings(&neighbour).await), before, "{size}");
    }
}

/// A pool that takes turns deals two clients a backend each, as long as both ask in turn.
#[tokio::test]
async fn a_pool_that_takes_turns_is_recognised() {
    let pooler = Pooler::start("pool_mode = transaction\ndefault_pool_size = 2\nserver_round_robin = 1").await;
    let (fixture, direct) = fixtures(&pooler).await;
    let (one, two) = (Fixture::on(fixture.url.clone()).await, Fixture::on(fixture.url.clone()).await);
    // Both backends are open before it begins.
    one.run_sql("BEGIN").await;
    two.run_sql("BEGIN; COMMIT").await;
    one.run_sql("COMMIT").await;
    let before = direct.catalogs().await;
    let End::Failed(failure) = fixture.execute(&[ONE]).await.end else { panic!("it ran") };
    assert_eq!(failure.reason, Reason::PoolerNotSupported, "{}", failure.message);
    assert_eq!(direct.catalogs().await, before);
}

/// Two answers of more than the engine waits for are a slow server's, whose sessions have a backend each.
#[tokio::test]
async fn a_slow_server_is_not_taken_for_a_pooler() {
    let direct = Fixture::new().await;
    let port = proxy::slow("SELECT pg_catalog.pg_backend_pid()", Duration::from_millis(1_500)).await;
    let mut slow = Fixture::on(direct.url.clone()).await;
    slow.url = proxy::through(&direct.url, port);
    let report = slow.execute(&[ONE]).await;
    assert!(matches!(report.end, End::Finished), "{:?}", report.end);
    assert_eq!(direct.ask("SELECT to_regclass('one') IS NOT NULL").await, "t");
}

/// PgBouncer ends the connection, and doesn't always get to say why: then it is tried again.
#[tokio::test]
async fn a_pool_in_statement_mode_is_recognised_before_anything_is_written() {
    let pooler = Pooler::start("pool_mode = statement").await;
    let (fixture, direct) = fixtures(&pooler).await;
    let before = direct.catalogs().await;
    eventually("the pooler to be named", Duration::from_secs(30), async || {
        let End::Failed(failure) = fixture.execute(&[ONE]).await.end else { panic!("it ran") };
        match failure.reason {
            Reason::PoolerNotSupported => Ok(()),
            Reason::Retrying | Reason::WaitingForDatabase => Err(failure),
            _ => panic!("{failure:?}"),
        }
    })
    .await;
    assert_eq!(direct.catalogs().await, before);
}

#[tokio::test]
async fn a_pool_in_session_mode_is_no_hindrance() {
    let pooler = Pooler::start("pool_mode = session\ndefault_pool_size = 4").await;
    let (fixture, direct) = fixtures(&pooler).await;
    let report = fixture.execute(&[ONE, INDEX]).await;
    assert!(matches!(report.end, End::Finished), "{:?}", report.end);
    assert_eq!(direct.ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied'").await, "2");
}

/// Two clients in one pool: they apply everything once between them.
#[tokio::test(flavor = "multi_thread")]
async fn two_clients_in_one_session_pool_apply_everything_once() {
    let pooler = Pooler::start("pool_mode = session\ndefault_pool_size = 8").await;
    let (one, direct) = fixtures(&pooler).await;
    let mut other = Fixture::on(direct.url.clone()).await;
    other.url.clone_from(&one.url);
    let run = async |fixture: &Fixture| {
        eventually("the set to be applied", Duration::from_secs(30), async || {
            match fixture.execute(&[ONE, INDEX]).await.end {
                End::Finished => Ok(()),
                End::Failed(failure) if failure.reason == Reason::WaitingForLock => Err(failure),
                end => panic!("{end:?}"),
            }
        })
        .await;
    };
    tokio::join!(run(&one), run(&other));
    assert_eq!(direct.ask("SELECT count(*) || ' ' || count(DISTINCT version) FROM dunlin.run").await, "2 2");
}
