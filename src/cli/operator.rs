//! `dunlin operator`: settings into the controller's options, and a runtime to run it on.

use super::{CliError, args::OperatorArgs};
use crate::{controller, fail_points};

/// Runs the operator until it is told to stop.
pub(super) fn run(args: OperatorArgs) -> Result<(), CliError> {
    let options = options(args)?;
    fail_points::arm();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    Ok(runtime.block_on(controller::run(options))?)
}

/// A flag that nothing honours yet is refused: an operator that only seems to elect a leader is worse than none.
fn options(args: OperatorArgs) -> Result<controller::Options, CliError> {
    let OperatorArgs { mut namespaces, grace_period, leader_elect, metrics_addr, health_addr } = args;
    if leader_elect {
        return Err(CliError::NotSupportedYet {
            flag: "--leader-elect=true",
            instead: "run one replica, with --leader-elect=false",
        });
    }
    if metrics_addr.is_some() {
        return Err(CliError::NotSupportedYet { flag: "--metrics-addr", instead: "leave it out" });
    }
    if health_addr.is_some() {
        return Err(CliError::NotSupportedYet { flag: "--health-addr", instead: "leave it out" });
    }
    namespaces.sort_unstable();
    namespaces.dedup();
    Ok(controller::Options { namespaces, grace_period })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> OperatorArgs {
        OperatorArgs {
            namespaces: Vec::new(),
            grace_period: controller::GRACE_PERIOD,
            leader_elect: false,
            metrics_addr: None,
            health_addr: None,
        }
    }

    #[test]
    fn what_is_not_supported_yet_is_refused_by_name() {
        let table = [
            (OperatorArgs { leader_elect: true, ..args() }, "--leader-elect=true"),
            (OperatorArgs { metrics_addr: Some("127.0.0.1:0".into()), ..args() }, "--metrics-addr"),
            (OperatorArgs { health_addr: Some("127.0.0.1:0".into()), ..args() }, "--health-addr"),
        ];
        for (args, flag) in table {
            let error = options(args).expect_err(flag).to_string();
            assert!(error.starts_with(flag) && error.contains("not supported yet"), "{error}");
        }
    }

    #[test]
    fn a_namespace_that_is_named_twice_is_watched_once() {
        let args = OperatorArgs { namespaces: vec!["b".into(), "a".into(), "b".into()], ..args() };
        assert_eq!(options(args).expect("all of it is supported").namespaces, ["a", "b"]);
    }
}
