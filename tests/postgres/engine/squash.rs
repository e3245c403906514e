//! Files that stand for others: an old database and a fresh one end alike, and go back alike.

use dunlin::core::{
    desired::{OnMissing, OutOfOrder},
    outcome::Reason,
};

use super::ways::{Files, file, fixture, graph};

/// 003 stands for 001 and 002, whose tables it makes and takes away.
fn squash() -> (String, String) {
    let text = "-- replaces: 001, 002\n-- migrate: up\nCREATE TABLE t_001 (a int);\nCREATE TABLE t_002 (a int);\n\
                INSERT INTO went (what) VALUES ('+003');\n\
                -- migrate: down\nDROP TABLE t_002;\nDROP TABLE t_001;\nINSERT INTO went (what) VALUES ('-003');\n";
    ("003_all.sql".into(), text.into())
}

/// A line of files, of which 004 needs 002.
fn old() -> Files {
    graph(&[("001", ""), ("002", "001"), ("004", "002")])
}

/// The same after the squash; 004 is what it was.
fn new() -> Files {
    vec![squash(), file("004", "-- depends: 002\n")]
}

/// M30, Q60
#[tokio::test]
async fn an_old_database_and_a_fresh_one_end_alike_and_go_on_alike() {
    let (mut before, mut fresh) = (fixture().await, fixture().await);
    before.go("latest", &old()).await.is_up_to_date();
    assert_eq!(before.went().await, "+001 +002 +004");
    before.go("latest", &new()).await.is_up_to_date();
    assert_eq!(
        (before.went().await.as_str(), before.states().await.as_str()),
        ("nothing", "001 replaced, 002 replaced, 003 applied, 004 applied")
    );
    fresh.go("latest", &new()).await.is_up_to_date();
    assert_eq!(fresh.went().await, "+003 +004");
    let mut more = new();
    more.push(file("005", "-- depends: 004\n"));
    for (files, to, expected) in [
        (&new(), "latest", "nothing"),
        (&more, "latest", "+005"),
        (&more, "003", "-005 -004"),
        (&more, "latest", "+004 +005"),
        (&more, "none", "-005 -004 -003"),
        (&more, "latest", "+003 +004 +005"),
    ] {
        for fixture in [&mut before, &mut fresh] {
            fixture.go(to, files).await.is_there();
            assert_eq!(fixture.went().await, expected, "{to}");
        }
        assert_eq!(before.shape().await, fresh.shape().await, "{to}");
    }
}

#[tokio::test]
async fn a_squash_of_which_only_some_ran_waits_and_names_the_rest() {
    let mut fixture = fixture().await;
    fixture.go("latest", &graph(&[("001", "")])).await.is_up_to_date();
    fixture.went().await;
    let ran = fixture.go("latest", &new()).await;
    assert_eq!(ran.finding().reason, Reason::MissingMigration);
    assert!(
        ran.finding()
            .message
            .contains("003_all.sql replaces migrations of which the database has only some; it lacks 002"),
        "{}",
        ran.finding().message
    );
    assert_eq!(fixture.went().await, "nothing");
    // With the files back, they run first.
    let mut both = old();
    both.push(squash());
    fixture.desired.policy.out_of_order = OutOfOrder::Allow;
    fixture.go("latest", &both).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+002 +004");
    fixture.go("latest", &new()).await.is_up_to_date();
    assert_eq!(fixture.went().await, "nothing");
}

/// What needed one of those that were replaced needs what stands for them, and goes before it.
#[tokio::test]
async fn children_of_replaced_migrations_are_kept_from_losing_the_squash() {
    let mut fixture = fixture().await;
    fixture.go("latest", &old()).await.is_up_to_date();
    fixture.go("latest", &new()).await.is_up_to_date();
    fixture.went().await;
    fixture.desired.policy.on_missing = OnMissing::Rollback;
    let orphan = ("004_t.sql".to_owned(), new()[1].1.replace("-- depends: 002\n", ""));
    let ran = fixture.go("latest", &vec![orphan]).await;
    assert_eq!(ran.finding().reason, Reason::RollbackDenied);
    assert!(ran.finding().message.contains("004_t needs 003_all"), "{}", ran.finding().message);
    assert_eq!(fixture.went().await, "nothing");
}

/// Q60: the old files instead of the squash again; on the old database and on the fresh one.
#[tokio::test]
async fn a_squash_that_is_reverted_is_restored_without_running() {
    for ran_before in [true, false] {
        let mut fixture = fixture().await;
        if ran_before {
            fixture.go("latest", &old()).await.is_up_to_date();
        }
        fixture.go("latest", &new()).await.is_up_to_date();
        let shape = fixture.shape().await;
        fixture.went().await;
        fixture.go("latest", &old()).await.is_up_to_date();
        assert_eq!((fixture.went().await.as_str(), fixture.shape().await), ("nothing", shape), "{ran_before}");
        assert_eq!(fixture.states().await, "001 applied, 002 applied, 003 rolled_back, 004 applied", "{ran_before}");
        // And there and back again.
        fixture.go("latest", &new()).await.is_up_to_date();
        fixture.go("latest", &old()).await.is_up_to_date();
        assert_eq!(fixture.went().await, "nothing", "{ran_before}");
        fixture.go("none", &old()).await.is_there();
        assert_eq!(fixture.went().await, "-004 -002 -001", "{ran_before}");
    }
}

#[tokio::test]
async fn a_squash_that_is_rolled_back_takes_all_along_that_it_stands_for() {
    let mut fixture = fixture().await;
    fixture.go("latest", &old()).await.is_up_to_date();
    fixture.go("latest", &new()).await.is_up_to_date();
    fixture.went().await;
    fixture.go("none", &new()).await.is_there();
    assert_eq!(fixture.went().await, "-004 -003");
    assert_eq!(fixture.states().await, "001 rolled_back, 002 rolled_back, 003 rolled_back, 004 rolled_back");
    fixture.go("latest", &old()).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+001 +002 +004");
}

/// Before the squash is recorded, what it is to stand for goes by itself.
#[tokio::test]
async fn an_old_database_goes_back_to_nothing_with_the_new_files() {
    let mut fixture = fixture().await;
    fixture.go("latest", &old()).await.is_up_to_date();
    fixture.went().await;
    fixture.go("none", &new()).await.is_there();
    assert_eq!(fixture.went().await, "-004 -002 -001");
    fixture.go("latest", &new()).await.is_up_to_date();
    assert_eq!(fixture.went().await, "+003 +004");
}

/// A target among those that were replaced, whose files are still there: nothing that it keeps is undone for it.
#[tokio::test]
async fn a_target_within_a_squash_keeps_what_it_names() {
    for ran_before in [true, false] {
        let mut fixture = fixture().await;
        if ran_before {
            fixture.go("latest", &vec![file("001", ""), file("002", "")]).await.is_up_to_date();
        }
        fixture.go("latest", &vec![squash()]).await.is_up_to_date();
        fixture.run_sql("INSERT INTO t_001 VALUES (7); INSERT INTO t_002 VALUES (7)").await;
        fixture.went().await;
        let all = vec![file("001", ""), file("002", ""), squash()];
        for (to, expected) in
            [("latest", "nothing"), ("002", "nothing"), ("001", "-002"), ("latest", "+002"), ("latest", "nothing")]
        {
            fixture.go(to, &all).await.is_there();
            assert_eq!(fixture.went().await, expected, "{ran_before}, {to}");
        }
        assert_eq!(fixture.ask("SELECT a FROM t_001").await, "7");
        assert_eq!(fixture.states().await, "001 replaced, 002 replaced, 003 applied");
    }
}
