//! How the operator behaves beside the line: pauses, restarts, forgeries, secrets, and how little it asks for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dunlin::{
    api::v1alpha1::{FailureStatus, MigrationSet},
    controller,
};
use k8s_openapi::api::{core::v1::ConfigMap, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::{
    line::{applied, is_ready},
    shop::{LIMIT, Operator, Shop, condition, message, ready, recording_client},
    support::{eventually, kubernetes},
};

pub const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY, name text);");
/// Goes on when the gate is opened.
pub const GATED: (&str, &str) = ("002_gated.sql", "CREATE TABLE gated (id int);\nSELECT pg_advisory_lock(42);");
pub const AFTER: (&str, &str) = ("003_after.sql", "CREATE TABLE after_it (id int);");

/// A gate that [`GATED`] waits at, closed until it is dropped.
pub async fn gate(url: &str) -> Client {
    gate_of(url, 42).await
}

/// The same of another key.
pub async fn gate_of(url: &str, key: i32) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the database answers");
    tokio::spawn(connection);
    client.batch_execute(&format!("SELECT pg_advisory_lock({key})")).await.expect("it is free");
    client
}

/// It stands at the gate: what was shown of the migration before it is over.
pub fn is_running(set: &MigrationSet) -> bool {
    let running = set.status.as_ref().and_then(|status| status.running.as_ref());
    running.is_some_and(|running| running.version.as_deref() == Some("002"))
}

/// P20: one set's long migration is shown, and another set doesn't wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_migration_is_shown_with_what_it_waits_for_and_holds_up_nobody() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    let blocked = |set: &MigrationSet| {
        set.status
            .as_ref()
            .and_then(|status| status.running.as_ref())
            .is_some_and(|running| !running.blocked_by.is_empty())
    };
    let set = shop.until_that("shop", "it is shown what blocks it", blocked).await;
    assert_eq!(ready(&set).map(|found| (found.0, found.1)), Some(("Unknown".into(), "Applying".into())));
    assert!(message(&set).contains("2 of 2: 002_gated, waiting for pid "), "{}", message(&set));
    shop.files("others", &[("001_other.sql", "CREATE TABLE other (id int);")]).await;
    shop.apply_as("second", json!({"source": {"configMaps": [{"name": "others"}]}})).await;
    shop.until_of("second", "UpToDate").await;
    assert!(is_running(&shop.sets().get("shop").await.expect("it is there")), "the first one still runs");
    drop(gate);
    let set = shop.until("UpToDate").await;
    assert!(!is_running(&set));
    shop.close().await;
}

/// `spec.suspend` takes effect between two migrations, and ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_takes_effect_between_two_migrations() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    shop.until_that("shop", "it runs", is_running).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}, "suspend": true})).await;
    // The operator has seen it when its watch has: a set that is new and paused comes after it in the same watch.
    shop.apply_as("second", json!({"suspend": true})).await;
    shop.until_of("second", "Suspended").await;
    drop(gate);
    let set = shop.until("Suspended").await;
    assert_eq!(ready(&set).map(|found| found.0).as_deref(), Some("False"));
    for other in ["Reconciling", "Stalled"] {
        assert_eq!(condition(&set, other).map(|found| found.0).as_deref(), Some("False"), "{other}");
    }
    assert_eq!(shop.ask("SELECT to_regclass('gated')").await, "gated", "what was under way has ended");
    assert_eq!(shop.ask("SELECT to_regclass('after_it')").await, "NULL", "the next one hasn't begun");
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask("SELECT to_regclass('after_it')").await, "after_it");
    shop.close().await;
}

