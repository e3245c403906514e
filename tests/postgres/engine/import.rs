//! First contact with a database that another tool has migrated: its history is taken over, and nothing of it runs.

use std::time::Duration;

use dunlin::{
    core::{
        adopt::{Adopt, Edited, Tool, When},
        migration::Checksum,
        outcome::Reason,
    },
    database::lock,
    execute::{End, Shell},
};

use super::{
    fixture::Fixture,
    ways::{self, Files, file, line, reference},
};
use crate::support::{eventually, tools};

/// A database with the tables that the tool has made: its own, and those of the first two files.
async fn migrated(from: Tool, table: &str) -> Fixture {
    let mut fixture = ways::fixture().await;
    fixture.run_sql(table).await;
    fixture.run_sql("CREATE TABLE t_001 (a int); CREATE TABLE t_002 (a int)").await;
    fixture.desired.history.adopt = Some(Adopt { from, table: None, edited: Edited::Refuse, when: When::FirstContact });
    fixture
}

/// Migretti has applied these, as it records it.
async fn migretti(files: &Files, has: &[&str]) -> Fixture {
    let fixture = migrated(Tool::Migretti, tools::MIGRETTI).await;
    for version in has {
        fixture.run_sql(&row(files, version)).await;
    }
    fixture
}

fn row(files: &Files, version: &str) -> String {
    let (_, text) = files.iter().find(|(name, _)| name.starts_with(version)).expect("it has a file");
    let checksum = Checksum::of(text);
    format!(
        "INSERT INTO _migrations (id, name, applied_at, checksum) VALUES ('{version}', 't', '2026-02-15 12:00:00.5+02', '{0}'); \
         INSERT INTO _migrations_log (migration_id, name, action, performed_by, checksum) VALUES ('{version}', 't', 'UP', 'alice', '{0}')",
        checksum.as_str()
    )
}

const RECORDED: &str = "SELECT string_agg(concat_ws(' ', m.version, m.state, r.kind, \
     to_char(m.applied_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI:SS.MS'), m.duration_ms, m.applied_by, m.batch), ', ' ORDER BY m.version) \
     FROM dunlin.migration AS m JOIN dunlin.run AS r ON r.id = m.run";

/// Q83, M36: what Migretti has applied is recorded with its time and by whom, the rest is applied, and all of it has its way down.
#[tokio::test]
async fn what_a_tool_has_applied_is_recorded_and_the_rest_applied() {
    let files = line(&["001", "002", "003"]);
    let mut fixture = migretti(&files, &["002", "001"]).await;
    let theirs = "SELECT string_agg(m::text, ',' ORDER BY id) FROM _migrations AS m";
    let before = fixture.ask(theirs).await;
    let ran = fixture.go("latest", &files).await;
    ran.is_up_to_date();
    assert_eq!((fixture.went().await.as_str(), ran.steps().as_str(), ran.assessment.on_trust), ("+003", "+003", 0));
    assert_eq!(fixture.runs().await, "001 up import succeeded, 002 up import succeeded, 003 up apply succeeded");
    let recorded = fixture.ask(RECORDED).await;
    let adopted = "applied import 02-15 10:00:00.500 0 Migretti: alice 1";
    assert!(recorded.starts_with(&format!("001 {adopted}, 002 {adopted}, 003 applied apply ")), "{recorded}");
    let by = "SELECT string_agg(DISTINCT performed_by, ', ') FROM dunlin.run WHERE kind = 'import'";
    assert!(fixture.ask(by).await.starts_with("MigrationSet shop/shop as "));
    // What stands there is what an undisturbed database has.
    let rows = "SELECT string_agg(concat_ws(' ', version, name, checksum, down_checksum, md5(down_sql), transactional), ',' ORDER BY version) FROM dunlin.migration";
    let mut other = ways::fixture().await;
    other.go("latest", &files).await.is_up_to_date();
    assert_eq!(fixture.ask(rows).await, other.ask(rows).await);
    let written = fixture.written().await;
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.written().await, written, "a second look changes nothing");
    fixture.go("none", &files).await.is_there();
    assert_eq!(fixture.went().await, "-003 -002 -001");
    // What was rolled back since stays so, whatever the tool's table says: it is left alone, and asked no more.
    assert_eq!(fixture.ask(theirs).await, before);
    fixture.go("latest", &files).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+001 +002 +003");
}

