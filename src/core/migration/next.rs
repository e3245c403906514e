//! The version of a migration that is yet to be written: of the set's kind, and behind all that there are.

use super::{Version, VersionKind};

/// What a new version is made of.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Milliseconds since 1970.
    pub millis: u64,
    /// The day in UTC, as `20261121`.
    pub day: &'a str,
    /// The time of day in UTC, as `190501`.
    pub time: &'a str,
    /// Noise, for a ULID.
    pub random: u128,
}

/// The version behind `last`, the highest that there is: a ULID in an empty set.
#[must_use]
pub fn next_version(last: Option<&Version>, moment: Moment<'_>) -> String {
    let Some(last) = last else { return next_ulid(None, moment) };
    let text = last.as_str();
    match last.kind() {
        VersionKind::Ulid => next_ulid(Some(text), moment),
        VersionKind::Number => next_number(text, moment),
        VersionKind::Date => next_date(text, moment),
    }
}

/// A ULID of that moment; or, where the last one is of that millisecond or later, the one behind it, so that two of one
/// millisecond stand in the order in which they were made (ULID specification, "Monotonicity").
fn next_ulid(last: Option<&str>, moment: Moment<'_>) -> String {
    const RANDOM: u128 = (1 << 80) - 1;
    let fresh = (u128::from(moment.millis) << 80) | (moment.random & RANDOM);
    let value = match last.map(decode) {
        Some(last) if last >> 80 >= u128::from(moment.millis) => last.saturating_add(1),
        Some(_) | None => fresh,
    };
    encode(value)
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn encode(value: u128) -> String {
    (0..26).rev().map(|place| char::from(ALPHABET[(value >> (place * 5) & 31) as usize])).collect()
}

fn decode(text: &str) -> u128 {
    text.bytes().fold(0, |value, byte| {
        let digit = ALPHABET.iter().position(|&known| known == byte.to_ascii_uppercase()).unwrap_or_default();
        (value << 5) | digit as u128
    })
}

/// The next number, as wide as the last; a day or a second of the clock, where that is what the numbers are.
fn next_number(last: &str, moment: Moment<'_>) -> String {
    let is_time = last.len() == 14 && last.starts_with("20");
    let now = format!("{}{}", moment.day, moment.time);
    if is_time && now.as_str() > last {
        return now;
    }
    if last.len() == 8 && last.starts_with("20") {
        return if moment.day > last { moment.day.to_owned() } else { format!("{last}_02") };
    }
    increment(last)
}

fn next_date(last: &str, moment: Moment<'_>) -> String {
    let (day, behind) = last.split_once('_').unwrap_or((last, ""));
    match behind.len() {
        6 => {
            let now = format!("{}_{}", moment.day, moment.time);
            if now.as_str() > last { now } else { format!("{day}_{}", increment(behind)) }
        }
        _ if moment.day > day => format!("{}_01", moment.day),
        _ => format!("{day}_{}", increment(behind)),
    }
}

/// One more, in at least as many digits.
fn increment(digits: &str) -> String {
    let mut bytes = digits.as_bytes().to_vec();
    for byte in bytes.iter_mut().rev() {
        if *byte == b'9' {
            *byte = b'0';
        } else {
            *byte += 1;
            return String::from_utf8(bytes).unwrap_or_default();
        }
    }
    format!("1{}", "0".repeat(digits.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOMENT: Moment<'_> = Moment { millis: 1_795_000_000_000, day: "20261121", time: "190501", random: 7 };

    /// M10, H05, Q03: what is made stands behind what there is, in the set's own form.
    #[test]
    fn a_new_version_is_of_the_sets_kind_and_behind_its_last() {
        for (last, expected) in [
            ("001", "002"),
            ("9", "10"),
            ("099", "100"),
            ("999", "1000"),
            ("20261120093000", "20261121190501"),
            ("20261121190501", "20261121190502"),
            ("20261120", "20261121"),
            ("20261121", "20261121_02"),
            ("20261121_02", "20261121_03"),
            ("20261120_09", "20261121_01"),
            ("20261120_093000", "20261121_190501"),
            ("20261121_190501", "20261121_190502"),
        ] {
            let last = Version::parse(last).unwrap();
            let next = next_version(Some(&last), MOMENT);
            assert_eq!(next, expected, "behind {last}");
            assert!(Version::parse(&next).unwrap() > last, "{next} behind {last}");
        }
    }

    proptest! {
        /// M10: two of one millisecond, or of a clock that was set back, stand in the order in which they were made.
        #[test]
        fn ulids_rise(first in 0_u64..1 << 47, second in 0_u64..1 << 47, random in any::<u128>()) {
            let made = |millis, last: Option<&Version>| {
                let text = next_version(last, Moment { millis, random, ..MOMENT });
                Version::parse(&text).unwrap()
            };
            let one = made(first, None);
            prop_assert_eq!(one.kind(), VersionKind::Ulid);
            prop_assert_eq!(decode(one.as_str()) >> 80, u128::from(first));
            prop_assert!(made(second, Some(&one)) > one);
        }
    }
}
