//! A primary that dies in the middle of a run, and a standby that takes its place under the same host and port: what was lost
//! with the primary runs again there, since the history was lost with it.

use serde_json::json;
use tokio_postgres::NoTls;

use crate::{
    install::install_crd,
    line::{applied, is_ready},
    shop::{LIMIT, Shop, condition, message},
    support::{Proxy, StopMode, dedicated_postgres, eventually, kubernetes, standby_of},
};

const FIRST: (&str, &str) =
    ("001_first.sql", "CREATE TABLE marks (version int);\nCREATE TABLE busy (id int);\nINSERT INTO marks VALUES (1);");
const LOST: (&str, &str) = ("002_lost.sql", "INSERT INTO marks VALUES (2);");
const CUT_OFF: (&str, &str) = (
    "003_cut_off.sql",
    "-- migrate: no-transaction\nINSERT INTO marks VALUES (3);\nCREATE INDEX CONCURRENTLY busy_id ON busy (id);\n\
     INSERT INTO marks VALUES (33);\n",
);
const AFTER: (&str, &str) = ("004_after.sql", "INSERT INTO marks VALUES (4);");

async fn ask(url: &str, query: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    let row = client.query_one(query, &[]).await.expect("the query is sound");
    row.get::<_, Option<String>>(0).unwrap_or_default()
}

/// History and work travel together, by replication as by any other copy.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make chaos-long"]
async fn what_was_lost_with_a_primary_runs_again_on_its_standby() {
    install_crd();
    let primary = dedicated_postgres(&[], &[], &[]);
    let replication = Proxy::to(primary.about().port).await;
    let standby = standby_of(&primary, replication.port());
    let on_standby =
        primary.url().replace(&format!(":{}/", primary.about().port), &format!(":{}/", standby.about().port));
    let way = Proxy::to(primary.about().port).await;
    let mut shop = Shop::at(kubernetes(), way.url(primary.url())).await;
    shop.start_operator().await;
    shop.files("sql", &[FIRST]).await;
    shop.apply(json!({"interval": "1s"})).await;
    shop.until("UpToDate").await;
    let replicated = "SELECT coalesce(to_regclass('dunlin.migration')::text, '')";
    eventually("the standby has the history", LIMIT, async || {
        let found = ask(&on_standby, replicated).await;
        if found == "dunlin.migration" { Ok(()) } else { Err(found) }
    })
    .await;
    eventually("the standby has the migration", LIMIT, async || {
        let found = ask(&on_standby, "SELECT count(*)::text FROM dunlin.migration").await;
        if found == "1" { Ok(()) } else { Err(found) }
    })
    .await;

    // From here on the standby hears nothing more.
    replication.close();
    let (writer, connection) = tokio_postgres::connect(primary.url(), NoTls).await.expect("the primary answers");
    tokio::spawn(connection);
    writer.batch_execute("BEGIN; INSERT INTO busy VALUES (1)").await.expect("it can be written");
    shop.files("sql", &[FIRST, LOST, CUT_OFF, AFTER]).await;
    eventually("a build is under way on the primary", LIMIT, async || {
        let journal =
            ask(primary.url(), "SELECT string_agg(ordinal || state, ',' ORDER BY ordinal) FROM dunlin.statement").await;
        if journal == "1done,2intent" { Ok(()) } else { Err(journal) }
    })
    .await;
    assert_eq!(ask(primary.url(), "SELECT string_agg(version::text, ',' ORDER BY version) FROM marks").await, "1,2,3");
    way.close();
    primary.stop(StopMode::Kill);
    way.lead_to(standby.about().port);
    way.open();

    // A standby takes no migrations.
    let waits = |set: &_| {
        message(set).contains("standby") && condition(set, "Ready").is_some_and(|it| it.1 == "WaitingForDatabase")
    };
    shop.until_that("shop", "the standby is waited for", waits).await;
    assert_eq!(ask(&on_standby, "SELECT string_agg(version::text, ',' ORDER BY version) FROM marks").await, "1");
    assert_eq!(ask(&on_standby, "SELECT pg_promote()::text").await, "true");
    let set = shop.until_that("shop", "all of it is applied", |set| applied(set) == 4 && is_ready(set)).await;
    assert_eq!(condition(&set, "DatabaseReachable").map(|it| it.0).as_deref(), Some("True"));
    assert_eq!(shop.ask("SELECT string_agg(version::text, ',' ORDER BY version) FROM marks").await, "1,2,3,4,33");
    assert_eq!(
        shop.ask("SELECT count(*) || min(outcome) || max(outcome) FROM dunlin.run").await,
        "4succeededsucceeded"
    );
    assert_eq!(shop.ask("SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'busy_id'::regclass").await, "true");
    drop(writer);
    shop.close().await;
}
