//! `spec.resolutions` and the annotation that does the same: what a person decided.

use kube::ResourceExt;
use serde_json::json;

use super::{
    super::{
        managers::{Key, said},
        policy::{ResolutionAction, ResolutionSpec},
        spec::MigrationSet,
    },
    RESOLVE_ANNOTATION,
    problems::Problems,
};
use crate::core::{
    desired::{Action, Resolution, TaskResolution},
    migration::Version,
    task,
};

pub(super) fn read_resolutions(
    set: &MigrationSet,
    resolutions: &[ResolutionSpec],
    problems: &mut Problems,
) -> (Vec<Resolution>, Vec<TaskResolution>) {
    let mut read = Vec::with_capacity(resolutions.len());
    let mut of_tasks = Vec::new();
    for (index, ResolutionSpec { version, run, action }) in resolutions.iter().enumerate() {
        let place = format!("spec.resolutions[{index}]");
        // What decides is the action; the keys may be another's.
        let item = Key::Item(json!({"version": version, "run": run}));
        let by = said(&place, set, &[Key::Field("spec"), Key::Field("resolutions"), item, Key::Field("action")]);
        if *run < 1 {
            problems.add(
                format!("{place}.run"),
                format!("{run} is no run: write the one of the message, they are counted from 1"),
            );
        }
        let resolution = Resolution { version: None, run: *run, action: core_action(*action), by };
        if task::is_key(version) {
            of_tasks.push(TaskResolution { key: version.clone(), resolution });
            continue;
        }
        let version = problems.take(&format!("{place}.version"), Version::parse(version));
        read.extend(version.map(|version| Resolution { version: Some(version), ..resolution }));
    }
    (read, of_tasks)
}

fn core_action(action: ResolutionAction) -> Action {
    match action {
        ResolutionAction::Retry => Action::Retry,
        ResolutionAction::Resume => Action::Resume,
        ResolutionAction::MarkApplied => Action::MarkApplied,
        ResolutionAction::MarkRolledBack => Action::MarkRolledBack,
        ResolutionAction::AcceptChecksum => Action::AcceptChecksum,
    }
}

pub(super) fn read_annotation(set: &MigrationSet, problems: &mut Problems) -> Option<Resolution> {
    let text = set.annotations().get(RESOLVE_ANNOTATION)?;
    let path = [Key::Field("metadata"), Key::Field("annotations"), Key::Field(RESOLVE_ANNOTATION)];
    let by = said(&format!("annotation {RESOLVE_ANNOTATION}"), set, &path);
    let decided = text.split_once('=').and_then(|(run, action)| {
        let run = run.trim().parse::<i64>().ok().filter(|run| *run >= 1)?;
        Some(Resolution { version: None, run, action: core_action(read_action(action.trim())?), by })
    });
    if decided.is_none() {
        problems.add(
            format!("metadata.annotations[{RESOLVE_ANNOTATION}]"),
            format!(
                "{text:?} decides nothing: write <run>=<action>, such as 7=Retry, with Retry, Resume, MarkApplied, \
                 MarkRolledBack or AcceptChecksum"
            ),
        );
    }
    decided
}

fn read_action(text: &str) -> Option<ResolutionAction> {
    [
        ResolutionAction::Retry,
        ResolutionAction::Resume,
        ResolutionAction::MarkApplied,
        ResolutionAction::MarkRolledBack,
        ResolutionAction::AcceptChecksum,
    ]
    .into_iter()
    .find(|action| format!("{action:?}") == text)
}
