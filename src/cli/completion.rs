//! `dunlin completion`: a script with which a shell completes command lines, made of the command line itself.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{
    CliError,
    args::{Cli, CompletedShell, CompletionArgs},
    output,
};

/// Prints the script.
pub(super) fn run(args: &CompletionArgs) -> Result<(), CliError> {
    let shell = match args.shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command().name("dunlin"), "dunlin", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
