//! Proxies before the shared server: one that goes deaf at a marked question, one that is slow to answer it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
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
}

/// The URL of a database of the shared server, by way of a proxy.
pub fn through(url: &str, port: u16) -> String {
    url.replace(&format!(":{}/", support::postgres().about().port), &format!(":{port}/"))
}

/// A proxy that stops answering as soon as it has seen the marker go by, and hangs up when told to.
pub async fn deaf(marker: &'static str) -> (u16, watch::Sender<bool>) {
    let hang_up = watch::Sender::new(false);
    (listen(marker, Answer::Never(hang_up.subscribe())).await, hang_up)
}

/// A proxy that takes its time over the answer to each question that has the marker in it.
pub async fn slow(marker: &'static str, delay: Duration) -> u16 {
    listen(marker, Answer::After(delay)).await
}

async fn listen(marker: &'static str, answer: Answer) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(client, marker, answer.clone()));
        }
    });
    port
}

async fn pass_on(client: TcpStream, marker: &'static str, answer: Answer) {
    let server = support::postgres().about().port;
    let upstream = TcpStream::connect(("127.0.0.1", server)).await.expect("the server answers");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let marked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&marked);
    let asking = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let bytes = &buffer[..length];
            if bytes.windows(marker.len()).any(|window| window == marker.as_bytes()) {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            if to_server.write_all(bytes).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    let mut answered = 0;
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        let marked = marked.load(Ordering::SeqCst);
        if marked > answered {
            answered = marked;
            match &answer {
                Answer::Never(told) => {
                    // A test that has ended wants no more answers either.
                    let _ = told.clone().wait_for(|told| *told).await;
                    break;
                }
                Answer::After(delay) => tokio::time::sleep(*delay).await,
            }
        }
        if to_client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    asking.abort();
}
