//! How verbs print: lists and documents as kubectl's, as YAML or JSON; and how long ago something was.

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::Value;

use super::super::{CliError, output};

/// How `status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Objects as JSON.
    Json,
    /// Objects as YAML.
    Yaml,
    /// The table, with DIGEST and MESSAGE.
    Wide,
    /// Names alone.
    Name,
}

/// How what is no list of objects prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocumentFormat {
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
}

/// A document, in the form that was asked for.
pub(super) fn document(value: &Value, format: DocumentFormat) -> Result<String, CliError> {
    match format {
        DocumentFormat::Json => output::json(value),
        DocumentFormat::Yaml => crate::yaml::to_string(value).map_err(|error| CliError::Encode(error.into())),
    }
}

/// Prints a table, or the document where a format is asked for.
pub(super) fn print_either(
    format: Option<DocumentFormat>,
    value: &Value,
    table: impl FnOnce() -> String,
) -> Result<(), CliError> {
    let text = match format {
        Some(format) => document(value, format)?,
        None => table(),
    };
    output::print(&text)
}

/// The one line that says what was done: `migrationset.dunlin.dev/shop suspended`.
pub(super) fn done(name: &str, verbed: &str) -> Result<(), CliError> {
    output::print(&format!("{name} {verbed}\n"))
}

/// How long ago that was, as kubectl says it (`k8s.io/apimachinery/pkg/util/duration`, `HumanDuration`).
pub(super) fn age(then: Option<&str>, now: Timestamp) -> String {
    let Some(then) = then.and_then(|then| then.parse::<Timestamp>().ok()) else { return "<unknown>".to_owned() };
    let seconds = now.as_second() - then.as_second();
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |large: i64, unit: &str, small: i64, below: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{below}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if days < 8 * 365 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

/// The time, which a command that prints ages begins with.
#[allow(clippy::disallowed_methods, reason = "a command is where the time comes in")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of kubectl's own test (`duration_test.go`), and the edges between them.
    #[test]
    fn ages_are_kubectls() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        for (seconds, expected) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (1, "1s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (86_400 * 729, "729d"),
            (86_400 * 730, "2y"),
            (86_400 * 731, "2y1d"),
            (86_400 * 365 * 8, "8y"),
        ] {
            let then = Timestamp::from_second(now.as_second() - seconds).expect("it is a time").to_string();
            assert_eq!(age(Some(&then), now), expected, "{seconds}");
        }
        assert_eq!(age(None, now), "<unknown>");
    }
}
