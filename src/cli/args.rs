//! The command line, and the names that it answers to.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use clap::builder::Resettable;
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use super::color::ColorChoice;
use super::local::{
    apply, baseline, config, convert, files, history, import, lint, pack, plan, resolve, rollback, seed, show, sql,
    squash, status, trial, wait,
};
use super::output::OutputFormat;
use crate::api::v1alpha1::parse_duration;
use crate::core::hosts::AllowedHost;
use crate::serve::Address;
use crate::telemetry::LogFormat;

/// The name that the program was called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `dunlin`.
    Dunlin,
    /// `kubectl dunlin`: kubectl runs `kubectl-dunlin`, which is a link to the one binary.
    KubectlPlugin,
}

/// PostgreSQL migrations, declared on Kubernetes: exactly once, or a person is asked.
#[derive(Debug, Parser)]
#[command(version, propagate_version = false, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Settings of the log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin a project: a folder for migrations, and dunlin.yaml.
    Init(Later<files::InitArgs>),
    /// Write a new migration for you to fill in, and print its path.
    Create(Later<files::CreateArgs>),
    /// Apply what is pending.
    Apply(Later<apply::ApplyArgs>),
    /// Apply the next migration.
    Up(Later<apply::UpArgs>),
    /// Roll the last migration back.
    Down(Later<rollback::DownArgs>),
    /// Roll back the last migrations, the last runs, or to a version; the plan is shown first.
    Rollback(Later<rollback::RollbackArgs>),
    /// Roll everything back.
    Reset(Later<rollback::DownArgs>),
    /// Say how many migrations are applied and pending, and what holds the next run up.
    Status(Later<status::StatusArgs>),
    /// List every migration that the files or the database know.
    List(Later<status::ListArgs>),
    /// Print the highest version that is applied.
    Current(Later<status::ReadArgs>),
    /// Print the SQL that would run, byte for byte, and change nothing.
    Plan(Later<plan::PlanArgs>),
    /// Compare what was applied with the files; 1 where they differ.
    Verify(Later<status::ReadArgs>),
    /// Wait until the database holds what the folder says: for an init container, while somebody else applies it.
    Wait(Later<wait::WaitArgs>),
    /// Print the ends of the branches that the files' `-- depends:` make.
    Heads(Later<files::HeadsArgs>),
    /// Write a migration that joins all heads.
    Merge(Later<files::MergeArgs>),
    /// Decide about a migration that failed, was cut off or was edited.
    Resolve(Later<resolve::ResolveArgs>),
    /// Record everything up to a version as applied, without running it: for a database that has it already, and no history.
    #[command(visible_alias = "stamp")]
    Baseline(Later<baseline::BaselineArgs>),
    /// Record what another tool has applied, by that tool's own history, and run nothing.
    Import(Later<import::ImportArgs>),
    /// Load seeds that are due, or write and list them: SQL and rows, each recorded by its checksum.
    Seed(Later<seed::SeedArgs>),
    /// List what was run: who did what, when, for how long, and how it ended; the newest last.
    History(Later<history::HistoryArgs>),
    /// Print the SQL of a range of files, byte for byte, without a database.
    Sql(Later<sql::SqlArgs>),
    /// Print the settings as they count, each with the place that it comes from.
    Config(Later<config::ConfigArgs>),
    /// Join a range of migrations, or what is pending, into one file that stands for them.
    Squash(Later<squash::SquashArgs>),
    /// Turn migrations in Python, as psqlmodel and herogold have them, into files of SQL.
    Convert(Later<convert::ConvertArgs>),
    /// Print what one migration says.
    Show(Later<show::ShowArgs>),
    /// Say what is wrong with the files, all of it, and what deserves a second look.
    Lint(Later<lint::LintArgs>),
    /// Check the files, and compare what was applied with them; 1 where they differ.
    Check(Later<lint::CheckArgs>),
    /// Try every migration up, down and up again, in a database that is made for it and dropped.
    Test(Later<trial::TestArgs>),
    /// Write the folder as ConfigMaps and a MigrationSet, for `kubectl apply --server-side -f -`.
    Pack(Later<pack::PackArgs>),
    /// Run the operator: watch MigrationSets and migrate their databases.
    Operator(Later<OperatorArgs>),
    /// Print the CustomResourceDefinition of the MigrationSet, for `kubectl apply --server-side -f -`.
    Crd,
    /// Print a script with which a shell completes command lines: `source <(dunlin completion bash)`.
    Completion(Later<CompletionArgs>),
    /// Print the licence of this program, and those of what others have written that is built into it.
    Licenses,
    /// Print docs/cli.md: what each command says of itself.
    #[command(hide = true)]
    Docs,
    /// Print the version of this program and of the API that it speaks.
    Version(Later<VersionArgs>),
}

