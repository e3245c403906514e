//! A thousand sets: the operator's memory once all are Ready, and when it is started again with all of them there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

use crate::{
    operator::{Operator, create_set, put_config_map},
    support::{eventually, fresh_database, fresh_namespace},
};

const SETS: usize = 1_000;
const FILES: usize = 5;

pub async fn run() {
    let namespace = fresh_namespace().await;
    let database = fresh_database().await;
    stream::iter(0..SETS)
        .map(|number| {
            let (namespace, database) = (&namespace, &database);
            async move {
                let name = format!("many-{number}");
                put_config_map(namespace, &name, files(number)).await;
                create_set(namespace, &name, database, "10m").await;
            }
        })
        .buffer_unordered(8)
        .collect::<()>()
        .await;
    for what in ["from nothing", "with all of them applied"] {
        let start = Instant::now();
        let operator = Operator::start(&namespace, &[]);
        all_ready(&operator).await;
        let took = start.elapsed().as_secs_f64();
        // The most that it needed counts, beside what it keeps.
        let (most, resident) = operator.memory();
        println!(
            "{SETS} sets of {FILES} migrations, {what}: looked at in {took:.1} s, {resident:.1} MB resident (under 60), {most:.1} MB at most"
        );
    }
}

fn files(number: usize) -> BTreeMap<String, String> {
    let mut files: BTreeMap<_, _> = [("001_schema.sql".to_owned(), format!("CREATE SCHEMA many_{number};\n"))].into();
    for file in 2..=FILES {
        let sql = format!(
            "-- migrate:up\nCREATE TABLE many_{number}.t{file} (id bigint PRIMARY KEY, name text NOT NULL, made timestamptz);\n\
             -- migrate:down\nDROP TABLE many_{number}.t{file};\n"
        );
        files.insert(format!("{file:03}_t{file}.sql"), sql);
    }
    files
}

/// Waits until this operator has looked at all sets, and found each as it is to be.
async fn all_ready(operator: &Operator) {
    eventually("all sets to be Ready", Duration::from_mins(15), async || match operator.ready() {
        SETS => Ok(()),
        ready => Err(format!("{ready} of {SETS} are Ready")),
    })
    .await;
}
