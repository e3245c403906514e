//! This process, as Linux shows it in `/proc`. Whatever can't be read there is absent.

use std::fs;

use super::{families, text::Page};

/// Parts of a second in which the kernel counts time (`USER_HZ`): 100 wherever Dunlin is built for.
const TICKS: f64 = 100.0;
/// Where `utime`, `stime`, `starttime` and `vsize` stand in `/proc/self/stat`, from the field behind the name (manual page
/// `proc_pid_stat`).
const UTIME: usize = 11;
const STIME: usize = 12;
const STARTTIME: usize = 19;
const VSIZE: usize = 20;

/// Writes what there is.
pub(super) fn write(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let field = |at| field(&stat, at);
    let cpu = field(UTIME).zip(field(STIME)).map(|(user, system)| (user + system) / TICKS);
    page.single(&families::CPU, cpu);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    page.single(&families::RESIDENT, value(&status, "VmRSS:").map(|kibibytes| kibibytes * 1_024.0));
    page.single(&families::VIRTUAL, field(VSIZE));
    let kernel = fs::read_to_string("/proc/stat").unwrap_or_default();
    page.single(&families::START, value(&kernel, "btime").zip(field(STARTTIME)).map(|(boot, at)| boot + at / TICKS));
    // The folder that is being read is one of them.
    let open = fs::read_dir("/proc/self/fd").map(|entries| entries.count().saturating_sub(1));
    page.single(&families::OPEN_FDS, open.ok().and_then(|open| u32::try_from(open).ok()).map(f64::from));
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    page.single(&families::MAX_FDS, value(&limits, "Max open files"));
}

/// A field of `/proc/self/stat`, from the one behind the name, which may hold anything, parentheses too.
fn field(stat: &str, at: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(at)?.parse().ok()
}

/// The first number behind a key at the front of a line.
fn value(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 12345 4096000 500";
        assert_eq!(
            [UTIME, STIME, STARTTIME, VSIZE].map(|at| field(stat, at)),
            [250.0, 50.0, 12345.0, 4_096_000.0].map(Some)
        );
        assert_eq!(field("", 0), None);
    }

    #[test]
    fn a_value_stands_behind_its_key() {
        assert_eq!(value("Name:\tdunlin\nVmRSS:\t   20480 kB\n", "VmRSS:"), Some(20_480.0));
        assert_eq!(
            value("Max open files            1024                 524288               files\n", "Max open files"),
            Some(1_024.0)
        );
        assert_eq!(value("Max open files            unlimited", "Max open files"), None);
    }

    #[test]
    fn this_process_is_shown() {
        let mut page = Page::default();
        write(&mut page);
        let text = page.text();
        for family in [families::CPU, families::RESIDENT, families::VIRTUAL, families::START, families::OPEN_FDS] {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{} ", family.name)));
            let value: f64 = line.and_then(|value| value.parse().ok()).expect("it is a number");
            assert!(value > 0.0 || family == families::CPU, "{} is {value}", family.name);
        }
    }
}
