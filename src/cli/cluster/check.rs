//! `kubectl dunlin check`: whether the cluster knows MigrationSets as this program does, what the caller may do, and
//! which databases are reached.

use k8s_openapi::{
    api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, CustomResourceDefinitionVersion,
    },
};
use kube::{
    Api,
    api::{ListParams, ObjectMeta, PostParams},
};
use serde::Serialize;
use serde_json::Value;

use super::super::{CliError, exit::Exit, output};
use super::{
    access::{Cluster, plural},
    args::CheckArgs,
    error::ClusterError,
    output::print_either,
    rights::{Right, by_right},
};
use crate::api::v1alpha1;
use crate::core::{conditions::ConditionType, outcome::Truth};

const VERSION: &str = "v1alpha1";
const INSTALL: &str = "dunlin crd | kubectl apply --server-side -f -";

/// One thing that was looked at. `-o json` prints it: a format, to which fields are added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    /// What was looked at.
    check: String,
    /// Whether it is as it should be: True, False or Unknown.
    #[serde(serialize_with = "as_word")]
    ok: Truth,
    /// What is wrong, and what to do.
    message: String,
    /// The verbs that need it, if it is a right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needed_by: Vec<&'static str>,
}

/// Looks at everything, prints it, and says by the exit code whether all of it is as it should be.
pub(super) async fn run(cluster: &Cluster, args: &CheckArgs) -> Result<Exit, CliError> {
    let is_served = is_served(cluster).await?;
    let mut findings = vec![served(is_served)];
    if is_served {
        findings.push(schema(cluster).await?);
    }
    for (right, needed_by) in by_right() {
        findings.push(allowed(cluster, args.all_namespaces, right, needed_by).await?);
    }
    if is_served {
        findings.extend(databases(cluster, args.all_namespaces).await?);
    }
    let value = serde_json::json!({"checks": findings});
    print_either(args.output, &value, || in_words(&findings))?;
    let is_wrong = findings.iter().any(|finding| finding.ok == Truth::False);
    Ok(if is_wrong { Exit::Differs } else { Exit::Done })
}

fn in_words(findings: &[Finding]) -> String {
    let row = |finding: &Finding| {
        let message = match finding.needed_by.as_slice() {
            [] => finding.message.clone(),
            _ if finding.ok == Truth::True => finding.message.clone(),
            verbs => format!("{}needed by {}", finding.message, verbs.join(", ")),
        };
        vec![finding.check.clone(), word(finding.ok).to_owned(), message]
    };
    output::table(vec!["CHECK", "OK", "MESSAGE"], &findings.iter().map(row).collect::<Vec<_>>())
}

fn word(truth: Truth) -> &'static str {
    match truth {
        Truth::True => "True",
        Truth::False => "False",
        Truth::Unknown => "Unknown",
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn as_word<S: serde::Serializer>(truth: &Truth, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(word(*truth))
}

fn finding(check: impl Into<String>, ok: Truth, message: impl Into<String>) -> Finding {
    Finding { check: check.into(), ok, message: message.into(), needed_by: Vec::new() }
}

/// Whether the API server serves MigrationSets; everybody may ask that.
async fn is_served(cluster: &Cluster) -> Result<bool, ClusterError> {
    let version = format!("dunlin.dev/{VERSION}");
    match cluster.answer(cluster.client.list_api_group_resources(&version)).await {
        Ok(served) => Ok(served.resources.iter().any(|resource| resource.name == plural())),
        Err(ClusterError::NoSuchType) => Ok(false),
        Err(error) => Err(error),
    }
}

fn served(is_served: bool) -> Finding {
    let check = format!("{}.dunlin.dev/{VERSION} is served", plural());
    if is_served {
        finding(check, Truth::True, "")
    } else {
        finding(check, Truth::False, format!("install it: {INSTALL}"))
    }
}

/// Whether the CustomResourceDefinition is the one of this program.
async fn schema(cluster: &Cluster) -> Result<Finding, ClusterError> {
    let check = "its CustomResourceDefinition is this program's";
    let name = v1alpha1::crd().metadata.name.unwrap_or_default();
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let found = match cluster.answer(api.get(&name)).await {
        Ok(found) => found,
        Err(ClusterError::Server(status)) if status.code == 403 => {
            return Ok(finding(check, Truth::Unknown, "you may not read CustomResourceDefinitions"));
        }
        Err(error) => return Err(error),
    };
    Ok(if shape(&found) == shape(&v1alpha1::crd()) {
        finding(check, Truth::True, "")
    } else {
        finding(
            check,
            Truth::False,
            format!("it is another version's: bring this program and the operator to one version, then {INSTALL}"),
        )
    })
}

/// What of a definition says how objects look.
fn shape(crd: &CustomResourceDefinition) -> Option<Value> {
    let CustomResourceDefinitionVersion { schema, additional_printer_columns, .. } =
        crd.spec.versions.iter().find(|version| version.name == VERSION)?;
    serde_json::to_value((schema, additional_printer_columns)).ok()
}

/// Whether the caller has a right, in the namespace or in all of them.
async fn allowed(
    cluster: &Cluster,
    everywhere: bool,
    right: Right,
    needed_by: Vec<&'static str>,
) -> Result<Finding, ClusterError> {
    let review = SelfSubjectAccessReview {
        metadata: ObjectMeta::default(),
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: (!everywhere).then(|| cluster.namespace.clone()),
                verb: Some(right.verb.to_owned()),
                group: Some(right.group.to_owned()),
                resource: Some(right.resource.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        status: None,
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = cluster.answer(api.create(&PostParams::default(), &review)).await?;
    let is_allowed = answer.status.is_some_and(|status| status.allowed);
    let place = if everywhere { "all namespaces".to_owned() } else { format!("namespace {}", cluster.namespace) };
    let ok = if is_allowed { Truth::True } else { Truth::False };
    Ok(Finding { needed_by, ..finding(format!("you may {right} in {place}"), ok, "") })
}

/// What each MigrationSet says of its database. Whoever may not list them is told so by the rights.
async fn databases(cluster: &Cluster, everywhere: bool) -> Result<Vec<Finding>, ClusterError> {
    let api = if everywhere { cluster.objects_everywhere() } else { cluster.objects() };
    let sets = match cluster.answer(api.list(&ListParams::default())).await {
        Ok(sets) => sets,
        Err(ClusterError::Server(status)) if status.code == 403 => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let found = sets.items.iter().map(|set| {
        let (namespace, name) = (set.metadata.namespace.as_deref(), set.metadata.name.as_deref());
        let check = format!("database of {}/{} is reached", namespace.unwrap_or_default(), name.unwrap_or_default());
        let conditions = set.data["status"]["conditions"].as_array();
        let wanted = ConditionType::DatabaseReachable.to_string();
        let reachable = conditions.into_iter().flatten().find(|condition| condition["type"] == wanted.as_str());
        let said = |field: &str| reachable.and_then(|condition| condition[field].as_str()).unwrap_or_default();
        match said("status") {
            "True" => finding(check, Truth::True, ""),
            "False" => finding(check, Truth::False, format!("{}: {}", said("reason"), said("message"))),
            _ => finding(check, Truth::Unknown, "the operator hasn't tried yet"),
        }
    });
    Ok(found.collect())
}
