//! Variables of migration files by hand: from dunlin.yaml, the environment and flags, into what runs, and into a cluster.

use crate::project::Project;

const SETTINGS: &str = "variables:\n  tenant: acme\n  password: \"${PW}\"\n\
                        envs:\n  other: {variables: {tenant: \"oth'er\"}}\n";
const FILE: (&str, &str) = (
    "001_it.sql",
    "CREATE TABLE :\"tenant\" (a text DEFAULT :'password');\nINSERT INTO :\"tenant\" DEFAULT VALUES;\n\
     -- migrate: down\nDROP TABLE :\"tenant\";\n",
);

async fn project() -> Project {
    let project = Project::with(&[FILE]).await;
    project.write("dunlin.yaml", SETTINGS);
    project
}

/// M09, M37: a value of dunlin.yaml, of an environment, of the process, and of a flag, which wins.
#[tokio::test]
async fn values_come_from_settings_the_environment_and_flags() {
    for (arguments, table) in [
        (&["apply"][..], "acme"),
        (&["apply", "--env", "other", "--url-overrides"], "\"oth'er\""),
        (&["apply", "--variable", "tenant=a=b", "-v", "unused=x"], "\"a=b\""),
    ] {
        let project = project().await;
        let environment = [("DUNLIN_DATABASE_URL", project.url.as_str()), ("PW", "it's ${tenant}")];
        let ran = project.dunlin_with(arguments, &environment).await;
        ran.code(0).says(&["applied 001_it.sql"]);
        assert!(!ran.stderr.contains("it's"), "{}", ran.stderr);
        assert_eq!(project.ask(&format!("SELECT a FROM {table}")).await, "it's ${tenant}");
    }
    let project = project().await;
    project.dunlin(&["apply"]).await.code(3).says(&["dunlin.yaml: variables.password", "PW isn't set"]);
    project
        .dunlin_with(&["plan", "--variable", "tenant"], &[("PW", "x")])
        .await
        .code(3)
        .says(&["--variable", "NAME=VALUE"]);
}

/// M22: the plan is what would run, but for what the environment gives.
#[tokio::test]
async fn a_plan_shows_values_and_no_secrets() {
    let project = project().await;
    let environment = [("DUNLIN_DATABASE_URL", project.url.as_str()), ("PW", "hunter2")];
    let ran = project.dunlin_with(&["plan"], &environment).await;
    let expected = "CREATE TABLE  \"acme\" (a text DEFAULT :'password');\nINSERT INTO  \"acme\" DEFAULT VALUES;\n";
    assert_eq!(ran.code(0).stdout, expected);
    let ran = project.dunlin_with(&["plan", "-o", "json"], &environment).await;
    assert_eq!(ran.json()["steps"][0]["variables"], serde_json::json!(["password", "tenant"]));
    assert_eq!(ran.json()["steps"][0]["sql"], expected);
    let ran = project.dunlin_with(&["config", "view"], &environment).await;
    assert!(ran.stdout.contains("acme") && !ran.stdout.contains("hunter2"), "{}", ran.stdout);
    // What knows no database prints the file.
    let ran = project.dunlin_with(&["sql"], &[]).await;
    assert!(ran.code(0).stdout.contains("CREATE TABLE :\"tenant\" (a"), "{}", ran.stdout);
    let ran = project.dunlin_with(&["show", "001"], &[]).await;
    assert!(ran.code(0).stdout.contains(":'password'"), "{}", ran.stdout);
}

/// A secret is in no message, and a migration that it made fail is tried again by whoever asks for it.
#[tokio::test]
async fn a_secret_that_fails_is_not_said_and_another_is_tried() {
    let project = Project::with(&[("001_it.sql", "SELECT :'password'::int;\n")]).await;
    project.write("dunlin.yaml", "variables: {password: \"${PW}\"}\n");
    // What the driver would log of each message, too.
    let with = |pw: &'static str| [("DUNLIN_DATABASE_URL", project.url.as_str()), ("PW", pw), ("RUST_LOG", "trace")];
    for command in [&["plan", "--execute"][..], &["apply"], &["apply"]] {
        let ran = project.dunlin_with(command, &with("hunter2")).await;
        ran.code(5).says(&["001_it.sql:1:8", "invalid input syntax for type integer: \":'password'\""]);
        assert!(!ran.stderr.contains("hunter2") && !ran.stdout.contains("hunter2"), "{}{}", ran.stdout, ran.stderr);
    }
    let kept = project.ask("SELECT string_agg(to_jsonb(r)::text, ' ') FROM dunlin.run AS r").await;
    assert!(!kept.contains("hunter2"), "{kept}");
    project.dunlin_with(&["apply"], &with("1")).await.code(0).says(&["applied 001_it.sql"]);
}

