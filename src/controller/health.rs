//! Whether the operator is alive, and whether it is ready: what its probes are told.
//!
//! Alive is about this process alone: its loops turn round. A database or an API server that is out of reach is no reason
//! to start it anew, which would help nobody. Ready is: its watches have shown everything once, and it leads or stands by.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::StatusCode;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{
    lease::{Leadership, Standing},
    watch::scopes,
};
use crate::{execute::Stop, serve::Page};

/// From one sign of life to the next, where a loop has nothing else to do.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// How long a loop may give no sign before it counts as wedged. Nothing in a loop takes anywhere near as long.
const WEDGED_AFTER: Duration = Duration::from_secs(30);

/// A loop that has to turn round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loop {
    /// Watches, and the queue of reconciles.
    Queue,
    /// The threads that tasks run on.
    Executor,
    /// The one that renews the lease, or waits for it.
    Lease,
}

impl Loop {
    const ALL: [Self; 3] = [Self::Queue, Self::Executor, Self::Lease];

    fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Executor => "executor",
            Self::Lease => "lease",
        }
    }
}

/// When each loop last gave a sign of life; None for one that isn't under way.
#[derive(Debug, Default)]
pub(super) struct Beats(Mutex<[Option<Instant>; Loop::ALL.len()]>);

impl Beats {
    /// A loop turns round.
    pub fn beat(&self, which: Loop) {
        self.lock()[which as usize] = Some(Instant::now());
    }

    /// A loop has come to its end.
    pub fn end(&self, which: Loop) {
        self.lock()[which as usize] = None;
    }

    /// The loops that have given no sign for too long, and for how long.
    fn wedged(&self, now: Instant) -> Vec<(Loop, Duration)> {
        let beats = self.lock();
        let silence = |which: Loop| beats[which as usize].map(|beat| (which, now.saturating_duration_since(beat)));
        Loop::ALL.into_iter().filter_map(silence).filter(|(_, silence)| *silence > WEDGED_AFTER).collect()
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Instant>; Loop::ALL.len()]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that shows that tasks are run. It ends when the beats are nobody else's.
pub(super) fn watch_the_executor(beats: &Arc<Beats>) -> JoinHandle<()> {
    let beats = Arc::downgrade(beats);
    tokio::spawn(async move {
        while let Some(beats) = beats.upgrade() {
            beats.beat(Loop::Executor);
            drop(beats);
            tokio::time::sleep(BEAT).await;
        }
    })
}

/// A kind of object that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    MigrationSets,
    ConfigMaps,
}

/// What the probes are told.
#[derive(Debug)]
pub(super) struct Health {
    beats: Arc<Beats>,
    /// What no list has shown so far: a kind, and its namespace (None: all of them).
    unseen: Mutex<BTreeSet<(Watched, Option<String>)>>,
    leadership: Leadership,
    stop: watch::Receiver<Stop>,
}

impl Health {
    /// Of an operator that watches these namespaces (none: all of them), and has seen nothing yet.
    pub fn new(namespaces: &[String], beats: Arc<Beats>, leadership: Leadership, stop: watch::Receiver<Stop>) -> Self {
        let scopes = scopes(namespaces);
        let both = [Watched::MigrationSets, Watched::ConfigMaps];
        let unseen = scopes.iter().flat_map(|scope| both.map(|kind| (kind, scope.clone()))).collect();
        Self { beats, unseen: Mutex::new(unseen), leadership, stop }
    }

    /// The loop turns round.
    pub fn beat(&self, which: Loop) {
        self.beats.beat(which);
    }

    /// When a loop last turned round.
    #[cfg(test)]
    pub fn last_beat(&self, which: Loop) -> Option<Instant> {
        self.beats.lock()[which as usize]
    }

    /// All of a kind has been seen in a namespace (or in all).
    pub fn seen(&self, kind: Watched, namespace: Option<&str>) {
        self.unseen().remove(&(kind, namespace.map(str::to_owned)));
    }

    fn unseen(&self) -> MutexGuard<'_, BTreeSet<(Watched, Option<String>)>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page of a path.
    pub fn page(&self, path: &str) -> Option<Page> {
        match path {
            "/healthz" => Some(said(&self.ailments(Instant::now()))),
            "/readyz" => Some(said(&self.obstacles())),
            _ => None,
        }
    }

    fn ailments(&self, now: Instant) -> Vec<String> {
        let wedged = self.beats.wedged(now);
        let name = |(which, silence): (Loop, Duration)| {
            format!("the {} loop has given no sign of life for {} s", which.name(), silence.as_secs())
        };
        wedged.into_iter().map(name).collect()
    }

