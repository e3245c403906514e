//! An operator that may connect to listed hosts alone: to databases, and for hooks of the kind `http`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dunlin::api::v1alpha1::MigrationSet;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    going::USERS,
    hooks::serve,
    line::applied,
    shop::{Shop, condition, message},
};

/// A host and port of this machine at which nobody should ever connect, and how often somebody did.
async fn forbidden() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    let visits = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, visits)
}

/// The test's server, as `127.0.0.1:PORT`.
fn address(shop: &Shop) -> &str {
    shop.url.split(['@', '/']).find(|part| part.starts_with("127.0.0.1:")).expect("the server is on this machine")
}

/// Applies a set with a history of its own, whose Secret has this URL.
async fn apply(shop: &Shop, name: &str, url: &str) {
    shop.secret(name, &[("uri", url)]).await;
    let own = name.replace('-', "_");
    shop.files(name, &[("001_table.sql", &format!("CREATE TABLE {own} (id int);"))]).await;
    let spec = json!({
        "database": {"secretRef": {"name": name}}, "history": {"schema": own}, "source": {"configMaps": [{"name": name}]},
    });
    shop.apply_as(name, spec).await;
}

fn is_stalled(set: &MigrationSet) -> bool {
    condition(set, "Stalled").is_some_and(|(status, _, _)| status == "True")
}

/// A database is connected to where its host is listed: by its name, by its address, or by the addresses that its name leads
/// to. Every other one is refused, with what to do, and nothing of it is connected to.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_connected_to_at_listed_hosts_alone() {
    let mut shop = Shop::closed().await;
    let (port, visits) = forbidden().await;
    let listed = address(&shop).to_owned();
    let own = listed.rsplit(':').next().expect("a port").to_owned();
    let by_name = shop.url.replace("127.0.0.1", "localhost");
    let url = shop.url.clone();
    let elsewhere = |host: &str| url.replace(&listed, host);
    shop.start_operator_allowing(&[&listed, &format!("[::1]:{own}"), "*.example.org"]).await;
    apply(&shop, "by-address", &shop.url).await;
    apply(&shop, "by-its-addresses", &by_name).await;
    let unlisted = format!("127.0.0.1:{port}");
    let both = format!("{listed},{unlisted}");
    let refused = [
        ("at-another-port", elsewhere(&unlisted), unlisted.clone()),
        ("at-another-name", elsewhere(&format!("localhost:{port}")), format!("localhost:{port}")),
        ("among-others", elsewhere(&both), unlisted.clone()),
        (
            "by-hostaddr",
            format!("{}?hostaddr=127.0.0.1", elsewhere(&format!("db.example.org:{port}"))),
            format!("db.example.org:{port}: its name leads to 127.0.0.1"),
        ),
    ];
    for (name, url, _) in &refused {
        apply(&shop, name, url).await;
    }
    for (name, url, host) in &refused {
        let set = shop.until_of(name, "InvalidSpec").await;
        let said = message(&set);
        assert!(said.starts_with(&format!("key uri of Secret {name}: {host}: ")), "{said}");
        assert!(said.contains("--allowed-hosts") && said.contains("ask whoever runs the operator"), "{said}");
        let login = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).expect("a login").0;
        let password = login.split_once(':').map_or(login, |(_, password)| password);
        assert!(!said.contains(password) && !said.contains(&listed), "{said}");
        assert!(is_stalled(&set));
    }
    for name in ["by-address", "by-its-addresses"] {
        let set = shop.until_of(name, "UpToDate").await;
        assert_eq!(applied(&set), 1, "{name}");
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "somebody connected");

    // Another Secret is noticed by itself.
    apply(&shop, "among-others", &shop.url).await;
    shop.until_of("among-others", "UpToDate").await;
    shop.close().await;
}

/// A name that isn't listed is looked up where addresses are, and refused for those that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_refused_for_where_it_leads_to() {
    let mut shop = Shop::closed().await;
    let (port, visits) = forbidden().await;
    shop.start_operator_allowing(&["10.0.0.0/8", "db.example.org"]).await;
    apply(&shop, "inside", &shop.url.replace(address(&shop), &format!("localhost:{port}"))).await;
    let set = shop.until_of("inside", "InvalidSpec").await;
    let said = message(&set);
    assert!(said.starts_with(&format!("localhost:{port}: its name leads to ")), "{said}");
    assert!(said.contains("127.0.0.1: ") || said.contains("::1: "), "{said}");
    assert!(is_stalled(&set) && said.contains("--allowed-hosts"), "{said}");
    let reachable = condition(&set, "DatabaseReachable").map(|(status, reason, _)| (status, reason));
    assert_eq!(reachable, Some(("False".to_owned(), "InvalidSpec".to_owned())));
    assert_eq!(visits.load(Ordering::SeqCst), 0, "somebody connected");
    shop.close().await;
}

/// M26: a hook's request goes to listed hosts alone; what can be said of that before a plan runs is, and words of a listed
/// host that refuses are shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_hook_asks_listed_hosts_alone() {
    let mut shop = Shop::closed().await;
    let (port, visits) = forbidden().await;
    let (stranger, _) = serve(vec![("403 Forbidden", "go away"), ("200 OK", "")], None).await;
    let database = address(&shop).to_owned();
    shop.start_operator_allowing(&[&database, &stranger.to_string(), "10.0.0.0/8:8080", "*.hooks.example"]).await;
    shop.files("sql", &[USERS]).await;
    let hook = |place: &str, url: &str| json!({"hooks": {place: [{"sql": "SELECT 1"}, {"http": {"url": url}}]}});
    for place in ["preApply", "postApply"] {
        shop.apply(hook(place, &format!("http://127.0.0.1:{port}/hook?token=secret"))).await;
        let says = format!("spec.hooks.{place}[1].http.url: 127.0.0.1:{port}: the operator may not connect there");
        let set = shop.until_that("shop", &says, |set| message(set).starts_with(&says)).await;
        assert_eq!(condition(&set, "Ready").map(|(_, reason, _)| reason).as_deref(), Some("InvalidSpec"));
        assert!(message(&set).contains("--allowed-hosts") && !message(&set).contains("secret"), "{}", message(&set));
    }
    assert_eq!(shop.ask("SELECT to_regclass('users')").await, "NULL", "nothing of the plan has run");

    // By its addresses, of which some are listed at this port: it is judged when it is asked.
    shop.apply(hook("preApply", "http://localhost:8080/hook?token=secret")).await;
    let says = "spec.hooks.preApply[1] (http://localhost:8080/hook) failed: its name leads to ";
    shop.until_that("shop", says, |set| message(set).contains(says)).await;

    shop.apply(hook("preApply", &format!("http://{stranger}/hook?token=secret"))).await;
    let says = "it answered 403 Forbidden: go away";
    shop.until_that("shop", says, |set| message(set).contains(says)).await;
    let mut listed = hook("preApply", &format!("http://{stranger}/hook?token=secret"));
    listed["hooks"]["preApply"][1]["timeout"] = json!("1m");
    shop.apply(listed).await;
    shop.until("UpToDate").await;
    assert_eq!(visits.load(Ordering::SeqCst), 0, "somebody connected");
    shop.close().await;
}
