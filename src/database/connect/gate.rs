//! Reads along with what a server says before it is ready, and stops it where it asks for what it must not have.
//!
//! `require_auth` has to be enforced before the password is sent, and tokio-postgres has no say in it. A stranger at the
//! other end may also send without end: before the session is open, little is believed.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::database::parameters::{Method, Methods};

/// The largest message, and the most altogether, before the session is open; a server needs about 1 KiB.
const MESSAGE_LIMIT: usize = 64 * 1024;
const TOTAL_LIMIT: usize = 256 * 1024;

/// Why the gate closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// The server asks to log in by a method that `require_auth` excludes.
    Method(Method),
    /// It sends more than any server does.
    TooMuch,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "authentication method {} is excluded", method.name()),
            Self::TooMuch => write!(f, "more was sent before the session was open than a server sends"),
        }
    }
}

impl Error for Closed {}

impl Closed {
    /// Finds it among an error's causes.
    pub(super) fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(closed) = inner.and_then(|it| it.downcast_ref::<Self>()) {
                return Some(*closed);
            }
            next = error.source();
        }
        None
    }
}

/// A stream from a server, watched until `ReadyForQuery`.
pub(super) struct Gate<S> {
    stream: S,
    watch: Option<Watch>,
}

impl<S> Gate<S> {
    pub(super) fn new(stream: S, methods: Methods) -> Self {
        Self { stream, watch: Some(Watch::new(methods)) }
    }
}

/// The messages that go by (PostgreSQL 18 manual, 54.7): a tag, four bytes of length, and a body.
struct Watch {
    methods: Methods,
    asked: bool,
    total: usize,
    /// Tag and length, then the first four bytes of the body.
    head: Vec<u8>,
    /// Bytes of the body that are still to come, once its length is known.
    left: Option<usize>,
}

impl Watch {
    fn new(methods: Methods) -> Self {
        Self { methods, asked: false, total: 0, head: Vec::with_capacity(9), left: None }
    }

    /// Looks at what came; true when the session is open.
    fn read(&mut self, bytes: &[u8]) -> Result<bool, Closed> {
        self.total = self.total.saturating_add(bytes.len());
        if self.total > TOTAL_LIMIT {
            return Err(Closed::TooMuch);
        }
        for &byte in bytes {
            if self.byte(byte)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn byte(&mut self, byte: u8) -> Result<bool, Closed> {
        if self.head.len() < 9 {
            self.head.push(byte);
        }
        match (&mut self.left, self.head.as_slice()) {
            (None, &[tag, a, b, c, d]) => {
                if tag == b'Z' {
                    return Ok(true);
                }
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                if length > MESSAGE_LIMIT {
                    return Err(Closed::TooMuch);
                }
                // A length below four is no message; tokio-postgres says so.
                self.left = Some(length.saturating_sub(4));
            }
            (None, _) => return Ok(false),
            (Some(left), head) => {
                *left = left.saturating_sub(1);
                if let &[b'R', _, _, _, _, a, b, c, d] = head
                    && (!self.asked || *left == 0)
                {
                    self.authentication(u32::from_be_bytes([a, b, c, d]))?;
                }
            }
        }
        if self.left == Some(0) {
            self.left = None;
            self.head.clear();
        }
        Ok(false)
    }

    fn authentication(&mut self, code: u32) -> Result<(), Closed> {
        let method = match code {
            0 if !self.asked => Method::None,
            3 => Method::Password,
            5 => Method::Md5,
            7 => Method::Gss,
            9 => Method::Sspi,
            10 => Method::ScramSha256,
            _ => return Ok(()),
        };
        self.asked = true;
        if self.methods.allow(method) { Ok(()) } else { Err(Closed::Method(method)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(watch) = &mut self.watch
            && watch.read(&buf.filled()[before..]).map_err(io::Error::other)?
        {
            self.watch = None;
        }
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    fn scram() -> Vec<u8> {
        message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")
    }

    #[test]
    fn a_session_is_open_at_ready_for_query_however_the_bytes_are_cut() {
        let all = [
            scram(),
            message(b'R', b"\0\0\0\x0br=1,s=2,i=4096"),
            message(b'R', b"\0\0\0\x0cv=3"),
            message(b'R', &[0; 4]),
            message(b'S', b"TimeZone\0UTC\0"),
            message(b'K', &[1; 8]),
            message(b'Z', b"I"),
        ]
        .concat();
        for size in 1..all.len() {
            let mut watch = Watch::new(Methods::parse("scram-sha-256").unwrap());
            let open: Vec<_> = all.chunks(size).map(|part| watch.read(part)).take_while(|it| *it != Ok(true)).collect();
            assert!(open.iter().all(|it| *it == Ok(false)), "{size}");
            assert!(open.len() < all.chunks(size).len(), "{size}");
        }
    }

    #[test]
    fn an_excluded_method_closes_the_gate() {
        let only = |list: &str| Watch::new(Methods::parse(list).unwrap());
        let clear = message(b'R', &[0, 0, 0, 3]);
        assert_eq!(only("scram-sha-256").read(&clear), Err(Closed::Method(Method::Password)));
        assert_eq!(only("!password").read(&clear), Err(Closed::Method(Method::Password)));
        assert_eq!(only("scram-sha-256").read(&message(b'R', &[0; 4])), Err(Closed::Method(Method::None)));
        assert_eq!(only("none").read(&scram()), Err(Closed::Method(Method::ScramSha256)));
        // A second request, behind one that is allowed.
        assert_eq!(only("scram-sha-256").read(&[scram(), clear].concat()), Err(Closed::Method(Method::Password)));
    }

    #[test]
    fn endless_talk_closes_the_gate() {
        let mut watch = Watch::new(Methods::ANY);
        assert_eq!(watch.read(&[b'N', 0x7f, 0, 0, 0]), Err(Closed::TooMuch));
        let notice = message(b'N', &[0; 1000]);
        let mut watch = Watch::new(Methods::ANY);
        assert!((0..1000).any(|_| watch.read(&notice).is_err()));
    }
}
