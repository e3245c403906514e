//! The policies of `deploy/samples/`, at a real API server, which asks its authorizer about real roles.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    accepted::kubectl_with,
    helm::{documents, root},
    install::install_crd,
    support::{Kubernetes, eventually, fresh_namespace, kubernetes},
};
use dunlin::api::v1alpha1::MigrationSet;

const LIMIT: Duration = Duration::from_mins(1);

/// A client of a user who has a Role with these rules.
async fn user(namespace: &str, name: &str, rules: Value) -> Client {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": namespace}, "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name}],
    });
    let bound = kubectl_with(&["apply"], &[role, binding]);
    assert!(bound.status.success(), "{}", String::from_utf8_lossy(&bound.stderr));
    let mut config = Kubernetes::config(kubernetes()).await;
    config.auth_info.impersonate = Some(name.to_owned());
    Client::try_from(config).expect("the configuration makes a client")
}

/// Applies a policy, for this namespace alone: other tests share the API server.
fn apply_policy(file: &str, namespace: &str) {
    let text = std::fs::read_to_string(root().join("deploy/samples").join(file)).expect("it is there");
    let mut objects = documents(&text);
    assert_eq!(objects.len(), 2, "a policy and its binding");
    objects[1]["spec"]["matchResources"] =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    let applied = kubectl_with(&["apply", "--server-side"], &objects);
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success() && said.is_empty(), "{file}: {said}");
}

async fn write(client: &Client, namespace: &str, spec: Value, annotations: Value) -> Result<(), String> {
    let api: Api<MigrationSet> = Api::namespaced(client.clone(), namespace);
    let mut object = json!({
        "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": "shop", "annotations": annotations},
        "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    let manager = PatchParams::apply("test").force();
    api.patch("shop", &manager, &Patch::Apply(&object)).await.map(|_| ()).map_err(|error| error.to_string())
}

fn writes() -> Value {
    json!({"apiGroups": ["dunlin.dev"], "resources": ["migrationsets"], "verbs": ["get", "create", "patch", "update"]})
}

/// Who may decide: a verb of its own, whatever else somebody may write.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_takes_the_right_to_approve() {
    install_crd();
    let namespace = fresh_namespace().await;
    let approve = json!({"apiGroups": ["dunlin.dev"], "resources": ["migrationsets"], "verbs": ["approve"]});
    let author = user(&namespace, &format!("author-{namespace}"), json!([writes()])).await;
    let approver = user(&namespace, &format!("approver-{namespace}"), json!([writes(), approve])).await;
    apply_policy("approvers.yaml", &namespace);
    let digest = format!("sha256:{}", "0a".repeat(32));
    let (waits, consented) = (json!({"required": "Always"}), json!({"required": "Always", "plan": digest}));
    let resolved = json!([{"version": "001", "run": 1, "action": "Retry"}]);
    eventually("the policy is in force", LIMIT, async || {
        let refused = write(&author, &namespace, json!({"approval": waits}), json!({})).await;
        match refused {
            Err(said) if said.contains("the right to approve migrationsets.dunlin.dev") => Ok(()),
            other => {
                let api: Api<MigrationSet> = Api::namespaced(kubernetes().client().await, &namespace);
                let _ = api.delete("shop", &kube::api::DeleteParams::default()).await;
                Err(other)
            }
        }
    })
    .await;
    write(&author, &namespace, json!({}), json!({})).await.expect("to write a set without a decision is no decision");
    write(&approver, &namespace, json!({"approval": waits}), json!({})).await.expect("the approver says what waits");
    let target = json!({"approval": waits, "target": "001"});
    write(&author, &namespace, target, json!({"a": "b"})).await.expect("the rest is the author's");
    let (plan, resolve) = ("dunlin.dev/approved-plan", "dunlin.dev/resolve");
    for (spec, annotations) in [
        (json!({"approval": consented}), json!({})),
        (json!({"approval": {"required": "Never"}}), json!({})),
        (json!({"approval": waits, "resolutions": resolved}), json!({})),
        (json!({"approval": waits}), json!({plan: digest})),
        (json!({"approval": waits}), json!({resolve: "1=Retry"})),
    ] {
        let said = write(&author, &namespace, spec.clone(), annotations.clone()).await.expect_err(&spec.to_string());
        assert!(said.contains("the right to approve migrationsets.dunlin.dev") && said.contains("author"), "{said}");
        write(&approver, &namespace, spec, annotations).await.expect("the approver may");
        write(&approver, &namespace, json!({"approval": waits}), json!({})).await.expect("and may take it back");
    }
}

/// T2: a MigrationSet hands out what is in the Secrets that it names, so whoever writes it must be able to read them anyway.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_used_by_those_who_may_read_it() {
    install_crd();
    let namespace = fresh_namespace().await;
    let reads =
        |names: &[&str]| json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"]});
    let author = user(&namespace, &format!("reader-{namespace}"), json!([writes(), reads(&["db"])])).await;
    let other = user(&namespace, &format!("other-{namespace}"), json!([writes()])).await;
    apply_policy("secret-readers.yaml", &namespace);
    eventually("the policy is in force", LIMIT, async || match write(&other, &namespace, json!({}), json!({})).await {
        Err(said) if said.contains("may not get all of these: db") => Ok(()),
        unexpected => {
            let api: Api<MigrationSet> = Api::namespaced(kubernetes().client().await, &namespace);
            let _ = api.delete("shop", &kube::api::DeleteParams::default()).await;
            Err(unexpected)
        }
    })
    .await;
    write(&author, &namespace, json!({}), json!({})).await.expect("it may read the Secret");
    write(&other, &namespace, json!({}), json!({"dunlin.dev/reconcile": "1"}))
        .await
        .expect("an annotation uses no Secret");
    let said = write(&other, &namespace, json!({"target": "001"}), json!({})).await.expect_err("it may not read it");
    assert!(said.contains("may not get all of these: db"), "{said}");
    let database = |more: Value| crate::objects::merged(json!({"secretRef": {"name": "db"}}), more);
    for (spec, hidden) in [
        (json!({"database": {"secretRef": {"name": "theirs"}}}), "theirs"),
        (json!({"database": database(json!({"directSecretRef": {"name": "direct"}}))}), "direct"),
        (json!({"database": database(json!({"tls": {"caSecretRef": {"name": "ca"}}}))}), "ca"),
        (json!({"database": database(json!({"tls": {"clientSecretRef": {"name": "client"}}}))}), "client"),
        (
            json!({"variables": [{"name": "key", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}]}),
            "keys",
        ),
    ] {
        let said = write(&author, &namespace, spec.clone(), json!({})).await.expect_err(&spec.to_string());
        assert!(said.contains("may not get all of these: ") && said.contains(hidden), "{said}");
    }
}
