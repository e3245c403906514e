//! The alerts of the chart: each rings when it should and doesn't when it shouldn't, by promtool's own word (`tests/alerts/`), and
//! has a page for whoever it wakes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    helm::{Helm, Release, chart, everything, one, root},
    support::prometheus::{metrics_of, promtool},
};

/// The sections of a page, in their order.
const SECTIONS: [&str; 3] = ["What it means for you", "What to look at", "What to do"];

/// What Prometheus itself says of a target.
const OF_PROMETHEUS: [&str; 1] = ["up"];

/// The files of a folder by their names without an extension, as text.
fn texts(folder: &std::path::Path, extension: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("a file").path());
    let files = entries.filter(|path| path.extension().is_some_and(|found| found == extension));
    let named = files.map(|path| {
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("it is text"))
    });
    named.collect()
}

/// The one rule of each file.
fn rules() -> BTreeMap<String, Value> {
    let files = texts(&chart().join("alerts"), "yaml");
    let rules = files.into_iter().map(|(name, text)| {
        let file: Value = dunlin::yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let rule = file["groups"][0]["rules"][0].clone();
        assert_eq!(rule["alert"], json!(name), "a file is called as its alert");
        assert!(file["groups"][1].is_null() && file["groups"][0]["rules"][1].is_null(), "{name}: one file an alert");
        (name, rule)
    });
    rules.collect()
}

/// The families of docs/metrics.md.
pub fn documented() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).expect("the page is there");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name.to_owned()).collect()
}

/// The metrics of a query that are neither documented nor Prometheus' own.
pub fn unknown(query: &str) -> Vec<String> {
    let documented = documented();
    let is_known = |metric: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
        documented.contains(metric)
            || of_histogram.is_some_and(|family| documented.contains(family))
            || OF_PROMETHEUS.contains(&metric)
    };
    let metrics = metrics_of(query);
    assert!(!metrics.is_empty(), "it asks for nothing: {query}");
    metrics.into_iter().filter(|metric| !is_known(metric)).collect()
}

#[test]
fn every_alert_rings_when_it_should_and_not_when_it_should_not() {
    let tests = texts(&root().join("tests/alerts"), "yaml");
    assert_eq!(tests.keys().collect::<Vec<_>>(), rules().keys().collect::<Vec<_>>(), "one file of tests an alert");
    for (name, text) in tests {
        let file: Value = dunlin::yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(file["rule_files"], json!([format!("../../charts/dunlin/alerts/{name}.yaml")]));
        let cases = file["tests"].as_array().expect("it has tests");
        let checks = |case: &Value| case["alert_rule_test"].as_array().cloned().expect("it checks something");
        let rings = |case: &&Value| checks(case).iter().any(|check| !check["exp_alerts"].is_null());
        assert!(cases.iter().any(|case| rings(&case)), "{name} never rings");
        assert!(cases.iter().any(|case| !rings(&case)), "{name} always rings");
        assert!(cases.iter().flat_map(checks).all(|check| check["alertname"] == name.as_str()), "{name}");
        let said = promtool(&["test", "rules", &format!("tests/alerts/{name}.yaml")]);
        assert!(said.is_ok(), "{}", said.expect_err("it isn't"));
    }
}

#[test]
fn every_alert_has_what_a_pager_needs_and_asks_for_metrics_that_there_are() {
    for (name, rule) in rules() {
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity:?}");
        let annotations = &rule["annotations"];
        for annotation in ["summary", "description"] {
            let text = annotations[annotation].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{name}: {annotation}");
        }
        let page = format!("https://github.com/dunlin-dev/dunlin/blob/main/docs/alerts/{name}.md");
        assert_eq!(annotations["runbook_url"], json!(page));
        let unknown = unknown(rule["expr"].as_str().expect("a query"));
        assert!(unknown.is_empty(), "{name} asks for {unknown:?}, which docs/metrics.md doesn't have");
    }
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let mut pages = texts(&root().join("docs/alerts"), "md");
    let index = pages.remove("README").expect("there is an index");
    let rules = rules();
    assert_eq!(pages.keys().collect::<Vec<_>>(), rules.keys().collect::<Vec<_>>());
    for (name, page) in &pages {
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(sections, SECTIONS, "{name}");
        let looked_at = page.split("## What to look at").nth(1).expect("it has this section");
        assert!(looked_at.contains("```sh\n"), "{name} has no command to paste");
    }
    let rows = index.lines().filter(|line| line.starts_with("| [`")).map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        (cells[0].to_owned(), (cells[1].to_owned(), cells[2].to_owned()))
    });
    let expected = rules.iter().map(|(name, rule)| {
        let after = rule["for"].as_str().unwrap_or("at once").to_owned();
        let severity = rule["labels"]["severity"].as_str().expect("it has one").to_owned();
        (format!("[`{name}`]({name}.md)"), (severity, after))
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), expected.collect::<BTreeMap<_, _>>());
}

