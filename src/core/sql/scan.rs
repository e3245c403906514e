//! Where statements begin and end, by psql's rules: the lexer plus what a statement itself changes.
//!
//! A semicolon ends a statement outside parentheses and outside `BEGIN ATOMIC … END`; behind `COPY … FROM stdin;` the
//! lines up to `\.` are data; a backslash outside literals begins a psql command. One pass, constant memory.

use std::ops::Range;

use super::{
    classify::{StringsSetting, standard_conforming_strings},
    lexer::{Backslashes, Lexer, Open, Token, TokenKind, is_blank, is_line_end},
};

/// What a scan comes upon, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A `--` comment, inside a statement or not.
    LineComment(Range<usize>),
    /// A statement that isn't empty, without its semicolon.
    Statement {
        /// From its first token to its last.
        span: Range<usize>,
        /// What `COPY … FROM stdin` is fed with.
        copy_data: Option<Range<usize>>,
        /// How its strings are read.
        backslashes: Backslashes,
    },
    /// A psql line that is accepted and dropped.
    Skipped(Range<usize>),
    /// Something that can't be run as it stands, and what to do about it.
    Problem {
        /// Its first byte.
        at: usize,
        /// What it is and what to do.
        message: String,
        /// Whether whatever else is found may be its consequence.
        misleading: bool,
    },
}

/// What to do behind something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Continue,
    /// A section ends here: nothing of what came before counts any more.
    NewSection,
}

/// Scans a text to its end.
pub(crate) fn scan(text: &str, visit: impl FnMut(Found) -> Next) {
    scan_as(text, Backslashes::default(), visit);
}

/// The same for a text whose strings begin as `backslashes` says.
pub(super) fn scan_as(text: &str, backslashes: Backslashes, mut visit: impl FnMut(Found) -> Next) {
    let mut scanner =
        Scanner { text, lexer: Lexer::new(text, backslashes), open: OpenStatement::default(), misled: false };
    while let Some(token) = scanner.lexer.next() {
        scanner.token(token, &mut visit);
    }
    scanner.end(&mut visit);
}

struct Scanner<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    open: OpenStatement,
    /// Something was found whose consequences aren't worth saying.
    misled: bool,
}

/// What has to be known of the statement under way.
#[derive(Debug, Clone, Default)]
struct OpenStatement {
    /// Its first token and the end of its last; None before the first.
    span: Option<Range<usize>>,
    first: Verb,
    previous: Previous,
    /// psql's own measure against taking a BEGIN for that of a function body: the statement's first words.
    routine: Routine,
    parentheses: u32,
    first_parenthesis: usize,
    /// Where the BEGIN ATOMIC stands whose body this is.
    body: Option<usize>,
    copies_from_client: bool,
    calls_set_config: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Verb {
    Copy,
    Set,
    #[default]
    Other,
}

/// The token before, as far as it changes what the next one means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Previous {
    As,
    Do,
    From,
    Begin(usize),
    /// What begins a statement of a body, or its END: ATOMIC, or a semicolon in it.
    Boundary,
    #[default]
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Routine {
    #[default]
    Start,
    Create,
    CreateOr,
    CreateOrReplace,
    Yes,
    No,
}

impl Scanner<'_> {
    fn token(&mut self, token: Token, visit: &mut impl FnMut(Found) -> Next) {
        match token.kind {
            TokenKind::Blank | TokenKind::BlockComment => {}
            TokenKind::LineComment => {
                if visit(Found::LineComment(token.start..token.end)) == Next::NewSection {
                    self.end(visit);
                    self.open = OpenStatement::default();
                    self.lexer.set_backslashes(Backslashes::default());
                    self.misled = false;
                }
            }
            TokenKind::Semicolon if self.open.parentheses == 0 && self.open.body.is_none() => {
                self.finish(token.end, visit);
            }
            TokenKind::Backslash => self.psql_command(token, visit),
            _ => {
                if let TokenKind::Unterminated(open) = token.kind {
                    self.misled = true;
                    visit(Found::Problem { at: token.start, message: unterminated(open), misleading: true });
                }
                self.part(token, visit);
                self.open.span = Some(self.open.span.as_ref().map_or(token.start, |span| span.start)..token.end);
            }
        }
    }

