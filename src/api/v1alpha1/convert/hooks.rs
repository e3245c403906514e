//! `spec.hooks`: what to run around a plan.

use std::time::Duration;

use super::{super::parse_duration, problems::Problems};
use crate::{
    api::v1alpha1::{self as api, HttpHook, LocalReference},
    core::{
        endpoint::Endpoint,
        hook::{Act, Hook, Hooks, LONGEST_TIMEOUT, Place, TIMEOUT},
        migration::{Checksum, Section, TransactionMode},
        sql::{Boundaries, Script},
    },
};

pub(super) fn read_hooks(spec: &api::Hooks, problems: &mut Problems) -> Hooks {
    let api::Hooks { pre_apply, post_apply, pre_rollback, post_rollback, on_failure } = spec;
    let mut hooks = Hooks::default();
    for (place, given) in [
        (Place::PreApply, pre_apply),
        (Place::PostApply, post_apply),
        (Place::PreRollback, pre_rollback),
        (Place::PostRollback, post_rollback),
        (Place::OnFailure, on_failure),
    ] {
        let read = given.iter().enumerate().filter_map(|(index, hook)| {
            let path = format!("spec.hooks.{}[{index}]", place.word());
            read_hook(hook, &path, problems)
        });
        *hooks.at_mut(place) = read.collect();
    }
    hooks
}

fn read_hook(hook: &api::Hook, path: &str, problems: &mut Problems) -> Option<Hook> {
    let api::Hook { sql, job, http, timeout } = hook;
    let limit = timeout.as_deref().map_or(Ok(TIMEOUT), parse_duration);
    let limit = problems.take(&format!("{path}.timeout"), limit)?;
    if limit < Duration::from_secs(1) || limit > LONGEST_TIMEOUT {
        problems.add(format!("{path}.timeout"), "is not from 1s to 24h: write a duration in between");
        return None;
    }
    let act = match (sql, job, http) {
        (Some(sql), None, None) => Act::Sql(read_sql(sql, path, problems)?),
        (None, Some(LocalReference { name }), None) => Act::Job(name.clone()),
        (None, None, Some(HttpHook { url })) => {
            Act::Http(problems.take(&format!("{path}.http.url"), Endpoint::parse(url))?)
        }
        _ => {
            problems.add(path, "give exactly one of sql, job and http");
            return None;
        }
    };
    Some(Hook { act, timeout: limit })
}

fn read_sql(sql: &str, path: &str, problems: &mut Problems) -> Option<Section> {
    match Script::read(sql, TransactionMode::Transactional, Boundaries::CrossChecked) {
        Ok(script) => Some(Section { text: sql.to_owned(), first_line: 1, script, checksum: Checksum::of(sql) }),
        Err(found) => {
            for problem in found {
                problems.add(format!("{path}.sql"), format!("line {}: {}", problem.line + 1, problem.message));
            }
            None
        }
    }
}
