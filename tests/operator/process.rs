//! The operator as a process of its own, which can be stopped, continued and ended by signals.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    shop::LIMIT,
    support::{Kubernetes, eventually},
};

/// A running `dunlin operator`. It ends with the test, however that ends.
pub struct OperatorProcess {
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl OperatorProcess {
    /// Starts one for a namespace.
    pub fn start(kubernetes: &Kubernetes, namespace: &str) -> Self {
        Self::start_with(kubernetes, namespace, &["--log-level", "debug"])
    }

    /// The same with these flags.
    pub fn start_with(kubernetes: &Kubernetes, namespace: &str, flags: &[&str]) -> Self {
        Self::start_at(kubernetes.kubeconfig(), namespace, flags)
    }

    /// The same with this kubeconfig.
    pub fn start_at(kubeconfig: &Path, namespace: &str, flags: &[&str]) -> Self {
        Self::start_in(kubeconfig, namespace, flags, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_in(kubeconfig: &Path, namespace: &str, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temp folder");
        let log = folder.path().join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(["operator", "--namespace", namespace])
            .args(flags)
            .env("KUBECONFIG", kubeconfig)
            .env_remove("SSL_CERT_DIR")
            .env_remove("SSL_CERT_FILE")
            .envs(variables.iter().copied())
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary runs");
        Self { child, log, _folder: folder }
    }

    /// Where it listens for a flag that asks for any port.
    pub async fn address(&self, flag: &str) -> String {
        eventually("it says where it listens", LIMIT, async || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("listening") && line.contains(flag));
            let address = line.and_then(|line| line.split_once("address=")).map(|(_, behind)| behind);
            address.and_then(|behind| behind.split_whitespace().next()).map(str::to_owned).ok_or(log)
        })
        .await
    }

    /// Sends it a signal: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success(), "{name} to {}", self.child.id());
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(self) {
        self.signal("TERM");
        let (code, log) = self.ended().await;
        assert_eq!(code, Some(0), "{log}");
    }

    /// Waits until it has ended: its exit code, unless a signal ended it, and its log.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let ended = tokio::task::spawn_blocking(move || {
            let status = self.child.wait();
            (status.expect("it ended").code(), self.log())
        });
        ended.await.expect("no panic")
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is text")
    }
}

/// Reads a page: its status code, and what it says.
pub async fn read(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or_else(|| panic!("no HTTP: {answer:?}")), body.to_owned()))
}

/// Waits until a page has this status code, and returns what it says then.
pub async fn until_page(address: &str, path: &str, status: u16) -> String {
    eventually(&format!("{path} is {status}"), LIMIT, async || match read(address, path).await {
        Ok((found, text)) if found == status => Ok(text),
        other => Err(format!("{other:?}")),
    })
    .await
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        // A stopped process is killed as well; one that has ended is no trouble.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
