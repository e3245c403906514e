//! Going back, and forward again: targets, what is gone from the source, branches, and what holds a way back up.

use dunlin::{
    api::v1alpha1::MigrationSet,
    core::bundle::{Bundle, BundleFile},
};
use serde_json::{Value, json};

use crate::{
    conduct::{gate, gate_of},
    line::is_ready,
    shop::{Shop, condition, message, ready},
    support::tools,
};

/// A migration that makes a table, and its way down.
macro_rules! table {
    ($version:literal, $name:literal) => {
        (
            concat!($version, "_", $name, ".sql"),
            concat!("CREATE TABLE ", $name, " (id int);\n-- migrate: down\nDROP TABLE ", $name, ";\n"),
        )
    };
}

type File = (&'static str, &'static str);

pub const USERS: File = table!("001", "users");
pub const ORDERS: File = table!("002", "orders");
pub const ITEMS: File = table!("003", "items");
pub const PRICES: File = table!("004", "prices");
const ONE_WAY: File = ("002_orders.sql", "CREATE TABLE orders (id int);\n");

/// The highest version, and how many are applied and pending.
pub fn standing(set: &MigrationSet) -> (Option<String>, i64, i64) {
    let applied = set.status.as_ref().and_then(|status| status.applied.clone()).unwrap_or_default();
    (applied.version, applied.count, applied.pending)
}

/// The tables of a database.
pub async fn tables(shop: &Shop) -> String {
    shop.ask(
        "SELECT COALESCE(string_agg(tablename, ' ' ORDER BY tablename), '') FROM pg_tables WHERE schemaname = 'public'",
    )
    .await
}

fn at(version: &str, applied: i64, pending: i64) -> (Option<String>, i64, i64) {
    (Some(version.to_owned()), applied, pending)
}

fn is_stalled(set: &MigrationSet) -> bool {
    condition(set, "Stalled").is_some_and(|(status, _, _)| status == "True")
}

/// The MigrationSet `shop`, Ready with these files.
async fn shop_with(files: &[File], spec: Value) -> Shop {
    let shop = Shop::open().await;
    shop.files("sql", files).await;
    shop.apply(spec).await;
    shop.until("UpToDate").await;
    shop
}

/// The digest of files.
fn digest(files: &[File]) -> String {
    let file = |(name, text): &File| BundleFile {
        name: (*name).to_owned(),
        bytes: text.as_bytes().to_vec(),
        origin: "a test".to_owned(),
    };
    Bundle::new(files.iter().map(file).collect()).expect("each name once").digest().to_string()
}

async fn runs(shop: &Shop) -> String {
    shop.ask("SELECT string_agg(version || ' ' || direction || ' ' || outcome, ', ' ORDER BY id) FROM dunlin.run").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_a_state_that_is_reached_from_above_and_from_below() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS, ITEMS]).await;
    let target = |target: &str| json!({"target": target, "policy": {"rollback": "Allow"}});
    shop.apply(target("002_orders")).await;
    let set = shop.until("UpToDate").await;
    assert_eq!(standing(&set), at("002", 2, 1), "from an empty database");
    assert!(message(&set).contains("1 more in the source, which spec.target leaves out"), "{}", message(&set));
    shop.apply(target("1")).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), (at("001", 1, 2), "users".to_owned()), "from above");
    shop.apply(target("003")).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), (at("003", 3, 0), "items orders users".to_owned()), "from below");
    shop.apply(target("none")).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), ((None, 0, 3), String::new()));
    assert!(is_ready(&set) && message(&set).starts_with("nothing is applied"), "{}", message(&set));
    shop.apply(target("latest")).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), (at("003", 3, 0), "items orders users".to_owned()));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_nobody_allowed_is_denied() {
    let shop = shop_with(&[USERS, ORDERS], json!({})).await;
    shop.apply(json!({"target": "001"})).await;
    let set = shop.until("RollbackDenied").await;
    assert!(is_stalled(&set));
    for words in ["002_orders", "policy.rollback", "Allow", "spec.target"] {
        assert!(message(&set).contains(words), "{words} in: {}", message(&set));
    }
    assert_eq!(tables(&shop).await, "orders users", "nothing ran");
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.apply(json!({"target": "001", "policy": {"rollback": "Allow"}})).await;
    shop.until("UpToDate").await;
    assert_eq!(tables(&shop).await, "users");
    shop.close().await;
}

