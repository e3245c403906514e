//! What the probes of a real operator are told.

use serde_json::json;

use crate::{
    conduct::USERS,
    process::{OperatorProcess, read, until_page},
    shop::Shop,
    support::{eventually, kubernetes},
};

const PROBES: [&str; 2] = ["--health-addr", "127.0.0.1:0"];

/// Two on one host with a port each: both are ready, the one that leads and the one that stands by.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_and_a_standby_are_ready_and_two_on_one_host_disturb_nobody() {
    let shop = Shop::closed().await;
    let flags = [&PROBES[..], &["--leader-elect", "--lease-namespace", &shop.namespace]].concat();
    let replicas = [(); 2].map(|()| OperatorProcess::start_with(kubernetes(), &shop.namespace, &flags));
    for replica in &replicas {
        let address = replica.address("--health-addr").await;
        assert_eq!(until_page(&address, "/readyz", 200).await, "ok\n");
        assert_eq!(read(&address, "/healthz").await.expect("it answers"), (200, "ok\n".to_owned()));
        assert_eq!(read(&address, "/metrics").await.expect("it answers").0, 404);
    }
    let [one, other] = &replicas;
    eventually("one of the two stands by", crate::shop::LIMIT, async || {
        let logs = [one.log(), other.log()];
        let standing_by = logs.iter().filter(|log| log.contains("standing by")).count();
        if standing_by == 1 { Ok(()) } else { Err(logs) }
    })
    .await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    for replica in replicas {
        replica.end().await;
    }
    shop.close().await;
}

/// An API server that is out of reach makes nobody ready; starting the process anew would not help.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_it_is_alive_and_says_what_it_has_not_seen() {
    let shop = Shop::closed().await;
    let kubeconfig = std::fs::read_to_string(kubernetes().kubeconfig()).expect("it is text");
    let nowhere = kubeconfig.replace(kubernetes().server(), "https://127.0.0.1:1");
    assert_ne!(nowhere, kubeconfig);
    let folder = tempfile::tempdir().expect("a temp folder");
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, nowhere).expect("it can be written");
    let flags = [&PROBES[..], &["--leader-elect", "--lease-namespace", &shop.namespace]].concat();
    let operator = OperatorProcess::start_at(&path, &shop.namespace, &flags);
    let address = operator.address("--health-addr").await;
    let missing = until_page(&address, "/readyz", 503).await;
    for expected in ["MigrationSets of namespace ", "ConfigMaps of namespace ", "the lease hasn't been seen yet"] {
        assert!(missing.contains(expected), "{missing}");
    }
    assert_eq!(read(&address, "/healthz").await.expect("it answers").0, 200);
    operator.end().await;
    shop.close().await;
}

/// A port that is taken is said before anything is begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_an_error_before_anything_is_begun() {
    let shop = Shop::closed().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    let flags = ["--health-addr", &address];
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &flags);
    let (code, log) = operator.ended().await;
    assert_eq!(code, Some(3), "{log}");
    let said = format!("dunlin: can't listen on {address} (--health-addr): choose another");
    assert!(log.contains(&said) && log.contains("Address already in use"), "{log}");
    let set = shop.sets().get("shop").await.expect("it is there");
    assert!(set.status.is_some_and(|status| status.observed_generation == Some(-1)));
    shop.close().await;
}
