//! Crash at every effect: each fail point × each fault × each scenario that comes past it.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use dunlin::fail_points::Point;
use tokio::time::timeout;

use super::{
    gate::{Gate, Hit, Stopped},
    lane::Lane,
    operator::Operator,
    person::{Person, Verdict, judge, until_quiet},
    proxy::Proxy,
    scenario::{Obstacle, SETUP, Scenario},
    subject::{LIMIT, Subject, column, reason, until},
};
use crate::support::StopMode;

/// What is done to the world while an operator stands at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of the operator.
    Kill,
    /// Its connections with the database are cut.
    Cut,
    /// Its backends are terminated.
    Terminate,
    /// The server is ended as by a crash, and started again.
    Restart,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::Kill, Self::Cut, Self::Terminate, Self::Restart];
}

/// One crash.
#[derive(Debug, Clone)]
pub struct Cell {
    pub scenario: Arc<Scenario>,
    pub hit: Hit,
    pub fault: Fault,
    /// The hit right before, at which the server's answers begin to be held back.
    pub hold_at: Option<Hit>,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?} at {}", self.scenario.name, self.fault, self.hit)
    }
}

/// An undisturbed run: what there is at the end, and every hit on the way.
#[derive(Debug)]
pub struct Reference {
    pub scenario: Arc<Scenario>,
    pub digest: Vec<String>,
    pub order: Vec<Hit>,
}

/// How a cell went.
#[derive(Debug)]
pub struct Ran {
    pub verdict: Verdict,
    /// Whether the operator came to the point.
    pub met: bool,
    /// Times that a person was asked.
    pub asked: usize,
}

/// A scenario under way in a lane.
struct Stage {
    subject: Subject,
    scenario: Arc<Scenario>,
    proxy: Proxy,
    gate: Gate,
    logs: PathBuf,
}

impl Reference {
    /// Runs a scenario with nothing but what belongs to it in its way.
    pub async fn of(lane: &Lane, scenario: Scenario) -> Result<Self, String> {
        let scenario = Arc::new(scenario);
        let stage = Stage::set(lane, &scenario).await;
        let obstacle = stage.obstacle();
        let operator = stage.operator("first");
        let mut person = Person::new(&stage.subject, &scenario);
        let done = person.until_up_to_date(LIMIT).await;
        obstacle.abort();
        done.map_err(|error| format!("{} undisturbed: {error}", scenario.name))?;
        until_quiet(&stage.subject, LIMIT).await?;
        drop(operator);
        let digest = stage.subject.digest().await?;
        let verdict = judge(&stage.subject, &scenario, &digest).await;
        if !verdict.is_good() {
            return Err(format!("{} undisturbed: {verdict:#?}", scenario.name));
        }
        let order = stage.gate.order();
        stage.strike(lane).await;
        Ok(Self { scenario, digest, order })
    }

    /// Every hit, each once.
    pub fn hits(&self) -> BTreeSet<Hit> {
        self.order.iter().copied().collect()
    }

    /// How often it came past a point.
    pub fn times(&self, point: Point) -> u32 {
        self.order.iter().filter(|hit| hit.point == point).map(|hit| hit.count).max().unwrap_or(0)
    }

    /// The crash by that fault at that hit.
    pub fn cell(&self, hit: Hit, fault: Fault) -> Cell {
        let engine: Vec<Hit> = self.order.iter().copied().filter(|hit| !is_of_the_api_server(hit.point)).collect();
        let at = engine.iter().position(|found| *found == hit);
        let before = at.and_then(|at| at.checked_sub(1)).map(|at| engine[at]);
        let hold_at = before.filter(|_| hit.point == Point::CommitSent && fault == Fault::Cut);
        Cell { scenario: Arc::clone(&self.scenario), hit, fault, hold_at }
    }
}

/// A point of the controller, which comes when it comes.
pub fn is_of_the_api_server(point: Point) -> bool {
    matches!(point, Point::StatusBefore | Point::StatusAfter | Point::EventBefore | Point::EventAfter)
}

/// Runs one cell to its end.
pub async fn run(lane: &Lane, cell: &Cell, reference: &Reference) -> Result<Ran, String> {
    let stage = Stage::set(lane, &cell.scenario).await;
    let arrived = stage.gate.stop_at(cell.hit);
    if let Some(hit) = cell.hold_at {
        stage.gate.notice(hit, stage.proxy.hold());
    }
    let obstacle = stage.obstacle();
    let mut first = stage.operator("first");
    let mut person = Person::new(&stage.subject, &cell.scenario);
    let mut arrived = std::pin::pin!(arrived);
    let early = person.until_up_to_date(LIMIT);
    let stopped = tokio::select! {
        biased;
        stopped = &mut arrived => stopped.ok(),
        ended = early => {
            ended?;
            // What follows the last status is told in its own time.
            timeout(Duration::from_secs(2), arrived).await.ok().and_then(Result::ok)
        }
    };
    let met = stopped.is_some();
    if let Some(stopped) = stopped {
        stage.strike_with(lane, cell, &mut first, stopped).await;
    }
    stage.proxy.release();
    let second = stage.operator("second");
    person.until_up_to_date(LIMIT).await?;
    // One operator has the last word.
    first.kill();
    until_quiet(&stage.subject, LIMIT).await?;
    obstacle.abort();
    let asked = person.asked;
    let mut verdict = judge(&stage.subject, &cell.scenario, &reference.digest).await;
    for log in [first.log(), second.log()] {
        verdict.others.extend(Operator::defects(log));
    }
    drop((first, second));
    if verdict.is_good() {
        stage.strike(lane).await;
    }
    Ok(Ran { verdict, met, asked })
}

