//! From what a connection string gave to [`Parameters`]: every honoured parameter of the table, read once.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use super::{
    Address, CONNECT_TIMEOUT, ChannelBinding, Host, Keepalives, LoadBalanceHosts, MAX_HOSTS, Methods, Parameters,
    Source, TargetSessionAttrs,
    error::{ParametersError, Place, Problem},
    options,
    table::Given,
};
use crate::{
    core::hosts::AllowedHosts,
    database::tls::{self, ProtocolVersion, Tls, TlsInput, TlsMode},
};

/// Builds parameters; the table's honoured names are all taken here, which a test holds.
pub(super) fn build(
    mut given: Given,
    source: Source,
    tls: &TlsInput,
    place: &Place,
) -> Result<Parameters, ParametersError> {
    let asked = read_tls(&mut given).map_err(|problem| problem.at(place))?;
    let parameters = Tls::resolve(asked, tls).map_err(ParametersError::Tls)?;
    read(given, source, parameters).map_err(|problem| problem.at(place))
}

fn read(mut given: Given, source: Source, tls: Tls) -> Result<Parameters, Problem> {
    accept(&mut given)?;
    let given = &mut given;
    let hosts = hosts(given, source)?;
    let Some(user) = given.take("user") else {
        return Err(Problem::Form("names no user; write postgres://user:password@host/dbname"));
    };
    let parameters = Parameters {
        hosts,
        password: given.take_bytes("password"),
        dbname: given.take("dbname").unwrap_or_else(|| user.clone()),
        user,
        tls,
        channel_binding: one_of(
            given,
            "channel_binding",
            &[
                ("prefer", ChannelBinding::Prefer),
                ("disable", ChannelBinding::Disable),
                ("require", ChannelBinding::Require),
            ],
        )?,
        methods: match given.take("require_auth") {
            None => Methods::ANY,
            Some(list) => Methods::parse(&list).map_err(|why| Problem::parameter("require_auth", why))?,
        },
        target_session_attrs: one_of(
            given,
            "target_session_attrs",
            &[
                ("any", TargetSessionAttrs::Any),
                ("read-write", TargetSessionAttrs::ReadWrite),
                ("read-only", TargetSessionAttrs::ReadOnly),
                ("primary", TargetSessionAttrs::Primary),
                ("standby", TargetSessionAttrs::Standby),
                ("prefer-standby", TargetSessionAttrs::PreferStandby),
            ],
        )?,
        load_balance_hosts: one_of(
            given,
            "load_balance_hosts",
            &[("disable", LoadBalanceHosts::Disable), ("random", LoadBalanceHosts::Random)],
        )?,
        connect_timeout: seconds(given, "connect_timeout")?.unwrap_or(CONNECT_TIMEOUT),
        keepalives: keepalives(given)?,
        tcp_user_timeout: number(given, "tcp_user_timeout")?.map(Duration::from_millis),
        settings: options::parse(&given.take("options").unwrap_or_default())?,
        allowed_hosts: AllowedHosts::default(),
    };
    match given.left() {
        None => Ok(parameters),
        Some(name) => Err(Problem::parameter(name, "it isn't supported here; remove it")),
    }
}

/// Parameters that are right in one value and wrong in another, and leave nothing behind.
fn accept(given: &mut Given) -> Result<(), Problem> {
    // Ours is shown instead: a successor finds an old backend by it.
    given.take("application_name");
    given.take("fallback_application_name");
    let mut only = |name: &'static str, right: &[&str], why: &str| match given.take(name) {
        Some(value) if !right.contains(&value.to_ascii_lowercase().as_str()) => Err(Problem::parameter(name, why)),
        _ => Ok(()),
    };
    only("client_encoding", &["utf8", "utf-8", "unicode", "auto"], "sessions are UTF-8; write UTF8 or remove it")?;
    only("gssencmode", &["disable", "prefer"], "encryption by Kerberos isn't supported; use sslmode")?;
    only("gssdelegation", &["0"], "Kerberos isn't supported; remove it")?;
    only("sslcompression", &["0"], "TLS compression isn't supported, being unsafe; remove it")?;
    only("min_protocol_version", &["3.0"], "version 3.0 of the protocol is spoken; write 3.0 or remove it")?;
    only("max_protocol_version", &["3.0", "3.2", "latest"], "the versions are 3.0, 3.2 and latest")
}

