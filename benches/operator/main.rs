//! `make bench`: what the operator costs, beside `psql` on the same statements, on a real API server and PostgreSQL.
//!
//! Single times mean little on a shared machine: both sides run in turn, and medians and their ratio are printed.

mod against_psql;
#[path = "../shared/binary.rs"]
mod binary;
mod idle;
mod latency;
mod many;
mod operator;
#[path = "../shared/parts.rs"]
mod parts;
#[path = "../shared/psql.rs"]
mod psql;
mod start;
#[path = "../../tests/support/mod.rs"]
mod support;

fn main() {
    parts::run(async |runs| {
        operator::install_crd().await;
        if runs("psql") {
            against_psql::run().await;
        }
        if runs("latency") {
            latency::run().await;
        }
        if runs("start") {
            start::run().await;
        }
        if runs("idle") {
            idle::run().await;
        }
        if runs("many") {
            many::run().await;
        }
    });
}
