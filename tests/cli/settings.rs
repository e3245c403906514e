//! `dunlin.yaml`, the environment and flags: where a setting comes from, and what is refused.

use crate::project::{Project, line};

/// The parts of a URL of the tests' server.
fn parts(url: &str) -> [String; 5] {
    let rest = url.split_once("://").expect("a URL").1;
    let (login, rest) = rest.split_once('@').expect("a login");
    let (user, password) = login.split_once(':').expect("a password");
    let (address, name) = rest.split_once('/').expect("a database");
    let (host, port) = address.split_once(':').expect("a port");
    let name = name.split('?').next().expect("a name");
    [user, password, host, port, name].map(str::to_owned)
}

/// M03, M05, M07, M09: fields, an environment's own over them, and variables in values.
#[tokio::test]
async fn a_database_is_named_by_fields_and_environments() {
    let project = line(&["001"]).await;
    let [user, password, host, port, name] = parts(&project.url);
    project.write(
        "dunlin.yaml",
        &format!(
            "set: shop\ndatabase:\n  host: {host}\n  port: {port}\n  user: {user}\n  password: ${{SECRET}}\n  dbname: nowhere\n\
             envs:\n  Staging:\n    database: {{dbname: {name}}}\n    lock_id: 42\n  other:\n    database: {{dbname: \"${{NEVER_SET}}\"}}\n"
        ),
    );
    let secret = [("SECRET", password.as_str())];
    project.dunlin_with(&["apply"], &secret).await.code(6).says(&["nowhere"]);
    project.dunlin_with(&["apply", "--env", "staging"], &secret).await.code(0).says(&["applied 001_t.sql"]);
    assert_eq!(project.ask("SELECT name || ' ' || lock_id FROM dunlin.set").await, "shop 42");
    let by_variable = [("SECRET", password.as_str()), ("DUNLIN_ENV", "STAGING")];
    project.dunlin_with(&["status", "--exit-code"], &by_variable).await.code(0);
    let ran = project.dunlin_with(&["apply", "--env", "typo"], &secret).await;
    ran.code(3).says(&["there is no environment typo", "Staging, other"]);
    let ran = project.dunlin_with(&["apply", "--env", "other"], &secret).await;
    ran.code(3).says(&["dunlin.yaml: envs.other.database.dbname", "NEVER_SET isn't set"]);
    project.dunlin_with(&["apply"], &[]).await.code(3).says(&["dunlin.yaml: database.password", "SECRET isn't set"]);
}

/// Q80, Q18: what needs no database needs none of its variables, in a commit hook as anywhere.
#[tokio::test]
async fn files_are_worked_on_without_the_databases_variables() {
    let project = line(&["001"]).await;
    project.write("dunlin.yaml", "database: {url: \"${NEVER_SET}\"}\nenvs: {a: {database: {url: \"${NOR_THIS}\"}}}\n");
    for command in [&["lint"][..], &["heads"], &["sql"], &["show", "001"], &["create", "next"], &["lint", "--env", "a"]]
    {
        let ran = project.dunlin_with(command, &[]).await;
        assert!(!ran.stderr.contains("isn't set"), "{command:?}: {}", ran.stderr);
    }
    project.dunlin_with(&["status"], &[]).await.code(3).says(&["NEVER_SET isn't set"]);
    project.dunlin_with(&["lint", "--url", "postgres://joe@db/shop"], &[]).await.code(2).says(&["--url"]);
}

/// M38, Q06: a file of variables counts where it is asked for, behind the process's own; PG* fill what nobody says.
#[tokio::test]
async fn variables_come_from_the_process_or_a_file() {
    let project = line(&["001"]).await;
    let [user, password, host, port, name] = parts(&project.url);
    project.write(
        ".env",
        &format!("PGHOST={host}\nPGPORT={port}\nPGUSER={user}\nPGDATABASE=nowhere\nPGPASSWORD='{password}'\n"),
    );
    project.dunlin_with(&["apply"], &[]).await.code(3).says(&["no database is named"]);
    let named = [("PGDATABASE", name.as_str())];
    project.dunlin_with(&["apply", "--env-file", ".env"], &named).await.code(0);
    project.write("broken.env", "A=1\nnonsense\n");
    project.dunlin_with(&["apply", "--env-file", "broken.env"], &[]).await.code(3).says(&["broken.env:2"]);
}

