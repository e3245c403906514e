//! `dunlin verify`: whether what was applied is what the files say. Reads only.

use std::fmt::Write as _;

use super::{
    project::Project,
    status::{ReadArgs, Seen, look},
};
use crate::{
    cli::{
        CliError,
        color::Tone,
        exit::Exit,
        output::{self, OutputFormat, toned},
    },
    core::{
        history::{Recorded, State},
        migration::Version,
        plan::Assessment,
    },
};

/// Compares, and ends with 1 where anything differs; what is pending is no difference.
pub(in crate::cli) async fn verify(args: ReadArgs) -> Result<Exit, CliError> {
    let seen = look(Project::open(&args.project)?).await?;
    let comparison = Comparison::of(&seen);
    match args.output {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => output::print_as(format, &comparison.as_json())?,
        OutputFormat::Text => output::print(&comparison.text())?,
    }
    Ok(comparison.exit())
}

/// What differs between the files and what was applied.
pub(super) struct Comparison<'a> {
    assessment: &'a Assessment,
    unfinished: Vec<(&'a Recorded, &'static str)>,
    count: usize,
}

impl<'a> Comparison<'a> {
    /// Compares what was seen.
    pub fn of(seen: &'a Seen) -> Self {
        let Seen { history, assessment, .. } = seen;
        let unfinished: Vec<_> = history
            .migrations
            .iter()
            .filter(|row| matches!(row.state, State::Failed | State::Interrupted))
            .map(|row| (row, if row.state == State::Failed { "failed" } else { "interrupted" }))
            .collect();
        let count = assessment.checksum_drift.len() + assessment.missing.len() + unfinished.len();
        Self { assessment, unfinished, count }
    }

    /// 1 where anything differs.
    pub fn exit(&self) -> Exit {
        if self.count == 0 { Exit::Done } else { Exit::Differs }
    }

    /// For programs. A format: fields are added, never renamed.
    pub fn as_json(&self) -> serde_json::Value {
        let Self { assessment, unfinished, count } = self;
        let drift = assessment.checksum_drift.iter().map(|drift| {
            serde_json::json!({
                "version": drift.version.as_str(), "file": drift.file, "run": drift.run,
                "recorded": drift.recorded, "found": drift.found,
            })
        });
        serde_json::json!({
            "verified": *count == 0,
            "checked": assessment.applied,
            "changed": drift.collect::<Vec<_>>(),
            "missing": assessment.missing.iter().map(Version::as_str).collect::<Vec<_>>(),
            "unfinished": unfinished.iter().map(|(row, state)| serde_json::json!({
                "version": row.version.as_str(), "name": row.name, "state": state, "run": row.run.id,
            })).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { assessment, unfinished, count } = self;
        if *count == 0 {
            return format!(
                "{}: {} applied, all as their files say\n",
                toned(Tone::Good, "verified"),
                assessment.applied
            );
        }
        let mut text = String::new();
        for drift in &assessment.checksum_drift {
            let _ = writeln!(
                text,
                "{}      {} (run {})\n  recorded   {}\n  found      {}",
                toned(Tone::Bad, "changed"),
                drift.file,
                drift.run,
                drift.recorded,
                drift.found
            );
        }
        for version in &assessment.missing {
            let _ = writeln!(text, "{}      {version}: applied, and there is no file", toned(Tone::Bad, "missing"));
        }
        for (row, state) in unfinished {
            let state = toned(Tone::Bad, &format!("{state:<12}"));
            let _ = writeln!(text, "{state} {}_{} (run {})", row.version, row.name, row.run.id);
        }
        text
    }
}
