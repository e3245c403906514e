//! The operator as a process of its own, which can be stopped, continued and ended by signals.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command},
};

use crate::support::Kubernetes;

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
        let folder = tempfile::tempdir().expect("a temp folder");
        let log = folder.path().join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(["operator", "--namespace", namespace])
            .args(flags)
            .env("KUBECONFIG", kubernetes.kubeconfig())
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary runs");
        Self { child, log, _folder: folder }
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

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        // A stopped process is killed as well; one that has ended is no trouble.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
