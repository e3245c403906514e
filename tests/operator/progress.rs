//! What the status shows of a long statement, and how seldom it is written.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dunlin::{
    api::v1alpha1::{MigrationSet, RunningStatus},
    controller,
};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::{
    shop::{Asked, LIMIT, Operator, Shop, message, recording_client},
    support::eventually,
};

/// An index build calls `slowly` for each row, which waits at the gate that the row names.
const BIG: (&str, &str) = (
    "001_big.sql",
    "CREATE TABLE big AS SELECT n AS a FROM generate_series(1, 4000) AS n;
     CREATE FUNCTION gated(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
       IF n = 2000 THEN PERFORM pg_catalog.pg_advisory_lock_shared(42), pg_catalog.pg_advisory_unlock_shared(42); END IF;
       RETURN n; END $$;
     CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
       PERFORM pg_catalog.pg_sleep(0.001); RETURN n; END $$;",
);

/// A gate, closed until it is dropped.
async fn gate(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the database answers");
    tokio::spawn(connection);
    let close = "SET application_name = 'the gate'; SELECT pg_advisory_lock(42)";
    client.batch_execute(close).await.expect("it is free");
    client
}

fn running(set: &MigrationSet) -> Option<&RunningStatus> {
    set.status.as_ref()?.running.as_ref()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_index_build_is_shown_with_phase_percentage_and_what_it_waits_for() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    let index = "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY big_a ON big (gated(a));\nANALYZE big;\n";
    shop.files("sql", &[BIG, ("002_index.sql", index)]).await;
    shop.apply(json!({})).await;
    let at_gate = |set: &MigrationSet| running(set).is_some_and(|running| !running.blocked_by.is_empty());
    let set = shop.until_that("shop", "it waits at the gate", at_gate).await;
    let shown = running(&set).expect("it runs").clone();
    assert_eq!(shown.phase.as_deref(), Some("building index: scanning table"));
    let percent = shown.percent.expect("the table has a size");
    assert!((1..100).contains(&percent), "{shown:?}");
    assert_eq!((shown.statement, shown.statements), (Some(1), Some(2)));
    assert_eq!(shown.blocked_by[0].application.as_deref(), Some("the gate"));
    let expected = format!(
        "2 of 2: 002_index, statement 1 of 2, building index: scanning table {percent}%, waiting for pid {} (the gate, ",
        shown.blocked_by[0].pid.expect("it has one")
    );
    assert!(message(&set).starts_with(&expected), "{}", message(&set));
    drop(gate);
    let set = shop.until("UpToDate").await;
    assert_eq!(running(&set), None);
    shop.close().await;
}

/// When the statuses of the namespace were written.
fn writes(asked: &Asked) -> Vec<Instant> {
    let asked = asked.lock().expect("nobody panicked");
    asked
        .iter()
        .filter(|(_, line)| line.starts_with("PATCH ") && line.contains("/status?"))
        .map(|(at, _)| *at)
        .collect()
}

/// Looks come five times a second here, for the short `lockTimeout`, and each finds another percentage.
#[tokio::test(flavor = "multi_thread")]
async fn progress_is_written_once_a_second_at_most() {
    let shop = Shop::closed().await;
    let index = "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY big_a ON big (slow(a));\n";
    shop.files("sql", &[BIG, ("002_index.sql", index)]).await;
    shop.apply(json!({"policy": {"lockTimeout": "300ms"}})).await;
    let (client, asked) = recording_client().await;
    let operator = Operator::start(client, &shop.namespace, controller::GRACE_PERIOD);
    shop.until("UpToDate").await;
    operator.stop().await;
    let writes = writes(&asked);
    // The first says Checking and the last UpToDate.
    let progress = &writes[1..writes.len() - 1];
    assert!(progress.len() >= 3, "{} writes", writes.len());
    let closest = progress.windows(2).map(|pair| pair[1] - pair[0]).min().expect("more than one");
    assert!(closest >= Duration::from_secs(1), "{closest:?} between two of {} writes", progress.len());
    let seen = shop.seen.lock().expect("nobody panicked").clone();
    // Another phase, such as the wait for writers before it, has a percentage of its own.
    let scanning = |set: &&MigrationSet| {
        running(set).is_some_and(|running| running.phase.as_deref() == Some("building index: scanning table"))
    };
    let percents: Vec<i64> = seen.iter().filter(scanning).filter_map(|set| running(set)?.percent).collect();
    assert!(percents.len() > 1 && percents.is_sorted(), "{percents:?}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_which_nothing_changes_is_written_no_more() {
    let shop = Shop::closed().await;
    let gate = gate(&shop.url).await;
    let index = "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY big_a ON big (gated(a));\n";
    shop.files("sql", &[BIG, ("002_index.sql", index)]).await;
    shop.apply(json!({})).await;
    let (client, asked) = recording_client().await;
    let operator = Operator::start(client, &shop.namespace, controller::GRACE_PERIOD);
    let at_gate = |set: &MigrationSet| running(set).is_some_and(|running| !running.blocked_by.is_empty());
    shop.until_that("shop", "it waits at the gate", at_gate).await;
    let before = asked.lock().expect("nobody panicked").len();
    let mut looks = BTreeSet::new();
    eventually("the operator has looked five times more", LIMIT, async || {
        let look = "SELECT query_start::text FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'dunlin/%' AND query LIKE '%pg_blocking_pids%'";
        looks.insert(shop.ask(look).await);
        if looks.len() > 5 { Ok(()) } else { Err(looks.clone()) }
    })
    .await;
    let since: Vec<String> =
        asked.lock().expect("nobody panicked").iter().skip(before).map(|(_, line)| line.clone()).collect();
    let patches: Vec<&String> = since.iter().filter(|line| line.starts_with("PATCH ")).collect();
    assert!(patches.is_empty(), "{patches:#?}");
    drop(gate);
    shop.until("UpToDate").await;
    operator.stop().await;
    shop.close().await;
}
