//! What a report leaves out, so that it can be pasted: SQL, values, and whatever else may be private. Pure.
//!
//! A MigrationSet holds no secret, it only names them. Messages quote a line of SQL with a caret under it, and the server's
//! words quote values; both go.

use serde_json::Value;

/// In the place of what is left out.
const LEFT_OUT: &str = "…";
const LINE_LEFT_OUT: &str = "(a line of SQL is left out)";
/// It holds the spec once more, as it was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations of these domains are about deployment; others may say anything.
const KNOWN_DOMAINS: [&str; 5] = ["dunlin.dev", "fluxcd.io", "helm.sh", "argoproj.io", "kubernetes.io"];

/// Takes out of a MigrationSet what doesn't belong into a report.
pub(super) fn object(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            for (_, value) in annotations.iter_mut().filter(|(key, _)| !is_known(key)) {
                *value = LEFT_OUT.into();
            }
        }
    }
    each(object, "/spec/hooks", texts);
    for variable in items(object, "/spec/variables") {
        each(variable, "/value", texts);
    }
    for blocker in items(object, "/status/running/blockedBy") {
        each(blocker, "/query", texts);
    }
    each(object, "/status/failure/message", retell);
    for condition in items(object, "/status/conditions") {
        each(condition, "/message", retell);
    }
}

/// A message without the lines of SQL and the values that it quotes.
pub(super) fn message(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_caret = |line: Option<&&str>| line.is_some_and(|line| line.trim_start() == "^");
    let kept = lines.iter().enumerate().filter_map(|(index, line)| {
        match (is_caret(Some(line)), is_caret(lines.get(index + 1))) {
            (true, _) => None,
            (false, true) => Some(LINE_LEFT_OUT.to_owned()),
            (false, false) => Some(without_values(line)),
        }
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// The first line of an event's note, which is cut so short that the caret may be missing; the conditions say the rest.
pub(super) fn note(text: &str) -> String {
    let mut lines = text.lines();
    let first = without_values(lines.next().unwrap_or_default());
    if lines.next().is_some() { format!("{first} {LEFT_OUT}") } else { first }
}

fn is_known(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    KNOWN_DOMAINS.iter().any(|known| domain == *known || domain.ends_with(&format!(".{known}")))
}

fn each(value: &mut Value, pointer: &str, change: fn(&mut Value)) {
    if let Some(found) = value.pointer_mut(pointer) {
        change(found);
    }
}

fn items<'a>(value: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Leaves out every text below, whatever its place.
fn texts(value: &mut Value) {
    match value {
        Value::String(text) => LEFT_OUT.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(texts),
        Value::Object(fields) => fields.values_mut().for_each(texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn retell(value: &mut Value) {
    if let Value::String(text) = value {
        *text = message(text);
    }
}

/// PostgreSQL quotes names in the middle of its sentences, and values and source text behind `: ` or `near `.
fn without_values(line: &str) -> String {
    let mut told = String::new();
    let mut rest = line;
    loop {
        let next = [": \"", "near \""].iter().filter_map(|opening| Some((rest.find(opening)?, opening.len()))).min();
        let Some((at, length)) = next else { return told + rest };
        let (before, quoted) = rest.split_at(at + length);
        told.push_str(before);
        told.push_str(LEFT_OUT);
        // A value may hold quotes of its own: all up to the last one goes, unless another sentence begins in between.
        let sentence = quoted.find(" (SQLSTATE").unwrap_or(quoted.len());
        match quoted[..sentence].rfind('"') {
            Some(end) => rest = &quoted[end..],
            None => return told + &quoted[sentence..],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_line_over_a_caret_goes_and_what_stands_around_it_stays() {
        let text = "002_a.sql:1:8: syntax error at or near \"SELEKT\" (SQLSTATE 42601)\n  SELEKT 'hunter2';\n  ^\nNothing of it was kept (run 7).";
        assert_eq!(
            message(text),
            "002_a.sql:1:8: syntax error at or near \"…\" (SQLSTATE 42601)\n(a line of SQL is left out)\nNothing of it was kept (run 7)."
        );
        assert_eq!(message("^"), "");
        assert_eq!(message(""), "");
    }

    #[test]
    fn values_go_and_names_stay() {
        for (text, expected) in [
            (
                "invalid input syntax for type integer: \"hunter2\" (SQLSTATE 22P02)",
                "invalid input syntax for type integer: \"…\" (SQLSTATE 22P02)",
            ),
            ("invalid input syntax: \"a\"b\" (SQLSTATE 22P02)", "invalid input syntax: \"…\" (SQLSTATE 22P02)"),
            (
                "relation \"users\" already exists (SQLSTATE 42P07)",
                "relation \"users\" already exists (SQLSTATE 42P07)",
            ),
            ("malformed: \"cut off", "malformed: \"…"),
        ] {
            assert_eq!(without_values(text), expected);
        }
    }

    #[test]
    fn of_a_note_one_line_is_kept() {
        assert_eq!(note("a.sql:1:1: no (SQLSTATE 42601)\n  SELECT 'hunt"), "a.sql:1:1: no (SQLSTATE 42601) …");
        assert_eq!(note("all is well"), "all is well");
    }

    #[test]
    fn what_may_be_private_is_left_out_wherever_it_stands() {
        let mut set = json!({
            "metadata": {
                "managedFields": ["hunter2"],
                "annotations": {
                    LAST_APPLIED: "hunter2", "dunlin.dev/resolve": "7=Retry", "meta.helm.sh/release-name": "shop",
                    "example.com/token": "hunter2", "notdunlin.dev/x": "hunter2", "plain": "hunter2",
                },
            },
            "spec": {
                "hooks": {"preApply": [{"sql": "hunter2"}, {"http": {"url": "https://hunter2"}}]},
                "variables": [{"name": "tenant", "value": "hunter2"}, {"name": "b", "valueFrom": {"secretKeyRef": {"name": "x"}}}],
            },
            "status": {
                "running": {"blockedBy": [{"pid": 1, "query": "hunter2"}]},
                "failure": {"message": "no\nhunter2\n^"},
                "conditions": [{"type": "Ready", "message": "no\nhunter2\n  ^"}],
            },
        });
        object(&mut set);
        let text = set.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        for kept in ["7=Retry", "tenant", "release-name\":\"shop", "\"pid\":1", "secretKeyRef", "\"name\":\"x\""] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }

    #[test]
    fn an_object_without_a_status_is_left_as_it_is() {
        let mut set = json!({"metadata": {"name": "shop"}, "spec": {"target": "latest"}});
        let before = set.clone();
        object(&mut set);
        assert_eq!(set, before);
    }
}
