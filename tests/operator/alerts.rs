//! The chart's alerts on what a real operator exports while something is really broken. What is scraped over some seconds is taken
//! to go on for hours, and Prometheus' own engine says which alerts ring by then: those that should, and no other.

use std::{collections::BTreeSet, io::Write as _, path::Path, time::Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    conduct::{GATED, USERS, gate},
    metrics::{SCRAPES, Samples, page, parse},
    process::{OperatorProcess, read},
    shop::{LIMIT, Shop},
    support::{Proxy, eventually, fresh_database, kubernetes, postgres, prometheus::promtool},
};

/// The labels that the scrape of the chart gives a series which hasn't got them: its own namespace is honoured.
const TARGET: [(&str, &str); 4] =
    [("namespace", "dunlin-system"), ("job", "dunlin-metrics"), ("pod", "dunlin-0"), ("container", "dunlin")];

/// Gauges of how long something has taken so far, which go on growing like counters.
const SO_FAR: [&str; 2] = ["workqueue_longest_running_processor_seconds", "workqueue_unfinished_work_seconds"];

/// What rings, such as `DunlinSetStalled name=failed reason=MigrationFailed`.
type Ringing = BTreeSet<String>;

fn ringing(alerts: &[&str]) -> Ringing {
    alerts.iter().map(|alert| (*alert).to_owned()).collect()
}

/// Two scrapes of an operator, and what may be concluded of those that follow.
struct Scrapes {
    first: Samples,
    last: Samples,
    /// Names of families that grow.
    growing: BTreeSet<String>,
    minutes_between: f64,
    /// Unix time: when the operator was started, seconds ago.
    at: f64,
}

impl Scrapes {
    /// Scrapes until the last one and the first one are as hoped.
    async fn until(address: &str, hope: &str, hoped: impl Fn(&Samples, &Samples) -> bool) -> Self {
        let (begun, first) = (Instant::now(), parse(&page(address).await));
        let text = eventually(hope, LIMIT, async || {
            let text = page(address).await;
            if hoped(&first, &parse(&text)) { Ok(text) } else { Err(text) }
        })
        .await;
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let growing = types.filter(|(_, kind)| *kind != "gauge").map(|(name, _)| name).chain(SO_FAR);
        let last = parse(&text);
        Self {
            first,
            growing: growing.map(str::to_owned).collect(),
            at: last["process_start_time_seconds"].floor(),
            last,
            minutes_between: begun.elapsed().as_secs_f64() / 60.0,
        }
    }

    fn grows(&self, sample: &str) -> bool {
        let name = sample.split('{').next().unwrap_or_default();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        self.growing.contains(name) || of_histogram.is_some_and(|family| self.growing.contains(family))
    }

    /// Every series, as promtool takes it: a sample each so many minutes.
    fn series(&self, every: u32, count: u32) -> Vec<Value> {
        let of_target = |sample: &str| {
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let has = |label: &str| labels.starts_with(&format!("{label}=")) || labels.contains(&format!(",{label}="));
            let more =
                TARGET.iter().filter(|(label, _)| !has(label)).map(|(label, value)| format!("{label}=\"{value}\""));
            let own = labels.trim_end_matches('}').to_owned();
            let all = [own].into_iter().filter(|own| !own.is_empty()).chain(more).collect::<Vec<_>>();
            format!("{name}{{{}}}", all.join(","))
        };
        let sampled = self.last.iter().map(|(sample, last)| {
            let before = self.first.get(sample).copied().unwrap_or_default();
            let grown = if self.grows(sample) { (last - before).max(0.0) } else { 0.0 };
            let growth = grown / self.minutes_between * f64::from(every);
            json!({"series": of_target(sample), "values": format!("{last}+{growth}x{count}")})
        });
        let up = json!({"series": of_target("up"), "values": format!("1x{count}")});
        sampled.chain([up]).collect()
    }

    /// Which alerts ring after so many minutes of this, the series sampled and the rules evaluated each so many.
    fn ring(&self, after: &[(u32, &[&str])], every: u32) {
        let last = after.iter().map(|(minutes, _)| *minutes).max().expect("one is asked for");
        let series = self.series(every, last / every + 1);
        let expected: Vec<(u32, Ringing)> = after.iter().map(|(minutes, alerts)| (*minutes, ringing(alerts))).collect();
        assert_ringing(&series, &expected, every, self.at);
    }
}

