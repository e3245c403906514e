//! Verbs that only read: status, plan, history, check, report.

use serde_json::{Value, json};

use super::plugin::{Plugin, Ran};
use crate::{
    going::{ORDERS, USERS},
    install::install_crd,
    shop::{LIMIT, Shop},
    support::{dedicated_kubernetes, eventually, fresh_namespace, kubernetes},
};

/// What kubectl itself prints in that namespace.
fn kubectl(shop: &Shop, arguments: &[&str]) -> Ran {
    let arguments: Vec<&str> = arguments.iter().chain(&["-n", &shop.namespace]).copied().collect();
    Ran::from(kubernetes().kubectl(&arguments))
}

/// Every line without blanks at its end, and without the age, which may grow between two calls.
fn comparable(table: &str, age: usize) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let cells = line.trim_end().split("   ").map(str::trim).filter(|cell| !cell.is_empty());
        // Of a set without counts the age stands elsewhere.
        let is_age = |cell: &str| {
            cell.strip_suffix(['s', 'm']).is_some_and(|count| count.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let kept = cells.enumerate().filter(|(index, cell)| *index != age && !is_age(cell));
        kept.map(|(_, cell)| cell.to_owned()).collect()
    };
    table.lines().map(cells).collect()
}

/// The columns are those of `kubectl get`, at the same places.
#[tokio::test(flavor = "multi_thread")]
async fn status_prints_what_kubectl_get_prints() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({})).await;
    shop.apply_as("broken", json!({"source": {"configMaps": [{"name": "absent"}]}})).await;
    shop.until("UpToDate").await;
    shop.until_of("broken", "WaitingForSource").await;
    for (flags, age) in [(&[][..], 6), (&["-o", "wide"], 6), (&["-o", "name"], 99)] {
        let ours = plugin.succeeds(&[&["status"], flags].concat());
        let theirs = kubectl(&shop, &[&["get", "migrationsets"], flags].concat());
        assert_eq!(comparable(&ours, age), comparable(&theirs.stdout, age), "{flags:?}\n{ours}\n{}", theirs.stdout);
        assert_eq!(ours.lines().next(), theirs.stdout.lines().next(), "the columns begin at the same places");
    }
    let one: Value = serde_json::from_str(&plugin.succeeds(&["status", "shop", "-o", "json"])).expect("it is JSON");
    let theirs = kubectl(&shop, &["get", "migrationset", "shop", "-o", "json"]);
    assert_eq!(one, serde_json::from_str::<Value>(&theirs.stdout).expect("it is JSON"));
    let all: Value = dunlin::yaml::from_str(&plugin.succeeds(&["status", "-o", "yaml"])).expect("it is YAML");
    assert_eq!((&all["kind"], all["items"].as_array().map(Vec::len)), (&json!("List"), Some(2)));
    let everywhere = plugin.succeeds(&["status", "-A"]);
    assert!(everywhere.starts_with("NAMESPACE"), "{everywhere}");
    assert!(everywhere.lines().any(|line| line.starts_with(&format!("{} ", shop.namespace))), "{everywhere}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_absent_is_told_as_kubectl_tells_it() {
    let shop = Shop::closed().await;
    let plugin = Plugin::new(&shop.namespace);
    let theirs = kubectl(&shop, &["get", "migrationset.dunlin.dev", "shop"]);
    for arguments in [
        &["status", "shop"][..],
        &["status", "shop", "--watch"],
        &["plan", "shop"],
        &["history", "shop"],
        &["approve", "shop"],
        &["resolve", "shop", "--run", "7", "--as", "retry"],
        &["retry", "shop"],
        &["reconcile", "shop"],
        &["suspend", "shop"],
        &["resume", "shop"],
        &["rollback", "shop", "--to", "001", "--yes"],
        &["wait", "shop"],
        &["report", "shop"],
    ] {
        assert_eq!(plugin.fails(3, arguments), theirs.stderr, "{arguments:?}");
    }
    let none = plugin.run(&["status"]);
    let said = format!("No resources found in {} namespace.\n", shop.namespace);
    assert_eq!((none.code, none.stdout.as_str(), none.stderr), (Some(0), "", said));
    shop.close().await;
}

