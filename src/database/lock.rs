//! The session advisory lock: polled, never waited for inside a statement, and held by the session that executes.
//!
//! A waiter would hold a snapshot, for which `CREATE INDEX CONCURRENTLY` in the holder would wait in turn.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;

use super::{error::SqlError, session};

/// The first 8 bytes, big-endian and signed, of SHA-256 over `dunlin` and each part behind a NUL.
#[must_use]
pub fn key(parts: &[&str]) -> i64 {
    let mut hash = Sha256::new();
    hash.update("dunlin");
    for part in parts {
        hash.update([0]);
        hash.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    i64::from_be_bytes(first)
}

/// Asks for the lock once.
///
/// # Errors
/// [`SqlError`].
pub async fn try_lock(client: &Client, key: i64) -> Result<bool, SqlError> {
    let rows = session::query(client, &format!("SELECT pg_catalog.pg_try_advisory_lock({key})")).await?;
    Ok(rows.first().and_then(|row| row.get(0)) == Some("t"))
}

/// Gives the lock back; false when this session didn't hold it.
///
/// # Errors
/// [`SqlError`].
pub async fn unlock(client: &Client, key: i64) -> Result<bool, SqlError> {
    let rows = session::query(client, &format!("SELECT pg_catalog.pg_advisory_unlock({key})")).await?;
    Ok(rows.first().and_then(|row| row.get(0)) == Some("t"))
}

/// Who holds the lock, as far as this login may see: a sentence for the status.
pub async fn holder(client: &Client, key: i64) -> String {
    // A bigint key shows as its two halves, with objsubid 1.
    let sql = format!(
        "SELECT a.pid, a.application_name, a.usename, \
         pg_catalog.to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
         FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()) \
         AND l.classid = (({key}::pg_catalog.int8 >> 32) & 4294967295)::pg_catalog.oid \
         AND l.objid = ({key}::pg_catalog.int8 & 4294967295)::pg_catalog.oid"
    );
    let Ok(rows) = session::query(client, &sql).await else {
        return "another session, which can't be seen".to_owned();
    };
    rows.first().map_or_else(
        || "another session, which has just ended".to_owned(),
        |row| {
            let column = |index| row.get(index).filter(|text: &&str| !text.is_empty()).unwrap_or("unknown");
            format!("pid {} ({}, role {}), connected since {}", column(0), column(1), column(2), column(3))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::key;

    /// `printf 'dunlin\0dunlin\0shop' | sha256sum` begins with these bytes.
    #[test]
    fn the_key_is_the_digest_of_schema_and_set() {
        assert_eq!(key(&["dunlin", "shop"]).to_be_bytes(), EXPECTED);
        assert_ne!(key(&["dunlin", "shop"]), key(&["dunlin"]));
        assert_ne!(key(&["a", "bc"]), key(&["ab", "c"]));
    }

    const EXPECTED: [u8; 8] = [0x37, 0xe2, 0x37, 0x88, 0xd1, 0xe0, 0x33, 0x86];
}
