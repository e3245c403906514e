//! `dunlin baseline`: a database that has migrations already, and no history, is said to have them. Nothing runs.

use clap::Args;

use super::{
    apply::RunArgs,
    confirm::{Ask, confirm},
    error::LocalError,
    project::{Both, Project},
    run::Run,
    talk::Event,
};
use crate::{
    cli::exit::Exit,
    core::{
        desired::{Reference, Target},
        history::{History, Recorded},
        migration::Direction,
        outcome::{Failure, Reason},
        plan::{self, Amendment},
    },
};

/// Settings of `baseline`.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// The last version that the database has: it and all that run before it are recorded as applied.
    #[arg(value_name = "VERSION")]
    pub version: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// Records what the database has on the word of whoever types this.
pub(in crate::cli) async fn baseline(args: BaselineArgs) -> Result<Exit, LocalError> {
    let BaselineArgs { version, run: args } = args;
    let wanted = Reference::parse(&version).map_err(|why| LocalError::setting("VERSION", why))?;
    let mut project = Project::open(&args.project)?;
    let Both { content, parameters, session, history } = project.read_both().await?;
    if let Some(why) = has_history(&history, &project.desired.history.set) {
        return Err(LocalError::Impossible(why));
    }
    project.desired.history.baseline = Some(wanted);
    // What comes behind it is for the next apply.
    project.desired.target = Target::Steps { up: Vec::new(), down: Vec::new() };
    let assessment = plan::plan(&content.dir, &history, &project.desired);
    let stamped = assessment.amendments.iter().find_map(|amendment| match amendment {
        Amendment::Stamp { versions } => Some(versions.clone()),
        _ => None,
    });
    let Some(stamped) = stamped else {
        let finding = assessment.findings.into_iter().next();
        let none = "there is no migration to record: dunlin create NAME makes one";
        return Err(finding.map_or_else(
            || Failure::new(Reason::InvalidSource, none).into(),
            |finding| LocalError::held_up(finding, &history, &project.desired.history.set),
        ));
    };
    let what = format!("record {} migrations up to {version} as applied, without running them", stamped.len());
    confirm(&project, args.confirm, Ask::WhereProtected, &what)?;
    let run = Run { project: &project, content: &content, parameters: &parameters, wait: args.wait };
    let exit = run.perform(session).await?;
    for version in &stamped {
        let words = format!("recorded on trust, not run: {}", run.file(version));
        Event::new("stamped", words).set(&project.desired.history.set).of(version, Direction::Up).say();
    }
    Ok(exit)
}

/// What the database says of itself already.
fn has_history(history: &History, set: &str) -> Option<String> {
    let rows: Vec<&Recorded> = history.migrations.iter().filter(|row| row.is_contact()).collect();
    let last = rows.iter().max_by_key(|row| row.run.id)?;
    let applied = rows.iter().filter(|row| row.state.is_applied()).count();
    Some(format!(
        "the set {set} has a history in this database: {applied} applied, and last was {}_{} (run {}). A baseline is for a \
         database without one; dunlin list shows what there is, and dunlin resolve decides about a single migration. Nothing was \
         recorded",
        last.version, last.name, last.run.id
    ))
}
