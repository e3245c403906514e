//! Versions: what a file's name begins with, and what orders migrations.
//!
//! Numbers compare as numbers at any width, without ever becoming one: their digits are compared.

use std::{fmt, sync::Arc};

/// What a file's name begins with, and what orders migrations.
///
/// Equality and order follow the value, not the spelling: `1` and `001` are the same version; `20260215` stands
/// before `20260215_02`; the letters of a ULID may be in any case. The spelling is kept for the history and for
/// messages.
#[derive(Clone)]
pub struct Version {
    /// Of one of the forms: the key is read from it whenever it is wanted, since many versions are kept and few compared.
    text: Arc<str>,
}

/// The kind of a version; a set holds one kind (date forms and 8-digit numbers are one kind).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    /// 26 Crockford characters.
    Ulid,
    /// `\d{8}_\d{6}` or `\d{8}_\d{2}`.
    Date,
    /// `\d+`.
    Number,
}

/// What a version is compared by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    /// A number, or a date with what stands behind it.
    Digits(Digits<'a>, Option<Suffix<'a>>),
    /// Upper case.
    Ulid([u8; ULID_LENGTH]),
}

/// A number of any size: without leading zeros, the longer one is the greater one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Digits<'a> {
    significant: usize,
    digits: &'a str,
}

/// `_02` or `_120000`: a running number and a time of day of the same value are two versions.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Suffix<'a> {
    value: Digits<'a>,
    width: usize,
}

const ULID_LENGTH: usize = 26;
const DAY_LENGTH: usize = 8;

impl Version {
    /// Parses the version alone, as it is spelled in `target` or a resolution.
    ///
    /// # Errors
    /// A sentence saying what a version looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        match Self::split_prefix(text) {
            Some((version, "")) => Ok(version),
            _ => Err(format!(
                "{text:?} is no version: a version is a number (003), a date with a time or a running number \
                 (20260215_120000, 20260215_02), or a ULID of 26 characters"
            )),
        }
    }

    /// Parses a reference, as `depends` and `replaces` hold it: a version, or a version and the name behind it.
    ///
    /// # Errors
    /// A sentence saying what a version looks like.
    pub fn parse_reference(text: &str) -> Result<(Self, Option<&str>), String> {
        if let Some((version, rest)) = Self::split_prefix(text) {
            match rest.strip_prefix('_') {
                Some(name) if !name.is_empty() => return Ok((version, Some(name))),
                None if rest.is_empty() => return Ok((version, None)),
                _ => {}
            }
        }
        Self::parse(text).map(|version| (version, None))
    }

    /// The version that the text begins with, and the rest: nothing, or something that begins with `_`.
    fn split_prefix(text: &str) -> Option<(Self, &str)> {
        let bytes = text.as_bytes();
        let ends = |at: usize| matches!(bytes.get(at), None | Some(b'_'));
        let digits = digits_from(bytes, 0);
        let is_day = digits == DAY_LENGTH && bytes.get(DAY_LENGTH) == Some(&b'_');
        let behind = if is_day { digits_from(bytes, DAY_LENGTH + 1) } else { 0 };
        let length = if is_ulid(bytes) && ends(ULID_LENGTH) {
            ULID_LENGTH
        } else if matches!(behind, 6 | 2) && ends(DAY_LENGTH + 1 + behind) {
            DAY_LENGTH + 1 + behind
        } else if digits > 0 && ends(digits) {
            digits
        } else {
            return None;
        };
        let (text, rest) = text.split_at(length);
        Some((Self { text: text.into() }, rest))
    }

    fn key(&self) -> Key<'_> {
        let bytes = self.text.as_bytes();
        match bytes.first_chunk() {
            Some(ulid) if is_ulid(ulid) => Key::Ulid(ulid.map(|byte| byte.to_ascii_uppercase())),
            _ if bytes.get(DAY_LENGTH) == Some(&b'_') => {
                let (day, suffix) = (&self.text[..DAY_LENGTH], &self.text[DAY_LENGTH + 1..]);
                Key::Digits(Digits::new(day), Some(Suffix { value: Digits::new(suffix), width: suffix.len() }))
            }
            _ => Key::Digits(Digits::new(&self.text), None),
        }
    }

    /// The version as the file or the history spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> VersionKind {
        match self.key() {
            Key::Ulid(_) => VersionKind::Ulid,
            Key::Digits(_, Some(_)) => VersionKind::Date,
            Key::Digits(_, None) => VersionKind::Number,
        }
    }

    /// Whether it may be a date: a date form, or a number of eight digits.
    pub(crate) fn may_be_a_date(&self) -> bool {
        match self.kind() {
            VersionKind::Date => true,
            VersionKind::Number => self.text.len() == 8,
            VersionKind::Ulid => false,
        }
    }
}

