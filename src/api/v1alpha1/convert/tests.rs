//! What a MigrationSet comes to, and what is refused.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::api::v1alpha1::keep_managers_of_decisions;
use crate::core::{
    adopt::{Adopt, Edited, Tool, When},
    desired::{
        Action, Approval, ApprovalRequired, GivenApproval, HistoryLocation, OnChecksumDrift, OnMissing, OutOfOrder,
        Policy, Reference, Resolution, Rollback, TakeOver, Target, TransactionScope,
    },
    format::Format,
    hook::{Act, Hook, Hooks},
    migration::Version,
    outcome::{Failure, Reason},
    reference::{ConfigMapKey, LabelSelector, Requirement, SecretKey, SecretKeys, TlsMode, TlsRef},
};

fn set(spec: &Value) -> MigrationSet {
    annotated(spec, &json!({}))
}

fn annotated(spec: &Value, annotations: &Value) -> MigrationSet {
    let mut whole = json!({
        "apiVersion": "dunlin.dev/v1alpha1",
        "kind": "MigrationSet",
        "metadata": {"name": "till", "namespace": "shop", "generation": 4, "annotations": annotations},
        "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "files"}]}},
    });
    for (name, value) in spec.as_object().expect("a spec is an object") {
        whole["spec"][name] = value.clone();
    }
    serde_json::from_value(whole).expect("the types read it")
}