/// The rules that a release has, by name.
fn rendered(values: Value) -> BTreeMap<String, Value> {
    let objects = Release::with(values).objects();
    let groups = one(&objects, "PrometheusRule")["spec"]["groups"].as_array().cloned().unwrap_or_default();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
    rules.map(|rule| (rule["alert"].as_str().expect("a name").to_owned(), rule.clone())).collect()
}

fn with(prometheus_rule: &Value) -> Value {
    let mut values = everything();
    for (key, value) in prometheus_rule.as_object().expect("an object") {
        values["metrics"]["prometheusRule"][key] = value.clone();
    }
    values
}

#[test]
fn what_the_chart_renders_is_what_promtool_takes() {
    for values in [everything(), with(&json!({"overrides": {"DunlinRestarting": {"for": "1h30m"}}}))] {
        let objects = Release::with(values).objects();
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
        let spec = one(&objects, "PrometheusRule")["spec"].to_string();
        std::io::Write::write_all(&mut file, spec.as_bytes()).expect("JSON is YAML");
        let said = promtool(&["check", "rules", "--lint=all", "--lint-fatal", &file.path().to_string_lossy()]);
        assert!(said.is_ok(), "{}", said.expect_err("it isn't"));
    }
    assert_eq!(rendered(everything()), rules(), "as in the files, and all of them");
}

#[test]
fn an_alert_can_be_left_out_and_have_another_severity_time_and_label() {
    let left_out = rendered(with(&json!({"excludeAlerts": ["DunlinSetSuspended", "DunlinDown"]})));
    assert_eq!(left_out.len(), rules().len() - 2);
    assert!(!left_out.contains_key("DunlinDown") && !left_out.contains_key("DunlinSetSuspended"));
    let none: Vec<String> = rules().into_keys().collect();
    assert!(rendered(with(&json!({"excludeAlerts": none}))).is_empty());

    let changed = rendered(with(&json!({
        "overrides": {"DunlinSetStalled": {"severity": "critical"}, "DunlinRestarting": {"for": "10m"}},
        "additionalRuleLabels": {"team": "databases"},
    })));
    let mut expected = rules();
    for rule in expected.values_mut() {
        rule["labels"]["team"] = json!("databases");
    }
    *expected.get_mut("DunlinSetStalled").and_then(|it| it.pointer_mut("/labels/severity")).expect("it has one") =
        json!("critical");
    expected.get_mut("DunlinRestarting").expect("it is there")["for"] = json!("10m");
    assert_eq!(changed, expected);
}

#[test]
fn a_name_that_no_alert_has_is_refused() {
    let names: BTreeSet<String> = rules().into_keys().collect();
    let schema: Value = serde_json::from_str(&crate::helm::file("values.schema.json")).expect("it is JSON");
    let of_rules = &schema["properties"]["metrics"]["properties"]["prometheusRule"]["properties"];
    for place in ["/excludeAlerts/items/enum", "/overrides/propertyNames/enum"] {
        let listed = of_rules.pointer(place).and_then(Value::as_array).expect("a list of names");
        assert_eq!(listed.iter().filter_map(Value::as_str).map(str::to_owned).collect::<BTreeSet<_>>(), names);
    }
    for (values, word) in [
        (json!({"excludeAlerts": ["DunlinDwon"]}), "excludeAlerts"),
        (json!({"overrides": {"DunlinDwon": {"for": "1m"}}}), "DunlinDwon"),
        (json!({"overrides": {"DunlinDown": {"after": "1m"}}}), "after"),
        (json!({"overrides": {"DunlinDown": {"for": "a minute"}}}), "for"),
        (json!({"additionalRuleLabels": {"severity": "info"}}), "severity"),
    ] {
        for helm in Helm::BOTH {
            let said = helm.render(&Release::with(with(&values))).expect_err(&values.to_string());
            assert!(said.contains(word), "{helm:?} with {values}: {said}");
        }
    }
}

/// Without it Prometheus puts the operator's namespace in the place of each set's, and the alerts would lie.
#[test]
fn the_scrape_keeps_the_namespace_that_a_series_has() {
    let objects = Release::with(everything()).objects();
    assert_eq!(one(&objects, "ServiceMonitor")["spec"]["endpoints"][0]["honorLabels"], json!(true));
    let container = &one(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["name"];
    for (name, rule) in rules() {
        let query = rule["expr"].as_str().expect("a query");
        let of_others = metrics_of(query).into_iter().filter(|metric| !metric.starts_with("dunlin_"));
        for metric in of_others {
            let selected = format!("{metric}{{container={container}");
            assert_eq!(query.matches(&metric).count(), query.matches(&selected).count(), "{name}: {metric} of others");
        }
    }
}
