//! The operator's pods, and the lines of their logs.

use futures::{AsyncBufReadExt, Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};

use super::super::{access::Cluster, error::ClusterError};

/// What every installation labels the operator's pods with.
const LABEL: &str = "app.kubernetes.io/name=dunlin";
/// The container whose log is meant, as kubectl has it.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A line, and when the kubelet got it.
#[derive(Debug)]
pub(super) struct Line {
    pub at: Timestamp,
    pub text: String,
}

/// A pod in which an operator runs, or has run.
pub(super) struct OperatorPod {
    pub uid: String,
    namespace: String,
    name: String,
    container: Option<String>,
}

/// What is said of them, in one namespace or in all.
pub(in crate::cli::cluster) async fn list(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Vec<Pod>, ClusterError> {
    let client = cluster.client.clone();
    let api: Api<Pod> =
        namespace.map_or_else(|| Api::all(client.clone()), |name| Api::namespaced(client.clone(), name));
    Ok(cluster.answer(api.list(&ListParams::default().labels(LABEL))).await?.items)
}

/// Finds them, in one namespace or in all.
pub(super) async fn find(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<OperatorPod>, ClusterError> {
    let found = list(cluster, namespace).await.map_err(refused)?;
    if found.is_empty() {
        let place = namespace.map_or_else(|| "any namespace".to_owned(), |name| format!("namespace {name}"));
        return Err(ClusterError::NoOperator { label: LABEL, place });
    }
    Ok(found.iter().map(OperatorPod::of).collect())
}

impl OperatorPod {
    fn of(pod: &Pod) -> Self {
        let first = pod.spec.as_ref().and_then(|spec| spec.containers.first()).map(|container| container.name.clone());
        Self {
            uid: pod.uid().unwrap_or_default(),
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            container: pod.annotations().get(DEFAULT_CONTAINER).cloned().or(first),
        }
    }

    /// Its lines from a time on; those that go on are not ended by a deadline.
    pub async fn lines(
        &self,
        cluster: &Cluster,
        since: Option<Timestamp>,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<Line, ClusterError>> + use<>, ClusterError> {
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &self.namespace);
        let parameters = LogParams {
            container: self.container.clone(),
            follow,
            since_time: since,
            timestamps: true,
            ..LogParams::default()
        };
        let stream = cluster.answer(api.log_stream(&self.name, &parameters)).await.map_err(refused)?;
        let pod = format!("{}/{}", self.namespace, self.name);
        let mut last = Timestamp::UNIX_EPOCH;
        Ok(stream.lines().map(move |raw| {
            let line = read(&raw.map_err(|source| ClusterError::Log { pod: pod.clone(), source })?, last);
            last = line.at;
            Ok(line)
        }))
    }
}

/// Takes the kubelet's time off a line. One without stands by the line before it.
fn read(raw: &str, before: Timestamp) -> Line {
    let stamped = raw.split_once(' ').and_then(|(at, text)| Some((at.parse().ok()?, text)));
    let (at, text) = stamped.unwrap_or((before, raw));
    Line { at, text: text.to_owned() }
}

/// What a person needs to whom the API server refuses it.
fn refused(error: ClusterError) -> ClusterError {
    match error {
        ClusterError::Server(status) if status.code == 403 => ClusterError::NoRightToLogs(status),
        error => error,
    }
}
