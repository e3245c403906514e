//! What goes on beside a statement under way: who is in its way, and whether it is asked to stop.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{sync::watch, time::MissedTickBehavior};

use super::{Blocker, Running, Stop, claim::Claim};
use crate::database::session;

/// How often the watching connection looks for what is in the way.
const LOOK: Duration = Duration::from_secs(1);

/// How a supervised future ended.
pub(super) struct Supervised<T> {
    pub value: T,
    /// A cancel was sent, because it was asked to stop.
    pub cancelled: bool,
}

/// Awaits `future`, which uses the working connection; meanwhile fills in `blocked_by`, and cancels what runs when asked
/// to (and `cancels` allows it). A watching connection that answers no more holds nothing up.
pub(super) async fn supervise<T>(
    claim: &Claim,
    stop: &mut watch::Receiver<Stop>,
    running: &watch::Sender<Option<Running>>,
    cancels: bool,
    future: impl Future<Output = T>,
) -> Supervised<T> {
    let cancelled = AtomicBool::new(false);
    let looking = async {
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            show_blockers(claim, running).await;
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
    tokio::select! {
        biased;
        value = future => Supervised { value, cancelled: cancelled.into_inner() },
        () = looking => unreachable!("looking goes on for ever"),
        () = cancelling => unreachable!("once it has cancelled, it waits"),
    }
}

async fn show_blockers(claim: &Claim, running: &watch::Sender<Option<Running>>) {
    // Blockers of other roles show pid, user and application alone, unless the login may read all statistics.
    let sql = format!(
        "SELECT a.pid, a.application_name, a.usename, pg_catalog.left(a.query, 200), \
         pg_catalog.to_char(COALESCE(a.xact_start, a.query_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
         FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = ANY (pg_catalog.pg_blocking_pids({}))",
        claim.backend.pid
    );
    // The look explains; what it can't see is no reason to stop.
    let Ok(rows) = session::query(&claim.watching.client, &sql).await else { return };
    let blockers: Vec<Blocker> = rows
        .iter()
        .filter_map(|row| {
            let text = |column| row.get(column).filter(|text: &&str| !text.is_empty()).map(str::to_owned);
            Some(Blocker {
                pid: row.get(0)?.parse().ok()?,
                application: text(1),
                user: text(2),
                query: text(3).filter(|query| !query.starts_with("<insufficient privilege>")),
                since: text(4),
            })
        })
        .collect();
    running.send_if_modified(|running| match running {
        Some(running) if running.blocked_by != blockers => {
            running.blocked_by = blockers;
            true
        }
        _ => false,
    });
}
