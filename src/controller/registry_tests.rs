//! Which events concern which set.

use super::*;
use crate::core::{
    format::Format,
    outcome::{Failure, Reason},
    reference::SourceRef,
};

fn name(name: &str) -> Owner {
    Owner { namespace: "a".to_owned(), name: name.to_owned() }
}

fn stamp(version: &str) -> Stamp {
    Stamp { uid: "map".to_owned(), resource_version: version.to_owned() }
}

fn set(uid: &str, source: &serde_json::Value) -> MigrationSet {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "dunlin.dev/v1alpha1",
        "kind": "MigrationSet",
        "metadata": {"name": "shop", "namespace": "a", "uid": uid},
        "spec": {"database": {"secretRef": {"name": "db"}}, "source": source}
    }))
    .expect("it is a MigrationSet")
}

fn by_name() -> MigrationSet {
    set("1", &serde_json::json!({"configMaps": [{"name": "sql"}]}))
}

fn by_label() -> MigrationSet {
    set("1", &serde_json::json!({"configMapSelector": {"matchLabels": {"app": "shop"}}}))
}

/// A registry that knows a set, which has read these versions of these ConfigMaps.
fn registry(set: &MigrationSet, read: &[(&str, &str)]) -> Registry {
    let registry = Registry::default();
    registry.seen(set);
    let snapshot = Snapshot {
        reference: SourceRef::ConfigMaps(Vec::new()),
        seeds: None,
        format: Format::Auto,
        stamps: read.iter().map(|(name, version)| ((*name).to_owned(), stamp(version))).collect(),
        content: Err(Failure::new(Reason::InvalidSource, "")),
    };
    registry.remember(&name("shop"), "1", |remembered| remembered.snapshot = Some(snapshot.into()));
    registry
}

fn labels(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), value.to_owned())])
}

#[test]
fn a_config_map_concerns_a_set_only_in_another_version_than_the_one_read() {
    let registry = registry(&by_name(), &[("sql", "7")]);
    let none = BTreeMap::new();
    for (map, version, expected) in [
        ("sql", Some("7"), false),
        ("sql", Some("6"), false),
        ("sql", Some("8"), true),
        ("sql", None, true),
        ("other", Some("9"), false),
    ] {
        let concerned = registry.config_map(&name(map), &none, version.map(stamp).as_ref());
        assert_eq!(!concerned.is_empty(), expected, "{map} {version:?}");
        let (_, happened) = registry.begin(&name("shop"), "1");
        assert_eq!(happened.source == Seen::Yes, expected, "{map} {version:?}");
    }
}

#[test]
fn before_anything_was_read_every_version_is_news() {
    let registry = Registry::default();
    registry.seen(&by_name());
    assert_eq!(registry.config_map(&name("sql"), &BTreeMap::new(), Some(&stamp("7"))), [name("shop")]);
}

#[test]
fn a_config_map_that_was_read_as_absent_is_news_when_it_comes() {
    let registry = registry(&by_name(), &[]);
    assert!(registry.config_map(&name("sql"), &BTreeMap::new(), None).is_empty());
    assert_eq!(registry.config_map(&name("sql"), &BTreeMap::new(), Some(&stamp("7"))), [name("shop")]);
}

#[test]
fn a_selector_is_concerned_by_what_comes_changes_and_goes() {
    let registry = registry(&by_label(), &[("read", "7")]);
    for (map, value, version, expected) in [
        ("read", "shop", Some("7"), false),
        ("read", "shop", Some("8"), true),
        ("read", "other", Some("8"), true),
        ("read", "shop", None, true),
        ("new", "shop", Some("1"), true),
        ("new", "other", Some("1"), false),
        ("new", "shop", None, false),
    ] {
        let concerned = registry.config_map(&name(map), &labels(value), version.map(stamp).as_ref());
        assert_eq!(!concerned.is_empty(), expected, "{map} {value} {version:?}");
    }
}

