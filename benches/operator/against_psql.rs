//! 1,000 small migrations through the operator, and the same statements and history rows through `psql -f`, one
//! transaction each.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    process::{Command, Stdio},
    time::Instant,
};

use dunlin::{
    core::{
        bundle::{Bundle, BundleFile},
        desired::{Desired, Owner},
        format::{self, Format},
        job::Job,
        migration::MigrationDir,
    },
    database::history::{
        Tables,
        rows::{Outcome, RunRow, Writer},
    },
};

use crate::{
    median,
    operator::{Operator, create_set, put_config_map, ready_with},
    support::{fresh_database, fresh_namespace, postgres},
};

const MIGRATIONS: usize = 1_000;
const ROUNDS: usize = 5;

pub async fn run() {
    let files = files();
    let namespace = fresh_namespace().await;
    let _operator = Operator::start(&namespace);
    let (mut ours, mut psqls) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        psqls.push(by_psql(&files).await);
        ours.push(by_operator(&namespace, round, &files).await);
    }
    let (ours, psqls) = (median(ours), median(psqls));
    println!(
        "{MIGRATIONS} migrations, median of {ROUNDS}: operator {ours:.2} s, psql -f {psqls:.2} s, ratio {:.2} (at most 1.10)",
        ours / psqls
    );
}

fn files() -> BTreeMap<String, String> {
    (1..=MIGRATIONS)
        .map(|number| {
            let text = format!("CREATE TABLE t{number} (id bigint PRIMARY KEY, name text NOT NULL);\n");
            (format!("{number:04}_table_{number}.sql"), text)
        })
        .collect()
}

/// From the MigrationSet's creation to Ready, seconds; the ConfigMap is there before.
async fn by_operator(namespace: &str, round: usize, files: &BTreeMap<String, String>) -> f64 {
    let name = format!("bench-{round}");
    put_config_map(namespace, &name, files.clone()).await;
    let url = fresh_database().await;
    let start = Instant::now();
    create_set(namespace, &name, &url, "1h").await;
    let ready = ready_with(namespace, &name, i64::try_from(MIGRATIONS).expect("a small number")).await;
    (ready - start).as_secs_f64()
}

/// The time of the `psql` process, seconds.
async fn by_psql(files: &BTreeMap<String, String>) -> f64 {
    // The history's tables as the operator makes them, from a set of one migration.
    let url = fresh_database().await;
    let namespace = fresh_namespace().await;
    let first: BTreeMap<String, String> = [("0000_first.sql".to_owned(), "SELECT 1;\n".to_owned())].into();
    put_config_map(&namespace, "psql", first).await;
    let operator = Operator::start(&namespace);
    create_set(&namespace, "psql", &url, "1h").await;
    ready_with(&namespace, "psql", 1).await;
    drop(operator);

    let token = ask(&url, "SELECT session FROM dunlin.set");
    let script = script(&read(files), token.trim());
    let path = std::env::temp_dir().join(format!("dunlin-bench-{}.sql", std::process::id()));
    std::fs::write(&path, script).expect("the temp folder takes a file");
    let start = Instant::now();
    let status = psql(&url).args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&path).stdout(Stdio::null()).status();
    let seconds = start.elapsed().as_secs_f64();
    std::fs::remove_file(&path).expect("it was just written");
    assert!(status.expect("psql is on the PATH").success(), "psql failed");
    seconds
}

/// What `psql -f` reads: each statement with its history rows between BEGIN and COMMIT.
fn script(dir: &MigrationDir, token: &str) -> String {
    let writer = Writer {
        tables: Tables::new("dunlin", "psql"),
        token: token.to_owned(),
        by: "psql".to_owned(),
        plan_digest: None,
        source_digest: "sha256:0".to_owned(),
        generation: Some(1),
        batch: 2,
    };
    let desired = Desired::new(Owner { namespace: "bench".to_owned(), name: "psql".to_owned() });
    dir.migrations().iter().fold(String::new(), |mut script, migration| {
        let job = Job::up(migration, None, &desired);
        let record = writer.record(&job, RunRow::New("apply"), 1, Outcome::Succeeded);
        let _ = writeln!(script, "BEGIN;\n{}\n{record};\nCOMMIT;", migration.up.text);
        script
    })
}

fn read(files: &BTreeMap<String, String>) -> MigrationDir {
    let files = files
        .iter()
        .map(|(name, text)| BundleFile {
            name: name.clone(),
            bytes: text.clone().into_bytes(),
            origin: "the bench".to_owned(),
        })
        .collect();
    format::read(&Bundle::new(files).expect("names are unique"), Format::Auto).expect("the files are good")
}

fn ask(url: &str, query: &str) -> String {
    let output = psql(url).args(["-Atc", query]).output().expect("psql is on the PATH");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `psql` on that database; its password goes by the environment.
fn psql(url: &str) -> Command {
    let about = postgres().about();
    let database = url.rsplit('/').next().expect("the URL ends in a database");
    let mut command = Command::new("psql");
    command
        .args(["-X", "-h", &about.host, "-p", &about.port.to_string(), "-U", &about.user, "-d", database])
        .env("PGPASSWORD", &about.password);
    command
}
