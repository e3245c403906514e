//! Lock and claim: how one session comes to be the only one that writes to a set's history.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rand::RngExt as _;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{Session, Shell, Work, adopt::Held};
use crate::{
    core::{
        bundle::hexadecimal,
        decide::conflict,
        outcome::{Failure, Reason},
        variables::Variables,
    },
    database::{
        connect::{self, Connection},
        error::SqlError,
        history::{
            Tables, layout,
            rows::{Backend, Writer},
        },
        lock, quote,
        session::{self, SessionSql},
    },
    fail_points::{Point, reached},
};

/// How long a lock that is held is polled for within a run; after that the reconcile waits, with the pauses of its class.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// How long the one session is asked for its backend before the other lets go of its own, for which it may have to wait.
const PROBE: Duration = Duration::from_secs(1);
/// How long a session has to give its locks back.
const GIVING_BACK: Duration = Duration::from_secs(3);

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
    /// The role that reads and writes the history.
    pub who: String,
    /// The set's variables, whose secrets are taken out of what the server shows.
    pub variables: Variables,
    /// The locks that are held.
    keys: Vec<i64>,
    fallen_back: AtomicBool,
}

impl Claim {
    /// The session that executes.
    pub fn client(&self) -> &Client {
        if self.fallen_back.load(Ordering::Relaxed) { &self.watching.client } else { &self.working.client }
    }

