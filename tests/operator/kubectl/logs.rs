//! `kubectl dunlin logs`: lines of a real operator, through the API server, from a pod whose node is a test's.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::{
    kubelet::Kubelet,
    plugin::Plugin,
    rights::{allow, page},
};
use crate::{
    going::{ORDERS, USERS},
    process::OperatorProcess,
    shop::{LIMIT, Shop},
    support::{eventually, kubernetes, markdown::outside_of_blocks},
};

fn time(text: &str) -> Timestamp {
    text.parse().expect("it is a time")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The operator tells what it does to each set, in its own lines and in the engine's, at times as in RFC 3339.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_lines_about_a_set_are_found_and_no_others() {
    let shop = Shop::closed().await;
    let (namespace, plugin) = (shop.namespace.clone(), Plugin::new(&shop.namespace));
    let said = plugin.fails(3, &["logs", "--operator-namespace", &namespace]);
    assert!(said.contains("no pod with the label app.kubernetes.io/name=dunlin in namespace"), "{said}");
    let operator = OperatorProcess::start_with(kubernetes(), &namespace, &["--json-log"]);
    shop.files("sql", &[USERS]).await;
    shop.files("more", &[ORDERS]).await;
    shop.apply(json!({})).await;
    shop.apply_as("other", json!({"source": {"configMaps": [{"name": "more"}]}})).await;
    shop.until("UpToDate").await;
    shop.until_of("other", "UpToDate").await;
    let log = operator.log();
    operator.end().await;

    let kubelet = Kubelet::start(&shop.client, &format!("node-of-{namespace}")).await;
    kubelet.operator_pod(&namespace, "one").await;
    kubelet.operator_pod(&namespace, "two").await;
    let looked = |at: &str, set: &str| {
        let set = format!("{namespace}/{set}");
        json!({"timestamp": at, "level": "INFO", "message": "looked", "set": set, "reason": "Later"}).to_string()
    };
    let (first, second, third) = ("2026-11-21T10:00:00Z", "2026-11-21T11:00:00.5Z", "2026-11-21T12:00:00Z");
    kubelet.writes(&namespace, "one", time(first), &log);
    kubelet.writes(&namespace, "one", time(third), &looked(third, "shop"));
    kubelet.writes(&namespace, "two", time(second), &looked(second, "shop"));

    let here = ["--operator-namespace", namespace.as_str()];
    let of_shop = lines(&plugin.succeeds(&[&["logs", "mset/shop"][..], &here].concat()));
    let about = |line: &Value| line["span"]["set"].as_str().or(line["set"].as_str()).map(str::to_owned);
    assert!(of_shop.iter().all(|line| about(line) == Some(format!("{namespace}/shop"))), "{of_shop:#?}");
    let applied = of_shop.iter().find(|line| line["message"] == "applied").expect("the engine says so");
    assert_eq!((&applied["version"], &applied["name"]), (&json!("001"), &json!("users")));
    for line in &of_shop {
        line["timestamp"].as_str().expect("it has one").parse::<Timestamp>().expect("it is as in RFC 3339");
    }
    let at: Vec<&str> = of_shop.iter().rev().take(2).filter_map(|line| line["timestamp"].as_str()).collect();
    assert_eq!(at, [third, second], "lines of several pods are in order");
    assert_eq!(lines(&plugin.succeeds(&["logs", "shop"])), of_shop, "in whatever namespace it runs");

    let all = lines(&plugin.succeeds(&[&["logs"][..], &here].concat()));
    assert!(all.iter().any(|line| about(line) == Some(format!("{namespace}/other"))) && all.len() > of_shop.len());
    assert!(all.iter().all(|line| line["message"] != "watching"), "that is about no set");
    let last = lines(&plugin.succeeds(&[&["logs", "shop", "--tail", "1"][..], &here].concat()));
    assert_eq!(last[..], of_shop[of_shop.len() - 1..]);
    let nothing = plugin.run(&[&["logs", "absent"][..], &here].concat());
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""), "{nothing:?}");
    assert!(nothing.stderr.contains(&format!("no line about MigrationSet {namespace}/absent")), "{nothing:?}");

    #[allow(clippy::disallowed_methods, reason = "--since counts from now")]
    let now = Timestamp::now();
    kubelet.writes(&namespace, "two", now, &looked("now", "shop"));
    let recent = lines(&plugin.succeeds(&[&["logs", "shop", "--since", "1h"][..], &here].concat()));
    assert_eq!(recent.iter().map(|line| line["timestamp"].clone()).collect::<Vec<_>>(), ["now"]);
    kubelet.end().await;
    shop.close().await;
}