/// Content that changes while nothing of a set is read is read when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_a_pause_is_applied_after_it() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    // Another set with the same files tells when the operator has seen them.
    shop.apply_as("witness", json!({"target": "none", "history": {"set": "witness"}})).await;
    shop.until_of("witness", "UpToDate").await;
    let first = ("002_first.sql", "CREATE TABLE first (a int);\n");
    let second = ("003_second.sql", "CREATE TABLE second (a int);\n");
    for (paused, reason, files) in [
        (json!({"suspend": true}), "Suspended", &[USERS, first][..]),
        (json!({"history": {"adopt": {"from": "Flyway"}}}), "InvalidSpec", &[USERS, first, second]),
    ] {
        shop.until("UpToDate").await;
        shop.apply(paused).await;
        shop.until(reason).await;
        shop.files("sql", files).await;
        shop.until_that("witness", "it has seen the files", |set| {
            let read = set.status.as_ref().and_then(|status| status.source.as_ref()).map(|source| source.files);
            read == i64::try_from(files.len()).ok()
        })
        .await;
        shop.apply(json!({})).await;
        shop.until_that("shop", "the edit is applied", |set| i64::try_from(files.len()) == Ok(applied(set))).await;
    }
    assert_eq!(shop.ask("SELECT to_regclass('second')").await, "second");
    shop.close().await;
}

/// Q68: deletion takes effect as a pause does, leaves the data alone, and whoever comes next goes on from the history.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_set_leaves_its_data_and_a_new_one_goes_on() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    shop.until_that("shop", "it runs", is_running).await;
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("nothing holds it");
    shop.apply_as("second", json!({"suspend": true})).await;
    shop.until_of("second", "Suspended").await;
    drop(gate);
    eventually("what was under way has ended", LIMIT, async || {
        let state = shop.ask("SELECT count(*) FROM dunlin.migration").await;
        if state == "2" { Ok(()) } else { Err(state) }
    })
    .await;
    shop.apply(json!({})).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, "3", "nothing ran twice");
    shop.close().await;
}

/// P20: a transaction is cancelled 10 s before the grace period is over; no failure is recorded, and the next operator
/// runs it.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_stopped_leaves_no_failure_behind() {
    let mut shop = Shop::closed().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    let client = kubernetes().client().await;
    let operator = Operator::start(client, &shop.namespace, Duration::from_secs(11));
    shop.until_that("shop", "it runs", is_running).await;
    let asked = Instant::now();
    operator.stop().await;
    assert!(
        asked.elapsed() < Duration::from_secs(9),
        "it needn't wait for the end of its grace: {:?}",
        asked.elapsed()
    );
    let set = shop.sets().get("shop").await.expect("it is there");
    assert_eq!(condition(&set, "Stalled").map(|found| found.0).as_deref(), Some("False"), "{:#?}", set.status);
    assert_eq!(set.status.as_ref().and_then(|status| status.failure.clone()), None);
    assert!(!is_running(&set));
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.migration WHERE state <> 'applied'").await, "0");
    drop(gate);
    shop.start_operator().await;
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    shop.close().await;
}

/// A statement outside of a transaction is left to end: the operator leaves with its grace, and the next one finds what
/// the server made of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_outside_of_a_transaction_outlives_the_operator() {
    let mut shop = Shop::closed().await;
    shop.ask("CREATE TABLE busy (id int)").await;
    let (reader, connection) = tokio_postgres::connect(&shop.url, NoTls).await.expect("the database answers");
    tokio::spawn(connection);
    reader.batch_execute("BEGIN; INSERT INTO busy VALUES (1)").await.expect("it can be written");
    let index = "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY busy_id ON busy (id);\n";
    shop.files("sql", &[USERS, ("002_index.sql", index), AFTER]).await;
    shop.apply(json!({})).await;
    let client = kubernetes().client().await;
    let operator = Operator::start(client, &shop.namespace, Duration::from_secs(3));
    shop.until_that("shop", "it runs", is_running).await;
    operator.stop().await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY busy_id%' AND state = 'active' \
                AND datname = current_database()";
    assert_eq!(shop.ask(left).await, "1", "the statement goes on without it");
    shop.start_operator().await;
    shop.until("WaitingForLock").await;
    drop(reader);
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    let valid = "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'busy_id'::regclass";
    assert_eq!(shop.ask(valid).await, "true");
    shop.close().await;
}

