//! How many looks at databases are under way at one time, how many executions begin, and who waits for whom.
//!
//! A database that answers is looked at in no time; one that doesn't takes what its deadline gives it. So there are two
//! queues: a look that is slow, or follows one that found no database, waits among its like, and holds up nobody who is
//! quick. What a look finds to do has a queue of its own, in which what runs long isn't counted: a thousand sets that
//! come at once run some at a time, and a migration of hours holds up nobody.

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
/// Executions that have begun a moment ago, at one time; each has two connections.
const BEGUN: usize = 32;
/// From when on an execution runs long.
const LONG_AFTER: Duration = Duration::from_secs(10);

/// The places.
pub(super) struct Looks {
    quick: Semaphore,
    slow: Semaphore,
    slow_after: Duration,
    begun: Semaphore,
    long_after: Duration,
}

/// A place among the executions that have begun a moment ago.
pub(super) struct Beginning<'a> {
    place: Option<SemaphorePermit<'a>>,
    long_after: Duration,
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
        Self::new((QUICK, SLOW, SLOW_AFTER), (BEGUN, LONG_AFTER))
    }
}

impl Looks {
    fn new((quick, slow, slow_after): (usize, usize, Duration), (begun, long_after): (usize, Duration)) -> Self {
        let [quick, slow, begun] = [quick, slow, begun].map(Semaphore::new);
        Self { quick, slow, slow_after, begun, long_after }
    }

    /// Looks as soon as there is a place; not at all when `stopping` comes first.
    pub async fn take<T>(
        &self,
        expected: Expected,
        stopping: impl Future<Output = ()>,
        look: impl Future<Output = T>,
    ) -> Option<T> {
        let queue = if expected == Expected::Slow { &self.slow } else { &self.quick };
        let place = tokio::select! {
            biased;
            () = stopping => return None,
            place = acquire(queue) => place,
        };
        Some(if expected == Expected::Slow { look.await } else { self.quick(place, look).await })
    }

    async fn quick<T>(&self, quick: Option<SemaphorePermit<'_>>, look: impl Future<Output = T>) -> T {
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

    /// Waits for a place for an execution; none when `stopping` comes first.
    pub async fn begin(&self, stopping: impl Future<Output = ()>) -> Option<Beginning<'_>> {
        tokio::select! {
            biased;
            () = stopping => None,
            place = acquire(&self.begun) => Some(Beginning { place, long_after: self.long_after }),
        }
    }
}

impl Beginning<'_> {
    /// Executes, and gives the place up once that runs long.
    pub async fn during<T>(self, execution: impl Future<Output = T>) -> T {
        let mut execution = std::pin::pin!(execution);
        tokio::select! {
            biased;
            answer = &mut execution => return answer,
            () = tokio::time::sleep(self.long_after) => drop(self.place),
        }
        execution.await
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

    fn looks(quick: usize, slow: usize, slow_after: Duration) -> Looks {
        Looks::new((quick, slow, slow_after), (1, Duration::from_millis(50)))
    }

    #[tokio::test]
    async fn a_slow_look_gives_its_place_to_a_quick_one() {
        let looks = looks(1, 8, Duration::from_millis(50));
        let mut slow = Box::pin(looks.take(Expected::Quick, pending(), pending::<()>()));
        assert_eq!(begin(&mut slow), None);
        let mut quick = Box::pin(looks.take(Expected::Quick, pending(), async {}));
        assert_eq!(begin(&mut quick), None, "the place is taken");
        let both = async {
            tokio::select! {
                _ = &mut slow => unreachable!("it never ends"),
                done = quick => assert_eq!(done, Some(())),
            }
        };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("the quick one has its turn");
    }

    #[tokio::test]
    async fn what_found_no_database_waits_among_its_like() {
        let looks = looks(1, 1, Duration::from_secs(1));
        let mut dead = Box::pin(looks.take(Expected::Slow, pending(), pending::<()>()));
        assert_eq!(begin(&mut dead), None);
        assert_eq!(begin(&mut Box::pin(looks.take(Expected::Quick, pending(), async {}))), Some(Some(())));
        let mut another = Box::pin(looks.take(Expected::Slow, pending(), async {}));
        assert_eq!(begin(&mut another), None);
        drop(dead);
        assert_eq!(begin(&mut another), Some(Some(())));
    }

    #[tokio::test]
    async fn an_execution_that_runs_long_gives_its_place_to_the_next() {
        let looks = looks(1, 1, Duration::from_secs(1));
        let first = looks.begin(pending()).await.expect("nothing stops it");
        let mut long = Box::pin(first.during(pending::<()>()));
        assert_eq!(begin(&mut long), None);
        let mut next = Box::pin(looks.begin(pending()));
        assert!(begin(&mut next).is_none(), "the place is taken");
        let both = async {
            tokio::select! {
                () = &mut long => unreachable!("it never ends"),
                place = next => place.expect("nothing stops it").during(async {}).await,
            }
        };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("the next one has its turn");
        assert!(begin(&mut Box::pin(looks.begin(pending()))).flatten().is_some(), "what has ended needs no place");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_place_in_an_operator_that_stops() {
        let looks = looks(0, 0, Duration::from_secs(1));
        for expected in [Expected::Quick, Expected::Slow] {
            assert_eq!(looks.take(expected, async {}, async {}).await, None);
        }
        let place = looks.begin(pending()).await;
        assert!(looks.begin(async {}).await.is_none());
        drop(place);
    }
}