fn problems(spec: &Value) -> Vec<String> {
    let invalid = parse(&set(spec)).expect_err("something is wrong with it");
    invalid.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_least_that_a_set_says_comes_to_the_defaults() {
    let parsed = parse(&set(&json!({}))).expect("nothing is wrong with it");
    let expected = Parsed {
        desired: Desired {
            owner: Owner { namespace: "shop".into(), name: "till".into() },
            audience: Audience::MigrationSet,
            generation: 4,
            suspend: false,
            digest: None,
            format: Format::Auto,
            history: HistoryLocation {
                schema: "dunlin".into(),
                set: "till".into(),
                lock_id: None,
                baseline: None,
                take_over: None,
                adopt: None,
            },
            target: Target::Latest,
            session: SessionSettings {
                role: None,
                search_path: Vec::new(),
                lock_timeout_ms: 3_000,
                statement_timeout_ms: 0,
                lock_retries: 10,
            },
            policy: Policy {
                rollback: Rollback::Deny,
                out_of_order: OutOfOrder::Deny,
                on_checksum_drift: OnChecksumDrift::Block,
                on_missing: OnMissing::Block,
                transaction: TransactionScope::PerMigration,
            },
            hooks: Hooks::default(),
            approval: Approval::default(),
            resolutions: Vec::new(),
            task_resolutions: Vec::new(),
            seeds: std::sync::Arc::default(),
            variables: Variables::default(),
            interval: Duration::from_mins(10),
        },
        database: DatabaseRef { secret: "db".into(), keys: SecretKeys::default(), tls: TlsRef::default() },
        source: SourceRef::ConfigMaps(vec!["files".into()]),
        seeds: None,
        variables: Vec::new(),
    };
    assert_eq!(parsed, expected);
    let owner = Owner { namespace: "shop".into(), name: "till".into() };
    assert_eq!(parsed.desired, Desired { generation: 4, ..Desired::new(owner) });
}

/// M03, M04: the Secret and its keys are named, and the lock of another tool can be held as well.
#[test]
fn everything_that_works_arrives() {
    let spec = json!({
        "suspend": true,
        "database": {
            "secretRef": {"name": "db", "keys": {"uri": "DATABASE_URL", "password": "PGPASSWORD"}},
            "tls": {"mode": "verify-full", "caSecretRef": {"name": "ca"}, "clientSecretRef": {"name": "client"}},
            "role": "owner",
            "searchPath": ["app", "public"],
        },
        "source": {"configMaps": [{"name": "b"}, {"name": "a"}, {"name": "b"}], "format": "Metapg"},
        "history": {"schema": "mine", "set": "shop", "lockId": -3, "takeOver": "old-ns/shop"},
        "policy": {
            "outOfOrder": "Allow", "onChecksumDrift": "Report", "onMissing": "Ignore", "onSchemaDrift": "Ignore",
            "transaction": "Single", "lockTimeout": "500ms", "statementTimeout": "1h30m", "lockRetries": 0,
        },
        "interval": "1m",
    });
    let Parsed { desired, database, source, seeds, variables } = parse(&set(&spec)).expect("all of it works");
    assert_eq!(seeds, None);
    assert_eq!(variables, []);
    assert!(desired.suspend);
    assert_eq!(desired.format, Format::Metapg);
    assert_eq!(
        desired.history,
        HistoryLocation {
            schema: "mine".into(),
            set: "shop".into(),
            lock_id: Some(-3),
            baseline: None,
            take_over: Some(TakeOver {
                from: Owner { namespace: "old-ns".into(), name: "shop".into() },
                by: "spec.history.takeOver".into(),
            }),
            adopt: None,
        }
    );
    assert_eq!(
        desired.session,
        SessionSettings {
            role: Some("owner".into()),
            search_path: vec!["app".into(), "public".into()],
            lock_timeout_ms: 500,
            statement_timeout_ms: 5_400_000,
            lock_retries: 0,
        }
    );
    assert_eq!(
        desired.policy,
        Policy {
            rollback: Rollback::Deny,
            out_of_order: OutOfOrder::Allow,
            on_checksum_drift: OnChecksumDrift::Report,
            on_missing: OnMissing::Ignore,
            transaction: TransactionScope::Single,
        }
    );
    assert_eq!(desired.interval, Duration::from_mins(1));
    assert_eq!(
        database,
        DatabaseRef {
            secret: "db".into(),
            keys: SecretKeys {
                uri: Some("DATABASE_URL".into()),
                password: Some("PGPASSWORD".into()),
                ..SecretKeys::default()
            },
            tls: TlsRef {
                mode: Some(TlsMode::VerifyFull),
                ca: Some(SecretKey { secret: "ca".into(), key: "ca.crt".into() }),
                client_secret: Some("client".into()),
            },
        }
    );
    assert_eq!(source, SourceRef::ConfigMaps(vec!["a".into(), "b".into()]), "sorted, each once");
}

/// The way past a pooler is the only one that is taken.
#[test]
fn a_direct_secret_takes_the_place_of_the_other_with_its_own_keys() {
    let given = set(&json!({
        "database": {
            "secretRef": {"name": "pooled", "keys": {"uri": "POOLED"}},
            "directSecretRef": {"name": "direct", "keys": {"password": "PGPASSWORD"}},
            "tls": {"mode": "verify-full"},
        },
    }));
    let Parsed { database, .. } = parse(&given).expect("it is sound");
    assert_eq!(
        database,
        DatabaseRef {
            secret: "direct".into(),
            keys: SecretKeys { password: Some("PGPASSWORD".into()), ..SecretKeys::default() },
            tls: TlsRef { mode: Some(TlsMode::VerifyFull), ca: None, client_secret: None },
        }
    );
}

/// M09: each variable has a value, or says where it is found, and a name of its own.
#[test]
fn variables_say_where_their_values_are() {
    let key = json!({"name": "x", "key": "y"});
    let parsed = parse(&set(&json!({"variables": [
        {"name": "a", "value": "1"},
        {"name": "b", "valueFrom": {"secretKeyRef": key}},
        {"name": "c", "valueFrom": {"configMapKeyRef": key}},
    ]})))
    .expect("nothing is wrong with it");
    let values: Vec<ValueRef> = parsed.variables.into_iter().map(|variable| variable.value).collect();
    let expected = [
        ValueRef::Given("1".into()),
        ValueRef::Secret(SecretKey { secret: "x".into(), key: "y".into() }),
        ValueRef::ConfigMap(ConfigMapKey { config_map: "x".into(), key: "y".into() }),
    ];
    assert_eq!(values, expected);
    for (variables, path) in [
        (json!([{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]), "spec.variables[1].name"),
        (json!([{"name": "a", "value": "1\u{0}"}]), "spec.variables[0].value"),
        (json!([{"name": "a"}]), "spec.variables[0]"),
        (json!([{"name": "a", "value": "", "valueFrom": {"secretKeyRef": key}}]), "spec.variables[0]"),
        (json!([{"name": "a", "valueFrom": {}}]), "spec.variables[0].valueFrom"),
        (
            json!([{"name": "a", "valueFrom": {"secretKeyRef": key, "configMapKeyRef": key}}]),
            "spec.variables[0].valueFrom",
        ),
    ] {
        let problems = problems(&json!({"variables": variables}));
        assert!(problems.len() == 1 && problems[0].starts_with(path), "{problems:?}");
    }
}

#[test]
fn what_is_not_supported_yet_is_refused_by_its_field_and_never_ignored() {
    let table = [
        (json!({"source": {"configMaps": [{"name": "a"}], "format": "Goose"}}), "spec.source.format"),
        (json!({"source": {"configMaps": [{"name": "a"}], "format": "Drizzle"}}), "spec.source.format"),
        (json!({"history": {"adopt": {"from": "Flyway"}}}), "spec.history.adopt"),
        (json!({"history": {"adopt": {"from": "Migretti", "keepInStep": true}}}), "spec.history.adopt"),
        (json!({"policy": {"onSchemaDrift": "Block"}}), "spec.policy.onSchemaDrift"),
        (json!({"policy": {"schemaDriftIgnore": ["table public.x"]}}), "spec.policy.schemaDriftIgnore"),
    ];
    for (spec, path) in table {
        let problems = problems(&spec);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("{path}: ")), "{problems:?}");
        assert!(problems[0].contains("not supported yet"), "{problems:?}");
    }
}

