//! When to look again: by the reason, the tries so far and a random number.
//!
//! Waits grow and are capped; what needs a person is looked at again at the set's interval, never retried.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{decide::Circumstances, outcome::Reason};

/// The first pause of a growing series.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of a retry.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// The longest pause of a wait for a lock.
pub const LONGEST_LOCK_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause after a status couldn't be written.
pub const LONGEST_WRITE_PAUSE: Duration = Duration::from_mins(1);
/// How often a Secret is read by name while it is the Secret that may mend things.
pub const SECRET_PAUSE: Duration = Duration::from_secs(30);
/// The same, while an absent Secret has not been waited for long.
pub const SECRET_QUICK_PAUSE: Duration = Duration::from_secs(5);
/// What is long.
pub const SECRET_QUICK_FOR: SignedDuration = SignedDuration::from_mins(10);
/// The longest pause between two quick tries to get a lock, within a run.
pub const LONGEST_TRY_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause between two looks of somebody who waits for a database.
pub const LONGEST_LOOK_PAUSE: Duration = Duration::from_secs(5);
/// The middle of the first such pause, and by how much each later one is longer.
const FIRST_TRY_PAUSE: Duration = Duration::from_millis(160);
const TRY_GROWTH: f64 = 1.6;
/// The middle of the first pause between looks.
const FIRST_LOOK_PAUSE: Duration = Duration::from_millis(250);
/// By how much it is jittered, up and down: much, since those who wait for one lock meet again and again.
const TRY_JITTER: f64 = 0.5;
/// By how much a growing pause is jittered, up and down.
const JITTER: f64 = 0.15;
/// By how much the interval is jittered, up and down.
const INTERVAL_JITTER: f64 = 0.1;

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// After which pause to look; None: when something changes.
    pub look: Option<Duration>,
    /// Meanwhile, how often to read the Secret by name, and to look at once when it changed.
    pub secret: Option<Duration>,
    /// Whether the pause is one of a retry, for the status.
    pub retry: bool,
}

/// How pauses follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nothing is asked until something changes.
    Never,
    /// Now.
    AtOnce,
    /// After exactly this.
    After(Duration),
    /// At the set's interval, jittered.
    Interval,
    /// At the set's interval, and as soon as the Secret changes.
    IntervalOrSecret,
    /// After a fixed pause, jittered.
    Fixed(Duration),
    /// After exponentially growing, jittered pauses up to a cap; and as soon as the Secret changes, if that is asked.
    Growing {
        /// The cap.
        cap: Duration,
        /// Whether another Secret may mend it.
        secret: bool,
    },
}

impl Again {
    /// Not before something changes.
    pub const NEVER: Self = Self { look: None, secret: None, retry: false };
}

impl Reason {
    /// Whether it says that there is no session with the database.
    #[must_use]
    pub fn is_of_the_connection(self) -> bool {
        matches!(
            self,
            Self::WaitingForDatabase | Self::AuthenticationFailed | Self::TLSFailed | Self::PoolerNotSupported
        )
    }

    /// Whether it stalls a set for what its content holds, so that a change of content under way can bring it about.
    #[must_use]
    pub fn is_of_the_content(self) -> bool {
        matches!(
            self,
            Self::InvalidSource
                // A target or a baseline that the content hasn't: it may be on its way.
                | Self::InvalidSpec
                | Self::DuplicateVersion
                | Self::DependencyCycle
                | Self::ChecksumDrift
                | Self::MissingMigration
                | Self::OutOfOrder
                | Self::RollbackDenied
                | Self::NoDownMigration
        )
    }
}

impl Pace {
    /// Growing pauses up to the longest.
    pub const RETRY: Self = Self::Growing { cap: LONGEST_PAUSE, secret: false };