/// What can't be undone is found before the first statement of the way back, and healed by the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_without_a_way_down_holds_the_way_back_up_until_its_file_has_one() {
    let shop = shop_with(&[USERS, ONE_WAY, ITEMS], json!({})).await;
    shop.apply(json!({"target": "001", "policy": {"rollback": "Allow"}})).await;
    let set = shop.until("NoDownMigration").await;
    assert!(is_stalled(&set));
    for words in ["002_orders", "-- migrate: down", "MarkRolledBack"] {
        assert!(message(&set).contains(words), "{words} in: {}", message(&set));
    }
    assert!(!message(&set).contains("003_items"), "that one has a way down: {}", message(&set));
    assert_eq!(tables(&shop).await, "items orders users", "nothing ran");
    shop.files("sql", &[USERS, ORDERS, ITEMS]).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), (at("001", 1, 2), "users".to_owned()));
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run WHERE outcome <> 'succeeded'").await, "0");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_shown() {
    const GATED: File = (
        "002_gated.sql",
        "CREATE TABLE gated (id int);\n-- migrate: down\nSELECT pg_advisory_lock(42);\nDROP TABLE gated;",
    );
    let shop = shop_with(&[USERS, GATED, ITEMS], json!({})).await;
    let gate = gate(&shop.url).await;
    shop.apply(json!({"target": "001", "policy": {"rollback": "Allow", "lockTimeout": "0s"}})).await;
    let at_the_gate = |set: &MigrationSet| {
        let running = set.status.as_ref().and_then(|status| status.running.as_ref());
        running.is_some_and(|running| running.version.as_deref() == Some("002") && !running.blocked_by.is_empty())
    };
    let set = shop.until_that("shop", "the second way down waits", at_the_gate).await;
    let (status, reason, message) = ready(&set).expect("it is said");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "RollingBack"));
    assert!(message.contains("2 of 2: 002_gated"), "{message}");
    assert_eq!(condition(&set, "Reconciling").map(|found| found.0).as_deref(), Some("True"));
    let plan = set.status.and_then(|status| status.plan).expect("it is shown");
    let steps: Vec<_> = plan.steps.into_iter().map(|step| (step.version, step.direction)).collect();
    let down = |version: &str| (Some(version.to_owned()), Some("Down".to_owned()));
    assert_eq!(steps, [down("003"), down("002")]);
    drop(gate);
    let set = shop.until("UpToDate").await;
    assert_eq!(standing(&set), at("001", 1, 2));
    shop.close().await;
}

