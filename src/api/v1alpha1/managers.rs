//! Who wrote a field, as Kubernetes records it in `metadata.managedFields`.
//!
//! An entry says which fields a manager owns, as a trie in the format `FieldsV1`: `f:name` for a field or a key of a
//! map, `k:{…}` for the item of a list whose keys have these values.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::ResourceExt;
use serde_json::{Map, Value};

use super::{
    convert::{APPROVED_PLAN_ANNOTATION, RESOLVE_ANNOTATION, TAKE_OVER_ANNOTATION},
    spec::MigrationSet,
};

/// One step of the way to a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Key<'a> {
    /// A field of an object, or a key of a map.
    Field(&'a str),
    /// The item of a list whose keys have these values: `{"version": "003", "run": 7}`.
    Item(Value),
}

/// Who wrote a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// The name that it gave itself, as `kubectl-client-side-apply`.
    pub name: String,
    /// How it wrote.
    pub operation: Operation,
    /// When it last changed any of the fields that it owns.
    pub time: Option<Timestamp>,
}

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Server-side apply: it owns what it says, together with others that say the same.
    Apply,
    /// Any other write: it owns what it has changed.
    Update,
}

/// The fields of which it matters who wrote them: what a person decides. `*` is any item of a list.
const DECISIONS: &[&[&str]] = &[
    &["metadata", "annotations", APPROVED_PLAN_ANNOTATION],
    &["metadata", "annotations", RESOLVE_ANNOTATION],
    &["metadata", "annotations", TAKE_OVER_ANNOTATION],
    &["spec", "approval", "plan"],
    &["spec", "history", "baseline"],
    &["spec", "history", "takeOver"],
    &["spec", "resolutions", ANY, "action"],
    &["spec", "target"],
];
const ANY: &str = "*";

