//! `wait`: until the database holds what is asked for, whoever brings that about.

use crate::project::{Project, Ran, line, table};

const SESSIONS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dunlin/%' AND datname = current_database()";

/// What a folder is called for `--digest`.
async fn digest(project: &Project) -> String {
    let packed = project.dunlin_with(&["pack", "--name", "shop", "--namespace", "shop", "--secret", "db"], &[]).await;
    let at = packed.code(0).stdout.find("sha256:").expect("it names the digest");
    packed.stdout[at..at + "sha256:".len() + 64].to_owned()
}

/// Waits, and does something once it is seen to wait.
async fn meanwhile(project: &Project, arguments: &[&str], act: impl AsyncFnOnce()) -> Ran {
    let begun = project.begin(arguments);
    let said = begun.says_first().await;
    assert!(said.0.starts_with("waiting until the database holds"), "{}", said.0);
    act().await;
    said.1.end().await
}

/// Q75, Q76: what an init container runs ends when somebody else has applied the folder, and not before.
#[tokio::test]
async fn a_wait_ends_when_somebody_else_has_applied_the_folder() {
    let project = line(&["001", "002"]).await;
    let ran = meanwhile(&project, &["wait"], async || {
        project.dunlin(&["up"]).await.code(0);
        project.dunlin(&["wait", "--timeout", "0s"]).await.code(7).says(&["at last: 1 applied, 1 pending"]);
        project.dunlin(&["apply"]).await.code(0);
    })
    .await;
    ran.code(0).says(&["the database holds migrations: 2 applied, 0 pending"]);
    assert_eq!(ran.stdout, "");
    project.dunlin(&["wait", "--timeout", "0s"]).await.code(0);
}

