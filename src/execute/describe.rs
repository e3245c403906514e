//! A refusal in words: file, line and column, the line itself with a caret, SQLSTATE, hint.

use std::fmt::Write as _;

use crate::{
    core::{history::RunError, job::Job, migration::Section, sql::position},
    database::{
        apply::{Part, Refusal},
        error::{ServerError, SqlError},
        history::rows::Wrong,
        seed::RowsRefusal,
    },
};

/// What the history and the status say of a refusal.
pub(super) fn wrong(job: &Job<'_>, refusal: &Refusal) -> Wrong {
    wrong_in(&job.file, &job.section, refusal)
}

/// The same of a section of any file.
pub(super) fn wrong_in(file: &str, section: &Section, refusal: &Refusal) -> Wrong {
    match &refusal.error {
        SqlError::Lost { message } => {
            Wrong { error: RunError { message: message.clone(), ..RunError::default() }, detail: None }
        }
        SqlError::Server(error) => {
            let (statement, position) = match refusal.part {
                Part::Statement(index) => (Some(index), refusal.position.or_else(|| start_of(section, index))),
                Part::Opening | Part::Deferred | Part::Closing => (None, refusal.position),
            };
            let place = position.map(|position| position::locate(&section.text, section.first_line, position));
            let mut message = match &place {
                Some(place) => format!("{file}:{}:{}: ", place.line, place.column),
                None => format!("{file}: "),
            };
            message.push_str(where_it_struck(refusal.part));
            message.push_str(&words(error));
            if let Some(position) = position {
                message.push('\n');
                message.push_str(&position::excerpt(&section.text, position));
            }
            message.push_str(&asides(error));
            Wrong {
                error: RunError {
                    message,
                    sqlstate: Some(error.sqlstate.clone()),
                    statement: statement.and_then(|index| u32::try_from(index + 1).ok()),
                    line: place.as_ref().map(|place| place.line),
                    column: place.as_ref().map(|place| place.column),
                },
                detail: error.detail.clone(),
            }
        }
    }
}

/// What is said of a row that a table doesn't take: of statements of ours, places in them say nothing.
pub(super) fn wrong_rows(file: &str, refusal: &RowsRefusal) -> Wrong {
    let RowsRefusal { place, part, error } = refusal;
    let mut at = file.to_owned();
    if let Some((line, table)) = place {
        let _ = write!(at, ":{line}: table {table}");
    }
    match error {
        SqlError::Lost { message } => {
            Wrong { error: RunError { message: message.clone(), ..RunError::default() }, detail: None }
        }
        SqlError::Server(error) => Wrong {
            error: RunError {
                message: format!("{at}: {}{}{}", where_it_struck(*part), words(error), asides(error)),
                sqlstate: Some(error.sqlstate.clone()),
                line: place.as_ref().map(|(line, _)| *line),
                ..RunError::default()
            },
            detail: error.detail.clone(),
        },
    }
}

/// Something that the server didn't say, on a statement.
pub(super) fn interrupted(job: &Job<'_>, index: usize, why: &str) -> Wrong {
    let section = &job.section;
    let position = start_of(section, index).unwrap_or_default();
    let place = position::locate(&section.text, section.first_line, position);
    Wrong {
        error: RunError {
            message: format!(
                "{}:{}:{}: statement {} of {} was cut off, and what it did can't be proven: {why}\n{}",
                job.file,
                place.line,
                place.column,
                index + 1,
                section.script.statements.len(),
                position::excerpt(&section.text, position)
            ),
            sqlstate: None,
            statement: u32::try_from(index + 1).ok(),
            line: Some(place.line),
            column: Some(place.column),
        },
        detail: None,
    }
}

fn start_of(section: &Section, index: usize) -> Option<usize> {
    let statement = section.script.statements.get(index)?;
    Some(section.text[..statement.span.start].chars().count())
}

fn where_it_struck(part: Part) -> &'static str {
    match part {
        Part::Statement(_) => "",
        Part::Opening => "before the first statement: ",
        Part::Deferred => "a constraint or trigger that was deferred to the end: ",
        Part::Closing => "after the last statement, while its history was written: ",
    }
}

fn words(error: &ServerError) -> String {
    let cause = match error.sqlstate.as_str() {
        "57014" => ". A time-out (policy.statementTimeout, or one of the file's own) or somebody's cancel ended it",
        _ => "",
    };
    format!("{} (SQLSTATE {}){cause}", error.message, error.sqlstate)
}

/// HINT, and the lines of CONTEXT that name a function. (Others may hold rows, as COPY's do.)
fn asides(error: &ServerError) -> String {
    let mut text = String::new();
    if let Some(hint) = &error.hint {
        text.push_str("\nHINT: ");
        text.push_str(hint);
    }
    for line in error.context.iter().flat_map(|context| context.lines()) {
        if line.starts_with("PL/pgSQL function") || line.starts_with("SQL function") {
            text.push_str("\nCONTEXT: ");
            text.push_str(line);
        }
    }
    text
}