    /// The pace of a reason that a look ended with.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        match reason {
            Reason::Suspended => Self::Never,
            Reason::UpToDate
            | Reason::DatabaseAhead
            | Reason::WaitingForSource
            | Reason::WaitingForDigest
            | Reason::ApprovalRequired
            | Reason::MigrationFailed
            | Reason::NonTransactionalFailed
            | Reason::Interrupted
            | Reason::HookFailed
            | Reason::SeedFailed
            | Reason::ChecksumDrift
            | Reason::MissingMigration
            | Reason::OutOfOrder
            | Reason::SchemaDrift
            | Reason::InvalidSource
            | Reason::DependencyCycle
            | Reason::DuplicateVersion
            | Reason::Conflict
            | Reason::RollbackDenied
            | Reason::NoDownMigration => Self::Interval,
            // Which database that is stands in the Secret: another one may be as it should.
            Reason::InvalidSpec
            | Reason::AuthenticationFailed
            | Reason::TLSFailed
            | Reason::PermissionDenied
            | Reason::PoolerNotSupported => Self::IntervalOrSecret,
            Reason::WaitingForSecret => Self::Fixed(SECRET_QUICK_PAUSE),
            Reason::WaitingForDatabase => Self::Growing { cap: LONGEST_PAUSE, secret: true },
            Reason::WaitingForLock => Self::Growing { cap: LONGEST_LOCK_PAUSE, secret: false },
            Reason::Retrying
            | Reason::Checking
            | Reason::Applying
            | Reason::RollingBack
            | Reason::Seeding
            | Reason::RunningHook => Self::RETRY,
        }
    }

    /// The pace at which a Secret is asked for that is absent or can't be used.
    #[must_use]
    pub fn of_secret(since: Timestamp, now: Timestamp) -> Self {
        if now.duration_since(since) < SECRET_QUICK_FOR {
            Self::Fixed(SECRET_QUICK_PAUSE)
        } else {
            Self::Fixed(SECRET_PAUSE)
        }
    }

    /// Whether its pauses are retries, which the status counts.
    #[must_use]
    pub fn is_a_retry(self) -> bool {
        match self {
            Self::Growing { .. } => true,
            Self::Never | Self::AtOnce | Self::After(_) | Self::Interval | Self::IntervalOrSecret | Self::Fixed(_) => {
                false
            }
        }
    }

    /// When to look again, after so many tries.
    #[must_use]
    pub fn again(self, tries: u32, circumstances: &Circumstances) -> Again {
        let Circumstances { interval, chance, .. } = *circumstances;
        let (look, secret) = match self {
            Self::Never => (None, None),
            Self::AtOnce => (Some(Duration::ZERO), None),
            Self::After(pause) => (Some(pause), None),
            Self::Interval => (Some(jittered(interval, INTERVAL_JITTER, chance)), None),
            Self::IntervalOrSecret => (Some(jittered(interval, INTERVAL_JITTER, chance)), Some(SECRET_PAUSE)),
            Self::Fixed(pause) => (Some(jittered(pause, INTERVAL_JITTER, chance)), None),
            Self::Growing { cap, secret } => (Some(growing(tries, cap, chance)), secret.then_some(SECRET_PAUSE)),
        };
        let secret = secret.filter(|secret| look.is_some_and(|look| look > *secret));
        Again { look, secret, retry: self.is_a_retry() }
    }
}

/// How long to wait after so many failed writes of a status.
#[must_use]
pub fn after_failed_writes(tries: u32, chance: f64) -> Duration {
    growing(tries, LONGEST_WRITE_PAUSE, chance)
}

/// How long to leave a lock alone after so many tries, from 1, that `lockTimeout` or a deadlock has ended: growing, so that
/// what queued up behind the last try gets through, and whoever holds the lock gets on.
#[must_use]
pub fn between_tries(tried: u32, chance: f64) -> Duration {
    let cap = LONGEST_TRY_PAUSE.div_f64(1.0 + TRY_JITTER);
    let grown = TRY_GROWTH.powi(i32::try_from(tried.saturating_sub(1).min(64)).unwrap_or(64));
    jittered(FIRST_TRY_PAUSE.mul_f64(grown).min(cap), TRY_JITTER, chance)
}

/// How long somebody who waits for a database leaves it alone before the next look: a quarter of a second at first, twice
/// as long after each look.
#[must_use]
pub fn between_looks(looked: u32, chance: f64) -> Duration {
    let cap = LONGEST_LOOK_PAUSE.div_f64(1.0 + TRY_JITTER);
    let grown = FIRST_LOOK_PAUSE.saturating_mul(2u32.saturating_pow(looked.saturating_sub(1)));
    jittered(grown.min(cap), TRY_JITTER, chance)
}

fn growing(tries: u32, cap: Duration, chance: f64) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(tries)).min(cap.div_f64(1.0 + JITTER));
    jittered(pause, JITTER, chance)
}

