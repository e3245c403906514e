//! What the spec asks for, checked: the input of planning, deciding and executing.

use std::{sync::Arc, time::Duration};

use super::{
    adopt::Adopt, bundle::Digest, format::Format, hook::Hooks, migration::Version, seed::Seed, variables::Variables,
};

/// Everything that a MigrationSet asks of the engine. Built only from a valid spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The MigrationSet that owns the history, `namespace/name`.
    pub owner: Owner,
    /// Who reads the messages.
    pub audience: Audience,
    /// `metadata.generation`.
    pub generation: i64,
    /// Stop between migrations, and start nothing.
    pub suspend: bool,
    /// The content that the author means, if the spec says.
    pub digest: Option<Digest>,
    /// How files are read.
    pub format: Format,
    /// Where the history lives.
    pub history: HistoryLocation,
    /// The state to be in.
    pub target: Target,
    /// What a migration's session looks like.
    pub session: SessionSettings,
    /// What is allowed.
    pub policy: Policy,
    /// Which plans wait for a person, and which a person has approved.
    pub approval: Approval,
    /// What a person decided.
    pub resolutions: Vec<Resolution>,
    /// What a person decided about runs of seeds and hooks, by what these are called.
    pub task_resolutions: Vec<TaskResolution>,
    /// What to run around a plan.
    pub hooks: Hooks,
    /// What is loaded once every migration of the source is applied, in order.
    pub seeds: Arc<[Seed]>,
    /// The values of `:'name'` and `:"name"` in files, which a shell puts in: a spec may only say where they are.
    pub variables: Variables,
    /// How often the database is looked at again when nothing changed.
    pub interval: Duration,
}

impl Desired {
    /// What an empty spec asks for: the contract's defaults.
    #[must_use]
    pub fn new(owner: Owner) -> Self {
        let set = owner.name.clone();
        Self {
            owner,
            audience: Audience::MigrationSet,
            generation: 0,
            suspend: false,
            digest: None,
            format: Format::Auto,
            history: HistoryLocation {
                schema: "dunlin".to_owned(),
                set,
                lock_id: None,
                baseline: None,
                take_over: None,
                adopt: None,
            },
            target: Target::Latest,
            session: SessionSettings {
                role: None,
                search_path: Vec::new(),
                lock_timeout_ms: 3_000,
                statement_timeout_ms: 0,
                lock_retries: 10,
            },
            policy: Policy {
                rollback: Rollback::Deny,
                out_of_order: OutOfOrder::Deny,
                on_checksum_drift: OnChecksumDrift::Block,
                on_missing: OnMissing::Block,
                transaction: TransactionScope::PerMigration,
            },
            approval: Approval::default(),
            resolutions: Vec::new(),
            task_resolutions: Vec::new(),
            hooks: Hooks::default(),
            seeds: Arc::default(),
            variables: Variables::default(),
            interval: Duration::from_mins(10),
        }
    }
}

/// Who reads what is said: the ways out are those that they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Whoever applies a MigrationSet.
    #[default]
    MigrationSet,
    /// Whoever works by hand, with `dunlin.yaml`, whose fields have the names of the spec's.
    CommandLine,
}

/// `namespace/name` of a MigrationSet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}_{name}", self.version),
            None => write!(f, "{}", self.version),
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where a history lives, and which locks guard it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HistoryLocation {
    /// The schema of the history's tables.
    pub schema: String,
    /// The key within them.
    pub set: String,
    /// A second advisory lock to hold as well.
    pub lock_id: Option<i64>,
    /// Up to where a database without a history is recorded as it is, without running anything.
    pub baseline: Option<Reference>,
    /// The recorded owner from whom the history may be taken over.
    pub take_over: Option<TakeOver>,
    /// The other tool whose history is taken over, without running anything.
    pub adopt: Option<Adopt>,
}

/// From whom a history may be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TakeOver {
    /// The recorded owner.
    pub from: Owner,
    /// Where it was said, and by whom, for the history.
    pub by: String,
}

/// A migration as a spec names it: its version, or its version and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The version.
    pub version: Version,
    /// The name, which must then be the file's.
    pub name: Option<String>,
}

impl Reference {
    /// Reads a version, or a version and the name behind it.
    ///
    /// # Errors
    /// A sentence saying what a version looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        Version::parse_reference(text).map(|(version, name)| Self { version, name: name.map(str::to_owned) })
    }
}