/// Q83: versions by date, times and durations; what psqlmodel has rolled back isn't applied, and failures of the past are past.
#[tokio::test]
async fn psqlmodels_history_is_taken_over() {
    let files = vec![file("20251212_191130", ""), file("20251212_191131", ""), file("20251213_080000", "")];
    let mut fixture = migrated(Tool::Psqlmodel, tools::PSQLMODEL).await;
    fixture
        .run_sql(
            "CREATE TABLE t_20251212_191130 (a int); \
             INSERT INTO migrations._psqlmodel_migrations (version, message, applied_at, checksum, execution_time_ms, rolled_back_at) VALUES \
             ('20251212_191130', 'one', '2025-12-12 19:11:31Z', '0123456789abcdef', 17, NULL), \
             ('20251212_191131', 'two', '2025-12-12 19:11:31Z', 'stamped', 0, now()), \
             ('20240101_000000', 'gone', '2024-01-01 00:00:00Z', NULL, 3, now()); \
             INSERT INTO migrations._psqlmodel_migrations_failures (version, error_message) VALUES ('20251212_191130', 'no')",
        )
        .await;
    fixture.go("latest", &files).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+20251212_191131 +20251213_080000");
    let recorded = fixture.ask(RECORDED).await;
    assert!(recorded.starts_with("20251212_191130 applied import 12-12 19:11:31.000 17 psqlmodel 1, "), "{recorded}");
}

/// Q83, P25: by version, with the checksum that metapg makes, and its durations.
#[tokio::test]
async fn metapgs_history_is_taken_over() {
    let text =
        "-- Description: a\n-- Depends: (none)\n\nCREATE TABLE users (id int);\n\n-- ROLLBACK\nDROP TABLE users;\n";
    let files = vec![("001_users.sql".to_owned(), text.to_owned()), file("002", "")];
    let mut fixture = migrated(Tool::Metapg, tools::METAPG).await;
    fixture
        .run_sql(
            "DROP TABLE t_002; CREATE TABLE users (id int); \
             INSERT INTO _metapg_migrations (name, version, checksum, applied_at, duration_ms) \
             VALUES ('001_users', 1, 'e9e9c81d70303294e63f4325c32f6cf3', NULL, 150.50)",
        )
        .await;
    fixture.go("latest", &files).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+002");
    let recorded = fixture.ask(RECORDED).await;
    assert!(recorded.starts_with("001 applied import 151 metapg 1, 002 applied apply"), "{recorded}");
    fixture.go("none", &files).await.is_there();
    assert_eq!(fixture.ask("SELECT to_regclass('users')").await, "NULL");
}

/// H20, H04: herogold's by name and under either name of its table; what it applied together goes together.
#[tokio::test]
async fn herogolds_history_is_taken_over_under_both_of_its_names() {
    let documented = tools::HEROGOLD.replace("migrationrecord", "migrations");
    for (made, table) in [(tools::HEROGOLD, "migrationrecord"), (documented.as_str(), "migrations")] {
        let files = vec![file("20260215", ""), file("20260215_02", ""), file("20260216", "")];
        let mut fixture = migrated(Tool::Herogold, made).await;
        fixture
            .run_sql(&format!(
                "CREATE TABLE t_20260215 (a int); CREATE TABLE t_20260215_02 (a int); \
                 INSERT INTO {table} (name, batch, applied_at) VALUES ('20260215_t', 2, '2026-02-15 12:00:00'), \
                 ('20260215_02_t', 5, '2026-02-15 13:00:00')"
            ))
            .await;
        fixture.go("latest", &files).await.is_up_to_date();
        assert_eq!(fixture.went().await, "+20260216", "{table}");
        let recorded = fixture.ask(RECORDED).await;
        let expected = "20260215 applied import 02-15 12:00:00.000 0 herogold 1, 20260215_02 applied import 02-15 13:00:00.000 0 herogold 2, ";
        assert!(recorded.starts_with(expected), "{recorded}");
        fixture.go("batch:1", &files).await;
        assert_eq!(fixture.went().await, "-20260216 -20260215_02", "{table}");
    }
}

