//! Kubernetes for tests: one API server that they share, a namespace each.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::cluster::Cluster;

/// An API server: the real one, without nodes and without controllers, so a deleted namespace stays `Terminating` and
/// nothing collects garbage.
#[derive(Debug)]
pub struct Kubernetes {
    cluster: Cluster,
}

/// The API server that this binary's tests share, started by the first call.
///
/// # Panics
///
/// When it can't be started, with the reason.
pub fn kubernetes() -> &'static Kubernetes {
    static SHARED: OnceLock<Result<Kubernetes, String>> = OnceLock::new();
    SHARED.get_or_init(Kubernetes::start).as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// An API server for one test, which may stop it; ended when dropped.
///
/// # Panics
///
/// When it can't be started, with the reason.
pub fn dedicated_kubernetes() -> Kubernetes {
    Kubernetes::start().unwrap_or_else(|error| panic!("{error}"))
}

/// The same, with every answered request written down in [`Kubernetes::audit`].
///
/// # Panics
///
/// When it can't be started, with the reason.
pub fn audited_kubernetes() -> Kubernetes {
    Kubernetes::start_with(&["--audit"]).unwrap_or_else(|error| panic!("{error}"))
}

/// Creates an empty namespace at the shared API server, and returns its name.
pub async fn fresh_namespace() -> String {
    kubernetes().fresh_namespace().await
}

impl Kubernetes {
    fn start() -> Result<Self, String> {
        Self::start_with(&[])
    }

    fn start_with(flags: &[&str]) -> Result<Self, String> {
        let flags = [&["--without-postgres"], flags].concat();
        Cluster::start("up", &flags).map(|cluster| Self { cluster })
    }

    /// Creates an empty namespace, and returns its name.
    pub async fn fresh_namespace(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let api = Api::all(self.client().await);
        api.create(&PostParams::default(), &namespace).await.expect("an admin may create a namespace");
        name
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.cluster.description.kubeconfig
    }

    /// The requests that were answered, a JSON object a line; of an audited one.
    pub fn audit(&self) -> &Path {
        &self.cluster.description.audit
    }

    /// The API server's URL.
    pub fn server(&self) -> &str {
        &self.cluster.description.server
    }

    /// The folder that has `kubectl` in it.
    pub fn bin(&self) -> &Path {
        &self.cluster.description.bin
    }

    /// A new client for the administrator. A client belongs to the runtime that it was made in, so each test makes its
    /// own.
    pub async fn client(&self) -> kube::Client {
        kube::Client::try_from(self.config().await).expect("the kubeconfig makes a client")
    }

    /// The administrator's configuration, for a client that is to differ in something.
    pub async fn config(&self) -> kube::Config {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).expect("the cluster wrote a kubeconfig");
        let options = KubeConfigOptions::default();
        kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the kubeconfig is complete")
    }

    /// Runs kubectl as the administrator, and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        Command::new(self.bin().join("kubectl"))
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .output()
            .expect("kubectl runs")
    }

    /// Ends the API server at once, as a crash does: only a dedicated one, since the other is everybody's.
    pub fn stop(&self) {
        self.cluster.control("stop", "kube-apiserver", "kill");
    }

    /// Starts the ended API server again, on the same port and with the same data.
    pub fn start_again(&self) {
        self.cluster.control("start", "kube-apiserver", "kill");
    }
}
