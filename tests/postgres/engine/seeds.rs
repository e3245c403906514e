//! Seeds: once or on change, in order, under the claim, and whole or not at all.

use std::sync::Arc;

use dunlin::{
    core::{
        bundle::BundleFile,
        desired::{Action, Target},
        history::SeedCounts,
        outcome::Reason,
        seed::{self, Seed},
    },
    execute::{End, Stop},
    yaml,
};

use super::fixture::{Fixture, Ran};

const USERS: (&str, &str) = (
    "001_users.sql",
    "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, born date);\n",
);

fn seeds(files: &[(&str, &str)]) -> Arc<[Seed]> {
    files
        .iter()
        .map(|(name, text)| {
            let file =
                BundleFile { name: (*name).into(), bytes: text.as_bytes().into(), origin: format!("seeds/{name}") };
            seed::read(&file, yaml::nodes).expect("it is sound")
        })
        .collect()
}

async fn load(fixture: &mut Fixture, files: &[(&str, &str)]) -> Ran {
    fixture.desired.seeds = seeds(files);
    fixture.apply(&[USERS]).await
}

async fn counts(fixture: &Fixture, name: &str) -> SeedCounts {
    let history = fixture.observe().await.expect("the history is read");
    let row = history.seeds.into_iter().find(|row| row.name == name).expect("it has run");
    row.counts.expect("rows are counted")
}

/// M25: after the schema, in order, recorded, and only once.
#[tokio::test]
async fn seeds_run_once_behind_the_migrations_and_in_order() {
    let mut fixture = Fixture::new().await;
    let files = [
        ("010_a.sql", "INSERT INTO users (name) VALUES ('Ada');\n"),
        ("020_b.sql", "-- seed: on-change\nINSERT INTO users (name) SELECT name || '2' FROM users;\n"),
    ];
    let ran = load(&mut fixture, &files).await;
    ran.is_up_to_date();
    assert_eq!(
        (ran.report.seeded.as_slice(), ran.assessment.seeded),
        (&["010_a.sql".into(), "020_b.sql".into()][..], 2)
    );
    assert_eq!(fixture.ask("SELECT string_agg(name, ' ' ORDER BY id) FROM users").await, "Ada Ada2");
    let again = load(&mut fixture, &files).await;
    again.is_up_to_date();
    assert!(again.report.seeded.is_empty());
    assert_eq!(
        fixture
            .ask("SELECT string_agg(kind || ' ' || version || ' ' || outcome, ', ' ORDER BY id) FROM dunlin.run")
            .await,
        "apply 001 succeeded, seed 010_a.sql succeeded, seed 020_b.sql succeeded"
    );
}

