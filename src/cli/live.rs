//! One line at the foot of a terminal that shows what goes on, and lines that are said above it.
//!
//! Everything that commands say on stderr goes through here, so that neither garbles the other. The terminal is left as it
//! was after each write: a process that is killed leaves one line behind, and no setting.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    sync::{Mutex, PoisonError},
};

/// The line as it is shown; None while there is none.
static SHOWN: Mutex<Option<String>> = Mutex::new(None);

/// To the line's beginning, and nothing behind.
const ERASE: &str = "\r\x1b[K";
/// What doesn't fit isn't continued on the next line, which couldn't be erased; put back at once.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// The live line, until it goes.
pub(super) struct Live(());

impl Live {
    /// A live line, where there is a terminal that understands one, and nobody else writes to it.
    pub fn begin() -> Option<Self> {
        let is_quiet = tracing::level_filters::LevelFilter::current() == tracing::level_filters::LevelFilter::OFF;
        let is_fit = !super::talk::is_json() && stderr().is_terminal() && !super::color::is_dumb();
        (is_fit && is_quiet).then_some(Self(()))
    }

    /// Shows a text in the place of what was shown.
    #[allow(clippy::unused_self, reason = "whoever shows something takes it away by dropping this")]
    pub fn show(&self, text: &str) {
        let line: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref() != Some(&line) {
            write(&drawn(&line));
            *shown = Some(line);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        clear();
    }
}

/// Takes the line away.
pub(super) fn clear() {
    if SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
        write(ERASE);
    }
}

/// Writes lines to stderr, above what is shown.
pub(super) fn say(text: &str) {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match &*shown {
        None => write(&format!("{text}\n")),
        Some(line) => write(&format!("{ERASE}{text}\n{}", drawn(line))),
    }
}

fn drawn(line: &str) -> String {
    format!("{NO_WRAP}{ERASE}{line}{WRAP}")
}

/// In one write, so that nobody else's comes in between.
fn write(text: &str) {
    let mut stderr = stderr().lock();
    // Whoever closed stderr doesn't want to read it.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
