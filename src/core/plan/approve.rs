//! A person's consent: which plans wait for it, and whether it was given to exactly this one.

use std::fmt::Write as _;

use super::{Amendment, Assessment, Consent, Finding, Ground, Plan, Step, words};
use crate::core::{
    desired::{ApprovalRequired, Audience, Desired},
    history::OfferedPlan,
    migration::{Direction, Migration, MigrationDir, TransactionMode},
    outcome::Reason,
    sql::destructive::{Destructive, destructive},
    variables::Variables,
};

/// Steps of a plan that are written down in words.
const STEPS: usize = 50;

/// Asks for consent where the spec wants it, and takes it where it was given.
pub(super) fn ask(ground: &Ground<'_>, assessment: &mut Assessment) {
    let Ground { desired, history, dir, .. } = ground;
    if assessment.plan.steps.is_empty() {
        return;
    }
    let digest = assessment.plan.digest().to_string();
    // What is left of a plan was approved with it: each step that commits says so in its own transaction.
    let approved = history.plans.iter().find(|plan| plan.rest == digest && plan.approved_by.is_some());
    assessment.approved = approved.map(|plan| plan.id);
    let Some(why) = why_asked(&assessment.plan, desired, dir) else { return };
    if let Some(OfferedPlan { approved_by: Some(by), digest, .. }) = approved {
        assessment.consent = Consent::Given { message: format!("{digest} was approved: {by}") };
        return;
    }
    if let Some(given) = desired.approval.given.iter().find(|given| given.plan == digest) {
        assessment.consent = Consent::Given { message: format!("{digest} was approved: {}", given.by) };
        assessment.amendments.push(Amendment::Approve { by: given.by.clone() });
        return;
    }
    let approve = match desired.audience {
        Audience::MigrationSet => format!(
            "Approve it with spec.approval.plan: {digest}, or {}",
            words::annotation(desired, "approved-plan", &digest)
        ),
        Audience::CommandLine => format!("Approve it with --approve {digest}"),
    };
    let steps = words::list(assessment.plan.steps.iter().map(in_short));
    let mut message = format!("the plan {digest} waits for a person{why}: {steps}. {approve}");
    for given in &desired.approval.given {
        let _ = write!(message, "\n{} approves {}, which isn't this plan", given.place(), given.plan);
        if let Some(other) = history.plans.iter().find(|plan| plan.digest == given.plan) {
            message.push_str(&changes(&other.steps, &assessment.plan.in_words()));
        }
    }
    let is_offered = history.plans.iter().any(|plan| plan.digest == digest);
    // What is amended first may change the plan.
    if !is_offered && assessment.findings.is_empty() && assessment.amendments.is_empty() {
        assessment.amendments.push(Amendment::Offer);
    }
    assessment.consent = Consent::Awaited { message: message.clone() };
    assessment.findings.push(Finding { reason: Reason::ApprovalRequired, message, failure: None });
}

/// Why somebody is asked, as a part of a sentence; None if nobody is.
fn why_asked(plan: &Plan, desired: &Desired, dir: &MigrationDir) -> Option<String> {
    if desired.approval.required == ApprovalRequired::Never {
        return None;
    }
    let destroys = destructions(plan, dir, desired);
    match desired.approval.required {
        ApprovalRequired::Never => None,
        ApprovalRequired::Destructive if destroys.is_empty() => None,
        ApprovalRequired::Always if destroys.is_empty() => Some(String::new()),
        ApprovalRequired::Destructive | ApprovalRequired::Always => {
            Some(format!(", since it destroys something ({})", words::list(destroys.iter())))
        }
    }
}

/// What a plan destroys, in words.
fn destructions(plan: &Plan, dir: &MigrationDir, desired: &Desired) -> Vec<String> {
    let of_step = |step: &Step| match step.direction {
        Direction::Down => vec![format!("rolls back {}_{}", step.version, step.name)],
        Direction::Up => dir.get(&step.version).map_or_else(Vec::new, |migration| {
            let found = destroyed(migration, &desired.variables);
            found
                .iter()
                .map(|found| format!("{}:{}: {}", migration.file, migration.up.first_line + found.line, found.what))
                .collect()
        }),
    };
    plan.steps.iter().flat_map(of_step).collect()
}

/// What the way up of a migration destroys: as the file has it, and where only a value does it, the statement that has it.
fn destroyed(migration: &Migration, variables: &Variables) -> Vec<Destructive> {
    let Migration { up, mode, .. } = migration;
    let mut found = destructive(&up.text, &up.script);
    if let Ok(Some(sent)) = variables.substitute(up, *mode) {
        for with_values in destructive(&sent.section.text, &sent.section.script) {
            let Destructive { statement, .. } = with_values;
            if found.iter().all(|known| known.statement != statement) {
                let line = up.script.statements.get(statement).map_or(0, |statement| statement.line);
                // In whose words it is said would be those of a value.
                let what = "what a variable puts into this statement destroys something".to_owned();
                found.push(Destructive { statement, line, what });
            }
        }
        found.sort_by_key(|found| (found.statement, found.line));
    }
    found
}

fn in_short(step: &Step) -> String {
    format!("{} {}_{}", step.direction.word(), step.version, step.name)
}

impl Plan {
    /// Its steps, a line each, as `dunlin.plan` keeps them.
    #[must_use]
    pub fn in_words(&self) -> String {
        let line = |step: &Step| {
            let mode = match step.mode {
                TransactionMode::Transactional => "",
                TransactionMode::NonTransactional => ", no-transaction",
            };
            let variables =
                if step.variables.is_empty() { String::new() } else { format!("; with {}", step.variables.join(", ")) };
            format!("{} ({}{mode}{variables})", in_short(step), step.checksum.get(..12).unwrap_or(&step.checksum))
        };
        let mut lines: Vec<String> = self.steps.iter().take(STEPS).map(line).collect();
        if self.steps.len() > STEPS {
            lines.push(format!("and {} more", self.steps.len() - STEPS));
        }
        lines.join("\n")
    }
}

/// What is other in a plan than in the one that was approved.
fn changes(approved: &str, now: &str) -> String {
    let step = |line: &str| line.split(" (").next().unwrap_or_default().to_owned();
    // Behind the steps that are written down a count stands for the others.
    let steps = |plan: &'_ str| plan.lines().filter(|line| !line.starts_with("and ")).map(str::to_owned).collect();
    let (approved_steps, now_steps): (Vec<String>, Vec<String>) = (steps(approved), steps(now));
    let mut changes = Vec::new();
    for line in now_steps.iter().filter(|line| !approved_steps.contains(line)) {
        let was_there = approved_steps.iter().any(|other| step(other) == step(line));
        changes.push(if was_there {
            format!("{} has another text", step(line))
        } else {
            format!("{} was added", step(line))
        });
    }
    let gone = approved_steps.iter().filter(|line| !now_steps.iter().any(|other| step(other) == step(line)));
    changes.extend(gone.map(|line| format!("{} is no longer in it", step(line))));
    if changes.is_empty() {
        changes.push(if approved_steps == now_steps {
            format!("what follows its first {STEPS} steps is other")
        } else {
            "its steps stand in another order".to_owned()
        });
    }
    format!(": {}", words::list(changes.iter()))
}
