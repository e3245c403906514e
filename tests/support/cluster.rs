//! A process of `tests/cluster`: started, described by a line of JSON, ended by the end of its standard input.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use serde::Deserialize;

/// What a started cluster says about itself.
#[derive(Debug, Deserialize)]
pub struct Description {
    pub dir: PathBuf,
    #[serde(default)]
    pub kubeconfig: PathBuf,
    #[serde(default)]
    pub server: String,
    #[serde(default)]
    pub bin: PathBuf,
    #[serde(default)]
    pub audit: PathBuf,
    pub postgres: Option<PostgresDescription>,
    pub pids: std::collections::BTreeMap<String, u32>,
}

/// The part about PostgreSQL.
#[derive(Debug, Clone, Deserialize)]
pub struct PostgresDescription {
    pub url: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub version: u32,
    pub bin_dir: PathBuf,
    pub data_dir: PathBuf,
    pub log: PathBuf,
    pub run_as_uid: u32,
}

/// A running cluster. It ends when this is dropped, and when the test process ends, which closes the pipe.
#[derive(Debug)]
pub struct Cluster {
    pub description: Description,
    supervisor: Mutex<Child>,
}

impl Cluster {
    /// Starts `cluster COMMAND ARGUMENTS…` and returns when everything is up; blocks for that long.
    pub fn start<S: AsRef<std::ffi::OsStr>>(command: &str, arguments: &[S]) -> Result<Self, String> {
        let program = program()?;
        // Its talk goes to our stderr, where whoever waits sees it.
        let mut supervisor = Command::new(&program)
            .arg(command)
            .arg("--until-stdin-closes")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting {}: {error}", program.display()))?;
        let mut line = String::new();
        let read = supervisor.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        match (read, serde_json::from_str(&line)) {
            (Some(Ok(_)), Ok(description)) => Ok(Self { description, supervisor: Mutex::new(supervisor) }),
            (_, Err(error)) => {
                drop(supervisor.stdin.take());
                let status = supervisor.wait();
                Err(format!(
                    "`{} {command}` ended ({status:?}) with {line:?}: {error}; it says why above",
                    program.display()
                ))
            }
            (read, Ok(_)) => Err(format!("`{} {command}` can't be read: {read:?}", program.display())),
        }
    }

    /// Stops, starts or restarts one of its processes, and returns the pid of what it started.
    ///
    /// # Panics
    ///
    /// When that fails, with the reason.
    pub fn control(&self, verb: &str, name: &str, mode: &str) -> Option<u32> {
        #[derive(Deserialize)]
        struct Answer {
            pid: Option<u32>,
        }
        let program = program().unwrap_or_else(|error| panic!("{error}"));
        let output = Command::new(program)
            .args(["ctl", "--mode", mode, "--dir"])
            .arg(&self.description.dir)
            .args([verb, name])
            .output()
            .expect("the cluster program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb} {name}: {said}");
        serde_json::from_slice::<Answer>(&output.stdout).expect("ctl answers in JSON").pid
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(supervisor.stdin.take());
        // It ends by itself now; waiting keeps the next test's machine free of what is ending.
        let _ = supervisor.wait();
    }
}

/// The program that `make cluster` builds, or the one that `DUNLIN_CLUSTER` names.
fn program() -> Result<PathBuf, String> {
    let program = std::env::var_os("DUNLIN_CLUSTER")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cluster/bin/cluster"), PathBuf::from);
    if program.is_file() {
        return Ok(program);
    }
    Err(format!(
        "{} isn't there: this test needs a real PostgreSQL or Kubernetes; build the program that starts them with `make cluster`",
        program.display()
    ))
}
