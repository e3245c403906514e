//! Which migrations the database is to have: the target, and what a person says that it has already.

use std::collections::HashSet;

use super::{
    Amendment, Assessment, Finding, Ground,
    words::{self, list},
};
use crate::core::{
    desired::{Reference, Target},
    history::Recorded,
    migration::{Direction, MigrationDir, Version},
    outcome::Reason,
};

/// What the target asks for.
pub(super) enum Wanted<'a> {
    /// Everything that the source has.
    All,
    /// Nothing at all.
    Nothing,
    /// Some places of the source's order; what comes after a version goes.
    UpTo {
        has: HashSet<usize>,
        version: &'a Version,
        /// Its place in the source's order, if it has one.
        last: Option<usize>,
    },
    /// Nothing more than there is, and nothing of a later plan.
    Batch(i64),
    /// What there is, with some places of the source's order more and some migrations less.
    Steps { up: HashSet<usize>, down: HashSet<&'a Version> },
    /// What there is. What would go on or run again is judged as if it did, and stays.
    Stay,
    /// Nobody knows.
    Unknown,
}

impl Wanted<'_> {
    /// Whether the migration at this place of the source's order is asked for.
    pub fn has(&self, position: usize) -> bool {
        match self {
            Self::All => true,
            Self::Nothing | Self::Batch(_) | Self::Stay | Self::Unknown => false,
            Self::UpTo { has, .. } | Self::Steps { up: has, .. } => has.contains(&position),
        }
    }

    /// Whether a migration that was refused would run again: if not, there is nothing to say about it.
    pub fn wants(&self, ground: &Ground<'_>, row: &Recorded) -> bool {
        row.run.direction == Direction::Down
            || matches!(self, Self::Stay | Self::Unknown)
            || ground.dir.position(&row.version).is_some_and(|position| self.has(position))
    }

    /// Whether what was cut off goes on.
    pub fn goes_on(&self) -> bool {
        !matches!(self, Self::Stay)
    }

    /// Whether an applied migration is to go; `position` is its place in the source's order, if it has one.
    pub fn undoes(&self, row: &Recorded, position: Option<usize>) -> bool {
        match self {
            Self::All | Self::Stay | Self::Unknown => false,
            Self::Nothing => true,
            Self::UpTo { version, last, .. } => match (last, position) {
                (Some(last), Some(position)) => position > *last,
                (Some(_) | None, _) => row.version > **version,
            },
            Self::Batch(batch) => row.batch > *batch,
            Self::Steps { down, .. } => down.contains(&row.version),
        }
    }
}

/// What the target asks for; a finding if nobody knows.
pub(super) fn wanted<'a>(ground: &Ground<'a>, assessment: &mut Assessment) -> Wanted<'a> {
    resolve(ground).unwrap_or_else(|message| {
        assessment.findings.push(Finding { reason: Reason::InvalidSpec, message, failure: None });
        Wanted::Unknown
    })
}

fn resolve<'a>(ground: &Ground<'a>) -> Result<Wanted<'a>, String> {
    match &ground.desired.target {
        Target::Latest => Ok(Wanted::All),
        Target::None => Ok(Wanted::Nothing),
        Target::Stay => Ok(Wanted::Stay),
        Target::Version(reference) => up_to(ground, reference),
        Target::Batch(batch) => {
            let last = ground.history.migrations.iter().map(|row| row.batch).max().unwrap_or(0);
            if *batch > last {
                let field = words::field(ground.desired, "target");
                return Err(format!("{field}: batch:{batch} hasn't been; the last plan that ran here was {last}"));
            }
            Ok(Wanted::Batch(*batch))
        }
        Target::Steps { up, down } => {
            let up = up.iter().filter_map(|version| ground.dir.position(version)).collect();
            Ok(Wanted::Steps { up, down: down.iter().collect() })
        }
    }
}

