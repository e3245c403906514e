//! First contact with a database that has something already: it is recorded as it is, on a person's word.

use dunlin::core::{desired::Action, outcome::Reason};

use super::{
    fixture::Fixture,
    ways::{file, fixture, line, reference},
};

async fn existing(baseline: &str) -> Fixture {
    let mut fixture = fixture().await;
    fixture.run_sql("CREATE TABLE t_001 (a int); CREATE TABLE t_002 (a int)").await;
    fixture.desired.history.baseline = Some(reference(baseline));
    fixture
}

/// Q55: up to the baseline everything is recorded and nothing runs; the rest is applied.
#[tokio::test]
async fn what_is_there_is_stamped_and_the_rest_applied() {
    let mut fixture = existing("002_t").await;
    let files = line(&["001", "002", "003"]);
    let ran = fixture.go("latest", &files).await;
    ran.is_up_to_date();
    assert_eq!((fixture.went().await.as_str(), ran.steps().as_str(), ran.assessment.on_trust), ("+003", "+003", 2));
    assert_eq!(fixture.states().await, "001 stamped, 002 stamped, 003 applied");
    assert_eq!(fixture.runs().await, "001 up baseline succeeded, 002 up baseline succeeded, 003 up apply succeeded");
    let before = fixture.written().await;
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.written().await, before);
    // The rows hold what those of an undisturbed database hold.
    let rows = "SELECT string_agg(concat_ws(' ', version, name, checksum, down_checksum, md5(down_sql), transactional), ',' ORDER BY version) FROM dunlin.migration";
    let mut other = super::ways::fixture().await;
    other.go("latest", &files).await.is_up_to_date();
    assert_eq!(fixture.ask(rows).await, other.ask(rows).await);
    // And they have their ways down.
    fixture.go("none", &files).await.is_there();
    assert_eq!(fixture.went().await, "-003 -002 -001");
}

/// Q55
#[tokio::test]
async fn a_baseline_that_is_not_there_writes_nothing() {
    let fixture = existing("004").await;
    let ran = fixture.run(&line(&["001", "002", "003"])).await;
    assert_eq!(ran.finding().reason, Reason::InvalidSpec);
    let words = "spec.history.baseline: neither the source nor the database has 004; the nearest is 003_t";
    assert!(ran.finding().message.contains(words), "{}", ran.finding().message);
    assert_eq!(
        fixture.ask("SELECT (SELECT count(*) FROM dunlin.migration) + (SELECT count(*) FROM dunlin.run)").await,
        "0"
    );
    assert_eq!(fixture.went().await, "nothing");
}

#[tokio::test]
async fn a_baseline_is_no_news_to_a_database_with_a_history() {
    let mut fixture = fixture().await;
    fixture.go("latest", &line(&["001"])).await.is_up_to_date();
    fixture.desired.history.baseline = Some(reference("002"));
    fixture.go("latest", &line(&["001", "002"])).await.is_up_to_date();
    assert_eq!(
        (fixture.went().await.as_str(), fixture.states().await.as_str()),
        ("+001 +002", "001 applied, 002 applied")
    );
}

/// A first migration that fails on the tables that are there is how one finds out that a baseline is needed.
#[tokio::test]
async fn a_baseline_is_honoured_after_a_first_failure() {
    let mut fixture = existing("002").await;
    let baseline = fixture.desired.history.baseline.take();
    let files = line(&["001", "002", "003"]);
    assert_eq!(fixture.run(&files).await.finding().reason, Reason::MigrationFailed);
    fixture.desired.history.baseline = baseline;
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(
        (fixture.went().await.as_str(), fixture.states().await.as_str()),
        ("+003", "001 stamped, 002 stamped, 003 applied")
    );
}

#[tokio::test]
async fn an_edit_of_what_was_stamped_is_drift() {
    let mut fixture = existing("002").await;
    let mut files = line(&["001", "002"]);
    fixture.run(&files).await.is_up_to_date();
    files[0].1 = files[0].1.replace("a int", "a bigint");
    let ran = fixture.run(&files).await;
    assert_eq!(ran.finding().reason, Reason::ChecksumDrift);
    fixture.resolve(ran.assessment.checksum_drift[0].run, Action::AcceptChecksum);
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.states().await, "001 stamped, 002 stamped");
}

/// What stands for others that are stamped with it goes alone.
#[tokio::test]
async fn a_stamped_squash_replaces_what_is_stamped_with_it() {
    let mut fixture = existing("003").await;
    let squash = file("003", "-- replaces: 001, 002\n");
    let squash = (squash.0, squash.1.replace("DROP TABLE t_003", "DROP TABLE t_001, t_002"));
    let files = vec![file("001", ""), file("002", ""), squash];
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.states().await, "001 replaced, 002 replaced, 003 stamped");
    fixture.go("none", &files).await.is_there();
    assert_eq!(
        (fixture.went().await.as_str(), fixture.states().await.as_str()),
        ("-003", "001 rolled_back, 002 rolled_back, 003 rolled_back")
    );
}
