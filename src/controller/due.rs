//! Whether a reconcile has anything to look at. Pure: what a watch shows and what is remembered, against the time.
//!
//! It is what keeps an idle operator silent: its own status writes, and events that change nothing, end here.

use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use super::{
    registry::{Happened, Remembered, Seen},
    tokens::Tokens,
};
use crate::{
    api::v1alpha1::{MigrationSet, MigrationSetStatus},
    source::is_older,
};

/// How long a status that somebody else has written stands before it is put right. The pause grows while it is written
/// again and again: be it a forger, or another operator that sees something else.
const FORGERY_PAUSE: Duration = Duration::from_secs(1);
/// The longest that it grows.
const LONGEST_FORGERY_PAUSE: Duration = Duration::from_secs(10);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A look.
    Look,
    /// Reading the Secret, and a look if it is another than before.
    Secret,
    /// Nothing, for this long; None: until something happens.
    Rest(Option<Duration>),
}

/// Says what is due for a set, as the watch shows it.
pub(super) fn due(set: &MigrationSet, remembered: &Remembered, happened: Happened, now: Instant) -> Due {
    let Some(look) = &remembered.look else { return Due::Look };
    let tokens = Tokens::of(set);
    let changed = look.generation != set.metadata.generation.unwrap_or_default()
        || look.tokens != tokens
        || happened != Happened { source: Seen::No, other: Seen::No };
    if changed {
        return Due::Look;
    }
    let reached = |time: Option<Instant>| time.is_some_and(|time| time <= now);
    if reached(look.next) {
        return Due::Look;
    }
    let mut rest: Vec<Instant> = look.next.into_iter().chain(look.next_secret).collect();
    if is_forged(set, remembered) {
        let pause = FORGERY_PAUSE.saturating_mul(2u32.saturating_pow(look.mended)).min(LONGEST_FORGERY_PAUSE);
        let mend = look.at + pause;
        if mend <= now {
            return Due::Look;
        }
        rest.push(mend);
    }
    if reached(look.next_secret) {
        return Due::Secret;
    }
    Due::Rest(rest.into_iter().min().map(|time| time - now))
}

/// Whether the watch shows a status that is later than the one written, and other.
pub(super) fn is_forged(set: &MigrationSet, remembered: &Remembered) -> bool {
    let Some(written) = &remembered.written else { return false };
    let shown = set.resource_version().unwrap_or_default();
    let same = set.status.as_ref().is_some_and(|shown| says_the_same(&written.status, shown));
    is_older(&written.resource_version, &shown) && !same
}

