//! Lock and claim: how one session comes to be the only one that writes to a set's history.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{Session, Work};
use crate::{
    core::{
        outcome::{Failure, Reason},
        plan::hexadecimal,
    },
    database::{
        connect::{self, Connection},
        history::{
            Tables, layout,
            rows::{Backend, Writer},
        },
        lock, quote,
        session::{self, SessionSql},
    },
};

/// How long a lock that is held is polled for within a run; after that the reconcile waits, with the pauses of its class.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The lock is held, and every row that is written proves it.
pub(super) struct Claim {
    /// The working connection: it holds the lock and executes.
    pub working: Connection,
    /// The watching connection: progress, blockers, cancels. It never sets a role.
    pub watching: Connection,
    pub backend: Backend,
    pub sql: SessionSql,
    pub tables: Tables,
    /// Who runs it, and the token that proves it.
    pub by: String,
    pub token: String,
}

impl Claim {
    pub fn client(&self) -> &Client {
        &self.working.client
    }

    /// The writer of a plan's rows.
    pub fn writer(&self, work: &Work<'_>, plan_digest: Option<String>, batch: i64) -> Writer {
        Writer {
            tables: self.tables.clone(),
            token: self.token.clone(),
            by: self.by.clone(),
            plan_digest,
            source_digest: work.source_digest.to_string(),
            generation: Some(work.desired.generation),
            batch,
        }
    }

    /// Gives the lock back before the connections close, so that the next run doesn't meet it.
    pub async fn release(self) {
        // A session that is gone has given it back.
        let _ = session::query(self.client(), "SELECT pg_catalog.pg_advisory_unlock_all()").await;
    }
}

/// Rules out a pooler in transaction mode, takes the locks, makes the tables where they are missing, and claims the set.
pub(super) async fn take(session: Session, work: &Work<'_>) -> Result<Claim, Failure> {
    let Session { connection: working, sql, tables } = session;
    let name = super::application_name(work.desired);
    let watching = connect::connect(work.parameters, &name).await.map_err(Failure::from)?;
    let backend = rule_out_pooler(&working.client, &watching.client).await?;
    session::query(&working.client, &sql.ours()).await.map_err(|error| {
        let role = work.desired.session.role.as_deref().map(quote::identifier).unwrap_or_default();
        error.into_failure("preparing the session", &format!("if it is about database.role: GRANT {role} TO <login>"))
    })?;
    let location = &work.desired.history;
    hold(&working.client, &watching.client, lock::key(&[&location.schema, &location.set]), "the set's lock").await?;
    if let Some(id) = location.lock_id {
        hold(&working.client, &watching.client, id, &format!("the lock {id} of history.lockId")).await?;
    }
    layout::ensure(&working.client, &tables).await?;
    let token = hexadecimal(&rand::rng().random::<[u8; 16]>());
    let by = format!("MigrationSet {}", work.desired.owner);
    let claim = Claim { working, watching, backend, sql, tables, by, token };
    write_claim(&claim, work).await?;
    Ok(claim)
}

/// While the watching connection is inside BEGIN, its backend must not be the working connection's, and the working one's
/// must stay the same: behind a pooler in transaction mode two clients get the same backend, and both hold its lock.
async fn rule_out_pooler(working: &Client, watching: &Client) -> Result<Backend, Failure> {
    const PID: &str = "SELECT pg_catalog.pg_backend_pid()";
    let looking = |error: crate::database::error::SqlError| error.into_failure("looking for a pooler", "");
    let pid = |rows: Vec<tokio_postgres::SimpleQueryRow>| {
        rows.first().and_then(|row| row.get(0)).and_then(|text| text.parse::<i32>().ok()).unwrap_or_default()
    };
    let first = pid(session::query(working, PID).await.map_err(looking)?);
    for _ in 0..3 {
        let other = pid(session::query(watching, &format!("BEGIN; {PID}")).await.map_err(looking)?);
        let now = pid(session::query(working, PID).await.map_err(looking)?);
        session::query(watching, "COMMIT").await.map_err(looking)?;
        if now != first || other == now {
            return Err(Failure::new(
                Reason::PoolerNotSupported,
                "the database is reached through a pooler in transaction mode, which shares a session's locks among its \
                 clients: point the Secret past the pooler (spec.database.directSecretRef is for that), or use a pool in \
                 session mode. Nothing was run",
            ));
        }
    }
    let sql =
        format!("SELECT a.backend_start::pg_catalog.text FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = {first}");
    let rows = session::query(watching, &sql).await.map_err(looking)?;
    let start = rows.first().and_then(|row| row.get(0)).unwrap_or("-infinity").to_owned();
    Ok(Backend { pid: first, start })
}

