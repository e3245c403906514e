//! The history's tables: their layout, how they are read, and the rows that a run writes.
//!
//! They are a format. Every row that a run writes proves the run's claim: its `set` column, which is NOT NULL, comes
//! from a subquery that finds nothing once somebody else has claimed the set.

pub mod layout;
pub mod read;
pub mod rows;
pub mod runs;

use super::quote;

/// Where a set's history is: names quoted once, here.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The schema, as the spec names it.
    pub schema: String,
    /// The set, as the spec names it.
    pub set: String,
    quoted: String,
}

impl Tables {
    /// Names the tables of `schema` and the rows of `set` in them.
    #[must_use]
    pub fn new(schema: &str, set: &str) -> Self {
        Self { schema: schema.to_owned(), set: set.to_owned(), quoted: quote::identifier(schema) }
    }

    /// `"dunlin"."run"`.
    #[must_use]
    pub fn table(&self, name: &str) -> String {
        format!("{}.{}", self.quoted, quote::identifier(name))
    }

    /// What `who` needs to read the history and to write it: statements for a person to run.
    #[must_use]
    pub fn grants(&self, who: &str) -> String {
        let (schema, who) = (&self.quoted, quote::identifier(who));
        format!(
            "GRANT USAGE ON SCHEMA {schema} TO {who}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {who}"
        )
    }

    /// The set's name as a literal.
    #[must_use]
    pub fn set_literal(&self) -> String {
        quote::literal(&self.set)
    }

    /// The subquery that proves a claim: the set's name while `token` is the last claim, else NULL. Its row lock makes
    /// a successor's claim wait for a commit under way.
    #[must_use]
    pub fn claim(&self, token: &str) -> String {
        format!(
            "(SELECT claimed.name FROM {} AS claimed WHERE claimed.name = {} AND claimed.session = {} FOR UPDATE)",
            self.table("set"),
            self.set_literal(),
            quote::literal(token)
        )
    }
}
