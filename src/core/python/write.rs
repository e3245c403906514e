//! What was lifted into the text of a file of Dunlin's, and its name.

use std::fmt::Write as _;

use super::{
    Tool, Trouble,
    lift::{Lifted, Way},
    section::{Body, body},
};
use crate::core::migration::{Version, split_file_name};

/// A file of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub file: String,
    pub version: Version,
    pub text: String,
    /// The statements of each way.
    pub up: Vec<String>,
    pub down: Vec<String>,
    /// What deserves a word.
    pub note: Option<String>,
    pub has_down: bool,
    /// Whether it runs outside of a transaction.
    pub runs_alone: bool,
    /// The first line of each call's SQL, and where it stands in the file of Python.
    lines: Vec<(u32, usize)>,
}

/// Words that are markers where they stand alone behind `-- migration:`.
const MARKERS: [&str; 4] = ["up", "down", "no-transaction", "trust-splitter"];

impl Written {
    /// Where the call stands in the file of Python whose SQL is on that line of the file of SQL.
    pub fn place_of_line(&self, line: u32) -> usize {
        let before = self.lines.iter().rev().find(|(first, _)| *first <= line);
        before.or(self.lines.first()).map_or(0, |(_, at)| *at)
    }
}

/// Writes a file.
///
/// # Errors
/// What is wrong with its name, with its SQL, or with what is together in it.
pub(super) fn write(tool: Tool, stem: &str, lifted: &Lifted) -> Result<Written, Vec<Trouble>> {
    let mut troubles = Vec::new();
    let name = match tool {
        Tool::Herogold => of_herogold(stem),
        Tool::Psqlmodel => of_psqlmodel(stem, lifted),
    };
    let name = name.map_err(|trouble| troubles.push(trouble)).ok();
    let up = bodies(&lifted.up, &mut troubles);
    let down = bodies(&lifted.down, &mut troubles);
    let alone = transactions(&[&up, &down], &mut troubles);
    for (text, at) in &lifted.depends {
        if let Err(why) = Version::parse(text) {
            troubles.push(Trouble::new(*at, format!("depends on what can't be a version of Dunlin's: {why}")));
        }
    }
    let Some((file, version)) = name.filter(|_| troubles.is_empty()) else { return Err(troubles) };
    let note = (file.strip_suffix(".sql") != Some(stem))
        .then(|| format!("{stem}.py becomes {file}, since its class has the version {version}"));
    let mut text = header(stem, &file, lifted);
    if alone {
        text.push_str("-- migrate: no-transaction\n");
    }
    let mut lines = Vec::new();
    text.push_str("\n-- migrate: up\n");
    if up.is_empty() {
        text.push_str("-- There is nothing to run.\n");
    }
    sections(&up, &mut text, &mut lines);
    let does_nothing = up.iter().all(|body| body.statements.is_empty());
    // A way down that does nothing undoes nothing, unless there is nothing to undo.
    let has_down = !down.is_empty() || does_nothing && lifted.down.at.is_some();
    if has_down {
        text.push_str("\n-- migrate: down\n");
        if down.is_empty() {
            text.push_str("-- There is nothing to undo.\n");
        }
        sections(&down, &mut text, &mut lines);
    }
    let statements = |bodies: Vec<Body>| bodies.into_iter().flat_map(|body| body.statements).collect();
    Ok(Written {
        file,
        version,
        text,
        up: statements(up),
        down: statements(down),
        note,
        has_down,
        runs_alone: alone,
        lines,
    })
}

/// herogold's history has the file's name, so that it stays.
fn of_herogold(stem: &str) -> Result<(String, Version), Trouble> {
    let file = format!("{stem}.sql");
    match split_file_name(&file) {
        Ok((version, _)) => Ok((file.clone(), version)),
        Err(why) => {
            Err(Trouble::new(0, format!("{file} {why}; rename {stem}.py, and in herogold's table of migrations too")))
        }
    }
}

