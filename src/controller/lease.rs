//! A lease (`coordination.k8s.io/v1`) that one of several operators holds while it works.
//!
//! Every write replaces the lease in the version that was seen, so that of two who take it one is refused. It saves work and
//! noise, and is no fence: that is the claim in the database, which every commit proves.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    context::now,
    health::{Beats, Loop},
    status::MANAGER,
};
use crate::core::election::{LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD, Record, Turn, turn};

/// The name of the lease, unless another is given.
pub const LEASE_NAME: &str = "dunlin-operator";
/// How long one try to renew may take: there is time for another before the deadline.
const TRY: Duration = Duration::from_secs(RENEW_DEADLINE.as_secs() / 2);
/// Where a pod finds the name of its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The lease to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Its name.
    pub name: String,
    /// Its namespace; None for that of the pod, or of the kubeconfig's context.
    pub namespace: Option<String>,
}

/// How this operator stands to its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// The lease hasn't been seen so far, and why.
    Unknown(String),
    /// Another holds it.
    Standby {
        /// Who.
        holder: String,
    },
    /// This one holds it, at least until then.
    Leading {
        /// By this process's own clock.
        until: Instant,
    },
    /// This one has held it, and doesn't any more.
    Lost(String),
}

/// Whether this process is the one that works.
#[derive(Debug, Clone)]
pub(super) enum Leadership {
    /// There is no lease: it is.
    Alone,
    /// As the lease of that name says.
    Elected(Arc<str>, watch::Receiver<Standing>),
}

impl Leadership {
    /// Whether work may begin now. A process that has slept doesn't know yet that its lease is over, but its clock does.
    pub fn may_work(&self) -> bool {
        match self {
            Self::Alone => true,
            Self::Elected(_, standing) => {
                matches!(*standing.borrow(), Standing::Leading { until } if Instant::now() < until)
            }
        }
    }

    /// How this process stands to the lease; None where there is none.
    pub fn standing(&self) -> Option<Standing> {
        match self {
            Self::Alone => None,
            Self::Elected(_, standing) => Some(standing.borrow().clone()),
        }
    }

    /// The name of the lease; of no lease, none.
    pub fn lease_name(&self) -> &str {
        match self {
            Self::Alone => "",
            Self::Elected(name, _) => name,
        }
    }

    /// Returns when this process has come to lead; never when it does so from the start.
    pub async fn begins(&self) {
        self.until(|standing| matches!(standing, Standing::Leading { .. }).then_some(())).await;
    }

    /// Returns when the lease is lost, and why.
    pub async fn is_lost(&self) -> String {
        let why = |standing: &Standing| if let Standing::Lost(why) = standing { Some(why.clone()) } else { None };
        self.until(why).await
    }

    async fn until<T>(&self, wanted: impl Fn(&Standing) -> Option<T>) -> T {
        if let Self::Elected(_, standing) = self
            && let Ok(found) = standing.clone().wait_for(|standing| wanted(standing).is_some()).await
            && let Some(found) = wanted(&found)
        {
            return found;
        }
        std::future::pending().await
    }
}

