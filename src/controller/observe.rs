//! Looks at the database of a set: a session, the history, and whose it is. Reads only.

use std::time::Duration;

use kube::Client;

use super::{
    context::Context,
    dereference::{self, ConfigMaps, SecretStamps, Secrets},
};
use crate::{
    api::v1alpha1::Parsed,
    core::{
        decide::{Ownership, RecordedOwner, ownership},
        history::History,
        outcome::{Failure, Reason},
        plan::{self, Assessment},
    },
    database::parameters::Parameters,
    execute::{self, Session},
    source::Content,
};

/// How long reading the history may take, beyond what connecting may.
const DEADLINE: Duration = Duration::from_secs(30);

/// A look that came as far as the history.
pub(super) struct Look {
    pub parameters: Parameters,
    pub session: Session,
    pub history: History,
    pub assessment: Assessment,
    pub ownership: Ownership,
}

/// How far a look came that didn't come as far as the history.
pub(super) enum Short {
    /// The Secret can't be used.
    Secret(Failure),
    /// The database can't be reached, or its history not read.
    Database(Failure),
    /// The operator is to stop.
    Stopping,
}

/// Looks at the database. What was refused for its password is tried once more with the Secret as it is then: the
/// password may have been changed in the database and in the Secret one after the other.
pub(super) async fn look(
    context: &Context,
    parsed: &mut Parsed,
    source: &Content,
    (secrets, maps): (Secrets, &ConfigMaps),
    stamps: &mut SecretStamps,
) -> Result<Look, Short> {
    let (parameters, session, history) = match Box::pin(session(context, parsed, &secrets, maps)).await {
        Err(Short::Database(failure)) if failure.reason == Reason::AuthenticationFailed => {
            let secrets = reread(&context.client, parsed).await?;
            *stamps = secrets.stamps();
            Box::pin(session(context, parsed, &secrets, maps)).await?
        }
        other => other?,
    };
    let assessment = plan::plan(&source.dir, &history, &parsed.desired);
    let location = &parsed.desired.history;
    let recorded = history.owner.as_deref();
    let state = recorded.map_or(RecordedOwner::Absent, |owner| context.recorded_owner(owner, location));
    let ownership = ownership(recorded, &parsed.desired, state);
    Ok(Look { parameters, session, history, assessment, ownership })
}

async fn reread(client: &Client, parsed: &Parsed) -> Result<Secrets, Short> {
    let namespace = &parsed.desired.owner.namespace;
    dereference::secrets(client, namespace, &parsed.database, &parsed.variables).await.map_err(Short::Secret)
}

async fn session(
    context: &Context,
    parsed: &mut Parsed,
    secrets: &Secrets,
    maps: &ConfigMaps,
) -> Result<(Parameters, Session, History), Short> {
    let parameters = secrets.parameters(&parsed.database, &context.allowed_hosts).map_err(Short::Secret)?;
    parsed.desired.variables = secrets.variables(&parsed.variables, maps).map_err(Short::Secret)?;
    let limit = parameters.deadline() + DEADLINE;
    let look = tokio::time::timeout(limit, execute::observe(&parameters, &parsed.desired));
    let answer = tokio::select! {
        biased;
        () = context.stopping() => return Err(Short::Stopping),
        answer = look => answer,
    };
    match answer {
        Ok(Ok((session, history))) => Ok((parameters, session, history)),
        Ok(Err(failure)) => Err(Short::Database(failure)),
        Err(_) => Err(Short::Database(Failure::new(
            Reason::WaitingForDatabase,
            format!("no answer from the database within {} s", limit.as_secs()),
        ))),
    }
}
