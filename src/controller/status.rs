//! The one writer of statuses: one JSON patch, which replaces the whole status, whoever else has written to it.
//!
//! A status that is as it should be isn't written. One that belongs to an object that has gone, or that is another of the
//! same name, is nobody's, and isn't written either.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};

use super::{events::Events, registry::Written};
use crate::{
    api::v1alpha1::{MigrationSet, MigrationSetStatus},
    core::outcome::Reason,
    fail_points::{Point, reached},
    source::is_older,
};

/// The field manager of everything that the operator writes.
pub(super) const MANAGER: &str = "dunlin";
/// How long the API server may take for an answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// How the API server answers a JSON patch whose test fails, and a status that its schema refuses.
const UNPROCESSABLE: u16 = 422;

/// A status couldn't be written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The API server refused it, or couldn't be reached.
    #[error("writing the status")]
    Refused(#[source] Box<kube::Error>),
    /// The API server didn't answer.
    #[error("writing the status: no answer within 30 s")]
    Silent,
    /// The reconcile didn't get as far, which is a defect of Dunlin.
    #[error("a reconcile panicked")]
    Panicked,
}

impl StatusError {
    /// The error and what caused it. (kube prints an answer of the API server twice, once as a structure.)
    pub(super) fn with_source(&self) -> String {
        match self {
            Self::Refused(cause) => match cause.as_ref() {
                kube::Error::Api(status) => format!("{self}: {}", status.message),
                cause => format!("{self}: {cause}"),
            },
            Self::Silent | Self::Panicked => self.to_string(),
        }
    }
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The object has this status now.
    Written,
    /// The object has gone, or another has its name.
    Gone,
}

/// Writes the statuses of one MigrationSet during one reconcile.
pub(super) struct StatusWriter {
    api: Api<MigrationSet>,
    events: Events,
    about: ObjectReference,
    name: String,
    uid: String,
    known: Written,
}

impl StatusWriter {
    /// A writer for an object as the watch shows it; what was last written counts when it is later.
    pub fn new(client: Client, events: Events, set: &MigrationSet, written: Option<Written>) -> Self {
        let namespace = set.namespace().unwrap_or_default();
        let shown = Written {
            resource_version: set.resource_version().unwrap_or_default(),
            status: set.status.clone().unwrap_or_default(),
        };
        let known = match written {
            Some(written) if !is_older(&written.resource_version, &shown.resource_version) => written,
            Some(_) | None => shown,
        };
        Self {
            api: Api::namespaced(client, &namespace),
            events,
            about: set.object_ref(&()),
            name: set.name_any(),
            uid: set.uid().unwrap_or_default(),
            known,
        }
    }

    /// The status that the object has, as far as is known.
    pub fn known(&self) -> &Written {
        &self.known
    }

    /// Writes a status, unless the object has it already, and tells a change of Ready's reason.
    ///
    /// # Errors
    /// When it couldn't be written.
    pub async fn write(&mut self, status: &MigrationSetStatus) -> Result<Outcome, StatusError> {
        if self.known.status == *status {
            return Ok(Outcome::Written);
        }
        reached(Point::StatusBefore).await;
        let applied = tokio::time::timeout(DEADLINE, self.apply(status)).await;
        reached(Point::StatusAfter).await;
        match applied {
            Err(_) => Err(StatusError::Silent),
            Ok(Err(kube::Error::Api(answer))) if answer.is_not_found() || answer.code == UNPROCESSABLE => {
                self.gone_or(kube::Error::Api(answer)).await
            }
            Ok(Err(error)) => Err(StatusError::Refused(Box::new(error))),
            Ok(Ok(object)) => {
                if ready_reason(&self.known.status) != ready_reason(status)
                    && let Some((reason, message)) = ready(status)
                {
                    self.events.tell(self.about.clone(), reason, message);
                }
                self.known = Written {
                    resource_version: object.resource_version().unwrap_or_default(),
                    status: object.status.unwrap_or_default(),
                };
                Ok(Outcome::Written)
            }
        }
    }

    async fn apply(&self, status: &MigrationSetStatus) -> kube::Result<MigrationSet> {
        // The test refuses the patch when another object has the name by now. (A server-side apply looks at no uid where it
        // writes a status; the object's version would be in the way of everybody else's writes.)
        let patch = serde_json::json!([
            {"op": "test", "path": "/metadata/uid", "value": self.uid},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?);
        let manager = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.api.patch_status(&self.name, &manager, &patch).await
    }

    /// Tells an object that has gone, or that has given its name to another, from a status that is refused.
    async fn gone_or(&self, error: kube::Error) -> Result<Outcome, StatusError> {
        match self.api.get_metadata_opt(&self.name).await {
            Ok(Some(object)) if object.uid().as_deref() == Some(self.uid.as_str()) => {
                Err(StatusError::Refused(Box::new(error)))
            }
            Ok(_) => Ok(Outcome::Gone),
            Err(error) => Err(StatusError::Refused(Box::new(error))),
        }
    }
}

/// The reason and message of Ready, where the reason is one of ours.
pub(super) fn ready(status: &MigrationSetStatus) -> Option<(Reason, &str)> {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let reason = Reason::ALL.iter().copied().find(|reason| reason.to_string() == ready.reason)?;
    Some((reason, &ready.message))
}

fn ready_reason(status: &MigrationSetStatus) -> Option<Reason> {
    ready(status).map(|(reason, _)| reason)
}
