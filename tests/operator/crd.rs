//! What the API server accepts, refuses and fills in, by the CustomResourceDefinition alone.

use std::time::Duration;

use dunlin::api::v1alpha1::{AppliedStatus, MigrationSet, MigrationSetStatus, PolicySpec, SourceStatus, parse};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{
    install::install_crd,
    shop::LIMIT,
    support::{eventually, fresh_namespace, kubernetes},
};

/// The full object of the contract, every field with a value.
const FULL: &str = r#"
apiVersion: dunlin.dev/v1alpha1
kind: MigrationSet
metadata: {name: shop}
spec:
  suspend: false
  database:
    secretRef:
      name: shop-db
      keys: {uri: DATABASE_URL}
    directSecretRef: {name: shop-db-direct}
    tls: {mode: verify-full, caSecretRef: {name: shop-db-ca, key: ca.crt}, clientSecretRef: {name: shop-db-tls}}
    role: shop_owner
    searchPath: [app, public]
  source:
    configMaps: [{name: shop-migrations}]
    digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    format: Auto
  history:
    schema: dunlin
    set: shop
    lockId: 894321
    baseline: "003"
    takeOver: old-ns/shop
    adopt: {from: Flyway, keepInStep: false}
  target: latest
  policy:
    rollback: Deny
    outOfOrder: Deny
    onChecksumDrift: Block
    onMissing: Block
    onSchemaDrift: Report
    schemaDriftIgnore: []
    transaction: PerMigration
    lockTimeout: 3s
    statementTimeout: 0s
    lockRetries: 10
  approval:
    required: Never
    plan: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  resolutions:
  - {version: 01HZY3T0V8S8GSRJ6CQJ6Z6Q0A, run: 7, action: Retry}
  variables: [{name: tenant, valueFrom: {secretKeyRef: {name: x, key: y}}}]
  seeds: {configMaps: [{name: shop-seeds}], environment: dev}
  hooks:
    preApply: [{sql: "SELECT 1"}, {job: {name: backup-template}}, {http: {url: "https://example.org/hook"}}]
  interval: 10m
"#;

const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// The least that a MigrationSet says.
fn least() -> Value {
    json!({
        "apiVersion": "dunlin.dev/v1alpha1",
        "kind": "MigrationSet",
        "metadata": {"name": "shop"},
        "spec": {"database": {"secretRef": {"name": "shop-db"}}, "source": {"configMaps": [{"name": "shop"}]}},
    })
}

/// The least, with one more field: its place as a JSON pointer below the spec, with `-` for none.
fn with(pointer: &str, value: Value) -> Value {
    let mut object = least();
    let mut place = &mut object["spec"];
    for part in pointer.split('/') {
        place = &mut place[part];
    }
    *place = value;
    object
}

async fn sets(namespace: &str) -> Api<MigrationSet> {
    install_crd();
    let sets = Api::namespaced(kubernetes().client().await, namespace);
    eventually("MigrationSets are served", Duration::from_secs(10), async || sets.list(&ListParams::default()).await)
        .await;
    sets
}

/// Sends the object as it is, and returns it as it comes back: our own types would leave out what they don't know.
async fn create_raw(namespace: &str, object: &Value, post: &PostParams) -> Result<Value, String> {
    let resource = ApiResource::erase::<MigrationSet>(&());
    let sets: Api<DynamicObject> = Api::namespaced_with(kubernetes().client().await, namespace, &resource);
    let object = serde_json::from_value(object.clone()).expect("it is an object");
    let created = sets.create(post, &object).await.map_err(said)?;
    Ok(serde_json::to_value(created).expect("it is JSON"))
}

async fn create(namespace: &str, object: &Value) -> Result<MigrationSet, String> {
    let created = create_raw(namespace, object, &PostParams::default()).await?;
    Ok(serde_json::from_value(created).expect("the types read what the server accepts"))
}

