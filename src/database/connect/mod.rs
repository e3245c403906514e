//! Opening a session: hosts in turn, TLS, authentication, `target_session_attrs`, a deadline on everything.
//!
//! A session is one connection of tokio-postgres, driven by a task that ends with it. What the server sends is bounded by
//! [`filter`] in size and by [`gate`] in pace. Its demands on our time are bounded, too: a SCRAM iteration count above
//! 100,000 is refused (postgres-protocol), and that many take some 22 ms.

mod error;
mod filter;
mod gate;
mod report;
mod stream;

use std::{future, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use rand::seq::SliceRandom;
use tokio::{
    net::lookup_host,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::{
    CancelToken, Client, Config,
    config::{ChannelBinding as DriverBinding, SslMode, SslNegotiation},
};

pub use error::{Attempt, Cause, ConnectError};

use self::stream::{Done, Peer, Route, Session, Transport};
use super::{
    answer::{self, AnswerError, Sent},
    parameters::{Address, ChannelBinding, Host, LoadBalanceHosts, Parameters, TargetSessionAttrs},
};

/// A name may have many addresses; more than these aren't tried.
const MAX_ADDRESSES: usize = 8;

/// Asks what answered. Makes no setting: behind a pooler in transaction mode, others would find it.
const QUESTION: &str = "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_is_in_recovery(), \
     pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_backend_pid()";

/// How long a session that was given up may take to say so to the server.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session. When it is dropped, the connection is closed; a statement under way goes on at the server.
pub struct Connection {
    /// What queries are sent with.
    pub client: Client,
    /// What answered.
    pub server: ServerInfo,
    settings: String,
    canceller: Canceller,
    /// The driving task ends when this is dropped.
    _alive: oneshot::Sender<()>,
}

/// What answered, as it was when the session was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// As it is written in the URL.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `server_version_num`: 180001 is 18.1.
    pub version_num: u32,
    /// The backend's process, which behind a pooler is another one than the pooler's.
    pub backend_pid: i32,
    /// It is a standby.
    pub in_recovery: bool,
    /// Transactions are read-only, be it a standby or a setting.
    pub read_only: bool,
    /// The connection is under TLS.
    pub encrypted: bool,
}

impl ServerInfo {
    /// Whether the server may be written to at all.
    ///
    /// # Errors
    ///
    /// It is a standby.
    pub fn require_writable(&self) -> Result<(), ConnectError> {
        if self.in_recovery {
            let (host, port) = (self.host.clone(), self.port);
            return Err(ConnectError::ReadOnly(Attempt { host, port, cause: Cause::Standby }));
        }
        Ok(())
    }

    fn is(&self, wanted: TargetSessionAttrs) -> Result<(), Cause> {
        // libpq: read-write and read-only look at the transaction's default too (manual, 32.1.2).
        let read_only = self.in_recovery || self.read_only;
        let (right, is) = match wanted {
            TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => return Ok(()),
            TargetSessionAttrs::ReadWrite => (!read_only, "its sessions are read-only"),
            TargetSessionAttrs::ReadOnly => (read_only, "its sessions are not read-only"),
            TargetSessionAttrs::Primary => (!self.in_recovery, "it is a standby"),
            TargetSessionAttrs::Standby => (self.in_recovery, "it is a primary"),
        };
        if right { Ok(()) } else { Err(Cause::NotWanted { is, wanted }) }
    }
}

impl Connection {
    /// [`Parameters::settings_sql`]: to be sent before one's own settings, and again behind each `RESET ALL`.
    #[must_use]
    pub fn settings_sql(&self) -> &str {
        &self.settings
    }

    /// Asks the server to cancel the statement under way. That it was asked is all that is known afterwards.
    ///
    /// # Errors
    ///
    /// The server can't be reached, within the time-out of a connect.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        self.canceller.cancel().await
    }

    /// The same, for another task.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }
}

/// Cancels a session's statement, over a connection of its own to the same address under the same TLS.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    transport: Arc<Transport>,
    route: Route,
    deadline: Duration,
}

impl Canceller {
    /// See [`Connection::cancel`].
    ///
    /// # Errors
    ///
    /// The server can't be reached, within the time-out of a connect.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let asked = async {
            let opened = self.transport.open(&self.route).await?;
            self.token.cancel_query_raw(opened.stream, Done).await.map_err(|error| Cause::lost(&error))
        };
        let asked = timeout(self.deadline, asked).await.unwrap_or(Err(Cause::TimedOut(self.deadline)));
        asked.map_err(|cause| ConnectError::Cancel(self.route.attempt(cause)))
    }
}

