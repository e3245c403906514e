//! `dunlin plan --execute`: what a rehearsal has shown, in words, as JSON and as an exit code.

use serde::Serialize;

use super::{
    error::{LocalError, MigrationError, detailed},
    project::Project,
    signals::Signals,
    talk::Event,
};
use crate::{
    cli::exit::Exit,
    core::{
        history::History,
        migration::MigrationDir,
        outcome::{Failure, Reason},
        plan::{Plan, Step},
        task::Subject,
    },
    database::parameters::Parameters,
    execute::{self, Rehearsal, RehearsalEnd, Session},
};

/// What `-o json` says of a rehearsal. A format: fields are added, never renamed.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    outcome: &'static str,
    passed: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unchecked: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
}

/// Rehearses a plan; Ctrl-C ends it at once, since nothing of it is to stay.
pub(super) async fn rehearse(
    project: &Project,
    session: Session,
    parameters: &Parameters,
    subject: (&MigrationDir, &History, &Plan),
) -> Result<Rehearsal, LocalError> {
    let mut signals = Signals::listen();
    Ok(execute::rehearse(session, parameters, &project.desired, subject, signals.next()).await?)
}

/// The same for programs.
pub(super) fn told<'a>(steps: &'a [Step], rehearsal: &'a Rehearsal) -> Told<'a> {
    let Rehearsal { passed, notes, end } = rehearsal;
    let mut told = Told {
        outcome: "passed",
        passed: passed.iter().map(|(version, _)| version.as_str()).collect(),
        unchecked: Vec::new(),
        notes,
        version: None,
        message: None,
        sqlstate: None,
        line: None,
        column: None,
    };
    match end {
        RehearsalEnd::Passed => {}
        RehearsalEnd::Stopped => told.outcome = "stopped",
        RehearsalEnd::Unchecked { from, why } => {
            told.outcome = "unchecked";
            told.unchecked = steps[*from..].iter().map(|step| step.version.as_str()).collect();
            told.message = Some(why);
        }
        RehearsalEnd::Refused { step, error, .. } => {
            told.outcome = "refused";
            told.version = Some(steps[*step].version.as_str());
            told.message = Some(&error.message);
            told.sqlstate = error.sqlstate.as_deref();
            (told.line, told.column) = (error.line, error.column);
        }
    }
    told
}

/// Says what was shown. An exit code, where the command ends with it.
pub(super) fn verdict(project: &Project, steps: &[Step], rehearsal: &Rehearsal) -> Result<Option<Exit>, LocalError> {
    let set = &project.desired.history.set;
    let named = |step: &Step| format!("{}_{}", step.version, step.name);
    for note in &rehearsal.notes {
        Event::new("note", note).set(set).say();
    }
    let passed = rehearsal.passed.len();
    match &rehearsal.end {
        RehearsalEnd::Passed => {
            let words = format!("rehearsed: all {passed} went through, and were rolled back");
            Event::new("rehearsed", words).set(set).say();
            Ok(None)
        }
        RehearsalEnd::Unchecked { from, why } => {
            let rest: Vec<String> = steps[*from..].iter().map(named).collect();
            let words = format!(
                "rehearsed: {passed} of {} went through, and were rolled back; not checked: {}, since {why}",
                steps.len(),
                rest.join(", ")
            );
            let first = &steps[*from];
            Event::new("unchecked", words).set(set).of(&first.version, first.direction).say();
            Ok(None)
        }
        RehearsalEnd::Stopped => {
            Event::new("stopped", "stopped: the rehearsal was rolled back, and nothing was changed").set(set).say();
            Ok(Some(Exit::Stopped))
        }
        RehearsalEnd::Refused { step, error, detail, in_the_way } => {
            let step = &steps[*step];
            let (reason, words) = if *in_the_way {
                (
                    Reason::WaitingForLock,
                    "Somebody else is at work there: try again, or wait longer with --lock-timeout",
                )
            } else {
                (Reason::MigrationFailed, "It was a rehearsal: everything was rolled back, and nothing was changed")
            };
            let before = format!("{passed} of {} went through before it.", steps.len());
            Err(MigrationError {
                failure: Failure::new(
                    reason,
                    format!("{}\n{before} {words}", detailed(&error.message, detail.as_deref())),
                ),
                set: set.clone(),
                subject: Subject::Migration {
                    version: step.version.clone(),
                    name: step.name.clone(),
                    direction: step.direction,
                },
                statement: error.statement,
                sqlstate: error.sqlstate.clone(),
            }
            .into())
        }
    }
}
