//! Where something stands in a file, and that line with a caret under it.
//!
//! Lines end at LF, CRLF or CR, as they do for the server's lexer; columns count characters.

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
}

/// Walks a text forwards and counts lines and columns, so that many places in one text cost one pass.
#[derive(Debug, Clone)]
pub(crate) struct Counter<'a> {
    text: &'a str,
    at: usize,
    location: Location,
}

const SHOWN_CHARACTERS: usize = 100;

/// The place of a character of a section; `char_offset` counts characters from 0, `first_line` is the line of the file
/// on which the section begins. What lies behind the end is at the end.
#[must_use]
pub fn locate(text: &str, first_line: u32, char_offset: usize) -> Location {
    locate_byte(text, first_line, byte_of_char(text, char_offset))
}

/// As [`locate`], for a byte of the section.
#[must_use]
pub fn locate_byte(text: &str, first_line: u32, byte_offset: usize) -> Location {
    let mut counter = Counter::new(text, first_line);
    counter.advance(byte_offset)
}

/// The line on which a character stands, and a caret under it: two lines without a line end behind them. A long line is
/// cut around the caret; tabs are shown as one blank.
#[must_use]
pub fn excerpt(text: &str, char_offset: usize) -> String {
    let mut at = byte_of_char(text, char_offset);
    if text[..at].ends_with('\r') && text[at..].starts_with('\n') {
        at -= 1;
    }
    let is_line_end = |c: char| matches!(c, '\n' | '\r');
    let start = text[..at].rfind(is_line_end).map_or(0, |end| end + 1);
    let end = text[at..].find(is_line_end).map_or(text.len(), |end| at + end);
    let before = text[start..at].chars().count();
    let from = before.saturating_sub(SHOWN_CHARACTERS / 2);
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let mut line = String::from(if from > 0 { "…" } else { "" });
    let mut caret = " ".repeat(line.chars().count());
    let mut characters = text[start..end].chars().skip(from);
    for (count, character) in characters.by_ref().take(SHOWN_CHARACTERS).enumerate() {
        line.push(shown(character));
        if count < before - from {
            (0..width(character)).for_each(|_| caret.push(' '));
        }
    }
    if characters.next().is_some() {
        line.push('…');
    }
    format!("{line}\n{caret}^")
}

/// A whole report of a place: `file:line:column`, the line, and a caret.
#[must_use]
pub fn describe(file: &str, text: &str, first_line: u32, char_offset: usize) -> String {
    let Location { line, column } = locate(text, first_line, char_offset);
    format!("{file}:{line}:{column}\n{}", excerpt(text, char_offset))
}

impl<'a> Counter<'a> {
    pub fn new(text: &'a str, first_line: u32) -> Self {
        Self { text, at: 0, location: Location { line: first_line, column: 1 } }
    }

    /// The place of that byte, which must not lie before the last one asked for.
    pub fn advance(&mut self, byte_offset: usize) -> Location {
        debug_assert!(byte_offset >= self.at);
        let mut target = byte_offset.min(self.text.len());
        while !self.text.is_char_boundary(target) {
            target -= 1;
        }
        let bytes = self.text.as_bytes();
        for at in self.at..target {
            match bytes[at] {
                b'\r' if bytes.get(at + 1) == Some(&b'\n') => self.location.column += 1,
                b'\n' | b'\r' => self.location = Location { line: self.location.line + 1, column: 1 },
                // The second and later bytes of a character.
                0x80..=0xbf => {}
                _ => self.location.column += 1,
            }
        }
        self.at = self.at.max(target);
        self.location
    }
}

fn byte_of_char(text: &str, char_offset: usize) -> usize {
    text.char_indices().nth(char_offset).map_or(text.len(), |(at, _)| at)
}

/// Columns that a terminal gives a character, near enough: the wide blocks of East Asia and of pictures take two.
fn width(character: char) -> usize {
    match u32::from(character) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1_f300..=0x1_f64f
        | 0x1_f900..=0x1_f9ff
        | 0x2_0000..=0x3_fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_a_line_of_the_file_and_a_column_in_characters() {
        let text = "SELECT 'größe',\r\n  x\n\ny";
        for (offset, line, column) in [
            (0, 7, 1),
            (13, 7, 14),
            (15, 7, 16),
            (16, 7, 17),
            (17, 8, 1),
            (19, 8, 3),
            (21, 9, 1),
            (22, 10, 1),
            (99, 10, 2),
        ] {
            assert_eq!(locate(text, 7, offset), Location { line, column }, "{offset}");
        }
        assert_eq!(locate("a\rb", 1, 2), Location { line: 2, column: 1 });
    }

    #[test]
    fn an_excerpt_has_a_caret_under_the_character() {
        assert_eq!(excerpt("SELECT 1;\n\tSELEC 2;\n", 11), " SELEC 2;\n ^");
        assert_eq!(excerpt("日本 x", 3), "日本 x\n     ^");
        assert_eq!(excerpt("SELECT", 6), "SELECT\n      ^");
        assert_eq!(excerpt("a\r\nb", 1), "a\n ^");
        assert_eq!(excerpt("a\r\nb", 2), "a\n ^");
        assert_eq!(excerpt("", 5), "\n^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}!{}", "a".repeat(5_000), "b".repeat(5_000));
        let shown = excerpt(&text, 5_000);
        let (line, caret) = shown.split_once('\n').unwrap();
        assert_eq!(line, format!("…{}!{}…", "a".repeat(50), "b".repeat(49)));
        assert_eq!(line.chars().nth(caret.len() - 1), Some('!'));
    }

    #[test]
    fn a_report_names_file_line_and_column() {
        assert_eq!(describe("003_a.sql", "SELECT 1;\nSELEC 2;", 4, 10), "003_a.sql:5:1\nSELEC 2;\n^");
    }

    proptest! {
        #[test]
        fn no_place_of_any_text_makes_it_fail(text in "(?s).*", offset in 0usize..200) {
            let location = locate(&text, 1, offset);
            prop_assert!(location.line >= 1 && location.column >= 1);
            prop_assert_eq!(excerpt(&text, offset).matches('\n').count(), 1);
        }
    }
}
