//! Executes a plan, and shows meanwhile how it goes: at most one status write a second, none when nothing has changed.
//!
//! A status that can't be written while something runs changes nothing about what runs.

use std::{pin::pin, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::execute::{self, Report, Running, Session, Stop, Work};

/// How long something runs before it is shown: what is done by then never looks busy.
const FIRST: Duration = Duration::from_millis(200);
/// From one write to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Where it is shown what runs.
pub(super) trait Progress: Send {
    /// Shows it.
    fn show(&mut self, running: &Running) -> impl Future<Output = ()> + Send;
}

/// Executes, and shows what runs. What is being shown at the end is awaited, so that it isn't later than what the caller
/// writes afterwards.
pub(super) async fn perform(
    session: Session,
    work: Work<'_>,
    stop: watch::Receiver<Stop>,
    progress: &mut impl Progress,
) -> Report {
    let (sender, mut receiver) = watch::channel(None);
    let mut execution = pin!(execute::execute(session, work, stop, &sender));
    let mut next = Instant::now() + FIRST;
    let mut shown: Option<Running> = None;
    loop {
        let running = tokio::select! {
            biased;
            report = &mut execution => return report,
            running = changed(&mut receiver, shown.as_ref(), next) => running,
        };
        let mut report = None;
        {
            let mut showing = pin!(progress.show(&running));
            loop {
                tokio::select! {
                    ended = &mut execution, if report.is_none() => report = Some(ended),
                    () = &mut showing => break,
                }
            }
        }
        if let Some(report) = report {
            return report;
        }
        shown = Some(running);
        next = Instant::now() + PAUSE;
    }
}

/// Waits until `after`, and until what runs is something else than what was shown.
async fn changed(receiver: &mut watch::Receiver<Option<Running>>, shown: Option<&Running>, after: Instant) -> Running {
    tokio::time::sleep_until(after).await;
    let running = receiver.wait_for(|running| running.is_some() && running.as_ref() != shown).await;
    match running.map(|running| running.clone()) {
        Ok(Some(running)) => running,
        // The execution has ended, and its report is what counts.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}