/// Takes a migration's file name apart: `003_add_index.sql` is version `003` and name `add_index`.
///
/// # Errors
/// What is wrong with the name, and what a migration's name looks like.
pub fn split_file_name(file: &str) -> Result<(Version, &str), String> {
    const SHAPE: &str = "a migration is named <version>_<name>.sql, as 003_add_index.sql, \
                         20260215_120000_add_index.sql or a ULID in the version's place";
    let Some(stem) = file.strip_suffix(".sql") else {
        return Err(format!("is no migration file, since it doesn't end in .sql: {SHAPE}"));
    };
    let Some((version, rest)) = Version::split_prefix(stem) else {
        return Err(format!("is no migration file, since it doesn't begin with a version and `_`: {SHAPE}"));
    };
    let name = rest.strip_prefix('_').unwrap_or_default();
    if name.is_empty() {
        return Err(format!("is no migration file, since no name stands behind its version {version}: {SHAPE}"));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("is no migration file, since its name holds a control character: {SHAPE}"));
    }
    Ok((version, name))
}

impl<'a> Digits<'a> {
    fn new(text: &'a str) -> Self {
        let digits = &text[text.bytes().take_while(|&byte| byte == b'0').count()..];
        Self { significant: digits.len(), digits }
    }
}

fn digits_from(bytes: &[u8], from: usize) -> usize {
    bytes.get(from..).map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// Whether the text begins with the 26 characters of a ULID.
fn is_ulid(bytes: &[u8]) -> bool {
    bytes.get(..ULID_LENGTH).is_some_and(|first| first.iter().all(|&byte| is_crockford(byte)))
}

/// The alphabet of Crockford's base 32: digits and letters without I, L, O and U.
fn is_crockford(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && !matches!(byte.to_ascii_uppercase(), b'I' | b'L' | b'O' | b'U')
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text || self.key() == other.key()
    }
}
impl Eq for Version {}
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
impl std::hash::Hash for Version {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // In as few writes as there are: a set's versions are looked up again and again.
        match self.key() {
            Key::Ulid(ulid) => state.write(&ulid),
            Key::Digits(number, None) => state.write(number.digits.as_bytes()),
            Key::Digits(day, Some(suffix)) => {
                state.write(day.digits.as_bytes());
                state.write(suffix.value.digits.as_bytes());
            }
        }
    }
}
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn a_version_has_the_kind_of_its_form() {
        for (text, kind) in [
            ("1", VersionKind::Number),
            ("001", VersionKind::Number),
            ("20260215", VersionKind::Number),
            ("20260215120000", VersionKind::Number),
            ("20260215_02", VersionKind::Date),
            ("20260215_120000", VersionKind::Date),
            ("01M7YGZ6C0DWT1D38V9AZZED9P", VersionKind::Ulid),
            ("01m7ygz6c0dwt1d38v9azzed9p", VersionKind::Ulid),
        ] {
            assert_eq!(version(text).kind(), kind, "{text}");
            assert_eq!(version(text).to_string(), text);
        }
        for text in ["", "a", "1a", "-1", "1_", "1_a", "1.5", "20260215_1", "01M7YGZ6C0DWT1D38V9AZZED9U", "１"] {
            assert!(Version::parse(text).unwrap_err().contains("is no version"), "{text}");
        }
    }

    /// P07, P23: numbers are numbers, whatever their width.
    #[test]
    fn versions_are_ordered_by_value() {
        let ordered =
            ["0", "1", "5", "0009", "10", "100", "9999999999999999999999998", "99999999999999999999999999999"];
        for (at, text) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                assert_eq!(version(text).cmp(&version(other)), at.cmp(&other_at), "{text} {other}");
            }
        }
    }

    /// H06: the second file of a day stands behind the first, and before the first of the next day.
    #[test]
    fn the_second_file_of_a_day_stands_behind_the_first() {
        let ordered = ["20260214", "20260215", "20260215_02", "20260215_10", "20260215_120000", "20260216"];
        assert!(ordered.windows(2).all(|pair| version(pair[0]) < version(pair[1])));
        assert_ne!(version("20260215_02"), version("20260215_000002"));
    }

    #[test]
    fn spellings_of_one_version_are_equal_and_hash_alike() {
        for (one, other) in [("1", "001"), ("0", "000"), ("01M7YGZ6C0DWT1D38V9AZZED9P", "01m7ygz6c0dwt1d38v9azzed9p")] {
            assert_eq!(version(one), version(other));
            assert_eq!(HashSet::from([version(one), version(other)]).len(), 1);
        }
        assert_ne!(version("1"), version("10"));
    }

    #[test]
    fn a_file_name_is_a_version_and_a_name() {
        for (file, expected_version, expected_name) in [
            ("003_add_index.sql", "003", "add_index"),
            ("01M7YGZ6C0DWT1D38V9AZZED9P_add_users_table.sql", "01M7YGZ6C0DWT1D38V9AZZED9P", "add_users_table"),
            ("20260215_add.sql", "20260215", "add"),
            ("20260215_02_add.sql", "20260215_02", "add"),
            ("20260215_120000_add.sql", "20260215_120000", "add"),
            ("20260215_1200_add.sql", "20260215", "1200_add"),
            ("20260215_02x.sql", "20260215", "02x"),
            ("1_ä b.sql", "1", "ä b"),
            ("1__x.sql", "1", "_x"),
        ] {
            let (version, name) = split_file_name(file).unwrap();
            assert_eq!((version.as_str(), name), (expected_version, expected_name), "{file}");
        }
    }

    /// P23: a file that is no migration is an error that says what one looks like.
    #[test]
    fn a_name_that_is_no_migration_says_why() {
        for (file, why) in [
            ("README.md", "doesn't end in .sql"),
            ("foo.sql", "doesn't begin with a version"),
            ("_a.sql", "doesn't begin with a version"),
            ("1-a.sql", "doesn't begin with a version"),
            (".sql", "doesn't begin with a version"),
            ("001.sql", "no name stands behind its version 001"),
            ("001_.sql", "no name stands behind its version 001"),
            ("20260215_02.sql", "no name stands behind its version 20260215_02"),
            ("1_a\nb.sql", "control character"),
        ] {
            let error = split_file_name(file).unwrap_err();
            assert!(error.contains(why) && error.contains("003_add_index.sql"), "{file}: {error}");
        }
    }

    #[test]
    fn a_reference_is_a_version_or_a_version_and_a_name() {
        for (text, expected_version, expected_name) in [
            ("002", "002", None),
            ("002_add_users", "002", Some("add_users")),
            ("20260215_02", "20260215_02", None),
            ("20260215_02_x", "20260215_02", Some("x")),
        ] {
            let (version, name) = Version::parse_reference(text).unwrap();
            assert_eq!((version.as_str(), name), (expected_version, expected_name), "{text}");
        }
        assert!(Version::parse_reference("002_").is_err());
        assert!(Version::parse_reference("users").is_err());
    }

    proptest! {
        #[test]
        fn numbers_compare_as_numbers(a in any::<u64>(), b in any::<u64>(), zeros in 0usize..4) {
            let spelled = format!("{}{a}", "0".repeat(zeros));
            // Twenty-six digits would be a ULID; a u64 and three zeros has at most twenty-three.
            prop_assert_eq!(version(&spelled).cmp(&version(&b.to_string())), a.cmp(&b));
        }

        #[test]
        fn any_file_name_is_understood_or_refused(file in "\\PC*") {
            if let Ok((version, name)) = split_file_name(&file) {
                prop_assert_eq!(format!("{version}_{name}.sql"), file.as_str());
            }
            let _ = Version::parse_reference(&file);
        }
    }
}
