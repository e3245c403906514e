//! How far a run is, as one line for a terminal: since when, how much of the plan, and what the database is doing. Pure but
//! for the line that it is shown on.

use std::time::Duration;

use tokio::time::Instant;

use crate::{cli::live::Live, execute::Running};

/// How long something runs before it is shown: what is done by then never looks busy.
const FIRST: Duration = Duration::from_millis(150);
/// How often the time is written anew.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// How many signs the bar has.
const BAR: usize = 20;

/// Shows what runs, on a terminal.
pub(super) struct Meter {
    live: Live,
    /// What runs, and since when.
    since: Option<(String, Instant)>,
}

impl Meter {
    /// None where there is no terminal for it.
    pub fn begin() -> Option<Self> {
        Some(Self { live: Live::begin()?, since: None })
    }

    /// Shows how far it is, once it has taken a moment.
    pub fn show(&mut self, running: Option<&Running>) {
        let Some(running) = running else { return };
        let subject = running.subject.key().to_owned();
        let now = Instant::now();
        let since = match &self.since {
            Some((known, since)) if *known == subject => *since,
            _ => now,
        };
        self.since = Some((subject, since));
        if now - since >= FIRST {
            self.live.show(&line(running, now - since));
        }
    }
}

fn line(running: &Running, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let filled = filled(running);
    format!("{minutes}:{seconds:02} [{}{}] {running}", "#".repeat(filled), "-".repeat(BAR - filled))
}

/// How much of the bar is filled: migrations that are through, and of the one that runs its statements, and of a statement
/// what the server says.
fn filled(running: &Running) -> usize {
    let Running { statement, statements, completed, planned, progress, .. } = running;
    let percent = progress.as_ref().and_then(|progress| progress.percent).unwrap_or(0);
    let before = statement.map_or(0, |statement| statement.saturating_sub(1));
    let of_migration = (f64::from(before) + f64::from(percent) / 100.0) / f64::from((*statements).max(1));
    let (completed, planned) = (u32::try_from(*completed), u32::try_from((*planned).max(1)));
    let (completed, planned) = (completed.unwrap_or(u32::MAX), planned.unwrap_or(u32::MAX));
    let share = (f64::from(completed) + of_migration.min(1.0)) / f64::from(planned);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of 20 signs"
    )]
    let filled = (share * BAR as f64) as usize;
    filled.min(BAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        migration::{Direction, Version},
        progress::Progress,
        task::Subject,
    };

    #[test]
    fn the_line_says_since_when_how_much_and_what() {
        let mut running = Running {
            subject: Subject::Migration {
                version: Version::parse("002").expect("a version"),
                name: "index".to_owned(),
                direction: Direction::Up,
            },
            statement: Some(1),
            statements: 2,
            started_at: "2026-11-21T10:00:00Z".to_owned(),
            completed: 1,
            planned: 2,
            progress: None,
            blocked_by: Vec::new(),
        };
        let said = |running: &Running| line(running, Duration::from_secs(83));
        assert_eq!(said(&running), "1:23 [##########----------] 2 of 2: 002_index, statement 1 of 2");
        running.progress = Some(Progress { phase: "building index: scanning table".to_owned(), percent: Some(60) });
        let expected =
            "1:23 [#############-------] 2 of 2: 002_index, statement 1 of 2, building index: scanning table 60%";
        assert_eq!(said(&running), expected);
        running.statement = Some(9);
        assert!(said(&running).contains("[####################]"), "never more than all: {}", said(&running));
    }
}
