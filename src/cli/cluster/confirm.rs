//! Asking on a terminal, while Ctrl-C is heard.

use super::super::ask;
use super::error::ClusterError;

/// Asks on a thread of its own.
pub(super) async fn confirm(question: &str) -> Result<(), ClusterError> {
    let question = question.to_owned();
    let answer = tokio::task::spawn_blocking(move || ask::ask(&question)).await;
    if answer.map_err(std::io::Error::other).flatten().map_err(ClusterError::Terminal)? {
        return Ok(());
    }
    Err(ClusterError::NotConfirmed { instead: "answer y, or use --yes" })
}
