//! Targets, and the ways there: forward by the files, back by the ways down that the history holds.

use dunlin::core::{
    desired::{Action, OnMissing, OutOfOrder, Rollback, TransactionScope},
    outcome::Reason,
};

use super::ways::{Files, file, fixture, graph, line};

const FIVE: [&str; 5] = ["001", "002", "003", "004", "005"];

/// M14, M15, P07, Q51, H10, H11: a target is reached from below and from above, and once there nothing is written.
#[tokio::test]
async fn a_target_is_reached_from_below_and_from_above() {
    let mut fixture = fixture().await;
    let files = line(&FIVE);
    for (to, expected) in [
        ("003", "+001 +002 +003"),
        ("latest", "+004 +005"),
        ("003", "-005 -004"),
        ("003_t", ""),
        ("none", "-003 -002 -001"),
        ("none", ""),
        ("latest", "+001 +002 +003 +004 +005"),
        ("latest", ""),
    ] {
        let before = if expected.is_empty() { Some(fixture.written().await) } else { None };
        let ran = fixture.go(to, &files).await;
        ran.is_there();
        assert_eq!(ran.steps(), expected, "{to}");
        let went = fixture.went().await;
        assert_eq!(went, if expected.is_empty() { "nothing" } else { expected }, "{to}");
        if let Some(before) = before {
            assert_eq!(fixture.written().await, before, "{to}");
        }
    }
    assert_eq!(
        fixture.ask("SELECT count(*) FROM dunlin.run WHERE kind = 'rollback' AND outcome = 'succeeded'").await,
        "5"
    );
}

/// M14: ways down are the history's, whatever has become of the files; and they go in their turn.
#[tokio::test]
async fn the_files_of_what_is_undone_may_be_absent() {
    for left in [&["001", "002", "003"][..], &["001", "002", "003", "004"], &["001", "002", "003", "005"], &["003"]] {
        let mut fixture = fixture().await;
        fixture.go("latest", &line(&FIVE)).await.is_there();
        fixture.went().await;
        fixture.desired.policy.on_missing = OnMissing::Ignore;
        fixture.go("003", &line(left)).await.is_there();
        assert_eq!(fixture.went().await, "-005 -004", "{left:?}");
        assert_eq!(fixture.states().await, "001 applied, 002 applied, 003 applied, 004 rolled_back, 005 rolled_back");
    }
}

/// M14: an edited way down is no drift; it is stored, and is what runs, with its file or without it.
#[tokio::test]
async fn an_edited_way_down_is_the_one_that_runs() {
    for left in [&["001", "002"][..], &["001"]] {
        let mut fixture = fixture().await;
        let mut files = line(&["001", "002"]);
        fixture.go("latest", &files).await.is_there();
        files[1].1 = files[1].1.replace("'-002'", "'-002, mended'");
        fixture.go("latest", &files).await.is_there();
        fixture.went().await;
        files.truncate(left.len());
        fixture.desired.policy.on_missing = OnMissing::Ignore;
        fixture.go("001", &files).await.is_there();
        assert_eq!(fixture.went().await, "-002, mended", "{left:?}");
    }
}

/// A way down is as transactional as its file: one that turns out to need its own transactions gets them.
#[tokio::test]
async fn a_way_down_may_come_to_be_without_a_transaction() {
    let mut fixture = fixture().await;
    let text = |header: &str, down: &str| {
        format!(
            "{header}-- migrate: up\nCREATE TABLE t (a int); CREATE INDEX t_a ON t (a);\n-- migrate: down\n{down}\n"
        )
    };
    let old: Files = vec![("001_t.sql".into(), text("", "DROP INDEX t_a;"))];
    fixture.go("latest", &old).await.is_there();
    // The mark alone is a change, too.
    let marked: Files = vec![("001_t.sql".into(), text("-- migrate: no-transaction\n", "DROP INDEX t_a;"))];
    fixture.go("latest", &marked).await.is_there();
    assert_eq!(fixture.ask("SELECT transactional FROM dunlin.migration").await, "f");
    let down = "DROP INDEX CONCURRENTLY t_a;\nDROP TABLE t;";
    let new: Files = vec![("001_t.sql".into(), text("-- migrate: no-transaction\n", down))];
    fixture.go("latest", &new).await.is_there();
    fixture.go("none", &new).await.is_there();
    assert_eq!(fixture.ask("SELECT to_regclass('t') IS NULL").await, "t");
    assert_eq!(fixture.ask("SELECT count(*) FROM dunlin.statement").await, "2");
}