    /// Ends the working session, which must not be asked anything any more, and takes its place with the watching one, so
    /// that a failure can be written down: its backend ends, and with it the lock comes free.
    pub async fn fall_back(&self) -> Result<(), Failure> {
        let sql = format!("SELECT pg_catalog.pg_terminate_backend({})", self.backend.pid);
        session::query(&self.watching.client, &sql).await.map_err(|error| super::lost("ending a session", &error))?;
        for key in &self.keys {
            hold(&self.watching.client, &self.watching.client, *key, "the set's lock").await?;
        }
        self.fallen_back.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes one lock more, unless it is held.
    pub async fn hold_beside(&mut self, key: i64, what: &str) -> Result<Held, Failure> {
        if self.keys.contains(&key) {
            return Ok(Held::Already);
        }
        hold(self.client(), &self.watching.client, key, what).await?;
        self.keys.push(key);
        Ok(Held::Now)
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

    /// What follows from an error that a statement of ours met: the GRANT that is lacking, or that it is tried again.
    pub fn refused(&self, what: &str, error: SqlError) -> Failure {
        if error.sqlstate() == Some("42501") {
            return error.into_failure(what, &format!("it needs: {}", self.tables.grants(&self.who)));
        }
        super::lost(what, &error)
    }

    /// Gives the lock back before the connections close, so that the next run doesn't meet it.
    pub async fn release(self) {
        reached(Point::UnlockBefore).await;
        // A session that is gone has given it back, and the end of one that answers no more gives it back.
        let giving = session::query(self.client(), "SELECT pg_catalog.pg_advisory_unlock_all()");
        let _ = tokio::time::timeout(GIVING_BACK, giving).await;
        reached(Point::UnlockAfter).await;
    }
}

/// Rules out a pooler in transaction mode, takes the locks, makes the tables where they are missing, and claims the set.
pub(super) async fn take(session: Session, work: &Work<'_>) -> Result<Claim, Failure> {
    let Session { connection: working, sql, tables, who } = session;
    let name = super::application_name(work.desired);
    let watching = connect::connect(work.parameters, &name).await.map_err(Failure::from)?;
    let pid = rule_out_pooler(&working.client, &watching.client).await?;
    let preparing = |error: SqlError| {
        error.into_failure("preparing the session", "check spec.database.role and the settings that the URL asks for")
    };
    session::query(&watching.client, &sql.watching()).await.map_err(preparing)?;
    session::query(&working.client, &sql.ours()).await.map_err(preparing)?;
    let backend = identify(&watching.client, pid).await?;
    let location = &work.desired.history;
    reached(Point::LockBefore).await;
    let mut keys = vec![lock::key(&[&location.schema, &location.set])];
    hold(&working.client, &watching.client, keys[0], "the set's lock").await?;
    if let Some(id) = location.lock_id {
        hold(&working.client, &watching.client, id, &format!("the lock {id} of history.lockId")).await?;
        keys.push(id);
    }
    reached(Point::LockAfter).await;
    layout::ensure(&working.client, &tables).await?;
    let token = hexadecimal(&rand::rng().random::<[u8; 16]>());
    let by = match work.shell {
        Shell::Operator => format!("MigrationSet {}", work.desired.owner),
        Shell::Hand => "dunlin by hand".to_owned(),
    };
    let claim = Claim {
        working,
        watching,
        backend,
        sql,
        tables,
        by,
        token,
        who,
        variables: work.desired.variables.clone(),
        keys,
        fallen_back: AtomicBool::new(false),
    };
    reached(Point::ClaimBefore).await;
    write_claim(&claim, work).await?;
    reached(Point::ClaimAfter).await;
    Ok(claim)
}

/// While the watching connection is inside BEGIN, its backend must not be the working connection's, and the working one's
/// must stay the same: behind a pooler in transaction mode two clients get the same backend, and both hold its lock. The
/// backends alone tell: a server that is merely slow has two of them. Returns the working one's.
pub(super) async fn rule_out_pooler(working: &Client, watching: &Client) -> Result<i32, Failure> {
    const PID: &str = "SELECT pg_catalog.pg_backend_pid()";
    let looking = |error: SqlError| error.into_failure("looking for a pooler", "");
    let pid = |rows: Vec<session::Row>| {
        rows.first().and_then(|row| row.get(0)).and_then(|text| text.parse::<i32>().ok()).unwrap_or_default()
    };
    let first = pid(session::query(working, PID).await.map_err(looking)?);
    // Once is not enough: a pool that takes turns deals each client a backend of its own at first.
    for _ in 0..3 {
        let other = pid(session::query(watching, &format!("BEGIN; {PID}")).await.map_err(looking)?);
        let mut asking = std::pin::pin!(session::query(working, PID));
        let answer = tokio::time::timeout(PROBE, &mut asking).await;
        session::query(watching, "COMMIT").await.map_err(looking)?;
        // In a pool of one, the answer comes only after COMMIT, from the other's backend.
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) => asking.await,
        };
        let now = pid(answer.map_err(looking)?);
        if now != first || other == now {
            return Err(pooler());
        }
    }
    Ok(first)
}

/// The sentence of `PoolerNotSupported`.
/// [`pooler`], if that is what an error at the beginning of a transaction says: `PgBouncer` refuses it in statement mode, in
/// these words, and may do so before it passes on the answer to what was asked before.
pub(super) fn refuses_blocks(error: &impl std::fmt::Display) -> Option<Failure> {
    error.to_string().contains("statement pooling").then(pooler)
}

fn pooler() -> Failure {
    Failure::new(
        Reason::PoolerNotSupported,
        "the database is reached through a pooler in transaction or statement mode, which shares a session's locks among its clients: \
         name a Secret that leads past the pooler (spec.database.directSecretRef: {name: shop-db-direct}), or use a pool in session mode. \
         Nothing was run",
    )
}

