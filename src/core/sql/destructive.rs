//! Which statements destroy something: what a plan is held against that waits for approval when it is destructive.
//!
//! Told from the statement's own words, as its kind is. What can't be told counts as destructive; what a function does
//! that is called can't be seen here.

mod body;
mod data;
mod objects;

use std::collections::BTreeSet;

use self::objects::Target;
use super::{
    Kind, Script,
    classify::{QualifiedName, StringsSetting, standard_conforming_strings},
    lexer::{Backslashes, TokenKind},
    position::Counter,
    scan::{Found, Next, scan_as},
    tokens::{Part, Tokens},
};

/// Something that a script destroys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destructive {
    /// Which of the script's statements does it, from 0.
    pub statement: usize,
    /// Line of the section's text, from 0, as [`Statement::line`](super::Statement::line): where the statement begins,
    /// or that one of a block or of a DO's body that does it.
    pub line: u32,
    /// What it is, for a person: `DROP TABLE users`, `DELETE FROM orders without WHERE`.
    pub what: String,
}

/// What is destroyed, one entry for each object, in the order of the text.
#[must_use]
pub fn destructive(text: &str, script: &Script) -> Vec<Destructive> {
    let mut reader = Reader::default();
    let mut backslashes = Backslashes::Ordinary;
    for (index, statement) in script.statements.iter().enumerate() {
        let sql = Source { text: &text[statement.span.clone()], backslashes, line: statement.line, nesting: 0 };
        reader.index = index;
        let first = reader.found.len();
        if statement.kind == Kind::Block {
            reader.statements(sql);
        } else {
            reader.statement(sql);
        }
        reader.found[first..].sort_by_key(|found| found.line);
        reader.temporary.end_transaction();
        match standard_conforming_strings(sql.text, backslashes) {
            Some(StringsSetting::On) => backslashes = Backslashes::Ordinary,
            Some(StringsSetting::Off) => backslashes = Backslashes::Escape,
            Some(StringsSetting::Unclear) | None => {}
        }
    }
    reader.found
}

/// Stands for what is known only when it runs; a word to the lexer.
const UNKNOWN: &str = "…";
/// Texts within texts (DO within EXECUTE within DO) that are followed.
const DEEPEST: u8 = 8;
/// Longer names and arguments are cut.
const SHOWN: usize = 200;

/// A text that is read, and where its first line stands in the section.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    text: &'a str,
    backslashes: Backslashes,
    line: u32,
    nesting: u8,
}

impl<'a> Source<'a> {
    fn tokens(&self) -> Tokens<'a> {
        Tokens::new(self.text, self.backslashes)
    }

    /// Where the last token taken begins.
    fn start_of(&self, part: &Part, behind: &Tokens) -> usize {
        self.text.len() - behind.rest().len() - part.text.len()
    }
}

#[derive(Debug, Default)]
struct Reader {
    index: usize,
    found: Vec<Destructive>,
    temporary: Temporary,
}

impl Reader {
    fn add(&mut self, line: u32, what: String) {
        self.found.push(Destructive { statement: self.index, line, what });
    }

    /// Reads all statements of a text.
    fn statements(&mut self, source: Source<'_>) {
        let mut counter = Counter::new(source.text, source.line);
        let mut places = Vec::new();
        scan_as(source.text, source.backslashes, |found| {
            if let Found::Statement { span, backslashes, .. } = found {
                places.push((span, backslashes));
            }
            Next::Continue
        });
        for (span, backslashes) in places {
            let line = counter.advance(span.start).line;
            self.statement(Source { text: &source.text[span], backslashes, line, ..source });
        }
    }

    /// Reads one statement.
    fn statement(&mut self, source: Source<'_>) {
        let mut tokens = source.tokens();
        loop {
            let whole = tokens.clone();
            let Some(verb) = tokens.next() else { return };
            let is = |keyword| verb.is(keyword);
            match () {
                () if is("drop") => self.drop_objects(tokens, source.line),
                () if is("alter") => self.alter(tokens, source.line),
                () if is("truncate") => self.truncate(tokens, source.line),
                () if is("create") => self.create(tokens, source.line),
                () if is("do") => self.do_block(tokens, source),
                () if is("explain") => match explained(tokens) {
                    Some(explained) => {
                        tokens = explained;
                        continue;
                    }
                    None => return,
                },
                // What is prepared is so in order to run.
                () if is("prepare") => {
                    Target::accept(&mut tokens);
                    tokens.accept_parentheses();
                    if tokens.accept("as") {
                        continue;
                    }
                }
                () if is("set") => self.temporary.set(tokens),
                // Which were made since the savepoint isn't worth knowing.
                () if is("discard") || is("rollback") || is("abort") => self.temporary.undo(0),
                () => {
                    if (is("select") || is("perform")) && tokens.any(|part| part.is("set_config")) {
                        self.temporary.set(whole.clone());
                    }
                    self.data(whole, source.line);
                }
            }
            return;
        }
    }

