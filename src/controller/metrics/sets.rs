//! The series of each MigrationSet, made from the status that a look ends with, so that status and metrics can't disagree.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    families::{self, Family},
    text::{Histogram, LONG, Page, exact},
};
use crate::{
    api::v1alpha1::MigrationSetStatus,
    core::{
        desired::Owner,
        history::History,
        migration::{Direction, Version},
        outcome::{Class, Kind, Reason},
    },
};

/// The end of a look.
#[derive(Debug)]
pub(in crate::controller) struct Looked<'a> {
    /// The reason of Ready.
    pub reason: Reason,
    /// The status, as it was written.
    pub status: &'a MigrationSetStatus,
    /// Which way the migration went whose failure the status shows, if it is one's.
    pub failed: Option<Direction>,
    /// What was executed in this look.
    pub done: &'a Done,
    /// The history afterwards, as far as it is known.
    pub history: Option<&'a History>,
    /// Unix time.
    pub now: i64,
}

/// What an execution has done.
#[derive(Debug, Default)]
pub(in crate::controller) struct Done {
    /// Migrations applied and rolled back, in order.
    pub applied: Vec<(Version, Direction)>,
    /// How long it was seen waiting for the locks of others.
    pub waited: Duration,
}

/// What tells one failure from the next: the reason, the run, and the retry.
type FailureKey = (Reason, Option<i64>, i64);

#[derive(Debug, Default)]
struct Set {
    reason: Option<Reason>,
    pending: Option<i64>,
    applied: Option<i64>,
    /// Files whose checksums differ, versions that are missing, objects of the schema.
    drift: [usize; DRIFTS.len()],
    last_success: Option<i64>,
    failing: Option<FailureKey>,
    failures: BTreeMap<(Reason, String), u64>,
    /// Succeeded and failed, up and down.
    migrations: [[u64; RESULTS.len()]; DIRECTIONS.len()],
}

const DRIFTS: [&str; 3] = ["checksum", "missing", "schema"];
const DIRECTIONS: [&str; 2] = ["up", "down"];
const RESULTS: [&str; 2] = ["succeeded", "failed"];
const SUCCEEDED: usize = 0;
const FAILED: usize = 1;

fn index(direction: Direction) -> usize {
    match direction {
        Direction::Up => 0,
        Direction::Down => 1,
    }
}

#[derive(Debug)]
pub(super) struct Sets {
    by_name: HashMap<Owner, Set>,
    durations: [Histogram; DIRECTIONS.len()],
    waits: Histogram,
}

impl Default for Sets {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            durations: DIRECTIONS.map(|_| Histogram::new(LONG)),
            waits: Histogram::new(LONG),
        }
    }
}

impl Sets {
    /// A look has come to its end.
    pub fn looked(&mut self, name: &Owner, looked: &Looked<'_>) {
        let Looked { reason, status, failed, done: Done { applied, waited }, history, now } = looked;
        let rows = history.map(History::by_version).unwrap_or_default();
        for (version, direction) in applied {
            if let Some(row) = rows.get(version) {
                let took = u64::try_from(row.duration_ms).unwrap_or_default();
                self.durations[index(*direction)].observe(Duration::from_millis(took).as_secs_f64());
            }
        }
        if !waited.is_zero() {
            self.waits.observe(waited.as_secs_f64());
        }
        let set = self.by_name.entry(name.clone()).or_default();
        for (_, direction) in applied {
            set.migrations[index(*direction)][SUCCEEDED] += 1;
        }
        set.reason = Some(*reason);
        if reason.kind() == Kind::Ready {
            set.last_success = Some(*now);
        }
        if let Some(applied) = &status.applied {
            set.pending = Some(applied.pending);
            set.applied = Some(applied.count);
        }
        let drift = status.drift.as_ref();
        set.drift = drift.map_or([0; 3], |drift| [drift.checksums.len(), drift.missing.len(), drift.schema.len()]);
        set.count_failure(*reason, status, *failed);
    }

    /// A set is there no more, and its series neither.
    pub fn forget(&mut self, name: &Owner) {
        self.by_name.remove(name);
    }

