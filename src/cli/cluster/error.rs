//! What can be in the way of a verb, and the exit code of each.

use kube::{config::KubeconfigError, core::Status};

use super::super::exit::Exit;
use crate::core::outcome::Reason;

/// Why a verb of `kubectl dunlin` didn't do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No kubeconfig, or one that doesn't lead to a cluster.
    #[error(
        "no cluster to talk to: name a kubeconfig by --kubeconfig or KUBECONFIG, and one of its contexts by --context"
    )]
    Kubeconfig(#[source] KubeconfigError),
    /// The kubeconfig can't be made use of.
    #[error("can't make a client of the kubeconfig's context: check its server, certificates and user")]
    Client(#[source] kube::Error),
    /// The API server doesn't answer.
    #[error(
        "can't talk to the API server at {server}: check that it runs and that the kubeconfig's context is the right one"
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// What went wrong.
        #[source]
        source: kube::Error,
    },
    /// The API server took too long.
    #[error("the API server at {server} gave no answer within {seconds} s: try again, or check how it is")]
    NoAnswer {
        /// Its URL.
        server: String,
        /// How long it had.
        seconds: u64,
    },
    /// The API server refused, in its own words, as kubectl tells them.
    #[error("Error from server ({}): {}", .0.reason, .0.message)]
    Server(Box<Status>),
    /// The API server refuses the operator's log.
    #[error(
        "Error from server ({}): {}\nkubectl dunlin logs needs the rights to list pods and to get pods/log where the operator runs: in \
         the namespace that --operator-namespace names, or without it in all", .0.reason, .0.message
    )]
    NoRightToLogs(Box<Status>),
    /// No operator is there.
    #[error(
        "no pod with the label {label} in {place}: install the operator, or name its namespace with --operator-namespace"
    )]
    NoOperator {
        /// How it is looked for.
        label: &'static str,
        /// Where.
        place: String,
    },
    /// A log broke off.
    #[error("the log of pod {pod} broke off: run it again")]
    Log {
        /// Its namespace and name.
        pod: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The API server doesn't know MigrationSets.
    #[error(
        "error: the server doesn't have a resource type \"migrationsets\" in dunlin.dev/v1alpha1: install it with \
         `dunlin crd | kubectl apply --server-side -f -`"
    )]
    NoSuchType,
    /// The API server's answer isn't understood.
    #[error(
        "the API server's answer can't be read: `kubectl dunlin check` tells whether its CustomResourceDefinition is that of this program"
    )]
    Answer(#[source] kube::Error),
    /// It was deleted while it was waited for.
    #[error("{name} was deleted meanwhile: nothing is left to wait for")]
    Deleted {
        /// `migrationset.dunlin.dev/shop`.
        name: String,
    },
    /// What was waited for didn't come in time.
    #[error("{name}: not so within {seconds} s; at last: {at_last}")]
    TimedOut {
        /// `migrationset.dunlin.dev/shop`.
        name: String,
        /// How long it was waited for.
        seconds: f64,
        /// How it stood.
        at_last: String,
    },
    /// The set needs a person.
    #[error("{name} is Stalled, {reason}: {message}")]
    Stalled {
        /// `migrationset.dunlin.dev/shop`.
        name: String,
        /// The reason of Stalled, as it stands there.
        reason: String,
        /// Its message.
        message: String,
        /// The same reason, if this program knows it.
        known: Option<Reason>,
    },
    /// No plan waits for approval.
    #[error("{name} has no plan that waits for approval: its status is {status}")]
    NoPlanWaits {
        /// `migrationset.dunlin.dev/shop`.
        name: String,
        /// The reason of Ready.
        status: String,
    },
    /// Another plan than the one that was named waits for approval.
    #[error(
        "another plan waits than {asked}: look at it with `kubectl dunlin plan`, and approve {waits} if that is what you want"
    )]
    OtherPlan {
        /// The digest that was named.
        asked: String,
        /// The digest of the plan that waits.
        waits: String,
    },
    /// No run of that number waits for a decision.
    #[error("{name}: run {run} waits for no decision: {instead}")]
    NoSuchRun {
        /// `migrationset.dunlin.dev/shop`.
        name: String,
        /// The run that was named.
        run: i64,
        /// Which runs do.
        instead: String,
    },
    /// This can't be decided about that run.
    #[error("{name}: run {run} {why}")]
    UnfitDecision {
        /// `migrationset.dunlin.dev/shop`.
        name: String,
        /// The run that was named.
        run: i64,
        /// What the run is, and what can be decided about it.
        why: &'static str,
    },
    /// There is nothing to try again.
    #[error(
        "{name} shows no failed run, its status is {status}: `kubectl dunlin reconcile` has the operator look again"
    )]
    NothingFailed {
        /// `migrationset.dunlin.dev/shop`.
        name: String,
        /// The reason of Ready.
        status: String,
    },
    /// The policy forbids rollbacks.
    #[error(
        "{name}: spec.policy.rollback is Deny, so nothing would be rolled back and the set would stall (RollbackDenied): set \
         it to Allow first, in the manifest"
    )]
    RollbackDenied {
        /// `migrationset.dunlin.dev/shop`.
        name: String,
    },
    /// Nobody said yes.
    #[error("nothing was changed: {instead}")]
    NotConfirmed {
        /// How to say yes.
        instead: &'static str,
    },
    /// The terminal couldn't be read.
    #[error("can't read the answer from the terminal: use --yes")]
    Terminal(#[source] std::io::Error),
}

impl ClusterError {
    /// Whether the message is kubectl's own, which stands alone.
    pub(in crate::cli) fn is_kubectls(&self) -> bool {
        matches!(self, Self::Server(_) | Self::NoRightToLogs(_) | Self::NoSuchType)
    }

    /// Whether the API server doesn't let whoever asks.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::NoRightToLogs(_))
            || matches!(self, Self::Server(status) if [401, 403].contains(&status.code))
    }

    /// The exit code.
    pub(in crate::cli) fn exit(&self) -> Exit {
        match self {
            Self::Server(status) => match status.code {
                401 | 403 | 429 | 500.. => Exit::Unreachable,
                409 => Exit::Busy,
                _ => Exit::Input,
            },
            Self::Kubeconfig(_)
            | Self::Client(_)
            | Self::NoSuchType
            | Self::NoOperator { .. }
            | Self::Deleted { .. }
            | Self::NoPlanWaits { .. }
            | Self::NoSuchRun { .. }
            | Self::UnfitDecision { .. }
            | Self::NothingFailed { .. } => Exit::Input,
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::NoRightToLogs(_) | Self::Log { .. } => {
                Exit::Unreachable
            }
            Self::TimedOut { .. } => Exit::Busy,
            Self::OtherPlan { .. } | Self::RollbackDenied { .. } => Exit::Blocked,
            Self::Stalled { known, .. } => known.map_or(Exit::Error, Exit::from),
            Self::NotConfirmed { .. } => Exit::Refused,
            Self::Answer(_) | Self::Terminal(_) => Exit::Error,
        }
    }
}
