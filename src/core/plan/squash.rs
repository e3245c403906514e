//! Migrations that stand for others: recorded without running where those ran, and taken back for them without running.

use std::collections::HashSet;

use super::{Amendment, Assessment, Finding, Ground, Step, target::Wanted};
use crate::core::{
    history::{Recorded, State},
    migration::{Direction, Migration, Version},
    outcome::Reason,
};

/// Puts a pending migration into the plan, unless it stands for others that are applied.
pub(super) fn pend(ground: &Ground<'_>, migration: &Migration, assessment: &mut Assessment) {
    let Migration { replaces, .. } = migration;
    if !replaces.is_empty() {
        if replaces.iter().all(|version| ground.has(version)) {
            let spelled = |version: &Version| ground.row(version).map_or(version, |row| &row.version).clone();
            assessment.amendments.push(Amendment::Replace {
                version: spelled(&migration.version),
                replaced: replaces.iter().map(spelled).collect(),
            });
            return;
        }
        // The old files are still in the source: they run first, and this one is recorded after them.
        if replaces.iter().all(|version| ground.has(version) || ground.dir.get(version).is_some()) {
            return;
        }
        if replaces.iter().any(|version| ground.has(version)) {
            let lacking: Vec<&str> =
                replaces.iter().filter(|version| !ground.has(version)).map(Version::as_str).collect();
            assessment.findings.push(Finding {
                reason: Reason::MissingMigration,
                message: format!(
                    "{} replaces migrations of which the database has only some; it lacks {}: put their files back until they are applied",
                    migration.file,
                    lacking.join(", ")
                ),
                failure: None,
            });
        }
    }
    assessment.plan.steps.push(Step {
        version: migration.version.clone(),
        name: migration.name.clone(),
        direction: Direction::Up,
        mode: migration.mode,
        checksum: migration.up.checksum.as_str().to_owned(),
        variables: Vec::new(),
    });
}

/// Whether the source holds all again that a migration without a file stood for.
pub(super) fn is_back(ground: &Ground<'_>, row: &Recorded) -> bool {
    can_be_restored(ground, row) && row.replaces.iter().all(|part| ground.dir.get(part).is_some())
}

/// Whether what goes by the target stands for others of which some stay: its way down would take those along.
pub(super) fn falls_apart(ground: &Ground<'_>, row: &Recorded, wanted: &Wanted<'_>) -> bool {
    let stays = |part: &Version| {
        let position = ground.dir.position(part);
        match ground.row(part).filter(|part| part.state == State::Replaced) {
            Some(part) => !wanted.undoes(part, position),
            None => position.is_some_and(|position| wanted.has(position)),
        }
    };
    wanted.undoes(row, ground.dir.position(&row.version))
        && can_be_restored(ground, row)
        && row.replaces.iter().any(stays)
}

/// Whether each of those that a migration stands for is recorded as replaced, or was never applied by itself and has a file
/// to be recorded from.
fn can_be_restored(ground: &Ground<'_>, row: &Recorded) -> bool {
    let can_be = |part: &Version| match ground.row(part).map(|part| part.state) {
        Some(State::Replaced) => true,
        Some(State::RolledBack) | None => ground.dir.get(part).is_some(),
        Some(State::Applied | State::Stamped | State::Failed | State::Interrupted) => false,
    };
    !row.replaces.is_empty() && row.replaces.iter().all(can_be)
}

/// Lets those count again that a migration stood for, but for what one of them stands for itself.
pub(super) fn restore(ground: &Ground<'_>, row: &Recorded, assessment: &mut Assessment) {
    let parts = row.replaces.iter().filter_map(|part| ground.row(part));
    let inner: HashSet<&Version> = parts.flat_map(|part| &part.replaces).collect();
    let own = row.replaces.iter().filter(|part| !inner.contains(part));
    assessment.amendments.push(Amendment::Restore {
        version: row.version.clone(),
        replaced: own.map(|part| ground.row(part).map_or(part, |row| &row.version).clone()).collect(),
    });
}
