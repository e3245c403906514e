//! Whose MigrationSets are looked after, and what that takes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::helm::{Release, one};

/// A right as one line: `get secrets`, `patch dunlin.dev/migrationsets/status`.
pub fn rights(rules: &Value) -> BTreeSet<String> {
    let texts = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).expect("a list of texts") };
    let mut found = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        for verb in texts(&rule["verbs"]) {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    assert!(!format!("{verb}{group}{resource}").contains('*'), "{rule} says too much");
                    let group = if group.is_empty() { String::new() } else { format!("{group}/") };
                    assert!(
                        found.insert(format!("{verb} {group}{resource}")) || rule["resourceNames"].is_array(),
                        "{rule} is said twice"
                    );
                }
            }
        }
    }
    found
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn namespaces(objects: &[Value]) -> Vec<String> {
    let arguments = &one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments = arguments.as_array().expect("arguments").iter().filter_map(Value::as_str);
    arguments.filter_map(|argument| argument.strip_prefix("--namespace=")).map(str::to_owned).collect()
}

/// What the operator does where it looks after MigrationSets.
const WORK: [&str; 15] = [
    "create batch/jobs",
    "create events.k8s.io/events",
    "delete batch/jobs",
    "get batch/cronjobs",
    "get batch/jobs",
    "get configmaps",
    "get dunlin.dev/migrationsets",
    "get secrets",
    "list configmaps",
    "list dunlin.dev/migrationsets",
    "list pods",
    "patch dunlin.dev/migrationsets/status",
    "patch events.k8s.io/events",
    "watch configmaps",
    "watch dunlin.dev/migrationsets",
];

fn work() -> BTreeSet<String> {
    WORK.iter().map(|right| (*right).to_owned()).collect()
}

#[test]
fn the_whole_cluster_takes_one_cluster_role_for_the_work() {
    let objects = Release::with(json!({})).objects();
    assert_eq!(namespaces(&objects), [""; 0]);
    let role =
        of_kind(&objects, "ClusterRole").into_iter().find(|role| role["metadata"]["name"] == "dunlin-system:dunlin");
    assert_eq!(rights(&role.expect("it is there")["rules"]), work());
    let binding = one(&objects, "ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], "dunlin-system:dunlin");
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": "dunlin", "namespace": "dunlin-system"}])
    );
    let lease = one(&objects, "Role");
    assert_eq!(lease["metadata"]["namespace"], "dunlin-system");
    assert_eq!(lease["rules"][0]["resourceNames"], json!(["dunlin"]));
    let of_lease = ["create", "get", "update"].map(|verb| format!("{verb} coordination.k8s.io/leases"));
    assert_eq!(rights(&lease["rules"]), of_lease.into_iter().collect());
}

#[test]
fn namespaces_take_roles_alone() {
    let listed = json!({"mode": "Namespaces", "namespaces": ["b", "dunlin-system", "a"]});
    for (scope, watched, looked_after) in [
        (json!({"mode": "Own"}), vec!["$(POD_NAMESPACE)"], vec!["dunlin-system"]),
        (listed, vec!["a", "b", "dunlin-system"], vec!["a", "b", "dunlin-system"]),
    ] {
        let objects = Release::with(json!({"scope": scope, "rbac": {"aggregate": {"edit": true}}})).objects();
        for object in &objects {
            assert!(!object["kind"].as_str().expect("a kind").starts_with("ClusterRole"), "{object:#}");
        }
        assert_eq!(namespaces(&objects), watched);
        let roles: Vec<&Value> =
            of_kind(&objects, "Role").into_iter().filter(|role| role["metadata"]["name"] != "dunlin-lease").collect();
        let places: Vec<&str> = roles.iter().filter_map(|role| role["metadata"]["namespace"].as_str()).collect();
        assert_eq!(places, looked_after);
        for role in roles {
            assert_eq!(rights(&role["rules"]), work());
            let bound = of_kind(&objects, "RoleBinding").into_iter().find(|binding| {
                binding["metadata"]["namespace"] == role["metadata"]["namespace"]
                    && binding["roleRef"]["name"] == role["metadata"]["name"]
            });
            let subjects = &bound.expect("it is bound")["subjects"];
            assert_eq!(*subjects, json!([{"kind": "ServiceAccount", "name": "dunlin", "namespace": "dunlin-system"}]));
        }
    }
}

/// Two releases that look after one namespace don't fight over its Role.
#[test]
fn roles_of_two_releases_in_one_namespace_have_two_names() {
    let names = |namespace: &str| -> BTreeSet<String> {
        let values = json!({"scope": {"mode": "Namespaces", "namespaces": ["shop"]}});
        let release = Release { name: "dunlin".to_owned(), namespace: namespace.to_owned(), values };
        let objects = release.objects();
        let roles =
            objects.iter().filter(|object| object["kind"] == "Role" && object["metadata"]["namespace"] == "shop");
        roles.map(|role| role["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert!(names("one").is_disjoint(&names("two")));
}

#[test]
fn without_hooks_of_the_kind_job_the_operator_has_nothing_to_do_with_jobs() {
    let objects = Release::with(json!({"scope": {"mode": "Own"}, "rbac": {"hookJobs": false}})).objects();
    let role = of_kind(&objects, "Role").into_iter().find(|role| role["metadata"]["name"] == "dunlin").expect("a Role");
    let without: BTreeSet<String> =
        work().into_iter().filter(|right| !right.contains("batch/") && !right.contains("pods")).collect();
    assert_eq!(rights(&role["rules"]), without);
}

/// T3: what a stolen token could do: no list of Secrets, and no write to any.
#[test]
fn secrets_are_read_by_name_and_nothing_else_in_every_scope() {
    for scope in [json!({}), json!({"mode": "Own"}), json!({"mode": "Namespaces", "namespaces": ["a", "b"]})] {
        let objects = Release::with(json!({"scope": scope, "rbac": {"aggregate": {"edit": true}}})).objects();
        let roles = objects.iter().filter(|object| object["rules"].is_array());
        let of_secrets: BTreeSet<String> =
            roles.flat_map(|role| rights(&role["rules"])).filter(|right| right.contains("secrets")).collect();
        assert_eq!(of_secrets, BTreeSet::from(["get secrets".to_owned()]));
    }
}

/// What the roles of people gain: `edit` nothing unless asked for, since writing a MigrationSet is as good as reading a Secret;
/// nobody writes a status; to approve is `admin`'s.
#[test]
fn view_reads_admin_writes_and_approves_and_edit_is_asked_for() {
    let gained = |values: Value, role: &str| -> BTreeSet<String> {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{role}");
        let objects = Release::with(values).objects();
        let roles = objects.iter().filter(|object| object["metadata"]["labels"][&label] == "true");
        roles.flat_map(|role| rights(&role["rules"])).collect()
    };
    let of = |verbs: &[&str]| -> BTreeSet<String> {
        verbs.iter().map(|verb| format!("{verb} dunlin.dev/migrationsets")).collect()
    };
    let write = ["create", "delete", "deletecollection", "patch", "update"];
    assert_eq!(gained(json!({}), "view"), of(&["get", "list", "watch"]));
    assert_eq!(gained(json!({}), "edit"), of(&[]));
    assert_eq!(gained(json!({}), "admin"), of(&[&write[..], &["approve"]].concat()));
    assert_eq!(gained(json!({"rbac": {"aggregate": {"edit": true}}}), "edit"), of(&write));
}
