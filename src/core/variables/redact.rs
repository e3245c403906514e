//! Takes secret values out of a text that the server wrote.
//!
//! A server quotes what it was sent, as a value or as it stood in the statement: both are looked for, in any case of their
//! letters.

use std::borrow::Cow;

use super::{Variable, Variables};

/// A shorter value is taken out only where it stands by itself: as a part of words it would be in every text.
const SHORT: usize = 4;
/// A line of a longer value is looked for by itself from this length on.
const LINE: usize = 8;

/// Replaces every secret value by `:'name'`.
pub(super) fn redact<'a>(variables: &Variables, text: &'a str) -> Cow<'a, str> {
    let needles = needles(variables);
    if needles.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut redacted = String::new();
    let (mut at, mut copied) = (0, 0);
    while at < text.len() {
        let found = needles.iter().find(|(needle, _)| stands_at(text, at, needle));
        if let Some((needle, name)) = found {
            redacted.push_str(&text[copied..at]);
            redacted.push_str(":'");
            redacted.push_str(name);
            redacted.push('\'');
            at += needle.len();
            copied = at;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    redacted.push_str(&text[copied..]);
    Cow::Owned(redacted)
}

/// What is looked for, the longest first.
fn needles(variables: &Variables) -> Vec<(String, &str)> {
    let mut needles: Vec<(String, &str)> = Vec::new();
    for (name, Variable { value, .. }) in variables.iter().filter(|(_, variable)| variable.is_secret()) {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE);
        for text in [value.as_str(), value.trim()].into_iter().chain(lines) {
            let quoted = text.replace('\'', "''");
            for form in [
                text.to_owned(),
                quoted.replace('\\', "\\\\"),
                quoted.replace('\\', "\\134"),
                text.replace('"', "\"\""),
                quoted,
            ] {
                if !form.is_empty() {
                    needles.push((form, name));
                }
            }
        }
    }
    needles.sort_unstable_by(|one, other| other.0.len().cmp(&one.0.len()).then_with(|| one.cmp(other)));
    needles.dedup();
    needles
}

fn stands_at(text: &str, at: usize, needle: &str) -> bool {
    let end = at + needle.len();
    if !text.as_bytes().get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(needle.as_bytes())) {
        return false;
    }
    let is_word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    needle.chars().count() >= SHORT || !is_word(text[..at].chars().next_back()) && !is_word(text[end..].chars().next())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::variables;

    #[test]
    fn a_secret_is_taken_out_of_what_the_server_says() {
        for (secret, text, expected) in [
            (
                "hunter2",
                "invalid input syntax for type integer: \"hunter2\"",
                "invalid input syntax for type integer: \":'password'\"",
            ),
            ("hunter2", "\"HUNTER2\" and hunter22", "\":'password'\" and :'password'2"),
            ("it's", "syntax error at or near \"'it''s'\"", "syntax error at or near \"':'password''\""),
            ("a\\b ", "near \"E'a\\\\b '\"", "near \"E':'password''\""),
            ("hunter2\n", "type integer: \"hunter2\"", "type integer: \":'password'\""),
            ("first line\nsecond line", "in \"second line\"", "in \":'password'\""),
            ("12", "line 12 of 120", "line :'password' of 120"),
            ("", "nothing", "nothing"),
            ("größe", "\"größe\" ß", "\":'password'\" ß"),
        ] {
            assert_eq!(variables(&[], &[("password", secret)]).redact(text), expected, "{secret}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let variables = variables(&[("tenant", "acme")], &[("password", "hunter2"), ("longer", "hunter2hunter2")]);
        assert_eq!(variables.redact("acme: hunter2hunter2"), "acme: :'longer'");
    }

    proptest! {
        #[test]
        fn no_long_secret_is_left(secret in "[a-zé']{4,8}", before in ".{0,9}", behind in ".{0,9}") {
            let text = format!("{before}{secret}{behind}");
            let redacted = variables(&[], &[("\u{1}", &secret)]).redact(&text).into_owned();
            prop_assert!(!redacted.contains(&secret), "{redacted}");
        }
    }
}
