//! Asking a person on a terminal, where there is one.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

/// Whether somebody can be asked.
pub(super) fn can_ask() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks, on stderr, and waits for the answer: y or yes is a yes.
///
/// # Errors
/// The terminal can't be written or read.
pub(super) fn ask(question: &str) -> io::Result<bool> {
    let mut stderr = stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
