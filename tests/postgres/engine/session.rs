//! What a login brings along, what a file does to its session and to names: the engine's own work is immune to it.

use dunlin::core::{desired::Action, outcome::Reason};

use super::fixture::Fixture;

const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\n");

/// A fixture whose login has these settings, with CREATE on its database; `{role}` in a setting is another role of its own.
async fn login_with(settings: &[&str]) -> (Fixture, Fixture, String) {
    let owner = Fixture::new().await;
    let database = owner.ask("SELECT current_database()").await;
    let (login, role) = (format!("login_{database}"), format!("role_{database}"));
    owner
        .run_sql(&format!(
            "CREATE ROLE {login} LOGIN NOINHERIT PASSWORD 'pencil'; CREATE ROLE {role}; GRANT {role} TO {login}; \
             GRANT CREATE ON DATABASE {database} TO {login}, {role}; CREATE SCHEMA app AUTHORIZATION {role}; \
             GRANT ALL ON SCHEMA app TO {login}"
        ))
        .await;
    for setting in settings {
        owner.run_sql(&format!("ALTER ROLE {login} SET {}", setting.replace("{role}", &role))).await;
    }
    let (_, rest) = owner.url.split_once('@').expect("the URL names a user");
    let fixture = Fixture::on(format!("postgres://{login}:pencil@{rest}")).await;
    (fixture, owner, role)
}

/// A role carries settings of its own; none of them breaks the engine.
#[tokio::test]
async fn settings_of_the_login_do_not_break_the_engine() {
    for setting in [
        "search_path = app, pg_catalog",
        "statement_timeout = '1s'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '100ms'",
        "idle_session_timeout = '1s'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "default_transaction_deferrable = on",
        "role = {role}",
        "standard_conforming_strings = off",
        "client_encoding = 'LATIN1'",
        "client_min_messages = debug5",
        "DateStyle = 'German'",
        "bytea_output = 'escape'",
        "quote_all_identifiers = on",
        "check_function_bodies = off",
        "row_security = off",
    ] {
        let (mut fixture, owner, _) = login_with(&[setting]).await;
        fixture.desired.session.search_path = vec!["app".to_owned()];
        let files = [
            ONE,
            ("002_slow.sql", "SELECT pg_sleep(1.2);\n-- migrate: down\nSELECT 'a \\ and ''quotes'' \\';\n"),
            (
                "003_alone.sql",
                "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY one_a ON one (a);\nVACUUM one;\nINSERT INTO one VALUES (1);\n",
            ),
            ("004_größe.sql", "COMMENT ON TABLE one IS 'Größe';"),
        ];
        let ran = fixture.apply(&files).await;
        assert!(matches!(ran.report.end, dunlin::execute::End::Finished), "{setting}: {:?}", ran.report.end);
        assert_eq!(ran.assessment.findings, [], "{setting}");
        assert_eq!(ran.assessment.pending, 0, "{setting}");
        assert_eq!(
            owner.ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied' AND name IN ('one', 'slow', 'alone', 'größe')").await,
            "4",
            "{setting}"
        );
    }
}

/// A role that the login takes by itself stays its role in every file, and the history is that role's.
#[tokio::test]
async fn a_role_that_the_login_brings_along_is_kept_from_file_to_file() {
    let (mut fixture, owner, role) = login_with(&["role = {role}"]).await;
    fixture.desired.session.search_path = vec!["app".to_owned()];
    let two = ("002_two.sql", "CREATE TABLE two (a int);");
    let three = ("003_three.sql", "-- migrate: no-transaction\nCREATE TABLE three (a int);\nVACUUM three;\n");
    fixture.apply(&[ONE, two, three]).await.is_up_to_date();
    assert_eq!(
        owner
            .ask("SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname IN ('app', 'dunlin')")
            .await,
        role
    );
}