    fn obstacles(&self) -> Vec<String> {
        let unseen = self.unseen();
        let unseen = unseen.iter().map(|(kind, namespace)| {
            let place = namespace.as_ref().map_or("all namespaces".to_owned(), |name| format!("namespace {name}"));
            format!("the {kind:?} of {place} haven't been listed yet")
        });
        let standing = match self.leadership.standing() {
            Some(Standing::Unknown(why)) => Some(format!("the lease hasn't been seen yet: {why}")),
            Some(Standing::Lost(why)) => Some(format!("the lease is lost: {why}")),
            Some(Standing::Leading { .. } | Standing::Standby { .. }) | None => None,
        };
        let stopping = (*self.stop.borrow() != Stop::No).then(|| "the operator is stopping".to_owned());
        unseen.chain(standing).chain(stopping).collect()
    }
}

/// 200 when nothing is wrong, and 503 with what is.
fn said(wrong: &[String]) -> Page {
    if wrong.is_empty() {
        return Page::text(StatusCode::OK, "ok\n");
    }
    let lines = wrong.iter().fold(String::new(), |mut lines, line| {
        let _ = writeln!(lines, "{line}");
        lines
    });
    Page::text(StatusCode::SERVICE_UNAVAILABLE, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(namespaces: &[&str], leadership: Leadership) -> (Health, watch::Sender<Stop>) {
        let namespaces: Vec<String> = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let (sender, stop) = watch::channel(Stop::No);
        (Health::new(&namespaces, Arc::default(), leadership, stop), sender)
    }

    fn answer(health: &Health, path: &str) -> (u16, String) {
        let page = health.page(path).expect("there is such a page");
        (page.status.as_u16(), page.text)
    }

    fn elected(standing: Standing) -> Leadership {
        Leadership::Elected("dunlin-operator".into(), watch::channel(standing).1)
    }

    #[test]
    fn a_loop_that_gives_no_sign_for_long_is_wedged_and_named() {
        let (health, _stop) = health(&[], Leadership::Alone);
        let now = Instant::now();
        assert_eq!(health.ailments(now), [""; 0], "what hasn't begun isn't wedged");
        health.beat(Loop::Executor);
        health.beat(Loop::Queue);
        assert_eq!(health.ailments(now + Duration::from_secs(29)), [""; 0]);
        let later = now + Duration::from_secs(40);
        let said = health.ailments(later).join("\n");
        assert!(
            said.starts_with("the queue loop has given no sign of life for ") && said.contains("executor"),
            "{said}"
        );
        health.beats.end(Loop::Queue);
        assert!(!health.ailments(later).join("\n").contains("queue"), "what has ended isn't wedged");
    }

    #[test]
    fn it_is_ready_when_every_watch_has_shown_everything() {
        let (health, _stop) = health(&["shop", "till"], Leadership::Alone);
        let (status, said) = answer(&health, "/readyz");
        assert_eq!((status, said.lines().count()), (503, 4), "{said}");
        for namespace in ["shop", "till"] {
            health.seen(Watched::MigrationSets, Some(namespace));
        }
        health.seen(Watched::ConfigMaps, Some("till"));
        assert_eq!(
            answer(&health, "/readyz"),
            (503, "the ConfigMaps of namespace shop haven't been listed yet\n".into())
        );
        health.seen(Watched::ConfigMaps, Some("shop"));
        assert_eq!(answer(&health, "/readyz"), (200, "ok\n".into()));
        assert_eq!(answer(&health, "/healthz"), (200, "ok\n".into()));
        assert_eq!(health.page("/metrics"), None);
    }

    #[test]
    fn leading_and_standing_by_are_ready_and_nothing_else_is() {
        let leading = Standing::Leading { until: Instant::now() };
        for (standing, expected) in [
            (leading, 200),
            (Standing::Standby { holder: "other".to_owned() }, 200),
            (Standing::Unknown("forbidden".to_owned()), 503),
            (Standing::Lost("other holds it now".to_owned()), 503),
        ] {
            let (health, _stop) = health(&[], elected(standing.clone()));
            health.seen(Watched::MigrationSets, None);
            health.seen(Watched::ConfigMaps, None);
            assert_eq!(answer(&health, "/readyz").0, expected, "{standing:?}");
            assert_eq!(answer(&health, "/healthz").0, 200, "{standing:?}: no reason to start anew");
        }
    }

    #[test]
    fn an_operator_that_is_stopping_is_alive_and_not_ready() {
        let (health, stop) = health(&[], Leadership::Alone);
        health.seen(Watched::MigrationSets, None);
        health.seen(Watched::ConfigMaps, None);
        stop.send_replace(Stop::BetweenMigrations);
        assert_eq!(answer(&health, "/readyz"), (503, "the operator is stopping\n".into()));
        assert_eq!(answer(&health, "/healthz").0, 200);
    }
}
