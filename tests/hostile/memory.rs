//! The memory of this process, as Linux counts it; elsewhere nothing is measured.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

static ALONE: Mutex<()> = Mutex::const_new(());

/// What the process holds from now on, beyond what it held before. Tests that measure run one after the other.
pub struct Growth {
    before: u64,
    peak: AtomicU64,
    _alone: MutexGuard<'static, ()>,
}

impl Growth {
    pub async fn measure() -> Self {
        let alone = ALONE.lock().await;
        Self { before: resident(), peak: AtomicU64::new(0), _alone: alone }
    }

    /// Forgets what grew so far, which is none of what is measured.
    pub fn again(&mut self) {
        // The kernel forgets its own peak (proc(5), clear_refs).
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        self.before = resident();
        self.peak = AtomicU64::new(0);
    }

    /// The most that it grew by, in MiB.
    pub fn mib(&self) -> u64 {
        let peak = line("VmHWM:").max(resident()).max(self.peak.load(Ordering::Relaxed));
        peak.saturating_sub(self.before) / 1024
    }
}

fn resident() -> u64 {
    line("VmRSS:")
}

/// A line of the process's status, in KiB.
fn line(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    found.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}
