//! The chart `charts/dunlin`: rendered by Helm 3 and Helm 4 (`make tools`), shown to a real API server, and its roles given to a
//! real operator.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the operator's own tests use the rest of it")]
#[path = "../operator/install.rs"]
mod install;
#[allow(dead_code, reason = "the operator's own tests use the rest of it")]
#[path = "../operator/shop.rs"]
mod shop;

mod accepted;
mod alerts;
mod dashboards;
mod documents;
mod helm;
mod objects;
mod release;
mod samples;
mod scopes;
mod values;
mod walk;
