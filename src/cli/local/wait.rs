//! `dunlin wait`: until a database holds what is asked for, by looks at its history. Reads only.
//!
//! Many wait for one database at once, the init containers of a deployment for instance: a look takes a session for a
//! moment, holds no lock, and is followed by a pause that grows.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, timeout_at};

use super::{
    args::ProjectArgs,
    error::{LocalError, MigrationError, passes},
    project::Project,
    signals::Signals,
    talk,
};
use crate::{
    api::v1alpha1::parse_duration,
    cli::exit::Exit,
    core::{
        bundle::Digest,
        desired::{Desired, OnMissing, Target},
        history::{History, Recorded, State},
        migration::{MigrationDir, TransactionMode, Version},
        outcome::{Failure, Reason},
        pace::between_looks,
        plan,
        task::Subject,
    },
    source::{Content, dir},
};

/// Settings of `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Wait for this version alone, which takes no folder.
    #[arg(long, value_name = "VERSION", conflicts_with = "digest")]
    pub version: Option<String>,
    /// The content that is meant, `sha256:…`: until the folder holds it, as one from a ConfigMap does after a while, the
    /// folder doesn't count.
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<Digest>,
    /// How long to wait, such as 90s or 10m; 0s looks once.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Go on waiting where a migration has failed or was cut off, until somebody has mended that.
    #[arg(long)]
    pub ignore_failures: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// What is waited for.
enum Awaited {
    Version(Version, Option<String>),
    Folder(Box<Content>),
    /// The folder, once it has this content.
    Digest(Digest),
}

/// What one look says.
enum Look {
    /// The database has it.
    Holds(String),
    /// It hasn't yet: how it stands.
    NotYet(String),
    /// It will not have it unless a person does something.
    Failed(LocalError),
}

/// Waits.
pub(in crate::cli) async fn wait(args: WaitArgs) -> Result<Exit, LocalError> {
    let mut signals = Signals::listen();
    let mut project = Project::open(&args.project)?;
    // More than is asked for is no less.
    project.desired.policy.on_missing = OnMissing::Ignore;
    project.desired.target = Target::Latest;
    let waiting = Waiting { awaited: awaited(&project, &args)?, project, ignore_failures: args.ignore_failures };
    tokio::select! {
        ended = waiting.until(args.timeout) => ended,
        () = signals.next() => {
            talk::say("stopped", "stopped: it only looked, and changed nothing");
            Ok(Exit::Stopped)
        }
    }
}

fn awaited(project: &Project, args: &WaitArgs) -> Result<Awaited, LocalError> {
    match (&args.version, &args.digest) {
        (Some(text), _) => {
            let (version, name) =
                Version::parse_reference(text).map_err(|why| LocalError::setting("--version", why))?;
            Ok(Awaited::Version(version, name.map(str::to_owned)))
        }
        (None, Some(digest)) => Ok(Awaited::Digest(digest.clone())),
        (None, None) => Ok(Awaited::Folder(Box::new(project.content()?))),
    }
}

struct Waiting {
    project: Project,
    awaited: Awaited,
    ignore_failures: bool,
}

impl Waiting {
    async fn until(&self, limit: Duration) -> Result<Exit, LocalError> {
        let until = Instant::now() + limit;
        let what = self.what();
        let mut at_last = "the database hasn't answered".to_owned();
        let mut looks = 0;
        loop {
            // A single look ends by the connection's own deadline.
            let look = self.look();
            let look = if limit.is_zero() { Ok(look.await) } else { timeout_at(until, look).await };
            match look {
                Ok(Look::Holds(how)) => {
                    talk::say("holds", format!("the database holds {what}: {how}"));
                    return Ok(Exit::Done);
                }
                Ok(Look::Failed(error)) => return Err(error),
                Ok(Look::NotYet(how)) => {
                    if how != at_last {
                        talk::say("waiting", format!("waiting until the database holds {what}: {how}"));
                    }
                    at_last = how;
                }
                Err(_) => {}
            }
            looks += 1;
            let again = Instant::now() + between_looks(looks, rand::random());
            if again >= until {
                tokio::time::sleep_until(until).await;
                return Err(LocalError::TimedOut { what, seconds: limit.as_secs_f64(), at_last });
            }
            tokio::time::sleep_until(again).await;
        }
    }

    fn what(&self) -> String {
        let folder = self.project.settings.migrations.display();
        match &self.awaited {
            Awaited::Version(version, None) => version.to_string(),
            Awaited::Version(version, Some(name)) => format!("{version}_{name}"),
            Awaited::Folder(_) => folder.to_string(),
            Awaited::Digest(digest) => format!("{folder} with the content {digest}"),
        }
    }

