//! The one place where tests pause.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Asks again and again until the answer is `Ok`, and returns what is in it.
///
/// `probe` tells how things stand as an `Err` while they aren't as hoped.
///
/// # Panics
///
/// When the time is up, with the last `Err`.
pub async fn eventually<T, E: Debug>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        let state = match tokio::time::timeout(limit, probe()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(state)) => format!("{state:#?}"),
            Err(_) => "the question itself got no answer".to_owned(),
        };
        assert!(Instant::now() < deadline, "not so within {limit:?}: {what}; at last: {state}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