    /// Takes note of a token of the statement.
    fn part(&mut self, token: Token, visit: &mut impl FnMut(Found) -> Next) {
        let open = &mut self.open;
        let previous = std::mem::take(&mut open.previous);
        match token.kind {
            TokenKind::OpenParenthesis => {
                if open.parentheses == 0 {
                    open.first_parenthesis = token.start;
                }
                open.parentheses += 1;
            }
            TokenKind::CloseParenthesis => open.parentheses = open.parentheses.saturating_sub(1),
            TokenKind::Word => open.word(&self.text[token.start..token.end], token.start, previous),
            TokenKind::Semicolon if open.parentheses == 0 => open.previous = Previous::Boundary,
            TokenKind::String if open.calls_set_config => {
                let name = self.text[token.start..token.end].trim_matches('\'');
                if name.eq_ignore_ascii_case("standard_conforming_strings") {
                    visit(Found::Problem {
                        at: token.start,
                        message: "set_config changes how the strings behind it are read: use \
                                  SET standard_conforming_strings in its place"
                            .into(),
                        misleading: false,
                    });
                }
            }
            TokenKind::LoneDollar if !self.misled => {
                self.misled = true;
                let message = match previous {
                    Previous::As | Previous::Do => {
                        "a lone $ where a dollar quote $$ should begin: Flux's postBuild substitution turns $$ into $; \
                         give the ConfigMap the annotation kustomize.toolkit.fluxcd.io/substitute: disabled"
                    }
                    _ => {
                        "a lone $ begins neither a dollar quote ($$ or $tag$) nor a parameter; if $$ stood here, a \
                          substitution on the file's way has changed it"
                    }
                };
                visit(Found::Problem { at: token.start, message: message.into(), misleading: true });
            }
            _ => {}
        }
    }

    /// A semicolon ends the statement; `behind` is the byte behind it.
    fn finish(&mut self, behind: usize, visit: &mut impl FnMut(Found) -> Next) {
        let open = std::mem::take(&mut self.open);
        let Some(span) = open.span else { return };
        let backslashes = self.lexer.backslashes();
        if open.first == Verb::Set {
            match standard_conforming_strings(&self.text[span.clone()], backslashes) {
                None => {}
                Some(StringsSetting::On) => self.lexer.set_backslashes(Backslashes::Ordinary),
                Some(StringsSetting::Off) => self.lexer.set_backslashes(Backslashes::Escape),
                Some(StringsSetting::Unclear) => {
                    visit(Found::Problem {
                        at: span.start,
                        message: "how the strings behind it are read can't be told: write \
                                  SET standard_conforming_strings = on, or = off, without LOCAL"
                            .into(),
                        misleading: false,
                    });
                }
            }
        }
        let copy_data = open.copies_from_client.then(|| self.copy_data(span.start, behind, visit));
        visit(Found::Statement { span, copy_data, backslashes });
    }

    /// The lines behind a COPY up to `\.`, which end up behind the lexer.
    fn copy_data(&mut self, copy: usize, behind: usize, visit: &mut impl FnMut(Found) -> Next) -> Range<usize> {
        let mut problem = |at, message: &str| {
            visit(Found::Problem { at, message: message.into(), misleading: true });
        };
        let line_end = self.text[behind..].find('\n').map_or(self.text.len(), |at| behind + at);
        let rest = self.text[behind..line_end].trim_start_matches(|c: char| c.is_ascii() && is_blank(c as u8));
        if !rest.is_empty() && !rest.starts_with("--") {
            problem(
                line_end - rest.len(),
                "behind COPY … FROM stdin; its data begins on the next line: move this behind the data",
            );
        }
        let start = (line_end + 1).min(self.text.len());
        let mut at = start;
        while at < self.text.len() {
            let end = self.text[at..].find('\n').map_or(self.text.len(), |end| at + end);
            if matches!(&self.text[at..end], "\\." | "\\.\r") {
                self.lexer.skip_to(end);
                return start..at;
            }
            at = end + 1;
        }
        self.misled = true;
        problem(copy, "the data of this COPY … FROM stdin isn't closed by a line that holds \\. alone");
        self.lexer.skip_to(self.text.len());
        start..self.text.len()
    }

