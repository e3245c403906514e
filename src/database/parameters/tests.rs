use std::collections::BTreeMap;

use super::*;
use crate::{
    core::outcome::{Failure, Reason},
    database::tls::{ClientPem, Pem, TlsMode},
};

fn url(text: &str) -> Result<Parameters, ParametersError> {
    Parameters::from_url(text, Source::Operator, &TlsInput::default())
}

fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

fn secret(pairs: &[(&str, &str)]) -> Result<Parameters, ParametersError> {
    Parameters::from_secret(
        "shop-db",
        &data(pairs),
        &SecretKeys::default(),
        &TlsInput::default(),
        &AllowedHosts::default(),
    )
}

/// Hosts, user, password and database in one line.
fn line(parameters: &Parameters) -> String {
    let hosts: Vec<String> = parameters
        .hosts
        .iter()
        .map(|host| match &host.address {
            Address::Name(name) => format!("{name}:{}", host.port),
            Address::Known { name, ip } => format!("{name}@{ip}:{}", host.port),
            Address::Socket(path) => format!("{}:{}", path.display(), host.port),
        })
        .collect();
    let password = parameters.password.as_deref().map(String::from_utf8_lossy);
    format!("{} {} {} {}", hosts.join(","), parameters.user, password.as_deref().unwrap_or("-"), parameters.dbname)
}

/// P19
#[test]
fn urls_are_read_as_libpq_reads_them() {
    for (text, expected) in [
        ("postgres://u@h", "h:5432 u - u"),
        ("postgresql://u:p@h:6543/d", "h:6543 u p d"),
        ("postgres://u:p@h1:1,h2:2/d", "h1:1,h2:2 u p d"),
        ("postgres://u:p@h1,h2/d", "h1:5432,h2:5432 u p d"),
        ("postgres://u:p@h1,h2:2/d", "h1:5432,h2:2 u p d"),
        ("postgres://u:p@[::1]:6/d", "::1:6 u p d"),
        ("postgres://u:p@[::1],[2001:db8::1]:7/d", "::1:5432,2001:db8::1:7 u p d"),
        ("postgres://u%40x:p%2F%3A%25w@h/d%20e", "h:5432 u@x p/:%w d e"),
        ("postgres://u:p?q:r@h/d", "h:5432 u p?q:r d"),
        ("postgres://u:p+q@h/d", "h:5432 u p+q d"),
        ("postgres://u:@h/d", "h:5432 u - d"),
        ("postgres:///d?host=h&user=u&password=p&port=7", "h:7 u p d"),
        ("postgres://ignored/d?host=h&user=u", "h:5432 u - d"),
        ("postgres://u@h?dbname=d", "h:5432 u - d"),
        ("postgres://u@h/?", "h:5432 u - u"),
        ("postgres://u@h/d?hostaddr=10.0.0.1", "h@10.0.0.1:5432 u - d"),
        ("postgres:///d?user=u&hostaddr=10.0.0.1,::1", "10.0.0.1@10.0.0.1:5432,::1@::1:5432 u - d"),
        ("POSTGRES://u@h/d", "h:5432 u - d"),
        ("host=h user=u", "h:5432 u - u"),
        ("  host = h   user=u\tdbname=d port=7", "h:7 u - d"),
        (r"host=h user=u password='it\'s \\ here' dbname=d", r"h:5432 u it's \ here d"),
        (r"host=h user=u password=a\ b dbname=''", "h:5432 u a b u"),
        ("host=h1,h2 port=1,2 user=u", "h1:1,h2:2 u - u"),
        ("host=h1,h2 port=9 user=u", "h1:9,h2:9 u - u"),
        ("host=h user=u password=a password=b", "h:5432 u b u"),
    ] {
        assert_eq!(line(&url(text).unwrap_or_else(|error| panic!("{text}: {error}"))), expected, "{text}");
    }
}

