//! One file into a migration, but for its references to others.
//!
//! Markers and directives are found by the scan that finds statements, so that text inside literals, bodies and COPY data
//! is text. A section is byte for byte what stands between the end of its marker's line and the next marker's line.

use std::{collections::HashMap, ops::Range};

use super::{
    dunlin::DUNLIN,
    markers::{Convention, Key, Meaning, Versions},
    problems::Problems,
};
use crate::core::{
    bundle::BundleFile,
    migration::{Checksum, Migration, Section, TransactionMode, Version, VersionKind, hash_of_file, split_file_name},
    outcome::Reason,
    sql::{
        Boundaries, Found, Next, Script,
        position::{Counter, Location, locate_byte},
        scan,
        split::split,
    },
};

/// A file understood, its references still to be resolved.
#[derive(Debug)]
pub(super) struct Draft {
    /// The migration, without `depends` and `replaces`.
    pub migration: Migration,
    pub depends: Vec<Reference>,
    pub replaces: Vec<Reference>,
}

/// What `-- depends:` or `-- replaces:` names.
#[derive(Debug)]
pub(super) struct Reference {
    /// As written.
    pub text: String,
    pub version: Version,
    pub name: Option<String>,
    pub location: Location,
}

/// A directive and where it stands.
#[derive(Debug, Clone)]
struct Mark<'a> {
    key: Key,
    value: &'a str,
    location: Location,
    /// The first byte of its line.
    line_start: usize,
    /// The first byte of the next line.
    behind: usize,
}

/// The version and the name in a file's name; a problem if it has none.
pub(super) fn named<'a>(
    file: &'a BundleFile,
    convention: &Convention,
    problems: &mut Problems,
) -> Option<(Version, &'a str)> {
    let mut refuse = |why: &str| {
        let BundleFile { name, origin, .. } = file;
        problems.add(Reason::InvalidSource, format!("{} ({origin}) {why}", name.escape_debug()));
    };
    match split_file_name(&file.name) {
        Ok((version, _)) if convention.versions == Versions::Numbers && version.kind() != VersionKind::Number => {
            refuse(&format!(
                "has the version {version}, and those of format {} are plain numbers, as in 001_name.sql: rename it, \
                 or let spec.source.format be Auto",
                convention.name
            ));
            None
        }
        Ok(named) => Some(named),
        Err(why) => {
            refuse(&why);
            None
        }
    }
}

/// Reads a file of that version and name. None, and problems, if something is wrong with it.
pub(super) fn read(
    file: &BundleFile,
    (version, name): (Version, &str),
    convention: &Convention,
    problems: &mut Problems,
) -> Option<Draft> {
    let whole = text(file, problems)?;
    let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
    let mut reader = Reader { file: &file.name, text, problems, sound: true };
    let marks = reader.marks(convention);
    let sections = reader.sections(&marks);
    let find = |key| marks.iter().find(|mark| mark.key == key);
    let mode = match find(Key::NoTransaction) {
        Some(_) => TransactionMode::NonTransactional,
        None => TransactionMode::Transactional,
    };
    let boundaries = if find(Key::TrustSplitter).is_some() { Boundaries::Trusted } else { Boundaries::CrossChecked };
    if let Some(id) = find(Key::Id) {
        reader.check_id(id, &version);
    }
    let depends = reader.references(find(Key::Depends));
    let replaces = reader.references(find(Key::Replaces));
    let up = reader.section(sections.up, mode, boundaries);
    // A marker with nothing behind it is a way down that nobody has written; one that does nothing says so in a comment.
    let down = match sections.down.filter(|range| !text[range.clone()].trim().is_empty()) {
        Some(range) => Some(reader.section(range, mode, boundaries)?),
        None => None,
    };
    let description = find(Key::Description).or_else(|| find(Key::Migration)).map(|mark| mark.value);
    let up = up.filter(|_| reader.sound)?;
    let migration = Migration {
        version,
        name: name.into(),
        file: file.name.clone(),
        origin: file.origin.clone(),
        description: description.filter(|value| !value.is_empty()).map(Into::into),
        depends: Vec::new(),
        replaces: Vec::new(),
        mode,
        file_hash: hash_of_file(whole),
        up,
        down,
    };
    Some(Draft { migration, depends, replaces })
}

