//! `dunlin test`: every migration up, down and up again, in a database of its own.

use crate::project::line;

/// What other tests make is dropped in a moment, too.
const TRIALS: &str = "SELECT count(*) FROM pg_database WHERE datname LIKE 'dunlin\\_test\\_%'";

/// H25: what goes up comes down to where it began, and up again to where it was; nothing else is touched.
#[tokio::test]
async fn each_migration_goes_up_down_and_up_again() {
    let project = line(&["001", "002"]).await;
    project.migration("003_seen.sql", "CREATE VIEW seen AS SELECT a FROM t_001;\n");
    project.migration(
        "004_index.sql",
        "-- migrate: no-transaction\n-- migrate: up\nCREATE INDEX CONCURRENTLY i ON t_001 (a);\n-- migrate: down\n\
         DROP INDEX CONCURRENTLY i;\n",
    );
    let ran = project.dunlin(&["test"]).await;
    ran.code(0).says(&["tested: 3 up, down and up again; without a way down: 003_seen.sql"]);
    assert_eq!(project.tables().await, "");
    assert_eq!(project.ask("SELECT to_regnamespace('dunlin') IS NULL").await, "t");
}

/// H25: a way down that leaves or loses something is shown with what it is.
#[tokio::test]
async fn a_way_down_that_leads_elsewhere_is_shown() {
    let project = line(&["001"]).await;
    let up = "ALTER TABLE t_001 ADD b text DEFAULT 'x';\nCREATE TYPE mood AS ENUM ('good', 'bad');\n";
    for (down, words) in [
        ("ALTER TABLE t_001 DROP b;", "+ type public.mood owner"),
        ("DROP TYPE mood; ALTER TABLE t_001 DROP b, DROP a;", "- column public.t_001.a integer"),
        (
            "DROP TYPE mood; ALTER TABLE t_001 DROP b; COMMENT ON TABLE t_001 IS 'was';",
            "+ comment on table public.t_001 'was'",
        ),
    ] {
        project.migration("002_b.sql", &format!("-- migrate: up\n{up}-- migrate: down\n{down}\n"));
        let ran = project.dunlin(&["test"]).await;
        ran.code(1).says(&["002_b.sql: its way down doesn't lead back:", words]);
    }
    project.migration("002_b.sql", &format!("-- migrate: up\n{up}-- migrate: down\nDROP TYPE mood; SELECT 1/0;\n"));
    project.dunlin(&["test"]).await.code(5).says(&["division by zero"]);
    project.until(TRIALS, "0").await;
}

/// H25: nobody can make a database who may not, and it is said what is lacking.
#[tokio::test]
async fn whoever_may_not_make_a_database_is_told_what_lacks() {
    let project = line(&["001"]).await;
    let name = format!("poor_{}", std::process::id());
    project.ask(&format!("CREATE ROLE {name} LOGIN PASSWORD 'poor'")).await;
    let (_, rest) = project.url.split_once('@').expect("a URL");
    let url = format!("postgres://{name}:poor@{rest}");
    let ran = project.dunlin_with(&["test"], &[("DUNLIN_DATABASE_URL", &url)]).await;
    project.ask(&format!("DROP ROLE {name}")).await;
    ran.code(6).says(&["permission denied to create database", &format!("ALTER ROLE \"{name}\" CREATEDB")]);
}
