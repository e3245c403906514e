//! Durations as Go and Kubernetes write them: `10m`, `1h30m`, `500ms`.
//!
//! A fraction of a millisecond is rounded up, so that no short time-out turns into 0, which means "none".

use std::time::Duration;

const NANOS_PER_MS: u128 = 1_000_000;

/// Parses a duration: whole or decimal numbers, each with one of the units `h`, `m`, `s`, `ms`.
///
/// # Errors
/// A sentence saying what a duration looks like, or that it is too long to be counted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let malformed = || format!("{text:?} is no duration: write one such as 10m, 1h30m, 3s or 500ms");
    let too_long = || format!("{text:?} is too long to be counted: write a shorter duration");
    if text.is_empty() {
        return Err(malformed());
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        if whole.is_empty() {
            return Err(malformed());
        }
        let (fraction, after) = match after.strip_prefix('.') {
            None => ("", after),
            Some(after) => match split_digits(after) {
                ("", _) => return Err(malformed()),
                digits => digits,
            },
        };
        let (unit_nanos, after) = unit(after).ok_or_else(malformed)?;
        let part = scaled(whole, fraction, unit_nanos).ok_or_else(too_long)?;
        nanos = nanos.checked_add(part).ok_or_else(too_long)?;
        rest = after;
    }
    let millis = u64::try_from(nanos.div_ceil(NANOS_PER_MS)).map_err(|_| too_long())?;
    Ok(Duration::from_millis(millis))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Nanoseconds of the unit at the front, and what follows it. `ms` is looked for before `m`.
fn unit(text: &str) -> Option<(u128, &str)> {
    [("ms", NANOS_PER_MS), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)]
        .into_iter()
        .find_map(|(name, nanos)| text.strip_prefix(name).map(|rest| (nanos, rest)))
}

fn scaled(whole: &str, fraction: &str, unit_nanos: u128) -> Option<u128> {
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit_nanos)?;
    // Digits beyond the eighteenth weigh less than a nanosecond, whatever the unit.
    let digits = &fraction[..fraction.len().min(18)];
    if digits.is_empty() {
        return Some(whole);
    }
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    let part = digits.parse::<u128>().ok()?.checked_mul(unit_nanos)?.div_ceil(scale);
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let table = [
            ("0s", 0),
            ("500ms", 500),
            ("3s", 3_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1h30m15s500ms", 5_415_500),
            ("1.5h", 5_400_000),
            ("2m2m", 240_000),
            ("007s", 7_000),
        ];
        for (text, millis) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_rounded_up_and_never_becomes_none() {
        assert_eq!(parse_duration("0.1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_duration("1.0001s"), Ok(Duration::from_millis(1_001)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "m", "10 m", "-3s", "+3s", "1d", "1.s", ".5s", "3S", "1e3s", "3s ", "１s", "1.5.5s"] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains("no duration"), "{text}: {error}");
        }
    }

    #[test]
    fn a_duration_beyond_counting_is_refused() {
        for text in ["99999999999999999999h", "340282366920938463463374607431768211456s"] {
            assert!(parse_duration(text).expect_err(text).contains("too long"), "{text}");
        }
    }
}
