//! Connection parameters: from a Secret's keys or a URL to hosts, login and TLS, by an allow-list.
//!
//! Every parameter that libpq knows is honoured or refused by name in [`table`]; nothing is skipped in silence. A value
//! never appears in an error or in `Debug`: a parameter is named, what it says is not.

mod allowed;
mod build;
mod by_hand;
mod conninfo;
mod error;
mod method;
mod options;
mod secret;
mod table;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

pub use by_hand::{ByHand, Said, VARIABLES};
pub use error::{ParametersError, Place, Problem};
pub use method::{Method, Methods};
pub use options::Setting;
pub use secret::SecretKeys;
pub use table::{Fate, TABLE};

use super::tls::{Tls, TlsInput};
use crate::core::hosts::AllowedHosts;

/// How long one host may take to give a session when `connect_timeout` doesn't say.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// More hosts than this in one URL are refused: each may take a whole time-out.
pub const MAX_HOSTS: usize = 16;

/// How to reach a database. `Debug` prints `…` for every value.
#[derive(Clone)]
pub struct Parameters {
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) password: Option<Vec<u8>>,
    pub(super) dbname: String,
    pub(super) tls: Tls,
    pub(super) channel_binding: ChannelBinding,
    pub(super) methods: Methods,
    pub(super) target_session_attrs: TargetSessionAttrs,
    pub(super) load_balance_hosts: LoadBalanceHosts,
    pub(super) connect_timeout: Duration,
    pub(super) keepalives: Option<Keepalives>,
    pub(super) tcp_user_timeout: Option<Duration>,
    pub(super) settings: Vec<Setting>,
    /// Whoever connects to a name asks what is allowed of its addresses.
    pub(super) allowed_hosts: AllowedHosts,
}

/// Who gives the URL: decides what it may name on the machine that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Somebody who may write a Secret: nothing on the operator's machine, so no Unix socket.
    Operator,
    /// The person at the keyboard: Unix sockets too.
    CommandLine,
}

/// One of the hosts of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) address: Address,
    pub(super) port: u16,
}

/// Where a host is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A name or an address in text, which is looked up and which a certificate must carry.
    Name(String),
    /// `hostaddr`: no look-up; the name, if there is one, is the certificate's.
    Known { name: String, ip: IpAddr },
    /// The directory of a Unix socket.
    Socket(PathBuf),
}

/// `channel_binding` (PostgreSQL 18 manual, 32.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "libpq's own words")]
pub enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// `target_session_attrs` (PostgreSQL 18 manual, 32.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "libpq's own words")]
pub enum TargetSessionAttrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl fmt::Display for TargetSessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        })
    }
}

/// `load_balance_hosts` (PostgreSQL 18 manual, 32.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "libpq's own words")]
pub enum LoadBalanceHosts {
    Disable,
    Random,
}

/// TCP keepalives: on unless `keepalives=0`. What isn't said is a minute, ten seconds and six probes, so that a dead
/// peer is noticed within two minutes rather than the two hours of the kernel's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalives {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Probes lost before the connection counts as dead.
    pub count: u32,
}

impl Default for Keepalives {
    fn default() -> Self {
        Self { idle: Duration::from_mins(1), interval: Duration::from_secs(10), count: 6 }
    }
}

impl Parameters {
    /// Reads a `postgres://` URL, or a string of keywords and values, as libpq does (PostgreSQL 18 manual, 32.1.1).
    ///
    /// # Errors
    ///
    /// A string of neither form, a parameter that is refused or unknown, no host, no user.
    pub fn from_url(url: &str, source: Source, tls: &TlsInput) -> Result<Self, ParametersError> {
        let place = Place::Url;
        let given = conninfo::parse(url.trim()).map_err(|problem| problem.at(&place))?;
        Self::from_given(given, source, tls, &place)
    }

    fn from_given(given: table::Given, source: Source, tls: &TlsInput, place: &Place) -> Result<Self, ParametersError> {
        build::build(given, source, tls, place)
    }

    /// The same, for a session that is to write: a standby among the hosts is passed over.
    ///
    /// `target_session_attrs=any` becomes `primary`. What asks for a standby by name stays as it is, and
    /// [`ServerInfo::require_writable`](super::connect::ServerInfo::require_writable) says so.
    #[must_use]
    pub fn for_writing(mut self) -> Self {
        if self.target_session_attrs == TargetSessionAttrs::Any {
            self.target_session_attrs = TargetSessionAttrs::Primary;
        }
        self
    }

    /// The same, for another database of the server.
    #[must_use]
    pub fn for_database(mut self, name: &str) -> Self {
        name.clone_into(&mut self.dbname);
        self
    }

    /// Who logs in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password, if it is one that a message would show by repeating it: a shorter one is a part of many words.
    pub(super) fn secret(&self) -> Option<String> {
        let password = String::from_utf8_lossy(self.password.as_deref()?);
        (password.chars().count() > 3).then(|| password.into_owned())
    }

    /// A text without the password, as it is and as a URL spells it.
    #[must_use]
    pub fn without_password(&self, text: &str) -> String {
        let Some(password) = self.secret() else { return text.to_owned() };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let encode = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        let encoded: String = password.bytes().map(encode).collect();
        text.replace(&password, "…").replace(&encoded, "…")
    }

    /// The settings of `options`, as statements that end in a semicolon each; empty if there are none.
    ///
    /// Opening a session doesn't send them: behind a pooler in transaction mode, others would find them. Whoever prepares
    /// the session does, before its own settings, and again behind each `RESET ALL`.
    #[must_use]
    pub fn settings_sql(&self) -> String {
        self.settings.iter().map(Setting::sql).collect()
    }

    /// The longest that [`connect`](super::connect::connect) may take with these.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let hosts = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        let passes = if self.target_session_attrs == TargetSessionAttrs::PreferStandby { 2 } else { 1 };
        self.connect_timeout.saturating_mul(hosts).saturating_mul(passes)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every field by name, so that a new one is thought about here.
        let Self {
            hosts: _,
            user: _,
            password: _,
            dbname: _,
            tls: _,
            channel_binding: _,
            methods: _,
            target_session_attrs: _,
            load_balance_hosts: _,
            connect_timeout: _,
            keepalives: _,
            tcp_user_timeout: _,
            settings: _,
            allowed_hosts: _,
        } = self;
        f.write_str("Parameters { hosts: …, user: …, password: …, dbname: …, tls: …, others: … }")
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://…")
    }
}
