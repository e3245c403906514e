//! What the queue calls for each MigrationSet: whether anything is due, and if so, the line.

use std::sync::Arc;

use kube::{ResourceExt, runtime::controller::Action};
use tokio::time::Instant;

use super::{
    context::Context,
    dereference,
    due::{Due, due},
    line::Line,
    metrics,
    registry::{Remembered, name_of},
    status::StatusError,
};
use crate::{
    api::v1alpha1::MigrationSet,
    core::{desired::Owner, pace::SECRET_PAUSE},
};

/// Looks at a MigrationSet, if there is anything to look at, and says when to come back.
///
/// # Errors
/// [`StatusError`] when its status couldn't be written.
pub(super) async fn reconcile(set: Arc<MigrationSet>, context: Arc<Context>) -> Result<Action, StatusError> {
    let name = name_of(&*set);
    // A standby keeps what has happened for the day that it leads; every set is asked for anew then.
    if set.metadata.deletion_timestamp.is_some() || !context.may_work() {
        context.metrics.dropped(&name);
        return Ok(Action::await_change());
    }
    let under_way = context.metrics.begins(&name);
    let result = Box::pin(look_if_due(&set, &context, &name)).await;
    under_way.ends(match &result {
        Ok(again) if *again == Action::await_change() => metrics::Result::Success,
        Ok(_) => metrics::Result::RequeueAfter,
        Err(_) => metrics::Result::Error,
    });
    result
}

async fn look_if_due(set: &MigrationSet, context: &Context, name: &Owner) -> Result<Action, StatusError> {
    let uid = set.uid().unwrap_or_default();
    let (remembered, happened) = context.registry.begin(name, &uid);
    match due(set, &remembered, happened, Instant::now()) {
        Due::Rest(rest) => return Ok(rest.map_or_else(Action::await_change, Action::requeue)),
        Due::Secret => {
            if let Some(rest) = secret_is_the_same(context, set, name, &uid, &remembered).await {
                return Ok(rest);
            }
        }
        Due::Look => {}
    }
    let line = Line::new(context, set, name.clone(), uid.clone(), remembered);
    let result = Box::pin(line.run()).await;
    if result.is_err() {
        context.registry.give_back(name, &uid, happened);
    }
    result
}

/// Reads the Secrets; when they are as they were, answers when to read them again.
async fn secret_is_the_same(
    context: &Context,
    set: &MigrationSet,
    name: &Owner,
    uid: &str,
    remembered: &Remembered,
) -> Option<Action> {
    let secrets =
        dereference::secrets(&context.client, &name.namespace, &set.database_ref(), &set.variable_refs()).await;
    // An API server that can't be asked has nothing new to say.
    let same = secrets.map_or(true, |secrets| secrets.stamps() == remembered.secrets);
    let look = remembered.look.as_ref().filter(|_| same)?;
    let now = Instant::now();
    let next_secret = now + SECRET_PAUSE;
    context.registry.remember(name, uid, |remembered| {
        if let Some(look) = &mut remembered.look {
            look.next_secret = Some(next_secret);
        }
    });
    let next = look.next.map_or(next_secret, |next| next.min(next_secret));
    Some(Action::requeue(next.saturating_duration_since(now)))
}