/// psqlmodel's history has the class's version, which is that of the file's name unless somebody changed one of the two.
fn of_psqlmodel(stem: &str, lifted: &Lifted) -> Result<(String, Version), Trouble> {
    let Some((said, at)) = &lifted.version else {
        return Err(Trouble::new(
            lifted.up.at.unwrap_or_default(),
            "no `version` stands in the class, by which psqlmodel knows a migration: write it, as version = \"20260215_120000\"",
        ));
    };
    let version = Version::parse(said).map_err(|why| {
        Trouble::new(
            *at,
            format!("{why}; change it, in the table _psqlmodel_migrations and in depends_on of others too"),
        )
    })?;
    let same = |file: &str| split_file_name(file).is_ok_and(|(found, _)| found.as_str() == version.as_str());
    let file = format!("{stem}.sql");
    if same(&file) {
        return Ok((file, version));
    }
    let name = split_file_name(&file).map_or(stem, |(_, name)| name);
    let file = format!("{said}_{name}.sql");
    if same(&file) {
        return Ok((file, version));
    }
    let message = format!("{file} would be read as another version than {said}: rename {stem}.py to {said}_ and words");
    Err(Trouble::new(*at, message))
}

fn bodies(way: &Way, troubles: &mut Vec<Trouble>) -> Vec<Body> {
    let mut bodies = Vec::with_capacity(way.sql.len());
    for literal in &way.sql {
        match body(literal) {
            Ok(body) => bodies.push(body),
            Err(found) => troubles.extend(found),
        }
    }
    bodies
}

/// Whether the file runs outside of a transaction: if what can't run in one stands alone in its way, or with its like.
fn transactions(ways: &[&[Body]], troubles: &mut Vec<Trouble>) -> bool {
    let mut alone = false;
    for way in ways {
        let first_alone = way.iter().find_map(|body| body.alone.first());
        let together = way.iter().find_map(|body| body.together.first());
        alone |= first_alone.is_some();
        if let (Some(at), Some(_)) = (first_alone, together) {
            let message = "this can't run inside a transaction, and others beside it can, which belong into one: move it \
                           into a migration of its own";
            troubles.push(Trouble::new(*at, message));
        }
    }
    for way in ways.iter().filter(|_| alone) {
        let mut together = way.iter().flat_map(|body| &body.together);
        if let (Some(_), Some(second)) = (together.next(), together.next())
            && way.iter().all(|body| body.alone.is_empty())
        {
            let message = "this and what stands before it belong into a transaction, and the other way of this migration \
                           can't run inside one: move them into a migration of their own";
            troubles.push(Trouble::new(*second, message));
        }
    }
    alone
}

fn header(stem: &str, file: &str, lifted: &Lifted) -> String {
    let name = split_file_name(file).map_or(stem, |(_, name)| name);
    let title = lifted.message.as_deref().map(one_line).filter(|message| !message.is_empty());
    let title = title.unwrap_or_else(|| titled(name));
    let mut text = String::new();
    if !MARKERS.contains(&title.to_ascii_lowercase().as_str()) {
        let _ = writeln!(text, "-- migration: {title}");
    }
    let description = lifted.description.as_deref().map(one_line).unwrap_or_default();
    if !is_said(&description, &[title.as_str(), name]) {
        let _ = writeln!(text, "-- description: {description}");
    }
    if !lifted.depends.is_empty() {
        let depends: Vec<&str> = lifted.depends.iter().map(|(version, _)| version.as_str()).collect();
        let _ = writeln!(text, "-- depends: {}", depends.join(", "));
    }
    text
}

/// Whether a description says no more than what is said already.
fn is_said(description: &str, said: &[&str]) -> bool {
    let letters = |text: &str| {
        text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>()
    };
    let description = letters(description);
    // As herogold writes it, from the file's name.
    let description = description.strip_prefix("migrationfor").unwrap_or(&description);
    description.is_empty() || said.iter().any(|said| letters(said) == description)
}

fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name as a title has it.
fn titled(name: &str) -> String {
    let words = one_line(&name.replace('_', " "));
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn sections(bodies: &[Body], text: &mut String, lines: &mut Vec<(u32, usize)>) {
    for (at, body) in bodies.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        let before = text.bytes().filter(|byte| *byte == b'\n').count();
        lines.push((u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1), body.at));
        text.push_str(&body.text);
    }
}