/// A lease that is being held or waited for, by a task of its own.
pub(super) struct Election {
    leadership: Leadership,
    /// The full name of the lease.
    pub lease: String,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Election {
    /// Stands as a candidate.
    pub fn start(client: Client, options: LeaseOptions, beats: Arc<Beats>) -> Self {
        let LeaseOptions { name, namespace } = options;
        let namespace = namespace.or_else(pod_namespace).unwrap_or_else(|| client.default_namespace().to_owned());
        let lease = format!("{namespace}/{name}");
        let (sender, standing) = watch::channel(Standing::Unknown("it wasn't looked at yet".to_owned()));
        let (end, ended) = oneshot::channel();
        let me = identity();
        tracing::info!(%lease, identity = me, "standing for election");
        let leadership = Leadership::Elected(name.as_str().into(), standing);
        let candidate = Candidate {
            api: Api::namespaced(client, &namespace),
            full_name: lease.clone(),
            name,
            me,
            seen: None,
            standing: sender,
            complaint: None,
            beats,
        };
        Self { leadership, lease, end, task: tokio::spawn(candidate.run(ended)) }
    }

    /// Whether this process leads, for whoever asks.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Gives the lease back, if it is held, now that nothing is under way any more.
    pub async fn end(self) {
        // The task is there until it is told.
        let _ = self.end.send(());
        if let Err(error) = self.task.await {
            tracing::error!(lease = self.lease, %error, "a defect of Dunlin: please report it");
        }
    }
}

/// Whoever wants to hold a lease, or holds it.
struct Candidate {
    api: Api<Lease>,
    name: String,
    full_name: String,
    me: String,
    /// The lease as last seen or written, and since when it says what it says.
    seen: Option<(Lease, Instant)>,
    standing: watch::Sender<Standing>,
    /// What was last complained of, so that it is said once.
    complaint: Option<String>,
    beats: Arc<Beats>,
}

impl Candidate {
    async fn run(mut self, mut end: oneshot::Receiver<()>) {
        loop {
            self.beats.beat(Loop::Lease);
            tokio::select! {
                biased;
                _ = &mut end => break,
                () = self.one_round() => {}
            }
            if self.has_lost() {
                self.beats.end(Loop::Lease);
                // Whoever works hears it, and ends what is under way before this is told to end.
                let _ = (&mut end).await;
                break;
            }
        }
        self.beats.end(Loop::Lease);
        self.release().await;
    }

    /// One try, and the pause behind it.
    async fn one_round(&mut self) {
        let held_up = "this process was held up";
        let Some(left) = self.time_left() else { return self.lose_by_time(held_up) };
        let trouble = match timeout(TRY.min(left), self.attempt()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(in_words(&error)),
            Err(_) => Some("the API server doesn't answer".to_owned()),
        };
        self.complain(trouble.as_ref());
        if self.has_lost() {
            return;
        }
        let Some(left) = self.time_left() else { return self.lose_by_time(trouble.as_deref().unwrap_or(held_up)) };
        let pause = match self.leading_until() {
            Some(_) => RETRY_PERIOD,
            // Candidates that have begun together needn't ask together.
            None => RETRY_PERIOD.mul_f64(1.0 + rand::random::<f64>() / 5.0),
        };
        tokio::time::sleep(pause.min(left)).await;
    }

