//! Bytes to and from one address: TCP or a Unix socket, and TLS as it was asked for.
//!
//! TLS is negotiated here rather than by tokio-postgres, so that what failed is known: the network, TLS, or the login.

use std::{
    fmt, future, io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
    time::Duration,
};

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{error::Cause, filter::Filter, gate::Gate};
use crate::database::{
    parameters::{Host, Keepalives, Methods, Parameters},
    tls::{self, TlsMode},
};

/// `SSLRequest` (PostgreSQL 18 manual, 54.7): a length of 8, and 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One address of a host.
#[derive(Clone)]
pub(super) struct Route {
    /// As it was written: what errors show, and what a certificate must carry.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) peer: Peer,
}

#[derive(Clone)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// How bytes get there; the same for a session and for cancelling what it does.
pub(super) struct Transport {
    mode: TlsMode,
    direct: bool,
    config: Option<ClientConfig>,
    methods: Methods,
    /// What no error of the server's may repeat.
    secret: Option<String>,
    keepalives: Option<Keepalives>,
    tcp_user_timeout: Option<Duration>,
}

impl Transport {
    /// May read the operating system's trusted certificates.
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let only_sockets = parameters.hosts.iter().all(Host::is_socket);
        let config = match parameters.tls.mode {
            TlsMode::Disable => None,
            // libpq ignores sslmode there.
            _ if only_sockets => None,
            _ => Some(tls::client_config(&parameters.tls)?),
        };
        Ok(Self {
            mode: parameters.tls.mode,
            direct: parameters.tls.direct,
            config,
            methods: parameters.methods,
            secret: parameters.secret(),
            keepalives: parameters.keepalives,
            tcp_user_timeout: parameters.tcp_user_timeout,
        })
    }

    /// Connects, and does TLS. Takes as long as the network takes: the caller has the deadline.
    pub(super) async fn open(&self, route: &Route) -> Result<Opened, Cause> {
        match &route.peer {
            Peer::Unix(directory) => {
                let path = directory.join(format!(".s.PGSQL.{}", route.port));
                let socket = UnixStream::connect(path).await.map_err(|error| Cause::Unreachable(error.to_string()))?;
                Ok(self.plain(Box::new(socket)))
            }
            Peer::Tcp(address) => {
                let socket =
                    TcpStream::connect(address).await.map_err(|error| Cause::Unreachable(error.kind().to_string()))?;
                self.tune(&socket).map_err(|error| Cause::Unreachable(error.to_string()))?;
                self.secure(socket, &route.host).await
            }
        }
    }

    fn tune(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let socket = SockRef::from(socket);
        if let Some(Keepalives { idle, interval, count }) = self.keepalives {
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        #[cfg(target_os = "linux")]
        if self.tcp_user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.tcp_user_timeout)?;
        }
        Ok(())
    }

    async fn secure(&self, mut socket: TcpStream, host: &str) -> Result<Opened, Cause> {
        let Some(config) = &self.config else { return Ok(self.plain(Box::new(socket))) };
        if !self.direct {
            socket.write_all(&SSL_REQUEST).await.map_err(|error| Cause::lost(&error))?;
            // One byte and no more: what was sent ahead in the clear must not pass for something said under TLS.
            match socket.read_u8().await.map_err(|error| Cause::lost(&error))? {
                b'S' => {}
                b'N' if self.mode == TlsMode::Prefer => return Ok(self.plain(Box::new(socket))),
                b'N' => return Err(Cause::TlsNotOffered { mode: self.mode }),
                // What the error says isn't read: anybody on the way may have written it (CVE-2024-10977).
                b'E' => return Err(Cause::NotPostgres("it answers the request for TLS with an error")),
                _ => return Err(Cause::NotPostgres("it answers the request for TLS with something else")),
            }
        }
        let mut connector = MakeRustlsConnect::new(config.clone());
        let connector = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::make_tls_connect(&mut connector, host)
            .map_err(|error| match error {})?;
        let stream = connector.connect(socket).await.map_err(|error| match tls::explain(&error) {
            Some(meaning) => Cause::Tls(meaning),
            None if error.kind() == io::ErrorKind::InvalidInput => {
                Cause::Tls("the host is no name that a certificate can carry; connect by another one".to_owned())
            }
            None if self.direct => Cause::Tls(format!(
                "the server doesn't take a TLS handshake without being asked first, which sslnegotiation=direct needs \
                 (PostgreSQL 17 or newer, with TLS) ({})",
                error.kind()
            )),
            None => Cause::lost(&error),
        })?;
        let binding = stream.channel_binding();
        Ok(Opened { stream: self.session(Box::new(stream), Some(binding)), encrypted: true })
    }

    fn plain(&self, stream: Box<dyn Stream>) -> Opened {
        Opened { stream: self.session(stream, None), encrypted: false }
    }

    fn session(&self, stream: Box<dyn Stream>, binding: Option<ChannelBinding>) -> Session {
        let filter = Filter::new(self.methods, self.secret.clone());
        Session { stream: Gate::new(stream, filter), binding: Mutex::new(binding) }
    }
}

/// A stream that the protocol can begin on.
pub(super) struct Opened {
    pub(super) stream: Session,
    pub(super) encrypted: bool,
}

/// Bytes under whatever protection was negotiated, and what binds a login to it.
pub(super) struct Session {
    stream: Gate<Box<dyn Stream>>,
    binding: Mutex<Option<ChannelBinding>>,
}

impl TlsStream for Session {
    fn channel_binding(&self) -> ChannelBinding {
        // Asked for once, at login.
        self.binding.lock().ok().and_then(|mut it| it.take()).unwrap_or_else(ChannelBinding::none)
    }
}

impl AsyncRead for Session {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Session {
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

/// Tells tokio-postgres that TLS is done: it asks for a connector, and gets the stream back.
pub(super) struct Done;

impl TlsConnect<Session> for Done {
    type Stream = Session;
    type Error = io::Error;
    type Future = future::Ready<Result<Session, io::Error>>;

    fn connect(self, stream: Session) -> Self::Future {
        future::ready(Ok(stream))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