/// `spec.target`: the state to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every migration of the source.
    Latest,
    /// Not one of them.
    None,
    /// This one, what it needs, and nothing that comes after it.
    Version(Reference),
    /// What plans up to this one have applied, and nothing that a later one has.
    Batch(i64),
    /// By hand: what is there, as it is. Decisions are written down, and nothing runs.
    Stay,
    /// By hand: what is there, with some more and some less.
    Steps {
        /// What is to be applied of what isn't.
        up: Vec<Version>,
        /// What is to be undone of what is.
        down: Vec<Version>,
    },
}

impl Target {
    /// Reads what `spec.target` may say: `latest`, `none`, a version, or `batch:` and a number.
    ///
    /// # Errors
    /// A sentence saying what a target looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("batch:")) {
            ("latest", _) => Ok(Self::Latest),
            ("none", _) => Ok(Self::None),
            (_, Some(batch)) => batch
                .parse::<u32>()
                .map(|batch| Self::Batch(batch.into()))
                .map_err(|_| format!("{text:?} names no batch: write batch: and a number, as status.recent shows it")),
            (_, None) => Reference::parse(text)
                .map(Self::Version)
                .map_err(|why| format!("is latest, none or a version: {why}, also with _ and a name behind it")),
        }
    }
}

/// `spec.approval`, and the annotation that does the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Approval {
    /// Which plans wait.
    pub required: ApprovalRequired,
    /// What was approved.
    pub given: Vec<GivenApproval>,
}

/// `approval.required`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum ApprovalRequired {
    #[default]
    Never,
    Destructive,
    Always,
}

/// A person's consent to one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenApproval {
    /// The plan's digest.
    pub plan: String,
    /// Where it was said, and by whom, for the history.
    pub by: String,
}

/// What the session of a migration looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// SET ROLE before anything runs.
    pub role: Option<String>,
    /// The search path; empty for the login's own.
    pub search_path: Vec<String>,
    /// Longest wait for any lock; zero for none.
    pub lock_timeout_ms: u64,
    /// Longest statement; zero for none.
    pub statement_timeout_ms: u64,
    /// Quick retries after a lock timeout within a run.
    pub lock_retries: u32,
}

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Down sections may run.
    pub rollback: Rollback,
    /// A pending version older than an applied one.
    pub out_of_order: OutOfOrder,
    /// An applied file was edited.
    pub on_checksum_drift: OnChecksumDrift,
    /// Applied, but no longer in the source.
    pub on_missing: OnMissing,
    /// The whole plan in one transaction, or one for each.
    pub transaction: TransactionScope,
}

/// `policy.rollback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Rollback {
    Deny,
    Allow,
}

/// `policy.outOfOrder`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OutOfOrder {
    Deny,
    Allow,
}

/// `policy.onChecksumDrift`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OnChecksumDrift {
    Block,
    Report,
}

/// `policy.onMissing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OnMissing {
    Block,
    Ignore,
    Rollback,
}

/// `policy.transaction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TransactionScope {
    PerMigration,
    Single,
}

/// What a person decided about a failed or drifted run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The migration; None when it comes from the annotation, which names only the run.
    pub version: Option<Version>,
    /// The run it decides about.
    pub run: i64,
    /// What to do.
    pub action: Action,
    /// Where it was said and who said it, for the history: `spec.resolutions[0], set by kubectl-edit` or
    /// `annotation dunlin.dev/resolve, set by kubectl-annotate`; the place alone where nobody knows who it was.
    pub by: String,
}

/// What a person decided about a run of a seed or hook, named by its path or place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResolution {
    /// The seed's path or the hook's place.
    pub key: String,
    /// The decision; its `version` is None.
    pub resolution: Resolution,
}

impl Resolution {
    /// Where it was said, without who said it.
    #[must_use]
    pub fn place(&self) -> &str {
        place(&self.by)
    }
}

impl GivenApproval {
    /// Where it was said, without who said it.
    #[must_use]
    pub fn place(&self) -> &str {
        place(&self.by)
    }
}

/// A status doesn't change with who has said a thing.
fn place(by: &str) -> &str {
    by.split_once(", ").map_or(by, |(place, _)| place)
}

/// `resolutions[].action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract explains each")]
pub enum Action {
    Retry,
    Resume,
    MarkApplied,
    MarkRolledBack,
    AcceptChecksum,
}
