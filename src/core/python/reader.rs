//! Tokens into statements: a tree of blocks, with no idea of what their heads mean.

use std::ops::Range;

use super::lexer::{Token, TokenKind};

/// A statement, as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// One that stands on a line, without its line end.
    Simple(Range<usize>),
    /// `class …:`, `def …:`, `if …:` and the like, its colon included, and what stands in it.
    Block { head: Range<usize>, body: Vec<Statement> },
}

/// What begins a block whose body may stand on the same line.
const BLOCKS: [&str; 13] =
    ["class", "def", "async", "if", "elif", "else", "for", "while", "with", "try", "except", "finally", "case"];

/// Reads all of a file's statements.
pub(super) fn statements(text: &str, tokens: &[Token]) -> Vec<Statement> {
    Reader { text, tokens, at: 0 }.statements()
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    /// Up to the end of the block, whose end is taken too. The lexer sees to it that blocks are closed, and few.
    fn statements(&mut self) -> Vec<Statement> {
        let mut found = Vec::new();
        while let Some(token) = self.tokens.get(self.at) {
            match token.kind {
                TokenKind::Dedent => {
                    self.at += 1;
                    break;
                }
                // A block that nothing begins is no statement of anything.
                TokenKind::NewLine | TokenKind::Indent => self.at += 1,
                _ => self.line(&mut found),
            }
        }
        found
    }

    fn line(&mut self, found: &mut Vec<Statement>) {
        let start = self.at;
        let is_end = |token: &Token| token.kind == TokenKind::NewLine;
        let end = self.tokens[start..].iter().position(is_end).map_or(self.tokens.len(), |length| start + length);
        self.at = (end + 1).min(self.tokens.len());
        if self.tokens.get(self.at).is_some_and(|token| token.kind == TokenKind::Indent) {
            self.at += 1;
            let body = self.statements();
            found.push(Statement::Block { head: start..end, body });
            return;
        }
        if BLOCKS.contains(&self.word(start))
            && let Some(colon) = self.outside_brackets(start..end, ":")
        {
            let mut body = Vec::new();
            self.simple(colon + 1..end, &mut body);
            found.push(Statement::Block { head: start..colon + 1, body });
            return;
        }
        self.simple(start..end, found);
    }

    /// Several may stand on a line.
    fn simple(&self, mut range: Range<usize>, found: &mut Vec<Statement>) {
        while !range.is_empty() {
            let end = self.outside_brackets(range.clone(), ";").unwrap_or(range.end);
            if range.start < end {
                found.push(Statement::Simple(range.start..end));
            }
            range.start = (end + 1).min(range.end);
        }
    }

    fn word(&self, at: usize) -> &str {
        let Token { start, end, .. } = self.tokens[at];
        &self.text[start..end]
    }

    fn outside_brackets(&self, range: Range<usize>, symbol: &str) -> Option<usize> {
        let mut depth = 0_usize;
        for at in range {
            match self.word(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                word if depth == 0 && word == symbol => return Some(at),
                _ => {}
            }
        }
        None
    }
}