/// Without its file the stored text is read as the file was: as its own transaction, with its data, piece by piece.
#[tokio::test]
async fn a_way_down_is_sent_as_it_would_be_from_its_file() {
    let many = "INSERT INTO went (what) VALUES ('-d');\n".repeat(5_001);
    let own = "BEGIN ISOLATION LEVEL SERIALIZABLE;\nINSERT INTO went (what) SELECT '-a ' || current_setting('transaction_isolation');\nCOMMIT;\n";
    let copy = "\\restrict x\nCOPY went (what) FROM stdin;\n-b; one\n-b -- migrate: up\n\\.\n\\unrestrict x\n";
    let quoted = "INSERT INTO went (what) VALUES ($q$-c 'ä'\r\n;$q$);\r\n";
    for (what, down, expected) in [
        ("its own transaction", own, "-a serializable"),
        ("with data", copy, "-b; one -b -- migrate: up"),
        ("quoted", quoted, "-c 'ä'\r\n;"),
        ("piece by piece", &many, &vec!["-d"; 5_001].join(" ")),
    ] {
        for is_there in [true, false] {
            let mut fixture = fixture().await;
            let text = format!("-- migrate: up\nCREATE TABLE t (a int);\n-- migrate: down\n{down}");
            let files: Files = vec![file("001", ""), ("002_t.sql".into(), text)];
            fixture.go("latest", &files).await.is_there();
            fixture.went().await;
            fixture.desired.policy.on_missing = OnMissing::Ignore;
            let left: Files = files.into_iter().take(if is_there { 2 } else { 1 }).collect();
            fixture.go("001", &left).await.is_there();
            assert_eq!(fixture.went().await, *expected, "{what}, {is_there}");
        }
    }
}

/// A version is the same in any spelling, on the way back as well.
#[tokio::test]
async fn another_spelling_of_a_version_goes_back_as_the_same() {
    let mut fixture = fixture().await;
    let mut files: Files = vec![file("1", ""), file("2", "-- depends: 1\n"), file("3", "-- depends: 2\n")];
    fixture.go("latest", &files).await.is_there();
    for (name, _) in &mut files {
        *name = format!("00{name}");
    }
    for (to, expected) in [("0002", "-3"), ("1_t", "-2"), ("latest", "+2 +3"), ("none", "-3 -2 -1")] {
        fixture.went().await;
        fixture.go(to, &files).await.is_there();
        assert_eq!(fixture.went().await, expected, "{to}");
    }
    assert_eq!(fixture.states().await, "1 rolled_back, 2 rolled_back, 3 rolled_back");
}

/// Q50, Q51, P09, P08: a target on one branch is that and what it needs; back go dependents first.
#[tokio::test]
async fn a_branch_is_reached_without_the_others() {
    let mut fixture = fixture().await;
    fixture.desired.policy.out_of_order = OutOfOrder::Allow;
    // 001 ─ 002 ─ 004, and 001 ─ 003 ─ 005; the smaller version doesn't always come first.
    let files =
        graph(&[("001", ""), ("002", "001"), ("003", "001, 006"), ("004", "002"), ("005", "003"), ("006", "001")]);
    for (to, expected) in [
        ("004", "+001 +002 +004"),
        ("latest", "+006 +003 +005"),
        ("001", "-005 -003 -006 -004 -002"),
        ("005", "+006 +003 +005"),
        ("none", "-005 -003 -006 -001"),
    ] {
        let ran = fixture.go(to, &files).await;
        ran.is_there();
        assert_eq!(fixture.went().await, expected, "{to}");
    }
}