/// Opens a session with the first host that gives one of the kind that is asked for (PostgreSQL 18 manual, 32.1.1.3).
///
/// Each host has `connect_timeout` for everything: its name, its addresses (each gets its share), TLS, the login, the
/// first query. [`Parameters::deadline`] is the sum.
///
/// # Errors
///
/// For every host that was tried, why it gave none. The search ends early where waiting is no cure.
pub async fn connect(parameters: &Parameters, application_name: &str) -> Result<Connection, ConnectError> {
    Ok(open(parameters, application_name, None).await?.0)
}

/// The same, and sends a message of the caller's at once, without waiting for what the server says of itself. It must read
/// only: hosts get it that turn out not to be of the kind that is asked for.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_asking(
    parameters: &Parameters,
    application_name: &str,
    sql: &str,
) -> Result<(Connection, Sent), ConnectError> {
    let (connection, sent) = open(parameters, application_name, Some(sql)).await?;
    let sent = match sent {
        Some(sent) => sent,
        None => Sent::now(&connection.client, sql).await,
    };
    Ok((connection, sent))
}

async fn open(
    parameters: &Parameters,
    application_name: &str,
    sql: Option<&str>,
) -> Result<(Connection, Option<Sent>), ConnectError> {
    let transport = Arc::new(Transport::new(parameters).map_err(ConnectError::Trust)?);
    let mut hosts: Vec<&Host> = parameters.hosts.iter().collect();
    if parameters.load_balance_hosts == LoadBalanceHosts::Random {
        hosts.shuffle(&mut rand::rng());
    }
    let passes: &[TargetSessionAttrs] = match parameters.target_session_attrs {
        TargetSessionAttrs::PreferStandby => &[TargetSessionAttrs::Standby, TargetSessionAttrs::Any],
        TargetSessionAttrs::Any => &[TargetSessionAttrs::Any],
        TargetSessionAttrs::ReadWrite => &[TargetSessionAttrs::ReadWrite],
        TargetSessionAttrs::ReadOnly => &[TargetSessionAttrs::ReadOnly],
        TargetSessionAttrs::Primary => &[TargetSessionAttrs::Primary],
        TargetSessionAttrs::Standby => &[TargetSessionAttrs::Standby],
    };
    let mut attempts = Vec::new();
    for wanted in passes {
        attempts.clear();
        let opening = Opening { parameters, application_name, sql, transport: &transport, wanted: *wanted };
        for host in &hosts {
            match opening.host(host).await {
                Ok(opened) => return Ok(opened),
                Err(cause) => {
                    let tries_on = cause.tries_on();
                    attempts.push(Attempt { host: host.name(), port: host.port, cause });
                    if !tries_on {
                        return Err(ConnectError::NoSession { attempts });
                    }
                }
            }
        }
    }
    Err(ConnectError::NoSession { attempts })
}

/// What stays the same from host to host.
struct Opening<'a> {
    parameters: &'a Parameters,
    application_name: &'a str,
    sql: Option<&'a str>,
    transport: &'a Arc<Transport>,
    wanted: TargetSessionAttrs,
}