/// M06: a URL beside an environment that is named might be another's, and is refused unless somebody means it.
#[tokio::test]
async fn a_url_beside_a_named_environment_is_refused() {
    let project = line(&["001"]).await;
    project.write("dunlin.yaml", "envs: {staging: {database: {host: nowhere.invalid, user: joe}}}\n");
    let url = [("DUNLIN_DATABASE_URL", project.url.as_str())];
    let ran = project.dunlin_with(&["apply", "--env", "staging"], &url).await;
    ran.code(3).says(&["DUNLIN_DATABASE_URL", "--url-overrides"]);
    assert_eq!(project.tables().await, "");
    project.dunlin_with(&["apply", "--env", "staging", "--url-overrides"], &url).await.code(0);
    let ran = project.dunlin_with(&["status", "--url", &project.url], &[]).await;
    ran.code(0).says(&["--url has a password in it"]);
    let [_, password, ..] = parts(&project.url);
    assert!(!ran.stderr.contains(&password) && !ran.stdout.contains(&password), "{}", ran.stderr);
}

/// M31: a protected environment asks, in any case of its name, and refuses where nobody can be asked.
#[tokio::test]
async fn a_protected_environment_wants_a_yes() {
    for (env, fields, protected) in [
        ("prod", "", true),
        ("PRODUCTION", "", true),
        ("Live", "", true),
        ("staging", "protected: true", true),
        ("staging", "", false),
    ] {
        let project = line(&["001"]).await;
        project.write("dunlin.yaml", &format!("envs:\n  {env}: {{database: {{url: \"${{THE_URL}}\"}}, {fields}}}\n"));
        let url = [("THE_URL", project.url.as_str())];
        let ran = project.dunlin_with(&["apply", "--env", env], &url).await;
        if protected {
            ran.code(8).says(&["001_t", "--yes", "Nothing was done"]);
            assert_eq!(project.tables().await, "", "{env}");
            project.dunlin_with(&["apply", "--env", env, "--yes"], &url).await.code(0);
            project.dunlin_with(&["down", "--env", env], &url).await.code(8);
        } else {
            ran.code(0);
        }
        assert_eq!(project.tables().await, "t_001", "{env}");
    }
}

/// A field that nobody honours is an error, wherever it stands; policies are those of a MigrationSet.
#[tokio::test]
async fn a_field_that_is_none_is_refused_by_its_path() {
    let project = Project::with(&[("002_b.sql", "SELECT 2;\n")]).await;
    for (settings, says) in [
        ("databse: {host: x}\n", "unknown field `databse`"),
        ("envs: {a: {migrations: x}}\n", "unknown field `migrations`"),
        ("policy: {outOfOder: Allow}\n", "policy.outOfOder: is no field"),
        ("policy: {lockTimeout: soon}\n", "policy.lockTimeout"),
        ("lock_id: often\n", "lock_id: is no whole number"),
        ("database: {port: [1]}\n", "dunlin.yaml: database.port"),
        ("- 1\n", "holds no fields"),
        ("a: b: c\n", "line 1"),
    ] {
        project.write("dunlin.yaml", settings);
        let env: &[&str] = if settings.contains("envs") { &["--env", "a"] } else { &[] };
        let ran = project.dunlin_with(&[&["status"], env].concat(), &[]).await;
        ran.code(3).says(&[says]);
    }
    project.write("dunlin.yaml", "policy: {outOfOrder: Allow}\n");
    project.dunlin(&["apply"]).await.code(0);
    project.migration("001_a.sql", "SELECT 1;\n");
    project.dunlin(&["apply"]).await.code(0).says(&["applied 001_a.sql"]);
}

/// What asks for approval asks by hand, too, and the digest is the one that a MigrationSet's plan has.
#[tokio::test]
async fn a_plan_waits_for_its_digest_by_hand() {
    let project = line(&["001"]).await;
    project.write("dunlin.yaml", "approval: {required: Always}\n");
    let digest = project.dunlin(&["plan", "-o", "json"]).await.json()["digest"].as_str().expect("a digest").to_owned();
    project.dunlin(&["apply"]).await.code(4).says(&[&format!("--approve {digest}")]);
    assert_eq!(project.tables().await, "");
    project.dunlin(&["apply", "--approve", &digest]).await.code(0);
    assert_eq!(project.tables().await, "t_001");
    assert_eq!(project.ask("SELECT approved_by FROM dunlin.plan").await, "dunlin by hand: --approve");
}
