//! Opening sessions with real servers, and with what only pretends to be one.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use dunlin::{
    core::outcome::{Failure, Reason},
    database::{
        connect::{self, Attempt, Cause, ConnectError, Connection},
        parameters::{Parameters, Source},
        tls::TlsInput,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{Dedicated, dedicated_postgres, eventually, fresh_database, postgres};

pub(crate) async fn open(url: &str) -> Result<Connection, ConnectError> {
    open_with(url, &TlsInput::default()).await
}

pub(crate) async fn open_with(url: &str, tls: &TlsInput) -> Result<Connection, ConnectError> {
    let parameters = Parameters::from_url(url, Source::Operator, tls).expect("the URL is well-formed");
    connect::connect(&parameters, "dunlin/test/connection").await
}

/// Why there was no session, and the reason that makes; no password in either.
pub(crate) fn refused(result: Result<Connection, ConnectError>) -> (Reason, String) {
    let error = result.err().expect("no session");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("swordfish"), "{text}");
    }
    let failure = Failure::from(error);
    (failure.reason, failure.message)
}

fn last_cause(result: Result<Connection, ConnectError>) -> Cause {
    match result.err() {
        Some(ConnectError::NoSession { mut attempts }) => attempts.pop().expect("an attempt").cause,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn ask(connection: &Connection, sql: &str) -> String {
    let row = connection.client.query_one(sql, &[]).await.expect("an answer");
    row.get(0)
}

/// `host:port` of a server, without TLS.
fn address(server: &Dedicated) -> String {
    format!("{}:{}", server.about().host, server.about().port)
}

/// A server with a way of logging in for each user that its tests make.
async fn logins() -> &'static Dedicated {
    static SERVER: OnceLock<Dedicated> = OnceLock::new();
    static MADE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let server = SERVER.get_or_init(|| {
        let hba = ["host all md5_user all md5", "host all clear_user all password", "host all trusted_user all trust"];
        dedicated_postgres(&[], &hba, &[])
    });
    MADE.get_or_init(async || {
        let admin = open(server.url()).await.expect("the superuser's session");
        let roles = "CREATE ROLE scram_user LOGIN PASSWORD 'swordfish'; CREATE ROLE clear_user LOGIN PASSWORD 'swordfish'; \
            CREATE ROLE trusted_user LOGIN; CREATE ROLE \"odd/user\" LOGIN PASSWORD 'sw@rd:f/i?s#h% 1'; \
            CREATE ROLE asleep_user PASSWORD 'swordfish'; CREATE ROLE full_user LOGIN PASSWORD 'swordfish' CONNECTION LIMIT 0; \
            SET password_encryption = md5; CREATE ROLE md5_user LOGIN PASSWORD 'swordfish'; \
            CREATE DATABASE closed; REVOKE CONNECT ON DATABASE closed FROM PUBLIC;";
        for statement in roles.split_inclusive(';') {
            admin.client.batch_execute(statement).await.expect("roles are made");
        }
    })
    .await;
    server
}

/// P19
#[tokio::test]
async fn percent_encoding_of_user_and_password_is_undone() {
    let at = address(logins().await);
    let session = open(&format!("postgres://odd%2Fuser:sw%40rd%3Af%2Fi%3Fs%23h%25%201@{at}/postgres")).await.unwrap();
    assert_eq!(ask(&session, "SELECT session_user::text").await, "odd/user");
    let server = &session.server;
    assert!(
        server.version_num >= 140_000 && !server.in_recovery && !server.read_only && !server.encrypted,
        "{server:?}"
    );
    assert_eq!(ask(&session, "SELECT pg_backend_pid()::text").await, server.backend_pid.to_string());
    assert_eq!(ask(&session, "SELECT current_setting('application_name')").await, "dunlin/test/connection");
}

#[tokio::test]
async fn every_password_method_works_and_require_auth_decides_among_them() {
    let at = address(logins().await);
    for (user, method) in [("scram_user", "scram-sha-256"), ("md5_user", "md5"), ("clear_user", "password")] {
        let url = format!("postgres://{user}:swordfish@{at}/postgres");
        assert!(open(&url).await.is_ok(), "{user}");
        assert!(open(&format!("{url}?require_auth={method}")).await.is_ok(), "{user}");
        assert!(open(&format!("{url}?require_auth={method},none")).await.is_ok(), "{user}");
        for excluding in [format!("!{method}"), "none".to_owned()] {
            let (reason, message) = refused(open(&format!("{url}?require_auth={excluding}")).await);
            assert_eq!(reason, Reason::AuthenticationFailed, "{message}");
            assert!(message.contains("nothing was sent; add it to require_auth"), "{message}");
        }
    }
    let trusted = format!("postgres://trusted_user@{at}/postgres");
    assert!(open(&trusted).await.is_ok());
    assert!(open(&format!("{trusted}?require_auth=none")).await.is_ok());
    let (reason, message) = refused(open(&format!("{trusted}?require_auth=scram-sha-256")).await);
    assert_eq!(reason, Reason::AuthenticationFailed, "{message}");
}

#[tokio::test]
async fn a_refused_login_says_why_and_what_to_do() {
    let at = address(logins().await);
    for (login, expected) in [
        (
            "scram_user:swordfish2",
            "(28P01); correct user and password in the Secret, or set it in the database by ALTER ROLE \"scram_user\" PASSWORD",
        ),
        ("nobody:swordfish", "(28P01)"),
        ("md5_user:swordfish2", "(28P01)"),
        ("scram_user", "there is none; add it to the Secret"),
        ("asleep_user:swordfish", "(28000); check the role (ALTER ROLE \"asleep_user\" LOGIN)"),
    ] {
        let (reason, message) = refused(open(&format!("postgres://{login}@{at}/postgres")).await);
        assert_eq!(reason, Reason::AuthenticationFailed, "{login}: {message}");
        assert!(message.contains(expected) && message.starts_with(&at), "{login}: {message}");
    }
    let (reason, message) = refused(open(&format!("postgres://scram_user:swordfish@{at}/closed")).await);
    assert_eq!(reason, Reason::PermissionDenied);
    assert!(message.contains(r#"run GRANT CONNECT ON DATABASE "closed" TO "scram_user""#), "{message}");
}

#[tokio::test]
async fn what_may_come_by_itself_is_waited_for() {
    let at = address(logins().await);
    for (url, expected) in [
        (format!("postgres://scram_user:swordfish@{at}/not_yet"), "(3D000); create it"),
        (format!("postgres://full_user:swordfish@{at}/postgres"), "(53300)"),
        ("postgres://u:swordfish@127.0.0.1:1/d".to_owned(), "127.0.0.1:1: can't connect (connection refused)"),
        (
            "postgres://u:swordfish@nowhere.invalid/d".to_owned(),
            "nowhere.invalid:5432: the host's name can't be looked up",
        ),
    ] {
        let (reason, message) = refused(open(&url).await);
        assert_eq!(reason, Reason::WaitingForDatabase, "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_login_that_must_be_bound_is_not_sent_over_a_plain_connection() {
    let at = address(logins().await);
    let (reason, message) =
        refused(open(&format!("postgres://scram_user:swordfish@{at}/postgres?channel_binding=require")).await);
    assert_eq!(reason, Reason::AuthenticationFailed);
    assert!(message.contains("there is no TLS to bind to"), "{message}");
}

#[tokio::test]
async fn hosts_are_tried_in_turn_until_one_is_of_the_kind_that_is_asked_for() {
    let primary = postgres();
    let signal = tempfile::NamedTempFile::new().expect("a temporary file");
    let standby = dedicated_postgres(&[], &["host all all all trust"], &[("standby.signal", signal.path())]);
    let (first, second) = (address(&standby), address(primary));
    let password = &primary.about().password;
    let both = format!("postgres://{}:{password}@127.0.0.1:1,{first},{second}/postgres", primary.about().user);
    for (wanted, expected) in [
        ("any", standby.about().port),
        ("read-write", primary.about().port),
        ("primary", primary.about().port),
        ("read-only", standby.about().port),
        ("standby", standby.about().port),
        ("prefer-standby", standby.about().port),
    ] {
        let session = open(&format!("{both}?target_session_attrs={wanted}")).await.unwrap();
        assert_eq!(session.server.port, expected, "{wanted}");
    }
    // A session that is to write takes no standby, whatever the order.
    let parameters = Parameters::from_url(&both, Source::Operator, &TlsInput::default()).unwrap().for_writing();
    let session = connect::connect(&parameters, "dunlin").await.unwrap();
    assert_eq!(session.server.port, primary.about().port);
    assert_eq!(session.server.require_writable(), Ok(()));

    let alone = format!("postgres://{}@{first}/postgres", standby.about().user);
    let (reason, message) = refused(open(&format!("{alone}?target_session_attrs=primary")).await);
    assert_eq!(reason, Reason::WaitingForDatabase);
    assert_eq!(message, format!("{first}: it is a standby, and a primary is needed"));
    let session = open(&alone).await.unwrap();
    assert!(session.server.in_recovery && session.server.read_only);
    let error = session.server.require_writable().unwrap_err();
    assert_eq!(Failure::from(error).reason, Reason::WaitingForDatabase);
    // No standby among them: the second look takes what there is.
    let fallback =
        format!("postgres://{}:{password}@{second}/postgres?target_session_attrs=prefer-standby", primary.about().user);
    assert_eq!(open(&fallback).await.unwrap().server.port, primary.about().port);
}

/// What the command line may do, the operator may not.
#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_needs_no_tls() {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    // The server runs as somebody else.
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("our folder");
    let path = folder.path().display().to_string();
    let server = dedicated_postgres(&[&format!("unix_socket_directories={path}")], &["local all all trust"], &[]);
    let about = server.about();
    let url = format!("postgres://{}@/postgres?host={path}&port={}&sslmode=verify-full", about.user, about.port);
    let parameters = Parameters::from_url(&url, Source::CommandLine, &TlsInput::default()).unwrap();
    let session = connect::connect(&parameters, "dunlin").await.unwrap_or_else(|error| panic!("{error}"));
    assert!(!session.server.encrypted);
    session.cancel().await.unwrap();
    assert!(Parameters::from_url(&url, Source::Operator, &TlsInput::default()).is_err());
}

#[tokio::test]
async fn every_host_that_failed_is_named() {
    let result = open("postgres://u:swordfish@127.0.0.1:1,nowhere.invalid:2,[::1]:3/d").await;
    let Err(ConnectError::NoSession { attempts }) = &result else { panic!("a session") };
    let named: Vec<_> = attempts.iter().map(|Attempt { host, port, .. }| (host.as_str(), *port)).collect();
    assert_eq!(named, [("127.0.0.1", 1), ("nowhere.invalid", 2), ("::1", 3)]);
    let (_, message) = refused(result);
    assert!(
        message.contains("127.0.0.1:1: ") && message.contains("nowhere.invalid:2: ") && message.contains("[::1]:3: ")
    );
}

/// A wrong password on the first host isn't covered up by the second, as in libpq.
#[tokio::test]
async fn a_refused_login_ends_the_search() {
    let at = address(logins().await);
    let url = format!("postgres://scram_user:swordfish2@{at},127.0.0.1:1/postgres");
    let (reason, message) = refused(open(&url).await);
    assert_eq!(reason, Reason::AuthenticationFailed);
    assert!(!message.contains("127.0.0.1:1: "), "{message}");
}

/// Something that listens, and answers as the test says.
async fn pretend<F: Future<Output = ()> + Send + 'static>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    port
}

/// Nothing waits for ever.
#[tokio::test]
async fn a_server_that_never_answers_costs_its_time_and_no_more() {
    let silent = pretend(async |stream: TcpStream| {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(stream);
    })
    .await;
    for sslmode in ["disable", "prefer"] {
        let begun = Instant::now();
        let url = format!("postgres://u:swordfish@127.0.0.1:{silent}/d?connect_timeout=1&sslmode={sslmode}");
        let (reason, message) = refused(open(&url).await);
        assert_eq!(reason, Reason::WaitingForDatabase);
        assert!(message.contains("no session within 1 s"), "{message}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    // The next host has its own time.
    let about = postgres().about();
    let (user, password, port) = (&about.user, &about.password, about.port);
    let url = format!("postgres://{user}:{password}@127.0.0.1:{silent},127.0.0.1:{port}/postgres?connect_timeout=1");
    assert_eq!(open(&url).await.unwrap().server.port, port);
}

async fn startup_message(stream: &mut TcpStream) {
    let length = stream.read_u32().await.unwrap_or(4);
    let mut body = vec![0; length as usize - 4];
    let _ = stream.read_exact(&mut body).await;
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &u32::try_from(body.len() + 4).expect("short").to_be_bytes(), body].concat()
}

#[tokio::test]
async fn a_server_can_not_have_us_compute_for_hours() {
    let greedy = pretend(async |mut stream: TcpStream| {
        startup_message(&mut stream).await;
        let _ = stream.write_all(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).await;
        let mut first = vec![0; 1024];
        let read = stream.read(&mut first).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&first[..read]).into_owned();
        let nonce = text.rsplit_once("r=").map(|(_, nonce)| nonce.to_owned()).unwrap_or_default();
        let answer = format!("r={nonce}server,s=c2FsdHNhbHQ=,i=2000000000");
        let _ = stream.write_all(&message(b'R', &[&[0, 0, 0, 11], answer.as_bytes()].concat())).await;
        let _ = stream.read(&mut first).await;
    })
    .await;
    let begun = Instant::now();
    let (reason, text) = refused(open(&format!("postgres://u:swordfish@127.0.0.1:{greedy}/d?sslmode=disable")).await);
    assert_eq!(reason, Reason::AuthenticationFailed);
    assert!(text.contains("iteration count"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn endless_notices_before_the_session_is_open_are_not_listened_to() {
    let talker = pretend(async |mut stream: TcpStream| {
        startup_message(&mut stream).await;
        let notice = message(b'N', b"SNOTICE\0C00000\0Mblah blah blah\0\0").repeat(100);
        while stream.write_all(&notice).await.is_ok() {}
    })
    .await;
    let cause = last_cause(open(&format!("postgres://u:swordfish@127.0.0.1:{talker}/d?sslmode=disable")).await);
    assert!(matches!(cause, Cause::NotPostgres(_)), "{cause:?}");
}

#[tokio::test]
async fn what_is_no_postgresql_is_called_so_and_not_quoted() {
    let web = pretend(async |mut stream: TcpStream| {
        let _ = stream.read_u32().await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nServer: internal-metadata\r\n\r\n").await;
    })
    .await;
    for sslmode in ["disable", "prefer", "verify-full"] {
        let (reason, message) =
            refused(open(&format!("postgres://u:swordfish@127.0.0.1:{web}/d?sslmode={sslmode}")).await);
        assert_eq!(reason, Reason::WaitingForDatabase, "{message}");
        assert!(message.contains("doesn't speak PostgreSQL's protocol"), "{message}");
        assert!(!message.contains("internal-metadata"), "{message}");
    }
}

/// A server's words may repeat what it was told.
#[tokio::test]
async fn a_password_in_the_servers_words_is_not_shown() {
    let parrot = pretend(async |mut stream: TcpStream| {
        startup_message(&mut stream).await;
        let body = b"SFATAL\0VFATAL\0C28P01\0Mno user u with password swordfish\nhere\0\0";
        let _ = stream.write_all(&message(b'E', body)).await;
    })
    .await;
    let (reason, text) = refused(open(&format!("postgres://u:swordfish@127.0.0.1:{parrot}/d?sslmode=disable")).await);
    assert_eq!(reason, Reason::AuthenticationFailed);
    assert!(text.contains("no user u with password … here"), "{text}");
}

#[tokio::test]
async fn a_statement_is_cancelled() {
    let session = open(&fresh_database().await).await.unwrap();
    let canceller = session.canceller();
    let asked = async {
        // A request that comes before the statement cancels nothing: ask until it has ended.
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        loop {
            pause.tick().await;
            canceller.cancel().await.expect("the server is there");
        }
    };
    let ended = tokio::select! {
        ended = session.client.batch_execute("SELECT pg_sleep(60)") => ended,
        () = asked => unreachable!("it never ends"),
    };
    assert_eq!(ended.unwrap_err().code().map(tokio_postgres::error::SqlState::code), Some("57014"));
}

#[tokio::test]
async fn a_session_ends_with_its_connection() {
    let url = fresh_database().await;
    let (watching, session) = (open(&url).await.unwrap(), open(&url).await.unwrap());
    let pid = session.server.backend_pid;
    drop(session);
    let count = format!("SELECT count(*)::text FROM pg_stat_activity WHERE pid = {pid}");
    eventually("the backend to be gone", Duration::from_secs(10), async || {
        match ask(&watching, &count).await.as_str() {
            "0" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}

#[tokio::test]
async fn settings_of_a_url_are_what_the_server_takes() {
    let url = fresh_database().await;
    let url = format!("{url}?options=-c%20work_mem%3D7MB%20-c%20app.path%3Da%5C%5C%5C%5Cb%27c");
    let parameters = Parameters::from_url(&url, Source::Operator, &TlsInput::default()).unwrap();
    let session = connect::connect(&parameters, "dunlin").await.unwrap();
    assert_eq!(session.settings_sql(), parameters.settings_sql());
    session.client.batch_execute(session.settings_sql()).await.unwrap();
    assert_eq!(ask(&session, "SELECT current_setting('work_mem')").await, "7MB");
    assert_eq!(ask(&session, "SELECT current_setting('app.path')").await, r"a\\b'c");
}