async fn try_out(namespace: &str, object: &Value) -> Result<MigrationSet, String> {
    let created = create_raw(namespace, object, &dry_run()).await?;
    Ok(serde_json::from_value(created).expect("the types read what the server accepts"))
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

fn said(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => panic!("no answer: {other}"),
    }
}

#[tokio::test]
async fn the_crd_is_installed_without_a_warning() {
    assert_eq!(install_crd(), "");
}

/// M03, M04: the resource names the Secret and its keys, and a lock of one's own.
#[tokio::test]
async fn the_full_object_of_the_contract_is_accepted() {
    let namespace = fresh_namespace().await;
    sets(&namespace).await;
    let full: Value = dunlin::yaml::from_str(FULL).expect("it is YAML");
    let created = try_out(&namespace, &full).await.expect("the contract's own example");
    let mut sent = full["spec"].clone();
    sent["policy"].as_object_mut().expect("it is an object").remove("schemaDriftIgnore");
    assert_eq!(serde_json::to_value(&created.spec).expect("it is JSON"), sent, "nothing is pruned");
}

#[tokio::test]
async fn what_is_left_out_is_filled_in_by_the_server_just_as_by_the_types() {
    let namespace = fresh_namespace().await;
    sets(&namespace).await;
    let filled = create_raw(&namespace, &least(), &dry_run()).await.expect("the least is accepted");
    let expected = json!({
        "suspend": false,
        "database": {"secretRef": {"name": "shop-db"}},
        "source": {"configMaps": [{"name": "shop"}], "format": "Auto"},
        "history": {"schema": "dunlin"},
        "target": "latest",
        "policy": {
            "rollback": "Deny", "outOfOrder": "Deny", "onChecksumDrift": "Block", "onMissing": "Block",
            "onSchemaDrift": "Report", "transaction": "PerMigration", "lockTimeout": "3s", "statementTimeout": "0s",
            "lockRetries": 10,
        },
        "approval": {"required": "Never"},
        "interval": "10m",
    });
    assert_eq!(filled["spec"], expected);
    assert_eq!(filled["status"], json!({"observedGeneration": -1}), "nobody has looked at it yet");
    let typed: MigrationSet = serde_json::from_value(least()).expect("the types read it");
    assert_eq!(serde_json::to_value(typed.spec).expect("it is JSON"), expected);
}

#[tokio::test]
async fn a_part_of_an_object_gets_the_defaults_of_the_rest() {
    let namespace = fresh_namespace().await;
    sets(&namespace).await;
    let created = try_out(&namespace, &with("policy", json!({"lockTimeout": "1s"}))).await.expect("accepted");
    assert_eq!((created.spec.policy.lock_timeout.as_str(), created.spec.policy.lock_retries), ("1s", 10));
    let created = try_out(&namespace, &with("policy", Value::Null)).await.expect("null is as good as absent");
    assert_eq!(created.spec.policy, PolicySpec::default());
}