/// Settings of a command, which are set up when that command is the one that was called: each run calls one, and to set up
/// all would be a good part of a short one.
#[derive(Debug)]
pub struct Later<T>(pub T);

impl<T: Args> Args for Later<T> {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.defer(|command| {
            // What the command says of itself counts, and not what its settings do.
            let (about, long_about) = (command.get_about().cloned(), command.get_long_about().cloned());
            T::augment_args(command).about(Resettable::from(about)).long_about(Resettable::from(long_about))
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<T: FromArgMatches> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Settings of what is said on stderr, and of colours.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// What to log: error, warn, info, debug or trace, or directives such as `dunlin=debug,kube=warn`.
    /// `RUST_LOG` says the same; the flag wins. Without either, the operator logs info, and others what they have to tell.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// How to log: text for people, json for one object a line with times as in RFC 3339.
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// The same as --log-format json.
    #[arg(long, global = true, conflicts_with = "log_format")]
    pub json_log: bool,

    /// Whether to colour what is printed for people. Without it, as `NO_COLOR` and `CLICOLOR_FORCE` say, and on terminals.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: ColorChoice,
}

impl LogArgs {
    /// How to log, by whichever flag.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        if self.json_log { LogFormat::Json } else { self.log_format }
    }
}

/// Settings of the operator.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// Watch this namespace only; may be given several times. Without it, all namespaces.
    #[arg(long = "namespace", short = 'n', value_name = "NAMESPACE")]
    pub namespaces: Vec<String>,

    /// How long this process has from SIGTERM until it is killed: its pod's terminationGracePeriodSeconds. A transaction
    /// that is still under way 10s before that is cancelled and rolled back, and runs again under the next operator.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub grace_period: Duration,

    /// Whether to hold a lease while working, so that of several replicas one works and another follows when it ends.
    #[arg(
        long,
        value_name = "true|false",
        action = clap::ArgAction::Set,
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true
    )]
    pub leader_elect: bool,

    /// The name of the lease, with --leader-elect. Without it, dunlin-operator.
    #[arg(long, value_name = "NAME", value_parser = parse_object_name)]
    pub lease_name: Option<String>,

    /// The namespace of the lease, with --leader-elect. Without it, the pod's own, or that of the kubeconfig's context.
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_object_name)]
    pub lease_namespace: Option<String>,

    /// Let pods be scheduled whose scheduling gate `dunlin.dev/<set>` names a MigrationSet of their namespace, once it is
    /// Ready. It takes the right to list, watch and patch pods.
    #[arg(long)]
    pub pod_gates: bool,

    /// Connect to this host alone, for databases and for hooks of the kind http; may be given several times, or with commas. A
    /// host is a name, every name below one (`*.example.org`), an address, or a range of them (`10.0.0.0/8`), with a port
    /// (`db.example.org:5432`, `[fd00::/8]:5432`) or at any. A name that isn't listed is allowed where all of its addresses
    /// are. Without it, all hosts.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub allowed_hosts: Vec<AllowedHost>,

    /// Where to serve metrics, at /metrics: an address such as 0.0.0.0:8080, or :8080 for every address of the host. Port 0
    /// is one that is free, which the log names.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_addr: Option<Address>,

    /// Where to answer probes, at /healthz and /readyz: an address such as 0.0.0.0:8081, or :8081 for every address of
    /// the host. Port 0 is one that is free, which the log names.
    #[arg(long, value_name = "ADDRESS")]
    pub health_addr: Option<Address>,
}