/// A file goes and another comes: the way down is said to be one, and so is the way up.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_goes_both_ways_says_which_one_it_is_going() {
    const OLD: File =
        ("002_old.sql", "CREATE TABLE old (id int);\n-- migrate: down\nSELECT pg_advisory_lock(42);\nDROP TABLE old;");
    const NEW: File = ("003_new.sql", "SELECT pg_advisory_lock(43);\nCREATE TABLE new (id int);");
    let policy = json!({"policy": {"onMissing": "Rollback", "rollback": "Allow", "lockTimeout": "0s"}});
    let shop = shop_with(&[USERS, OLD], policy).await;
    let (down, up) = (gate_of(&shop.url, 42).await, gate_of(&shop.url, 43).await);
    shop.files("sql", &[USERS, NEW]).await;
    let runs = |version: &'static str, reason: &'static str| {
        move |set: &MigrationSet| {
            let running = set.status.as_ref().and_then(|status| status.running.as_ref());
            running.is_some_and(|running| running.version.as_deref() == Some(version))
                && ready(set).is_some_and(|(_, found, _)| found == reason)
        }
    };
    shop.until_that("shop", "the old one is rolled back", runs("002", "RollingBack")).await;
    drop(down);
    shop.until_that("shop", "the new one is applied", runs("003", "Applying")).await;
    drop(up);
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), (at("003", 2, 0), "new users".to_owned()));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_nobody_knows_is_refused_with_what_is_near() {
    let shop = shop_with(&[USERS, ORDERS, PRICES], json!({})).await;
    for (target, words) in [
        ("003", "the nearest are 002_orders, 004_prices"),
        ("9", "the nearest is 004_prices"),
        ("002_order", "002_orders.sql"),
        ("batch:7", "the last plan that ran here was 1"),
    ] {
        shop.apply(json!({"target": target, "policy": {"rollback": "Allow"}})).await;
        let set = shop.until("InvalidSpec").await;
        assert!(is_stalled(&set) && message(&set).contains("spec.target"), "{}", message(&set));
        assert!(message(&set).contains(words), "{target}: {words} in: {}", message(&set));
    }
    assert_eq!(tables(&shop).await, "orders prices users", "nothing ran");
    shop.files("sql", &[USERS, ORDERS, ITEMS, PRICES]).await;
    shop.apply(json!({"target": "003", "policy": {"rollback": "Allow", "outOfOrder": "Allow"}})).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), (at("003", 3, 1), "items orders users".to_owned()));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_gone_back_to_by_its_number() {
    let shop = shop_with(&[USERS], json!({})).await;
    shop.files("sql", &[USERS, ORDERS, ITEMS]).await;
    shop.until_that("shop", "a second plan has run", |set| standing(set) == at("003", 3, 0) && is_ready(set)).await;
    shop.files("sql", &[USERS, ORDERS, ITEMS, PRICES]).await;
    let third = |set: &MigrationSet| standing(set) == at("004", 4, 0) && is_ready(set);
    let set = shop.until_that("shop", "a third plan has run", third).await;
    let recent = set.status.map(|status| status.recent).unwrap_or_default();
    assert_eq!(recent.iter().map(|recent| recent.batch).collect::<Vec<_>>(), [3, 2, 2, 1]);
    for (batch, names) in [("batch:2", "items orders users"), ("batch:1", "users"), ("batch:0", "")] {
        shop.apply(json!({"target": batch, "policy": {"rollback": "Allow"}})).await;
        shop.until("UpToDate").await;
        assert_eq!(tables(&shop).await, names, "{batch}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_the_source_is_rolled_back_where_both_policies_say_so() {
    let shop = shop_with(&[USERS, ORDERS, ITEMS], json!({"policy": {"onMissing": "Rollback"}})).await;
    shop.files("sql", &[USERS]).await;
    let set = shop.until("RollbackDenied").await;
    for words in ["003_items, 002_orders", "put the files back", "policy.rollback"] {
        assert!(message(&set).contains(words), "{words} in: {}", message(&set));
    }
    assert_eq!(tables(&shop).await, "items orders users", "nothing ran");
    shop.apply(json!({"policy": {"onMissing": "Rollback", "rollback": "Allow"}})).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), (at("001", 1, 0), "users".to_owned()));
    assert_eq!(set.status.and_then(|status| status.drift), None);
    assert!(runs(&shop).await.ends_with("003 down succeeded, 002 down succeeded"), "{}", runs(&shop).await);
    shop.close().await;
}

/// A ConfigMap that is absent, or holds nothing, is no wish to drop everything.
#[tokio::test(flavor = "multi_thread")]
async fn an_absent_or_empty_source_rolls_nothing_back() {
    let shop = shop_with(&[USERS, ORDERS], json!({"policy": {"onMissing": "Rollback", "rollback": "Allow"}})).await;
    let before = runs(&shop).await;
    shop.delete_files("sql").await;
    shop.until("WaitingForSource").await;
    shop.files("sql", &[]).await;
    shop.until("InvalidSource").await;
    shop.files("sql", &[("002_orders.sql", "")]).await;
    shop.until_that("shop", "the file is named", |set| message(set).contains("002_orders.sql")).await;
    assert_eq!(
        ready(&shop.sets().get("shop").await.expect("it is there")).map(|found| found.1).as_deref(),
        Some("InvalidSource")
    );
    assert_eq!((tables(&shop).await, runs(&shop).await), ("orders users".to_owned(), before));
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.until("UpToDate").await;
    shop.close().await;
}

