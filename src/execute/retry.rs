//! Between two tries to get somebody else's lock: how long the lock is left alone, and what is shown meanwhile.

use tokio::sync::watch;

use super::{Running, Stop};
use crate::core::{
    pace::between_tries,
    progress::{self, Blocker, Progress},
};

/// A try gave way to a lock. Who was in the way stays shown, until a look of the next try sees who is then: the last look
/// of this one may have come too late to see anybody.
pub(super) fn gave_way(running: &watch::Sender<Option<Running>>, in_the_way: Vec<Blocker>) {
    if !in_the_way.is_empty() {
        modify(running, |running| running.blocked_by = in_the_way);
    }
}

/// Leaves the lock alone before a retry, the `tried`-th of `retries`. Returns whether it was asked to stop meanwhile.
pub(super) async fn pause(
    tried: u32,
    retries: u32,
    stop: &mut watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
) -> Stop {
    let phase = format!("pausing before retry {tried} of {retries}");
    modify(running, |running| running.progress = Some(Progress { phase, percent: None }));
    let length = between_tries(tried, rand::random());
    // A sender that is gone can't ask for anything any more.
    let _ = tokio::time::timeout(length, stop.wait_for(|stop| *stop != Stop::No)).await;
    modify(running, |running| running.progress = None);
    *stop.borrow()
}

/// For the end of a message: who was last seen in the way, on a line of its own, or nothing.
pub(super) fn last_in_the_way(running: &watch::Sender<Option<Running>>) -> String {
    let running = running.borrow();
    let blockers = running.as_ref().map(|running| running.blocked_by.as_slice()).unwrap_or_default();
    let Some(who) = progress::in_the_way(blockers) else { return String::new() };
    let since = blockers.first().and_then(|first| first.since.as_ref());
    let since = since.map_or_else(String::new, |since| format!(", at work since {since}"));
    format!("\nLast seen in the way: {who}{since}")
}

/// Changes what is shown, while something runs.
pub(super) fn modify(running: &watch::Sender<Option<Running>>, change: impl FnOnce(&mut Running)) {
    running.send_if_modified(|running| {
        let Some(running) = running else { return false };
        change(running);
        true
    });
}
