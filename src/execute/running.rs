//! Where an execution is: what is shown while it runs, and the words for it.

use std::fmt;

use crate::core::{
    job::Job,
    progress::{Blocker, Progress, in_the_way},
    task::Subject,
};

/// Where an execution is, for `status.running`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// What runs.
    pub subject: Subject,
    /// Statement under way, from 1; None where that isn't known: of several that go as one message, the server answers for
    /// all at the end.
    pub statement: Option<u32>,
    /// Statements of the section.
    pub statements: u32,
    /// When it was begun, RFC 3339 in UTC.
    pub started_at: String,
    /// Those of this kind in this plan that are through.
    pub completed: usize,
    /// Those of this kind in this plan.
    pub planned: usize,
    /// What the server says that it does; or that it pauses before it is tried again.
    pub progress: Option<Progress>,
    /// Who holds the locks that it waits for; in a pause, who held them when they were last waited for.
    pub blocked_by: Vec<Blocker>,
}

impl Running {
    /// A migration is begun, of which nothing is seen yet.
    pub(super) fn new(job: &Job<'_>, started_at: &str, completed: usize, planned: usize) -> Self {
        let Job { version, name, direction, .. } = job;
        let subject = Subject::Migration { version: version.clone(), name: name.clone(), direction: *direction };
        Self::of(subject, job.section.script.statements.len(), started_at, (completed, planned))
    }

    /// Something is begun, the next behind `completed` of those `planned`.
    pub(super) fn of(
        subject: Subject,
        statements: usize,
        started_at: &str,
        (completed, planned): (usize, usize),
    ) -> Self {
        Self {
            subject,
            statement: None,
            statements: u32::try_from(statements).unwrap_or(u32::MAX),
            started_at: started_at.to_owned(),
            completed,
            planned,
            progress: None,
            blocked_by: Vec::new(),
        }
    }

    /// The statement of that index is under way. Unless it is tried again, what was seen of another is over.
    pub(super) fn begin(&mut self, index: usize) {
        let statement = Some(u32::try_from(index + 1).unwrap_or(u32::MAX));
        if self.statement != statement {
            self.statement = statement;
            self.progress = None;
            self.blocked_by.clear();
        }
    }
}

/// `2 of 7: 002_index, statement 1 of 3, building index: scanning table 42%, waiting for pid 4711 (psql, till)`.
impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, statement, statements, started_at: _, completed, planned, progress, blocked_by } = self;
        write!(f, "{} of {planned}: {subject}", completed + 1)?;
        if let Some(statement) = statement.filter(|_| *statements > 1) {
            write!(f, ", statement {statement} of {statements}")?;
        }
        if let Some(progress) = progress {
            write!(f, ", {progress}")?;
        }
        if let Some(who) = in_the_way(blocked_by) {
            write!(f, ", waiting for {who}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::migration::{Direction, Version};

    #[test]
    fn the_sentence_names_what_is_known_and_nothing_else() {
        let mut running = Running {
            subject: Subject::Migration {
                version: Version::parse("002").expect("a version"),
                name: "index".to_owned(),
                direction: Direction::Up,
            },
            statement: None,
            statements: 3,
            started_at: "2026-11-21T10:00:00Z".to_owned(),
            completed: 1,
            planned: 7,
            progress: None,
            blocked_by: Vec::new(),
        };
        assert_eq!(running.to_string(), "2 of 7: 002_index");
        running.begin(0);
        running.progress = Some(Progress { phase: "building index: scanning table".to_owned(), percent: Some(42) });
        assert_eq!(running.to_string(), "2 of 7: 002_index, statement 1 of 3, building index: scanning table 42%");
        running.blocked_by = vec![Blocker {
            pid: Some(4711),
            application: Some("psql".to_owned()),
            user: None,
            query: None,
            since: None,
        }];
        assert!(
            running.to_string().ends_with("scanning table 42%, waiting for pid 4711 (psql)"),
            "{}",
            running.to_string()
        );
        running.begin(0);
        assert!(running.to_string().contains("waiting for pid 4711"), "the same one, tried again");
        running.begin(1);
        assert_eq!(running.to_string(), "2 of 7: 002_index, statement 2 of 3");
        running.statements = 1;
        assert_eq!(running.to_string(), "2 of 7: 002_index");
    }
}
