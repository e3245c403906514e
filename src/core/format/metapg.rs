//! The file format of metapg.migration: `NNN_desc.sql`, `-- Description:`, `-- Depends:` and `-- ROLLBACK`.
//!
//! It is the part of Dunlin's format that metapg writes. `-- migrate:` is refused rather than taken for a comment: a file
//! that holds it was written for Dunlin or Migretti.

use super::markers::{Convention, Key, Migrate, Versions};

pub(super) const METAPG: Convention = Convention {
    name: "Metapg",
    keys: &[Key::Description, Key::Depends],
    migrate: Migrate::Refused,
    versions: Versions::Numbers,
};
