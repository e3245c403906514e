//! DROP, ALTER and TRUNCATE: objects, columns and rows that are gone afterwards.

use super::{Reader, SHOWN, UNKNOWN};
use crate::core::sql::{
    classify::QualifiedName,
    lexer::TokenKind,
    tokens::{Part, Tokens},
};

/// Objects that hold data, or that others are made of: dropping one destroys something. COLUMN is the rest of an ALTER
/// TABLE that a DO block puts together.
const PRECIOUS: &[&[&str]] = &[
    &["table"],
    &["foreign", "table"],
    &["schema"],
    &["type"],
    &["domain"],
    &["view"],
    &["materialized", "view"],
    &["function"],
    &["procedure"],
    &["routine"],
    &["aggregate"],
    &["sequence"],
    &["database"],
    &["owned", "by"],
    &["extension"],
    &["column"],
];

/// Kinds of other objects whose names have several words.
const LONG_KINDS: &[&[&str]] = &[
    &["access", "method"],
    &["event", "trigger"],
    &["foreign", "data", "wrapper"],
    &["index", "concurrently"],
    &["operator", "class"],
    &["operator", "family"],
    &["procedural", "language"],
    &["text", "search", "configuration"],
    &["text", "search", "dictionary"],
    &["text", "search", "parser"],
    &["text", "search", "template"],
    &["user", "mapping"],
];

/// What a statement is about: its name for a person, and as the server understands it.
pub(super) struct Target {
    pub shown: String,
    pub name: Option<QualifiedName>,
}

impl Target {
    /// Accepts a name with its qualifications; one that isn't there is unknown.
    pub fn accept(tokens: &mut Tokens<'_>) -> Self {
        let name = tokens.clone().qualified_name();
        let mut parts = Vec::new();
        let is_name = |part: &Part| matches!(part.kind, TokenKind::Word | TokenKind::QuotedIdentifier);
        loop {
            // A variable: `:"name"`.
            let mut ahead = tokens.clone();
            let colon = ahead.next().filter(|part| part.is_symbol(b':'));
            if colon.is_none() {
                ahead = tokens.clone();
            }
            let Some(part) = ahead.next().filter(is_name) else { break };
            *tokens = ahead;
            parts.extend(colon);
            parts.push(part);
            if tokens.accept("uescape") {
                tokens.next();
            }
            let mut ahead = tokens.clone();
            match ahead.next() {
                Some(dot) if dot.is_symbol(b'.') => {
                    *tokens = ahead;
                    parts.push(dot);
                }
                _ => break,
            }
        }
        let shown = if parts.is_empty() { UNKNOWN.to_owned() } else { shown(&parts) };
        Self { shown, name }
    }

    /// Accepts a table as DELETE, UPDATE, MERGE, TRUNCATE and ALTER TABLE name it: `[ONLY] name [*]`, `ONLY (name)`.
    pub fn accept_table(tokens: &mut Tokens<'_>) -> Self {
        tokens.accept("only");
        let parenthesis = tokens.accept_if(|part| part.kind == TokenKind::OpenParenthesis);
        let target = Self::accept(tokens);
        if parenthesis {
            tokens.accept_if(|part| part.kind == TokenKind::CloseParenthesis);
        }
        tokens.accept_symbol(b'*');
        target
    }
}

impl Reader {
    pub(super) fn drop_objects(&mut self, mut tokens: Tokens<'_>, line: u32) {
        let Some(kind) = PRECIOUS.iter().find(|words| tokens.accept_all(words)) else {
            return self.drop_other(tokens, line);
        };
        let kind = kind.join(" ").to_ascii_uppercase();
        tokens.accept_all(&["if", "exists"]);
        let mut targets = Vec::new();
        loop {
            let mut target = Target::accept(&mut tokens);
            target.shown.push_str(&arguments(&mut tokens));
            targets.push(target);
            if !tokens.accept_symbol(b',') {
                break;
            }
        }
        let cascade = if tokens.any(|part| part.is("cascade")) { " CASCADE" } else { "" };
        for Target { shown, name } in targets {
            if self.temporary.has(name.as_ref()) {
                self.temporary.forget(&name.map(|name| name.name).unwrap_or_default());
            } else {
                self.add(line, format!("DROP {kind} {shown}{cascade}"));
            }
        }
    }

    /// An index or a trigger can be made again; what CASCADE takes along isn't known.
    fn drop_other(&mut self, mut tokens: Tokens<'_>, line: u32) {
        let mut kind: Vec<Part> = Vec::new();
        let words = LONG_KINDS.iter().find(|words| tokens.clone().accept_all(words)).map_or(1, |words| words.len());
        kind.extend(tokens.by_ref().take(words));
        tokens.accept_all(&["if", "exists"]);
        let mut rest: Vec<Part> = tokens.collect();
        let unknown = kind.first().is_none_or(|part| part.text.starts_with(UNKNOWN));
        let cascade = match rest.as_slice() {
            [.., before, last] if last.is("cascade") => {
                let leads_to_a_name =
                    ["on", "using", "for", "language", "server"].iter().any(|keyword| before.is(keyword));
                !leads_to_a_name && !before.is_symbol(b',') && !before.is_symbol(b'.')
            }
            _ => false,
        };
        if cascade {
            rest.pop();
        }
        if cascade || unknown {
            let kind = if kind.is_empty() { UNKNOWN.to_owned() } else { shown(&kind).to_ascii_uppercase() };
            let rest = if rest.is_empty() { UNKNOWN.to_owned() } else { shown(&rest) };
            let cascade = if cascade { " CASCADE" } else { "" };
            self.add(line, format!("DROP {kind} {rest}{cascade}"));
        }
    }

