//! Whoever a file says that it is, and however it says so: its history rows are ours, and the next file begins as it should.

use dunlin::core::{desired::TransactionScope, outcome::Reason};

use super::fixture::Fixture;

/// Every way to become somebody else, and what only looks like it. `{taken}` is another role.
const FORMS: &[&str] = &[
    "SET SESSION AUTHORIZATION {taken};",
    "SET LOCAL SESSION AUTHORIZATION {taken};",
    "SET SESSION SESSION AUTHORIZATION {taken};",
    "SET SESSION AUTHORIZATION {taken}; SET SESSION AUTHORIZATION DEFAULT;",
    "SET LOCAL SESSION AUTHORIZATION {taken}; RESET SESSION AUTHORIZATION;",
    "SET SESSION AUTHORIZATION {taken}; SET LOCAL SESSION AUTHORIZATION DEFAULT;",
    "SET LOCAL SESSION AUTHORIZATION {taken}; SET SESSION AUTHORIZATION {taken};",
    "SET ROLE {taken};",
    "SET SESSION ROLE {taken};",
    "SET LOCAL ROLE {taken};",
    "SET ROLE {taken}; RESET ROLE;",
    "SET ROLE NONE;",
    "SET LOCAL ROLE NONE;",
    "SET ROLE {taken}; SET LOCAL ROLE NONE;",
    "SET LOCAL ROLE {taken}; SET SESSION AUTHORIZATION {taken};",
    "SET SESSION AUTHORIZATION {taken}; SET LOCAL ROLE {taken};",
    "SELECT set_config('role', '{taken}', false);",
    "SELECT set_config('role', '{taken}', true);",
    "SELECT set_config('role', 'none', false);",
    "SELECT set_config('session_authorization', '{taken}', false);",
    "SELECT set_config('session_authorization', '{taken}', true);",
    "DO $$ BEGIN EXECUTE 'SET LOCAL ROLE {taken}'; EXECUTE 'SET SESSION AUTHORIZATION {taken}'; END $$;",
    "DO $$ BEGIN SET ROLE {taken}; RAISE 'gone'; EXCEPTION WHEN OTHERS THEN NULL; END $$;",
    "BEGIN; SAVEPOINT s; SET ROLE {taken}; ROLLBACK TO s; SET LOCAL SESSION AUTHORIZATION {taken}; COMMIT;",
    "BEGIN; SAVEPOINT s; SET SESSION AUTHORIZATION {taken}; RELEASE s; COMMIT;",
    "SELECT definer();",
    "SELECT clothed();",
    "SET ROLE {taken}; SELECT definer(), clothed();",
    "RESET ALL;",
    "SET search_path = nowhere; SET SESSION AUTHORIZATION {taken};",
];

/// Functions that are somebody else while they run, and nobody else afterwards.
const NOISE: &str = "
    CREATE FUNCTION definer() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS 'BEGIN RETURN current_user; END';
    CREATE FUNCTION clothed() RETURNS text LANGUAGE plpgsql SET role = '{taken}' AS 'BEGIN RETURN current_user; END';
    ALTER FUNCTION definer() OWNER TO {taken};
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;
";

/// How a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Whole,
    Piecewise,
    Journaled,
    /// All files in one transaction.
    Single,
}

async fn fixture(role: bool) -> (Fixture, String) {
    let mut fixture = Fixture::new().await;
    let database = fixture.ask("SELECT current_database()").await;
    let (owner, taken) = (format!("owner_{database}"), format!("taken_{database}"));
    fixture
        .run_sql(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {taken}; GRANT {owner} TO {taken}; GRANT CREATE ON DATABASE {database} TO {owner}; \
             CREATE TABLE seen (n serial, who text, login text, path text); GRANT ALL ON seen, seen_n_seq TO {owner}; \
             CREATE TABLE loaded (a int); GRANT ALL ON loaded TO PUBLIC; {}",
            NOISE.replace("{taken}", &taken)
        ))
        .await;
    if role {
        fixture.desired.session.role = Some(owner);
    }
    (fixture, taken)
}