/// Q76: a status is watched.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_prints_each_change_until_it_is_stopped() {
    let mut shop = Shop::closed().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    let mut watch = plugin.start(&["status", "shop", "--watch"]);
    assert!(watch.line().starts_with("NAME   READY"));
    let first = watch.line();
    assert!(first.starts_with("shop ") && !first.contains("UpToDate"), "{first}");
    shop.start_operator().await;
    let mut last = first;
    while !last.contains("UpToDate") {
        let next = watch.line();
        assert!(next.starts_with("shop "), "{next:?} after {last:?}");
        last = next;
    }
    watch.interrupt();
    let ended = watch.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let mut names = plugin.start(&["status", "-w", "-o", "name"]);
    assert_eq!(names.line(), "migrationset.dunlin.dev/shop");
    names.interrupt();
    names.end();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_and_the_history_are_shown() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let nothing = plugin.run(&["plan", "shop"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""), "{nothing:?}");
    assert!(nothing.stderr.contains("has no plan, its status is UpToDate"), "{nothing:?}");
    shop.apply(json!({"approval": {"required": "Always"}})).await;
    shop.files("sql", &[USERS, ORDERS]).await;
    let set = shop.until("ApprovalRequired").await;
    let plan = set.status.as_ref().and_then(|status| status.plan.clone()).expect("a plan is shown");
    let shown = plugin.succeeds(&["plan", "shop"]);
    let digest = plan.digest.clone().unwrap_or_default();
    let expected =
        format!("VERSION   NAME     DIRECTION   TRANSACTIONAL\n002       orders   Up          true\nplan {digest}\n");
    assert_eq!(shown, expected);
    let json: Value = serde_json::from_str(&plugin.succeeds(&["plan", "shop", "-o", "json"])).expect("it is JSON");
    assert_eq!(json, serde_json::to_value(plan).expect("it is JSON"));
    let history = plugin.run(&["history", "shop"]);
    assert_eq!(history.code, Some(0));
    assert!(history.stdout.starts_with("VERSION   NAME    APPLIED AT"), "{history:?}");
    assert!(history.stdout.contains("001       users   20"), "{history:?}");
    assert!(
        history.stderr.contains("the last 10 at most") && history.stderr.contains("dunlin.migration"),
        "{history:?}"
    );
    let json: Value = serde_json::from_str(&plugin.succeeds(&["history", "shop", "-o", "json"])).expect("it is JSON");
    assert_eq!(json[0]["version"], "001");
    for verb in ["plan", "history"] {
        assert!(plugin.fails(2, &[verb, "shop", "-o", "wide"]).contains("'wide'"), "{verb}");
    }
    shop.close().await;
}

/// The check named so, from `check -o json`.
fn finding<'a>(checks: &'a Value, name: &str) -> &'a Value {
    let all = checks["checks"].as_array().expect("a list");
    all.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name} in {checks:#}"))
}

/// Q66
#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_is_served_what_is_allowed_and_what_is_reached() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    let good = plugin.run(&["check", "-o", "json"]);
    let checks: Value = serde_json::from_str(&good.stdout).expect("it is JSON");
    assert_eq!(good.code, Some(0), "{checks:#}");
    let all = checks["checks"].as_array().expect("a list");
    assert!(all.len() > 8 && all.iter().all(|check| check["ok"] == "True"), "{checks:#}");
    let database = format!("database of {}/shop is reached", shop.namespace);
    assert_eq!(finding(&checks, &database)["ok"], "True");
    assert!(plugin.succeeds(&["check"]).starts_with("CHECK "));

    shop.secret("nowhere", &[("uri", "postgresql://dunlin:hunter2@127.0.0.1:1/shop")]).await;
    shop.apply_as("lost", json!({"database": {"secretRef": {"name": "nowhere"}}})).await;
    shop.until_of("lost", "WaitingForDatabase").await;
    let bad = plugin.run(&["check", "-o", "json"]);
    let checks: Value = serde_json::from_str(&bad.stdout).expect("it is JSON");
    let lost = finding(&checks, &format!("database of {}/lost is reached", shop.namespace));
    assert_eq!((bad.code, &lost["ok"]), (Some(1), &json!("False")), "{checks:#}");
    assert!(!bad.stdout.contains("hunter2"));

    let stranger = Plugin::of_user(&shop.namespace, "nobody-in-particular");
    let ran = stranger.run(&["check", "-o", "json"]);
    let checks: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let right = finding(&checks, &format!("you may patch migrationsets.dunlin.dev in namespace {}", shop.namespace));
    assert_eq!((ran.code, &right["ok"]), (Some(1), &json!("False")));
    assert!(right["neededBy"].as_array().is_some_and(|verbs| verbs.contains(&json!("approve"))), "{right}");
    assert_eq!(finding(&checks, "its CustomResourceDefinition is this program's")["ok"], "Unknown");
    let refused = stranger.fails(6, &["status"]);
    assert!(refused.starts_with("Error from server (Forbidden): migrationsets.dunlin.dev is forbidden"), "{refused}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_the_resource_is_told_how_to_get_it() {
    let bare = dedicated_kubernetes();
    let plugin = Plugin::new("default");
    let kubeconfig = bare.kubeconfig().to_str().expect("a path in UTF-8").to_owned();
    for arguments in [&["status"][..], &["status", "shop"], &["suspend", "shop"], &["wait", "shop"]] {
        let said = plugin.fails(3, &[arguments, &["--kubeconfig", &kubeconfig]].concat());
        assert!(said.contains("doesn't have a resource type \"migrationsets\""), "{said}");
        assert!(said.contains("dunlin crd | kubectl apply --server-side -f -"), "{said}");
    }
    let checked = plugin.run(&["check", "--kubeconfig", &kubeconfig]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.stdout.contains("migrationsets.dunlin.dev/v1alpha1 is served"), "{checked:?}");
    // One that is there, and another version's.
    crate::install::install_crd_at(&bare);
    let patch =
        r#"[{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/target"}]"#;
    let patched = bare.kubectl(&["patch", "crd", "migrationsets.dunlin.dev", "--type=json", "-p", patch]);
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stderr));
    let checked = plugin.run(&["check", "-o", "json", "--kubeconfig", &kubeconfig]);
    let checks: Value = serde_json::from_str(&checked.stdout).expect("it is JSON");
    assert_eq!(finding(&checks, "its CustomResourceDefinition is this program's")["ok"], "False");
}

