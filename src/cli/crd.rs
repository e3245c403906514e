//! `dunlin crd`: the CustomResourceDefinition as YAML, the same bytes every time.

use super::{CliError, output};

/// Prints the CustomResourceDefinition.
pub(super) fn run() -> Result<(), CliError> {
    output::print(&yaml()?)
}

fn yaml() -> Result<String, CliError> {
    // By way of a Value, every key stands in alphabetical order, whatever the types do.
    let value = serde_json::to_value(crate::api::v1alpha1::crd()).map_err(|error| CliError::Encode(error.into()))?;
    crate::yaml::to_string(&value).map_err(|error| CliError::Encode(error.into()))
}