/// The working session, as the server knows it: process ids come again.
async fn identify(watching: &Client, pid: i32) -> Result<Backend, Failure> {
    let sql =
        format!("SELECT a.backend_start::pg_catalog.text FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = {pid}");
    let rows = session::query(watching, &sql)
        .await
        .map_err(|error| error.into_failure("looking for the working session", ""))?;
    let start = rows.first().and_then(|row| row.get(0)).unwrap_or("-infinity").to_owned();
    Ok(Backend { pid, start })
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

/// Writes a fresh token into the set's row, in a commit of its own, unless another owner stands there. By hand no owner
/// is written, and none is in the way.
async fn write_claim(claim: &Claim, work: &Work<'_>) -> Result<(), Failure> {
    let location = &work.desired.history;
    let owner = match work.shell {
        Shell::Operator => Some(work.desired.owner.to_string()),
        Shell::Hand => None,
    };
    let mut owners: Vec<&str> = owner.as_deref().into_iter().collect();
    owners.extend(work.take_over_from);
    let may = match work.shell {
        // Of two operators one may still see a spec that the other has left behind, and would undo what that one did.
        Shell::Operator => format!(
            "(s.owner IS NULL OR s.owner = ANY ({})) AND (EXCLUDED.uid IS NULL OR s.uid IS DISTINCT FROM EXCLUDED.uid OR s.generation <= EXCLUDED.generation)",
            quote::text_array(owners)
        ),
        Shell::Hand => "true".to_owned(),
    };
    let table = claim.tables.table("set");
    let sql = format!(
        "INSERT INTO {table} AS s (name, owner, session, backend_pid, backend_start, lock_key, lock_id, layout, claimed_at, uid, generation) \
         VALUES ({name}, {owner}, {token}, {pid}, {start}, {key}, {id}, {layout}, pg_catalog.clock_timestamp(), {uid}, {generation}) \
         ON CONFLICT (name) DO UPDATE SET owner = COALESCE(EXCLUDED.owner, s.owner), session = EXCLUDED.session, \
         backend_pid = EXCLUDED.backend_pid, backend_start = EXCLUDED.backend_start, lock_key = EXCLUDED.lock_key, \
         lock_id = EXCLUDED.lock_id, layout = EXCLUDED.layout, claimed_at = EXCLUDED.claimed_at, \
         uid = COALESCE(EXCLUDED.uid, s.uid), generation = COALESCE(EXCLUDED.generation, s.generation){taken_over} WHERE {may}; \
         SELECT s.session = {token}, s.owner FROM {table} AS s WHERE s.name = {name}",
        name = claim.tables.set_literal(),
        owner = quote::optional(owner.as_ref()),
        token = quote::literal(&claim.token),
        pid = claim.backend.pid,
        start = quote::literal(&claim.backend.start),
        key = lock::key(&[&location.schema, &location.set]),
        id = quote::number(location.lock_id),
        layout = layout::LAYOUT,
        uid = quote::optional(work.uid),
        generation = quote::number(work.uid.map(|_| work.desired.generation)),
        taken_over = taken_over(claim, work),
    );
    let rows = session::query(claim.client(), &sql).await.map_err(|error| claim.refused("claiming the set", error))?;
    let row = rows.last();
    match row.and_then(|row| row.get(0)) {
        Some("t") => Ok(()),
        _ if row.is_some_and(|row| row.get(1) == owner.as_deref()) => Err(Failure::new(
            Reason::Retrying,
            format!(
                "a newer spec than generation {} has been at work here, which the API server doesn't show yet; it is tried again",
                work.desired.generation
            ),
        )),
        _ => {
            let message = conflict(row.and_then(|row| row.get(1)).unwrap_or("another owner"));
            Err(Failure::new(Reason::Conflict, message))
        }
    }
}

/// What the claim says of a history that changes hands: from whom, on whose word, and when.
fn taken_over(claim: &Claim, work: &Work<'_>) -> String {
    let Some(from) = work.take_over_from else { return String::new() };
    let asked = work.desired.history.take_over.as_ref().filter(|asked| asked.from.to_string() == from);
    let by = match asked {
        Some(asked) => format!("{}: {}", claim.by, asked.by),
        None => format!("{}, since the owner is gone", claim.by),
    };
    format!(
        ", taken_over_from = {}, taken_over_by = {}, taken_over_at = pg_catalog.clock_timestamp()",
        quote::literal(from),
        quote::literal(&by)
    )
}
