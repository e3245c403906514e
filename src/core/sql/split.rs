//! Statements by psql's own rules.
