//! The release binary in a folder of migrations.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    binary,
    support::{fresh_database, postgres},
};

/// A folder of migrations, and a database that has the history's tables and nothing else.
pub struct Project {
    folder: tempfile::TempDir,
    pub url: String,
}

impl Project {
    /// The files beside one that does nothing, which is applied.
    pub async fn with(files: &BTreeMap<String, String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let migrations = folder.path().join("migrations");
        std::fs::create_dir(&migrations).expect("a folder");
        std::fs::write(migrations.join("0000_first.sql"), "SELECT 1;\n").expect("it is written");
        let project = Self { folder, url: fresh_database().await };
        project.apply(postgres().about().port);
        for (name, text) in files {
            std::fs::write(migrations.join(name), text).expect("it is written");
        }
        project
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of its database behind that port.
    pub fn url_by(&self, port: u16) -> String {
        self.url.replace(&format!(":{}/", postgres().about().port), &format!(":{port}/"))
    }

    /// The time of a `dunlin apply` by that port, seconds.
    pub fn apply(&self, port: u16) -> f64 {
        let mut command = Command::new(binary::dunlin());
        command.arg("apply").current_dir(self.folder.path()).env("DUNLIN_DATABASE_URL", self.url_by(port));
        let start = Instant::now();
        let status = command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null()).status();
        let seconds = start.elapsed().as_secs_f64();
        assert!(status.expect("it starts").success(), "dunlin apply failed");
        seconds
    }
}
