//! Kills at random: two operators and a PostgreSQL, none of which lives long, over sets that go on all the while.

use std::time::{Duration, Instant};

use dunlin::api::v1alpha1::MigrationSet;
use futures::future::join_all;
use kube::{Api, api::ListParams};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use super::{
    generate::Migrations,
    lane::Lane,
    operator::Operator,
    person::{Person, Seen, Verdict, judge, until_quiet},
    scenario::{Obstacle, SETUP, Scenario},
    subject::{Subject, column, connect, until},
};
use crate::support::{StopMode, fresh_namespace, kubernetes};

/// How much is to be survived, at least.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    pub kills: usize,
    pub migrations: usize,
    pub sets_a_round: usize,
    pub migrations_a_set: usize,
}

/// What was survived.
#[derive(Debug, Default)]
pub struct Tally {
    pub operator_kills: usize,
    pub server_kills: usize,
    pub terminated: usize,
    pub rounds: usize,
    pub sets: usize,
    pub transactional: usize,
    pub non_transactional: usize,
    pub statements_interrupted: usize,
    /// For how long something was about to be killed.
    pub reigned: Duration,
    pub verdict: Verdict,
}

impl Tally {
    pub fn kills(&self) -> usize {
        self.operator_kills + self.server_kills
    }

    pub fn migrations(&self) -> usize {
        self.transactional + self.non_transactional
    }
}

/// How long a round may take before something is called stuck.
const ROUND: Duration = Duration::from_mins(6);

/// A set of a round.
struct Member {
    subject: Subject,
    scenario: Scenario,
    expected: Vec<String>,
}

/// Goes on, round after round, until enough was survived, or something is wrong.
pub async fn run(lane: &Lane, seed: u64, measure: Measure) -> Tally {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let namespace = fresh_namespace().await;
    while (tally.kills() < measure.kills || tally.migrations() < measure.migrations) && tally.verdict.is_good() {
        tally.rounds += 1;
        round(lane, &namespace, &mut rng, measure, &mut tally).await;
        println!(
            "  round {}: {} kills in {} s, {} migrations so far",
            tally.rounds,
            tally.kills(),
            tally.reigned.as_secs(),
            tally.migrations()
        );
    }
    tally
}

async fn round(lane: &Lane, namespace: &str, rng: &mut StdRng, measure: Measure, tally: &mut Tally) {
    let random: Vec<Migrations> =
        (0..measure.sets_a_round).map(|_| Migrations::random(rng, measure.migrations_a_set)).collect();
    for migrations in &random {
        tally.sets += 1;
        let transactional = migrations.0.iter().filter(|migration| migration.transactional).count();
        tally.transactional += transactional;
        tally.non_transactional += migrations.0.len() - transactional;
    }
    let number = tally.rounds;
    let members = join_all(random.iter().enumerate().map(async |(index, migrations)| {
        let expected = expected(lane, namespace, migrations).await;
        Member::new(lane, namespace, &format!("round-{number}-{index}"), migrations, expected).await
    }))
    .await;
    let begun = Instant::now();
    let mut chaos = Chaos::new(lane, namespace);
    let mut persons: Vec<Person<'_>> =
        members.iter().map(|member| Person::new(&member.subject, &member.scenario)).collect();
    let ended = tokio::select! {
        ended = see_to(namespace, &mut persons) => ended,
        () = chaos.reign(rng, tally) => unreachable!("chaos has no end of its own"),
    };
    if let Err(error) = ended {
        tally.verdict.others.push(error);
    }
    tally.statements_interrupted += persons.iter().map(|person| person.asked).sum::<usize>();
    chaos.end();
    tally.reigned += begun.elapsed();
    // Whoever was killed last left something; one operator has the last word.
    let last = Operator::start(namespace, None, &lane.logs.join("last.log"));
    // A round that was given up has no end that could be held against an undisturbed run.
    let judged = if tally.verdict.others.is_empty() { members.as_slice() } else { &[] };
    let verdicts = join_all(judged.iter().map(async |member| {
        let quiet = until_quiet(&member.subject, Duration::from_mins(1)).await;
        let mut verdict = judge(&member.subject, &member.scenario, &member.expected).await;
        verdict.others.extend(quiet.err().map(|error| format!("{}: {error}", member.subject.name)));
        verdict
    }))
    .await;
    for verdict in verdicts {
        tally.verdict.add(verdict);
    }
    for log in ["one.log", "two.log", "last.log"] {
        tally.verdict.others.extend(Operator::defects(&lane.logs.join(log)));
    }
    drop(last);
    if tally.verdict.is_good() {
        join_all(members.iter().map(async |member| {
            member.subject.delete().await;
            lane.drop_database(&member.subject.url).await;
        }))
        .await;
    }
}

