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
