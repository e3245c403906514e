//! Migrations in Python, as psqlmodel and herogold have them, into files of SQL.
//!
//! Nothing of Python is run: the SQL is lifted out of the calls in which it stands as a literal, and everything else is
//! found, with its place. What is written is read again by [`super::format`] before anybody gets it, and holds the same
//! statements.

mod call;
mod lexer;
#[cfg(test)]
mod lexer_tests;
mod lift;
#[cfg(test)]
mod lift_tests;
mod literal;
mod reader;
mod section;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;

use super::{
    bundle::{Bundle, BundleFile},
    format::{self, Format, Place, SourceProblem},
    migration::{MigrationDir, Section, Version},
    outcome::Reason,
    sql::position::{Location, locate_byte},
};

use lift::Lifted;
use write::Written;

/// Whose files they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// psqlmodel, whose history knows a migration by the `version` of its class.
    Psqlmodel,
    /// herogold.orm, whose history knows a migration by the name of its file.
    Herogold,
}

/// A file of Python.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name without `.py`.
    pub stem: &'a str,
    /// Where it was found, for messages: `migrations/20260215_create_users.py`.
    pub origin: &'a str,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// A file of Python as a file of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file's name, as `20260215_create_users.sql`.
    pub file: String,
    /// What it holds.
    pub text: String,
    /// Whether it has a way down.
    pub has_down: bool,
    /// What was left out of it, each with its place.
    pub notes: Vec<String>,
}

/// Something at a byte of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    at: usize,
    message: String,
}

impl Trouble {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// A source with its text, and what became of it.
struct Draft<'a> {
    source: Source<'a>,
    text: &'a str,
    lifted: Lifted,
    written: Written,
}

/// Turns files of Python into files of SQL that stand beside those which are there already, or in their places: whether
/// they may is for the caller.
///
/// # Errors
/// Everything that isn't literal or can't be one of Dunlin's migrations, in all files.
pub fn convert(tool: Tool, sources: &[Source], there: &[BundleFile]) -> Result<Vec<Converted>, Vec<SourceProblem>> {
    let mut drafts = Vec::with_capacity(sources.len());
    let mut problems = Vec::new();
    for source in sources {
        match draft(tool, *source) {
            Ok(draft) => drafts.push(draft),
            Err(found) => problems.extend(found),
        }
    }
    // What is wrong between files can't be told before each of them is right.
    if problems.is_empty() {
        problems = between(&drafts, there);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(drafts.into_iter().map(Draft::converted).collect())
}

fn draft(tool: Tool, source: Source<'_>) -> Result<Draft<'_>, Vec<SourceProblem>> {
    let text = text(&source).map_err(|problem| vec![problem])?;
    let placed =
        |found: Vec<Trouble>| found.into_iter().map(|trouble| problem(&source, text, trouble)).collect::<Vec<_>>();
    let mut lifted = lift::lift(text).map_err(placed)?;
    if tool == Tool::Herogold {
        // It runs its files by their names, whatever they say.
        lifted.depends.clear();
    }
    let written = write::write(tool, source.stem, &lifted).map_err(placed)?;
    Ok(Draft { source, text, lifted, written })
}

/// The text without a byte order mark, if it is UTF-8, as Python takes it to be.
fn text<'a>(source: &Source<'a>) -> Result<&'a str, SourceProblem> {
    match std::str::from_utf8(source.bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let valid = std::str::from_utf8(&source.bytes[..error.valid_up_to()]).unwrap_or_default();
            Err(problem(source, valid, Trouble::new(valid.len(), "this isn't UTF-8: save the file as UTF-8")))
        }
    }
}

fn problem(source: &Source, text: &str, Trouble { at, message }: Trouble) -> SourceProblem {
    let Location { line, column } = locate_byte(text, 1, at);
    let place = Place { file: source.origin.to_owned(), line, column };
    SourceProblem { reason: Reason::InvalidSource, place: Some(place), message }
}