/// Settings of `version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// Settings of `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: CompletedShell,
}

/// A shell that there is a script for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

/// A name as the API server takes it: of an object, or of a namespace, which it checks further.
fn parse_object_name(text: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.bytes().all(inside) && !part.starts_with('-') && !part.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(is_part) {
        return Ok(text.to_owned());
    }
    Err("a name of Kubernetes has lower case letters, digits, - and . alone, and at most 253 of them".to_owned())
}

impl Program {
    /// Tells from `argv[0]` which name the program was called by.
    #[must_use]
    pub fn named(argv0: &OsStr) -> Self {
        match Path::new(argv0).file_stem().and_then(OsStr::to_str) {
            Some("kubectl-dunlin") => Self::KubectlPlugin,
            _ => Self::Dunlin,
        }
    }

    /// What a person types to get here.
    #[must_use]
    pub fn typed(self) -> &'static str {
        match self {
            Self::Dunlin => "dunlin",
            Self::KubectlPlugin => "kubectl dunlin",
        }
    }

    /// Reads a command line, its first word included.
    ///
    /// # Errors
    /// clap's error, which prints itself; help that was asked for comes this way too.
    pub fn parse<P: Parser>(self, argv: impl IntoIterator<Item = std::ffi::OsString>) -> Result<P, clap::Error> {
        let mut command = P::command().name("dunlin").bin_name(self.typed()).display_name(self.typed());
        let mut matches = command.try_get_matches_from_mut(argv)?;
        P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn argv0_decides_the_name() {
        for (argv0, expected) in [
            ("dunlin", Program::Dunlin),
            ("/usr/local/bin/dunlin", Program::Dunlin),
            ("kubectl-dunlin", Program::KubectlPlugin),
            ("/home/me/.krew/bin/kubectl-dunlin", Program::KubectlPlugin),
            ("kubectl-dunlin.exe", Program::KubectlPlugin),
            ("", Program::Dunlin),
        ] {
            assert_eq!(Program::named(OsStr::new(argv0)), expected, "{argv0:?}");
        }
    }

    #[test]
    fn an_allowed_host_that_means_nothing_is_named_with_what_is_wrong() {
        let read = |flags: &[&str]| {
            let line = ["dunlin", "operator"].iter().chain(flags).map(Into::into);
            Program::Dunlin.parse::<Cli>(line).map(|cli| {
                let Command::Operator(Later(operator)) = cli.command else { panic!("another command") };
                operator.allowed_hosts.iter().map(ToString::to_string).collect::<Vec<_>>()
            })
        };
        assert_eq!(read(&[]).expect("all are allowed"), [""; 0]);
        let several = read(&["--allowed-hosts=db.example.org:5432, 10.0.0.0/8", "--allowed-hosts", "[fd00::/8]:5432"]);
        assert_eq!(several.expect("they are hosts"), ["db.example.org:5432", "10.0.0.0/8", "[fd00::/8]:5432"]);
        for (flag, pattern, why) in [
            ("--allowed-hosts=db.example.org,10.0.0.1/8", "'10.0.0.1/8'", "an address of the range 10.0.0.0/8"),
            ("--allowed-hosts=https://example.org", "'https://example.org'", "it is no host"),
            ("--allowed-hosts=", "--allowed-hosts", "it is empty"),
        ] {
            let error = read(&[flag]).expect_err(flag);
            let said = error.to_string();
            assert_eq!(error.exit_code(), 2, "{said}");
            assert!(said.contains(pattern) && said.contains(why), "{said}");
        }
    }

    #[test]
    fn leader_election_is_off_unless_it_is_asked_for() {
        for (flags, expected) in [
            (&["dunlin", "operator"][..], false),
            (&["dunlin", "operator", "--leader-elect=false"], false),
            (&["dunlin", "operator", "--leader-elect=true"], true),
            (&["dunlin", "operator", "--leader-elect"], true),
        ] {
            let cli: Cli = Program::Dunlin.parse(flags.iter().map(Into::into)).expect("it is a command line");
            let Command::Operator(Later(operator)) = cli.command else { panic!("another command") };
            assert_eq!(operator.leader_elect, expected, "{flags:?}");
        }
    }
}
