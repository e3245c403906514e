//! A server that turns hostile: a proxy in front of a real PostgreSQL, honest until its moment comes.
//!
//! It speaks as much of the protocol as it takes to know the moment, and from then on does one misdeed, to whoever is
//! connected.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
};

/// When it turns hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// As soon as somebody connects.
    Startup,
    /// When it is asked something that holds these words, instead of an answer.
    Asked(&'static str),
    /// When a transaction with these words in it has committed, instead of the rest of the answer.
    Committed(&'static str),
}

/// What it does then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdeed {
    Silence,
    Drip,
    HangUp,
    HangUpInAMessage,
    Garbage,
    NoLength,
    UnknownMessage,
    ShortRow,
    RowWithoutColumns,
    RowWithoutDescription,
    Nulls,
    NoRows,
    NoAnswer,
    NotText,
    LyingError,
    HugeError,
    HugeRow,
    HugeNotice,
    HugeDescription,
    HugeComplete,
    EndlessNotices,
    EndlessParameters,
    EndlessNotifications,
    EndlessRows,
    EndlessLargeRows,
    EndlessCompletes,
    EndlessReadies,
    EndlessErrors,
    UnaskedCopy,
    GreedyLogin,
    SlowLogin,
}

impl Misdeed {
    /// All but those of a login.
    pub const ALL: [Self; 29] = [
        Self::Silence,
        Self::Drip,
        Self::HangUp,
        Self::HangUpInAMessage,
        Self::Garbage,
        Self::NoLength,
        Self::UnknownMessage,
        Self::ShortRow,
        Self::RowWithoutColumns,
        Self::RowWithoutDescription,
        Self::Nulls,
        Self::NoRows,
        Self::NoAnswer,
        Self::NotText,
        Self::LyingError,
        Self::HugeError,
        Self::HugeRow,
        Self::HugeNotice,
        Self::HugeDescription,
        Self::HugeComplete,
        Self::EndlessNotices,
        Self::EndlessParameters,
        Self::EndlessNotifications,
        Self::EndlessRows,
        Self::EndlessLargeRows,
        Self::EndlessCompletes,
        Self::EndlessReadies,
        Self::EndlessErrors,
        Self::UnaskedCopy,
    ];

    /// Those of a login.
    pub const LOGINS: [Self; 2] = [Self::GreedyLogin, Self::SlowLogin];

    /// Whether it sends without end, so that memory and time are at stake.
    pub fn is_a_flood(self) -> bool {
        self.is_endless() && !matches!(self, Self::Silence | Self::Drip)
            || matches!(self, Self::EndlessCompletes | Self::EndlessReadies | Self::EndlessErrors)
    }

    /// Whether it never comes to an end that a client could see, so that only a deadline ends it.
    pub fn is_endless(self) -> bool {
        matches!(
            self,
            Self::Silence
                | Self::Drip
                | Self::HugeError
                | Self::HugeRow
                | Self::HugeNotice
                | Self::EndlessNotices
                | Self::EndlessParameters
                | Self::EndlessNotifications
                | Self::EndlessRows
                | Self::EndlessLargeRows
        )
    }
}

/// One of them.
pub struct Hostile {
    port: u16,
    moment: Moment,
    turned: Arc<AtomicUsize>,
}

