//! What can be wrong with connection parameters. Names of Secrets, keys and parameters; never a value.

use std::fmt;

use crate::{
    core::{
        hosts::NotAllowed,
        outcome::{Failure, Reason},
    },
    database::tls::TlsError,
};

/// Where a parameter was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The URL that somebody typed or configured.
    Url,
    /// A Secret's key.
    Key {
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
    },
    /// A flag, a variable of the environment, or a field of a file.
    Said(String),
    /// Several keys of a Secret.
    Secret(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(place) => f.write_str(place),
            Self::Url => write!(f, "the database URL"),
            Self::Key { secret, key } => write!(f, "key {key} of Secret {secret}"),
            Self::Secret(secret) => write!(f, "Secret {secret}"),
        }
    }
}

/// Why no [`Parameters`](super::Parameters) came of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// The Secret hasn't got what was looked for; it may come.
    #[error("Secret {secret} has no value for {}{}; {}", list(looked_for), or_url(*by_convention), has_keys(has))]
    MissingKeys {
        /// The Secret.
        secret: String,
        /// The keys looked for; alternatives stand together, as in `user or username`.
        looked_for: Vec<String>,
        /// Whether a URL was looked for too, and not found.
        by_convention: bool,
        /// The keys that it has.
        has: Vec<String>,
    },
    /// What it has can't be used until somebody edits it.
    #[error("{place}: {problem}")]
    Invalid {
        /// Where.
        place: Place,
        /// What.
        problem: Problem,
    },
    /// Whoever runs the operator doesn't allow it.
    #[error("{place}: {host}: {why}")]
    NotAllowed {
        /// Where the host was read.
        place: Place,
        /// The host with its port.
        host: String,
        /// Why, and what to do.
        why: NotAllowed,
    },
    /// The TLS settings don't fit together, or a certificate can't be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What is wrong with one parameter or with the whole string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The string as a whole.
    #[error("{0}")]
    Form(&'static str),
    /// A parameter that is known and refused, or whose value can't be used.
    #[error("parameter {name}: {why}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Why, and what to do.
        why: String,
    },
    /// A parameter that libpq doesn't know either.
    #[error("parameter {name} is not known{}", advice(instead.as_ref()))]
    Unknown {
        /// The parameter as it was written, shortened.
        name: String,
        /// What it may have meant.
        instead: Option<String>,
    },
    /// A parameter that stands twice behind a URL's question mark.
    #[error("parameter {0} is given twice; keep one")]
    Twice(String),
}

impl Problem {
    pub(super) fn parameter(name: &'static str, why: impl Into<String>) -> Self {
        Self::Parameter { name, why: why.into() }
    }

    pub(super) fn at(self, place: &Place) -> ParametersError {
        ParametersError::Invalid { place: place.clone(), problem: self }
    }
}

impl From<ParametersError> for Failure {
    fn from(error: ParametersError) -> Self {
        match &error {
            ParametersError::MissingKeys { .. } => Self::new(
                Reason::WaitingForSecret,
                format!("{error}; add what is missing, or name the keys that hold it in spec.database.secretRef.keys"),
            ),
            ParametersError::Invalid { .. } | ParametersError::NotAllowed { .. } => {
                Self::new(Reason::InvalidSpec, error.to_string())
            }
            ParametersError::Tls(tls) => Self::new(Reason::InvalidSpec, tls.to_string()),
        }
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{}, and {last}", most.join(", ")),
    }
}

fn or_url(by_convention: bool) -> String {
    if by_convention { format!(", nor a URL under {}", super::secret::URLS.join(", ")) } else { String::new() }
}

fn has_keys(keys: &[String]) -> String {
    if keys.is_empty() { "it is empty".to_owned() } else { format!("it has the keys {}", keys.join(", ")) }
}

fn advice(instead: Option<&String>) -> String {
    instead.map(|it| format!("; is {it} meant?")).unwrap_or_default()
}
