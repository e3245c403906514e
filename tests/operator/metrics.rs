//! What a real operator counts, scraped while things happen to a set; and the same in its log and its events.

#![allow(clippy::float_cmp, reason = "counts are exact")]

use std::collections::{BTreeMap, BTreeSet};

use dunlin::api::v1alpha1::MigrationSet;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::{
    conduct::{GATED, USERS, gate},
    line::applied,
    process::{OperatorProcess, read},
    shop::{LIMIT, Shop, ready},
    support::{eventually, kubernetes},
};

pub const SCRAPES: [&str; 2] = ["--metrics-addr", "127.0.0.1:0"];

/// The samples of a page: a name with its labels, and the value.
pub type Samples = BTreeMap<String, f64>;

/// Reads every line of a page, as a scraper does.
pub fn parse(page: &str) -> Samples {
    let mut samples = Samples::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let before = samples.insert(sample.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")));
        assert_eq!(before, None, "{sample} is there twice");
    }
    samples
}

pub async fn page(address: &str) -> String {
    let (status, page) = read(address, "/metrics").await.expect("it answers");
    assert_eq!(status, 200);
    page
}

/// Waits until a page has these samples.
async fn until_scraped(address: &str, expected: &[(&str, f64)]) -> Samples {
    eventually("it is counted", LIMIT, async || {
        let samples = parse(&page(address).await);
        let differs = |(name, value): &&(&str, f64)| samples.get(*name) != Some(value);
        let missing: Vec<_> = expected.iter().filter(differs).map(|(name, _)| (name, samples.get(*name))).collect();
        if missing.is_empty() { Ok(samples) } else { Err(format!("{missing:?}")) }
    })
    .await
}

/// The samples of a family that is about the set `shop`, with further labels.
fn of_shop(shop: &Shop, family: &str, labels: &str) -> String {
    format!("{family}{{namespace=\"{}\",name=\"shop\"{labels}}}", shop.namespace)
}

/// Waits until the page says this of the set `shop`: family, further labels, value.
async fn until_said(shop: &Shop, address: &str, expected: &[(&str, &str, f64)]) -> Samples {
    let named: Vec<(String, f64)> =
        expected.iter().map(|(family, labels, value)| (of_shop(shop, family, labels), *value)).collect();
    let named: Vec<(&str, f64)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    until_scraped(address, &named).await
}

/// Q05: success, failure, drift and deletion of a set, as they are scraped.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_set_is_counted_and_goes_with_it() {
    let shop = Shop::closed().await;
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &SCRAPES);
    let address = operator.address("--metrics-addr").await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let up = |result: &str| format!(",direction=\"up\",result=\"{result}\"");
    let (succeeded, failed) = (up("succeeded"), up("failed"));
    let samples = until_said(
        &shop,
        &address,
        &[
            ("dunlin_ready", "", 1.0),
            ("dunlin_stalled", "", 0.0),
            ("dunlin_applied_migrations", "", 1.0),
            ("dunlin_pending_migrations", "", 0.0),
            ("dunlin_migrations_total", &succeeded, 1.0),
            ("dunlin_migrations_total", &failed, 0.0),
            ("dunlin_drift", ",kind=\"checksum\"", 0.0),
        ],
    )
    .await;
    assert!(samples[&of_shop(&shop, "dunlin_last_success_timestamp_seconds", "")] > 1.7e9);
    assert_eq!(samples["dunlin_migration_duration_seconds_count{direction=\"up\"}"], 1.0);

    let twice = ("002_twice.sql", "INSERT INTO users VALUES (1, 'secret-a'), (1, 'secret-b');");
    shop.files("sql", &[USERS, twice]).await;
    let set = shop.until("MigrationFailed").await;
    let class = ",reason=\"MigrationFailed\",sqlstate_class=\"23\"";
    let expected = [
        ("dunlin_ready", "", 0.0),
        ("dunlin_stalled", "", 1.0),
        ("dunlin_pending_migrations", "", 1.0),
        ("dunlin_failures_total", class, 1.0),
        ("dunlin_migrations_total", &failed, 1.0),
    ];
    until_said(&shop, &address, &expected).await;
    assert_eq!(set.status.and_then(|status| status.failure).and_then(|it| it.sqlstate).as_deref(), Some("23505"));
    let text = page(&address).await;
    for secret in ["secret-", "INSERT", "postgres://", "twice", "duplicate key"] {
        assert!(!text.contains(secret), "{secret} has no place in {text}");
    }

    shop.files("sql", &[(USERS.0, "CREATE TABLE users (id bigint PRIMARY KEY, name text);")]).await;
    shop.until("ChecksumDrift").await;
    let drifted = [
        ("dunlin_drift", ",kind=\"checksum\"", 1.0),
        ("dunlin_stalled", "", 1.0),
        ("dunlin_failures_total", ",reason=\"ChecksumDrift\",sqlstate_class=\"\"", 1.0),
        ("dunlin_failures_total", class, 1.0),
    ];
    until_said(&shop, &address, &drifted).await;

    shop.sets().delete("shop", &DeleteParams::default()).await.expect("it is deleted");
    eventually("nothing is left of it", LIMIT, async || {
        let page = page(&address).await;
        if page.contains("name=\"shop\"") { Err(page) } else { Ok(()) }
    })
    .await;
    operator.end().await;
    shop.close().await;
}

