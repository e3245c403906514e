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
    while !(through && behind.is_empty() && leaving.is_empty()) {
        tokio::select! {
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
