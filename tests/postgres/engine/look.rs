//! How a history is looked at: by one message, sent before the server has said what it is, and as of one moment.

use std::time::Duration;

use dunlin::core::history::{RunOutcome, State};

use super::{fixture::Fixture, proxy};
use crate::support::eventually;

const FAILS: (&str, &str) = ("001_a.sql", "-- migrate: no-transaction\nSELECT 1;\nSELECT 1 / 0;\n");

#[tokio::test]
async fn a_history_is_asked_for_before_the_server_has_said_what_it_is() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[("001_a.sql", "SELECT 1;\n")]).await.is_up_to_date();
    let port = proxy::once_asked("server_version_num", "SELECT 'layout'").await;
    fixture.url = proxy::through(&fixture.url, port);
    let history = tokio::time::timeout(Duration::from_secs(20), fixture.observe()).await.expect("in time");
    assert_eq!(history.expect("the history is read").migrations.len(), 1);
}

/// A look that waits between two of its queries sees nothing of what is committed meanwhile, by either of them.
#[tokio::test]
async fn a_look_is_of_one_moment() {
    let fixture = Fixture::new().await;
    fixture.apply(&[FAILS]).await;
    let other = fixture.another().await;
    other.batch_execute("BEGIN; LOCK TABLE dunlin.run IN ACCESS EXCLUSIVE MODE").await.expect("the lock");
    let looking = async { fixture.observe().await.expect("the history is read") };
    let changing = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'dunlin.run'::regclass \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("the look to wait", Duration::from_secs(20), async || {
            let waiting = fixture.ask(waits).await;
            if waiting == "1" { Ok(()) } else { Err(waiting) }
        })
        .await;
        let mend = "UPDATE dunlin.run SET outcome = 'succeeded', error = NULL; UPDATE dunlin.migration SET state = 'applied'; COMMIT";
        other.batch_execute(mend).await.expect("the change");
    };
    let (history, ()) = tokio::join!(looking, changing);
    let [row] = history.migrations.as_slice() else { panic!("{history:?}") };
    assert_eq!((row.state, row.run.outcome, row.run.statements_done), (State::Failed, RunOutcome::Failed, 1));
    assert!(row.run.error.is_some(), "{row:?}");
}
