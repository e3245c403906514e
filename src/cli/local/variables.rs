//! `variables` of dunlin.yaml, and `--variable`: the values of `:'name'` and `:"name"`.
//!
//! What comes from the environment is taken for a secret: whoever can read the file can't read it there.

use std::collections::{BTreeMap, btree_map::Entry};

use rand::RngExt as _;
use serde_json::Value;

use super::{
    environment::Environment,
    error::LocalError,
    interpolate::{interpolate, refers},
};
use crate::core::{
    bundle::hexadecimal,
    variables::{Origin, Variable, Variables},
};

/// A variable, as it was said. `Debug` is left out: the value may be a secret.
#[derive(Clone)]
pub struct Given {
    /// Its value; None where it comes from an environment that wasn't asked.
    pub value: Option<String>,
    /// Whether the environment is in it.
    pub is_secret: bool,
    /// Where it was said.
    pub place: String,
}

/// The variables that are given, by name.
pub type AllGiven = BTreeMap<String, Given>;

/// The longest name, as in `spec.variables`.
const LONGEST_NAME: usize = 63;

/// The variables of all, or of one environment, as they are written.
#[derive(Default)]
pub(super) struct Written {
    values: serde_json::Map<String, Value>,
    /// The field that has them.
    field: String,
}

/// Takes the variables out of the fields of all (the place is empty), or of one environment.
///
/// # Errors
/// [`LocalError`] with the place of what can't be variables.
pub(super) fn take(fields: &mut Value, place: &str, shown: &str) -> Result<Written, LocalError> {
    let field = if place.is_empty() { "variables".to_owned() } else { format!("{place}.variables") };
    match fields.as_object_mut().and_then(|fields| fields.remove("variables")) {
        None | Some(Value::Null) => Ok(Written::default()),
        Some(Value::Object(values)) => Ok(Written { values, field }),
        Some(_) => {
            Err(LocalError::setting(format!("{shown}: {field}"), "has a variable's name before each value".to_owned()))
        }
    }
}

/// All variables: flags win over an environment's own, which win over those of all. Only those that count are interpolated;
/// without an environment to ask, what would come from it has no value.
///
/// # Errors
/// [`LocalError`] with the place of what is no variable.
pub(super) fn all(
    root: Written,
    own: Written,
    flags: &[String],
    environment: Option<&Environment>,
    shown: &str,
) -> Result<AllGiven, LocalError> {
    let mut given = self::flags(flags)?;
    for Written { values, field } in [own, root] {
        for (name, value) in values {
            let field = format!("{field}.{name}");
            if let Entry::Vacant(vacant) = given.entry(name) {
                let read = read(vacant.key(), value, &field, environment, shown)?;
                vacant.insert(read);
            }
        }
    }
    Ok(given)
}

fn read(
    name: &str,
    mut value: Value,
    field: &str,
    environment: Option<&Environment>,
    shown: &str,
) -> Result<Given, LocalError> {
    let wrong = |field: &str, problem: String| LocalError::setting(format!("{shown}: {field}"), problem);
    check_name(name).map_err(|problem| wrong(field, problem))?;
    let is_secret = value.as_str().is_some_and(refers);
    let place = format!("{shown}: {field}");
    if is_secret && environment.is_none() {
        return Ok(Given { value: None, is_secret, place });
    }
    // Where it isn't asked for anything, an empty one turns `$${` back.
    let nothing = Environment::default();
    let asked = environment.unwrap_or(&nothing);
    interpolate(&mut value, field, asked).map_err(|(field, problem)| wrong(&field, problem))?;
    let value = text(&value).ok_or_else(|| wrong(field, "is no text: write it in quotes".to_owned()))?;
    Ok(Given { value: Some(value), is_secret, place })
}

/// What `--variable NAME=VALUE` gives.
///
/// # Errors
/// What has no name, or no value.
fn flags(flags: &[String]) -> Result<AllGiven, LocalError> {
    let mut given = AllGiven::new();
    for flag in flags {
        let Some((name, value)) = flag.split_once('=') else {
            return Err(LocalError::setting("--variable", "has no =: write it as NAME=VALUE"));
        };
        check_name(name).map_err(|problem| LocalError::setting(format!("--variable {name}"), problem))?;
        let place = "--variable".to_owned();
        given.insert(name.to_owned(), Given { value: Some(value.to_owned()), is_secret: false, place });
    }
    Ok(given)
}

