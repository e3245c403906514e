//! Why there is no session: for every host, what failed there and what to do next; and which reason that makes.
//!
//! A server's own words may be shown, a password in them may not, nor anything else that the Secret holds beyond host,
//! port, and what the words or a GRANT must name.

use std::{error::Error, fmt, time::Duration};

use tokio_postgres::error::{DbError, SqlState};

use super::filter::Closed;
use crate::{
    core::{
        hosts::NotAllowed,
        outcome::{Failure, Reason},
    },
    database::{
        parameters::{Method, Parameters, TargetSessionAttrs},
        tls::{self, TlsMode},
    },
};

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No host gave one.
    #[error("{}", list(attempts))]
    NoSession {
        /// In the order in which they were tried.
        attempts: Vec<Attempt>,
    },
    /// The server's certificate couldn't be checked, whichever it is.
    #[error("{0}")]
    Trust(String),
    /// A statement couldn't be cancelled.
    #[error("cancelling on {0}")]
    Cancel(Attempt),
    /// There is a session, and it can't write.
    #[error("{0}")]
    ReadOnly(Attempt),
}

/// One host, and why it gave no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// As it is written in the URL.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What failed.
    pub cause: Cause,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, cause } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}: {cause}") } else { write!(f, "{host}:{port}: {cause}") }
    }
}

/// What failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The name isn't known.
    #[error("the host's name can't be looked up ({0}); check the name, and the namespace in it")]
    NoSuchHost(String),
    /// Whoever runs the operator doesn't allow where the name leads to.
    #[error(transparent)]
    NotAllowed(NotAllowed),
    /// Refused, or no way there.
    #[error("can't connect ({0}); check host and port, and that the server is up")]
    Unreachable(String),
    /// The deadline came first.
    #[error("no session within {} s; check host, port and network policies, or raise connect_timeout", .0.as_secs_f32())]
    TimedOut(Duration),
    /// It broke off.
    #[error("the connection broke off ({0}); see the server's log")]
    Lost(String),
    /// Something else listens there.
    #[error("what answers there doesn't speak PostgreSQL's protocol: {0}; check host and port")]
    NotPostgres(&'static str),
    /// The server, or the pooler before it, gives no session now.
    #[error("the server gives no session now: {message} ({code})")]
    Unavailable {
        /// SQLSTATE.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The database isn't there.
    #[error("{message} (3D000); create it, or correct the name")]
    NoSuchDatabase {
        /// The server's words.
        message: String,
    },
    /// The server isn't of the kind that was asked for.
    #[error("{is}, and {}", match wanted {
        TargetSessionAttrs::Primary => "a primary is needed".to_owned(),
        other => format!("target_session_attrs={other} asks for another one"),
    })]
    NotWanted {
        /// What it is.
        is: &'static str,
        /// What was asked for.
        wanted: TargetSessionAttrs,
    },
    /// The server can't be written to.
    #[error("it is a standby, which can't be written to; connect to the primary")]
    Standby,
    /// The server has no TLS.
    #[error(
        "the server doesn't offer TLS, and {mode} is asked for; switch TLS on there (ssl = on), or ask for prefer in tls.mode and the URL"
    )]
    TlsNotOffered {
        /// What was asked for.
        mode: TlsMode,
    },
    /// The handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// `channel_binding=require`, and the login isn't bound.
    #[error("channel_binding=require, and {0}; mend that there, or remove channel_binding from the URL")]
    ChannelBinding(&'static str),
    /// The login was refused.
    #[error("{message}{}; {advice}", code.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
    Authentication {
        /// SQLSTATE, if the server refused it.
        code: Option<String>,
        /// The server's words, or the driver's.
        message: String,
        /// What to do.
        advice: String,
    },
    /// `require_auth` excludes what the server asks for.
    #[error("the server asks for authentication by {}, which require_auth excludes, so nothing was sent; add it to require_auth, or change pg_hba.conf there", .0.name())]
    MethodExcluded(Method),
    /// No right to connect.
    #[error("{message} (42501); {grant}")]
    Denied {
        /// The server's words.
        message: String,
        /// The statement that gives it.
        grant: String,
    },
}