/// P09: what stays keeps what it needs; the message names both.
#[tokio::test]
async fn a_rollback_that_would_break_what_stays_is_denied() {
    let mut fixture = fixture().await;
    fixture.desired.policy.on_missing = OnMissing::Rollback;
    fixture.go("latest", &graph(&[("001", ""), ("002", "001"), ("003", "002")])).await.is_there();
    fixture.went().await;
    let ran = fixture.run(&graph(&[("001", ""), ("003", "001")])).await;
    assert_eq!(ran.finding().reason, Reason::RollbackDenied);
    assert!(ran.finding().message.contains("003_t needs 002_t"), "{}", ran.finding().message);
    assert_eq!(fixture.went().await, "nothing");
    fixture.run(&graph(&[("001", "")])).await.is_there();
    assert_eq!(fixture.went().await, "-003 -002");
}

#[tokio::test]
async fn a_rollback_that_is_not_allowed_runs_nothing() {
    let mut fixture = fixture().await;
    fixture.desired.policy.rollback = Rollback::Deny;
    let files = line(&["001", "002"]);
    fixture.go("latest", &files).await.is_there();
    let before = fixture.written().await;
    fixture.went().await;
    let ran = fixture.go("001", &files).await;
    assert_eq!(ran.finding().reason, Reason::RollbackDenied);
    assert!(ran.finding().message.contains("002_t"), "{}", ran.finding().message);
    assert_eq!((fixture.went().await.as_str(), fixture.written().await), ("nothing", before));
}

#[tokio::test]
async fn an_unknown_target_runs_nothing_and_names_the_nearest() {
    let mut fixture = fixture().await;
    let files = line(&["001", "002", "004"]);
    for (to, words) in [
        ("003", "the nearest are 002_t, 004_t"),
        ("002_users", "that version's file is 002_t.sql"),
        ("batch:1", "batch:1 hasn't been"),
    ] {
        let ran = fixture.go(to, &files).await;
        assert_eq!(ran.finding().reason, Reason::InvalidSpec, "{to}");
        assert!(ran.finding().message.contains(words), "{to}: {}", ran.finding().message);
        assert_eq!(fixture.went().await, "nothing");
    }
    fixture.go("002_t", &files).await.is_there();
}

/// H04, H12: exactly what later plans did goes, though their versions interleave.
#[tokio::test]
async fn a_batch_undoes_exactly_the_later_ones() {
    let mut fixture = fixture().await;
    fixture.desired.policy.out_of_order = OutOfOrder::Allow;
    fixture.go("latest", &line(&["001", "004"])).await.is_there();
    fixture.go("latest", &line(&["001", "003", "004", "006"])).await.is_there();
    let all = line(&["001", "002", "003", "004", "005", "006"]);
    fixture.go("latest", &all).await.is_there();
    fixture.went().await;
    for (to, expected) in
        [("batch:3", "nothing"), ("batch:2", "-005 -002"), ("batch:1", "-006 -003"), ("batch:1", "nothing")]
    {
        fixture.go(to, &all).await.is_there();
        assert_eq!(fixture.went().await, expected, "{to}");
    }
}

/// A migration that was rolled back is pending as it is now: no drift, not late, in the plan's batch.
#[tokio::test]
async fn what_was_rolled_back_is_applied_again_as_its_file_is_now() {
    let mut fixture = fixture().await;
    let mut files = line(&["001", "002", "003"]);
    fixture.go("latest", &files).await.is_there();
    fixture.desired.policy.on_missing = OnMissing::Rollback;
    // Only the second goes, so that it would be older than what is applied.
    let without: Files = vec![files[0].clone(), files[2].clone()];
    fixture.go("latest", &without).await.is_there();
    assert_eq!(fixture.went().await, "+001 +002 +003 -002");
    files[1].1 = files[1].1.replace("(a int)", "(a int, b int)").replace("'-002'", "'-002, edited'");
    fixture.go("latest", &files).await.is_there();
    assert_eq!(fixture.went().await, "+002");
    let row = "SELECT concat_ws(' ', state, batch, applied_at IS NOT NULL, down_sql LIKE '%edited%', \
               checksum <> (SELECT checksum FROM dunlin.migration WHERE version = '001')) FROM dunlin.migration WHERE version = '002'";
    assert_eq!(fixture.ask(row).await, "applied 3 t t t");
    fixture.go("001", &files).await.is_there();
    assert_eq!(fixture.went().await, "-002, edited -003");
}