/// M25: `once` is never run again, and its edit is told; `on-change` is.
#[tokio::test]
async fn an_edit_runs_again_what_asks_for_it_and_is_told_of_the_rest() {
    let mut fixture = Fixture::new().await;
    let once = ("010_a.sql", "INSERT INTO users (name) VALUES ('Ada');\n");
    let changing =
        ("020_b.json", r#"{"mode": "on-change", "onConflict": "update", "users": [{"id": 7, "name": "Bo"}]}"#);
    load(&mut fixture, &[once, changing]).await.is_up_to_date();
    let edited = ("010_a.sql", "INSERT INTO users (name) VALUES ('Eve');\n");
    let changed =
        ("020_b.json", r#"{"mode": "on-change", "onConflict": "update", "users": [{"id": 7, "name": "Bob"}]}"#);
    let ran = load(&mut fixture, &[edited, changed]).await;
    ran.is_up_to_date();
    assert_eq!(ran.report.seeded, ["020_b.json"]);
    assert_eq!(ran.assessment.seeds_edited, ["010_a.sql"]);
    assert_eq!(fixture.ask("SELECT string_agg(name, ' ' ORDER BY id) FROM users").await, "Ada Bob");
}

/// A target below the latest leaves the schema unfinished: nothing is loaded into it.
#[tokio::test]
async fn nothing_is_loaded_before_every_migration_is_applied() {
    let mut fixture = Fixture::new().await;
    fixture.desired.seeds = seeds(&[("010_a.sql", "INSERT INTO users (name) VALUES ('Ada');\n")]);
    fixture.desired.target = Target::parse("001").expect("a target");
    let files = [USERS, ("002_b.sql", "CREATE TABLE b (a int);\n")];
    let ran = fixture.apply(&files).await;
    assert!(matches!(ran.report.end, End::Finished) && ran.report.seeded.is_empty());
    assert_eq!(ran.assessment.seeds, [""; 0]);
    fixture.desired.target = Target::Latest;
    assert_eq!(fixture.apply(&files).await.report.seeded, ["010_a.sql"]);
}

/// Q63: each kind of conflict, and counts that say what happened.
#[tokio::test]
async fn rows_are_counted_as_what_became_of_them() {
    let mut fixture = Fixture::new().await;
    let rows =
        |conflict: &str, names: &str| format!("mode: on-change\nusers:\n  onConflict: {conflict}\n  rows: [{names}]\n");
    let first = rows("fail", "{id: 1, name: Ada}, {id: 2, name: Bo}");
    load(&mut fixture, &[("a.yaml", &first)]).await.is_up_to_date();
    assert_eq!(counts(&fixture, "a.yaml").await, SeedCounts { inserted: 2, updated: 0, unchanged: 0 });
    let second = rows("nothing", "{id: 1, name: Eve}, {id: 3, name: Cy}");
    load(&mut fixture, &[("a.yaml", &second)]).await.is_up_to_date();
    assert_eq!(counts(&fixture, "a.yaml").await, SeedCounts { inserted: 1, updated: 0, unchanged: 1 });
    let third = rows("update", "{id: 1, name: Eve}, {id: 2, name: Bo}, {id: 4, name: Di}");
    load(&mut fixture, &[("a.yaml", &third)]).await.is_up_to_date();
    assert_eq!(counts(&fixture, "a.yaml").await, SeedCounts { inserted: 1, updated: 1, unchanged: 1 });
    assert_eq!(fixture.ask("SELECT string_agg(name, ' ' ORDER BY id) FROM users").await, "Eve Bo Cy Di");
    let refused = load(&mut fixture, &[("a.yaml", &rows("fail", "{id: 9, name: Z}, {id: 1, name: Y}"))]).await;
    let finding = refused.finding();
    assert_eq!(finding.reason, Reason::SeedFailed);
    assert!(finding.message.contains("a.yaml:4: table users: duplicate key"), "{}", finding.message);
    assert!(!finding.message.contains("(id)=(1)"), "DETAIL may hold rows: {}", finding.message);
    assert_eq!(fixture.ask("SELECT count(*) FROM users WHERE id = 9").await, "0");
}

/// Q63: nested values, arrays, numbers of any length, nothing, defaults, and types that know no equality.
#[tokio::test]
async fn values_come_as_the_columns_type_has_them() {
    let mut fixture = Fixture::new().await;
    fixture
        .run_sql(
            "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN short AS varchar(5);
             CREATE TABLE kinds (id int PRIMARY KEY, j json, jb jsonb, tags text[], big numeric, deep int[][], at timestamptz,
               feeling mood, word short, raw bytea, truth bool, code text, given int DEFAULT 42, nothing text DEFAULT 'x')",
        )
        .await;
    let text = "mode: on-change
onConflict: update
kinds:
- id: 1
  j: {b: 1.10, a: [x, {y: null}]}
  jb: {b: 1.10, a: [x, {y: null}]}
  tags: [one, \"two, three\", null]
  big: 123456789012345678901234567890.12345678901234567890
  deep: [[1, 2], [3, 4]]
  at: 2026-11-21T10:00:00Z
  feeling: ok
  word: hello
  raw: '\\xdeadbeef'
  truth: yes
  code: 007
  nothing: null
- id: 2
";
    load(&mut fixture, &[("kinds.yaml", text)]).await.is_up_to_date();
    let row = fixture
        .ask("SELECT concat_ws('|', j, jb, tags, big, deep, at AT TIME ZONE 'UTC', feeling, word, raw, truth, code, given, nothing IS NULL) FROM kinds WHERE id = 1")
        .await;
    assert_eq!(
        row,
        "{\"b\":1.10,\"a\":[\"x\",{\"y\":null}]}|{\"a\": [\"x\", {\"y\": null}], \"b\": 1.10}|{one,\"two, three\",NULL}|\
         123456789012345678901234567890.12345678901234567890|{{1,2},{3,4}}|2026-11-21 10:00:00|ok|hello|\\xdeadbeef|t|007|42|t"
    );
    assert_eq!(fixture.ask("SELECT given || nothing FROM kinds WHERE id = 2").await, "42x");
    load(&mut fixture, &[("kinds.yaml", &format!("{text}# edited\n"))]).await.is_up_to_date();
    assert_eq!(counts(&fixture, "kinds.yaml").await, SeedCounts { inserted: 0, updated: 0, unchanged: 2 });
}

/// Row 20 of the features' list of defects: a name is a name, whatever it holds.
#[tokio::test]
async fn no_name_is_read_as_sql() {
    let mut fixture = Fixture::new().await;
    fixture.run_sql("CREATE SCHEMA \"we.ird\"; CREATE TABLE \"we.ird\".\"T\"\"; DROP\" (\"a b\" int, \"C\" int)").await;
    let sound = r#"[{"schema": "we.ird", "table": "T\"; DROP", "rows": [{"a b": 1, "C": 2}]}]"#;
    load(&mut fixture, &[("a.json", sound)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT \"a b\" + \"C\" FROM \"we.ird\".\"T\"\"; DROP\"").await, "3");
    for (name, evil, state) in [
        ("b.json", r#"{"users (name) VALUES ('x'); --": [{"name": "y"}]}"#, "42P01"),
        ("c.json", "{\"users\": [\n{\"name) VALUES ('x'); --\": 1}]}", "42703"),
    ] {
        let ran = load(&mut fixture, &[("a.json", sound), (name, evil)]).await;
        let error = &ran.finding().failure.as_ref().expect("the run is named").error;
        assert_eq!(error.sqlstate.as_deref(), Some(state), "{}", error.message);
        assert!(error.message.contains(name), "{}", error.message);
    }
    assert_eq!(fixture.ask("SELECT count(*) FROM users").await, "0");
}

/// What the file says of ids is followed by the sequence that gives the next one.
#[tokio::test]
async fn the_next_id_is_behind_those_that_a_seed_gives() {
    let mut fixture = Fixture::new().await;
    fixture.run_sql("CREATE TABLE parts (id serial PRIMARY KEY, name text) ").await;
    let text = "users: [{id: 1, name: Ada}, {id: 41, name: Bo}]\nparts: [{id: 1, name: bolt}]\n";
    load(&mut fixture, &[("a.yaml", text)]).await.is_up_to_date();
    assert_eq!(fixture.ask("INSERT INTO users (name) VALUES ('Cy') RETURNING id").await, "42");
    assert_eq!(fixture.ask("INSERT INTO parts (name) VALUES ('nut') RETURNING id").await, "2");
}

/// An update by a key that isn't the identity failed with 428C9: such a column takes no value but that of a new row.
#[tokio::test]
async fn an_update_by_another_key_leaves_identities_alone() {
    let mut fixture = Fixture::new().await;
    let users =
        ("001_users.sql", "CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY, name text UNIQUE, n int);\n");
    let seed = |n: &str| {
        format!(
            "mode: on-change\nonConflict: update\nusers:\n  key: [name]\n  rows: [{{id: 7, name: Ada, n: {n}}}, {{name: Bo, n: {n}}}]\n"
        )
    };
    for n in ["1", "2"] {
        fixture.desired.seeds = seeds(&[("a.yaml", &seed(n))]);
        fixture.apply(&[users]).await.is_up_to_date();
    }
    assert_eq!(
        fixture.ask("SELECT string_agg(concat_ws(':', id, name, n), ' ' ORDER BY name) FROM users").await,
        "7:Ada:2 1:Bo:2"
    );
    assert_eq!(counts(&fixture, "a.yaml").await, SeedCounts { inserted: 0, updated: 2, unchanged: 0 });
}

/// A partitioned table is a table, with what an update has to know of its rows.
#[tokio::test]
async fn rows_of_a_partitioned_table_are_counted_too() {
    let mut fixture = Fixture::new().await;
    fixture
        .run_sql(
            "CREATE TABLE log (day int, n int, text text, PRIMARY KEY (day, n)) PARTITION BY LIST (day);
             CREATE TABLE log_1 PARTITION OF log FOR VALUES IN (1);
             CREATE TABLE log_2 (n int NOT NULL, text text, day int NOT NULL); ALTER TABLE log ATTACH PARTITION log_2 FOR VALUES IN (2)",
        )
        .await;
    let text = |word: &str| {
        format!(
            "mode: on-change\nonConflict: update\nlog: [{{day: 1, n: 1, text: a}}, {{day: 2, n: 1, text: {word}}}]\n"
        )
    };
    load(&mut fixture, &[("a.yaml", &text("b"))]).await.is_up_to_date();
    load(&mut fixture, &[("a.yaml", &text("c"))]).await.is_up_to_date();
    assert_eq!(counts(&fixture, "a.yaml").await, SeedCounts { inserted: 0, updated: 1, unchanged: 1 });
}

/// M25: what fails leaves nothing, what came before stays, and nothing behind it runs; it isn't tried again unasked.
#[tokio::test]
async fn a_seed_that_fails_waits_for_an_edit_or_a_person() {
    let mut fixture = Fixture::new().await;
    let good = ("010_a.sql", "INSERT INTO users (name) VALUES ('Ada');\n");
    let bad = ("020_b.sql", "INSERT INTO users (name) VALUES ('half');\nINSERT INTO usrs VALUES (1);\n");
    let last = ("030_c.sql", "INSERT INTO users (name) VALUES ('last');\n");
    let ran = load(&mut fixture, &[good, bad, last]).await;
    let finding = ran.finding();
    assert_eq!(finding.reason, Reason::SeedFailed);
    assert!(finding.message.contains("020_b.sql:2:13: relation \"usrs\" does not exist"), "{}", finding.message);
    assert!(finding.message.contains("version: \"020_b.sql\", run: 3, action: Retry"), "{}", finding.message);
    assert_eq!(fixture.ask("SELECT string_agg(name, ' ') FROM users").await, "Ada");
    load(&mut fixture, &[good, bad, last]).await;
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run").await, "3", "it ran again unasked");

    fixture.resolve(3, Action::MarkApplied);
    let refused = load(&mut fixture, &[good, bad, last]).await;
    assert!(refused.finding().message.contains("only Retry is"), "{}", refused.finding().message);
    fixture.resolve(3, Action::Retry);
    load(&mut fixture, &[good, bad, last]).await;
    load(&mut fixture, &[good, bad, last]).await;
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run").await, "4", "a decision is used up by its run");

    let mended = ("020_b.sql", "INSERT INTO users (name) VALUES ('whole');\n");
    let ran = load(&mut fixture, &[good, mended, last]).await;
    ran.is_up_to_date();
    assert_eq!(ran.report.seeded, ["020_b.sql", "030_c.sql"]);
}

/// A migration may be what it lacked, so the next one gives it another try.
#[tokio::test]
async fn a_seed_that_failed_is_tried_again_behind_the_next_migration() {
    let mut fixture = Fixture::new().await;
    let early = ("010_a.json", r#"{"later": [{"a": 1}]}"#);
    let ran = load(&mut fixture, &[early]).await;
    assert!(ran.finding().message.contains("there is no such table"), "{}", ran.finding().message);
    let ran = fixture.apply(&[USERS, ("002_later.sql", "CREATE TABLE later (a int);\n")]).await;
    ran.is_up_to_date();
    assert_eq!(ran.report.seeded, ["010_a.json"]);
}

/// Every commit proves its claim: with another session's claim in the middle, nothing of the seed is left.
#[tokio::test]
async fn a_claim_lost_in_the_middle_takes_the_seed_back() {
    let mut fixture = Fixture::new().await;
    load(&mut fixture, &[]).await.is_up_to_date();
    let thief = "CREATE FUNCTION thief() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        UPDATE dunlin.set SET session = 'somebody else'; RETURN NEW; END $$;
        CREATE TRIGGER thief BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION thief()";
    fixture.run_sql(thief).await;
    for file in [("a.sql", "INSERT INTO users (name) VALUES ('x');"), ("a.yaml", "users: [{name: x}]")] {
        let ran = load(&mut fixture, &[file]).await;
        assert_eq!(ran.failure().reason, Reason::Retrying);
        assert_eq!(fixture.ask("SELECT count(*) FROM users").await, "0");
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.seed").await, "0");
    }
}

/// A session that dies under a seed leaves nothing, and the next run loads it.
#[tokio::test]
async fn a_session_that_is_cut_off_leaves_nothing() {
    let mut fixture = Fixture::new().await;
    load(&mut fixture, &[]).await.is_up_to_date();
    let suicide = "INSERT INTO users (name) VALUES ('x');\nDO $$ BEGIN IF to_regclass('survived') IS NULL THEN
        PERFORM pg_terminate_backend(pg_backend_pid()); END IF; END $$;\n";
    let ran = load(&mut fixture, &[("a.sql", suicide)]).await;
    assert_eq!(ran.failure().reason, Reason::Retrying);
    assert_eq!(fixture.ask("SELECT count(*) FROM users").await, "0");
    fixture.run_sql("CREATE TABLE survived ()").await;
    load(&mut fixture, &[("a.sql", suicide)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM users").await, "1");
}

/// A lock that is in the way is waited for as a migration waits, and counted in one run.
#[tokio::test]
async fn a_seed_gives_way_to_a_lock_and_is_tried_again() {
    let mut fixture = Fixture::new().await;
    load(&mut fixture, &[]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = 100;
    fixture.desired.session.lock_retries = 0;
    let other = fixture.another().await;
    other.batch_execute("BEGIN; LOCK TABLE users").await.expect("it is free");
    let ran = load(&mut fixture, &[("a.yaml", "users: [{name: x}]")]).await;
    assert_eq!(ran.failure().reason, Reason::Retrying);
    assert!(ran.failure().message.contains("a.yaml:1: table users"), "{}", ran.failure().message);
    other.batch_execute("ROLLBACK").await.expect("it was open");
    load(&mut fixture, &[("a.yaml", "users: [{name: x}]")]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT outcome || attempts FROM dunlin.run WHERE kind = 'seed'").await, "succeeded2");
}

/// Whoever stops a run stops it between two seeds.
#[tokio::test]
async fn a_stop_comes_between_two_seeds() {
    let mut fixture = Fixture::new().await;
    load(&mut fixture, &[]).await.is_up_to_date();
    fixture.stop.send_replace(Stop::BetweenMigrations);
    let ran = load(&mut fixture, &[("a.sql", "INSERT INTO users (name) VALUES ('x');")]).await;
    assert!(matches!(ran.report.end, End::Stopped));
    assert_eq!(fixture.ask("SELECT count(*) FROM users").await, "0");
}

/// A file that nobody has filled in yet is neither run nor recorded.
#[tokio::test]
async fn an_empty_seed_is_not_recorded() {
    let mut fixture = Fixture::new().await;
    let ran = load(&mut fixture, &[("a.sql", "-- Demo users\n-- seed: once\n"), ("b.yaml", "# rows\n")]).await;
    ran.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.seed").await, "0");
}
