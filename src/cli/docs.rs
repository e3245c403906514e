//! `dunlin docs`: `docs/cli.md`, generated from what the commands say of themselves.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use super::{CliError, args::Cli, output};

/// Prints the page.
pub(super) fn run() -> Result<(), CliError> {
    output::print(&page())
}

fn page() -> String {
    let mut page = "# The commands of dunlin\n\nGenerated from the program (`make generate`). [By hand](command-line.md) goes through a day's work with them.\n"
        .to_owned();
    // The width of the terminal that prints it doesn't matter.
    let mut root = Cli::command().term_width(110).bin_name("dunlin");
    root.build();
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        section(command, &mut page);
    }
    page
}

fn section(command: &mut clap::Command, page: &mut String) {
    let help = command.render_long_help().to_string();
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = writeln!(page, "\n## {name}\n\n```text\n{}\n```", lines.join("\n").trim_end());
    for command in
        command.get_subcommands_mut().filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        section(command, page);
    }
}
