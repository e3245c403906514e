//! Many sets at once.

use dunlin::controller;
use serde_json::json;

use crate::{
    counting::UnderWay,
    shop::{Operator, Shop},
};

const SETS: usize = 150;

/// Each request has a connection of its own, and an API server has others to serve.
#[tokio::test(flavor = "multi_thread")]
async fn many_new_sets_are_no_storm_on_the_api_server() {
    let shop = Shop::closed().await;
    shop.files("sql", &[("001_one.sql", "SELECT 1;\n")]).await;
    let names: Vec<String> = (0..SETS).map(|number| format!("shop-{number}")).collect();
    for name in &names {
        shop.apply_as(name, json!({})).await;
    }
    let requests = UnderWay::default();
    let operator = Operator::start(requests.client(&shop.config), &shop.namespace, controller::GRACE_PERIOD);
    for name in &names {
        shop.until_of(name, "UpToDate").await;
    }
    operator.stop().await;
    let most = requests.most();
    assert!((8..=32).contains(&most), "{most} requests at one time");
    shop.close().await;
}
