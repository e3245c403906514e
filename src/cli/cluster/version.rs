//! `kubectl dunlin version`: what this program is, and which operators the cluster has.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::super::{
    CliError,
    version::{self, OperatorVersion},
};
use super::{
    access::Cluster,
    args::{AccessArgs, ClusterVersionArgs},
    error::ClusterError,
    logs::operator_pods,
};

/// What an installation labels its pods with, beside their name.
const VERSION: &str = "app.kubernetes.io/version";

/// Prints them; this program's own also where the cluster doesn't answer.
pub(super) async fn run(access: &AccessArgs, args: &ClusterVersionArgs) -> Result<(), CliError> {
    if args.client {
        return version::run(&args.version);
    }
    let found = async { operators(&Cluster::access(access).await?, args.operator_namespace.as_deref()).await }.await;
    match found {
        Ok(operators) => version::with_operators(&args.version, operators),
        Err(error) => {
            version::run(&args.version)?;
            Err(error.into())
        }
    }
}

/// Each version in each namespace once, however many pods there are.
async fn operators(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<OperatorVersion>, ClusterError> {
    let pods = operator_pods(cluster, namespace).await?;
    let of = |pod: &Pod| OperatorVersion {
        namespace: pod.namespace().unwrap_or_default(),
        version: pod.labels().get(VERSION).cloned().unwrap_or_else(|| "unknown".to_owned()),
    };
    Ok(pods.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect())
}