/// Q83: whatever is in the way, it is said, and nothing is recorded and nothing runs.
#[tokio::test]
async fn what_is_in_the_way_is_said_and_nothing_is_recorded() {
    let files = line(&["001", "002", "003"]);
    for (change, reason, words) in [
        ("DROP TABLE _migrations", Reason::InvalidSpec, "no schema that can be seen has _migrations"),
        (
            "ALTER TABLE _migrations DROP COLUMN checksum",
            Reason::InvalidSpec,
            "public._migrations is there, and has no column checksum",
        ),
        (
            "CREATE SCHEMA audit; CREATE TABLE audit._migrations (LIKE _migrations)",
            Reason::InvalidSpec,
            "each of these may be the history of Migretti: audit._migrations, public._migrations",
        ),
        (
            "UPDATE _migrations SET status = 'failed' WHERE id = '002'",
            Reason::InvalidSpec,
            "Migretti failed at 002 (public._migrations)",
        ),
        (
            "INSERT INTO _migrations (id, name) VALUES ('009', 'nine')",
            Reason::MissingMigration,
            "what has no file here: 009 (public._migrations)",
        ),
        (
            "UPDATE _migrations SET checksum = 'x' WHERE id = '001'",
            Reason::ChecksumDrift,
            "001_t.sql (recorded x, now ",
        ),
    ] {
        let fixture = migretti(&files, &["001", "002"]).await;
        fixture.run_sql(change).await;
        let ran = fixture.run(&files).await;
        let finding = ran.finding();
        assert_eq!(finding.reason, reason, "{change}: {}", finding.message);
        assert!(
            finding.message.starts_with("spec.history.adopt: ") && finding.message.contains(words),
            "{change}: {}",
            finding.message
        );
        let count = "SELECT (SELECT count(*) FROM dunlin.migration) + (SELECT count(*) FROM dunlin.run)";
        assert_eq!((fixture.ask(count).await.as_str(), fixture.went().await.as_str()), ("0", "nothing"), "{change}");
    }
}

/// Q83: a role that may not read the tool's table is told what it needs; whether who did it can be read doesn't matter.
#[tokio::test]
async fn a_table_that_may_not_be_read_is_said_with_the_grant() {
    let files = line(&["001", "002", "003"]);
    let mut fixture = migretti(&files, &["001", "002"]).await;
    let database = fixture.ask("SELECT current_database()").await;
    let role = format!("owner_{database}");
    fixture
        .run_sql(&format!(
            "CREATE ROLE {role}; GRANT CREATE ON DATABASE {database} TO {role}; GRANT ALL ON SCHEMA public TO {role}; \
             GRANT ALL ON went TO {role}; GRANT ALL ON SEQUENCE went_n_seq TO {role}"
        ))
        .await;
    fixture.desired.session.role = Some(role.clone());
    let failure = fixture.observe().await.expect_err("it may not be read");
    assert_eq!(failure.reason, Reason::PermissionDenied);
    let grant = format!("GRANT SELECT ON \"public\".\"_migrations\" TO \"{role}\"");
    assert!(failure.message.contains(&grant), "{}", failure.message);
    fixture.run_sql(&grant).await;
    fixture.go("latest", &files).await.is_up_to_date();
    let by = "SELECT string_agg(DISTINCT applied_by, ', ') FROM dunlin.migration WHERE version < '003'";
    assert_eq!((fixture.went().await.as_str(), fixture.ask(by).await.as_str()), ("+003", "Migretti"));
}