/// With several ConfigMaps, which don't change at one moment, the digest says which content is meant.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_config_maps_what_is_gone_is_rolled_back_when_the_digest_is_there() {
    let spec = |files: &[File]| {
        json!({
            "source": {"configMaps": [{"name": "sql"}, {"name": "more"}], "digest": digest(files)},
            "policy": {"onMissing": "Rollback", "rollback": "Allow"},
        })
    };
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.files("more", &[ITEMS]).await;
    shop.apply(spec(&[USERS, ORDERS, ITEMS])).await;
    shop.until("UpToDate").await;
    // A file moves from one to the other, and one goes: for a moment two are in neither.
    shop.files("sql", &[USERS]).await;
    shop.until("WaitingForDigest").await;
    shop.apply(spec(&[USERS, ORDERS])).await;
    shop.until("WaitingForDigest").await;
    assert_eq!(tables(&shop).await, "items orders users", "nothing ran");
    shop.files("more", &[ORDERS]).await;
    shop.until("UpToDate").await;
    assert_eq!(tables(&shop).await, "orders users");
    shop.close().await;
}

/// An old operator's source with an old rollback: nothing that the database has beyond it is touched.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_and_ignored_is_in_nobodys_way() {
    let shop = shop_with(&[USERS, ITEMS], json!({"policy": {"onMissing": "Ignore", "rollback": "Allow"}})).await;
    shop.files("sql", &[USERS]).await;
    let set = shop.until("DatabaseAhead").await;
    assert!(is_ready(&set) && message(&set).contains("003"), "{}", message(&set));
    assert_eq!(set.status.and_then(|status| status.drift).map(|drift| drift.missing), Some(vec!["003".to_owned()]));
    shop.files("sql", &[USERS, PRICES]).await;
    let goes_on = |set: &MigrationSet| standing(set) == at("004", 2, 0) && is_ready(set);
    let set = shop.until_that("shop", "it goes on", goes_on).await;
    assert_eq!(ready(&set).map(|found| found.1).as_deref(), Some("DatabaseAhead"));
    assert_eq!(tables(&shop).await, "items prices users");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_branches_are_shown_until_a_file_joins_them() {
    const LEFT: File = ("002_left.sql", "-- depends: 001\nCREATE TABLE \"left\" (id int);");
    const RIGHT: File = ("003_right.sql", "-- depends: 001\nCREATE TABLE \"right\" (id int);");
    const JOIN: File = ("004_join.sql", "-- depends: 002, 003\nSELECT 1;");
    let heads = |set: &MigrationSet| set.status.as_ref().and_then(|it| it.source.clone()).unwrap_or_default().heads;
    let shop = shop_with(&[USERS], json!({})).await;
    assert_eq!(heads(&shop.until("UpToDate").await), Vec::<String>::new());
    shop.files("sql", &[USERS, LEFT, RIGHT]).await;
    let branched = |set: &MigrationSet| standing(set) == at("003", 3, 0) && is_ready(set);
    let set = shop.until_that("shop", "both branches are applied", branched).await;
    assert_eq!(heads(&set), ["002", "003"]);
    shop.files("sql", &[USERS, LEFT, RIGHT, JOIN]).await;
    let joined = |set: &MigrationSet| standing(set) == at("004", 4, 0) && is_ready(set);
    let set = shop.until_that("shop", "they are joined", joined).await;
    assert_eq!(heads(&set), Vec::<String>::new());
    shop.close().await;
}

/// A baseline is for a database that Dunlin doesn't know yet: it is refused where nobody knows it, and means nothing later.
#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_holds_at_first_contact_alone() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({"history": {"baseline": "007"}})).await;
    let set = shop.until("InvalidSpec").await;
    assert!(
        message(&set).contains("spec.history.baseline") && message(&set).contains("002_orders"),
        "{}",
        message(&set)
    );
    assert_eq!(tables(&shop).await, "", "nothing ran");
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[USERS, ORDERS, ITEMS]).await;
    shop.apply(json!({"history": {"baseline": "003"}})).await;
    let set =
        shop.until_that("shop", "the third is applied", |set| standing(set) == at("003", 3, 0) && is_ready(set)).await;
    assert_eq!(set.status.and_then(|status| status.applied).map(|applied| applied.on_trust), Some(0));
    assert_eq!(tables(&shop).await, "items orders users", "the third ran");
    shop.close().await;
}

