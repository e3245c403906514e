//! 1,000 small migrations by `dunlin apply`, and the same statements and history rows by `psql -f`, one transaction each:
//! over loopback, and over a line with 2 ms of round trip.

use std::time::Duration;

use crate::{
    distance,
    dunlin::Project,
    psql::{self, median},
    support::postgres,
};

const MIGRATIONS: usize = 1_000;
const ROUNDS: usize = 5;
const ONE_WAY: Duration = Duration::from_millis(1);

pub async fn run() {
    let near = postgres().about().port;
    compare("over loopback", near, 1.0).await;
    compare("with 2 ms of round trip", distance::to(near, ONE_WAY), 0.5).await;
}

async fn compare(where_to: &str, port: u16, limit: f64) {
    let files = psql::files(MIGRATIONS);
    let (mut ours, mut psqls) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let project = Project::with(&files).await;
        let set = psql::ask(&project.url, "SELECT name FROM dunlin.set");
        psqls.push(psql::run(&project.url, port, set.trim(), &files));
        let project = Project::with(&files).await;
        let before = flushes(&project);
        ours.push(project.apply(port));
        let (commits, flushes) = (commits(&project), flushes(&project) - before);
        assert!(commits >= MIGRATIONS, "{commits} runs");
        println!("  {commits} migrations recorded with {flushes} flushes of the log");
    }
    let (ours, psqls) = (median(ours), median(psqls));
    println!(
        "{MIGRATIONS} migrations {where_to}, median of {ROUNDS}: dunlin apply {ours:.2} s, psql -f {psqls:.2} s, ratio \
         {:.2} (at most {limit:.2})",
        ours / psqls
    );
}

fn commits(project: &Project) -> usize {
    number(&psql::ask(&project.url, "SELECT count(*) FROM dunlin.run"))
}

fn flushes(project: &Project) -> usize {
    number(&psql::ask(&project.url, "SELECT wal_sync FROM pg_stat_wal"))
}

fn number(text: &str) -> usize {
    text.trim().parse().expect("a number")
}
