//! Tokens by psql's own rules.
