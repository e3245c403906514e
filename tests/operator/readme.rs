//! The README's words, done as they stand.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{fresh_database, kubernetes, markdown::blocks};

const README: &str = include_str!("../../README.md");

/// M01, P01, P02, H01: install lines and the quick start of our documents are run as they are written.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_migration_set_of_the_readme_and_its_way_back_work_as_written() {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"), folder.path().join("crds"))
        .expect("a link");
    let url = fresh_database().await;
    let mut operator = None;
    let mut ran = 0;
    let (first, back) = (blocks(section("## A first MigrationSet")), blocks(section("## Going back")));
    assert!(first.len() >= 8 && back.len() >= 2, "a section has lost its commands");
    for block in first.into_iter().chain(back) {
        match (block.language.as_str(), block.word.as_str()) {
            ("sh", "operator") => {
                assert_eq!(block.text.trim(), "cargo run -- operator --namespace hello");
                operator = Some(Operator::start());
            }
            ("sh", "") => {
                run(folder.path(), &block.text, &url);
                ran += 1;
            }
            ("sql" | "yaml", file) if !file.is_empty() => {
                std::fs::write(folder.path().join(file), &block.text).expect("the folder takes a file");
            }
            (language, title) => panic!("nobody knows what to do with a block of {language:?} {title:?}"),
        }
    }
    assert!(operator.is_some() && ran >= 6, "a section has lost its commands");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("it answers");
    tokio::spawn(connection);
    let there = client.query_one("SELECT to_regclass('greetings') IS NOT NULL", &[]).await.expect("it answers");
    assert!(!there.get::<_, bool>(0), "the README ends with nothing applied");
}

#[test]
fn every_make_target_of_the_readme_is_there() {
    let makefile = include_str!("../../Makefile");
    let words: Vec<&str> = README.split('`').filter(|text| text.starts_with("make ")).collect();
    assert!(words.len() >= 2);
    for command in words {
        let target = command.split_whitespace().nth(1).expect("a target");
        assert!(makefile.contains(&format!("\n{target}:")), "{command}");
    }
}

#[test]
fn every_link_of_the_readme_leads_somewhere() {
    for link in README.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link)) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
        assert!(link.starts_with("https://") || path.exists(), "{link}");
    }
}

fn section(title: &str) -> &'static str {
    let (_, rest) = README.split_once(title).expect("the README has the section");
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

fn run(folder: &Path, script: &str, url: &str) {
    let bin = kubernetes().bin();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("KUBECONFIG", kubernetes().kubeconfig())
        .env("DATABASE_URL", url)
        .output()
        .expect("bash runs");
    assert!(
        output.status.success(),
        "{script}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The operator of the README, until the test ends.
struct Operator(Child);

impl Operator {
    fn start() -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(["operator", "--namespace", "hello"])
            .env("KUBECONFIG", kubernetes().kubeconfig())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("the operator starts"))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // One that has ended by itself has failed the test already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
