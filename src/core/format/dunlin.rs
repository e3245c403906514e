//! Dunlin's own file format, a superset of Migretti's and of metapg's.

use super::markers::{Convention, Key, Migrate, Versions};

pub(super) const DUNLIN: Convention = Convention {
    name: "Dunlin",
    keys: &[Key::Migration, Key::Id, Key::Description, Key::Depends, Key::Replaces],
    migrate: Migrate::Read,
    versions: Versions::Any,
};
