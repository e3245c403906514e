//! The cluster as a verb sees it: a client, a namespace, and requests that end within a deadline.

use std::time::Duration;

use kube::{
    Api, Client, Config, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use serde_json::Value;

use super::{args::AccessArgs, error::ClusterError};
use crate::api::v1alpha1::MigrationSet;

/// Who writes, in `metadata.managedFields`.
const FIELD_MANAGER: &str = "dunlin";
/// How long the API server may take for an answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A cluster, and the namespace that is meant.
pub(super) struct Cluster {
    pub client: Client,
    pub namespace: String,
    server: String,
}

impl Cluster {
    /// Reads the kubeconfig and makes a client; nothing is asked of the API server yet.
    pub async fn access(args: &AccessArgs) -> Result<Self, ClusterError> {
        let config = config(args).await.map_err(ClusterError::Kubeconfig)?;
        let server = config.cluster_url.to_string();
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(ClusterError::Client)?;
        Ok(Self { client, namespace, server })
    }

    /// The namespace's MigrationSets.
    pub fn sets(&self) -> Api<MigrationSet> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The namespace's MigrationSets with every field that the API server has.
    pub fn objects(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind())
    }

    /// The same of all namespaces.
    pub fn objects_everywhere(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &kind())
    }

    /// Reads a MigrationSet.
    pub async fn set(&self, name: &str) -> Result<MigrationSet, ClusterError> {
        let sets = self.sets();
        self.answer(sets.get(name)).await
    }

    /// Changes a MigrationSet by merge patch, and returns what it is then.
    pub async fn patch(&self, name: &str, patch: &Value) -> Result<MigrationSet, ClusterError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let sets = self.sets();
        self.answer(sets.patch(name, &params, &Patch::Merge(patch))).await
    }

    /// Annotates a MigrationSet, and returns what it is then.
    pub async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<MigrationSet, ClusterError> {
        self.patch(name, &serde_json::json!({"metadata": {"annotations": {key: value}}})).await
    }

    /// Waits for an answer of the API server, not for ever.
    pub async fn answer<T>(&self, answer: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(answer) => answer.map_err(|error| self.trouble(error)),
            Err(_) => Err(ClusterError::NoAnswer { server: self.server.clone(), seconds: DEADLINE.as_secs() }),
        }
    }

    /// What an error of the client means.
    pub fn trouble(&self, error: kube::Error) -> ClusterError {
        match error {
            // An object that isn't there is named; where the type is unknown there is nothing to name.
            kube::Error::Api(status)
                if status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty()) =>
            {
                ClusterError::NoSuchType
            }
            kube::Error::Api(status) => ClusterError::Server(status),
            error @ kube::Error::SerdeError(_) => ClusterError::Answer(error),
            source => ClusterError::Unreachable { server: self.server.clone(), source },
        }
    }
}

/// A MigrationSet's name as kubectl prints it.
pub(super) fn full_name(name: &str) -> String {
    format!("migrationset.dunlin.dev/{name}")
}

fn kind() -> ApiResource {
    ApiResource::erase::<MigrationSet>(&())
}

/// The type's name in error messages and rights.
pub(super) fn plural() -> String {
    MigrationSet::plural(&()).into_owned()
}

/// As kubectl finds it: the flag, KUBECONFIG, `~/.kube/config`, the pod's account.
async fn config(args: &AccessArgs) -> Result<Config, KubeconfigError> {
    let kubeconfig = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)?,
        None => match Kubeconfig::read() {
            Ok(kubeconfig) => kubeconfig,
            Err(_)
                if args.context.is_none()
                    && let Ok(config) = Config::incluster() =>
            {
                return Ok(config);
            }
            Err(error) => return Err(error),
        },
    };
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await
}
