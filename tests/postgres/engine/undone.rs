//! Ways down that fail, are cut off or have to wait, and what becomes of them.

use std::time::Duration;

use dunlin::{
    core::{desired::Action, outcome::Reason},
    execute::{End, Stop},
};

use super::{
    cut::cut_off,
    fixture::Fixture,
    proxy::Moment,
    ways::{Files, borrowed, file, fixture, line},
};
use crate::support::eventually;

const LIMIT: Duration = Duration::from_secs(20);

/// 001, and a 002 whose way down divides by the rows of `mended`.
fn divided() -> Files {
    let mut files = line(&["001", "002"]);
    files[1].1.push_str("SELECT 1 / count(*) FROM mended;\n");
    files
}

/// A database where that way down has failed, and its run.
async fn failed() -> (Fixture, i64) {
    let mut fixture = fixture().await;
    fixture.run_sql("CREATE TABLE mended (a int)").await;
    fixture.go("latest", &divided()).await.is_there();
    fixture.went().await;
    let ran = fixture.go("none", &divided()).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    let run = ran.failed_run();
    (fixture, run)
}

/// Q48: the way down and its row are one: the migration is still applied, and nothing is tried again unasked.
#[tokio::test]
async fn a_way_down_that_fails_leaves_everything_as_it_was() {
    let (fixture, run) = failed().await;
    for _ in 0..2 {
        let ran = fixture.run(&divided()).await;
        let finding = ran.finding();
        assert_eq!((finding.reason, ran.failed_run()), (Reason::MigrationFailed, run));
        for words in [
            "002_t.sql (the way down):7:1: division by zero (SQLSTATE 22012)",
            "It was rolled back, so that the migration is still applied",
            "action: Retry",
            "MarkRolledBack",
        ] {
            assert!(finding.message.contains(words), "{words}: {}", finding.message);
        }
    }
    assert_eq!(fixture.states().await, "001 applied, 002 applied");
    assert_eq!(fixture.ask("SELECT to_regclass('t_002') IS NOT NULL").await, "t");
    assert_eq!(fixture.went().await, "nothing");
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await, "1");
}

/// Back at latest there is nothing to be said; and it isn't forgotten for the next way down.
#[tokio::test]
async fn a_failed_way_down_is_nothing_where_nothing_goes_down() {
    let (mut fixture, run) = failed().await;
    fixture.go("latest", &divided()).await.is_there();
    let ran = fixture.go("001", &divided()).await;
    assert_eq!(ran.failed_run(), run, "it didn't run again");
}

/// Its text, role and path are its inputs: a change of one, or a person, makes it run again, once.
#[tokio::test]
async fn a_failed_way_down_runs_again_when_an_input_changes() {
    let failures = "SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'";
    let (mut fixture, run) = failed().await;
    fixture.desired.session.search_path = vec!["public".into(), "pg_catalog".into()];
    let other = fixture.run(&divided()).await.failed_run();
    assert!(other > run);
    let role = fixture.ask("SELECT current_user").await;
    fixture.desired.session.role = Some(role);
    assert!(fixture.run(&divided()).await.failed_run() > other);
    fixture.resolve(fixture.ask("SELECT max(id) FROM dunlin.run").await.parse().expect("a run"), Action::Retry);
    fixture.run(&divided()).await;
    fixture.run(&divided()).await;
    assert_eq!(fixture.ask(failures).await, "4", "each made it run once");
    let mut mended = divided();
    mended[1].1 = mended[1].1.replace("1 / count(*)", "count(*)");
    fixture.run(&mended).await.is_there();
    assert_eq!(fixture.went().await, "-002 -001");
    assert_eq!(fixture.ask(failures).await, "4");
}

#[tokio::test]
async fn a_failed_way_down_is_retried_as_it_is() {
    let (mut fixture, run) = failed().await;
    fixture.run_sql("INSERT INTO mended VALUES (1)").await;
    fixture.resolve(run, Action::Retry);
    fixture.run(&divided()).await.is_there();
    assert_eq!(fixture.went().await, "-002 -001");
    assert!(
        fixture.runs().await.contains("002 down rollback failed Retry, 002 down rollback succeeded"),
        "{}",
        fixture.runs().await
    );
}