/// Q83, H20: four tools' histories are taken over at first contact; where drift is only told of, so is an edited file.
#[test]
fn a_tools_history_is_taken_over_at_first_contact() {
    for (from, tool) in [
        ("Migretti", Tool::Migretti),
        ("Metapg", Tool::Metapg),
        ("Psqlmodel", Tool::Psqlmodel),
        ("Herogold", Tool::Herogold),
    ] {
        for (policy, edited) in [("Block", Edited::Refuse), ("Report", Edited::Accept)] {
            let adopt = json!({"from": from, "keepInStep": false});
            let spec = json!({"history": {"adopt": adopt}, "policy": {"onChecksumDrift": policy}});
            let expected = Adopt { from: tool, table: None, edited, when: When::FirstContact };
            assert_eq!(desired(&set(&spec)).expect("it can be honoured").history.adopt, Some(expected));
        }
    }
    let flyway = problems(&json!({"history": {"adopt": {"from": "Flyway"}}}));
    assert!(flyway[0].contains("Migretti, Metapg, Psqlmodel and Herogold are"), "{flyway:?}");
}

#[test]
fn hooks_are_read_in_their_order_with_their_time_limits() {
    let spec = json!({"hooks": {
        "preApply": [{"sql": "SELECT 1; SELECT 2"}, {"job": {"name": "backup"}, "timeout": "90s"}],
        "onFailure": [{"http": {"url": "https://example.org/hook?token=x"}}]
    }});
    let hooks = desired(&set(&spec)).expect("it can be honoured").hooks;
    let [Hook { act: Act::Sql(section), timeout }, Hook { act: Act::Job(name), timeout: other }] = &*hooks.pre_apply
    else {
        panic!("{:?}", hooks.pre_apply)
    };
    assert_eq!((section.script.statements.len(), timeout.as_secs()), (2, 600));
    assert_eq!((name.as_str(), other.as_secs()), ("backup", 90));
    let [Hook { act: Act::Http(endpoint), .. }] = &*hooks.on_failure else { panic!("{:?}", hooks.on_failure) };
    assert_eq!((endpoint.host.as_str(), endpoint.target.as_str()), ("example.org", "/hook?token=x"));
    assert_eq!(hooks.places().len(), 2);
}

