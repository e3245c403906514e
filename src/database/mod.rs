//! The database layer: connections, the history's tables, the lock, and what runs under it.
//!
//! It knows neither Kubernetes nor the command line; `execute` is the only one that writes to a user's database with it.

pub mod connect;
pub mod parameters;
pub mod tls;
