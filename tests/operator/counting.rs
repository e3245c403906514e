//! Clients that count what they ask the API server.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use kube::{Client, Config, client::ClientBuilder};

/// The requests of a client.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Mutex<Vec<String>>>);

impl Requests {
    /// A client whose requests are written down here, as `METHOD /path?query`.
    pub fn client(&self, config: &Config) -> Client {
        let lines = Arc::clone(&self.0);
        let layer = tower::util::MapRequestLayer::new(move |request: http::Request<kube::client::Body>| {
            let line = format!("{} {}", request.method(), request.uri());
            lines.lock().expect("nobody panicked").push(line);
            request
        });
        let builder = ClientBuilder::try_from(config.clone()).expect("the configuration makes a client");
        builder.with_layer(&layer).build()
    }

    /// Forgets what was asked so far.
    pub fn forget(&self) {
        self.0.lock().expect("nobody panicked").clear();
    }

    /// The requests that write a status.
    pub fn status_writes(&self) -> Vec<String> {
        self.those(|line| !line.starts_with("GET") && line.contains("/status"))
    }

    /// How often a Secret was read, which each look does.
    pub fn looks(&self) -> usize {
        self.those(|line| line.contains("/secrets/")).len()
    }

    fn those(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.0.lock().expect("nobody panicked").iter().filter(|line| wanted(line)).cloned().collect()
    }
}

/// How many requests of a client are under way.
#[derive(Debug, Clone, Default)]
pub struct UnderWay {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// One of them.
struct OneMore(Arc<AtomicUsize>);

impl UnderWay {
    /// A client whose requests are counted here, from when they are sent until their answers begin.
    pub fn client(&self, config: &Config) -> Client {
        let counts = self.clone();
        let layer = tower::util::MapFutureLayer::new(move |answer| {
            let one = counts.one_more();
            async move {
                let _one = one;
                answer.await
            }
        });
        let builder = ClientBuilder::try_from(config.clone()).expect("the configuration makes a client");
        builder.with_layer(&layer).build()
    }

    /// The most that they were at one time.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn one_more(&self) -> OneMore {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        OneMore(Arc::clone(&self.now))
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
