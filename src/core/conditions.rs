//! A verdict, the conditions before, and the time → the conditions after.
//!
//! At most one of `Ready`, `Reconciling` and `Stalled` is True; a transition time moves only when a status does; no
//! message is longer than its field may hold. Nothing here knows how the verdict was reached.

use jiff::Timestamp;

use super::outcome::{Kind, Reason, Truth};

/// Bytes that a condition's message may hold.
pub const CONDITION_MESSAGE_BYTES: usize = 32_768;
/// Bytes that an event's note may hold.
pub const EVENT_NOTE_BYTES: usize = 1_024;

/// The conditions of a MigrationSet, in the order in which they stand in the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the specification page explains each")]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    DatabaseReachable,
    ChecksumsMatch,
    SchemaInSync,
    Approved,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which one.
    pub kind: ConditionType,
    /// True, False or Unknown.
    pub status: Truth,
    /// One CamelCase word.
    pub reason: String,
    /// What, where, and what to do next.
    pub message: String,
    /// The generation that it was found for.
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
}

/// What a look found, in the terms of the conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The reason of Ready.
    pub reason: Reason,
    /// Its message.
    pub message: String,
    /// What is known of the database.
    pub database: Reach,
    /// What is known of the checksums.
    pub checksums: Checksums,
    /// What is known of a person's approval.
    pub approval: Approval,
}

/// What `Approved` is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// What it said before: a look is under way, or didn't come so far.
    Kept,
    /// Nothing asks for one.
    NotAsked,
    /// A plan waits for one.
    Awaited {
        /// Which plan, and how to approve it.
        message: String,
    },
    /// The plan is approved.
    Given {
        /// Which plan, and by whom.
        message: String,
    },
}

/// What `DatabaseReachable` is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// What it said before: a look is under way.
    Kept,
    /// The look didn't come so far.
    NotChecked,
    /// A session was opened and the history read.
    Reached,
    /// It was tried, and failed.
    Failed {
        /// Why, a reason of Ready.
        reason: Reason,
        /// What the server or the network said.
        message: String,
    },
}

/// What `ChecksumsMatch` is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksums {
    /// What it said before: a look is under way.
    Kept,
    /// The look didn't come so far.
    NotChecked,
    /// Every applied file is as it was applied.
    Match,
    /// Applied files were edited.
    Drift {
        /// Names every file.
        message: String,
    },
}

impl Verdict {
    /// A verdict of a look that is under way: everything but Ready stays what it was.
    #[must_use]
    pub fn under_way(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            database: Reach::Kept,
            checksums: Checksums::Kept,
            approval: Approval::Kept,
        }
    }

    /// A verdict of a look that ended before the database was asked.
    #[must_use]
    pub fn before_database(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            database: Reach::NotChecked,
            checksums: Checksums::NotChecked,
            approval: Approval::Kept,
        }
    }
}

impl ConditionType {
    /// Every condition, in the order of the status.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::DatabaseReachable,
        Self::ChecksumsMatch,
        Self::SchemaInSync,
        Self::Approved,
    ];
}

impl std::fmt::Display for ConditionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Turns a verdict into conditions, at most one of each type, keeping a transition time where the status stays.
#[must_use]
pub fn conditions(verdict: &Verdict, old: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    ConditionType::ALL
        .into_iter()
        .filter_map(|kind| {
            let before = old.iter().find(|condition| condition.kind == kind);
            let (status, reason, message) = content(kind, verdict, before)?;
            let last_transition_time = match before {
                Some(before) if before.status == status => before.last_transition_time,
                Some(_) | None => now,
            };
            Some(Condition {
                kind,
                status,
                reason,
                message: cut(&message, CONDITION_MESSAGE_BYTES).to_owned(),
                observed_generation: generation,
                last_transition_time,
            })
        })
        .collect()
}

