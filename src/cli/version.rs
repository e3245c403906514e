//! `dunlin version`: what this program is, and which API it speaks.

use kube::Resource;
use serde::Serialize;

use super::{
    CliError,
    args::VersionArgs,
    output::{self, OutputFormat},
};
use crate::api::v1alpha1::MigrationSet;

/// What `-o json` prints. A format: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    /// The version of this program.
    version: &'static str,
    /// The API that it speaks.
    api_version: String,
}

/// Prints the version.
pub(super) fn run(args: &VersionArgs) -> Result<(), CliError> {
    let versions =
        Versions { version: env!("CARGO_PKG_VERSION"), api_version: MigrationSet::api_version(&()).into_owned() };
    match args.output {
        OutputFormat::Text => output::print(&format!("dunlin {}\nAPI    {}\n", versions.version, versions.api_version)),
        format @ (OutputFormat::Json | OutputFormat::Yaml) => output::print_as(format, &versions),
    }
}
