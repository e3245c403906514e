//! What goes on beside a statement under way: what it does, who is in its way, and whether it is asked to stop.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::MissedTickBehavior};

use super::{Running, Stop, claim::Claim};
use crate::{
    core::progress::Blocker,
    database::progress::{self, Look},
};

/// How often the watching connection looks, at the longest and at the shortest.
const LOOK: Duration = Duration::from_secs(1);
const QUICK_LOOK: Duration = Duration::from_millis(200);

/// How a supervised future ended.
pub(super) struct Supervised<T> {
    pub value: T,
    /// A cancel was sent, because it was asked to stop.
    pub cancelled: bool,
    /// Who was last seen in its way.
    pub in_the_way: Vec<Blocker>,
}

/// How often to look where a wait for a lock ends after `lock_timeout_ms` (0: never): so that each such wait is seen,
/// unless it is too short for that.
pub(super) fn look_every(lock_timeout_ms: u64) -> Duration {
    if lock_timeout_ms == 0 { LOOK } else { Duration::from_millis(lock_timeout_ms / 2).clamp(QUICK_LOOK, LOOK) }
}

/// Awaits `future`, which uses the working connection; meanwhile looks what it does and who is in its way, and cancels
/// what runs when asked to (and `cancels` allows it). A watching connection that answers no more holds nothing up.
pub(super) async fn supervise<T>(
    claim: &Claim,
    stop: &mut watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
    every: Duration,
    cancels: bool,
    future: impl Future<Output = T>,
) -> Supervised<T> {
    let cancelled = AtomicBool::new(false);
    let in_the_way = Mutex::new(Vec::new());
    let looking = async {
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let blockers = show(claim, running).await;
            if !blockers.is_empty() {
                *in_the_way.lock().unwrap_or_else(PoisonError::into_inner) = blockers;
            }
        }
    };
    let cancelling = async {
        // A sender that is gone can't ask for anything any more.
        if cancels && stop.wait_for(|stop| *stop == Stop::CancelTransaction).await.is_ok() {
            cancelled.store(true, Ordering::Relaxed);
            // One that doesn't arrive leaves the transaction to the process's end, which rolls it back too.
            let _ = claim.working.cancel().await;
        }
        std::future::pending::<()>().await;
    };
    let value = tokio::select! {
        biased;
        value = future => value,
        () = looking => unreachable!("looking goes on for ever"),
        () = cancelling => unreachable!("once it has cancelled, it waits"),
    };
    let in_the_way = in_the_way.into_inner().unwrap_or_else(PoisonError::into_inner);
    Supervised { value, cancelled: cancelled.into_inner(), in_the_way }
}

/// Shows what a look sees, and returns who is in the way.
async fn show(claim: &Claim, running: &watch::Sender<Option<Running>>) -> Vec<Blocker> {
    // The look explains: that it can't be had is no reason to stop, but one to forget what was seen before.
    let look = progress::look(&claim.watching.client, claim.backend.pid).await;
    let Look { progress, mut blockers } = look.unwrap_or_default();
    for blocker in &mut blockers {
        claim.variables.redact_in(&mut blocker.query);
    }
    running.send_if_modified(|running| match running {
        Some(running) if running.progress != progress || running.blocked_by != blockers => {
            running.progress = progress;
            running.blocked_by.clone_from(&blockers);
            true
        }
        _ => false,
    });
    blockers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_looked_at_before_it_gives_way() {
        for (lock_timeout_ms, expected_ms) in [(0, 1000), (3000, 1000), (2000, 1000), (1000, 500), (400, 200), (1, 200)]
        {
            assert_eq!(look_every(lock_timeout_ms), Duration::from_millis(expected_ms), "{lock_timeout_ms}");
        }
    }
}
