//! `${VARIABLE}` in settings: in values that were parsed, never in text, so that no value can change what the file means.

use serde_json::Value;

use super::environment::Environment;

/// Replaces every `${VARIABLE}` in the strings of a value; `$${…}` is `${…}`.
///
/// # Errors
/// The first variable that isn't set, or isn't closed, with the field in which it stands.
pub(super) fn interpolate(value: &mut Value, field: &str, environment: &Environment) -> Result<(), (String, String)> {
    match value {
        Value::String(text) => {
            *text = replaced(text, environment).map_err(|problem| (field.to_owned(), problem))?;
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(at, item)| interpolate(item, &format!("{field}[{at}]"), environment)),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, item)| {
            let field = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
            interpolate(item, &field, environment)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Whether a text has a `${VARIABLE}` in it.
pub(super) fn refers(text: &str) -> bool {
    text.match_indices("${").any(|(at, _)| !text[..at].ends_with('$'))
}

fn replaced(text: &str, environment: &Environment) -> Result<String, String> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        let behind = &rest[at + 2..];
        if let Some(before) = before.strip_suffix('$') {
            done.push_str(before);
            done.push_str("${");
            rest = behind;
            continue;
        }
        done.push_str(before);
        let Some((name, behind)) = behind.split_once('}') else {
            return Err("a ${ isn't closed by }: write $${ for these two characters themselves".to_owned());
        };
        let Some(value) = environment.get(name) else {
            return Err(format!(
                "the variable {name} isn't set: set it, name a file that has it with --env-file, or write $${{{name}}} for these characters \
                 themselves"
            ));
        };
        done.push_str(value);
        rest = behind;
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::local::environment::tests::environment;

    /// M09, bug 23: values are replaced in what was parsed, whatever characters they have.
    #[test]
    fn a_value_is_taken_as_it_is() {
        let environment = environment(&[("PASSWORD", "p$a#: {x}\n- y ${HOST}"), ("HOST", "db")]);
        let mut value = json!({"database": {"password": "${PASSWORD}", "host": "a.${HOST}.b", "port": 5432}, "list": ["$${HOST}", "$$", "${HOST}${HOST}"]});
        interpolate(&mut value, "", &environment).expect("all of them are set");
        let expected = json!({"database": {"password": "p$a#: {x}\n- y ${HOST}", "host": "a.db.b", "port": 5432}, "list": ["${HOST}", "$$", "dbdb"]});
        assert_eq!(value, expected);
    }

    #[test]
    fn a_variable_that_is_not_set_is_named_with_its_field() {
        for (text, says) in [("x${GONE}", "the variable GONE isn't set"), ("${GONE", "isn't closed")] {
            let mut value = json!({"envs": {"prod": {"database": {"url": text}}}});
            let (field, problem) = interpolate(&mut value, "", &environment(&[])).expect_err(text);
            assert_eq!(field, "envs.prod.database.url");
            assert!(problem.contains(says), "{problem}");
        }
    }
}