fn jittered(pause: Duration, share: f64, chance: f64) -> Duration {
    pause.mul_f64(1.0 - share + 2.0 * share * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::decide::{Occasion, Places};

    fn circumstances(chance: f64) -> Circumstances {
        Circumstances {
            occasion: Occasion::Periodic,
            places: Places::One,
            interval: Duration::from_mins(10),
            now: Timestamp::UNIX_EPOCH,
            chance,
        }
    }

    #[test]
    fn waits_double_from_one_second_to_five_minutes() {
        let pauses: Vec<u64> = (0..12)
            .map(|tries| Pace::RETRY.again(tries, &circumstances(0.5)).look.expect("a retry comes").as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 260, 260, 260]);
    }

    #[test]
    fn an_absent_secret_is_asked_for_every_five_seconds_and_after_ten_minutes_every_thirty() {
        let since = Timestamp::UNIX_EPOCH;
        assert_eq!(Pace::of_secret(since, since + SignedDuration::from_secs(599)), Pace::Fixed(SECRET_QUICK_PAUSE));
        assert_eq!(Pace::of_secret(since, since + SignedDuration::from_secs(600)), Pace::Fixed(SECRET_PAUSE));
    }

    #[test]
    fn what_another_secret_may_mend_is_looked_at_again_at_the_interval_and_its_secret_every_thirty_seconds() {
        for reason in [Reason::AuthenticationFailed, Reason::InvalidSpec] {
            let again = Pace::of(reason).again(7, &circumstances(0.5));
            assert_eq!(
                again,
                Again { look: Some(Duration::from_mins(10)), secret: Some(Duration::from_secs(30)), retry: false }
            );
        }
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_its_cap_nor_shorter_than_half_a_second(tries in 0u32..2000, chance in 0.0f64..=1.0) {
            for (reason, cap) in [
                (Reason::WaitingForDatabase, LONGEST_PAUSE),
                (Reason::Retrying, LONGEST_PAUSE),
                (Reason::WaitingForLock, LONGEST_LOCK_PAUSE),
            ] {
                let pause = Pace::of(reason).again(tries, &circumstances(chance)).look.expect("a wait ends");
                prop_assert!(pause <= cap && pause >= Duration::from_millis(500), "{} {:?}", reason, pause);
            }
        }

        #[test]
        fn the_interval_moves_by_a_tenth_at_most(chance in 0.0f64..=1.0) {
            let pause = Pace::Interval.again(0, &circumstances(chance)).look.expect("an interval ends");
            prop_assert!(pause >= Duration::from_mins(9) && pause <= Duration::from_mins(11));
        }
    }

    #[test]
    fn pauses_between_tries_grow_from_160_milliseconds_to_ten_seconds() {
        let pauses: Vec<u128> = (1..=12).map(|tried| between_tries(tried, 0.5).as_millis()).collect();
        assert_eq!(pauses, [160, 256, 409, 655, 1048, 1677, 2684, 4294, 6871, 10_000, 10_000, 10_000]);
        assert_eq!(between_tries(1, 0.0), Duration::from_millis(80));
        assert_eq!(between_tries(1, 1.0), Duration::from_millis(240));
    }

    proptest! {
        #[test]
        fn a_pause_between_tries_is_bounded_grows_and_follows_chance(tried in 1u32..2000, chance in 0.0f64..=1.0) {
            let pause = between_tries(tried, chance);
            prop_assert!(pause >= Duration::from_millis(80) && pause <= LONGEST_TRY_PAUSE, "{:?}", pause);
            prop_assert!(between_tries(tried + 1, chance) >= pause);
            let (least, most) = (between_tries(tried, 0.0), between_tries(tried, 1.0));
            prop_assert!(least <= pause && pause <= most && most >= least * 2, "{:?} {:?} {:?}", least, pause, most);
        }
    }

    #[test]
    fn pauses_between_looks_grow_from_a_quarter_of_a_second_to_five_at_most() {
        let pauses: Vec<u128> = (1..=7).map(|looked| between_looks(looked, 0.5).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 3333, 3333, 3333]);
        assert!((between_looks(u32::MAX, 1.0).as_secs_f64() - 5.0).abs() < 0.001);
        assert!(between_looks(u32::MAX, 0.0) < LONGEST_LOOK_PAUSE / 2, "those who began together drift apart");
    }

    #[test]
    fn nothing_that_needs_a_person_is_retried() {
        for &reason in Reason::ALL {
            if reason.kind() == crate::core::outcome::Kind::Stalled {
                assert!(!Pace::of(reason).is_a_retry(), "{reason}");
                let again = Pace::of(reason).again(0, &circumstances(0.5));
                assert_eq!(again.look, Some(Duration::from_mins(10)), "{reason}");
            }
        }
    }
}
