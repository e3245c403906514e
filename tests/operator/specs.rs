//! Specs that nobody would write: what the API server lets in never takes the operator down, and is refused with a
//! field, or works.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dunlin::api::v1alpha1::MigrationSet;
use kube::api::{Patch, PatchParams};
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::{
    line::is_ready,
    shop::{LIMIT, Shop, condition},
    support::{Fuzz, eventually},
};

const USERS: (&str, &str) =
    ("001_users.sql", "CREATE TABLE IF NOT EXISTS users (id int PRIMARY KEY);\n-- migrate: down\nSELECT 'undone';");
/// Sets whose specs change side by side.
const SETS: usize = 8;

/// Every field of the spec, as a path, with values that are right, wrong, on an edge, or of another type.
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn fields() -> Vec<(&'static str, Vec<Value>)> {
    let durations = || {
        let texts = [
            "0s",
            "-1s",
            "1s",
            "3s",
            "1e9h",
            "999999999h",
            "10m",
            "1h30m",
            "500ms",
            "1ns",
            "",
            "10",
            "1.5s",
            "0.0001ms",
            "1d",
            "99999999999999999999h",
            "1s ",
            "٣s",
            "24h",
            "8760h",
            "0.5h0.5h",
        ];
        let mut values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
        values.extend([json!(10), json!(null), json!({})]);
        values
    };
    let words = |words: &[&str]| -> Vec<Value> {
        let odd = ["", "nope", "ALLOW", "ü", "\u{0}", " ", "a\nb"].map(|text| json!(text));
        words.iter().map(|word| json!(word)).chain(odd).chain([json!(1), json!(null), json!([])]).collect()
    };
    let long = |length| json!("x".repeat(length));
    vec![
        ("suspend", vec![json!(true), json!(false), json!("yes"), json!(null)]),
        ("database/secretRef/name", vec![json!("db"), json!("absent"), json!(""), json!("UPPER"), long(254), json!(5)]),
        (
            "database/secretRef/keys",
            vec![
                json!({"uri": "DATABASE_URL"}),
                json!({"uri": ""}),
                json!({}),
                json!({"nope": "x"}),
                json!({"uri": "ü"}),
            ],
        ),
        ("database/directSecretRef", vec![json!({"name": "absent"}), json!({"name": "db"}), json!({}), json!("db")]),
        (
            "database/tls",
            vec![
                json!({"mode": "verify-full"}),
                json!({"mode": "disable"}),
                json!({"mode": "nope"}),
                json!({"caSecretRef": {"name": "absent", "key": "ca.crt"}}),
                json!({"mode": "disable", "clientSecretRef": {"name": "absent"}}),
                json!({}),
            ],
        ),
        (
            "database/role",
            [words(&["postgres", "nobody_here", "pg_monitor", "a\"b"]), vec![long(63), long(64)]].concat(),
        ),
        (
            "database/searchPath",
            vec![
                json!([]),
                json!(["public"]),
                json!([""]),
                json!(["ü", "a\"b"]),
                json!(vec!["a"; 500]),
                json!(["pg_x"]),
                json!("public"),
            ],
        ),
        (
            "source/configMaps",
            vec![
                json!([]),
                json!([{"name": "absent"}]),
                json!([{"name": "sql"}, {"name": "sql"}]),
                json!([{"name": "sql"}, {"name": "absent"}]),
                json!([{}]),
                json!(vec![json!({"name": "sql"}); 200]),
            ],
        ),
        (
            "source/configMapSelector",
            vec![
                json!({}),
                json!({"matchLabels": {"a": "b"}}),
                json!({"matchLabels": {"": "b c"}}),
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}),
                json!({"matchExpressions": [{"key": "a", "operator": "nope"}]}),
                json!({"matchExpressions": [{"key": "a b", "operator": "Exists", "values": ["x"]}]}),
            ],
        ),
        (
            "source/digest",
            words(&["sha256:", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]),
        ),
        ("source/format", words(&["Auto", "Dunlin", "Metapg", "Goose", "Flyway"])),
        ("history/schema", words(&["pg_catalog", "a\"b"])),
        (
            "history/lockId",
            vec![json!(0), json!(-1), json!(i64::MAX), json!(i64::MIN), json!(1.5), json!("x"), json!(u64::MAX)],
        ),
        ("history/baseline", words(&["003", "none", "001_users", "1"])),
        ("history/takeOver", words(&["a/b", "a", "a/b/c", "/"])),
        (
            "history/adopt",
            vec![
                json!({"from": "Flyway", "keepInStep": true}),
                json!({"from": "Migretti"}),
                json!({"from": "Herogold", "keepInStep": true}),
                json!({"from": "nope"}),
                json!({}),
            ],
        ),
        (
            "target",
            words(&[
                "latest",
                "none",
                "001",
                "1",
                "999",
                "001_users",
                "1_other",
                "99999999999999999999999999999999",
                "batch:0",
                "batch:1",
                "batch:99",
                "batch:999999999",
                "batch:",
                "batch:x",
            ]),
        ),
        ("policy/rollback", words(&["Deny", "Allow"])),
        ("policy/outOfOrder", words(&["Deny", "Allow"])),
        ("policy/onChecksumDrift", words(&["Block", "Report"])),
        ("policy/onMissing", words(&["Block", "Ignore", "Rollback"])),
        ("policy/onSchemaDrift", words(&["Ignore", "Report", "Block"])),
        ("policy/schemaDriftIgnore", vec![json!([]), json!([""]), json!(["["]), json!(vec!["*"; 300]), json!([1])]),
        ("policy/transaction", words(&["PerMigration", "Single"])),
        ("policy/lockTimeout", durations()),
        ("policy/statementTimeout", durations()),
        ("policy/lockRetries", vec![json!(0), json!(-1), json!(10), json!(1_000_000), json!(u64::MAX), json!("1")]),
        ("approval/required", words(&["Never", "Destructive", "Always"])),
        (
            "approval/plan",
            words(&["sha256:00", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]),
        ),
        (
            "resolutions",
            vec![
                json!([]),
                json!([{"version": "001", "run": 1, "action": "Retry"}]),
                json!([{"version": "001", "run": -1, "action": "Retry"}]),
                json!([{"version": "001", "run": i64::MAX, "action": "MarkApplied"}]),
                json!([{"version": "001", "run": 1, "action": "Retry"}, {"version": "001", "run": 1, "action": "Resume"}]),
                json!([{"version": "", "run": 1, "action": "Nope"}]),
                json!([{"run": 1}]),
            ],
        ),
        (
            "variables",
            vec![
                json!([{"name": "tenant", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]),
                json!([{"name": "tenant", "value": "'"}, {"name": "tenant", "value": "x"}]),
                json!([{"name": "1 \"x"}]),
            ],
        ),
        ("seeds", vec![json!({"configMaps": [{"name": "sql"}], "environment": "dev"}), json!({}), json!([])]),
        (
            "hooks",
            vec![
                json!({"preApply": [{"sql": "SELECT 1"}]}),
                json!({"preApply": []}),
                json!({"preApply": [{}]}),
                json!({}),
            ],
        ),
        ("interval", durations()),
        ("nonsense", vec![json!(1), json!({"a": {"b": []}})]),
    ]
}