/// M09: what nobody declares is said with its place before anything runs, and by lint.
#[tokio::test]
async fn what_is_not_declared_is_named() {
    let project = Project::with(&[
        ("001_before.sql", "CREATE TABLE before ();\n"),
        ("002_it.sql", "SELECT 1,\n  :'tenat', (ARRAY[1])[1:\"n\"] FROM (VALUES (1)) AS v (n);\n"),
    ])
    .await;
    project.write("dunlin.yaml", "variables: {tenant: acme}\n");
    let ran = project.dunlin(&["apply"]).await;
    ran.code(3).says(&["002_it.sql:2:3: :'tenat'", "did you mean tenant?", "--variable tenat"]);
    assert_eq!(project.tables().await, "");
    let ran = project.dunlin(&["lint"]).await;
    ran.code(0);
    assert!(
        ran.stdout.contains("002_it.sql:2:3: warning: :'tenat' is a variable that nobody declares"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("warning: dunlin.yaml: variables.tenant: no file uses tenant"), "{}", ran.stdout);
    let remarks = project.dunlin(&["lint", "-o", "json"]).await.json();
    let reasons: Vec<_> = remarks["remarks"].as_array().into_iter().flatten().map(|it| it["reason"].clone()).collect();
    assert_eq!(reasons, ["UndeclaredVariable", "UnusedVariable"]);
    project.dunlin(&["apply", "-v", "tenat=x"]).await.code(0);
}

/// M09: into a cluster go the values that stand in dunlin.yaml; of the others, where the cluster has them.
#[tokio::test]
async fn pack_takes_variables_along() {
    let project = project().await;
    let pack = ["pack", "--name", "shop", "--namespace", "shop", "--secret", "db"];
    let ran = project.dunlin_with(&pack, &[("PW", "hunter2")]).await;
    ran.code(3).says(&["dunlin.yaml: variables.password", "--variable-from password=SECRET/KEY"]);
    let from = [&pack[..], &["--variable-from", "password=values/pw"]].concat();
    let ran = project.dunlin_with(&from, &[]).await;
    let set = ran.code(0).stdout.split("---\n").last().unwrap_or_default().to_owned();
    for line in ["name: tenant", "value: acme", "secretKeyRef:", "name: values", "key: pw"] {
        assert!(set.contains(line), "{set}");
    }
    let wrong = [&pack[..], &["--variable-from", "nobody=values/pw"]].concat();
    project.dunlin_with(&wrong, &[]).await.code(3).says(&["--variable-from nobody=values/pw"]);
}

/// M14: a way down has the values of its time.
#[tokio::test]
async fn a_rollback_has_the_values_of_its_time() {
    let project = project().await;
    let with = |pw: &'static str| [("DUNLIN_DATABASE_URL", project.url.as_str()), ("PW", pw)];
    project.dunlin_with(&["apply"], &with("x")).await.code(0);
    project.ask("ALTER TABLE acme RENAME TO renamed").await;
    std::fs::remove_file(project.path("migrations/001_it.sql")).expect("it is removed");
    project.migration("002_pending.sql", "SELECT 2;\n");
    project.write("dunlin.yaml", "set: default\n");
    let ran = project.dunlin_with(&["down"], &with("x")).await;
    ran.code(3).says(&[":\"tenant\" is a variable", "no tenant is declared"]);
    project.dunlin_with(&["down", "-v", "tenant=renamed"], &with("x")).await.code(0);
    assert_eq!(project.tables().await, "");
}
