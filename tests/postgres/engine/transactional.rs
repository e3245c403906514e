//! A transactional migration and its history row commit together, whatever the file does.

use dunlin::core::{
    desired::{Action, TransactionScope},
    outcome::Reason,
};

use super::fixture::Fixture;

const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id bigint PRIMARY KEY, name text);\n");
const SEED: (&str, &str) = ("002_seed.sql", "INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace');\n");

/// M12, M34, P06, P21, Q15
#[tokio::test]
async fn pending_migrations_run_in_order_and_only_once() {
    let fixture = Fixture::new().await;
    let ran = fixture.apply(&[SEED, USERS]).await;
    ran.is_up_to_date();
    assert_eq!(ran.report.applied.iter().map(|(version, _)| version.to_string()).collect::<Vec<_>>(), ["001", "002"]);
    let again = fixture.apply(&[USERS, SEED]).await;
    again.is_up_to_date();
    assert!(again.report.applied.is_empty());
    assert_eq!(fixture.ask("SELECT count(*) FROM users").await, "2");
    assert_eq!(
        fixture.ask("SELECT string_agg(version || ' ' || state || ' ' || batch, ', ' ORDER BY version) FROM dunlin.migration").await,
        "001 applied 1, 002 applied 1"
    );
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'succeeded'").await, "2");
}

/// What a file may do to its session: isolation level, time-outs, role, path, string syntax, a temporary table, a
/// cursor, LISTEN, a comment at the end.
#[tokio::test]
async fn whatever_a_file_does_to_its_session_is_gone_after_it() {
    let fixture = Fixture::new().await;
    fixture.run_sql("CREATE ROLE wanderer_one; CREATE SCHEMA other").await;
    let wild = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
        SET statement_timeout = '5s'; SET lock_timeout = '7s'; SET search_path = other;
        CREATE TEMPORARY TABLE scratch (a int); DECLARE c CURSOR WITH HOLD FOR SELECT 1; LISTEN news;
        PREPARE p AS SELECT 1; SET TimeZone = 'Asia/Tokyo';
        CREATE TABLE placed (a int); GRANT ALL ON SCHEMA other TO wanderer_one; SET ROLE wanderer_one;
        -- and a comment without an end";
    let check = "DO $$ BEGIN
          ASSERT current_setting('transaction_isolation') = 'read committed';
          ASSERT current_user = session_user, current_user;
          ASSERT to_regclass('pg_temp.scratch') IS NULL;
          ASSERT NOT EXISTS (SELECT FROM pg_cursors WHERE name = 'c');
          ASSERT NOT EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'p');
          ASSERT NOT EXISTS (SELECT FROM pg_listening_channels());
          ASSERT current_setting('TimeZone') <> 'Asia/Tokyo';
          ASSERT current_setting('lock_timeout') = '3s', current_setting('lock_timeout');
          ASSERT current_setting('search_path') = '\"$user\", public', current_setting('search_path');
        END $$;";
    fixture.apply(&[("001_wild.sql", wild), ("002_check.sql", check)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT to_regclass('other.placed') IS NOT NULL").await, "t");
}

/// M12, P11: the error says where; nothing of the file is kept; it isn't run again on its own.
#[tokio::test]
async fn a_failing_migration_says_where_and_leaves_nothing() {
    let mut fixture = Fixture::new().await;
    let broken = ("002_broken.sql", "-- a header\nCREATE TABLE half (a int);\nINSERT INTO usrs\nVALUES (1);\n");
    let ran = fixture.apply(&[USERS, broken, ("003_after.sql", "CREATE TABLE after (a int);")]).await;
    let finding = ran.finding();
    assert_eq!(finding.reason, Reason::MigrationFailed);
    assert!(
        finding.message.contains("002_broken.sql:3:13: relation \"usrs\" does not exist (SQLSTATE 42P01)"),
        "{}",
        finding.message
    );
    assert!(finding.message.contains("INSERT INTO usrs\n            ^"), "{}", finding.message);
    let failed = finding.failure.as_ref().expect("the run is named");
    assert_eq!((failed.error.statement, failed.error.line, failed.error.column), (Some(2), Some(3), Some(13)));
    assert_eq!(fixture.ask("SELECT to_regclass('half') IS NULL AND to_regclass('after') IS NULL").await, "t");

    let files = [USERS, broken];
    fixture.apply(&files).await;
    assert_eq!(
        fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await,
        "1",
        "it ran again unasked"
    );

    fixture.resolve(failed.run, Action::Retry);
    let retried = fixture.apply(&files).await;
    assert_eq!(retried.finding().reason, Reason::MigrationFailed);
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await, "2");
    fixture.apply(&files).await;
    assert_eq!(
        fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await,
        "2",
        "a resolution is used up by its run"
    );

    fixture.apply(&[USERS, ("002_broken.sql", "CREATE TABLE half (a int);")]).await.is_up_to_date();
}

