//! What a set waits for, and what it refuses: each with its reason, what to do, and how it is left.

use std::time::Duration;

use dunlin::api::v1alpha1::MigrationSet;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::{
    line::{applied, is_ready},
    shop::{LIMIT, Shop, condition, message},
    support::{StopMode, dedicated_postgres, eventually, fresh_database, postgres},
};

const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY, name text);");
const ORDERS: (&str, &str) = ("002_orders.sql", "CREATE TABLE orders (id int PRIMARY KEY);");

type Files = &'static [(&'static str, &'static str)];

fn is_true(set: &MigrationSet, name: &str) -> bool {
    condition(set, name).is_some_and(|(status, _, _)| status == "True")
}

/// P03: a ConfigMap that isn't there yet is waited for, and seen when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn an_absent_config_map_is_waited_for() {
    let shop = Shop::open().await;
    shop.apply(json!({"source": {"configMaps": [{"name": "sql"}, {"name": "more"}]}})).await;
    let set = shop.until("WaitingForSource").await;
    assert!(is_true(&set, "Reconciling") && message(&set).contains("more, sql"), "{}", message(&set));
    shop.files("sql", &[USERS]).await;
    shop.until_that("shop", "one is missing", |set| message(set).contains("ConfigMap more isn't")).await;
    shop.files("more", &[ORDERS]).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 2);
    shop.delete_files("more").await;
    shop.until("WaitingForSource").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_takes_what_has_its_labels_as_it_comes_and_goes() {
    let shop = Shop::open().await;
    shop.files("unlabelled", &[("README.md", "not a migration")]).await;
    shop.apply(json!({
        "source": {"configMapSelector": {"matchLabels": {"part-of": "shop"}}},
        "policy": {"onMissing": "Ignore"},
    }))
    .await;
    let set = shop.until("WaitingForSource").await;
    assert!(message(&set).contains("part-of=shop"), "{}", message(&set));
    shop.labelled_files("one", &[("part-of", "shop")], &[USERS]).await;
    shop.until("UpToDate").await;
    shop.labelled_files("two", &[("part-of", "shop")], &[ORDERS]).await;
    shop.until_that("shop", "the second is applied", |set| applied(set) == 2 && is_ready(set)).await;
    shop.labelled_files("two", &[("part-of", "other")], &[ORDERS]).await;
    shop.until("DatabaseAhead").await;
    shop.close().await;
}

/// Nothing runs until the content is the one that the author means.
#[tokio::test(flavor = "multi_thread")]
async fn content_with_another_digest_is_waited_for() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    let set = shop.until("UpToDate").await;
    let digest = set.status.and_then(|status| status.source).and_then(|source| source.digest).expect("a digest");
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.until_that("shop", "both are applied", |set| applied(set) == 2 && is_ready(set)).await;
    shop.apply(json!({"source": {"configMaps": [{"name": "sql"}], "digest": digest}})).await;
    let set = shop.until("WaitingForDigest").await;
    assert!(message(&set).contains(&digest), "{}", message(&set));
    shop.apply(
        json!({"source": {"configMaps": [{"name": "sql"}], "digest": digest}, "policy": {"onMissing": "Ignore"}}),
    )
    .await;
    shop.files("sql", &[USERS]).await;
    shop.until("DatabaseAhead").await;
    shop.close().await;
}

/// P03, P16, P23: what can't be run is refused as a whole, before anything runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_migration_directory_is_refused_with_its_place() {
    let shop = Shop::open().await;
    shop.apply(json!({})).await;
    let table: [(&str, Files, &str); 5] = [
        ("InvalidSource", &[USERS, ("README.md", "read me")], "ConfigMap sql, key README.md"),
        ("InvalidSource", &[USERS, ("users.sql", "SELECT 1;")], "users.sql"),
        ("InvalidSource", &[USERS, ("002_orders.sql", "-- migrate: sideways\nSELECT 1;")], "002_orders.sql:1"),
        ("DuplicateVersion", &[USERS, ("1_other.sql", "SELECT 1;")], "1_other.sql"),
        (
            "DependencyCycle",
            &[("001_a.sql", "-- depends: 002\nSELECT 1;"), ("002_b.sql", "-- depends: 001\nSELECT 1;")],
            "->",
        ),
    ];
    for (reason, files, place) in table {
        shop.files("sql", files).await;
        let said = |set: &MigrationSet| {
            condition(set, "Ready").is_some_and(|(_, found, message)| found == reason && message.contains(place))
        };
        let set = shop.until_that("shop", reason, said).await;
        assert!(is_true(&set, "Stalled"), "{reason}");
    }
    assert_eq!(shop.ask("SELECT to_regnamespace('dunlin')").await, "NULL", "the database was left alone");
    shop.files("sql", &[USERS]).await;
    shop.until("UpToDate").await;
    shop.close().await;
}

