//! Sets at hostile servers beside one at an honest server, in one operator: it is as quick as it would be alone.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    memory::Growth,
    server::{Hostile, Misdeed, Moment, large_row},
    shop::{LIMIT, Shop, message, ready},
    support::{Dedicated, dedicated_postgres, eventually},
};

/// Changes whose time is measured, with and without hostile neighbours.
const CHANGES: usize = 5;
/// Sets whose database takes a connection and says nothing: more than there are places for quick looks.
const SILENT: usize = 70;
const GROWTH_MIB: usize = 128;

/// The set whose changes are measured.
struct Honest {
    shop: Shop,
    files: Vec<(String, String)>,
}

impl Honest {
    /// Adds a migration, and answers how long it takes until the set is up to date with it.
    async fn change(&mut self) -> Duration {
        let number = self.files.len() + 1;
        self.files.push((format!("{number:03}_a.sql"), format!("CREATE TABLE t{number} (a int);")));
        let files: Vec<(&str, &str)> = self.files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let begun = Instant::now();
        self.shop.files("sql", &files).await;
        self.shop
            .until_that("shop", "the change is applied", |set| {
                let status = set.status.as_ref();
                let applied = status.and_then(|status| status.applied.as_ref()).map_or(0, |applied| applied.count);
                applied == i64::try_from(number).expect("few")
                    && ready(set).is_some_and(|(truth, _, _)| truth == "True")
            })
            .await;
        begun.elapsed()
    }

    async fn median(&mut self) -> Duration {
        let mut times = Vec::new();
        for _ in 0..CHANGES {
            times.push(self.change().await);
        }
        times.sort_unstable();
        times[CHANGES / 2]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_as_quick_beside_hostile_and_dead_databases_as_alone() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let mut growth = Growth::measure().await;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(panic);
    }));
    large_row();
    let mut honest = Honest { shop: Shop::open().await, files: Vec::new() };
    honest.shop.apply(json!({})).await;
    honest.change().await;
    let alone = honest.median().await;
    // Those that are honest for a while use up another server's connections.
    let server = dedicated_postgres(&["max_connections=300"], &[], &[]);
    growth.again();

    let hostile = hostile_sets(&honest.shop, &server).await;
    let beside = honest.median().await;
    for name in &hostile {
        says_why(&honest.shop, name, &server.about().password).await;
    }
    let later = honest.median().await;
    let grown = growth.most().resident;
    println!(
        "hostile: beside {} hostile and {SILENT} silent databases a change takes {beside:.0?}, then {later:.0?}; alone it \
         took {alone:.0?}; the process grew by {grown} MiB",
        hostile.len() - SILENT
    );
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "it is said above where");
    let bound = (3 * alone).max(Duration::from_secs(1));
    assert!(beside <= bound && later <= bound, "{beside:?} and {later:?}, and alone {alone:?}");
    assert!(grown < GROWTH_MIB, "{grown} MiB");
    honest.shop.close().await;
}

/// Makes the sets, and answers with their names.
async fn hostile_sets(shop: &Shop, server: &Dedicated) -> Vec<String> {
    let about = server.about();
    let real = server.fresh_database().await;
    let address = SocketAddr::new(about.host.parse().expect("an address"), about.port);
    shop.files("hostile", &[("001_a.sql", "CREATE TABLE IF NOT EXISTS hostile_words (a int);")]).await;
    let mut names = Vec::new();
    let moments = [("startup", Moment::Startup), ("migration", Moment::Asked("hostile_words (a int)"))];
    for (when, moment) in moments {
        for misdeed in Misdeed::ALL.into_iter().chain(Misdeed::LOGINS) {
            // A flood in the middle of a migration goes on for as long as that may take: one of them is enough here, since
            // its source is in this process, too.
            let apt = match moment {
                Moment::Startup => true,
                _ => !Misdeed::LOGINS.contains(&misdeed) && (!misdeed.is_a_flood() || misdeed == Misdeed::EndlessRows),
            };
            if !apt {
                continue;
            }
            let hostile = Hostile::start(moment, misdeed, address).await;
            let name = format!("{when}-{misdeed:?}").to_lowercase();
            add(shop, &name, &hostile.url(&real, about.port)).await;
            names.push(name);
        }
    }
    let silent = Hostile::start(Moment::Startup, Misdeed::Silence, address).await;
    let url = silent.url(&real, about.port).replace("connect_timeout=3", "connect_timeout=10");
    for number in 0..SILENT {
        let name = format!("silent-{number}");
        add(shop, &name, &url).await;
        names.push(name);
    }
    names
}

async fn add(shop: &Shop, name: &str, url: &str) {
    shop.secret(name, &[("uri", url)]).await;
    let spec = json!({
        "database": {"secretRef": {"name": name}},
        "source": {"configMaps": [{"name": "hostile"}]},
        "history": {"set": name},
    });
    shop.apply_as(name, spec).await;
}

/// Waits until the set has a reason other than that it is being looked at, and a message without the password.
async fn says_why(shop: &Shop, name: &str, password: &str) {
    let sets = shop.sets();
    let (reason, text) = eventually(name, LIMIT, async || {
        let set = sets.get(name).await.map_err(|error| error.to_string())?;
        match ready(&set) {
            Some((_, reason, _)) if reason != "Checking" => Ok((reason, message(&set))),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let in_the_users_time = name.starts_with("migration-") && reason == "Applying";
    let sound = ["WaitingForDatabase", "Retrying", "WaitingForLock", "AuthenticationFailed"];
    // The lie of one that is honest until it is asked for what its file does is the server's own error.
    let lying = name == "migration-lyingerror" || name == "migration-endlesserrors";
    assert!(in_the_users_time || sound.contains(&reason.as_str()) || lying, "{name}: {reason}: {text}");
    assert!(!text.is_empty() && !text.contains(password), "{name}: {text}");
}
