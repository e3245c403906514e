//! From what stands in a MigrationSet to what the core works with, or everything that is wrong with it.
//!
//! Every field is taken apart by name, so that a new one can't be forgotten: what isn't honoured is refused.

use std::time::Duration;

use kube::ResourceExt;

use super::{
    database::{Database, DatabaseKeys, DatabaseSecretReference, LocalReference, SecretKeyReference, Tls, TlsModeName},
    duration::parse_duration,
    extras::Hooks,
    history::HistorySpec,
    policy::{
        Approval, ApprovalRequired, OnChecksumDriftPolicy, OnMissingPolicy, OnSchemaDriftPolicy, OutOfOrderPolicy,
        PolicySpec, ResolutionAction, ResolutionSpec, RollbackPolicy, TransactionPolicy,
    },
    source::{FormatName, Selector, SelectorOperator, SelectorRequirement, Source},
    spec::{MigrationSet, MigrationSetSpec},
};
use crate::core::{
    bundle::Digest,
    desired::{
        Action, Desired, HistoryLocation, OnChecksumDrift, OnMissing, OutOfOrder, Owner, Policy, Resolution,
        SessionSettings, TransactionScope,
    },
    format::Format,
    migration::Version,
    outcome::{Failure, Reason},
    reference::{DatabaseRef, LabelSelector, Requirement, SecretKey, SecretKeys, SourceRef, TlsMode, TlsRef},
};

/// The annotation that decides about a run: `<run>=<action>`.
pub const RESOLVE_ANNOTATION: &str = "dunlin.dev/resolve";

/// A MigrationSet, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What the engine is to do.
    pub desired: Desired,
    /// Where the connection parameters are.
    pub database: DatabaseRef,
    /// Where the migration files are.
    pub source: SourceRef,
}

/// Everything that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidSpec {
    /// What is wrong, in the order of the fields; at least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as `spec.policy.rollback`, or the annotation.
    pub path: String,
    /// What is wrong with it, and what works.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl From<InvalidSpec> for Failure {
    fn from(invalid: InvalidSpec) -> Self {
        Self::new(Reason::InvalidSpec, invalid.to_string())
    }
}

/// Reads what the engine is to do out of a MigrationSet.
///
/// # Errors
/// [`InvalidSpec`] with every field that can't be honoured.
pub fn desired(set: &MigrationSet) -> Result<Desired, InvalidSpec> {
    parse(set).map(|parsed| parsed.desired)
}

impl TryFrom<&MigrationSet> for Desired {
    type Error = InvalidSpec;

    fn try_from(set: &MigrationSet) -> Result<Self, InvalidSpec> {
        desired(set)
    }
}

/// Reads a MigrationSet: what to do, and what it refers to.
///
/// # Errors
/// [`InvalidSpec`] with every field that can't be honoured.
pub fn parse(set: &MigrationSet) -> Result<Parsed, InvalidSpec> {
    let mut problems = Problems::default();
    let owner = Owner { namespace: set.namespace().unwrap_or_default(), name: set.name_any() };
    let MigrationSetSpec {
        suspend,
        database,
        source,
        history,
        target,
        policy,
        approval,
        resolutions,
        variables,
        seeds,
        hooks,
        interval,
    } = &set.spec;

    let (database, role, search_path) = read_database(database, &mut problems);
    let (source, digest, format) = read_source(source, &mut problems);
    let history = read_history(history, &owner.name, &mut problems);
    if target != "latest" {
        problems.add("spec.target", format!("{target:?} is not supported yet: only latest is"));
    }
    let (policy, patience) = read_policy(policy, &mut problems);
    read_approval(approval, &mut problems);
    let mut resolutions = read_resolutions(resolutions, &mut problems);
    resolutions.extend(read_annotation(set, &mut problems));
    for index in 0..variables.len() {
        problems.add(format!("spec.variables[{index}]"), "variables are not supported yet: remove it");
    }
    if seeds.is_some() {
        problems.add("spec.seeds", "seeds are not supported yet: remove it");
    }
    if let Some(hooks) = hooks {
        refuse_hooks(hooks, &mut problems);
    }
    let interval = problems.take("spec.interval", parse_duration(interval)).unwrap_or_default();
    if interval < Duration::from_secs(1) && !problems.about("spec.interval") {
        problems.add("spec.interval", "shorter than a second: write a duration from 1s to 24h");
    }

    match (source, problems.0.is_empty()) {
        (Some(source), true) => Ok(Parsed {
            desired: Desired {
                owner,
                generation: set.metadata.generation.unwrap_or_default(),
                suspend: *suspend,
                digest,
                format,
                history,
                session: SessionSettings {
                    role,
                    search_path,
                    lock_timeout_ms: patience.lock_timeout_ms,
                    statement_timeout_ms: patience.statement_timeout_ms,
                    lock_retries: patience.lock_retries,
                },
                policy,
                resolutions,
                interval,
            },
            database,
            source,
        }),
        _ => Err(InvalidSpec { problems: problems.0 }),
    }
}

