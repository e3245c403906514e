//! What is written down before an effect is there after a crash of the server.

use std::time::Duration;

use dunlin::core::outcome::Reason;

use super::fixture::Fixture;
use crate::support::{StopMode, dedicated_postgres, eventually};

/// With `synchronous_commit = off` a crash takes the last commits along. The effect of a statement outside of a
/// transaction may be none that it takes along too: what it writes to a file, or in another server.
#[tokio::test(flavor = "multi_thread")]
async fn an_intent_outlives_a_crash_of_a_server_that_commits_asynchronously() {
    let server = dedicated_postgres(&["synchronous_commit=off", "wal_writer_delay=10s"], &[], &[]);
    let file = "-- migrate: no-transaction\nDO $$ BEGIN COMMIT; PERFORM pg_sleep(20); END $$;\n";
    let files = [("001_outside.sql", file)];
    let fixture = Fixture::on(server.fresh_database().await).await;
    let crash = async {
        eventually("the statement is under way", Duration::from_secs(20), async || {
            let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO $$ BEGIN COMMIT; PERF%' AND state = 'active'";
            let found = fixture.ask(busy).await;
            if found == "1" { Ok(()) } else { Err(found) }
        })
        .await;
        tokio::task::block_in_place(|| server.restart(StopMode::Immediate));
    };
    let (report, ()) = tokio::join!(fixture.execute(&files), crash);
    assert!(matches!(report.end, dunlin::execute::End::Failed(_)), "{:?}", report.end);
    let fixture = Fixture::on(fixture.url).await;
    assert_eq!(fixture.apply(&files).await.finding().reason, Reason::Interrupted);
}