/// What the string says about TLS.
fn read_tls(given: &mut Given) -> Result<tls::Asked, Problem> {
    let mode = match given.take("sslmode").as_deref() {
        None => None,
        Some("allow") => {
            return Err(Problem::parameter(
                "sslmode",
                "allow, which begins without TLS, isn't supported; use prefer, or better require or verify-full",
            ));
        }
        Some(word) => Some(TlsMode::from_str(word).map_err(|()| {
            Problem::parameter("sslmode", "the modes are disable, prefer, require, verify-ca and verify-full")
        })?),
    };
    // libpq: sslmode has the last word over requiressl.
    let required = one_of(given, "requiressl", &[("0", None), ("1", Some(TlsMode::Require))])?;
    let system_roots = match given.take("sslrootcert").as_deref() {
        None => false,
        Some("system") => true,
        Some(_) => {
            return Err(Problem::parameter(
                "sslrootcert",
                "it names a file, and a connection reads none; give the CA by tls.caSecretRef, or write system",
            ));
        }
    };
    let versions = [
        ("TLSv1", ProtocolVersion::Older),
        ("TLSv1.1", ProtocolVersion::Older),
        ("TLSv1.2", ProtocolVersion::Tls12),
        ("TLSv1.3", ProtocolVersion::Tls13),
    ];
    let min_version = version(given, "ssl_min_protocol_version", &versions)?.unwrap_or(ProtocolVersion::Tls12);
    let max_version = version(given, "ssl_max_protocol_version", &versions)?.unwrap_or(ProtocolVersion::Tls13);
    if max_version == ProtocolVersion::Older {
        return Err(Problem::parameter("ssl_max_protocol_version", "versions below TLSv1.2 aren't supported"));
    }
    if min_version > max_version {
        return Err(Problem::parameter("ssl_min_protocol_version", "it is above ssl_max_protocol_version"));
    }
    let offer_client_certificate = match given.take("sslcertmode").as_deref() {
        None | Some("allow") => true,
        Some("disable") => false,
        Some("require") => {
            return Err(Problem::parameter(
                "sslcertmode",
                "whether the server asks for a certificate can't be seen; write clientcert in its pg_hba.conf and remove it",
            ));
        }
        Some(_) => return Err(Problem::parameter("sslcertmode", "the modes are allow and disable")),
    };
    Ok(tls::Asked {
        mode: mode.or(required),
        system_roots,
        direct: one_of(given, "sslnegotiation", &[("postgres", false), ("direct", true)])?,
        sni: one_of(given, "sslsni", &[("1", true), ("0", false)])?,
        min_version,
        max_version,
        offer_client_certificate,
    })
}