fn up_to<'a>(ground: &Ground<'a>, reference: &Reference) -> Result<Wanted<'a>, String> {
    let migrations = ground.dir.migrations();
    let field = &words::field(ground.desired, "target");
    if let Some(last) = position(ground, field, reference)? {
        let has = if is_graph(ground.dir) { needed(ground.dir, last) } else { (0..=last).collect() };
        return Ok(Wanted::UpTo { has, version: &migrations[last].version, last: Some(last) });
    }
    // Its file is gone, and the database has it.
    let row = ground.row(&reference.version).filter(|row| row.state.is_applied());
    let Some(row) = row else { return Err(unknown(ground, field, reference)) };
    if reference.name.as_ref().is_some_and(|name| *name != row.name) {
        return Err(format!(
            "{field}: {reference} is named, but what the database has is {}_{}",
            row.version, row.name
        ));
    }
    let up_to = |place: &usize| migrations[*place].version <= row.version;
    Ok(Wanted::UpTo { has: (0..migrations.len()).filter(up_to).collect(), version: &row.version, last: None })
}

/// The place of what a field names; None if the source hasn't its version.
fn position(ground: &Ground<'_>, field: &str, reference: &Reference) -> Result<Option<usize>, String> {
    let Some(position) = ground.dir.position(&reference.version) else { return Ok(None) };
    let migration = &ground.dir.migrations()[position];
    match &reference.name {
        Some(name) if *name != migration.name => {
            Err(format!("{field}: {reference} is named, but that version's file is {}", migration.file))
        }
        Some(_) | None => Ok(Some(position)),
    }
}

fn unknown(ground: &Ground<'_>, field: &str, reference: &Reference) -> String {
    let wanted = &reference.version;
    if let Some(squash) = ground.dir.migrations().iter().find(|migration| migration.replaces.contains(wanted)) {
        return format!("{field}: {reference} has no file any more, and {} stands for it: name that one", squash.file);
    }
    let known = ground.dir.migrations().iter().map(|migration| (&migration.version, &migration.name));
    let applied = ground.history.migrations.iter().filter(|row| row.state.is_applied());
    let mut known: Vec<_> = known.chain(applied.map(|row| (&row.version, &row.name))).collect();
    known.sort();
    known.dedup_by(|one, other| one.0 == other.0);
    let at = known.partition_point(|(version, _)| *version < wanted);
    let near = [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|at| known.get(at));
    let near: Vec<String> = near.map(|(version, name)| format!("{version}_{name}")).collect();
    let nearest = match near.len() {
        0 => String::new(),
        1 => format!("; the nearest is {}", near[0]),
        _ => format!("; the nearest are {}", list(near.iter())),
    };
    format!("{field}: neither the source nor the database has {reference}{nearest}")
}

/// Whether the files say what they need, all but the one that comes first; else the set is a line.
fn is_graph(dir: &MigrationDir) -> bool {
    dir.migrations().len() > 1 && dir.migrations().iter().skip(1).all(|migration| !migration.depends.is_empty())
}

/// A place, and those that it needs.
fn needed(dir: &MigrationDir, place: usize) -> HashSet<usize> {
    let mut needed = HashSet::from([place]);
    let mut open = vec![place];
    while let Some(place) = open.pop() {
        let depends = dir.migrations()[place].depends.iter().filter_map(|version| dir.position(version));
        open.extend(depends.filter(|place| needed.insert(*place)));
    }
    needed
}

/// The places of what is to be recorded without running, at first contact with a database that a person says to have it;
/// what another tool has `adopted` is recorded on that tool's word.
pub(super) fn baseline(ground: &Ground<'_>, adopted: &HashSet<usize>, assessment: &mut Assessment) -> HashSet<usize> {
    let Some(reference) = &ground.desired.history.baseline else { return HashSet::new() };
    if ground.history.migrations.iter().any(Recorded::is_contact) {
        return HashSet::new();
    }
    let field = &words::field(ground.desired, "history.baseline");
    let last = match position(ground, field, reference) {
        Ok(Some(position)) => position,
        Ok(None) => {
            let message = unknown(ground, field, reference);
            assessment.findings.push(Finding { reason: Reason::InvalidSpec, message, failure: None });
            return HashSet::new();
        }
        Err(message) => {
            assessment.findings.push(Finding { reason: Reason::InvalidSpec, message, failure: None });
            return HashSet::new();
        }
    };
    let stamped: HashSet<usize> = (0..=last).filter(|place| !adopted.contains(place)).collect();
    if stamped.is_empty() {
        return stamped;
    }
    let spelled = |version: &Version| ground.row(version).map_or(version, |row| &row.version).clone();
    let places = (0..=last).filter(|place| stamped.contains(place));
    let versions = places.map(|place| spelled(&ground.dir.migrations()[place].version)).collect();
    assessment.amendments.push(Amendment::Stamp { versions });
    stamped
}
