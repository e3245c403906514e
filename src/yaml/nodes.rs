//! A document of YAML as values with their lines.
//!
//! Plain words are what JSON makes of them, and text elsewhere: `yes`, `007` and `2026-01-01` come to the database as they
//! are written, and the column's type decides what they are.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use crate::core::seed::node::{DEEPEST, Node, Value, Wrong, is_number, twice};

/// Values that a document may hold, those counted again that an alias repeats.
const MOST: usize = 4_000_000;

/// Reads one document; an empty one is nothing.
///
/// # Errors
/// What is wrong first, and on which line.
pub fn nodes(text: &str) -> Result<Node, Wrong> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), left: MOST };
    let document = reader.document()?;
    Ok(document.unwrap_or(Node { line: 1, value: Value::Null }))
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What an alias stands for, and how many values that is.
    anchors: HashMap<usize, (Node, usize)>,
    left: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Option<Node>, Wrong> {
        let mut document = None;
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(document),
                Event::DocumentStart(..) if document.is_some() => {
                    return Err(Wrong::new(line, "a second document begins here: a seed is one; write another file"));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => document = Some(self.node(event, line, 0)?),
            }
        }
    }

    /// The next event that is no comment, and its line.
    fn next(&mut self) -> Result<(Event<'a>, u32), Wrong> {
        loop {
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, 1)),
                Some(Err(error)) => {
                    let line = number(error.marker().line());
                    return Err(Wrong::new(line, format!("this isn't YAML: {}", error.info())));
                }
                Some(Ok((event, span))) => {
                    let is_read = event.is_node()
                        || matches!(
                            event,
                            Event::StreamStart
                                | Event::StreamEnd
                                | Event::DocumentStart(..)
                                | Event::DocumentEnd
                                | Event::SequenceEnd
                                | Event::MappingEnd
                        );
                    if is_read {
                        return Ok((event, number(span.start.line())));
                    }
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, line: u32, depth: usize) -> Result<Node, Wrong> {
        if depth > DEEPEST {
            return Err(Wrong::new(line, format!("values stand in more than {DEEPEST} others here: flatten them")));
        }
        self.count(1, line)?;
        let before = self.left;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(text.into_owned(), style, tag.as_deref(), line)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                untagged(tag.as_deref(), line)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, line) => items.push(self.node(event, line, depth + 1)?),
                    }
                }
                (Value::List(items), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                untagged(tag.as_deref(), line)?;
                (self.map(depth)?, anchor)
            }
            Event::Alias(id) => {
                let Some((node, count)) = self.anchors.get(&id).cloned() else {
                    return Err(Wrong::new(line, "an alias stands for what isn't finished yet: write it out"));
                };
                self.count(count, line)?;
                return Ok(Node { line, value: node.value });
            }
            _ => return Err(Wrong::new(line, "no value stands here: write one")),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), before - self.left + 1));
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize) -> Result<Value, Wrong> {
        let mut entries = Vec::new();
        let mut names = std::collections::HashSet::new();
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(name, ..), line) => (name.into_owned(), line),
                (_, line) => return Err(Wrong::new(line, "a name is text: write it out")),
            };
            if !names.insert(name.clone()) {
                return Err(twice(line, &name));
            }
            let (event, line) = self.next()?;
            entries.push((name, self.node(event, line, depth + 1)?));
        }
    }

    fn count(&mut self, values: usize, line: u32) -> Result<(), Wrong> {
        let Some(left) = self.left.checked_sub(values) else {
            return Err(Wrong::new(line, format!("more than {MOST} values: split the file")));
        };
        self.left = left;
        Ok(())
    }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, line: u32) -> Result<Value, Wrong> {
    if let Some(tag) = tag {
        return match tag.core_suffix() {
            Some("str") => Ok(Value::Text(text)),
            _ => Err(Wrong::new(line, "a tag that isn't read: remove it, or write !!str for text")),
        };
    }
    if style != ScalarStyle::Plain {
        return Ok(Value::Text(text));
    }
    Ok(match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        number if is_number(number) => Value::Number(text),
        _ => Value::Text(text),
    })
}

fn untagged(tag: Option<&Tag>, line: u32) -> Result<(), Wrong> {
    match tag {
        None => Ok(()),
        Some(_) => Err(Wrong::new(line, "a tag that isn't read: remove it")),
    }
}

fn number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn json(text: &str) -> String {
        let mut written = String::new();
        nodes(text).expect(text).write_json(&mut written);
        written
    }

    #[test]
    fn plain_words_are_what_json_makes_of_them_and_else_text() {
        for (text, expected) in [
            (
                "[1, -2.50, 12345678901234567890.12345678901234567890, 1e3]",
                "[1,-2.50,12345678901234567890.12345678901234567890,1e3]",
            ),
            ("[007, 0x1F, 1_000, .5, +1]", r#"["007","0x1F","1_000",".5","+1"]"#),
            ("[yes, no, on, y, 2026-01-01, 10:30]", r#"["yes","no","on","y","2026-01-01","10:30"]"#),
            ("[true, False, null, ~, \"null\", '7']", r#"[true,false,null,null,"null","7"]"#),
            ("a:\nb: !!str 7\nc: |\n  one\n  two\n", r#"{"a":null,"b":"7","c":"one\ntwo\n"}"#),
            ("base: &b {x: 1}\nmore: [*b, *b]", r#"{"base":{"x":1},"more":[{"x":1},{"x":1}]}"#),
            ("# nothing\n", "null"),
            ("---\na: 1 # why\n", r#"{"a":1}"#),
        ] {
            assert_eq!(json(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line) in [
            ("a: 1\nb: [1\nc: 3\n", 2..=4),
            ("a: 1\na: 2\n", 2..=2),
            ("a: 1\n---\nb: 2\n", 2..=3),
            ("a: 1\nb: !!binary aGk=\n", 2..=2),
            ("? [a]\n: 1\n", 1..=1),
            ("a: *gone\n", 1..=1),
        ] {
            let wrong = nodes(text).expect_err(text);
            assert!(line.contains(&wrong.line), "{text}: {wrong:?}");
        }
    }

    /// A small file can't fill the memory.
    #[test]
    fn aliases_of_aliases_have_a_limit() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            let _ = writeln!(text, "a{level}: &a{level} [{}]", before.trim_end_matches(", "));
        }
        assert!(nodes(&text).expect_err("it is too much").message.contains("split the file"));
        let deep = format!("{}{}", "[".repeat(DEEPEST + 2), "]".repeat(DEEPEST + 2));
        assert!(nodes(&deep).expect_err("it is too deep").message.contains("flatten"));
    }
}
