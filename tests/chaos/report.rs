//! Runs the parts, and prints what was survived.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dunlin::fail_points::Point;
use rand::{
    SeedableRng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};

use super::{
    Args,
    gate::Hit,
    lane::Lane,
    matrix::{self, Cell, Fault, Reference, is_of_the_api_server},
    person::Verdict,
    random::{self, Measure, Tally},
    scenario::Scenario,
};
use crate::support::kubernetes;

/// Crashes of the quick form.
const SAMPLE: usize = 10;
/// Crashes side by side.
const LANES: usize = 3;

const CRD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/migrationsets.dunlin.dev.yaml");

/// The crashes at fail points, summed up.
#[derive(Debug, Default)]
struct Crashes {
    run: usize,
    asked: usize,
    unmet: Vec<String>,
    struck: BTreeMap<(Point, Fault), usize>,
    verdict: Verdict,
}

/// Runs what the arguments say; fails when anything was done twice, lost, or told wrongly.
pub async fn run(args: &Args, seed: u64) -> ExitCode {
    println!("chaos: seed {seed} (again with --seed {seed}, or make chaos SEED={seed})");
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
    std::fs::create_dir_all(&logs).expect("the folder can be made");
    install_crd();
    let mut wrong = Verdict::default();
    let mut summary = Vec::new();
    if args.only.as_deref() != Some("random") {
        let crashes = points(args, seed, &logs).await;
        summary.push(format!("{} crashes at {} fail points", crashes.run, crashes.points()));
        wrong.add(crashes.verdict);
    }
    if args.only.as_deref() != Some("points") {
        let tally = kills(args, seed, &logs).await;
        summary.push(format!("{} kills over {} migrations", tally.kills(), tally.migrations()));
        wrong.add(tally.verdict);
    }
    println!(
        "chaos: seed {seed}: {}: {} doubles, {} losses, {} other faults",
        summary.join(", "),
        wrong.doubles.len(),
        wrong.losses.len(),
        wrong.others.len()
    );
    if wrong.is_good() {
        // They tell of nothing that went wrong.
        let _ = std::fs::remove_dir_all(&logs);
        ExitCode::SUCCESS
    } else {
        println!("chaos: FAILED; the operators' logs are in {}", logs.display());
        ExitCode::FAILURE
    }
}