/// Status, reason and message; None for a condition that is absent.
fn content(kind: ConditionType, verdict: &Verdict, before: Option<&Condition>) -> Option<(Truth, String, String)> {
    let said = || verdict.reason.to_string();
    Some(match kind {
        ConditionType::Ready => (verdict.reason.ready(), said(), verdict.message.clone()),
        ConditionType::Reconciling => summary(verdict, Kind::Reconciling),
        ConditionType::Stalled => summary(verdict, Kind::Stalled),
        ConditionType::DatabaseReachable => match &verdict.database {
            Reach::Kept => kept(before),
            Reach::NotChecked => not_checked(),
            Reach::Reached => (Truth::True, "Connected".to_owned(), String::new()),
            Reach::Failed { reason, message } => (Truth::False, reason.to_string(), message.clone()),
        },
        ConditionType::ChecksumsMatch => match &verdict.checksums {
            Checksums::Kept => kept(before),
            Checksums::NotChecked => not_checked(),
            Checksums::Match => (Truth::True, "ChecksumsMatch".to_owned(), String::new()),
            Checksums::Drift { message } => (Truth::False, Reason::ChecksumDrift.to_string(), message.clone()),
        },
        ConditionType::SchemaInSync => not_checked(),
        ConditionType::Approved => match &verdict.approval {
            Approval::Kept => return before.map(|_| kept(before)),
            Approval::NotAsked => return None,
            Approval::Awaited { message } => (Truth::False, Reason::ApprovalRequired.to_string(), message.clone()),
            Approval::Given { message } => (Truth::True, "PlanApproved".to_owned(), message.clone()),
        },
    })
}

fn summary(verdict: &Verdict, kind: Kind) -> (Truth, String, String) {
    if verdict.reason.kind() == kind {
        (Truth::True, verdict.reason.to_string(), verdict.message.clone())
    } else {
        (Truth::False, verdict.reason.to_string(), String::new())
    }
}

fn kept(before: Option<&Condition>) -> (Truth, String, String) {
    before.map_or_else(not_checked, |before| (before.status, before.reason.clone(), before.message.clone()))
}

fn not_checked() -> (Truth, String, String) {
    (Truth::Unknown, "NotChecked".to_owned(), String::new())
}

