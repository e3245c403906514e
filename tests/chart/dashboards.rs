//! The dashboards of the chart: what they ask is what Prometheus reads, for metrics that there are, and nothing of them hides another.

use std::{collections::BTreeSet, io::Write as _};

use serde_json::{Value, json};

use crate::{
    alerts::{documented, unknown},
    helm::{Release, chart, everything, one},
    support::prometheus::promtool,
};

/// How many columns Grafana's grid has.
const COLUMNS: u64 = 24;

/// The dashboards as the chart renders them, each with the name of its file.
fn dashboards() -> Vec<(String, Value)> {
    let objects = Release::with(everything()).objects();
    let data = one(&objects, "ConfigMap")["data"].as_object().cloned().expect("data");
    let files = std::fs::read_dir(chart().join("dashboards")).expect("the folder is there");
    let files = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    assert_eq!(data.keys().cloned().collect::<BTreeSet<_>>(), files.collect(), "every file is rendered");
    let parsed = data.into_iter().map(|(name, text)| {
        let dashboard = serde_json::from_str(text.as_str().expect("a text")).expect("a dashboard is JSON");
        (name, dashboard)
    });
    parsed.collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The panels that show something.
fn shown(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row")
}

/// What Grafana would put in the place of variables.
fn filled_in(query: &str, dashboard: &Value) -> String {
    let variables = list(&dashboard["templating"]["list"]).iter().map(|variable| text(&variable["name"]));
    let query = query.replace("$__rate_interval", "5m");
    let query = variables.fold(query, |query, variable| query.replace(&format!("${variable}"), ".*"));
    assert!(!query.contains('$'), "a variable that isn't declared: {query}");
    query
}

#[test]
fn a_dashboard_has_names_that_no_other_has() {
    let dashboards = dashboards();
    for key in ["uid", "title"] {
        let names: BTreeSet<&str> = dashboards.iter().map(|(_, dashboard)| text(&dashboard[key])).collect();
        assert_eq!(names.len(), dashboards.len(), "{names:?}");
        assert!(names.iter().all(|name| name.to_lowercase().starts_with("dunlin")), "{names:?}");
    }
}

#[test]
fn panels_have_ids_of_their_own_and_none_lies_on_another() {
    for (name, dashboard) in dashboards() {
        let panels = list(&dashboard["panels"]);
        let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}");
        let mut taken = BTreeSet::new();
        for panel in panels {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
            assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{name}: {}", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {} lies on another", panel["title"]);
            }
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for (name, dashboard) in dashboards() {
        let mut titles = BTreeSet::new();
        for panel in shown(&dashboard) {
            let title = text(&panel["title"]);
            assert!(titles.insert(title.to_owned()), "{name}: two are called {title}");
            assert!(text(&panel["description"]).len() > 10, "{name}: {title} has no description");
            assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{name}: {title} has no unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {title}");
            let refs: BTreeSet<&str> = list(&panel["targets"]).iter().map(|target| text(&target["refId"])).collect();
            assert!(!refs.is_empty() && refs.len() == list(&panel["targets"]).len(), "{name}: {title}: {refs:?}");
            for target in list(&panel["targets"]) {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{name}: {title}");
                let has_legend = !text(&target["legendFormat"]).is_empty();
                assert!(has_legend || panel["type"] == "table", "{name}: {title} has no legend");
            }
        }
        assert!(titles.len() > 10, "{name} shows little");
    }
}

/// promtool reads every query, as the rule that it could be.
#[test]
fn every_query_is_promql_and_asks_for_metrics_that_there_are() {
    let mut rules: Vec<Value> = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in shown(&dashboard) {
            for target in list(&panel["targets"]) {
                let query = filled_in(text(&target["expr"]), &dashboard);
                let unknown = unknown(&query);
                assert!(unknown.is_empty(), "{name}: {}: {unknown:?} isn't in docs/metrics.md", panel["title"]);
                rules.push(json!({"record": format!("query_{}", rules.len()), "expr": query}));
            }
        }
    }
    assert!(rules.len() > 30, "{}", rules.len());
    let rules = json!({"groups": [{"name": "queries", "rules": rules}]}).to_string();
    let mut file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    file.write_all(rules.as_bytes()).expect("JSON is YAML");
    let said = promtool(&["check", "rules", &file.path().to_string_lossy()]);
    assert!(said.is_ok(), "{}", said.expect_err("it isn't"));
}

#[test]
fn every_variable_is_filled_from_a_metric_that_there_is() {
    let (documented, mut filled) = (documented(), 0);
    for (name, dashboard) in dashboards() {
        for variable in list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
            let query = text(&variable["query"]);
            let metric = query.strip_prefix("label_values(").and_then(|rest| rest.split(['{', ',']).next());
            let metric = metric.unwrap_or_else(|| panic!("{name}: {query}"));
            assert!(documented.contains(metric) || metric == "up", "{name}: {query}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}: {query}");
            filled += 1;
        }
    }
    assert!(filled > 2, "{filled}");
}

/// What is measured and shown nowhere is looked for in vain when it matters.
#[test]
fn every_metric_is_on_a_dashboard() {
    let texts: Vec<String> = dashboards().into_iter().map(|(_, dashboard)| dashboard.to_string()).collect();
    let missing: Vec<String> =
        documented().into_iter().filter(|metric| !texts.iter().any(|text| text.contains(metric))).collect();
    // The resident memory is what counts, and what the queue's work takes is what its reconciles take.
    assert_eq!(missing, ["process_virtual_memory_bytes", "workqueue_work_duration_seconds"]);
}