/// Q69: cluster, context and namespace are chosen by kubectl's flags.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_or_does_not_exist_is_told_apart() {
    install_crd();
    let namespace = fresh_namespace().await;
    let plugin = Plugin::with(&namespace, |kubeconfig| {
        kubeconfig["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    });
    let said = plugin.fails(6, &["status"]);
    assert!(said.starts_with("kubectl dunlin: can't talk to the API server at https://127.0.0.1:1"), "{said}");
    let absent = plugin.folder().join("absent");
    let said = plugin.fails(3, &["status", "--kubeconfig", absent.to_str().expect("UTF-8")]);
    assert!(said.contains("no cluster to talk to") && said.contains("--kubeconfig"), "{said}");
    let said = plugin.fails(3, &["status", "--context", "nonsense"]);
    assert!(said.contains("nonsense"), "{said}");
    // The flag wins over the context's namespace.
    let other = Plugin::new("elsewhere").run(&["status", "-n", &namespace]);
    assert_eq!(other.stderr, format!("No resources found in {namespace} namespace.\n"));
}

/// A report holds what helps, and neither SQL nor a password, whatever the messages quote.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_can_be_pasted() {
    let shop = Shop::open().await;
    let plugin = Plugin::new(&shop.namespace);
    let fails = ("002_tokens.sql", "CREATE TABLE tokens (id int);\nINSERT INTO tokens VALUES ('hunter2');\n");
    shop.files("sql", &[USERS, fails]).await;
    shop.apply(json!({})).await;
    let set = shop.until("MigrationFailed").await;
    let quoted = serde_json::to_string(&set).expect("it is JSON");
    assert!(quoted.contains("hunter2"), "the status quotes the line, or this test proves nothing: {quoted}");
    // Events are told beside the reconcile.
    let text = eventually("the event is there", LIMIT, async || {
        let text = plugin.succeeds(&["report", "shop"]);
        let report: Value = dunlin::yaml::from_str(&text).expect("it is one document of YAML");
        let told = report["events"]
            .as_array()
            .is_some_and(|events| events.iter().any(|event| event["reason"] == "MigrationFailed"));
        if told { Ok(text) } else { Err(text) }
    })
    .await;
    let report: Value = dunlin::yaml::from_str(&text).expect("it is one document of YAML");
    for private in ["hunter2", "INSERT INTO", "CREATE TABLE", &shop.url] {
        assert!(!text.contains(private), "{private} in {text}");
    }
    assert_eq!(report["migrationSet"]["status"]["failure"]["sqlstate"], "22P02");
    assert_eq!(report["migrationSet"]["metadata"]["managedFields"], Value::Null);
    let map = &report["configMaps"][0];
    assert_eq!((&map["name"], &map["present"]), (&json!("sql"), &json!(true)));
    assert_eq!(map["keys"], json!(["001_users.sql", "002_tokens.sql"]));
    assert!(map["resourceVersion"].is_string());
    assert_eq!(report["unread"], json!([]));
    assert_eq!(report["versions"]["dunlin"], env!("CARGO_PKG_VERSION"));
    shop.close().await;
}
