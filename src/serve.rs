//! A small HTTP server for probes and scrapes: GET and HEAD alone, one request to a connection, and a limit to everything
//! that a stranger decides.
//!
//! Whoever asks sees pages that were made for anybody: nothing is served here that may hold a secret.

use std::{
    convert::Infallible,
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

/// Connections at one time; whoever comes next waits to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client has to say what it wants.
const READ: Duration = Duration::from_secs(5);
/// How long a connection lasts at the longest, until the answer has been taken.
const CONNECTION: Duration = Duration::from_secs(15);
/// Bytes of a request, without a body, which nobody reads.
const REQUEST_BYTES: usize = 16 * 1024;
/// Headers of a request.
const HEADERS: usize = 64;
/// The pause after a connection that couldn't be accepted: for want of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where to listen: `127.0.0.1:8080`, `[::1]:8080`, or `:8080` for every address of the host. Port 0 is one that is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    /// The first that can be bound is taken.
    candidates: Vec<SocketAddr>,
}

/// An address that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an address is IP:PORT, such as 0.0.0.0:8080 or [::]:8080, or :PORT for every address of the host")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let candidates = match text.strip_prefix(':') {
            Some(port) => {
                let port: u16 = port.parse().map_err(|_| AddressError)?;
                // The first is of both families, where the host has both.
                vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]
            }
            None => vec![text.parse().map_err(|_| AddressError)?],
        };
        Ok(Self { text: text.to_owned(), candidates })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An answer to whoever asks for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status code.
    pub status: StatusCode,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// What is said.
    pub text: String,
}

impl Page {
    /// A page for people.
    #[must_use]
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", text: text.into() }
    }
}

/// A server at work. It ends when this is dropped.
#[derive(Debug)]
pub struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens.
///
/// # Errors
/// When the address is taken, or isn't this host's.
pub async fn listen(address: &Address) -> std::io::Result<TcpListener> {
    TcpListener::bind(address.candidates.as_slice()).await
}

/// Answers whoever comes, with what `page` has for their path; what it has nothing for isn't there. It must not block.
pub fn serve(listener: TcpListener, page: impl Fn(&str) -> Option<Page> + Send + Sync + 'static) -> Server {
    let page = Arc::new(page);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    Server(tokio::spawn(async move {
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let page = Arc::clone(&page);
                    tokio::spawn(async move {
                        converse(stream, &*page).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection couldn't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }))
}

async fn converse(stream: TcpStream, page: &(impl Fn(&str) -> Option<Page> + Sync)) {
    let service =
        service_fn(|request: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(answer(&request, page))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ)
        .max_buf_size(REQUEST_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request wasn't understood, or its answer not taken"),
        Err(_) => tracing::debug!("a connection is ended for its slowness"),
    }
}

fn answer<B>(request: &Request<B>, page: impl Fn(&str) -> Option<Page>) -> Response<Full<Bytes>> {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let page = if is_read {
        page(request.uri().path()).unwrap_or_else(|| Page::text(StatusCode::NOT_FOUND, "there is nothing here\n"))
    } else {
        Page::text(StatusCode::METHOD_NOT_ALLOWED, "this is only to be read: GET and HEAD\n")
    };
    let Page { status, content_type, text } = page;
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !is_read {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn served() -> (SocketAddr, Server) {
        let listener = listen(&"127.0.0.1:0".parse().expect("it is an address")).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let page = |path: &str| (path == "/page").then(|| Page::text(StatusCode::OK, "said\n"));
        (address, serve(listener, page))
    }

    /// Sends bytes as they are, and returns all that comes back until the server closes.
    async fn say(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        // A server that has heard enough may reset the connection behind its answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("it is text")
    }

    #[tokio::test]
    async fn a_page_is_read_by_get_and_head_and_nothing_else_is_there() {
        let (address, _server) = served().await;
        for (request, status, body) in [
            ("GET /page", "200 OK", "said\n"),
            ("GET /page?query=1", "200 OK", "said\n"),
            ("HEAD /page", "200 OK", ""),
            ("GET /", "404 Not Found", "there is nothing here\n"),
            ("GET /page/", "404 Not Found", "there is nothing here\n"),
            ("POST /page", "405 Method Not Allowed", "this is only to be read: GET and HEAD\n"),
            ("DELETE /page", "405 Method Not Allowed", "this is only to be read: GET and HEAD\n"),
        ] {
            let answer = say(address, format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
            let (head, found) = answer.split_once("\r\n\r\n").expect("head and body");
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            assert!(head.contains("connection: close"), "{request}: {answer}");
            assert_eq!(found, body, "{request}");
        }
    }

    #[tokio::test]
    async fn a_request_without_end_is_refused() {
        let (address, _server) = served().await;
        let long = format!("GET /page HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(2 * REQUEST_BYTES));
        let many = format!("GET /page HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: x\r\n".repeat(HEADERS + 1));
        for request in [long, many, "no HTTP at all\r\n\r\n".to_owned()] {
            let answer = say(address, request.as_bytes()).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }

    #[tokio::test]
    async fn whoever_says_nothing_holds_up_nobody() {
        let (address, _server) = served().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS / 2 {
            silent.push(TcpStream::connect(address).await.expect("it listens"));
        }
        assert!(say(address, b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n").await.contains("said"));
        // Its time comes, and the server closes.
        let mut rest = Vec::new();
        let closed = timeout(CONNECTION, silent[0].read_to_end(&mut rest)).await;
        assert!(closed.is_ok());
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error() {
        let (address, _server) = served().await;
        let error = listen(&address.to_string().parse().expect("it is one")).await.expect_err("it is taken");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_address_has_an_ip_and_a_port() {
        let of = |text: &str| text.parse::<Address>().map(|address| address.candidates);
        assert_eq!(of("127.0.0.1:80"), Ok(vec![([127, 0, 0, 1], 80).into()]));
        assert_eq!(of("[::1]:0"), Ok(vec![(Ipv6Addr::LOCALHOST, 0).into()]));
        assert_eq!(of(":8080"), Ok(vec![(Ipv6Addr::UNSPECIFIED, 8080).into(), ([0, 0, 0, 0], 8080).into()]));
        for wrong in
            ["", ":", "8080", "127.0.0.1", "127.0.0.1:", "localhost:80", ":65536", "::1:80", "http://0.0.0.0:80"]
        {
            assert_eq!(of(wrong), Err(AddressError), "{wrong:?}");
        }
    }
}
