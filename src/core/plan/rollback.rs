//! Going back: which ways down run, in which order, and what forbids it.

use std::collections::{HashMap, HashSet};

use super::{Assessment, Finding, Ground, Step, judge, words};
use crate::core::{
    desired::{Action, Rollback},
    graph,
    history::{Recorded, Run, State},
    job,
    migration::{Checksum, Direction, TransactionMode, Version},
    outcome::Reason,
};

/// Puts ways down at the head of the plan: a migration goes before what it needs, and of two that don't need each other the
/// one that was applied last.
pub(super) fn plan(ground: &Ground<'_>, mut downs: Vec<&Recorded>, assessment: &mut Assessment) {
    downs.retain(|row| !undone_by_hand(ground, row, assessment));
    if downs.is_empty() {
        return;
    }
    let needs = Needs::new(ground);
    let ordered = order(ground, downs, &needs);
    find_denied(ground, &ordered, assessment);
    find_broken(ground, &ordered, &needs, assessment);
    find_one_way(ground, &ordered, assessment);
    for row in &ordered {
        find_refused(ground, row, assessment);
    }
    let steps = ordered.iter().map(|row| Step {
        version: row.version.clone(),
        name: row.name.clone(),
        direction: Direction::Down,
        mode: row.mode,
        checksum: row.down_checksum.as_ref().map_or("", Checksum::as_str).to_owned(),
    });
    assessment.plan.steps.splice(0..0, steps);
}

/// Whether a person says that what a migration without a way down did was undone by hand.
fn undone_by_hand(ground: &Ground<'_>, row: &Recorded, assessment: &mut Assessment) -> bool {
    if row.down_checksum.is_some() {
        return false;
    }
    let Some(resolution) = judge::resolution(ground.desired, row, &[Action::MarkRolledBack]) else { return false };
    let resolve = judge::resolve(row, resolution);
    if !assessment.amendments.contains(&resolve) {
        assessment.amendments.push(resolve);
    }
    true
}

/// What applied migrations need, as their files said when they were applied and say now.
struct Needs<'a> {
    of: HashMap<&'a Version, HashSet<&'a Version>>,
}

impl<'a> Needs<'a> {
    fn new(ground: &Ground<'a>) -> Self {
        let applied = || ground.history.migrations.iter().filter(|row| is_there(row));
        // Who needs a migration that was replaced needs the one that stands for it.
        let stands_for: HashMap<&Version, &Version> =
            applied().flat_map(|row| row.replaces.iter().map(move |version| (version, &row.version))).collect();
        let of = applied().map(|row| {
            let file = ground.dir.get(&row.version).map_or([].as_slice(), |migration| &migration.depends);
            let needs = row.depends.iter().chain(file);
            (&row.version, needs.map(|version| stands_for.get(version).copied().unwrap_or(version)).collect())
        });
        Self { of: of.collect() }
    }

    fn needs(&self, one: &Version, other: &Version) -> bool {
        self.of.get(one).is_some_and(|needs| needs.contains(other))
    }
}

/// Whether something of it is in the database: what is on its way down is.
fn is_there(row: &Recorded) -> bool {
    row.state.is_applied()
        || matches!(row.state, State::Failed | State::Interrupted) && row.run.direction == Direction::Down
}

fn order<'a>(ground: &Ground<'_>, mut downs: Vec<&'a Recorded>, needs: &Needs<'_>) -> Vec<&'a Recorded> {
    // Migrations of one plan ran in the source's order; whatever is on its way down goes on first.
    downs.sort_by(|one, other| {
        let key = |row: &Recorded| (!row.state.is_applied(), row.batch, ground.dir.position(&row.version));
        (key(other), &other.version).cmp(&(key(one), &one.version))
    });
    let waits_for: Vec<Vec<usize>> = downs
        .iter()
        .map(|row| {
            let needed_by = downs.iter().enumerate().filter(|(_, other)| needs.needs(&other.version, &row.version));
            needed_by.map(|(place, _)| place).collect()
        })
        .collect();
    match graph::order(&waits_for) {
        Ok(order) => order.into_iter().map(|place| downs[place]).collect(),
        // Files that were edited since may need each other; the order of application is then what is left.
        Err(_) => downs,
    }
}

