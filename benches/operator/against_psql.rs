//! 1,000 small migrations through the operator, and the same statements and history rows through `psql -f`, one
//! transaction each.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    operator::{Operator, create_set, put_config_map, ready_with},
    psql::{self, median},
    support::{fresh_database, fresh_namespace, postgres},
};

const MIGRATIONS: usize = 1_000;
const ROUNDS: usize = 5;

pub async fn run() {
    let files = psql::files(MIGRATIONS);
    let namespace = fresh_namespace().await;
    let _operator = Operator::start(&namespace, &[]);
    let (mut ours, mut psqls) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        psqls.push(by_psql(&files).await);
        ours.push(by_operator(&namespace, round, &files).await);
    }
    let (ours, psqls) = (median(ours), median(psqls));
    println!(
        "{MIGRATIONS} migrations, median of {ROUNDS}: operator {ours:.2} s, psql -f {psqls:.2} s, ratio {:.2} (at most 1.10)",
        ours / psqls
    );
}

/// From the MigrationSet's creation to Ready, seconds; the ConfigMap is there before.
async fn by_operator(namespace: &str, round: usize, files: &BTreeMap<String, String>) -> f64 {
    let name = format!("bench-{round}");
    put_config_map(namespace, &name, files.clone()).await;
    let url = fresh_database().await;
    let start = Instant::now();
    create_set(namespace, &name, &url, "1h").await;
    let ready = ready_with(namespace, &name, i64::try_from(MIGRATIONS).expect("a small number")).await;
    (ready - start).as_secs_f64()
}

/// The time of the `psql` process, seconds.
async fn by_psql(files: &BTreeMap<String, String>) -> f64 {
    // The history's tables as the operator makes them, from a set of one migration.
    let url = fresh_database().await;
    let namespace = fresh_namespace().await;
    let first: BTreeMap<String, String> = [("0000_first.sql".to_owned(), "SELECT 1;\n".to_owned())].into();
    put_config_map(&namespace, "psql", first).await;
    let operator = Operator::start(&namespace, &[]);
    create_set(&namespace, "psql", &url, "1h").await;
    ready_with(&namespace, "psql", 1).await;
    drop(operator);

    psql::run(&url, postgres().about().port, "psql", files)
}
