//! A real standby: a server whose data are a copy of another one's, from which it streams.

use std::{fs, io::Write as _, process::Command};

use super::{Dedicated, StopMode, dedicated_postgres};

/// Starts a standby of `primary` that streams by way of `port`, which leads there. It has the primary's roles and passwords,
/// and a port of its own. The primary is restarted: packages of servers alone have no `pg_basebackup`, and a folder is copied
/// while nobody writes to it.
pub fn standby_of(primary: &Dedicated, port: u16) -> Dedicated {
    let standby = dedicated_postgres(&[], &[], &[]);
    standby.stop(StopMode::Fast);
    primary.stop(StopMode::Fast);
    let (from, to) = (primary.about(), standby.about());
    for entry in fs::read_dir(&to.data_dir).expect("the data folder") {
        let path = entry.expect("an entry").path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("the standby's own data are removed");
    }
    let copied = Command::new("cp").arg("-a").arg(from.data_dir.join(".")).arg(&to.data_dir).output().expect("cp runs");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let settings = to.data_dir.join("postgresql.auto.conf");
    let mut settings = fs::OpenOptions::new().append(true).open(settings).expect("the settings are there");
    let (user, password) = (&from.user, &from.password);
    writeln!(settings, "primary_conninfo = 'host=127.0.0.1 port={port} user={user} password={password}'")
        .expect("they are written");
    fs::write(to.data_dir.join("standby.signal"), "").expect("it is told that it is a standby");
    primary.start_again();
    standby.start_again();
    standby
}
