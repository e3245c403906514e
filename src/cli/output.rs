//! What goes to stdout, and nothing else does: talk and errors go to stderr.

use std::io::{ErrorKind, Write};

use super::CliError;

/// How a reading command prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document.
    Json,
}

/// Writes text to stdout. A reader that has gone away (`| head`) is no error: it has what it wanted.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    print_some(text).map(|_| ())
}

/// The same, and says whether the reader is still there for more.
pub(super) fn print_some(text: &str) -> Result<bool, CliError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Output(error)),
    }
}

/// Writes one JSON document to stdout.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let mut json = serde_json::to_string_pretty(value).map_err(|error| CliError::Encode(error.into()))?;
    json.push('\n');
    print(&json)
}

/// A table as kubectl prints them: columns that fit, three blanks between them, none at a line's end.
pub(super) fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}