/// Whatever role and path a file takes, its history rows are ours, and the next file begins as it should.
#[tokio::test]
async fn a_file_may_take_any_role_and_path_in_both_modes() {
    for change in [
        "SET search_path = other;",
        "SET ROLE {role};",
        "SET ROLE {role}; RESET ROLE;",
        "SET LOCAL search_path = other; SET LOCAL ROLE {role};",
        "SET SESSION AUTHORIZATION {role};",
        "SET SESSION AUTHORIZATION {role}; SET search_path TO DEFAULT;",
        "SELECT set_config('role', '{role}', false);",
    ] {
        for mode in ["", "-- migrate: no-transaction\n"] {
            let fixture = Fixture::new().await;
            let role = format!("taken_{}", fixture.ask("SELECT current_database()").await);
            fixture.run_sql(&format!("CREATE ROLE {role}; CREATE SCHEMA other AUTHORIZATION {role}")).await;
            let first = format!("{mode}{}\nSELECT 1;\n", change.replace("{role}", &role));
            let second = format!(
                "{mode}CREATE TABLE seen AS SELECT current_user::text AS who, current_setting('search_path') AS path;\n"
            );
            let ran = fixture.apply(&[("001_change.sql", &first), ("002_after.sql", &second)]).await;
            assert_eq!(ran.assessment.findings, [], "{mode}{change}");
            assert_eq!(ran.assessment.pending, 0, "{mode}{change} {:?}", ran.report.end);
            assert_eq!(
                fixture.ask("SELECT who || path FROM seen").await,
                "postgres\"$user\", public",
                "{mode}{change}"
            );
        }
    }
}

/// Outside a transaction a file's settings live on from statement to statement, through our rows between them.
#[tokio::test]
async fn a_role_taken_in_a_journaled_file_lasts_until_its_end() {
    let fixture = Fixture::new().await;
    let role = format!("lasting_{}", fixture.ask("SELECT current_database()").await);
    fixture
        .run_sql(&format!(
            "CREATE ROLE {role}; CREATE SCHEMA other AUTHORIZATION {role}; GRANT ALL ON SCHEMA public TO {role}"
        ))
        .await;
    let file = format!(
        "-- migrate: no-transaction\nSET ROLE {role};\nSET search_path = other;\nSET statement_timeout = '17s';\nSET lock_timeout = '19s';\n\
         CREATE TABLE t (a int);\nCREATE INDEX CONCURRENTLY t_a ON t (a);\nVACUUM t;\n\
         CREATE TABLE seen AS SELECT current_user::text || current_setting('search_path') || current_setting('statement_timeout') \
         || current_setting('lock_timeout') AS all;\n"
    );
    fixture.apply(&[("001_role.sql", &file)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT seen.all FROM other.seen").await, format!("{role}other17s19s"));
    assert_eq!(
        fixture.ask("SELECT tableowner FROM pg_tables WHERE schemaname = 'other' AND tablename = 't'").await,
        role
    );
}

/// Operators and functions in public that look like `pg_catalog`'s, in front of it on the path.
const SHADOWS: &str = "
    CREATE FUNCTION public.never(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.never(name, name) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.never(name, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.never(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.never(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.never(bigint, bigint) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.never(jsonb, jsonb) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.never);
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.never);
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.never);
    CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.never);
    CREATE OPERATOR public.= (LEFTARG = int, RIGHTARG = int, FUNCTION = public.never);
    CREATE OPERATOR public.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = public.never);
    CREATE OPERATOR public.@> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = public.never);
    CREATE FUNCTION public.to_regclass(text) RETURNS regclass LANGUAGE sql AS 'SELECT NULL::regclass';
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT 'epoch'::timestamptz$$;
    CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE sql AS $$SELECT 'shadowed'$$;
    CREATE TYPE public.text AS (a int);
";

#[tokio::test]
async fn what_shadows_the_catalog_does_not_answer_our_questions() {
    let (mut fixture, owner, _) = login_with(&["search_path = public, pg_catalog"]).await;
    owner.run_sql("CREATE TABLE app.t (a int, b int)").await;
    owner.run_sql(&format!("ALTER TABLE app.t OWNER TO {}", fixture.ask("SELECT current_user").await)).await;
    owner.run_sql(SHADOWS).await;
    fixture.desired.session.search_path = vec!["public".to_owned(), "app".to_owned(), "pg_catalog".to_owned()];
    let index =
        "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY t_a ON t (a);\nCREATE INDEX CONCURRENTLY ON t (b);\n";
    let reindex = "-- migrate: no-transaction\nREINDEX INDEX CONCURRENTLY app.t_a;\nDROP INDEX CONCURRENTLY t_b_idx;\n";
    let files =
        [("001_index.sql", index), ("002_reindex.sql", reindex), ("003_table.sql", "CREATE TABLE app.two (a int);")];
    for (upto, statements, indexes) in [(1, 2, "2"), (2, 2, "1")] {
        fixture.apply(&files[..upto]).await.is_up_to_date();
        // Each statement cut off in its turn, the last first: nothing is built or dropped twice.
        for ordinal in (1..=statements).rev() {
            owner
                .run_sql(&format!(
                    "UPDATE dunlin.statement SET state = 'intent' WHERE ordinal = {ordinal} AND run = {upto}; \
                     DELETE FROM dunlin.statement WHERE ordinal > {ordinal} AND run = {upto}; \
                     UPDATE dunlin.run SET outcome = 'running' WHERE id = {upto}; \
                     UPDATE dunlin.migration SET state = 'interrupted' WHERE run = {upto}"
                ))
                .await;
            if ordinal == 1 {
                owner
                    .run_sql(if upto == 1 { "DROP INDEX app.t_b_idx" } else { "CREATE INDEX t_b_idx ON app.t (b)" })
                    .await;
            }
            fixture.apply(&files[..upto]).await.is_up_to_date();
            let found = owner.ask("SELECT count(*) FROM pg_index WHERE indrelid = 'app.t'::regclass").await;
            assert_eq!(found, indexes, "{upto} {ordinal}");
        }
    }
    fixture.apply(&files).await.is_up_to_date();
    assert_eq!(
        owner.ask("SELECT count(*) FROM dunlin.migration WHERE applied_at > now() - interval '1 hour'").await,
        "3"
    );
}