#[tokio::test]
async fn what_makes_sense_is_accepted() {
    let namespace = fresh_namespace().await;
    sets(&namespace).await;
    let table = [
        ("interval", json!("1s")),
        ("interval", json!("1h30m")),
        ("interval", json!("24h")),
        ("policy/lockTimeout", json!("0s")),
        ("policy/lockTimeout", json!("500ms")),
        ("policy/statementTimeout", json!("576h")),
        ("policy/lockRetries", json!(0)),
        ("target", json!("latest")),
        ("target", json!("none")),
        ("target", json!("batch:0")),
        ("target", json!("batch:17")),
        ("target", json!("003")),
        ("target", json!("003_add_index")),
        ("target", json!("20260215_02")),
        ("target", json!("01HZY3T0V8S8GSRJ6CQJ6Z6Q0A_add_index")),
        ("history/baseline", json!("003")),
        ("history/baseline", json!("20260215_120000_add_index")),
        ("approval", json!({"required": "Destructive", "plan": DIGEST})),
        ("history/lockId", json!(i64::MIN)),
        ("history/schema", json!("Größe \"mit\" Zeichen")),
        ("history/set", json!("anything at all; even this")),
        ("history/takeOver", json!("shop/shop.v1")),
        ("database/role", json!("shop-owner")),
        ("database/searchPath", json!(["$user", "public"])),
        ("database/secretRef/keys", json!({"host": "PGHOST", "user": "PGUSER", "password": "PGPASSWORD"})),
        ("database/secretRef/keys", json!({"uri": "DATABASE_URL", "password": "PGPASSWORD"})),
        ("database/tls", json!({"mode": "disable"})),
        ("source", json!({"configMapSelector": {"matchLabels": {"app.kubernetes.io/part-of": "shop"}}})),
        ("source", json!({"configMapSelector": {"matchExpressions": [{"key": "a/b", "operator": "Exists"}]}})),
        ("policy/onMissing", json!("Rollback")),
        (
            "resolutions",
            json!([
                {"version": "003", "run": 1, "action": "Retry"}, {"version": "003", "run": 2, "action": "MarkApplied"},
                {"version": "dev/010_users.sql", "run": 3, "action": "Retry"}, {"version": "preApply[0]", "run": 4, "action": "Retry"}
            ]),
        ),
    ];
    let mut objects: Vec<Value> = table.into_iter().map(|(pointer, value)| with(pointer, value)).collect();
    let mut several = with("source", json!({"configMaps": [{"name": "a"}, {"name": "b"}], "digest": DIGEST}));
    several["spec"]["policy"] = json!({"rollback": "Allow", "onMissing": "Rollback"});
    objects.push(several);
    for object in objects {
        let created = try_out(&namespace, &object).await;
        assert!(created.is_ok(), "{object}: {created:?}");
    }
}