/// Asks Prometheus' engine.
fn assert_ringing(series: &[Value], expected: &[(u32, Ringing)], every: u32, at: f64) {
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/dunlin/alerts/*.yaml");
    let checks = expected.iter().map(|(minutes, alerts)| {
        let samples = alerts.iter().map(|alert| {
            let (name, labels) = alert.split_once(' ').unwrap_or((alert, ""));
            let labels = labels.split(' ').filter_map(|label| label.split_once('='));
            let labels = labels.chain([("alertname", name)]).map(|(label, value)| format!("{label}=\"{value}\""));
            json!({"labels": format!("{{{}}}", labels.collect::<Vec<_>>().join(",")), "value": 1})
        });
        json!({
            // Where the operator runs is the same in all of them.
            "expr": "count by (alertname, name, reason, kind, code, method) (ALERTS{alertstate=\"firing\"})",
            "eval_time": format!("{minutes}m"),
            "exp_samples": samples.collect::<Vec<_>>(),
        })
    });
    let every = format!("{every}m");
    let file = json!({
        "rule_files": [alerts],
        "evaluation_interval": every,
        "tests": [{
            "interval": every,
            "start_timestamp": at,
            "input_series": series,
            "promql_expr_test": checks.collect::<Vec<_>>(),
        }],
    });
    let mut written = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    written.write_all(file.to_string().as_bytes()).expect("JSON is YAML");
    let said = promtool(&["test", "rules", &written.path().to_string_lossy()]);
    assert!(said.is_ok(), "{}", said.expect_err("it isn't"));
}

/// The kubeconfig with something changed.
fn kubeconfig(change: impl Fn(&mut Value)) -> tempfile::NamedTempFile {
    let text = std::fs::read_to_string(kubernetes().kubeconfig()).expect("it is text");
    let mut config: Value = dunlin::yaml::from_str(&text).expect("it is YAML");
    change(&mut config);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(config.to_string().as_bytes()).expect("JSON is YAML");
    file
}

/// How much more the samples of a family are in all, if they have such a label.
fn grown(first: &Samples, last: &Samples, family: &str, label: &str) -> f64 {
    let sum = |samples: &Samples| {
        let of_family = |sample: &&String| sample.split('{').next() == Some(family) && sample.contains(label);
        samples.iter().filter(|(sample, _)| of_family(sample)).map(|(_, value)| value).sum::<f64>()
    };
    sum(last) - sum(first)
}

/// Applies a set with a Secret and a ConfigMap of its own.
async fn apply(shop: &Shop, name: &str, url: &str, files: &[(&str, &str)], mut spec: Value) {
    shop.secret(name, &[("uri", url)]).await;
    shop.files(name, files).await;
    spec["database"] = json!({"secretRef": {"name": name}});
    spec["source"] = json!({"configMaps": [{"name": name}]});
    shop.apply_as(name, spec).await;
}

/// Breaks each set in its own way, once those are applied that are to break later; answers with the reason that each has.
async fn broken_sets(shop: &Shop, way: &Proxy) -> Vec<(&'static str, &'static str)> {
    const EDITED: (&str, &str) = ("001_users.sql", "CREATE TABLE users (id bigint PRIMARY KEY, name text);");
    let nothing = || json!({});
    let applied = [
        ("fine", nothing()),
        ("edited", nothing()),
        ("reported", json!({"policy": {"onChecksumDrift": "Report"}})),
        ("ahead", json!({"policy": {"onMissing": "Ignore"}})),
    ];
    for (name, spec) in applied {
        let more = ("002_orders.sql", "CREATE TABLE orders (id bigint);");
        apply(shop, name, &fresh_database().await, &[USERS, more], spec).await;
    }
    let behind = way.url(&fresh_database().await);
    apply(shop, "gone", &behind, &[USERS], json!({"interval": "1s"})).await;
    for name in ["fine", "edited", "reported", "ahead", "gone"] {
        shop.until_of(name, "UpToDate").await;
    }
    way.close();
    shop.files("edited", &[EDITED, ("002_orders.sql", "CREATE TABLE orders (id bigint);")]).await;
    shop.files("reported", &[EDITED, ("002_orders.sql", "CREATE TABLE orders (id bigint);")]).await;
    shop.files("ahead", &[USERS]).await;
    apply(shop, "failed", &fresh_database().await, &[("001_broken.sql", "SELECT 1 / 0;")], nothing()).await;
    let always = json!({"approval": {"required": "Always"}});
    apply(shop, "unapproved", &fresh_database().await, &[USERS], always).await;
    apply(shop, "suspended", &fresh_database().await, &[USERS], json!({"suspend": true})).await;
    apply(shop, "sourceless", &fresh_database().await, &[USERS], nothing()).await;
    shop.apply_as("sourceless", json!({"source": {"configMaps": [{"name": "nobodys"}]}})).await;
    vec![
        ("fine", "UpToDate"),
        ("edited", "ChecksumDrift"),
        ("reported", "UpToDate"),
        ("ahead", "DatabaseAhead"),
        ("gone", "WaitingForDatabase"),
        ("failed", "MigrationFailed"),
        ("unapproved", "ApprovalRequired"),
        ("suspended", "Suspended"),
        ("sourceless", "WaitingForSource"),
    ]
}

/// A set for each way to be broken, and some that aren't: who is woken, by what, and when.
#[tokio::test(flavor = "multi_thread")]
async fn broken_sets_ring_for_what_is_wrong_with_them_and_for_nothing_else() {
    let shop = Shop::closed().await;
    let way = Proxy::to(postgres().about().port).await;
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &SCRAPES);
    let address = operator.address("--metrics-addr").await;
    let reasons = broken_sets(&shop, &way).await;
    let behind_a_gate = fresh_database().await;
    let gate = gate(&behind_a_gate).await;
    let patient = json!({"policy": {"lockTimeout": "0s"}});
    apply(&shop, "slow", &behind_a_gate, &[USERS, GATED], patient).await;

    let of_set = |name: &str, family: &str, more: &str| {
        format!("{family}{{namespace=\"{}\",name=\"{name}\"{more}}}", shop.namespace)
    };
    let is = |samples: &Samples, sample: &str| samples.get(sample).is_some_and(|value| *value > 0.0);
    let scrapes = Scrapes::until(&address, "each is broken as it should be, and one runs for seconds", |_, last| {
        let said = reasons
            .iter()
            .all(|(name, reason)| is(last, &of_set(name, "dunlin_reason", &format!(",reason=\"{reason}\""))));
        let drifted = is(last, &of_set("reported", "dunlin_drift", ",kind=\"checksum\""));
        let running = last[&format!("{}{{name=\"migrationset\"}}", SO_FAR[0])];
        said && drifted && running > 2.0
    })
    .await;

    let at_once = [
        "DunlinSetStalled name=edited reason=ChecksumDrift",
        "DunlinSetStalled name=failed reason=MigrationFailed",
        "DunlinDatabaseUnreachable name=gone",
        "DunlinSetDrifted name=reported kind=checksum",
    ];
    let with = |more: &[&'static str]| [&at_once[..], more].concat();
    let [soon, later] =
        [with(&["DunlinSetNotReady name=sourceless"]), with(&["DunlinSetNotReady name=sourceless", "DunlinRunsLong"])];
    scrapes.ring(&[(3, &[]), (20, &at_once), (45, &soon), (120, &later)], 1);
    // Nobody looks at them any more, since these are always the same scrapes.
    let stale = ["DunlinSetStale name=fine", "DunlinSetStale name=reported", "DunlinSetStale name=ahead"];
    let next_day = [&later[..], &["DunlinApprovalPending name=unapproved"]].concat();
    let after_that = [&next_day[..], &stale].concat();
    let next_week = [&after_that[..], &["DunlinSetSuspended name=suspended"]].concat();
    scrapes.ring(&[(26 * 60, &next_day), (28 * 60, &after_that), (8 * 24 * 60, &next_week)], 5);

    drop(gate);
    way.open();
    operator.end().await;
    shop.close().await;
}

/// An account that may read and not write: nobody but the operator's keeper can help.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_refuses_the_status_rings() {
    let shop = Shop::closed().await;
    let account = format!("reader-of-{}", shop.namespace);
    let allowed = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": shop.namespace},
         "rules": [
            {"apiGroups": ["dunlin.dev"], "resources": ["migrationsets"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
         ]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader", "namespace": shop.namespace},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
         "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": account}]},
    ]});
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(allowed.to_string().as_bytes()).expect("it is written");
    let applied = kubernetes().kubectl(&["apply", "-f", &file.path().to_string_lossy()]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let config = kubeconfig(|config| config["users"][0]["user"]["as"] = json!(account));
    let operator = OperatorProcess::start_at(config.path(), &shop.namespace, &SCRAPES);
    let address = operator.address("--metrics-addr").await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    let scrapes = Scrapes::until(&address, "its writes are refused again and again", |first, last| {
        grown(first, last, "rest_client_requests_total", "code=\"403\"") >= 2.0
            && grown(first, last, "controller_runtime_reconcile_errors_total", "") >= 2.0
    })
    .await;
    let refused = ["DunlinStatusNotWritten", "DunlinApiServerRefuses code=403 method=PATCH"];
    scrapes.ring(&[(10, &[]), (60, &refused)], 1);
    operator.end().await;
    shop.close().await;
}

/// No answer at all, as behind a closed port.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_does_not_answer_rings() {
    let shop = Shop::closed().await;
    let port = shop.config.cluster_url.port_u16().expect("the API server has a port");
    let way = Proxy::to(port).await;
    let server = format!("https://127.0.0.1:{}", way.port());
    let config = kubeconfig(|config| config["clusters"][0]["cluster"]["server"] = json!(server));
    let operator = OperatorProcess::start_at(config.path(), &shop.namespace, &SCRAPES);
    let address = operator.address("--metrics-addr").await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    way.close();
    let scrapes = Scrapes::until(&address, "it asks in vain", |first, last| {
        grown(first, last, "rest_client_requests_total", "code=\"<error>\"") >= 2.0
    })
    .await;
    scrapes.ring(&[(10, &[]), (30, &["DunlinApiServerErrors"])], 1);
    way.open();
    operator.end().await;
    shop.close().await;
}

/// A lease that somebody holds who does nothing; then an operator that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_does_not_lead_or_is_gone_rings() {
    let shop = Shop::closed().await;
    let leases: Api<Lease> = Api::namespaced(shop.client.clone(), &shop.namespace);
    // By its own clock an operator judges for how long it has seen a lease unchanged; these may be of any time.
    let once = "2026-01-01T00:00:00.000000Z";
    let held = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "till"}, "spec": {
        "holderIdentity": "nobody", "leaseDurationSeconds": 3600, "acquireTime": once, "renewTime": once, "leaseTransitions": 0,
    }});
    leases.patch("till", &PatchParams::apply("test").force(), &Patch::Apply(&held)).await.expect("it is held");
    let flags =
        [&SCRAPES[..], &["--leader-elect", "--lease-name", "till", "--lease-namespace", &shop.namespace]].concat();
    let operator = OperatorProcess::start_with(kubernetes(), &shop.namespace, &flags);
    let address = operator.address("--metrics-addr").await;
    let scrapes = Scrapes::until(&address, "it stands by", |_, last| {
        last.get("leader_election_master_status{name=\"till\"}") == Some(&0.0)
    })
    .await;
    scrapes.ring(&[(3, &[]), (60, &["DunlinNoLeader name=till"])], 1);
    let at = scrapes.at;
    operator.end().await;
    assert!(read(&address, "/metrics").await.is_err(), "nobody answers");
    let down = json!({"series": "up{namespace=\"dunlin-system\",job=\"dunlin-metrics\",container=\"dunlin\"}", "values": "0x60"});
    assert_ringing(&[down], &[(3, ringing(&[])), (60, ringing(&["DunlinDown"]))], 1, at);
    shop.close().await;
}
