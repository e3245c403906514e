//! `dunlin completion`: a script with which a shell completes command lines, made of the command line itself.

use clap_complete::Shell;

use super::{
    CliError,
    args::{CompletedShell, CompletionArgs, Program},
    output,
};

/// Prints the script for the name that the program was called by.
pub(super) fn run(program: Program, args: &CompletionArgs) -> Result<(), CliError> {
    let shell = match args.shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program.command(), program.file(), &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
