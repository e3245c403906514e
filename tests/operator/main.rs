//! The operator and its resource against a real API server (`tests/cluster`), and a real PostgreSQL where it takes one.

#[path = "../support/mod.rs"]
mod support;

mod crd;
mod install;
mod readme;
