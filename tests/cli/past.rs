//! `baseline`, `history`, `config view`, `sql`, and events as JSON.

use crate::project::{Project, Ran, line};

/// The objects on stderr, a line each.
fn events(ran: &Ran) -> Vec<serde_json::Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    ran.stderr.lines().map(parse).collect()
}

/// Q55, Q42: what a database has already is recorded on a person's word, and nothing of it runs.
#[tokio::test]
async fn a_database_without_a_history_is_recorded_as_it_is() {
    let project = line(&["001", "002", "003"]).await;
    project.ask("CREATE TABLE t_001 (a int)").await;
    project.ask("CREATE TABLE t_002 (a int)").await;
    project.dunlin(&["baseline", "009"]).await.code(3).says(&["009", "the nearest is 003_t"]);
    project.dunlin(&["baseline", "99 x"]).await.code(3);
    assert_eq!(project.ask("SELECT count(*) FROM pg_namespace WHERE nspname = 'dunlin'").await, "0");
    let ran = project.dunlin(&["baseline", "002"]).await;
    ran.code(0).says(&["recorded on trust, not run: 001_t.sql\n", "recorded on trust, not run: 002_t.sql\n"]);
    assert!(!ran.stderr.contains("003"), "{}", ran.stderr);
    let rows = "SELECT string_agg(version || ' ' || state || ' ' || length(checksum), ', ' ORDER BY version) FROM dunlin.migration";
    assert_eq!(project.ask(rows).await, "001 stamped 64, 002 stamped 64");
    assert_eq!(project.tables().await, "t_001 t_002");
    let again = project.dunlin(&["stamp", "003"]).await;
    again.code(4).says(&["has a history", "2 applied", "002_t", "Nothing was recorded"]);
    project.dunlin(&["apply"]).await.code(0).says(&["applied 003_t.sql"]);
    assert_eq!(project.tables().await, "t_001 t_002 t_003");
}

/// M31: a protected environment asks before anything is recorded, too.
#[tokio::test]
async fn a_baseline_wants_a_yes_where_it_is_protected() {
    let project = line(&["001"]).await;
    project.write("dunlin.yaml", "protected: true\n");
    project.dunlin(&["baseline", "001"]).await.code(8).says(&["--yes", "Nothing was done"]);
    assert_eq!(project.ask("SELECT count(*) FROM pg_namespace WHERE nspname = 'dunlin'").await, "0");
    project.dunlin(&["stamp", "1", "--yes"]).await.code(0);
}

