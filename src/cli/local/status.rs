//! `dunlin status`, `list` and `current`: files and history side by side. Reads only.

use std::{collections::HashSet, fmt::Write as _, sync::Arc};

use clap::Args;
use serde::Serialize;

use super::{
    args::ProjectArgs,
    error::{LocalError, passes},
    project::{Both, Project},
    signals::Signals,
    talk,
};
use crate::{
    cli::{
        CliError,
        color::Tone,
        exit::Exit,
        output::{self, OutputFormat, toned},
    },
    core::{
        history::{History, Recorded, State},
        migration::{MigrationDir, Version},
        pace::between_looks,
        plan::{self, Assessment},
    },
    execute::Session,
};

/// Settings of commands that read.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    /// End with 1 unless the database holds what the files say.
    #[arg(long)]
    pub exit_code: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// Settings of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Go on, and print it again whenever it is otherwise, until Ctrl-C.
    #[arg(long, short = 'w', conflicts_with = "exit_code")]
    pub watch: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub read: ReadArgs,
}

/// Settings of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Those in this state alone; may be given several times.
    #[arg(long, value_name = "STATE", value_enum)]
    pub state: Vec<Standing>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub read: ReadArgs,
}

/// How a migration stands between the files and the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Standing {
    Applied,
    /// Recorded without running.
    Stamped,
    Pending,
    Failed,
    /// Cut off, and nothing proves how far it came.
    Interrupted,
    /// Applied, and its file was edited since.
    Changed,
    /// Applied, and its file is gone.
    Missing,
    RolledBack,
    /// Another migration stands for it.
    Replaced,
}

/// One row of `list`. A format: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    version: String,
    name: String,
    state: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    performed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What `status` prints. A format: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    env: String,
    set: String,
    in_sync: bool,
    version: Option<String>,
    total: usize,
    applied: usize,
    pending: usize,
    failed: usize,
    changed: usize,
    missing: usize,
    findings: Vec<Finding>,
}

/// What holds the next run up.
#[derive(Debug, Serialize)]
struct Finding {
    reason: String,
    message: String,
}

/// What was looked at.
pub(super) struct Seen {
    pub project: Project,
    pub history: History,
    pub assessment: Assessment,
    pub dir: Arc<MigrationDir>,
    pub session: Session,
}

/// Looks at files and history.
pub(super) async fn look(project: Project) -> Result<Seen, LocalError> {
    let Both { content, history, session, .. } = project.read_both().await?;
    let assessment = plan::plan(&content.dir, &history, &project.desired);
    Ok(Seen { project, history, assessment, dir: content.dir, session })
}

/// Prints counts, and what holds the next run up.
pub(in crate::cli) async fn status(args: StatusArgs) -> Result<Exit, CliError> {
    let StatusArgs { watch, read } = args;
    let project = Project::open(&read.project)?;
    if watch {
        return follow(&project, read.output).await;
    }
    let status = status_of(&look(project).await?);
    let exit = if read.exit_code && !status.in_sync { Exit::Differs } else { Exit::Done };
    output::print(&shown(read.output, &status)?)?;
    Ok(exit)
}

/// Prints it, and again whenever it is otherwise. A database that is away is waited for.
async fn follow(project: &Project, format: OutputFormat) -> Result<Exit, CliError> {
    let mut signals = Signals::listen();
    let (mut last, mut unchanged) = (String::new(), 0);
    loop {
        let text = tokio::select! {
            seen = look(project.clone()) => match seen {
                Ok(seen) => shown(format, &status_of(&seen))?,
                Err(LocalError::Engine(failure)) if passes(failure.reason) => failure.message,
                Err(error) => return Err(error.into()),
            },
            () = signals.next() => return Ok(Exit::Stopped),
        };
        unchanged = if text == last { unchanged + 1 } else { 1 };
        if text != last {
            // What isn't known is no status.
            if text.ends_with('\n') {
                let separated = if format == OutputFormat::Yaml { "---\n" } else { "" };
                if !output::print_some(&format!("{separated}{text}"))? {
                    return Ok(Exit::Done);
                }
            } else {
                talk::say("waiting", text.as_str());
            }
            last = text;
        }
        tokio::select! {
            () = tokio::time::sleep(between_looks(unchanged, rand::random())) => {}
            () = signals.next() => return Ok(Exit::Stopped),
        }
    }
}

fn shown(format: OutputFormat, status: &Status) -> Result<String, CliError> {
    match format {
        OutputFormat::Json | OutputFormat::Yaml => output::document(format, status),
        OutputFormat::Text => Ok(text(status)),
    }
}

fn status_of(seen: &Seen) -> Status {
    let Seen { project: Project { settings, desired, .. }, assessment, .. } = seen;
    let listed = list_all(seen);
    let count = |states: &[Standing]| listed.iter().filter(|row| states.contains(&row.state)).count();
    let findings: Vec<Finding> = assessment
        .findings
        .iter()
        .map(|finding| Finding { reason: finding.reason.to_string(), message: finding.message.clone() })
        .collect();
    let differs = [Standing::Pending, Standing::Failed, Standing::Interrupted, Standing::Changed, Standing::Missing];
    Status {
        env: settings.env.clone(),
        set: desired.history.set.clone(),
        in_sync: count(&differs) == 0 && findings.is_empty(),
        version: assessment.version.as_ref().map(Version::to_string),
        total: listed.len(),
        applied: count(&[Standing::Applied, Standing::Stamped, Standing::Changed, Standing::Missing]),
        pending: count(&[Standing::Pending, Standing::RolledBack]),
        failed: count(&[Standing::Failed, Standing::Interrupted]),
        changed: count(&[Standing::Changed]),
        missing: count(&[Standing::Missing]),
        findings,
    }
}