impl MigrationSet {
    /// Where the migration files are, whatever else is wrong with the spec: for an index from ConfigMaps to the sets
    /// that read them. None where the spec doesn't say it, which [`parse`] reports.
    #[must_use]
    pub fn source_ref(&self) -> Option<SourceRef> {
        read_source(&self.spec.source, &mut Problems::default()).0
    }

    /// Where the connection parameters are, whatever else is wrong with the spec.
    #[must_use]
    pub fn database_ref(&self) -> DatabaseRef {
        read_database(&self.spec.database, &mut Problems::default()).0
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    fn take<T>(&mut self, path: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(path, message)).ok()
    }

    fn about(&self, path: &str) -> bool {
        self.0.iter().any(|problem| problem.path == path)
    }
}

fn read_database(database: &Database, problems: &mut Problems) -> (DatabaseRef, Option<String>, Vec<String>) {
    let Database { secret_ref, direct_secret_ref, tls, role, search_path } = database;
    let DatabaseSecretReference { name, keys } = secret_ref;
    let keys = keys.as_ref().map_or_else(SecretKeys::default, |keys| {
        let DatabaseKeys { uri, host, port, user, password, dbname } = keys.clone();
        SecretKeys { uri, host, port, user, password, dbname }
    });
    if direct_secret_ref.is_some() {
        problems.add(
            "spec.database.directSecretRef",
            "is not supported yet: remove it, and let secretRef lead straight to the server, past any pooler",
        );
    }
    let tls = tls.as_ref().map_or_else(TlsRef::default, read_tls);
    (DatabaseRef { secret: name.clone(), keys, tls }, role.clone(), search_path.clone())
}

fn read_tls(tls: &Tls) -> TlsRef {
    let Tls { mode, ca_secret_ref, client_secret_ref } = tls;
    TlsRef {
        mode: mode.map(|mode| match mode {
            TlsModeName::Disable => TlsMode::Disable,
            TlsModeName::Prefer => TlsMode::Prefer,
            TlsModeName::Require => TlsMode::Require,
            TlsModeName::VerifyCa => TlsMode::VerifyCa,
            TlsModeName::VerifyFull => TlsMode::VerifyFull,
        }),
        ca: ca_secret_ref.clone().map(|SecretKeyReference { name, key }| SecretKey { secret: name, key }),
        client_secret: client_secret_ref.clone().map(|LocalReference { name }| name),
    }
}

fn read_source(source: &Source, problems: &mut Problems) -> (Option<SourceRef>, Option<Digest>, Format) {
    let Source { config_maps, config_map_selector, digest, format } = source;
    let reference = match (config_maps, config_map_selector) {
        (Some(config_maps), None) if !config_maps.is_empty() => {
            let mut names: Vec<String> = config_maps.iter().map(|LocalReference { name }| name.clone()).collect();
            names.sort_unstable();
            names.dedup();
            Some(SourceRef::ConfigMaps(names))
        }
        (None, Some(selector)) => read_selector(selector, problems).map(SourceRef::Selector),
        _ => {
            problems.add("spec.source", "name exactly one kind of source: configMaps or configMapSelector");
            None
        }
    };
    let digest = digest.as_ref().and_then(|digest| problems.take("spec.source.digest", digest.parse()));
    let format = match format {
        FormatName::Auto => Format::Auto,
        FormatName::Dunlin => Format::Dunlin,
        FormatName::Metapg => Format::Metapg,
        FormatName::Goose
        | FormatName::Dbmate
        | FormatName::GolangMigrate
        | FormatName::Sqlx
        | FormatName::Diesel
        | FormatName::Flyway
        | FormatName::Refinery
        | FormatName::Atlas
        | FormatName::Liquibase
        | FormatName::Sqitch
        | FormatName::NodePgMigrate
        | FormatName::Prisma
        | FormatName::Drizzle => {
            problems.add("spec.source.format", format!("{format:?} is not supported yet: Auto, Dunlin and Metapg are"));
            Format::Auto
        }
    };
    (reference, digest, format)
}

