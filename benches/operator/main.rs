//! `make bench`: what the operator costs, beside `psql` on the same statements, on a real API server and PostgreSQL.
//!
//! Single times mean little on a shared machine: both sides run in turn, and medians and their ratio are printed.

mod against_psql;
mod idle;
mod latency;
mod operator;
#[path = "../shared/psql.rs"]
mod psql;
#[path = "../../tests/support/mod.rs"]
mod support;

fn main() {
    // `cargo bench` passes its own flags; what isn't a flag picks the parts that run.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|want| name.contains(want.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        operator::install_crd().await;
        if runs("psql") {
            against_psql::run().await;
        }
        if runs("latency") {
            latency::run().await;
        }
        if runs("idle") {
            idle::run().await;
        }
    });
}
