//! (desired, observed, memory, now) → decision: the state machine of a reconcile.
