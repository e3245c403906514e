//! Events: one for each change of Ready's reason, with the same reason.
//!
//! They are told beside the reconcile, which never waits for them; what can't be told is dropped, for the status says it
//! all. A queue that is full drops too.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    core::{
        conditions::{EVENT_NOTE_BYTES, cut},
        outcome::{Kind, Reason},
    },
    fail_points::{Point, reached},
};

/// Events that may wait to be told.
const QUEUE: usize = 1_024;

/// Where events are handed in.
#[derive(Debug, Clone)]
pub(super) struct Events {
    queue: mpsc::Sender<Told>,
}

#[derive(Debug)]
struct Told {
    about: ObjectReference,
    reason: Reason,
    note: String,
}

impl Events {
    /// Starts telling events. The task ends when the last `Events` is dropped and the queue is empty.
    pub fn start(client: Client) -> (Self, JoinHandle<()>) {
        let (queue, mut receiver) = mpsc::channel::<Told>(QUEUE);
        let reporter = Reporter { controller: "dunlin".to_owned(), instance: std::env::var("HOSTNAME").ok() };
        let recorder = Recorder::new(client, reporter);
        let task = tokio::spawn(async move {
            while let Some(told) = receiver.recv().await {
                reached(Point::EventBefore).await;
                let published = recorder.publish(&event(&told), &told.about).await;
                reached(Point::EventAfter).await;
                if let Err(error) = published {
                    let name = told.about.name.as_deref().unwrap_or_default();
                    tracing::debug!(set = name, reason = %told.reason, error = %error, "an event couldn't be told");
                }
            }
        });
        (Self { queue }, task)
    }

    /// Tells that Ready's reason is now this one.
    pub fn tell(&self, about: ObjectReference, reason: Reason, message: &str) {
        let note = cut(message, EVENT_NOTE_BYTES).to_owned();
        if self.queue.try_send(Told { about, reason, note }).is_err() {
            tracing::debug!(%reason, "too many events at once: one is dropped");
        }
    }
}

fn event(told: &Told) -> Event {
    // The recorder counts events of one action and reason as one, and keeps the first one's note. What is said decides
    // the action, so that another message is another event.
    let mut hash = DefaultHasher::new();
    told.note.hash(&mut hash);
    Event {
        type_: match told.reason.kind() {
            Kind::Stalled => EventType::Warning,
            Kind::Ready | Kind::Reconciling | Kind::Suspended => EventType::Normal,
        },
        reason: told.reason.to_string(),
        note: Some(told.note.clone()),
        action: format!("Reconcile-{:08x}", hash.finish() & 0xffff_ffff),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reason: Reason, note: &str) -> Event {
        event(&Told { about: ObjectReference::default(), reason, note: note.to_owned() })
    }

    #[test]
    fn what_stalls_is_a_warning_and_everything_has_the_conditions_reason() {
        for &reason in Reason::ALL {
            let event = told(reason, "said");
            assert_eq!(event.reason, reason.to_string());
            assert_eq!(event.type_ == EventType::Warning, reason.kind() == Kind::Stalled, "{reason}");
        }
    }

    #[test]
    fn another_message_is_another_event() {
        let (one, other) = (told(Reason::MigrationFailed, "one"), told(Reason::MigrationFailed, "other"));
        assert_ne!(one.action, other.action);
        assert_eq!(one.action, told(Reason::MigrationFailed, "one").action);
    }
}
