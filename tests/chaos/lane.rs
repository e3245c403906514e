//! A PostgreSQL of its own, on which one thing after the other is broken.

use std::path::PathBuf;

use super::subject::{Subject, connect};
use crate::support::{Dedicated, StopMode, dedicated_postgres_version, fresh_namespace, kubernetes};

pub struct Lane {
    server: Dedicated,
    pub logs: PathBuf,
}

impl Lane {
    /// Starts a server whose answer to a COMMIT holds after a crash, as everybody's does by default.
    pub async fn open(version: Option<u32>, logs: PathBuf) -> Self {
        let server = tokio::task::spawn_blocking(move || {
            let conf = ["synchronous_commit=on", "max_connections=300"];
            // Thousands of logins are no part of what is tried here, and a password costs each of them some milliseconds.
            dedicated_postgres_version(version, &conf, &["host all all 127.0.0.1/32 trust"], &[])
        });
        Self { server: server.await.expect("the server starts"), logs }
    }

    pub fn port(&self) -> u16 {
        self.server.about().port
    }

    /// The superuser's URL.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// The major version.
    pub fn version(&self) -> u32 {
        self.server.about().version
    }

    /// The URL of a database by way of another port.
    pub fn through(&self, url: &str, port: u16) -> String {
        url.replace(&format!(":{}/", self.port()), &format!(":{port}/"))
    }

    /// A namespace and a database of its own.
    pub async fn subject(&self, name: &str) -> Subject {
        self.subject_in(&fresh_namespace().await, name).await
    }

    /// A database of its own, in a namespace that others share.
    pub async fn subject_in(&self, namespace: &str, name: &str) -> Subject {
        let client = kubernetes().client().await;
        let url = self.server.fresh_database().await;
        Subject { client, namespace: namespace.to_owned(), name: name.to_owned(), url }
    }

    /// Ends the server and starts it again.
    pub fn restart(&self, mode: StopMode) {
        tokio::task::block_in_place(|| self.server.restart(mode));
    }

    pub async fn drop_database(&self, url: &str) {
        let name = url.rsplit('/').next().unwrap_or_default();
        let client = connect(self.server.url()).await;
        client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("a superuser may drop it");
    }
}