impl Hostile {
    /// Starts one in front of a server.
    pub async fn start(moment: Moment, misdeed: Misdeed, real: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let turned = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turned);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let turned = Arc::clone(&counted);
                // What a client does to it, it survives.
                tokio::spawn(async move { serve(client, moment, misdeed, real, &turned).await.ok() });
            }
        });
        Self { port, moment, turned }
    }

    /// The URL of the real database, by way of it.
    pub fn url(&self, real: &str, port: u16) -> String {
        let by_way = real.replace(&format!(":{port}/"), &format!(":{}/", self.port));
        assert_ne!(by_way, real, "the real one isn't asked");
        // What is honest at first has the time that a busy machine needs.
        let seconds = if self.moment == Moment::Startup { 3 } else { 30 };
        format!("{by_way}?sslmode=disable&connect_timeout={seconds}")
    }

    /// To how many connections it has turned hostile.
    pub fn turned(&self) -> usize {
        self.turned.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut client: TcpStream,
    moment: Moment,
    misdeed: Misdeed,
    real: SocketAddr,
    turned: &AtomicUsize,
) -> std::io::Result<()> {
    let length = client.read_u32().await?;
    let mut startup = vec![0; length.clamp(4, 10_000) as usize - 4];
    client.read_exact(&mut startup).await?;
    let (mut from_client, mut to_client) = client.into_split();
    if moment == Moment::Startup {
        turned.fetch_add(1, Ordering::Relaxed);
        // A client that waits for something else hangs up one day.
        if Misdeed::LOGINS.contains(&misdeed) {
            return log_in(misdeed, &mut from_client, &mut to_client).await;
        }
        return misdeed.to(&mut to_client).await;
    }
    let (mut from_real, mut to_real) = TcpStream::connect(real).await?.into_split();
    to_real.write_all(&[&length.to_be_bytes()[..], &startup].concat()).await?;
    let mut armed = false;
    loop {
        tokio::select! {
            asked = message(&mut from_client) => {
                let (tag, body) = asked?;
                let words = String::from_utf8_lossy(&body);
                match moment {
                    Moment::Asked(moment) if tag == b'Q' && words.contains(moment) => break,
                    Moment::Committed(moment) => armed |= tag == b'Q' && words.contains(moment),
                    Moment::Asked(_) | Moment::Startup => {}
                }
                to_real.write_all(&encode(tag, &body)).await?;
            }
            answered = message(&mut from_real) => {
                let (tag, body) = answered?;
                to_client.write_all(&encode(tag, &body)).await?;
                if armed && tag == b'C' && body == b"COMMIT\0" {
                    break;
                }
            }
        }
    }
    turned.fetch_add(1, Ordering::Relaxed);
    // The real server is left alone from now on: it ends the session, and frees its locks.
    drop((from_real, to_real));
    let mut ignored = tokio::io::sink();
    tokio::select! {
        done = misdeed.to(&mut to_client) => done,
        // The client is gone.
        gone = tokio::io::copy(&mut from_client, &mut ignored) => gone.map(|_| ()),
    }
}

/// Reads a message. Cut off by `select!`, it would lose bytes: but each side falls silent before the other speaks.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let tag = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    from.read_exact(&mut body).await?;
    Ok((tag, body))
}

fn encode(tag: u8, body: &[u8]) -> Vec<u8> {
    declared(tag, u32::try_from(body.len() + 4).expect("it is short"), body)
}

/// A message with whatever length it declares.
fn declared(tag: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn description(columns: u16) -> Vec<u8> {
    let column = [&b"column\0"[..], &[0; 18]].concat();
    encode(b'T', &[&columns.to_be_bytes()[..], &column.repeat(columns.into())].concat())
}

fn row(columns: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).expect("few").to_be_bytes().to_vec();
    for column in columns {
        match column {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(text) => {
                body.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
                body.extend_from_slice(text);
            }
        }
    }
    encode(b'D', &body)
}

/// As large as one may be that is let in.
pub fn large_row() -> &'static [u8] {
    static ROW: OnceLock<Vec<u8>> = OnceLock::new();
    ROW.get_or_init(|| row(&[Some(&vec![b'x'; 2_000_000])]))
}

fn complete() -> Vec<u8> {
    encode(b'C', b"SELECT 1\0")
}

fn ready() -> Vec<u8> {
    encode(b'Z', b"I")
}