/// P19
#[test]
fn what_a_url_gets_wrong_is_said_without_its_values() {
    for (text, expected) in [
        ("", "is empty"),
        ("swordfish", "neither a URL"),
        ("mysql://u:swordfish@h/d", "scheme"),
        ("postgresql+asyncpg://u:swordfish@h/d", "scheme"),
        ("jdbc:postgresql://h/d?user=u&password=swordfish", "JDBC"),
        ("postgres://h/d", "names no user"),
        ("postgres://u:swordfish@/d", "names no host"),
        ("postgres://u:swordfish@h1,/d", "parameter host: one of them is empty"),
        ("postgres://u:swordfish%4@h/d", "parameter password: a % is not followed"),
        ("postgres://u:%zzswordfish@h/d", "parameter password: a % is not followed"),
        ("postgres://u:%00swordfish@h/d", "parameter password: %00"),
        ("postgres://u:swordfish@h:x/d", "parameter port"),
        ("postgres://u:swordfish@h:0/d", "parameter port"),
        ("postgres://u:swordfish@h:70000/d", "parameter port"),
        ("postgres://u:swordfish@[::1/d", "closing bracket"),
        ("postgres://u:swordfish@[]/d", "no IPv6"),
        ("postgres://u:swordfish@[::1]x/d", "follows an IPv6"),
        // The password's `/` isn't encoded: libpq takes what is before it for a port.
        ("postgres://u:sword/fish@h/d", "an @ too many"),
        // The password's `@` isn't encoded: libpq looks its second half up as a host.
        ("postgres://u:sword@fish@h/d", "an @ too many"),
        ("postgres://u:1/swordfish@h/d", "an @ too many"),
        ("postgres://u:swordfish@h h/d", "parameter host: it holds a character"),
        ("postgres://u@h/d?sslmode", "without an equals sign"),
        ("postgres://u@h/d?sslmode=require&sslmode=disable", "sslmode is given twice"),
        ("postgres://u@h/d?sslmod=require", "parameter sslmod is not known; is sslmode meant?"),
        ("postgres://u@h/d?sword%26fish=1", "parameter … is not known"),
        ("postgres://u@h1,h2/d?port=1,2,3", "parameter port"),
        ("postgres://u@h/d?hostaddr=swordfish", "parameter hostaddr"),
        ("postgres://u@%2Fvar%2Frun/d", "Unix sockets"),
        ("postgres://u@/d?host=/var/run", "Unix sockets"),
        ("postgres://u@/d?host=@abstract", "Unix sockets"),
        ("postgres://u@/d?host=h,/tmp", "Unix sockets"),
        ("host=h user=u password='swordfish", "closing quote"),
        ("host=h user", "without an equals sign"),
    ] {
        let error = url(text).expect_err(text);
        let said = error.to_string();
        assert!(said.contains(expected), "{text}: {said}");
        assert!(!said.contains("swordfish") && !said.contains("fish@"), "{text}: {said}");
        assert!(!format!("{error:?}").contains("swordfish"), "{text}");
        assert_eq!(Failure::from(error).reason, Reason::InvalidSpec, "{text}");
    }
}

#[test]
fn the_command_line_may_use_a_unix_socket() {
    let of = |text: &str| Parameters::from_url(text, Source::CommandLine, &TlsInput::default());
    assert_eq!(line(&of("postgres://u@%2Fvar%2Frun/d").unwrap()), "/var/run:5432 u - d");
    assert_eq!(line(&of("postgres://u@/d?host=/tmp&port=6").unwrap()), "/tmp:6 u - d");
    assert!(of("postgres://u@/d?host=@abstract").is_err());
}

