//! The Kubernetes API: the types of the custom resource, and their conversion into the core's.
//!
//! It imports only the core. A field that a newer version of Dunlin will honour is refused here, never ignored.

pub mod v1alpha1;