impl Misdeed {
    #[allow(clippy::too_many_lines, reason = "it is a table")]
    async fn to(self, client: &mut OwnedWriteHalf) -> std::io::Result<()> {
        let error = |text: &str| encode(b'E', format!("SERROR\0VERROR\0C58000\0M{text}\0\0").as_bytes());
        let once = match self {
            Self::Silence => Vec::new(),
            Self::Drip => return drip(client).await,
            Self::HangUp => return client.shutdown().await,
            Self::HangUpInAMessage => {
                client.write_all(&declared(b'T', 1_000, b"half")).await?;
                return client.shutdown().await;
            }
            Self::Garbage => (0_u32..4_096).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect(),
            Self::NoLength => declared(b'C', 0, b"x\0"),
            Self::UnknownMessage => encode(b'?', b"what?\0"),
            Self::ShortRow => [description(1), row(&[Some(b"1")]), complete(), ready()].concat(),
            Self::RowWithoutColumns => [description(3), row(&[Some(b"1")]), complete(), ready()].concat(),
            Self::RowWithoutDescription => [row(&[Some(b"1")]), complete(), ready()].concat(),
            Self::Nulls => [description(30), row(&[None; 30]), complete(), ready()].concat(),
            Self::NoRows => [description(1), complete(), ready()].concat(),
            Self::NoAnswer => ready(),
            Self::NotText => [description(1), row(&[Some(b"\xff\xfe\x00")]), complete(), ready()].concat(),
            Self::LyingError => [error("the disk is full of \x1b[31mswordfish"), ready()].concat(),
            Self::HugeDescription => declared(b'T', 1 << 30, &[0; 64]),
            Self::HugeComplete => declared(b'C', 1 << 30, &[b'x'; 64]),
            Self::UnaskedCopy => encode(b'G', &[0, 0, 1, 0, 0]),
            Self::HugeError => {
                let head = declared(b'E', 1 << 30, b"SERROR\0VERROR\0C42601\0M");
                return for_ever(client, &head, &vec![b'e'; 1 << 16]).await;
            }
            Self::HugeRow => {
                let head = [description(1), declared(b'D', 0x7fff_ffff, &[0, 1, 0x7f, 0xff, 0xff, 0xf0])].concat();
                return for_ever(client, &head, &vec![b'r'; 1 << 16]).await;
            }
            Self::HugeNotice => {
                return for_ever(client, &declared(b'N', 0x7fff_ffff, b"S"), &vec![b'n'; 1 << 16]).await;
            }
            Self::EndlessNotices => {
                return for_ever(client, &[], &encode(b'N', b"SNOTICE\0C00000\0Mblah blah\0\0").repeat(1_000)).await;
            }
            Self::EndlessNotifications => {
                return for_ever(client, &[], &encode(b'A', b"\0\0\0\x01channel\0payload\0").repeat(1_000)).await;
            }
            Self::EndlessParameters => {
                let mut some = encode(b'S', b"setting_0000000000000000\0value\0").repeat(1_000);
                for number in 0_u64.. {
                    for (more, message) in some.chunks_mut(5 + 31).enumerate() {
                        message[13..29].copy_from_slice(format!("{:016}", number * 1_000 + more as u64).as_bytes());
                    }
                    client.write_all(&some).await?;
                }
                return Ok(());
            }
            Self::EndlessRows => {
                return for_ever(client, &description(2), &row(&[None, Some(b"x")]).repeat(1_000)).await;
            }
            Self::EndlessLargeRows => {
                return for_ever(client, &description(1), large_row()).await;
            }
            Self::EndlessCompletes => return for_ever(client, &[], &complete().repeat(1_000)).await,
            Self::EndlessReadies => return for_ever(client, &[], &ready().repeat(1_000)).await,
            Self::EndlessErrors => return for_ever(client, &[], &error("no").repeat(1_000)).await,
            Self::GreedyLogin | Self::SlowLogin => unreachable!("they are for a login"),
        };
        client.write_all(&once).await?;
        // It stays, and says no more.
        std::future::pending().await
    }
}

/// A byte a second, of an answer that would be right.
async fn drip(client: &mut OwnedWriteHalf) -> std::io::Result<()> {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for byte in [description(4), row(&[Some(&b"180001"[..]); 4]), complete(), ready()].concat().repeat(1_000) {
        second.tick().await;
        client.write_all(&[byte]).await?;
    }
    Ok(())
}

async fn for_ever(client: &mut OwnedWriteHalf, head: &[u8], more: &[u8]) -> std::io::Result<()> {
    client.write_all(head).await?;
    loop {
        client.write_all(more).await?;
    }
}

/// Asks for more work than a login is worth: more than is done, or just as much.
async fn log_in(misdeed: Misdeed, from: &mut (impl AsyncRead + Unpin), to: &mut OwnedWriteHalf) -> std::io::Result<()> {
    to.write_all(&encode(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).await?;
    let (_, first) = message(from).await?;
    let text = String::from_utf8_lossy(&first).into_owned();
    let nonce = text.rsplit_once("r=").map(|(_, nonce)| nonce.to_owned()).unwrap_or_default();
    let iterations = if misdeed == Misdeed::GreedyLogin { 0x7fff_ffff } else { 100_000 };
    let answer = format!("r={nonce}server,s=c2FsdHNhbHQ=,i={iterations}");
    to.write_all(&encode(b'R', &[&[0, 0, 0, 11], answer.as_bytes()].concat())).await?;
    message(from).await?;
    to.write_all(&encode(b'R', b"\0\0\0\x0cv=bm8gc2lnbmF0dXJlIGF0IGFsbA==")).await?;
    std::future::pending().await
}
