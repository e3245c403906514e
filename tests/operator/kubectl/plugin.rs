//! The binary by the name that kubectl looks for, and a kubeconfig of its own.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::kubernetes;

/// `kubectl dunlin` as somebody runs it.
pub struct Plugin {
    folder: tempfile::TempDir,
    program: PathBuf,
}

/// What a run of it came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A run that goes on.
pub struct Going {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Plugin {
    /// As the administrator, in a namespace that the kubeconfig's context names.
    pub fn new(namespace: &str) -> Self {
        Self::with(namespace, |_| {})
    }

    /// As another user, by impersonation.
    pub fn of_user(namespace: &str, user: &str) -> Self {
        Self::with(namespace, |kubeconfig| {
            let users = kubeconfig["users"].as_array_mut().expect("it has users");
            for entry in users {
                entry["user"]["as"] = json!(user);
            }
        })
    }

    /// With a kubeconfig that differs in something.
    pub fn with(namespace: &str, change: impl FnOnce(&mut Value)) -> Self {
        let text = std::fs::read_to_string(kubernetes().kubeconfig()).expect("the cluster wrote a kubeconfig");
        let mut kubeconfig: Value = dunlin::yaml::from_str(&text).expect("it is YAML");
        for context in kubeconfig["contexts"].as_array_mut().expect("it has contexts") {
            context["context"]["namespace"] = json!(namespace);
        }
        change(&mut kubeconfig);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let program = folder.path().join("kubectl-dunlin");
        symlink(env!("CARGO_BIN_EXE_dunlin"), &program).expect("a link can be made");
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).expect("a file can be written");
        Self { folder, program }
    }

    /// The kubeconfig that it uses.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The folder that has it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("the program runs"))
    }

    /// Runs it to its end, which is to be a good one; returns what it printed.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        ran.stdout
    }

    /// Runs it to its end, which is to be with this code and nothing printed; returns what it said on stderr.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{arguments:?}: {ran:?}");
        ran.stderr
    }

    /// Starts it.
    pub fn start(&self, arguments: &[&str]) -> Going {
        let mut child =
            self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
        let stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
        Going { child, stdout }
    }
}

impl Going {
    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it prints text");
        line.trim_end().to_owned()
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        let sent = Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.stdout, &mut rest).expect("it prints text");
        let ended = Ran::from(self.child.wait_with_output().expect("it ends"));
        Ran { stdout: rest, ..ended }
    }
}

impl From<Output> for Ran {
    fn from(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }
}