#[test]
fn a_hook_that_can_not_run_is_refused_by_its_place() {
    for (hook, problem) in [
        (json!({}), "spec.hooks.postApply[1]: give exactly one"),
        (json!({"sql": "SELECT 1", "job": {"name": "x"}}), "spec.hooks.postApply[1]: give exactly one"),
        (json!({"sql": "SELECT 1;\nCOMMIT"}), "spec.hooks.postApply[1].sql: line 2: "),
        (json!({"sql": "SELECT 'open"}), "spec.hooks.postApply[1].sql: line 1: "),
        (json!({"sql": "SELECT 1", "timeout": "soon"}), "spec.hooks.postApply[1].timeout: "),
        (json!({"sql": "SELECT 1", "timeout": "25h"}), "spec.hooks.postApply[1].timeout: "),
        (json!({"sql": "SELECT 1", "timeout": "1ms"}), "spec.hooks.postApply[1].timeout: "),
        (json!({"http": {"url": "https://joe:secret@h/"}}), "spec.hooks.postApply[1].http.url: has a login"),
    ] {
        let problems = problems(&json!({"hooks": {"postApply": [{"sql": "SELECT 1"}, hook]}}));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(problem) && !problems[0].contains("secret"), "{problems:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_the_order_of_the_fields() {
    let spec = json!({
        "source": {"configMaps": []},
        "history": {"takeOver": "nobody"},
        "target": "batch:x",
        "policy": {"lockTimeout": "soon", "statementTimeout": "600h", "lockRetries": -1},
        "interval": "999ms",
    });
    let invalid = parse(&set(&spec)).expect_err("nearly all of it is wrong");
    let failure = Failure::from(invalid);
    assert_eq!(failure.reason, Reason::InvalidSpec);
    let expected = [
        "spec.source: name exactly one kind of source: configMaps or configMapSelector",
        "spec.history.takeOver: \"nobody\" names no owner: write namespace/name, as the message of Conflict does",
        "spec.target: \"batch:x\" names no batch: write batch: and a number, as status.recent shows it",
        "spec.policy.lockTimeout: \"soon\" is no duration: write one such as 10m, 1h30m, 3s or 500ms",
        "spec.policy.statementTimeout: \"600h\" is longer than PostgreSQL can count: write at most 576h",
        "spec.policy.lockRetries: is below 0: write 0 for no retries, or more",
        "spec.interval: shorter than a second: write a duration from 1s to 24h",
    ];
    assert_eq!(failure.message, expected.join("; "));
}

#[test]
fn a_source_is_of_exactly_one_kind() {
    let both = json!({"configMaps": [{"name": "a"}], "configMapSelector": {"matchLabels": {"app": "shop"}}});
    for source in [json!({}), both] {
        assert_eq!(
            problems(&json!({"source": source})),
            ["spec.source: name exactly one kind of source: configMaps or configMapSelector"]
        );
    }
}

#[test]
fn a_selector_takes_labels_and_expressions_together() {
    let source = json!({"configMapSelector": {
        "matchLabels": {"app": "shop"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["db", "web"]},
            {"key": "stage", "operator": "NotIn", "values": ["dev"]},
            {"key": "team", "operator": "Exists"},
            {"key": "retired", "operator": "DoesNotExist"},
        ],
    }});
    let parsed = parse(&set(&json!({"source": source}))).expect("it is a selector");
    let expected = LabelSelector::new(vec![
        Requirement::In("app".into(), vec!["shop".into()]),
        Requirement::In("tier".into(), vec!["db".into(), "web".into()]),
        Requirement::NotIn("stage".into(), vec!["dev".into()]),
        Requirement::Exists("team".into()),
        Requirement::DoesNotExist("retired".into()),
    ]);
    assert_eq!(parsed.source, SourceRef::Selector(expected));
}

#[test]
fn a_selector_that_says_nothing_or_nonsense_is_refused() {
    let table = [
        (json!({}), "spec.source.configMapSelector: an empty selector"),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "spec.source.configMapSelector.matchExpressions[0]: In needs values",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
            "spec.source.configMapSelector.matchExpressions[0]: Exists has no values",
        ),
    ];
    for (selector, expected) in table {
        let problems = problems(&json!({"source": {"configMapSelector": selector}}));
        assert!(problems[0].starts_with(expected), "{problems:?}");
    }
}

#[test]
fn seeds_are_read_from_config_maps_of_their_own() {
    let spec = json!({"seeds": {"configMaps": [{"name": "b"}, {"name": "a"}], "environment": "dev"}});
    let seeds = parse(&set(&spec)).expect("it is sound").seeds.expect("seeds are named");
    assert_eq!((seeds.config_maps, seeds.environment.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("dev")));
    let problems = problems(&json!({"seeds": {"configMaps": [{"name": "a"}, {"name": "files"}]}}));
    assert!(problems[0].starts_with("spec.seeds.configMaps[1]: files holds the migrations"), "{problems:?}");
}

#[test]
fn what_a_set_refers_to_is_known_even_if_its_spec_is_refused() {
    let set = set(&json!({"target": "batch:x", "seeds": {"configMaps": [{"name": "seeds"}]}}));
    assert!(parse(&set).is_err());
    assert_eq!(set.seeds_ref().expect("seeds are named").config_maps, ["seeds"]);
    assert_eq!(set.source_ref(), Some(SourceRef::ConfigMaps(vec!["files".into()])));
    assert_eq!(set.database_ref().secret, "db");
}

