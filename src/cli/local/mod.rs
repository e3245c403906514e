//! The commands that work on a folder and a database: the same plan, engine and history as the operator's.

pub mod apply;
pub mod args;
pub mod baseline;
pub mod config;
mod confirm;
pub mod convert;
mod environment;
pub mod error;
pub mod files;
pub mod history;
mod hook_fields;
mod hooks;
pub mod import;
mod interpolate;
pub mod lint;
mod meter;
pub mod pack;
pub mod plan;
mod project;
mod rehearse;
pub mod resolve;
pub mod rollback;
mod run;
pub mod seed;
mod settings;
pub mod show;
mod signals;
pub mod sql;
pub mod squash;
pub mod status;
pub mod trial;
mod variables;
pub mod verify;
pub mod wait;

use super::{CliError, exit::Exit, talk};

/// Runs a command that talks to a database.
pub(super) fn block_on<E>(command: impl Future<Output = Result<Exit, E>>) -> Result<Exit, CliError>
where
    CliError: From<E>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    let ended = runtime.block_on(command);
    // Nothing of it is wanted any more, and a thread that still reads isn't waited for.
    runtime.shutdown_background();
    Ok(ended?)
}
