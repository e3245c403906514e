//! PostgreSQL for tests: one server that they share, a database each; or a server of one's own.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::NoTls;

use super::cluster::{Cluster, PostgresDescription};

/// The server that this binary's tests share.
#[derive(Debug)]
pub struct Postgres {
    cluster: Cluster,
    about: PostgresDescription,
}

/// How a server is stopped: as by `pg_ctl stop --mode`, or by SIGKILL of the postmaster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    Smart,
    Fast,
    Immediate,
    Kill,
}

impl StopMode {
    fn word(self) -> &'static str {
        match self {
            Self::Smart => "smart",
            Self::Fast => "fast",
            Self::Immediate => "immediate",
            Self::Kill => "kill",
        }
    }
}

/// The variable that names the major version of the shared server, and of a server of one's own that asks for none; it is
/// fetched if it isn't on the machine. Unset, it is the newest on the machine.
const VERSION: &str = "DUNLIN_TEST_POSTGRES";

/// The shared server, started by the first call.
///
/// # Panics
///
/// When it can't be started, with the reason.
pub fn postgres() -> &'static Postgres {
    static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
    let started = SHARED.get_or_init(|| Postgres::start(&version(None)));
    started.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// Creates an empty database on the shared server, and returns the superuser's URL for it.
pub async fn fresh_database() -> String {
    postgres().fresh_database().await
}

/// A server for one test, ended when dropped.
pub type Dedicated = Postgres;

/// Starts a server of its own: lines `key=value` of postgresql.conf, lines of `pg_hba.conf` that come before the
/// default ones (`host all all 127.0.0.1/32 scram-sha-256`), and files to copy into the data folder, by name there.
///
/// With `ssl=on`, `server.crt` and `server.key` are the server's TLS; an empty `standby.signal` makes it a read-only
/// standby without a primary, until `SELECT pg_promote()`.
pub fn dedicated_postgres(conf: &[&str], hba: &[&str], files: &[(&str, &Path)]) -> Dedicated {
    dedicated_postgres_version(None, conf, hba, files)
}

/// The same, of a major version; it is fetched if it isn't on the machine.
pub fn dedicated_postgres_version(
    major: Option<u32>,
    conf: &[&str],
    hba: &[&str],
    files: &[(&str, &Path)],
) -> Dedicated {
    let mut arguments = version(major);
    for setting in conf {
        arguments.extend(["--conf".into(), setting.into()]);
    }
    for line in hba {
        arguments.extend(["--hba".into(), line.into()]);
    }
    for (name, path) in files {
        let mut file = OsString::from(format!("{name}="));
        file.push(path);
        arguments.extend(["--file".into(), file]);
    }
    Postgres::start(&arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// The arguments that ask for a version.
fn version(major: Option<u32>) -> Vec<OsString> {
    let asked = major.map(|major| major.to_string().into());
    let asked = asked.or_else(|| std::env::var_os(VERSION)).filter(|version| !version.is_empty());
    asked.map_or_else(Vec::new, |version| vec!["--version".into(), version])
}

impl Postgres {
    fn start(arguments: &[OsString]) -> Result<Self, String> {
        let cluster = Cluster::start("postgres", arguments)?;
        let about = cluster.description.postgres.clone().ok_or("the cluster says nothing about PostgreSQL")?;
        Ok(Self { cluster, about })
    }

    /// The superuser's URL for the database `postgres`.
    pub fn url(&self) -> &str {
        &self.about.url
    }

    /// The superuser's URL for a database.
    pub fn url_of(&self, database: &str) -> String {
        let (server, _) = self.about.url.rsplit_once('/').expect("the URL ends in a database");
        format!("{server}/{database}")
    }

    /// Host, port, password, folders and the rest.
    pub fn about(&self) -> &PostgresDescription {
        &self.about
    }

    /// Creates an empty database, and returns the superuser's URL for it.
    pub async fn fresh_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let (client, connection) =
            tokio_postgres::connect(self.url(), NoTls).await.expect("the server takes connections");
        let connection = tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a superuser may create a database");
        drop(client);
        connection.await.expect("the connection doesn't panic").expect("the connection ends well");
        self.url_of(&name)
    }

    /// Ends the server; a database of `Immediate` or `Kill` recovers at the next start.
    pub fn stop(&self, mode: StopMode) {
        self.cluster.control("stop", "postgres", mode.word());
    }

    /// Starts the ended server again, on the same port.
    pub fn start_again(&self) {
        self.cluster.control("start", "postgres", StopMode::Fast.word());
    }

    /// Ends the server and starts it again, on the same port.
    pub fn restart(&self, mode: StopMode) {
        self.cluster.control("restart", "postgres", mode.word());
    }
}
