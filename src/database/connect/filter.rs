//! What of a server's messages is let in, byte by byte as they come (PostgreSQL 18 manual, 54.7).
//!
//! The other end may be anybody, and tokio-postgres keeps a whole message in memory, whatever length it declares. So each
//! kind of message has a limit. What nobody reads is dropped (notices, notifications, parameters, the data of `COPY … TO
//! stdout`); an error is shortened, and a row that is too large gives way to one that says so: a file may select whatever
//! it likes. Whatever else is too large, or makes no sense, ends the session with an error of class 08 in its place.
//!
//! Before the session is open, less is believed. `require_auth` has to be enforced before the password is sent, and
//! tokio-postgres has no say in it.

use std::{error::Error, fmt, io};

use super::report::Report;
use crate::database::{
    answer::TOO_LARGE,
    parameters::{Method, Methods},
};

/// The largest message, and the most altogether, before the session is open; a server needs about 1 KiB.
const OPENING_MESSAGE: usize = 64 * 1024;
const OPENING_TOTAL: usize = 256 * 1024;
/// The largest row; larger ones give way to one that says so.
const ROW: usize = 2 << 20;
/// The largest description of columns: 1,664 of them, and their names, are about half of it.
const DESCRIPTION: usize = 256 * 1024;
/// The largest of those that say little.
const SHORT: usize = 1024;
/// What a message costs beside its bytes.
const MESSAGE_COST: usize = 64;