fn read_selector(selector: &Selector, problems: &mut Problems) -> Option<LabelSelector> {
    let Selector { match_labels, match_expressions } = selector;
    let mut requirements: Vec<Requirement> =
        match_labels.iter().map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
    let mut sound = true;
    for (index, SelectorRequirement { key, operator, values }) in match_expressions.iter().enumerate() {
        let path = format!("spec.source.configMapSelector.matchExpressions[{index}]");
        let (key, values) = (key.clone(), values.clone());
        requirements.push(match (operator, values.is_empty()) {
            (SelectorOperator::In, false) => Requirement::In(key, values),
            (SelectorOperator::NotIn, false) => Requirement::NotIn(key, values),
            (SelectorOperator::Exists, true) => Requirement::Exists(key),
            (SelectorOperator::DoesNotExist, true) => Requirement::DoesNotExist(key),
            (SelectorOperator::In | SelectorOperator::NotIn, true) => {
                problems.add(path, format!("{operator:?} needs values"));
                sound = false;
                continue;
            }
            (SelectorOperator::Exists | SelectorOperator::DoesNotExist, false) => {
                problems.add(path, format!("{operator:?} has no values: remove them"));
                sound = false;
                continue;
            }
        });
    }
    if requirements.is_empty() && sound {
        problems.add(
            "spec.source.configMapSelector",
            "an empty selector would take every ConfigMap of the namespace: name a label",
        );
        sound = false;
    }
    sound.then(|| LabelSelector::new(requirements))
}

fn read_history(history: &HistorySpec, name: &str, problems: &mut Problems) -> HistoryLocation {
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
struct Patience {
    lock_timeout_ms: u64,
    statement_timeout_ms: u64,
    lock_retries: u32,
}

fn read_policy(policy: &PolicySpec, problems: &mut Problems) -> (Policy, Patience) {
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
            problems.add("spec.policy.lockRetries", "is below 0");
            0
        }),
    };
    (Policy { out_of_order, on_checksum_drift, on_missing, transaction }, patience)
}

/// PostgreSQL counts time-outs in milliseconds, in 31 bits.
fn read_millis(path: &str, text: &str, problems: &mut Problems) -> u64 {
    let Some(duration) = problems.take(path, parse_duration(text)) else { return 0 };
    match i32::try_from(duration.as_millis()) {
        Ok(_) => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        Err(_) => {
            problems.add(path, format!("{text:?} is longer than PostgreSQL can count: write at most 576h"));
            0
        }
    }
}

fn read_approval(approval: &Approval, problems: &mut Problems) {
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

fn read_resolutions(resolutions: &[ResolutionSpec], problems: &mut Problems) -> Vec<Resolution> {
    let mut read = Vec::with_capacity(resolutions.len());
    for (index, ResolutionSpec { version, run, action }) in resolutions.iter().enumerate() {
        let by = format!("spec.resolutions[{index}]");
        let version = problems.take(&format!("{by}.version"), Version::parse(version));
        if *run < 1 {
            problems.add(format!("{by}.run"), format!("{run} is no run: they are counted from 1"));
        }
        read.extend(version.map(|version| Resolution {
            version: Some(version),
            run: *run,
            action: core_action(*action),
            by,
        }));
    }
    read
}

fn core_action(action: ResolutionAction) -> Action {
    match action {
        ResolutionAction::Retry => Action::Retry,
        ResolutionAction::Resume => Action::Resume,
        ResolutionAction::MarkApplied => Action::MarkApplied,
        ResolutionAction::MarkRolledBack => Action::MarkRolledBack,
        ResolutionAction::AcceptChecksum => Action::AcceptChecksum,
    }
}

fn read_annotation(set: &MigrationSet, problems: &mut Problems) -> Option<Resolution> {
    let text = set.annotations().get(RESOLVE_ANNOTATION)?;
    let path = format!("annotation {RESOLVE_ANNOTATION}");
    let decided = text.split_once('=').and_then(|(run, action)| {
        let run = run.trim().parse::<i64>().ok().filter(|run| *run >= 1)?;
        Some((run, read_action(action.trim())?))
    });
    match decided {
        Some((run, action)) => Some(Resolution { version: None, run, action: core_action(action), by: path }),
        None => {
            problems.add(
                path,
                format!(
                    "{text:?} decides nothing: write <run>=<action>, such as 7=Retry, with Retry, Resume, \
                     MarkApplied, MarkRolledBack or AcceptChecksum"
                ),
            );
            None
        }
    }
}

fn read_action(text: &str) -> Option<ResolutionAction> {
    [
        ResolutionAction::Retry,
        ResolutionAction::Resume,
        ResolutionAction::MarkApplied,
        ResolutionAction::MarkRolledBack,
        ResolutionAction::AcceptChecksum,
    ]
    .into_iter()
    .find(|action| format!("{action:?}") == text)
}

fn refuse_hooks(hooks: &Hooks, problems: &mut Problems) {
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
