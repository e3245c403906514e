//! The variables that the steps use: all of them must be there, and fit, before the first statement runs.

use std::borrow::Cow;

use super::{Assessment, Finding, Ground, Step, words};
use crate::core::{
    desired::{Audience, Desired},
    job::{self, Job, down_section},
    migration::{Direction, Section},
    outcome::{Failure, Reason},
    variables::{Misuse, Misused},
};

/// Notes the variables of each step, and finds those that can't be used as they are.
pub(super) fn find(ground: &Ground<'_>, assessment: &mut Assessment) {
    let variables = &ground.desired.variables;
    let mut misuses: Vec<(String, Misuse)> = Vec::new();
    for step in &mut assessment.plan.steps {
        // What only the history has is read, and held against the variables, right before it runs.
        let Some((file, section)) = section(ground, step) else { continue };
        let names = variables.used(&section.text).into_iter().map(|(name, _)| name.to_owned());
        step.variables = names.collect();
        let found = variables.misuses(&section, step.mode);
        misuses.extend(found.into_iter().map(|misuse| (file.clone(), misuse)));
    }
    // Of whoever declares it, and of whoever writes the file, the first is asked where a value doesn't fit.
    for reason in [Reason::InvalidSource, Reason::InvalidSpec] {
        let of_it: Vec<&(String, Misuse)> = misuses.iter().filter(|(_, misuse)| reason_of(misuse) == reason).collect();
        if !of_it.is_empty() {
            let message = message(ground.desired, &of_it);
            assessment.findings.push(Finding { reason, message, failure: None });
        }
    }
}

/// What a step runs, and what it is called.
fn section<'a>(ground: &Ground<'a>, step: &Step) -> Option<(String, Cow<'a, Section>)> {
    let file = ground.dir.get(&step.version);
    match step.direction {
        Direction::Up => file.map(|migration| (migration.file.clone(), Cow::Borrowed(&migration.up))),
        Direction::Down => {
            let row = ground.row(&step.version)?;
            let of_file = file.filter(|file| file.mode == row.mode).and_then(|file| Some((file, file.down.as_ref()?)));
            if let Some((file, down)) = of_file.filter(|(_, down)| down.checksum.as_str() == step.checksum) {
                return Some((file.file.clone(), Cow::Borrowed(down)));
            }
            let section = down_section(row, ground.dir, row.down_sql.as_deref()?).ok()?;
            Some((job::down_name(row), section))
        }
    }
}

/// Puts the values into what a job sends.
///
/// # Errors
/// The variables that can't be used, before anything runs.
pub fn substitute(job: &mut Job<'_>, desired: &Desired) -> Result<(), Failure> {
    let substituted = desired.variables.substitute(&job.section, job.mode).map_err(|misuses| {
        let misuses: Vec<(String, Misuse)> = misuses.into_iter().map(|misuse| (job.file.clone(), misuse)).collect();
        // A file was held against the variables before: this text is the history's, and only the spec can be corrected.
        Failure::new(Reason::InvalidSpec, message(desired, &misuses.iter().collect::<Vec<_>>()))
    })?;
    job.substituted = substituted;
    Ok(())
}

fn reason_of(misuse: &Misuse) -> Reason {
    match misuse.why {
        Misused::Undeclared => Reason::InvalidSource,
        Misused::NoIdentifier(_) | Misused::ReadsOtherwise(_) => Reason::InvalidSpec,
    }
}

fn message(desired: &Desired, misuses: &[&(String, Misuse)]) -> String {
    let told = misuses.iter().map(|(file, misuse)| {
        let Misuse { location, written, name, why } = misuse;
        let place = format!("{file}:{}:{}: {written}", location.line, location.column);
        match why {
            Misused::Undeclared => format!("{place} is a variable, and {}", undeclared(desired, name)),
            Misused::NoIdentifier(why) => format!("{place} can't become a name: {why}; give {name} another value"),
            Misused::ReadsOtherwise(why) => {
                format!("{place}: with the values of its variables the text reads otherwise: {why}")
            }
        }
    });
    format!("{}. Nothing was run", words::list(told.collect::<Vec<_>>().iter()))
}

/// That a variable isn't declared, where it would be, and which may have been meant.
fn undeclared(desired: &Desired, name: &str) -> String {
    let close = desired.variables.close(name);
    let meant = if close.is_empty() { String::new() } else { format!(" (did you mean {}?)", close.join(" or ")) };
    match desired.audience {
        Audience::MigrationSet => {
            format!("spec.variables declares no {name}{meant}: add it there, or correct the name")
        }
        Audience::CommandLine => format!(
            "no {name} is declared{meant}: add it to variables of dunlin.yaml, give it with --variable {name}=…, or correct the name"
        ),
    }
}