/// A parameter of each kind, with a value that must do and one that must not.
#[test]
fn every_parameter_of_the_table_meets_its_fate() {
    let right: &[(&str, &str)] = &[
        ("host", "h"),
        ("hostaddr", "127.0.0.1"),
        ("port", "1"),
        ("dbname", "d"),
        ("user", "u"),
        ("password", "p"),
        ("require_auth", "scram-sha-256"),
        ("channel_binding", "require"),
        ("connect_timeout", "1"),
        ("client_encoding", "UTF8"),
        ("options", "-c work_mem=1MB"),
        ("application_name", "a"),
        ("fallback_application_name", "a"),
        ("keepalives", "0"),
        ("keepalives_idle", "1"),
        ("keepalives_interval", "1"),
        ("keepalives_count", "1"),
        ("tcp_user_timeout", "1"),
        ("gssencmode", "disable"),
        ("gssdelegation", "0"),
        ("sslmode", "require"),
        ("requiressl", "1"),
        ("sslnegotiation", "postgres"),
        ("sslcompression", "0"),
        ("sslcertmode", "allow"),
        ("sslrootcert", "system"),
        ("sslsni", "0"),
        ("ssl_min_protocol_version", "TLSv1"),
        ("ssl_max_protocol_version", "TLSv1.2"),
        ("min_protocol_version", "3.0"),
        ("max_protocol_version", "latest"),
        ("target_session_attrs", "primary"),
        ("load_balance_hosts", "random"),
    ];
    let wrong: &[(&str, &str)] = &[
        ("require_auth", "gss"),
        ("channel_binding", "yes"),
        ("connect_timeout", "soon"),
        ("client_encoding", "LATIN1"),
        ("options", "-c search_path=x"),
        ("keepalives", "2"),
        ("keepalives_idle", "100000"),
        ("gssencmode", "require"),
        ("gssdelegation", "1"),
        ("sslmode", "allow"),
        ("sslmode", "on"),
        ("sslcompression", "1"),
        ("sslcertmode", "require"),
        ("sslrootcert", "/etc/passwd"),
        ("ssl_min_protocol_version", "SSLv3"),
        ("ssl_max_protocol_version", "TLSv1.1"),
        ("min_protocol_version", "3.2"),
        ("target_session_attrs", "master"),
        ("load_balance_hosts", "yes"),
        // Without a stricter sslmode.
        ("sslnegotiation", "direct"),
    ];
    for (name, fate) in TABLE {
        match fate {
            Fate::Honour(_) => {
                let (_, value) =
                    right.iter().find(|(it, _)| it == name).unwrap_or_else(|| panic!("no value for {name}"));
                let text = format!("host=h user=u {name}='{value}'");
                assert!(url(&text).is_ok(), "{text}: {:?}", url(&text).err());
            }
            Fate::Refuse(_) => {
                let error = url(&format!("host=h user=u {name}=swordfish")).unwrap_err().to_string();
                assert!(error.contains(&format!("parameter {name}: ")) && !error.contains("swordfish"), "{error}");
            }
        }
    }
    for (name, value) in wrong {
        let error = url(&format!("host=h user=u {name}='{value}'")).expect_err(name).to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}

/// P19
#[test]
fn what_is_honoured_is_kept() {
    let parameters =
        url("postgres://u:p@h/d?sslmode=require&channel_binding=require&connect_timeout=3&keepalives_idle=7\
        &tcp_user_timeout=1500&target_session_attrs=prefer-standby&load_balance_hosts=random&require_auth=!password\
        &options=-c%20work_mem%3D8MB")
        .unwrap();
    assert_eq!(parameters.tls.mode, TlsMode::Require);
    assert_eq!(parameters.channel_binding, ChannelBinding::Require);
    assert_eq!(parameters.connect_timeout, Duration::from_secs(3));
    assert_eq!(parameters.keepalives.unwrap().idle, Duration::from_secs(7));
    assert_eq!(parameters.tcp_user_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(parameters.target_session_attrs, TargetSessionAttrs::PreferStandby);
    assert_eq!(parameters.load_balance_hosts, LoadBalanceHosts::Random);
    assert!(!parameters.methods.allow(Method::Password) && parameters.methods.allow(Method::ScramSha256));
    assert_eq!(parameters.settings_sql(), r#"SET "work_mem" TO '8MB';"#);
    assert_eq!(url("postgres://u@h?ssl=true").unwrap().tls.mode, TlsMode::Require);
    assert_eq!(url("postgres://u@h?requiressl=1&sslmode=verify-full").unwrap().tls.mode, TlsMode::VerifyFull);
    assert_eq!(url("postgres://u@h?connect_timeout=0").unwrap().connect_timeout, CONNECT_TIMEOUT);
    assert_eq!(url("postgres://u@h1,h2?connect_timeout=3").unwrap().deadline(), Duration::from_secs(6));
    assert_eq!(url("postgres://u@h").unwrap().for_writing().target_session_attrs, TargetSessionAttrs::Primary);
}

/// The Secrets that operators write, with their keys as they write them.
#[test]
fn secrets_of_known_operators_are_read_without_configuration() {
    let cloudnative_pg = [
        ("username", "app"),
        ("user", "app"),
        ("password", "p/w"),
        ("host", "shop-rw"),
        ("port", "5432"),
        ("dbname", "app"),
        ("pgpass", "shop-rw:5432:app:app:p/w\n"),
        ("uri", "postgresql://app:p%2Fw@shop-rw.shop:5432/app"),
        ("jdbc-uri", "jdbc:postgresql://shop-rw.shop:5432/app?password=p%2Fw&user=app"),
        ("fqdn-uri", "postgresql://app:p%2Fw@shop-rw.shop.svc.cluster.local:5432/app"),
        ("fqdn-jdbc-uri", "jdbc:postgresql://shop-rw.shop.svc.cluster.local:5432/app?password=p%2Fw&user=app"),
    ];
    assert_eq!(line(&secret(&cloudnative_pg).unwrap()), "shop-rw.shop:5432 app p/w app");
    let crunchy = [
        ("dbname", "hippo"),
        ("host", "hippo-primary.shop.svc"),
        ("jdbc-uri", "jdbc:postgresql://hippo-primary.shop.svc:5432/hippo?password=p%7Cw&user=hippo"),
        ("password", "p|w"),
        ("port", "5432"),
        ("uri", "postgresql://hippo:p%7Cw@hippo-primary.shop.svc:5432/hippo"),
        ("user", "hippo"),
        ("verifier", "SCRAM-SHA-256$4096:salt$stored:server"),
    ];
    assert_eq!(line(&secret(&crunchy).unwrap()), "hippo-primary.shop.svc:5432 hippo p|w hippo");
    let bitnami = [
        ("type", "postgresql"),
        ("provider", "bitnami"),
        ("host", "shop-postgresql"),
        ("port", "5432"),
        ("username", "postgres"),
        ("password", "pw"),
        ("database", "shop"),
        ("uri", "postgresql://postgres:pw@shop-postgresql:5432/shop"),
    ];
    assert_eq!(line(&secret(&bitnami).unwrap()), "shop-postgresql:5432 postgres pw shop");
    assert_eq!(line(&secret(&bitnami[..7]).unwrap()), "shop-postgresql:5432 postgres pw shop");
    // Zalando's has no host: the Service's name has to be added by hand.
    let zalando = [("username", "zalando"), ("password", "swordfish")];
    let error = secret(&zalando).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Secret shop-db has no value for host, and dbname or database, nor a URL under uri, url, DATABASE_URL, \
         connectionString; it has the keys password, username"
    );
    assert_eq!(Failure::from(error).reason, Reason::WaitingForSecret);
}

#[test]
fn keys_of_a_secret_are_taken_in_the_order_of_the_contract() {
    let parts =
        [("host", "h"), ("user", "u"), ("username", "n"), ("password", "p"), ("dbname", "d"), ("database", "b")];
    assert_eq!(line(&secret(&parts).unwrap()), "h:5432 u p d");
    for key in ["uri", "url", "DATABASE_URL", "connectionString"] {
        let with_url = [&parts[..], &[(key, "postgres://x:y@z/w\n")]].concat();
        assert_eq!(line(&secret(&with_url).unwrap()), "z:5432 x y w", "{key}");
    }
    assert_eq!(line(&secret(&[("url", "postgres://b@b"), ("uri", "postgres://a@a")]).unwrap()), "a:5432 a - a");
    // An empty value is none.
    assert_eq!(line(&secret(&[("uri", "\n"), ("url", "host=b user=b")]).unwrap()), "b:5432 b - b");
}

#[test]
fn keys_that_the_spec_names_come_first_and_must_be_there() {
    let of = |pairs: &[(&str, &str)], keys: &SecretKeys| {
        Parameters::from_secret("shop-db", &data(pairs), keys, &TlsInput::default(), &AllowedHosts::default())
    };
    let named = |key: &str| Some(key.to_owned());
    let both = [("uri", "postgres://a@a"), ("APP_URL", "postgres://b:x@b/c"), ("secret", "p")];
    let uri = SecretKeys { uri: named("APP_URL"), ..SecretKeys::default() };
    assert_eq!(line(&of(&both, &uri).unwrap()), "b:5432 b x c");
    // A part beside the URL replaces that of the URL.
    let with_password = SecretKeys { password: named("secret"), ..uri };
    assert_eq!(line(&of(&both, &with_password).unwrap()), "b:5432 b p c");
    // Parts alone: the URL that convention would find doesn't count.
    let parts = [("uri", "postgres://a@a"), ("host", "h"), ("user", "u"), ("admin-password", "p"), ("database", "d")];
    let password = SecretKeys { password: named("admin-password"), ..SecretKeys::default() };
    assert_eq!(line(&of(&parts, &password).unwrap()), "h:5432 u p d");
    let error = of(&both, &SecretKeys { uri: named("URI"), ..SecretKeys::default() }).unwrap_err();
    assert_eq!(error.to_string(), "Secret shop-db has no value for URI; it has the keys APP_URL, secret, uri");
    assert_eq!(Failure::from(error).reason, Reason::WaitingForSecret);
}

/// Every host that a Secret names, by whatever it is connected to, before anything is.
#[test]
fn a_host_that_isnt_allowed_is_named_with_its_key() {
    let listed = ["db.example.org:5432", "*.shop.svc", "10.0.0.0/8"].map(|text| text.parse().expect("it is one"));
    let allowed = AllowedHosts::new(listed.to_vec());
    let read = |pairs: &[(&str, &str)], keys: &SecretKeys| {
        Parameters::from_secret("shop-db", &data(pairs), keys, &TlsInput::default(), &allowed)
    };
    let conventional = SecretKeys::default();
    for url in [
        "postgres://u:swordfish@db.example.org/d",
        "postgres://u:swordfish@db.example.org,a.shop.svc:6432,10.1.2.3:1/d",
        // By its addresses, when it is looked up.
        "postgres://u:swordfish@other.example.org/d",
        "postgres://u:swordfish@other.example.org/d?hostaddr=10.1.2.3",
    ] {
        read(&[("uri", url)], &conventional).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    let named = SecretKeys { host: Some("where".to_owned()), uri: Some("uri".to_owned()), ..SecretKeys::default() };
    let parts = |host: &'static str| [("host", host), ("user", "u"), ("password", "swordfish"), ("dbname", "d")];
    for (pairs, keys, says) in [
        (
            &[("uri", "postgres://u:swordfish@127.0.0.1/d")][..],
            &conventional,
            "key uri of Secret shop-db: 127.0.0.1:5432: ",
        ),
        (&[("uri", "postgres://u:swordfish@[::1]:1/d")], &conventional, "key uri of Secret shop-db: [::1]:1: "),
        (
            &[("uri", "postgres://u:swordfish@db.example.org,11.0.0.1:2/d")],
            &conventional,
            "key uri of Secret shop-db: 11.0.0.1:2: ",
        ),
        (
            &[("uri", "host=db.example.org hostaddr=127.0.0.1 user=u password=swordfish dbname=d")],
            &conventional,
            "key uri of Secret shop-db: db.example.org:5432: its name leads to 127.0.0.1: ",
        ),
        (&parts("11.0.0.1"), &conventional, "key host of Secret shop-db: 11.0.0.1:5432: "),
        (
            &[("uri", "postgres://u:swordfish@db.example.org/d"), ("where", "11.0.0.1")],
            &named,
            "key where of Secret shop-db: 11.0.0.1:5432: ",
        ),
    ] {
        let failure = Failure::from(read(pairs, keys).map(|_| ()).expect_err(says));
        assert_eq!(failure.reason, Reason::InvalidSpec);
        assert!(failure.message.starts_with(says), "{failure}");
        assert!(failure.message.contains("--allowed-hosts") && !failure.message.contains("swordfish"), "{failure}");
    }
}

#[test]
fn newlines_at_the_end_of_a_value_are_a_slip() {
    let pairs = [("host", "h\n"), ("port", "7\r\n"), ("user", "u\n\n"), ("password", "p\n"), ("dbname", "d\n")];
    assert_eq!(line(&secret(&pairs).unwrap()), "h:7 u p d");
    // Of a password, one: what is before it may be meant.
    let pairs = [("host", "h"), ("user", "u"), ("password", "p\n\n"), ("dbname", "d")];
    assert_eq!(secret(&pairs).unwrap().password.as_deref(), Some(&b"p\n"[..]));
    let mut bytes = data(&pairs);
    bytes.insert("password".to_owned(), vec![0xff, 0xfe]);
    let read = |data: &BTreeMap<_, _>| {
        Parameters::from_secret("s", data, &SecretKeys::default(), &TlsInput::default(), &AllowedHosts::default())
    };
    assert_eq!(read(&bytes).unwrap().password.as_deref(), Some(&[0xff, 0xfe][..]));
    bytes.insert("user".to_owned(), vec![0xff]);
    assert_eq!(read(&bytes).unwrap_err().to_string(), "key user of Secret s: parameter user: the value isn't UTF-8");
}

#[test]
fn a_client_certificate_stands_for_the_password() {
    let pairs = data(&[("host", "h"), ("user", "u"), ("dbname", "d")]);
    let read =
        |tls: &TlsInput| Parameters::from_secret("s", &pairs, &SecretKeys::default(), tls, &AllowedHosts::default());
    assert!(matches!(read(&TlsInput::default()), Err(ParametersError::MissingKeys { .. })));
    let made = rcgen::generate_simple_self_signed(vec!["u".to_owned()]).unwrap();
    let pem = |from: &str, text: String| Pem { from: from.to_owned(), bytes: text.into_bytes() };
    let client = ClientPem {
        certificate: pem("key tls.crt of Secret c", made.cert.pem()),
        key: pem("key tls.key of Secret c", made.signing_key.serialize_pem()),
    };
    let mut tls = TlsInput { mode: Some(TlsMode::Require), ca: None, client: Some(client) };
    assert!(read(&tls).is_ok());
    tls.mode = Some(TlsMode::Disable);
    assert!(read(&tls).unwrap_err().to_string().contains("TLS is disabled"));
    let other = rcgen::KeyPair::generate().unwrap();
    tls.mode = None;
    if let Some(client) = &mut tls.client {
        client.key.bytes = other.serialize_pem().into_bytes();
    }
    assert_eq!(
        read(&tls).unwrap_err().to_string(),
        "key tls.crt of Secret c: the private key given with it belongs to another certificate"
    );
}

#[test]
fn nothing_shows_a_value() {
    let parameters = url("postgres://someone:swordfish@somewhere:6543/something?options=-c%20work_mem%3D77MB").unwrap();
    for text in [format!("{parameters:?}"), format!("{parameters:#?}"), parameters.to_string()] {
        for value in ["someone", "swordfish", "somewhere", "6543", "something", "77MB"] {
            assert!(!text.contains(value), "{text}");
        }
    }
}

proptest::proptest! {
    /// Whatever the string, reading it ends, and what it says of a failure holds nothing of the password.
    #[test]
    fn reading_never_panics_or_tells(text in ".{0,60}", password in "[a-z]{12}") {
        let _ = url(&text);
        let _ = url(&format!("postgres://{text}"));
        let _ = url(&format!("host=h user=u {text}"));
        if let Err(error) = url(&format!("postgres://u:{password}@h/d?{text}")) {
            proptest::prop_assert!(!error.to_string().contains(&password));
            let debugged = format!("{error:?}");
            proptest::prop_assert!(!debugged.contains(&password));
        }
    }

    /// What is percent-encoded comes out as it was.
    #[test]
    fn percent_encoding_is_undone(password in "[^\0]{1,20}") {
        let encoded = password.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
        let read = url(&format!("postgres://u:{encoded}@h/d")).unwrap();
        proptest::prop_assert_eq!(read.password.as_deref(), Some(password.as_bytes()));
    }
}
