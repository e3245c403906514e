//! The body of a DO block: statements among PL/pgSQL's own words, and texts that EXECUTE runs.
//!
//! Nothing of PL/pgSQL is understood but where a statement may begin and end.

use std::{iter, ops::Range};

use super::{DEEPEST, Reader, Source, UNKNOWN};
use crate::core::sql::{
    lexer::TokenKind,
    literal,
    position::Counter,
    tokens::{Part, Tokens},
};

/// Behind these words a statement may begin.
const OPENERS: &[&str] = &["begin", "then", "else", "loop", "query"];
/// Behind these, what is made may not be there on every way.
const TURNS: &[&str] = &["if", "case", "loop", "for", "foreach", "while", "exit", "continue", "return", "exception"];
/// What stops the concatenation of a text: another text begins there.
const BREAKS: &[&str] = &["then", "else", "when", "end", "case", "using", "into", "loop"];

/// A text in the making: constants, and what isn't known between them.
struct Assembled {
    at: usize,
    text: String,
}

impl Reader {
    pub(super) fn do_block(&mut self, mut tokens: Tokens<'_>, source: Source<'_>) {
        let mut language = "plpgsql".to_owned();
        let mut body = None;
        while let Some(part) = tokens.next() {
            if part.is("language") {
                if let Some(name) = tokens.identifier() {
                    language = name;
                } else if let Some(name) = tokens.next() {
                    language = literal::content(name.text, source.backslashes).unwrap_or_default().into_owned();
                }
            } else if part.is("uescape") {
                return self.add(source.line, "DO of a text with UESCAPE, which can't be read".to_owned());
            } else if matches!(part.kind, TokenKind::String | TokenKind::DollarString) {
                body = Some((part, source.start_of(&part, &tokens)));
            }
        }
        let Some((part, at)) = body else { return };
        if !language.eq_ignore_ascii_case("plpgsql") {
            return self.add(source.line, format!("DO in {language}, which can't be read"));
        }
        if source.nesting >= DEEPEST {
            return self.add(source.line, "DO inside too many others to be read".to_owned());
        }
        let Some(text) = literal::content(part.text, source.backslashes) else { return };
        let line = Counter::new(source.text, source.line).advance(at).line;
        self.body(Source { text: &text, line, nesting: source.nesting + 1, ..source });
    }

    fn body(&mut self, body: Source<'_>) {
        let (uncertain, made_before) = (self.temporary.uncertain, self.temporary.made.len());
        let mut counter = Counter::new(body.text, body.line);
        let mut tokens = body.tokens();
        // What was read, or runs nowhere.
        let mut read: Vec<Range<usize>> = Vec::new();
        let mut indirect = false;
        let (mut begins, mut heads_loop, mut depth) = (true, false, 0_usize);
        let mut last: Option<Part> = None;
        loop {
            let before = tokens.clone();
            let Some(part) = tokens.next() else { break };
            let start = body.start_of(&part, &tokens);
            if begins && depth == 0 && matches!(part.kind, TokenKind::Word | TokenKind::OpenParenthesis) {
                self.temporary.uncertain |= TURNS.iter().any(|turn| part.is(turn));
                if ["exception", "commit", "rollback"].iter().any(|word| part.is(word)) {
                    self.temporary.undo(made_before);
                }
                let runs_text = part.is("execute");
                if runs_text || part.is("raise") || begins_statement(&part, &tokens) {
                    tokens = before;
                    let end = statement_end(&body, &mut tokens, heads_loop);
                    let line = counter.advance(start).line;
                    let statement = Source { text: &body.text[start..end], line, ..body };
                    if runs_text {
                        indirect |= self.execute(statement);
                        read.push(start..end);
                    } else if !part.is("raise") {
                        self.statement(statement);
                    }
                    if part.is("create") || part.is("raise") || part.is("do") {
                        read.push(start..end);
                    }
                    begins = false;
                    last = None;
                    continue;
                }
            }
            match part.kind {
                TokenKind::OpenParenthesis => depth += 1,
                TokenKind::CloseParenthesis => depth = depth.saturating_sub(1),
                _ => {}
            }
            let head = begins && part.is("for");
            let label = part.is_symbol(b'>') && last.is_some_and(|last| last.is_symbol(b'>'));
            begins = part.kind == TokenKind::Semicolon
                || label
                || OPENERS.iter().any(|opener| part.is(opener))
                || heads_loop && part.is("in")
                || !head && part.is("for");
            if part.kind == TokenKind::Semicolon || part.is("loop") {
                (heads_loop, depth) = (false, 0);
            }
            heads_loop |= head;
            last = Some(part);
        }
        if indirect {
            self.texts_between(body, &read);
        }
        self.temporary.uncertain = uncertain;
    }

