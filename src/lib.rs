//! Dunlin drives PostgreSQL migrations declaratively: exactly once, or a person is asked.
//!
//! A pure core in the middle, input and output at the edges, and two shells (operator, command line)
//! over the same three calls: [`core::plan`], [`core::decide`] and [`execute`].
//!
//! Who may import whom, held by `tests/architecture.rs`: `core` nobody; `api`, `source` and `database` only
//! `core`; `execute` also `database`; `controller` and `cli` everything but each other. `fail_points` is for whoever has an effect.

/// The commit that this was built from, where whoever built it said so in `DUNLIN_COMMIT`. A build never looks for it: from a
/// tarball it is the same as from a clone.
pub const COMMIT: &str = match option_env!("DUNLIN_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    Some(_) | None => "unknown",
};

pub mod api;
pub mod cli;
pub mod controller;
pub mod core;
pub mod database;
pub mod execute;
pub mod fail_points;
pub mod serve;
pub mod source;
pub mod telemetry;
pub mod yaml;