/// M21: what a person decided arrives from the spec and from the annotation.
/// A seed's path and a hook's place stand where a migration's version does.
#[test]
fn resolutions_of_seeds_and_hooks_are_told_from_those_of_migrations() {
    let spec = json!({"resolutions": [
        {"version": "dev/010_users.sql", "run": 7, "action": "Retry"},
        {"version": "010", "run": 8, "action": "Retry"},
        {"version": "preApply[0]", "run": 9, "action": "Resume"},
    ]});
    let desired = desired(&set(&spec)).expect("all of them are decisions");
    let of_tasks: Vec<(&str, i64, Action)> = desired
        .task_resolutions
        .iter()
        .map(|named| (named.key.as_str(), named.resolution.run, named.resolution.action))
        .collect();
    assert_eq!(of_tasks, [("dev/010_users.sql", 7, Action::Retry), ("preApply[0]", 9, Action::Resume)]);
    assert_eq!(desired.resolutions.iter().map(|resolution| resolution.run).collect::<Vec<_>>(), [8]);
}

#[test]
fn resolutions_come_from_the_spec_and_from_the_annotation() {
    let spec = json!({"resolutions": [{"version": "003", "run": 7, "action": "MarkRolledBack"}]});
    let set = annotated(&spec, &json!({RESOLVE_ANNOTATION: "8=AcceptChecksum"}));
    let expected = [
        Resolution {
            version: Some(Version::parse("003").expect("it is a version")),
            run: 7,
            action: Action::MarkRolledBack,
            by: "spec.resolutions[0]".into(),
        },
        Resolution {
            version: None,
            run: 8,
            action: Action::AcceptChecksum,
            by: "annotation dunlin.dev/resolve".into(),
        },
    ];
    assert_eq!(desired(&set).expect("both are decisions").resolutions, expected);
}

/// Who decided is recorded with the run; what the operator keeps of an object is enough for that.
#[test]
fn a_resolution_says_who_has_set_it() {
    let spec = json!({"resolutions": [{"version": "003", "run": 7, "action": "Retry"}]});
    let mut set = annotated(&spec, &json!({RESOLVE_ANNOTATION: "8=Retry"}));
    let item = json!({"k:{\"run\":7,\"version\":\"003\"}": {".": {}, "f:action": {}, "f:run": {}, "f:version": {}}});
    let fields = [
        ("flux", json!({"f:spec": {"f:resolutions": item}})),
        ("kubectl-annotate", json!({"f:metadata": {"f:annotations": {".": {}, "f:dunlin.dev/resolve": {}}}})),
    ];
    let entries =
        fields.map(|(manager, fields)| json!({"manager": manager, "operation": "Update", "fieldsV1": fields}));
    set.metadata.managed_fields = serde_json::from_value(json!(entries)).expect("the types read it");
    keep_managers_of_decisions(&mut set);
    let resolutions = desired(&set).expect("both are decisions").resolutions;
    let by: Vec<(&str, &str)> =
        resolutions.iter().map(|resolution| (resolution.by.as_str(), resolution.place())).collect();
    let expected = [
        ("spec.resolutions[0], set by flux", "spec.resolutions[0]"),
        ("annotation dunlin.dev/resolve, set by kubectl-annotate", "annotation dunlin.dev/resolve"),
    ];
    assert_eq!(by, expected);
}

#[test]
fn an_annotation_that_decides_nothing_is_refused_by_its_name() {
    for text in ["", "7", "Retry", "7=", "=Retry", "7=retry", "0=Retry", "-1=Retry", "x=Retry", "7=Retry=8"] {
        let invalid =
            parse(&annotated(&json!({}), &json!({RESOLVE_ANNOTATION: text}))).expect_err("it decides nothing");
        assert_eq!(invalid.problems.len(), 1);
        assert_eq!(invalid.problems[0].path, "metadata.annotations[dunlin.dev/resolve]", "{text:?}");
        assert!(invalid.problems[0].message.contains("write <run>=<action>"), "{invalid}");
    }
}

