//! Strings of Python into what they hold, each byte of it with its place in the file.

use super::{
    Trouble,
    lexer::{line_end, placeholder_end, prefix, quotes},
};

/// What a literal holds, or several that stand beside each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Literal {
    pub text: String,
    /// Where the text goes on elsewhere in the file than right behind the byte before: its own byte, and the file's.
    places: Vec<(usize, usize)>,
}

impl Literal {
    /// Adds what a string holds, `source` being the whole of it, which begins at that byte of the file.
    ///
    /// # Errors
    /// What isn't known before it runs, and what isn't text.
    pub fn append(&mut self, source: &str, start: usize) -> Result<(), Trouble> {
        let letters = prefix(source).unwrap_or_default();
        let has = |letter: char| letters.chars().any(|one| one.eq_ignore_ascii_case(&letter));
        if has('b') {
            return Err(Trouble::new(start, "these are bytes, and SQL is text: remove the b in front of them"));
        }
        if has('t') {
            return Err(Trouble::new(
                start,
                "a template is made up when it runs: write its text as an ordinary string",
            ));
        }
        let quotes = quotes(&source[letters.len()..]).len();
        // Also one that holds nothing has a place.
        self.places.push((self.text.len(), start + letters.len() + quotes));
        let reader = Reader { source, start, raw: has('r'), formatted: has('f') };
        reader.read(letters.len() + quotes, source.len() - quotes, self)
    }

    /// The byte of the file that stands for this one of the text.
    pub fn place(&self, byte: usize) -> usize {
        let behind = self.places.partition_point(|(own, _)| *own <= byte);
        behind.checked_sub(1).map_or(0, |at| self.places[at].1 + byte - self.places[at].0)
    }

    /// What `text()` of `SQLAlchemy` makes of it (`BIND_PARAMS` and `BIND_PARAMS_ESC` of `sqlalchemy/sql/compiler.py`):
    /// `:name` is a parameter, and `\:` a colon.
    ///
    /// # Errors
    /// A parameter, whose value isn't in the text.
    pub fn without_escaped_colons(self) -> Result<Self, Trouble> {
        let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
        let mut plain = Self::default();
        let mut before = ' ';
        for (at, letter) in self.text.char_indices() {
            let behind = |from: usize| {
                let rest = &self.text[from..];
                let name = &rest[..rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())];
                (name, rest[name.len()..].starts_with(':'))
            };
            let escapes = letter == '\\' && self.text[at + 1..].starts_with(':') && !behind(at + 2).1;
            if letter == ':' && !matches!(before, ':' | '\\') && !(before != '$' && is_word(before)) {
                let (name, is_more) = behind(at + 1);
                if !name.is_empty() && !is_more {
                    let message = format!(
                        "`:{name}` is a parameter to text(), and gets its value when it runs: write the value in its \
                         place, or `\\:{name}` where it is no parameter"
                    );
                    return Err(Trouble::new(self.place(at), message));
                }
            }
            if !escapes {
                plain.push(letter, self.place(at));
            }
            before = letter;
        }
        Ok(plain)
    }

    fn push(&mut self, letter: char, place: usize) {
        if self.place(self.text.len()) != place || self.places.is_empty() {
            self.places.push((self.text.len(), place));
        }
        self.text.push(letter);
    }
}

struct Reader<'a> {
    source: &'a str,
    start: usize,
    raw: bool,
    formatted: bool,
}

impl Reader<'_> {
    fn read(&self, from: usize, end: usize, into: &mut Literal) -> Result<(), Trouble> {
        let mut at = from;
        while at < end {
            let rest = &self.source[at..end];
            let Some(letter) = rest.chars().next() else { break };
            let place = self.start + at;
            at += match letter {
                '\\' if !self.raw => self.escape(at, end, into)?,
                '{' | '}' if self.formatted => {
                    if !rest[1..].starts_with(letter) {
                        return Err(Trouble::new(place, self.placeholder(at)));
                    }
                    into.push(letter, place);
                    2
                }
                // Python reads every line end as this one.
                '\r' => {
                    into.push('\n', place);
                    line_end(rest)
                }
                _ => {
                    into.push(letter, place);
                    letter.len_utf8()
                }
            };
        }
        Ok(())
    }

    fn placeholder(&self, at: usize) -> String {
        let end = placeholder_end(self.source, at).unwrap_or(at + 1);
        let shown: String = self.source[at..end].chars().take(40).collect();
        format!(
            "`{shown}` gets its value when it runs: write the value in its place, or the braces twice where they are text"
        )
    }

    /// One escape, and how long it is.
    fn escape(&self, at: usize, end: usize, into: &mut Literal) -> Result<usize, Trouble> {
        let place = self.start + at;
        let behind = &self.source[at + 1..end];
        let joined = line_end(behind);
        if joined > 0 {
            return Ok(1 + joined);
        }
        let Some(letter) = behind.chars().next() else { return Ok(1) };
        let plain = match letter {
            '\\' | '\'' | '"' => Some(letter),
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            _ => None,
        };
        if let Some(plain) = plain {
            into.push(plain, place);
            return Ok(2);
        }
        let digits = |least: usize, most: usize, radix: u32, from: usize| {
            let digits = behind[from..].chars().take(most).take_while(|digit| digit.is_digit(radix)).count();
            (digits >= least).then(|| (from + digits, u32::from_str_radix(&behind[from..from + digits], radix)))
        };
        let (length, value) = match letter {
            'x' => digits(2, 2, 16, 1),
            'u' => digits(4, 4, 16, 1),
            'U' => digits(8, 8, 16, 1),
            '0'..='7' => digits(1, 3, 8, 0),
            'N' => {
                let message = "Dunlin doesn't know characters by their names: write the character itself";
                return Err(Trouble::new(place, message));
            }
            // Python keeps both, with a warning.
            _ => {
                into.push('\\', place);
                return Ok(1);
            }
        }
        .ok_or_else(|| Trouble::new(place, format!("`\\{letter}` lacks digits: complete it")))?;
        let character = value
            .ok()
            .and_then(char::from_u32)
            .ok_or_else(|| Trouble::new(place, "this is no character of Unicode: write the character that is meant"))?;
        into.push(character, place);
        Ok(1 + length)
    }
}