/// The values, for the engine.
///
/// # Errors
/// What PostgreSQL can't be sent.
pub(super) fn values(given: &AllGiven) -> Result<Variables, LocalError> {
    // Nothing of a secret may be in the history, also no hash of it. Whoever runs a command again by hand means it: a failed
    // migration that uses a secret is tried anew by each command.
    let version = hexadecimal(&rand::rng().random::<[u8; 16]>());
    let value = |(name, Given { value, is_secret, place }): (&String, &Given)| {
        let value = value.clone()?;
        let origin = if *is_secret { Origin::Secret { version: version.clone() } } else { Origin::Plain };
        let variable = Variable::new(value, origin).map_err(|why| LocalError::setting(place.clone(), why.to_string()));
        Some(variable.map(|variable| (name.clone(), variable)))
    };
    given.iter().filter_map(value).collect()
}

fn check_name(name: &str) -> Result<(), String> {
    let begins = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(begins)
        && name.bytes().all(|byte| begins(byte) || byte.is_ascii_digit())
        && name.len() <= LONGEST_NAME;
    if is_name {
        return Ok(());
    }
    Err(format!("is no name of a variable: letters, digits and _, no digit first, {LONGEST_NAME} characters at most"))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::local::environment::tests::environment;

    fn taken(fields: Value, environment: Option<&Environment>) -> Result<Vec<(String, Option<String>, bool)>, String> {
        let mut fields = fields;
        let given = take(&mut fields, "", "dunlin.yaml")
            .and_then(|written| all(written, Written::default(), &[], environment, "dunlin.yaml"))
            .map_err(|error| error.to_string())?;
        Ok(given.into_iter().map(|(name, given)| (name, given.value, given.is_secret)).collect())
    }

    /// M09: values are interpolated where they were parsed, and what the environment gives is a secret.
    #[test]
    fn what_comes_from_the_environment_is_a_secret() {
        let environment = environment(&[("PW", "a: ${b}'")]);
        let fields = json!({"variables": {"a": "x", "b": "${PW}", "c": "$${PW}", "d": 7}});
        let plain = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()), false);
        let expected = |b: Option<&str>| {
            vec![plain("a", "x"), ("b".to_owned(), b.map(str::to_owned), true), plain("c", "${PW}"), plain("d", "7")]
        };
        assert_eq!(taken(fields.clone(), Some(&environment)), Ok(expected(Some("a: ${b}'"))));
        assert_eq!(taken(fields, None), Ok(expected(None)), "files alone need no environment");
    }

    /// What doesn't count needs no environment.
    #[test]
    fn a_flag_wins_over_an_environment_which_wins_over_all() {
        let written = |values: Value| take(&mut json!({"variables": values}), "", "dunlin.yaml").expect("a map");
        let root = written(json!({"a": "${NOT_SET}", "b": "root", "c": "${NOT_SET}"}));
        let own = written(json!({"a": "own", "b": "own"}));
        let flags = ["b=flag".to_owned(), "c=flag".to_owned()];
        let given = all(root, own, &flags, Some(&environment(&[])), "dunlin.yaml").unwrap_or_default();
        let values: Vec<Option<&str>> = given.values().map(|given| given.value.as_deref()).collect();
        assert_eq!(values, [Some("own"), Some("flag"), Some("flag")]);
    }

    #[test]
    fn what_is_no_variable_is_refused_with_its_place() {
        let environment = environment(&[]);
        for (fields, place) in [
            (json!({"variables": ["a"]}), "dunlin.yaml: variables"),
            (json!({"variables": {"a-b": "x"}}), "dunlin.yaml: variables.a-b"),
            (json!({"variables": {"1a": "x"}}), "dunlin.yaml: variables.1a"),
            (json!({"variables": {"a": ["x"]}}), "dunlin.yaml: variables.a"),
            (json!({"variables": {"a": "${GONE}"}}), "dunlin.yaml: variables.a"),
        ] {
            let error = taken(fields, Some(&environment)).expect_err(place);
            assert!(error.contains(place), "{error}");
        }
        for flag in ["a", "=x", "a b=x"] {
            assert!(flags(&[flag.to_owned()]).is_err(), "{flag}");
        }
        let given = flags(&["a=b=c".to_owned()]).unwrap_or_default();
        assert_eq!(given.get("a").and_then(|given| given.value.as_deref()), Some("b=c"));
    }
}
