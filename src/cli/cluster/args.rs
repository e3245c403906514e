//! The command line of `kubectl dunlin`: verbs for MigrationSets in a cluster, with kubectl's flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::super::{
    args::{LogArgs, VersionArgs},
    decision::Decision,
};
use super::output::{DocumentFormat, ListFormat};
use crate::api::v1alpha1::parse_duration;
use crate::core::{bundle::Digest, desired::Target};

/// MigrationSets in a cluster: how they stand, and what a person decides about them.
#[derive(Debug, Parser)]
#[command(version, propagate_version = false, disable_help_subcommand = true)]
pub struct ClusterCli {
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,

    /// Which cluster and namespace.
    #[command(flatten)]
    pub access: AccessArgs,

    /// Settings of the log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show how MigrationSets stand, as `kubectl get migrationsets` does.
    Status(StatusArgs),
    /// Show what is to run next.
    Plan(ReadArgs),
    /// Show the last 10 migrations that were applied.
    History(ReadArgs),
    /// Approve the plan that waits, exactly the one that is shown.
    Approve(ApproveArgs),
    /// Decide about a run that failed, was cut off or drifted.
    Resolve(ResolveArgs),
    /// Run the failed migration again: `resolve` of the run that failed, as retry.
    Retry(NameArgs),
    /// Have the operator look again now, and wait until it has.
    Reconcile(ReconcileArgs),
    /// Have the operator keep its hands off: spec.suspend true. A statement under way runs to its end.
    Suspend(NameArgs),
    /// Have the operator go on: spec.suspend false.
    Resume(NameArgs),
    /// Set spec.target to an earlier state, which rolls back what came after it.
    Rollback(RollbackArgs),
    /// Wait until a MigrationSet is Ready for the spec that it has; a set that is Stalled ends it at once.
    Wait(WaitArgs),
    /// Check that the cluster knows MigrationSets, that you may use these verbs, and that databases are reached.
    Check(CheckArgs),
    /// Print all that is known of a MigrationSet as one YAML document, without secrets and without SQL.
    Report(NameArgs),
    /// Print the operator's log lines about a MigrationSet, or about all of the namespace.
    Logs(LogsArgs),
    /// Print kubectl_complete-dunlin, by which kubectl completes command lines of these verbs.
    Completion(CompletionArgs),
    /// Print what may stand in the place of the last word.
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
    /// Print the versions of this program, of the API that it speaks, and of the operators in the cluster.
    Version(ClusterVersionArgs),
}

/// Which cluster and namespace.
#[derive(Debug, Args)]
pub struct AccessArgs {
    /// The namespace. Without it, that of the kubeconfig's context.
    #[arg(long, short = 'n', global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// The kubeconfig's context to use. Without it, its current one.
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,

    /// The kubeconfig to use. Without it, those that KUBECONFIG names, or `~/.kube/config`, or the pod's account.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Which MigrationSet.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The MigrationSet's name, alone or as `migrationset/NAME`.
    #[arg(value_parser = set_name)]
    pub name: String,
}

/// Settings of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The MigrationSet's name. Without it, all of the namespace.
    #[arg(value_parser = set_name, conflicts_with = "all_namespaces")]
    pub name: Option<String>,

    /// All namespaces.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,

    /// How to print. Without it, a table.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum)]
    pub output: Option<ListFormat>,

    /// Go on, and print each change, until Ctrl-C.
    #[arg(long, short = 'w')]
    pub watch: bool,
}

/// Settings of what shows a part of one status.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// Which one.
    #[command(flatten)]
    pub set: NameArgs,

    /// How to print. Without it, a table.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum)]
    pub output: Option<DocumentFormat>,
}

/// Settings of `approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Which one.
    #[command(flatten)]
    pub set: NameArgs,

    /// The digest of the plan that is meant, `sha256:…`: refused if another one waits. With it, or with --yes, nothing
    /// is asked; on a terminal, without either, the plan is shown and you are.
    #[arg(long, value_name = "DIGEST")]
    pub plan: Option<Digest>,

    /// Don't ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Settings of `resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// Which one.
    #[command(flatten)]
    pub set: NameArgs,

    /// The number of the run, from status.failure, status.drift or the message.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub run: i64,

    /// What was decided.
    #[arg(long = "as", value_name = "DECISION", value_enum)]
    pub decision: Decision,
}

