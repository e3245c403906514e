//! A call into the SQL that stands in it as a literal, or why there is none.

use std::ops::Range;

use super::{
    Trouble,
    lexer::{Token, TokenKind},
    literal::Literal,
};

/// A file's text and its tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code<'a> {
    pub text: &'a str,
    pub tokens: &'a [Token],
}

/// What a call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// It runs this.
    Sql(Literal),
    /// It commits what was run so far.
    Commit,
    /// It sends what an ORM has in mind, which is nothing.
    Flush,
}

/// Methods that run SQL: psqlmodel's `execute_sql`, `execute` as its document has it, `exec` of
/// `SQLModel` and `execute` of `SQLAlchemy`.
const RUNNERS: [&str; 3] = ["execute", "execute_sql", "exec"];
/// `SQLAlchemy`'s `text`, by the names under which it is imported.
const TEXTS: [&str; 6] =
    ["text", "sa.text", "sqlalchemy.text", "sqlalchemy.sql.text", "sqlalchemy.sql.expression.text", "sqlmodel.text"];
const NO_PARAMETERS: &str = "values beside the SQL: write them in their places in it, as SQL has them";

impl<'a> Code<'a> {
    /// What a token is in the text.
    pub fn word(self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| &self.text[token.start..token.end])
    }

    /// Its words, each as in the text.
    pub fn words(self, range: &Range<usize>) -> Vec<&'a str> {
        range.clone().map(|at| self.word(at)).collect()
    }

    pub fn trouble(self, at: usize, message: impl Into<String>) -> Trouble {
        let place = self.tokens.get(at).map_or(self.text.len(), |token| token.start);
        Trouble::new(place, message)
    }

    pub fn is(self, at: usize, kind: TokenKind) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == kind)
    }

    /// The bracket that closes the one there, before `end`.
    pub fn closing(self, open: usize, end: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for at in open..end {
            match self.word(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" if depth == 1 => return Some(at),
                ")" | "]" | "}" => depth = depth.checked_sub(1)?,
                _ => {}
            }
        }
        None
    }

    /// What commas part, outside of brackets.
    pub fn parts(self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let (mut from, mut depth) = (range.start, 0_usize);
        for at in range.clone() {
            match self.word(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                "," if depth == 0 => {
                    parts.push(from..at);
                    from = at + 1;
                }
                _ => {}
            }
        }
        parts.push(from..range.end);
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// Names with dots between them, from there on, and what stands behind them.
    fn path(self, from: usize, end: usize) -> (String, usize) {
        let mut path = String::new();
        let mut at = from;
        while at < end && self.is(at, TokenKind::Word) {
            path.push_str(self.word(at));
            at += 1;
            if at + 1 < end && self.word(at) == "." && self.is(at + 1, TokenKind::Word) {
                path.push('.');
                at += 1;
            } else {
                break;
            }
        }
        (path, at)
    }

    /// A statement that is a call, `argument` being what the function is given to run SQL with.
    pub fn call(self, range: Range<usize>, argument: &str) -> Result<Call, Trouble> {
        let (path, open) = self.path(range.start, range.end);
        let example = format!("{}.execute(\"…\")", if argument.is_empty() { "session" } else { argument });
        let method = path.strip_prefix(argument).and_then(|rest| rest.strip_prefix('.'));
        let Some(close) = self.closing(open, range.end).filter(|_| !path.is_empty() && self.word(open) == "(") else {
            let message =
                format!("it isn't a call that runs SQL, as {example}: write the SQL that it comes to, or remove it");
            return Err(self.trouble(range.start, message));
        };
        let Some(method) = method else { return Err(self.trouble(range.start, foreign(&path, &example))) };
        let arguments = open + 1..close;
        let call = match method {
            "commit" if arguments.is_empty() => Call::Commit,
            "flush" if arguments.is_empty() => Call::Flush,
            _ if RUNNERS.contains(&method) => Call::Sql(self.argument(arguments, close, &path, |part| self.sql(part))?),
            _ => {
                let message = format!("`{path}` holds no SQL: write the SQL that it comes to, as {example}");
                return Err(self.trouble(range.start, message));
            }
        };
        if close + 1 < range.end {
            let message = format!("what `{path}` gives back is known when it runs: let the call stand alone");
            return Err(self.trouble(close + 1, message));
        }
        Ok(call)
    }

    /// The one argument of a call.
    fn argument(
        self,
        arguments: Range<usize>,
        close: usize,
        path: &str,
        read: impl FnOnce(Range<usize>) -> Result<Literal, Trouble>,
    ) -> Result<Literal, Trouble> {
        let parts = self.parts(arguments);
        let Some(first) = parts.first() else {
            return Err(self.trouble(close, format!("`{path}` is given no SQL: write it, or remove the call")));
        };
        if self.is(first.start, TokenKind::Word) && self.word(first.start + 1) == "=" {
            let message = format!("an argument by its name: write the SQL as the one argument of `{path}`");
            return Err(self.trouble(first.start, message));
        }
        let found = read(first.clone())?;
        match parts.get(1) {
            Some(more) => Err(self.trouble(more.start, NO_PARAMETERS)),
            None => Ok(found),
        }
    }

    /// A string, or `text` of one.
    fn sql(self, range: Range<usize>) -> Result<Literal, Trouble> {
        let range = self.without_brackets(range);
        let (path, open) = self.path(range.start, range.end);
        let is_text = TEXTS.contains(&path.as_str());
        let Some(close) = self.closing(open, range.end).filter(|_| is_text && self.word(open) == "(") else {
            return self.literal(range);
        };
        if close + 1 < range.end {
            let message = "what is done with `text(…)` is done when it runs: write the SQL as it ends up, without it";
            return Err(self.trouble(close + 1, message));
        }
        self.argument(open + 1..close, close, &path, |part| self.literal(part))?.without_escaped_colons()
    }

    fn without_brackets(self, mut range: Range<usize>) -> Range<usize> {
        while self.word(range.start) == "(" && self.closing(range.start, range.end) == Some(range.end - 1) {
            range = range.start + 1..range.end - 1;
        }
        range
    }

    /// Strings beside each other, or with `+` between them.
    pub fn literal(self, range: Range<usize>) -> Result<Literal, Trouble> {
        let range = self.without_brackets(range);
        let mut literal = Literal::default();
        let mut is_open = true;
        for at in range.clone() {
            if self.is(at, TokenKind::String) {
                literal.append(self.word(at), self.tokens[at].start)?;
                is_open = false;
            } else if self.word(at) == "+" && !is_open {
                is_open = true;
            } else {
                let message =
                    if is_open { self.no_literal(at, range.end) } else { no_text(self.word(at), self.word(at + 1)) };
                return Err(self.trouble(at, message));
            }
        }
        if is_open {
            return Err(self.trouble(range.end, "a string is missing here: write the SQL"));
        }
        Ok(literal)
    }

    /// Why no string stands there.
    fn no_literal(self, at: usize, end: usize) -> String {
        let (path, behind) = self.path(at, end);
        if path.is_empty() {
            return "it isn't a string: write the SQL as one".into();
        }
        if behind < end && self.word(behind) == "(" {
            return format!("what `{path}(…)` gives back is known when it runs: write the SQL in its place");
        }
        format!("`{path}` gets its value when it runs: write the SQL in its place")
    }
}

/// Why a call of something else than the function's argument holds no SQL.
fn foreign(path: &str, example: &str) -> String {
    if path.starts_with("op.") {
        return format!("`{path}` is an operation of Alembic: write the SQL that it comes to, as {example}");
    }
    if path == "print" || path.contains("log") {
        return format!("`{path}` does nothing to the database: remove it");
    }
    format!("`{path}` isn't read, for Dunlin doesn't run Python: write the SQL that it comes to, as {example}")
}

/// Why what stands behind a string leaves no text that is known.
fn no_text(symbol: &str, next: &str) -> String {
    match symbol {
        "%" => "`%` puts values into the text when it runs: write them in their places".into(),
        "." if matches!(next, "format" | "format_map" | "join" | "replace") => {
            format!("`.{next}` makes the text up when it runs: write it as it ends up")
        }
        "." => format!("`.{next}` changes the text when it runs: write it as it ends up"),
        "if" | "or" | "and" => format!("`{symbol}` decides when it runs: write the SQL that this database needs"),
        _ => format!("what `{symbol}` makes of the text is known when it runs: write it as it ends up"),
    }
}
