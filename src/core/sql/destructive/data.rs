//! DELETE, UPDATE and MERGE, wherever in a statement they stand: a WHERE counts for the one that it belongs to.
//!
//! One pass with a stack of parentheses, so that no depth of them is too deep.

use super::{Reader, objects::Target};
use crate::core::sql::{
    lexer::TokenKind,
    tokens::{Part, Tokens},
};

/// What is known of a statement, or of whatever else stands within one pair of parentheses.
#[derive(Default)]
struct Level {
    state: State,
    target: Option<Target>,
    has_where: bool,
    has_set: bool,
    then_delete: bool,
    case: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// A statement may begin here.
    Begin,
    /// Between WITH and the verb.
    With,
    Delete,
    Update,
    Merge,
    #[default]
    Other,
}

impl Reader {
    /// Reads a statement that works on rows; of any other nothing is found.
    pub(super) fn data(&mut self, mut tokens: Tokens<'_>, line: u32) {
        let mut levels: Vec<Level> = Vec::new();
        let mut level = Level { state: State::Begin, ..Level::default() };
        let mut previous: [Option<Part>; 2] = [None, None];
        while let Some(part) = tokens.next() {
            let [before, last] = previous;
            let last_is = |keywords: &[&str]| last.is_some_and(|last| keywords.iter().any(|word| last.is(word)));
            match part.kind {
                TokenKind::OpenParenthesis => {
                    let begins = level.state == State::Begin || last_is(&["as", "materialized", "copy"]);
                    let state = if begins { State::Begin } else { State::Other };
                    if level.state == State::Begin {
                        level.state = State::Other;
                    }
                    levels.push(std::mem::replace(&mut level, Level { state, ..Level::default() }));
                }
                TokenKind::CloseParenthesis => {
                    if let Some(outer) = levels.pop() {
                        self.end(std::mem::replace(&mut level, outer), line, Within::Parentheses);
                    }
                }
                TokenKind::Word if level.state == State::Begin => level.begin(&part, &tokens),
                TokenKind::Word if level.state == State::With => {
                    // A verb stands behind the last query, or behind what a SEARCH or CYCLE clause ends with.
                    let behind_query = last.is_some_and(|last| last.kind == TokenKind::CloseParenthesis);
                    let behind_clause = before.is_some_and(|before| before.is("set") || before.is("using"));
                    if behind_query || behind_clause {
                        level.main_verb(&part, &tokens);
                    }
                }
                // A column may have any name behind a dot, and a label behind AS.
                TokenKind::Word if !last_is(&["as"]) && !last.is_some_and(|last| last.is_symbol(b'.')) => {
                    if levels.is_empty() && part.is("into") && !last_is(&["insert", "merge"]) {
                        self.select_into(tokens.clone());
                    }
                    level.word(&part, last, &tokens);
                }
                _ if level.state == State::Begin => level.state = State::Other,
                _ => {}
            }
            previous = [last, Some(part)];
        }
        // What isn't closed ends with the text.
        while let Some(outer) = levels.pop() {
            self.end(std::mem::replace(&mut level, outer), line, Within::Parentheses);
        }
        self.end(level, line, Within::Nothing);
    }

    /// `SELECT … INTO TEMP TABLE t`.
    fn select_into(&mut self, mut tokens: Tokens<'_>) {
        tokens.accept_any(&["local", "global"]);
        if tokens.accept_any(&["temp", "temporary"]) {
            tokens.accept("table");
            if let Some(name) = tokens.qualified_name() {
                self.temporary.add(name.name, false);
            }
        }
    }

    fn end(&mut self, level: Level, line: u32, within: Within) {
        let Level { state, target, has_where, has_set, then_delete, case: _ } = level;
        let Some(Target { shown, name }) = target else { return };
        match state {
            _ if self.temporary.has(name.as_ref()) => {}
            State::Delete if !has_where => self.add(line, format!("DELETE FROM {shown} without WHERE")),
            // `(update …)` may begin with a name.
            State::Update if !has_where && (has_set || within == Within::Nothing) => {
                self.add(line, format!("UPDATE {shown} without WHERE"));
            }
            State::Merge if then_delete => self.add(line, format!("MERGE INTO {shown} with DELETE")),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    Parentheses,
}

impl Level {
    fn begin(&mut self, part: &Part, behind: &Tokens<'_>) {
        self.state = State::Other;
        if part.is("with") {
            self.state = State::With;
        } else {
            self.main_verb(part, behind);
        }
    }

    fn main_verb(&mut self, part: &Part, behind: &Tokens<'_>) {
        let mut behind = behind.clone();
        self.state = match () {
            () if part.is("delete") && behind.accept("from") => State::Delete,
            () if part.is("update") => State::Update,
            () if part.is("merge") && behind.accept("into") => State::Merge,
            () if ["select", "insert", "values", "table"].iter().any(|verb| part.is(verb)) => State::Other,
            () => return,
        };
        if self.state != State::Other {
            self.target = Some(Target::accept_table(&mut behind));
        }
    }

    fn word(&mut self, part: &Part, last: Option<Part>, behind: &Tokens<'_>) {
        match () {
            () if part.is("where") => self.has_where = true,
            () if part.is("set") => self.has_set = true,
            () if part.is("case") => self.case += 1,
            () if part.is("end") => self.case = self.case.saturating_sub(1),
            () if part.is("delete") && self.case == 0 && last.is_some_and(|last| last.is("then")) => {
                // A column of that name has an operator or a comma behind it.
                self.then_delete |= behind
                    .clone()
                    .next()
                    .is_none_or(|next| matches!(next.kind, TokenKind::Word | TokenKind::CloseParenthesis));
            }
            () => {}
        }
    }
}