const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn a_target_is_a_state_and_nothing_else() {
    let version = |text: &str, name: Option<&str>| Reference {
        version: Version::parse(text).expect("a version"),
        name: name.map(str::to_owned),
    };
    let table = [
        ("latest", Target::Latest),
        ("none", Target::None),
        ("003", Target::Version(version("003", None))),
        ("003_add_index", Target::Version(version("003", Some("add_index")))),
        ("20260215_02_x", Target::Version(version("20260215_02", Some("x")))),
        ("batch:2", Target::Batch(2)),
        ("batch:0", Target::Batch(0)),
    ];
    for (text, expected) in table {
        assert_eq!(desired(&set(&json!({"target": text}))).expect("a target").target, expected, "{text}");
    }
    for text in ["", "newest", "batch:", "batch:-1", "batch:99999999999", "003-x"] {
        let problems = problems(&json!({"target": text}));
        assert!(problems[0].starts_with("spec.target: "), "{text}: {problems:?}");
    }
}

/// An absent ConfigMap among several must not count as migrations that are gone.
#[test]
fn rolling_back_what_is_gone_needs_a_digest_where_content_comes_from_several_places() {
    let policy = json!({"rollback": "Allow", "onMissing": "Rollback"});
    let several = json!([{"name": "a"}, {"name": "b"}]);
    let selector = json!({"matchLabels": {"app": "shop"}});
    let sound = [
        json!({"configMaps": [{"name": "a"}]}),
        json!({"configMaps": several, "digest": DIGEST}),
        json!({"configMapSelector": selector, "digest": DIGEST}),
    ];
    for source in sound {
        let desired = desired(&set(&json!({"source": source, "policy": policy}))).expect("it is sound");
        assert_eq!((desired.policy.on_missing, desired.policy.rollback), (OnMissing::Rollback, Rollback::Allow));
    }
    for source in [json!({"configMaps": several}), json!({"configMapSelector": selector})] {
        let problems = problems(&json!({"source": source, "policy": policy}));
        assert!(problems[0].starts_with("spec.policy.onMissing: "), "{problems:?}");
        assert!(problems[0].contains("spec.source.digest"), "{problems:?}");
    }
}

#[test]
fn approvals_come_from_the_spec_and_from_the_annotation() {
    let other = format!("sha256:{}", "0".repeat(64));
    let spec = json!({"approval": {"required": "Destructive", "plan": DIGEST}});
    let set = annotated(&spec, &json!({APPROVED_PLAN_ANNOTATION: other}));
    let expected = Approval {
        required: ApprovalRequired::Destructive,
        given: vec![
            GivenApproval { plan: DIGEST.into(), by: "spec.approval.plan".into() },
            GivenApproval { plan: other, by: "annotation dunlin.dev/approved-plan".into() },
        ],
    };
    assert_eq!(desired(&set).expect("both are digests").approval, expected);
    for text in ["", "yes", "sha256:0", "sha256:XYZ"] {
        let invalid = parse(&annotated(&json!({}), &json!({APPROVED_PLAN_ANNOTATION: text}))).expect_err("no digest");
        assert_eq!(invalid.problems[0].path, "metadata.annotations[dunlin.dev/approved-plan]", "{text:?}");
    }
}

#[test]
fn a_history_is_taken_over_by_the_spec_or_by_the_annotation() {
    let annotation = json!({TAKE_OVER_ANNOTATION: "old/shop"});
    let from = |spec: Value, annotations: &Value| {
        let location = desired(&annotated(&spec, annotations)).expect("it is sound").history;
        location.take_over.map(|asked| (asked.from.to_string(), asked.by))
    };
    let by_annotation = ("old/shop".to_owned(), "annotation dunlin.dev/take-over".to_owned());
    assert_eq!(from(json!({}), &annotation), Some(by_annotation));
    let by_spec = ("older/shop".to_owned(), "spec.history.takeOver".to_owned());
    assert_eq!(from(json!({"history": {"takeOver": "older/shop"}}), &annotation), Some(by_spec));
    assert_eq!(from(json!({}), &json!({})), None);
}

#[test]
fn the_defaults_of_the_types_are_those_of_absent_fields() {
    use super::super::{Approval, HistorySpec, PolicySpec};
    assert_eq!(PolicySpec::default(), serde_json::from_str("{}").expect("an empty object"));
    assert_eq!(HistorySpec::default(), serde_json::from_str("{}").expect("an empty object"));
    assert_eq!(Approval::default(), serde_json::from_str("{}").expect("an empty object"));
}