/// M14, H19: before the first statement, everything without a way down is named.
#[tokio::test]
async fn what_has_no_way_down_is_named_before_anything_runs() {
    let mut fixture = fixture().await;
    let mut files = line(&FIVE);
    let one_way =
        |version: &str| format!("CREATE TABLE t_{version} (a int);\nINSERT INTO went (what) VALUES ('+{version}');\n");
    for at in [1, 3] {
        files[at].1 = one_way(FIVE[at]);
    }
    fixture.go("latest", &files).await.is_there();
    fixture.went().await;
    let ran = fixture.go("none", &files).await;
    assert_eq!(ran.finding().reason, Reason::NoDownMigration);
    for words in ["004_t (run 4), 002_t (run 2)", "version: \"004\", run: 4, action: MarkRolledBack"] {
        assert!(ran.finding().message.contains(words), "{}", ran.finding().message);
    }
    assert_eq!(fixture.went().await, "nothing");

    // One is undone by hand, the other gets its way down.
    fixture.run_sql("DROP TABLE t_004").await;
    fixture.resolve(4, Action::MarkRolledBack);
    let ran = fixture.run(&files).await;
    assert_eq!(ran.finding().reason, Reason::NoDownMigration);
    assert!(ran.finding().message.contains("for 002_t (run 2):"), "{}", ran.finding().message);
    assert_eq!(fixture.went().await, "nothing");
    files[1].1.push_str("-- migrate: down\nDROP TABLE t_002;\nINSERT INTO went (what) VALUES ('-002');\n");
    let ran = fixture.run(&files).await;
    // The up section is what stands before the marker: the same as before.
    ran.is_there();
    assert_eq!(fixture.went().await, "-005 -003 -002 -001");
}

/// A marker alone is no way down: what it didn't undo would count as undone. A comment says that there is nothing to undo.
#[tokio::test]
async fn a_blank_way_down_is_none_and_a_comment_is_one() {
    let mut fixture = fixture().await;
    let text = |down: &str| format!("-- migrate: up\nCREATE TABLE t (a int);\n-- migrate: down\n{down}");
    let blank: Files = vec![("001_t.sql".into(), text(" \n\n"))];
    fixture.go("latest", &blank).await.is_there();
    assert_eq!(fixture.go("none", &blank).await.finding().reason, Reason::NoDownMigration);
    let said: Files = vec![("001_t.sql".into(), text("-- the table stays\n"))];
    fixture.go("none", &said).await.is_there();
    assert_eq!(fixture.states().await, "001 rolled_back");
}

/// M34: ways down and ways up in one transaction stand and fall together.
#[tokio::test]
async fn a_plan_of_both_ways_in_one_transaction_is_one() {
    let mut fixture = fixture().await;
    fixture.desired.policy.transaction = TransactionScope::Single;
    fixture.desired.policy.on_missing = OnMissing::Rollback;
    fixture.go("latest", &line(&["001", "002", "003"])).await.is_there();
    fixture.went().await;
    let broken = ("005_broken.sql".to_owned(), "SELECT 1/0;\n".to_owned());
    let mut files: Files = vec![file("001", ""), file("004", ""), broken];
    let ran = fixture.run(&files).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert_eq!(ran.steps(), "");
    assert_eq!(
        (fixture.went().await.as_str(), fixture.states().await.as_str()),
        ("nothing", "001 applied, 002 applied, 003 applied, 005 failed")
    );
    files.pop();
    fixture.run(&files).await.is_there();
    assert_eq!(fixture.went().await, "-003 -002 +004");
    assert_eq!(
        fixture
            .ask("SELECT count(DISTINCT xmin::text) FROM dunlin.migration WHERE version IN ('002', '003', '004')")
            .await,
        "1"
    );

    // And one that fails on its way down.
    files[1].1 = files[1].1.replace("DROP TABLE t_004", "DROP TABLE nowhere");
    fixture.run(&files).await.is_there();
    let next: Files = vec![file("001", ""), file("006", "")];
    let ran = fixture.run(&next).await;
    assert_eq!(ran.finding().reason, Reason::MigrationFailed);
    assert_eq!(fixture.went().await, "nothing");
    assert_eq!(fixture.ask("SELECT to_regclass('t_006') IS NULL").await, "t");
}