/// A file that becomes somebody else, and one that says who it is: as often as there are forms.
fn files(sent: Sent, taken: &str) -> Vec<(String, String)> {
    let (head, data) = match sent {
        Sent::Whole | Sent::Single => ("", ""),
        Sent::Piecewise => ("", "COPY loaded FROM stdin;\n1\n\\.\n"),
        Sent::Journaled => ("-- migrate: no-transaction\n", ""),
    };
    let mut files = Vec::new();
    for (index, form) in FORMS.iter().enumerate() {
        // BEGIN may be the first word of a file, not the second; and one of several files is no transaction of its own.
        let form = if matches!(sent, Sent::Piecewise | Sent::Single) {
            form.replace("BEGIN; ", "").replace(" COMMIT;", "")
        } else {
            (*form).to_owned()
        };
        let form = form.replace("{taken}", taken);
        files.push((format!("{:03}_become.sql", 2 * index + 1), format!("{head}{data}{form}\n")));
        let seen = "INSERT INTO seen (who, login, path) VALUES (current_user, session_user, current_setting('search_path'));\n";
        files.push((format!("{:03}_seen.sql", 2 * index + 2), format!("{head}{data}{seen}")));
    }
    files
}

#[tokio::test]
async fn no_role_outlives_the_file_that_took_it() {
    for role in [false, true] {
        for sent in [Sent::Whole, Sent::Piecewise, Sent::Journaled, Sent::Single] {
            let (mut fixture, taken) = fixture(role).await;
            if sent == Sent::Single {
                fixture.desired.policy.transaction = TransactionScope::Single;
            }
            let owner = fixture.desired.session.role.clone().unwrap_or_else(|| "postgres".to_owned());
            let files = files(sent, &taken);
            let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            let ran = fixture.apply(&files).await;
            assert_eq!(ran.assessment.findings, [], "{sent:?}, role {role}");
            assert_eq!(ran.assessment.pending, 0, "{sent:?}, role {role}: {:?}", ran.report.end);
            let other = "SELECT coalesce(string_agg(n || ' ' || who || ' ' || login || ' ' || path, ', '), 'none') FROM seen \
                         WHERE (who, login, path) <>";
            let other = fixture.ask(&format!("{other} ('{owner}', 'postgres', '\"$user\", public')")).await;
            assert_eq!(other, "none", "{sent:?}, role {role}");
            assert_eq!(fixture.ask("SELECT count(*) FROM seen").await, FORMS.len().to_string());
            // The history was made and written by whom it belongs to, in the login's own name.
            let tables = "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'dunlin'";
            assert_eq!(fixture.ask(tables).await, owner);
            let by = fixture.ask("SELECT string_agg(DISTINCT performed_by, ',') FROM dunlin.run").await;
            assert_eq!(by, "MigrationSet shop/shop as postgres", "{sent:?}, role {role}");
        }
    }
}

/// A file that fails as somebody else leaves no trace of that in its failure's rows.
#[tokio::test]
async fn no_role_outlives_a_file_that_failed() {
    for role in [false, true] {
        for (sent, reason) in [
            (Sent::Whole, Reason::MigrationFailed),
            (Sent::Piecewise, Reason::MigrationFailed),
            (Sent::Journaled, Reason::NonTransactionalFailed),
        ] {
            let (fixture, taken) = fixture(role).await;
            // One of each kind: for the session, for the transaction, by a function.
            for form in [FORMS[0], FORMS[1], FORMS[7], FORMS[9], FORMS[19]] {
                let data = if sent == Sent::Piecewise { "COPY loaded FROM stdin;\n1\n\\.\n" } else { "" };
                let mode = if sent == Sent::Journaled { "-- migrate: no-transaction\n" } else { "" };
                let broken = format!("{mode}{data}{}\nSELECT 1/0;\n", form.replace("{taken}", &taken));
                let ran = fixture.apply(&[("001_broken.sql", broken.as_str())]).await;
                assert_eq!(ran.finding().reason, reason, "{sent:?}, role {role}, {form}: {:?}", ran.report.end);
                assert!(ran.finding().message.contains("division by zero"), "{form}: {}", ran.finding().message);
                let by = fixture.ask("SELECT string_agg(DISTINCT performed_by, ',') FROM dunlin.run").await;
                assert_eq!(by, "MigrationSet shop/shop as postgres", "{sent:?}, role {role}, {form}");
                fixture.run_sql("TRUNCATE dunlin.statement, dunlin.migration, dunlin.seed, dunlin.run").await;
            }
        }
    }
}
