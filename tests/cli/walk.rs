//! The way of a user who comes from Migretti: the commands of that tool's document, in its order, with `dunlin` for `mg`
//! and `dunlin.yaml` for `mg.yaml`. What the document says comes of each is asserted.

use crate::{
    project::{Project, Ran},
    support::{fresh_database, postgres},
};

/// A project that is what the document's reader has: an empty folder and a password in the environment.
struct Reader {
    project: Project,
    password: String,
}

impl Reader {
    async fn new() -> Self {
        let project = Project::new().await;
        std::fs::remove_dir(project.path("migrations")).expect("it is empty");
        Self { project, password: postgres().about().password.clone() }
    }

    async fn dunlin(&self, arguments: &[&str]) -> Ran {
        self.dunlin_with(arguments, &[]).await
    }

    async fn dunlin_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Ran {
        let path = std::env::var("PATH").unwrap_or_default();
        let environment = [&[("DB_PASSWORD", self.password.as_str()), ("PATH", &path)], more].concat();
        self.project.dunlin_with(arguments, &environment).await
    }

    /// `create`, and a table with a way back written into what it made.
    async fn table(&self, name: &str) -> String {
        self.migration(name, &format!("CREATE TABLE {name} (a int);"), &format!("DROP TABLE {name};")).await
    }

    async fn migration(&self, name: &str, up: &str, down: &str) -> String {
        let file = self.dunlin(&["create", name]).await.code(0).stdout.trim().to_owned();
        let made = std::fs::read_to_string(self.project.path(&file)).expect("it is there");
        let (header, _) = made.split_once("-- migrate: up\n").expect("it has sections");
        let text = format!("{header}-- migrate: up\n{up}\n\n-- migrate: down\n{down}\n");
        self.project.write(&file, &text);
        file.trim_start_matches("migrations/").to_owned()
    }
}

fn database(url: &str) -> &str {
    url.rsplit('/').next().expect("a URL ends in its database")
}

/// M01 to M39: sections 2 to 6 of the document.
#[tokio::test]
async fn the_document_of_migretti_is_followed_command_by_command() {
    let reader = Reader::new().await;
    let production = fresh_database().await;
    begins(&reader, &production).await;
    works(&reader).await;
    goes_further(&reader).await;
    is_safe(&reader, &production).await;
}

/// Sections 2 and 3: a project, its settings, and the variables over them.
async fn begins(reader: &Reader, production: &str) {
    let Reader { project, .. } = reader;
    reader.dunlin(&["init"]).await.code(0);
    assert!(project.path("migrations").is_dir());
    let about = postgres().about();
    project.write(
        "dunlin.yaml",
        &format!(
            "database:\n  host: {host}\n  port: {port}\n  user: {user}\n  password: ${{DB_PASSWORD}}\n  dbname: {mine}\n\n\
             lock_id: 894321\n\n\
             envs:\n  production:\n    database:\n      host: {host}\n      dbname: {theirs}\n    lock_id: 999999\n\n\
             hooks:\n  pre_apply: echo \"Backup starting...\"\n  post_apply: echo \"Migration complete.\"\n",
            host = about.host,
            port = about.port,
            user = about.user,
            mine = database(&project.url),
            theirs = database(production),
        ),
    );
    let unset = [("PATH", "/usr/bin:/bin")];
    project.dunlin_with(&["status"], &unset).await.code(3).says(&["DB_PASSWORD", "database.password"]);
    let elsewhere = [("DUNLIN_DATABASE_URL", production)];
    let said = reader.dunlin_with(&["config", "view"], &elsewhere).await;
    assert!(said.code(0).stdout.contains("DUNLIN_DATABASE_URL"), "{}", said.stdout);
    let said = reader.dunlin_with(&["config", "view"], &[("DUNLIN_ENV", "production"), ("DUNLIN_LOCK_ID", "7")]).await;
    assert!(said.code(0).stdout.contains(database(production)), "{}", said.stdout);
    assert!(!said.stdout.contains(&reader.password) && !said.stderr.contains(&reader.password));
}

