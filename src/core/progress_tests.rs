//! Rows as the servers give them, and what they come to.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[track_caller]
fn reads(view: View, row: &Value, expected: &str) {
    assert_eq!(progress(view, row).map(|seen| seen.to_string()).as_deref(), Some(expected), "{row}");
}

/// A row of the view as an idle counter leaves it, with some columns set.
fn create_index(phase: &str, set: &Value) -> Value {
    let mut row = json!({
        "pid": 4711, "datid": 5, "datname": "shop", "relid": 16_384, "index_relid": 0, "command": "CREATE INDEX",
        "phase": phase, "lockers_total": 0, "lockers_done": 0, "current_locker_pid": 0, "blocks_total": 0,
        "blocks_done": 0, "tuples_total": 0, "tuples_done": 0, "partitions_total": 0, "partitions_done": 0,
    });
    for (column, value) in set.as_object().into_iter().flatten() {
        row[column] = value.clone();
    }
    row
}

#[test]
fn an_index_build_is_measured_by_what_its_phase_counts() {
    let scanned = json!({"blocks_total": 300, "blocks_done": 300});
    for (phase, set, expected) in [
        ("initializing", json!({}), "initializing"),
        (
            "waiting for writers before build",
            json!({"lockers_total": 3, "lockers_done": 1}),
            "waiting for writers before build 33%",
        ),
        (
            "building index: scanning table",
            json!({"blocks_total": 200, "blocks_done": 85}),
            "building index: scanning table 42%",
        ),
        ("building index: scanning table", json!({}), "building index: scanning table"),
        // The blocks are those of the scan that is over.
        ("building index: sorting live tuples", scanned.clone(), "building index: sorting live tuples"),
        (
            "building index: loading tuples in tree",
            json!({"blocks_total": 300, "blocks_done": 300, "tuples_total": 1000, "tuples_done": 999}),
            "building index: loading tuples in tree 99%",
        ),
        (
            "building index: merging tuples",
            json!({"blocks_total": 300, "blocks_done": 300, "tuples_total": 10, "tuples_done": 1}),
            "building index: merging tuples 10%",
        ),
        // A method that names no phases: scanned to the end isn't done.
        ("building index", json!({"blocks_total": 300, "blocks_done": 30}), "building index 10%"),
        ("building index", scanned.clone(), "building index"),
        (
            "building index",
            json!({"blocks_total": 300, "blocks_done": 300, "tuples_total": 8, "tuples_done": 2}),
            "building index 25%",
        ),
        (
            "index validation: scanning index",
            json!({"blocks_total": 4, "blocks_done": 1}),
            "index validation: scanning index 25%",
        ),
        ("index validation: sorting tuples", scanned, "index validation: sorting tuples"),
        (
            "waiting for old snapshots",
            json!({"lockers_total": 1, "lockers_done": 0, "blocks_total": 4, "blocks_done": 4}),
            "waiting for old snapshots 0%",
        ),
        (
            "building index: scanning table",
            json!({"blocks_total": 2, "blocks_done": 1, "partitions_total": 12, "partitions_done": 2}),
            "building index: scanning table (partition 3 of 12) 50%",
        ),
        (
            "building index: sorting live tuples",
            json!({"partitions_total": 12, "partitions_done": 12}),
            "building index: sorting live tuples (partition 12 of 12)",
        ),
    ] {
        reads(View::CreateIndex, &create_index(phase, &set), expected);
    }
}

#[test]
fn a_vacuum_of_any_version_is_read() {
    // 14 to 16 count no indexes.
    let old = |phase: &str| {
        json!({
            "pid": 4711, "datid": 5, "datname": "shop", "relid": 16_384, "phase": phase, "heap_blks_total": 800,
            "heap_blks_scanned": 200, "heap_blks_vacuumed": 8, "index_vacuum_count": 0, "max_dead_tuples": 291,
            "num_dead_tuples": 4,
        })
    };
    // 17 counts bytes of dead tuples, and indexes; 18 its delays too.
    let new = |phase: &str| {
        json!({
            "pid": 4711, "datid": 5, "datname": "shop", "relid": 16_384, "phase": phase, "heap_blks_total": 800,
            "heap_blks_scanned": 200, "heap_blks_vacuumed": 8, "index_vacuum_count": 0,
            "max_dead_tuple_bytes": 67_108_864, "dead_tuple_bytes": 1024, "num_dead_item_ids": 4, "indexes_total": 4,
            "indexes_processed": 3, "delay_time": 0,
        })
    };
    for row in [old, new].map(|row| row("scanning heap")) {
        reads(View::Vacuum, &row, "VACUUM: scanning heap 25%");
    }
    reads(View::Vacuum, &old("vacuuming heap"), "VACUUM: vacuuming heap 1%");
    reads(View::Vacuum, &old("vacuuming indexes"), "VACUUM: vacuuming indexes");
    reads(View::Vacuum, &new("vacuuming indexes"), "VACUUM: vacuuming indexes 75%");
    reads(View::Vacuum, &new("cleaning up indexes"), "VACUUM: cleaning up indexes 75%");
    reads(View::Vacuum, &new("truncating heap"), "VACUUM: truncating heap");
}