/// M36, Q17, Q52: who did what, when, for how long, and how it ended, failures and decisions among them; the newest last.
#[tokio::test]
async fn the_history_tells_every_run() {
    let project = line(&["001"]).await;
    assert_eq!(project.dunlin(&["history", "-o", "json"]).await.code(0).json(), serde_json::json!([]));
    project.dunlin(&["apply"]).await.code(0);
    project.dunlin(&["down"]).await.code(0);
    project.migration("002_b.sql", "-- migrate: no-transaction\nSELECT nothing;\n");
    project.dunlin(&["apply"]).await.code(5);
    let runs = project.dunlin(&["history", "-o", "json"]).await.code(0).json();
    let told: Vec<_> = runs
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| {
            ["version", "direction", "kind", "outcome"]
                .map(|name| run[name].as_str().unwrap_or_default().to_owned())
                .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        ["001 up apply succeeded", "001 down rollback succeeded", "001 up apply succeeded", "002 up apply failed"]
    );
    let failed = &runs[3];
    assert_eq!((&failed["sqlstate"], &failed["line"], &failed["run"]), (&"42703".into(), &2.into(), &4.into()));
    assert!(failed["performedBy"].as_str().is_some_and(|by| by.starts_with("dunlin by hand")), "{failed}");
    assert!(
        failed["durationMs"].is_i64() && failed["startedAt"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{failed}"
    );
    assert!(
        runs[0].get("error").is_none() && runs[0]["checksum"].as_str().is_some_and(|sum| sum.len() == 64),
        "{runs}"
    );
    project.dunlin(&["resolve", "--run", "4", "--as", "mark-applied"]).await.code(0);
    let last = project.dunlin(&["history", "-n", "1"]).await;
    let lines: Vec<&str> = last.code(0).stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", last.stdout);
    assert!(lines[0].starts_with("RUN ") && lines[1].starts_with("4 "), "{}", last.stdout);
    let before = project.dunlin(&["history", "-n", "2", "--skip", "1", "-o", "json"]).await.code(0).json();
    let runs: Vec<_> = before.as_array().expect("a list").iter().map(|run| run["run"].as_i64()).collect();
    assert_eq!(runs, [Some(2), Some(3)], "a page further back");
    for word in ["up 002_b", "failed", "42703", "MarkApplied", "dunlin by hand"] {
        assert!(lines[1].contains(word), "no {word} in {}", last.stdout);
    }
    project.dunlin(&["history", "-n", "0"]).await.code(2);
}

/// M38: every setting with its place; a flag wins over the environment, which wins over the file; no secret is shown.
#[tokio::test]
async fn the_settings_are_shown_as_they_count_and_without_secrets() {
    let project = Project::new().await;
    project.write(
        "dunlin.yaml",
        "set: shop\nrole: owner\npolicy: {lockTimeout: 9s}\ndatabase: {host: db1, password: \"${SECRET}\"}\n\
         envs:\n  prod: {role: admin, database: {url: \"postgres://joe:hunter2@db2:6000/shop?password=hunter3\", dbname: other}}\n",
    );
    let environment = [("SECRET", "hunter1"), ("PGPASSWORD", "hunter4"), ("PGUSER", "pg"), ("PGCONNECT_TIMEOUT", "5")];
    let view = |arguments: &'static [&'static str]| {
        let arguments: Vec<&str> = ["config", "view", "-o", "json"].iter().chain(arguments).copied().collect();
        let (project, environment) = (&project, &environment);
        async move {
            let ran = project.dunlin_with(&arguments, environment).await;
            assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("hunter"), "{}", ran.stdout);
            let list = ran.code(0).json();
            let setting = |setting: &serde_json::Value| {
                let value = setting["value"].as_str().map_or_else(|| setting["value"].to_string(), str::to_owned);
                format!(
                    "{} = {value} ({})",
                    setting["name"].as_str().unwrap_or_default(),
                    setting["from"].as_str().unwrap_or_default()
                )
            };
            list.as_array().expect("a list").iter().map(setting).collect::<Vec<_>>()
        }
    };
    let has = |settings: &[String], expected: &[&str]| {
        for expected in expected {
            assert!(settings.iter().any(|setting| setting == expected), "no {expected} in {settings:#?}");
        }
    };
    has(
        &view(&[]).await,
        &[
            "env = default (the default)",
            "protected = false (the default)",
            "set = shop (dunlin.yaml: set)",
            "schema = dunlin (the default)",
            "role = owner (dunlin.yaml: role)",
            "database.host = db1 (dunlin.yaml: database.host)",
            "database.password = … (dunlin.yaml: database.password)",
            "database.user = pg (PGUSER)",
            "database.connect_timeout = 5 (PGCONNECT_TIMEOUT)",
            "policy.lockTimeout = 9s (dunlin.yaml: policy.lockTimeout)",
            "policy.rollback = Deny (the default)",
        ],
    );
    has(
        &view(&["--env", "prod", "-m", "elsewhere"]).await,
        &[
            "env = prod (--env)",
            "protected = true (the environment's name)",
            "migrations = elsewhere (--migrations)",
            "role = admin (dunlin.yaml: envs.prod.role)",
            "database.host = db2 (dunlin.yaml: envs.prod.database.url)",
            "database.port = 6000 (dunlin.yaml: envs.prod.database.url)",
            "database.dbname = other (dunlin.yaml: envs.prod.database.dbname)",
            "database.password = … (dunlin.yaml: envs.prod.database.url)",
        ],
    );
    let flag = view(&["--url", "host=db3 user=joe"]).await;
    has(&flag, &["database.host = db3 (--url)", "database.user = joe (--url)", "database.password = … (PGPASSWORD)"]);
    let text = project.dunlin_with(&["config", "view"], &environment).await;
    assert!(text.code(0).stdout.starts_with("SETTING ") && !text.stdout.contains("hunter"), "{}", text.stdout);
    let broken = [("DUNLIN_DATABASE_URL", "postgres://joe:hunter2@a@b/shop"), ("SECRET", "x")];
    let broken = project.dunlin_with(&["config", "view"], &broken).await;
    assert!(!broken.code(3).stderr.contains("hunter"), "{}", broken.stderr);
    let help = project.dunlin_with(&["config", "view", "--help"], &[]).await;
    assert!(help.code(0).stdout.contains("A flag wins over"), "{}", help.stdout);
}