#[tokio::test]
async fn a_syntax_error_is_placed_though_nothing_of_the_message_ran() {
    let fixture = Fixture::new().await;
    let ran = fixture.apply(&[("001_a.sql", "CREATE TABLE ä (a int);\n\n  CREATE TABEL b (a int);\n")]).await;
    assert!(
        ran.finding().message.contains("001_a.sql:3:10: syntax error at or near \"TABEL\""),
        "{}",
        ran.finding().message
    );
}

#[tokio::test]
async fn a_deferred_constraint_fails_the_migration_and_not_its_commit() {
    let fixture = Fixture::new().await;
    let sql = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO c VALUES (1);";
    let ran = fixture.apply(&[("001_deferred.sql", sql)]).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert!(ran.finding().message.contains("deferred to the end"), "{}", ran.finding().message);
    assert!(!ran.finding().message.contains("Key (p)"), "DETAIL may hold rows: {}", ran.finding().message);
    assert!(fixture.ask("SELECT detail FROM dunlin.run").await.contains("Key (p)=(1)"));
    assert_eq!(fixture.ask("SELECT to_regclass('c') IS NULL").await, "t");
}

/// Every commit proves its claim: with another session's claim in the middle, nothing of the file is left.
#[tokio::test]
async fn a_claim_lost_in_the_middle_takes_the_file_back() {
    let fixture = Fixture::new().await;
    fixture.apply(&[USERS]).await.is_up_to_date();
    let stolen = ("002_stolen.sql", "CREATE TABLE stolen (a int); UPDATE dunlin.set SET session = 'somebody else';");
    let ran = fixture.apply(&[USERS, stolen]).await;
    assert_eq!(ran.failure().reason, Reason::Retrying);
    assert_eq!(fixture.ask("SELECT to_regclass('stolen') IS NULL").await, "t");
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.migration").await, "1");
}

#[tokio::test]
async fn a_file_may_be_its_own_transaction() {
    let fixture = Fixture::new().await;
    let own = "BEGIN ISOLATION LEVEL REPEATABLE READ;\nCREATE TABLE level AS SELECT current_setting('transaction_isolation') AS is;\nCOMMIT;\n";
    fixture.apply(&[("001_own.sql", own)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT \"is\" FROM level").await, "repeatable read");
    let ran = fixture
        .apply(&[("001_own.sql", own), ("002_own.sql", "BEGIN;\nCREATE TABLE x (a int);\nSELECT 1/0;\nEND;\n")])
        .await;
    assert!(ran.finding().message.contains("002_own.sql:3:"), "{}", ran.finding().message);
    assert_eq!(fixture.ask("SELECT to_regclass('x') IS NULL").await, "t");
}

/// P11: what runs is byte for byte what stands in the file.
#[tokio::test]
async fn what_is_executed_is_byte_for_byte_the_file() {
    let fixture = Fixture::new().await;
    let text = "one\r\n-- migrate: down\n\n  -- two ''quoted'' \\ $x$ :name ${NAME} ;\n\ttail";
    let sql = format!("CREATE TABLE t AS SELECT $body${text}$body$ AS kept;\n");
    fixture.apply(&[("001_text.sql", &sql)]).await.is_up_to_date();
    let kept = fixture.ask("SELECT encode(convert_to(kept, 'UTF8'), 'hex') FROM t").await;
    assert_eq!(kept, dunlin::core::bundle::hexadecimal(text.as_bytes()));
}

