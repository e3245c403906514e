//! Nothing to do with 1,000 applied, all checksums verified: the time from start to exit, and the memory at its most.

use std::process::Command;

use crate::{
    binary,
    dunlin::Project,
    psql::{self, median},
    support::postgres,
};

const MIGRATIONS: usize = 1_000;
const ROUNDS: usize = 25;

/// Starts a command again and again, and prints how long it took and what it took at most: what the kernel says of a child
/// that has ended. It never says less than its parent had when it started it: hence the barest of interpreters.
const MEASURE: &str = "\
import os, sys, time
null = os.open('/dev/null', os.O_RDWR)
actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
for _ in range(int(sys.argv[1])):
    start = time.perf_counter()
    child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=actions)
    _, status, used = os.wait4(child, 0)
    print(status, time.perf_counter() - start, used.ru_maxrss)
";

pub async fn run() {
    let project = Project::with(&psql::files(MIGRATIONS)).await;
    project.apply(postgres().about().port);
    for verb in ["apply", "status", "verify"] {
        let (seconds, mib): (Vec<f64>, Vec<f64>) = measure(&project, verb).into_iter().unzip();
        println!(
            "dunlin {verb} with {MIGRATIONS} applied and nothing to do, median of {ROUNDS}: {:.1} ms, {:.1} MiB (apply: under 20 \
             ms and 12 MB)",
            median(seconds) * 1e3,
            median(mib)
        );
    }
}

/// Of each round, seconds from start to exit, and MiB at most.
fn measure(project: &Project, verb: &str) -> Vec<(f64, f64)> {
    let output = Command::new("python3")
        .args(["-I", "-S", "-c", MEASURE, &ROUNDS.to_string()])
        .arg(binary::dunlin())
        .arg(verb)
        .current_dir(project.folder())
        .env("DUNLIN_DATABASE_URL", &project.url)
        .output()
        .expect("python3 is on the PATH");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let round = |line: &str| {
        let words: Vec<f64> = line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let &[status, seconds, kib] = words.as_slice() else { panic!("{line}") };
        assert!(status == 0.0, "dunlin {verb} failed");
        (seconds, kib / 1024.0)
    };
    let rounds: Vec<(f64, f64)> = said.lines().map(round).collect();
    assert_eq!(rounds.len(), ROUNDS, "{}", String::from_utf8_lossy(&output.stderr));
    rounds
}
