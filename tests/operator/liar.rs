//! What stands between the operator and the API server, and may lie: answers of an earlier time, and watches that are too
//! old to go on.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode, header::ACCEPT};
use http_body_util::{BodyExt, Full};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, DynBody},
};
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

type Answer = Response<Box<DynBody>>;

/// How the world is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Truth,
    /// Every watch is too old (410 Gone), as after a compaction; lists say the truth.
    WatchesAreGone,
    /// Reads answer as they did when the time was marked; watches show nothing new.
    Past,
}

/// A world between a client and an API server.
#[derive(Clone)]
pub struct Liar(Arc<State>);

struct State {
    mode: watch::Sender<Mode>,
    /// The last true answers to reads, by path and what was accepted.
    answers: Mutex<HashMap<String, (StatusCode, Vec<u8>)>>,
    past: Mutex<HashMap<String, (StatusCode, Vec<u8>)>>,
    counts: Mutex<Counts>,
}

/// How often it was lied.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub gone: usize,
    pub past: usize,
}

impl Liar {
    pub fn new() -> Self {
        Self(Arc::new(State {
            mode: watch::Sender::new(Mode::Truth),
            answers: Mutex::default(),
            past: Mutex::default(),
            counts: Mutex::default(),
        }))
    }

    /// A client to whom the world is shown this way.
    pub fn client(&self, config: Config) -> Client {
        let builder = ClientBuilder::try_from(config).expect("the configuration makes a client");
        builder.with_layer(self).build()
    }

    /// Shows the world another way. Watches under way go on: cut them.
    pub fn show(&self, mode: Mode) {
        self.0.mode.send_replace(mode);
    }

    /// Marks the time that [`Mode::Past`] goes back to.
    pub fn mark(&self) {
        let answers = self.0.answers.lock().expect("nobody panicked").clone();
        *self.0.past.lock().expect("nobody panicked") = answers;
    }

    pub fn counts(&self) -> Counts {
        *self.0.counts.lock().expect("nobody panicked")
    }
}

impl<S> Layer<S> for Liar {
    type Service = Lying<S>;

    fn layer(&self, inner: S) -> Lying<S> {
        Lying { inner, state: Arc::clone(&self.0) }
    }
}

/// The layer's service.
pub struct Lying<S> {
    inner: S,
    state: Arc<State>,
}

impl<S> Service<Request<Body>> for Lying<S>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.state);
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let key = format!("{} {:?}", request.uri().path(), request.headers().get(ACCEPT));
        let mode = *state.mode.borrow();
        if request.method() != Method::GET {
            return Box::pin(self.inner.call(request));
        }
        match (mode, is_watch) {
            (Mode::WatchesAreGone, true) => Box::pin(async move { Ok(state.gone()) }),
            // A watch that knows more than the past must list again.
            (Mode::Past, true) if !state.has_shown(&request) => Box::pin(async move { Ok(state.gone()) }),
            (Mode::Past, true) => Box::pin(async move {
                // It shows nothing, until the connection breaks with the lie.
                let _ = state.mode.subscribe().wait_for(|mode| *mode != Mode::Past).await;
                Ok(answer(StatusCode::SERVICE_UNAVAILABLE, Vec::new()))
            }),
            (Mode::Past, false) => {
                let past = state.past.lock().expect("nobody panicked").get(&key).cloned();
                let Some((status, bytes)) = past else { return Box::pin(self.inner.call(request)) };
                state.counts.lock().expect("nobody panicked").past += 1;
                Box::pin(async move { Ok(answer(status, bytes)) })
            }
            (Mode::Truth, true) => Box::pin(self.inner.call(request)),
            (Mode::Truth | Mode::WatchesAreGone, false) => {
                let asking = self.inner.call(request);
                Box::pin(async move {
                    let (parts, body) = asking.await?.into_parts();
                    let bytes = body.collect().await?.to_bytes().to_vec();
                    state.answers.lock().expect("nobody panicked").insert(key, (parts.status, bytes.clone()));
                    Ok(answer(parts.status, bytes))
                })
            }
        }
    }
}

impl State {
    /// Whether a watch begins at a version that the past has shown.
    fn has_shown(&self, request: &Request<Body>) -> bool {
        let query = request.uri().query().unwrap_or_default();
        let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")).unwrap_or_default();
        let version = format!("\"resourceVersion\":\"{version}\"");
        let past = self.past.lock().expect("nobody panicked");
        let mut lists = past.iter().filter(|(key, _)| key.starts_with(&format!("{} ", request.uri().path())));
        lists.any(|(_, (_, bytes))| String::from_utf8_lossy(bytes).contains(&version))
    }

    /// A watch that is too old is told so at once, or after it was let begin.
    fn gone(&self) -> Answer {
        let mut counts = self.counts.lock().expect("nobody panicked");
        counts.gone += 1;
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired",
            "message": "too old resource version: 1 (2)",
        });
        if counts.gone.is_multiple_of(2) {
            answer(StatusCode::GONE, status.to_string().into_bytes())
        } else {
            let event = serde_json::json!({"type": "ERROR", "object": status});
            answer(StatusCode::OK, format!("{event}\n").into_bytes())
        }
    }
}

fn answer(status: StatusCode, bytes: Vec<u8>) -> Answer {
    let body = Full::from(bytes).map_err(|never| -> BoxError { match never {} });
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Box::new(body) as Box<DynBody>)
        .expect("it is a response")
}
