//! A set that Git alone drives: whole manifests are applied, as a GitOps controller does, and the status is read. Nobody
//! annotates, patches or touches the database.

use std::io::Write as _;

use dunlin::api::v1alpha1::MigrationSet;
use serde_json::{Value, json};

use crate::{
    going::{ITEMS, ORDERS, PRICES, USERS, standing, tables},
    shop::{Shop, condition, message},
    support::kubernetes,
};

const BROKEN: (&str, &str) = ("003_items.sql", "CREATE TABLE items (id int);\nINSERT INTO items VALUES (nonsense);");
const SQUASHED: (&str, &str) = (
    "005_all.sql",
    "-- replaces: 001, 002, 003, 004\nCREATE TABLE users (id int);\nCREATE TABLE orders (id int);\n\
     CREATE TABLE items (id int);\nCREATE TABLE prices (id int);\n",
);

/// What a commit holds: the files, under a name that is theirs alone, as kustomize's generator makes it; and a spec.
#[derive(Clone)]
struct Release {
    name: &'static str,
    files: Vec<(&'static str, &'static str)>,
    spec: Value,
}

/// What is to come of it: reason, version, how many are applied and pending, and the database's tables.
struct Expected(&'static str, Option<&'static str>, i64, i64, &'static str);

impl Release {
    /// The same files with another part of the spec.
    fn with(&self, field: &str, value: Value) -> Self {
        let mut release = self.clone();
        release.spec[field] = value;
        release
    }

    /// Everything that Git holds of it.
    fn manifests(&self, set: &str, token: Option<&str>) -> Value {
        let files: serde_json::Map<String, Value> =
            self.files.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        let map = format!("{set}-{}", self.name);
        let mut object = json!({
            "apiVersion": "dunlin.dev/v1alpha1",
            "kind": "MigrationSet",
            "metadata": {"name": set},
            "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": map}]}},
        });
        for (field, value) in self.spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        if let Some(token) = token {
            object["metadata"]["annotations"] = json!({"dunlin.dev/reconcile": token});
        }
        let files = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map}, "data": files});
        json!({"apiVersion": "v1", "kind": "List", "items": [files, object]})
    }
}

/// Applies what Git holds.
fn apply(shop: &Shop, manifests: &Value) {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(manifests.to_string().as_bytes()).expect("it can be written");
    let path = file.path().to_str().expect("its name is text");
    let namespace = shop.namespace.as_str();
    let applied = kubernetes().kubectl(&["apply", "--server-side", "--namespace", namespace, "-f", path]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

/// Everything of a status but the token that was answered last.
fn said(set: &MigrationSet) -> Value {
    let mut status = set.status.clone().expect("a status");
    status.last_handled_reconcile = None;
    serde_json::to_value(status).expect("it is JSON")
}

/// Applies a release, and checks what comes of it; and that applying it again changes nothing.
async fn release(shop: &Shop, set: &str, release: &Release, expected: &Expected) -> MigrationSet {
    let Expected(reason, version, applied, pending, names) = *expected;
    apply(shop, &release.manifests(set, None));
    let first = shop.until_of(set, reason).await;
    let name = release.name;
    assert_eq!(standing(&first), (version.map(str::to_owned), applied, pending), "{name}: {}", message(&first));
    assert_eq!(tables(shop).await, names, "{name}");
    let is_true = |kind: &&str| condition(&first, kind).is_some_and(|(status, _, _)| status == "True");
    assert_eq!(["Ready", "Reconciling", "Stalled"].iter().filter(|kind| is_true(kind)).count(), 1, "{name}");

    let runs = shop.ask("SELECT count(*) FROM dunlin.run").await;
    let before = shop.sets().get(set).await.expect("it is there").metadata.resource_version;
    apply(shop, &release.manifests(set, None));
    let after = shop.sets().get(set).await.expect("it is there").metadata.resource_version;
    assert_eq!(before, after, "{name}: the same manifest is no change");
    let token = format!("{name}-{runs}");
    apply(shop, &release.manifests(set, Some(&token)));
    let answered = |set: &MigrationSet| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref()) == Some(&token)
    };
    let again = shop.until_that(set, "it was looked at again", answered).await;
    assert_eq!(said(&again), said(&first), "{name}: another look says the same");
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, runs, "{name}: nothing ran again");
    again
}

/// How Git goes back to what it was before a release.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The commit is reverted, files and all; the database follows.
    Rollback,
    /// The commit is reverted, as Helm's rollback does; the database keeps what it has.
    Ignore,
    /// The files stay, and the spec names the version to be at.
    Target,
}