    pub(super) fn truncate(&mut self, mut tokens: Tokens<'_>, line: u32) {
        tokens.accept("table");
        loop {
            let Target { shown, name } = Target::accept_table(&mut tokens);
            if !self.temporary.has(name.as_ref()) {
                self.add(line, format!("TRUNCATE {shown}"));
            }
            if !tokens.accept_symbol(b',') {
                return;
            }
        }
    }

    pub(super) fn alter(&mut self, mut tokens: Tokens<'_>, line: u32) {
        let kinds: [&[&str]; 4] = [&["table"], &["foreign", "table"], &["type"], &["domain"]];
        let Some(kind) = kinds.into_iter().find(|words| tokens.accept_all(words)) else { return };
        tokens.accept_all(&["if", "exists"]);
        let Target { shown, name } = Target::accept_table(&mut tokens);
        let temporary = self.temporary.has(name.as_ref());
        if tokens.accept("rename") {
            // The name may mean another table from here on.
            if temporary && tokens.accept("to") {
                self.temporary.forget(&name.map(|name| name.name).unwrap_or_default());
            }
            return;
        }
        if temporary {
            return;
        }
        let part = match kind {
            ["type"] => Some("attribute"),
            ["domain"] => None,
            _ => Some("column"),
        };
        let altered = format!("ALTER {} {shown}", kind.join(" ").to_ascii_uppercase());
        loop {
            if let Some(action) = destructive_action(tokens.clone(), part) {
                self.add(line, format!("{altered} {action}"));
            }
            if !skip_comma(&mut tokens) {
                return;
            }
        }
    }
}

/// What one of an ALTER's actions destroys; `part` is what such an object has: columns or attributes.
fn destructive_action(mut tokens: Tokens<'_>, part: Option<&str>) -> Option<String> {
    let drops = tokens.accept("drop");
    if !drops && !tokens.accept("alter") {
        return None;
    }
    let constraint = tokens.accept("constraint");
    let part = match part {
        _ if constraint => "constraint",
        Some("column") => {
            tokens.accept("column");
            "column"
        }
        Some(part) if tokens.accept(part) => part,
        _ => return None,
    };
    tokens.accept_all(&["if", "exists"]);
    let shown = Target::accept(&mut tokens).shown;
    let part = part.to_ascii_uppercase();
    if drops {
        let cascade = tokens.accept("cascade");
        return (!constraint || cascade)
            .then(|| format!("DROP {part} {shown}{}", if cascade { " CASCADE" } else { "" }));
    }
    tokens.accept_all(&["set", "data"]);
    (!constraint && tokens.accept("type")).then(|| format!("ALTER {part} {shown} TYPE"))
}

/// Goes behind the next comma outside parentheses and brackets.
fn skip_comma(tokens: &mut Tokens<'_>) -> bool {
    let mut depth = 0_usize;
    tokens.any(|part| {
        match part.kind {
            TokenKind::OpenParenthesis => depth += 1,
            TokenKind::CloseParenthesis => depth = depth.saturating_sub(1),
            TokenKind::Symbol if part.text == "[" => depth += 1,
            TokenKind::Symbol if part.text == "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && part.is_symbol(b',')
    })
}

/// Accepts a routine's arguments in parentheses, if they stand there.
fn arguments(tokens: &mut Tokens<'_>) -> String {
    let mut ahead = tokens.clone();
    if !ahead.accept_parentheses() {
        return String::new();
    }
    let mut parts = Vec::new();
    while tokens.rest().len() > ahead.rest().len() {
        parts.extend(tokens.next());
    }
    shown(&parts)
}

/// Tokens as one writes them: words in lower case, as the server folds them, blanks where they belong.
fn shown(parts: &[Part]) -> String {
    let mut text = String::new();
    let (mut tight, mut after_word) = (true, false);
    for part in parts {
        let closes = matches!(part.text, "," | ")" | "." | "]" | "[") || after_word && part.text == "(";
        if !tight && !closes {
            text.push(' ');
        }
        tight = matches!(part.text, "(" | "." | "[" | ":");
        after_word = part.kind == TokenKind::Word;
        if part.kind == TokenKind::Word {
            text.push_str(&part.text.to_ascii_lowercase());
        } else {
            text.push_str(part.text);
        }
        if text.len() > SHOWN {
            text.truncate(text.floor_char_boundary(SHOWN));
            text.push_str(UNKNOWN);
            break;
        }
    }
    text
}
