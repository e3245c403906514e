//! A document of values, each with its line: what JSON and YAML are read into.
//!
//! Numbers keep their digits as they are written, so that a column of any type gets all of them.

use std::cell::Cell;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Values within values that are read, and no more.
pub const DEEPEST: usize = 64;

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The line on which it begins, from 1.
    pub line: u32,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as JSON writes it, digit for digit.
    Number(String),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Node>),
    /// Values by name, in the order in which they are written; each name once.
    Map(Vec<(String, Node)>),
}

/// Something wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Wrong {
    /// Something wrong on a line.
    pub fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

impl Value {
    /// What it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// Writes it as JSON.
    pub fn write_json(&self, text: &mut String) {
        match &self.value {
            Value::Null => text.push_str("null"),
            Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Value::Number(digits) => text.push_str(digits),
            Value::Text(value) => push_text(text, value),
            Value::List(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    item.write_json(text);
                }
                text.push(']');
            }
            Value::Map(entries) => push_object(text, entries),
        }
    }
}

/// Writes an object of JSON.
pub(super) fn push_object(text: &mut String, entries: &[(String, Node)]) {
    text.push('{');
    for (index, (name, value)) in entries.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_text(text, name);
        text.push(':');
        value.write_json(text);
    }
    text.push('}');
}

fn push_text(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

/// Whether a text is a number as JSON writes it.
#[must_use]
pub fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest.starts_with('0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

/// Reads one document of JSON.
///
/// # Errors
/// What is wrong first, and on which line.
pub fn from_json(text: &str) -> Result<Node, Wrong> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let message = said.split(" at line ").next().unwrap_or_default();
        let line = u32::try_from(error.line()).unwrap_or(u32::MAX).max(1);
        Wrong::new(line, format!("this isn't JSON: {message} (column {})", error.column()))
    })?;
    Reader { text, at: Cell::new((0, 1)) }.node(raw, 0)
}

struct Reader<'a> {
    text: &'a str,
    /// How far lines are counted, and which it is there: parts are met in the order of the text.
    at: Cell<(usize, u32)>,
}

impl<'a> Reader<'a> {
    fn node(&self, raw: &'a RawValue, depth: usize) -> Result<Node, Wrong> {
        let line = self.line(raw.get());
        if depth > DEEPEST {
            return Err(Wrong::new(line, format!("values stand in more than {DEEPEST} others here: flatten them")));
        }
        let unreadable = |error: serde_json::Error| Wrong::new(line, error.to_string());
        let text = raw.get();
        let value = match text.as_bytes().first() {
            Some(b'n') => Value::Null,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'"') => Value::Text(serde_json::from_str(text).map_err(unreadable)?),
            Some(b'[') => {
                let items: Vec<&'a RawValue> = serde_json::from_str(text).map_err(unreadable)?;
                Value::List(items.into_iter().map(|item| self.node(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Some(b'{') => {
                let mut deserializer = serde_json::Deserializer::from_str(text);
                let entries = deserializer.deserialize_map(Entries).map_err(unreadable)?;
                let mut read: Vec<(String, Node)> = Vec::with_capacity(entries.len());
                let mut names = std::collections::HashSet::new();
                for (name, value) in entries {
                    let value = self.node(value, depth + 1)?;
                    if !names.insert(name.clone()) {
                        return Err(twice(value.line, &name));
                    }
                    read.push((name, value));
                }
                Value::Map(read)
            }
            _ => Value::Number(text.to_owned()),
        };
        Ok(Node { line, value })
    }

    /// The line of a part of the text.
    fn line(&self, part: &str) -> u32 {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let (from, line) = self.at.get();
        let ends = self.text.get(from..offset).unwrap_or_default().matches('\n').count();
        let line = line.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
        self.at.set((offset.max(from), line));
        line
    }
}

/// A name that a map has already.
#[must_use]
pub fn twice(line: u32, name: &str) -> Wrong {
    Wrong::new(line, format!("{name:?} stands twice in one map: keep one"))
}

/// The entries of an object in their order, those of one name too.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_digits_order_and_lines() {
        let text = "{\n  \"b\": [1.10, 12345678901234567890123, -0.5e+3],\n  \"a\": {\"é\\n\": null, \"t\": true}\n}\n";
        let node = from_json(text).expect("it is JSON");
        let mut written = String::new();
        node.write_json(&mut written);
        assert_eq!(written, "{\"b\":[1.10,12345678901234567890123,-0.5e+3],\"a\":{\"é\\n\":null,\"t\":true}}");
        let Value::Map(entries) = &node.value else { panic!("{node:?}") };
        assert_eq!(entries.iter().map(|(_, node)| node.line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_line() {
        for (text, line) in [("{\n\"a\": 1,\n\"a\": 2}", 3), ("[1,\n2", 2), ("", 1), ("{}\n{}", 2)] {
            assert_eq!(from_json(text).expect_err(text).line, line, "{text}");
        }
        let deep = "[".repeat(DEEPEST + 2) + &"]".repeat(DEEPEST + 2);
        assert!(from_json(&deep).expect_err("too deep").message.contains("flatten"));
    }

    #[test]
    fn a_number_is_one_as_json_writes_it() {
        for text in ["0", "-0", "10", "1.50", "1e9", "1.5E-7", "12345678901234567890"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", "-", "007", "+1", ".5", "5.", "1e", "0x1F", "1_000", "1.2.3", "2026-01-01", "NaN", "1 "] {
            assert!(!is_number(text), "{text}");
        }
    }
}