/// A spec with some of its fields as they fall.
fn spec(fuzz: &mut Fuzz, fields: &[(&str, Vec<Value>)], set: &str) -> Value {
    let mut spec = good(set);
    for _ in 0..fuzz.random.random_range(1..3) {
        let (path, values) = fuzz.choose(fields);
        let value = fuzz.choose(values).clone();
        let mut place = &mut spec;
        for part in path.split('/') {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[part];
        }
        *place = value;
    }
    spec
}

fn good(set: &str) -> Value {
    json!({"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}, "history": {"set": set}})
}

/// Applies a spec; None if the API server refuses it, which it has to explain.
async fn apply(shop: &Shop, set: &str, spec: &Value) -> Option<MigrationSet> {
    let object = json!({
        "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": set}, "spec": spec,
    });
    match shop.sets().patch(set, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await {
        Ok(set) => Some(set),
        // It says 500 for a type that is no field's.
        Err(kube::Error::Api(status)) if status.code < 500 || status.message.contains("typed patch object") => {
            assert!(!status.message.is_empty(), "{spec}");
            None
        }
        Err(error) => panic!("{spec}: {error}"),
    }
}

/// Applies a good spec, which leaves the history where migrations have been applied: the API server lets nobody move it.
async fn heal(shop: &Shop, set: &str) -> MigrationSet {
    let mut spec = good(set);
    let now = shop.sets().get_opt(set).await.expect("the API server answers");
    let applied = now.as_ref().and_then(|set| set.status.as_ref()?.applied.as_ref()?.version.as_ref()).is_some();
    if let Some(now) = now.filter(|_| applied) {
        let history = serde_json::to_value(&now.spec.history).expect("a history is JSON");
        for field in ["schema", "set"] {
            spec["history"][field] = history[field].clone();
        }
    }
    apply(shop, set, &spec).await.expect("a good spec is let in")
}

/// Waits until the operator has come to a conclusion about this generation.
async fn settled(shop: &Shop, name: &str, generation: Option<i64>) -> MigrationSet {
    let sets = shop.sets();
    eventually(name, LIMIT, async || {
        let set = sets.get(name).await.map_err(|error| error.to_string())?;
        let seen = set.status.as_ref().and_then(|status| status.observed_generation) >= generation;
        match condition(&set, "Ready") {
            Some((_, reason, _)) if seen && !["Checking", "Applying", "RollingBack"].contains(&reason.as_str()) => {
                Ok(set)
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[derive(Default)]
struct Counts {
    refused: AtomicUsize,
    invalid: AtomicUsize,
    others: AtomicUsize,
}

/// What is wrong with how a spec ended; None is well.
fn wrong(set: &MigrationSet, spec: &Value, counts: &Counts) -> Option<String> {
    let (_, reason, message) = condition(set, "Ready")?;
    let counted = if reason == "InvalidSpec" { &counts.invalid } else { &counts.others };
    counted.fetch_add(1, Ordering::Relaxed);
    if message.is_empty() {
        return Some(format!("{spec}: {reason} without a message"));
    }
    (reason == "InvalidSpec" && !message.contains("spec.")).then(|| format!("{spec}: no field in: {message}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spec_that_the_api_server_lets_in_takes_the_operator_down_or_is_refused_without_its_field() {
    static DEFECTS: AtomicUsize = AtomicUsize::new(0);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let ours = panic.location().is_some_and(|place| place.file().starts_with("src/"));
        DEFECTS.fetch_add(usize::from(ours), Ordering::Relaxed);
        hook(panic);
    }));
    let shop = Arc::new(Shop::open().await);
    shop.files("sql", &[USERS]).await;
    // Of several that make a table at one moment, PostgreSQL refuses all but one, whatever IF NOT EXISTS says.
    shop.ask("CREATE TABLE users (id int PRIMARY KEY)").await;
    let fields = fields();
    let counts = Counts::default();
    let mut fuzz = Fuzz::begin("specs", Duration::from_secs(12));
    let mut found = Vec::new();
    while found.len() < 5 && fuzz.goes_on() {
        // A round: each set gets a spec, some of them a good one behind it.
        let round: Vec<(String, Value, bool)> = (0..SETS)
            .map(|number| {
                let name = format!("set-{number}");
                let spec = spec(&mut fuzz, &fields, &name);
                let heals = fuzz.random.random_ratio(1, 4);
                (name, spec, heals)
            })
            .collect();
        let results = futures::future::join_all(round.iter().map(async |(name, spec, heals)| {
            let Some(set) = apply(&shop, name, spec).await else {
                counts.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            let set = settled(&shop, name, set.metadata.generation).await;
            let wrong = wrong(&set, spec, &counts);
            if wrong.is_none() && *heals {
                let healed = heal(&shop, name).await;
                let healed = settled(&shop, name, healed.metadata.generation).await;
                if !is_ready(&healed) {
                    return Some(format!("behind {spec}, a good spec ends in {:?}", condition(&healed, "Ready")));
                }
            }
            wrong
        }))
        .await;
        found.extend(results.into_iter().flatten());
    }
    for number in 0..SETS {
        let name = format!("set-{number}");
        heal(&shop, &name).await;
        shop.until_of(&name, "UpToDate").await;
    }
    let Counts { refused, invalid, others } = counts;
    println!(
        "fuzz: specs: {} refused by the API server, {} by the operator, {} let in",
        refused.into_inner(),
        invalid.into_inner(),
        others.into_inner()
    );
    let defects = DEFECTS.load(Ordering::Relaxed);
    if defects > 0 {
        found.push(format!("{defects} panics of the operator, said above"));
    }
    fuzz.end("findings in rounds of eight", &found);
    Arc::into_inner(shop).expect("nobody else has it").close().await;
}
