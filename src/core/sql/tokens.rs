//! A statement's tokens without blanks and comments, and the few things one asks of them.

use super::{
    classify::QualifiedName,
    lexer::{Backslashes, Lexer, TokenKind},
};

/// A token with its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
}

/// The tokens of one statement that are not blanks or comments. What is asked for and not there isn't accepted.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    lexer: Lexer<'a>,
}

/// Names are cut at this many bytes by the server (NAMEDATALEN less one).
const MAX_NAME: usize = 63;

impl Part<'_> {
    /// Whether it is that keyword, which is given in lower case.
    pub fn is(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    pub fn is_symbol(&self, symbol: u8) -> bool {
        self.kind == TokenKind::Symbol && self.text.as_bytes() == [symbol]
    }
}

impl<'a> Tokens<'a> {
    pub fn new(statement: &'a str, backslashes: Backslashes) -> Self {
        Self { lexer: Lexer::new(statement, backslashes) }
    }

    /// The text behind the last token taken.
    pub fn rest(&self) -> &'a str {
        self.lexer.rest()
    }

    /// Accepts the next token if it passes.
    pub fn accept_if(&mut self, test: impl FnOnce(&Part<'a>) -> bool) -> bool {
        let mut ahead = self.clone();
        let passes = ahead.next().is_some_and(|part| test(&part));
        if passes {
            *self = ahead;
        }
        passes
    }

    /// Accepts that keyword.
    pub fn accept(&mut self, keyword: &str) -> bool {
        self.accept_if(|part| part.is(keyword))
    }

    /// Accepts one of those keywords.
    pub fn accept_any(&mut self, keywords: &[&str]) -> bool {
        self.accept_if(|part| keywords.iter().any(|keyword| part.is(keyword)))
    }

    /// Accepts all of those keywords, or none.
    pub fn accept_all(&mut self, keywords: &[&str]) -> bool {
        let mut ahead = self.clone();
        let all = keywords.iter().all(|keyword| ahead.accept(keyword));
        if all {
            *self = ahead;
        }
        all
    }

    /// Accepts that character.
    pub fn accept_symbol(&mut self, symbol: u8) -> bool {
        self.accept_if(|part| part.is_symbol(symbol))
    }

    /// Accepts a parenthesis and all up to its counterpart.
    pub fn accept_parentheses(&mut self) -> bool {
        let mut ahead = self.clone();
        let mut depth = 0_usize;
        while let Some(part) = ahead.next() {
            match part.kind {
                TokenKind::OpenParenthesis => depth += 1,
                TokenKind::CloseParenthesis => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                let taken = part.kind == TokenKind::CloseParenthesis;
                if taken {
                    *self = ahead;
                }
                return taken;
            }
        }
        false
    }

    /// Accepts a name as the server understands it: folded to lower case or unquoted, and cut to 63 bytes. None also for
    /// `U&"…"`, whose escape character may be named elsewhere.
    pub fn identifier(&mut self) -> Option<String> {
        let mut ahead = self.clone();
        let part = ahead.next()?;
        let mut name = match part.kind {
            TokenKind::Word => part.text.to_ascii_lowercase(),
            TokenKind::QuotedIdentifier => part.text.strip_prefix('"')?.strip_suffix('"')?.replace("\"\"", "\""),
            _ => return None,
        };
        name.truncate(name.floor_char_boundary(MAX_NAME));
        *self = ahead;
        Some(name)
    }

    /// Accepts a name with as many qualifications as there are, and keeps the last two parts.
    pub fn qualified_name(&mut self) -> Option<QualifiedName> {
        let mut name = QualifiedName { schema: None, name: self.identifier()? };
        while self.accept_symbol(b'.') {
            let next = self.identifier()?;
            name.schema = Some(std::mem::replace(&mut name.name, next));
        }
        Some(name)
    }

    /// Whether an option of that name is turned off somewhere behind: `refresh = false`, `concurrently off`.
    pub fn option_is_off(&self, option: &str) -> bool {
        let mut ahead = self.clone();
        while let Some(part) = ahead.next() {
            if part.is(option) {
                ahead.accept_symbol(b'=');
                return ahead.next().is_some_and(|value| {
                    let value = value.text.trim_matches(['\'', '"']);
                    ["false", "off", "no", "0", "f", "n"].iter().any(|off| value.eq_ignore_ascii_case(off))
                });
            }
        }
        false
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let token = self.lexer.by_ref().find(|token| !token.kind.is_blank())?;
        Some(Part { kind: token.kind, text: self.lexer.text(token) })
    }
}
