//! The engine against a real PostgreSQL: what it promises of one migration, of a journal, of a lock.

mod blocked;
mod claims;
mod cut;
mod durable;
mod fixture;
mod journal;
mod orphan;
mod places;
mod policy;
mod pooler;
mod progress;
mod proxy;
mod queue;
mod recovery;
mod robbed;
mod roles;
mod session;
mod single;
mod timeouts;
mod transactional;
mod volume;
mod ways_out;
