//! The memory of this process: what it asked for, to the byte, and what it held of the machine's, as Linux counts it
//! (elsewhere that isn't measured).

use peak_alloc::PeakAlloc;
use tokio::sync::{Mutex, MutexGuard};

#[global_allocator]
static ASKED_FOR: PeakAlloc = PeakAlloc;

static ALONE: Mutex<()> = Mutex::const_new(());

/// What the process takes from now on, beyond what it had before. Tests that measure run one after the other.
pub struct Growth {
    asked_for: usize,
    resident: usize,
    _alone: MutexGuard<'static, ()>,
}

/// By how much a process grew at most, in MiB, rounded down.
#[derive(Debug, Clone, Copy)]
pub struct Grown {
    /// What was allocated and not yet freed: the same on a busy machine as on an idle one.
    pub allocated: usize,
    /// What the machine had to give, freed memory that the allocator kept for later included.
    pub resident: usize,
}

impl Growth {
    pub async fn measure() -> Self {
        let alone = ALONE.lock().await;
        Self { asked_for: ASKED_FOR.current_usage(), resident: resident(), _alone: alone }
    }

    /// Forgets what grew so far, which is none of what is measured.
    pub fn again(&mut self) {
        // The kernel forgets its own peak (proc(5), clear_refs).
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        ASKED_FOR.reset_peak_usage();
        self.asked_for = ASKED_FOR.current_usage();
        self.resident = resident();
    }

    pub fn most(&self) -> Grown {
        let mib = |most: usize, before: usize| most.saturating_sub(before) >> 20;
        Grown {
            allocated: mib(ASKED_FOR.peak_usage(), self.asked_for),
            resident: mib(line("VmHWM:").max(resident()), self.resident),
        }
    }
}

fn resident() -> usize {
    line("VmRSS:")
}

/// A line of the process's status, in bytes.
fn line(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    let kib: usize =
        found.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    kib << 10
}
