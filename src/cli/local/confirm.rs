//! Asking before something is changed that can't be brought back.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::{args::ConfirmArgs, error::LocalError, project::Project};

/// Why somebody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// In protected environments alone.
    WhereProtected,
    /// Everywhere: it undoes everything.
    Always,
}

/// Asks, unless it needn't be asked or was answered beforehand.
///
/// # Errors
/// Nobody is there to be asked, or says anything but yes.
pub fn confirm(project: &Project, args: ConfirmArgs, ask: Ask, what: &str) -> Result<(), LocalError> {
    let env = &project.settings.env;
    if args.yes || (ask == Ask::WhereProtected && !project.settings.protected) {
        return Ok(());
    }
    let place = if project.settings.protected { format!(" in {env}, which is protected") } else { String::new() };
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(LocalError::NotConfirmed(format!(
            "this would {what}{place}, and there is no terminal to ask on: add --yes. Nothing was done"
        )));
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "This will {what}{place}. Go on? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    // What can't be read is no yes.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(LocalError::NotConfirmed("nothing was done".to_owned()))
}
