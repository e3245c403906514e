//! The program that is measured.

use std::{env, path::PathBuf};

/// `DUNLIN`, where that names one: `make bench` has the static one there, which is what the image and the archives hold.
/// Otherwise the one that `cargo bench` has built for this machine.
pub fn dunlin() -> PathBuf {
    env::var_os("DUNLIN")
        .filter(|path| !path.is_empty())
        .map_or_else(|| env!("CARGO_BIN_EXE_dunlin").into(), PathBuf::from)
}
