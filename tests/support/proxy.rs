//! A way to a local server that can be cut, closed, counted and pointed elsewhere: what stands between in a hostile world.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A port that leads to another one. It ends with the test's runtime.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: AtomicU16,
    accepted: AtomicUsize,
    /// Whether new connections are let through.
    open: watch::Sender<bool>,
    /// Changes when every connection is cut.
    cut: watch::Sender<u64>,
    /// The words that the next message with them is held for.
    marker: Mutex<Option<&'static str>>,
    held: watch::Sender<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Message,
    Released,
}

impl Proxy {
    /// Opens a port that leads to `target` on this machine.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            target: AtomicU16::new(target),
            accepted: AtomicUsize::new(0),
            open: watch::Sender::new(true),
            cut: watch::Sender::new(0),
            marker: Mutex::new(None),
            held: watch::Sender::new(Held::Nothing),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                serving.accepted.fetch_add(1, Ordering::SeqCst);
                if *serving.open.borrow() {
                    tokio::spawn(serve(client, Arc::clone(&serving)));
                }
            }
        });
        Self { port, state }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL of the server, through the proxy.
    pub fn url(&self, direct: &str) -> String {
        let (before, rest) = direct.rsplit_once(':').expect("the URL names a port");
        let (_, path) = rest.split_once('/').expect("the URL names a database");
        format!("{before}:{}/{path}", self.port)
    }

    /// Connections that were asked for so far, whether or not they were let through.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Breaks every connection off.
    pub fn cut(&self) {
        self.state.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Breaks every connection off, and lets none through until [`Self::open`].
    pub fn close(&self) {
        self.state.open.send_replace(false);
        self.cut();
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.state.open.send_replace(true);
    }

    /// Leads to another port, for connections to come.
    pub fn lead_to(&self, target: u16) {
        self.state.target.store(target, Ordering::SeqCst);
    }

    /// Holds the next message to the server that has these words in it, once.
    pub fn hold(&self, marker: &'static str) {
        *self.state.marker.lock().expect("nobody panicked") = Some(marker);
    }

    /// Returns when a message is held.
    pub async fn holds(&self) {
        let mut held = self.state.held.subscribe();
        held.wait_for(|held| *held == Held::Message).await.expect("the proxy is there");
    }

    /// Passes the held message on.
    pub fn release(&self) {
        self.state.held.send_replace(Held::Released);
    }
}

impl State {
    fn is_to_hold(&self, bytes: &[u8]) -> bool {
        let mut marker = self.marker.lock().expect("nobody panicked");
        let found = marker.is_some_and(|marker| bytes.windows(marker.len()).any(|window| window == marker.as_bytes()));
        if found {
            *marker = None;
        }
        found
    }
}

async fn serve(client: TcpStream, state: Arc<State>) {
    let mut cut = state.cut.subscribe();
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.target.load(Ordering::SeqCst))).await else { return };
    // Small messages go back and forth, and must not wait for each other.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if state.is_to_hold(&buffer[..length]) {
                state.held.send_replace(Held::Message);
                let mut held = state.held.subscribe();
                // The sender is in the state, which is here.
                let _ = held.wait_for(|held| *held == Held::Released).await;
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let answering = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(asking, answering) } => {}
        _ = cut.changed() => {}
    }
}
