//! Tokens of Python, as its language reference has them (chapter 2, "Lexical analysis"): as far as it takes to find
//! statements, calls and strings.
//!
//! Comments, blank lines and the line ends inside of brackets are left out. A text that can't be one of Python's ends with
//! the first thing that is wrong, since whatever is behind it may be its consequence.

use super::Trouble;

/// One token: what it is, and its bytes. Indentation has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or a name.
    Word,
    Number,
    /// A whole literal, its prefix and quotes included.
    String,
    /// An operator or a bracket.
    Symbol,
    /// The end of a logical line.
    NewLine,
    Indent,
    Dedent,
}

/// Operators of several characters, the longest first.
const OPERATORS: [&str; 23] = [
    "**=", "//=", ">>=", "<<=", "...", "!=", "==", "<=", ">=", "->", ":=", "+=", "-=", "*=", "/=", "%=", "@=", "&=",
    "|=", "^=", "**", "//", "<<",
];
/// As many as Python itself takes (`MAXINDENT`).
const MOST_LEVELS: usize = 100;
/// Strings inside of placeholders inside of strings; Python takes more, and nobody writes them.
const MOST_NESTED: usize = 8;
const TAB: usize = 8;

/// Reads a whole text.
///
/// # Errors
/// The first thing that no text of Python has.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Trouble> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), levels: vec![0], open: Vec::new() };
    lexer.read()?;
    Ok(lexer.tokens)
}

/// The letters in front of a string's first quote, if a string begins there.
pub(super) fn prefix(text: &str) -> Option<&str> {
    let length = text.bytes().take(3).take_while(u8::is_ascii_alphabetic).count();
    let (prefix, rest) = text.split_at(length);
    let known = ["", "r", "u", "b", "f", "t", "br", "rb", "fr", "rf", "tr", "rt"];
    (rest.starts_with(['\'', '"']) && known.contains(&prefix.to_ascii_lowercase().as_str())).then_some(prefix)
}

/// The quotes that a string begins and ends with: one or three.
pub(super) fn quotes(text: &str) -> &str {
    let three = ["'''", "\"\"\""].into_iter().any(|quotes| text.starts_with(quotes));
    &text[..if three { 3 } else { 1 }]
}

/// Where a placeholder ends that begins there with a brace: behind its closing one.
pub(super) fn placeholder_end(text: &str, start: usize) -> Option<usize> {
    if text[start..].starts_with('{') { placeholder(text, start, 0).ok() } else { None }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    /// Columns of the blocks that are open.
    levels: Vec<usize>,
    /// Brackets that are open.
    open: Vec<usize>,
}

