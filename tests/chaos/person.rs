//! The person who is asked where nothing can be proven; and who checks first that it was right to ask.

use std::time::Duration;

use dunlin::api::v1alpha1::{FailureStatus, MigrationSet};
use serde_json::{Value, json};

use super::{
    scenario::Scenario,
    subject::{Subject, column, reason, until},
};

/// What a person has decided so far, for one set.
pub struct Person<'a> {
    pub subject: &'a Subject,
    pub scenario: &'a Scenario,
    spec: Value,
    resolutions: Vec<Value>,
    mended: bool,
    /// Whether the second act has begun.
    went_on: bool,
    /// Times that an unprovable statement was asked about.
    pub asked: usize,
}

impl<'a> Person<'a> {
    pub fn new(subject: &'a Subject, scenario: &'a Scenario) -> Self {
        let spec = scenario.spec.clone();
        Self { subject, scenario, spec, resolutions: Vec::new(), mended: false, went_on: false, asked: 0 }
    }

    /// Sees to the set until everything is applied.
    pub async fn until_up_to_date(&mut self, limit: Duration) -> Result<MigrationSet, String> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let set = self.subject.get().await;
            match self.look(&set).await? {
                Seen::UpToDate => return Ok(set),
                Seen::NotYet if tokio::time::Instant::now() > deadline => {
                    return Err(format!("not up to date within {limit:?}: {:#?}", set.status));
                }
                Seen::NotYet => tokio::time::sleep(Duration::from_millis(40)).await,
            }
        }
    }

    /// Does what the status asks a person to do, if it asks for something.
    pub async fn look(&mut self, set: &MigrationSet) -> Result<Seen, String> {
        let failure = set.status.as_ref().and_then(|status| status.failure.as_ref());
        match (reason(set), failure) {
            (Some("UpToDate"), _) if self.scenario.mended.is_some() && !self.mended => {
                Err("a migration that can't be applied is said to be".to_owned())
            }
            (Some("UpToDate"), _) => match &self.scenario.then {
                Some(then) if !self.went_on => {
                    self.spec = then.spec.clone();
                    self.subject.apply(&self.spec).await;
                    self.went_on = true;
                    Ok(Seen::NotYet)
                }
                Some(_) | None => Ok(Seen::UpToDate),
            },
            (Some("MigrationFailed"), failure) => {
                let Some(files) = &self.scenario.mended else { return Err(format!("a false failure: {failure:?}")) };
                if !self.mended {
                    self.subject.files(files).await;
                    self.mended = true;
                }
                Ok(Seen::NotYet)
            }
            (Some("NonTransactionalFailed"), Some(failure)) => {
                if self.scenario.mend.is_empty() || failure.statement != Some(2) {
                    return Err(format!("a false failure: {failure:?}"));
                }
                self.decide(failure, self.scenario.mend).await;
                Ok(Seen::NotYet)
            }
            (Some("Interrupted"), Some(failure)) => {
                self.asked_rightly(failure).await?;
                let version = failure.version.clone().unwrap_or_default();
                let statement = failure.statement.unwrap_or_default();
                let undo = format!("DELETE FROM calls WHERE (version, ordinal) = ('{version}', {statement})");
                self.decide(failure, &undo).await;
                Ok(Seen::NotYet)
            }
            (
                Some(
                    stalled @ ("ChecksumDrift"
                    | "MissingMigration"
                    | "OutOfOrder"
                    | "InvalidSpec"
                    | "InvalidSource"
                    | "Conflict"
                    | "PermissionDenied"
                    | "PoolerNotSupported"
                    | "AuthenticationFailed"
                    | "TLSFailed"),
                ),
                _,
            ) => Err(format!("stalled for no reason, as {stalled}: {:#?}", set.status)),
            (_, _) => Ok(Seen::NotYet),
        }
    }

    /// Only a CALL, which commits as it likes, is nothing that a catalog proves; and it has not begun twice.
    async fn asked_rightly(&self, failure: &FailureStatus) -> Result<(), String> {
        let (version, statement) = (failure.version.clone().unwrap_or_default(), failure.statement.unwrap_or_default());
        let files = self.scenario.files.iter();
        let text =
            files.filter(|(name, _)| name.starts_with(&version)).map(|(_, text)| text.as_str()).collect::<String>();
        let asked = format!("CALL twice('{version}', {statement})");
        if !text.contains(&asked) {
            return Err(format!("asked about a statement that can be proven: {failure:#?}"));
        }
        let begun =
            format!("SELECT count(*) FROM calls WHERE (version, ordinal, what) = ('{version}', {statement}, 'begun')");
        let begun = self.subject.column(&begun).await?;
        if !["0", "1"].contains(&begun.join("").as_str()) {
            return Err(format!("double: {asked} has begun {begun:?} times before anybody was asked"));
        }
        Ok(())
    }

    async fn decide(&mut self, failure: &FailureStatus, sql: &str) {
        let Some(run) = failure.run else { return };
        if self.resolutions.iter().any(|resolution| resolution["run"] == json!(run)) {
            return;
        }
        self.asked += 1;
        self.subject.run(sql).await;
        // One at a time is enough: what was decided before stands in the history.
        self.resolutions = vec![json!({"version": failure.version, "run": run, "action": "Resume"})];
        self.spec["resolutions"] = json!(self.resolutions);
        self.subject.apply(&self.spec).await;
    }
}

