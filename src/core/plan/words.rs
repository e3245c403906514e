//! The sentences of findings: what, where, and the ways out, ready to paste.

use std::fmt::Write as _;

use super::{ChecksumDrift, judge};
use crate::core::{
    desired::{Action, Audience, Desired, Resolution},
    history::{Recorded, Run},
    migration::{Direction, TransactionMode},
    task::TaskRun,
};

/// At most five items and a count of the rest.
pub(in crate::core) fn list<T: std::fmt::Display>(items: impl ExactSizeIterator<Item = T>) -> String {
    let count = items.len();
    let mut text = items.take(5).map(|item| item.to_string()).collect::<Vec<_>>().join(", ");
    if count > 5 {
        let _ = write!(text, " and {} more", count - 5);
    }
    text
}

/// What a migration of the history is called in messages.
pub(super) fn file(row: &Recorded) -> String {
    match row.run.direction {
        Direction::Up => format!("{}_{}.sql", row.version, row.name),
        Direction::Down => format!("the way down of {}_{}", row.version, row.name),
    }
}

/// A field as whoever reads it would write it.
pub(super) fn field(desired: &Desired, path: &str) -> String {
    match desired.audience {
        Audience::MigrationSet => format!("spec.{path}"),
        Audience::CommandLine => path.to_owned(),
    }
}

/// An action as whoever reads it would write it.
fn spelled(desired: &Desired, action: Action) -> String {
    let action = format!("{action:?}");
    if desired.audience == Audience::MigrationSet {
        return action;
    }
    let mut text = String::new();
    for letter in action.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// How a person decides about the run of a row, in the spec or by the annotation.
pub(super) fn decide(desired: &Desired, row: &Recorded, action: Action) -> String {
    if desired.audience == Audience::CommandLine {
        return annotate(desired, row.run.id, action);
    }
    format!(
        "spec.resolutions {}, or {}",
        entry(row, row.run.id, &format!("{action:?}")),
        annotate(desired, row.run.id, action)
    )
}

fn entry(row: &Recorded, run: i64, action: &str) -> String {
    entry_of(row.version.as_str(), run, action)
}

fn entry_of(key: &str, run: i64, action: &str) -> String {
    format!("{{version: \"{key}\", run: {run}, action: {action}}}")
}

pub(super) fn annotate(desired: &Desired, run: i64, action: Action) -> String {
    let action = spelled(desired, action);
    if desired.audience == Audience::CommandLine {
        return format!("dunlin resolve --run {run} --as {action}");
    }
    annotation(desired, "resolve", &format!("{run}={action}"))
}

/// The command that annotates the MigrationSet.
pub(super) fn annotation(desired: &Desired, key: &str, value: &str) -> String {
    format!(
        "kubectl -n {} annotate --overwrite migrationset {} dunlin.dev/{key}={value}",
        desired.owner.namespace, desired.owner.name
    )
}

/// Names every drifted file, both checksums shortened, and the way out that needs no decision.
#[must_use]
pub(super) fn drift_message(drift: &[ChecksumDrift]) -> String {
    let files = list(drift.iter().map(|drift| {
        format!(
            "{} (run {}: {}, now {})",
            drift.file,
            drift.run,
            drift.recorded.get(..12).unwrap_or(&drift.recorded),
            drift.found.get(..12).unwrap_or(&drift.found)
        )
    }));
    format!(
        "edited after it was applied: {files}. Put the applied text back and write a new migration, or accept the edit with "
    )
}

pub(super) fn transactional(row: &Recorded, run: &Run, offered: &[Action], desired: &Desired) -> String {
    let error = run.error.as_ref().map_or("no error was recorded", |error| &error.message);
    let (kept, mend) = match run.direction {
        Direction::Up => ("Nothing of it was kept", "Mend the file"),
        Direction::Down => {
            ("It was rolled back, so that the migration is still applied", "Mend the file's down section")
        }
    };
    let by_hand = if offered.contains(&Action::MarkRolledBack) {
        let [undone, again] = [Action::MarkRolledBack, Action::Retry].map(|action| spelled(desired, action));
        format!("; or, where it was undone by hand, with {undone} in the place of {again}")
    } else {
        String::new()
    };
    let command = annotate(desired, run.id, Action::Retry);
    let again = match desired.audience {
        Audience::MigrationSet => {
            format!("add {} to spec.resolutions to run it again as it is ({command})", entry(row, run.id, "Retry"))
        }
        Audience::CommandLine => format!("run it again as it is: {command}"),
    };
    format!(
        "{error}\n{kept} (run {id}). {mend}, or {again}{by_hand}{misdirected}",
        id = run.id,
        misdirected = judge::misdirected_at(row, run.id, desired, offered),
    )
}

/// What is said of a seed or hook that failed; `misfits` are decisions that are not possible for it.
pub(super) fn task_failed<'a>(
    desired: &Desired,
    task: &TaskRun,
    mode: TransactionMode,
    misfits: impl Iterator<Item = &'a Resolution>,
) -> String {
    let TaskRun { kind, key, run, error, .. } = task;
    let error = error.as_ref().map_or("no error was recorded", |error| &error.message);
    let kept = match mode {
        TransactionMode::Transactional => "Nothing of it was kept",
        TransactionMode::NonTransactional => "It isn't tried again by itself",
    };
    let command = annotate(desired, *run, Action::Retry);
    let again = match desired.audience {
        Audience::MigrationSet => {
            let entry = entry_of(key, *run, "Retry");
            format!("add {entry} to spec.resolutions to run it again as it is ({command})")
        }
        Audience::CommandLine => format!("run it again as it is: {command}"),
    };
    let mut message = format!("{error}\n{kept} (run {run}). Mend the {}, or {again}", kind.word());
    for resolution in misfits {
        let _ = write!(
            message,
            "\n{} asks for {:?}, which is not possible for run {run}: of a {}'s run only Retry is",
            resolution.place(),
            resolution.action,
            kind.word()
        );
    }
    message
}

