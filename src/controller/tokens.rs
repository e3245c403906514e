//! The annotations that a look answers to.

use kube::ResourceExt;

use crate::api::v1alpha1::{APPROVED_PLAN_ANNOTATION, MigrationSet, RESOLVE_ANNOTATION, TAKE_OVER_ANNOTATION};

/// Look again now.
pub(super) const RECONCILE: &str = "dunlin.dev/reconcile";
/// The same, as Flux says it.
pub(super) const FLUX_RECONCILE: &str = "reconcile.fluxcd.io/requestedAt";

/// The annotations of a MigrationSet that make a difference to a look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    /// `dunlin.dev/reconcile`.
    pub reconcile: Option<String>,
    /// `reconcile.fluxcd.io/requestedAt`.
    pub flux_reconcile: Option<String>,
    /// `dunlin.dev/resolve`.
    pub resolve: Option<String>,
    /// `dunlin.dev/approved-plan`.
    pub approved_plan: Option<String>,
    /// `dunlin.dev/take-over`.
    pub take_over: Option<String>,
}

impl Tokens {
    /// Those of a MigrationSet.
    pub fn of(set: &MigrationSet) -> Self {
        let value = |key: &str| set.annotations().get(key).cloned();
        Self {
            reconcile: value(RECONCILE),
            flux_reconcile: value(FLUX_RECONCILE),
            resolve: value(RESOLVE_ANNOTATION),
            approved_plan: value(APPROVED_PLAN_ANNOTATION),
            take_over: value(TAKE_OVER_ANNOTATION),
        }
    }

    /// Whether somebody asks for a look that wasn't asked for before.
    pub fn ask_again(&self, before: &Self) -> bool {
        let asks = |now: &Option<String>, before: &Option<String>| now.is_some() && now != before;
        asks(&self.reconcile, &before.reconcile) || asks(&self.flux_reconcile, &before.flux_reconcile)
    }
}