/// Who owns the field at the end of that path, the latest writer first; statuses don't count. An object from which
/// [`keep_managers_of_decisions`] has taken the rest knows it of a decision alone.
#[must_use]
pub fn managers(set: &MigrationSet, path: &[Key<'_>]) -> Vec<Manager> {
    let owns = |entry: &ManagedFieldsEntry| {
        let Some(FieldsV1(fields)) = &entry.fields_v1 else { return false };
        path.iter().try_fold(fields, below).is_some()
    };
    let mut managers: Vec<Manager> = set
        .managed_fields()
        .iter()
        .filter(|entry| is_of_the_object(entry) && owns(entry))
        .filter_map(|entry| {
            Some(Manager {
                name: entry.manager.clone().filter(|name| !name.is_empty())?,
                operation: if entry.operation.as_deref() == Some("Apply") {
                    Operation::Apply
                } else {
                    Operation::Update
                },
                time: entry.time.as_ref().map(|time| time.0),
            })
        })
        .collect();
    managers.sort_by_key(|manager| Reverse(manager.time));
    managers
}

/// Forgets of `metadata.managedFields`, which may be half of an object, all but who wrote a person's decisions: of most
/// objects nothing is left.
pub fn keep_managers_of_decisions(set: &mut MigrationSet) {
    let entries = std::mem::take(set.managed_fields_mut());
    let kept = entries.into_iter().filter(is_of_the_object).filter_map(|entry| {
        let FieldsV1(fields) = entry.fields_v1?;
        Some(ManagedFieldsEntry {
            manager: entry.manager,
            operation: entry.operation,
            time: entry.time,
            fields_v1: Some(FieldsV1(pruned(fields, DECISIONS)?)),
            ..ManagedFieldsEntry::default()
        })
    });
    let kept: Vec<ManagedFieldsEntry> = kept.collect();
    set.metadata.managed_fields = (!kept.is_empty()).then_some(kept);
}

fn is_of_the_object(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource.as_deref().is_none_or(str::is_empty)
}

fn below<'a>(node: &'a Value, key: &Key<'_>) -> Option<&'a Value> {
    let fields = node.as_object()?;
    match key {
        Key::Field(name) => fields.get(&format!("f:{name}")),
        Key::Item(keys) => fields.iter().find_map(|(key, node)| {
            let found: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
            (found == *keys).then_some(node)
        }),
    }
}

/// What of a trie leads to these paths; None when nothing does.
fn pruned(node: Value, paths: &[&[&str]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(Value::Object(Map::new()));
    }
    let Value::Object(fields) = node else { return None };
    let kept: Map<String, Value> = fields
        .into_iter()
        .filter_map(|(key, node)| {
            let rests = paths.iter().filter_map(|path| {
                let (first, rest) = path.split_first()?;
                let leads = if *first == ANY { key.starts_with("k:") } else { key.strip_prefix("f:") == Some(first) };
                leads.then_some(rest)
            });
            let node = pruned(node, &rests.collect::<Vec<_>>())?;
            Some((key, node))
        })
        .collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

/// Where a decision was made, and by whom, if the API server says it.
#[must_use]
pub fn said(place: &str, set: &MigrationSet, path: &[Key<'_>]) -> String {
    match managers(set, path).first() {
        Some(manager) => format!("{place}, set by {}", manager.name),
        None => place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What an API server showed after `kubectl apply --server-side`, `kubectl edit`, `kubectl annotate` and the
    /// operator's status, cut to what makes a difference.
    fn set() -> MigrationSet {
        let managed_fields = json!([
            {
                "apiVersion": "dunlin.dev/v1alpha1", "fieldsType": "FieldsV1",
                "manager": "kustomize-controller", "operation": "Apply", "time": "2026-03-01T10:00:00Z",
                "fieldsV1": {"f:spec": {
                    "f:database": {"f:secretRef": {"f:name": {}}},
                    "f:resolutions": {
                        "k:{\"run\":7,\"version\":\"001\"}": {".": {}, "f:action": {}, "f:run": {}, "f:version": {}},
                        "k:{\"run\":8,\"version\":\"001\"}": {".": {}, "f:run": {}, "f:version": {}}
                    },
                    "f:target": {}
                }}
            },
            {
                "apiVersion": "dunlin.dev/v1alpha1", "fieldsType": "FieldsV1",
                "manager": "kubectl-edit", "operation": "Update", "time": "2026-03-01T11:00:00Z",
                "fieldsV1": {"f:spec": {
                    "f:approval": {".": {}, "f:required": {}},
                    "f:resolutions": {
                        ".": {},
                        "k:{\"run\":7,\"version\":\"001\"}": {".": {}, "f:action": {}, "f:run": {}, "f:version": {}},
                        "k:{\"run\":8,\"version\":\"001\"}": {"f:action": {}}
                    }
                }}
            },
            {
                "apiVersion": "dunlin.dev/v1alpha1", "fieldsType": "FieldsV1",
                "manager": "kubectl-annotate", "operation": "Update", "time": "2026-03-01T09:00:00Z",
                "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:dunlin.dev/resolve": {}}}}
            },
            {
                "apiVersion": "dunlin.dev/v1alpha1", "fieldsType": "FieldsV1", "subresource": "status",
                "manager": "dunlin", "operation": "Update", "time": "2026-03-01T12:00:00Z",
                "fieldsV1": {"f:spec": {"f:target": {}}, "f:status": {".": {}, "f:conditions": {}}}
            }
        ]);
        let whole = json!({
            "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet",
            "metadata": {"name": "till", "namespace": "shop", "managedFields": managed_fields},
            "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "files"}]}},
        });
        serde_json::from_value(whole).expect("the types read it")
    }

    fn resolution(run: i64, version: &str) -> [Key<'static>; 4] {
        use Key::{Field, Item};
        [Field("spec"), Field("resolutions"), Item(json!({"version": version, "run": run})), Field("action")]
    }

    fn names(set: &MigrationSet, path: &[Key<'_>]) -> Vec<String> {
        managers(set, path).into_iter().map(|manager| manager.name).collect()
    }

    #[test]
    fn the_latest_of_those_who_own_a_field_comes_first() {
        assert_eq!(names(&set(), &resolution(7, "001")), ["kubectl-edit", "kustomize-controller"]);
        assert_eq!(names(&set(), &resolution(8, "001")), ["kubectl-edit"], "the other owns the keys alone");
        assert_eq!(names(&set(), &resolution(8, "001")[..3]), ["kubectl-edit", "kustomize-controller"]);
    }

    #[test]
    fn an_item_is_known_by_the_values_of_its_keys() {
        for other in [resolution(9, "001"), resolution(7, "1"), resolution(7, "002")] {
            assert_eq!(names(&set(), &other), Vec::<String>::new());
        }
    }

    #[test]
    fn an_annotation_is_a_key_of_a_map() {
        use Key::Field;
        let expected = Manager {
            name: "kubectl-annotate".into(),
            operation: Operation::Update,
            time: Some("2026-03-01T09:00:00Z".parse().expect("a time")),
        };
        let path = [Field("metadata"), Field("annotations"), Field(RESOLVE_ANNOTATION)];
        assert_eq!(managers(&set(), &path), [expected]);
        let other = [Field("metadata"), Field("annotations"), Field(APPROVED_PLAN_ANNOTATION)];
        assert_eq!(managers(&set(), &other), []);
    }

    #[test]
    fn who_wrote_a_status_has_written_no_spec() {
        assert_eq!(names(&set(), &[Key::Field("spec"), Key::Field("target")]), ["kustomize-controller"]);
    }

    /// What the operator keeps of every object: enough for each decision, and no more.
    #[test]
    fn of_the_managers_those_of_decisions_are_kept() {
        let (whole, mut kept) = (set(), set());
        keep_managers_of_decisions(&mut kept);
        let item = |action: Value| json!({"f:spec": {"f:resolutions": action, "f:target": {}}});
        let first = kept.managed_fields()[0].fields_v1.as_ref().map(|fields| fields.0.clone());
        assert_eq!(first, Some(item(json!({"k:{\"run\":7,\"version\":\"001\"}": {"f:action": {}}}))));
        assert_eq!(kept.managed_fields().len(), 3, "the status is nobody's decision");
        for path in [&resolution(7, "001")[..], &resolution(8, "001"), &[Key::Field("spec"), Key::Field("target")]] {
            assert_eq!(managers(&kept, path), managers(&whole, path));
        }
        assert_eq!(names(&kept, &[Key::Field("spec"), Key::Field("database")]), Vec::<String>::new());
    }

    #[test]
    fn of_an_object_without_decisions_no_managers_are_kept() {
        let mut set = set();
        set.managed_fields_mut().retain(|entry| entry.manager.as_deref() == Some("dunlin"));
        set.managed_fields_mut()[0].subresource = None;
        set.managed_fields_mut()[0].fields_v1 = Some(FieldsV1(json!({"f:spec": {"f:database": {}, "f:interval": {}}})));
        keep_managers_of_decisions(&mut set);
        assert_eq!(set.metadata.managed_fields, None);
    }

    #[test]
    fn what_is_no_trie_has_no_managers() {
        for fields in [json!(null), json!([]), json!({"f:spec": 1}), json!({"f:spec": {"f:resolutions": {"k:{": {}}}})]
        {
            let mut set = set();
            for entry in set.managed_fields_mut() {
                entry.fields_v1 = Some(FieldsV1(fields.clone()));
            }
            assert_eq!(managers(&set, &resolution(7, "001")), []);
            keep_managers_of_decisions(&mut set);
            assert_eq!(set.metadata.managed_fields, None);
        }
    }
}
