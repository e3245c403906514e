//! The operator as a process, which can be killed.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use crate::support::kubernetes;

/// A running operator; it ends with this, at the latest.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Operator {
    /// Starts one for a namespace, with every fail point armed as said.
    pub fn start(namespace: &str, failpoints: Option<&str>, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the folder of the logs is there");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["operator", "--namespace", namespace]).env("KUBECONFIG", kubernetes().kubeconfig()).stderr(file);
        if let Some(failpoints) = failpoints {
            command.env("FAILPOINTS", failpoints);
        }
        Self { child: command.spawn().expect("the binary runs"), log: log.to_owned() }
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        // One that has ended by itself is told by `defects`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// What its log says that must never be said.
    pub fn defects(log: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let bad = |line: &&str| line.contains("panicked at") || line.contains("a defect of Dunlin");
        text.lines().filter(bad).map(str::to_owned).collect()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }
}