/// Q83: at first contact with a database that Migretti has migrated, its history is taken over, once. What failed there is
/// mended there; what Migretti does afterwards is nobody's business here.
#[tokio::test(flavor = "multi_thread")]
async fn another_tools_history_is_taken_over_at_first_contact() {
    let shop = Shop::open().await;
    shop.files("sql", &[USERS, ORDERS, ITEMS]).await;
    shop.ask(tools::MIGRETTI).await;
    shop.ask("CREATE TABLE users (id int); CREATE TABLE orders (id int); INSERT INTO users VALUES (1)").await;
    shop.ask(
        "INSERT INTO _migrations (id, name, applied_at, status) VALUES ('001', 'users', '2026-02-15 12:00:00Z', 'applied'), \
         ('002', 'orders', '2026-02-15 12:00:01Z', 'failed')",
    )
    .await;
    let adopting = |interval: &str| json!({"history": {"adopt": {"from": "Migretti"}}, "interval": interval});
    shop.apply(adopting("1h")).await;
    let set = shop.until("InvalidSpec").await;
    assert!(
        message(&set).contains("spec.history.adopt: Migretti failed at 002 (public._migrations)"),
        "{}",
        message(&set)
    );
    assert_eq!(shop.ask("SELECT to_regnamespace('dunlin')").await, "NULL", "nothing was made");
    shop.ask("UPDATE _migrations SET status = 'applied'").await;
    shop.apply(adopting("2h")).await;
    let all = |version: &'static str, count| {
        move |set: &MigrationSet| standing(set) == at(version, count, 0) && is_ready(set)
    };
    shop.until_that("shop", "the third is applied", all("003", 3)).await;
    let kinds = "SELECT string_agg(version || ' ' || kind, ', ' ORDER BY id) FROM dunlin.run";
    assert_eq!(shop.ask(kinds).await, "001 import, 002 import, 003 apply");
    let applied_at = "SELECT applied_at AT TIME ZONE 'UTC' FROM dunlin.migration WHERE version = '001'";
    assert_eq!(shop.ask(applied_at).await, "2026-02-15 12:00:00");
    assert_eq!(shop.ask("SELECT count(*) FROM users").await, "1");
    shop.ask("INSERT INTO _migrations (id, name) VALUES ('009', 'elsewhere')").await;
    shop.files("sql", &[USERS, ORDERS, ITEMS, PRICES]).await;
    shop.until_that("shop", "the fourth is applied", all("004", 4)).await;
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run WHERE kind = 'import'").await, "2");
    shop.close().await;
}

/// A way down that fails is rolled back itself: the migration is still applied, and the file's down section is to be mended.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_down_that_fails_leaves_its_migration_applied_until_it_is_mended() {
    const BROKEN: File = ("002_orders.sql", "CREATE TABLE orders (id int);\n-- migrate: down\nDROP TABLE order_s;");
    let shop = shop_with(&[USERS, BROKEN], json!({})).await;
    shop.apply(json!({"target": "001", "policy": {"rollback": "Allow"}})).await;
    let set = shop.until("MigrationFailed").await;
    assert!(is_stalled(&set) && message(&set).contains("still applied"), "{}", message(&set));
    let failure = set.status.as_ref().and_then(|status| status.failure.clone()).expect("it is shown");
    assert_eq!(
        (failure.version.as_deref(), failure.sqlstate.as_deref(), failure.line),
        (Some("002"), Some("42P01"), Some(3))
    );
    assert_eq!((standing(&set), tables(&shop).await), (at("002", 2, 0), "orders users".to_owned()));
    shop.files("sql", &[USERS, ORDERS]).await;
    let set = shop.until("UpToDate").await;
    assert_eq!((standing(&set), tables(&shop).await), (at("001", 1, 1), "users".to_owned()));
    shop.close().await;
}
