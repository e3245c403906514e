//! The stream between a server and tokio-postgres: what [`filter`](super::filter) lets in, no faster than it may come.
//!
//! Whoever sends without end must not keep the process from its other work. So what a session brings in has a pace: a
//! good deal goes at once, as much as reading any history takes, and what follows takes its time. Only a file that selects
//! some hundred thousand rows, which are dropped, comes to feel it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::filter::{Closed, Filter};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;
/// What a session may bring in a second in the long run: bytes, and something for each message.
const BYTES_A_SECOND: f64 = (8 << 20) as f64;
/// How far it may run ahead of that: 64 MiB.
const AHEAD: Duration = Duration::from_secs(8);

/// A stream from a server, filtered and paced.
pub(super) struct Gate<S> {
    stream: S,
    filter: Filter,
    chunk: Box<[u8]>,
    /// What was let in, and how much of it has been handed on.
    ready: Vec<u8>,
    at: usize,
    end: Option<End>,
    /// Until when what has been read is paid for.
    paid_until: Instant,
    pause: Option<Pin<Box<Sleep>>>,
}

/// How the stream ends.
enum End {
    /// There is nothing more.
    Over,
    /// With this error, and then there is nothing more.
    Failing(Closed),
}

impl<S> Gate<S> {
    pub(super) fn new(stream: S, filter: Filter) -> Self {
        Self {
            stream,
            filter,
            chunk: vec![0; CHUNK].into(),
            ready: Vec::new(),
            at: 0,
            end: None,
            paid_until: Instant::now(),
            pause: None,
        }
    }

    /// Hands on what was let in; true if there was any.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let left = &self.ready[self.at..];
        let part = &left[..left.len().min(buf.remaining())];
        buf.put_slice(part);
        self.at += part.len();
        let any = !part.is_empty();
        if self.at == self.ready.len() {
            self.at = 0;
            self.ready.clear();
            self.ready.shrink_to(2 * CHUNK);
        }
        any
    }

    fn pay(&mut self, cost: usize) {
        let now = Instant::now();
        #[allow(clippy::cast_precision_loss, reason = "far below what a double holds")]
        let time = Duration::from_secs_f64(cost as f64 / BYTES_A_SECOND);
        self.paid_until = self.paid_until.max(now) + time;
        if self.paid_until > now + AHEAD {
            self.pause = Some(Box::pin(sleep_until(self.paid_until - AHEAD)));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = &mut *self;
        loop {
            if buf.remaining() == 0 || gate.hand_on(buf) {
                return Poll::Ready(Ok(()));
            }
            match gate.end.take() {
                Some(End::Over) => {
                    gate.end = Some(End::Over);
                    return Poll::Ready(Ok(()));
                }
                Some(End::Failing(closed)) => {
                    gate.end = Some(End::Over);
                    return Poll::Ready(Err(io::Error::other(closed)));
                }
                None => {}
            }
            if let Some(pause) = &mut gate.pause {
                ready!(pause.as_mut().poll(cx));
                gate.pause = None;
            }
            let mut chunk = ReadBuf::new(&mut gate.chunk);
            ready!(Pin::new(&mut gate.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                gate.end = Some(End::Over);
                continue;
            }
            match gate.filter.feed(chunk.filled(), &mut gate.ready) {
                Ok(cost) => gate.pay(cost),
                // Once the session is open, what it ends with is an error that the driver hands to whoever waits.
                Err(_) if gate.filter.is_open() => gate.end = Some(End::Over),
                Err(closed) => gate.end = Some(End::Failing(closed)),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
