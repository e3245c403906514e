//! `kubectl dunlin`: verbs for MigrationSets in a cluster, one file a verb.
//!
//! They read what the operator has written and write what a person decides, and do nothing that `kubectl get`, `annotate`
//! and `patch` couldn't; no verb touches a database or reads a Secret.

mod access;
mod approve;
pub mod args;
mod check;
mod completion;
mod confirm;
mod error;
mod follow;
mod history;
mod logs;
pub mod output;
mod plan;
mod reconcile;
mod redact;
mod report;
mod resolve;
mod rights;
mod rollback;
mod standing;
mod status;
mod suspend;
mod version;
mod wait;

use args::{AccessArgs, ClusterCli, ClusterCommand};
pub use error::ClusterError;

use super::{CliError, color, exit::Exit, talk};
use crate::telemetry::Logger;
use access::Cluster;

/// Runs a verb, until it ends or Ctrl-C ends it.
pub(super) fn run(cli: ClusterCli) -> Result<Exit, CliError> {
    let ClusterCli { command, access, log } = cli;
    let format = log.format();
    talk::init(format);
    color::init(log.color);
    let is_colored = color::is_on(color::Stream::Stderr);
    crate::telemetry::init(Logger::Command, log.log_level.as_deref(), format, is_colored)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = dispatch(&command, &access) => ended,
            Ok(()) = tokio::signal::ctrl_c() => {
                talk::say("note", "\nkubectl dunlin: stopped; what the cluster was already asked for stands");
                Ok(Exit::Stopped)
            }
        }
    });
    // A question that nobody answers holds a thread, which isn't waited for.
    runtime.shutdown_background();
    ended
}

async fn dispatch(command: &ClusterCommand, access: &AccessArgs) -> Result<Exit, CliError> {
    if let ClusterCommand::Version(args) = command {
        return version::run(access, args).await.map(|()| Exit::Done);
    }
    if let ClusterCommand::Completion(_) = command {
        return completion::script().map(|()| Exit::Done);
    }
    if let ClusterCommand::Complete(args) = command {
        return completion::complete(&args.words).await.map(|()| Exit::Done);
    }
    let cluster = Cluster::access(access).await?;
    match command {
        ClusterCommand::Status(args) => status::run(&cluster, args).await?,
        ClusterCommand::Plan(args) => plan::run(&cluster, args).await?,
        ClusterCommand::History(args) => history::run(&cluster, args).await?,
        ClusterCommand::Approve(args) => approve::run(&cluster, args).await?,
        ClusterCommand::Resolve(args) => resolve::run(&cluster, args).await?,
        ClusterCommand::Retry(args) => resolve::retry(&cluster, args).await?,
        ClusterCommand::Reconcile(args) => reconcile::run(&cluster, args).await?,
        ClusterCommand::Suspend(args) => suspend::suspend(&cluster, args).await?,
        ClusterCommand::Resume(args) => suspend::resume(&cluster, args).await?,
        ClusterCommand::Rollback(args) => rollback::run(&cluster, args).await?,
        ClusterCommand::Wait(args) => wait::run(&cluster, args).await?,
        ClusterCommand::Check(args) => return check::run(&cluster, args).await,
        ClusterCommand::Report(args) => report::run(&cluster, args).await?,
        ClusterCommand::Logs(args) => logs::run(&cluster, args).await?,
        ClusterCommand::Version(_) | ClusterCommand::Completion(_) | ClusterCommand::Complete(_) => {}
    }
    Ok(Exit::Done)
}
