//! Random migrations of both kinds, from a seed; and what a database is after them, found by sending their statements
//! one after the other, without Dunlin.

use futures::SinkExt as _;
use rand::{RngExt as _, rngs::StdRng};

use super::subject::Files;

/// What a random set begins with.
const BASE: &str = "CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL)
INSERT INTO items SELECT g, 'item ' || g FROM generate_series(1, 300) AS g
CREATE TYPE mood AS ENUM ('good')
CREATE TABLE parts (id int NOT NULL) PARTITION BY LIST (id)
CREATE MATERIALIZED VIEW names AS SELECT id, name FROM items
CREATE UNIQUE INDEX names_id ON names (id)";

/// One statement, and the data that follow a COPY.
struct Statement {
    sql: String,
    data: Option<&'static str>,
}

/// One migration.
pub struct Migration {
    pub version: String,
    pub transactional: bool,
    /// Whether it is written with its own BEGIN and COMMIT.
    framed: bool,
    statements: Vec<Statement>,
}

/// The migrations of one set.
pub struct Migrations(pub Vec<Migration>);

impl Migrations {
    pub fn random(rng: &mut StdRng, count: usize) -> Self {
        let first = Migration {
            version: version(1),
            transactional: true,
            framed: false,
            statements: BASE.lines().map(plain).collect(),
        };
        let rest = (2..=count).map(|number| {
            if rng.random_bool(0.5) { transactional(rng, number) } else { non_transactional(rng, number) }
        });
        Self(std::iter::once(first).chain(rest).collect())
    }

    pub fn files(&self) -> Files {
        self.0.iter().map(|migration| (format!("{}_random.sql", migration.version), migration.text())).collect()
    }

    /// Runs everything in a database, statement by statement.
    pub async fn run_on(&self, client: &tokio_postgres::Client) -> Result<(), tokio_postgres::Error> {
        let statements = self.0.iter().flat_map(|migration| &migration.statements);
        for Statement { sql, data } in statements.filter(|statement| !statement.sql.starts_with("SELECT pg_sleep")) {
            match data {
                None => client.batch_execute(sql).await?,
                Some(data) => {
                    let mut sink = std::pin::pin!(client.copy_in::<_, std::io::Cursor<Vec<u8>>>(sql.as_str()).await?);
                    sink.send(std::io::Cursor::new(data.as_bytes().to_vec())).await?;
                    sink.as_mut().finish().await?;
                }
            }
        }
        Ok(())
    }
}

impl Migration {
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.transactional {
            text.push_str("-- migrate: no-transaction\n");
        }
        if self.framed {
            text.push_str("BEGIN;\n");
        }
        for Statement { sql, data } in &self.statements {
            text.push_str(sql);
            text.push_str(";\n");
            if let Some(data) = data {
                text.push_str(data);
                text.push_str("\\.\n");
            }
        }
        if self.framed {
            text.push_str("COMMIT;\n");
        }
        text
    }
}

fn version(number: usize) -> String {
    format!("{number:03}")
}

fn plain(sql: impl Into<String>) -> Statement {
    Statement { sql: sql.into(), data: None }
}

fn trace(number: usize, ordinal: usize) -> Statement {
    plain(format!("INSERT INTO trace VALUES ('{}', {ordinal})", version(number)))
}

fn pause(rng: &mut StdRng) -> Statement {
    plain(format!("SELECT pg_sleep({:.3})", rng.random_range(0.0..0.12)))
}

fn transactional(rng: &mut StdRng, number: usize) -> Migration {
    let mut statements = vec![pause(rng)];
    match rng.random_range(0..4) {
        0 => statements.extend([
            plain(format!("CREATE TABLE made_{number} (id int PRIMARY KEY, item int REFERENCES items DEFERRABLE INITIALLY DEFERRED)")),
            plain(format!("INSERT INTO made_{number} SELECT g, g FROM generate_series(1, 40) AS g")),
        ]),
        1 => statements.extend([
            plain(format!("ALTER TABLE items ADD COLUMN c_{number} int NOT NULL DEFAULT 0")),
            pause(rng),
            plain(format!("UPDATE items SET c_{number} = id + {number}")),
        ]),
        2 => statements.extend([
            plain(format!("CREATE TABLE copied_{number} (id int, name text)")),
            Statement { sql: format!("COPY copied_{number} FROM stdin"), data: Some("1\tone\n2\ttwo\n") },
        ]),
        _ => statements.push(plain(format!("UPDATE items SET name = name || '{}' WHERE id % 7 = {}", number % 10, number % 7))),
    }
    statements.extend([pause(rng), trace(number, 1)]);
    Migration { version: version(number), transactional: true, framed: rng.random_bool(0.2), statements }
}

fn non_transactional(rng: &mut StdRng, number: usize) -> Migration {
    let mut statements = vec![trace(number, 1)];
    for _ in 0..rng.random_range(1..4) {
        let ordinal = statements.len() + 1;
        let name = format!("i_{number}_{ordinal}");
        let version = version(number);
        match rng.random_range(0..11) {
            0 => statements.push(plain(format!("CREATE INDEX CONCURRENTLY {name} ON items (name, id)"))),
            1 => statements
                .push(plain(format!("CREATE UNIQUE INDEX CONCURRENTLY {name} ON items (id) WHERE id > {number}"))),
            2 => statements.extend([
                plain(format!("CREATE INDEX {name} ON items ((id % 10))")),
                plain(format!("DROP INDEX CONCURRENTLY {name}")),
            ]),
            3 => statements.push(plain("REINDEX INDEX CONCURRENTLY items_pkey")),
            4 => statements.push(plain("VACUUM (ANALYZE) items")),
            5 => statements.push(plain(format!("ALTER TYPE mood ADD VALUE 'v{number}_{ordinal}'"))),
            6 => statements.push(plain(format!("CALL twice('{version}', {ordinal})"))),
            7 => statements.push(plain("REFRESH MATERIALIZED VIEW CONCURRENTLY names")),
            8 => statements.extend([
                plain(format!("CREATE TABLE {name} PARTITION OF parts FOR VALUES IN ({number}{ordinal:02})")),
                plain(format!("ALTER TABLE parts DETACH PARTITION {name} CONCURRENTLY")),
            ]),
            9 => statements.extend([
                plain(format!("CREATE TABLE copied_{name} (id int, name text)")),
                Statement { sql: format!("COPY copied_{name} FROM stdin"), data: Some("3\tthree\n") },
            ]),
            _ => statements.push(pause(rng)),
        }
        if rng.random_bool(0.4) {
            statements.push(pause(rng));
        }
    }
    let last = statements.len() + 1;
    statements.push(trace(number, last));
    Migration { version: version(number), transactional: false, framed: false, statements }
}