/// Why nothing more is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// The server asks to log in by a method that `require_auth` excludes.
    Method(Method),
    /// It sends more than any server does before a session is open.
    TooMuch,
    /// It sends what no server sends.
    Nonsense(&'static str),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "authentication method {} is excluded", method.name()),
            Self::TooMuch => write!(f, "more was sent before the session was open than a server sends"),
            Self::Nonsense(what) => f.write_str(what),
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

/// One session's filter.
pub(super) struct Filter {
    methods: Methods,
    /// A password that no error may repeat.
    secret: Option<String>,
    /// Until `ReadyForQuery`: what was sent altogether, and whether a login was asked for.
    opening: Option<Opening>,
    now: Now,
}

#[derive(Default)]
struct Opening {
    total: usize,
    asked: bool,
}

/// Where in a message the stream stands.
enum Now {
    /// In its tag and length.
    Head(Vec<u8>),
    /// In the body of one that is let in as it comes.
    Pass(usize),
    /// In the body of one that is dropped.
    Drop(usize),
    /// In a row that is too large, of which the first two bytes are kept: how many columns it has. What stands for it is let
    /// in at its end, and so never is more than came.
    LargeRow(Vec<u8>, usize),
    /// In one that is looked at as a whole.
    Whole(u8, Vec<u8>, usize),
    /// In an error.
    Report(Box<Report>, usize),
}

impl Filter {
    pub(super) fn new(methods: Methods, secret: Option<String>) -> Self {
        Self { methods, secret, opening: Some(Opening::default()), now: Now::Head(Vec::with_capacity(5)) }
    }

    /// Whether the session is open.
    pub(super) fn is_open(&self) -> bool {
        self.opening.is_none()
    }

    /// Takes what came, puts what is let in behind `out`, and returns what it costs to have read it.
    ///
    /// # Errors
    /// Nothing more is to be fed. Once the session is open, `out` ends in an error that says why.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Closed> {
        if let Some(opening) = &mut self.opening {
            opening.total = opening.total.saturating_add(bytes.len());
            if opening.total > OPENING_TOTAL {
                return Err(Closed::TooMuch);
            }
        }
        let result = self.each(bytes, out);
        if let (Err(Closed::Nonsense(what)), None) = (&result, &self.opening) {
            out.extend(Report::of_violation(what));
        }
        result
    }

    fn each(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Closed> {
        let mut cost = bytes.len();
        while !bytes.is_empty() {
            if let Now::Head(head) = &mut self.now {
                let part = take(&mut bytes, 5 - head.len());
                head.extend_from_slice(part);
                let &[tag, a, b, c, d] = head.as_slice() else { continue };
                cost += MESSAGE_COST;
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                let body = length.checked_sub(4).ok_or(Closed::Nonsense("a message has no length"))?;
                self.begin(tag, body, out)?;
            } else {
                self.go_on(&mut bytes, out)?;
            }
        }
        Ok(cost)
    }

    /// Decides about a message by its tag and the length of its body.
    fn begin(&mut self, tag: u8, body: usize, out: &mut Vec<u8>) -> Result<(), Closed> {
        let too_large = Err(Closed::Nonsense("a message is larger than any of its kind"));
        if self.opening.is_some() && body > OPENING_MESSAGE {
            return Err(Closed::TooMuch);
        }
        let head = |out: &mut Vec<u8>| {
            if let Ok(length) = u32::try_from(body + 4) {
                out.push(tag);
                out.extend(length.to_be_bytes());
            }
        };
        self.now = match (tag, body) {
            (b'E', _) => Now::Report(Box::default(), body),
            // Notices, notifications and parameters; and what COPY … TO stdout sends.
            (b'N' | b'A' | b'S' | b'd' | b'c' | b'H', _) => Now::Drop(body),
            (b'R', _) if self.opening.is_some() => Now::Whole(tag, Vec::new(), body),
            (b'D', ..=ROW) => {
                head(out);
                Now::Pass(body)
            }
            (b'D', _) => Now::LargeRow(Vec::with_capacity(2), body),
            (b'T', ..=DESCRIPTION) => Now::Whole(tag, Vec::new(), body),
            (b't' | b'G', ..=DESCRIPTION)
            | (b'C' | b'I' | b'Z' | b'1' | b'2' | b'3' | b'n' | b's' | b'K', ..=SHORT) => {
                if tag == b'Z' {
                    self.opening = None;
                }
                head(out);
                Now::Pass(body)
            }
            (b'T' | b't' | b'G' | b'C' | b'I' | b'Z' | b'1' | b'2' | b'3' | b'n' | b's' | b'K', _) => return too_large,
            _ => return Err(Closed::Nonsense("a message is of a kind that isn't known")),
        };
        self.end_if_through(out)
    }

    fn go_on(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Closed> {
        match &mut self.now {
            Now::Head(_) => {}
            Now::Pass(left) => out.extend_from_slice(some(bytes, left)),
            Now::Drop(left) => {
                some(bytes, left);
            }
            Now::LargeRow(count, left) => {
                let part = some(bytes, left);
                count.extend(part.iter().take(2 - count.len()));
            }
            Now::Whole(_, body, left) => body.extend_from_slice(some(bytes, left)),
            Now::Report(report, left) => report.read(some(bytes, left)),
        }
        self.end_if_through(out)
    }

    fn end_if_through(&mut self, out: &mut Vec<u8>) -> Result<(), Closed> {
        let through = match &self.now {
            Now::Head(_) => false,
            Now::Pass(left)
            | Now::Drop(left)
            | Now::LargeRow(_, left)
            | Now::Whole(_, _, left)
            | Now::Report(_, left) => *left == 0,
        };
        if !through {
            return Ok(());
        }
        match std::mem::replace(&mut self.now, Now::Head(Vec::with_capacity(5))) {
            Now::Whole(b'R', body, _) => {
                self.authentication(&body)?;
                put(b'R', &body, out);
            }
            Now::Whole(tag, mut body, _) => {
                readable_names(&mut body).ok_or(Closed::Nonsense("a description of columns makes no sense"))?;
                put(tag, &body, out);
            }
            Now::Report(report, _) => {
                let body = report.written(self.secret.as_deref()).ok_or(Closed::Nonsense("an error makes no sense"))?;
                put(b'E', &body, out);
            }
            Now::LargeRow(count, _) => {
                large_row(count.first_chunk().map_or(0, |count| u16::from_be_bytes(*count)), out);
            }
            Now::Head(_) | Now::Pass(_) | Now::Drop(_) => {}
        }
        Ok(())
    }

    fn authentication(&mut self, body: &[u8]) -> Result<(), Closed> {
        let Some(opening) = &mut self.opening else { return Ok(()) };
        let Some(&[a, b, c, d]) = body.first_chunk() else {
            return Err(Closed::Nonsense("a request to log in makes no sense"));
        };
        let method = match u32::from_be_bytes([a, b, c, d]) {
            0 if !opening.asked => Method::None,
            3 => Method::Password,
            5 => Method::Md5,
            7 => Method::Gss,
            9 => Method::Sspi,
            10 => Method::ScramSha256,
            _ => return Ok(()),
        };
        opening.asked = true;
        if self.methods.allow(method) { Ok(()) } else { Err(Closed::Method(method)) }
    }
}

/// A message.
pub(super) fn put(tag: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(body);
}

/// What stands for a row of so many columns: the first says why, the others are NULL.
fn large_row(columns: u16, out: &mut Vec<u8>) {
    let mut body = columns.to_be_bytes().to_vec();
    for column in 0..columns {
        if column == 0 {
            body.extend(u32::try_from(TOO_LARGE.len()).unwrap_or(0).to_be_bytes());
            body.extend_from_slice(TOO_LARGE.as_bytes());
        } else {
            body.extend((-1_i32).to_be_bytes());
        }
    }
    put(b'D', &body, out);
}

/// Columns may be named in whatever encoding a file has set; tokio-postgres takes UTF-8 alone. None if it is no description.
fn readable_names(body: &mut [u8]) -> Option<()> {
    let columns = u16::from_be_bytes(*body.first_chunk()?);
    let mut at = 2;
    for _ in 0..columns {
        let name = body.get_mut(at..)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        if std::str::from_utf8(&name[..end]).is_err() {
            name[..end].iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        }
        // Behind the name: table, column, type, its size and modifier, and the format.
        at += end + 1 + 18;
    }
    (at == body.len()).then_some(())
}

/// The first bytes of a body that has so many left.
fn some<'a>(bytes: &mut &'a [u8], left: &mut usize) -> &'a [u8] {
    let part = take(bytes, *left);
    *left -= part.len();
    part
}

fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (part, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    part
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