#[tokio::test]
async fn copy_with_its_data_and_string_syntax_go_statement_by_statement() {
    let fixture = Fixture::new().await;
    let copy = "\\restrict abc\nCREATE TABLE t (a int, b text);\nCOPY t (a, b) FROM stdin;\n1\tone; two\n2\t\\N\n\\.\n\nINSERT INTO t VALUES (3, 'three');\n\\unrestrict abc\n";
    fixture.apply(&[("001_copy.sql", copy)]).await.is_up_to_date();
    assert_eq!(
        fixture.ask("SELECT string_agg(a || coalesce(b, '-'), ',' ORDER BY a) FROM t").await,
        "1one; two,2-,3three"
    );
    let bad = "COPY t (a, b) FROM stdin;\nx\ty\n\\.\n";
    let ran = fixture.apply(&[("001_copy.sql", copy), ("002_bad.sql", bad)]).await;
    assert!(ran.finding().message.contains("002_bad.sql:1:"), "{}", ran.finding().message);
    assert_eq!(fixture.ask("SELECT count(*) FROM t").await, "3");
}

#[tokio::test]
async fn a_file_of_many_statements_goes_in_pieces_and_still_in_one_transaction() {
    let fixture = Fixture::new().await;
    let rows: Vec<String> = (0..5_100).map(|number| format!("INSERT INTO many VALUES ({number});\n")).collect();
    let sql = format!("CREATE TABLE many (a int);\n{}", rows.concat());
    let broken = format!("{sql}SELECT 1/0;\n");
    let ran = fixture.apply(&[("001_many.sql", &broken)]).await;
    assert!(ran.finding().message.contains("001_many.sql:5102:"), "{}", ran.finding().message);
    assert_eq!(fixture.ask("SELECT to_regclass('many') IS NULL").await, "t");
    fixture.apply(&[("001_many.sql", &sql)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM many").await, "5100");
}

#[tokio::test]
async fn a_plan_may_be_one_transaction() {
    let mut fixture = Fixture::new().await;
    fixture.desired.policy.transaction = TransactionScope::Single;
    let ran = fixture.apply(&[USERS, SEED, ("003_broken.sql", "SELECT 1/0;")]).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert!(ran.report.applied.is_empty());
    assert_eq!(fixture.ask("SELECT to_regclass('users') IS NULL").await, "t");
    fixture.apply(&[USERS, SEED, ("003_broken.sql", "SELECT 1;")]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(DISTINCT xmin::text) FROM dunlin.migration").await, "1");

    let mixed = ("004_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY ON users (name);");
    let ran = fixture.apply(&[USERS, SEED, ("003_broken.sql", "SELECT 1;"), mixed]).await;
    assert_eq!(ran.finding().reason, Reason::InvalidSpec);
    assert!(ran.finding().message.contains("004_index"), "{}", ran.finding().message);
}

#[tokio::test]
async fn a_migration_of_comments_alone_is_recorded() {
    let fixture = Fixture::new().await;
    fixture.apply(&[("001_nothing.sql", "-- nothing to do here\n/* really */\n")]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT state FROM dunlin.migration").await, "applied");
}

/// M14: the down section is stored, so that a rollback works after the file is gone; an edited one is no drift.
#[tokio::test]
async fn the_down_section_is_stored_and_follows_the_file() {
    let fixture = Fixture::new().await;
    let file = |down: &str| format!("-- migrate: up\nCREATE TABLE t (a int);\n-- migrate: down\n{down}\n");
    fixture.apply(&[("001_t.sql", &file("DROP TABLE t;"))]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT down_sql FROM dunlin.migration").await.trim(), "DROP TABLE t;");
    fixture.apply(&[("001_t.sql", &file("DROP TABLE IF EXISTS t;"))]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT down_sql FROM dunlin.migration").await.trim(), "DROP TABLE IF EXISTS t;");
}
