//! What tests against real servers share: a PostgreSQL and a Kubernetes, each started when a test first asks for it,
//! once per test binary, and ended with the test process, however that ends.
//!
//! The servers are those of `tests/cluster`; `make cluster` builds it. A test gets a database or a namespace of its own
//! and never touches another's, so that tests run side by side. A test that restarts its server, or needs another
//! configuration, asks for a dedicated one.
//!
//! Each test binary uses a part of this.
#![allow(dead_code, unused_imports)]

mod catalogs;
mod cluster;
mod fuzz;
mod kubernetes;
pub mod markdown;
mod pooler;
mod postgres;
pub mod prometheus;
mod proxy;
mod standby;
pub mod tools;
mod wait;

pub use catalogs::CATALOGS;
pub use fuzz::Fuzz;
pub use kubernetes::{Kubernetes, audited_kubernetes, dedicated_kubernetes, fresh_namespace, kubernetes};
pub use pooler::Pooler;
pub use postgres::{
    Dedicated, Postgres, StopMode, dedicated_postgres, dedicated_postgres_version, fresh_database, postgres,
};
pub use proxy::Proxy;
pub use standby::standby_of;
pub use wait::eventually;
