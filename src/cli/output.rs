//! What goes to stdout, and nothing else does: talk and errors go to stderr.

use std::io::{ErrorKind, Write as _};

use super::{
    CliError,
    color::{self, Stream, Tone},
};

/// kubectl's own measures of a table (`k8s.io/cli-runtime/pkg/printers/tabwriter.go`).
const NARROWEST: usize = 6;
const PADDING: usize = 3;

/// How a reading command prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document.
    Json,
    /// The same as YAML.
    Yaml,
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

/// One JSON document, a line end behind it.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, CliError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| CliError::Encode(error.into()))?;
    text.push('\n');
    Ok(text)
}

/// A document for programs: as JSON, unless YAML is asked for.
pub(super) fn document(format: OutputFormat, value: &impl serde::Serialize) -> Result<String, CliError> {
    match format {
        OutputFormat::Json | OutputFormat::Text => json(value),
        OutputFormat::Yaml => crate::yaml::to_string(value).map_err(|error| CliError::Encode(error.into())),
    }
}

/// Writes it to stdout.
pub(super) fn print_as(format: OutputFormat, value: &impl serde::Serialize) -> Result<(), CliError> {
    print(&document(format, value)?)
}

/// A table whose columns are as wide as what has stood in them so far.
pub(super) struct Table {
    header: Vec<&'static str>,
    widths: Vec<usize>,
}

impl Table {
    /// A table of these columns.
    pub fn new(header: Vec<&'static str>) -> Self {
        let widths = header.iter().map(|name| name.len()).collect();
        Self { header, widths }
    }

    /// The header and the rows.
    pub fn with_header(&mut self, rows: &[Vec<String>]) -> String {
        let header: Vec<String> = self.header.iter().map(|name| (*name).to_owned()).collect();
        let all: Vec<Vec<String>> = std::iter::once(header).chain(rows.iter().cloned()).collect();
        self.rows(&all)
    }

    /// The rows alone, below what was printed before.
    pub fn rows(&mut self, rows: &[Vec<String>]) -> String {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            for ((width, column), cell) in self.widths.iter().zip(&self.header).zip(row) {
                let padding = (width + PADDING).max(NARROWEST) - cell.chars().count();
                line.push_str(&color::paint(Stream::Stdout, Tone::of_cell(column, cell), cell));
                line.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A table that is printed at once.
pub(super) fn table(header: Vec<&'static str>, rows: &[Vec<String>]) -> String {
    Table::new(header).with_header(rows)
}

/// A word of what goes to stdout, coloured where that is.
pub(in crate::cli) fn toned(tone: Tone, text: &str) -> String {
    color::paint(Stream::Stdout, Some(tone), text)
}

/// The first line, as kubectl cuts it; nothing in it moves a terminal's cursor.
fn one_line(cell: &str) -> String {
    let line = cell.split(['\n', '\r', '\x0c']).next().unwrap_or_default();
    let shown: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if line.len() < cell.len() { shown + "..." } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut table = Table::new(vec!["NAME", "OK", "AGE"]);
        let text = table.with_header(&[row(&["shop", "True", "5s"]), row(&["a-longer-name", "", "2d"])]);
        assert_eq!(text, "NAME            OK     AGE\nshop            True   5s\na-longer-name          2d\n");
        assert_eq!(table.rows(&[row(&["x", "False", "3s"])]), "x               False   3s\n");
    }

    #[test]
    fn a_cell_is_one_line_and_moves_no_cursor() {
        assert_eq!(one_line("one\ntwo"), "one...");
        assert_eq!(one_line("\x1b[2Jone"), "\u{fffd}[2Jone");
        assert_eq!(one_line("日本"), "日本");
    }
}
