//! Locks, owners, poolers' absence, stops: what keeps a run from going on, and who is named.

use std::time::Duration;

use dunlin::{
    core::outcome::Reason,
    database::lock,
    execute::{End, Stop},
};

use super::fixture::Fixture;
use crate::support::eventually;

const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\n");

/// M32, Q72, Q73
#[tokio::test]
async fn a_held_lock_is_waited_for_and_its_holder_is_named() {
    let fixture = Fixture::new().await;
    let holder = fixture.another().await;
    holder.batch_execute("SET application_name = 'the holder'").await.expect("a setting");
    let key = lock::key(&["dunlin", "shop"]);
    holder.batch_execute(&format!("SELECT pg_advisory_lock({key})")).await.expect("the lock");
    let report = fixture.execute(&[ONE]).await;
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::WaitingForLock);
    assert!(failure.message.contains("the holder"), "{}", failure.message);
    assert_eq!(
        fixture.ask("SELECT to_regnamespace('dunlin') IS NULL").await,
        "t",
        "something was made without the lock"
    );
    drop(holder);
    let ran = eventually("the lock to come free", Duration::from_secs(10), async || {
        let ran = fixture.apply(&[ONE]).await;
        if matches!(ran.report.end, End::Finished) { Ok(()) } else { Err(ran.report.end) }
    });
    ran.await;
}

/// M04, M08
#[tokio::test]
async fn a_second_lock_is_taken_as_well_and_never_instead() {
    let mut fixture = Fixture::new().await;
    fixture.desired.history.lock_id = Some(894_321);
    let holder = fixture.another().await;
    holder.batch_execute("SELECT pg_advisory_lock(894321)").await.expect("the lock");
    let report = fixture.execute(&[ONE]).await;
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::WaitingForLock);
    assert!(failure.message.contains("894321"), "{}", failure.message);
}

#[tokio::test]
async fn a_history_has_one_owner() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    fixture.desired.owner.namespace = "elsewhere".to_owned();
    let ran = fixture.apply(&[ONE, ("002_two.sql", "CREATE TABLE two (a int);")]).await;
    assert_eq!(ran.failure().reason, Reason::Conflict);
    assert!(ran.failure().message.contains("shop/shop"), "{}", ran.failure().message);
    assert_eq!(fixture.ask("SELECT to_regclass('two') IS NULL").await, "t");
    fixture.take_over_from = Some("shop/shop".to_owned());
    fixture.apply(&[ONE, ("002_two.sql", "CREATE TABLE two (a int);")]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT owner FROM dunlin.set").await, "elsewhere/shop");
}

#[tokio::test]
async fn a_lock_timeout_is_retried_while_the_blocker_is_named_and_then_said() {
    let mut fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = 1_200;
    fixture.desired.session.lock_retries = 1;
    let blocker = fixture.another().await;
    blocker.batch_execute("SET application_name = 'the reader'; BEGIN; SELECT * FROM one").await.expect("a read lock");
    let alter = ("002_alter.sql", "ALTER TABLE one ADD COLUMN b int;");
    let mut running = fixture.running.subscribe();
    let watch = async {
        let seen =
            running.wait_for(|running| running.as_ref().is_some_and(|running| !running.blocked_by.is_empty())).await;
        seen.expect("the run tells").clone().expect("it runs")
    };
    let files = [ONE, alter];
    let (ran, seen) = tokio::join!(fixture.apply(&files), watch);
    assert_eq!(seen.blocked_by[0].application.as_deref(), Some("the reader"));
    assert_eq!(ran.failure().reason, Reason::Retrying);
    assert!(ran.failure().message.contains("55P03"), "{}", ran.failure().message);
    assert_eq!(fixture.ask("SELECT outcome || attempts FROM dunlin.run WHERE version = '002'").await, "retrying2");

    blocker.batch_execute("COMMIT").await.expect("the reader ends");
    fixture.apply(&[ONE, alter]).await.is_up_to_date();
    assert_eq!(
        fixture.ask("SELECT string_agg(outcome || attempts, ',') FROM dunlin.run WHERE version = '002'").await,
        "succeeded3",
        "attempts are counted in the one row"
    );
}

#[tokio::test]
async fn a_stop_takes_effect_between_migrations() {
    let fixture = Fixture::new().await;
    let slow = ("001_slow.sql", "SELECT pg_sleep(0.7); CREATE TABLE one (a int);");
    let stop = async {
        let mut running = fixture.running.subscribe();
        running.wait_for(Option::is_some).await.expect("it runs");
        fixture.stop.send_replace(Stop::BetweenMigrations);
    };
    let files = [slow, ("002_two.sql", "CREATE TABLE two (a int);")];
    let (report, ()) = tokio::join!(fixture.execute(&files), stop);
    assert!(matches!(report.end, End::Stopped), "{:?}", report.end);
    assert_eq!(report.applied.len(), 1);
    assert_eq!(fixture.ask("SELECT to_regclass('one') IS NOT NULL AND to_regclass('two') IS NULL").await, "t");
}