/// Settings of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Which one.
    #[command(flatten)]
    pub set: NameArgs,

    /// Ask for the look, and don't wait for it.
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,

    /// How long to wait, such as 90s or 10m. A migration under way runs to its end first.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// Settings of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Which one.
    #[command(flatten)]
    pub set: NameArgs,

    /// The state to be in: a version, which stays applied; `none`; or `batch:N`, which undoes what plans after the Nth
    /// have applied.
    #[arg(long, value_name = "VERSION|none|batch:N", value_parser = earlier_target)]
    pub to: String,

    /// Don't ask. Needed where there is no terminal to ask on.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Settings of `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Which one.
    #[command(flatten)]
    pub set: NameArgs,

    /// What to wait for.
    #[arg(long = "for", value_name = "STATE", value_enum, default_value_t)]
    pub state: Awaited,

    /// The digest of the content that is meant, `sha256:…`: Ready counts with this content alone, never with
    /// yesterday's.
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<Digest>,

    /// How long to wait, such as 90s or 10m; 0s looks once.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Awaited {
    /// Ready is True for the spec that the set has.
    #[default]
    Ready,
}

/// Settings of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// All namespaces.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,

    /// How to print. Without it, tables.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum)]
    pub output: Option<DocumentFormat>,
}

/// Settings of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The MigrationSet's name, alone or as `migrationset/NAME`. Without it, all of the namespace.
    #[arg(value_parser = set_name)]
    pub name: Option<String>,

    /// Go on, and print lines as they are written, until Ctrl-C.
    #[arg(long, short = 'f')]
    pub follow: bool,

    /// How many of the last lines to begin with. Without it, all that there are.
    #[arg(long, value_name = "COUNT")]
    pub tail: Option<usize>,

    /// How far back to look, such as 90s or 2h. Without it, as far as the log goes.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub since: Option<Duration>,

    /// The namespace in which the operator runs. Without it, it is looked for in all.
    #[arg(long, value_name = "NAMESPACE")]
    pub operator_namespace: Option<String>,
}

/// Settings of `version`.
#[derive(Debug, Args)]
pub struct ClusterVersionArgs {
    /// This program's alone; the cluster isn't asked.
    #[arg(long)]
    pub client: bool,

    /// The namespace in which the operator runs. Without it, it is looked for in all.
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "client")]
    pub operator_namespace: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub version: VersionArgs,
}

/// Settings of `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// For whom.
    #[arg(value_name = "FOR", value_enum)]
    pub completed: Completed,
}

/// Who completes command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Completed {
    /// kubectl, in whatever shell: put it into a folder of PATH as kubectl_complete-dunlin, and make it executable.
    Kubectl,
}

/// Settings of `__complete`.
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// The words behind `kubectl dunlin`, the last of them as far as it is typed.
    #[arg(last = true)]
    pub words: Vec<String>,
}

/// Reads a name as a person writes it, or as kubectl prints it (`migrationset.dunlin.dev/shop`).
fn set_name(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        None => text,
        Some((
            "migrationset" | "migrationsets" | "mset" | "migrationset.dunlin.dev" | "migrationsets.dunlin.dev",
            name,
        )) => name,
        Some((kind, _)) => return Err(format!("{kind:?} is no MigrationSet: write its name, or migrationset/NAME")),
    };
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    let is_name = is_name && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_name {
        Ok(name.to_owned())
    } else {
        Err(format!("{name:?} is no name: small letters, digits, - and . make one"))
    }
}

fn earlier_target(text: &str) -> Result<String, String> {
    match Target::parse(text) {
        Ok(Target::Latest) => {
            Err("latest is no way back: set spec.target in the manifest, or remove it there".to_owned())
        }
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("{text:?} is no state: write a version such as 003, none, or batch: and a number")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        ClusterCli::command().debug_assert();
    }

    #[test]
    fn a_name_is_read_as_it_is_typed_and_as_it_is_printed() {
        for text in ["shop", "migrationset/shop", "mset/shop", "migrationset.dunlin.dev/shop"] {
            assert_eq!(set_name(text).as_deref(), Ok("shop"), "{text}");
        }
        for text in ["", "pod/shop", "a b", "../x", "mset/", "Shop", "-n", "mset/a/b", "."] {
            assert!(set_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_way_back_leads_to_a_version_to_a_batch_or_to_nothing() {
        for text in ["003", "003_add_index", "20260215_01", "none", "batch:0", "batch:12"] {
            assert_eq!(earlier_target(text).as_deref(), Ok(text));
        }
        for text in ["", "latest", "batch:", "batch:-1", "users", "003_"] {
            assert!(earlier_target(text).is_err(), "{text:?}");
        }
    }
}
