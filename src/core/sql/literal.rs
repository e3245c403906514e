//! What string constants hold: `'…'` with its prefixes and continuations, and `$tag$ … $tag$`.

use std::borrow::Cow;

use super::lexer::Backslashes;

/// The content of a token that is a string constant; None for bits and for what isn't a string constant.
pub(super) fn content(token: &str, backslashes: Backslashes) -> Option<Cow<'_, str>> {
    if let Some(behind) = token.strip_prefix('$') {
        let tag = behind.find('$')? + 2;
        return token.get(tag..token.len().checked_sub(tag)?).map(Cow::Borrowed);
    }
    let (prefix, rest) = token.split_once('\'')?;
    let escapes = match prefix {
        "" | "n" | "N" if backslashes == Backslashes::Ordinary => Escapes::None,
        "" | "n" | "N" | "e" | "E" => Escapes::C,
        "u&" | "U&" => Escapes::Unicode,
        _ => return None,
    };
    if let Some(body) = rest.strip_suffix('\'')
        && !body.contains(['\'', '\\'])
    {
        return Some(Cow::Borrowed(body));
    }
    Some(Cow::Owned(unescaped(rest, escapes)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    /// `\n`, `\x41`, …
    C,
    /// `\0041`, `\+000041`.
    Unicode,
}

fn unescaped(rest: &str, escapes: Escapes) -> String {
    let mut content = String::with_capacity(rest.len());
    let mut left = rest;
    while let Some(character) = left.chars().next() {
        left = &left[character.len_utf8()..];
        match character {
            '\'' if left.starts_with('\'') => {
                content.push('\'');
                left = &left[1..];
            }
            '\'' => left = continuation(left),
            '\\' if escapes == Escapes::C => left = c_escape(left, &mut content),
            '\\' if escapes == Escapes::Unicode => left = unicode_escape(left, &mut content),
            _ => content.push(character),
        }
    }
    content
}

/// What stands behind the next quote, comments not counted.
fn continuation(mut left: &str) -> &str {
    loop {
        left = left.trim_start();
        if !left.starts_with("--") {
            return left.strip_prefix('\'').unwrap_or_default();
        }
        left = left.find(['\n', '\r']).map_or("", |end| &left[end..]);
    }
}

fn c_escape<'a>(left: &'a str, content: &mut String) -> &'a str {
    let Some(character) = left.chars().next() else { return left };
    let behind = &left[character.len_utf8()..];
    let (from, longest, radix) = match character {
        'b' | 'f' | 't' => return pushed(' ', behind, content),
        'n' | 'r' => return pushed('\n', behind, content),
        'x' => (behind, 2, 16),
        'u' => (behind, 4, 16),
        'U' => (behind, 8, 16),
        '0'..='7' => (left, 3, 8),
        _ => return pushed(character, behind, content),
    };
    number(from, longest, radix, content).unwrap_or_else(|| pushed(character, behind, content))
}

fn unicode_escape<'a>(left: &'a str, content: &mut String) -> &'a str {
    let found = match left.strip_prefix('+') {
        Some(long) => number(long, 6, 16, content),
        None => number(left, 4, 16, content),
    };
    found.unwrap_or_else(|| left.strip_prefix('\\').map_or(left, |behind| pushed('\\', behind, content)))
}

fn pushed<'a>(character: char, behind: &'a str, content: &mut String) -> &'a str {
    content.push(character);
    behind
}

/// Takes a character by its number, if one stands there.
fn number<'a>(from: &'a str, longest: usize, radix: u32, content: &mut String) -> Option<&'a str> {
    let end = from.bytes().take(longest).take_while(|byte| char::from(*byte).is_digit(radix)).count();
    let code = u32::from_str_radix(&from[..end], radix).ok()?;
    // Bytes of a longer character and halves of a pair: no keyword is made of those.
    content.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(&from[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_constant_holds_what_the_server_reads() {
        use Backslashes::{Escape, Ordinary};
        for (token, backslashes, expected) in [
            ("'a'", Ordinary, Some("a")),
            ("''", Ordinary, Some("")),
            ("'it''s'", Ordinary, Some("it's")),
            (r"'a\'", Ordinary, Some(r"a\")),
            (r"'a\'b'", Escape, Some("a'b")),
            (r"E'a\nb\\\x44\104\u0044'", Ordinary, Some("a\nb\\DDD")),
            (r"U&'\0044\+000044\\'", Ordinary, Some(r"DD\")),
            ("N'a'", Ordinary, Some("a")),
            ("'a' -- it's\n 'b'", Ordinary, Some("ab")),
            ("$$a'b$$", Ordinary, Some("a'b")),
            ("$x$$$a$x$", Ordinary, Some("$$a")),
            ("b'01'", Ordinary, None),
            ("x'ff'", Ordinary, None),
        ] {
            assert_eq!(content(token, backslashes).as_deref(), expected, "{token}");
        }
    }
}
