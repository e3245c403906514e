//! Against a hostile server: what answers where a Secret points may send whatever it likes, from the start or once it has
//! been honest for a while. In a binary of its own, since it measures the memory of its process.

#[path = "../support/mod.rs"]
mod support;

#[path = "../postgres/engine/fixture.rs"]
#[allow(dead_code)]
mod fixture;
#[path = "../operator/install.rs"]
#[allow(dead_code)]
mod install;
#[path = "../operator/shop.rs"]
#[allow(dead_code)]
mod shop;

mod engine;
mod memory;
mod neighbours;
mod server;