/// An object that was deleted while it ran, and made again under its name, gets a status of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_made_again_under_its_name_is_another_set() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    shop.until_that("shop", "it runs", is_running).await;
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("nothing holds it");
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    let again = shop.sets().get("shop").await.expect("it is there again").metadata.uid;
    drop(gate);
    shop.until("UpToDate").await;
    let seen = shop.seen.lock().expect("nobody panicked").clone();
    let first = seen.iter().filter(|set| set.metadata.uid == again).find_map(ready).expect("it has a status");
    assert_eq!(first.1, "Checking", "what was left of the first one wasn't written to the second");
    assert!(!first.2.contains("stopped"), "nor how it was ended: {}", first.2);
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, "3", "nothing ran twice");
    shop.close().await;
}

/// A restart finds everything as it was, and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_operator_leaves_a_ready_set_alone() {
    let mut shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1s"})).await;
    let before = shop.until("UpToDate").await;
    shop.stop_operator().await;
    shop.start_operator().await;
    shop.annotate("dunlin.dev/reconcile", "after").await;
    let answered = |set: &MigrationSet| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref()) == Some("after")
    };
    let after = shop.until_that("shop", "the new operator has looked", answered).await;
    let conditions = |set: &MigrationSet| set.status.as_ref().map(|status| status.conditions.clone());
    assert_eq!(conditions(&before), conditions(&after));
    assert_eq!(shop.reasons().await.last().map(String::as_str), Some("UpToDate"));
    shop.close().await;
}

/// Both annotations ask for a look, and are acknowledged when it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn the_reconcile_annotations_are_acknowledged() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1h"})).await;
    shop.until("UpToDate").await;
    shop.ask("DELETE FROM dunlin.migration; DROP TABLE users").await;
    shop.annotate("reconcile.fluxcd.io/requestedAt", "2026-11-21T10:00:00Z").await;
    let answered = |set: &MigrationSet| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref())
            == Some("2026-11-21T10:00:00Z")
    };
    let set = shop.until_that("shop", "Flux's annotation is answered", answered).await;
    assert!(is_ready(&set), "the answer comes at the end of the look");
    assert_eq!(shop.ask("SELECT to_regclass('users')").await, "users", "it did look");
    shop.annotate("dunlin.dev/reconcile", "please").await;
    let answered = |set: &MigrationSet| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref()) == Some("please")
    };
    shop.until_that("shop", "ours is answered", answered).await;
    shop.close().await;
}

/// The status is a copy: forged or deleted, it is put right, fields that others own included.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_status_is_put_right() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1h"})).await;
    let honest = shop.until("UpToDate").await.status.expect("a status");
    let mut forged = honest.clone();
    forged.applied.get_or_insert_default().count = 99;
    forged.failure = Some(FailureStatus::default());
    forged.conditions[0].status = "False".to_owned();
    forged.conditions[0].reason = "Forged".to_owned();
    let mut extra = forged.conditions[0].clone();
    extra.type_ = "Forged".to_owned();
    forged.conditions.push(extra);
    let patch = json!({
        "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": "shop"}, "status": forged,
    });
    let another = PatchParams::apply("forger").force();
    shop.sets().patch_status("shop", &another, &Patch::Apply(&patch)).await.expect("an admin may forge");
    let right = |set: &MigrationSet| set.status.as_ref() == Some(&honest);
    shop.until_that("shop", "the forgery is gone", right).await;
    let gone = json!({"status": null});
    shop.sets().patch_status("shop", &PatchParams::default(), &Patch::Merge(&gone)).await.expect("an admin may delete");
    shop.until_that("shop", "the status is back", right).await;
    shop.close().await;
}