    pub fn write(&self, page: &mut Page) {
        let mut sets: Vec<(&Owner, &Set)> = self.by_name.iter().collect();
        sets.sort_by(|(one, _), (other, _)| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        for (family, value) in GAUGES {
            page.family(family, |samples| {
                for (Owner { namespace, name }, set) in &sets {
                    if let Some(value) = value(set) {
                        samples.add(&[namespace, name], value);
                    }
                }
            });
        }
        page.family(&families::REASON, |samples| {
            for (Owner { namespace, name }, set) in &sets {
                if let Some(reason) = set.reason {
                    samples.add(&[namespace, name, &reason.to_string()], 1.0);
                }
            }
        });
        page.family(&families::DRIFT, |samples| {
            for (Owner { namespace, name }, set) in &sets {
                for (kind, count) in DRIFTS.iter().zip(set.drift) {
                    samples.add(&[namespace, name, kind], exact(count as u64));
                }
            }
        });
        page.family(&families::MIGRATIONS, |samples| {
            for (Owner { namespace, name }, set) in &sets {
                for (direction, results) in DIRECTIONS.iter().zip(set.migrations) {
                    for (result, count) in RESULTS.iter().zip(results) {
                        samples.add(&[namespace, name, direction, result], exact(count));
                    }
                }
            }
        });
        page.family(&families::FAILURES, |samples| {
            for (Owner { namespace, name }, set) in &sets {
                for ((reason, class), count) in &set.failures {
                    samples.add(&[namespace, name, &reason.to_string(), class], exact(*count));
                }
            }
        });
        page.family(&families::MIGRATION_DURATION, |samples| {
            for (direction, durations) in DIRECTIONS.iter().zip(&self.durations) {
                samples.histogram(&[direction], durations);
            }
        });
        page.family(&families::LOCK_WAIT, |samples| samples.histogram(&[], &self.waits));
    }
}

impl Set {
    /// Counts a failure that the look before hadn't come to.
    fn count_failure(&mut self, reason: Reason, status: &MigrationSetStatus, failed: Option<Direction>) {
        let is_failure = match reason.class() {
            Some(Class::Transient | Class::Permanent | Class::NeedsPerson) => true,
            Some(Class::Wait) => reason == Reason::WaitingForDatabase,
            None => false,
        };
        if !is_failure {
            self.failing = None;
            return;
        }
        let is_of_a_run = is_of_a_run(reason);
        let failure = status.failure.as_ref().filter(|_| is_of_a_run);
        let retries = if reason.class() == Some(Class::Transient) { status.retries } else { 0 };
        let key = (reason, failure.and_then(|failure| failure.run), retries);
        if self.failing == Some(key) {
            return;
        }
        self.failing = Some(key);
        let class = failure.and_then(|failure| failure.sqlstate.as_deref()).map(sqlstate_class).unwrap_or_default();
        *self.failures.entry((reason, class)).or_default() += 1;
        if let Some(direction) = failed.filter(|_| is_of_a_run) {
            self.migrations[index(direction)][FAILED] += 1;
        }
    }
}

/// Whether the failure is one that `status.failure` shows.
fn is_of_a_run(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::MigrationFailed
            | Reason::NonTransactionalFailed
            | Reason::Interrupted
            | Reason::HookFailed
            | Reason::SeedFailed
    )
}

/// The first two characters of an SQLSTATE, which are its class; nothing of what is none.
fn sqlstate_class(sqlstate: &str) -> String {
    let is_one = sqlstate.len() == 5 && sqlstate.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    sqlstate.get(..2).filter(|_| is_one).unwrap_or_default().to_owned()
}

type Gauge = fn(&Set) -> Option<f64>;

/// What is said of each set by one number.
const GAUGES: [(&Family, Gauge); 7] = [
    (&families::READY, |set| set.says(|reason| reason.kind() == Kind::Ready)),
    (&families::STALLED, |set| set.says(|reason| reason.kind() == Kind::Stalled)),
    (&families::WAITING_FOR_APPROVAL, |set| set.says(|reason| reason == Reason::ApprovalRequired)),
    (&families::SUSPENDED, |set| set.says(|reason| reason == Reason::Suspended)),
    (&families::PENDING, |set| set.pending.map(number)),
    (&families::APPLIED, |set| set.applied.map(number)),
    (&families::LAST_SUCCESS, |set| set.last_success.map(number)),
];

impl Set {
    fn says(&self, what: fn(Reason) -> bool) -> Option<f64> {
        self.reason.map(|reason| if what(reason) { 1.0 } else { 0.0 })
    }
}