/// P25: how long each migration took, and each statement of one without a transaction, is in the history; and how long
/// migrations took, up and down, is counted.
#[tokio::test(flavor = "multi_thread")]
async fn how_long_each_took_is_in_the_history_and_counted() {
    let shop = Shop::closed().await;
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &SCRAPES);
    let address = operator.address("--metrics-addr").await;
    let slow = (
        "002_slow.sql",
        "-- migrate: no-transaction\n-- migrate: up\nCREATE TABLE slow (id int);\nSELECT pg_sleep(0.2);\n\
         -- migrate: down\nDROP TABLE slow;\n",
    );
    shop.files("sql", &[USERS, slow]).await;
    shop.apply(json!({"policy": {"rollback": "Allow"}})).await;
    let set = shop.until("UpToDate").await;
    let recent = set.status.map(|status| status.recent).unwrap_or_default();
    assert!(recent[0].duration_ms >= 200 && recent[1].duration_ms >= 0, "{recent:?}");
    assert_eq!(shop.ask("SELECT duration_ms >= 200 FROM dunlin.migration WHERE version = '002'").await, "t");
    let statements =
        "SELECT count(*) = 2 AND bool_or(ordinal = 2 AND finished_at - started_at >= '200 ms') FROM dunlin.statement";
    assert_eq!(shop.ask(statements).await, "t");
    let up = until_scraped(&address, &[("dunlin_migration_duration_seconds_count{direction=\"up\"}", 2.0)]).await;
    assert!(up["dunlin_migration_duration_seconds_sum{direction=\"up\"}"] >= 0.2);
    assert_eq!(up["dunlin_migration_duration_seconds_count{direction=\"down\"}"], 0.0);
    shop.apply(json!({"policy": {"rollback": "Allow"}, "target": "001"})).await;
    shop.until_that("shop", "it is rolled back", |set| applied(set) == 1).await;
    until_scraped(&address, &[("dunlin_migration_duration_seconds_count{direction=\"down\"}", 1.0)]).await;
    until_said(&shop, &address, &[("dunlin_migrations_total", ",direction=\"down\",result=\"succeeded\"", 1.0)]).await;
    operator.end().await;
    shop.close().await;
}

/// While a migration waits for somebody else's lock, work is under way; afterwards the wait is counted.
#[tokio::test(flavor = "multi_thread")]
async fn work_under_way_and_waits_for_locks_are_counted() {
    let shop = Shop::closed().await;
    let gate = gate(&shop.url).await;
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &SCRAPES);
    let address = operator.address("--metrics-addr").await;
    shop.files("sql", &[USERS, GATED]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    let blocked = |set: &MigrationSet| {
        let running = set.status.as_ref().and_then(|status| status.running.as_ref());
        running.is_some_and(|running| !running.blocked_by.is_empty())
    };
    shop.until_that("shop", "it waits", blocked).await;
    let samples = parse(&page(&address).await);
    assert_eq!(samples["controller_runtime_active_workers{controller=\"migrationset\"}"], 1.0);
    assert!(samples["workqueue_longest_running_processor_seconds{name=\"migrationset\"}"] > 0.0);
    assert!(samples["workqueue_unfinished_work_seconds{name=\"migrationset\"}"] > 0.0);
    assert_eq!(samples["dunlin_lock_wait_seconds_count"], 0.0);
    drop(gate);
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 2);
    let at_rest = [
        ("dunlin_lock_wait_seconds_count", 1.0),
        ("controller_runtime_active_workers{controller=\"migrationset\"}", 0.0),
        ("workqueue_depth{name=\"migrationset\"}", 0.0),
    ];
    let samples = until_scraped(&address, &at_rest).await;
    assert!(samples["dunlin_lock_wait_seconds_sum"] > 0.0);
    assert!(samples["workqueue_adds_total{name=\"migrationset\"}"] >= 1.0);
    let results = ["success", "requeue_after", "error"].map(|result| {
        samples[&format!("controller_runtime_reconcile_total{{controller=\"migrationset\",result=\"{result}\"}}")]
    });
    assert!(results[1] >= 1.0 && results[2] == 0.0, "{results:?}");
    assert!(samples["rest_client_requests_total{code=\"200\",method=\"GET\"}"] >= 1.0);
    assert!(samples["rest_client_requests_total{code=\"200\",method=\"PATCH\"}"] >= 1.0);
    operator.end().await;
    shop.close().await;
}