/// M01: the versions of this program, of the history and of the operators, as far as the cluster says.
#[tokio::test(flavor = "multi_thread")]
async fn version_says_which_operators_there_are() {
    let shop = Shop::closed().await;
    let (namespace, plugin) = (shop.namespace.clone(), Plugin::new(&shop.namespace));
    let here = ["version", "--operator-namespace", namespace.as_str()];
    let none = plugin.succeeds(&here);
    assert!(none.ends_with("history  layout 1\noperator none\n"), "{none}");
    let pods: Api<Pod> = Api::namespaced(shop.client.clone(), &namespace);
    for (name, version) in [("one", "0.1.0"), ("two", "0.1.0"), ("three", "0.2.0")] {
        let labels = json!({"app.kubernetes.io/name": "dunlin", "app.kubernetes.io/version": version});
        let pod = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "dunlin", "image": "dunlin"}]},
        });
        let pod = serde_json::from_value(pod).expect("it is a pod");
        pods.create(&PostParams::default(), &pod).await.expect("the pod is made");
    }
    let said = plugin.succeeds(&here);
    let expected = format!("operator 0.1.0 in namespace {namespace}\noperator 0.2.0 in namespace {namespace}\n");
    assert!(said.starts_with("dunlin   ") && said.ends_with(&expected), "{said}");
    let json: Value = serde_json::from_str(&plugin.succeeds(&[&here[..], &["-o", "json"]].concat())).expect("JSON");
    assert_eq!(json["operators"][1], json!({"namespace": namespace, "version": "0.2.0"}));
    assert!(!plugin.succeeds(&["version", "--client"]).contains("operator"));
    shop.close().await;
}

/// What is written later is printed, each line once, also of a pod that comes later.
#[tokio::test(flavor = "multi_thread")]
async fn lines_are_followed_as_they_are_written() {
    let shop = Shop::closed().await;
    let (namespace, plugin) = (shop.namespace.clone(), Plugin::new(&shop.namespace));
    let kubelet = Kubelet::start(&shop.client, &format!("node-of-{namespace}")).await;
    kubelet.operator_pod(&namespace, "one").await;
    let line = |what: &str| json!({"message": what, "set": format!("{namespace}/shop")}).to_string();
    let begin = time("2026-11-21T10:00:00.1Z");
    let later = |seconds| begin + SignedDuration::from_secs(seconds);
    for (at, what) in [(0, "first"), (0, "second"), (1, "third")] {
        kubelet.writes(&namespace, "one", later(at), &line(what));
    }
    let here = ["--operator-namespace", namespace.as_str()];
    let mut going = plugin.start(&[&["logs", "shop", "-f", "--tail", "2"][..], &here].concat());
    let mut message = || serde_json::from_str::<Value>(&going.line()).expect("JSON")["message"].clone();
    assert_eq!((message(), message()), (json!("second"), json!("third")));
    kubelet.writes(&namespace, "one", later(2), "not about it");
    kubelet.writes(&namespace, "one", later(2) + SignedDuration::from_millis(1), &line("fourth"));
    assert_eq!(message(), "fourth");
    kubelet.operator_pod(&namespace, "two").await;
    kubelet.writes(&namespace, "two", later(3), &line("fifth"));
    assert_eq!(message(), "fifth");
    going.interrupt();
    assert_eq!(going.end().code, Some(130));
    kubelet.end().await;
    shop.close().await;
}

/// The rights that the page names are enough, and who lacks one is told which.
#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_with_the_rights_that_the_page_names_and_with_none_fewer() {
    let shop = Shop::closed().await;
    let namespace = shop.namespace.clone();
    let page = page();
    let section = page.split("\n### logs\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let named: BTreeSet<String> = outside_of_blocks(section)
        .filter_map(|line| line.strip_prefix("- `"))
        .filter_map(|line| Some(line.split_once('`')?.0.to_owned()))
        .collect();
    assert_eq!(named.iter().map(String::as_str).collect::<Vec<_>>(), ["get pods/log", "list pods"]);
    let kubelet = Kubelet::start(&shop.client, &format!("node-of-{namespace}")).await;
    kubelet.operator_pod(&namespace, "one").await;
    allow(&shop, "reader", &named).await;
    let arguments = ["logs", "--operator-namespace", namespace.as_str()];
    eventually("these rights are enough", LIMIT, async || {
        let ran = Plugin::of_user(&namespace, "reader").run(&arguments);
        if ran.code == Some(0) { Ok(()) } else { Err(ran) }
    })
    .await;
    for (index, missing) in named.iter().enumerate() {
        let user = format!("reader-{index}");
        allow(&shop, &user, &named.iter().filter(|right| *right != missing).cloned().collect()).await;
        let (verb, resource) = missing.split_once(' ').expect("a verb and a resource");
        let refused = format!("cannot {verb} resource \"{resource}\"");
        eventually(&format!("without {missing} it is refused"), LIMIT, async || {
            let ran = Plugin::of_user(&namespace, &user).run(&arguments);
            let is_told = ran.stderr.contains(&refused) && ran.stderr.contains("list pods and to get pods/log");
            if ran.code == Some(6) && is_told { Ok(()) } else { Err(ran) }
        })
        .await;
    }
    let everywhere = Plugin::of_user(&namespace, "reader").fails(6, &["logs"]);
    assert!(everywhere.contains("at the cluster scope") && everywhere.contains("--operator-namespace"), "{everywhere}");
    kubelet.end().await;
    shop.close().await;
}
