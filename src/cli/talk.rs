//! What is said on stderr while a command works: an event, told in words to people or as one JSON object a line to
//! programs. Both have the same events, since both come from here.

use std::sync::OnceLock;

use serde::Serialize;

use super::{
    color::{self, Stream, Tone},
    live,
};
use crate::{
    core::{
        migration::{Direction, Version},
        task::Subject,
    },
    telemetry::LogFormat,
};

/// How this process talks; once it is set up, for good.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// One event. Its JSON is a format: fields are added, never renamed; those that don't apply are left out.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use = "an event is told by say"]
pub struct Event {
    timestamp: String,
    #[serde(rename = "event")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<String>,
    message: String,
}

/// Sets up how this process talks.
pub fn init(format: LogFormat) {
    // Whoever was first has said it for the whole process.
    let _ = FORMAT.set(format);
}

/// Whether programs listen.
#[must_use]
pub fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

impl Event {
    /// An event of a name that programs know, and its words for people.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), ..Self::default() }
    }

    /// The set that it is about.
    pub fn set(mut self, set: &str) -> Self {
        self.set = Some(set.to_owned());
        self
    }

    /// The migration that it is about, and which way that goes.
    pub fn of(mut self, version: &Version, direction: Direction) -> Self {
        self.version = Some(version.to_string());
        self.direction = Some(direction.word());
        self
    }

    /// What it is about: a migration, a seed or a hook, of which the key stands in the version's place.
    pub fn about(mut self, subject: &Subject) -> Self {
        self.version = Some(subject.key().to_owned());
        if let Subject::Migration { direction, .. } = subject {
            self.direction = Some(direction.word());
        }
        self
    }

    /// Which of its statements, from 1.
    pub fn statement(mut self, statement: Option<u32>) -> Self {
        self.statement = statement;
        self
    }

    /// How long it took.
    pub fn lasting(mut self, duration_ms: Option<i64>) -> Self {
        self.duration_ms = duration_ms;
        self
    }

    /// What the server called it.
    pub fn sqlstate(mut self, sqlstate: Option<&str>) -> Self {
        self.sqlstate = sqlstate.map(str::to_owned);
        self
    }

    /// Says it on stderr.
    pub fn say(mut self) {
        if !is_json() {
            // Of several lines the first says what it is; SQL and carets stay as they are.
            let (first, rest) = self.message.split_at(self.message.find('\n').unwrap_or(self.message.len()));
            live::say(&(color::paint(Stream::Stderr, Tone::of_event(self.kind), first) + rest));
            return;
        }
        self.timestamp = now();
        match serde_json::to_string(&self) {
            Ok(line) => live::say(&line),
            // Text and numbers alone: nothing in it could fail.
            Err(error) => live::say(&format!("{}: {error}", self.message)),
        }
    }
}

/// Says something that is about no migration.
pub fn say(event: &'static str, message: impl Into<String>) {
    Event::new(event, message).say();
}

#[allow(clippy::disallowed_methods, reason = "when something was said is known to nobody else")]
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
