//! Asking a person on a terminal, where there is one.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use super::error::ClusterError;

/// Whether somebody can be asked.
pub(super) fn can_ask() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks, on stderr, and takes y or yes for a yes.
pub(super) async fn confirm(question: &str) -> Result<(), ClusterError> {
    eprint!("{question} [y/N] ");
    stderr().flush().map_err(ClusterError::Terminal)?;
    // On a thread of its own, so that Ctrl-C is heard meanwhile.
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = read.await.map_err(std::io::Error::other).flatten().map_err(ClusterError::Terminal)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        Ok(())
    } else {
        Err(ClusterError::NotConfirmed { instead: "answer y, or use --yes" })
    }
}
