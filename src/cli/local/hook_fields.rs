//! `hooks` of `dunlin.yaml`: commands to run around a plan, those of an environment in the place of those of all.
//!
//! Nothing in them is replaced when the file is read: `${VARIABLE}` in a command is the shell's.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::error::LocalError;
use crate::{
    api::v1alpha1::parse_duration,
    core::hook::{Act, Hook, Hooks, LONGEST_TIMEOUT, MOST, Place, TIMEOUT},
};

/// The field beside the places.
const LIMIT: &str = "timeout";

/// Fields as the file has them.
pub(super) type HookFields = BTreeMap<String, Value>;

/// Takes the hooks out of a file's fields, before anything in these is replaced.
pub(super) fn take(fields: &mut Value) -> Option<Value> {
    fields.as_object_mut().and_then(|fields| fields.remove("hooks"))
}

/// The hooks that count, where each was said by its name in `places`: of all, or of one environment, which has its place.
pub(super) fn read(
    of_all: Option<&HookFields>,
    own: Option<&HookFields>,
    own_place: &str,
    shown: &str,
    places: &mut BTreeMap<String, String>,
) -> Result<Hooks, LocalError> {
    let mut timeout = TIMEOUT;
    let mut commands: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    for (fields, prefix) in [(of_all, String::new()), (own, format!("{own_place}."))] {
        for (name, value) in fields.into_iter().flatten() {
            let place = format!("{shown}: {prefix}hooks.{name}");
            if name == LIMIT {
                timeout = limit(value).map_err(|problem| LocalError::setting(&place, problem))?;
            } else {
                let which = Place::ALL.into_iter().find(|place| place.field() == name);
                let which = which.ok_or_else(|| LocalError::setting(&place, unknown()))?;
                commands.insert(which, list(value).map_err(|problem| LocalError::setting(&place, problem))?);
            }
            places.insert(format!("hooks.{name}"), place);
        }
    }
    let mut hooks = Hooks::default();
    for (place, commands) in commands {
        *hooks.at_mut(place) =
            commands.into_iter().map(|command| Hook { act: Act::Command(command), timeout }).collect();
    }
    Ok(hooks)
}

fn unknown() -> String {
    let known: Vec<&str> = Place::ALL.iter().map(|place| place.field()).collect();
    format!("is no hook: there are {}, and {LIMIT}", known.join(", "))
}

fn limit(value: &Value) -> Result<Duration, String> {
    let limit = value.as_str().ok_or("is no duration: write one such as 10m or 90s")?;
    let limit = parse_duration(limit)?;
    if limit < Duration::from_secs(1) || limit > LONGEST_TIMEOUT {
        return Err("is a duration from 1s to 24h".to_owned());
    }
    Ok(limit)
}

/// A command, or several, which run in their order; none switches off what stands for all environments.
fn list(value: &Value) -> Result<Vec<String>, String> {
    let command = |value: &Value| match value {
        Value::String(command) if !command.trim().is_empty() => Ok(command.clone()),
        _ => Err("is a command of the shell, or a list of them; an empty list is none".to_owned()),
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(commands) if commands.len() > MOST => {
            Err(format!("has more than {MOST} commands: join some of them"))
        }
        Value::Array(commands) => commands.iter().map(command).collect(),
        value => command(value).map(|command| vec![command]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> HookFields {
        serde_json::from_value(value.clone()).expect("fields")
    }

    fn commands(hooks: &Hooks, place: Place) -> Vec<String> {
        let text = |hook: &Hook| match &hook.act {
            Act::Command(command) => command.clone(),
            other => panic!("{other:?}"),
        };
        hooks.at(place).iter().map(text).collect()
    }

    /// M05, M26: an environment's own hook stands in the place of that of all, and an empty list switches it off.
    #[test]
    fn an_environments_hooks_replace_those_of_all() {
        let of_all =
            fields(&json!({"pre_apply": "a ${B}", "post_apply": ["b", "c"], "on_failure": "d", "timeout": "5s"}));
        let own = fields(&json!({"pre_apply": ["e", "f"], "on_failure": [], "timeout": "1m30s"}));
        let mut places = BTreeMap::new();
        let hooks = read(Some(&of_all), Some(&own), "envs.x", "dunlin.yaml", &mut places).expect("hooks");
        assert_eq!(commands(&hooks, Place::PreApply), ["e", "f"]);
        assert_eq!(commands(&hooks, Place::PostApply), ["b", "c"]);
        assert_eq!(commands(&hooks, Place::OnFailure), [""; 0]);
        assert!(hooks.pre_apply.iter().all(|hook| hook.timeout == Duration::from_secs(90)));
        assert_eq!(places["hooks.pre_apply"], "dunlin.yaml: envs.x.hooks.pre_apply");
        assert_eq!(places["hooks.post_apply"], "dunlin.yaml: hooks.post_apply");
        let hooks = read(Some(&of_all), None, "default", "dunlin.yaml", &mut places).expect("hooks");
        assert_eq!(commands(&hooks, Place::PreApply), ["a ${B}"], "what the shell replaces is left to it");
    }

    #[test]
    fn what_is_no_hook_is_refused_with_its_place() {
        for (value, says) in [
            (json!({"pre_aply": "a"}), "hooks.pre_aply: is no hook: there are pre_apply, post_apply"),
            (json!({"pre_apply": 1}), "hooks.pre_apply: is a command"),
            (json!({"pre_apply": ["a", ""]}), "hooks.pre_apply: is a command"),
            (json!({"pre_apply": {"sql": "SELECT 1"}}), "hooks.pre_apply: is a command"),
            (json!({"pre_apply": vec!["a"; 17]}), "has more than 16 commands"),
            (json!({"timeout": "soon"}), "hooks.timeout: \"soon\" is no duration"),
            (json!({"timeout": 10}), "hooks.timeout: is no duration"),
            (json!({"timeout": "0s"}), "from 1s to 24h"),
            (json!({"timeout": "25h"}), "from 1s to 24h"),
        ] {
            let read = read(Some(&fields(&value)), None, "default", "dunlin.yaml", &mut BTreeMap::new());
            let error = read.expect_err("it is refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