#[test]
fn a_table_that_is_written_anew_is_measured_while_it_is_read_in_order() {
    let row = |command: &str, phase: &str| {
        json!({
            "pid": 4711, "relid": 16_384, "command": command, "phase": phase, "cluster_index_relid": 0,
            "heap_tuples_scanned": 50, "heap_tuples_written": 20, "heap_blks_total": 10, "heap_blks_scanned": 9,
            "index_rebuild_count": 1,
        })
    };
    for (command, phase, expected) in [
        ("VACUUM FULL", "seq scanning heap", "VACUUM FULL: seq scanning heap 90%"),
        ("CLUSTER", "index scanning heap", "CLUSTER: index scanning heap"),
        ("CLUSTER", "sorting tuples", "CLUSTER: sorting tuples"),
        ("CLUSTER", "writing new heap", "CLUSTER: writing new heap 40%"),
        ("VACUUM FULL", "rebuilding index", "VACUUM FULL: rebuilding index"),
    ] {
        reads(View::Cluster, &row(command, phase), expected);
    }
}

#[test]
fn an_analyze_is_measured_by_blocks_children_or_statistics() {
    let row = |phase: &str| {
        json!({
            "pid": 4711, "relid": 16_384, "phase": phase, "sample_blks_total": 30_000, "sample_blks_scanned": 29_999,
            "ext_stats_total": 2, "ext_stats_computed": 1, "child_tables_total": 8, "child_tables_done": 2,
            "current_child_table_relid": 16_390,
        })
    };
    reads(View::Analyze, &row("acquiring sample rows"), "ANALYZE: acquiring sample rows 99%");
    reads(View::Analyze, &row("acquiring inherited sample rows"), "ANALYZE: acquiring inherited sample rows 25%");
    reads(View::Analyze, &row("computing extended statistics"), "ANALYZE: computing extended statistics 50%");
    reads(View::Analyze, &row("computing statistics"), "ANALYZE: computing statistics");
}

#[test]
fn a_copy_is_measured_only_when_the_server_reads_a_file() {
    let row = |kind: &str, total: u64| {
        json!({
            "pid": 4711, "command": "COPY FROM", "type": kind, "bytes_processed": 65_536, "bytes_total": total,
            "tuples_processed": 900, "tuples_excluded": 0,
        })
    };
    reads(View::Copy, &row("FILE", 131_072), "COPY FROM 50%");
    reads(View::Copy, &row("PIPE", 0), "COPY FROM");
}

/// Another role's row, as it shows to a login without `pg_read_all_stats`.
#[test]
fn what_may_not_be_seen_is_nothing() {
    for view in View::ALL {
        let hidden = json!({"pid": 4711, "datid": 5, "datname": "shop", "relid": null, "command": null, "phase": null});
        assert_eq!(progress(view, &hidden), None, "{view:?}");
        assert_eq!(progress(view, &Value::Null), None, "{view:?}");
    }
}

#[test]
fn what_is_in_the_way_is_named_as_far_as_it_may_be_seen() {
    let blocker = |application: Option<&str>, user: Option<&str>| Blocker {
        pid: Some(4711),
        application: application.map(str::to_owned),
        user: user.map(str::to_owned),
        query: None,
        since: None,
    };
    assert_eq!(in_the_way(&[]), None);
    assert_eq!(in_the_way(&[blocker(None, None)]).as_deref(), Some("pid 4711"));
    let psql = blocker(Some("psql"), Some("till"));
    let prepared = Blocker { pid: None, ..blocker(Some("prepared transaction till-7"), Some("till")) };
    assert_eq!(in_the_way(&[prepared]).as_deref(), Some("prepared transaction till-7 (till)"));
    assert_eq!(in_the_way(&[psql, blocker(Some(""), None)]).as_deref(), Some("pid 4711 (psql, till) and 1 more"));
}

proptest! {
    #[test]
    fn a_percentage_never_goes_above_100_and_never_comes_without_a_total(done: u64, total: u64) {
        let row = create_index("building index: scanning table", &json!({"blocks_done": done, "blocks_total": total}));
        let percent = progress(View::CreateIndex, &row).and_then(|seen| seen.percent);
        prop_assert_eq!(percent.is_some(), total > 0);
        prop_assert!(percent.is_none_or(|percent| percent <= 100));
        prop_assert_eq!(percent == Some(100), total > 0 && done >= total);
    }
}
