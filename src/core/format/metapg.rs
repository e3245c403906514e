//! The file format of metapg.migration.
