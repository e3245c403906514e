//! Many small migrations, and what `psql -f` reads to do the same: each statement with its history rows between BEGIN
//! and COMMIT.

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

use crate::support::postgres;

/// Files that make a table each, by name.
pub fn files(count: usize) -> BTreeMap<String, String> {
    (1..=count)
        .map(|number| {
            let text = format!("CREATE TABLE t{number} (id bigint PRIMARY KEY, name text NOT NULL);\n");
            (format!("{number:04}_table_{number}.sql"), text)
        })
        .collect()
}

/// The time of a `psql` process that does the same to a database whose history has a set of that name, seconds. It goes
/// by that port.
pub fn run(url: &str, port: u16, set: &str, files: &BTreeMap<String, String>) -> f64 {
    let token = ask(url, "SELECT session FROM dunlin.set");
    let script = script(&read(files), set, token.trim());
    let path = std::env::temp_dir().join(format!("dunlin-bench-{}.sql", std::process::id()));
    std::fs::write(&path, script).expect("the temp folder takes a file");
    let start = Instant::now();
    let status = psql(url, port).args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&path).stdout(Stdio::null()).status();
    let seconds = start.elapsed().as_secs_f64();
    std::fs::remove_file(&path).expect("it was just written");
    assert!(status.expect("psql is on the PATH").success(), "psql failed");
    seconds
}

fn script(dir: &MigrationDir, set: &str, token: &str) -> String {
    let writer = Writer {
        tables: Tables::new("dunlin", set),
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

/// The answer to a query, as `psql` prints it bare.
pub fn ask(url: &str, query: &str) -> String {
    let output = psql(url, postgres().about().port).args(["-Atc", query]).output().expect("psql is on the PATH");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `psql` on that database; its password goes by the environment.
fn psql(url: &str, port: u16) -> Command {
    let about = postgres().about();
    let database = url.rsplit('/').next().expect("the URL ends in a database");
    let mut command = Command::new("psql");
    command
        .args(["-X", "-h", &about.host, "-p", &port.to_string(), "-U", &about.user, "-d", database])
        .env("PGPASSWORD", &about.password);
    command
}

/// The middle of the measured times.
pub fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