#[tokio::test]
async fn the_last_call_cancels_a_transaction_and_records_no_failure() {
    let fixture = Fixture::new().await;
    let slow = ("001_slow.sql", "CREATE TABLE one (a int); SELECT pg_sleep(60);");
    let stop = async {
        eventually("the migration to be at work", Duration::from_secs(10), async || {
            let busy = fixture.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid() AND state = 'active'").await;
            if busy == "1" { Ok(()) } else { Err(busy) }
        })
        .await;
        fixture.stop.send_replace(Stop::CancelTransaction);
    };
    let files = [slow];
    let (report, ()) = tokio::join!(fixture.execute(&files), stop);
    assert!(matches!(report.end, End::Stopped), "{:?}", report.end);
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run").await, "0");
    assert_eq!(fixture.ask("SELECT to_regclass('one') IS NULL").await, "t");
}

#[tokio::test]
async fn a_time_out_of_the_set_is_the_migrations_own_error() {
    let mut fixture = Fixture::new().await;
    fixture.desired.session.statement_timeout_ms = 200;
    let ran = fixture.apply(&[("001_slow.sql", "SELECT pg_sleep(30);")]).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert!(ran.finding().message.contains("57014"), "{}", ran.finding().message);
}

#[tokio::test]
async fn a_login_without_rights_is_told_the_grant() {
    let fixture = Fixture::new().await;
    let database = fixture.ask("SELECT current_database()").await;
    let login = format!("login_{database}");
    fixture.run_sql(&format!("CREATE ROLE {login} LOGIN PASSWORD 'pencil'")).await;
    let url = {
        let (_, rest) = fixture.url.split_once('@').expect("the URL names a user");
        format!("postgres://{login}:pencil@{rest}")
    };
    let poor = Fixture::on(url).await;
    let ran = poor.apply(&[ONE]).await;
    assert_eq!(ran.failure().reason, Reason::PermissionDenied);
    assert!(
        ran.failure().message.contains(&format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{login}\"")),
        "{}",
        ran.failure().message
    );

    // A schema made for it is enough: CREATE on the database isn't asked for.
    fixture
        .run_sql(&format!("CREATE SCHEMA dunlin AUTHORIZATION {login}; CREATE SCHEMA app AUTHORIZATION {login}"))
        .await;
    let mut poor = poor;
    poor.desired.session.search_path = vec!["app".to_owned()];
    poor.apply(&[ONE]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT to_regclass('app.one') IS NOT NULL").await, "t");
    let ran = poor.apply(&[ONE, ("002_role.sql", "CREATE ROLE another_one;")]).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed, "42501 inside the file is the file's own");
}

#[tokio::test]
async fn a_role_owns_what_is_made_and_the_history() {
    let fixture = Fixture::new().await;
    let database = fixture.ask("SELECT current_database()").await;
    fixture
        .run_sql(&format!(
            "CREATE ROLE owner_{database}; GRANT CREATE ON DATABASE {database} TO owner_{database}; \
             CREATE SCHEMA app AUTHORIZATION owner_{database}"
        ))
        .await;
    let mut fixture = fixture;
    fixture.desired.session.role = Some(format!("owner_{database}"));
    fixture.desired.session.search_path = vec!["app".to_owned(), "public".to_owned()];
    fixture.apply(&[ONE, ("002_undo.sql", "RESET ROLE; CREATE TABLE two (a int);")]).await.is_up_to_date();
    assert_eq!(
        fixture.ask("SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'dunlin' OR tablename = 'one'").await,
        format!("owner_{database}")
    );
    fixture.desired.session.role = Some("nobody_knows".to_owned());
    let ran = fixture.execute(&[ONE]).await;
    let End::Failed(failure) = ran.end else { panic!("{:?}", ran.end) };
    assert_eq!(failure.reason, Reason::PermissionDenied);
    assert!(failure.message.contains("nobody_knows"), "{}", failure.message);
}

#[tokio::test]
async fn a_history_of_a_newer_layout_is_left_alone() {
    let fixture = Fixture::new().await;
    fixture.apply(&[ONE]).await.is_up_to_date();
    fixture.run_sql("COMMENT ON TABLE dunlin.set IS 'dunlin history layout 99'").await;
    let report = fixture.execute(&[ONE]).await;
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::InvalidSpec);
    assert!(failure.message.contains("newer"), "{}", failure.message);
}

/// Four at once, on first contact: each applies or waits, and every migration runs once.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_on_first_contact_apply_everything_once() {
    let first = Fixture::new().await;
    let others = [
        Fixture::on(first.url.clone()).await,
        Fixture::on(first.url.clone()).await,
        Fixture::on(first.url.clone()).await,
    ];
    let files: Vec<(String, String)> =
        (1..=20).map(|n| (format!("{n:03}_step.sql"), format!("CREATE TABLE step_{n} AS SELECT {n} AS n;"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let run = async |fixture: &Fixture| {
        eventually("the set to be applied", Duration::from_secs(30), async || {
            let report = fixture.execute(&files).await;
            match report.end {
                End::Finished => Ok(()),
                End::Failed(failure) if failure.reason == Reason::WaitingForLock => Err(failure),
                other => panic!("{other:?}"),
            }
        })
        .await;
    };
    tokio::join!(run(&first), run(&others[0]), run(&others[1]), run(&others[2]));
    assert_eq!(first.ask("SELECT count(*) || ' ' || count(DISTINCT version) FROM dunlin.run").await, "20 20");
}
