//! `kubectl dunlin history`: the last migrations that were applied.

use serde_json::json;

use super::super::{CliError, output, talk};
use super::{access::Cluster, args::ReadArgs, output::print_either, standing};
use crate::api::v1alpha1::RecentMigration;

/// Prints `status.recent`.
pub(super) async fn run(cluster: &Cluster, args: &ReadArgs) -> Result<(), CliError> {
    let set = cluster.set(&args.set.name).await?;
    let recent = set.status.as_ref().map_or(&[][..], |status| &status.recent[..]);
    if recent.is_empty() {
        talk::say("note", format!("{}: nothing was applied, or nobody has looked yet", standing::name(&set)));
        return print_either(args.output, &json!([]), String::new);
    }
    let value = serde_json::to_value(recent).map_err(|error| CliError::Encode(error.into()))?;
    print_either(args.output, &value, || in_words(recent))?;
    talk::say(
        "note",
        format!(
            "these are the last 10 at most, newest first; all of them stand in the database, in {}.migration",
            set.spec.history.schema
        ),
    );
    Ok(())
}

fn in_words(recent: &[RecentMigration]) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows: Vec<Vec<String>> = recent
        .iter()
        .map(|RecentMigration { version, name, applied_at, duration_ms, batch }| {
            vec![text(version), text(name), text(applied_at), format!("{duration_ms}ms"), batch.to_string()]
        })
        .collect();
    output::table(vec!["VERSION", "NAME", "APPLIED AT", "DURATION", "BATCH"], &rows)
}