/// What a look at the status has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    UpToDate,
    NotYet,
}

/// What is wrong in the end, a sentence each: doubles and losses first.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    pub doubles: Vec<String>,
    pub losses: Vec<String>,
    pub others: Vec<String>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.doubles.is_empty() && self.losses.is_empty() && self.others.is_empty()
    }

    /// The same, each sentence with what it is about before it.
    pub fn told_of(mut self, about: &str) -> Self {
        for wrong in [&mut self.doubles, &mut self.losses, &mut self.others].into_iter().flatten() {
            *wrong = format!("{about}: {wrong}");
        }
        self
    }

    pub fn print(&self) {
        println!("  doubles           {:>6}", self.doubles.len());
        println!("  losses            {:>6}", self.losses.len());
        println!("  other faults      {:>6}", self.others.len());
        for wrong in [&self.doubles, &self.losses, &self.others].into_iter().flatten() {
            println!("WRONG: {wrong}");
        }
    }

    pub fn add(&mut self, other: Self) {
        self.doubles.extend(other.doubles);
        self.losses.extend(other.losses);
        self.others.extend(other.others);
    }
}

const DOUBLES: &str = "SELECT format('%s statement %s ran %s times', version, ordinal, count(*)) FROM trace GROUP BY version, ordinal HAVING count(*) > 1
UNION ALL SELECT format('%s statement %s: %s %s times', version, ordinal, what, count(*)) FROM calls GROUP BY version, ordinal, what HAVING count(*) > 1
UNION ALL SELECT format('%s succeeded %s times', version, count(*)) FROM dunlin.run WHERE outcome = 'succeeded' GROUP BY version, direction HAVING count(*) > 1";

/// How long a status may take to agree with a database in which nothing happens any more.
const AGREES: Duration = Duration::from_secs(10);

/// Holds the end against an undisturbed run's: database, history and status.
pub async fn judge(subject: &Subject, scenario: &Scenario, expected: &[String]) -> Verdict {
    let (files, applied) = (scenario.files.len(), scenario.applied());
    let mut verdict = Verdict::default();
    let client = subject.connect().await;
    let ask = async |sql: &str| column(&client, sql).await.unwrap_or_else(|error| vec![error]);
    let named = |line: &String| format!("{}: {line}", subject.name);
    verdict.doubles = ask(DOUBLES).await.iter().map(named).collect();
    let found = subject.digest().await.unwrap_or_else(|error| vec![error]);
    verdict
        .losses
        .extend(expected.iter().filter(|line| !found.contains(line)).map(|line| named(&format!("lacks: {line}"))));
    verdict
        .losses
        .extend(found.iter().filter(|line| !expected.contains(line)).map(|line| named(&format!("has: {line}"))));
    let recorded = ask("SELECT count(*) FROM dunlin.migration WHERE state = 'applied'").await;
    if recorded != [applied.to_string()] {
        verdict.losses.push(named(&format!("{recorded:?} of {applied} migrations in the history")));
    }
    let open = ask("SELECT format('run %s is still open', id) FROM dunlin.run WHERE finished_at IS NULL").await;
    verdict.others.extend(open.iter().map(named));
    // The other operator may have a look of its own to come, which says so before it agrees.
    let agrees = until("the status agrees with the database", AGREES, || async {
        let set = subject.get().await;
        let agrees = set.status.as_ref().is_some_and(|status| {
            let counts = status.applied.as_ref().map(|applied| (applied.count, applied.pending));
            let number = |count: usize| i64::try_from(count).unwrap_or_default();
            counts == Some((number(applied), number(files - applied)))
                && status.running.is_none()
                && status.failure.is_none()
                && reason(&set) == Some("UpToDate")
        });
        if agrees { Ok(()) } else { Err(format!("{:#?}", set.status)) }
    });
    verdict.others.extend(agrees.await.err().map(|error| named(&error)));
    verdict
}

/// Waits until a set's status has nothing more to say than that.
pub async fn until_quiet(subject: &Subject, limit: Duration) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + limit;
    let (mut last, mut same) = (None, 0);
    loop {
        let set = subject.get().await;
        same = if set.metadata.resource_version == last { same + 1 } else { 0 };
        if same > 4 && reason(&set) == Some("UpToDate") {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("not at rest within {limit:?}: {:#?}", set.status));
        }
        last = set.metadata.resource_version;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}