/// What contradicts itself while several ConfigMaps change one after the other stalls nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_finding_that_passes_while_several_config_maps_change_is_never_said() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.files("more", &[("003_c.sql", "SELECT 3;")]).await;
    shop.apply(json!({"source": {"configMaps": [{"name": "sql"}, {"name": "more"}]}})).await;
    shop.until("UpToDate").await;
    // A file moves from one to the other: for a moment it is in neither.
    shop.files("sql", &[USERS]).await;
    let checking = |set: &MigrationSet| message(set).contains("MissingMigration");
    shop.until_that("shop", "the finding is being checked", checking).await;
    shop.files("more", &[ORDERS, ("003_c.sql", "SELECT 3;")]).await;
    shop.until("UpToDate").await;
    let reasons = shop.reasons().await;
    assert!(!reasons.contains(&"MissingMigration".to_owned()), "{reasons:?}");
    // What stays is said.
    shop.files("sql", &[("001_users.sql", "SELECT 'edited';")]).await;
    shop.until("ChecksumDrift").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_secret_and_absent_keys_are_waited_for() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"database": {"secretRef": {"name": "late"}}})).await;
    let set = shop.until("WaitingForSecret").await;
    assert!(message(&set).contains("Secret late"), "{}", message(&set));
    shop.secret("late", &[("host", "127.0.0.1"), ("user", "somebody")]).await;
    let named = |set: &MigrationSet| message(set).contains("password") && message(set).contains("dbname");
    shop.until_that("shop", "the keys are named", named).await;
    shop.secret("late", &[("uri", &shop.url)]).await;
    shop.until("UpToDate").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_stalls_until_the_secret_is_another() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    let wrong = shop.url.replace(&postgres().about().password, "wrong-password");
    shop.secret("db", &[("uri", &wrong)]).await;
    shop.apply(json!({"interval": "1h"})).await;
    let set = shop.until("AuthenticationFailed").await;
    assert!(is_true(&set, "Stalled"));
    assert!(!message(&set).contains("wrong-password"), "{}", message(&set));
    shop.secret("db", &[("uri", &shop.url)]).await;
    shop.until("UpToDate").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_waited_for_and_a_ready_set_stays_so_for_two_looks() {
    let server = dedicated_postgres(&[], &[], &[]);
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.secret("db", &[("uri", &server.fresh_database().await)]).await;
    shop.apply(json!({"interval": "1s"})).await;
    shop.until("UpToDate").await;
    server.stop(StopMode::Immediate);
    let set = shop.until("WaitingForDatabase").await;
    assert!(is_true(&set, "Reconciling"));
    assert!(set.status.is_some_and(|status| status.retries > 0 && status.next_retry_at.is_some()));
    let said_first = shop.seen.lock().expect("nobody panicked").iter().any(|set| {
        is_ready(set) && condition(set, "DatabaseReachable").is_some_and(|(status, _, _)| status == "False")
    });
    assert!(said_first, "out of reach is said at once, while the set is still Ready");
    server.start_again();
    let set = shop.until("UpToDate").await;
    assert_eq!(set.status.map(|status| status.retries), Some(0));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_asks_for_what_does_not_work_is_refused_with_its_field() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"seeds": {"configMaps": [{"name": "sql"}]}})).await;
    let set = shop.until("InvalidSpec").await;
    assert!(message(&set).contains("spec.seeds"), "{}", message(&set));
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let with_file = format!("{}?sslrootcert=/etc/passwd", shop.url);
    shop.secret("db", &[("uri", &with_file)]).await;
    shop.annotate("dunlin.dev/reconcile", "again").await;
    let set = shop.until("InvalidSpec").await;
    assert!(message(&set).contains("sslrootcert") && !message(&set).contains("/etc/passwd"), "{}", message(&set));
    shop.close().await;
}

