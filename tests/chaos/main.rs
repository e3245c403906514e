//! `make chaos`: every promise about crashes, with something that crashes.
//!
//! Real operators as processes, a real API server, real PostgreSQL. Without arguments it is the quick form, a part of
//! `make test`: a sample of the crashes at fail points, and a minute of random kills. `--full` is all of it.

mod gate;
mod generate;
mod lane;
mod matrix;
mod operator;
mod person;
mod proxy;
mod random;
mod report;
mod scenario;
mod subject;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser as _;

/// What is to be broken, and how much of it.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Everything: each fail point × fault, and at least 1,000 kills over 500 migrations.
    #[arg(long)]
    full: bool,
    /// Where chance begins; printed when it isn't given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only `points` or only `random`.
    #[arg(long)]
    only: Option<String>,
    /// Only crashes whose description holds this.
    #[arg(long)]
    matching: Option<String>,
    /// At least so many kills.
    #[arg(long)]
    kills: Option<usize>,
    /// The major version of PostgreSQL.
    #[arg(long)]
    postgres: Option<u32>,
    /// What `cargo test` passes on: names of tests, of which there are none here.
    #[arg(hide = true)]
    filters: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.filters.is_empty() && !args.filters.iter().any(|filter| "chaos".contains(filter.as_str())) {
        println!("chaos: left out, as {:?} doesn't name it", args.filters);
        return ExitCode::SUCCESS;
    }
    rustls::crypto::ring::default_provider().install_default().expect("nobody else has chosen");
    let seed = args.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime").block_on(report::run(&args, seed))
}
