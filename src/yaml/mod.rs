//! The one door to YAML: reading and writing, with errors that name the line.
//!
//! Nothing else in the crate knows which library does it.

mod nodes;

pub use nodes::nodes;

use serde::{Serialize, de::DeserializeOwned};

/// Why YAML couldn't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The text isn't YAML, or not the YAML that was asked for.
    #[error("{}{message}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    Read {
        /// The line at which reading stopped, from 1, where it is known.
        line: Option<u64>,
        /// What is wrong there; it may quote the line.
        message: String,
    },
    /// The value can't be written as YAML.
    #[error("can't be written as YAML: {0}")]
    Write(String),
}

/// Writes a value as one YAML document, with a line feed at its end. Text that a YAML 1.1 reader would take for
/// something else (`yes`, `0o17`) is quoted.
///
/// # Errors
/// [`YamlError::Write`] for values that YAML can't hold.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let mut text =
        serde_saphyr::to_string_with_options(value, options).map_err(|error| YamlError::Write(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Reads one YAML document. Only `true` and `false` are booleans, so that a key named `y` stays a key.
///
/// # Errors
/// [`YamlError::Read`] with the line at which reading stopped.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| YamlError::Read {
        line: error.location().map(|location| location.line()),
        message: error.without_snippet().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let value = serde_json::json!({
            "yes": "no", "number": "0123", "long": "a word and ".repeat(40), "quote": "it's \"so\"",
            "pattern": r"^[^\x00]+$", "lines": "one\ntwo\n", "list": [1, 2.5, true, null, "~"], "empty": {}, "none": [],
        });
        let text = to_string(&value).expect("JSON can be written");
        assert_eq!(from_str::<serde_json::Value>(&text).expect("it can be read"), value, "{text}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn words_that_yaml_1_1_takes_for_something_else_are_quoted() {
        let text = to_string(&BTreeMap::from([("answer", "yes")])).expect("a map can be written");
        assert!(text == "answer: \"yes\"\n" || text == "answer: 'yes'\n", "{text}");
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        let read: serde_json::Value = from_str("[y, yes, on, true]").expect("it is a list");
        assert_eq!(read, serde_json::json!(["y", "yes", "on", true]));
    }

    #[test]
    fn an_error_names_its_line() {
        let error = from_str::<serde_json::Value>("one: 1\ntwo: [1\nthree: 3\n").expect_err("a bracket is open");
        assert!(matches!(error, YamlError::Read { line: Some(2..=4), .. }), "{error:?}");
        let error = from_str::<BTreeMap<String, u8>>("one: 1\ntwo: many\n").expect_err("many is no number");
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }
}
