//! Another tool's history, where it is to be taken over: it is read like our own, and under that tool's lock as well.

use tokio_postgres::Client;

use super::claim::Claim;
use crate::{
    core::{
        desired::Desired,
        history::History,
        outcome::Failure,
        plan::{Amendment, Assessment},
    },
    database::{foreign, session::SessionSql},
};

/// Whether the other tool is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// As far as it can be, or needs to be.
    Already,
    /// Since now: what was read before may be otherwise.
    Now,
}

/// Reads the other tool's table, where that says anything to a history that has come so far.
pub(super) async fn look(
    client: &Client,
    sql: &SessionSql,
    desired: &Desired,
    who: &str,
    history: &mut History,
) -> Result<(), Failure> {
    if let Some(adopt) = desired.history.adopt.as_ref().filter(|adopt| adopt.concerns(history)) {
        history.foreign = Some(foreign::read(client, sql, adopt, &desired.history.schema, who).await?);
    }
    Ok(())
}

/// Takes the other tool's lock before its history is taken over: until all is done, it starts nothing.
pub(super) async fn hold(claim: &mut Claim, desired: &Desired, assessment: &Assessment) -> Result<Held, Failure> {
    let adopts = |amendment: &Amendment| matches!(amendment, Amendment::Adopt { .. });
    let Some(adopt) = desired.history.adopt.as_ref().filter(|_| assessment.amendments.iter().any(adopts)) else {
        return Ok(Held::Already);
    };
    let Some(key) = foreign::lock_key(claim.client(), adopt.from).await? else { return Ok(Held::Already) };
    claim.hold_beside(key, &format!("the lock {key} of {}", adopt.from)).await
}