fn find_denied(ground: &Ground<'_>, downs: &[&Recorded], assessment: &mut Assessment) {
    // What is under way was allowed when it began.
    let denied: Vec<&&Recorded> = downs.iter().filter(|row| row.state.is_applied()).collect();
    if ground.desired.policy.rollback == Rollback::Allow || denied.is_empty() {
        return;
    }
    let gone = denied.iter().any(|row| ground.dir.get(&row.version).is_none());
    let instead =
        if gone { "set spec.target back, or put the files back" } else { "set spec.target back, as to latest" };
    let message = format!(
        "{} would be rolled back, and spec.policy.rollback is Deny: {instead}; or allow it with spec.policy.rollback: Allow, which runs their \
         down sections",
        words::list(denied.iter().map(|row| format!("{}_{}", row.version, row.name)))
    );
    assessment.findings.push(Finding { reason: Reason::RollbackDenied, message, failure: None });
}

/// What is applied and stays must not lose what it needs.
fn find_broken(ground: &Ground<'_>, downs: &[&Recorded], needs: &Needs<'_>, assessment: &mut Assessment) {
    let goes: HashSet<&Version> = downs.iter().map(|row| &row.version).collect();
    let stays = ground.history.migrations.iter().filter(|row| is_there(row) && !goes.contains(&row.version));
    let broken: Vec<String> = stays
        .flat_map(|row| {
            let lost = downs.iter().filter(|down| needs.needs(&row.version, &down.version));
            lost.map(|down| format!("{}_{} needs {}_{}", row.version, row.name, down.version, down.name))
        })
        .collect();
    if broken.is_empty() {
        return;
    }
    let message = format!(
        "the rollback would break what stays: {}. Put the files back that are needed, or let what needs them go as well, by \
         spec.target or by removing its file, too",
        words::list(broken.iter())
    );
    assessment.findings.push(Finding { reason: Reason::RollbackDenied, message, failure: None });
}

/// What has no way down holds the plan up before its first statement.
fn find_one_way(ground: &Ground<'_>, downs: &[&Recorded], assessment: &mut Assessment) {
    let lacking: Vec<&&Recorded> = downs.iter().filter(|row| row.down_checksum.is_none()).collect();
    let Some(first) = lacking.first() else { return };
    let message = format!(
        "no way down is recorded for {}: write a `-- migrate: down` section into the file (one more look stores it); set spec.target back; or \
         undo by hand what it did, and say so: {}{}",
        words::list(lacking.iter().map(|row| format!("{}_{} (run {})", row.version, row.name, row.run.id))),
        words::decide(ground.desired, first, Action::MarkRolledBack),
        lacking
            .iter()
            .map(|row| judge::misdirected(row, ground.desired, &[Action::MarkRolledBack]))
            .collect::<String>()
    );
    assessment.undecided.extend(lacking.iter().map(|row| row.run.id));
    assessment.findings.push(Finding { reason: Reason::NoDownMigration, message, failure: None });
}

/// A way down that failed and was rolled back isn't run again as it is, unless a person says so.
fn find_refused(ground: &Ground<'_>, row: &Recorded, assessment: &mut Assessment) {
    const OFFERED: &[Action] = &[Action::Retry, Action::MarkRolledBack];
    let desired = ground.desired;
    let Some(checksum) = row.down_checksum.as_ref().filter(|_| row.mode == TransactionMode::Transactional) else {
        return;
    };
    let last = ground.history.undoing.iter().filter(|(version, _)| *version == row.version).map(|(_, run)| run);
    let Some(run) = last.max_by_key(|run: &&Run| run.id) else { return };
    if run.inputs != job::inputs(Direction::Down, checksum, row.mode, &desired.session)
        || run.resolution == Some(Action::Retry)
    {
        return;
    }
    match judge::resolution_of(desired, row, run.id, OFFERED) {
        Some(resolution) => assessment.amendments.push(judge::resolve(row, resolution)),
        None => {
            let message = words::transactional(row, run, OFFERED, desired);
            assessment.findings.push(judge::failed(row, run, Reason::MigrationFailed, message));
        }
    }
}
