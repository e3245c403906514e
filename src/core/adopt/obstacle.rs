//! Why another tool's history isn't taken over: what, where, and the ways out of whoever reads it.

use super::Tool;
use crate::core::{desired::Audience, outcome::Reason, plan::list};

/// Why nothing is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The tool has no table here.
    NoTable {
        /// The tool.
        from: Tool,
        /// What was looked for.
        looked_for: String,
        /// What has the name, and can't be it.
        unfit: Vec<String>,
    },
    /// It may have any of these.
    SeveralTables {
        /// The tool.
        from: Tool,
        /// Their schemas and names.
        tables: Vec<String>,
    },
    /// The tool has failed, and nobody knows what of it there is.
    Unfinished {
        /// The tool.
        from: Tool,
        /// Its table.
        table: String,
        /// What failed.
        rows: Vec<String>,
    },
    /// The tool has applied what the source hasn't.
    NoFile {
        /// The tool.
        from: Tool,
        /// Its table.
        table: String,
        /// What has no file, and what may have become of that.
        rows: Vec<String>,
    },
    /// Our own history says something else.
    Otherwise {
        /// The tool.
        from: Tool,
        /// Its table.
        table: String,
        /// What of, and what it says.
        rows: Vec<String>,
    },
    /// Files aren't what the tool applied.
    Edited {
        /// The tool.
        from: Tool,
        /// The files, each with both checksums.
        rows: Vec<String>,
    },
}

impl Obstacle {
    /// The reason that says it best.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoTable { .. } | Self::SeveralTables { .. } | Self::Unfinished { .. } | Self::Otherwise { .. } => {
                Reason::InvalidSpec
            }
            Self::NoFile { .. } => Reason::MissingMigration,
            Self::Edited { .. } => Reason::ChecksumDrift,
        }
    }

    /// Whether what was asked for is wrong, and not what was found.
    #[must_use]
    pub fn is_of_the_settings(&self) -> bool {
        matches!(self, Self::NoTable { .. } | Self::SeveralTables { .. })
    }

    /// What it is, and what to do about it.
    #[must_use]
    pub fn message(&self, audience: Audience) -> String {
        let (what, next) = self.parts(audience);
        match audience {
            Audience::MigrationSet => format!("spec.history.adopt: {what}. Nothing was recorded: {next}"),
            Audience::CommandLine => format!("{what}. Nothing was recorded: {next}"),
        }
    }

    fn parts(&self, audience: Audience) -> (String, String) {
        let by_hand = |flag: &str| match audience {
            Audience::MigrationSet => format!("take the history over by hand, with dunlin import {flag}"),
            Audience::CommandLine => format!("say so with {flag}"),
        };
        match self {
            Self::NoTable { from, looked_for, unfit } => {
                let unfit = if unfit.is_empty() { String::new() } else { format!("; {}", list(unfit.iter())) };
                let what = format!(
                    "the database has no history of {from}'s: no schema that can be seen has {looked_for}{unfit}"
                );
                let named = by_hand("--table SCHEMA.NAME");
                (
                    what,
                    format!(
                        "see to it that this is the database that {from} worked on; where its table has another name, {named}"
                    ),
                )
            }
            Self::SeveralTables { from, tables } => {
                let what = format!("each of these may be the history of {from}: {}", list(tables.iter()));
                (what, format!("keep one of them, or, where one is meant, {}", by_hand("--table SCHEMA.NAME")))
            }
            Self::Unfinished { from, table, rows } => {
                let what = format!(
                    "{from} failed at {} ({table}), and nobody knows what of it the database has",
                    list(rows.iter())
                );
                let next = match from {
                    Tool::Migretti => "mg fix ID --applied, or --remove".to_owned(),
                    Tool::Metapg => format!("set error to NULL in its row of {table}, or delete the row"),
                    Tool::Psqlmodel | Tool::Herogold => format!("mend its row in {table}, or delete it"),
                };
                (what, format!("finish it by hand or undo it, and tell {from} which of the two: {next}"))
            }
            Self::NoFile { from, table, rows } => {
                let what = format!("{from} has applied what has no file here: {} ({table})", list(rows.iter()));
                (
                    what,
                    format!(
                        "put the files back as {from} applied them, under their versions; others can be joined later"
                    ),
                )
            }
            Self::Otherwise { from, table, rows } => {
                let what = format!(
                    "{from} has applied what this history says something else of: {} ({table})",
                    list(rows.iter())
                );
                let next = format!(
                    "decide with dunlin resolve about what failed or was cut off; and of what was rolled back, delete the row from {table}, \
                     having undone it where it is there again"
                );
                (what, next)
            }
            Self::Edited { from, rows } => {
                let what = format!("edited since {from} applied it: {}", list(rows.iter()));
                let policy = match audience {
                    Audience::MigrationSet => "let spec.policy.onChecksumDrift be Report, or ",
                    Audience::CommandLine => "",
                };
                let accepted = by_hand("--accept-checksums");
                (
                    what,
                    format!(
                        "put the text back that was applied; or, where the files are right as they are, {policy}{accepted}"
                    ),
                )
            }
        }
    }
}
