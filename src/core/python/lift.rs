//! A file of Python into what it says of a migration, and the SQL of its `up` and `down`.
//!
//! It reads what stands there and runs nothing: what only a run would tell is found, and said with its place. Nothing that
//! changes what runs is passed over.

use std::ops::Range;

use super::{
    Trouble,
    call::{Call, Code},
    lexer::{TokenKind, tokens},
    literal::Literal,
    reader::{Statement, statements},
};

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lifted {
    /// `version`, and where it stands.
    pub version: Option<(String, usize)>,
    /// `message`.
    pub message: Option<String>,
    /// `depends_on`, each where it stands.
    pub depends: Vec<(String, usize)>,
    /// The first paragraph of the class's docstring, or of the file's.
    pub description: Option<String>,
    pub up: Way,
    pub down: Way,
    /// What is left out and deserves a word.
    pub notes: Vec<Trouble>,
    /// Commits that are left out although something stands behind them.
    pub commits: Vec<Trouble>,
}

/// One way of a migration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// The first byte of its function, if it has one.
    pub at: Option<usize>,
    /// What it runs, in order.
    pub sql: Vec<Literal>,
}

/// Reads a file.
///
/// # Errors
/// Everything in it that isn't literal, in order.
pub(super) fn lift(text: &str) -> Result<Lifted, Vec<Trouble>> {
    let tokens = tokens(text).map_err(|trouble| vec![trouble])?;
    let code = Code { text, tokens: &tokens };
    let mut lifter = Lifter { code, lifted: Lifted::default(), troubles: Vec::new(), class: None };
    lifter.body(&statements(text, &tokens), Place::Module);
    if lifter.lifted.up.at.is_none() && lifter.troubles.is_empty() {
        let message =
            "no function `up` stands in this file: write one, or keep the file elsewhere if it is no migration";
        lifter.troubles.push(Trouble::new(0, message));
    }
    let Lifter { lifted, mut troubles, .. } = lifter;
    troubles.sort_by_key(|trouble| trouble.at);
    if troubles.is_empty() { Ok(lifted) } else { Err(troubles) }
}

/// Where a statement stands that is in no function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Module,
    Class,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

struct Lifter<'a> {
    code: Code<'a>,
    lifted: Lifted,
    troubles: Vec<Trouble>,
    /// The class that is the migration, once it was met.
    class: Option<&'a str>,
}

/// Decorators that change nothing about when and how a function is called.
const DECORATORS: [&str; 5] =
    ["override", "typing.override", "typing_extensions.override", "staticmethod", "classmethod"];
const TIMEOUT: &str = "timeout_seconds";

impl<'a> Lifter<'a> {
    fn refuse(&mut self, at: usize, message: impl Into<String>) {
        self.troubles.push(self.code.trouble(at, message));
    }

    /// What stands in a module or in a class.
    fn body(&mut self, body: &[Statement], place: Place) {
        let mut decorators: Vec<Range<usize>> = Vec::new();
        for (at, statement) in body.iter().enumerate() {
            match statement {
                Statement::Simple(range) if self.code.word(range.start) == "@" => decorators.push(range.clone()),
                Statement::Simple(range) if at == 0 && self.is_strings(range) => self.docstring(range, place),
                Statement::Simple(range) => self.simple(range, place),
                Statement::Block { head, body } => {
                    self.block(head, body, place, &std::mem::take(&mut decorators));
                }
            }
        }
    }

    fn is_strings(&self, range: &Range<usize>) -> bool {
        range.clone().all(|at| self.code.is(at, TokenKind::String))
    }

