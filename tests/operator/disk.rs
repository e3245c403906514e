//! A disk that is full under a migration, and under the server's write-ahead log: a small file system in memory, mounted where
//! the test may mount.

use std::{io::Write as _, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use dunlin::api::v1alpha1::MigrationSet;
use serde_json::json;
use tokio_postgres::NoTls;

use crate::{
    install::install_crd,
    line::{applied, is_ready},
    shop::{LIMIT, Shop, message, ready},
    support::{Dedicated, StopMode, dedicated_postgres, eventually, kubernetes},
};

/// A file system of a certain size, in memory, that belongs to a server's user.
struct Disk {
    folder: PathBuf,
    _parent: tempfile::TempDir,
}

impl Disk {
    /// Mounts one; None where that isn't allowed, which is said.
    fn mount(server: &Dedicated, megabytes: u32) -> Option<Self> {
        let parent = tempfile::tempdir().expect("a temp folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(parent.path(), open).expect("it is ours");
        let folder = parent.path().join("disk");
        std::fs::create_dir(&folder).expect("a folder");
        let options = format!("size={megabytes}m,mode=0700,uid={}", server.about().run_as_uid);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "dunlin-test"]).arg(&folder).output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Self { folder, _parent: parent }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        // Past the test harness, which shows what a test prints only when it fails.
        let said =
            format!("\n!!! SKIPPED: a full disk is NOT tested, since no file system may be mounted here: {why}\n");
        std::io::stderr().write_all(said.as_bytes()).expect("stderr takes it");
        None
    }

    fn resize(&self, megabytes: u32) {
        let options = format!("remount,size={megabytes}m");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.folder).status().expect("mount runs");
        assert!(done.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server may still have files open there, and ends with the test.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

const USERS: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id int);");
const AFTER: (&str, &str) = ("004_after.sql", "CREATE TABLE after_it (id int);");
/// Some 30 MB each.
const BIG: (&str, &str) = (
    "002_big.sql",
    "CREATE TABLE big (t text) TABLESPACE small;\n\
     INSERT INTO big SELECT repeat(md5(i::text), 30) FROM generate_series(1, 30000) AS i;",
);
const JOURNALED: (&str, &str) = (
    "003_journaled.sql",
    "-- migrate: no-transaction\nCREATE TABLE once (t text) TABLESPACE small;\nINSERT INTO once VALUES ('kept');\n\
     INSERT INTO once SELECT repeat(md5(i::text), 30) FROM generate_series(1, 30000) AS i;\nVACUUM once;\n",
);

fn retries_for_space(set: &MigrationSet, file: &str) -> bool {
    ready(set)
        .is_some_and(|(_, reason, message)| reason == "Retrying" && message.contains(file) && message.contains("53100"))
}

/// A migration that writes more than the disk holds is rolled back and tried again until there is room, in both modes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make chaos-long"]
async fn a_migration_that_fills_the_disk_is_tried_again_when_there_is_room() {
    install_crd();
    let server = dedicated_postgres(&[], &[], &[]);
    let Some(disk) = Disk::mount(&server, 16) else { return };
    let mut shop = Shop::at(kubernetes(), server.fresh_database().await).await;
    shop.ask(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.folder.display())).await;
    shop.start_operator().await;
    shop.files("sql", &[USERS, BIG, JOURNALED, AFTER]).await;
    shop.apply(json!({})).await;
    let set = shop.until_that("shop", "it waits for room", |set| retries_for_space(set, "002_big.sql")).await;
    assert_eq!(applied(&set), 1, "{}", message(&set));
    assert_eq!(
        shop.ask("SELECT coalesce(to_regclass('big'), to_regclass('once'))").await,
        "NULL",
        "nothing of it is left"
    );
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied'").await, "1");

    // Room for the first, and not for the second.
    disk.resize(56);
    shop.annotate("dunlin.dev/reconcile", "room for one").await;
    let set = shop.until_that("shop", "it waits for room", |set| retries_for_space(set, "003_journaled.sql")).await;
    assert_eq!(applied(&set), 2, "{}", message(&set));
    assert_eq!(shop.ask("SELECT string_agg(t, ',') FROM once").await, "kept");

    disk.resize(200);
    shop.annotate("dunlin.dev/reconcile", "room for all").await;
    shop.until_that("shop", "there is room", |set| applied(set) == 4 && is_ready(set)).await;
    assert_eq!(shop.ask("SELECT count(*) || '/' || (SELECT count(*) FROM once) FROM big").await, "30000/30001");
    let runs = "SELECT count(*) || min(outcome) || max(outcome) FROM dunlin.run";
    assert_eq!(shop.ask(runs).await, "4succeededsucceeded");
    shop.close().await;
    drop(server);
}