/// Q56: a range of files as they are, in the direction that is asked for, and no database.
#[tokio::test]
async fn a_range_of_files_is_printed_without_a_database() {
    let text = "CREATE TABLE ü (a text DEFAULT 'line\n\n');  -- why\n";
    let project = Project::with(&[
        ("001_a.sql", text),
        ("002_b.sql", "-- migrate: no-transaction\n-- migrate: up\nSELECT 2\n-- migrate: down\nSELECT -2;\n"),
        ("003_c.sql", "-- migrate: up\nSELECT 3;\n-- migrate: down\nSELECT -3;\n"),
    ])
    .await;
    let sql = async |arguments: &[&str]| project.dunlin_with(&[&["sql"], arguments].concat(), &[]).await;
    let ran = sql(&[]).await;
    assert_eq!(ran.code(0).stdout, format!("{text}SELECT 2\nSELECT 3;\n"));
    ran.says(&["up 001_a\nup 002_b, outside of a transaction\n", "002_b.sql ends without a semicolon"]);
    assert_eq!(sql(&["--from", "2_b", "--to", "002"]).await.code(0).stdout, "SELECT 2\n");
    assert_eq!(sql(&["--to", "1"]).await.code(0).stdout, text);
    assert_eq!(sql(&["--from", "002", "--down"]).await.code(0).stdout, "SELECT -3;\nSELECT -2;\n");
    sql(&["--down"]).await.code(4).says(&["001_a.sql has no way down"]);
    for (wrong, says) in [
        (&["--from", "9"][..], "there are 001_a.sql to 003_c.sql"),
        (&["--from", "3", "--to", "1"], "nothing between them"),
        (&["--to", "2_x"], "that version's file is 002_b.sql"),
    ] {
        let ran = sql(wrong).await;
        ran.code(3).says(&[says]);
        assert_eq!(ran.stdout, "");
    }
}

/// A script for each shell, which knows the verbs and their flags; by the plugin's name it is the plugin's.
#[tokio::test]
async fn shells_complete_command_lines() {
    let project = Project::new().await;
    for (shell, says) in [("bash", "complete -F _dunlin"), ("zsh", "#compdef dunlin"), ("fish", "complete -c dunlin")] {
        let ran = project.dunlin_with(&["completion", shell], &[]).await;
        for word in [says, "baseline", "lock-timeout", "json-log"] {
            assert!(ran.code(0).stdout.contains(word), "no {word} for {shell}");
        }
    }
    project.dunlin_with(&["completion", "tcsh"], &[]).await.code(2).says(&["possible values: bash, zsh, fish"]);
    project.write("script.sh", "source <(dunlin completion bash); COMP_WORDS=(dunlin basel); COMP_CWORD=1; _dunlin dunlin basel dunlin; echo \"${COMPREPLY[@]}\"");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_dunlin")).parent().expect("a folder").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let script = project.path("script.sh");
    let bash = std::process::Command::new("bash").arg(script).env("PATH", path).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&bash.stdout), "baseline\n", "{}", String::from_utf8_lossy(&bash.stderr));
}

/// M33: on either side of the verb, one object a line, with the events that people are told.
#[tokio::test]
async fn events_are_told_to_programs_as_they_are_to_people() {
    let project = line(&["001"]).await;
    let ran = project.dunlin(&["--json-log", "apply"]).await;
    let applied = events(ran.code(0)).into_iter().find(|event| event["event"] == "applied").expect("it was applied");
    assert_eq!(
        (&applied["set"], &applied["version"], &applied["direction"], &applied["message"]),
        (&"default".into(), &"001".into(), &"up".into(), &"applied 001_t.sql".into())
    );
    assert!(applied["durationMs"].is_i64(), "{applied}");
    let names: Vec<_> = events(&ran).iter().map(|event| event["event"].clone()).collect();
    assert_eq!(names, ["running", "applied"], "each event is told once");
    let at = applied["timestamp"].as_str().expect("a time");
    assert!(at.len() == 24 && at.ends_with('Z') && at.as_bytes()[10] == b'T', "{at}");
    project.migration("002_b.sql", "SELECT nothing;\n");
    for arguments in
        [&["plan", "--execute", "--log-format", "json"][..], &["apply", "--json-log"], &["plan", "--json-log"]]
    {
        let ran = project.dunlin(arguments).await;
        let error = events(ran.code(5)).pop().expect("an error");
        assert_eq!(
            ["event", "set", "version", "sqlstate", "direction"].map(|field| error[field].as_str()),
            ["error", "default", "002", "42703", "up"].map(Some),
            "{error}"
        );
        assert_eq!(error["statement"], 1, "{error}");
        assert!(error["message"].as_str().is_some_and(|words| words.starts_with("002_b.sql:1:8: ")), "{error}");
    }
    let ran = project.dunlin(&["nonsense-file", "--json-log"]).await;
    ran.code(2);
    project.dunlin(&["status", "--json-log", "--log-format", "text"]).await.code(2);
    let ran = project.dunlin_with(&["status", "--json-log"], &[]).await;
    assert_eq!(events(ran.code(3))[0]["event"], "error");
}