/// Of two replicas one says that it leads; the other has no series of sets, which would be counted twice.
#[tokio::test(flavor = "multi_thread")]
async fn one_replica_says_that_it_leads_and_has_the_series_of_the_sets() {
    let shop = Shop::closed().await;
    let flags =
        [&SCRAPES[..], &["--leader-elect", "--lease-name", "till", "--lease-namespace", &shop.namespace]].concat();
    let replicas = [(); 2].map(|()| OperatorProcess::start_with(kubernetes(), &shop.namespace, &flags));
    let [one, other] = [replicas[0].address("--metrics-addr").await, replicas[1].address("--metrics-addr").await];
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let leads = "leader_election_master_status{name=\"till\"}";
    let pages = eventually("one leads, and has looked", LIMIT, async || {
        let mut pages = [parse(&page(&one).await), parse(&page(&other).await)];
        pages.sort_by(|one, other| other[leads].total_cmp(&one[leads]));
        let looked = pages[0].contains_key(&of_shop(&shop, "dunlin_ready", ""));
        if looked { Ok(pages) } else { Err(pages) }
    })
    .await;
    assert_eq!(pages.each_ref().map(|page| page[leads]), [1.0, 0.0]);
    assert!(!pages[1].keys().any(|sample| sample.contains("name=\"shop\"")));
    assert_eq!(pages[1]["workqueue_depth{name=\"migrationset\"}"], 0.0, "nobody waits for a standby");
    for replica in replicas {
        replica.end().await;
    }
    shop.close().await;
}

/// Every sample that is scraped stands in the documentation, with the labels that it has.
#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_documented_with_its_labels() {
    let shop = Shop::closed().await;
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &SCRAPES);
    let address = operator.address("--metrics-addr").await;
    shop.files("sql", &[("001_broken.sql", "SELECT 1 / 0;")]).await;
    shop.apply(json!({})).await;
    shop.until("MigrationFailed").await;
    let failed = of_shop(&shop, "dunlin_failures_total", ",reason=\"MigrationFailed\",sqlstate_class=\"22\"");
    let samples = until_scraped(&address, &[(&failed, 1.0)]).await;
    let documentation = include_str!("../../docs/metrics.md");
    let documented: BTreeMap<&str, BTreeSet<&str>> = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| {
            let mut columns = row.split(" | ");
            let (name, _, labels) = (columns.next()?, columns.next()?, columns.next()?);
            Some((name.trim_end_matches('`'), labels.split('`').filter(|it| it.len() > 2).collect()))
        })
        .collect();
    for sample in samples.keys() {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let labels: BTreeSet<&str> = labels
            .trim_end_matches('}')
            .split("\",")
            .filter_map(|pair| pair.split_once('=').map(|(label, _)| label))
            .filter(|label| *label != "le")
            .collect();
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let found = documented.get(name).or_else(|| documented.get(histogram?));
        assert_eq!(found, Some(&labels), "{sample}");
    }
    operator.end().await;
    shop.close().await;
}

/// Q05: what happens is in the log, an object a line; in the events; and in the metrics.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_in_the_log_and_in_events_and_in_metrics() {
    let shop = Shop::closed().await;
    let flags = [&SCRAPES[..], &["--log-format", "json", "--log-level", "info"]].concat();
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &flags);
    let lines = || -> Vec<Value> {
        let log = operator.log();
        let line = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        log.lines().map(line).collect()
    };
    let address = eventually("it says where it listens", LIMIT, async || {
        let lines = lines();
        let listening = lines.iter().find(|line| line["message"] == "listening" && line["flag"] == "--metrics-addr");
        listening.and_then(|line| line["address"].as_str()).map(str::to_owned).ok_or(lines.clone())
    })
    .await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    let set = shop.until("UpToDate").await;
    until_said(&shop, &address, &[("dunlin_ready", "", 1.0)]).await;
    let lines = lines();
    let (name, said) = (format!("{}/shop", shop.namespace), ready(&set).expect("it is said").2);
    let looked = lines.iter().find(|line| line["message"] == "looked" && line["reason"] == "UpToDate");
    let looked = looked.unwrap_or_else(|| panic!("{lines:#?}"));
    assert_eq!((looked["set"].as_str(), looked["level"].as_str()), (Some(name.as_str()), Some("INFO")), "{looked}");
    assert!(looked["timestamp"].as_str().is_some_and(|time| time.contains('T') && time.ends_with('Z')), "{looked}");
    assert_eq!(looked["said"], said);
    assert!(!lines.iter().any(|line| line["level"] == "DEBUG"));
    let events: Api<Event> = Api::namespaced(shop.client.clone(), &shop.namespace);
    eventually("it is an event", LIMIT, async || {
        let found = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let reasons: Vec<_> = found.items.iter().filter_map(|event| event.reason.clone()).collect();
        if reasons.iter().any(|reason| reason == "UpToDate") { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
    operator.end().await;
    shop.close().await;
}