    /// Its first paragraph on one line; the class's word wins over the file's.
    fn docstring(&mut self, range: &Range<usize>, place: Place) {
        let Ok(literal) = self.code.literal(range.clone()) else { return };
        let mut lines = literal.text.trim().lines().map(str::trim).take_while(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let first = first.strip_prefix("Migration:").map_or(first, str::trim);
        let paragraph = std::iter::once(first).chain(lines).collect::<Vec<_>>().join(" ");
        if !paragraph.is_empty() && (place == Place::Class || self.lifted.description.is_none()) {
            self.lifted.description = Some(paragraph);
        }
    }

    /// A statement outside of functions.
    fn simple(&mut self, range: &Range<usize>, place: Place) {
        let words = self.code.words(range);
        match words.as_slice() {
            ["pass" | "..."] => {}
            ["import" | "from", ..] => self.import(range),
            [_, "=", ..] if self.is_name(range) => self.attribute(range.start, range.start + 2..range.end, place),
            [_, ":", ..] if self.is_name(range) => {
                if let Some(equals) = words.iter().position(|word| *word == "=") {
                    self.attribute(range.start, range.start + equals + 1..range.end, place);
                }
            }
            _ if self.is_strings(range) => {}
            _ => self.refuse(range.start, "this runs when the file is loaded: write its SQL into `up`, or remove it"),
        }
    }

    fn is_name(&self, range: &Range<usize>) -> bool {
        self.code.is(range.start, TokenKind::Word)
    }

    /// What a file imports is used where it is called, and read there; but `text` must be that of `SQLAlchemy`.
    fn import(&mut self, range: &Range<usize>) {
        let words = self.code.words(range);
        let is_known = words.get(1).is_some_and(|module| matches!(*module, "sqlalchemy" | "sqlmodel"));
        // The module of `from … import` may be called as it likes.
        let first = 1 + usize::from(words.first() == Some(&"from"));
        let imported = (first..words.len()).find(|&at| words[at] == "text" && words[at - 1] != ".");
        if let Some(at) = imported.filter(|_| !is_known) {
            self.refuse(range.start + at, "this `text` isn't SQLAlchemy's: import that one, or write strings alone");
        }
    }

    /// `name = value` in a class or a module.
    fn attribute(&mut self, name: usize, value: Range<usize>, place: Place) {
        let said = self.code.word(name);
        let at = self.code.tokens[name].start;
        match said {
            "version" => match self.code.literal(value) {
                Ok(literal) => self.lifted.version = Some((literal.text, at)),
                Err(trouble) => self.troubles.push(trouble),
            },
            "message" => match self.code.literal(value) {
                Ok(literal) => self.lifted.message = Some(literal.text),
                Err(trouble) => self.troubles.push(trouble),
            },
            "depends_on" => match self.depends(value) {
                Ok(depends) => self.lifted.depends = depends,
                Err(trouble) => self.troubles.push(trouble),
            },
            "up" | "down" | "text" => self.refuse(
                name,
                format!(
                    "`{said}` gets its value when the file is loaded: write functions `up` and `down` with their SQL"
                ),
            ),
            TIMEOUT if self.code.words(&value) != ["None"] => {
                let words = self.code.words(&value).concat();
                let note = format!(
                    "`{TIMEOUT} = {words}` is left out: policy.statementTimeout is what limits a statement in Dunlin"
                );
                self.lifted.notes.push(Trouble::new(at, note));
            }
            _ if self.calls(&value) => {
                let what = if place == Place::Class { "the class is made" } else { "the file is loaded" };
                self.refuse(value.start, format!("this is called when {what}: remove it, and what uses `{said}`"));
            }
            _ => {}
        }
    }

    /// Whether something is called in it.
    fn calls(&self, range: &Range<usize>) -> bool {
        let mut at = range.clone();
        at.any(|at| {
            let is_behind =
                at > range.start && (self.code.is(at - 1, TokenKind::Word) || self.code.word(at - 1) == ")");
            self.code.word(at) == "(" && is_behind || matches!(self.code.word(at), "await" | ":=" | "lambda")
        })
    }

    /// None, a version, or several in brackets.
    fn depends(&self, value: Range<usize>) -> Result<Vec<(String, usize)>, Trouble> {
        if self.code.words(&value) == ["None"] {
            return Ok(Vec::new());
        }
        let is_list = matches!(self.code.word(value.start), "[" | "(")
            && self.code.closing(value.start, value.end) == Some(value.end - 1);
        let parts = if is_list { self.code.parts(value.start + 1..value.end - 1) } else { vec![value] };
        let read = |part: Range<usize>| {
            let at = self.code.tokens[part.start].start;
            Ok((self.code.literal(part)?.text, at))
        };
        parts.into_iter().map(read).collect()
    }

    fn block(&mut self, head: &Range<usize>, body: &[Statement], place: Place, decorators: &[Range<usize>]) {
        let words = self.code.words(head);
        match words.as_slice() {
            ["class", name, ..] if place == Place::Module => self.migration(head, name, body, decorators),
            ["def", name, ..] => self.function(head.start + 1, name, body, decorators),
            ["async", "def", name, ..] => self.function(head.start + 2, name, body, decorators),
            // Never true when it runs.
            ["if", "TYPE_CHECKING", ":"] | ["if", "typing", ".", "TYPE_CHECKING", ":"] => {}
            _ => self.refuse(
                head.start,
                "this runs when the file is loaded: write the SQL that it comes to into `up`, or remove it",
            ),
        }
    }

    fn migration(&mut self, head: &Range<usize>, name: &'a str, body: &[Statement], decorators: &[Range<usize>]) {
        let is_way = |statement: &Statement| match statement {
            Statement::Block { head, .. } => {
                let words = self.code.words(head);
                words.starts_with(&["async", "def", "up"]) || words.starts_with(&["def", "up"])
            }
            Statement::Simple(_) => false,
        };
        if !body.iter().any(is_way) {
            self.refuse(
                head.start,
                format!("the class {name} has no `up`, so that it is no migration: remove it, and what uses it"),
            );
            return;
        }
        if let Some(first) = self.class {
            let message = format!("the class {first} is this file's migration already: give {name} a file of its own");
            self.refuse(head.start, message);
            return;
        }
        if let Some(decorator) = decorators.first() {
            self.refuse(decorator.start, "what a decorator makes of a migration is known when it runs: remove it");
        }
        self.class = Some(name);
        self.body(body, Place::Class);
    }

    /// A function of the module, or a method of its class.
    fn function(&mut self, at: usize, name: &'a str, body: &[Statement], decorators: &[Range<usize>]) {
        let direction = match name {
            "up" => Direction::Up,
            "down" => Direction::Down,
            // psqlmodel calls them in the place of the others, if they are there.
            "up_async" | "down_async" if body.iter().all(|statement| self.is_nothing(statement)) => return,
            _ => {
                let instead = if name.ends_with("_async") { "runs in the place of" } else { "stands beside" };
                let message = format!(
                    "`{name}` {instead} `up` and `down`, which alone are read: write its SQL there, and remove it"
                );
                self.refuse(at, message);
                return;
            }
        };
        for decorator in decorators {
            let path = self.code.words(&(decorator.start + 1..decorator.end)).concat();
            if !DECORATORS.contains(&path.as_str()) {
                let message = format!("what `@{path}` makes of `{name}` is known when it runs: remove it");
                self.refuse(decorator.start, message);
            }
        }
        let known = if direction == Direction::Up { &self.lifted.up } else { &self.lifted.down };
        if known.at.is_some() {
            self.refuse(at, format!("`{name}` stands in this file already: a migration has it once"));
            return;
        }
        let argument = self.sql_argument(at + 1);
        let sql = self.way(body, argument, direction);
        let way = Way { at: Some(self.code.tokens[at].start), sql };
        match direction {
            Direction::Up => self.lifted.up = way,
            Direction::Down => self.lifted.down = way,
        }
    }

    fn is_nothing(&self, statement: &Statement) -> bool {
        match statement {
            Statement::Simple(range) => {
                matches!(self.code.words(range).as_slice(), ["pass" | "..."]) || self.is_strings(range)
            }
            Statement::Block { .. } => false,
        }
    }

    /// The name of what the function runs SQL with: its first argument, but for `self` or `cls`.
    fn sql_argument(&self, open: usize) -> &'a str {
        let close = self.code.closing(open, self.code.tokens.len()).unwrap_or(open);
        let parts = self.code.parts((open + 1).min(close)..close);
        let mut names = parts.iter().map(|part| self.code.word(part.start));
        let first = names.next().unwrap_or_default();
        if matches!(first, "self" | "cls") { names.next().unwrap_or_default() } else { first }
    }

