//! The operator: watches MigrationSets and what they refer to, and brings their databases to what they ask for.
//!
//! It asks the API server for nothing but its watches, what a spec refers to, and the statuses that it writes. Whatever
//! it remembers can be lost.

mod apart;
mod context;
mod dereference;
mod due;
mod events;
mod gates;
mod health;
mod hooks;
mod index;
mod lease;
mod line;
mod looks;
mod metrics;
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
    Client, Config,
    client::ClientBuilder,
    runtime::{
        applier,
        controller::{self, Action},
        reflector,
    },
};
use tokio::{net::TcpListener, sync::mpsc};
use tower::limit::ConcurrencyLimitLayer;

use crate::{
    api::v1alpha1::MigrationSet,
    core::hosts::AllowedHosts,
    execute::Stop,
    serve::{self, Address, Server},
};
use context::Context;
use health::{Beats, Health};
use lease::{Election, Leadership};
pub use lease::{LEASE_NAME, LeaseOptions};
use metrics::{Counting, Metrics};
use registry::{Registry, name_of};
pub use status::StatusError;

/// How long a process has from SIGTERM to SIGKILL in Kubernetes, unless its pod says otherwise.
pub const GRACE_PERIOD: Duration = Duration::from_secs(30);
/// What remains of the grace period when transactions under way are cancelled.
const CANCEL_BEFORE: Duration = Duration::from_secs(10);
/// What remains of it when the operator leaves, whatever is still under way.
const LEAVE_BEFORE: Duration = Duration::from_secs(1);

/// Requests to the API server that are under way at one time, watches that have begun aside.
const REQUESTS: usize = 32;

/// What the operator is told when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The namespaces to watch; none for all of them.
    pub namespaces: Vec<String>,
    /// How long the process has from being asked to stop until it is killed.
    pub grace_period: Duration,
    /// The lease to hold while working; None for an operator that is the only one.
    pub lease: Option<LeaseOptions>,
    /// Whether pods are let go on whose scheduling gates name a set.
    pub pod_gates: bool,
    /// Which hosts may be connected to, for databases and for requests of hooks.
    pub allowed_hosts: AllowedHosts,
    /// Where to answer probes; None for nowhere.
    pub health: Option<Address>,
    /// Where to serve metrics; None for nowhere.
    pub metrics: Option<Address>,
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
    /// Nobody could be answered at an address.
    #[error("can't listen on {address} ({flag}): choose another, or port 0 for one that is free")]
    Listen {
        /// The flag that asks for it.
        flag: &'static str,
        /// The address, as it was written.
        address: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Another works now, or may.
    #[error(
        "the lease {lease} is lost: {why}; what was under way has been left to whoever holds it, so start this one anew"
    )]
    LeaseLost {
        /// `namespace/name`.
        lease: String,
        /// How it came to that.
        why: String,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            grace_period: GRACE_PERIOD,
            lease: None,
            pod_gates: false,
            allowed_hosts: AllowedHosts::default(),
            health: None,
            metrics: None,
        }
    }
}

/// Runs the operator until the process is asked to stop by SIGTERM or SIGINT. A second one ends it at once.
///
/// # Errors
/// [`Error`] when it can't start, or has lost its lease.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let metrics = Arc::<Metrics>::default();
    let client = counted_client(&metrics).await.map_err(Error::Client)?;
    let (asked, shutdown) = tokio::sync::oneshot::channel();
    let operator = operate(client, options, metrics, shutdown.map(|_| ()));
    tokio::pin!(operator);
    tokio::select! {
        ended = &mut operator => return ended,
        () = signals.next() => {}
    }
    // The receiver is gone only when the operator is, and then nothing is left to be told.
    let _ = asked.send(());
    tokio::select! {
        ended = operator => ended,
        () = signals.next() => {
            tracing::warn!("asked twice to stop: leaving what is under way");
            Ok(())
        }
    }
}

/// Runs the operator until `shutdown` is ready or its lease is lost, and then until what it is doing has ended: no further
/// migration starts, a transaction is cancelled 10 s before the grace period is over, a statement outside of one is left to
/// end. Only then is the lease given back.
///
/// # Errors
/// [`Error::Listen`], before anything is begun, and [`Error::LeaseLost`].
pub async fn run_until(
    client: Client,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    operate(client, options, Arc::default(), shutdown).await
}

/// The API server of the environment, with every request counted.
async fn counted_client(metrics: &Arc<Metrics>) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let builder = ClientBuilder::try_from(Config::infer().await?)?;
    Ok(builder.with_layer(&Counting(Arc::clone(metrics))).build())
}