/// What the database is to be in the end.
async fn expected(lane: &Lane, namespace: &str, migrations: &Migrations) -> Vec<String> {
    let subject = lane.subject_in(namespace, "expected").await;
    subject.run(SETUP).await;
    let client = subject.connect().await;
    migrations.run_on(&client).await.expect("what is generated is sound");
    let digest = subject.digest().await.expect("it is read");
    drop(client);
    lane.drop_database(&subject.url).await;
    digest
}

impl Member {
    async fn new(lane: &Lane, namespace: &str, name: &str, migrations: &Migrations, expected: Vec<String>) -> Self {
        let subject = lane.subject_in(namespace, name).await;
        subject.run(SETUP).await;
        let files = migrations.files();
        subject.secret(&subject.url).await;
        subject.files(&files).await;
        // What is behind a killed session's lock is waited for as long as it takes.
        let spec = json!({"policy": {"lockTimeout": "500ms"}});
        subject.apply(&spec).await;
        let scenario =
            Scenario { name: "random", files, mended: None, mend: "", spec, then: None, obstacle: Obstacle::None };
        Self { subject, scenario, expected }
    }
}

/// Sees to all sets until each is up to date.
async fn see_to(namespace: &str, persons: &mut [Person<'_>]) -> Result<(), String> {
    let sets: Api<MigrationSet> = Api::namespaced(kubernetes().client().await, namespace);
    let deadline = Instant::now() + ROUND;
    loop {
        let found = sets.list(&ListParams::default()).await.map_err(|error| format!("{error:?}"))?;
        let mut waiting = Vec::new();
        for person in persons.iter_mut() {
            let name = Some(person.subject.name.as_str());
            let Some(set) = found.items.iter().find(|set| set.metadata.name.as_deref() == name) else {
                return Err(format!("{name:?} is gone"));
            };
            match person.look(set).await.map_err(|error| format!("{}: {error}", person.subject.name))? {
                Seen::UpToDate => {}
                Seen::NotYet => waiting.push(set),
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("stuck for {ROUND:?}: {:#?}", waiting.first().map(|set| &set.status)));
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// Two operators and what befalls them.
struct Chaos<'a> {
    lane: &'a Lane,
    namespace: &'a str,
    operators: Vec<Operator>,
}

impl<'a> Chaos<'a> {
    fn new(lane: &'a Lane, namespace: &'a str) -> Self {
        let operators =
            ["one", "two"].map(|name| Operator::start(namespace, None, &lane.logs.join(format!("{name}.log"))));
        Self { lane, namespace, operators: operators.into() }
    }

    async fn reign(&mut self, rng: &mut StdRng, tally: &mut Tally) {
        loop {
            self.until_at_work().await;
            let pause = if rng.random_bool(0.1) { rng.random_range(500..2_000) } else { rng.random_range(0..350) };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            match rng.random_range(0..100) {
                0..84 => {
                    let victim = &mut self.operators[rng.random_range(0..2)];
                    if victim.has_ended() {
                        tally.verdict.others.push("an operator has ended by itself".to_owned());
                    }
                    victim.kill();
                    *victim = Operator::start(self.namespace, None, victim.log());
                    tally.operator_kills += 1;
                }
                84..89 => {
                    self.lane.restart(StopMode::Immediate);
                    tally.server_kills += 1;
                }
                89..92 => {
                    self.lane.restart(StopMode::Kill);
                    tally.server_kills += 1;
                }
                _ => tally.terminated += self.terminate_one(rng).await,
            }
        }
    }

    /// Waits until somebody works on a database, so that a kill interrupts something; or for so long that nobody does.
    async fn until_at_work(&self) {
        let backends = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'dunlin/%' AND state <> 'idle'";
        let at_work = until("somebody is at work", Duration::from_secs(2), || async {
            let client = connect(self.lane.url()).await;
            let found = column(&client, backends).await?;
            if found.is_empty() { Err("nobody".to_owned()) } else { Ok(()) }
        });
        // Nobody is, when all is done.
        let _ = at_work.await;
    }

    /// Terminates one of Dunlin's backends, whatever it is doing.
    async fn terminate_one(&self, rng: &mut StdRng) -> usize {
        let client = connect(self.lane.url()).await;
        let backends = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'dunlin/%' ORDER BY pid";
        let Ok(pids) = column(&client, backends).await else { return 0 };
        if pids.is_empty() {
            return 0;
        }
        let pid = &pids[rng.random_range(0..pids.len())];
        match column(&client, &format!("SELECT pg_terminate_backend({pid})")).await {
            Ok(done) => usize::from(done == ["t"]),
            Err(_) => 0,
        }
    }

    fn end(&mut self) {
        self.operators.clear();
    }
}