impl Stage {
    /// A fresh namespace, database, proxy and gate.
    async fn set(lane: &Lane, scenario: &Arc<Scenario>) -> Self {
        let (proxy, gate) = (Proxy::to(lane.port()).await, Gate::open().await);
        let subject = lane.subject("shop").await;
        subject.run(SETUP).await;
        if scenario.obstacle == Obstacle::Lock {
            subject.run("CREATE TABLE held (a int)").await;
        }
        subject.secret(&lane.through(&subject.url, proxy.port)).await;
        subject.files(&scenario.files).await;
        subject.apply(&scenario.spec).await;
        let logs = lane.logs.join(&subject.namespace);
        std::fs::create_dir_all(&logs).expect("the folder can be made");
        Self { subject, scenario: Arc::clone(scenario), proxy, gate, logs }
    }

    fn operator(&self, name: &str) -> Operator {
        let log = self.logs.join(format!("{name}.log"));
        Operator::start(&self.subject.namespace, Some(&self.gate.failpoints()), &log)
    }

    /// Puts the scenario's obstacle in the way, until it has done its part.
    fn obstacle(&self) -> tokio::task::JoinHandle<()> {
        let subject = self.subject.clone();
        match self.scenario.obstacle {
            Obstacle::None => tokio::spawn(async {}),
            Obstacle::Lock => tokio::spawn(lock_until_retrying(subject)),
            Obstacle::Snapshot => tokio::spawn(terminate_the_first_build(subject)),
        }
    }

    /// Does the fault to whoever stands at the point.
    async fn strike_with(&self, lane: &Lane, cell: &Cell, operator: &mut Operator, stopped: Stopped) {
        let sql = self.subject.connect().await;
        if cell.hit.point == Point::CommitSent {
            until_idle(&sql).await;
        }
        match cell.fault {
            Fault::Kill => operator.kill(),
            Fault::Cut => self.proxy.cut(),
            Fault::Terminate => {
                let backends = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                                WHERE datname = current_database() AND application_name LIKE 'dunlin/%'";
                column(&sql, backends).await.expect("a superuser may terminate");
            }
            Fault::Restart => lane.restart(StopMode::Immediate),
        }
        drop(stopped);
    }

    /// Takes everything away again.
    async fn strike(self, lane: &Lane) {
        self.subject.delete().await;
        lane.drop_database(&self.subject.url).await;
        // Logs of what went well say nothing.
        let _ = std::fs::remove_dir_all(&self.logs);
    }
}

/// Waits until the server has done what it was sent, whether or not its answer came through.
async fn until_idle(sql: &tokio_postgres::Client) {
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name LIKE 'dunlin/%' AND state <> 'idle' AND wait_event_type IS DISTINCT FROM 'Lock'";
    let asked = until("the server is through", Duration::from_secs(10), || async {
        match column(sql, busy).await {
            Ok(found) if found == ["0"] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    asked.await.unwrap_or_else(|error| panic!("{error}"));
}

async fn lock_until_retrying(subject: Subject) {
    let client = subject.connect().await;
    // A restart of the server takes the lock away, which is all right.
    let _ = client.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await;
    let said = until("the set says Retrying", LIMIT, || async {
        let set = subject.get().await;
        if matches!(reason(&set), Some("Retrying" | "UpToDate")) { Ok(()) } else { Err(format!("{:#?}", set.status)) }
    });
    said.await.unwrap_or_else(|error| panic!("{error}"));
}

async fn terminate_the_first_build(subject: Subject) {
    let (old, sql) = (subject.connect().await, subject.connect().await);
    let _ = old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM trace").await;
    let building = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONC%' \
                    AND wait_event_type = 'Lock'";
    let found = timeout(LIMIT, async {
        loop {
            match column(&sql, building).await {
                Ok(found) if !found.is_empty() => return true,
                Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(_) => return false,
            }
        }
    });
    if found.await == Ok(true) {
        let _ = column(&sql, &building.replace("SELECT pid", "SELECT pg_terminate_backend(pid, 5000)")).await;
    }
}
