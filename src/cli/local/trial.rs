//! `dunlin test`: every migration up, down and up again, in a database that is made for it and dropped.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;

use super::{
    args::{ConfirmArgs, ProjectArgs},
    confirm::{Ask, confirm},
    error::LocalError,
    project::Project,
    run::Run,
    signals::Signals,
    talk::{self, Event},
};
use crate::{
    cli::exit::Exit,
    core::{
        desired::{Approval, Rollback, Target},
        migration::{Migration, Version},
        outcome::Failure,
    },
    database::{
        connect::{self, Connection},
        error::SqlError,
        parameters::Parameters,
        quote, session, snapshot,
    },
    source::Content,
};

/// Settings of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub confirm: ConfirmArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// More lines of a difference are counted.
const SHOWN: usize = 20;

/// Makes a database, tries each migration in it, and drops it, however that went.
pub(in crate::cli) async fn test(args: TestArgs) -> Result<Exit, LocalError> {
    let project = Project::open(&args.project)?;
    let content = project.content()?;
    let parameters = project.parameters()?;
    confirm(&project, args.confirm, Ask::WhereProtected, "make a database of its own on that server and drop it")?;
    let mut signals = Signals::listen();
    let name = format!("dunlin_test_{:016x}", rand::random::<u64>());
    let server = connect::connect(&parameters, "dunlin/test").await.map_err(Failure::from)?;
    make(&server, &name, parameters.user()).await?;
    let mut trial = Trial { project, content, parameters: parameters.for_database(&name) };
    let ended = tokio::select! {
        ended = Box::pin(trial.run()) => ended,
        () = signals.next() => {
            talk::say("stopped", "stopped: nothing but a database of its own was changed");
            Ok(Exit::Stopped)
        }
    };
    let drop = format!("DROP DATABASE {} WITH (FORCE)", quote::identifier(&name));
    if ended.is_err() {
        talk::say(
            "note",
            "this was in a database of its own, which is dropped: mend the file, there is nothing to resolve",
        );
    }
    if let Err(error) = session::query(&server.client, &drop).await {
        talk::say("left", format!("the database {name} is left, drop it: {error}"));
    }
    ended
}

async fn make(server: &Connection, name: &str, user: &str) -> Result<(), LocalError> {
    let made = session::query(&server.client, &format!("CREATE DATABASE {}", quote::identifier(name))).await;
    let failed = |error: SqlError| {
        let cure = format!("it needs: ALTER ROLE {} CREATEDB", quote::identifier(user));
        LocalError::from(error.into_failure("making a database to test in", &cure))
    };
    made.map(|_| ()).map_err(failed)
}

/// A project whose database is empty, and nobody else's.
struct Trial {
    project: Project,
    content: Content,
    parameters: Parameters,
}

impl Trial {
    async fn run(&mut self) -> Result<Exit, LocalError> {
        let desired = &mut self.project.desired;
        desired.policy.rollback = Rollback::Allow;
        desired.approval = Approval::default();
        desired.resolutions.clear();
        (desired.history.baseline, desired.history.take_over) = (None, None);
        let (mut tested, mut without) = (0, Vec::new());
        let dir = std::sync::Arc::clone(&self.content.dir);
        for migration in dir.migrations() {
            let before = self.snapshot().await?;
            self.go(&migration.version, true).await?;
            if migration.down.is_none() {
                without.push(migration.file.as_str());
                continue;
            }
            let after = self.snapshot().await?;
            self.go(&migration.version, false).await?;
            let left = self.snapshot().await?;
            if left != before {
                return Ok(self.differs(migration, "its way down doesn't lead back", &before, &left));
            }
            self.go(&migration.version, true).await?;
            let again = self.snapshot().await?;
            if again != after {
                return Ok(self.differs(migration, "a second time, its way up leads elsewhere", &after, &again));
            }
            tested += 1;
        }
        let rest = match without.as_slice() {
            [] => String::new(),
            files => format!("; without a way down: {}", files.join(", ")),
        };
        self.event("tested", format!("tested: {tested} up, down and up again{rest}")).say();
        Ok(Exit::Done)
    }

    /// Takes one step.
    async fn go(&mut self, version: &Version, up: bool) -> Result<(), LocalError> {
        let one = vec![version.clone()];
        let (up, down) = if up { (one, Vec::new()) } else { (Vec::new(), one) };
        self.project.desired.target = Target::Steps { up, down };
        let Self { project, content, parameters } = self;
        let (session, _) = project.look(parameters).await?;
        let run = Run { project, content, parameters, wait: Duration::ZERO };
        Box::pin(run.perform(session)).await.map(|_| ())
    }

    async fn snapshot(&self) -> Result<BTreeSet<String>, LocalError> {
        let connection = connect::connect(&self.parameters, "dunlin/test").await.map_err(Failure::from)?;
        let schema = &self.project.desired.history.schema;
        let read = snapshot::read(&connection.client, schema).await;
        Ok(read.map_err(|error| error.into_failure("reading what the database holds", ""))?)
    }

    /// Says what is there that wasn't (+), and what isn't any more (-).
    fn differs(&self, migration: &Migration, what: &str, wanted: &BTreeSet<String>, found: &BTreeSet<String>) -> Exit {
        let lost = wanted.difference(found).map(|line| format!("\n- {line}"));
        let lines: Vec<String> = lost.chain(found.difference(wanted).map(|line| format!("\n+ {line}"))).collect();
        let rest = match lines.len().saturating_sub(SHOWN) {
            0 => String::new(),
            rest => format!("\nand {rest} more"),
        };
        let shown: String = lines.into_iter().take(SHOWN).collect();
        self.event("differs", format!("{}: {what}:{shown}{rest}", migration.file)).say();
        Exit::Differs
    }

    fn event(&self, event: &'static str, words: String) -> Event {
        Event::new(event, words).set(&self.project.desired.history.set)
    }
}
