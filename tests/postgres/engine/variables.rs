//! Variables in every way in which a file is sent: what the server gets, and what is kept and said of it.

use dunlin::{
    core::{
        desired::{Action, ApprovalRequired, Rollback, Target},
        outcome::Reason,
        plan,
        variables::{Origin, Variable, Variables},
    },
    execute::{self, End, RehearsalEnd},
};

use super::fixture::{self, Fixture};

/// A value that leaves its quotes wherever it can.
const NASTY: &str = "it's \"a\\' $$ -- /* :'name' ; \\\\ é\u{1f986}\n\\.\n";

fn plain(values: &[(&str, &str)]) -> Variables {
    let variable = |value: &str| Variable::new(value.to_owned(), Origin::Plain).expect("no NUL");
    values.iter().map(|(name, value)| ((*name).to_owned(), variable(value))).collect()
}

fn secret(name: &str, value: &str, version: &str) -> Variables {
    let origin = Origin::Secret { version: version.to_owned() };
    let variable = Variable::new(value.to_owned(), origin).expect("no NUL");
    [(name.to_owned(), variable)].into_iter().collect()
}

async fn with(variables: Variables) -> Fixture {
    let mut fixture = Fixture::new().await;
    fixture.desired.variables = variables;
    fixture
}

/// Everything that the history holds, as one text.
async fn history(fixture: &Fixture) -> String {
    let tables = ["set", "migration", "run", "statement", "plan"];
    let all = tables.map(|table| format!("SELECT pg_catalog.to_jsonb(t)::text AS row FROM dunlin.\"{table}\" AS t"));
    fixture.ask(&format!("SELECT pg_catalog.string_agg(row, ' ') FROM ({}) AS all_rows", all.join(" UNION ALL "))).await
}

/// M09, M37: a value arrives as it is, as a literal and as a name, in whatever way a file is sent; the rest of the text is
/// verbatim, and no value is in the history.
#[tokio::test]
async fn a_value_arrives_as_it_is_in_every_way_that_a_file_is_sent() {
    let long = "SELECT 1;\n".repeat(5_001);
    let body = "CREATE TABLE :\"name\" (a text DEFAULT :'value', b text DEFAULT ':''value''');\n\
                INSERT INTO :\"name\" (b) VALUES ($$:'value'$$::text);\n";
    for (what, text) in [
        ("one message", body.to_owned()),
        ("its own transaction", format!("BEGIN;\n{body}COMMIT;\n")),
        ("statement by statement", format!("{long}{body}")),
        ("beside COPY data", format!("{body}COPY :\"name\" (b) FROM stdin;\n:'value'\n\\.\n")),
        ("without standard_conforming_strings", format!("SET standard_conforming_strings = off;\n{body}")),
        ("in another encoding", format!("SET client_encoding = 'SQL_ASCII';\n{body}")),
        ("no transaction", format!("-- migrate: no-transaction\n{body}VACUUM :\"name\";\n")),
        (
            "a block of no transaction",
            format!("-- migrate: no-transaction\nBEGIN;\n{body}COMMIT;\nVACUUM :\"name\";\n"),
        ),
    ] {
        let fixture = with(plain(&[("value", NASTY), ("name", "we\"ird :'value'")])).await;
        fixture.apply(&[("001_it.sql", &text)]).await.is_up_to_date();
        let found = fixture.ask("SELECT a || b FROM \"we\"\"ird :'value'\" LIMIT 1").await;
        assert_eq!(found, format!("{NASTY}:'value'"), "{what}");
        let history = history(&fixture).await;
        assert!(!history.contains("we\\\"ird") && !history.contains("$$ -- /*"), "{what}: {history}");
    }
}

