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
use crate::{api::v1alpha1::MigrationSet, source::is_older};

/// A status that somebody else writes again and again is put right at most this often.
const FORGERY_PAUSE: Duration = Duration::from_secs(1);

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
        let mend = look.at + FORGERY_PAUSE;
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
fn is_forged(set: &MigrationSet, remembered: &Remembered) -> bool {
    let Some(written) = &remembered.written else { return false };
    let shown = set.resource_version().unwrap_or_default();
    is_older(&written.resource_version, &shown) && set.status.as_ref() != Some(&written.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::v1alpha1::MigrationSetStatus,
        controller::registry::{PastLook, Written},
    };

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
