//! An operator with nothing to do: its memory, and what it asks the API server.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    operator::{Operator, create_set, put_config_map, ready_with},
    support::{fresh_database, fresh_namespace, kubernetes},
};

const SETS: usize = 10;
const OTHERS: usize = 100;
const INTERVAL_S: u64 = 20;

pub async fn run() {
    let namespace = fresh_namespace().await;
    let filler = "x".repeat(100_000);
    for number in 0..OTHERS {
        let data: BTreeMap<_, _> = [("other".to_owned(), filler.clone())].into();
        put_config_map(&namespace, &format!("other-{number}"), data).await;
    }
    let operator = Operator::start(&namespace, &[]);
    for number in 0..SETS {
        let name = format!("idle-{number}");
        let files: BTreeMap<_, _> = [("001_t.sql".to_owned(), "CREATE TABLE t (a int);\n".to_owned())].into();
        put_config_map(&namespace, &name, files).await;
        create_set(&namespace, &name, &fresh_database().await, &format!("{INTERVAL_S}s")).await;
        ready_with(&namespace, &name, 1).await;
    }
    let before = requests();
    tokio::time::sleep(Duration::from_secs(3 * INTERVAL_S)).await;
    let after = requests();
    let (most, resident) = operator.memory();
    println!(
        "idle with {SETS} sets and {OTHERS} other ConfigMaps of 100 kB: {resident:.1} MB resident (under 25), {most:.1} MB at most"
    );
    println!("what the API server was asked in 3 intervals (about {} gets of Secrets are expected):", 3 * SETS);
    for (what, count) in &after {
        let asked = count - before.get(what).copied().unwrap_or(0.0);
        if asked > 0.0 {
            println!("  {asked:>5} {what}");
        }
    }
}

/// `apiserver_request_total` of the resources that an operator may ask for, by verb and resource. Watches are counted when
/// they end; the benchmark's own asking for these metrics isn't among them.
fn requests() -> BTreeMap<String, f64> {
    let output = kubernetes().kubectl(&["get", "--raw", "/metrics"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else { continue };
        if !["secrets", "configmaps", "migrationsets", "events"].contains(&resource.as_str()) || verb == "WATCH" {
            continue;
        }
        let count = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
        *counts.entry(format!("{verb} {resource}")).or_default() += count;
    }
    counts
}
