//! Following a MigrationSet until something is so: by a watch, without polling.

use std::time::Duration;

use futures::StreamExt;
use kube::runtime::{
    WatchStreamExt,
    watcher::{self, watch_object},
};

use super::super::talk;
use super::{
    access::{Cluster, full_name},
    error::ClusterError,
    standing,
};
use crate::api::v1alpha1::MigrationSet;

/// What one look at the object says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look<T> {
    /// It is so.
    Done(T),
    /// It isn't, and how it stands instead.
    NotYet(String),
}

/// Follows a MigrationSet until a look is done, and tells each change on stderr. A connection that is lost is made again
/// until the time is up.
pub(super) async fn follow<T>(
    cluster: &Cluster,
    name: &str,
    limit: Duration,
    mut look: impl FnMut(&MigrationSet) -> Look<T>,
) -> Result<T, ClusterError> {
    let mut at_last = "the API server hasn't answered".to_owned();
    let followed = async {
        let mut states = watch_object(cluster.sets(), name).default_backoff().boxed();
        while let Some(state) = states.next().await {
            let set = match state {
                Ok(Some(set)) => set,
                Ok(None) => return Err(ClusterError::Deleted { name: full_name(name) }),
                Err(error) => {
                    let trouble = trouble(cluster, error);
                    match trouble {
                        Trouble::Final(error) => return Err(error),
                        Trouble::Passing(message) => at_last = message,
                    }
                    continue;
                }
            };
            match look(&set) {
                Look::Done(found) => return Ok(found),
                Look::NotYet(how) if how != at_last => {
                    talk::say("note", format!("{}: {how}", standing::name(&set)));
                    at_last = how;
                }
                Look::NotYet(_) => {}
            }
        }
        unreachable!("a watch begins again when it ends")
    };
    match tokio::time::timeout(limit, followed).await {
        Ok(ended) => ended,
        Err(_) => Err(ClusterError::TimedOut { name: full_name(name), seconds: limit.as_secs_f64(), at_last }),
    }
}

/// What a watch that stumbles means.
pub(super) enum Trouble {
    /// It will not be better by itself.
    Final(ClusterError),
    /// The watch tries again.
    Passing(String),
}

/// Tells a refusal from a connection that was lost.
pub(super) fn trouble(cluster: &Cluster, error: watcher::Error) -> Trouble {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status))
            if [401, 403, 404, 405].contains(&status.code) =>
        {
            Trouble::Final(cluster.trouble(kube::Error::Api(status)))
        }
        error @ (InitialListFailed(_) | WatchStartFailed(_) | WatchError(_) | WatchFailed(_) | NoResourceVersion) => {
            tracing::debug!(%error, "the watch begins again");
            Trouble::Passing(format!("the API server can't be watched: {error}"))
        }
    }
}