    /// A backslash outside literals: the rest of its line belongs to psql.
    fn psql_command(&mut self, token: Token, visit: &mut impl FnMut(Found) -> Next) {
        let rest = &self.text[token.start..];
        let line = &rest[..rest.find(|c: char| c.is_ascii() && is_line_end(c as u8)).unwrap_or(rest.len())];
        let end = token.start + line.len();
        let command = line[1..].split(|c: char| c.is_whitespace()).next().unwrap_or_default();
        self.lexer.skip_to(end);
        if self.open.span.is_none() && matches!(command, "restrict" | "unrestrict") {
            visit(Found::Skipped(token.start..end));
            return;
        }
        let advice = match command {
            "i" | "ir" | "include" | "include_relative" => "put the SQL of that file in its place",
            "copy" => "use COPY … FROM stdin with the data in this file",
            "gexec" => "use a DO block with EXECUTE",
            "set" | "unset" | "getenv" | "gset" | "prompt" => "values come from spec.variables",
            "c" | "connect" => "a set works on one database",
            "." => "it closes data that no COPY … FROM stdin; opened",
            _ => "say it in SQL",
        };
        let command: String = command.chars().filter(|c| !c.is_control()).take(30).collect();
        let message = format!("\\{command} is a command of psql, which isn't at work here: {advice}");
        visit(Found::Problem { at: token.start, message, misleading: false });
    }

    /// The text or a section of it ends: what is still open is a statement without its semicolon.
    fn end(&mut self, visit: &mut impl FnMut(Found) -> Next) {
        let OpenStatement { span: Some(span), parentheses, first_parenthesis, body, copies_from_client, .. } =
            self.open.clone()
        else {
            return;
        };
        let mut problem = |at, message: &str| {
            visit(Found::Problem { at, message: message.into(), misleading: false });
        };
        if self.misled {
            // What is open is open for that reason.
        } else if parentheses > 0 {
            problem(first_parenthesis, "the parenthesis that begins here isn't closed");
        } else if let Some(begin) = body {
            problem(
                begin,
                "the BEGIN ATOMIC that begins here has no END (each statement in it needs a semicolon, the last one too)",
            );
        } else if copies_from_client {
            problem(span.start, "this COPY … FROM stdin has no semicolon, and no data behind it");
        }
        if self.open.first == Verb::Set {
            let setting = standard_conforming_strings(&self.text[span.clone()], self.lexer.backslashes());
            if setting == Some(StringsSetting::Unclear) {
                problem(span.start, "write SET standard_conforming_strings = on, or = off, without LOCAL");
            }
        }
        visit(Found::Statement { span, copy_data: None, backslashes: self.lexer.backslashes() });
    }
}

impl OpenStatement {
    fn word(&mut self, word: &str, at: usize, previous: Previous) {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        if self.span.is_none() {
            self.first = match () {
                () if is("copy") => Verb::Copy,
                () if is("set") || is("reset") => Verb::Set,
                () => Verb::Other,
            };
        }
        self.previous = match () {
            () if is("as") => Previous::As,
            () if is("do") => Previous::Do,
            () if is("from") => Previous::From,
            () if is("begin") => Previous::Begin(at),
            () => Previous::Other,
        };
        self.routine = match self.routine {
            Routine::Start if is("create") => Routine::Create,
            Routine::Create if is("or") => Routine::CreateOr,
            Routine::CreateOr if is("replace") => Routine::CreateOrReplace,
            Routine::Create | Routine::CreateOrReplace if is("function") || is("procedure") => Routine::Yes,
            Routine::Yes => Routine::Yes,
            _ => Routine::No,
        };
        self.calls_set_config |= is("set_config");
        if self.parentheses > 0 {
            return;
        }
        self.copies_from_client |=
            self.first == Verb::Copy && previous == Previous::From && (is("stdin") || is("stdout"));
        // Only CREATE FUNCTION and PROCEDURE have a body of statements. psql counts every BEGIN, CASE and END; here BEGIN
        // takes ATOMIC, and END a semicolon before it: anything else is a name, or the END of a CASE.
        match (self.body, previous) {
            (None, Previous::Begin(begin)) if self.routine == Routine::Yes && is("atomic") => {
                self.body = Some(begin);
                self.previous = Previous::Boundary;
            }
            (Some(_), Previous::Boundary) if is("end") => self.body = None,
            _ => {}
        }
    }
}

fn unterminated(open: Open) -> String {
    match open {
        Open::Comment => "the comment that begins here isn't closed by */",
        Open::String => "the string that begins here isn't closed",
        Open::QuotedIdentifier => "the quoted name that begins here isn't closed",
        Open::DollarString => "the dollar-quoted string that begins here isn't closed",
    }
    .into()
}
