//! The engine against a real PostgreSQL: what it promises of one migration, of a journal, of a lock.

mod blocked;
mod claims;
mod durable;
mod fixture;
mod journal;
mod places;
mod policy;
mod pooler;
mod progress;
mod proxy;
mod queue;
mod recovery;
mod roles;
mod session;
mod single;
mod timeouts;
mod transactional;
mod volume;