/// Two sets on one history, even by two Secrets: the first claims it, the second waits for it to be given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_has_one_owner_until_it_is_gone() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"history": {"set": "shared"}})).await;
    shop.until("UpToDate").await;
    shop.secret("db-too", &[("uri", &shop.url)]).await;
    let second = json!({"history": {"set": "shared"}, "database": {"secretRef": {"name": "db-too"}}});
    shop.apply_as("second", second).await;
    let set = shop.until_of("second", "Conflict").await;
    assert!(message(&set).contains(&format!("{}/shop", shop.namespace)), "{}", message(&set));
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("it is deleted");
    shop.until_of("second", "UpToDate").await;
    assert_eq!(
        shop.ask("SELECT owner FROM dunlin.set WHERE name = 'shared'").await,
        format!("{}/second", shop.namespace)
    );
    shop.close().await;
}

/// M32: two sets that come at one moment don't both run.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_sets_on_one_history_one_is_first() {
    let mut shop = Shop::closed().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    for name in ["one", "two"] {
        shop.apply_as(name, json!({"history": {"set": "shared"}})).await;
    }
    shop.start_operator().await;
    let decided = eventually("one of them has it", LIMIT, async || {
        let mut reasons = Vec::new();
        for name in ["one", "two"] {
            let set = shop.sets().get(name).await.map_err(|error| error.to_string())?;
            reasons.push(condition(&set, "Ready").map(|(_, reason, _)| reason).unwrap_or_default());
        }
        reasons.sort();
        if reasons == ["Conflict", "UpToDate"] { Ok(reasons) } else { Err(reasons.join(" ")) }
    })
    .await;
    assert_eq!(decided.len(), 2);
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, "2", "nothing ran twice");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_taken_over_from_an_owner_that_is_named() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.ask("UPDATE dunlin.set SET owner = 'elsewhere/shop'").await;
    shop.annotate("dunlin.dev/reconcile", "look").await;
    let set = shop.until("Conflict").await;
    assert!(message(&set).contains("takeOver: elsewhere/shop"), "{}", message(&set));
    shop.apply(json!({"history": {"takeOver": "elsewhere/shop"}})).await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask("SELECT owner FROM dunlin.set").await, format!("{}/shop", shop.namespace));
    shop.close().await;
}

/// M32: another run holds the lock: who it is stands in the status, and it goes on when that has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_is_waited_for() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    let url = fresh_database().await;
    shop.secret("db", &[("uri", &url)]).await;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("it answers");
    tokio::spawn(connection);
    client.batch_execute("SELECT pg_advisory_lock(894321)").await.expect("it is free");
    shop.apply(json!({"history": {"lockId": 894_321}})).await;
    let set = shop.until("WaitingForLock").await;
    assert!(message(&set).contains("894321"), "{}", message(&set));
    drop(client);
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 1);
    shop.close().await;
}

/// A standby takes no migrations, until it is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_standby_is_waited_for() {
    let server = dedicated_postgres(&[], &[], &[("standby.signal", std::path::Path::new("/dev/null"))]);
    let shop = Shop::open().await;
    shop.files("sql", &[USERS]).await;
    shop.secret("db", &[("uri", server.url())]).await;
    shop.apply(json!({})).await;
    shop.until("WaitingForDatabase").await;
    let (client, connection) = tokio_postgres::connect(server.url(), tokio_postgres::NoTls).await.expect("it answers");
    tokio::spawn(connection);
    client.batch_execute("SELECT pg_promote()").await.expect("it can be promoted");
    shop.until("UpToDate").await;
    shop.close().await;
}

/// Q25: events have the conditions' reasons, and what stalls is a warning.
#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_the_reason_is_an_event() {
    use k8s_openapi::api::events::v1::Event;
    let shop = Shop::open().await;
    shop.files("sql", &[("001_broken.sql", "SELECT nonsense;")]).await;
    shop.apply(json!({})).await;
    shop.until("MigrationFailed").await;
    shop.files("sql", &[USERS]).await;
    shop.until("UpToDate").await;
    let events: kube::Api<Event> = kube::Api::namespaced(shop.client.clone(), &shop.namespace);
    let told = eventually("the events are told", Duration::from_secs(10).min(LIMIT), async || {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let told: Vec<(String, String)> = list
            .items
            .into_iter()
            .map(|event| (event.type_.unwrap_or_default(), event.reason.unwrap_or_default()))
            .collect();
        let wanted = [("Warning", "MigrationFailed"), ("Normal", "UpToDate"), ("Normal", "Checking")];
        let all = wanted.iter().all(|(kind, reason)| told.iter().any(|told| told.0 == *kind && told.1 == *reason));
        if all { Ok(told) } else { Err(format!("{told:?}")) }
    })
    .await;
    assert!(told.iter().all(|(kind, reason)| (kind == "Warning") == (reason == "MigrationFailed")), "{told:?}");
    shop.close().await;
}
