//! What was done, for whoever asks.

use std::collections::HashMap;

use super::Session;
use crate::{
    core::outcome::Failure,
    database::{
        error::SqlError,
        history::{
            Tables,
            runs::{self, PastRun},
        },
        session::{self, Row},
    },
};

impl Session {
    /// The last runs of the set but so many that are newer still, the newest last. Reads only, and leaves no setting behind.
    ///
    /// # Errors
    /// A [`Failure`]: the history can't be read.
    pub async fn runs(&self, last: u32, skipped: u32) -> Result<Vec<PastRun>, Failure> {
        self.look(&runs::query(&self.tables, last, skipped), runs::runs).await
    }

    /// Who performed the run that each migration of the set is at, by the run's number. Reads only, too.
    ///
    /// # Errors
    /// A [`Failure`]: the history can't be read.
    pub async fn performers(&self) -> Result<HashMap<i64, String>, Failure> {
        self.look(&runs::performers_query(&self.tables), runs::performers).await
    }

    async fn look<T>(
        &self,
        queries: &str,
        read: impl Fn(Result<Vec<Row>, SqlError>, &Tables, &str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let answer = session::query(&self.connection.client, &self.sql.look(queries)).await;
        let failed = answer.is_err();
        let read = read(answer, &self.tables, &self.who)?;
        if failed {
            let rollback = session::query(&self.connection.client, "ROLLBACK").await;
            rollback.map_err(|error| error.into_failure("looking at the database", ""))?;
        }
        Ok(read)
    }
}