    /// Reads what EXECUTE runs; returns whether that comes from elsewhere.
    fn execute(&mut self, statement: Source<'_>) -> bool {
        let mut tokens = statement.tokens();
        tokens.next();
        let mut first = tokens.clone();
        while first.accept_if(|part| part.kind == TokenKind::OpenParenthesis) {}
        if first.accept("pg_catalog") {
            first.accept_symbol(b'.');
        }
        if first.accept_any(&["format", "concat"]) {
            first.accept_if(|part| part.kind == TokenKind::OpenParenthesis);
        }
        if tokens.any(|part| part.is("uescape")) {
            self.add(statement.line, "EXECUTE of a text with UESCAPE, which can't be read".to_owned());
        }
        let constant =
            first.next().is_some_and(|part| matches!(part.kind, TokenKind::String | TokenKind::DollarString));
        self.texts(statement);
        !constant
    }

    /// Reads every text of a body that isn't read yet: one of them may be what a variable holds.
    fn texts_between(&mut self, body: Source<'_>, read: &[Range<usize>]) {
        let mut counter = Counter::new(body.text, body.line);
        let mut from = 0;
        let end = body.text.len();
        for Range { start, end } in read.iter().cloned().chain(iter::once(end..end)) {
            let line = counter.advance(from).line;
            self.texts(Source { text: &body.text[from..start], line, ..body });
            from = end;
        }
    }

    /// Reads what the string constants of an expression make, as statements.
    fn texts(&mut self, source: Source<'_>) {
        // Which of them runs isn't known.
        let uncertain = std::mem::replace(&mut self.temporary.uncertain, true);
        let mut counter = Counter::new(source.text, source.line);
        for Assembled { at, text } in assembled(&source) {
            let line = counter.advance(at).line;
            if source.nesting >= DEEPEST {
                return self.add(line, "EXECUTE inside too many others to be read".to_owned());
            }
            self.statements(Source { text: &text, line, nesting: source.nesting + 1, ..source });
        }
        self.temporary.uncertain = uncertain;
    }
}

/// Whether a statement of SQL begins, and not an assignment to a variable of such a name.
fn begins_statement(part: &Part, behind: &Tokens<'_>) -> bool {
    const VERBS: &[&str] = &[
        "alter", "copy", "create", "delete", "do", "drop", "explain", "insert", "merge", "perform", "prepare",
        "select", "set", "truncate", "update", "values", "with",
    ];
    if part.kind == TokenKind::OpenParenthesis {
        let mut inside = behind.clone();
        while inside.accept_if(|part| part.kind == TokenKind::OpenParenthesis) {}
        return inside.accept_any(&["select", "with"]);
    }
    let assigned = |next: Part| [b':', b'=', b'.', b'['].iter().any(|symbol| next.is_symbol(*symbol));
    VERBS.iter().any(|verb| part.is(verb)) && !behind.clone().next().is_some_and(assigned)
}

/// Goes to the end of a statement: before its semicolon, or before the LOOP whose rows it yields.
fn statement_end(body: &Source<'_>, tokens: &mut Tokens<'_>, heads_loop: bool) -> usize {
    let creates = tokens.clone().accept("create");
    let (mut depth, mut atomic) = (0_usize, false);
    let mut last: Option<Part> = None;
    loop {
        let before = tokens.clone();
        let Some(part) = tokens.next() else { return body.text.len() };
        match part.kind {
            TokenKind::OpenParenthesis => depth += 1,
            TokenKind::CloseParenthesis => depth = depth.saturating_sub(1),
            TokenKind::Semicolon if depth == 0 && !atomic => {
                let end = body.start_of(&part, tokens);
                *tokens = before;
                return end;
            }
            TokenKind::Word if depth == 0 && !atomic && heads_loop && part.is("loop") => {
                let end = body.start_of(&part, tokens);
                *tokens = before;
                return end;
            }
            TokenKind::Word if creates && !atomic => {
                atomic = part.is("atomic") && last.is_some_and(|last| last.is("begin"));
            }
            TokenKind::Word if part.is("end") => {
                // Behind anything else it is a name, or the END of a CASE.
                let ends = |last: Part| last.kind == TokenKind::Semicolon || last.is("atomic");
                atomic &= !last.is_some_and(ends);
            }
            _ => {}
        }
        last = Some(part);
    }
}

