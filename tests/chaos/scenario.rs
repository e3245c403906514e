//! What is run while something is broken: files, and what must be there at the end.

use serde_json::{Value, json};

use super::subject::Files;

/// What every database begins with: where migrations leave their traces.
pub const SETUP: &str = "
CREATE TABLE trace (version text NOT NULL, ordinal int NOT NULL);
CREATE TABLE calls (version text NOT NULL, ordinal int NOT NULL, what text NOT NULL);
CREATE PROCEDURE twice(version text, ordinal int) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO calls VALUES (version, ordinal, 'begun');
  COMMIT;
  PERFORM pg_sleep(0.02);
  INSERT INTO calls VALUES (version, ordinal, 'ended');
  COMMIT;
END $$;";

/// A story that ends with everything applied.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub files: Files,
    /// What replaces the files once a migration has failed.
    pub mended: Option<Files>,
    /// What a person runs before a failed file goes on.
    pub mend: &'static str,
    pub spec: Value,
    /// What is asked for once everything is applied.
    pub then: Option<Then>,
    /// What stands in the way of a statement until the first try has met it.
    pub obstacle: Obstacle,
}

/// A second act.
#[derive(Debug, Clone)]
pub struct Then {
    pub spec: Value,
    /// How many of the files are applied in the end.
    pub applied: usize,
}

/// What a scenario has in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    None,
    /// A lock on `items`, until the status says `Retrying`.
    Lock,
    /// An old snapshot, for which CONCURRENTLY forms wait; the first that does is terminated there.
    Snapshot,
}

const ITEMS: &str = "CREATE TABLE items (id int PRIMARY KEY, name text);
INSERT INTO items SELECT g, 'item ' || g FROM generate_series(1, 50) AS g;
CREATE INDEX items_old ON items (id, name);
CREATE TYPE mood AS ENUM ('good');
CREATE TABLE parts (id int NOT NULL) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO trace VALUES ('001', 1);
";

fn file(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

impl Scenario {
    fn new(name: &'static str, files: Files) -> Self {
        Self { name, files, mended: None, mend: "", spec: json!({}), then: None, obstacle: Obstacle::None }
    }

    /// How many of the files are applied in the end.
    pub fn applied(&self) -> usize {
        self.then.as_ref().map_or(self.files.len(), |then| then.applied)
    }

    /// Each file in a transaction: as one message, statement by statement, and with its own BEGIN and COMMIT.
    pub fn transactional() -> Self {
        Self::new(
            "transactional",
            vec![
                file("001_items.sql", ITEMS),
                file(
                    "002_copied.sql",
                    "CREATE TABLE copied (id int, name text);\nCOPY copied FROM stdin;\n1\tone\n2\ttwo\n\\.\nINSERT INTO trace VALUES ('002', 1);\n",
                ),
                file(
                    "003_price.sql",
                    "BEGIN;\nALTER TABLE items ADD COLUMN price int NOT NULL DEFAULT 1;\nUPDATE items SET price = price + id;\nINSERT INTO trace VALUES ('003', 1);\nCOMMIT;\n",
                ),
            ],
        )
    }

    /// Statements outside of a transaction, of every kind of proof, and one that nothing proves.
    pub fn non_transactional() -> Self {
        Self::new(
            "non-transactional",
            vec![
                file("001_items.sql", ITEMS),
                file(
                    "002_index.sql",
                    "-- migrate: no-transaction
INSERT INTO trace VALUES ('002', 1);
CREATE INDEX CONCURRENTLY items_name ON items (name);
CALL twice('002', 3);
VACUUM items;
DROP INDEX CONCURRENTLY items_old;
INSERT INTO trace VALUES ('002', 6);
",
                ),
                file(
                    "003_more.sql",
                    "-- migrate: no-transaction
ALTER TYPE mood ADD VALUE 'better';
REINDEX INDEX CONCURRENTLY items_name;
ALTER TABLE parts DETACH PARTITION part_2 CONCURRENTLY;
CREATE TABLE copied (id int, name text);
COPY copied FROM stdin;
1\tone
\\.
BEGIN; UPDATE items SET name = name || '!'; INSERT INTO trace VALUES ('003', 6); COMMIT;
",
                ),
            ],
        )
    }

    /// A migration that fails in its transaction, and is mended in its file.
    pub fn failing() -> Self {
        let broken = "INSERT INTO trace VALUES ('002', 1);\nSELECT 1 / 0;\n";
        let mended = "INSERT INTO trace VALUES ('002', 1);\nSELECT 1 / 1;\n";
        Self {
            mended: Some(vec![file("001_items.sql", ITEMS), file("002_broken.sql", mended)]),
            ..Self::new("failing", vec![file("001_items.sql", ITEMS), file("002_broken.sql", broken)])
        }
    }

    /// A statement outside of a transaction that fails; a person mends the database, and has the file resumed.
    pub fn failing_non_transactional() -> Self {
        let broken = "-- migrate: no-transaction
INSERT INTO trace VALUES ('002', 1);
CREATE UNIQUE INDEX CONCURRENTLY items_half ON items ((id / 2));
INSERT INTO trace VALUES ('002', 3);
";
        Self {
            mend: "DROP INDEX IF EXISTS items_half; DELETE FROM items WHERE id % 2 = 0",
            ..Self::new("failing non-transactional", vec![file("001_items.sql", ITEMS), file("002_unique.sql", broken)])
        }
    }

    /// Everything is applied, and two of three are rolled back: one in a transaction, one statement by statement.
    pub fn there_and_back() -> Self {
        let spec = json!({"target": "001", "policy": {"rollback": "Allow"}});
        Self {
            then: Some(Then { spec, applied: 1 }),
            ..Self::new(
                "there and back",
                vec![
                    file("001_items.sql", ITEMS),
                    file(
                        "002_index.sql",
                        "-- migrate: no-transaction
-- migrate: up
INSERT INTO trace VALUES ('002', 1);
CREATE INDEX CONCURRENTLY items_name ON items (name);
-- migrate: down
INSERT INTO trace VALUES ('002', 11);
DROP INDEX CONCURRENTLY items_name;
VACUUM items;
INSERT INTO trace VALUES ('002', 14);
",
                    ),
                    file(
                        "003_price.sql",
                        "-- migrate: up
ALTER TABLE items ADD COLUMN price int NOT NULL DEFAULT 1;
INSERT INTO trace VALUES ('003', 1);
-- migrate: down
ALTER TABLE items DROP COLUMN price;
INSERT INTO trace VALUES ('003', 11);
",
                    ),
                ],
            )
        }
    }

    /// Somebody's lock is in the way for longer than a run tries.
    pub fn blocked() -> Self {
        Self {
            spec: json!({"policy": {"lockTimeout": "100ms", "lockRetries": 0}}),
            obstacle: Obstacle::Lock,
            ..Self::new(
                "blocked",
                vec![file(
                    "001_items.sql",
                    "INSERT INTO trace VALUES ('001', 1);\nALTER TABLE held ADD COLUMN b int;\n",
                )],
            )
        }
    }

    /// An index build that is cut off in the middle leaves an invalid index.
    pub fn cut_off() -> Self {
        Self {
            obstacle: Obstacle::Snapshot,
            ..Self::new(
                "cut off",
                vec![
                    file("001_items.sql", ITEMS),
                    file(
                        "002_index.sql",
                        "-- migrate: no-transaction
INSERT INTO trace VALUES ('002', 1);
CREATE INDEX CONCURRENTLY items_name ON items (name);
INSERT INTO trace VALUES ('002', 3);
",
                    ),
                ],
            )
        }
    }
}
