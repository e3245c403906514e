//! Which lines of the operator's log are about a MigrationSet. Pure.

use std::fmt;

use serde_json::Value;

/// Of which MigrationSets: one, or all of a namespace.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub namespace: String,
    pub name: Option<String>,
}

impl About {
    /// Whether a line is about it: what a run says is about the set that the run's span names, everything else about
    /// that of the line itself.
    pub fn is_said_in(&self, line: &str) -> bool {
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(fields)) => {
                let of_span = fields.get("span").and_then(|span| span.get("set"));
                of_span.or_else(|| fields.get("set")).and_then(Value::as_str).is_some_and(|set| self.is(set))
            }
            // --log-format text.
            _ => text_fields(line, "set=").any(|set| self.is(set)),
        }
    }

    fn is(&self, set: &str) -> bool {
        set.split_once('/').is_some_and(|(namespace, name)| {
            namespace == self.namespace && self.name.as_deref().is_none_or(|meant| name == meant)
        })
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "MigrationSet {}/{name}", self.namespace),
            None => write!(f, "a MigrationSet of namespace {}", self.namespace),
        }
    }
}

/// The values of a field in a line for people.
fn text_fields<'a>(line: &'a str, field: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(field).filter_map(move |(at, _)| {
        let before = line[..at].chars().next_back();
        let is_field = before.is_none_or(|before| !before.is_alphanumeric() && before != '_');
        let value = &line[at + field.len()..];
        is_field.then(|| value.split([' ', '}', ',']).next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as `dunlin operator` has written them.
    const LINES: [&str; 7] = [
        r#"{"timestamp":"2026-11-21T22:00:00.000001Z","level":"INFO","message":"looked","set":"shop/shop","reason":"UpToDate","target":"dunlin::controller::line"}"#,
        r#"{"timestamp":"2026-11-21T22:00:00.000002Z","level":"INFO","message":"applied","version":"001","name":"users","history":"shop","target":"dunlin::execute::step","span":{"set":"shop/shop","name":"run"}}"#,
        r#"{"timestamp":"2026-11-21T22:00:00.000003Z","level":"INFO","message":"looked","set":"shop/other","reason":"UpToDate","target":"dunlin::controller::line"}"#,
        r#"{"timestamp":"2026-11-21T22:00:00.000004Z","level":"INFO","message":"looked","set":"elsewhere/shop","reason":"UpToDate","target":"dunlin::controller::line"}"#,
        r#"{"timestamp":"2026-11-21T22:00:00.000005Z","level":"INFO","message":"watching","namespaces":"[\"shop\"]","target":"dunlin::controller"}"#,
        "2026-11-21T22:00:00.000006Z  INFO run{set=shop/shop}: dunlin::execute::step: applied version=001 name=\"users\" history=\"shop\"",
        "2026-11-21T22:00:00.000007Z  INFO dunlin::controller::line: looked set=shop/other reason=UpToDate said=\"\"",
    ];

    fn of(name: Option<&str>) -> Vec<usize> {
        let about = About { namespace: "shop".to_owned(), name: name.map(str::to_owned) };
        (0..LINES.len()).filter(|index| about.is_said_in(LINES[*index])).collect()
    }

    #[test]
    fn a_line_is_about_the_set_that_it_or_its_run_names() {
        assert_eq!(of(Some("shop")), [0, 1, 5]);
        assert_eq!(of(Some("other")), [2, 6]);
        assert_eq!(of(None), [0, 1, 2, 5, 6]);
        assert_eq!(of(Some("sho")), [0; 0], "a part of a name is none");
    }
}
