//! Tokens by psql's own rules (`src/fe_utils/psqlscan.l`), which are the server's as far as statements go.
//!
//! The lexer never fails and never looks back: every byte belongs to one token, in order, and a literal without an end
//! is a token that says so. It knows no grammar. Only `standard_conforming_strings` changes what it sees.

/// One token: what it is, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its first byte.
    pub start: usize,
    /// The byte behind its last.
    pub end: usize,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Blanks and line ends.
    Blank,
    /// `-- …`, without its line end.
    LineComment,
    /// `/* … */`, nested ones in it.
    BlockComment,
    /// A keyword or an identifier without quotes.
    Word,
    /// `"…"` or `U&"…"`.
    QuotedIdentifier,
    /// `'…'`, also with a prefix, also continued on a later line.
    String,
    /// `$tag$ … $tag$`.
    DollarString,
    /// A number.
    Number,
    /// `$1`.
    Parameter,
    /// A `$` that begins neither a dollar quote nor a parameter: nothing in SQL looks so.
    LoneDollar,
    /// `(`.
    OpenParenthesis,
    /// `)`.
    CloseParenthesis,
    /// `;`.
    Semicolon,
    /// `\`: only psql commands begin so.
    Backslash,
    /// Any other character.
    Symbol,
    /// A literal or comment that reaches the end of the text without its own end.
    Unterminated(Open),
}

/// What can be left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// `/*`.
    Comment,
    /// `'`.
    String,
    /// `"`.
    QuotedIdentifier,
    /// `$tag$`.
    DollarString,
}

/// Tokens of a text, from its beginning to its end.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    backslashes: Backslashes,
}

/// What a backslash is inside `'…'`; `E'…'` always escapes, and other prefixes never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backslashes {
    /// `standard_conforming_strings = on`, the default since PostgreSQL 9.1.
    #[default]
    Ordinary,
    /// `standard_conforming_strings = off`.
    Escape,
}

impl TokenKind {
    /// Whether the server sees a blank.
    #[must_use]
    pub fn is_blank(self) -> bool {
        matches!(self, Self::Blank | Self::LineComment | Self::BlockComment)
    }
}

impl<'a> Lexer<'a> {
    /// Reads a text whose strings begin as `backslashes` says.
    #[must_use]
    pub fn new(text: &'a str, backslashes: Backslashes) -> Self {
        Self { text, at: 0, backslashes }
    }