/// M03: a field that isn't right is refused by its path, before any operator sees it.
#[tokio::test]
async fn nonsense_in_what_is_referred_to_is_refused_by_its_path_and_with_what_to_do() {
    let namespace = fresh_namespace().await;
    sets(&namespace).await;
    let digest = "is sha256: and 64 lower-case";
    let name = "at most 63 bytes";
    let long = "é".repeat(32);
    let table = [
        (with("source", json!({})), "spec.source", "exactly one kind"),
        (with("source/configMapSelector", json!({"matchLabels": {"a": "b"}})), "spec.source", "exactly one kind"),
        (with("source/configMaps", json!([])), "spec.source.configMaps", "at least 1"),
        (with("source/configMaps", json!([{"name": "a"}, {"name": "a"}])), "spec.source.configMaps[1]", "Duplicate"),
        (with("source/configMaps", json!([{"name": "A_b"}])), "spec.source.configMaps[0].name", "should match"),
        (with("source", json!({"configMapSelector": {}})), "spec.source.configMapSelector", "every ConfigMap"),
        (
            with("source", json!({"configMapSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}})),
            "spec.source.configMapSelector.matchExpressions[0]",
            "need values",
        ),
        (
            with("source", json!({"configMapSelector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}})),
            "spec.source.configMapSelector.matchExpressions[0].key",
            "a label's key",
        ),
        (with("source/digest", json!("9f86d0")), "spec.source.digest", digest),
        (with("source/digest", json!(format!("sha256:{}", "A".repeat(64)))), "spec.source.digest", digest),
        (with("approval", json!({"plan": "yes"})), "spec.approval.plan", digest),
        (with("source/format", json!("auto")), "spec.source.format", "supported values"),
        (with("target", json!("lastest")), "spec.target", "latest, none, a version"),
        (with("target", json!("Latest")), "spec.target", "latest, none, a version"),
        (with("target", json!("003_")), "spec.target", "latest, none, a version"),
        (with("target", json!("batch:")), "spec.target", "or batch: and a number"),
        (with("target", json!("batch:-1")), "spec.target", "or batch: and a number"),
        (with("target", json!("batch:1234567890")), "spec.target", "or batch: and a number"),
        (with("target", json!(3)), "spec.target", "must be of type string"),
        (with("target", json!("")), "spec.target", "at least 1"),
        (with("history/baseline", json!("latest")), "spec.history.baseline", "name a version"),
        (with("history/baseline", json!("v1")), "spec.history.baseline", "name a version"),
        (with("history/schema", json!(long)), "spec.history.schema", name),
        (with("history/schema", json!("pg_mine")), "spec.history.schema", "for itself"),
        (with("history/schema", json!("")), "spec.history.schema", "at least 1"),
        (with("history/set", json!("a\u{0}b")), "spec.history.set", "NUL"),
        (with("history/takeOver", json!("shop")), "spec.history.takeOver", "should match"),
        (with("history/lockId", json!("894321")), "spec.history.lockId", "must be of type integer"),
        (with("database/role", json!(long)), "spec.database.role", name),
        (with("database/role", json!("a\u{0}b")), "spec.database.role", name),
        (with("database/role", json!("none")), "spec.database.role", "the way back to the login"),
        (with("database/searchPath", json!([long])), "spec.database.searchPath", name),
        (with("database/searchPath", json!([""])), "spec.database.searchPath[0]", "at least 1"),
        (with("database/secretRef/name", json!("../x")), "spec.database.secretRef.name", "should match"),
        (with("database/secretRef/keys", json!({"uri": "a b"})), "spec.database.secretRef.keys.uri", "should match"),
        (
            with("database/tls", json!({"mode": "disable", "caSecretRef": {"name": "ca"}})),
            "spec.database.tls",
            "uses no certificates",
        ),
        (with("database/tls", json!({"mode": "allow"})), "spec.database.tls.mode", "supported values"),
    ];
    refused(&namespace, &table).await;
}

/// M03
#[tokio::test]
async fn nonsense_in_policies_and_decisions_is_refused_by_its_path_and_with_what_to_do() {
    let namespace = fresh_namespace().await;
    sets(&namespace).await;
    let two = json!({"configMaps": [{"name": "a"}, {"name": "b"}]});
    let mut several = with("source", two);
    several["spec"]["policy"] = json!({"rollback": "Allow", "onMissing": "Rollback"});
    let mut selector = with("source", json!({"configMapSelector": {"matchLabels": {"a": "b"}}}));
    selector["spec"]["policy"] = json!({"rollback": "Allow", "onMissing": "Rollback"});
    let table = [
        (with("interval", json!("500ms")), "spec.interval", "from 1s to 24h"),
        (with("interval", json!("25h")), "spec.interval", "from 1s to 24h"),
        (with("interval", json!("0s")), "spec.interval", "from 1s to 24h"),
        (with("interval", json!("10")), "spec.interval", "a duration such as"),
        (with("interval", json!("-10m")), "spec.interval", "a duration such as"),
        (with("interval", json!("99999999999999999999h")), "spec.interval", ""),
        (with("policy/lockTimeout", json!("0.1ms")), "spec.policy.lockTimeout", "or 0s for no limit"),
        (with("policy/lockTimeout", json!("25h")), "spec.policy.lockTimeout", "from 1ms to 24h"),
        (with("policy/statementTimeout", json!("577h")), "spec.policy.statementTimeout", "from 1ms to 576h"),
        (with("policy/lockRetries", json!(-1)), "spec.policy.lockRetries", "greater than or equal to 0"),
        (with("policy/lockRetries", json!(1001)), "spec.policy.lockRetries", "less than or equal to 1000"),
        (with("policy/onMissing", json!("Delete")), "spec.policy.onMissing", "supported values"),
        (several, "spec.policy.onMissing", "needs source.digest"),
        (selector, "spec.policy.onMissing", "needs source.digest"),
        (with("approval/required", json!("Sometimes")), "spec.approval.required", "supported values"),
        (with("resolutions", json!([{"version": "003", "action": "Retry"}])), "spec.resolutions[0].run", "Required"),
        (with("resolutions", json!([{"run": 7, "action": "Retry"}])), "spec.resolutions[0].version", "Required"),
        (
            with("resolutions", json!([{"version": "003", "run": 0, "action": "Retry"}])),
            "spec.resolutions[0].run",
            "greater than or equal to 1",
        ),
        (
            with("resolutions", json!([{"version": "third", "run": 1, "action": "Retry"}])),
            "spec.resolutions[0].version",
            "name what status.failure.version names",
        ),
        (
            with("resolutions", json!([{"version": "003", "run": 1, "action": "Skip"}])),
            "spec.resolutions[0].action",
            "supported values",
        ),
        (
            with(
                "resolutions",
                json!([
                    {"version": "003", "run": 1, "action": "Retry"}, {"version": "003", "run": 1, "action": "MarkApplied"}
                ]),
            ),
            "spec.resolutions[1]",
            "Duplicate",
        ),
        (with("hooks", json!({"preApply": [{}]})), "spec.hooks.preApply[0]", "exactly one of sql, job and http"),
        (
            with("hooks", json!({"preApply": [{"sql": "SELECT 1", "job": {"name": "x"}}]})),
            "spec.hooks.preApply[0]",
            "exactly one of sql, job and http",
        ),
        (
            with("hooks", json!({"onFailure": [{"http": {"url": "ftp://example.org"}}]})),
            "spec.hooks.onFailure[0].http.url",
            "should match",
        ),
        (
            with("hooks", json!({"postApply": [{"sql": "SELECT 1", "timeout": "25h"}]})),
            "spec.hooks.postApply[0].timeout",
            "from 1s to 24h",
        ),
        (with("variables", json!([{"name": "x"}])), "spec.variables[0]", "exactly one of value and valueFrom"),
        (with("variables", json!([{"name": "a-b", "value": ""}])), "spec.variables[0].name", "should match"),
        (with("seeds", json!({"configMaps": []})), "spec.seeds.configMaps", "at least 1"),
        (with("database", json!({})), "spec.database.secretRef", "Required"),
    ];
    refused(&namespace, &table).await;
}

/// Checks that each object is refused by its path and with these words.
async fn refused(namespace: &str, table: &[(Value, &str, &str)]) {
    for (object, path, message) in table {
        let refused = try_out(namespace, object).await.expect_err(&object.to_string());
        assert!(refused.contains(path) && refused.contains(message), "{object}\nwas refused with: {refused}");
    }
}

/// What the API server accepts, the operator can read: never a panic, and at worst a list of what isn't honoured.
#[tokio::test]
async fn everything_in_the_full_object_that_does_not_work_yet_is_named() {
    let full: MigrationSet = dunlin::yaml::from_str(FULL).expect("the types read the contract's example");
    let refused = parse(&full).expect_err("much of it doesn't work yet");
    let paths: Vec<&str> = refused.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["spec.history.adopt"]);
}

/// M03: kubectl names a field that doesn't exist.
#[tokio::test]
async fn an_unknown_field_is_refused_by_its_path() {
    let namespace = fresh_namespace().await;
    sets(&namespace).await;
    let mut object = least();
    object["spec"]["databse"] = json!({"secretRef": {"name": "shop-db"}});
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(file.path(), object.to_string()).expect("it can be written");
    let path = file.path().to_str().expect("its name is text");
    let applied = kubernetes().kubectl(&["apply", "--namespace", &namespace, "-f", path]);
    let stderr = String::from_utf8_lossy(&applied.stderr);
    assert!(!applied.status.success() && stderr.contains(r#"unknown field "spec.databse""#), "{stderr}");
}

/// Q19, Q20: where the history lives can't be changed once it is used.
#[tokio::test]
async fn the_history_can_be_moved_until_something_is_applied_and_not_afterwards() {
    let namespace = fresh_namespace().await;
    let sets = sets(&namespace).await;
    let created = create(&namespace, &least()).await.expect("the least is accepted");
    assert_eq!(created.status.expect("it has the default").observed_generation, Some(-1));
    let patch = async |spec: Value| {
        let patch = json!({"spec": {"history": spec}});
        sets.patch("shop", &PatchParams::default(), &Patch::Merge(patch)).await.map_err(said)
    };
    patch(json!({"schema": "elsewhere", "set": "other"})).await.expect("nothing is applied yet");
    patch(json!({"schema": "dunlin", "set": null})).await.expect("nothing is applied yet");

    let status = json!({"status": {"applied": {"version": "003", "count": 3, "pending": 0}}});
    let written =
        sets.patch_status("shop", &PatchParams::default(), &Patch::Merge(status)).await.expect("a status is written");
    let applied = written.status.and_then(|status| status.applied).expect("it was written");
    assert_eq!((applied.version.as_deref(), applied.count, applied.pending), (Some("003"), 3, 0));

    let refused = patch(json!({"schema": "elsewhere"})).await.expect_err("a schema is used");
    assert!(refused.contains("spec.history.schema") && refused.contains("make a new MigrationSet"), "{refused}");
    let refused = patch(json!({"set": "other"})).await.expect_err("a set is used");
    assert!(refused.contains("spec.history") && refused.contains("metadata.name"), "{refused}");
    patch(json!({"set": "shop"})).await.expect("that is what the set's default says");
    patch(json!({"set": null})).await.expect("and so is this");
    patch(json!({"lockId": 894_321})).await.expect("the second lock is free to choose");
}

#[tokio::test]
async fn a_count_of_zero_is_written() {
    let namespace = fresh_namespace().await;
    let sets = sets(&namespace).await;
    create(&namespace, &least()).await.expect("the least is accepted");
    let mut set = sets.get("shop").await.expect("it is there");
    set.status = Some(MigrationSetStatus {
        applied: Some(AppliedStatus::default()),
        source: Some(SourceStatus::default()),
        ..MigrationSetStatus::default()
    });
    sets.replace_status("shop", &PostParams::default(), &set).await.expect("a status is written");
    let output = kubernetes().kubectl(&["get", "mset", "shop", "-n", &namespace, "-o", "jsonpath={.status}"]);
    let written: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(
        written,
        json!({"applied": {"count": 0, "pending": 0, "onTrust": 0}, "source": {"files": 0}, "retries": 0})
    );
}

/// M17: one line shows a set's state.
#[tokio::test]
async fn kubectl_prints_the_columns_of_the_contract() {
    let namespace = fresh_namespace().await;
    let sets = sets(&namespace).await;
    create(&namespace, &least()).await.expect("the least is accepted");
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "UpToDate", "message": "3 of 3 applied",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    });
    let status = json!({"status": {
        "observedGeneration": 1, "conditions": [ready], "source": {"digest": "sha256:9f", "files": 3},
        "applied": {"version": "003", "count": 3, "pending": 0},
    }});
    sets.patch_status("shop", &PatchParams::default(), &Patch::Merge(status)).await.expect("a status is written");

    let lines = |arguments: &[&str]| -> Vec<Vec<String>> {
        let output = kubernetes().kubectl(&[&["get", "--namespace", &namespace], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("kubectl prints text");
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    for name in ["mset", "migrationsets", "migrationset", "migrationsets.dunlin.dev", "dunlin"] {
        let table = lines(&[name]);
        assert_eq!(table[0], ["NAME", "READY", "STATUS", "VERSION", "APPLIED", "PENDING", "AGE"], "{name}");
        assert_eq!(table[1][1..6], ["True", "UpToDate", "003", "3", "0"], "{name}");
    }
    let wide = lines(&["mset", "-o", "wide"]);
    assert_eq!(wide[0][7..], ["DIGEST", "MESSAGE"]);
    assert_eq!(wide[1][7..], ["sha256:9f", "3", "of", "3", "applied"]);
    assert!(lines(&["all"]).concat().iter().any(|word| word.ends_with("/shop")), "it is in the category all");
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    install_crd();
    // The API server publishes a definition's schema some time after it serves the resource.
    eventually("kubectl explains a field", LIMIT, async || {
        let output = kubernetes().kubectl(&["explain", "migrationset.spec.policy.lockTimeout"]);
        let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        let is_explained = text.contains("a duration from 1ms to 24h") && text.contains("Default: `3s`");
        if is_explained { Ok(()) } else { Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))) }
    })
    .await;
}
