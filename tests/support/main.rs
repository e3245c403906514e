//! The servers that tests run against keep their own promises.

#[path = "mod.rs"]
mod support;

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use support::{StopMode, dedicated_postgres, eventually, fresh_database, fresh_namespace, kubernetes, postgres};
use tokio_postgres::NoTls;

async fn ask(url: &str, query: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client.query_one(query, &[]).await?.get(0))
}

#[tokio::test]
async fn every_test_gets_a_database_of_its_own() {
    let (one, other) = (fresh_database().await, fresh_database().await);
    let names =
        (ask(&one, "SELECT current_database()::text").await, ask(&other, "SELECT current_database()::text").await);
    assert_ne!(names.0.expect("the first answers"), names.1.expect("the second answers"));
}

/// A matrix of versions that tests the same one again and again is none.
#[tokio::test]
async fn servers_are_of_the_version_that_is_asked_for() {
    let Ok(asked) = std::env::var("DUNLIN_TEST_POSTGRES") else { return };
    let own = dedicated_postgres(&[], &[], &[]);
    for server in [postgres(), &own] {
        assert_eq!(server.about().version.to_string(), asked);
        let said = ask(server.url(), "SELECT current_setting('server_version_num')").await.expect("an answer");
        assert_eq!(said.get(..2), Some(asked.as_str()));
    }
}

#[tokio::test]
async fn every_test_gets_a_namespace_of_its_own() {
    let (one, other) = (fresh_namespace().await, fresh_namespace().await);
    assert_ne!(one, other);
    let namespaces: Api<Namespace> = Api::all(kubernetes().client().await);
    namespaces.get(&one).await.expect("the namespace is there");
    let output = kubernetes().kubectl(&["get", "namespace", &other, "-o", "name"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("namespace/{other}"));
}

#[tokio::test]
async fn a_killed_server_comes_back_on_the_same_port_with_its_data() {
    let server = dedicated_postgres(&[], &[], &[]);
    let url = server.fresh_database().await;
    server.stop(StopMode::Kill);
    ask(&url, "SELECT 'still here'").await.expect_err("a killed server doesn't answer");
    server.start_again();
    assert_eq!(
        ask(&url, "SELECT current_database()::text").await.expect("it is back"),
        url.rsplit('/').next().expect("a name")
    );
    server.restart(StopMode::Immediate);
    ask(&url, "SELECT 'again'").await.expect("it is back");
}

#[tokio::test]
async fn a_server_takes_settings_access_rules_and_files() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&certificate, certified.cert.pem()).expect("written");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("written");
    let server = dedicated_postgres(
        &["ssl=on", "work_mem=3MB"],
        &["hostnossl all nobody 127.0.0.1/32 reject"],
        &[("server.crt", &certificate), ("server.key", &key)],
    );
    assert_eq!(ask(server.url(), "SELECT current_setting('ssl')").await.expect("an answer"), "on");
    assert_eq!(ask(server.url(), "SELECT current_setting('work_mem')").await.expect("an answer"), "3MB");
    let nobody = server.url().replace("://postgres:", "://nobody:");
    let refusal = ask(&nobody, "SELECT ''").await.expect_err("the rule rejects nobody");
    assert!(refusal.as_db_error().is_some_and(|error| error.message().contains("pg_hba.conf rejects")), "{refusal:?}");
}

#[tokio::test]
async fn a_standby_is_read_only_until_promoted() {
    let server = dedicated_postgres(&[], &[], &[("standby.signal", std::path::Path::new("/dev/null"))]);
    let read_only = "SELECT pg_is_in_recovery()::text";
    assert_eq!(ask(server.url(), read_only).await.expect("a standby answers"), "true");
    ask(server.url(), "SELECT pg_promote()::text").await.expect("it can be promoted");
    eventually("the standby is a primary", Duration::from_secs(30), async || {
        match ask(server.url(), read_only).await {
            Ok(answer) if answer == "false" => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[test]
fn the_metrics_of_a_query_are_neither_its_labels_nor_its_functions() {
    let query = "sum by (le, pod) (rate(a_bucket{le=\"b}c\", x=~\"d|e\"}[5m])) / on (pod) group_left (f) max(g:h) > bool 0.5 \
                 unless ignoring (reason) i == 1 and (j offset 5m or time() - 27 * 3600 > 2)";
    let found = support::prometheus::metrics_of(query);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a_bucket", "g:h", "i", "j"]);
}
