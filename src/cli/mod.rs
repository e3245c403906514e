//! The command line: one file a command, a thin shell over the same calls that the operator makes.
//!
//! It decides nothing that the core could decide, and turns every outcome into an exit code in [`exit`].

pub mod args;
mod ask;
pub mod cluster;
pub mod color;
mod completion;
mod crd;
pub mod decision;
mod docs;
pub mod exit;
mod licenses;
mod live;
pub mod local;
mod operator;
pub mod output;
pub mod talk;
mod version;

use std::ffi::OsString;

use args::{Cli, Command, Later, Program};
use exit::Exit;
use local::{
    apply, baseline, block_on, config, convert, files, history, import, lint, pack, plan, resolve, rollback, seed,
    show, sql, squash, status, trial, verify, wait,
};

use crate::telemetry::Logger;

/// Why a command didn't do what it was asked to. Each says what to try next.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A flag about a lease, where there is none.
    #[error("{flag} is of no use without --leader-elect: add that, or leave {flag} out")]
    WithoutElection {
        /// The flag.
        flag: &'static str,
    },
    /// The log couldn't be set up.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    /// stdout couldn't be written.
    #[error("can't write to stdout: check where it leads to")]
    Output(#[source] std::io::Error),
    /// What was to be printed couldn't be put into words.
    #[error("can't print the answer, which is a defect of Dunlin: please report it")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The runtime couldn't be started.
    #[error("can't start the program's threads: check the limits of this process")]
    Runtime(#[source] std::io::Error),
    /// A command on a folder and a database.
    #[error(transparent)]
    Local(Box<local::error::LocalError>),
    /// A verb of `kubectl dunlin` didn't do what it was asked to.
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    /// The operator ended with an error.
    #[error(transparent)]
    Operator(#[from] crate::controller::Error),
}

impl CliError {
    fn exit(&self) -> Exit {
        match self {
            Self::WithoutElection { .. } | Self::Telemetry(_) => Exit::Usage,
            Self::Operator(crate::controller::Error::Listen { .. }) => Exit::Input,
            // Somebody else is at work, or may be.
            Self::Operator(crate::controller::Error::LeaseLost { .. }) => Exit::Busy,
            Self::Local(error) => error.exit(),
            Self::Cluster(error) => error.exit(),
            Self::Output(_) | Self::Encode(_) | Self::Runtime(_) | Self::Operator(_) => Exit::Error,
        }
    }
}

/// Runs a command line, and tells errors on stderr.
#[must_use]
pub fn run(argv: impl IntoIterator<Item = OsString>) -> Exit {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let program = Program::named(argv.first().map_or_else(|| "dunlin".as_ref(), OsString::as_os_str));
    let ended = match program {
        Program::Dunlin => program.parse(argv).map(dispatch),
        Program::KubectlPlugin => program.parse(argv).map(cluster::run),
    };
    match ended {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            tell(program, &error);
            error.exit()
        }
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Whoever closed stdout or stderr doesn't want to read it.
            let _ = error.print();
            exit
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    let Cli { command, log } = cli;
    let format = log.format();
    talk::init(format);
    color::init(log.color);
    let logger = if matches!(command, Command::Operator(_)) { Logger::Operator } else { Logger::Command };
    crate::telemetry::init(logger, log.log_level.as_deref(), format, color::is_on(color::Stream::Stderr))?;
    let done = |()| Exit::Done;
    match command {
        Command::Init(Later(args)) => Ok(files::init(&args)?),
        Command::Create(Later(args)) => files::create(&args),
        Command::Apply(Later(args)) => block_on(apply::apply(args)),
        Command::Up(Later(args)) => block_on(apply::up(args)),
        Command::Down(Later(args)) => block_on(rollback::down(args)),
        Command::Rollback(Later(args)) => block_on(rollback::rollback(args)),
        Command::Reset(Later(args)) => block_on(rollback::reset(args)),
        Command::Status(Later(args)) => block_on(status::status(args)),
        Command::List(Later(args)) => block_on(status::list(args)),
        Command::Current(Later(args)) => block_on(status::current(args)),
        Command::Plan(Later(args)) => block_on(plan::plan(args)),
        Command::Verify(Later(args)) => block_on(verify::verify(args)),
        Command::Wait(Later(args)) => block_on(wait::wait(args)),
        Command::Heads(Later(args)) => files::heads(&args),
        Command::Merge(Later(args)) => files::merge(&args),
        Command::Resolve(Later(args)) => block_on(resolve::resolve(args)),
        Command::Baseline(Later(args)) => block_on(baseline::baseline(args)),
        Command::Import(Later(args)) => block_on(import::import(args)),
        Command::Seed(Later(args)) => seed::seed(args),
        Command::History(Later(args)) => block_on(history::history(args)),
        Command::Sql(Later(args)) => sql::sql(&args),
        Command::Config(Later(args)) => config::config(&args),
        Command::Squash(Later(args)) => block_on(squash::squash(args)),
        Command::Convert(Later(args)) => convert::convert(&args),
        Command::Show(Later(args)) => show::show(&args),
        Command::Lint(Later(args)) => lint::lint(&args),
        Command::Check(Later(args)) => block_on(lint::check(args)),
        Command::Test(Later(args)) => block_on(trial::test(args)),
        Command::Pack(Later(args)) => pack::pack(&args),
        Command::Operator(Later(args)) => operator::run(args).map(done),
        Command::Crd => crd::run().map(done),
        Command::Licenses => licenses::run().map(done),
        Command::Docs => docs::run().map(done),
        Command::Completion(Later(args)) => completion::run(&args).map(done),
        Command::Version(Later(args)) => version::run(&args).map(done),
    }
}

/// Tells an error on stderr: the last event of a command that didn't do what it was asked to.
fn tell(program: Program, error: &CliError) {
    let mut words = with_causes(error);
    let is_kubectls = matches!(error, CliError::Cluster(error) if error.is_kubectls());
    if !talk::is_json() && !is_kubectls {
        words = format!("{}: {words}", program.typed());
    }
    match error {
        CliError::Local(error) => error.event(words).say(),
        _ => talk::say("error", words),
    }
}

/// The error and what caused it, each thing said once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
