//! Another tool's history, where it is to be taken over: what of it is recorded, and what is in the way.

use std::collections::HashSet;

use super::{Amendment, Assessment, Finding, Ground};
use crate::core::adopt;

/// The places of what is to be recorded on another tool's word; None, and findings, where its history can't be taken over.
pub(super) fn adopt(ground: &Ground<'_>, assessment: &mut Assessment) -> Option<HashSet<usize>> {
    let Ground { dir, history, desired, .. } = ground;
    let asked = desired.history.adopt.as_ref().filter(|adopt| adopt.concerns(history));
    let Some((adopt, foreign)) = asked.zip(history.foreign.as_ref()) else { return Some(HashSet::new()) };
    match adopt::take_over(dir, history, adopt, foreign) {
        Ok(adoption) => {
            let places = adoption.rows.iter().filter_map(|row| dir.position(&row.version)).collect();
            if !adoption.rows.is_empty() {
                assessment.amendments.push(Amendment::Adopt { rows: adoption.rows });
            }
            Some(places)
        }
        Err(obstacles) => {
            assessment.findings.extend(obstacles.iter().map(|obstacle| Finding {
                reason: obstacle.reason(),
                message: obstacle.message(desired.audience),
                failure: None,
            }));
            None
        }
    }
}