impl Lexer<'_> {
    fn read(&mut self) -> Result<(), Trouble> {
        self.indentation()?;
        while let Some(first) = self.rest().chars().next() {
            match first {
                ' ' | '\t' | '\x0c' => self.at += 1,
                '#' => self.comment(),
                '\n' | '\r' => {
                    let end = self.at + line_end(self.rest());
                    if self.open.is_empty() {
                        self.push(TokenKind::NewLine, end);
                        self.indentation()?;
                    } else {
                        self.at = end;
                    }
                }
                '\\' => match line_end(&self.rest()[1..]) {
                    0 => return Err(self.trouble("a backslash that continues no line: remove what stands behind it")),
                    length => self.at += 1 + length,
                },
                _ => self.token(first)?,
            }
        }
        if let Some(&bracket) = self.open.last() {
            return Err(Trouble::new(bracket, "this bracket isn't closed"));
        }
        let end = self.text.len();
        if self.tokens.last().is_some_and(|last| !matches!(last.kind, TokenKind::NewLine | TokenKind::Dedent)) {
            self.push(TokenKind::NewLine, end);
        }
        for _ in 1..self.levels.len() {
            self.push(TokenKind::Dedent, end);
        }
        Ok(())
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn trouble(&self, message: &str) -> Trouble {
        Trouble::new(self.at, message)
    }

    fn push(&mut self, kind: TokenKind, end: usize) {
        self.tokens.push(Token { kind, start: self.at, end });
        self.at = end;
    }

    fn comment(&mut self) {
        let rest = self.rest();
        self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
    }

    /// What a line begins with; lines with nothing on them but a comment don't count.
    fn indentation(&mut self) -> Result<(), Trouble> {
        let mut column = 0;
        loop {
            match self.rest().as_bytes().first() {
                Some(b' ') => column += 1,
                Some(b'\t') => column = (column / TAB + 1) * TAB,
                Some(b'#') => {
                    self.comment();
                    continue;
                }
                Some(b'\x0c' | b'\n' | b'\r') => column = 0,
                Some(_) => break,
                None => return Ok(()),
            }
            self.at += 1;
        }
        let deepest = self.levels.last().copied().unwrap_or_default();
        if column > deepest {
            if self.levels.len() == MOST_LEVELS {
                return Err(self.trouble("blocks stand too deep inside of each other"));
            }
            self.levels.push(column);
            self.push(TokenKind::Indent, self.at);
        }
        while self.levels.last().is_some_and(|&level| level > column) {
            self.levels.pop();
            self.push(TokenKind::Dedent, self.at);
        }
        if self.levels.last() != Some(&column) {
            return Err(self.trouble("this line is indented as no line before it: indent it as its neighbours are"));
        }
        Ok(())
    }

    fn token(&mut self, first: char) -> Result<(), Trouble> {
        if let Some(prefix) = prefix(self.rest()) {
            let end = string(self.text, self.at, prefix, 0)?;
            self.push(TokenKind::String, end);
        } else if is_word(first) {
            let rest = self.rest();
            let length = rest.find(|letter: char| !is_word(letter)).unwrap_or(rest.len());
            let kind = if first.is_numeric() { TokenKind::Number } else { TokenKind::Word };
            self.push(kind, self.at + length);
        } else {
            self.symbol(first)?;
        }
        Ok(())
    }

    fn symbol(&mut self, first: char) -> Result<(), Trouble> {
        match first {
            '(' | '[' | '{' => self.open.push(self.at),
            ')' | ']' | '}' => {
                let opened = self.open.pop().and_then(|at| self.text[at..].chars().next());
                if !matches!((opened, first), (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')) {
                    return Err(self.trouble("this bracket closes none"));
                }
            }
            _ if !first.is_ascii_punctuation() || matches!(first, '$' | '?' | '`') => {
                return Err(self.trouble("nothing in Python looks like this"));
            }
            _ => {}
        }
        let operator = OPERATORS.into_iter().find(|operator| self.rest().starts_with(operator));
        let end = self.at + operator.map_or(first.len_utf8(), str::len);
        self.push(TokenKind::Symbol, end);
        Ok(())
    }
}

/// Letters, digits and what else may be in a name or a number.
fn is_word(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// How long the line end is that the text begins with; 0 for none.
pub(super) fn line_end(text: &str) -> usize {
    if text.starts_with("\r\n") { 2 } else { usize::from(text.starts_with(['\n', '\r'])) }
}

/// The end of a string that begins there with its prefix.
fn string(text: &str, start: usize, prefix: &str, depth: usize) -> Result<usize, Trouble> {
    let quotes = quotes(&text[start + prefix.len()..]);
    let has_placeholders = prefix.contains(['f', 'F', 't', 'T']);
    let open = || Trouble::new(start, "the string that begins here isn't closed");
    let mut at = start + prefix.len() + quotes.len();
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { return Err(open()) };
        if rest.starts_with(quotes) {
            return Ok(at + quotes.len());
        }
        at += match first {
            // Also in a raw string, where it stays.
            '\\' if line_end(&rest[1..]) > 0 => 1 + line_end(&rest[1..]),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '\n' | '\r' if quotes.len() == 1 => return Err(open()),
            '{' if has_placeholders && rest.starts_with("{{") => 2,
            '{' if has_placeholders => placeholder(text, at, depth)? - at,
            _ => first.len_utf8(),
        };
    }
}

/// The end of a placeholder, in which strings may have the quotes of the one that it stands in (PEP 701).
fn placeholder(text: &str, start: usize, depth: usize) -> Result<usize, Trouble> {
    let open = || Trouble::new(start, "the placeholder that begins here isn't closed");
    if depth == MOST_NESTED {
        return Err(open());
    }
    let mut braces = 0_usize;
    let mut at = start;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { return Err(open()) };
        let in_word = text[..at].ends_with(is_word);
        if let Some(prefix) = prefix(rest).filter(|_| !in_word) {
            at = string(text, at, prefix, depth + 1)?;
            continue;
        }
        at += first.len_utf8();
        match first {
            '{' => braces += 1,
            '}' if braces == 1 => return Ok(at),
            '}' => braces -= 1,
            _ => {}
        }
    }
}
