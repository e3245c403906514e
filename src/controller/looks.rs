//! How many looks at databases are under way at one time, and who waits for whom.
//!
//! A database that answers is looked at in no time; one that doesn't takes what its deadline gives it. So there are two
//! queues: a look that is slow, or follows one that found no database, waits among its like, and holds up nobody who is
//! quick. What runs migrations isn't counted.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Quick looks at one time.
const QUICK: usize = 64;
/// Slow ones, in which there is little but waiting.
const SLOW: usize = 256;
/// Looks at one time, of both kinds.
pub(super) const MOST: usize = QUICK + SLOW;
/// From when on a look is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// The places.
pub(super) struct Looks {
    quick: Semaphore,
    slow: Semaphore,
    slow_after: Duration,
}

/// What is to be expected of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// The last one came to the database, or there was none.
    Quick,
    /// The last one found no database.
    Slow,
}

impl Default for Looks {
    fn default() -> Self {
        Self::new(QUICK, SLOW, SLOW_AFTER)
    }
}

impl Looks {
    fn new(quick: usize, slow: usize, slow_after: Duration) -> Self {
        Self { quick: Semaphore::new(quick), slow: Semaphore::new(slow), slow_after }
    }

    /// Does it as soon as there is a place.
    pub async fn take<T>(&self, expected: Expected, look: impl Future<Output = T>) -> T {
        if expected == Expected::Slow {
            let _place = acquire(&self.slow).await;
            return look.await;
        }
        let quick = acquire(&self.quick).await;
        let mut look = std::pin::pin!(look);
        let moved = async {
            tokio::time::sleep(self.slow_after).await;
            acquire(&self.slow).await
        };
        let slow = tokio::select! {
            biased;
            answer = &mut look => return answer,
            slow = moved => slow,
        };
        drop(quick);
        let answer = look.await;
        drop(slow);
        answer
    }
}

/// The semaphores are never closed; if one were, a look without a place is still a look.
async fn acquire(places: &Semaphore) -> Option<SemaphorePermit<'_>> {
    places.acquire().await.ok()
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::pending};

    use super::*;

    /// Polls a look once.
    fn begin<T>(look: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        look.now_or_never()
    }

    #[tokio::test]
    async fn a_slow_look_gives_its_place_to_a_quick_one() {
        let looks = Looks::new(1, 8, Duration::from_millis(50));
        let mut slow = Box::pin(looks.take(Expected::Quick, pending::<()>()));
        assert_eq!(begin(&mut slow), None);
        let mut quick = Box::pin(looks.take(Expected::Quick, async {}));
        assert_eq!(begin(&mut quick), None, "the place is taken");
        let both = async {
            tokio::select! {
                () = &mut slow => unreachable!("it never ends"),
                () = quick => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("the quick one has its turn");
    }

    #[tokio::test]
    async fn what_found_no_database_waits_among_its_like() {
        let looks = Looks::new(1, 1, Duration::from_secs(1));
        let mut dead = Box::pin(looks.take(Expected::Slow, pending::<()>()));
        assert_eq!(begin(&mut dead), None);
        assert_eq!(begin(&mut Box::pin(looks.take(Expected::Quick, async {}))), Some(()));
        let mut another = Box::pin(looks.take(Expected::Slow, async {}));
        assert_eq!(begin(&mut another), None);
        drop(dead);
        assert_eq!(begin(&mut another), Some(()));
    }
}