    /// What a function runs.
    fn way(&mut self, body: &[Statement], argument: &str, direction: Direction) -> Vec<Literal> {
        let mut sql = Vec::new();
        let mut commits = Vec::new();
        for (place, statement) in body.iter().enumerate() {
            let range = match statement {
                Statement::Simple(range) => range.clone(),
                Statement::Block { head, .. } => {
                    let keyword = self.code.word(head.start);
                    // The others go with the one before them.
                    if !matches!(keyword, "elif" | "else" | "except" | "finally") {
                        self.refuse(head.start, refusal(keyword, argument));
                    }
                    continue;
                }
            };
            let range = if self.code.word(range.start) == "await" { range.start + 1..range.end } else { range };
            let is_last = place + 1 == body.len();
            match self.code.words(&range).as_slice() {
                _ if self.is_nothing(statement) => {}
                ["import" | "from", ..] => self.import(&range),
                ["return"] | ["return", "None"] if is_last => {}
                // There is no way back, which Dunlin says before anything runs.
                ["raise", "NotImplementedError", ..] if is_last && sql.is_empty() && direction == Direction::Down => {}
                [keyword @ ("return" | "raise" | "assert" | "del" | "global" | "nonlocal" | "yield"), ..] => {
                    self.refuse(range.start, refusal(keyword, argument));
                }
                words if is_assignment(words) => {
                    let message = "a variable is known when it runs: write the SQL where it is used, and remove this";
                    self.refuse(range.start, message);
                }
                _ => match self.code.call(range.clone(), argument) {
                    Ok(Call::Sql(literal)) => sql.push(literal),
                    Ok(Call::Commit) => commits.push((self.code.tokens[range.start].start, sql.len())),
                    Ok(Call::Flush) => {}
                    Err(trouble) => self.troubles.push(trouble),
                },
            }
        }
        for (at, before) in commits {
            if before > 0 && before < sql.len() {
                let note = "the commit is left out: Dunlin runs what stands before it and behind it in one transaction";
                self.lifted.commits.push(Trouble::new(at, note));
            }
        }
        sql
    }
}