impl Cause {
    /// A stream that broke off.
    pub(super) fn lost(error: &(dyn Error + 'static)) -> Self {
        tls::explain(error).map_or_else(|| Self::Lost(chain(error)), Self::Tls)
    }

    /// Whether the other hosts may still be tried; libpq stops at a refused login (manual, 32.1.1.3).
    pub(super) fn tries_on(&self) -> bool {
        self.reason() == Reason::WaitingForDatabase
    }

    fn reason(&self) -> Reason {
        match self {
            Self::NoSuchHost(_)
            | Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::Lost(_)
            | Self::NotPostgres(_)
            | Self::Unavailable { .. }
            | Self::NoSuchDatabase { .. }
            | Self::NotWanted { .. }
            | Self::Standby => Reason::WaitingForDatabase,
            Self::TlsNotOffered { .. } | Self::Tls(_) => Reason::TLSFailed,
            Self::ChannelBinding(_) | Self::Authentication { .. } | Self::MethodExcluded(_) => {
                Reason::AuthenticationFailed
            }
            Self::Denied { .. } => Reason::PermissionDenied,
            Self::NotAllowed(_) => Reason::InvalidSpec,
        }
    }

    /// What an error of the driver means, before the session is open.
    pub(super) fn of(error: &tokio_postgres::Error, parameters: &Parameters) -> Self {
        if let Some(closed) = Closed::find(error) {
            return match closed {
                Closed::Method(method) => Self::MethodExcluded(method),
                Closed::TooMuch => Self::NotPostgres("it sends more than a server does before a session is open"),
                Closed::Nonsense(what) => Self::NotPostgres(what),
            };
        }
        if let Some(meaning) = tls::explain(error) {
            return Self::Tls(meaning);
        }
        if let Some(refusal) = error.as_db_error() {
            return Self::refused(refusal, parameters);
        }
        // tokio-postgres doesn't show what kind of error it is, other than by these words.
        let detail = error.source().map(ToString::to_string).unwrap_or_default();
        match error.to_string().as_str() {
            "invalid configuration" if detail == "password missing" => Self::Authentication {
                code: None,
                message: "the server asks for a password, and there is none".to_owned(),
                advice: "add it to the Secret".to_owned(),
            },
            "authentication error" if detail.contains("channel binding") => Self::ChannelBinding(
                "the server doesn't offer it; it needs SCRAM and a certificate signed with RSA or ECDSA",
            ),
            "authentication error" => Self::Authentication {
                code: None,
                message: format!("logging in failed ({})", shown(&detail, parameters)),
                advice:
                    "check password_encryption and pg_hba.conf there: scram-sha-256, md5 and password are supported"
                        .to_owned(),
            },
            "unexpected message from server" | "error parsing response from server" => {
                Self::NotPostgres("a message makes no sense")
            }
            "connection closed" => Self::Lost("the server closed it".to_owned()),
            _ => Self::Lost(shown(&chain(error), parameters)),
        }
    }

    fn refused(refusal: &DbError, parameters: &Parameters) -> Self {
        let code = refusal.code().code().to_owned();
        let message = shown(refusal.message(), parameters);
        match *refusal.code() {
            SqlState::INVALID_PASSWORD => Self::Authentication {
                code: Some(code),
                message,
                advice: format!(
                    "correct user and password in the Secret, or set it in the database by ALTER ROLE {} PASSWORD '…'",
                    quoted(&parameters.user)
                ),
            },
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION if message.contains("pg_hba.conf") => Self::Authentication {
                code: Some(code),
                message,
                advice:
                    "add a line for it to pg_hba.conf there; if it asks for TLS or for none, set tls.mode accordingly"
                        .to_owned(),
            },
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Self::Authentication {
                code: Some(code),
                message,
                advice: format!(
                    "check the role (ALTER ROLE {} LOGIN), pg_hba.conf, and whether a client certificate is asked for",
                    quoted(&parameters.user)
                ),
            },
            SqlState::INSUFFICIENT_PRIVILEGE => {
                let grant = format!(
                    "run GRANT CONNECT ON DATABASE {} TO {}",
                    quoted(&parameters.dbname),
                    quoted(&parameters.user)
                );
                Self::Denied { message, grant }
            }
            SqlState::INVALID_CATALOG_NAME => Self::NoSuchDatabase { message },
            _ => Self::Unavailable { code, message },
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let reason = match &error {
            // The first one that waiting doesn't cure ended the search; it is the last.
            ConnectError::NoSession { attempts } => {
                attempts.last().map_or(Reason::WaitingForDatabase, |attempt| attempt.cause.reason())
            }
            ConnectError::Trust(_) => Reason::TLSFailed,
            ConnectError::Cancel(attempt) | ConnectError::ReadOnly(attempt) => attempt.cause.reason(),
        };
        Self::new(reason, error.to_string())
    }
}

fn list(attempts: &[Attempt]) -> String {
    match attempts {
        [] => "no host was tried".to_owned(),
        [one] => one.to_string(),
        several => several.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
    }
}

/// An error and its causes, each once: the driver's own words leave the cause out, others repeat it.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

/// A stranger's words, as a message may show them: one line, not too long, and no password in them.
fn shown(text: &str, parameters: &Parameters) -> String {
    let line: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).take(500).collect();
    match parameters.secret() {
        Some(secret) => line.replace(&secret, "…"),
        None => line,
    }
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
