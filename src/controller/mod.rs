//! The operator: watches MigrationSets and what they refer to, and brings their databases to what they ask for.

/// What the operator is told when it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The namespaces to watch; none for all of them.
    pub namespaces: Vec<String>,
}

/// Why the operator couldn't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No API server could be found.
    #[error("can't find an API server: set KUBECONFIG, or run in a pod")]
    Client(#[from] kube::Error),
}

/// Runs the operator until it is told to stop.
///
/// # Errors
/// [`Error`] when it can't start or go on.
#[allow(clippy::unused_async, reason = "it waits as soon as it watches")]
pub async fn run(options: Options) -> Result<(), Error> {
    tracing::info!(?options, "starting");
    Ok(())
}
