//! The operator: watches MigrationSets and what they refer to, and brings their databases to what they ask for.
//!
//! It asks the API server for nothing but its watches, what a spec refers to, and the statuses that it writes. Whatever
//! it remembers can be lost.

mod apart;
mod context;
mod dereference;
mod due;
mod events;
mod hooks;
mod index;
mod line;
mod looks;
mod observe;
mod perform;
mod reconcile;
mod registry;
mod status;
mod summarize;
mod tokens;
mod watch;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use kube::{
    Client,
    runtime::{
        applier,
        controller::{self, Action},
        reflector,
    },
};
use tokio::sync::mpsc;

use crate::{api::v1alpha1::MigrationSet, execute::Stop};
use context::Context;
use registry::{Registry, name_of};
pub use status::StatusError;

/// How long a process has from SIGTERM to SIGKILL in Kubernetes, unless its pod says otherwise.
pub const GRACE_PERIOD: Duration = Duration::from_secs(30);
/// What remains of the grace period when transactions under way are cancelled.
const CANCEL_BEFORE: Duration = Duration::from_secs(10);
/// What remains of it when the operator leaves, whatever is still under way.
const LEAVE_BEFORE: Duration = Duration::from_secs(1);

/// What the operator is told when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The namespaces to watch; none for all of them.
    pub namespaces: Vec<String>,
    /// How long the process has from being asked to stop until it is killed.
    pub grace_period: Duration,
}

/// Why the operator couldn't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No API server could be found.
    #[error("can't find an API server: set KUBECONFIG, or run in a pod")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The process can't hear when it is to stop.
    #[error("can't listen for signals")]
    Signals(#[source] std::io::Error),
}

impl Default for Options {
    fn default() -> Self {
        Self { namespaces: Vec::new(), grace_period: GRACE_PERIOD }
    }
}

/// Runs the operator until the process is asked to stop by SIGTERM or SIGINT. A second one ends it at once.
///
/// # Errors
/// [`Error`] when it can't start.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let client = Client::try_default().await.map_err(|error| Error::Client(error.into()))?;
    let (asked, shutdown) = tokio::sync::oneshot::channel();
    let operator = run_until(client, options, shutdown.map(|_| ()));
    tokio::pin!(operator);
    tokio::select! {
        () = &mut operator => return Ok(()),
        () = signals.next() => {}
    }
    // The receiver is gone only when the operator is, and then nothing is left to be told.
    let _ = asked.send(());
    tokio::select! {
        () = operator => {}
        () = signals.next() => tracing::warn!("asked twice to stop: leaving what is under way"),
    }
    Ok(())
}

/// Runs the operator until `shutdown` is ready, and then until what it is doing has ended: no further migration starts,
/// a transaction is cancelled 10 s before the grace period is over, a statement outside of one is left to end.
pub async fn run_until(client: Client, options: Options, shutdown: impl Future<Output = ()> + Send) {
    let Options { namespaces, grace_period } = options;
    tracing::info!(?namespaces, "watching");
    let (store, writer) = reflector::store::<MigrationSet>();
    let (stop, asked) = tokio::sync::watch::channel(Stop::No);
    let (leaving, left) = mpsc::channel(apart::BACKLOG);
    let (wake, woken) = mpsc::channel(apart::BACKLOG);
    let (events, telling) = events::Events::start(client.clone());
    let context = Arc::new(Context {
        client,
        store: store.clone(),
        registry: Registry::default(),
        events,
        looks: looks::Looks::default(),
        leaving,
        stop: asked,
    });
    let stopping = Arc::clone(&context);
    let requests = watch::requests(&context, &namespaces, writer, woken)
        .take_until(async move { stopping.stopping().await }.boxed());
    let reconciles = applier(
        apart::reconcile_apart,
        |set, error, context| after_failure(&set, error, &context),
        Arc::clone(&context),
        store,
        requests,
        controller::Config::default(),
    )
    .for_each(async |result| match result {
        Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Err(error) => tracing::error!(%error, "the queue of reconciles"),
    });
    let leave = async {
        shutdown.await;
        tracing::info!("stopping: what is under way may end");
        let tell = |how: Stop| {
            stop.send_replace(how);
            context.registry.stop_all(how);
        };
        tell(Stop::BetweenMigrations);
        let cancel_after = grace_period.saturating_sub(CANCEL_BEFORE);
        tokio::time::sleep(cancel_after).await;
        tell(Stop::CancelTransaction);
        tokio::time::sleep(grace_period.saturating_sub(cancel_after).saturating_sub(LEAVE_BEFORE)).await;
        tracing::warn!("the grace period is over: leaving what is under way to the next operator");
    };
    tokio::select! {
        () = apart::drive(reconciles, &context, left, wake) => {}
        () = leave => {}
    }
    drop(context);
    // What is still to be told may take as long as telling usually takes, and no longer.
    let _ = tokio::time::timeout(LEAVE_BEFORE, telling).await;
}

/// When to come back to a set whose status couldn't be written.
fn after_failure(set: &MigrationSet, error: &StatusError, context: &Context) -> Action {
    let (name, uid) = (name_of(set), set.metadata.uid.clone().unwrap_or_default());
    tracing::warn!(set = %name, error = error.with_source(), "it is tried again");
    let mut tries = 0;
    context.registry.remember(&name, &uid, |remembered| {
        tries = remembered.unwritten;
        remembered.unwritten = remembered.unwritten.saturating_add(1);
    });
    Action::requeue(crate::core::pace::after_failed_writes(tries, rand::random()))
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, Error> {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
