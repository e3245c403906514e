//! Where operators stop: every armed fail point asks here whether it may go on.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dunlin::fail_points::Point;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// One passage of a point: the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    pub point: Point,
    pub count: u32,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.point.name(), self.count)
    }
}

/// An operator that stands at a point, until this is dropped.
#[derive(Debug)]
pub struct Stopped {
    go: Option<oneshot::Sender<()>>,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(go) = self.go.take() {
            // Who was killed meanwhile waits no more.
            let _ = go.send(());
        }
    }
}

#[derive(Default)]
struct State {
    counts: BTreeMap<Point, u32>,
    order: Vec<Hit>,
    stop: Option<(Hit, oneshot::Sender<Stopped>)>,
    notice: Option<(Hit, Box<dyn FnOnce() + Send>)>,
}

/// A listener for the fail points of one set's operators.
pub struct Gate {
    port: u16,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, state, task }
    }

    /// The value of `FAILPOINTS` that arms every point for this gate.
    pub fn failpoints(&self) -> String {
        let armed = Point::ALL.iter().map(|point| format!("{}=return(127.0.0.1:{})", point.name(), self.port));
        armed.collect::<Vec<_>>().join(";")
    }

    /// Whoever comes to this hit stops there.
    pub fn stop_at(&self, hit: Hit) -> oneshot::Receiver<Stopped> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.state).stop = Some((hit, sender));
        receiver
    }

    /// Does something when that hit comes, before it may go on.
    pub fn notice(&self, hit: Hit, what: impl FnOnce() + Send + 'static) {
        lock(&self.state).notice = Some((hit, Box::new(what)));
    }

    /// Every hit so far, in order.
    pub fn order(&self) -> Vec<Hit> {
        lock(&self.state).order.clone()
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).await.is_err() {
        return;
    }
    let Some(point) = Point::ALL.iter().copied().find(|point| point.name() == line.trim()) else { return };
    let (go, gone) = oneshot::channel();
    {
        let mut state = lock(&state);
        let count = state.counts.entry(point).or_insert(0);
        *count += 1;
        let hit = Hit { point, count: *count };
        state.order.push(hit);
        if let Some((_, what)) = state.notice.take_if(|(awaited, _)| *awaited == hit) {
            what();
        }
        let stopped = Stopped { go: Some(go) };
        if let Some((_, sender)) = state.stop.take_if(|(awaited, _)| *awaited == hit) {
            // Nobody who waits any more lets it go on.
            let _ = sender.send(stopped);
        }
    }
    if gone.await.is_ok() {
        let _ = stream.write_all(b"go\n").await;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
