//! The operator and its resource against a real API server (`tests/cluster`), and a real PostgreSQL where it takes one.

#[path = "../support/mod.rs"]
mod support;

mod conduct;
mod crd;
mod install;
mod line;
mod readme;
mod shop;
mod specs;
mod waiting;
