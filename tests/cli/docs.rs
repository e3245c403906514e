//! The documents of the command line, done as they stand.

use std::process::Command;

use crate::{project::Project, support::markdown::blocks};

/// M01, P01, P02: every command of the document is run, in order, on a real database.
#[tokio::test]
async fn the_commands_of_the_document_work_as_written() {
    let project = Project::new().await;
    std::fs::remove_dir(project.path("migrations")).expect("init makes it");
    let text = include_str!("../../docs/command-line.md");
    let mut ran = 0;
    for block in blocks(text) {
        match (block.language.as_str(), block.word.as_str()) {
            ("sh", "") => {
                for line in block.text.lines().filter(|line| line.starts_with("dunlin")) {
                    run(&project, line);
                    ran += 1;
                }
            }
            ("sql" | "yaml" | "python", file) if !file.is_empty() => {
                let folder = project.path(file).parent().map(std::fs::create_dir_all);
                folder.expect("it is in a folder").expect("the folder can be made");
                project.write(file, &block.text);
            }
            (language, title) => panic!("nobody knows what to do with a block of {language:?} {title:?}"),
        }
    }
    assert!(ran > 15, "the document has lost its commands");
    assert_eq!(project.tables().await, "posts region tags users", "the document ends with these");
    assert_eq!(project.ask("SELECT string_agg(name, ' ') FROM dunlin.set").await, "default");
}

/// Runs a line by a shell that knows `dunlin`.
fn run(project: &Project, line: &str) {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_dunlin")).parent().expect("it is in a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-euc", line])
        .current_dir(project.folder.path())
        .env("PATH", path)
        .env("DATABASE_URL", &project.url)
        .env("READER_PASSWORD", "correct-horse")
        .env("DUNLIN_DATABASE_URL", &project.url)
        .output()
        .expect("there is a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `docs/cli.md` is what the binary says of itself.
#[tokio::test]
async fn the_page_of_every_command_is_generated() {
    let project = Project::new().await;
    let generated = project.dunlin_with(&["docs"], &[]).await;
    let page = include_str!("../../docs/cli.md");
    assert_eq!(generated.code(0).stdout, page, "run make generate, and commit it");
    for verb in ["apply", "rollback", "merge", "resolve", "operator"] {
        assert!(page.contains(&format!("\n## dunlin {verb}\n")), "{verb}");
    }
}

/// What the tool of a page has left in the database, before the page begins, and the history at its end.
const LEFT_BEHIND: [(&str, &str, &str); 4] = [
    (
        include_str!("../../docs/migrate/flyway-jobs.md"),
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
         CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL);
         CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50),
           description varchar(200) NOT NULL, success boolean NOT NULL);
         INSERT INTO flyway_schema_history VALUES (1, '1', 'create users', true), (2, '2', 'create orders', true)",
        "001 stamped, 002 stamped, 003 applied",
    ),
    (
        include_str!("../../docs/migrate/atlas-operator.md"),
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
         CREATE INDEX users_by_name ON users (name);
         CREATE SCHEMA atlas_schema_revisions;
         CREATE TABLE atlas_schema_revisions.atlas_schema_revisions (version varchar PRIMARY KEY,
           applied bigint NOT NULL, total bigint NOT NULL, error text)",
        "20260215120000 stamped, 20260301090000 stamped",
    ),
    (
        include_str!("../../docs/migrate/schemahero.md"),
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL)",
        "001 stamped, 002 applied",
    ),
    (
        include_str!("../../docs/migrate/helm-hooks.md"),
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL)",
        "001 applied",
    ),
];

/// The pages for those who come from elsewhere are run as they are written, on a database as their tool leaves it.
#[tokio::test]
async fn the_ways_from_other_tools_work_as_written() {
    for (page, left, expected) in LEFT_BEHIND {
        let project = Project::new().await;
        project.ask(left).await;
        let is_migretti = page.contains("--from migretti");
        if is_migretti {
            project.ask(crate::support::tools::MIGRETTI).await;
        }
        let mut ran = 0;
        for block in blocks(page) {
            match (block.language.as_str(), block.word.as_str()) {
                ("sh", "") => {
                    run(&project, &block.text);
                    ran += 1;
                }
                ("sql", "") => {
                    project.ask(block.text.trim().trim_end_matches(';')).await;
                }
                ("sql", file) => {
                    let folder = project.path(file).parent().map(std::fs::create_dir_all);
                    folder.expect("it is in a folder").expect("the folder can be made");
                    project.write(file, &block.text);
                    if is_migretti {
                        record(&project, file).await;
                    }
                }
                ("yaml", "before" | "after") | ("console", "") => {}
                (language, word) => panic!("nobody knows what to do with a block of {language:?} {word:?}"),
            }
        }
        assert!(ran > 1, "a page has lost its commands");
        let states = "SELECT string_agg(version || ' ' || state, ', ' ORDER BY version) FROM dunlin.migration";
        assert_eq!(project.ask(states).await, expected);
    }
}

/// Writes down what Migretti would have, of a file that it applied.
async fn record(project: &Project, file: &str) {
    let output = Command::new("sha256sum").arg(project.path(file)).output().expect("it runs");
    let checksum = String::from_utf8(output.stdout).expect("it is text")[..64].to_owned();
    project.ask(&format!("INSERT INTO _migrations (id, name, checksum) VALUES ('001', 'users', '{checksum}')")).await;
}
