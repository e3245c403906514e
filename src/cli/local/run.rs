//! Carries out what was planned, says how it goes, and stops when it is told to.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{
    error::{LocalError, detailed},
    hooks::Commands,
    meter::{Meter, TICK},
    project::Project,
    seed,
    signals::Signals,
    talk::Event,
};
use crate::{
    cli::exit::Exit,
    core::{
        history::History,
        migration::{Direction, Version},
        outcome::Reason,
        plan::{self, FailedRun, Finding},
        task::{Subject, TaskKind},
    },
    database::parameters::Parameters,
    execute::{self, End, Report, Running, Session, Shell, Stop, Work},
    source::Content,
};

/// How long somebody else's lock is waited for between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// Among how many of the last runs a failed one is looked for.
const LATEST: u32 = 100;

/// What is carried out, with what.
pub struct Run<'a> {
    /// The project, whose target says what is to be done.
    pub project: &'a Project,
    /// Its files.
    pub content: &'a Content,
    /// Its database.
    pub parameters: &'a Parameters,
    /// How long somebody else's run is waited for.
    pub wait: Duration,
}

impl Run<'_> {
    /// Runs the plan, waiting for whoever is at work.
    ///
    /// # Errors
    /// Why it couldn't go on.
    pub async fn perform(&self, session: Session) -> Result<Exit, LocalError> {
        let until = Instant::now() + self.wait;
        let mut signals = Signals::listen();
        let stop = watch::Sender::new(Stop::No);
        let mut session = Some(session);
        let mut told = false;
        loop {
            let session = match session.take() {
                Some(session) => session,
                None => self.project.look(self.parameters).await?.0,
            };
            let report = self.once(session, &stop, &mut signals).await;
            match &report.end {
                End::Failed(failure) if failure.reason == Reason::WaitingForLock && *stop.borrow() != Stop::No => {
                    return self.summarize(Report { end: End::Stopped, ..report }).await;
                }
                End::Failed(failure) if failure.reason == Reason::WaitingForLock && Instant::now() < until => {
                    if !told {
                        self.event("waiting", format!("waiting: {}", failure.message)).say();
                        told = true;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = signals.next() => return self.summarize(Report { end: End::Stopped, ..report }).await,
                    }
                }
                _ => return self.summarize(report).await,
            }
        }
    }

    async fn once(&self, session: Session, stop: &watch::Sender<Stop>, signals: &mut Signals) -> Report {
        let running = watch::Sender::new(None);
        let commands = Commands { folder: self.project.settings.folder.clone(), parameters: self.parameters };
        let work = Work {
            parameters: self.parameters,
            desired: &self.project.desired,
            dir: &self.content.dir,
            source_digest: &self.content.digest,
            take_over_from: None,
            shell: Shell::Hand,
            uid: None,
            environment: Some(&self.project.settings.env),
            hooks: &commands,
        };
        let mut shown = running.subscribe();
        let mut execution = std::pin::pin!(execute::execute(session, work, stop.subscribe(), &running));
        let mut last = None;
        let mut meter = Meter::begin();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                report = &mut execution => return report,
                () = signals.next() => {
                    if *stop.borrow() != Stop::No {
                        self.event("left", "left to the server: the next look tells what came of it").say();
                        drop(meter.take());
                        std::process::exit(Exit::Stopped.code().into());
                    }
                    let words = "stopping: what is in a transaction is rolled back, a statement outside of one ends";
                    self.event("stopping", words).say();
                    stop.send_replace(Stop::CancelTransaction);
                }
                Ok(()) = shown.changed() => match &mut meter {
                    Some(meter) => meter.show(shown.borrow_and_update().as_ref()),
                    None => self.show(&mut last, shown.borrow_and_update().as_ref()),
                },
                _ = tick.tick(), if meter.is_some() => {
                    if let Some(meter) = &mut meter {
                        meter.show(shown.borrow().as_ref());
                    }
                }
            }
        }
    }

    /// Says what was done, and why no more was.
    async fn summarize(&self, report: Report) -> Result<Exit, LocalError> {
        let Report { history, applied, seeded, end } = report;
        let known = history.as_ref().map(History::by_version).unwrap_or_default();
        for (version, direction) in &applied {
            let (event, done) = done(*direction);
            let row = known.get(version);
            let words = format!("{done} {}", self.file(version));
            self.event(event, words).of(version, *direction).lasting(row.map(|row| row.duration_ms)).say();
        }
        for path in &seeded {
            let row = history.iter().flat_map(|history| &history.seeds).find(|row| row.name == *path);
            let subject = Subject::Task { kind: TaskKind::Seed, key: path.clone() };
            let words = format!("loaded {path}{}", seed::in_words(row.and_then(|row| row.counts)));
            self.event("seeded", words).about(&subject).say();
        }
        match end {
            End::Stopped => {
                let done = applied.len() + seeded.len();
                let words = format!("stopped: {done} of the plan done, and nothing else was changed");
                self.event("stopped", words).say();
                Ok(Exit::Stopped)
            }
            End::Failed(failure) => Err(failure.into()),
            End::Finished => {
                let Some(history) = history else { return Ok(Exit::Done) };
                let assessment = plan::plan(&self.content.dir, &history, &self.project.desired);
                match assessment.findings.into_iter().next() {
                    Some(finding) => {
                        let finding = self.in_detail(finding).await;
                        Err(LocalError::held_up(finding, &self.project.desired.history.set))
                    }
                    None => Ok(Exit::Done),
                }
            }
        }
    }

    /// The same, with the server's DETAIL, which stands in the history alone. Where that can't be read, it is said without.
    async fn in_detail(&self, mut finding: Finding) -> Finding {
        let Some(FailedRun { run, error, .. }) = &finding.failure else { return finding };
        let Ok((session, _)) = self.project.look(self.parameters).await else { return finding };
        let runs = session.runs(LATEST, 0).await.unwrap_or_default();
        let detail = runs.into_iter().find(|past| past.id == *run).and_then(|past| past.detail);
        finding.message = finding.message.replacen(&error.message, &detailed(&error.message, detail.as_deref()), 1);
        finding
    }

    /// Says that another migration has begun, or that something is in its way.
    fn show(&self, last: &mut Option<String>, running: Option<&Running>) {
        let Some(running) = running else { return };
        let line = running.to_string();
        if last.as_ref() != Some(&line) {
            self.event("running", line.as_str()).about(&running.subject).statement(running.statement).say();
            *last = Some(line);
        }
    }

    fn event(&self, event: &'static str, words: impl Into<String>) -> Event {
        Event::new(event, words).set(&self.project.desired.history.set)
    }

    /// What a version is called in messages.
    pub fn file(&self, version: &Version) -> String {
        self.content.dir.get(version).map_or_else(|| version.to_string(), |migration| migration.file.clone())
    }
}

/// The event, and the word for people.
fn done(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Up => ("applied", "applied"),
        Direction::Down => ("rolledBack", "rolled back"),
    }
}
