//! Ctrl-C and SIGTERM: heard from the beginning of a command to its end, so that none is lost between two waits.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whoever asks this process to stop.
pub struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    /// Listens from here on. A signal that can't be listened for ends the process, as it always did.
    pub fn listen() -> Self {
        let listen = |kind| signal(kind).ok();
        Self { interrupt: listen(SignalKind::interrupt()), terminate: listen(SignalKind::terminate()) }
    }

    /// The next one; those that come while nobody waits count as one.
    pub async fn next(&mut self) {
        tokio::select! {
            () = heard(self.interrupt.as_mut()) => {}
            () = heard(self.terminate.as_mut()) => {}
        }
    }
}

async fn heard(signal: Option<&mut Signal>) {
    let Some(signal) = signal else { return std::future::pending().await };
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
