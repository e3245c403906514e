//! The database layer: connections, the history's tables, the lock, and what runs under it.
//!
//! It knows neither Kubernetes nor the command line; `execute` is the only one that writes to a user's database with it.

mod answer;
pub mod apply;
pub mod connect;
pub mod error;
pub mod foreign;
pub mod history;
pub mod journal;
pub mod lock;
pub mod parameters;
pub mod progress;
pub mod quote;
pub mod recover;
pub mod seed;
pub mod session;
pub mod snapshot;
pub mod tls;