async fn hold(working: &Client, watching: &Client, key: i64, what: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(25);
    loop {
        if lock::try_lock(working, key).await.map_err(|error| error.into_failure(&format!("taking {what}"), ""))? {
            return Ok(());
        }
        if Instant::now() + pause > deadline {
            let holder = lock::holder(watching, key).await;
            return Err(Failure::new(Reason::WaitingForLock, format!("{what} is held by {holder}")));
        }
        // Drawn before the wait: the generator is one thread's own, and the wait may go on in another.
        let jittered = pause.mul_f64(rand::rng().random_range(0.75..1.25));
        tokio::time::sleep(jittered).await;
        pause = (pause * 2).min(Duration::from_millis(400));
    }
}

/// Writes a fresh token into the set's row, in a commit of its own, unless another owner stands there.
async fn write_claim(claim: &Claim, work: &Work<'_>) -> Result<(), Failure> {
    let location = &work.desired.history;
    let owner = work.desired.owner.to_string();
    let mut owners = vec![owner.as_str()];
    owners.extend(work.take_over_from);
    let table = claim.tables.table("set");
    let sql = format!(
        "INSERT INTO {table} AS s (name, owner, session, backend_pid, backend_start, lock_key, lock_id, layout, claimed_at) \
         VALUES ({name}, {owner}, {token}, {pid}, {start}, {key}, {id}, {layout}, pg_catalog.clock_timestamp()) \
         ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, session = EXCLUDED.session, backend_pid = EXCLUDED.backend_pid, \
         backend_start = EXCLUDED.backend_start, lock_key = EXCLUDED.lock_key, lock_id = EXCLUDED.lock_id, \
         layout = EXCLUDED.layout, claimed_at = EXCLUDED.claimed_at \
         WHERE s.owner IS NULL OR s.owner = ANY ({owners}) RETURNING s.owner; \
         SELECT s.owner FROM {table} AS s WHERE s.name = {name}",
        name = claim.tables.set_literal(),
        owner = quote::literal(&owner),
        token = quote::literal(&claim.token),
        pid = claim.backend.pid,
        start = quote::literal(&claim.backend.start),
        key = lock::key(&[&location.schema, &location.set]),
        id = quote::number(location.lock_id),
        layout = layout::LAYOUT,
        owners = quote::text_array(owners.iter().copied()),
    );
    let rows = session::query(claim.client(), &sql).await.map_err(|error| {
        error.into_failure(
            "claiming the set",
            &format!("it needs: GRANT ALL ON ALL TABLES IN SCHEMA {} TO <login>", quote::identifier(&location.schema)),
        )
    })?;
    match rows.last().and_then(|row| row.get(0)) {
        Some(recorded) if recorded == owner => Ok(()),
        recorded => Err(conflict(&location.set, recorded.unwrap_or("another owner"))),
    }
}

/// The sentence of `Conflict`.
fn conflict(set: &str, owner: &str) -> Failure {
    Failure::new(
        Reason::Conflict,
        format!(
            "the history of set {set} in this database belongs to the MigrationSet {owner}: give this one another history.set, \
             or take the history over with history.takeOver: {owner}"
        ),
    )
}