/// Section 4: create, apply, up, down, rollback, status, list, verify.
async fn works(reader: &Reader) {
    let Reader { project, .. } = reader;
    let users = reader.migration("add_users_table", USERS, "DROP TABLE users;").await;
    assert!(users.len() == "01H00000000000000000000000_add_users_table.sql".len(), "a ULID and the name: {users}");
    reader.dunlin(&["apply"]).await.code(0).says(&["Backup starting...", "applied", "Migration complete."]);
    assert_eq!(project.tables().await, "users");

    reader.table("posts").await;
    let comments = reader.table("comments").await;
    reader.dunlin(&["up"]).await.code(0);
    assert_eq!(project.tables().await, "posts users");
    reader.dunlin(&["apply"]).await.code(0);
    reader.dunlin(&["down"]).await.code(0);
    assert_eq!(project.tables().await, "posts users");
    reader.dunlin(&["apply"]).await.code(0);
    reader.dunlin(&["rollback", "3", "--yes"]).await.code(0);
    assert_eq!(project.tables().await, "");
    reader.dunlin(&["apply"]).await.code(0);

    let status = reader.dunlin(&["status"]).await.code(0).stdout.clone();
    assert!(status.contains("applied      3\n") && status.contains("pending      0\n"), "{status}");
    let list = reader.dunlin(&["list"]).await.code(0).stdout.clone();
    assert_eq!(list.lines().filter(|line| line.contains("applied")).count(), 3, "{list}");
    reader.dunlin(&["verify"]).await.code(0);
    let path = format!("migrations/{comments}");
    let text = std::fs::read_to_string(project.path(&path)).expect("it is there");
    project.write(&path, &text.replace("(a int)", "(b int)"));
    let said = reader.dunlin(&["verify"]).await;
    assert!(said.code(1).stdout.contains(&comments) || said.stderr.contains(&comments), "{}", said.stdout);
    project.write(&path, &text);
    reader.dunlin(&["verify"]).await.code(0);
}

const USERS: &str = "CREATE TABLE users (id SERIAL PRIMARY KEY, name TEXT);";