/// A client with a limit to how many requests are under way: each has a connection of its own, and its memory. Its own
/// requests aside, an API server has others to serve.
fn limited(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let send = tower::service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await }
    });
    ClientBuilder::new(send, namespace).with_layer(&ConcurrencyLimitLayer::new(REQUESTS)).build()
}

async fn operate(
    client: Client,
    options: Options,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let Options {
        namespaces,
        grace_period,
        lease,
        pod_gates,
        allowed_hosts,
        health: health_address,
        metrics: metrics_address,
    } = options;
    let for_probes = listen("--health-addr", health_address).await?;
    let for_scrapes = listen("--metrics-addr", metrics_address).await?;
    tracing::info!(?namespaces, "watching");
    if allowed_hosts.is_list() {
        tracing::info!(%allowed_hosts, "connecting to these hosts alone");
    }
    let beats = Arc::<Beats>::default();
    let election = lease.map(|lease| Election::start(client.clone(), lease, Arc::clone(&beats)));
    let leadership = election.as_ref().map_or(Leadership::Alone, Election::leadership);
    // Not the lease's: it must not wait behind a thousand statuses.
    let client = limited(client);
    let (store, writer) = reflector::store::<MigrationSet>();
    let (stop, asked) = tokio::sync::watch::channel(Stop::No);
    let health = Arc::new(Health::new(&namespaces, Arc::clone(&beats), leadership.clone(), asked.clone()));
    let _probes = for_probes.map(|listener| answer_probes(listener, &health));
    let _scrapes = for_scrapes.map(|listener| answer_scrapes(listener, &metrics, leadership.clone()));
    health::watch_the_executor(&beats);
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
        allowed_hosts,
        sets_changed: tokio::sync::Notify::new(),
        stop: asked,
        leadership,
        health,
        metrics,
    });
    let reconciles = reconciles(&context, store, watch::requests(&context, &namespaces, writer, woken));
    let ended = {
        let mut driving = std::pin::pin!(apart::drive(reconciles, &context, left, wake));
        let ended = tokio::select! {
            () = &mut driving => None,
            () = shutdown => Some(Ok(())),
            () = gates::lift(&context, &namespaces), if pod_gates => None,
            why = context.leadership.is_lost() => Some(Err(why)),
        };
        if ended.is_some() {
            tokio::select! {
                () = driving => {}
                () = leave(&context, &stop, grace_period) => {}
            }
        }
        ended.unwrap_or(Ok(()))
    };
    drop(context);
    let lease = election.as_ref().map(|election| election.lease.clone()).unwrap_or_default();
    let release = async {
        if let Some(election) = election {
            election.end().await;
        }
    };
    // What is still to be told may take as long as telling usually takes, and no longer.
    let _ = tokio::time::timeout(LEAVE_BEFORE, futures::future::join(telling, release)).await;
    ended.map_err(|why| Error::LeaseLost { lease, why })
}

/// Listens where a flag asks for it, and says where that is: port 0 is any.
async fn listen(flag: &'static str, address: Option<Address>) -> Result<Option<TcpListener>, Error> {
    let Some(address) = address else { return Ok(None) };
    let refused = |source| Error::Listen { flag, address: address.to_string(), source };
    let listener = serve::listen(&address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    tracing::info!(flag, %address, "listening");
    Ok(Some(listener))
}

fn answer_probes(listener: TcpListener, health: &Arc<Health>) -> Server {
    let health = Arc::clone(health);
    serve::serve(listener, move |path| health.page(path))
}

fn answer_scrapes(listener: TcpListener, metrics: &Arc<Metrics>, leadership: Leadership) -> Server {
    let metrics = Arc::clone(metrics);
    serve::serve(listener, move |path| (path == "/metrics").then(|| metrics.page(&leadership)))
}

/// The queue: whoever is asked for is looked at, and again when it is time.
fn reconciles(
    context: &Arc<Context>,
    store: reflector::Store<MigrationSet>,
    requests: watch::Requests,
) -> impl Future<Output = ()> + use<> {
    let stopping = Arc::clone(context);
    let requests = requests.take_until(async move { stopping.stopping().await }.boxed());
    applier(
        apart::reconcile_apart,
        |set, error, context| after_failure(&set, error, &context),
        Arc::clone(context),
        store,
        requests,
        controller::Config::default(),
    )
    .for_each(async |result| match result {
        Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Err(error) => tracing::error!(%error, "the queue of reconciles"),
    })
}

/// Asks everything to stop, ever more firmly, and returns when the grace period is over.
async fn leave(context: &Context, stop: &tokio::sync::watch::Sender<Stop>, grace_period: Duration) {
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