/// M09: a body of SQL is text as well, and what only looks like a variable stays.
#[tokio::test]
async fn a_body_of_sql_has_values_and_other_colons_stay() {
    let fixture = with(plain(&[("value", "x"), ("n", "2")])).await;
    let text = "CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT :'value'::text; END;\n\
                CREATE TABLE t AS SELECT f() AS f, (ARRAY[1, 2, 3])[1:2] AS slice, 'a'::\"char\" AS letter, \
                (ARRAY[1, 2, 3])[1:\"m\"] AS bound, :'n'::int AS n FROM (VALUES (3)) AS v (\"m\");\n";
    fixture.apply(&[("001_it.sql", text)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT concat_ws(' ', f, slice, letter, bound, n) FROM t").await, "x {1,2} a {1,2,3} 2");
}

/// M09, M12: an error stands where it stands in the file, whatever was put in before it.
#[tokio::test]
async fn an_error_stands_where_it_is_in_the_file() {
    let long = "x\n".repeat(50);
    for (text, line, column, says) in [
        ("SELECT :'long', :'long', nope;\n", 1, 26, "column \"nope\" does not exist"),
        ("SELECT 1;\nSELECT :'long', 1\n  + nope;\n", 3, 5, "column \"nope\" does not exist"),
        ("SELECT :'long'::int;\n", 1, 8, "invalid input syntax for type integer"),
        ("SELECT * FROM :\"table\";\n", 1, 15, "relation \"No such table\" does not exist"),
        ("SELECT :'long' SELEC;\nSELECT 2 2;\n", 2, 10, "syntax error at or near \"2\""),
        ("-- migrate: no-transaction\nVACUUM;\nSELECT :'long', nope;\n", 3, 17, "column \"nope\" does not exist"),
        ("SELECT (ARRAY[1])[1:\"m\"];\n", 1, 21, "column \"m\" does not exist"),
    ] {
        // Many statements don't go as one message.
        for before in if text.contains("migrate") { vec![0] } else { vec![0, 5_001] } {
            let fixture = with(plain(&[("long", &long), ("table", "No such table")])).await;
            let text = format!("{}{text}", "SELECT 1;\n".repeat(before));
            let ran = fixture.apply(&[("001_it.sql", &text)]).await;
            let expected = format!("001_it.sql:{}:{column}: {says}", line + before);
            assert!(ran.finding().message.contains(&expected), "{expected}: {}", ran.finding().message);
        }
    }
}

/// M09: no error of the server's carries a secret into the history or a status.
#[tokio::test]
async fn a_secret_is_in_nothing_that_is_said_or_kept() {
    for text in [
        "SELECT :'password'::int;\n",
        "SELECT * FROM :\"password\";\n",
        "CREATE TABLE t (a text PRIMARY KEY); INSERT INTO t VALUES (:'password'), (:'password');\n",
        "DO $$ BEGIN RAISE EXCEPTION 'it is %', current_setting('a.b') USING HINT = current_setting('a.b'), DETAIL = current_setting('a.b'); END $$;\n",
        "-- migrate: no-transaction\nVACUUM;\nSELECT :'password'::int;\n",
        "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY :\"password\" ON nowhere (a);\n",
    ] {
        let fixture = with(secret("password", "Hunter2 it's", "1")).await;
        let text = if text.starts_with("DO") {
            format!("SELECT set_config('a.b', :'password', false);\n{text}")
        } else {
            text.to_owned()
        };
        let ran = fixture.apply(&[("001_it.sql", &text)]).await;
        let said = format!("{:?} {:?}", ran.report, ran.assessment);
        let kept = history(&fixture).await;
        assert!(!ran.finding().message.is_empty());
        for said in [said, kept] {
            assert!(!said.to_lowercase().contains("hunter2"), "{said}");
        }
    }
    let fixture = with(secret("password", "Hunter2", "1")).await;
    let ran = fixture.apply(&[("001_it.sql", "SELECT :'password'::int;\n")]).await;
    let message = &ran.finding().message;
    assert!(message.contains("invalid input syntax for type integer: \":'password'\""), "{message}");
}

/// The same of what the server shows of other sessions.
#[tokio::test]
async fn no_query_of_a_run_is_shown_to_whoever_waits_for_it() {
    let mut fixture = with(secret("password", "hunter2", "1")).await;
    fixture.apply(&[("001_t.sql", "CREATE TABLE t (a text);\n")]).await.is_up_to_date();
    fixture.desired.session.lock_timeout_ms = 0;
    let holder = fixture.another().await;
    let hold = "SET application_name = 'dunlin/other/set'; BEGIN; LOCK TABLE t; SELECT 'a secret of another set'";
    holder.batch_execute(hold).await.expect("it holds the table");
    let files = [("001_t.sql", "CREATE TABLE t (a text);\n"), ("002_i.sql", "INSERT INTO t VALUES (:'password');\n")];
    let mut shown = fixture.running.subscribe();
    let run = fixture.execute(&files);
    let look = async {
        let blocked = shown.wait_for(|running| running.as_ref().is_some_and(|running| !running.blocked_by.is_empty()));
        let blockers = blocked.await.expect("it runs").clone().expect("it runs").blocked_by;
        holder.batch_execute("ROLLBACK").await.expect("it lets go");
        blockers
    };
    let (report, blockers) = tokio::join!(run, look);
    assert!(matches!(report.end, End::Finished), "{:?}", report.end);
    assert_eq!((blockers[0].application.as_deref(), blockers[0].query.as_deref()), (Some("dunlin/other/set"), None));
}

/// M09: what isn't declared, and what is no name, holds the plan up before its first statement.
#[tokio::test]
async fn a_variable_that_can_not_be_used_stops_the_plan_before_it_begins() {
    let before = ("001_before.sql", "CREATE TABLE before ();\n");
    for (text, reason, says) in [
        (
            "CREATE TABLE :\"tenat\" ();\n",
            Reason::InvalidSource,
            "002_it.sql:1:14: :\"tenat\" is a variable, and spec.variables declares no tenat (did you mean tenant?)",
        ),
        ("SELECT 1,\n  :'gone';\n", Reason::InvalidSource, "002_it.sql:2:3: :'gone'"),
        ("CREATE TABLE :\"empty\" ();\n", Reason::InvalidSpec, "002_it.sql:1:14: :\"empty\" can't become a name"),
        ("-- migrate: no-transaction\nCREATE TABLE :\"gone\" ();\n", Reason::InvalidSource, "002_it.sql:2:14"),
    ] {
        let fixture = with(plain(&[("tenant", "acme"), ("empty", "")])).await;
        let ran = fixture.apply(&[before, ("002_it.sql", text)]).await;
        assert_eq!((ran.finding().reason, ran.report.applied.len()), (reason, 0), "{}", ran.finding().message);
        assert!(ran.finding().message.contains(says), "{}", ran.finding().message);
        assert_eq!(fixture.ask("SELECT to_regclass('before') IS NULL").await, "t");
    }
}

/// M09, M18: the checksum is of the text: another value is no drift, and runs nothing again.
#[tokio::test]
async fn another_value_is_no_drift() {
    let mut fixture = with(plain(&[("tenant", "one")])).await;
    let files = [("001_it.sql", "CREATE TABLE :\"tenant\" ();\n")];
    fixture.apply(&files).await.is_up_to_date();
    fixture.desired.variables = plain(&[("tenant", "two")]);
    let ran = fixture.apply(&files).await;
    ran.is_up_to_date();
    assert_eq!((ran.report.applied.len(), ran.assessment.checksum_drift.len()), (0, 0));
    fixture.desired.variables = Variables::default();
    fixture.apply(&files).await.is_up_to_date();
}

/// M09: a migration that failed runs again when a variable changes that it uses, and not when another does.
#[tokio::test]
async fn a_failed_migration_runs_again_when_a_variable_of_its_own_changes() {
    let files = [("001_it.sql", "SELECT :'number'::int; CREATE TABLE done ();\n")];
    let runs = "SELECT count(*) FROM dunlin.run";
    let mut fixture = with(plain(&[("number", "no number"), ("other", "1")])).await;
    assert_eq!(fixture.apply(&files).await.finding().reason, Reason::MigrationFailed);
    fixture.desired.variables = plain(&[("number", "no number"), ("other", "2")]);
    assert_eq!(fixture.apply(&files).await.finding().reason, Reason::MigrationFailed);
    assert_eq!(fixture.ask(runs).await, "1");
    fixture.desired.variables = plain(&[("number", "1"), ("other", "2")]);
    fixture.apply(&files).await.is_up_to_date();

    let mut fixture = with(secret("number", "hunter2", "version 1")).await;
    assert_eq!(fixture.apply(&files).await.finding().reason, Reason::MigrationFailed);
    assert_eq!(fixture.apply(&files).await.finding().reason, Reason::MigrationFailed);
    assert_eq!(fixture.ask(runs).await, "1");
    fixture.desired.variables = secret("number", "1", "version 2");
    fixture.apply(&files).await.is_up_to_date();
}

/// M09, M14: the way down is kept as it is written, and runs with the values of its time, without its file; one that lacks a
/// variable stops before the first statement.
#[tokio::test]
async fn a_way_down_runs_with_the_values_of_its_time() {
    let first = "CREATE TABLE :\"tenant\" ();\n-- migrate: down\nDROP TABLE :\"tenant\";\n";
    let second = "CREATE TABLE second ();\n-- migrate: down\nDROP TABLE second;\n";
    let mut fixture = with(plain(&[("tenant", "one")])).await;
    fixture.apply(&[("001_first.sql", first), ("002_second.sql", second)]).await.is_up_to_date();
    let stored = fixture.ask("SELECT down_sql FROM dunlin.migration WHERE version = '001'").await;
    assert_eq!(stored, "DROP TABLE :\"tenant\";\n");
    fixture.run_sql("ALTER TABLE one RENAME TO two").await;

    fixture.desired.target = Target::None;
    fixture.desired.policy.rollback = Rollback::Allow;
    fixture.desired.policy.on_missing = dunlin::core::desired::OnMissing::Rollback;
    fixture.desired.variables = Variables::default();
    let report = fixture.execute(&[("002_second.sql", second)]).await;
    let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::InvalidSpec);
    assert!(failure.message.contains(":\"tenant\"") && failure.message.contains("001_first"), "{failure}");
    assert_eq!((report.applied.len(), fixture.ask("SELECT to_regclass('second') IS NULL").await.as_str()), (0, "f"));

    fixture.desired.variables = plain(&[("tenant", "two")]);
    let report = fixture.execute(&[("002_second.sql", second)]).await;
    assert!(matches!(report.end, End::Finished), "{:?}", report.end);
    assert_eq!(fixture.ask("SELECT count(*) FROM pg_class WHERE relname IN ('one', 'two', 'second')").await, "0");
}

/// A way down that was refused runs again when a variable of its own changes, also without its file.
#[tokio::test]
async fn a_refused_way_down_runs_again_when_a_variable_of_its_own_changes() {
    let text = "CREATE TABLE t ();\n-- migrate: down\nSELECT :'number'::int; DROP TABLE t;\n";
    let second = ("002_second.sql", "SELECT 2;\n-- migrate: down\nSELECT 3;\n");
    let mut fixture = with(plain(&[("number", "none")])).await;
    fixture.apply(&[("001_t.sql", text), second]).await.is_up_to_date();
    fixture.desired.policy.rollback = Rollback::Allow;
    fixture.desired.policy.on_missing = dunlin::core::desired::OnMissing::Rollback;
    for _ in 0..2 {
        assert_eq!(fixture.apply(&[second]).await.finding().reason, Reason::MigrationFailed);
    }
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE direction = 'down'").await, "1");
    fixture.desired.variables = plain(&[("number", "1")]);
    fixture.apply(&[second]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT to_regclass('t') IS NULL").await, "t");
}

/// M20: what proves a statement that was cut off is the name that was sent; with another value nothing is proven.
#[tokio::test]
async fn an_index_whose_name_is_a_variable_is_proven() {
    let file =
        [("001_it.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY :\"index\" ON :\"table\" (a);\n")];
    let cut_off = async |fixture: &Fixture| {
        fixture
            .run_sql(
                "UPDATE dunlin.statement SET state = 'intent', finished_at = NULL; \
                 UPDATE dunlin.run SET outcome = 'running', finished_at = NULL; \
                 UPDATE dunlin.migration SET state = 'interrupted'",
            )
            .await;
    };
    let values = plain(&[("index", "An index"), ("table", "A table")]);
    let mut fixture = with(values.clone()).await;
    fixture.run_sql("CREATE TABLE \"A table\" (a int)").await;
    fixture.apply(&file).await.is_up_to_date();
    cut_off(&fixture).await;
    fixture.apply(&file).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT count(*) FROM pg_index WHERE indrelid = '\"A table\"'::regclass").await, "1");
    cut_off(&fixture).await;
    fixture.run_sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"An index\"'::regclass").await;
    fixture.apply(&file).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = '\"An index\"'::regclass").await, "t");
    cut_off(&fixture).await;
    fixture.desired.variables = plain(&[("index", "Another"), ("table", "A table")]);
    let ran = fixture.apply(&file).await;
    assert_eq!(ran.finding().reason, Reason::Interrupted);
    assert!(ran.finding().message.contains("the values of its variables"), "{}", ran.finding().message);
    let run = ran.finding().failure.as_ref().expect("a run").run;
    fixture.desired.variables = values;
    fixture.resolve(run, Action::MarkApplied);
    fixture.apply(&file).await.is_up_to_date();
}

/// M09, M31: a plan is approved with the names of its variables, and destroys what a value makes it destroy.
#[tokio::test]
async fn what_a_value_destroys_is_asked_for() {
    let mut fixture = with(plain(&[("body", "BEGIN DROP TABLE users; END")])).await;
    fixture.run_sql("CREATE TABLE users ()").await;
    fixture.desired.approval.required = ApprovalRequired::Destructive;
    let ran = fixture.apply(&[("001_it.sql", "SELECT 1;\nDO :'body';\n")]).await;
    let message = &ran.finding().message;
    assert_eq!(ran.finding().reason, Reason::ApprovalRequired);
    assert!(message.contains("001_it.sql:2: what a variable puts into this statement"), "{message}");
    assert!(!message.contains("users"), "{message}");
    assert_eq!(ran.assessment.plan.steps[0].variables, ["body"]);
    fixture.desired.variables = plain(&[("body", "BEGIN PERFORM 1; END")]);
    fixture.apply(&[("001_it.sql", "SELECT 1;\nDO :'body';\n")]).await.is_up_to_date();
}

/// A rehearsal sends what a run would.
#[tokio::test]
async fn a_rehearsal_has_the_values() {
    let fixture = with(secret("number", "hunter2", "1")).await;
    let (dir, _) = fixture::read(&[("001_it.sql", "SELECT :'number'::int;\n")]);
    let parameters = fixture.parameters();
    let (session, history) = execute::observe(&parameters, &fixture.desired).await.expect("it is reached");
    let assessment = plan::plan(&dir, &history, &fixture.desired);
    let subject = (&dir, &history, &assessment.plan);
    let stop = std::future::pending();
    let rehearsal = execute::rehearse(session, &parameters, &fixture.desired, subject, stop).await.expect("it is done");
    let RehearsalEnd::Refused { error, .. } = rehearsal.end else { panic!("{:?}", rehearsal.end) };
    assert!(
        error.message.contains("001_it.sql:1:8: invalid input syntax for type integer: \":'number'\""),
        "{}",
        error.message
    );
}