/// The rows that follow a file in pieces are read as we mean them, whatever the file has made of strings and encoding.
#[tokio::test]
async fn string_syntax_of_a_file_does_not_reach_its_history_row() {
    let fixture = Fixture::new().await;
    let down = "SELECT 'back\\slash', 'it''s', E'\\'', 'größe';";
    let file = format!(
        "-- migrate: up\nSET standard_conforming_strings = off;\nCREATE TABLE t AS SELECT 'a\\'b;c'::text AS kept;\n-- migrate: down\n{down}\n"
    );
    let encoded = format!(
        "-- migrate: up\nSET client_encoding = 'UTF8';\nCOPY t FROM stdin;\nx\n\\.\n-- migrate: down\n{down}\n"
    );
    fixture.apply(&[("001_strings.sql", &file), ("002_copy.sql", &encoded)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT string_agg(kept, ',' ORDER BY kept) FROM t").await, "a'b;c,x");
    assert_eq!(
        fixture.ask("SELECT string_agg(DISTINCT trim(E'\\n' FROM down_sql), '|') FROM dunlin.migration").await,
        down
    );
}

/// COPY to the client has nobody to read it; it neither stops the file nor makes it run again and again.
#[tokio::test]
async fn what_a_file_copies_to_us_is_dropped() {
    let fixture = Fixture::new().await;
    let ran = fixture
        .apply(&[("001_copy.sql", "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n;\nCOPY t TO stdout;\n")])
        .await;
    ran.is_up_to_date();
    let alone = "-- migrate: no-transaction\nCOPY (SELECT 1) TO stdout;\nVACUUM t;\n";
    fixture
        .apply(&[
            ("001_copy.sql", "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n;\nCOPY t TO stdout;\n"),
            ("002_copy.sql", alone),
        ])
        .await
        .is_up_to_date();
}

/// A file that gives our lock away can't let two runs interleave: the claim still proves who commits.
#[tokio::test]
async fn a_file_that_drops_our_lock_still_commits_under_its_claim() {
    let fixture = Fixture::new().await;
    let files = [("001_unlock.sql", "SELECT pg_advisory_unlock_all();"), ("002_two.sql", "CREATE TABLE two (a int);")];
    fixture.apply(&files).await.is_up_to_date();
}

#[tokio::test]
async fn a_setting_that_is_sent_again_on_resume_may_be_a_role() {
    let mut fixture = Fixture::new().await;
    let role = format!("again_{}", fixture.ask("SELECT current_database()").await);
    fixture.run_sql(&format!("CREATE ROLE {role}; CREATE SCHEMA other AUTHORIZATION {role}; CREATE TABLE flag (a int); GRANT SELECT ON flag TO {role}")).await;
    let file = format!(
        "-- migrate: no-transaction\nSET ROLE {role};\nSELECT set_config('search_path', 'other, public', false);\n\
         CREATE TABLE made AS SELECT 1/(SELECT count(*) FROM flag) AS a;\n"
    );
    let ran = fixture.apply(&[("001_role.sql", &file)]).await;
    assert_eq!(ran.finding().reason, Reason::NonTransactionalFailed);
    let run = ran.finding().failure.as_ref().expect("a run").run;
    fixture.run_sql("INSERT INTO flag VALUES (1)").await;
    fixture.resolve(run, Action::Resume);
    fixture.apply(&[("001_role.sql", &file)]).await.is_up_to_date();
    assert_eq!(fixture.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'made'").await, role);
}
