//! A great deal of everything: rows of history, rows that a file selects, notices.

use std::time::{Duration, Instant};

use super::fixture::{Fixture, read};

/// Kilobytes of this process.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says how much memory a process has");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[tokio::test]
async fn a_long_history_is_read_by_one_message_and_planned_at_once() {
    let fixture = Fixture::new().await;
    fixture.apply(&[("00001_one.sql", "SELECT 1;\n")]).await.is_up_to_date();
    fixture
        .run_sql(
            "INSERT INTO dunlin.run (\"set\", version, name, direction, kind, started_at, outcome, checksum, performed_by)
             SELECT 'shop', lpad(n::text, 5, '0'), 'one', 'up', 'apply', now(), 'succeeded', '', '' FROM generate_series(2, 10000) n;
             INSERT INTO dunlin.migration (\"set\", version, name, state, checksum, transactional, run)
             SELECT 'shop', r.version, 'one', 'applied', (SELECT checksum FROM dunlin.migration WHERE version = '00001'), true, r.id
             FROM dunlin.run r WHERE r.version > '00001'; ANALYZE",
        )
        .await;
    let names: Vec<String> = (1..=10_001).map(|n| format!("{n:05}_one.sql")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "SELECT 1;\n")).collect();
    let begun = Instant::now();
    let history = fixture.observe().await.expect("the history is read");
    let observed = begun.elapsed();
    assert_eq!(history.migrations.len(), 10_000);
    assert!(observed < Duration::from_secs(3), "{observed:?}");
    let assessment = dunlin::core::plan::plan(&read(&files).0, &history, &fixture.desired);
    assert_eq!((assessment.findings.len(), assessment.plan.steps.len()), (0, 1));
}

/// Rows are dropped as they arrive, and so are notices: a gigabyte of each fits into no memory of ours.
#[tokio::test]
async fn what_a_file_selects_or_says_is_dropped_as_it_arrives() {
    let before = resident_kb();
    let fixture = Fixture::new().await;
    let most = async {
        let mut most = 0;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            most = most.max(resident_kb());
            if fixture.running.borrow().is_none() && fixture.ask("SELECT to_regclass('done') IS NOT NULL").await == "t"
            {
                return most;
            }
        }
    };
    let files = [
        ("001_rows.sql", "SELECT n, repeat('x', 500) FROM generate_series(1, 1000000) n;\n"),
        (
            "002_notices.sql",
            "SET client_min_messages = notice;\nDO $$ BEGIN FOR n IN 1..200000 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$;\n",
        ),
        ("003_done.sql", "CREATE TABLE done (a int);\n"),
    ];
    let (ran, most) = tokio::join!(fixture.apply(&files), most);
    ran.is_up_to_date();
    assert!(most.saturating_sub(before) < 200_000, "{before} kB before, {most} kB at most");
}
