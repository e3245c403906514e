//! A real PgBouncer before the server that tests share.

use std::{
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{eventually, postgres};

/// A PgBouncer before the shared server, ended when dropped.
pub struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts one with these lines of its configuration.
    pub async fn start(settings: &str) -> Self {
        let about = postgres().about();
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
    pub fn url(&self, direct: &str) -> String {
        let about = postgres().about();
        let (_, database) = direct.rsplit_once('/').expect("the URL ends in a database");
        format!("postgres://{}:{}@127.0.0.1:{}/{database}", about.user, about.password, self.port)
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