#[tokio::test]
async fn a_failed_way_down_that_was_gone_by_hand_is_marked() {
    let (mut fixture, run) = failed().await;
    fixture.run_sql("DROP TABLE t_002").await;
    fixture.resolve(run, Action::MarkRolledBack);
    fixture.run(&divided()).await.is_there();
    assert_eq!(
        (fixture.went().await.as_str(), fixture.states().await.as_str()),
        ("-001", "001 rolled_back, 002 rolled_back")
    );
    fixture.go("latest", &divided()).await.is_there();
    assert_eq!(fixture.went().await, "+001 +002");
    // Applied anew, it has a new way down.
    assert_eq!(fixture.go("none", &divided()).await.finding().reason, Reason::MigrationFailed);
}

#[tokio::test]
async fn a_lock_in_the_way_down_is_waited_for_in_one_run() {
    let mut fixture = fixture().await;
    let files = line(&["001", "002"]);
    fixture.go("latest", &files).await.is_there();
    fixture.desired.session.lock_timeout_ms = 50;
    fixture.desired.session.lock_retries = 1;
    let reader = fixture.another().await;
    reader.batch_execute("BEGIN; SELECT * FROM t_002").await.expect("a reader is in the way");
    for attempts in ["2", "4"] {
        assert_eq!(fixture.go("001", &files).await.failure().reason, Reason::Retrying);
        assert_eq!(fixture.ask("SELECT attempts FROM dunlin.run WHERE outcome = 'retrying'").await, attempts);
    }
    reader.batch_execute("COMMIT").await.expect("the reader ends");
    fixture.run(&files).await.is_there();
    assert_eq!(fixture.went().await, "+001 +002 -002");
    assert_eq!(
        fixture.ask("SELECT count(*) || max(outcome) FROM dunlin.run WHERE direction = 'down'").await,
        "1succeeded"
    );
}

/// A try that was given up before the migration became what it is now is no part of the next way down: its failure would be
/// older than the migration, and be tried for ever.
#[tokio::test]
async fn a_failure_behind_an_old_try_is_still_a_failure() {
    let mut fixture = fixture().await;
    fixture.run_sql("CREATE TABLE mended (a int)").await;
    let mut files = divided();
    fixture.go("latest", &files).await.is_there();
    fixture.desired.session.lock_timeout_ms = 50;
    fixture.desired.session.lock_retries = 0;
    let reader = fixture.another().await;
    reader.batch_execute("BEGIN; SELECT * FROM t_002").await.expect("a reader is in the way");
    assert_eq!(fixture.go("001", &files).await.failure().reason, Reason::Retrying);
    reader.batch_execute("COMMIT").await.expect("the reader ends");
    // Meanwhile an edit of its way up is accepted, which is a run.
    files[1].1 = files[1].1.replace("(a int)", "(a integer)");
    let ran = fixture.go("latest", &files).await;
    fixture.resolve(ran.assessment.checksum_drift[0].run, Action::AcceptChecksum);
    fixture.run(&files).await.is_there();
    fixture.desired.session.lock_timeout_ms = 3_000;
    let ran = tokio::time::timeout(LIMIT, fixture.go("001", &files)).await.expect("it isn't tried for ever");
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await, "1");
}

/// A connection that ends before the server has it, or before anybody knows that it is through, in a transaction.
#[tokio::test]
async fn a_transactional_way_down_that_was_cut_off_is_done_once() {
    for (moment, states) in
        [(Moment::Before, "001 applied, 002 applied"), (Moment::After, "001 applied, 002 rolled_back")]
    {
        let mut fixture = fixture().await;
        let mut files = line(&["001", "002"]);
        files[1].1.push_str("SELECT /* the cut */ 1;\n");
        fixture.go("latest", &files).await.is_there();
        fixture.went().await;
        fixture.desired.target = super::ways::target("001");
        cut_off(&fixture, &borrowed(&files), moment).await;
        assert_eq!(fixture.states().await, states, "{moment:?}");
        fixture.go("001", &files).await.is_there();
        assert_eq!(fixture.went().await, "-002", "{moment:?}");
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE direction = 'down'").await, "1", "{moment:?}");
    }
}