/// A set that was suspended then, or whose ConfigMap couldn't be read, would go on with the content of before.
#[test]
fn content_that_is_known_to_be_another_is_not_remembered() {
    let registry = registry(&by_name(), &[("sql", "7")]);
    assert!(registry.begin(&name("shop"), "1").0.snapshot.is_some());
    registry.config_map(&name("sql"), &BTreeMap::new(), Some(&stamp("8")));
    assert!(registry.begin(&name("shop"), "1").0.snapshot.is_none());
    assert!(registry.begin(&name("shop"), "1").0.snapshot.is_none(), "until it is read");
}

#[test]
fn a_list_that_lacks_what_was_read_is_news() {
    let registry = registry(&by_name(), &[("sql", "7")]);
    assert!(registry.config_maps_listed(None, &HashSet::from([name("sql")])).is_empty());
    assert!(registry.config_maps_listed(Some("b"), &HashSet::new()).is_empty(), "of another namespace");
    assert_eq!(registry.config_maps_listed(Some("a"), &HashSet::new()), [name("shop")]);
}

#[test]
fn what_stands_in_the_way_wakes_whom_it_blocks() {
    let registry = registry(&by_name(), &[]);
    let owner = name("owner");
    registry.remember(&name("shop"), "1", |remembered| remembered.conflict_with = Some(owner.clone()));
    assert_eq!(registry.gone(&owner), [name("shop")]);
    assert_eq!(registry.begin(&name("shop"), "1").1.other, Seen::Yes);
}

#[test]
fn another_object_of_the_same_name_remembers_nothing_and_stops_what_ran() {
    let registry = registry(&by_name(), &[("sql", "7")]);
    let running = registry.executing(&name("shop"), "1", Stop::No);
    registry.seen(&set("2", &serde_json::json!({"configMaps": [{"name": "sql"}]})));
    assert_eq!(*running.borrow(), Stop::BetweenMigrations);
    assert!(registry.begin(&name("shop"), "2").0.snapshot.is_none());
    assert_eq!(*registry.executing(&name("shop"), "1", Stop::No).borrow(), Stop::BetweenMigrations);
}

#[test]
fn a_pause_is_heard_whether_it_comes_before_or_during_an_execution() {
    let registry = registry(&by_name(), &[]);
    let running = registry.executing(&name("shop"), "1", Stop::No);
    assert_eq!(*running.borrow(), Stop::No);
    let mut paused = by_name();
    paused.spec.suspend = true;
    registry.seen(&paused);
    assert_eq!(*running.borrow(), Stop::BetweenMigrations);
    assert_eq!(*registry.executing(&name("shop"), "1", Stop::No).borrow(), Stop::BetweenMigrations);
    registry.stop_all(Stop::CancelTransaction);
    registry.seen(&by_name());
    assert_eq!(*registry.executing(&name("shop"), "1", Stop::No).borrow(), Stop::No);
}

#[tokio::test]
async fn an_execution_whose_object_has_gone_stops_and_still_hears_the_last_call() {
    for again in [None, Some("2")] {
        let registry = registry(&by_name(), &[]);
        let stop = registry.executing(&name("shop"), "1", Stop::No);
        let departure = registry.departure(&name("shop"), "1");
        tokio::pin!(departure);
        assert!(futures::poll!(&mut departure).is_pending());
        match again {
            None => drop(registry.gone(&name("shop"))),
            Some(uid) => drop(registry.seen(&set(uid, &serde_json::json!({"configMaps": [{"name": "sql"}]})))),
        }
        departure.await;
        assert_eq!(*stop.borrow(), Stop::BetweenMigrations, "{again:?}");
        registry.stop_all(Stop::CancelTransaction);
        assert_eq!(*stop.borrow(), Stop::CancelTransaction, "{again:?}");
    }
}

#[tokio::test]
async fn an_object_that_was_never_seen_has_departed() {
    registry(&by_name(), &[]).departure(&name("shop"), "another").await;
}