/// Cuts a text to at most `bytes` bytes, on a character boundary.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a second of the tests is a time")
    }

    fn find(all: &[Condition], kind: ConditionType) -> &Condition {
        all.iter().find(|condition| condition.kind == kind).expect("every type is there")
    }

    fn looked(reason: Reason) -> Verdict {
        Verdict {
            reason,
            message: "said".to_owned(),
            database: Reach::Reached,
            checksums: Checksums::Match,
            approval: Approval::NotAsked,
        }
    }

    #[test]
    fn each_kind_of_reason_gives_its_three_summary_conditions() {
        use Truth::{False, True, Unknown};
        for (reason, expected) in [
            (Reason::UpToDate, [True, False, False]),
            (Reason::Checking, [Unknown, True, False]),
            (Reason::WaitingForSecret, [False, True, False]),
            (Reason::MigrationFailed, [False, False, True]),
            (Reason::Suspended, [False, False, False]),
        ] {
            let found = conditions(&looked(reason), &[], 4, at(10));
            let summary = [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled]
                .map(|kind| find(&found, kind).status);
            assert_eq!(summary, expected, "{reason}");
            assert_eq!(find(&found, ConditionType::Ready).reason, reason.to_string());
            assert!(found.iter().all(|condition| condition.observed_generation == 4));
        }
    }

    #[test]
    fn checking_keeps_what_is_known_of_the_database_and_the_checksums() {
        let ready = conditions(&looked(Reason::UpToDate), &[], 1, at(10));
        let checking = conditions(&Verdict::under_way(Reason::Checking, ""), &ready, 2, at(20));
        assert_eq!(find(&checking, ConditionType::DatabaseReachable).status, Truth::True);
        assert_eq!(find(&checking, ConditionType::ChecksumsMatch).last_transition_time, at(10));
        assert_eq!(find(&checking, ConditionType::Ready).last_transition_time, at(20));
    }

    #[test]
    fn drift_is_said_whatever_the_reason_of_ready() {
        let verdict = Verdict {
            checksums: Checksums::Drift { message: "001_a.sql was edited".to_owned() },
            ..looked(Reason::UpToDate)
        };
        let found = conditions(&verdict, &[], 1, at(10));
        assert_eq!(find(&found, ConditionType::Ready).status, Truth::True);
        let drift = find(&found, ConditionType::ChecksumsMatch);
        assert_eq!((drift.status, drift.reason.as_str()), (Truth::False, "ChecksumDrift"));
        assert!(drift.message.contains("001_a.sql"));
    }

    #[test]
    fn schemas_are_not_compared_yet() {
        let found = conditions(&looked(Reason::UpToDate), &[], 1, at(10));
        let schema = find(&found, ConditionType::SchemaInSync);
        assert_eq!((schema.status, schema.reason.as_str()), (Truth::Unknown, "NotChecked"));
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        let verdict = Verdict { message: "é".repeat(20_000), ..looked(Reason::MigrationFailed) };
        let found = conditions(&verdict, &[], 1, at(10));
        assert_eq!(find(&found, ConditionType::Ready).message.len(), CONDITION_MESSAGE_BYTES);
    }

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        let reach = prop_oneof![
            Just(Reach::Kept),
            Just(Reach::NotChecked),
            Just(Reach::Reached),
            Just(Reach::Failed { reason: Reason::WaitingForDatabase, message: "refused".to_owned() }),
        ];
        let checksums = prop_oneof![
            Just(Checksums::Kept),
            Just(Checksums::NotChecked),
            Just(Checksums::Match),
            Just(Checksums::Drift { message: "001_a.sql".to_owned() }),
        ];
        let approval = prop_oneof![
            Just(Approval::Kept),
            Just(Approval::NotAsked),
            Just(Approval::Awaited { message: "a plan".to_owned() }),
            Just(Approval::Given { message: "a plan".to_owned() }),
        ];
        (proptest::sample::select(Reason::ALL), ".{0,20}", reach, checksums, approval).prop_map(
            |(reason, message, database, checksums, approval)| Verdict {
                reason,
                message,
                database,
                checksums,
                approval,
            },
        )
    }

    proptest! {
        #[test]
        fn at_most_one_summary_condition_is_true(verdicts in proptest::collection::vec(any_verdict(), 1..6)) {
            let mut old = Vec::new();
            for verdict in &verdicts {
                old = conditions(verdict, &old, 1, at(1));
                let summary = [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled];
                prop_assert!(summary.iter().filter(|kind| find(&old, **kind).status == Truth::True).count() <= 1);
                let mut kinds: Vec<_> = old.iter().map(|condition| condition.kind).collect();
                kinds.dedup();
                let always = |kind: &ConditionType| *kind != ConditionType::Approved;
                kinds.retain(always);
                prop_assert_eq!(kinds, ConditionType::ALL.into_iter().filter(always).collect::<Vec<_>>());
            }
        }

        #[test]
        fn saying_the_same_again_changes_nothing(before in any_verdict(), verdict in any_verdict()) {
            let old = conditions(&before, &[], 1, at(1));
            let once = conditions(&verdict, &old, 2, at(2));
            prop_assert_eq!(&conditions(&verdict, &once, 2, at(3)), &once);
        }

        #[test]
        fn a_transition_time_moves_exactly_with_the_status(before in any_verdict(), verdict in any_verdict()) {
            let old = conditions(&before, &[], 1, at(1));
            for new in &conditions(&verdict, &old, 1, at(2)) {
                let Some(old) = old.iter().find(|old| old.kind == new.kind) else { continue };
                prop_assert_eq!(new.status != old.status, new.last_transition_time == at(2));
            }
        }
    }
}
