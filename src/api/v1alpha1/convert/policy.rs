//! `spec.history`, `spec.policy`, `spec.approval` and `spec.hooks`: what is allowed, and what isn't honoured yet.

use super::{
    super::{
        duration::parse_duration,
        extras::Hooks,
        history::HistorySpec,
        policy::{
            Approval, ApprovalRequired, OnChecksumDriftPolicy, OnMissingPolicy, OnSchemaDriftPolicy, OutOfOrderPolicy,
            PolicySpec, RollbackPolicy, TransactionPolicy,
        },
    },
    problems::Problems,
};
use crate::core::desired::{HistoryLocation, OnChecksumDrift, OnMissing, OutOfOrder, Owner, Policy, TransactionScope};

pub(super) fn read_history(history: &HistorySpec, name: &str, problems: &mut Problems) -> HistoryLocation {
    let HistorySpec { schema, set, lock_id, baseline, take_over, adopt } = history;
    if baseline.is_some() {
        problems.add("spec.history.baseline", "is not supported yet: remove it");
    }
    if adopt.is_some() {
        problems.add("spec.history.adopt", "is not supported yet: remove it");
    }
    let take_over = take_over.as_ref().and_then(|owner| problems.take("spec.history.takeOver", read_owner(owner)));
    HistoryLocation {
        schema: schema.clone(),
        set: set.clone().unwrap_or_else(|| name.to_owned()),
        lock_id: *lock_id,
        take_over,
    }
}

fn read_owner(text: &str) -> Result<Owner, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(Owner { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err(format!("{text:?} names no owner: write namespace/name, as the message of Conflict does")),
    }
}

/// How long a migration waits.
pub(super) struct Patience {
    pub(super) lock_timeout_ms: u64,
    pub(super) statement_timeout_ms: u64,
    pub(super) lock_retries: u32,
}

pub(super) fn read_policy(policy: &PolicySpec, problems: &mut Problems) -> (Policy, Patience) {
    let PolicySpec {
        rollback,
        out_of_order,
        on_checksum_drift,
        on_missing,
        on_schema_drift,
        schema_drift_ignore,
        transaction,
        lock_timeout,
        statement_timeout,
        lock_retries,
    } = policy;
    match rollback {
        RollbackPolicy::Deny => {}
        RollbackPolicy::Allow => problems.add("spec.policy.rollback", "Allow is not supported yet: only Deny is"),
    }
    let out_of_order = match out_of_order {
        OutOfOrderPolicy::Deny => OutOfOrder::Deny,
        OutOfOrderPolicy::Allow => OutOfOrder::Allow,
    };
    let on_checksum_drift = match on_checksum_drift {
        OnChecksumDriftPolicy::Block => OnChecksumDrift::Block,
        OnChecksumDriftPolicy::Report => OnChecksumDrift::Report,
    };
    let on_missing = match on_missing {
        OnMissingPolicy::Block => OnMissing::Block,
        OnMissingPolicy::Ignore => OnMissing::Ignore,
        OnMissingPolicy::Rollback => {
            problems.add("spec.policy.onMissing", "Rollback is not supported yet: Block and Ignore are");
            OnMissing::Block
        }
    };
    match on_schema_drift {
        OnSchemaDriftPolicy::Ignore | OnSchemaDriftPolicy::Report => {}
        OnSchemaDriftPolicy::Block => {
            problems.add("spec.policy.onSchemaDrift", "Block is not supported yet: Ignore and Report are");
        }
    }
    if !schema_drift_ignore.is_empty() {
        problems.add("spec.policy.schemaDriftIgnore", "is not supported yet: remove it");
    }
    let transaction = match transaction {
        TransactionPolicy::PerMigration => TransactionScope::PerMigration,
        TransactionPolicy::Single => TransactionScope::Single,
    };
    let patience = Patience {
        lock_timeout_ms: read_millis("spec.policy.lockTimeout", lock_timeout, problems),
        statement_timeout_ms: read_millis("spec.policy.statementTimeout", statement_timeout, problems),
        lock_retries: u32::try_from(*lock_retries).unwrap_or_else(|_| {
            problems.add("spec.policy.lockRetries", "is below 0: write 0 for no retries, or more");
            0
        }),
    };
    (Policy { out_of_order, on_checksum_drift, on_missing, transaction }, patience)
}

/// PostgreSQL counts time-outs in milliseconds, in 31 bits.
fn read_millis(path: &str, text: &str, problems: &mut Problems) -> u64 {
    let Some(duration) = problems.take(path, parse_duration(text)) else { return 0 };
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if i32::try_from(millis).is_err() {
        problems.add(path, format!("{text:?} is longer than PostgreSQL can count: write at most 576h"));
    }
    millis
}

pub(super) fn read_approval(approval: &Approval, problems: &mut Problems) {
    let Approval { required, plan } = approval;
    match required {
        ApprovalRequired::Never => {}
        ApprovalRequired::Destructive | ApprovalRequired::Always => {
            problems.add("spec.approval.required", format!("{required:?} is not supported yet: only Never is"));
        }
    }
    if plan.is_some() {
        problems.add("spec.approval.plan", "is not supported yet: remove it");
    }
}

pub(super) fn refuse_hooks(hooks: &Hooks, problems: &mut Problems) {
    let Hooks { pre_apply, post_apply, pre_rollback, post_rollback, on_failure } = hooks;
    let named = [
        ("preApply", pre_apply),
        ("postApply", post_apply),
        ("preRollback", pre_rollback),
        ("postRollback", post_rollback),
        ("onFailure", on_failure),
    ];
    for (name, hooks) in named {
        for index in 0..hooks.len() {
            problems.add(format!("spec.hooks.{name}[{index}]"), "hooks are not supported yet: remove it");
        }
    }
}