    /// How long this process may still lead without renewing; a candidate has all the time. None when it is over.
    fn time_left(&self) -> Option<Duration> {
        let Some(until) = self.leading_until() else { return Some(Duration::MAX) };
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    fn lose_by_time(&self, why: &str) {
        self.lose(format!("it wasn't renewed within {} s: {why}", RENEW_DEADLINE.as_secs()));
    }

    /// Looks at the lease, and does what the rules say.
    async fn attempt(&mut self) -> kube::Result<()> {
        if self.leading_until().is_some()
            && let Some((lease, _)) = self.seen.clone()
        {
            // Nobody else writes to the lease of a leader: it needs no look.
            match self.write(lease, Turn::Renew).await {
                Err(kube::Error::Api(answer)) if answer.is_conflict() || answer.is_not_found() => {}
                other => return other,
            }
        }
        let found = self.api.get_opt(&self.name).await?;
        self.note(found.as_ref());
        let record = found.as_ref().map(record);
        let unchanged_for = self.seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let what = turn(record.as_ref(), &self.me, unchanged_for);
        let written = match what {
            Turn::Wait => {
                self.wait_for(record.and_then(|record| record.holder).unwrap_or_default());
                return Ok(());
            }
            Turn::Create | Turn::Take | Turn::Renew => self.write(found.unwrap_or_default(), what).await,
        };
        match written {
            // Another was first: the next look says who.
            Err(kube::Error::Api(answer)) if answer.is_conflict() || answer.is_already_exists() => Ok(()),
            other => other,
        }
    }

    /// Remembers what is seen, and since when.
    fn note(&mut self, found: Option<&Lease>) {
        let now = Instant::now();
        self.seen = found.map(|lease| match &self.seen {
            Some((before, since)) if before.spec == lease.spec => (lease.clone(), *since),
            Some(_) | None => (lease.clone(), now),
        });
    }

    /// Writes this candidate into a lease, in the version that it was seen in.
    async fn write(&mut self, mut lease: Lease, what: Turn) -> kube::Result<()> {
        // Before it is sent: what another sees of it begins later.
        let sent = Instant::now();
        let spec = lease.spec.take().unwrap_or_default();
        lease.spec = Some(held(spec, &self.me, what, now()));
        let manager = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let answer = if what == Turn::Create {
            lease.metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            self.api.create(&manager, &lease).await?
        } else {
            self.api.replace(&self.name, &manager, &lease).await?
        };
        self.seen = Some((answer, Instant::now()));
        let before = self.standing.send_replace(Standing::Leading { until: sent + RENEW_DEADLINE });
        if !matches!(before, Standing::Leading { .. }) {
            tracing::info!(lease = self.full_name, identity = self.me, "leading");
        }
        Ok(())
    }

    fn wait_for(&self, holder: String) {
        if self.leading_until().is_some() {
            self.lose(format!("{holder} holds it now"));
            return;
        }
        let standby = Standing::Standby { holder };
        if *self.standing.borrow() != standby {
            let Standing::Standby { holder } = &standby else { return };
            tracing::info!(lease = self.full_name, holder, "standing by");
            self.standing.send_replace(standby);
        }
    }

    fn lose(&self, why: String) {
        tracing::error!(
            lease = self.full_name,
            why,
            "the lease is lost: no more work is begun here, and this process ends"
        );
        self.standing.send_replace(Standing::Lost(why));
    }

    fn has_lost(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Lost(_))
    }

    fn leading_until(&self) -> Option<Instant> {
        if let Standing::Leading { until } = *self.standing.borrow() { Some(until) } else { None }
    }

    /// Says what is in the way, once, and that it is there no more.
    fn complain(&mut self, trouble: Option<&String>) {
        if self.complaint.as_ref() == trouble {
            return;
        }
        if let Some(error) = trouble {
            tracing::warn!(lease = self.full_name, error, "the lease can't be read or written; it is tried again");
            self.standing.send_if_modified(|standing| match standing {
                Standing::Unknown(why) => {
                    why.clone_from(error);
                    true
                }
                Standing::Standby { .. } | Standing::Leading { .. } | Standing::Lost(_) => false,
            });
        } else {
            tracing::info!(lease = self.full_name, "the lease can be read and written");
        }
        self.complaint = trouble.cloned();
    }

    /// Leaves the lease to whoever wants it, if it is this candidate's.
    async fn release(&self) {
        if matches!(*self.standing.borrow(), Standing::Unknown(_) | Standing::Standby { .. }) {
            return;
        }
        // A write that was on its way may come in between once.
        for _ in 0..2 {
            let found = match self.api.get_opt(&self.name).await {
                Ok(Some(lease)) if record(&lease).holder.as_ref() == Some(&self.me) => lease,
                Ok(_) => return,
                Err(error) => return self.not_released(&error),
            };
            match self.api.replace(&self.name, &PostParams::default(), &released(found, now())).await {
                Ok(_) => return tracing::info!(lease = self.full_name, "the lease is given back"),
                Err(kube::Error::Api(answer)) if answer.is_conflict() => {}
                Err(error) => return self.not_released(&error),
            }
        }
    }

    fn not_released(&self, error: &kube::Error) {
        let error = in_words(error);
        tracing::warn!(lease = self.full_name, error, "the lease isn't given back; it is over when it has run out");
    }
}

/// What a lease says.
fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        duration: seconds.map_or(LEASE_DURATION, Duration::from_secs),
    }
}

