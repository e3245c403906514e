//! A section with the values in it: what the server is sent, and where each of its characters stands in the file.

use std::ops::Range;

use super::{Variable, Variables};
use crate::core::{
    migration::{Section, TransactionMode},
    sql::{
        Boundaries, Script,
        position::{Location, locate_byte},
        variables::{Form, Use, identifier, literal, uses},
    },
};

/// The longest name of the server's, in bytes: it cuts what is longer (NAMEDATALEN less one).
const MAX_NAME: usize = 63;

/// What the server is sent in the place of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The text with the values in it, split anew. Its checksum and its first line are the file's.
    pub section: Section,
    edits: Vec<Edit>,
}

/// A variable and what takes its place, both in characters; and the byte behind each.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edit {
    source: Range<usize>,
    sent: Range<usize>,
    behind: Range<usize>,
}

/// A place at which a variable can't be used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misuse {
    /// Where it stands in the file.
    pub location: Location,
    /// As it is written: `:'name'`.
    pub written: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub why: Misused,
}

/// Why a variable can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misused {
    /// Nobody declares it, and as it stands it is no SQL.
    Undeclared,
    /// Its value is no identifier, and why.
    NoIdentifier(&'static str),
    /// With it the text reads otherwise than without it, and how.
    ReadsOtherwise(String),
}

impl Sent {
    /// The character of the file's section for one of what was sent. What stands within a value stands at its variable.
    #[must_use]
    pub fn source_position(&self, sent: usize) -> usize {
        let behind = self.edits.partition_point(|edit| edit.sent.start <= sent);
        match self.edits[..behind].last() {
            None => sent,
            Some(edit) if sent < edit.sent.end => edit.source.start,
            Some(edit) => edit.source.end + (sent - edit.sent.end),
        }
    }
}

impl Variables {
    /// A section with the values in it; None where nothing of it is a variable.
    ///
    /// # Errors
    /// Every place at which that isn't possible.
    pub fn substitute(&self, section: &Section, mode: TransactionMode) -> Result<Option<Sent>, Vec<Misuse>> {
        self.write(section, mode, |form, _, variable| match form {
            Form::Literal => literal(&variable.value),
            Form::Identifier => identifier(&variable.value),
        })
    }

    /// The section's text for a person: with the values that aren't secret, and the others as variables.
    ///
    /// # Errors
    /// As [`substitute`](Self::substitute).
    pub fn shown(&self, section: &Section, mode: TransactionMode) -> Result<Option<String>, Vec<Misuse>> {
        let shown = |form, written: &str, variable: &Variable| match form {
            _ if variable.is_secret() => written.to_owned(),
            Form::Literal => literal(&variable.value),
            Form::Identifier => identifier(&variable.value),
        };
        // What would be sent is what must be sound.
        self.substitute(section, mode)?;
        Ok(self.written(section, &uses(&section.text), shown).map(|(text, _)| text))
    }

    /// Every place of a section at which a variable can't be used.
    #[must_use]
    pub fn misuses(&self, section: &Section, mode: TransactionMode) -> Vec<Misuse> {
        self.substitute(section, mode).err().unwrap_or_default()
    }

    fn write(
        &self,
        section: &Section,
        mode: TransactionMode,
        value: impl Fn(Form, &str, &Variable) -> String,
    ) -> Result<Option<Sent>, Vec<Misuse>> {
        let uses = uses(&section.text);
        let misuses: Vec<Misuse> =
            uses.iter().filter_map(|found| Some(misuse(section, found, self.why_not(found)?))).collect();
        if !misuses.is_empty() {
            return Err(misuses);
        }
        let Some((text, edits)) = self.written(section, &uses, value) else { return Ok(None) };
        let first = || uses.iter().find(|found| self.get(found.name).is_some());
        let otherwise = |why: String| {
            let misuse = first().map(|found| misuse(section, found, Misused::ReadsOtherwise(self.redact(&why).into())));
            misuse.into_iter().collect::<Vec<_>>()
        };
        // The boundaries were held against a grammar as the file has them; a value can't change one, unless it changes how
        // strings are read.
        let script = Script::read(&text, mode, Boundaries::Trusted).map_err(|problems| {
            otherwise(problems.first().map_or_else(String::new, |problem| problem.message.clone()))
        })?;
        if !same_boundaries(&section.script, &script, &edits) {
            return Err(otherwise("its statements end elsewhere".to_owned()));
        }
        let section = Section { text, first_line: section.first_line, script, checksum: section.checksum.clone() };
        Ok(Some(Sent { section, edits }))
    }

