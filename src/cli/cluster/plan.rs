//! `kubectl dunlin plan`: what is to run next, as the operator planned it.

use std::fmt::Write;

use serde_json::json;

use super::super::{CliError, output, talk};
use super::{access::Cluster, args::ReadArgs, output::print_either, standing};
use crate::api::v1alpha1::PlanStatus;

/// Prints `status.plan`.
pub(super) async fn run(cluster: &Cluster, args: &ReadArgs) -> Result<(), CliError> {
    let set = cluster.set(&args.set.name).await?;
    let Some(plan) = set.status.as_ref().and_then(|status| status.plan.as_ref()).filter(|plan| plan.count > 0) else {
        talk::say("note", format!("{} has no plan, its status is {}", standing::name(&set), standing::reason(&set)));
        return print_either(args.output, &json!({"count": 0, "steps": []}), String::new);
    };
    let value = serde_json::to_value(plan).map_err(|error| CliError::Encode(error.into()))?;
    print_either(args.output, &value, || in_words(plan))
}

/// A plan as a table, and its digest.
pub(super) fn in_words(plan: &PlanStatus) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows: Vec<Vec<String>> = plan
        .steps
        .iter()
        .map(|step| {
            let transactional = step.transactional.map_or(String::new(), |transactional| transactional.to_string());
            vec![text(&step.version), text(&step.name), text(&step.direction), transactional]
        })
        .collect();
    let mut words = output::table(vec!["VERSION", "NAME", "DIRECTION", "TRANSACTIONAL"], &rows);
    let shown = i64::try_from(plan.steps.len()).unwrap_or(i64::MAX);
    if plan.count > shown {
        // Writing to a String can't fail.
        let _ = writeln!(words, "and {} more, which the digest covers too", plan.count - shown);
    }
    if let Some(digest) = &plan.digest {
        let _ = writeln!(words, "plan {digest}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1alpha1::StepStatus;

    #[test]
    fn steps_that_are_not_shown_are_counted() {
        let step = StepStatus {
            version: Some("001".into()),
            name: Some("users".into()),
            direction: Some("Up".into()),
            transactional: Some(true),
        };
        let plan = PlanStatus { digest: Some("sha256:9f".into()), steps: vec![step], count: 3 };
        assert_eq!(
            in_words(&plan),
            "VERSION   NAME    DIRECTION   TRANSACTIONAL\n\
             001       users   Up          true\n\
             and 2 more, which the digest covers too\n\
             plan sha256:9f\n"
        );
    }
}
