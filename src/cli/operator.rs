//! `dunlin operator`: settings into the controller's options, and a runtime to run it on.

use super::{CliError, args::OperatorArgs};
use crate::{controller, core::hosts::AllowedHosts, fail_points};

/// Runs the operator until it is told to stop.
pub(super) fn run(args: OperatorArgs) -> Result<(), CliError> {
    let options = options(args)?;
    fail_points::arm();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    Ok(runtime.block_on(controller::run(options))?)
}

/// A flag that nothing honours is refused: an operator that only seems to do something is worse than none.
fn options(args: OperatorArgs) -> Result<controller::Options, CliError> {
    let OperatorArgs {
        mut namespaces,
        grace_period,
        leader_elect,
        lease_name,
        lease_namespace,
        pod_gates,
        allowed_hosts,
        metrics_addr,
        health_addr,
    } = args;
    for (flag, is_given) in [("--lease-name", lease_name.is_some()), ("--lease-namespace", lease_namespace.is_some())] {
        if is_given && !leader_elect {
            return Err(CliError::WithoutElection { flag });
        }
    }
    let lease = leader_elect.then(|| controller::LeaseOptions {
        name: lease_name.unwrap_or_else(|| controller::LEASE_NAME.to_owned()),
        namespace: lease_namespace,
    });
    namespaces.sort_unstable();
    namespaces.dedup();
    Ok(controller::Options {
        namespaces,
        grace_period,
        lease,
        pod_gates,
        allowed_hosts: AllowedHosts::new(allowed_hosts),
        health: health_addr,
        metrics: metrics_addr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> OperatorArgs {
        OperatorArgs {
            namespaces: Vec::new(),
            grace_period: controller::GRACE_PERIOD,
            leader_elect: false,
            lease_name: None,
            lease_namespace: None,
            pod_gates: false,
            allowed_hosts: Vec::new(),
            metrics_addr: None,
            health_addr: None,
        }
    }

    #[test]
    fn a_lease_is_named_only_where_there_is_one() {
        let named = OperatorArgs { lease_name: Some("till".into()), lease_namespace: Some("shop".into()), ..args() };
        let error = options(named).expect_err("there is no lease").to_string();
        assert!(error.contains("--lease-name") && error.contains("--leader-elect"), "{error}");
        let lease = |name: Option<&str>| {
            let args = OperatorArgs { leader_elect: true, lease_name: name.map(str::to_owned), ..args() };
            options(args).expect("all of it is supported").lease.map(|lease| lease.name)
        };
        assert_eq!(lease(None).as_deref(), Some("dunlin-operator"));
        assert_eq!(lease(Some("till")).as_deref(), Some("till"));
    }

    #[test]
    fn a_namespace_that_is_named_twice_is_watched_once() {
        let args = OperatorArgs { namespaces: vec!["b".into(), "a".into(), "b".into()], ..args() };
        assert_eq!(options(args).expect("all of it is supported").namespaces, ["a", "b"]);
    }
}
