//! `dunlin version`: what this program is and of which commit, which API it speaks, and which history it writes.

use kube::Resource;
use serde::Serialize;

use super::{
    CliError,
    args::VersionArgs,
    output::{self, OutputFormat},
};
use crate::{COMMIT, api::v1alpha1::MigrationSet, database::history::layout::LAYOUT};

/// What `-o json` prints. A format: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    /// The version of this program.
    version: &'static str,
    /// The commit that it was built from; `unknown` where the build was told none.
    commit: &'static str,
    /// The API that it speaks.
    api_version: String,
    /// The layout of the history's tables that it writes.
    history_layout: i32,
    /// The operators of the cluster, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    operators: Option<Vec<OperatorVersion>>,
}

/// An operator in a cluster.
#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OperatorVersion {
    /// Where its pods run.
    pub namespace: String,
    /// As their label says.
    pub version: String,
}

impl OperatorVersion {
    fn line(&self) -> String {
        let Self { namespace, version } = self;
        format!("operator {version} in namespace {namespace}\n")
    }
}

/// Prints the version.
pub(super) fn run(args: &VersionArgs) -> Result<(), CliError> {
    print(args, None)
}

/// Prints the version, and those of the operators.
pub(super) fn with_operators(args: &VersionArgs, operators: Vec<OperatorVersion>) -> Result<(), CliError> {
    print(args, Some(operators))
}

fn print(args: &VersionArgs, operators: Option<Vec<OperatorVersion>>) -> Result<(), CliError> {
    let versions = Versions {
        version: env!("CARGO_PKG_VERSION"),
        commit: COMMIT,
        api_version: MigrationSet::api_version(&()).into_owned(),
        history_layout: LAYOUT,
        operators,
    };
    let Versions { version, commit, api_version, history_layout, operators } = &versions;
    match args.output {
        OutputFormat::Text => {
            let operators: Vec<String> = match operators.as_deref() {
                None => Vec::new(),
                Some([]) => vec!["operator none\n".to_owned()],
                Some(operators) => operators.iter().map(OperatorVersion::line).collect(),
            };
            let operators = operators.concat();
            output::print(&format!(
                "dunlin   {version}\ncommit   {commit}\nAPI      {api_version}\nhistory  layout {history_layout}\n{operators}"
            ))
        }
        format @ (OutputFormat::Json | OutputFormat::Yaml) => output::print_as(format, &versions),
    }
}
