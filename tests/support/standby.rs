//! A real standby: a server whose data are a base backup of another one, from which it streams.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{Dedicated, StopMode, dedicated_postgres};

/// Starts a standby of `primary` that streams by way of `port`, which leads there. It has the primary's roles and passwords,
/// and a port of its own.
pub fn standby_of(primary: &Dedicated, port: u16) -> Dedicated {
    let standby = dedicated_postgres(&[], &[], &[]);
    standby.stop(StopMode::Fast);
    let (from, to) = (primary.about(), standby.about());
    for entry in std::fs::read_dir(&to.data_dir).expect("the data folder") {
        let path = entry.expect("an entry").path();
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.expect("the standby's own data are removed");
    }
    let mut backup = Command::new(to.bin_dir.join("pg_basebackup"));
    backup
        .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--wal-method=stream", "--no-password"])
        .arg(format!("--dbname=host=127.0.0.1 port={port} user={}", from.user))
        .arg("--pgdata")
        .arg(&to.data_dir)
        .env("PGPASSWORD", &from.password)
        .current_dir(&to.data_dir)
        .uid(to.run_as_uid);
    let done = backup.output().expect("pg_basebackup runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    standby.start_again();
    standby
}
