//! What holds a plan up, and who decides.

use dunlin::core::{
    desired::{Action, OnChecksumDrift, OnMissing, OutOfOrder},
    outcome::Reason,
};

use super::fixture::Fixture;

const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\n");
const TWO: (&str, &str) = ("002_two.sql", "CREATE TABLE two (a int);\n");
const THREE: (&str, &str) = ("003_three.sql", "CREATE TABLE three (a int);\n");

/// M18, M35, P17, Q74, H26
#[tokio::test]
async fn an_edited_migration_stalls_the_set_until_it_is_accepted() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    let edited = ("001_one.sql", "CREATE TABLE one (a bigint);\n");
    let ran = fixture.apply(&[edited, TWO]).await;
    assert_eq!(ran.finding().reason, Reason::ChecksumDrift);
    assert!(ran.finding().message.contains("001_one.sql"), "{}", ran.finding().message);
    assert_eq!(fixture.ask("SELECT to_regclass('two') IS NULL").await, "t", "nothing runs over drift");

    let run = ran.assessment.checksum_drift[0].run;
    fixture.resolve(run, Action::AcceptChecksum);
    fixture.apply(&[edited, TWO]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT resolution FROM dunlin.run WHERE id = 1").await, "AcceptChecksum");
    let again = ("001_one.sql", "CREATE TABLE one (a smallint);\n");
    let ran = fixture.apply(&[again, TWO]).await;
    assert_eq!(ran.finding().reason, Reason::ChecksumDrift, "a resolution left in Git is used up");

    fixture.desired.policy.on_checksum_drift = OnChecksumDrift::Report;
    let ran = fixture.apply(&[again, TWO]).await;
    ran.is_up_to_date();
    assert_eq!(ran.assessment.checksum_drift.len(), 1);
}

/// M11: BOM and CRLF don't change the checksum.
#[tokio::test]
async fn line_endings_and_a_mark_are_no_drift() {
    let fixture = Fixture::new().await;
    fixture.apply(&[("001_one.sql", "CREATE TABLE one\n(a int);\n")]).await.is_up_to_date();
    fixture.apply(&[("001_one.sql", "\u{feff}CREATE TABLE one\r\n(a int);\r\n")]).await.is_up_to_date();
}

/// H31: refused by default, and left out or undone on somebody's word.
#[tokio::test]
async fn a_migration_that_left_the_source_is_missing_by_policy() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[ONE, TWO]).await.is_up_to_date();
    let ran = fixture.apply(&[ONE]).await;
    assert_eq!(ran.finding().reason, Reason::MissingMigration);
    fixture.desired.policy.on_missing = OnMissing::Ignore;
    let ran = fixture.apply(&[ONE]).await;
    ran.is_up_to_date();
    assert_eq!(ran.assessment.version.as_ref().map(ToString::to_string).as_deref(), Some("002"));
    assert_eq!(ran.assessment.applied, 1);
}

#[tokio::test]
async fn a_late_migration_is_out_of_order_by_policy() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[ONE, THREE]).await.is_up_to_date();
    let ran = fixture.apply(&[ONE, TWO, THREE]).await;
    assert_eq!(ran.finding().reason, Reason::OutOfOrder);
    assert!(ran.finding().message.contains("002_two"), "{}", ran.finding().message);
    fixture.desired.policy.out_of_order = OutOfOrder::Allow;
    fixture.apply(&[ONE, TWO, THREE]).await.is_up_to_date();
}

/// M30, Q60
#[tokio::test]
async fn a_squashed_migration_is_recorded_where_its_parts_ran_and_runs_where_they_did_not() {
    let squash = (
        "004_all.sql",
        "-- replaces: 001, 002, 003\nCREATE TABLE one (a int); CREATE TABLE two (a int); CREATE TABLE three (a int);\n",
    );
    let old = Fixture::new().await;
    old.apply(&[ONE, TWO, THREE]).await.is_up_to_date();
    old.apply(&[squash]).await.is_up_to_date();
    assert_eq!(
        old.ask("SELECT string_agg(version || ' ' || state, ', ' ORDER BY version) FROM dunlin.migration").await,
        "001 replaced, 002 replaced, 003 replaced, 004 applied"
    );
    let fresh = Fixture::new().await;
    fresh.apply(&[squash]).await.is_up_to_date();
    assert_eq!(fresh.ask("SELECT to_regclass('three') IS NOT NULL").await, "t");
    let partly = Fixture::new().await;
    partly.apply(&[ONE]).await.is_up_to_date();
    let ran = partly.apply(&[squash]).await;
    assert_eq!(ran.finding().reason, Reason::MissingMigration);
    assert!(ran.finding().message.contains("002, 003"), "{}", ran.finding().message);
}

/// M36, H02
#[tokio::test]
async fn the_history_says_who_and_from_what() {
    let fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT applied_by FROM dunlin.migration").await, "MigrationSet shop/shop as postgres");
    assert_eq!(
        fixture.ask("SELECT plan_digest LIKE 'sha256:%' AND source_digest LIKE 'sha256:%' AND generation = 1 FROM dunlin.run").await,
        "t"
    );
    assert_eq!(fixture.ask("SELECT owner FROM dunlin.set").await, "shop/shop");
}
