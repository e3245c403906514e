//! How a MigrationSet stands, read off its status. Pure: everything here may be absent, partial or forged.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::access::full_name;
use crate::api::v1alpha1::{MigrationSet, RESOLVE_ANNOTATION};
use crate::core::{conditions::ConditionType, outcome::Reason};

/// Why a run can be decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decidable {
    /// It failed or was cut off.
    Failure,
    /// It was applied, and its file edited since.
    Drift,
    /// The message of Ready offers a decision about it, as it does about an applied migration whose file is gone.
    Offered,
}

/// A condition of a MigrationSet.
pub(super) fn condition(set: &MigrationSet, kind: ConditionType) -> Option<&Condition> {
    let conditions = &set.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == kind.to_string())
}

/// The reason of Ready, as it stands there.
pub(super) fn reason(set: &MigrationSet) -> &str {
    condition(set, ConditionType::Ready).map_or("not known yet", |ready| ready.reason.as_str())
}

/// The reason of Ready in one line, with its message.
pub(super) fn in_words(set: &MigrationSet) -> String {
    match condition(set, ConditionType::Ready) {
        Some(ready) if !ready.message.is_empty() => format!("{}: {}", ready.reason, ready.message),
        Some(ready) => ready.reason.clone(),
        None => "nobody has looked at it yet: does the operator run, and does it watch this namespace?".to_owned(),
    }
}

/// The reason of that name.
pub(super) fn known(reason: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|known| known.to_string() == reason)
}

/// Whether the condition is True for the spec that the set has.
pub(super) fn holds(set: &MigrationSet, kind: ConditionType) -> bool {
    let generation = set.metadata.generation;
    let looked_at = set.status.as_ref().is_some_and(|status| status.observed_generation == generation);
    looked_at
        && condition(set, kind)
            .is_some_and(|condition| condition.status == "True" && condition.observed_generation == generation)
}

/// The runs that wait for a person's decision, each once.
pub(super) fn decidable(set: &MigrationSet) -> Vec<(i64, Decidable)> {
    let Some(status) = &set.status else { return Vec::new() };
    let failed = status.failure.iter().filter_map(|failure| Some((failure.run?, Decidable::Failure)));
    let drifted = status.drift.iter().flat_map(|drift| &drift.checksums);
    let drifted = drifted.filter_map(|drift| Some((drift.run?, Decidable::Drift)));
    let message = condition(set, ConditionType::Ready).map_or("", |ready| ready.message.as_str());
    let offered = offered(message).into_iter().map(|run| (run, Decidable::Offered));
    let mut runs: Vec<(i64, Decidable)> = Vec::new();
    for (run, why) in failed.chain(drifted).chain(offered) {
        if runs.iter().all(|(other, _)| *other != run) {
            runs.push((run, why));
        }
    }
    runs
}

/// The runs for which a message offers the annotation that decides about them.
fn offered(message: &str) -> Vec<i64> {
    let command = format!("{RESOLVE_ANNOTATION}=");
    let decisions = message.split(&command).skip(1).filter_map(|rest| rest.split_once('='));
    decisions.filter_map(|(run, _)| run.parse().ok()).collect()
}

/// The decision of the annotation that stands there, if its run still waits and isn't this one.
pub(super) fn unheard(set: &MigrationSet, run: i64) -> Option<&str> {
    let decision = set.annotations().get(RESOLVE_ANNOTATION)?;
    let (other, _) = decision.split_once('=')?;
    let other: i64 = other.trim().parse().ok()?;
    let waits = decidable(set).iter().any(|(waiting, _)| *waiting == other);
    (other != run && waits).then_some(decision.as_str())
}

/// The set's name as kubectl prints it.
pub(super) fn name(set: &MigrationSet) -> String {
    full_name(&set.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(annotation: Option<&str>, status: &Value) -> MigrationSet {
        let mut object = json!({
            "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet", "metadata": {"name": "shop", "generation": 3},
            "spec": {"database": {"secretRef": {"name": "db"}}, "source": {"configMaps": [{"name": "sql"}]}},
            "status": status,
        });
        if let Some(text) = annotation {
            object["metadata"]["annotations"] = json!({RESOLVE_ANNOTATION: text});
        }
        serde_json::from_value(object).expect("the types read it")
    }

    fn ready(status: &str, message: &str, generation: i64) -> Value {
        json!({
            "type": "Ready", "status": status, "reason": "MissingMigration", "message": message,
            "observedGeneration": generation, "lastTransitionTime": "2026-03-01T12:00:00Z",
        })
    }

    #[test]
    fn what_holds_for_an_older_spec_does_not_hold() {
        for (observed, of_condition, expected) in [(3, 3, true), (2, 3, false), (3, 2, false), (-1, -1, false)] {
            let status = json!({"observedGeneration": observed, "conditions": [ready("True", "", of_condition)]});
            let set = set(None, &status);
            assert_eq!(holds(&set, ConditionType::Ready), expected, "{observed} {of_condition}");
        }
        let set = set(None, &json!({"observedGeneration": 3, "conditions": [ready("False", "", 3)]}));
        assert!(!holds(&set, ConditionType::Ready) && !holds(&set, ConditionType::Stalled));
    }

    #[test]
    fn a_run_waits_for_a_decision_when_the_status_or_the_message_names_it() {
        let message = "gone: kubectl -n x annotate --overwrite migrationset shop dunlin.dev/resolve=12=MarkRolledBack";
        let status = json!({
            "failure": {"run": 7},
            "drift": {"checksums": [{"version": "001", "run": 3}, {"version": "002", "run": 7}, {"version": "003"}]},
            "conditions": [ready("False", message, 3)],
        });
        let expected = [(7, Decidable::Failure), (3, Decidable::Drift), (12, Decidable::Offered)];
        assert_eq!(decidable(&set(None, &status)), expected);
        assert_eq!(decidable(&set(None, &json!({}))), []);
        let nothing = json!({"conditions": [ready("False", "dunlin.dev/resolve=<run>=<action>", 3)]});
        assert_eq!(decidable(&set(None, &nothing)), []);
    }

    #[test]
    fn a_decision_is_unheard_while_its_run_still_waits() {
        let status = json!({"failure": {"run": 7}});
        for (annotation, run, expected) in [
            (Some("7=Retry"), 8, Some("7=Retry")),
            (Some("7=Retry"), 7, None),
            (Some("6=Retry"), 7, None),
            (Some("nonsense"), 7, None),
            (None, 7, None),
        ] {
            assert_eq!(unheard(&set(annotation, &status), run), expected, "{annotation:?} {run}");
        }
    }
}
