//! `make bench`: what the command line costs, beside `psql` on the same statements, on a real PostgreSQL.
//!
//! Single times mean little on a shared machine: both sides run in turn, and medians and their ratio are printed.

mod against_psql;
#[path = "../shared/binary.rs"]
mod binary;
mod distance;
mod dunlin;
mod idle;
#[path = "../shared/parts.rs"]
mod parts;
#[path = "../shared/psql.rs"]
mod psql;
#[path = "../../tests/support/mod.rs"]
mod support;

fn main() {
    parts::run(async |runs| {
        if runs("psql") {
            against_psql::run().await;
        }
        if runs("idle") {
            idle::run().await;
        }
    });
}
