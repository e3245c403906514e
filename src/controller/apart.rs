//! Every reconcile is a task of its own, so that no set waits for another's work, nor falls with it; and none for the work of
//! an object that had its name before.
//!
//! Work whose object has gone is asked to stop and goes on apart from the queue, which is free then for the next object of
//! that name: it looks for itself, and says whom it waits for. It is woken when that work has ended.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::{ResourceExt, runtime::controller::Action};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    context::Context,
    health::{BEAT, Loop},
    reconcile,
    registry::{Happened, Seen, name_of},
    status::StatusError,
};
use crate::{api::v1alpha1::MigrationSet, core::desired::Owner};

/// How much may be on its way to be left behind, or to be woken.
pub(super) const BACKLOG: usize = 64;

/// A task that ends with whoever waits for it.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Work that goes on though its object is there no more.
pub(super) struct LeftBehind {
    name: Owner,
    task: Task<Result<Action, StatusError>>,
}

/// Reconciles in a task of its own, until it is through or its object has gone.
pub(super) fn reconcile_apart(
    set: Arc<MigrationSet>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, StatusError>> {
    async move {
        let (name, uid) = (name_of(&*set), set.uid().unwrap_or_default());
        let departure = context.registry.departure(&name, &uid);
        let mut task = Task(tokio::spawn(reconcile::reconcile(set, Arc::clone(&context))));
        let result = tokio::select! {
            biased;
            result = &mut task.0 => result,
            () = departure => {
                // The receiver lives as long as the queue that asks for this.
                let _ = context.leaving.send(LeftBehind { name, task }).await;
                return Ok(Action::await_change());
            }
        };
        result.unwrap_or_else(|error| {
            tracing::error!(set = %name, %error, "a defect of Dunlin: please report it");
            let everything = Happened { source: Seen::Yes, other: Seen::Yes };
            context.registry.give_back(&name, &uid, everything);
            Err(StatusError::Panicked)
        })
    }
    .boxed()
}

/// Drives the queue to its end, and what it has left behind to its end as well.
pub(super) async fn drive(
    reconciles: impl Future<Output = ()>,
    context: &Context,
    mut leaving: mpsc::Receiver<LeftBehind>,
    wake: mpsc::Sender<Owner>,
) {
    let mut reconciles = std::pin::pin!(reconciles);
    let mut behind = FuturesUnordered::new();
    let mut through = false;
    let mut beat = tokio::time::interval(BEAT);
    while !(through && behind.is_empty() && leaving.is_empty()) {
        tokio::select! {
            _ = beat.tick() => context.health.beat(Loop::Queue),
            () = &mut reconciles, if !through => through = true,
            Some(LeftBehind { name, mut task }) = leaving.recv() => behind.push(async move {
                // What became of it is in the database; its object has no status any more.
                if let Err(error) = (&mut task.0).await {
                    tracing::error!(set = %name, %error, "a defect of Dunlin: please report it");
                }
                name
            }),
            Some(name) = behind.next() => {
                context.registry.left_behind(&name);
                // Whoever isn't woken comes back by itself, with the pauses of a lock.
                let _ = wake.try_send(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc as blocking, time::Duration};

    use kube::{Client, Config, runtime::reflector};
    use tokio::{sync::watch, time::Instant};

    use super::*;
    use crate::{
        controller::{
            events::Events, health::Health, lease::Leadership, looks::Looks, metrics::Metrics, registry::Registry,
        },
        core::hosts::AllowedHosts,
        execute::Stop,
    };

    /// A context that nobody asks anything of.
    fn context() -> Context {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nowhere = Config::new("http://127.0.0.1:1".parse().expect("it is an address"));
        let client = Client::try_from(nowhere).expect("it makes a client");
        let stop = watch::channel(Stop::No).1;
        let health = Health::new(&[], Arc::default(), Leadership::Alone, stop.clone());
        Context {
            events: Events::start(client.clone()).0,
            client,
            store: reflector::store().0,
            registry: Registry::default(),
            looks: Looks::default(),
            leaving: mpsc::channel(1).0,
            allowed_hosts: AllowedHosts::default(),
            sets_changed: tokio::sync::Notify::new(),
            stop,
            leadership: Leadership::Alone,
            health: Arc::new(health),
            metrics: Arc::<Metrics>::default(),
        }
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_that_blocks_gives_no_sign_of_life_until_it_goes_on() {
        let context = Arc::new(context());
        let ((block, blocked), (go_on, gone_on)) = (mpsc::channel::<()>(1), blocking::channel::<()>());
        let reconciles = {
            let mut blocked = blocked;
            async move {
                blocked.recv().await;
                gone_on.recv().expect("it is told to go on");
                std::future::pending::<()>().await;
            }
        };
        let queue = Arc::clone(&context);
        let (_leaving, left) = mpsc::channel(1);
        let (wake, _woken) = mpsc::channel(1);
        let driving = tokio::spawn(async move { drive(reconciles, &queue, left, wake).await });
        let beat = || context.health.last_beat(Loop::Queue);
        until("it begins", || beat().is_some()).await;
        let first = beat();
        until("it goes on", || beat() != first).await;
        block.send(()).await.expect("it listens");
        until("it is silent", || beat().is_some_and(|beat| beat.elapsed() > BEAT * 3)).await;
        go_on.send(()).expect("it listens");
        until("it gives a sign again", || beat().is_some_and(|beat| beat.elapsed() < BEAT)).await;
        driving.abort();
    }
}