/// The log's disk is full: the server panics under a migration and can't even come back by itself. With room, it does, and
/// everything is done once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: make chaos-long"]
async fn a_server_that_panics_for_a_full_log_is_waited_for() {
    install_crd();
    let server = dedicated_postgres(&["max_wal_size=32MB", "min_wal_size=32MB"], &[], &[]);
    let Some(disk) = Disk::mount(&server, 96) else { return };
    server.stop(StopMode::Fast);
    let (log, moved) = (server.about().data_dir.join("pg_wal"), disk.folder.join("pg_wal"));
    let copied = Command::new("cp").arg("-r").arg(&log).arg(&moved).uid(server.about().run_as_uid).status();
    assert!(copied.expect("cp runs").success());
    std::fs::remove_dir_all(&log).expect("it is removed");
    std::os::unix::fs::symlink(&moved, &log).expect("a link");
    server.start_again();
    let mut shop = Shop::at(kubernetes(), server.url().to_owned()).await;
    // Whatever is written stays in the log.
    shop.ask("SELECT pg_create_physical_replication_slot('keeps', true)").await;
    let big = (
        "002_big.sql",
        "CREATE TABLE big (t text);\nINSERT INTO big SELECT repeat(md5(i::text), 30) FROM generate_series(1, 200000) AS i;",
    );
    shop.start_operator().await;
    shop.files("sql", &[USERS, big, AFTER]).await;
    shop.apply(json!({"interval": "1h"})).await;
    eventually("the server has panicked", LIMIT, async || {
        let log = std::fs::read_to_string(&server.about().log).expect("the log is text");
        if log.contains("PANIC") && log.contains("No space left on device") { Ok(()) } else { Err("not yet") }
    })
    .await;
    let troubled = |set: &MigrationSet| {
        ready(set).is_some_and(|(status, reason, _)| {
            status != "True" && ["WaitingForDatabase", "Retrying"].contains(&reason.as_str())
        })
    };
    shop.until_that("shop", "it is waited for", troubled).await;

    disk.resize(2_000);
    eventually("the server is back", LIMIT, async || {
        // It is down for good, or tries to recover by itself; or has managed to.
        if tokio_postgres::connect(server.url(), NoTls).await.is_ok() {
            return Ok(());
        }
        let gone = !server.about().data_dir.join("postmaster.pid").exists();
        if gone {
            // It may still be on its way out.
            server.stop(StopMode::Immediate);
            server.start_again();
        }
        Err(gone)
    })
    .await;
    shop.annotate("dunlin.dev/reconcile", "there is room").await;
    let set = shop.until_that("shop", "there is room", |set| applied(set) == 3 && is_ready(set)).await;
    assert_eq!(set.status.and_then(|status| status.failure), None);
    assert_eq!(shop.ask("SELECT count(*) FROM big").await, "200000");
    assert_eq!(
        shop.ask("SELECT count(*) || min(outcome) || max(outcome) FROM dunlin.run").await,
        "3succeededsucceeded"
    );
    shop.close().await;
    drop(server);
}