    /// The text of a token.
    #[must_use]
    pub fn text(&self, token: Token) -> &'a str {
        &self.text[token.start..token.end]
    }

    /// What hasn't been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// How strings are read from here on.
    pub fn set_backslashes(&mut self, backslashes: Backslashes) {
        self.backslashes = backslashes;
    }

    /// How strings are read.
    #[must_use]
    pub fn backslashes(&self) -> Backslashes {
        self.backslashes
    }

    /// Goes on at that byte, which must begin a character.
    pub(super) fn skip_to(&mut self, at: usize) {
        debug_assert!(self.text.is_char_boundary(at));
        self.at = at;
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The first byte from `at` on that isn't one of those.
    fn run(&self, at: usize, among: impl Fn(u8) -> bool) -> usize {
        let rest = &self.text.as_bytes()[at..];
        at + rest.iter().position(|&byte| !among(byte)).unwrap_or(rest.len())
    }

    fn block_comment(&self, start: usize) -> (TokenKind, usize) {
        let mut depth = 1_usize;
        let mut at = start + 2;
        while let Some(byte) = self.byte(at) {
            match (byte, self.byte(at + 1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return (TokenKind::BlockComment, at);
                    }
                }
                _ => at += 1,
            }
        }
        (TokenKind::Unterminated(Open::Comment), self.text.len())
    }

    /// The rest of a string behind its opening quote.
    fn string(&self, from: usize, backslashes: Backslashes) -> (TokenKind, usize) {
        let mut at = from;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'\\' if backslashes == Backslashes::Escape => at += 2,
                b'\'' if self.byte(at + 1) == Some(b'\'') => at += 2,
                b'\'' => match self.continuation(at + 1) {
                    Some(next) => at = next,
                    None => return (TokenKind::String, at + 1),
                },
                _ => at += 1,
            }
        }
        (TokenKind::Unterminated(Open::String), self.text.len())
    }

    /// A string goes on in the next line: a quote behind blanks and comments with a line end among them (manual, section
    /// 4.1.2.1). Returns the byte behind that quote.
    fn continuation(&self, from: usize) -> Option<usize> {
        let mut at = from;
        let mut new_line = false;
        loop {
            match self.byte(at)? {
                b'\n' | b'\r' => {
                    new_line = true;
                    at += 1;
                }
                byte if is_blank(byte) => at += 1,
                b'-' if self.byte(at + 1) == Some(b'-') => at = self.run(at, |byte| !is_line_end(byte)),
                b'\'' if new_line => return Some(at + 1),
                _ => return None,
            }
        }
    }

    fn quoted_identifier(&self, from: usize) -> (TokenKind, usize) {
        let mut at = from;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'"' if self.byte(at + 1) == Some(b'"') => at += 2,
                b'"' => return (TokenKind::QuotedIdentifier, at + 1),
                _ => at += 1,
            }
        }
        (TokenKind::Unterminated(Open::QuotedIdentifier), self.text.len())
    }

    fn dollar(&self, start: usize) -> (TokenKind, usize) {
        let mut end = start + 1;
        match self.byte(end) {
            Some(byte) if byte.is_ascii_digit() => {
                return (TokenKind::Parameter, self.run(end, |byte| byte.is_ascii_digit()));
            }
            Some(byte) if begins_word(byte) => end = self.run(end, |byte| continues_word(byte) && byte != b'$'),
            _ => {}
        }
        if self.byte(end) != Some(b'$') {
            return (TokenKind::LoneDollar, start + 1);
        }
        let body = end + 1;
        match self.text[body..].find(&self.text[start..body]) {
            Some(at) => (TokenKind::DollarString, body + at + (body - start)),
            None => (TokenKind::Unterminated(Open::DollarString), self.text.len()),
        }
    }

    /// The byte behind a number and whatever hangs on to it. Before PostgreSQL 15 a word may (`1a$$` is 1 AS "a$$"), and
    /// a dollar sign in it begins no quote; behind digits alone it does.
    fn number(&self, start: usize) -> usize {
        let mut at = start;
        loop {
            at = self.run(at, |byte| byte.is_ascii_digit() || byte == b'.');
            let exponent = self.byte(at).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'e'));
            at = match self.byte(at + usize::from(exponent)) {
                Some(byte) if exponent && byte.is_ascii_digit() => at + 1,
                _ if self.byte(at).is_some_and(begins_word) => self.run(at, continues_word),
                _ => return at,
            };
        }
    }

    fn word(&self, start: usize) -> (TokenKind, usize) {
        let end = self.run(start, continues_word);
        match (&self.text.as_bytes()[start..end], self.byte(end)) {
            (b"e" | b"E", Some(b'\'')) => self.string(end + 1, Backslashes::Escape),
            // The server reads N'…' as a plain string behind a keyword.
            (b"n" | b"N", Some(b'\'')) => self.string(end + 1, self.backslashes),
            (b"b" | b"B" | b"x" | b"X", Some(b'\'')) => self.string(end + 1, Backslashes::Ordinary),
            (b"u" | b"U", Some(b'&')) if self.byte(end + 1) == Some(b'\'') => {
                self.string(end + 2, Backslashes::Ordinary)
            }
            (b"u" | b"U", Some(b'&')) if self.byte(end + 1) == Some(b'"') => self.quoted_identifier(end + 2),
            _ => (TokenKind::Word, end),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let next = self.byte(start + 1);
        let (kind, end) = match self.byte(start)? {
            byte if is_blank(byte) => (TokenKind::Blank, self.run(start, is_blank)),
            b'-' if next == Some(b'-') => (TokenKind::LineComment, self.run(start, |byte| !is_line_end(byte))),
            b'/' if next == Some(b'*') => self.block_comment(start),
            b'\'' => self.string(start + 1, self.backslashes),
            b'"' => self.quoted_identifier(start + 1),
            b'$' => self.dollar(start),
            b'(' => (TokenKind::OpenParenthesis, start + 1),
            b')' => (TokenKind::CloseParenthesis, start + 1),
            b';' => (TokenKind::Semicolon, start + 1),
            b'\\' => (TokenKind::Backslash, start + 1),
            byte if byte.is_ascii_digit() => (TokenKind::Number, self.number(start)),
            byte if begins_word(byte) => self.word(start),
            _ => (TokenKind::Symbol, start + 1),
        };
        // An escape at the very end may count one byte too many.
        self.at = end.min(self.text.len());
        Some(Token { kind, start, end: self.at })
    }
}

/// What a byte may be, looked up: each byte of a text is asked about several times.
static CLASSES: [u8; 256] = classes();
const BLANK: u8 = 1;
const BEGINS_WORD: u8 = 2;
const CONTINUES_WORD: u8 = 4;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        classes[byte as usize] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => BLANK,
            // Every byte of a character beyond ASCII may stand in an identifier.
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => BEGINS_WORD | CONTINUES_WORD,
            b'0'..=b'9' | b'$' => CONTINUES_WORD,
            _ => 0,
        };
        if byte == u8::MAX {
            return classes;
        }
        byte += 1;
    }
}

/// Whether the byte is a blank to the server, line ends included.
pub(crate) fn is_blank(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & BLANK != 0
}

pub(crate) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn begins_word(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & BEGINS_WORD != 0
}