fn install_crd() {
    let kubectl = |arguments: &[&str]| {
        let output = kubernetes().kubectl(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    kubectl(&["apply", "--server-side", "-f", CRD]);
    kubectl(&["wait", "crd/migrationsets.dunlin.dev", "--for=condition=Established", "--timeout=30s"]);
}

/// Crashes at fail points.
async fn points(args: &Args, seed: u64, logs: &Path) -> Crashes {
    let begun = Instant::now();
    let lanes = if args.full { LANES } else { 1 };
    let mut open = Vec::new();
    for _ in 0..lanes {
        open.push(Lane::open(args.postgres, logs.to_owned()).await);
    }
    let references = match references(&open[0]).await {
        Ok(references) => Arc::new(references),
        Err(error) => {
            println!("WRONG: {error}");
            let verdict = Verdict { others: vec![error], ..Verdict::default() };
            return Crashes { verdict, ..Crashes::default() };
        }
    };
    let every = args.matching.is_some();
    let mut cells = cells(&references, every, &mut StdRng::seed_from_u64(seed));
    if let Some(matching) = &args.matching {
        cells.retain(|(cell, _)| cell.to_string().contains(matching));
    }
    if !args.full && args.matching.is_none() {
        cells.truncate(SAMPLE);
    }
    println!("crashes at fail points: {} to come", cells.len());
    let queue = Arc::new(Mutex::new(VecDeque::from(cells)));
    let sum = Arc::new(Mutex::new(Crashes::default()));
    let workers: Vec<_> = open
        .into_iter()
        .map(|lane| tokio::spawn(work(Arc::new(lane), Arc::clone(&references), Arc::clone(&queue), Arc::clone(&sum))))
        .collect();
    for worker in workers {
        worker.await.expect("a worker catches what its crashes throw");
    }
    let mut sum = std::mem::take(&mut *sum.lock().unwrap_or_else(PoisonError::into_inner));
    if args.full && args.matching.is_none() {
        sum.verdict.others.extend(sum.left_out());
    }
    sum.print(begun.elapsed());
    sum
}

async fn references(lane: &Lane) -> Result<Vec<Reference>, String> {
    let scenarios = [
        Scenario::transactional(),
        Scenario::non_transactional(),
        Scenario::failing(),
        Scenario::failing_non_transactional(),
        Scenario::blocked(),
        Scenario::cut_off(),
        Scenario::there_and_back(),
    ];
    let mut references = Vec::new();
    for scenario in scenarios {
        references.push(Reference::of(lane, scenario).await?);
    }
    Ok(references)
}

/// Each point with each fault in both plain scenarios, at the first hit; at every later hit with a fault that chance
/// picks, unless `every` fault is asked for. Of the other scenarios what only they come past; of the way back, each hit with
/// a fault that chance picks. Each with the index of its reference.
fn cells(references: &[Reference], every: bool, rng: &mut StdRng) -> Vec<(Cell, usize)> {
    let mut cells = Vec::new();
    for (index, reference) in references.iter().enumerate() {
        let plain = index < 2;
        let back = reference.scenario.then.is_some();
        let wanted = |hit: Hit| match hit.point {
            // The way there is another scenario's.
            point if back => !is_of_the_api_server(point) && hit.count > reference.times(point) / 2,
            point if is_of_the_api_server(point) => hit.count <= if plain { 3 } else { 1 },
            Point::FailureBefore
            | Point::FailureAfter
            | Point::AmendmentBefore
            | Point::AmendmentAfter
            | Point::RetryingBefore
            | Point::RetryingAfter
            | Point::RepairBefore
            | Point::RepairAfter => true,
            // A run that is resumed is written in another way.
            Point::RunBefore | Point::RunWritten | Point::RunAfter => plain || hit.count > 1,
            _ => plain,
        };
        for hit in reference.hits().into_iter().filter(|hit| wanted(*hit)) {
            let all = every || hit.count == 1 || !plain && !back;
            let faults = Fault::ALL.sample(rng, if all { Fault::ALL.len() } else { 1 });
            cells.extend(faults.map(|fault| (reference.cell(hit, *fault), index)));
        }
    }
    cells.shuffle(rng);
    cells
}

async fn work(
    lane: Arc<Lane>,
    references: Arc<Vec<Reference>>,
    queue: Arc<Mutex<VecDeque<(Cell, usize)>>>,
    sum: Arc<Mutex<Crashes>>,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((cell, index)) = next else { return };
        let (told, begun) = (cell.to_string(), Instant::now());
        let (running, references) = (Arc::clone(&lane), Arc::clone(&references));
        let under_way = cell.clone();
        let ran = tokio::spawn(async move { matrix::run(&running, &under_way, &references[index]).await }).await;
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.run += 1;
        let ran = ran.unwrap_or_else(|error| Err(format!("a time-out or an unexpected answer: {error}")));
        let word = match &ran {
            Ok(ran) if !ran.verdict.is_good() => "WRONG",
            Ok(ran) if !ran.met => "not met",
            Ok(_) => "ok",
            Err(_) => "WRONG",
        };
        println!("  {:>4}  {told}: {word} ({:.1} s)", sum.run, begun.elapsed().as_secs_f32());
        match ran {
            Ok(ran) => {
                sum.asked += ran.asked;
                if ran.met {
                    *sum.struck.entry((cell.hit.point, cell.fault)).or_default() += 1;
                } else {
                    sum.unmet.push(told.clone());
                }
                sum.verdict.add(ran.verdict.told_of(&told));
            }
            Err(error) => sum.verdict.others.push(format!("{told}: {error}")),
        }
    }
}

impl Crashes {
    /// How many points somebody was struck at.
    fn points(&self) -> usize {
        self.struck.keys().map(|(point, _)| *point).collect::<BTreeSet<Point>>().len()
    }

    /// The points at which a fault was never met.
    fn left_out(&self) -> Vec<String> {
        let pairs = Point::ALL.iter().flat_map(|point| Fault::ALL.map(|fault| (*point, fault)));
        let left_out = pairs.filter(|pair| !self.struck.contains_key(pair));
        left_out.map(|(point, fault)| format!("left out: {fault:?} at {}", point.name())).collect()
    }

    fn print(&self, took: Duration) {
        println!("crashes at fail points: {} in {} s", self.run, took.as_secs());
        println!("  points struck     {:>6} of {}", self.points(), Point::ALL.len());
        println!("  point × fault     {:>6} of {}", self.struck.len(), Point::ALL.len() * Fault::ALL.len());
        println!("  not met again     {:>6}", self.unmet.len());
        println!("  persons asked     {:>6}", self.asked);
        self.verdict.print();
    }
}

/// Random kills.
async fn kills(args: &Args, seed: u64, logs: &Path) -> Tally {
    let begun = Instant::now();
    let measure = if args.full {
        Measure { kills: args.kills.unwrap_or(1_000), migrations: 500, sets_a_round: 8, migrations_a_set: 100 }
    } else {
        Measure { kills: args.kills.unwrap_or(25), migrations: 24, sets_a_round: 4, migrations_a_set: 8 }
    };
    let lane = Lane::open(args.postgres, logs.to_owned()).await;
    println!("random kills: at least {} over at least {} migrations", measure.kills, measure.migrations);
    let tally = random::run(&lane, seed, measure).await;
    println!("random kills: {} in {} s, PostgreSQL {}", tally.kills(), begun.elapsed().as_secs(), lane.version());
    println!("  of operators      {:>6}", tally.operator_kills);
    println!("  of PostgreSQL     {:>6}", tally.server_kills);
    println!("  backends ended    {:>6}", tally.terminated);
    println!("  migrations        {:>6} ({} outside of a transaction)", tally.migrations(), tally.non_transactional);
    println!("  sets              {:>6} in {} rounds", tally.sets, tally.rounds);
    println!("  persons asked     {:>6}", tally.statements_interrupted);
    tally.verdict.print();
    tally
}