fn text(status: &Status) -> String {
    let Status { env, set, in_sync: _, version, total, applied, pending, failed, changed, missing, findings } = status;
    let mut text = format!(
        "environment  {env}\nset          {set}\nversion      {}\ntotal        {total}\napplied      {applied}\npending      {pending}\n",
        version.as_deref().unwrap_or("none")
    );
    for (name, count) in [("failed", failed), ("changed", changed), ("missing", missing)] {
        if *count > 0 {
            let _ = writeln!(text, "{}", toned(Tone::Bad, &format!("{name:<12} {count}")));
        }
    }
    for finding in findings {
        let _ = writeln!(text, "\n{}: {}", toned(Tone::Bad, &finding.reason), finding.message);
    }
    text
}

/// Prints a row for each migration that the files or the database know.
pub(in crate::cli) async fn list(args: ListArgs) -> Result<Exit, CliError> {
    let ListArgs { state, read } = args;
    let seen = look(Project::open(&read.project)?).await?;
    let by = seen.session.performers().await.map_err(LocalError::from)?;
    let mut listed = list_all(&seen);
    for row in &mut listed {
        row.performed_by = row.run.and_then(|run| by.get(&run).cloned());
    }
    let differs =
        listed.iter().any(|row| !matches!(row.state, Standing::Applied | Standing::Stamped | Standing::Replaced));
    listed.retain(|row| state.is_empty() || state.contains(&row.state));
    match read.output {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => output::print_as(format, &listed)?,
        OutputFormat::Text => output::print(&table(&listed))?,
    }
    Ok(if read.exit_code && differs { Exit::Differs } else { Exit::Done })
}

/// Prints the highest version that is applied.
pub(in crate::cli) async fn current(args: ReadArgs) -> Result<Exit, CliError> {
    let Seen { assessment, .. } = look(Project::open(&args.project)?).await?;
    let version = assessment.version.as_ref().map(Version::to_string);
    match args.output {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => {
            output::print_as(format, &serde_json::json!({"version": version}))?;
        }
        OutputFormat::Text => output::print(&format!("{}\n", version.as_deref().unwrap_or("none")))?,
    }
    let differs = !assessment.plan.steps.is_empty() || !assessment.findings.is_empty();
    Ok(if args.exit_code && differs { Exit::Differs } else { Exit::Done })
}

fn table(listed: &[Listed]) -> String {
    let rows = listed.iter().map(|row| {
        let duration = row.duration_ms.filter(|_| row.applied_at.is_some()).map(|ms| format!("{ms} ms"));
        let state = serde_json::to_value(row.state).ok().and_then(|state| state.as_str().map(str::to_owned));
        vec![
            row.version.clone(),
            state.unwrap_or_default(),
            row.name.clone(),
            row.applied_at.clone().unwrap_or_default(),
            duration.unwrap_or_default(),
            row.performed_by.clone().unwrap_or_default(),
        ]
    });
    output::table(vec!["VERSION", "STATE", "NAME", "APPLIED AT", "DURATION", "BY"], &rows.collect::<Vec<_>>())
}

/// The union of files and history, in the order in which they run, and behind them what has no file.
fn list_all(seen: &Seen) -> Vec<Listed> {
    let Seen { dir, history, assessment, .. } = seen;
    let rows = history.by_version();
    let edited: HashSet<&Version> = assessment.checksum_drift.iter().map(|drift| &drift.version).collect();
    let missing: HashSet<&Version> = assessment.missing.iter().collect();
    let mut listed: Vec<Listed> = dir
        .migrations()
        .iter()
        .map(|migration| {
            let row = rows.get(&migration.version).copied();
            let changed = edited.contains(&migration.version);
            let state = match row.map(|row| row.state) {
                Some(State::Applied | State::Stamped) if changed => Standing::Changed,
                Some(state) => standing(state),
                None => Standing::Pending,
            };
            Listed {
                description: migration.description.clone(),
                ..listed_as(&migration.version, &migration.name, state, row)
            }
        })
        .collect();
    for row in history.migrations.iter().filter(|row| dir.get(&row.version).is_none()) {
        let state = if missing.contains(&row.version) { Standing::Missing } else { standing(row.state) };
        listed.push(listed_as(&row.version, &row.name, state, Some(row)));
    }
    listed
}

fn listed_as(version: &Version, name: &str, state: Standing, row: Option<&Recorded>) -> Listed {
    let there = row.filter(|row| row.applied_at.is_some());
    Listed {
        version: version.to_string(),
        name: name.to_owned(),
        state,
        description: None,
        applied_at: there.and_then(|row| row.applied_at.clone()),
        duration_ms: there.map(|row| row.duration_ms),
        batch: there.map(|row| row.batch),
        run: row.map(|row| row.run.id),
        performed_by: None,
        error: row.and_then(|row| row.run.error.as_ref()).map(|error| error.message.clone()),
    }
}

fn standing(state: State) -> Standing {
    match state {
        State::Applied => Standing::Applied,
        State::Stamped => Standing::Stamped,
        State::Failed => Standing::Failed,
        State::Interrupted => Standing::Interrupted,
        State::RolledBack => Standing::RolledBack,
        State::Replaced => Standing::Replaced,
    }
}
