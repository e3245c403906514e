//! A section into statements, each with its place and its kind.
//!
//! Spans are in order and don't overlap; between them stand blanks, comments, semicolons, dropped psql lines and the
//! data of COPY.

use super::{
    Script, SessionEffect, Statement,
    classify::{StringsSetting, classify_with, standard_conforming_strings},
    position::{Counter, Location},
    scan::{Found, Next, scan},
    variables::masked,
};

/// Something that is wrong with a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line of the section, from 0.
    pub line: u32,
    /// Column in its line, from 1, in characters.
    pub column: u32,
    /// What is wrong and what to do.
    pub message: String,
}

/// More than that many are no help.
const MAX_PROBLEMS: usize = 50;

/// Splits a section by psql's rules, knowing nothing of transactions.
///
/// # Errors
/// What can't be split: something left open, psql commands, `$$` that was lost on the way.
pub fn split(text: &str) -> Result<Script, Vec<Problem>> {
    let mut script = Script::default();
    let mut places: Vec<(usize, String)> = Vec::new();
    let mut misleading: Option<(usize, String)> = None;
    let mut counter = Counter::new(text, 0);
    scan(text, |found| {
        match found {
            Found::LineComment(_) => {}
            Found::Statement { span, copy_data, backslashes } => {
                let Location { line, column } = counter.advance(span.start);
                let (kind, session) = classify_with(&masked(&text[span.clone()], backslashes), backslashes);
                script.standard_conforming_strings_off |= session == SessionEffect::Setting
                    && standard_conforming_strings(&text[span.clone()], backslashes) == Some(StringsSetting::Off);
                script.statements.push(Statement { span, line, column, copy_data, kind, session });
            }
            Found::Skipped(range) => script.skipped.push(range),
            Found::Problem { at, message, misleading: true } => {
                misleading.get_or_insert((at, message));
            }
            Found::Problem { at, message, misleading: false } => {
                if places.len() < MAX_PROBLEMS {
                    places.push((at, message));
                }
            }
        }
        Next::Continue
    });
    if let Some(at) = text.find('\0') {
        places.push((at, "a NUL byte: PostgreSQL can't be sent one; remove it".into()));
    }
    if let Some((at, message)) = misleading {
        // What stands behind it may be its consequence, and what it swallowed isn't known.
        places.retain(|(place, _)| *place < at);
        places.push((at, message));
    }
    if places.is_empty() {
        // Most sections hold one or two statements, and room for four is made with the first.
        script.statements.shrink_to_fit();
        return Ok(script);
    }
    places.sort_by_key(|(at, _)| *at);
    let mut counter = Counter::new(text, 0);
    Err(places
        .into_iter()
        .map(|(at, message)| {
            let Location { line, column } = counter.advance(at);
            Problem { line, column, message }
        })
        .collect())
}
