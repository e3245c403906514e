//! Replicas that hold a lease while they work: one at a time, and the next one soon. Real processes, a real API server, and
//! the database as the witness.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    conduct::{AFTER, GATED, USERS, gate, is_running},
    line::applied,
    process::OperatorProcess,
    shop::{LIMIT, Shop, message},
    support::{eventually, kubernetes},
    two::{SETS, each_ran_once_and_alone, many_marked_sets},
};

/// How long a lease stays its holder's.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long after SIGTERM another leads at the latest, where nothing is under way.
const HAND_OVER: Duration = Duration::from_secs(5);
/// The exit code of a process that finds somebody else at work.
const BUSY: Option<i32> = Some(7);

/// A replica.
struct Replica {
    process: OperatorProcess,
    identity: String,
}

impl Replica {
    /// Starts one that is a candidate for the lease of the shop's namespace.
    async fn start(shop: &Shop) -> Self {
        Self::start_with(shop, &shop.namespace).await
    }

    async fn start_with(shop: &Shop, lease_namespace: &str) -> Self {
        let flags = ["--leader-elect", "--lease-namespace", lease_namespace, "--log-level", "debug"];
        let process = OperatorProcess::start_with(kubernetes(), &shop.namespace, &flags);
        let identity = eventually("it says who it is", LIMIT, async || {
            let log = process.log();
            let (_, behind) = log.split_once("identity=\"").ok_or_else(|| log.clone())?;
            behind.split_once('"').map(|(identity, _)| identity.to_owned()).ok_or(log.clone())
        })
        .await;
        Self { process, identity }
    }

    async fn says(&self, words: &str) {
        eventually(words, LIMIT, async || {
            let log = self.process.log();
            if log.contains(words) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    /// Whether it has looked at any set.
    fn has_looked(&self) -> bool {
        self.process.log().contains("looked")
    }
}

fn leases(shop: &Shop) -> Api<Lease> {
    Api::namespaced(shop.client.clone(), &shop.namespace)
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}

/// Waits until somebody else than these holds the lease, and says who.
async fn until_led_by_another_than(shop: &Shop, not: &[&Replica]) -> String {
    eventually("one leads", LIMIT, async || {
        let lease = leases(shop).get("dunlin-operator").await.map_err(|error| error.to_string())?;
        let holder = holder(&lease).ok_or("it is nobody's")?;
        if not.iter().any(|replica| replica.identity == holder) { Err(holder) } else { Ok(holder) }
    })
    .await
}

/// Which of two leads, that one first.
async fn leader_first(shop: &Shop, one: Replica, other: Replica) -> [Replica; 2] {
    let leader = until_led_by_another_than(shop, &[]).await;
    if leader == one.identity { [one, other] } else { [other, one] }
}

/// Who held the lease, and when that was seen.
type Seen = Vec<(Instant, Option<String>)>;

/// Everything that was ever seen of the lease.
struct History {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl History {
    fn of(shop: &Shop) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (record, leases) = (Arc::clone(&seen), leases(shop));
        let task = tokio::spawn(async move {
            let mut events = watcher(leases, watcher::Config::default()).default_backoff().boxed();
            while let Some(event) = events.next().await {
                if let Ok(watcher::Event::Apply(lease) | watcher::Event::InitApply(lease)) = event {
                    record.lock().expect("nobody panicked").push((Instant::now(), holder(&lease)));
                }
            }
        });
        Self { seen, task }
    }

    /// Nobody took it from another before its time was over. Answers with the holders, in order.
    fn check(self) -> Vec<String> {
        self.task.abort();
        let seen = self.seen.lock().expect("nobody panicked");
        for pair in seen.windows(2) {
            let [(before, Some(one)), (after, Some(other))] = pair else { continue };
            // What is seen here is seen a little later than it was written.
            let stood = after.duration_since(*before) + Duration::from_millis(500);
            assert!(one == other || stood >= LEASE_DURATION, "{other} took it from {one} after {stood:?}");
        }
        let mut holders: Vec<String> = seen.iter().filter_map(|(_, holder)| holder.clone()).collect();
        holders.dedup();
        holders
    }
}

/// One works and the other waits; when the first is asked to stop, the other works within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_works_and_hands_over_when_it_is_asked_to_stop() {
    let shop = Shop::closed().await;
    let history = History::of(&shop);
    let (one, other) = tokio::join!(Replica::start(&shop), Replica::start(&shop));
    let [leader, standby] = leader_first(&shop, one, other).await;
    standby.says("standing by").await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"interval": "1s"})).await;
    shop.until("UpToDate").await;
    assert!(leader.has_looked() && !standby.has_looked(), "{}", standby.process.log());

    let asked = Instant::now();
    leader.process.signal("TERM");
    let second = until_led_by_another_than(&shop, &[&leader]).await;
    let took = asked.elapsed();
    assert_eq!(second, standby.identity);
    assert!(took < HAND_OVER, "{took:?}");
    let (code, log) = leader.process.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the lease is given back"), "{log}");
    shop.files("sql", &[USERS, AFTER]).await;
    let both = shop.until_that("shop", "the second one works", |set| applied(set) == 2).await;
    assert_eq!(both.status.and_then(|status| status.observed_generation), Some(1));
    assert_eq!(history.check(), [leader.identity, standby.identity]);
    standby.process.end().await;
    let lease = leases(&shop).get("dunlin-operator").await.expect("it is there");
    assert_eq!(holder(&lease), None);
    assert_eq!(lease.spec.and_then(|spec| spec.lease_transitions), Some(1));
    shop.close().await;
}

