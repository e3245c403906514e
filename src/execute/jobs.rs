//! What a plan's steps run, in order: all of it is there and can be read before the first statement of the first one.

use std::{borrow::Cow, collections::HashMap};

use super::lost;
use crate::{
    core::{
        desired::Desired,
        history::{History, Recorded},
        job::{self, Job},
        migration::{Direction, MigrationDir, Section},
        outcome::{Failure, Reason},
        plan::{Plan, variables::substitute},
    },
    database::session::Row,
};

/// The versions whose recorded ways down a plan needs.
pub(super) fn downs(plan: &Plan) -> Vec<&str> {
    let downs = plan.steps.iter().filter(|step| step.direction == Direction::Down);
    downs.map(|step| step.version.as_str()).collect()
}

/// The jobs of a plan; `stored` are the ways down that the history holds, as its query answers.
pub(super) fn jobs<'a>(
    plan: &Plan,
    dir: &'a MigrationDir,
    history: &History,
    desired: &'a Desired,
    stored: &[Row],
) -> Result<Vec<Job<'a>>, Failure> {
    let known = history.by_version();
    let stored: HashMap<&str, &str> = stored.iter().filter_map(|row| Some((row.get(0)?, row.get(1)?))).collect();
    let job = |step: &crate::core::plan::Step| {
        let row = known.get(&step.version).copied();
        match (step.direction, dir.get(&step.version), row) {
            (Direction::Up, Some(migration), row) => Ok(Job::up(migration, row, desired)),
            (Direction::Down, _, Some(row)) => {
                let section = down(row, stored.get(row.version.as_str()).copied(), dir)?;
                Ok(Job::down(row, section, history, desired))
            }
            (Direction::Up | Direction::Down, _, _) => {
                let what = format!("{} is neither in the source nor in the history", step.version);
                Err(lost("reading what is to run", &what))
            }
        }
    };
    let with_values = |mut job: Job<'a>| substitute(&mut job, desired).map(|()| job);
    plan.steps.iter().map(|step| job(step).and_then(with_values)).collect()
}

/// The way down that the history holds, read and held against its checksum.
fn down<'a>(row: &Recorded, stored: Option<&str>, dir: &'a MigrationDir) -> Result<Cow<'a, Section>, Failure> {
    let Recorded { version, name, .. } = row;
    let unreadable = |why: &str| {
        Failure::new(
            Reason::NoDownMigration,
            format!(
                "the way down that is recorded for {version}_{name} can't be read ({why}): write the `-- migrate: down` section of its \
                 file anew; nothing was run"
            ),
        )
    };
    let stored = stored.ok_or_else(|| unreadable("it isn't there"))?;
    let section = job::down_section(row, dir, stored).map_err(|why| unreadable(&why))?;
    if row.down_checksum.as_ref() != Some(&section.checksum) {
        return Err(unreadable("it isn't the text of the recorded checksum"));
    }
    Ok(section)
}
