//! A folder with settings and migrations, a database of its own, and the binary at work on both.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use crate::support;

pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub struct Project {
    pub folder: tempfile::TempDir,
    pub url: String,
    pub sql: tokio_postgres::Client,
}

impl Project {
    /// An empty folder `migrations`, and settings that name nothing: the database is in the environment.
    pub async fn new() -> Self {
        let url = support::fresh_database().await;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
        let (sql, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        Self { folder, url, sql }
    }

    pub async fn with(files: &[(&str, &str)]) -> Self {
        let project = Self::new().await;
        for (name, text) in files {
            project.migration(name, text);
        }
        project
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn migration(&self, name: &str, text: &str) {
        self.write(&format!("migrations/{name}"), text);
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it is written");
    }

    /// `dunlin` in the folder, with the database in the environment.
    pub async fn dunlin(&self, arguments: &[&str]) -> Ran {
        self.dunlin_with(arguments, &[("DUNLIN_DATABASE_URL", &self.url)]).await
    }

    /// `dunlin` in the folder, with that environment alone.
    pub async fn dunlin_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = command(self.folder.path(), arguments, environment);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it is waited for");
        ran(output.expect("the program runs"))
    }

    /// `dunlin` at work in the folder, for whoever stops it.
    pub fn begin(&self, arguments: &[&str]) -> Begun {
        self.begin_with(arguments, &[("DUNLIN_DATABASE_URL", &self.url)])
    }

    /// The same, with that environment alone.
    pub fn begin_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Begun {
        let mut command = command(self.folder.path(), arguments, environment);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Begun(command.spawn().expect("the program runs"))
    }

    /// Takes the lock of the set that was applied here, as somebody else's run does; its key gives it back.
    pub async fn take_lock(&self) -> String {
        let key = self.ask("SELECT lock_key FROM dunlin.set").await;
        self.ask(&format!("SELECT pg_advisory_lock({key})")).await;
        key
    }

    /// Waits until a query answers so.
    pub async fn until(&self, query: &str, expected: &str) {
        support::eventually(query, Duration::from_secs(20), async || {
            let found = self.ask(query).await;
            if found == expected { Ok(()) } else { Err(found) }
        })
        .await;
    }

    pub async fn ask(&self, query: &str) -> String {
        let messages = self.sql.simple_query(query).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        });
        row.unwrap_or_else(|| "no row".to_owned())
    }

    /// The tables of the schema public.
    pub async fn tables(&self) -> String {
        self.ask("SELECT coalesce(string_agg(tablename, ' ' ORDER BY tablename), '') FROM pg_tables WHERE schemaname = 'public'").await
    }
}

/// A command under way.
pub struct Begun(Child);

impl Begun {
    /// Waits for its end.
    pub async fn end(self) -> Ran {
        let output = tokio::task::spawn_blocking(move || self.0.wait_with_output()).await.expect("it is waited for");
        ran(output.expect("it ends"))
    }

    /// Sends it a signal, as `INT`, and waits for its end.
    pub async fn end_by(self, signal: &str) -> Ran {
        self.signal(signal);
        self.end().await
    }

    /// The first line that it says on stderr, which its end leaves out.
    pub async fn says_first(mut self) -> (String, Self) {
        let first = tokio::task::spawn_blocking(move || {
            let line = read_until(self.0.stderr.as_mut().expect("it was asked for"), "\n");
            (line.trim_end().to_owned(), self)
        });
        first.await.expect("it is waited for")
    }

    /// What it prints until it has printed these words.
    pub async fn prints(mut self, words: &'static str) -> (String, Self) {
        let printed = tokio::task::spawn_blocking(move || {
            (read_until(self.0.stdout.as_mut().expect("it was asked for"), words), self)
        });
        printed.await.expect("it is waited for")
    }

    fn signal(&self, signal: &str) {
        let killed = Command::new("kill").args([&format!("-{signal}"), &self.0.id().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
    }
}

impl Ran {
    /// It ended with that code.
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Self {
        assert_eq!(self.code, Some(expected), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// All of these were said on stderr.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Self {
        for words in words {
            assert!(self.stderr.contains(words), "no {words:?} in: {}", self.stderr);
        }
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// By the byte, so that the rest stays where its end is read from.
fn read_until(reader: &mut impl std::io::Read, words: &str) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(words.as_bytes()) && reader.read(&mut byte).expect("it can be read") == 1 {
        read.extend(byte);
    }
    String::from_utf8(read).expect("it is text")
}

pub fn command(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(arguments).current_dir(folder).env_clear().envs(environment.iter().copied());
    command.stdin(Stdio::null());
    command
}

pub fn ran(Output { status, stdout, stderr }: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A migration of one table with a way down.
pub fn table(version: &str) -> (String, String) {
    let text =
        format!("-- migrate: up\nCREATE TABLE t_{version} (a int);\n-- migrate: down\nDROP TABLE t_{version};\n");
    (format!("{version}_t.sql"), text)
}

/// A line of them.
pub async fn line(versions: &[&str]) -> Project {
    let project = Project::new().await;
    for version in versions {
        let (name, text) = table(version);
        project.migration(&name, &text);
    }
    project
}