/// Idle, the operator asks the API server for nothing but its watches and one Secret for each set and interval.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_operator_asks_for_one_secret_an_interval() {
    let shop = Shop::closed().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1s"})).await;
    let (client, asked) = recording_client().await;
    let operator = Operator::start(client, &shop.namespace, controller::GRACE_PERIOD);
    shop.until("UpToDate").await;
    let drain = || std::mem::take(&mut *asked.lock().expect("nobody panicked"));
    // Three intervals, and what the first look's events still need.
    eventually("the first Secret of an interval is asked for", LIMIT, async || {
        let asked = asked.lock().expect("nobody panicked");
        let last = asked.last().map(|(_, line)| line.clone()).unwrap_or_default();
        if last.contains("/secrets/db") && asked.len() > 3 { Ok(()) } else { Err(last) }
    })
    .await;
    drain();
    eventually("some intervals are over", LIMIT, async || {
        let count = asked.lock().expect("nobody panicked").len();
        if count >= 4 { Ok(()) } else { Err(count) }
    })
    .await;
    let lines = drain();
    let secret = format!("GET /api/v1/namespaces/{}/secrets/db", shop.namespace);
    assert!(lines.iter().all(|(_, line)| *line == secret), "{lines:#?}");
    operator.stop().await;
    shop.close().await;
}

/// A change of a ConfigMap that changes no content changes nothing of the status.
#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_only_gets_a_label_leaves_the_set_ready() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1h"})).await;
    shop.until("UpToDate").await;
    let maps: Api<ConfigMap> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let label = json!({"metadata": {"labels": {"touched": "yes"}}});
    maps.patch("sql", &PatchParams::default(), &Patch::Merge(&label)).await.expect("it is labelled");
    shop.annotate("dunlin.dev/reconcile", "look").await;
    let answered =
        |set: &MigrationSet| set.status.as_ref().is_some_and(|status| status.last_handled_reconcile.is_some());
    shop.until_that("shop", "it was looked at", answered).await;
    let reasons = shop.reasons().await;
    assert_eq!(reasons.iter().filter(|reason| *reason == "Checking").count(), 1, "{reasons:?}");
    shop.close().await;
}

/// Q84: no password stands in a status or an event, not even inside a URL, and no DETAIL, which may hold rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_appears_nowhere() {
    const PASSWORD: &str = "hunter2-is-secret";
    let shop = Shop::open().await;
    shop.ask(&format!("CREATE ROLE \"{}\" LOGIN SUPERUSER PASSWORD '{PASSWORD}'", shop.namespace)).await;
    let url = shop.url.replace(&userinfo(&shop.url), &format!("{}:{PASSWORD}", shop.namespace));
    shop.secret("db", &[("uri", &url)]).await;
    shop.files(
        "sql",
        &[USERS, ("002_rows.sql", "INSERT INTO users SELECT 73510000 + 351 FROM generate_series(1, 2);")],
    )
    .await;
    shop.apply(json!({"interval": "1s"})).await;
    shop.until("MigrationFailed").await;
    shop.secret("db", &[("uri", &url.replace(PASSWORD, &format!("{PASSWORD}-wrong")))]).await;
    shop.annotate("dunlin.dev/reconcile", "1").await;
    shop.until("AuthenticationFailed").await;
    shop.secret("db", &[("uri", &format!("{url}?password={PASSWORD}&nonsense={PASSWORD}"))]).await;
    shop.annotate("dunlin.dev/reconcile", "2").await;
    shop.until("InvalidSpec").await;
    shop.secret("db", &[("uri", &url.replace("127.0.0.1", &format!("{PASSWORD}@127.0.0.1")))]).await;
    shop.annotate("dunlin.dev/reconcile", "3").await;
    let answered = |set: &MigrationSet| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref()) == Some("3")
    };
    shop.until_that("shop", "it was looked at", answered).await;
    let events: Api<Event> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let told = eventually("the failure is told", LIMIT, async || {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let told = serde_json::to_string(&list).expect("events are JSON");
        if told.contains("AuthenticationFailed") { Ok(told) } else { Err(told) }
    })
    .await;
    let shown = serde_json::to_string(&*shop.seen.lock().expect("nobody panicked")).expect("sets are JSON");
    for (place, text) in [("status", &shown), ("event", &told)] {
        assert!(text.contains("MigrationFailed"), "{place} was recorded");
        for secret in [PASSWORD, "73510351", "already exists."] {
            assert!(!text.contains(secret), "{secret} in a {place}: {text}");
        }
    }
    shop.close().await;
}

