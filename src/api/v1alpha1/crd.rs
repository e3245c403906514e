//! The CustomResourceDefinition: what the types say, in the form that Kubernetes wants.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::spec::MigrationSet;

/// Formats that API servers know; they warn about the others, which only tell Rust's integers apart.
const KNOWN_FORMATS: [&str; 3] = ["int32", "int64", "date-time"];

/// Builds the CustomResourceDefinition of the MigrationSet.
///
/// Beyond what the types say: nothing is nullable (an explicit null is as good as an absent field), a new object's
/// status says that nobody has looked at it yet (so that tools which wait by kstatus don't take it for finished),
/// and paragraphs of the documentation stand on one line each.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = MigrationSet::crd();
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        tidy(root);
        if let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) {
            forget_defaults(status);
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
        }
    }
    crd
}

fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if schema.format.as_deref().is_some_and(|format| !KNOWN_FORMATS.contains(&format)) {
        schema.format = None;
    }
    schema.description = schema.description.take().map(|text| unwrapped(&text));
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    each_child(schema, tidy);
}

/// Takes the defaults out of the status: they only tell how it is read.
fn forget_defaults(schema: &mut JSONSchemaProps) {
    schema.default = None;
    each_child(schema, forget_defaults);
}

fn each_child(schema: &mut JSONSchemaProps, visit: fn(&mut JSONSchemaProps)) {
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        visit(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => visit(items),
        Some(JSONSchemaPropsOrArray::Schemas(schemas)) => schemas.iter_mut().for_each(visit),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(additional)) = &mut schema.additional_properties {
        visit(additional);
    }
}

/// Joins the lines of each paragraph: they end where the source's margin is.
fn unwrapped(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}
