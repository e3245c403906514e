//! `spec.history`, `spec.target`, `spec.policy` and `spec.approval`: what is allowed, and what isn't honoured yet.

use kube::ResourceExt;

use super::{
    super::{
        duration::parse_duration,
        history::{Adopt as AdoptSpec, AdoptFrom, HistorySpec},
        managers::{self, Key},
        policy::{
            Approval as ApprovalSpec, ApprovalRequired as ApprovalRequiredSpec, OnChecksumDriftPolicy, OnMissingPolicy,
            OnSchemaDriftPolicy, OutOfOrderPolicy, PolicySpec, RollbackPolicy, TransactionPolicy,
        },
        spec::MigrationSet,
    },
    APPROVED_PLAN_ANNOTATION, TAKE_OVER_ANNOTATION,
    problems::Problems,
};
use crate::core::{
    adopt::{Adopt, Edited, Tool, When},
    bundle::Digest,
    desired::{
        Approval, ApprovalRequired, GivenApproval, HistoryLocation, OnChecksumDrift, OnMissing, OutOfOrder, Owner,
        Policy, Reference, Rollback, TakeOver, Target, TransactionScope,
    },
};

pub(super) fn read_history(history: &HistorySpec, set: &MigrationSet, problems: &mut Problems) -> HistoryLocation {
    let HistorySpec { schema, set: key, lock_id, baseline, take_over, adopt } = history;
    let baseline = baseline.as_ref().and_then(|text| problems.take("spec.history.baseline", read_reference(text)));
    let adopt = adopt.as_ref().and_then(|adopt| read_adopt(adopt, problems));
    HistoryLocation {
        schema: schema.clone(),
        set: key.clone().unwrap_or_else(|| set.name_any()),
        lock_id: *lock_id,
        baseline,
        take_over: read_take_over(take_over.as_deref(), set, problems),
        adopt,
    }
}

/// Another tool's history, at first contact.
fn read_adopt(adopt: &AdoptSpec, problems: &mut Problems) -> Option<Adopt> {
    let AdoptSpec { from, keep_in_step } = adopt;
    let path = "spec.history.adopt";
    if *keep_in_step {
        let message = "keepInStep is not supported yet: nothing is written to the other tool's table, which knows nothing of what \
                       Dunlin applies; leave it out, and let that tool run no more";
        problems.add(path, message);
        return None;
    }
    let from = match from {
        AdoptFrom::Migretti => Tool::Migretti,
        AdoptFrom::Metapg => Tool::Metapg,
        AdoptFrom::Psqlmodel => Tool::Psqlmodel,
        AdoptFrom::Herogold => Tool::Herogold,
        AdoptFrom::Goose
        | AdoptFrom::Dbmate
        | AdoptFrom::GolangMigrate
        | AdoptFrom::Sqlx
        | AdoptFrom::Diesel
        | AdoptFrom::Flyway
        | AdoptFrom::Refinery
        | AdoptFrom::Atlas
        | AdoptFrom::Liquibase
        | AdoptFrom::Sqitch
        | AdoptFrom::NodePgMigrate
        | AdoptFrom::Prisma
        | AdoptFrom::Drizzle
        | AdoptFrom::Alembic => {
            let message = format!(
                "from {from:?} is not supported yet: Migretti, Metapg, Psqlmodel and Herogold are; spec.history.baseline records what \
                 there is up to a version"
            );
            problems.add(path, message);
            return None;
        }
    };
    Some(Adopt { from, table: None, edited: Edited::Refuse, when: When::FirstContact })
}

/// The spec speaks first: an annotation is for who acts beside it.
fn read_take_over(text: Option<&str>, set: &MigrationSet, problems: &mut Problems) -> Option<TakeOver> {
    let said = |text: &str, path: &str, by: String, problems: &mut Problems| {
        problems.take(path, read_owner(text)).map(|from| TakeOver { from, by })
    };
    let annotated = set.annotations().get(TAKE_OVER_ANNOTATION).and_then(|text| {
        let path = format!("metadata.annotations[{TAKE_OVER_ANNOTATION}]");
        said(text, &path, by_annotation(set, TAKE_OVER_ANNOTATION), problems)
    });
    let path = [Key::Field("spec"), Key::Field("history"), Key::Field("takeOver")];
    let by = managers::said("spec.history.takeOver", set, &path);
    let spec = text.and_then(|text| said(text, "spec.history.takeOver", by, problems));
    spec.or(annotated)
}

fn by_annotation(set: &MigrationSet, key: &str) -> String {
    let path = [Key::Field("metadata"), Key::Field("annotations"), Key::Field(key)];
    managers::said(&format!("annotation {key}"), set, &path)
}

fn read_reference(text: &str) -> Result<Reference, String> {
    Reference::parse(text).map_err(|why| format!("{why}, also with _ and a name behind it"))
}

pub(super) fn read_target(text: &str, problems: &mut Problems) -> Target {
    problems.take("spec.target", Target::parse(text)).unwrap_or(Target::Latest)
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
    let rollback = match rollback {
        RollbackPolicy::Deny => Rollback::Deny,
        RollbackPolicy::Allow => Rollback::Allow,
    };
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
        OnMissingPolicy::Rollback => OnMissing::Rollback,
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
    (Policy { rollback, out_of_order, on_checksum_drift, on_missing, transaction }, patience)
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

pub(super) fn read_approval(approval: &ApprovalSpec, set: &MigrationSet, problems: &mut Problems) -> Approval {
    let ApprovalSpec { required, plan } = approval;
    let required = match required {
        ApprovalRequiredSpec::Never => ApprovalRequired::Never,
        ApprovalRequiredSpec::Destructive => ApprovalRequired::Destructive,
        ApprovalRequiredSpec::Always => ApprovalRequired::Always,
    };
    let spec = plan.as_ref().map(|plan| {
        let path = [Key::Field("spec"), Key::Field("approval"), Key::Field("plan")];
        (plan, "spec.approval.plan".to_owned(), managers::said("spec.approval.plan", set, &path))
    });
    let annotation = set.annotations().get(APPROVED_PLAN_ANNOTATION).map(|plan| {
        let path = format!("metadata.annotations[{APPROVED_PLAN_ANNOTATION}]");
        (plan, path, by_annotation(set, APPROVED_PLAN_ANNOTATION))
    });
    let mut given = Vec::new();
    for (plan, path, by) in spec.into_iter().chain(annotation) {
        match plan.parse::<Digest>() {
            Ok(digest) => given.push(GivenApproval { plan: digest.to_string(), by }),
            Err(why) => problems.add(path, format!("{why}; status.plan.digest shows the plan's")),
        }
    }
    Approval { required, given }
}