/// The log holds no password either, and SIGTERM ends the process well.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_the_process_holds_no_secret() {
    const PASSWORD: &str = "hunter2-is-secret";
    let shop = Shop::closed().await;
    let folder = tempfile::tempdir().expect("a temp folder");
    let log = folder.path().join("log");
    let operator = std::process::Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .args(["operator", "--log-level", "debug", "--namespace", &shop.namespace])
        .env("KUBECONFIG", kubernetes().kubeconfig())
        .stderr(std::fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("the binary runs");
    let mut operator = Process(operator);
    let url = shop.url.replace(&userinfo(&shop.url), &format!("nobody:{PASSWORD}"));
    shop.secret("db", &[("uri", &url)]).await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("AuthenticationFailed").await;
    shop.secret("db", &[("uri", &shop.url)]).await;
    shop.annotate("dunlin.dev/reconcile", "again").await;
    shop.until("UpToDate").await;
    let ended = std::process::Command::new("kill").arg(operator.0.id().to_string()).status().expect("kill runs");
    assert!(ended.success());
    let status = tokio::task::spawn_blocking(move || operator.0.wait()).await.expect("no panic").expect("it ended");
    assert!(status.success(), "{status}");
    let text = std::fs::read_to_string(&log).expect("the log is text");
    assert!(text.contains("AuthenticationFailed"), "{text}");
    for secret in [PASSWORD, &crate::support::postgres().about().password] {
        assert!(!text.contains(secret), "{text}");
    }
    shop.close().await;
}

/// A process that ends with the test, however that ends.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended when all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn userinfo(url: &str) -> String {
    let (_, rest) = url.split_once("://").expect("a URL");
    rest.split_once('@').expect("with a login").0.to_owned()
}

/// From a changed ConfigMap to Ready: the operator's own share is small. The figure is printed; the bound is for a slow
/// machine with every other test going on.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_config_map_is_applied_at_once() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let mut files: BTreeMap<String, String> = BTreeMap::from([(USERS.0.to_owned(), USERS.1.to_owned())]);
    let mut times = Vec::new();
    for number in 2..12 {
        files.insert(format!("{number:03}_t.sql"), format!("CREATE TABLE t{number} (id int);"));
        let all: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let begun = Instant::now();
        shop.files("sql", &all).await;
        shop.until_that("shop", "it is applied", |set| applied(set) == i64::from(number) && is_ready(set)).await;
        times.push(begun.elapsed());
    }
    times.sort();
    eprintln!("from a changed ConfigMap to Ready: {:?}, median {:?}", times, times[times.len() / 2]);
    assert!(times[times.len() / 2] < Duration::from_secs(2), "{times:?}");
    shop.close().await;
}

/// P20: many sets of one database are applied side by side.
#[tokio::test(flavor = "multi_thread")]
async fn many_sets_are_applied_side_by_side() {
    let shop = Shop::open().await;
    for number in 0..20 {
        let name = format!("set-{number:02}");
        shop.files(&name, &[("001_t.sql", &format!("CREATE TABLE many_{number} (id int);"))]).await;
        shop.apply_as(&name, json!({"source": {"configMaps": [{"name": name}]}})).await;
    }
    for number in 0..20 {
        shop.until_of(&format!("set-{number:02}"), "UpToDate").await;
    }
    assert_eq!(shop.ask("SELECT count(*) FROM pg_class WHERE relname LIKE 'many\\_%'").await, "20");
    shop.close().await;
}
