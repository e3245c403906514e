//! Executes a plan, and shows meanwhile how it goes: at most one status write a second, none when nothing has changed.
//!
//! A status that can't be written while something runs changes nothing about what runs.

use std::{convert::Infallible, pin::pin, time::Duration};

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
/// writes afterwards. Answers also with how long what ran was seen waiting for the locks of others.
pub(super) async fn perform(
    session: Session,
    work: Work<'_>,
    stop: watch::Receiver<Stop>,
    progress: &mut impl Progress,
) -> (Report, Duration) {
    let (sender, mut receiver) = watch::channel(None);
    let seen = receiver.clone();
    let mut execution = pin!(async {
        let mut waits = Waits::default();
        let report = tokio::select! {
            biased;
            report = execute::execute(session, work, stop, &sender) => report,
            never = waits.watch(seen) => match never {},
        };
        (report, waits.in_all(Instant::now()))
    });
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

/// How long what runs is seen waiting for the locks of others.
#[derive(Debug, Default)]
struct Waits {
    since: Option<Instant>,
    over: Duration,
}

impl Waits {
    /// Watches what runs, without end.
    async fn watch(&mut self, mut receiver: watch::Receiver<Option<Running>>) -> Infallible {
        while receiver.changed().await.is_ok() {
            let waits = receiver.borrow_and_update().as_ref().is_some_and(|running| !running.blocked_by.is_empty());
            self.note(waits, Instant::now());
        }
        std::future::pending().await
    }

    fn note(&mut self, waits: bool, now: Instant) {
        if waits {
            self.since.get_or_insert(now);
        } else {
            self.over = self.in_all(now);
            self.since = None;
        }
    }

    fn in_all(&self, now: Instant) -> Duration {
        self.over + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
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
