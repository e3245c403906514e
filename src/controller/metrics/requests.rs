//! Requests to the API server, counted where they leave: a layer of the client.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use hyper::{Method, Request, Response};
use tower::{Layer, Service};

use super::{
    Metrics, families,
    text::{Histogram, Page, SHORT, exact},
};

/// What stands for the status code where no answer came, as in client-go.
const NO_ANSWER: &str = "<error>";

/// Requests so far.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// By status code (None: no answer) and method.
    counts: BTreeMap<(Option<u16>, &'static str), u64>,
    durations: BTreeMap<&'static str, Histogram>,
}

impl Requests {
    fn count(&mut self, method: &'static str, code: Option<u16>, took: Duration) {
        *self.counts.entry((code, method)).or_default() += 1;
        self.durations.entry(method).or_insert_with(|| Histogram::new(SHORT)).observe(took.as_secs_f64());
    }

    pub fn write(&self, page: &mut Page) {
        page.family(&families::REQUESTS, |samples| {
            for ((code, method), count) in &self.counts {
                let code = code.map_or_else(|| NO_ANSWER.to_owned(), |code| code.to_string());
                samples.add(&[&code, method], exact(*count));
            }
        });
        page.family(&families::REQUEST_DURATION, |samples| {
            for (method, durations) in &self.durations {
                samples.histogram(&[method], durations);
            }
        });
    }
}

/// The methods there are; a label has no others.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

/// The layer that counts.
#[derive(Debug, Clone)]
pub(in crate::controller) struct Counting(pub Arc<Metrics>);

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: Arc::clone(&self.0) }
    }
}

/// A client whose requests are counted.
#[derive(Debug, Clone)]
pub(in crate::controller) struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    A: 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, sent, metrics) = (name(request.method()), Instant::now(), Arc::clone(&self.metrics));
        let counted = move |answer: Result<Response<A>, S::Error>| {
            let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            metrics.lock().requests.count(method, code, sent.elapsed());
            answer
        };
        self.inner.call(request).map(counted).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_code_and_method() {
        let mut requests = Requests::default();
        for (method, code) in [(Method::GET, Some(200)), (Method::GET, Some(200)), (Method::PATCH, None)] {
            requests.count(name(&method), code, Duration::from_millis(20));
        }
        let mut page = Page::default();
        requests.write(&mut page);
        let text = page.text();
        for expected in [
            "rest_client_requests_total{code=\"200\",method=\"GET\"} 2",
            "rest_client_requests_total{code=\"<error>\",method=\"PATCH\"} 1",
            "rest_client_request_duration_seconds_count{method=\"GET\"} 2",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected} in {text}");
        }
    }
}