/// Whether two statuses say the same. Of two operators that wait for the same, each does so with pauses of its own.
fn says_the_same(written: &MigrationSetStatus, shown: &MigrationSetStatus) -> bool {
    if written.next_retry_at.is_none() || shown.next_retry_at.is_none() {
        return written == shown;
    }
    let MigrationSetStatus { retries, next_retry_at, .. } = written;
    let shown = MigrationSetStatus { retries: *retries, next_retry_at: next_retry_at.clone(), ..shown.clone() };
    *written == shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::registry::{PastLook, Written};

    fn set(generation: i64, version: &str) -> MigrationSet {
        let mut set: MigrationSet = serde_json::from_value(serde_json::json!({
            "apiVersion": "dunlin.dev/v1alpha1",
            "kind": "MigrationSet",
            "metadata": {"name": "shop", "namespace": "shop", "uid": "1", "generation": generation, "resourceVersion": version},
            "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}}
        }))
        .expect("it is a MigrationSet");
        set.status = Some(status(0));
        set
    }

    fn status(retries: i64) -> MigrationSetStatus {
        MigrationSetStatus { retries, ..MigrationSetStatus::default() }
    }

    fn looked(at: Instant) -> Remembered {
        Remembered {
            look: Some(PastLook {
                generation: 1,
                snapshot: None,
                tokens: Tokens::default(),
                at,
                next: Some(at + Duration::from_mins(10)),
                next_secret: None,
                mended: 0,
            }),
            written: Some(Written { resource_version: "10".to_owned(), status: status(0) }),
            ..Remembered::default()
        }
    }

    const NOTHING: Happened = Happened { source: Seen::No, other: Seen::No };

    #[test]
    fn a_set_that_was_never_looked_at_is_due() {
        assert_eq!(due(&set(1, "10"), &Remembered::default(), NOTHING, Instant::now()), Due::Look);
    }

    #[test]
    fn nothing_is_due_after_our_own_write_until_the_interval_is_over() {
        let now = Instant::now();
        let remembered = looked(now);
        for version in ["9", "10", "11"] {
            let due = due(&set(1, version), &remembered, NOTHING, now + Duration::from_secs(5));
            assert_eq!(due, Due::Rest(Some(Duration::from_secs(595))), "{version}");
        }
        assert_eq!(due(&set(1, "10"), &remembered, NOTHING, now + Duration::from_mins(10)), Due::Look);
    }

    #[test]
    fn a_new_generation_annotation_or_content_is_due_at_once() {
        let now = Instant::now();
        let remembered = looked(now);
        assert_eq!(due(&set(2, "11"), &remembered, NOTHING, now), Due::Look);
        let mut annotated = set(1, "11");
        annotated.annotations_mut().insert("dunlin.dev/reconcile".to_owned(), "now".to_owned());
        assert_eq!(due(&annotated, &remembered, NOTHING, now), Due::Look);
        let content = Happened { source: Seen::Yes, ..NOTHING };
        assert_eq!(due(&set(1, "10"), &remembered, content, now), Due::Look);
    }

    #[test]
    fn an_annotation_that_is_nobodys_business_is_not_due() {
        let now = Instant::now();
        let mut annotated = set(1, "11");
        annotated.annotations_mut().insert("example.com/team".to_owned(), "shop".to_owned());
        assert!(matches!(due(&annotated, &looked(now), NOTHING, now), Due::Rest(_)));
    }

    #[test]
    fn a_forged_status_is_due_but_not_over_and_over() {
        let now = Instant::now();
        let remembered = looked(now);
        let mut forged = set(1, "11");
        forged.status = Some(status(7));
        assert_eq!(due(&forged, &remembered, NOTHING, now), Due::Rest(Some(Duration::from_secs(1))));
        assert_eq!(due(&forged, &remembered, NOTHING, now + Duration::from_secs(1)), Due::Look);
        forged.status = None;
        assert_eq!(due(&forged, &remembered, NOTHING, now + Duration::from_secs(1)), Due::Look);
    }

    #[test]
    fn a_status_that_is_forged_again_and_again_is_put_right_ever_more_slowly() {
        let now = Instant::now();
        let mut remembered = looked(now);
        let mut forged = set(1, "11");
        forged.status = None;
        let mut pauses = Vec::new();
        for mended in [0, 1, 2, 3, 4, u32::MAX] {
            remembered.look.as_mut().expect("it was looked at").mended = mended;
            let Due::Rest(Some(pause)) = due(&forged, &remembered, NOTHING, now) else { panic!("{mended}") };
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn another_operators_pauses_are_no_forgery() {
        let now = Instant::now();
        let waiting =
            |retries: i64, at: &str| MigrationSetStatus { next_retry_at: Some(at.to_owned()), ..status(retries) };
        let mut remembered = looked(now);
        remembered.written =
            Some(Written { resource_version: "10".to_owned(), status: waiting(1, "2026-11-21T10:00:00Z") });
        let mut shown = set(1, "11");
        shown.status = Some(waiting(3, "2026-11-21T10:00:07Z"));
        assert_eq!(due(&shown, &remembered, NOTHING, now), Due::Rest(Some(Duration::from_mins(10))));
        shown.status = Some(MigrationSetStatus { observed_generation: Some(7), ..waiting(3, "2026-11-21T10:00:07Z") });
        assert_eq!(due(&shown, &remembered, NOTHING, now), Due::Rest(Some(Duration::from_secs(1))));
    }

    #[test]
    fn a_watch_that_lags_behind_our_own_write_shows_no_forgery() {
        let now = Instant::now();
        let mut old = set(1, "9");
        old.status = None;
        assert!(matches!(due(&old, &looked(now), NOTHING, now + Duration::from_secs(5)), Due::Rest(_)));
    }

    #[test]
    fn the_secret_is_due_between_looks() {
        let now = Instant::now();
        let mut remembered = looked(now);
        if let Some(look) = &mut remembered.look {
            look.next_secret = Some(now + Duration::from_secs(30));
        }
        assert_eq!(due(&set(1, "10"), &remembered, NOTHING, now), Due::Rest(Some(Duration::from_secs(30))));
        assert_eq!(due(&set(1, "10"), &remembered, NOTHING, now + Duration::from_secs(30)), Due::Secret);
        assert_eq!(due(&set(1, "10"), &remembered, NOTHING, now + Duration::from_mins(10)), Due::Look);
    }

    #[test]
    fn a_set_without_a_next_look_rests_until_something_happens() {
        let now = Instant::now();
        let mut remembered = looked(now);
        if let Some(look) = &mut remembered.look {
            look.next = None;
        }
        assert_eq!(due(&set(1, "10"), &remembered, NOTHING, now), Due::Rest(None));
    }
}