/// Releases forward and back; one that fails, and one that puts one file in the place of all the others.
async fn story(way: Way) {
    let shop = Shop::open().await;
    let policy = match way {
        Way::Rollback => json!({"rollback": "Allow", "onMissing": "Rollback"}),
        Way::Ignore => json!({"onMissing": "Ignore"}),
        Way::Target => json!({"rollback": "Allow"}),
    };
    let spec = json!({"policy": policy, "interval": "1h"});
    let named = |name, files: &[_]| Release { name, files: files.to_vec(), spec: spec.clone() };
    let first = named("first", &[USERS, ORDERS]);
    let broken = named("broken", &[USERS, ORDERS, BROKEN]);
    let mended = named("mended", &[USERS, ORDERS, ITEMS]);
    let next = named("next", &[USERS, ORDERS, ITEMS, PRICES]);
    let squashed = named("squashed", &[SQUASHED]);
    let two = Expected("UpToDate", Some("002"), 2, 0, "orders users");
    let three = Expected("UpToDate", Some("003"), 3, 0, "items orders users");
    let four = Expected("UpToDate", Some("004"), 4, 0, "items orders prices users");

    release(&shop, "shop", &first, &two).await;
    shop.ask("INSERT INTO users VALUES (1)").await;
    let failed = Expected("MigrationFailed", Some("002"), 2, 1, "orders users");
    let set = release(&shop, "shop", &broken, &failed).await;
    assert!(message(&set).contains("003_items.sql:2:27"), "{}", message(&set));
    release(&shop, "shop", &first, &two).await;
    release(&shop, "shop", &mended, &three).await;
    release(&shop, "shop", &next, &four).await;
    match way {
        Way::Rollback => release(&shop, "shop", &mended, &three).await,
        Way::Ignore => {
            let ahead = Expected("DatabaseAhead", Some("004"), 3, 0, "items orders prices users");
            release(&shop, "shop", &mended, &ahead).await
        }
        Way::Target => {
            let below = Expected("UpToDate", Some("003"), 3, 1, "items orders users");
            release(&shop, "shop", &next.with("target", json!("003")), &below).await
        }
    };
    release(&shop, "shop", &next, &four).await;
    let one = Expected("UpToDate", Some("005"), 1, 0, "items orders prices users");
    release(&shop, "shop", &squashed, &one).await;
    release(&shop, "shop", &next, &four).await;
    release(&shop, "shop", &squashed, &one).await;
    assert_eq!(shop.ask("SELECT count(*) FROM users").await, "1", "what was in the tables is still there");
    let ran = "SELECT string_agg(version || ' ' || direction, ', ' ORDER BY id) FROM dunlin.run WHERE kind IN ('apply', 'rollback')";
    let there = "001 up, 002 up, 003 up, 003 up, 004 up";
    let expected = match way {
        Way::Rollback | Way::Target => format!("{there}, 004 down, 004 up"),
        Way::Ignore => there.to_owned(),
    };
    assert_eq!(shop.ask(ran).await, expected, "that, and nothing else, ran");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_commit_rolls_the_database_back_where_the_policy_says_so() {
    story(Way::Rollback).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_commit_leaves_the_database_ahead_where_that_is_ignored() {
    story(Way::Ignore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_git_rolls_the_database_back() {
    story(Way::Target).await;
}

/// An old database, made by hand, gets a set whose files begin with what it has already.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_made_by_hand_is_recorded_up_to_the_baseline_and_goes_on_from_there() {
    let shop = Shop::open().await;
    shop.ask("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1); CREATE TABLE orders (id int);")
        .await;
    let spec = json!({"history": {"baseline": "002_orders"}, "interval": "1h"});
    let first = Release { name: "first", files: vec![USERS, ORDERS, ITEMS], spec };
    let three = Expected("UpToDate", Some("003"), 3, 0, "items orders users");
    let set = release(&shop, "old", &first, &three).await;
    let on_trust = |set: &MigrationSet| {
        set.status.as_ref().and_then(|status| status.applied.as_ref()).map(|applied| applied.on_trust)
    };
    assert_eq!(on_trust(&set), Some(2));
    assert!(message(&set).contains("2 recorded on trust"), "{}", message(&set));
    let kinds = "SELECT string_agg(version || ' ' || kind, ', ' ORDER BY id) FROM dunlin.run";
    assert_eq!(shop.ask(kinds).await, "001 baseline, 002 baseline, 003 apply");
    let next = Release { name: "next", files: vec![USERS, ORDERS, ITEMS, PRICES], spec: json!({"interval": "1h"}) };
    let four = Expected("UpToDate", Some("004"), 4, 0, "items orders prices users");
    let set = release(&shop, "old", &next, &four).await;
    assert_eq!(on_trust(&set), Some(2), "the field has done its work, and may go");
    assert_eq!(shop.ask("SELECT count(*) FROM users").await, "1");
    shop.close().await;
}

/// A new environment begins with what Git holds today: one file in the place of those that it never saw.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_runs_the_file_that_stands_for_the_others_and_none_of_them() {
    let shop = Shop::open().await;
    let spec = json!({"interval": "1h"});
    let squashed = Release { name: "squashed", files: vec![SQUASHED], spec: spec.clone() };
    let one = Expected("UpToDate", Some("005"), 1, 0, "items orders prices users");
    release(&shop, "shop", &squashed, &one).await;
    let later = ("006_notes.sql", "-- depends: 005\nCREATE TABLE notes (id int);");
    let next = Release { name: "next", files: vec![SQUASHED, later], spec };
    let two = Expected("UpToDate", Some("006"), 2, 0, "items notes orders prices users");
    release(&shop, "shop", &next, &two).await;
    let ran = "SELECT string_agg(version || ' ' || kind, ', ' ORDER BY id) FROM dunlin.run";
    assert_eq!(shop.ask(ran).await, "005 apply, 006 apply");
    shop.close().await;
}