pub(super) fn ways_out(row: &Recorded, obstacle: Option<&str>, offered: &[Action], desired: &Desired) -> String {
    let error = row.run.error.as_ref().map_or_else(
        || {
            let what = match row.run.direction {
                Direction::Up => format!("{}_{}", row.version, row.name),
                Direction::Down => file(row),
            };
            format!("{what} was cut off, and nothing says how far the statement under way came")
        },
        |error| error.message.clone(),
    );
    let (applied, rolled_back) = match row.run.direction {
        Direction::Up => ("what is missing was done by hand", "what it did was undone by hand"),
        Direction::Down => ("what it undid was made again by hand: still applied", "what is left was undone by hand"),
    };
    let actions: Vec<String> = offered
        .iter()
        .map(|action| {
            let what = match action {
                Action::Retry => "from the top".to_owned(),
                Action::Resume => format!("from statement {}", row.run.statements_done + 1),
                Action::MarkApplied => applied.to_owned(),
                Action::MarkRolledBack => rolled_back.to_owned(),
                Action::AcceptChecksum => "as the file is".to_owned(),
            };
            format!("{} ({what})", spelled(desired, *action))
        })
        .collect();
    let no_resume = obstacle.map_or_else(String::new, |why| format!(" Resume is not possible: {why}."));
    let command = annotate(desired, row.run.id, offered[0]);
    let decide = match desired.audience {
        Audience::MigrationSet => format!("add {} to spec.resolutions with one of", entry(row, row.run.id, "…")),
        Audience::CommandLine => format!("dunlin resolve --run {} --as one of", row.run.id),
    };
    format!(
        "{error}\n{done} done (run {id}), and nothing runs until a person decides: {decide} {actions} (for example {command}).\
         {no_resume}{misdirected}",
        done = match row.run.statements_done {
            0 => "None of its statements is".to_owned(),
            1 => "1 of its statements is".to_owned(),
            done => format!("{done} of its statements are"),
        },
        id = row.run.id,
        actions = actions.join(", "),
        misdirected = judge::misdirected(row, desired, offered)
    )
}
