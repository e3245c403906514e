//! The tables themselves, made on first contact under a lock of their own, and upgraded in steps.

use std::{fmt::Write as _, time::Duration};

use tokio_postgres::Client;

use super::Tables;
use crate::{
    core::outcome::{Failure, Reason},
    database::{error::SqlError, lock, quote, session},
    fail_points::{Point, reached},
};

/// The layout that this version reads and writes.
pub const LAYOUT: i32 = 1;

const MARK: &str = "dunlin history layout ";

/// Makes the tables unless they are there; refuses those of a newer version.
///
/// # Errors
/// `PermissionDenied` with the GRANT that is needed; `InvalidSpec` for a newer layout; `Retrying`.
pub async fn ensure(client: &Client, tables: &Tables) -> Result<(), Failure> {
    if check(client, tables).await? {
        return Ok(());
    }
    let key = lock::key(&[&tables.schema]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut pause = Duration::from_millis(20);
    while !lock::try_lock(client, key).await.map_err(|error| error.into_failure("taking the history's lock", ""))? {
        if tokio::time::Instant::now() > deadline {
            return Err(Failure::new(
                Reason::WaitingForLock,
                format!("another session is making or upgrading the history's tables in schema {}", tables.schema),
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
    let made = async {
        if check(client, tables).await? {
            return Ok(());
        }
        reached(Point::TablesBefore).await;
        make(client, tables).await?;
        reached(Point::TablesAfter).await;
        Ok(())
    }
    .await;
    // A session that is gone has lost the lock with it.
    let _ = lock::unlock(client, key).await;
    made
}

/// Whether the tables are there, in a layout that we know.
async fn check(client: &Client, tables: &Tables) -> Result<bool, Failure> {
    let sql = format!(
        "SELECT {}, pg_catalog.to_regclass({}) IS NOT NULL, current_user",
        mark_sql(tables),
        quote::literal(&tables.table("set"))
    );
    let rows = session::query(client, &sql).await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            let schema = quote::identifier(&tables.schema);
            let who = session::query(client, "SELECT current_user").await.ok();
            let who = who.iter().flatten().find_map(|row| row.get(0)).map_or("<login>".to_owned(), quote::identifier);
            let what = format!("looking for schema {}", tables.schema);
            return Err(
                error.into_failure(&what, &format!("it needs: GRANT USAGE, CREATE ON SCHEMA {schema} TO {who}"))
            );
        }
    };
    let column = |column| rows.first().and_then(|row| row.get(column));
    match column(0) {
        Some(mark) => is_known(Some(mark), tables),
        None if column(1) == Some("t") => Err(not_ours(&tables.schema, "there is a table set without Dunlin's mark")),
        None => Ok(false),
    }
}

/// The expression that reads the mark by which the tables are known as ours; NULL where there is none.
pub(super) fn mark_sql(tables: &Tables) -> String {
    format!(
        "pg_catalog.obj_description(pg_catalog.to_regclass({})::pg_catalog.oid, 'pg_class')",
        quote::literal(&tables.table("set"))
    )
}

/// Whether the mark says that the tables are there, in a layout that we know.
///
/// # Errors
/// `InvalidSpec`: the tables are somebody else's, or a newer version's.
pub(super) fn is_known(mark: Option<&str>, tables: &Tables) -> Result<bool, Failure> {
    let Some(mark) = mark else { return Ok(false) };
    match mark.strip_prefix(MARK).and_then(|layout| layout.parse::<i32>().ok()) {
        Some(layout) if layout <= LAYOUT => Ok(true),
        Some(layout) => Err(Failure::new(
            Reason::InvalidSpec,
            format!(
                "spec.history.schema: {} holds a history of layout {layout}, written by a newer Dunlin (this one knows {LAYOUT}): upgrade Dunlin",
                tables.schema
            ),
        )),
        None => Err(not_ours(&tables.schema, "the table set is described otherwise")),
    }
}

/// Tables of the history's names that no Dunlin made.
pub(super) fn not_ours(schema: &str, why: &str) -> Failure {
    Failure::new(
        Reason::InvalidSpec,
        format!(
            "spec.history.schema: the tables in schema {schema} are not Dunlin's ({why}): name another schema there"
        ),
    )
}

async fn make(client: &Client, tables: &Tables) -> Result<(), Failure> {
    let schema = quote::identifier(&tables.schema);
    let found = session::query(
        client,
        &format!(
            "SELECT pg_catalog.to_regnamespace({}) IS NOT NULL, pg_catalog.current_database(), current_user",
            quote::literal(&schema)
        ),
    )
    .await
    .map_err(|error| error.into_failure("looking for the history's schema", ""))?;
    let text = |column| found.first().and_then(|row| row.get(column)).unwrap_or_default().to_owned();
    let (there, database, user) = (text(0) == "t", text(1), text(2));
    let mut sql = "BEGIN;".to_owned();
    // IF NOT EXISTS would be denied on an existing schema to a login without CREATE on the database.
    if !there {
        let _ = write!(sql, "CREATE SCHEMA {schema};");
    }
    sql.push_str(&ddl(tables));
    sql.push_str("COMMIT");
    match session::query(client, &sql).await {
        Ok(_) => Ok(()),
        Err(error) => {
            if !error.ends_session() {
                let _ = session::query(client, "ROLLBACK").await;
            }
            let (user, database) = (quote::identifier(&user), quote::identifier(&database));
            let cure = if there {
                format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}")
            } else {
                format!("GRANT CREATE ON DATABASE {database} TO {user}, or CREATE SCHEMA {schema} AUTHORIZATION {user}")
            };
            // 42P07: a relation of that name is there.
            if error.sqlstate() == Some("42P07") {
                return Err(not_ours(&tables.schema, &error.to_string()));
            }
            Err(failed(error, &tables.schema, &cure))
        }
    }
}

fn failed(error: SqlError, schema: &str, cure: &str) -> Failure {
    error.into_failure(&format!("making the history's tables in schema {schema}"), &format!("it needs: {cure}"))
}

/// The statements that make layout 1, each ended by a semicolon.
#[allow(clippy::too_many_lines, reason = "a format is read whole")]
fn ddl(tables: &Tables) -> String {
    let [set, migration, run, statement, plan, seed, schema_object] =
        ["set", "migration", "run", "statement", "plan", "seed", "schema_object"].map(|name| tables.table(name));
    format!(
        r#"
CREATE TABLE {set} (
  name pg_catalog.text PRIMARY KEY,
  owner pg_catalog.text,
  session pg_catalog.text,
  backend_pid pg_catalog.int4,
  backend_start pg_catalog.timestamptz,
  lock_key pg_catalog.int8 NOT NULL,
  lock_id pg_catalog.int8,
  layout pg_catalog.int4 NOT NULL,
  claimed_at pg_catalog.timestamptz NOT NULL,
  uid pg_catalog.text,
  generation pg_catalog.int8,
  taken_over_from pg_catalog.text,
  taken_over_by pg_catalog.text,
  taken_over_at pg_catalog.timestamptz,
  created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE TABLE {run} (
  id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "set" pg_catalog.text NOT NULL REFERENCES {set} (name),
  version pg_catalog.text NOT NULL,
  name pg_catalog.text NOT NULL,
  direction pg_catalog.text NOT NULL CHECK (direction IN ('up', 'down')),
  kind pg_catalog.text NOT NULL,
  started_at pg_catalog.timestamptz NOT NULL,
  finished_at pg_catalog.timestamptz,
  outcome pg_catalog.text NOT NULL CHECK (outcome IN ('running', 'succeeded', 'failed', 'interrupted', 'retrying')),
  attempts pg_catalog.int8 NOT NULL DEFAULT 1,
  checksum pg_catalog.text NOT NULL,
  batch pg_catalog.int8 NOT NULL DEFAULT 0,
  plan_digest pg_catalog.text,
  source_digest pg_catalog.text,
  generation pg_catalog.int8,
  error pg_catalog.text,
  sqlstate pg_catalog.text,
  detail pg_catalog.text,
  statement pg_catalog.int4,
  error_line pg_catalog.int4,
  error_column pg_catalog.int4,
  resolution pg_catalog.text,
  resolved_by pg_catalog.text,
  resolved_at pg_catalog.timestamptz,
  performed_by pg_catalog.text NOT NULL
);
CREATE INDEX run_set_version ON {run} ("set", version, id);
CREATE INDEX run_unfinished ON {run} ("set") WHERE outcome <> 'succeeded';
CREATE INDEX run_hook ON {run} ("set", version, id) WHERE kind = 'hook';
CREATE TABLE {migration} (
  "set" pg_catalog.text NOT NULL REFERENCES {set} (name),
  version pg_catalog.text NOT NULL,
  name pg_catalog.text NOT NULL,
  state pg_catalog.text NOT NULL CHECK (state IN ('applied', 'failed', 'interrupted', 'rolled_back', 'stamped', 'replaced')),
  checksum pg_catalog.text NOT NULL,
  transactional pg_catalog.bool NOT NULL,
  down_sql pg_catalog.text,
  down_checksum pg_catalog.text,
  depends pg_catalog.text[] NOT NULL DEFAULT '{{}}',
  replaces pg_catalog.text[] NOT NULL DEFAULT '{{}}',
  batch pg_catalog.int8 NOT NULL DEFAULT 0,
  applied_at pg_catalog.timestamptz,
  duration_ms pg_catalog.int8 NOT NULL DEFAULT 0,
  applied_by pg_catalog.text,
  run pg_catalog.int8 NOT NULL REFERENCES {run} (id),
  PRIMARY KEY ("set", version)
);
CREATE TABLE {statement} (
  run pg_catalog.int8 NOT NULL REFERENCES {run} (id),
  ordinal pg_catalog.int4 NOT NULL,
  "set" pg_catalog.text NOT NULL REFERENCES {set} (name),
  sha256 pg_catalog.text NOT NULL,
  prefix_sha256 pg_catalog.text NOT NULL,
  state pg_catalog.text NOT NULL CHECK (state IN ('intent', 'done', 'failed')),
  backend_pid pg_catalog.int4 NOT NULL,
  backend_start pg_catalog.timestamptz NOT NULL,
  before pg_catalog.jsonb,
  started_at pg_catalog.timestamptz NOT NULL,
  finished_at pg_catalog.timestamptz,
  PRIMARY KEY (run, ordinal)
);
CREATE TABLE {plan} (
  id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "set" pg_catalog.text NOT NULL REFERENCES {set} (name),
  digest pg_catalog.text NOT NULL,
  rest pg_catalog.text NOT NULL,
  steps pg_catalog.text NOT NULL,
  offered_at pg_catalog.timestamptz NOT NULL,
  approved_at pg_catalog.timestamptz,
  approved_by pg_catalog.text,
  spent_at pg_catalog.timestamptz
);
CREATE UNIQUE INDEX plan_open ON {plan} ("set", digest) WHERE spent_at IS NULL;
CREATE TABLE {seed} (
  "set" pg_catalog.text NOT NULL REFERENCES {set} (name),
  name pg_catalog.text NOT NULL,
  checksum pg_catalog.text NOT NULL,
  applied_at pg_catalog.timestamptz NOT NULL,
  inserted pg_catalog.int8,
  updated pg_catalog.int8,
  unchanged pg_catalog.int8,
  run pg_catalog.int8 NOT NULL REFERENCES {run} (id),
  PRIMARY KEY ("set", name)
);
CREATE TABLE {schema_object} (
  schema pg_catalog.text NOT NULL,
  type pg_catalog.text NOT NULL,
  name pg_catalog.text NOT NULL,
  definition pg_catalog.text NOT NULL,
  sha256 pg_catalog.text NOT NULL,
  PRIMARY KEY (schema, type, name)
);
COMMENT ON TABLE {set} IS '{MARK}{LAYOUT}';
"#
    )
}
