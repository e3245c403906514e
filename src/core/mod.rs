//! The pure core: no input or output, no clock, no async, no Kubernetes, no database driver.

pub mod adopt;
pub mod bundle;
pub mod conditions;
pub mod decide;
pub mod desired;
pub mod election;
pub mod endpoint;
pub mod format;
pub mod graph;
pub mod history;
pub mod hook;
pub mod hosts;
pub mod job;
pub mod lint;
pub mod migration;
pub mod outcome;
pub mod pace;
pub mod plan;
pub mod progress;
pub mod python;
pub mod reference;
pub mod seed;
pub mod sql;
pub mod task;
pub mod variables;
