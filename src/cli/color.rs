//! Whether a stream is coloured, and which colour means what. JSON never is.

use std::{
    io::{IsTerminal, stderr, stdout},
    sync::OnceLock,
};

use anstyle::{AnsiColor, Style};

use crate::core::outcome::{Kind, Reason};

/// What was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set; `CLICOLOR_FORCE` colours elsewhere, too.
    #[default]
    Auto,
    /// Wherever it goes.
    Always,
    /// Nowhere.
    Never,
}

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Done, or as it should be.
    Good,
    /// Something to look at, or to wait for.
    Caution,
    /// It went wrong.
    Bad,
}

/// Where something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Which streams are coloured; once it is set up, for good.
static COLORED: OnceLock<[bool; 2]> = OnceLock::new();

/// What of the environment counts.
#[derive(Debug, Clone, Copy, Default)]
struct Environment {
    no_color: bool,
    force: bool,
    dumb: bool,
}

/// Sets up which streams are coloured.
pub(super) fn init(choice: ColorChoice) {
    let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let environment = Environment {
        no_color: said("NO_COLOR").is_some(),
        force: said("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
        dumb: is_dumb(),
    };
    let terminals = [stdout().is_terminal(), stderr().is_terminal()];
    // Whoever was first has said it for the whole process.
    let _ = COLORED.set(terminals.map(|is_terminal| is_colored(choice, environment, is_terminal)));
}

/// Whether the terminal understands nothing but text.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// By <https://no-color.org> and <https://bixense.com/clicolors>; the flag wins over both.
fn is_colored(choice: ColorChoice, environment: Environment, is_terminal: bool) -> bool {
    let Environment { no_color, force, dumb } = environment;
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => !no_color && (force || (is_terminal && !dumb)),
    }
}

/// Whether a stream is coloured.
pub(super) fn is_on(stream: Stream) -> bool {
    let [stdout, stderr] = COLORED.get().copied().unwrap_or_default();
    match stream {
        Stream::Stdout => stdout,
        Stream::Stderr => stderr,
    }
}

/// Colours a text, where its stream is.
pub(super) fn paint(stream: Stream, tone: Option<Tone>, text: &str) -> String {
    match tone {
        Some(tone) if is_on(stream) && !text.is_empty() => {
            let style = tone.style();
            format!("{style}{text}{style:#}")
        }
        _ => text.to_owned(),
    }
}

impl Tone {
    fn style(self) -> Style {
        let color = match self {
            Self::Good => AnsiColor::Green,
            Self::Caution => AnsiColor::Yellow,
            Self::Bad => AnsiColor::Red,
        };
        color.on_default()
    }

    /// Of an event, by its name.
    pub fn of_event(kind: &str) -> Option<Self> {
        match kind {
            "error" => Some(Self::Bad),
            "waiting" | "stopping" | "stopped" | "left" | "passwordSeen" | "otherWayDown" | "unchecked" => {
                Some(Self::Caution)
            }
            "applied" | "rolledBack" | "stamped" | "imported" | "resolved" | "rehearsed" | "holds" | "nothingToDo" => {
                Some(Self::Good)
            }
            _ => None,
        }
    }

    /// Of a cell of a table, by its column.
    pub fn of_cell(column: &str, cell: &str) -> Option<Self> {
        if !["STATE", "OUTCOME", "READY", "STATUS", "OK", "SUSPENDED"].contains(&column) {
            return None;
        }
        match cell {
            "applied" | "stamped" | "succeeded" | "True" => Some(Self::Good),
            "pending" | "rolled-back" | "running" | "retrying" | "Unknown" => Some(Self::Caution),
            "failed" | "interrupted" | "changed" | "missing" | "False" => Some(Self::Bad),
            _ => Reason::ALL.iter().find(|reason| reason.to_string() == cell).map(|reason| Self::of_reason(*reason)),
        }
    }

    fn of_reason(reason: Reason) -> Self {
        match reason.kind() {
            Kind::Ready => Self::Good,
            Kind::Reconciling | Kind::Suspended => Self::Caution,
            Kind::Stalled => Self::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_which_wins_over_the_terminal() {
        let none = Environment::default();
        let no_color = Environment { no_color: true, ..none };
        let force = Environment { force: true, ..none };
        let dumb = Environment { dumb: true, ..none };
        for (choice, environment, is_terminal, expected) in [
            (ColorChoice::Auto, none, true, true),
            (ColorChoice::Auto, none, false, false),
            (ColorChoice::Auto, dumb, true, false),
            (ColorChoice::Auto, no_color, true, false),
            (ColorChoice::Auto, force, false, true),
            (ColorChoice::Auto, Environment { no_color: true, ..force }, true, false),
            (ColorChoice::Always, no_color, false, true),
            (ColorChoice::Never, force, true, false),
        ] {
            let found = is_colored(choice, environment, is_terminal);
            assert_eq!(found, expected, "{choice:?} {environment:?} {is_terminal}");
        }
    }

    #[test]
    fn a_cell_has_the_colour_of_what_it_says() {
        for (column, cell, expected) in [
            ("STATE", "applied", Some(Tone::Good)),
            ("STATE", "missing", Some(Tone::Bad)),
            ("STATUS", "UpToDate", Some(Tone::Good)),
            ("STATUS", "MigrationFailed", Some(Tone::Bad)),
            ("STATUS", "ApprovalRequired", Some(Tone::Caution)),
            ("NAME", "applied", None),
            ("STATUS", "", None),
        ] {
            assert_eq!(Tone::of_cell(column, cell), expected, "{column} {cell}");
        }
    }
}