/// A lease that is `me`'s.
fn held(spec: LeaseSpec, me: &str, what: Turn, now: Timestamp) -> LeaseSpec {
    let changes_hands = what != Turn::Renew;
    let transitions = spec.lease_transitions.unwrap_or_default();
    LeaseSpec {
        acquire_time: if changes_hands { Some(MicroTime(now)) } else { spec.acquire_time },
        lease_transitions: Some(if what == Turn::Take { transitions.saturating_add(1) } else { transitions }),
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        renew_time: Some(MicroTime(now)),
        ..spec
    }
}

/// A lease that is nobody's.
fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let spec = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: None,
        // Whoever doesn't know that no holder means nobody waits for a second.
        lease_duration_seconds: Some(1),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..spec
    });
    lease
}

/// A name that no other process has: the host's, for people, and chance.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host = host.map(|host| host.trim().to_owned()).filter(|host| !host.is_empty());
    format!("{}_{:016x}", host.unwrap_or_else(|| "dunlin".to_owned()), rand::random::<u64>())
}

fn pod_namespace() -> Option<String> {
    let namespace = std::fs::read_to_string(POD_NAMESPACE).ok()?;
    Some(namespace.trim().to_owned()).filter(|namespace| !namespace.is_empty())
}

/// The error. (kube prints an answer of the API server twice, once as a structure.)
fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("it is a time")
    }

    #[test]
    fn taking_counts_a_transition_and_renewing_keeps_the_time_of_it() {
        let created = held(LeaseSpec::default(), "one", Turn::Create, at(1));
        let renewed = held(created.clone(), "one", Turn::Renew, at(2));
        let taken = held(renewed.clone(), "other", Turn::Take, at(30));
        let times = |spec: &LeaseSpec| {
            let second = |time: &Option<MicroTime>| time.as_ref().map(|time| time.0.as_second());
            (second(&spec.acquire_time), second(&spec.renew_time), spec.lease_transitions)
        };
        assert_eq!(times(&created), (Some(1), Some(1), Some(0)));
        assert_eq!(times(&renewed), (Some(1), Some(2), Some(0)));
        assert_eq!(times(&taken), (Some(30), Some(30), Some(1)));
        assert_eq!(taken.holder_identity.as_deref(), Some("other"));
        assert_eq!(taken.lease_duration_seconds, Some(15));
    }

    #[test]
    fn a_lease_that_is_given_back_is_nobodys_and_keeps_its_transitions() {
        let spec = LeaseSpec { lease_transitions: Some(4), ..held(LeaseSpec::default(), "one", Turn::Renew, at(1)) };
        let released = released(Lease { spec: Some(spec), ..Lease::default() }, at(5));
        assert_eq!(record(&released), Record { holder: None, duration: Duration::from_secs(1) });
        assert_eq!(released.spec.and_then(|spec| spec.lease_transitions), Some(4));
    }

    #[test]
    fn a_holder_without_a_name_is_nobody_and_an_odd_duration_is_the_usual_one() {
        for (holder, seconds) in [(None, None), (Some(""), Some(-1))] {
            let spec = LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: seconds,
                ..LeaseSpec::default()
            };
            let lease = Lease { spec: Some(spec), ..Lease::default() };
            assert_eq!(record(&lease), Record { holder: None, duration: LEASE_DURATION });
        }
    }

    #[test]
    fn no_two_processes_have_one_identity() {
        assert_ne!(identity(), identity());
    }

    #[test]
    fn a_leader_whose_time_is_over_may_not_work_though_nobody_has_told_it() {
        let of = |standing| Leadership::Elected("dunlin-operator".into(), watch::channel(standing).1).may_work();
        assert!(of(Standing::Leading { until: Instant::now() + RENEW_DEADLINE }));
        assert!(!of(Standing::Leading { until: Instant::now() }));
        assert!(!of(Standing::Standby { holder: "other".to_owned() }));
        assert!(!of(Standing::Lost("why".to_owned())) && !of(Standing::Unknown("why".to_owned())));
        assert!(Leadership::Alone.may_work());
    }
}