    fn written(
        &self,
        section: &Section,
        uses: &[Use<'_>],
        value: impl Fn(Form, &str, &Variable) -> String,
    ) -> Option<(String, Vec<Edit>)> {
        let source = &section.text;
        let (mut text, mut edits) = (String::with_capacity(source.len()), Vec::new());
        let (mut copied, mut source_chars, mut sent_chars) = (0, 0, 0);
        for found in uses {
            let Some(variable) = self.get(found.name) else { continue };
            let between = &source[copied..found.range.start];
            let written = &source[found.range.clone()];
            text.push_str(between);
            let count = between.chars().count();
            (source_chars, sent_chars) = (source_chars + count, sent_chars + count);
            let mut value = value(found.form, written, variable);
            if value != written {
                // A blank keeps it from being a part of what stands before it, as a string's prefix.
                value.insert(0, ' ');
            }
            text.push_str(&value);
            let lengths = (written.chars().count(), value.chars().count());
            edits.push(Edit {
                source: source_chars..source_chars + lengths.0,
                sent: sent_chars..sent_chars + lengths.1,
                behind: found.range.end..text.len(),
            });
            (source_chars, sent_chars) = (source_chars + lengths.0, sent_chars + lengths.1);
            copied = found.range.end;
        }
        text.push_str(&source[copied..]);
        (!edits.is_empty()).then_some((text, edits))
    }

    fn why_not(&self, found: &Use<'_>) -> Option<Misused> {
        match (self.get(found.name), found.form) {
            (None, _) if found.ambiguous => None,
            (None, _) => Some(Misused::Undeclared),
            (Some(variable), Form::Identifier) if variable.value.is_empty() => {
                Some(Misused::NoIdentifier("its value is empty, and no name is"))
            }
            (Some(variable), Form::Identifier) if variable.value.len() > MAX_NAME => {
                Some(Misused::NoIdentifier("its value is longer than the 63 bytes of a name: PostgreSQL would cut it"))
            }
            (Some(_), _) => None,
        }
    }
}

/// Whether each statement has the bytes that it has in the file, but for its variables.
fn same_boundaries(source: &Script, sent: &Script, edits: &[Edit]) -> bool {
    let moved = |byte: usize| {
        let behind = edits.partition_point(|edit| edit.behind.start <= byte);
        edits[..behind].last().map_or(byte, |edit| edit.behind.end + (byte - edit.behind.start))
    };
    let spans = |script: &Script| script.statements.iter().map(|statement| statement.span.clone()).collect::<Vec<_>>();
    let moved: Vec<Range<usize>> = spans(source).into_iter().map(|span| moved(span.start)..moved(span.end)).collect();
    // A span begins at its first token: the blank in front of a value is none.
    spans(sent) == moved && source.standard_conforming_strings_off == sent.standard_conforming_strings_off
}

fn misuse(section: &Section, found: &Use<'_>, why: Misused) -> Misuse {
    Misuse {
        location: locate_byte(&section.text, section.first_line, found.range.start),
        written: section.text[found.range.clone()].to_owned(),
        name: found.name.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::variables, *};
    use crate::core::{
        migration::Checksum,
        sql::{Alone, Kind, classify::QualifiedName},
    };

    fn section(text: &str, mode: TransactionMode) -> Section {
        let script = Script::read(text, mode, Boundaries::CrossChecked).unwrap_or_else(|problem| panic!("{problem:?}"));
        Section { text: text.to_owned(), first_line: 3, script, checksum: Checksum::of(text) }
    }

    fn sent(text: &str, values: &[(&str, &str)]) -> String {
        let section = section(text, TransactionMode::Transactional);
        let sent = variables(values, &[]).substitute(&section, TransactionMode::Transactional).expect("it is sound");
        sent.map_or_else(|| "as it is".to_owned(), |sent| sent.section.text)
    }

    /// M09, M37: declared variables are replaced, once, and nothing else of the text is.
    #[test]
    fn values_take_the_place_of_declared_variables_and_of_nothing_else() {
        let values = [("a", "it's :'b'"), ("b", "we\"ird"), ("c", r"x\y")];
        for (text, expected) in [
            ("SELECT :'a'", "SELECT  'it''s :''b'''"),
            ("SELECT * FROM :\"b\".t", "SELECT * FROM  \"we\"\"ird\".t"),
            ("SELECT :'c'", r"SELECT  E'x\\y'"),
            ("SELECT :'a', :'a'", "SELECT  'it''s :''b''',  'it''s :''b'''"),
            ("SELECT e:'b'", "SELECT e 'we\"ird'"),
            ("SELECT ':''a''', $$:'a'$$ -- :'a'", "as it is"),
            ("SELECT a[1:\"x\"], b[1:2], 'x'::text", "as it is"),
            ("SELECT a[1:\"b\"]", "SELECT a[1 \"we\"\"ird\"]"),
        ] {
            assert_eq!(sent(text, &values), expected, "{text}");
        }
    }

    #[test]
    fn a_place_in_what_was_sent_is_one_in_the_file() {
        let text = "SELECT 'ü', :'a', x, :\"b\", y";
        let section = section(text, TransactionMode::Transactional);
        let values = variables(&[("a", "a longer value"), ("b", "é")], &[]);
        let sent = values.substitute(&section, TransactionMode::Transactional).expect("sound").expect("some");
        let of = |part: &str, text: &str| text[..text.find(part).expect(part)].chars().count();
        for part in ["SELECT", "'ü'", ", x", ", y"] {
            assert_eq!(sent.source_position(of(part, &sent.section.text)), of(part, text), "{part}");
        }
        assert_eq!(sent.source_position(of("longer", &sent.section.text)), of(":'a'", text));
        assert_eq!(sent.source_position(of("\"é\"", &sent.section.text)), of(":\"b\"", text));
        assert_eq!(sent.source_position(sent.section.text.chars().count()), text.chars().count());
    }

    #[test]
    fn what_can_not_be_used_is_named_with_its_place() {
        let long = "x".repeat(64);
        let values = variables(&[("empty", ""), ("long", &long)], &[]);
        for (text, expected) in [
            ("SELECT 1,\n  :'nope'", Some((4, 3, Misused::Undeclared))),
            ("SELECT a[1:'nope'], json_object('a':'nope')", None),
            ("SELECT :'empty', :'long'", None),
        ] {
            let misuses =
                values.misuses(&section(text, TransactionMode::Transactional), TransactionMode::Transactional);
            let found = misuses.into_iter().next();
            assert_eq!(found.map(|it| (it.location.line, it.location.column, it.why)), expected, "{text}");
        }
        for text in ["CREATE TABLE :\"empty\" ()", "CREATE TABLE :\"long\" ()"] {
            let misuses =
                values.misuses(&section(text, TransactionMode::Transactional), TransactionMode::Transactional);
            assert!(matches!(misuses[..], [Misuse { why: Misused::NoIdentifier(_), .. }]), "{misuses:?}");
        }
    }

    #[test]
    fn a_value_can_not_change_how_the_rest_is_read() {
        let values = variables(&[("setting", "standard_conforming_strings"), ("open", "a'; BEGIN; $$")], &[]);
        let mode = TransactionMode::Transactional;
        let misuses = values.misuses(&section("SELECT set_config(:'setting', 'off', false)", mode), mode);
        assert!(matches!(misuses[..], [Misuse { why: Misused::ReadsOtherwise(_), .. }]), "{misuses:?}");
        let escaped = section("SET :\"setting\" = off; SELECT 'a\\', 'b'; SELECT 1", mode);
        assert!(!values.misuses(&escaped, mode).is_empty());
        let sent = values.substitute(&section("SELECT :'open'; SELECT 2", mode), mode).expect("sound").expect("some");
        assert_eq!(sent.section.script.statements.len(), 2);
    }

    /// What recovery asks the catalog about is the name that the server was sent.
    #[test]
    fn kinds_have_the_names_that_are_sent() {
        let mode = TransactionMode::NonTransactional;
        let section = section("CREATE INDEX CONCURRENTLY :\"i\" ON :\"s\".t (a)", mode);
        let sent = variables(&[("i", "An index"), ("s", "app")], &[]).substitute(&section, mode);
        let sent = sent.expect("sound").expect("some");
        let expected = Alone::CreateIndexConcurrently {
            name: Some("An index".to_owned()),
            table: QualifiedName { schema: Some("app".to_owned()), name: "t".to_owned() },
            if_not_exists: false,
        };
        assert_eq!(sent.section.script.statements[0].kind, Kind::Alone(expected));
    }

    #[test]
    fn a_secret_is_shown_as_the_variable() {
        let section = section("SELECT :'a', :'b'", TransactionMode::Transactional);
        let values = variables(&[("a", "acme")], &[("b", "hunter2")]);
        let shown = values.shown(&section, TransactionMode::Transactional).expect("sound");
        assert_eq!(shown.as_deref(), Some("SELECT  'acme', :'b'"));
    }
}
