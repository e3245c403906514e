//! From a changed ConfigMap to Ready, with one more small migration, on a set that is Ready.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    operator::{Operator, create_set, put_config_map, ready_with},
    psql::median,
    support::{fresh_database, fresh_namespace},
};

const ROUNDS: u32 = 15;

pub async fn run() {
    let namespace = fresh_namespace().await;
    let _operator = Operator::start(&namespace, &[]);
    let mut files = BTreeMap::new();
    let mut add = |number: u32| {
        files.insert(format!("{number:03}_t.sql"), format!("CREATE TABLE t{number} (a int);\n"));
        files.clone()
    };
    put_config_map(&namespace, "latency", add(1)).await;
    create_set(&namespace, "latency", &fresh_database().await, "1h").await;
    ready_with(&namespace, "latency", 1).await;
    let mut times = Vec::new();
    for round in 2..=ROUNDS + 1 {
        let next = add(round);
        let ready = tokio::spawn({
            let namespace = namespace.clone();
            async move { ready_with(&namespace, "latency", i64::from(round)).await }
        });
        let start = Instant::now();
        put_config_map(&namespace, "latency", next).await;
        let ready = ready.await.expect("the wait ends");
        times.push((ready - start).as_secs_f64() * 1_000.0);
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!(
        "from a changed ConfigMap to Ready, median of {ROUNDS}: {:.0} ms, worst {worst:.0} ms, the database's own time included (at most 100 ms beyond that)",
        median(times)
    );
}
