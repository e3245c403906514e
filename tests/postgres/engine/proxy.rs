//! Proxies before a server: one that goes deaf at a marked question, one that is slow to answer it, one that cuts the
//! connection before it arrives or after it is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support;

/// What becomes of the answer to a question that has the marker in it.
#[derive(Clone)]
enum Answer {
    /// It is never passed on; the connection is hung up when told to.
    Never(watch::Receiver<bool>),
    /// It is passed on after that long.
    After(Duration),
    /// It is passed on once the client has asked what has that in it.
    Once(&'static str),
    /// The connection is cut at that moment, once.
    Cut(Moment, Arc<AtomicBool>),
}

/// When a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the server has the question.
    Before,
    /// When the server has answered, before the client knows.
    After,
}

/// The URL of a database, by way of a proxy.
pub fn through(url: &str, port: u16) -> String {
    url.replace(&format!(":{}/", port_of(url)), &format!(":{port}/"))
}

/// A proxy that stops answering as soon as it has seen the marker go by, and hangs up when told to.
pub async fn deaf(marker: &'static str) -> (u16, watch::Sender<bool>) {
    let hang_up = watch::Sender::new(false);
    (listen(support::postgres().about().port, marker, Answer::Never(hang_up.subscribe())).await, hang_up)
}

/// A proxy that takes its time over the answer to each question that has the marker in it.
pub async fn slow(marker: &'static str, delay: Duration) -> u16 {
    listen(support::postgres().about().port, marker, Answer::After(delay)).await
}

/// A proxy that keeps the answer to a question that has the marker in it until the client has asked another, too.
pub async fn once_asked(marker: &'static str, another: &'static str) -> u16 {
    listen(support::postgres().about().port, marker, Answer::Once(another)).await
}

/// A proxy that cuts the connection on which it first sees the marker, before or after the server's answer.
pub async fn cut(url: &str, marker: &'static str, moment: Moment) -> u16 {
    listen(port_of(url), marker, Answer::Cut(moment, Arc::default())).await
}

fn port_of(url: &str) -> u16 {
    let (_, rest) = url.rsplit_once(':').expect("the URL has a port");
    rest.split('/').next().and_then(|port| port.parse().ok()).expect("the port is a number")
}

async fn listen(server: u16, marker: &'static str, answer: Answer) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(server, client, marker, answer.clone()));
        }
    });
    port
}

/// What the first `ReadyForQuery` among those bytes says of the transaction.
fn first_ready(bytes: &[u8]) -> Option<u8> {
    const READY: &[u8] = b"Z\0\0\0\x05";
    let at = bytes.windows(READY.len()).position(|window| window == READY)?;
    bytes.get(at + READY.len()).copied()
}

async fn pass_on(server: u16, client: TcpStream, marker: &'static str, answer: Answer) {
    let upstream = TcpStream::connect(("127.0.0.1", server)).await.expect("the server answers");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let questions = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&questions);
    let cuts_before = match &answer {
        Answer::Cut(Moment::Before, done) => Some(Arc::clone(done)),
        Answer::Cut(Moment::After, _) | Answer::Never(_) | Answer::After(_) | Answer::Once(_) => None,
    };
    let another = if let Answer::Once(another) = answer { another } else { marker };
    let (asked_another, mut another_asked) = watch::channel(false);
    let mut asking = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let bytes = &buffer[..length];
            if bytes.windows(another.len()).any(|window| window == another.as_bytes()) {
                asked_another.send_replace(true);
            }
            if bytes.windows(marker.len()).any(|window| window == marker.as_bytes()) {
                seen.fetch_add(1, Ordering::SeqCst);
                if cuts_before.as_ref().is_some_and(|done| !done.swap(true, Ordering::SeqCst)) {
                    break;
                }
            }
            if to_server.write_all(bytes).await.is_err() {
                break;
            }
        }
    });
    let hung_up = async {
        match &answer {
            // A test that has ended wants no more answers either.
            Answer::Never(told) => drop(told.clone().wait_for(|told| *told).await),
            Answer::After(_) | Answer::Once(_) | Answer::Cut(..) => std::future::pending().await,
        }
    };
    let mut hung_up = std::pin::pin!(hung_up);
    let mut buffer = vec![0; 64 * 1024];
    let mut answered = 0;
    let mut answer_so_far = Vec::new();
    loop {
        // The end of the one direction is that of the other.
        let read = tokio::select! {
            read = from_server.read(&mut buffer) => read,
            _ = &mut asking => break,
            () = &mut hung_up => break,
        };
        let Ok(length @ 1..) = read else { break };
        let questions = questions.load(Ordering::SeqCst);
        if questions > answered {
            match &answer {
                Answer::Never(_) => continue,
                Answer::After(delay) => tokio::time::sleep(*delay).await,
                // A client that has gone asks nothing more.
                Answer::Once(_) => drop(another_asked.wait_for(|asked| *asked).await),
                Answer::Cut(..) => {}
            }
            // The first of them is the question's own: an error is told at once, and what the client asks because of it
            // may be answered in the same breath.
            answer_so_far.extend_from_slice(&buffer[..length]);
            if let Some(state) = first_ready(&answer_so_far) {
                // Ready for the next question, and not because this one failed.
                if let Answer::Cut(Moment::After, done) = &answer
                    && state == b'I'
                    && !done.swap(true, Ordering::SeqCst)
                {
                    break;
                }
                answered = questions;
                answer_so_far.clear();
            }
        }
        if to_client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    asking.abort();
}
