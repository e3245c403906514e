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
