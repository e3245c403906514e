//! libpq's TLS modes, against servers without TLS, with a good certificate, and with all sorts of bad ones.

use std::{io::Write as _, net::TcpListener, sync::OnceLock};

use dunlin::{
    core::outcome::Reason,
    database::tls::{ClientPem, Pem, TlsInput, TlsMode},
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::connection::{ask, open, open_with, refused};
use crate::support::{Dedicated, dedicated_postgres, dedicated_postgres_version, postgres};

/// A CA, and whom it vouches for.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Made {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, params: &CertificateParams) -> Made {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Made { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn pem(&self) -> Pem {
        pem("key ca.crt of Secret shop-db-ca", &self.certificate.pem())
    }
}

fn pem(from: &str, text: &str) -> Pem {
    Pem { from: from.to_owned(), bytes: text.as_bytes().to_vec() }
}

/// For a common name and alternative names.
fn params(common_name: &str, alternative: &[&str]) -> CertificateParams {
    let names: Vec<String> = alternative.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn self_signed(params: &CertificateParams) -> Made {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Made { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("room for it");
    file
}

fn server(made: &Made, client_ca: &str) -> Dedicated {
    let (certificate, key, ca) = (file(&made.certificate), file(&made.key), file(client_ca));
    dedicated_postgres(
        &["ssl=on", "ssl_ca_file=client-ca.crt"],
        &[
            "hostssl all certificate_user all cert",
            "hostssl all tls_user all scram-sha-256",
            "hostnossl all tls_user all reject",
            "hostssl all md5_user all md5",
        ],
        &[("server.crt", certificate.path()), ("server.key", key.path()), ("client-ca.crt", ca.path())],
    )
}

/// One server for most tests, with a certificate for `localhost` and 127.0.0.1.
struct Good {
    server: Dedicated,
    ca: Authority,
    client_ca: Authority,
}

async fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    static MADE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let good = GOOD.get_or_init(|| {
        let (ca, client_ca) = (Authority::new("the CA"), Authority::new("the clients' CA"));
        let made = ca.sign(&params("shop", &["localhost", "*.db.example", "127.0.0.1"]));
        Good { server: server(&made, &client_ca.certificate.pem()), ca, client_ca }
    });
    MADE.get_or_init(async || make_roles(&good.server).await).await;
    good
}

async fn make_roles(server: &Dedicated) {
    let admin = open(server.url()).await.expect("the superuser's session");
    let roles = "CREATE ROLE certificate_user LOGIN; CREATE ROLE tls_user LOGIN PASSWORD 'swordfish'; \
        SET password_encryption = md5; CREATE ROLE md5_user LOGIN PASSWORD 'swordfish'";
    admin.client.batch_execute(roles).await.expect("roles are made");
}

/// A URL for `tls_user`: a host that a certificate is compared with, and always 127.0.0.1 behind it.
fn url(server: &Dedicated, host: &str, parameters: &str) -> String {
    let port = server.about().port;
    format!("postgres://tls_user:swordfish@{host}:{port}/postgres?hostaddr=127.0.0.1&{parameters}")
}

fn with_ca(ca: &Authority) -> TlsInput {
    TlsInput { ca: Some(ca.pem()), ..TlsInput::default() }
}

/// P19: what a URL asks for is never weakened.
#[tokio::test]
async fn a_server_without_tls_is_good_enough_for_disable_and_prefer_alone() {
    let url = postgres().url();
    let ca = Authority::new("a CA");
    for mode in ["disable", "prefer"] {
        let session = open(&format!("{url}?sslmode={mode}")).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert!(!session.server.encrypted);
    }
    assert!(open(url).await.is_ok());
    for mode in ["require", "verify-ca", "verify-full"] {
        for tls in [TlsInput::default(), with_ca(&ca)] {
            let (reason, message) = refused(open_with(&format!("{url}?sslmode={mode}"), &tls).await);
            assert_eq!(reason, Reason::TLSFailed, "{message}");
            assert!(message.contains(&format!("doesn't offer TLS, and {mode} is asked for")), "{message}");
        }
    }
    for mode in [TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let tls = TlsInput { mode: Some(mode), ..TlsInput::default() };
        // The spec is stricter than the URL.
        let (reason, message) = refused(open_with(&format!("{url}?sslmode=disable"), &tls).await);
        assert_eq!(reason, Reason::TLSFailed, "{message}");
    }
    // A CA without a mode means verify-full.
    assert_eq!(refused(open_with(url, &with_ca(&ca)).await).0, Reason::TLSFailed);
    let direct = format!("{url}?sslmode=require&sslnegotiation=direct");
    assert_eq!(refused(open(&direct).await).0, Reason::TLSFailed);
}

/// P19
#[tokio::test]
async fn every_mode_checks_what_it_says() {
    let Good { server, ca, .. } = good().await;
    let other = Authority::new("the CA");
    let wrong_ca = "isn't signed by a trusted CA";
    let same_name = "isn't signed by the trusted CA of that name; give the CA that signed it";
    let wrong_name = "not for this host";
    #[rustfmt::skip]
    let table = [
        // mode, host, CA given, whether it is encrypted or what is said
        ("prefer", "localhost", None, Ok(true)),
        ("require", "localhost", None, Ok(true)),
        ("require", "other.example", None, Ok(true)),
        ("verify-ca", "localhost", None, Err(wrong_ca)),
        ("verify-full", "localhost", None, Err(wrong_ca)),
        ("", "localhost", Some(ca), Ok(true)),
        ("", "other.example", Some(ca), Err(wrong_name)),
        ("", "localhost", Some(&other), Err(same_name)),
        ("prefer", "localhost", Some(ca), Ok(true)),
        ("prefer", "localhost", Some(&other), Err(same_name)),
        ("require", "localhost", Some(ca), Ok(true)),
        ("require", "other.example", Some(ca), Ok(true)),
        ("require", "localhost", Some(&other), Err(same_name)),
        ("verify-ca", "other.example", Some(ca), Ok(true)),
        ("verify-ca", "localhost", Some(&other), Err(same_name)),
        ("verify-full", "localhost", Some(ca), Ok(true)),
        ("verify-full", "LOCALHOST", Some(ca), Ok(true)),
        ("verify-full", "127.0.0.1", Some(ca), Ok(true)),
        ("verify-full", "shop.db.example", Some(ca), Ok(true)),
        ("verify-full", "shop", Some(ca), Err(wrong_name)),
        ("verify-full", "db.example", Some(ca), Err(wrong_name)),
        ("verify-full", "a.shop.db.example", Some(ca), Err(wrong_name)),
        ("verify-full", "other.example", Some(ca), Err(wrong_name)),
        ("verify-full", "localhost", Some(&other), Err(same_name)),
    ];
    for (mode, host, ca, expected) in table {
        let case = format!("{mode} {host} {}", ca.is_some());
        let tls = ca.map(with_ca).unwrap_or_default();
        let result = open_with(&url(server, host, &format!("sslmode={mode}")), &tls).await;
        match expected {
            Ok(encrypted) => {
                let session = result.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(session.server.encrypted, encrypted, "{case}");
                let ssl = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
                assert_eq!(ask(&session, ssl).await, encrypted.to_string(), "{case}");
            }
            Err(said) => {
                let (reason, message) = refused(result);
                assert_eq!(reason, Reason::TLSFailed, "{case}: {message}");
                assert!(message.contains(said), "{case}: {message}");
            }
        }
    }
    // Nothing said: TLS is preferred. Disabled: the server's pg_hba.conf asks for it.
    assert!(open(&url(server, "localhost", "")).await.unwrap().server.encrypted);
    let (reason, message) = refused(open(&url(server, "localhost", "sslmode=disable")).await);
    assert_eq!(reason, Reason::AuthenticationFailed, "{message}");
    assert!(message.contains("set tls.mode accordingly"), "{message}");
}

#[tokio::test]
async fn versions_and_server_name_are_as_asked_for() {
    let Good { server, ca, .. } = good().await;
    for (parameters, version) in [
        ("ssl_max_protocol_version=TLSv1.2", "TLSv1.2"),
        ("ssl_min_protocol_version=TLSv1.3", "TLSv1.3"),
        ("ssl_min_protocol_version=TLSv1&sslsni=0", "TLSv1.3"),
    ] {
        let session = open_with(&url(server, "localhost", parameters), &with_ca(ca)).await.unwrap();
        let asked = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert_eq!(ask(&session, asked).await, version, "{parameters}");
    }
}

/// SCRAM-SHA-256-PLUS: the server itself says which mechanism it takes, and refuses a binding that isn't its own.
#[tokio::test]
async fn a_login_is_bound_to_the_channel_where_that_is_required() {
    let Good { server, ca, .. } = good().await;
    for parameters in [
        "sslmode=require&channel_binding=require",
        "sslmode=require&channel_binding=require&ssl_max_protocol_version=TLSv1.2",
        "sslmode=require&channel_binding=prefer",
        "sslmode=require&channel_binding=disable",
    ] {
        assert!(open(&url(server, "localhost", parameters)).await.is_ok(), "{parameters}");
    }
    assert!(open_with(&url(server, "localhost", "channel_binding=require"), &with_ca(ca)).await.is_ok());
    let bound = url(server, "localhost", "sslmode=require&channel_binding=require");
    let (reason, message) = refused(open(&bound.replace("tls_user", "md5_user")).await);
    assert_eq!(reason, Reason::AuthenticationFailed);
    assert!(message.contains("channel_binding=require, and the server doesn't offer it"), "{message}");
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let Good { server, ca, client_ca } = good().await;
    let login = url(server, "localhost", "").replace("tls_user:swordfish", "certificate_user");
    let client = |made: &Made| ClientPem {
        certificate: pem("key tls.crt of Secret shop-db-tls", &made.certificate),
        key: pem("key tls.key of Secret shop-db-tls", &made.key),
    };
    let with = |made: &Made| TlsInput { client: Some(client(made)), ..with_ca(ca) };
    let right = client_ca.sign(&params("certificate_user", &[]));
    for version in ["TLSv1.2", "TLSv1.3"] {
        let login = format!("{login}&ssl_max_protocol_version={version}");
        assert!(open_with(&login, &with(&right)).await.is_ok(), "{version}");
    }
    let (reason, message) = refused(open_with(&login, &with_ca(ca)).await);
    assert_eq!(reason, Reason::AuthenticationFailed, "{message}");
    assert!(message.contains("client certificate"), "{message}");
    let (reason, message) = refused(open_with(&login, &with(&client_ca.sign(&params("somebody", &[])))).await);
    assert_eq!(reason, Reason::AuthenticationFailed, "{message}");
    let (reason, message) =
        refused(open_with(&login, &with(&Authority::new("x").sign(&params("certificate_user", &[])))).await);
    assert_eq!(reason, Reason::TLSFailed, "{message}");
    assert!(message.contains("refuses the client certificate"), "{message}");
}

/// PostgreSQL 17 and newer take a handshake without being asked first.
#[tokio::test]
async fn tls_is_negotiated_directly_where_that_is_asked_for() {
    let ca = Authority::new("the CA");
    let made = ca.sign(&params("shop", &["localhost"]));
    let (certificate, key) = (file(&made.certificate), file(&made.key));
    let files = [("server.crt", certificate.path()), ("server.key", key.path())];
    let server = dedicated_postgres_version(Some(18), &["ssl=on"], &[], &files);
    make_roles(&server).await;
    let direct = url(&server, "localhost", "sslmode=verify-full&sslnegotiation=direct&channel_binding=require");
    let session = open_with(&direct, &with_ca(&ca)).await.unwrap();
    assert!(session.server.encrypted && session.server.version_num >= 180_000, "{:?}", session.server);
    session.cancel().await.unwrap();
    let old = &good().await.server;
    if old.about().version < 17 {
        let (reason, message) = refused(open(&url(old, "localhost", "sslmode=require&sslnegotiation=direct")).await);
        assert_eq!(reason, Reason::TLSFailed);
        assert!(message.contains("PostgreSQL 17 or newer"), "{message}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_where_it_is_checked() {
    let ca = Authority::new("the CA");
    let mut stale = params("shop", &["localhost"]);
    (stale.not_before, stale.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let server = server(&ca.sign(&stale), &ca.certificate.pem());
    make_roles(&server).await;
    for mode in ["verify-ca", "verify-full", "require"] {
        let (reason, message) =
            refused(open_with(&url(&server, "localhost", &format!("sslmode={mode}")), &with_ca(&ca)).await);
        assert_eq!(reason, Reason::TLSFailed, "{mode}");
        assert!(message.contains("has expired"), "{message}");
    }
    assert!(open(&url(&server, "localhost", "sslmode=require")).await.is_ok());
}

/// The certificate of the manual's quick start (18.9.5): self-signed, a CA, a common name and nothing else.
#[tokio::test]
async fn a_self_signed_certificate_may_be_given_as_its_own_ca() {
    let mut quick_start = params("localhost", &[]);
    quick_start.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (made, other) = (self_signed(&quick_start), self_signed(&quick_start));
    let server = server(&made, &made.certificate);
    make_roles(&server).await;
    let given =
        |made: &Made| TlsInput { ca: Some(pem("key ca.crt of Secret ca", &made.certificate)), ..TlsInput::default() };
    assert!(open_with(&url(&server, "localhost", ""), &given(&made)).await.is_ok());
    let bound = url(&server, "localhost", "channel_binding=require");
    assert!(open_with(&bound, &given(&made)).await.is_ok());
    let (reason, message) = refused(open_with(&url(&server, "other.example", ""), &given(&made)).await);
    assert_eq!(reason, Reason::TLSFailed, "{message}");
    let (reason, message) = refused(open_with(&url(&server, "localhost", ""), &given(&other)).await);
    assert_eq!(reason, Reason::TLSFailed, "{message}");
    for mode in ["verify-ca", "verify-full"] {
        let (reason, message) = refused(open(&url(&server, "localhost", &format!("sslmode={mode}"))).await);
        assert_eq!(reason, Reason::TLSFailed, "{message}");
    }
    assert!(open(&url(&server, "localhost", "sslmode=require")).await.is_ok());
}

/// A handshake that fails is never followed by an attempt without TLS: `prefer` is about what the server offers.
#[tokio::test]
async fn prefer_goes_without_tls_only_when_the_server_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let connections = std::thread::spawn(move || {
        use std::io::Read as _;
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 8];
        stream.read_exact(&mut request).expect("a request for TLS");
        // Offers TLS, and then breaks the handshake, as somebody in the middle may.
        stream.write_all(b"Snonsense, and no TLS at all").expect("an answer");
        drop(stream);
        listener.set_nonblocking(true).expect("a listener");
        listener
    });
    let (reason, message) = refused(open(&format!("postgres://u:swordfish@127.0.0.1:{port}/d?sslmode=prefer")).await);
    assert_eq!(reason, Reason::TLSFailed, "{message}");
    let listener = connections.join().expect("one connection");
    assert!(listener.accept().is_err(), "there was a second attempt");
}