/// Sections 5.1 to 5.5: outside of transactions, dry runs, seeds, hooks, squashing.
async fn goes_further(reader: &Reader) {
    let Reader { project, .. } = reader;
    let index = reader.dunlin(&["create", "idx_users"]).await.code(0).stdout.trim().to_owned();
    let concurrently =
        "-- migrate: no-transaction\n-- migrate: up\nCREATE INDEX CONCURRENTLY idx_users ON users(nam);\n";
    project.write(&index, concurrently);
    let failed = reader.dunlin(&["apply"]).await;
    failed.code(5).says(&["idx_users", "nam", "42703", "dunlin resolve"]);
    assert!(reader.dunlin(&["list"]).await.stdout.contains("failed"));
    reader.dunlin(&["apply"]).await.code(5).says(&["nothing runs until a person decides"]);
    project.write(&index, &concurrently.replace("(nam)", "(name)"));
    let run = project.ask("SELECT max(id) FROM dunlin.run WHERE outcome = 'failed'").await;
    reader.dunlin(&["resolve", "--run", &run, "--as", "retry"]).await.code(0);
    reader.dunlin(&["apply"]).await.code(0);
    assert_eq!(project.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_users'::regclass").await, "t");

    // The second one needs the first.
    let users = reader.migration("tags", "CREATE TABLE tags (id int PRIMARY KEY);", "DROP TABLE tags;").await;
    reader.migration("tagged", "CREATE TABLE tagged (tag int REFERENCES tags);", "DROP TABLE tagged;").await;
    let preview = reader.dunlin(&["apply", "--dry-run"]).await;
    assert!(preview.code(0).stdout.contains("CREATE TABLE tags (id int PRIMARY KEY);"), "{}", preview.stdout);
    assert!(!preview.stderr.contains("Backup starting"), "a dry run runs no hook: {}", preview.stderr);
    assert_eq!(project.tables().await, "comments posts users");
    reader.dunlin(&["list"]).await.code(0);
    assert!(users.contains("tags"));

    let seed = reader.dunlin(&["seed", "create", "initial_data"]).await.code(0).stdout.trim().to_owned();
    assert!(seed.starts_with("seeds/") && project.path(&seed).is_file(), "{seed}");
    project.write(&seed, "INSERT INTO users (name) VALUES ('Ada');\n");
    reader.dunlin(&["apply"]).await.code(0);
    reader.dunlin(&["seed"]).await.code(0);
    reader.dunlin(&["seed"]).await.code(0);
    assert_eq!(project.ask("SELECT count(*) FROM users").await, "1", "a seed is recorded");

    hooks(reader).await;

    reader.table("one").await;
    reader.table("two").await;
    reader.dunlin(&["squash", "release_v1"]).await.code(0);
    let files: Vec<String> = std::fs::read_dir(project.path("migrations"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    assert!(files.iter().any(|name| name.ends_with("_release_v1.sql")), "{files:?}");
    assert!(!files.iter().any(|name| name.ends_with("_one.sql")), "{files:?}");
    reader.dunlin(&["apply"]).await.code(0);
    assert!(project.tables().await.contains("one") && project.tables().await.contains("two"));
}

/// Section 5.4: scripts before applying and after going back.
async fn hooks(reader: &Reader) {
    let Reader { project, .. } = reader;
    std::fs::create_dir(project.path("scripts")).expect("a folder");
    project.write("scripts/backup_db.sh", "#!/bin/sh\necho \"backup of $DUNLIN_SET\" >> told\n");
    project.write("scripts/notify_team.sh", "#!/bin/sh\necho \"back: $DUNLIN_DIRECTION $DUNLIN_OUTCOME\" >> told\n");
    for script in ["scripts/backup_db.sh", "scripts/notify_team.sh"] {
        use std::os::unix::fs::PermissionsExt as _;
        let path = project.path(script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let settings = std::fs::read_to_string(project.path("dunlin.yaml")).expect("it is there");
    let (before, _) = settings.split_once("hooks:\n").expect("it has hooks");
    let hooks = "hooks:\n  pre_apply: ./scripts/backup_db.sh\n  post_rollback: ./scripts/notify_team.sh\n";
    project.write("dunlin.yaml", &format!("{before}{hooks}"));
    reader.table("hooked").await;
    reader.dunlin(&["apply"]).await.code(0);
    reader.dunlin(&["apply"]).await.code(0);
    reader.dunlin(&["down"]).await.code(0);
    let told = std::fs::read_to_string(project.path("told")).expect("the scripts ran");
    assert_eq!(told, "backup of default\nback: down succeeded\n", "only when there is work");
}

/// Sections 5.6 to 6: production asks, one at a time, logs for machines, the licence.
async fn is_safe(reader: &Reader, production: &str) {
    let Reader { project, .. } = reader;
    let refused = reader.dunlin(&["apply", "--env", "production"]).await;
    refused.code(8).says(&["production", "--yes"]);
    reader.dunlin(&["apply", "--env", "production", "--yes"]).await.code(0);
    let (there, connection) = tokio_postgres::connect(production, tokio_postgres::NoTls).await.expect("it answers");
    tokio::spawn(connection);
    let applied: i64 = there.query_one("SELECT count(*) FROM dunlin.migration", &[]).await.expect("it is ours").get(0);
    assert!(applied > 3, "{applied}");

    reader.table("locked").await;
    project.take_lock().await;
    reader.dunlin(&["apply", "--wait", "0s"]).await.code(7).says(&["pid"]);
    project.ask("SELECT pg_advisory_unlock_all()").await;

    let logged = reader.dunlin(&["apply", "--json-log"]).await;
    let events = logged.code(0).stderr.lines();
    let events: Vec<serde_json::Value> =
        events.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(events.iter().any(|event| event["event"] == "applied"), "{events:?}");

    let licence = reader.dunlin(&["licenses"]).await.code(0).stdout.clone();
    assert!(licence.contains("Apache License"), "{}", &licence[..licence.len().min(200)]);
}
