//! How a history is looked at: by one message, sent before the server has said what it is, and as of one moment.

use std::time::Duration;

use dunlin::core::history::{RunOutcome, State};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{fixture::Fixture, proxy};
use crate::support::{self, eventually};

const FAILS: (&str, &str) = ("001_a.sql", "-- migrate: no-transaction\nSELECT 1;\nSELECT 1 / 0;\n");

/// What the client has asked so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    WhatItIs,
    TheHistory,
}

/// A proxy that keeps the answer to the question of what the server is until the history is asked for as well.
async fn keeps_the_first_answer() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let server = TcpStream::connect(("127.0.0.1", support::postgres().about().port)).await.expect("a server");
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let (asked, mut seen) = watch::channel(Asked::Nothing);
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]);
                if text.contains("SELECT 'layout'") {
                    asked.send_replace(Asked::TheHistory);
                } else if text.contains("server_version_num") {
                    asked.send_replace(Asked::WhatItIs);
                }
                to_server.write_all(&buffer[..length]).await.expect("the server reads");
            }
        });
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            let _ = seen.wait_for(|asked| *asked != Asked::WhatItIs).await;
            if to_client.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    });
    port
}

#[tokio::test]
async fn a_history_is_asked_for_before_the_server_has_said_what_it_is() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[("001_a.sql", "SELECT 1;\n")]).await.is_up_to_date();
    fixture.url = proxy::through(&fixture.url, keeps_the_first_answer().await);
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