impl Opening<'_> {
    async fn host(&self, host: &Host) -> Result<(Connection, Option<Sent>), Cause> {
        let limit = self.parameters.connect_timeout;
        let deadline = Instant::now() + limit;
        let routes = timeout_at(deadline, self.routes(host)).await.unwrap_or(Err(Cause::TimedOut(limit)))?;
        let mut last = Cause::NoSuchHost("it has no address".to_owned());
        for (tried, route) in routes.iter().enumerate() {
            // An address that swallows packets must not use up the time of those behind it.
            let left = u32::try_from(routes.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            last = match timeout(share, self.session(route)).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(cause)) if !cause.tries_on() => return Err(cause),
                Ok(Err(cause)) => cause,
                Err(_) => Cause::TimedOut(limit),
            };
        }
        Err(last)
    }

    /// The addresses of a host.
    async fn routes(&self, host: &Host) -> Result<Vec<Route>, Cause> {
        let route = |peer| Route { host: host.name(), port: host.port, peer };
        let name = match &host.address {
            Address::Socket(directory) => return Ok(vec![route(Peer::Unix(directory.clone()))]),
            Address::Known { ip, .. } => return Ok(vec![route(Peer::Tcp(SocketAddr::new(*ip, host.port)))]),
            Address::Name(name) => name,
        };
        let found =
            lookup_host((name.as_str(), host.port)).await.map_err(|error| Cause::NoSuchHost(error.to_string()))?;
        let mut found: Vec<SocketAddr> = found.collect();
        let addresses = found.iter().map(SocketAddr::ip);
        self.parameters.allowed_hosts.admit(name, host.port, addresses).map_err(Cause::NotAllowed)?;
        if self.parameters.load_balance_hosts == LoadBalanceHosts::Random {
            found.shuffle(&mut rand::rng());
        }
        found.truncate(MAX_ADDRESSES);
        Ok(found.into_iter().map(|address| route(Peer::Tcp(address))).collect())
    }

    async fn session(&self, route: &Route) -> Result<(Connection, Option<Sent>), Cause> {
        let opened = self.transport.open(route).await?;
        let encrypted = opened.encrypted;
        if !encrypted && self.parameters.channel_binding == ChannelBinding::Require {
            return Err(Cause::ChannelBinding("there is no TLS to bind to; use tls.mode require or stricter"));
        }
        let (client, connection) = self
            .config(encrypted)
            .connect_raw(opened.stream, Done)
            .await
            .map_err(|error| Cause::of(&error, self.parameters))?;
        let (alive, ended) = oneshot::channel();
        tokio::spawn(drive(connection, ended));

        let question = Sent::now(&client, QUESTION).await;
        let asked = match self.sql {
            Some(sql) => Some(Sent::now(&client, sql).await),
            None => None,
        };
        let server = self.server(question, route, encrypted).await?;
        server.is(self.wanted)?;
        let canceller = Canceller {
            token: client.cancel_token(),
            transport: Arc::clone(self.transport),
            route: route.clone(),
            deadline: self.parameters.connect_timeout,
        };
        let settings = self.parameters.settings_sql();
        Ok((Connection { client, server, settings, canceller, _alive: alive }, asked))
    }

    fn config(&self, encrypted: bool) -> Config {
        let mut config = Config::new();
        config
            .user(&self.parameters.user)
            .dbname(&self.parameters.dbname)
            .application_name(self.application_name)
            .channel_binding(match self.parameters.channel_binding {
                ChannelBinding::Disable => DriverBinding::Disable,
                ChannelBinding::Prefer => DriverBinding::Prefer,
                ChannelBinding::Require => DriverBinding::Require,
            });
        if let Some(password) = &self.parameters.password {
            config.password(password);
        }
        if encrypted {
            // "Direct" has the driver take the stream as `Done` gives it back, without a request of its own.
            config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        } else {
            config.ssl_mode(SslMode::Disable);
        }
        config
    }

    /// What answered [`QUESTION`].
    async fn server(&self, question: Sent, route: &Route, encrypted: bool) -> Result<ServerInfo, Cause> {
        let answer = answer::collect(question).await.map_err(|error| match error {
            AnswerError::Driver(error) => Cause::of(&error, self.parameters),
            AnswerError::Nonsense(what) => Cause::NotPostgres(what),
        })?;
        let column = |at: usize| answer.first().and_then(|row| row.get(at));
        let nonsense = || Cause::NotPostgres("it doesn't say what it is");
        Ok(ServerInfo {
            host: route.host.clone(),
            port: route.port,
            version_num: column(0).and_then(|it| it.parse().ok()).ok_or_else(nonsense)?,
            in_recovery: column(1).ok_or_else(nonsense)? == "t",
            read_only: column(2).ok_or_else(nonsense)? == "on",
            backend_pid: column(3).and_then(|it| it.parse().ok()).ok_or_else(nonsense)?,
            encrypted,
        })
    }
}

/// Moves bytes until the session ends, and a moment longer for its farewell.
async fn drive(mut connection: tokio_postgres::Connection<Session, Session>, ended: oneshot::Receiver<()>) {
    let mut moving = std::pin::pin!(future::poll_fn(|context| {
        loop {
            match connection.poll_message(context) {
                // A notice or a notification: the filter drops them.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }));
    tokio::select! {
        () = &mut moving => return,
        _ = ended => {}
    }
    let _ = timeout(FAREWELL, moving).await;
}

impl Route {
    fn attempt(&self, cause: Cause) -> Attempt {
        Attempt { host: self.host.clone(), port: self.port, cause }
    }
}

impl Host {
    fn name(&self) -> String {
        match &self.address {
            Address::Name(name) | Address::Known { name, .. } => name.clone(),
            Address::Socket(directory) => directory.display().to_string(),
        }
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self.address, Address::Socket(_))
    }
}