/// Whether a statement gives something a value: `=` and its like outside of brackets.
fn is_assignment(words: &[&str]) -> bool {
    let mut depth = 0_usize;
    words.iter().any(|word| {
        match *word {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(*word, "=" | "+=" | "-=" | "*=" | "/=" | "|=" | "&=")
    })
}

/// What to do about a statement that only a run can tell the end of.
fn refusal(keyword: &str, argument: &str) -> String {
    match keyword {
        "for" | "while" => {
            format!("`{keyword}` repeats what it holds by what it finds: write each statement out, or as one in SQL")
        }
        "if" | "match" => format!(
            "`{keyword}` decides when it runs: write the SQL without it, with IF EXISTS or IF NOT EXISTS where that was meant"
        ),
        "with" | "async" => {
            format!("`{keyword}` opens something when it runs: write the calls of `{argument}` without it")
        }
        "try" => format!(
            "`{keyword}` goes on where SQL fails, and a migration doesn't: write the SQL without it, with IF EXISTS or IF \
             NOT EXISTS where that was meant"
        ),
        "def" | "class" | "lambda" => format!("`{keyword}` inside of a function: write the SQL where it is used"),
        "return" => {
            "what stands behind `return` doesn't run, and nobody reads what is given back: remove one of the two".into()
        }
        "raise" | "assert" => {
            format!("`{keyword}` ends the migration with an error: remove it, or write the check in SQL, in a DO block")
        }
        _ => format!("`{keyword}` is Python's own: write the SQL that it comes to, or remove it"),
    }
}
