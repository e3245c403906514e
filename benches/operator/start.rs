//! From the operator's start to its first reconcile: the first status that it writes of a set which was there before.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    operator::{Operator, create_set, first_status, put_config_map, ready_with},
    psql::median,
    support::{fresh_database, fresh_namespace},
};

const ROUNDS: u32 = 11;

pub async fn run() {
    for (how, leads) in [("", false), (" as a leader", true)] {
        let (mut firsts, mut readies) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let namespace = fresh_namespace().await;
            let files: BTreeMap<_, _> = [("001_t.sql".to_owned(), "CREATE TABLE t (a int);\n".to_owned())].into();
            put_config_map(&namespace, "start", files).await;
            create_set(&namespace, "start", &fresh_database().await, "1h").await;
            let first = tokio::spawn({
                let namespace = namespace.clone();
                async move { first_status(&namespace, "start").await }
            });
            let ready = tokio::spawn({
                let namespace = namespace.clone();
                async move { ready_with(&namespace, "start", 1).await }
            });
            let start = Instant::now();
            let flags = ["--leader-elect", "--lease-namespace", &namespace];
            let _operator = Operator::start(&namespace, if leads { &flags } else { &[] });
            firsts.push((first.await.expect("the wait ends") - start).as_secs_f64() * 1e3);
            readies.push((ready.await.expect("the wait ends") - start).as_secs_f64() * 1e3);
        }
        println!(
            "from the operator's start{how} to the first status of a set that waits for it, median of {ROUNDS}: {:.0} ms (under 300); \
             to Ready, one migration applied: {:.0} ms",
            median(firsts),
            median(readies)
        );
    }
}
