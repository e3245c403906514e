//! The table of connection parameters: all that libpq 18 knows (manual, 32.1.2; `fe-connect.c`, `PQconninfoOptions`),
//! those that it knew once, and those of other drivers that people paste. Each is honoured or refused, with the reason.

use std::collections::BTreeMap;

use super::error::Problem;

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does what libpq's manual says; the note tells where Dunlin is stricter.
    Honour(&'static str),
    /// It is an error, and this says why and what to do instead.
    Refuse(&'static str),
}

use Fate::{Honour, Refuse};

const FILE: &str = "it names a file, and a connection reads none";
const GSS: &str = "Kerberos isn't supported; log in with a password (SCRAM) or a client certificate";
const OAUTH: &str = "OAuth isn't supported; log in with a password (SCRAM) or a client certificate";
const SCRAM_KEY: &str = "logging in by SCRAM keys isn't supported; give the password";
const CLIENT: &str = "it names a file; give the client's certificate and key by tls.clientSecretRef";
const REVOCATION: &str = "it names a file, and revocation lists aren't supported";
const SEARCH_PATH: &str = "it is no parameter of libpq; the search path is spec.database.searchPath";
const POOL: &str = "it is for a connection pool, and there is none; remove it";

/// Every known parameter and its fate.
pub const TABLE: &[(&str, Fate)] = &[
    ("host", Honour("one or several; no default; a Unix socket's directory from the command line alone")),
    ("hostaddr", Honour("connected to instead of looking host up; certificates are checked for host")),
    ("port", Honour("one, or one a host; 5432")),
    ("dbname", Honour("the user's name, as in libpq, when a URL has none")),
    ("user", Honour("no default")),
    ("password", Honour("any bytes but NUL")),
    ("passfile", Refuse(FILE)),
    ("require_auth", Honour("enforced before the password is sent; gss, sspi and oauth can only be excluded")),
    ("channel_binding", Honour("disable, prefer or require")),
    ("connect_timeout", Honour("seconds for each host, all its addresses together; 10 when absent, zero or negative")),
    ("client_encoding", Honour("UTF8 or auto; sessions are UTF-8")),
    (
        "options",
        Honour("-c name=value, for settings that change nothing of what a migration means; sent after connecting"),
    ),
    ("application_name", Honour("accepted; sessions say dunlin/<namespace>/<name> all the same, as recovery needs it")),
    ("fallback_application_name", Honour("as application_name")),
    ("keepalives", Honour("0 or 1; on")),
    ("keepalives_idle", Honour("seconds; 60 when absent or zero")),
    ("keepalives_interval", Honour("seconds; 10 when absent or zero")),
    ("keepalives_count", Honour("6 when absent or zero")),
    ("tcp_user_timeout", Honour("milliseconds; the system's when absent or zero")),
    ("replication", Refuse("a replication connection runs no migrations; remove it")),
    ("gssencmode", Honour("disable, or prefer, which never finds Kerberos credentials here; require is refused")),
    ("krbsrvname", Refuse(GSS)),
    ("gsslib", Refuse(GSS)),
    ("gssdelegation", Honour("0; anything else is refused")),
    ("sslmode", Honour("with tls.mode, the stricter of the two; allow is refused")),
    ("requiressl", Honour("1 is sslmode=require; libpq's spelling of before 7.4")),
    ("sslnegotiation", Honour("postgres or direct; direct needs sslmode=require or stricter")),
    ("sslcompression", Honour("0; 1 is refused")),
    ("sslcert", Refuse(CLIENT)),
    ("sslkey", Refuse(CLIENT)),
    (
        "sslpassword",
        Refuse("an encrypted key isn't supported; store the key unencrypted in the tls.clientSecretRef Secret"),
    ),
    ("sslcertmode", Honour("allow or disable; require is refused")),
    ("sslrootcert", Honour("system alone, which implies sslmode=verify-full; a file is refused")),
    ("sslcrl", Refuse(REVOCATION)),
    ("sslcrldir", Refuse(REVOCATION)),
    ("sslsni", Honour("0 or 1; on")),
    ("sslkeylogfile", Refuse("it writes the session's keys to a file; remove it")),
    ("requirepeer", Refuse("it is for Unix sockets' peer credentials; remove it")),
    ("ssl_min_protocol_version", Honour("TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3; never below TLSv1.2")),
    ("ssl_max_protocol_version", Honour("TLSv1.2 or TLSv1.3; lower ones are refused")),
    ("min_protocol_version", Honour("3.0; Dunlin speaks version 3.0 of the protocol, so a higher minimum is refused")),
    ("max_protocol_version", Honour("any from 3.0 on")),
    ("scram_client_key", Refuse(SCRAM_KEY)),
    ("scram_server_key", Refuse(SCRAM_KEY)),
    ("service", Refuse("it names an entry of a file; write out what the entry says")),
    ("servicefile", Refuse(FILE)),
    ("target_session_attrs", Honour("any, read-write, read-only, primary, standby or prefer-standby")),
    ("load_balance_hosts", Honour("disable or random")),
    ("oauth_issuer", Refuse(OAUTH)),
    ("oauth_client_id", Refuse(OAUTH)),
    ("oauth_client_secret", Refuse(OAUTH)),
    ("oauth_scope", Refuse(OAUTH)),
    ("authtype", Refuse("libpq dropped it; remove it")),
    ("tty", Refuse("libpq dropped it; remove it")),
    // Of other drivers.
    ("schema", Refuse(SEARCH_PATH)),
    ("currentSchema", Refuse(SEARCH_PATH)),
    ("search_path", Refuse(SEARCH_PATH)),
    ("ssl", Refuse("it is JDBC's, and libpq takes ssl=true in a URL alone; write sslmode")),
    ("pgbouncer", Refuse("it is Prisma's; give a way round the pooler by directSecretRef")),
    ("connection_limit", Refuse(POOL)),
    ("pool_max_conns", Refuse(POOL)),
    ("pool_timeout", Refuse(POOL)),
    ("pool", Refuse(POOL)),
    ("statement_timeout", Refuse("it is no parameter of libpq; the time-out is spec.policy.statementTimeout")),
    ("lock_timeout", Refuse("it is no parameter of libpq; the time-out is spec.policy.lockTimeout")),
];

/// What is shown of a secret.
pub(super) const HIDDEN: &str = "…";

/// What a connection string gave: honoured parameters alone, each at most once, none of them empty.
#[derive(Default)]
pub(super) struct Given {
    values: BTreeMap<&'static str, Vec<u8>>,
}

impl Given {
    /// Takes a value in; a later one replaces an earlier one, and an empty one means the default, as in libpq.
    pub(super) fn set(&mut self, name: &str, value: Vec<u8>) -> Result<(), Problem> {
        let Some(&(known, fate)) = TABLE.iter().find(|(known, _)| *known == name) else {
            return Err(Problem::Unknown { name: shorten(name), instead: closest(name) });
        };
        if value.is_empty() {
            self.values.remove(known);
            return Ok(());
        }
        if value.contains(&0) {
            return Err(Problem::parameter(known, "a NUL byte is not allowed"));
        }
        match fate {
            Refuse(why) => Err(Problem::parameter(known, why)),
            Honour(_) if known != "password" && std::str::from_utf8(&value).is_err() => {
                Err(Problem::parameter(known, "the value isn't UTF-8"))
            }
            Honour(_) => {
                self.values.insert(known, value);
                Ok(())
            }
        }
    }

    /// Whether there is a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// All of it, for a person to see: a password is `…`.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.values.iter().map(|(name, value)| {
            let value =
                if *name == "password" { HIDDEN.to_owned() } else { String::from_utf8_lossy(value).into_owned() };
            (*name, value)
        })
    }

    /// Takes a value out; `set` has made sure that it is UTF-8.
    pub(super) fn take(&mut self, name: &'static str) -> Option<String> {
        self.take_bytes(name).and_then(|it| String::from_utf8(it).ok())
    }

    pub(super) fn take_bytes(&mut self, name: &'static str) -> Option<Vec<u8>> {
        debug_assert!(TABLE.iter().any(|(known, fate)| *known == name && matches!(fate, Honour(_))));
        self.values.remove(name)
    }

    /// A parameter that nobody took: the table honours what the code doesn't know.
    pub(super) fn left(&self) -> Option<&'static str> {
        self.values.keys().next().copied()
    }
}

/// A parameter's name as an error may show it: if the string was torn apart at the wrong place, a name may be part of
/// a password, so only what looks like a name is shown.
pub(super) fn shorten(name: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !name.is_empty() && name.len() <= 40 && name.chars().all(plain) { name.to_owned() } else { "…".to_owned() }
}

fn closest(name: &str) -> Option<String> {
    TABLE
        .iter()
        .filter(|(_, fate)| matches!(fate, Honour(_)))
        .map(|(known, _)| (distance(known, &name.to_ascii_lowercase()), *known))
        .min()
        .filter(|(distance, known)| *distance <= 2.min(known.len() / 3))
        .map(|(_, known)| known.to_owned())
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_parameter_is_proposed() {
        assert_eq!(closest("sslmod").as_deref(), Some("sslmode"));
        assert_eq!(closest("connect_timout").as_deref(), Some("connect_timeout"));
        assert_eq!(closest("frobnicate"), None);
    }

    #[test]
    fn a_parameter_stands_once_in_the_table() {
        let mut names: Vec<_> = TABLE.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