    fn create(&mut self, mut tokens: Tokens<'_>, line: u32) {
        tokens.accept_all(&["or", "replace"]);
        tokens.accept_any(&["local", "global"]);
        let temporary = tokens.accept_any(&["temp", "temporary"]);
        tokens.accept_any(&["unlogged", "recursive"]);
        let table = tokens.accept("table");
        if !table && !tokens.accept_any(&["view", "sequence"]) {
            return;
        }
        tokens.accept_all(&["if", "not", "exists"]);
        let name = tokens.qualified_name();
        let mut until_commit = false;
        let mut depth = 0_usize;
        let mut query = None;
        while let Some(part) = tokens.next() {
            match part.kind {
                TokenKind::OpenParenthesis => depth += 1,
                TokenKind::CloseParenthesis => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                _ if part.is("on") && tokens.accept_all(&["commit", "drop"]) => until_commit = true,
                _ if part.is("as") => {
                    query = Some(tokens);
                    break;
                }
                _ => {}
            }
        }
        if temporary && let Some(name) = name {
            self.temporary.add(name.name, until_commit);
        }
        if table && let Some(query) = query {
            self.data(query, line);
        }
    }
}

/// The statement behind EXPLAIN, if it runs.
fn explained(mut tokens: Tokens<'_>) -> Option<Tokens<'_>> {
    let mut runs = false;
    let mut options = tokens.clone();
    if options.accept_if(|part| part.kind == TokenKind::OpenParenthesis) {
        while let Some(part) = options.next() {
            if part.kind == TokenKind::CloseParenthesis {
                break;
            }
            if part.is("analyze") || part.is("analyse") {
                runs = !options.clone().next().is_some_and(|value| {
                    let value = value.text.trim_matches(['\'', '"']);
                    ["false", "off", "0"].iter().any(|off| value.eq_ignore_ascii_case(off))
                });
            }
        }
        tokens.accept_parentheses();
        return runs.then_some(tokens);
    }
    while tokens.accept_if(|part| {
        let analyzes = part.is("analyze") || part.is("analyse");
        runs |= analyzes;
        analyzes || part.is("verbose")
    }) {}
    runs.then_some(tokens)
}

/// Temporary tables, views and sequences that the script has made: what it does to them destroys nothing.
#[derive(Debug, Default)]
struct Temporary {
    names: BTreeSet<String>,
    /// All that were made, in order.
    made: Vec<String>,
    /// Those of them with ON COMMIT DROP.
    until_commit: Vec<String>,
    /// What is made now may not be there, or not for long: it stands in a branch or a loop.
    uncertain: bool,
    /// `pg_temp` was given a place in the search path, perhaps behind the schema of a lasting table.
    hidden: bool,
}

impl Temporary {
    fn add(&mut self, name: String, until_commit: bool) {
        if !self.uncertain {
            if until_commit {
                self.until_commit.push(name.clone());
            }
            self.made.push(name.clone());
            self.names.insert(name);
        }
    }

    /// What was made since then may be gone: what made it was rolled back, or ON COMMIT DROP has dropped it.
    fn undo(&mut self, made_before: usize) {
        for name in self.made.drain(made_before.min(self.made.len())..) {
            self.names.remove(&name);
        }
    }

    fn has(&self, name: Option<&QualifiedName>) -> bool {
        name.is_some_and(|QualifiedName { schema, name }| match schema {
            Some(schema) => schema == "pg_temp",
            None => !self.hidden && self.names.contains(name),
        })
    }

    /// A setting may be the search path.
    fn set(&mut self, mut tokens: Tokens<'_>) {
        self.hidden |= tokens.any(|part| part.text.to_ascii_lowercase().contains("pg_temp"));
    }

    /// From here on, the name may mean another table.
    fn forget(&mut self, name: &str) {
        self.names.remove(name);
    }

    fn end_transaction(&mut self) {
        for name in std::mem::take(&mut self.until_commit) {
            self.names.remove(&name);
        }
    }
}