    async fn look(&self) -> Look {
        let read;
        let content = match &self.awaited {
            Awaited::Version(..) => None,
            Awaited::Folder(content) => Some(&**content),
            Awaited::Digest(digest) => match self.read(digest) {
                Ok(content) => {
                    read = content;
                    Some(&read)
                }
                Err(look) => return look,
            },
        };
        let parameters = match self.project.parameters() {
            Ok(parameters) => parameters,
            Err(error) => return Look::Failed(error),
        };
        let history = match self.project.look(&parameters).await {
            Ok((_, history)) => history,
            Err(failure) if passes(failure.reason) => return Look::NotYet(failure.message),
            Err(failure) => return Look::Failed(failure.into()),
        };
        match (&self.awaited, content) {
            (Awaited::Version(version, name), _) => self.judge_version(&history, version, name.as_deref()),
            (Awaited::Folder(_) | Awaited::Digest(_), Some(content)) => self.judge(&history, &content.dir),
            (Awaited::Folder(_) | Awaited::Digest(_), None) => unreachable!("they have read the folder"),
        }
    }

    /// The folder, if it has the content that is meant.
    fn read(&self, meant: &Digest) -> Result<Content, Look> {
        let folder = &self.project.settings.migrations;
        let found = dir::bundle(folder).map_err(|failure| Look::NotYet(failure.message))?.digest();
        if found != *meant {
            return Err(Look::NotYet(format!("{} has the content {found}", folder.display())));
        }
        self.project.content().map_err(Look::Failed)
    }

    fn judge_version(&self, history: &History, version: &Version, name: Option<&str>) -> Look {
        let Some(row) = history.by_version().get(version).copied() else {
            return Look::NotYet(format!("{version} isn't applied"));
        };
        if name.is_some_and(|name| name != row.name) {
            let problem = format!(
                "the database knows {version} as {}_{}: name that, or the version alone",
                row.version, row.name
            );
            return Look::Failed(LocalError::setting("--version", problem));
        }
        match row.state {
            State::Applied | State::Stamped | State::Replaced => Look::Holds(format!("{} is applied", row.version)),
            State::RolledBack => Look::NotYet(format!("{version} was rolled back")),
            State::Failed | State::Interrupted => match self.failed(row) {
                Some(error) => Look::Failed(error),
                None => Look::NotYet(format!("{version} has failed, or was cut off (run {})", row.run.id)),
            },
        }
    }

    fn judge(&self, history: &History, dir: &MigrationDir) -> Look {
        let desired: &Desired = &self.project.desired;
        let assessment = plan::plan(dir, history, desired);
        let drifted = assessment.findings.iter().find(|finding| finding.reason == Reason::ChecksumDrift);
        if let Some(finding) = drifted {
            return Look::Failed(LocalError::held_up(finding.clone(), &desired.history.set));
        }
        let rows = history.by_version();
        let failed = dir.migrations().iter().filter_map(|migration| {
            let row = rows.get(&migration.version)?;
            // A file that was mended since runs again.
            (row.checksum == migration.up.checksum).then_some(*row)
        });
        if let Some(error) = { failed }.find_map(|row| self.failed(row)) {
            return Look::Failed(error);
        }
        let counts = format!("{} applied, {} pending", assessment.applied, assessment.pending);
        if assessment.pending == 0 { Look::Holds(counts) } else { Look::NotYet(counts) }
    }

    /// What a person has to decide about a migration that failed, if it did and nobody has.
    fn failed(&self, row: &Recorded) -> Option<LocalError> {
        if self.ignore_failures || row.run.resolution.is_some() {
            return None;
        }
        let reason = match (row.state, row.mode) {
            (State::Failed, TransactionMode::Transactional) => Reason::MigrationFailed,
            (State::Failed, TransactionMode::NonTransactional) => Reason::NonTransactionalFailed,
            (State::Interrupted, _) => Reason::Interrupted,
            (State::Applied | State::Stamped | State::RolledBack | State::Replaced, _) => return None,
        };
        let said = row.run.error.as_ref().map_or("nothing is known of it", |error| &error.message);
        let message = format!(
            "{said}\n{}_{} (run {}) will not be applied by waiting: mend its file, or decide about the run with dunlin resolve \
             or kubectl dunlin resolve",
            row.version, row.name, row.run.id
        );
        let error = MigrationError {
            failure: Failure::new(reason, message),
            set: self.project.desired.history.set.clone(),
            subject: Subject::Migration {
                version: row.version.clone(),
                name: row.name.clone(),
                direction: row.run.direction,
            },
            statement: row.run.error.as_ref().and_then(|error| error.statement),
            sqlstate: row.run.error.as_ref().and_then(|error| error.sqlstate.clone()),
        };
        Some(error.into())
    }
}