#[allow(clippy::cast_precision_loss, reason = "no count and no Unix time gets that far")]
fn number(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1alpha1::{AppliedStatus, DriftStatus, FailureStatus};

    fn name(name: &str) -> Owner {
        Owner { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn look(sets: &mut Sets, reason: Reason, status: &MigrationSetStatus) {
        let (done, now) = (Done::default(), 1_000);
        let looked = Looked { reason, status, failed: Some(Direction::Up), done: &done, history: None, now };
        sets.looked(&name("orders"), &looked);
    }

    /// The samples of a family, without its name.
    fn samples(sets: &Sets, family: &str) -> Vec<String> {
        let mut page = Page::default();
        sets.write(&mut page);
        let lines = page.text();
        let lines = lines.lines().filter_map(|line| line.strip_prefix(family)).filter(|line| line.starts_with('{'));
        lines.map(str::to_owned).collect()
    }

    fn failed(run: i64, sqlstate: &str) -> MigrationSetStatus {
        let failure = FailureStatus { run: Some(run), sqlstate: Some(sqlstate.to_owned()), ..FailureStatus::default() };
        MigrationSetStatus { failure: Some(failure), ..MigrationSetStatus::default() }
    }

    #[test]
    fn the_gauges_are_what_the_status_says() {
        let mut sets = Sets::default();
        let status = MigrationSetStatus {
            applied: Some(AppliedStatus { count: 3, pending: 2, ..AppliedStatus::default() }),
            drift: Some(DriftStatus { missing: vec!["004".to_owned()], ..DriftStatus::default() }),
            ..MigrationSetStatus::default()
        };
        let gauges = ["ready", "stalled", "waiting_for_approval", "suspended"];
        for (reason, expected) in [
            (Reason::UpToDate, [1, 0, 0, 0]),
            (Reason::DatabaseAhead, [1, 0, 0, 0]),
            (Reason::ApprovalRequired, [0, 0, 1, 0]),
            (Reason::Suspended, [0, 0, 0, 1]),
            (Reason::MissingMigration, [0, 1, 0, 0]),
            (Reason::WaitingForLock, [0, 0, 0, 0]),
        ] {
            look(&mut sets, reason, &status);
            for (gauge, value) in gauges.iter().zip(expected) {
                let found = samples(&sets, &format!("dunlin_{gauge}"));
                assert_eq!(found, [format!("{{namespace=\"shop\",name=\"orders\"}} {value}")], "{gauge}: {reason}");
            }
            let said = format!("{{namespace=\"shop\",name=\"orders\",reason=\"{reason}\"}} 1");
            assert_eq!(samples(&sets, "dunlin_reason"), [said], "one reason, the last");
        }
        let of = |family: &str| samples(&sets, family).join("\n");
        assert!(of("dunlin_pending_migrations").ends_with(" 2") && of("dunlin_applied_migrations").ends_with(" 3"));
        assert!(of("dunlin_last_success_timestamp_seconds").ends_with(" 1000"));
        assert!(
            of("dunlin_drift").contains("kind=\"missing\"} 1") && of("dunlin_drift").contains("kind=\"schema\"} 0")
        );
    }

    #[test]
    fn a_failure_is_counted_once_however_often_it_is_looked_at() {
        let mut sets = Sets::default();
        let counted = |sets: &Sets| samples(sets, "dunlin_failures_total");
        let line = |reason: &str, class: &str, count: u64| {
            format!("{{namespace=\"shop\",name=\"orders\",reason=\"{reason}\",sqlstate_class=\"{class}\"}} {count}")
        };
        for status in [failed(7, "23505"), failed(7, "23505"), failed(8, "23502")] {
            look(&mut sets, Reason::MigrationFailed, &status);
        }
        assert_eq!(counted(&sets), [line("MigrationFailed", "23", 2)]);
        let failures = samples(&sets, "dunlin_migrations_total");
        assert!(
            failures.contains(&"{namespace=\"shop\",name=\"orders\",direction=\"up\",result=\"failed\"} 2".to_owned())
        );
        // What was found again after something else is another failure.
        look(&mut sets, Reason::Suspended, &failed(8, "23502"));
        look(&mut sets, Reason::MigrationFailed, &failed(8, "23502"));
        assert_eq!(counted(&sets), [line("MigrationFailed", "23", 3)]);
    }

    #[test]
    fn the_class_is_of_a_run_and_of_an_sqlstate_alone() {
        let mut sets = Sets::default();
        // What the status still shows of a run is none of this failure's.
        look(&mut sets, Reason::WaitingForDatabase, &failed(7, "23505"));
        look(&mut sets, Reason::NonTransactionalFailed, &failed(8, "rm -r"));
        for retries in [1, 2] {
            look(&mut sets, Reason::Retrying, &MigrationSetStatus { retries, ..MigrationSetStatus::default() });
        }
        let counted = samples(&sets, "dunlin_failures_total").join("\n");
        assert_eq!(counted.matches("sqlstate_class=\"\"").count(), 3, "{counted}");
        assert!(counted.contains("reason=\"Retrying\",sqlstate_class=\"\"} 2"), "{counted}");
    }

    #[test]
    fn nothing_is_left_of_a_set_that_is_gone() {
        let mut sets = Sets::default();
        look(&mut sets, Reason::MigrationFailed, &failed(7, "23505"));
        sets.forget(&name("orders"));
        let mut page = Page::default();
        sets.write(&mut page);
        assert!(!page.text().contains("orders"));
    }
}