/// Asked to stop, it stops between two ways down; what is under way ends, or is rolled back at the last call.
#[tokio::test]
async fn a_stop_comes_between_two_ways_down() {
    for (stop, expected) in [(Stop::BetweenMigrations, "-003"), (Stop::CancelTransaction, "nothing")] {
        let mut fixture = fixture().await;
        let mut files = line(&["001", "002", "003"]);
        files[2].1.push_str("SELECT pg_sleep(0.8) AS the_last;\n");
        fixture.go("latest", &files).await.is_there();
        fixture.went().await;
        fixture.desired.target = super::ways::target("none");
        let asked = async {
            eventually("the way down to be under way", LIMIT, async || {
                let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%the_last%' AND state = 'active' AND pid <> pg_backend_pid()";
                let busy = fixture.ask(busy).await;
                if busy == "1" { Ok(()) } else { Err(busy) }
            })
            .await;
            fixture.stop.send_replace(stop);
        };
        let borrowed = borrowed(&files);
        let (report, ()) = tokio::join!(fixture.execute(&borrowed), asked);
        assert!(matches!(report.end, End::Stopped), "{:?}", report.end);
        assert_eq!(fixture.went().await, expected, "{stop:?}");
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await, "0");
    }
}

/// Every commit proves its claim: of a way down in whose middle it was lost nothing is left.
#[tokio::test]
async fn a_claim_lost_in_the_middle_takes_the_way_down_back() {
    for header in ["", "-- migrate: no-transaction\n"] {
        let mut fixture = fixture().await;
        let mut files = line(&["001"]);
        files[0].1 = format!("{header}{}UPDATE dunlin.set SET session = 'somebody else';\n", files[0].1);
        fixture.go("latest", &files).await.is_there();
        fixture.went().await;
        let ran = fixture.go("none", &files).await;
        assert_eq!(ran.failure().reason, Reason::Retrying, "{header}");
        let (log, state) = if header.is_empty() { ("nothing", "001 applied") } else { ("-001", "001 interrupted") };
        assert_eq!((fixture.went().await.as_str(), fixture.states().await.as_str()), (log, state), "{header}");
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE outcome = 'failed'").await, "0");
    }
}

/// 001, and a 002 whose way down is five statements without a transaction; the one of that number has the marker in it.
fn journaled(marked: usize) -> Files {
    let down = [
        "INSERT INTO went (what) VALUES ('-1')",
        "DROP INDEX CONCURRENTLY t_a",
        "VACUUM went",
        "DROP TABLE t",
        "INSERT INTO went (what) VALUES ('-2')",
    ];
    let marked = down.iter().enumerate().map(|(at, statement)| match statement.split_once(' ') {
        Some((verb, rest)) if at + 1 == marked => format!("{verb} /* the cut */ {rest};\n"),
        _ => format!("{statement};\n"),
    });
    let text = format!(
        "-- migrate: no-transaction\n-- migrate: up\nCREATE TABLE t (a int);\nCREATE INDEX CONCURRENTLY t_a ON t (a);\n\
         INSERT INTO went (what) VALUES ('+2');\n-- migrate: down\n{}",
        marked.collect::<String>()
    );
    vec![file("001", ""), ("002_two.sql".into(), text)]
}

/// Cut off anywhere, it goes on to its end as if nothing had been, though the target is latest again; and then forward.
#[tokio::test]
async fn a_way_down_that_was_cut_off_goes_on_and_then_forward_again() {
    for marked in 1..=5 {
        for moment in [Moment::Before, Moment::After] {
            let what = format!("statement {marked}, {moment:?}");
            let mut fixture = fixture().await;
            let files = journaled(marked);
            fixture.go("latest", &files).await.is_there();
            let shape = fixture.shape().await;
            fixture.went().await;
            fixture.desired.target = super::ways::target("001");
            cut_off(&fixture, &borrowed(&files), moment).await;
            assert_eq!(fixture.states().await, "001 applied, 002 interrupted", "{what}");
            let ran = fixture.go("latest", &files).await;
            ran.is_there();
            assert_eq!(ran.steps(), "-002 +002", "{what}");
            assert_eq!(fixture.went().await, "-1 -2 +2", "{what}");
            assert_eq!(fixture.shape().await, shape, "{what}");
            let runs =
                "001 up apply succeeded, 002 up apply succeeded, 002 down rollback succeeded, 002 up apply succeeded";
            assert_eq!(fixture.runs().await, runs, "{what}");
        }
    }
}