/// A section's text without the lines that say something of its file, for a file that says it itself.
#[must_use]
pub fn without_directives(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    scan(text, |found| {
        if let Found::LineComment(comment) = found
            && let Some((line_start, behind)) = line_alone(text, &comment)
            && matches!(DUNLIN.meaning(&text[comment]), Meaning::Directive(..))
        {
            kept.push_str(&text[from..line_start]);
            from = behind;
        }
        Next::Continue
    });
    kept.push_str(&text[from..]);
    kept
}

/// The file's text, if it is UTF-8 and not blank.
fn text<'a>(file: &'a BundleFile, problems: &mut Problems) -> Option<&'a str> {
    let text = match std::str::from_utf8(&file.bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = std::str::from_utf8(&file.bytes[..error.valid_up_to()]).unwrap_or_default();
            let Location { line, column } = locate_byte(valid, 1, valid.len());
            let utf16 = matches!(file.bytes.as_slice(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
            let hint = if utf16 { "it looks like UTF-16; " } else { "" };
            let message = format!("byte {} isn't UTF-8: {hint}save the file as UTF-8", error.valid_up_to());
            problems.at(&file.name, line, column, &message);
            return None;
        }
    };
    if text.strip_prefix('\u{feff}').unwrap_or(text).trim().is_empty() {
        let BundleFile { name, origin, .. } = file;
        problems.add(
            Reason::InvalidSource,
            format!("{name} ({origin}) is empty: remove it, or write a comment for a migration that does nothing"),
        );
        return None;
    }
    Some(text)
}

struct Reader<'a, 'p> {
    file: &'a str,
    text: &'a str,
    problems: &'p mut Problems,
    sound: bool,
}

/// The sections' bytes.
struct Sections {
    up: Range<usize>,
    down: Option<Range<usize>>,
}

