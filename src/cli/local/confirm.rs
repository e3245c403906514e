//! Asking before something is changed that can't be brought back.

use super::{args::ConfirmArgs, error::LocalError, project::Project};
use crate::cli::ask;

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
    if !ask::can_ask() {
        return Err(LocalError::NotConfirmed(format!(
            "this would {what}{place}, and there is no terminal to ask on: add --yes. Nothing was done"
        )));
    }
    // What can't be read is no yes.
    if ask::ask(&format!("This will {what}{place}. Go on?")).unwrap_or(false) {
        return Ok(());
    }
    Err(LocalError::NotConfirmed("nothing was done".to_owned()))
}