/// Asked to stop in the middle of many runs, the leader ends what is under way before it gives the lease back; the database
/// shows no two at work on one set, and nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_in_the_middle_of_everything_does_everything_once() {
    let shop = Shop::closed().await;
    let history = History::of(&shop);
    let (one, other) = tokio::join!(Replica::start(&shop), Replica::start(&shop));
    let [leader, standby] = leader_first(&shop, one, other).await;
    let names = many_marked_sets(&shop).await;
    eventually("some of it is done", LIMIT, async || {
        let count = shop.ask("SELECT count(*) > 2 FROM marks").await;
        if count == "t" { Ok(()) } else { Err(count) }
    })
    .await;
    leader.process.signal("TERM");
    for name in &names {
        shop.until_of(name, "UpToDate").await;
    }
    each_ran_once_and_alone(&shop, SETS).await;
    let (code, log) = leader.process.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(standby.has_looked());
    assert_eq!(history.check(), [leader.identity, standby.identity]);
    standby.process.end().await;
    shop.close().await;
}

/// A leader that is killed can't give anything back: the lease runs out, and not earlier another works.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_when_its_lease_has_run_out() {
    let shop = Shop::closed().await;
    let history = History::of(&shop);
    let (one, other) = tokio::join!(Replica::start(&shop), Replica::start(&shop));
    let [leader, standby] = leader_first(&shop, one, other).await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    shop.until("UpToDate").await;
    leader.process.signal("KILL");
    shop.files("sql", &[USERS, AFTER]).await;
    shop.until_that("shop", "the second one works", |set| applied(set) == 2).await;
    assert_eq!(history.check(), [leader.identity, standby.identity]);
    standby.process.end().await;
    shop.close().await;
}

