//! The engine and its connections against a real PostgreSQL.

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod connection;
mod engine;
mod files;
mod tls;