/// The string constants of an expression, those put together that `||` puts together.
fn assembled(source: &Source<'_>) -> Vec<Assembled> {
    let mut texts: Vec<Assembled> = Vec::new();
    let mut tokens = source.tokens();
    let mut between = Between::Broken;
    while let Some(part) = tokens.next() {
        let constant = match part.kind {
            TokenKind::String | TokenKind::DollarString => literal::content(part.text, source.backslashes),
            _ => None,
        };
        let Some(constant) = constant else {
            let joined = matches!(between, Between::Joined { .. });
            between = between.behind(&part);
            if joined && matches!(between, Between::Broken) {
                unknown_end(&mut texts);
            }
            continue;
        };
        let constant = without_specifiers(&constant);
        match (&between, texts.last_mut()) {
            (Between::Joined { unknown, bars: 2.., depth: 0 }, Some(text)) => {
                if *unknown {
                    text.text.push_str(UNKNOWN);
                }
                text.text.push_str(&constant);
            }
            (last, _) => {
                if matches!(last, Between::Joined { .. }) {
                    unknown_end(&mut texts);
                }
                texts.push(Assembled { at: source.start_of(&part, &tokens), text: constant });
            }
        }
        between = Between::Constant;
    }
    if matches!(between, Between::Joined { .. }) {
        unknown_end(&mut texts);
    }
    texts
}

fn unknown_end(texts: &mut [Assembled]) {
    if let Some(last) = texts.last_mut() {
        last.text.push_str(UNKNOWN);
    }
}

/// What stands between two string constants, up to here.
enum Between {
    /// Nothing.
    Constant,
    /// `|`.
    HalfJoined,
    /// `||` and perhaps more; `bars` are those at its end.
    Joined { unknown: bool, bars: u8, depth: usize },
    /// Something that ends the text.
    Broken,
}

impl Between {
    fn behind(self, part: &Part) -> Self {
        let bar = part.is_symbol(b'|');
        match self {
            Self::Constant if bar => Self::HalfJoined,
            Self::HalfJoined if bar => Self::Joined { unknown: false, bars: 2, depth: 0 },
            Self::Constant | Self::HalfJoined | Self::Broken => Self::Broken,
            Self::Joined { unknown, bars, depth } => match part.kind {
                _ if bar => Self::Joined { unknown, bars: bars.saturating_add(1), depth },
                TokenKind::OpenParenthesis => Self::Joined { unknown: true, bars: 0, depth: depth + 1 },
                TokenKind::CloseParenthesis if depth > 0 => Self::Joined { unknown: true, bars: 0, depth: depth - 1 },
                TokenKind::CloseParenthesis | TokenKind::Semicolon => Self::Broken,
                _ if depth == 0 && (part.is_symbol(b',') || BREAKS.iter().any(|word| part.is(word))) => Self::Broken,
                _ => Self::Joined { unknown: true, bars: 0, depth },
            },
        }
    }
}

/// A text with what `format()` would put in (`%I`, `%1$s`, …) as unknown.
fn without_specifiers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut left = text;
    while let Some(at) = left.find('%') {
        plain.push_str(&left[..at]);
        left = &left[at + 1..];
        let flags = left.bytes().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'$' | b'-' | b'*')).count();
        match left.as_bytes().get(flags) {
            Some(b'I' | b's' | b'L') => {
                plain.push_str(UNKNOWN);
                left = &left[flags + 1..];
            }
            Some(b'%') if flags == 0 => {
                plain.push('%');
                left = &left[1..];
            }
            _ => plain.push('%'),
        }
    }
    plain + left
}