/// Q83: with a baseline beside it, what the tool never knew of is recorded on trust.
#[tokio::test]
async fn a_baseline_fills_what_the_tool_does_not_know() {
    let files = line(&["001", "002", "003"]);
    let mut fixture = migretti(&files, &["002"]).await;
    let ran = fixture.go("latest", &files).await;
    assert_eq!(ran.finding().reason, Reason::OutOfOrder);
    assert_eq!(fixture.states().await, "002 applied", "a gap is recorded as it is");
    let mut fixture = migretti(&files, &["002"]).await;
    fixture.desired.history.baseline = Some(reference("002"));
    fixture.go("latest", &files).await.is_up_to_date();
    assert_eq!(fixture.states().await, "001 stamped, 002 applied, 003 applied");
    assert_eq!(fixture.went().await, "+003");
}

/// Q83: a first migration that fails on the tables that are there is how one finds out that there is a history to take over.
#[tokio::test]
async fn a_history_is_taken_over_after_a_first_failure() {
    let files = line(&["001", "002", "003"]);
    let mut fixture = migretti(&files, &["001", "002"]).await;
    let adopt = fixture.desired.history.adopt.take();
    assert_eq!(fixture.run(&files).await.finding().reason, Reason::MigrationFailed);
    fixture.desired.history.adopt = adopt;
    fixture.run(&files).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+003");
}

/// M32, Q83: while the tool is at work, its history is waited for; what it does until its lock comes free is taken over, too.
#[tokio::test]
async fn the_tools_own_lock_is_held_and_what_it_did_until_then_counts() {
    let files = line(&["001", "002", "003"]);
    let psqlmodels = "('x' || substr(md5('psqlmodel_migrations_' || current_database()), 1, 15))::bit(60)::bigint";
    for (from, table, key) in
        [(Tool::Migretti, tools::MIGRETTI, "894321"), (Tool::Psqlmodel, tools::PSQLMODEL, psqlmodels)]
    {
        let mut fixture = migrated(from, table).await;
        fixture.shell = Shell::Hand;
        let add = |version: &str| match from {
            Tool::Migretti => row(&files, version),
            _ => format!("INSERT INTO migrations._psqlmodel_migrations (version) VALUES ('{version}')"),
        };
        fixture.run_sql(&add("001")).await;
        let tool = fixture.another().await;
        tool.batch_execute(&format!("SET application_name = 'the tool'; SELECT pg_advisory_lock({key})"))
            .await
            .expect("the lock");
        let report = fixture.execute(&super::ways::borrowed(&files)).await;
        let End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
        assert_eq!(failure.reason, Reason::WaitingForLock);
        assert!(failure.message.contains("of ") && failure.message.contains("the tool"), "{}", failure.message);
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.migration").await, "0");
        // In the middle of the next one, which has looked already, the tool ends what it was at.
        let ours = lock::key(&["dunlin", "shop"]);
        let (ran, ()) = tokio::join!(fixture.run(&files), async {
            let watching = fixture.another().await;
            eventually("the set's lock", Duration::from_secs(20), async || {
                let held = format!(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = \
                     (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = (({ours}::int8 >> 32) & 4294967295)::oid"
                );
                let count = super::fixture::ask(&watching, &held).await;
                if count == "0" { Err(count) } else { Ok(()) }
            })
            .await;
            tool.batch_execute(&add("002")).await.expect("the tool's row");
            tool.batch_execute(&format!("SELECT pg_advisory_unlock({key})")).await.expect("the lock");
        });
        // A slow machine may have given up before that.
        if !matches!(ran.report.end, End::Finished) {
            fixture.run(&files).await.is_up_to_date();
        }
        assert_eq!(fixture.went().await, "+003", "{from}");
        assert_eq!(fixture.runs().await, "001 up import succeeded, 002 up import succeeded, 003 up apply succeeded");
    }
}