fn version(
    given: &mut Given,
    name: &'static str,
    versions: &[(&'static str, ProtocolVersion)],
) -> Result<Option<ProtocolVersion>, Problem> {
    let Some(value) = given.take(name) else { return Ok(None) };
    versions
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(&value))
        .map(|(_, version)| Some(*version))
        .ok_or_else(|| Problem::parameter(name, "the versions are TLSv1.2 and TLSv1.3"))
}

/// One of a few words; the first is the default.
fn one_of<T: Copy>(given: &mut Given, name: &'static str, words: &[(&str, T)]) -> Result<T, Problem> {
    let value = given.take(name);
    words.iter().find(|(word, _)| value.as_deref().is_none_or(|value| value == *word)).map(|(_, it)| *it).ok_or_else(
        || {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Problem::parameter(name, format!("the values are {}", words.join(", ")))
        },
    )
}

/// A whole number as libpq reads it; zero and negative ones mean the default.
fn number(given: &mut Given, name: &'static str) -> Result<Option<u64>, Problem> {
    let Some(value) = given.take(name) else { return Ok(None) };
    let number: i32 =
        value.trim().parse().map_err(|_| Problem::parameter(name, "it isn't a whole number of 32 bits"))?;
    Ok(u64::try_from(number).ok().filter(|it| *it > 0))
}

fn seconds(given: &mut Given, name: &'static str) -> Result<Option<Duration>, Problem> {
    number(given, name).map(|it| it.map(Duration::from_secs))
}

fn keepalives(given: &mut Given) -> Result<Option<Keepalives>, Problem> {
    let default = Keepalives::default();
    let keepalives = Keepalives {
        idle: seconds(given, "keepalives_idle")?.unwrap_or(default.idle),
        interval: seconds(given, "keepalives_interval")?.unwrap_or(default.interval),
        count: number(given, "keepalives_count")?.and_then(|it| u32::try_from(it).ok()).unwrap_or(default.count),
    };
    // The kernel refuses more than these (tcp(7)), and would do so on every connect.
    let longest = Duration::from_secs(32_767);
    for (name, over) in [
        ("keepalives_idle", keepalives.idle > longest),
        ("keepalives_interval", keepalives.interval > longest),
        ("keepalives_count", keepalives.count > 127),
    ] {
        if over {
            return Err(Problem::parameter(name, "it is more than the system allows"));
        }
    }
    Ok(one_of(given, "keepalives", &[("1", true), ("0", false)])?.then_some(keepalives))
}

/// Hosts, addresses and ports, which go together by their place in the lists.
fn hosts(given: &mut Given, source: Source) -> Result<Vec<Host>, Problem> {
    let hosts = given.take("host");
    let addresses = given.take("hostaddr");
    let ports = given.take("port").unwrap_or_default();
    let Some(leading) = hosts.as_deref().or(addresses.as_deref()) else {
        return Err(Problem::Form("names no host; write postgres://user:password@host/dbname"));
    };
    let count = leading.split(',').count();
    if count > MAX_HOSTS {
        return Err(Problem::parameter("host", format!("there are more than {MAX_HOSTS}")));
    }
    let names: Vec<&str> = hosts.as_deref().map_or_else(|| vec![""; count], |it| it.split(',').collect());
    let addresses: Vec<&str> = addresses.as_deref().map_or_else(|| vec![""; count], |it| it.split(',').collect());
    if addresses.len() != count {
        return Err(Problem::parameter("hostaddr", "there aren't as many as there are hosts"));
    }
    let ports: Vec<&str> = ports.split(',').collect();
    if ports.len() != 1 && ports.len() != count {
        return Err(Problem::parameter("port", "there must be one, or as many as there are hosts"));
    }
    (0..count)
        .map(|at| {
            let port = port(ports.get(at).or(ports.first()).copied().unwrap_or_default())?;
            Ok(Host { address: address(names[at].trim(), addresses[at].trim(), source)?, port })
        })
        .collect()
}

fn address(name: &str, address: &str, source: Source) -> Result<Address, Problem> {
    if name.starts_with(['/', '@']) {
        return match source {
            Source::Operator => {
                Err(Problem::parameter("host", "Unix sockets are not for the operator; give a host that it can reach"))
            }
            Source::CommandLine if name.starts_with('/') => Ok(Address::Socket(PathBuf::from(name))),
            Source::CommandLine => Err(Problem::parameter("host", "abstract Unix sockets aren't supported")),
        };
    }
    // What a name can't hold is most often a password whose `@` or `/` wasn't encoded: better said than looked up.
    if name.len() > 255 || name.contains(|it: char| it.is_whitespace() || it.is_control() || "/@?#%\\\"'".contains(it))
    {
        return Err(Problem::parameter(
            "host",
            "it holds a character that no host has; in a URL, write / : @ ? # % of user and password as %2F %3A %40 %3F %23 %25",
        ));
    }
    match (name, address) {
        ("", "") => Err(Problem::parameter("host", "one of them is empty; there is no default")),
        (name, "") => Ok(Address::Name(name.to_owned())),
        (name, address) => {
            let ip: IpAddr =
                address.parse().map_err(|_| Problem::parameter("hostaddr", "it isn't an IPv4 or IPv6 address"))?;
            Ok(Address::Known { name: if name.is_empty() { ip.to_string() } else { name.to_owned() }, ip })
        }
    }
}

fn port(text: &str) -> Result<u16, Problem> {
    match text.trim() {
        "" => Ok(5432),
        text => text
            .parse()
            .ok()
            .filter(|it| *it != 0)
            .ok_or_else(|| Problem::parameter("port", "it isn't a number from 1 to 65535")),
    }
}