/// It changes nothing, and a role that may read the history is enough.
#[tokio::test]
async fn a_wait_reads_and_nothing_else() {
    let project = line(&["001"]).await;
    project.dunlin(&["wait", "--timeout", "0s"]).await.code(7).says(&["0 applied, 1 pending"]);
    assert_eq!(project.ask("SELECT count(*) FROM pg_namespace WHERE nspname = 'dunlin'").await, "0");
    project.dunlin(&["apply"]).await.code(0);
    let role = format!("reads_{}", project.ask("SELECT current_database()").await);
    project.ask(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await;
    let (server, database) = project.url.rsplit_once('@').expect("it names a user").1.split_once('/').expect("a name");
    let url = format!("postgres://{role}:secret@{server}/{database}");
    let refused = project.dunlin_with(&["wait", "--timeout", "0s"], &[("DUNLIN_DATABASE_URL", &url)]).await;
    refused.code(6).says(&["GRANT"]);
    project
        .ask(&format!("GRANT USAGE ON SCHEMA dunlin TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA dunlin TO {role}"))
        .await;
    project.dunlin_with(&["wait", "--timeout", "0s"], &[("DUNLIN_DATABASE_URL", &url)]).await.code(0);
}

/// A server that isn't there yet, and a database that isn't, are waited for.
#[tokio::test]
async fn what_is_not_there_yet_is_waited_for() {
    let project = line(&["001"]).await;
    let (server, name) = project.url.rsplit_once('/').expect("the URL ends in a database");
    let later = format!("{server}/later_{name}");
    project.write("dunlin.yaml", &format!("database: {{url: '{later}'}}\n"));
    let begun = project.begin_with(&["wait"], &[]);
    let (said, begun) = begun.says_first().await;
    assert!(said.contains(&format!("\"later_{name}\" does not exist")), "{said}");
    project.ask(&format!("CREATE DATABASE later_{name}")).await;
    project.dunlin_with(&["apply"], &[]).await.code(0);
    begun.end().await.code(0);

    let nobody = [("DUNLIN_DATABASE_URL", "postgres://joe@127.0.0.1:1/shop")];
    let ran = project.dunlin_with(&["wait", "--timeout", "700ms"], &nobody).await;
    ran.code(7).says(&["within 0.7 s", "refused"]);
    let wrong = format!("postgres://nobody:wrong@{}", project.url.rsplit_once('@').expect("it names a user").1);
    project.dunlin_with(&["wait"], &[("DUNLIN_DATABASE_URL", &wrong)]).await.code(6);
    project.dunlin_with(&["wait", "--timeout", "1s", "--config", "gone.yaml"], &[]).await.code(3);
}

/// A migration that failed will not be applied by waiting, unless somebody mends it.
#[tokio::test]
async fn a_failed_migration_ends_it_unless_that_is_to_be_ignored() {
    let project = line(&["001"]).await;
    project.migration("002_b.sql", "SELECT nothing;\n");
    project.dunlin(&["apply"]).await.code(5);
    for arguments in [&["wait"][..], &["wait", "--version", "002"]] {
        project.dunlin(arguments).await.code(5).says(&["002_b.sql:1:8", "(run 2) will not be applied by waiting"]);
    }
    let json = project.dunlin(&["wait", "--json-log"]).await;
    let event: serde_json::Value = serde_json::from_str(&json.code(5).stderr).expect("one object");
    assert_eq!((&event["version"], &event["sqlstate"]), (&"002".into(), &"42703".into()));
    project.dunlin(&["wait", "--ignore-failures", "--timeout", "0s"]).await.code(7);
    project.dunlin(&["wait", "--ignore-failures", "--version", "002", "--timeout", "0s"]).await.code(7);
    project.migration("002_b.sql", "SELECT 1;\n");
    project.dunlin(&["wait", "--timeout", "0s"]).await.code(7).says(&["1 applied, 1 pending"]);
}

/// An edited file isn't what the database holds; more than the folder's is no less.
#[tokio::test]
async fn what_was_edited_ends_it_and_what_is_more_does_not() {
    let project = line(&["001", "002"]).await;
    project.dunlin(&["apply"]).await.code(0);
    std::fs::remove_file(project.path("migrations/002_t.sql")).expect("it is there");
    project.dunlin(&["wait", "--timeout", "0s"]).await.code(0);
    project.migration("001_t.sql", "CREATE TABLE other ();\n");
    project.dunlin(&["wait"]).await.code(4).says(&["001_t.sql"]);
}

/// A version is waited for without a folder.
#[tokio::test]
async fn a_version_takes_no_folder() {
    let project = line(&["001", "002"]).await;
    project.dunlin(&["up"]).await.code(0);
    std::fs::rename(project.path("migrations"), project.path("elsewhere")).expect("it is there");
    for version in ["001", "1", "001_t"] {
        project.dunlin(&["wait", "--version", version, "--timeout", "0s"]).await.code(0).says(&["001 is applied"]);
    }
    project.dunlin(&["wait", "--version", "002", "--timeout", "0s"]).await.code(7).says(&["002 isn't applied"]);
    project.dunlin(&["wait", "--version", "001_x"]).await.code(3).says(&["the database knows 001 as 001_t"]);
    project.dunlin(&["wait", "--version", "x"]).await.code(3);
    project.dunlin(&["wait"]).await.code(3).says(&["migrations"]);
    project.dunlin(&["wait", "--version", "001", "--digest", &format!("sha256:{}", "0".repeat(64))]).await.code(2);
}

/// A folder that a ConfigMap fills may lag behind: until it has the content that is meant, it doesn't count.
#[tokio::test]
async fn a_folder_with_yesterdays_content_is_waited_for() {
    let project = line(&["001"]).await;
    project.dunlin(&["apply"]).await.code(0);
    let (name, text) = table("002");
    project.migration(&name, &text);
    let meant = digest(&project).await;
    std::fs::remove_file(project.path("migrations/002_t.sql")).expect("it is there");
    let ran = meanwhile(&project, &["wait", "--digest", &meant], async || {
        project.dunlin(&["wait", "--timeout", "0s"]).await.code(0);
        project.migration(&name, &text);
        project.dunlin(&["wait", "--digest", &meant, "--timeout", "0s"]).await.code(7).says(&["1 applied, 1 pending"]);
        project.dunlin(&["apply"]).await.code(0);
    })
    .await;
    ran.code(0).says(&[&format!("with the content {meant}: 2 applied")]);
}

/// As process 1 of a container nothing ends it but what it listens for.
#[tokio::test]
async fn a_wait_is_stopped_at_once() {
    for signal in ["INT", "TERM"] {
        let project = line(&["001"]).await;
        let (_, begun) = project.begin(&["wait"]).says_first().await;
        begun.end_by(signal).await.code(130).says(&["stopped: it only looked"]);
        project.until(SESSIONS, "0").await;
    }
}
