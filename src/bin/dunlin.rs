//! The one binary: the operator, the command line, and, by the name `kubectl-dunlin`, the plugin of kubectl.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    // rustls has one cryptography provider for the whole process; whoever is first chooses it.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider was installed before main"))?;
    Ok(dunlin::cli::run(std::env::args_os()).into())
}
