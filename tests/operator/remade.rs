//! What changes under a run: the object, its ConfigMaps, its status. What was planned is what runs, once, and the status
//! tells the story of the object that it stands in.

use dunlin::{api::v1alpha1::MigrationSet, controller};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    conduct::{AFTER, GATED, USERS, gate, is_running},
    counting::Requests,
    line::{applied, is_ready},
    shop::{LIMIT, Operator, Shop, condition, message, ready},
    support::eventually,
};

/// A set that waits for no lock in vain, so that it stands at the gate for as long as that is closed.
fn patient() -> serde_json::Value {
    json!({"policy": {"lockTimeout": "0s"}})
}

/// Everything ran once.
async fn nothing_ran_twice(shop: &Shop, count: usize) {
    let told =
        shop.ask("SELECT count(*) || ' of ' || count(*) FILTER (WHERE outcome = 'succeeded') FROM dunlin.run").await;
    assert_eq!(told, format!("{count} of {count}"));
}

/// The object is made again in the middle of a run: the new one doesn't stay silent until that has ended, but says whom it
/// waits for; then it goes on, and tells nothing of the other's story.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_made_again_during_a_run_says_that_it_waits_for_it() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(patient()).await;
    shop.until_that("shop", "it runs", is_running).await;
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("nothing holds it");
    shop.apply(patient()).await;
    let again = shop.sets().get("shop").await.expect("it is there again").metadata.uid;
    let set = shop.until("WaitingForLock").await;
    assert!(message(&set).contains(&format!("dunlin/{}/shop", shop.namespace)), "{}", message(&set));
    assert_eq!(shop.ask("SELECT to_regclass('after_it')").await, "NULL");
    drop(gate);
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    nothing_ran_twice(&shop, 3).await;
    let seen = shop.seen.lock().expect("nobody panicked").clone();
    let story: Vec<String> = seen
        .iter()
        .filter(|set| set.metadata.uid == again)
        .filter_map(|set| ready(set).map(|(_, reason, message)| format!("{reason}: {message}")))
        .collect();
    assert!(story[0].starts_with("Checking: comparing"), "{story:#?}");
    let of_the_other = |told: &&String| told.contains("002_gated") || told.contains("stopped between");
    assert_eq!(story.iter().find(of_the_other), None, "the other's story is told: {story:#?}");
    shop.close().await;
}

/// The one that comes next is woken when the run has ended, however long it has waited.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make chaos-long"]
async fn a_set_made_again_goes_on_as_soon_as_its_predecessor_has_ended() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED]).await;
    shop.apply(patient()).await;
    shop.until_that("shop", "it runs", is_running).await;
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("nothing holds it");
    shop.apply(patient()).await;
    let waits = |set: &MigrationSet| {
        let status = set.status.as_ref();
        status.is_some_and(|status| status.retries >= 3) && message(set).contains("the set's lock is held")
    };
    shop.until_that("shop", "its pauses have grown", waits).await;
    let opened = std::time::Instant::now();
    drop(gate);
    shop.until("UpToDate").await;
    eprintln!("woken after {:?}", opened.elapsed());
    assert!(opened.elapsed() < std::time::Duration::from_secs(3), "{:?}", opened.elapsed());
    nothing_ran_twice(&shop, 2).await;
    shop.close().await;
}

/// An operator that is asked to stop cancels what runs for an object that is gone as well.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_call_reaches_a_run_whose_set_is_gone() {
    let mut shop = Shop::closed().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED]).await;
    shop.apply(patient()).await;
    let requests = Requests::default();
    let operator = Operator::start(requests.client(&shop.config), &shop.namespace, std::time::Duration::from_secs(11));
    shop.until_that("shop", "it runs", is_running).await;
    shop.sets().delete("shop", &DeleteParams::default()).await.expect("nothing holds it");
    // The operator has seen it when a set that comes after it in the same watch is looked at.
    shop.apply_as("second", json!({"suspend": true})).await;
    shop.until_of("second", "Suspended").await;
    operator.stop().await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dunlin/%/shop' AND datname = current_database()";
    // Whoever waits at the gate stays, unless it was cancelled; a session that was closed takes the server a moment.
    eventually("it was cancelled before the operator left", LIMIT, async || {
        let left = shop.ask(left).await;
        if left == "0" { Ok(()) } else { Err(left) }
    })
    .await;
    drop(gate);
    shop.apply(json!({})).await;
    shop.start_operator().await;
    shop.until("UpToDate").await;
    nothing_ran_twice(&shop, 2).await;
    shop.close().await;
}

/// Content that is swapped in the middle of a run: what was planned runs to its end, and then the new content is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_swapped_during_a_run_is_looked_at_after_it() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(patient()).await;
    shop.until_that("shop", "it runs", is_running).await;
    let edited = (AFTER.0, "CREATE TABLE something_else (id int);");
    let more = ("004_more.sql", "CREATE TABLE more (id int);");
    shop.files("sql", &[USERS, GATED, edited, more]).await;
    drop(gate);
    let set = shop.until("ChecksumDrift").await;
    assert!(message(&set).contains("003_after.sql"), "{}", message(&set));
    assert_eq!(shop.ask("SELECT to_regclass('after_it')").await, "after_it", "what was planned ran");
    assert_eq!(shop.ask("SELECT coalesce(to_regclass('something_else'), to_regclass('more'))").await, "NULL");
    shop.files("sql", &[USERS, GATED, AFTER, more]).await;
    let set = shop.until_that("shop", "it goes on", |set| applied(set) == 4 && is_ready(set)).await;
    assert_eq!(condition(&set, "ChecksumsMatch").map(|found| found.0).as_deref(), Some("True"));
    nothing_ran_twice(&shop, 4).await;
    shop.close().await;
}

