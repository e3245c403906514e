//! Two at once: two operators, or an operator and a person, on the same histories. Everything once, never interleaved, and
//! statuses that come to rest.

use dunlin::{controller, execute::End};
use serde_json::json;

use crate::{
    counting::Requests,
    fixture::Fixture,
    line::applied,
    process::OperatorProcess,
    shop::{LIMIT, Operator, Shop},
    support::{eventually, kubernetes},
};

pub const SETS: usize = 6;

/// Files of both kinds, each of which writes down when it began and when it ended. They sleep a little, so that whoever
/// interleaves is seen.
pub fn marked_files(set: &str) -> Vec<(String, String)> {
    let mark = |version: u32, what: &str| format!("INSERT INTO marks VALUES ('{set}', {version}, '{what}');\n");
    (1..=4)
        .map(|version| {
            let (begins, ends) = (mark(version, "begins"), mark(version, "ends"));
            let table = format!("t_{}_{version}", set.replace('-', "_"));
            let text = if version % 2 == 0 {
                format!(
                    "-- migrate: no-transaction\n{begins}CREATE TABLE {table} (id int);\n\
                     CREATE INDEX CONCURRENTLY {table}_id ON {table} (id);\nSELECT pg_sleep(0.1);\n{ends}"
                )
            } else {
                format!("{begins}CREATE TABLE {table} (id int);\nSELECT pg_sleep(0.1);\n{ends}")
            };
            (format!("{version:03}_marked.sql"), text)
        })
        .collect()
}

const MARKS: &str = "CREATE TABLE marks (set text, version int, what text, at timestamptz DEFAULT clock_timestamp())";

/// Every file of every set ran once, and no two of one set at one time, nor out of order.
pub async fn each_ran_once_and_alone(shop: &Shop, sets: usize) {
    let expected = (sets * 4).to_string();
    let once = "SELECT count(*) FROM (SELECT FROM marks GROUP BY set, version \
                HAVING count(*) = 2 AND count(DISTINCT what) = 2) AS files";
    assert_eq!(shop.ask(once).await, expected);
    assert_eq!(shop.ask("SELECT count(*) FROM marks").await, (sets * 8).to_string(), "nothing ran twice");
    let overlaps = "WITH spans AS (SELECT set, version, min(at) AS begun, max(at) AS ended FROM marks GROUP BY set, version) \
                    SELECT count(*) FROM spans AS a JOIN spans AS b ON a.set = b.set AND a.version < b.version \
                    WHERE a.ended > b.begun";
    assert_eq!(shop.ask(overlaps).await, "0");
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'succeeded'").await, expected);
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run").await, expected);
    let shown = "SELECT count(*) FROM dunlin.run AS a JOIN dunlin.run AS b ON a.set = b.set AND a.id < b.id \
                 WHERE a.finished_at > b.finished_at OR a.finished_at < a.started_at";
    assert_eq!(shop.ask(shown).await, "0", "the history tells it in the same order");
}

/// The sets `set-0` … with files of both kinds.
pub async fn many_marked_sets(shop: &Shop) -> Vec<String> {
    shop.ask(MARKS).await;
    let names: Vec<String> = (0..SETS).map(|number| format!("set-{number}")).collect();
    for name in &names {
        let files = marked_files(name);
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        shop.files(name, &files).await;
        shop.apply_as(name, json!({"source": {"configMaps": [{"name": name}]}, "interval": "1s"})).await;
    }
    names
}

/// M32, Q72: two operators on the same sets do everything once between them; afterwards neither touches what the other wrote.
#[tokio::test(flavor = "multi_thread")]
async fn two_operators_apply_everything_once_and_then_keep_still() {
    let shop = Shop::closed().await;
    let (one, other) = (Requests::default(), Requests::default());
    let operators = [&one, &other]
        .map(|requests| Operator::start(requests.client(&shop.config), &shop.namespace, controller::GRACE_PERIOD));
    let names = many_marked_sets(&shop).await;
    for name in &names {
        let set = shop.until_of(name, "UpToDate").await;
        assert_eq!(applied(&set), 4);
    }
    each_ran_once_and_alone(&shop, SETS).await;
    // Each has looked at each set several times more: what they still had to say to each other is said.
    let looked = async |looks: usize| {
        one.forget();
        other.forget();
        eventually("both have looked at everything again and again", LIMIT, async || {
            let done = (one.looks(), other.looks());
            if done.0.min(done.1) >= looks * SETS { Ok(()) } else { Err(done) }
        })
        .await;
    };
    looked(4).await;
    looked(4).await;
    assert_eq!([one.status_writes(), other.status_writes()].concat(), Vec::<String>::new());
    for operator in operators {
        operator.stop().await;
    }
    shop.close().await;
}

/// The same with two processes.
#[tokio::test(flavor = "multi_thread")]
async fn two_operator_processes_apply_everything_once() {
    let shop = Shop::closed().await;
    let operators = [(); 2].map(|()| OperatorProcess::start(kubernetes(), &shop.namespace));
    for name in many_marked_sets(&shop).await {
        shop.until_of(&name, "UpToDate").await;
    }
    each_ran_once_and_alone(&shop, SETS).await;
    for operator in operators {
        operator.end().await;
    }
    shop.close().await;
}

/// A person by hand and an operator on one history: each waits for the other, and everything is done once.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_and_an_operator_apply_everything_once() {
    let mut shop = Shop::closed().await;
    shop.ask(MARKS).await;
    let files = marked_files("shop");
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    shop.files("sql", &files).await;
    let mut hand = Fixture::on(shop.url.clone()).await;
    hand.shell = dunlin::execute::Shell::Hand;
    let by_hand = async {
        for count in 1..=files.len() {
            eventually("it is this person's turn", LIMIT, async || {
                let report = hand.execute(&files[..count]).await;
                if matches!(report.end, End::Finished) { Ok(()) } else { Err(format!("{:?}", report.end)) }
            })
            .await;
        }
    };
    let by_operator = async {
        shop.apply(json!({})).await;
        shop.start_operator().await;
        shop.until("UpToDate").await
    };
    let ((), set) = tokio::join!(by_hand, by_operator);
    assert_eq!(applied(&set), 4);
    each_ran_once_and_alone(&shop, 1).await;
    shop.close().await;
}
