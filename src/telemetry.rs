//! The log: on stderr, as text or as one JSON object a line, with times as in RFC 3339.
//!
//! Nothing is ever logged that may hold a secret; types that hold one print `…`.

use std::io::stderr;

use tracing_subscriber::{
    EnvFilter,
    filter::ParseError,
    util::{SubscriberInitExt, TryInitError},
};

/// Whose log it is, which decides what is in it where nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logger {
    /// The log is all that it says.
    Operator,
    /// It tells events of its own on stderr, each of them once.
    Command,
}

impl Logger {
    fn default_level(self) -> &'static str {
        match self {
            // Requests that fail are said by whoever made them, with what they were for; kube says them again without.
            Self::Operator => "info,kube_client::client::builder=off",
            Self::Command => "off",
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `--log-level` or `RUST_LOG` can't be understood.
    #[error(
        "{origin} {text:?} is no log level: use error, warn, info, debug or trace, or directives such as dunlin=debug"
    )]
    Level {
        /// Where it was said.
        origin: &'static str,
        /// What was said.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Something else has set up a log in this process.
    #[error("the log is set up already")]
    Twice(#[source] TryInitError),
}

/// Sets up the process's one log. The level given wins over `RUST_LOG`, which wins over what the logger has by default. JSON is
/// never coloured.
///
/// # Errors
/// [`TelemetryError`] for a level that can't be understood, or a second call.
pub fn init(logger: Logger, level: Option<&str>, format: LogFormat, is_colored: bool) -> Result<(), TelemetryError> {
    let filter = filter(logger, level, std::env::var(EnvFilter::DEFAULT_ENV).ok())?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => log.with_ansi(is_colored).finish().try_init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()
        }
    }
    .map_err(TelemetryError::Twice)
}

fn filter(logger: Logger, flag: Option<&str>, environment: Option<String>) -> Result<EnvFilter, TelemetryError> {
    let (origin, text) = match (flag, environment.filter(|text| !text.trim().is_empty())) {
        (Some(text), _) => ("--log-level", text.to_owned()),
        (None, Some(text)) => (EnvFilter::DEFAULT_ENV, text),
        (None, None) => ("default", logger.default_level().to_owned()),
    };
    EnvFilter::builder().parse(&text).map_err(|source| TelemetryError::Level { origin, text, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_which_wins_over_the_default() {
        let of = |logger, flag, environment: Option<&str>| {
            filter(logger, flag, environment.map(str::to_owned)).expect("all of these are levels").to_string()
        };
        let said = |flag, environment| of(Logger::Operator, flag, environment);
        assert_eq!(said(Some("debug"), Some("warn")), "debug");
        assert_eq!(said(None, Some("dunlin=trace")), "dunlin=trace");
        let default = "kube_client::client::builder=off,info";
        assert_eq!(said(None, Some("")), default);
        assert_eq!(said(None, None), default);
        assert_eq!(of(Logger::Command, None, None), "off");
        assert_eq!(of(Logger::Command, None, Some("info")), "info");
    }

    #[test]
    fn what_is_no_level_is_refused() {
        let error = filter(Logger::Operator, Some("dunlin=loud"), None).expect_err("loud is no level").to_string();
        assert!(error.starts_with("--log-level \"dunlin=loud\" is no log level"), "{error}");
    }
}