/// A ConfigMap that is deleted in the middle of a run: the run goes on, and then it is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_deleted_during_a_run_is_waited_for_after_it() {
    let shop = Shop::open().await;
    let gate = gate(&shop.url).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(patient()).await;
    shop.until_that("shop", "it runs", is_running).await;
    shop.delete_files("sql").await;
    drop(gate);
    shop.until("WaitingForSource").await;
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied'").await, "3");
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    nothing_ran_twice(&shop, 3).await;
    shop.close().await;
}

/// Somebody writes to the object all the time, status and all, while migrations run: they run once, the operator doesn't
/// write back as fast, and in the end the status is right.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_foreign_writes_changes_nothing_that_runs_and_is_not_answered_in_kind() {
    const STORM: i64 = 400;
    let shop = Shop::closed().await;
    let files: Vec<(String, String)> = (1..=6)
        .map(|number| {
            (format!("{number:03}_t.sql"), format!("CREATE TABLE t{number} (id int);\nSELECT pg_sleep(0.2);"))
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    shop.files("sql", &files).await;
    shop.apply(json!({"interval": "1h"})).await;
    let requests = Requests::default();
    let operator = Operator::start(requests.client(&shop.config), &shop.namespace, controller::GRACE_PERIOD);
    let sets = shop.sets();
    let begun = std::time::Instant::now();
    for number in 0..STORM {
        let forged = json!({"status": {"retries": number, "observedGeneration": 77, "failure": {"message": "forged"},
            "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Forged", "message": format!("{number}"),
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let touched = json!({"metadata": {"labels": {"touched": number.to_string()}}});
        let (params, another) = (PatchParams::default(), PatchParams::apply("forger").force());
        match number % 3 {
            0 => drop(sets.patch_status("shop", &params, &Patch::Merge(&forged)).await.expect("an admin may forge")),
            1 => drop(sets.patch("shop", &params, &Patch::Merge(&touched)).await.expect("an admin may label")),
            _ => {
                let mut whole = forged.clone();
                whole["apiVersion"] = "dunlin.dev/v1alpha1".into();
                whole["kind"] = "MigrationSet".into();
                whole["metadata"] = json!({"name": "shop"});
                sets.patch_status("shop", &another, &Patch::Apply(&whole)).await.map(drop).expect("an admin may forge");
            }
        }
    }
    let storm = begun.elapsed();
    let writes = requests.status_writes().len();
    // Progress once a second, and a repair a second at most: each a write, or two where a stranger's field stands there.
    let bound = 20 + 4 * usize::try_from(storm.as_secs()).expect("it is short");
    eprintln!("{STORM} foreign writes within {storm:?}: {writes} writes of the operator");
    assert!(writes <= bound, "{writes} writes within {storm:?}");
    let right = |set: &MigrationSet| {
        let status = set.status.as_ref();
        applied(set) == 6
            && ready(set).is_some_and(|(_, reason, _)| reason == "UpToDate")
            && status.is_some_and(|status| status.failure.is_none() && status.retries == 0)
    };
    shop.until_that("shop", "the status is right again", right).await;
    nothing_ran_twice(&shop, 6).await;
    // It stays so, with no write more than that.
    let written = requests.status_writes().len();
    shop.annotate("example.com/nobodys-business", "1").await;
    shop.apply_as("second", json!({"suspend": true})).await;
    shop.until_of("second", "Suspended").await;
    let after = requests.status_writes();
    let ours = after.iter().skip(written).filter(|line| line.contains("/shop/")).count();
    assert_eq!(ours, 0, "{after:#?}");
    operator.stop().await;
    shop.close().await;
}

/// The same status forged over and over is put right ever more slowly, and in the end for good.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_forger_is_answered_ever_more_slowly() {
    let shop = Shop::closed().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1h"})).await;
    let requests = Requests::default();
    let operator = Operator::start(requests.client(&shop.config), &shop.namespace, controller::GRACE_PERIOD);
    let honest = shop.until("UpToDate").await.status.expect("a status");
    let api: Api<MigrationSet> = shop.sets();
    let begun = std::time::Instant::now();
    for round in 0..3 {
        let forged = json!({"status": {"applied": {"count": 90 + round}}});
        api.patch_status("shop", &PatchParams::default(), &Patch::Merge(&forged)).await.expect("an admin may forge");
        eventually("the forgery is gone", LIMIT, async || {
            let status = api.get_status("shop").await.map_err(|error| error.to_string())?.status;
            if status.as_ref() == Some(&honest) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }
    let taken = begun.elapsed();
    assert!(taken > std::time::Duration::from_secs(5), "1 s, 2 s, 4 s: {taken:?}");
    operator.stop().await;
    shop.close().await;
}
