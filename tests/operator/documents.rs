//! The tutorial, done as it stands; and the manifests of how an application waits, at a real API server.

use std::{path::Path, process::Command};

use crate::{
    install::install_crd,
    process::OperatorProcess,
    runbooks::page::is_as_shown,
    support::{fresh_database, kubernetes, markdown::blocks},
};

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");
const GATES: &str = include_str!("../../docs/app-gate.md");
const FROM_ELSEWHERE: [&str; 4] = [
    include_str!("../../docs/migrate/atlas-operator.md"),
    include_str!("../../docs/migrate/flyway-jobs.md"),
    include_str!("../../docs/migrate/helm-hooks.md"),
    include_str!("../../docs/migrate/schemahero.md"),
];

/// M01, P01, P02, H01: from nothing to a migrated database, and through a year, by the commands of the tutorial.
#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_works_as_written() {
    install_crd();
    let url = fresh_database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let operator = OperatorProcess::start(kubernetes(), "bookshop");
    let (mut ran, mut compared, mut printed) = (0, 0, String::new());
    for block in blocks(TUTORIAL) {
        match (block.language.as_str(), block.word.as_str()) {
            ("sh", "") => {
                printed = bash(folder.path(), &block.text, &url).await;
                ran += 1;
            }
            ("text", "printed") => {
                assert!(is_as_shown(&block.text, &printed), "shown is\n{}\nprinted was\n{printed}", block.text);
                compared += 1;
            }
            ("sql" | "yaml", file) if !file.is_empty() => {
                std::fs::write(folder.path().join(file), &block.text).expect("the folder takes a file");
            }
            (language, word) => panic!("nobody knows what to do with a block of {language:?} {word:?}"),
        }
    }
    assert!(ran > 9 && compared > 4, "the tutorial has lost its commands");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("it answers");
    tokio::spawn(connection);
    let left = "SELECT string_agg(column_name, ' ' ORDER BY table_name, ordinal_position) \
                FROM information_schema.columns WHERE table_schema = 'public'";
    let left: String = client.query_one(left, &[]).await.expect("it answers").get(0);
    assert_eq!(left, "id name id author_id title notes", "it ends at 003, with its tables still there");
    operator.end().await;
}

async fn bash(folder: &Path, script: &str, url: &str) -> String {
    let path = format!("{}:{}", kubernetes().bin().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env("PATH", path)
        .env("KUBECONFIG", kubernetes().kubeconfig())
        .env("DATABASE_URL", url);
    let output = tokio::task::spawn_blocking(move || command.output().expect("bash runs")).await.expect("it ends");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

/// What the page says to apply is accepted, with every field of it known.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_every_manifest_of_the_gates() {
    let namespace = kubernetes().fresh_namespace().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut manifests = 0;
    for block in blocks(GATES) {
        assert_eq!(block.language, "yaml", "nobody knows what to do with it");
        std::fs::write(folder.path().join(&block.word), &block.text).expect("the folder takes a file");
        let apply = format!(
            "kubectl apply --server-side --dry-run=server --validate=strict --namespace {namespace} -f {}",
            block.word
        );
        let printed = bash(folder.path(), &apply, "").await;
        let objects = block.text.split("\n---\n").count();
        assert_eq!(printed.lines().count(), objects, "{printed}");
        manifests += 1;
    }
    assert_eq!(manifests, 4, "the page has lost a manifest");
}

/// What the pages for those who come from elsewhere end with is accepted likewise.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_every_set_of_those_who_come_from_elsewhere() {
    install_crd();
    let namespace = kubernetes().fresh_namespace().await;
    let folder = tempfile::tempdir().expect("a folder");
    for page in FROM_ELSEWHERE {
        let sets: Vec<_> = blocks(page).into_iter().filter(|block| block.word == "after").collect();
        let [set] = sets.as_slice() else { panic!("a page ends with one set") };
        let text = set.text.replace("namespace: shop", &format!("namespace: {namespace}"));
        std::fs::write(folder.path().join("after.yaml"), text).expect("the folder takes a file");
        let apply = "kubectl apply --server-side --dry-run=server --validate=strict -f after.yaml";
        assert!(bash(folder.path(), apply, "").await.contains("migrationset.dunlin.dev/shop serverside-applied"));
    }
}

/// The containers of the page call the program in a way that it understands, by either of its names.
#[test]
fn the_program_understands_the_arguments_of_the_gates() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("kubectl-dunlin");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dunlin"), &plugin).expect("a link");
    let lines = GATES.lines().filter_map(|line| line.trim().strip_prefix("args: [")?.strip_suffix(']'));
    let calls: Vec<Vec<&str>> =
        lines.map(|line| line.split(", ").map(|argument| argument.trim_matches('"')).collect()).collect();
    assert_eq!(calls.len(), 2);
    for (program, arguments) in [Path::new(env!("CARGO_BIN_EXE_dunlin")), &plugin].into_iter().zip(calls) {
        // There is no such file and no such cluster, which is found out behind the arguments.
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", folder.path().join("none"))
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The image has the program under the name that the page calls.
#[test]
fn the_image_has_the_plugin_where_the_page_says() {
    assert!(GATES.contains("command: [/kubectl-dunlin]"));
    assert!(include_str!("../../Containerfile").contains("ln -s dunlin /image/kubectl-dunlin"));
}
