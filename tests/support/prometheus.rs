//! Prometheus' own tool, as `make tools` builds it; and what queries ask for.

use std::{collections::BTreeSet, path::Path, process::Command};

/// Runs `promtool` in the folder of the crate; what it prints, or what it says when it fails.
pub fn promtool(arguments: &[&str]) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/tools/bin/promtool");
    assert!(program.is_file(), "{} isn't there: build it with `make tools`", program.display());
    let output = Command::new(program).args(arguments).current_dir(root).output().expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// The names of the series that a query selects, in so far as they are names: the words that are no function, operator,
/// label, duration or text.
pub fn metrics_of(query: &str) -> BTreeSet<String> {
    const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
    // What they take may stand behind labels.
    const AGGREGATIONS: [&str; 4] = ["sum", "min", "max", "count"];
    // What stands behind these in parentheses are labels.
    const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    let is_of_name = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
    let (mut found, mut rest) = (BTreeSet::new(), query);
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '{' => {
                let mut inside_a_text = false;
                let end = rest.find(|it: char| {
                    inside_a_text ^= it == '"';
                    it == '}' && !inside_a_text
                });
                end.map(|end| end + 1)
            }
            '[' => rest.find(']').map(|end| end + 1),
            '"' => rest[1..].find('"').map(|end| end + 2),
            _ if is_of_name(first) => {
                let end = rest.find(|it| !is_of_name(it)).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                let opens = behind.trim_start().starts_with('(');
                if BEFORE_LABELS.contains(&word) {
                    behind.find(')').map(|close| end + close + 1)
                } else {
                    let is_none = OPERATORS.contains(&word) || AGGREGATIONS.contains(&word);
                    if !opens && !first.is_ascii_digit() && !is_none {
                        found.insert(word.to_owned());
                    }
                    Some(end)
                }
            }
            _ => Some(first.len_utf8()),
        };
        rest = &rest[skipped.unwrap_or_else(|| panic!("no query: {query}"))..];
    }
    found
}