/// A leader that sleeps through the end of its lease in the middle of a migration: another leads, waits for the lock, and
/// goes on where the first one stops. Awake, the first one begins nothing more, and says why it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_awakes_after_its_time_begins_nothing_more() {
    let shop = Shop::closed().await;
    let history = History::of(&shop);
    let gate = gate(&shop.url).await;
    let (one, other) = tokio::join!(Replica::start(&shop), Replica::start(&shop));
    let [leader, standby] = leader_first(&shop, one, other).await;
    shop.files("sql", &[USERS, GATED, AFTER]).await;
    shop.apply(json!({"policy": {"lockTimeout": "0s"}})).await;
    shop.until_that("shop", "it runs", is_running).await;
    leader.process.signal("STOP");
    let waits =
        |set: &_| message(set).contains(&format!("dunlin/{}/shop", shop.namespace)) && message(set).contains("lock");
    shop.until_that("shop", "the second one waits for the first one's lock", waits).await;
    leader.process.signal("CONT");
    leader.says("the lease is lost").await;
    assert_eq!(shop.ask("SELECT to_regclass('after_it')").await, "NULL", "the lock is still the first one's");
    drop(gate);
    let (code, log) = leader.process.ended().await;
    assert_eq!(code, BUSY, "{log}");
    assert!(log.contains("version=002") && !log.contains("version=003"), "it ends what was under way: {log}");
    assert!(
        log.lines().last().is_some_and(|line| line.contains("dunlin-operator is lost: it wasn't renewed")),
        "{log}"
    );
    let set = shop.until("UpToDate").await;
    assert_eq!(applied(&set), 3);
    assert!(standby.process.log().contains("version=003"));
    assert_eq!(shop.ask("SELECT count(*) || min(outcome) || max(attempts) FROM dunlin.run").await, "3succeeded1");
    assert_eq!(history.check(), [leader.identity, standby.identity]);
    standby.process.end().await;
    shop.close().await;
}

/// Whoever finds another in the lease stops at once, and doesn't take it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_finds_another_in_the_lease_ends() {
    let shop = Shop::closed().await;
    let leader = Replica::start(&shop).await;
    until_led_by_another_than(&shop, &[]).await;
    let taken = json!({"spec": {"holderIdentity": "somebody-else", "renewTime": "2026-01-01T00:00:00.000000Z"}});
    let patched = leases(&shop).patch("dunlin-operator", &PatchParams::default(), &Patch::Merge(&taken)).await;
    patched.expect("the lease is anybody's to write");
    let (code, log) = leader.process.ended().await;
    assert_eq!(code, BUSY, "{log}");
    assert!(log.contains("somebody-else holds it now"), "{log}");
    let lease = leases(&shop).get("dunlin-operator").await.expect("it is there");
    assert_eq!(holder(&lease).as_deref(), Some("somebody-else"));
    shop.close().await;
}

/// A lease that can't be had is said, and tried again; until then nothing is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_lease_nothing_is_begun_until_it_can_be_had() {
    let shop = Shop::closed().await;
    let place = format!("{}-leases", shop.namespace);
    let replica = Replica::start_with(&shop, &place).await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({})).await;
    replica.says(&format!("namespaces \\\"{place}\\\" not found")).await;
    let set = shop.sets().get("shop").await.expect("it is there");
    assert!(set.status.is_some_and(|status| status.observed_generation == Some(-1)));
    assert!(!replica.has_looked());
    let made = kubernetes().kubectl(&["create", "namespace", &place]);
    assert!(made.status.success());
    shop.until("UpToDate").await;
    assert_eq!(replica.process.log().matches("the lease can't be read or written").count(), 1, "it is said once");
    replica.process.end().await;
    shop.close().await;
}

/// A leader that can't renew its lease for ten seconds ends, though nobody else has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_renew_its_lease_ends() {
    let shop = Shop::closed().await;
    let place = format!("{}-leases", shop.namespace);
    assert!(kubernetes().kubectl(&["create", "namespace", &place]).status.success());
    let leader = Replica::start_with(&shop, &place).await;
    leader.says("leading").await;
    // Without controllers it stays as it is: nothing can be made there any more.
    assert!(kubernetes().kubectl(&["delete", "namespace", &place, "--wait=false"]).status.success());
    let asked = Instant::now();
    assert!(kubernetes().kubectl(&["delete", "lease", "dunlin-operator", "-n", &place]).status.success());
    let (code, log) = leader.process.ended().await;
    let took = asked.elapsed();
    assert_eq!(code, BUSY, "{log}");
    assert!(log.contains("it wasn't renewed within 10 s: ") && log.contains("is being terminated"), "{log}");
    assert!(took > Duration::from_secs(7) && took < LEASE_DURATION, "{took:?}");
    shop.close().await;
}