fn continues_word(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & CONTINUES_WORD != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{TokenKind::*, *};

    /// Kind and text of all tokens but blanks.
    fn tokens(text: &str) -> Vec<(TokenKind, &str)> {
        let lexer = Lexer::new(text, Backslashes::Ordinary);
        lexer.clone().filter(|token| token.kind != Blank).map(|token| (token.kind, lexer.text(token))).collect()
    }

    /// M19: what the server takes for one token is one token.
    #[test]
    fn literals_and_comments_are_one_token_each() {
        for (text, kind) in [
            ("'a'", String),
            ("''", String),
            ("'it''s; -- /* $$'", String),
            (r"'\'", String),
            (r"E'\''", String),
            (r"e'\\'", String),
            (r"E'\é\'ü'", String),
            (r"U&'\0041'", String),
            (r"u&'\'", String),
            ("b'01'", String),
            ("X'ff'", String),
            ("N'a'", String),
            ("'a'\n'b'", String),
            ("'a' -- why\n  -- not\n 'b'", String),
            ("'a'\r\n'b;'", String),
            ("E'a'\n'\\''", String),
            ("\"a\"", QuotedIdentifier),
            ("\"a\"\"b;\"", QuotedIdentifier),
            ("U&\"d\\0061t;\"", QuotedIdentifier),
            ("$$ ; ' $a$ $$", DollarString),
            ("$a$ $$ ; $b$ $A$ $a$", DollarString),
            ("$a$$b$a$", DollarString),
            ("$é_1$ ; $é_1$", DollarString),
            ("-- ; ' $$", LineComment),
            ("/* ; ' -- */", BlockComment),
            ("/* a /* b */ c */", BlockComment),
            ("/*/ */", BlockComment),
            ("/***/", BlockComment),
            ("/*/**/*/", BlockComment),
            ("a$$b$", Word),
            ("a$1", Word),
            ("größe", Word),
            ("_1", Word),
            ("$12", Parameter),
            ("1_000.5e3", Number),
            ("0xFF", Number),
            ("1a$$", Number),
            ("1e$a$", Number),
            ("0x$$", Number),
            ("1.5e3é$", Number),
        ] {
            assert_eq!(tokens(text), [(kind, text)]);
        }
    }

    #[test]
    fn tokens_end_where_the_server_ends_them() {
        assert_eq!(tokens("'a' 'b'"), [(String, "'a'"), (String, "'b'")]);
        assert_eq!(tokens("'a' /* x\n */ 'b'").len(), 3);
        assert_eq!(tokens("foo_e'a'"), [(Word, "foo_e"), (String, "'a'")]);
        assert_eq!(tokens("u &'a'").len(), 3);
        assert_eq!(tokens("1$$a$$"), [(Number, "1"), (DollarString, "$$a$$")]);
        assert_eq!(tokens("1.5e3$$a$$"), [(Number, "1.5e3"), (DollarString, "$$a$$")]);
        assert_eq!(tokens("1e+5"), [(Number, "1e"), (Symbol, "+"), (Number, "5")]);
        assert_eq!(tokens("+--a\nb"), [(Symbol, "+"), (LineComment, "--a"), (Word, "b")]);
        assert_eq!(tokens("*/*a*/"), [(Symbol, "*"), (BlockComment, "/*a*/")]);
        assert_eq!(
            tokens(":'x'::text"),
            [(Symbol, ":"), (String, "'x'"), (Symbol, ":"), (Symbol, ":"), (Word, "text")]
        );
        assert_eq!(tokens("-- a\rb"), [(LineComment, "-- a"), (Word, "b")]);
        assert_eq!(tokens("AS $\nx"), [(Word, "AS"), (LoneDollar, "$"), (Word, "x")]);
        assert_eq!(tokens("$a b$"), [(LoneDollar, "$"), (Word, "a"), (Word, "b$")]);
        assert_eq!(tokens("(\\;)").len(), 4);
    }

    #[test]
    fn what_has_no_end_says_so() {
        for (text, open) in [
            ("'a", Open::String),
            ("'a''", Open::String),
            ("E'a\\'", Open::String),
            ("E'a\\", Open::String),
            ("'a'\n'b", Open::String),
            ("\"a", Open::QuotedIdentifier),
            ("U&\"", Open::QuotedIdentifier),
            ("/* /* */", Open::Comment),
            ("/*", Open::Comment),
            ("$$ a $", Open::DollarString),
            ("$a$ $A$", Open::DollarString),
        ] {
            assert_eq!(tokens(text), [(Unterminated(open), text)]);
        }
    }

    #[test]
    fn backslashes_escape_where_the_setting_says_so() {
        let kinds = |text| Lexer::new(text, Backslashes::Escape).map(|token| token.kind).collect::<Vec<_>>();
        assert_eq!(kinds(r"'\''"), [String]);
        assert_eq!(kinds(r"N'\''"), [String]);
        assert_eq!(kinds(r"b'\'"), [String]);
        assert_eq!(kinds(r"$$\$$"), [DollarString]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn every_byte_belongs_to_one_token(text in crate::core::sql::fragments::sql_like(), escape in any::<bool>()) {
            let backslashes = if escape { Backslashes::Escape } else { Backslashes::Ordinary };
            let mut at = 0;
            for token in Lexer::new(&text, backslashes) {
                prop_assert_eq!(token.start, at);
                prop_assert!(token.end > at && text.is_char_boundary(token.end));
                at = token.end;
            }
            prop_assert_eq!(at, text.len());
        }
    }
}
