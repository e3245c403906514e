//! Who of several operators works: the rules by which a lease is taken, kept and waited for. Pure.
//!
//! They are those of Kubernetes' own components (client-go's `leaderelection`). Clocks differ from machine to machine, so
//! nobody believes the times in a lease: one that is another's is over when it has stood unchanged for its duration by the
//! clock of whoever looks. Whoever holds it gives up earlier than that, by its own clock.

use std::time::Duration;

/// How long a lease that isn't renewed stays its holder's.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long after its last renewal the holder still works: less than the above, so that it has stopped before another begins.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// From one look at the lease to the next.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose it is; None when it was given back.
    pub holder: Option<String>,
    /// How long it stays theirs.
    pub duration: Duration,
}

/// What a candidate does about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It isn't there: make it.
    Create,
    /// It is nobody's, or its holder renews it no more: take it.
    Take,
    /// It is this candidate's own: renew it.
    Renew,
    /// It is another's.
    Wait,
}

/// Says what `me` does about a lease that has stood as it is for this long, as far as `me` has seen.
#[must_use]
pub fn turn(record: Option<&Record>, me: &str, unchanged_for: Duration) -> Turn {
    let Some(Record { holder, duration }) = record else { return Turn::Create };
    match holder.as_deref() {
        None => Turn::Take,
        Some(holder) if holder == me => Turn::Renew,
        Some(_) if unchanged_for >= *duration => Turn::Take,
        Some(_) => Turn::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: Option<&str>) -> Record {
        Record { holder: holder.map(str::to_owned), duration: LEASE_DURATION }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_nobodys_or_stands_still_for_its_duration() {
        let (now, almost, over) = (Duration::ZERO, Duration::from_millis(14_999), LEASE_DURATION);
        for (record, unchanged_for, expected) in [
            (None, now, Turn::Create),
            (None, over, Turn::Create),
            (Some(held_by(None)), now, Turn::Take),
            (Some(held_by(Some("me"))), now, Turn::Renew),
            // Nobody has taken it meanwhile.
            (Some(held_by(Some("me"))), over, Turn::Renew),
            (Some(held_by(Some("other"))), now, Turn::Wait),
            (Some(held_by(Some("other"))), almost, Turn::Wait),
            (Some(held_by(Some("other"))), over, Turn::Take),
        ] {
            assert_eq!(turn(record.as_ref(), "me", unchanged_for), expected, "{record:?} for {unchanged_for:?}");
        }
    }

    #[test]
    fn the_duration_that_counts_is_the_leases_own() {
        let record = |seconds| Record { duration: Duration::from_secs(seconds), ..held_by(Some("other")) };
        let stood = Duration::from_secs(20);
        assert_eq!(turn(Some(&record(60)), "me", stood), Turn::Wait);
        assert_eq!(turn(Some(&record(1)), "me", stood), Turn::Take);
    }

    #[test]
    fn a_holder_stops_before_another_begins() {
        assert!(RENEW_DEADLINE + RETRY_PERIOD < LEASE_DURATION);
        assert!(RETRY_PERIOD * 3 < RENEW_DEADLINE, "a lost answer or two is no reason to give up");
    }
}
