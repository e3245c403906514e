//! A real PgBouncer: in transaction mode it is recognised before anything is written, in session mode it is no hindrance.

use std::{
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use dunlin::core::outcome::Reason;

use super::fixture::Fixture;
use crate::support::{self, eventually};

const ONE: (&str, &str) = ("001_one.sql", "CREATE TABLE one (a int);\n");
const INDEX: (&str, &str) =
    ("002_index.sql", "-- migrate: no-transaction\nCREATE INDEX CONCURRENTLY one_a ON one (a);\n");

/// A PgBouncer before the shared server, ended when dropped.
struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    async fn start(settings: &str) -> Self {
        let about = support::postgres().about();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
        let users = write(folder.path(), "users.txt", &format!("\"{}\" \"{}\"\n", about.user, about.password));
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\nmax_client_conn = 50\n{settings}\n",
            about.port,
            users.display()
        );
        let file = write(folder.path(), "pgbouncer.ini", &configuration);
        // PgBouncer refuses to run as root, and changes the user by itself when told to.
        let mut command = Command::new(binary());
        command.arg("-q").args(["-u", "nobody"]).arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
        readable_to_all(folder.path());
        let child = command.spawn().expect("pgbouncer starts");
        let pooler = Self { child, port, _folder: folder };
        let url = pooler.url("postgres://x@y/postgres");
        eventually("PgBouncer to answer", Duration::from_secs(10), async || {
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
        pooler
    }

    /// The way to the database of that URL through the pooler.
    fn url(&self, direct: &str) -> String {
        let about = support::postgres().about();
        let (_, database) = direct.rsplit_once('/').expect("the URL ends in a database");
        format!("postgres://{}:{}@127.0.0.1:{}/{database}", about.user, about.password, self.port)
    }

    /// A fixture that reaches a fresh database through the pooler, and one that reaches it directly.
    async fn fixtures(&self) -> (Fixture, Fixture) {
        let direct = Fixture::new().await;
        let mut pooled = Fixture::on(direct.url.clone()).await;
        pooled.url = self.url(&direct.url);
        (pooled, direct)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> PathBuf {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    folders.extend(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.into_iter().map(|folder| folder.join("pgbouncer")).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("this test needs PgBouncer, and there is none on this machine: apt install pgbouncer, or brew install pgbouncer")
    })
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file is written");
    path
}

fn readable_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("permissions are set");
}

/// Whatever the pool's size: with one backend, the second session even has to wait for the first.
#[tokio::test]
async fn a_pool_in_transaction_mode_is_recognised_before_anything_is_written() {
    for size in [1, 2, 20] {
        let pooler = Pooler::start(&format!("pool_mode = transaction\ndefault_pool_size = {size}")).await;
        let (fixture, direct) = pooler.fixtures().await;
        let report = fixture.execute(&[ONE]).await;
        let dunlin::execute::End::Failed(failure) = report.end else { panic!("{size}: {:?}", report.end) };
        assert_eq!(failure.reason, Reason::PoolerNotSupported, "{size}: {}", failure.message);
        assert!(failure.message.contains("directSecretRef"), "{}", failure.message);
        assert_eq!(direct.ask("SELECT to_regnamespace('dunlin') IS NULL AND to_regclass('one') IS NULL").await, "t");
        let locks = direct.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").await;
        assert_eq!(locks, "0", "a lock was left in a backend that others share");
    }
}

#[tokio::test]
async fn a_pool_in_statement_mode_is_recognised() {
    let pooler = Pooler::start("pool_mode = statement").await;
    let (fixture, direct) = pooler.fixtures().await;
    let report = fixture.execute(&[ONE]).await;
    let dunlin::execute::End::Failed(failure) = report.end else { panic!("{:?}", report.end) };
    assert_eq!(failure.reason, Reason::PoolerNotSupported, "{}", failure.message);
    assert_eq!(direct.ask("SELECT to_regnamespace('dunlin') IS NULL").await, "t");
}

#[tokio::test]
async fn a_pool_in_session_mode_is_no_hindrance() {
    let pooler = Pooler::start("pool_mode = session\ndefault_pool_size = 4").await;
    let (fixture, direct) = pooler.fixtures().await;
    let report = fixture.execute(&[ONE, INDEX]).await;
    assert!(matches!(report.end, dunlin::execute::End::Finished), "{:?}", report.end);
    assert_eq!(direct.ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied'").await, "2");
}

/// Two clients in one pool: they apply everything once between them.
#[tokio::test(flavor = "multi_thread")]
async fn two_clients_in_one_session_pool_apply_everything_once() {
    let pooler = Pooler::start("pool_mode = session\ndefault_pool_size = 8").await;
    let (one, direct) = pooler.fixtures().await;
    let mut other = Fixture::on(direct.url.clone()).await;
    other.url.clone_from(&one.url);
    let run = async |fixture: &Fixture| {
        eventually("the set to be applied", Duration::from_secs(30), async || {
            match fixture.execute(&[ONE, INDEX]).await.end {
                dunlin::execute::End::Finished => Ok(()),
                dunlin::execute::End::Failed(failure) if failure.reason == Reason::WaitingForLock => Err(failure),
                end => panic!("{end:?}"),
            }
        })
        .await;
    };
    tokio::join!(run(&one), run(&other));
    assert_eq!(direct.ask("SELECT count(*) || ' ' || count(DISTINCT version) FROM dunlin.run").await, "2 2");
}
