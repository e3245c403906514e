//! What was done, for whoever asks.

use super::Session;
use crate::{
    core::outcome::Failure,
    database::{
        history::runs::{self, PastRun},
        session,
    },
};

impl Session {
    /// The last runs of the set but so many that are newer still, the newest last. Reads only, and leaves no setting behind.
    ///
    /// # Errors
    /// A [`Failure`]: the history can't be read.
    pub async fn runs(&self, last: u32, skipped: u32) -> Result<Vec<PastRun>, Failure> {
        let answer =
            session::query(&self.connection.client, &self.sql.look(&runs::query(&self.tables, last, skipped))).await;
        let failed = answer.is_err();
        let runs = runs::runs(answer, &self.tables, &self.who)?;
        if failed {
            let rollback = session::query(&self.connection.client, "ROLLBACK").await;
            rollback.map_err(|error| error.into_failure("looking at the database", ""))?;
        }
        Ok(runs)
    }
}
