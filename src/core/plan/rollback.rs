//! Going back: which ways down run, in which order, and what forbids it.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

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
    let ordered = order(downs, &needs);
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
        variables: Vec::new(),
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
        let rows = || ground.history.migrations.iter();
        // Who needs a migration that was replaced needs the one that stands for it, which may have been replaced, too.
        let standing = rows().filter(|row| is_there(row) || row.state == State::Replaced);
        let stands_for: HashMap<&Version, &Version> =
            standing.flat_map(|row| row.replaces.iter().map(move |version| (version, &row.version))).collect();
        let there: HashSet<&Version> = rows().filter(|row| is_there(row)).map(|row| &row.version).collect();
        let last = |version: &'a Version| {
            let mut met = HashSet::from([version]);
            let mut last = version;
            while let Some(next) =
                stands_for.get(last).copied().filter(|next| !there.contains(last) && met.insert(next))
            {
                last = next;
            }
            last
        };
        let of = rows().filter(|row| is_there(row)).map(|row| {
            let file = ground.dir.get(&row.version).map_or([].as_slice(), |migration| &migration.depends);
            (&row.version, row.depends.iter().chain(file).map(last).collect())
        });
        Self { of: of.collect() }
    }

    /// What it needs.
    fn of(&self, version: &Version) -> impl Iterator<Item = &'a Version> {
        self.of.get(version).into_iter().flatten().copied()
    }

    /// For each of some migrations the places of those among them that it needs.
    fn among(&self, rows: &[&Recorded]) -> Vec<Vec<usize>> {
        let places: HashMap<&Version, usize> =
            rows.iter().enumerate().map(|(place, row)| (&row.version, place)).collect();
        rows.iter().map(|row| self.of(&row.version).filter_map(|other| places.get(other).copied()).collect()).collect()
    }
}

/// Whether something of it is in the database: what is on its way down is.
fn is_there(row: &Recorded) -> bool {
    row.state.is_applied()
        || matches!(row.state, State::Failed | State::Interrupted) && row.run.direction == Direction::Down
}

fn order<'a>(mut downs: Vec<&'a Recorded>, needs: &Needs<'_>) -> Vec<&'a Recorded> {
    // Migrations of one plan ran in an order that their needs and versions tell, whether their files are there or not.
    downs.sort_by(|one, other| one.version.cmp(&other.version));
    let as_it_ran = graph::order(&needs.among(&downs)).unwrap_or_else(|_| (0..downs.len()).collect());
    let mut downs: Vec<&Recorded> = as_it_ran.into_iter().rev().map(|place| downs[place]).collect();
    // Whatever is on its way down goes on first; and then the last plan's go first.
    downs.sort_by_key(|row| (row.state.is_applied(), Reverse(row.batch)));
    let mut waits_for = vec![Vec::new(); downs.len()];
    for (place, needed) in needs.among(&downs).into_iter().enumerate() {
        for other in needed {
            waits_for[other].push(place);
        }
    }
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
    let target = words::field(ground.desired, "target");
    let instead = if gone {
        format!("set {target} back, or put the files back")
    } else {
        format!("set {target} back, as to latest")
    };
    let rollback = words::field(ground.desired, "policy.rollback");
    let message = format!(
        "{} would be rolled back, and {rollback} is Deny: {instead}; or allow it with {rollback}: Allow, which runs their \
         down sections",
        words::list(denied.iter().map(|row| format!("{}_{}", row.version, row.name)))
    );
    assessment.findings.push(Finding { reason: Reason::RollbackDenied, message, failure: None });
}

/// What is applied and stays must not lose what it needs.
fn find_broken(ground: &Ground<'_>, downs: &[&Recorded], needs: &Needs<'_>, assessment: &mut Assessment) {
    let goes: HashMap<&Version, &Recorded> = downs.iter().map(|row| (&row.version, *row)).collect();
    let stays = ground.history.migrations.iter().filter(|row| is_there(row) && !goes.contains_key(&row.version));
    let mut broken: Vec<String> = stays
        .flat_map(|row| {
            let lost = needs.of(&row.version).filter_map(|needed| goes.get(needed));
            lost.map(|down| format!("{}_{} needs {}_{}", row.version, row.name, down.version, down.name))
        })
        .collect();
    broken.sort();
    if broken.is_empty() {
        return;
    }
    let message = format!(
        "the rollback would break what stays: {}. Put the files back that are needed, or let what needs them go as well, by \
         {} or by removing its file, too",
        words::list(broken.iter()),
        words::field(ground.desired, "target")
    );
    assessment.findings.push(Finding { reason: Reason::RollbackDenied, message, failure: None });
}

/// What has no way down holds the plan up before its first statement.
fn find_one_way(ground: &Ground<'_>, downs: &[&Recorded], assessment: &mut Assessment) {
    let lacking: Vec<&&Recorded> = downs.iter().filter(|row| row.down_checksum.is_none()).collect();
    let Some(first) = lacking.first() else { return };
    let message = format!(
        "no way down is recorded for {}: write a `-- migrate: down` section into the file (one more look stores it); set {} back; or \
         undo by hand what it did, and say so: {}{}",
        words::list(lacking.iter().map(|row| format!("{}_{} (run {})", row.version, row.name, row.run.id))),
        words::field(ground.desired, "target"),
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
    if row.down_checksum.is_none() || row.mode != TransactionMode::Transactional {
        return;
    }
    let last = ground.history.undoing.iter().filter(|(version, _)| *version == row.version).map(|(_, run)| run);
    let Some(run) = last.max_by_key(|run: &&Run| run.id) else { return };
    // What is stored and can't be read is said where it is to run.
    let Some(section) = judge::section(ground, row, Direction::Down, ground.dir.get(&row.version)) else { return };
    if run.inputs != job::inputs(Direction::Down, &section, row.mode, desired) || run.resolution == Some(Action::Retry)
    {
        return;
    }
    if let Some(resolution) = judge::resolution_of(desired, row, run.id, OFFERED) {
        assessment.amendments.push(judge::resolve(row, resolution));
    } else {
        let message = words::transactional(row, run, OFFERED, desired);
        assessment.findings.push(judge::failed(row, run, Reason::MigrationFailed, message));
    }
}