/// What is wrong with files of which each is right: read as Dunlin will read them, beside those that are there.
fn between(drafts: &[Draft], there: &[BundleFile]) -> Vec<SourceProblem> {
    let mut problems: Vec<SourceProblem> = drafts.iter().flat_map(|draft| draft.unknown(drafts, there)).collect();
    if !problems.is_empty() {
        return problems;
    }
    let new = drafts.iter().map(|draft| BundleFile {
        name: draft.written.file.clone(),
        bytes: draft.written.text.clone().into(),
        origin: draft.source.origin.to_owned(),
    });
    // One of the same name is for whoever writes.
    let is_other = |file: &&BundleFile| drafts.iter().all(|draft| draft.written.file != file.name);
    let bundle = match Bundle::new(there.iter().filter(is_other).cloned().chain(new).collect()) {
        Ok(bundle) => bundle,
        Err(twice) => {
            return vec![SourceProblem { reason: Reason::DuplicateVersion, place: None, message: twice.to_string() }];
        }
    };
    match format::check(&bundle, Format::Auto) {
        Ok(dir) => problems.extend(drafts.iter().filter_map(|draft| draft.misread(&dir))),
        Err(found) => {
            let by_file: HashMap<&str, &Draft> =
                drafts.iter().map(|draft| (draft.written.file.as_str(), draft)).collect();
            let in_python = |problem: SourceProblem| match &problem.place {
                Some(place) if by_file.contains_key(place.file.as_str()) => {
                    by_file[place.file.as_str()].placed(problem)
                }
                _ => problem,
            };
            problems.extend(found.into_iter().map(in_python));
        }
    }
    problems
}

impl Draft<'_> {
    /// What it needs and nobody has.
    fn unknown(&self, drafts: &[Draft], there: &[BundleFile]) -> Vec<SourceProblem> {
        let is_known = |version: &Version| {
            drafts.iter().any(|draft| draft.written.version == *version)
                || there
                    .iter()
                    .any(|file| super::migration::split_file_name(&file.name).is_ok_and(|(one, _)| one == *version))
        };
        let unknown =
            self.lifted.depends.iter().filter(|(text, _)| !Version::parse(text).is_ok_and(|one| is_known(&one)));
        let refuse = |(text, at): &(String, usize)| {
            let message = format!("depends on {text}, which no file has: convert its file too, or remove it here");
            problem(&self.source, self.text, Trouble::new(*at, message))
        };
        unknown.map(refuse).collect()
    }

    /// A problem of the file of SQL, where it stands in that of Python.
    fn placed(&self, found: SourceProblem) -> SourceProblem {
        let line = found.place.as_ref().map_or(0, |place| place.line);
        let at = self.written.place_of_line(line);
        SourceProblem { reason: found.reason, ..problem(&self.source, self.text, Trouble::new(at, found.message)) }
    }

    /// Whether the file of SQL holds other statements than were lifted.
    fn misread(&self, dir: &MigrationDir) -> Option<SourceProblem> {
        let Written { version, up, down, .. } = &self.written;
        let migration = dir.get(version)?;
        let read = |section: Option<&Section>| {
            let statements = section.map_or(&[][..], |section| &section.script.statements);
            let texts = statements.iter().map(|one| section.map_or("", |section| &section.text[one.span.clone()]));
            texts.map(str::to_owned).collect::<Vec<_>>()
        };
        let same = |section: Option<&Section>, expected: &[String]| {
            // A block from BEGIN to COMMIT is one statement outside of a transaction.
            let squeezed = |statements: &[String]| statements.concat().replace([';', ' ', '\n', '\t', '\r'], "");
            squeezed(&read(section)) == squeezed(expected)
        };
        let is_same = same(Some(&migration.up), up) && same(migration.down.as_ref(), down);
        (!is_same).then(|| {
            let message = "its statements would be read otherwise beside each other: give each a file of its own";
            problem(&self.source, self.text, Trouble::new(self.lifted.up.at.unwrap_or_default(), message))
        })
    }

    fn converted(self) -> Converted {
        let Self { source, text, lifted, written } = self;
        let commits = if written.runs_alone { Vec::new() } else { lifted.commits };
        let notes = lifted.notes.into_iter().chain(commits).map(|note| problem(&source, text, note).to_string());
        let has_down = written.has_down;
        Converted { notes: notes.chain(written.note).collect(), file: written.file, text: written.text, has_down }
    }
}