/// Its text is in the history: without its file it goes on all the same.
#[tokio::test]
async fn a_way_down_that_was_cut_off_goes_on_without_its_file() {
    let mut fixture = fixture().await;
    let files = journaled(4);
    fixture.go("latest", &files).await.is_there();
    fixture.went().await;
    fixture.desired.target = super::ways::target("001");
    cut_off(&fixture, &borrowed(&files), Moment::Before).await;
    fixture.go("latest", &line(&["001"])).await.is_there();
    assert_eq!(fixture.went().await, "-1 -2");
    assert_eq!(fixture.states().await, "001 applied, 002 rolled_back");
}

/// A DROP INDEX CONCURRENTLY that was ended while it waited is proven, and done.
#[tokio::test]
async fn a_drop_that_was_ended_in_its_middle_happens() {
    let mut fixture = fixture().await;
    let files = journaled(0);
    fixture.go("latest", &files).await.is_there();
    fixture.went().await;
    let reader = fixture.another().await;
    reader.batch_execute("BEGIN; SELECT * FROM t").await.expect("a reader is in the way");
    let drops = "pid <> pg_backend_pid() AND datname = current_database() AND query LIKE 'DROP INDEX%'";
    let ended = async {
        eventually("the drop to wait for the reader", LIMIT, async || {
            let waiting = fixture
                .ask(&format!("SELECT count(*) FROM pg_stat_activity WHERE {drops} AND wait_event_type = 'Lock'"))
                .await;
            if waiting == "1" { Ok(()) } else { Err(waiting) }
        })
        .await;
        fixture.ask(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {drops}")).await;
    };
    let mut down = Fixture::on(fixture.url.clone()).await;
    down.desired = fixture.desired.clone();
    down.desired.target = super::ways::target("001");
    let borrowed = borrowed(&files);
    let (report, ()) = tokio::join!(down.execute(&borrowed), ended);
    assert!(matches!(report.end, End::Failed(_)), "{:?}", report.end);
    reader.batch_execute("COMMIT").await.expect("the reader ends");
    fixture.go("001", &files).await.is_there();
    assert_eq!(fixture.went().await, "-1 -2");
    assert_eq!(fixture.ask("SELECT to_regclass('t_a') IS NULL AND to_regclass('t') IS NULL").await, "t");
}

/// 001, and a 002 whose way down stops at its second statement: it is refused until there is a row in `mended`, or, where it
/// is cut off, nothing proves it.
fn stopping(second: &str) -> Files {
    let text = format!(
        "-- migrate: no-transaction\n-- migrate: up\nINSERT INTO went (what) VALUES ('+2');\n-- migrate: down\n\
         INSERT INTO went (what) VALUES ('-a');\n{second};\nINSERT INTO went (what) VALUES ('-c');\n"
    );
    vec![file("001", ""), ("002_two.sql".into(), text)]
}

const REFUSED: &str = "INSERT INTO went (what) SELECT left('-b', (2 / count(*))::int) FROM mended";
const UNPROVEN: &str = "DO /* the cut */ $$ BEGIN INSERT INTO went (what) VALUES ('-b'); COMMIT; END $$";

/// A database where the second statement of the way down was refused, or cut off when it was through; what the log says;
/// and the run.
async fn stopped(second: &str) -> (Fixture, i64) {
    let mut fixture = fixture().await;
    fixture.run_sql("CREATE TABLE mended (a int)").await;
    let files = stopping(second);
    fixture.go("latest", &files).await.is_there();
    fixture.went().await;
    fixture.desired.target = super::ways::target("001");
    if second == UNPROVEN {
        cut_off(&fixture, &borrowed(&files), Moment::After).await;
    }
    let ran = fixture.run(&files).await;
    let (reason, words) = if second == UNPROVEN {
        (Reason::Interrupted, "statement 2 of 3 was cut off, and what it did can't be proven")
    } else {
        (Reason::NonTransactionalFailed, "division by zero (SQLSTATE 22012)")
    };
    let finding = ran.finding();
    assert_eq!(finding.reason, reason, "{}", finding.message);
    for words in [
        words,
        "002_two.sql (the way down):6:1: ",
        "1 of its statements is done",
        "Retry (from the top)",
        "Resume (from statement 2)",
        "MarkApplied (what it undid was made again by hand: still applied)",
        "MarkRolledBack (what is left was undone by hand)",
    ] {
        assert!(finding.message.contains(words), "{words}: {}", finding.message);
    }
    assert_eq!(finding.failure.as_ref().map(|failed| failed.statements_applied), Some(1));
    let went = fixture.went().await;
    assert_eq!(went, if second == UNPROVEN { "-a -b" } else { "-a" });
    let run = ran.failed_run();
    (fixture, run)
}

#[tokio::test]
async fn a_way_down_that_stopped_holds_both_ways_up() {
    for second in [REFUSED, UNPROVEN] {
        let (mut fixture, run) = stopped(second).await;
        let mut more = stopping(second);
        more.push(file("003", ""));
        for to in ["latest", "none", "001"] {
            let ran = fixture.go(to, &more).await;
            assert_eq!(ran.failed_run(), run, "{to}");
            assert_eq!(fixture.went().await, "nothing", "{to}");
        }
        assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.run WHERE direction = 'down'").await, "1");
    }
}

#[tokio::test]
async fn a_way_down_that_stopped_is_retried_from_the_top() {
    for (second, expected) in [(REFUSED, "-a -b -c"), (UNPROVEN, "-a -b -c")] {
        let (mut fixture, run) = stopped(second).await;
        fixture.run_sql("INSERT INTO mended VALUES (1)").await;
        fixture.resolve(run, Action::Retry);
        fixture.run(&stopping(second)).await.is_there();
        assert_eq!(fixture.went().await, expected);
        assert_eq!(fixture.states().await, "001 applied, 002 rolled_back");
    }
}

#[tokio::test]
async fn a_way_down_that_stopped_is_resumed_behind_what_is_done() {
    for second in [REFUSED, UNPROVEN] {
        let (mut fixture, run) = stopped(second).await;
        fixture.run_sql("INSERT INTO mended VALUES (1)").await;
        fixture.resolve(run, Action::Resume);
        // What already ran is no longer as it was: Resume isn't followed.
        let mut edited = stopping(second);
        edited[1].1 = edited[1].1.replace("'-a'", "'-edited'");
        let ran = fixture.run(&edited).await;
        assert!(
            ran.finding().message.contains("edited within the 1 statements that already ran"),
            "{}",
            ran.finding().message
        );
        assert_eq!(fixture.went().await, "nothing");
        // What is left of it may be edited, and the file may be gone after that.
        let mut edited = stopping(second);
        edited[1].1 = edited[1].1.replace("'-c'", "'-edited'");
        fixture.run(&edited).await.is_there();
        assert_eq!(fixture.went().await, "-b -edited");
        assert!(fixture.runs().await.ends_with("002 down resume succeeded"), "{}", fixture.runs().await);
    }
}

/// Still applied: at latest that is the end of it; where it is to go, it goes from the top, as a run of its own.
#[tokio::test]
async fn a_way_down_that_stopped_may_be_marked_as_still_applied() {
    for second in [REFUSED, UNPROVEN] {
        let (mut fixture, run) = stopped(second).await;
        fixture.resolve(run, Action::MarkApplied);
        fixture.go("latest", &stopping(second)).await.is_there();
        assert_eq!(
            (fixture.went().await.as_str(), fixture.states().await.as_str()),
            ("nothing", "001 applied, 002 applied")
        );
        fixture.run_sql("INSERT INTO mended VALUES (1)").await;
        fixture.go("001", &stopping(second)).await.is_there();
        assert_eq!(fixture.went().await, "-a -b -c");
    }
}

#[tokio::test]
async fn a_way_down_that_stopped_may_be_marked_as_gone() {
    for second in [REFUSED, UNPROVEN] {
        let (mut fixture, run) = stopped(second).await;
        fixture.resolve(run, Action::MarkRolledBack);
        fixture.run(&stopping(second)).await.is_there();
        assert_eq!(
            (fixture.went().await.as_str(), fixture.states().await.as_str()),
            ("nothing", "001 applied, 002 rolled_back")
        );
        fixture.go("latest", &stopping(second)).await.is_there();
        assert_eq!(fixture.went().await, "+2");
    }
}
