//! `dunlin history`: what was run, the newest last. Reads only.

use clap::Args;
use serde::Serialize;

use super::{args::ProjectArgs, error::LocalError, project::Project};
use crate::{
    cli::{
        CliError,
        exit::Exit,
        output::{self, OutputFormat},
    },
    core::task::TaskKind,
    database::history::runs::PastRun,
};

/// Settings of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// How many of the last runs.
    #[arg(long = "last", short = 'n', value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub last: u32,
    /// Leave out so many of the newest: with --last, a page further back.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub skip: u32,
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// One run. A format: fields are added, never renamed; what isn't known is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    run: i64,
    version: &'a str,
    name: &'a str,
    direction: &'a str,
    kind: &'a str,
    outcome: &'a str,
    performed_by: &'a str,
    attempts: i64,
    batch: i64,
    checksum: &'a str,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// Prints the last runs.
pub(in crate::cli) async fn history(args: HistoryArgs) -> Result<Exit, CliError> {
    let project = Project::open(&args.project)?;
    let (session, _) = project.look(&project.parameters()?).await.map_err(LocalError::from)?;
    let runs = session.runs(args.last, args.skip).await.map_err(LocalError::from)?;
    match args.output {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => {
            output::print_as(format, &runs.iter().map(told).collect::<Vec<_>>())?;
        }
        OutputFormat::Text => output::print(&table(&runs))?,
    }
    Ok(Exit::Done)
}

fn told(run: &PastRun) -> Told<'_> {
    let rest = [
        ("startedAt", serde_json::json!(run.started_at)),
        ("finishedAt", serde_json::json!(run.finished_at)),
        ("durationMs", serde_json::json!(run.duration_ms)),
        ("sourceDigest", serde_json::json!(run.source_digest)),
        ("planDigest", serde_json::json!(run.plan_digest)),
        ("generation", serde_json::json!(run.generation)),
        ("error", serde_json::json!(run.error)),
        ("sqlstate", serde_json::json!(run.sqlstate)),
        ("detail", serde_json::json!(run.detail)),
        ("statement", serde_json::json!(run.statement)),
        ("line", serde_json::json!(run.line)),
        ("column", serde_json::json!(run.column)),
        ("resolution", serde_json::json!(run.resolution)),
        ("resolvedBy", serde_json::json!(run.resolved_by)),
        ("resolvedAt", serde_json::json!(run.resolved_at)),
    ];
    let rest = rest.into_iter().filter(|(_, value)| !value.is_null());
    Told {
        run: run.id,
        version: &run.version,
        name: &run.name,
        direction: &run.direction,
        kind: &run.kind,
        outcome: &run.outcome,
        performed_by: &run.performed_by,
        attempts: run.attempts,
        batch: run.batch,
        checksum: &run.checksum,
        rest: rest.map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

/// A migration and its way; a seed's path or a hook's place, which the kind tells apart.
fn what(run: &PastRun) -> String {
    if TaskKind::ALL.iter().any(|kind| kind.word() == run.kind) {
        return run.version.clone();
    }
    format!("{} {}_{}", run.direction, run.version, run.name)
}

fn table(runs: &[PastRun]) -> String {
    let rows = runs.iter().map(|run| {
        // Milliseconds are for programs, and for the order of what is fast.
        let started = run.started_at.as_deref().map(|at| at.split('.').next().unwrap_or_default().to_owned() + "Z");
        vec![
            run.id.to_string(),
            started.unwrap_or_default(),
            run.kind.clone(),
            what(run),
            run.outcome.clone(),
            run.duration_ms.map(|ms| format!("{ms} ms")).unwrap_or_default(),
            run.sqlstate.clone().unwrap_or_default(),
            run.resolution.clone().unwrap_or_default(),
            run.performed_by.clone(),
        ]
    });
    let header = vec!["RUN", "STARTED AT", "KIND", "MIGRATION", "OUTCOME", "DURATION", "SQLSTATE", "RESOLUTION", "BY"];
    output::table(header, &rows.collect::<Vec<_>>())
}