impl<'a> Reader<'a, '_> {
    fn refuse(&mut self, location: Location, message: &str) {
        self.sound = false;
        self.problems.at(self.file, location.line, location.column, message);
    }

    /// All directives, each key once; a file with `-- migrate: up` has no other markers than `-- migrate:`.
    fn marks(&mut self, convention: &Convention) -> Vec<Mark<'a>> {
        let text = self.text;
        let mut marks: Vec<Mark<'a>> = Vec::new();
        let mut rollbacks: Vec<(Option<Mark<'a>>, Location)> = Vec::new();
        let mut refused: Vec<(Location, String)> = Vec::new();
        let mut has_up = false;
        let mut counter = Counter::new(text, 1);
        scan(text, |found| {
            let Found::LineComment(comment) = found else { return Next::Continue };
            let Some((line_start, behind)) = line_alone(text, &comment) else { return Next::Continue };
            let mut mark =
                |key, value| Mark { key, value, location: counter.advance(comment.start), line_start, behind };
            match convention.meaning(&text[comment.clone()]) {
                Meaning::Comment => Next::Continue,
                Meaning::Directive(key, value) => {
                    marks.push(mark(key, value));
                    has_up |= key == Key::Up;
                    if matches!(key, Key::Up | Key::Down) { Next::NewSection } else { Next::Continue }
                }
                Meaning::Rollback => {
                    let mark = mark(Key::Down, "");
                    let location = mark.location;
                    rollbacks.push((Some(mark), location));
                    if has_up { Next::Continue } else { Next::NewSection }
                }
                Meaning::RollbackWithText => {
                    rollbacks.push((None, counter.advance(comment.start)));
                    Next::Continue
                }
                Meaning::Refused(message) => {
                    refused.push((counter.advance(comment.start), message));
                    Next::Continue
                }
            }
        });
        for (location, message) in refused {
            self.refuse(location, &message);
        }
        if !has_up {
            for (mark, location) in rollbacks {
                match mark {
                    Some(mark) => marks.push(mark),
                    None => self.refuse(
                        location,
                        "is this `-- ROLLBACK`, which begins the way down? It stands alone on its line or with a comment in \
                         parentheses; another comment begins with another word",
                    ),
                }
            }
            marks.sort_by_key(|mark| mark.line_start);
        }
        self.once(marks)
    }

    /// Refuses what is said twice.
    fn once(&mut self, marks: Vec<Mark<'a>>) -> Vec<Mark<'a>> {
        let mut first: HashMap<Key, u32> = HashMap::new();
        for mark in &marks {
            match first.get(&mark.key) {
                None => {
                    first.insert(mark.key, mark.location.line);
                }
                Some(line) => {
                    let what = if mark.key == Key::Down { "the way down" } else { mark.key.written() };
                    let message = format!("{what} stands on line {line} already: a file has it once");
                    self.refuse(mark.location, &message);
                }
            }
        }
        marks
    }

    fn sections(&mut self, marks: &[Mark]) -> Sections {
        let markers: Vec<&Mark> = marks.iter().filter(|mark| matches!(mark.key, Key::Up | Key::Down)).collect();
        let end_of = |place: usize| markers.get(place + 1).map_or(self.text.len(), |next| next.line_start);
        let range = |key| {
            let place = markers.iter().position(|mark| mark.key == key)?;
            Some(markers[place].behind..end_of(place))
        };
        let preamble = 0..markers.first().map_or(self.text.len(), |mark| mark.line_start);
        let down = range(Key::Down);
        let Some(up) = range(Key::Up) else { return Sections { up: preamble, down } };
        let up_mark = markers.iter().find(|mark| mark.key == Key::Up).map(|mark| mark.location);
        let place = match split(&self.text[preamble]) {
            Ok(script) => script.statements.first().map(|statement| (statement.line, statement.column)),
            Err(problems) => problems.first().map(|problem| (problem.line, problem.column)),
        };
        if let Some((line, column)) = place {
            let message = "stands before the file's first section: move it behind `-- migrate: up`";
            self.refuse(Location { line: line + 1, column }, message);
        }
        if let Some(location) = up_mark
            && self.text[up.clone()].trim().is_empty()
        {
            self.refuse(
                location,
                "nothing stands behind `-- migrate: up`: write the SQL, or a comment that says why there is none",
            );
        }
        Sections { up, down }
    }

    fn section(&mut self, range: Range<usize>, mode: TransactionMode, boundaries: Boundaries) -> Option<Section> {
        let first_line = locate_byte(self.text, 1, range.start).line;
        let text = &self.text[range];
        match Script::read(text, mode, boundaries) {
            Ok(script) => Some(Section { text: text.into(), first_line, script, checksum: Checksum::of(text) }),
            Err(problems) => {
                for problem in problems {
                    self.refuse(Location { line: first_line + problem.line, column: problem.column }, &problem.message);
                }
                None
            }
        }
    }

    /// M11: a file that was copied without its id being changed is a slip.
    fn check_id(&mut self, mark: &Mark, version: &Version) {
        if is_none(mark.value) {
            return;
        }
        match Version::parse(mark.value) {
            Ok(id) if id == *version => {}
            Ok(id) => self.refuse(
                mark.location,
                &format!("the id {id} isn't the version {version} of the file's name: change one of the two"),
            ),
            Err(why) => {
                self.refuse(mark.location, &format!("the id isn't the version {version} of the file's name: {why}"));
            }
        }
    }

    fn references(&mut self, mark: Option<&Mark>) -> Vec<Reference> {
        let Some(mark) = mark.filter(|mark| !is_none(mark.value)) else { return Vec::new() };
        let mut references = Vec::new();
        for text in mark.value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            match Version::parse_reference(text) {
                Ok((version, name)) => references.push(Reference {
                    text: text.into(),
                    version,
                    name: name.map(Into::into),
                    location: mark.location,
                }),
                Err(why) => self
                    .refuse(mark.location, &format!("{} {why}, also with _ and a name behind it", mark.key.written())),
            }
        }
        references
    }
}

/// `(none)`, `none` and empty.
fn is_none(value: &str) -> bool {
    let value = value.strip_prefix('(').and_then(|value| value.strip_suffix(')')).unwrap_or(value);
    value.trim().is_empty() || value.trim().eq_ignore_ascii_case("none")
}

/// The first byte of a comment's line and of the line behind it, if nothing but blanks stands beside it.
pub(in crate::core) fn line_alone(text: &str, comment: &Range<usize>) -> Option<(usize, usize)> {
    let before = text[..comment.start].trim_end_matches([' ', '\t', '\x0b', '\x0c']);
    if !(before.is_empty() || before.ends_with(['\n', '\r'])) {
        return None;
    }
    let rest = &text[comment.end..];
    let line_end = if rest.starts_with("\r\n") { 2 } else { rest.len().min(1) };
    Some((before.len(), comment.end + line_end))
}
