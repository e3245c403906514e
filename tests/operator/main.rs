//! The operator and its resource against a real API server (`tests/cluster`), and a real PostgreSQL where it takes one.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the engine's own tests use the rest of it")]
#[path = "../postgres/engine/fixture.rs"]
mod fixture;

mod alerts;
mod approval;
mod burst;
mod conduct;
mod counting;
mod crd;
mod decided;
mod disk;
mod documents;
mod failover;
mod full;
mod gates;
mod git;
mod gitops;
mod going;
mod hooks;
mod hosts;
mod https;
mod install;
mod kube_state;
mod kubectl;
mod lease;
mod liar;
mod line;
mod metrics;
mod outage;
mod pack;
mod pooler;
mod probes;
mod process;
mod progress;
mod readme;
mod remade;
mod runbooks;
mod seeds;
mod shop;
mod specs;
mod stopped;
mod two;
mod variables;
mod waiting;
