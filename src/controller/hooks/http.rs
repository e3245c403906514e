//! A request of a hook: one POST, to an address that was looked at before it is connected to, and no redirect.
//!
//! Whoever writes a MigrationSet lets the operator's pod send it. Link-local addresses are never asked: clouds hand out
//! credentials there.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Map, Value as Json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::{quoted, trust};
use crate::{
    core::{
        endpoint::Endpoint,
        hook::{Fact, Value},
        hosts::AllowedHosts,
    },
    execute::HookCall,
};

/// The first pause before another try, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long an address may take to be connected to.
const CONNECT: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const ANSWER: usize = 1_024;

/// Whether what a server says with an answer that is no success may be seen by whoever sees the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// Whoever runs the operator has listed the hosts that it connects to.
    Shown,
    /// Any host may be asked, such as one whose answers are for the operator's place in the network alone.
    Hidden,
}

/// How one try ended, where it didn't succeed.
enum Missed {
    /// It may do better another time.
    Again(String),
    /// It won't.
    ForGood(String),
}

/// Sends the request until it is answered well, or it is certain that it won't be.
pub(super) async fn send(
    endpoint: &Endpoint,
    call: &HookCall<'_>,
    allowed: &AllowedHosts,
    deadline: Instant,
) -> Result<(), String> {
    let body = Bytes::from(body(call.facts));
    let mut pause = FIRST_PAUSE;
    let mut last = "there was no answer".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, once(endpoint, call.id, allowed, body.clone())).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Missed::ForGood(why))) => return Err(format!("({endpoint}) failed: {why}")),
            Ok(Err(Missed::Again(why))) => last = why,
            Err(_) => {}
        }
        if Instant::now() + pause >= deadline {
            let limit = call.hook.timeout;
            return Err(format!("({endpoint}) was tried for its time limit of {limit:?}: {last}"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The facts as one JSON object.
fn body(facts: &[Fact]) -> String {
    let value = |value: &Value| match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Number(number) => Json::from(*number),
        Value::List(list) => Json::from(list.as_slice()),
    };
    let fields: Map<String, Json> = facts.iter().map(|fact| (fact.name.to_owned(), value(&fact.value))).collect();
    Json::Object(fields).to_string()
}

async fn once(endpoint: &Endpoint, id: &str, allowed: &AllowedHosts, body: Bytes) -> Result<(), Missed> {
    let stream = connect(endpoint, allowed).await?;
    let words = if allowed.is_list() { Words::Shown } else { Words::Hidden };
    if !endpoint.tls {
        return exchange(endpoint, id, body, words, stream).await;
    }
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| Missed::ForGood("its host can't be the name of a certificate".to_owned()))?;
    let connector = TlsConnector::from(Arc::new(trust::config().map_err(Missed::ForGood)?));
    let stream = connector.connect(name, stream).await.map_err(|error| match trust::refusal(&error) {
        Some(why) => Missed::ForGood(why),
        None => Missed::Again(format!("the encrypted connection didn't come about: {error}")),
    })?;
    exchange(endpoint, id, body, words, stream).await
}

/// Connects to the first address that answers, of those that may be asked.
async fn connect(endpoint: &Endpoint, allowed: &AllowedHosts) -> Result<TcpStream, Missed> {
    let found = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    let found: Vec<SocketAddr> =
        found.map_err(|error| Missed::Again(format!("its host isn't found: {error}")))?.collect();
    let addresses = found.iter().map(SocketAddr::ip);
    allowed.admit(&endpoint.host, endpoint.port, addresses).map_err(|why| Missed::ForGood(why.to_string()))?;
    let askable: Vec<&SocketAddr> = found.iter().filter(|address| !is_forbidden(address.ip())).collect();
    let mut last = match found.first() {
        Some(_) if askable.is_empty() => {
            let why =
                "its host has a link-local address, or one at which clouds hand out credentials: no hook may ask it";
            return Err(Missed::ForGood(why.to_owned()));
        }
        Some(_) => "no address answers".to_owned(),
        None => "its host has no address".to_owned(),
    };
    for address in askable {
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("it can't be connected to: {error}"),
            Err(_) => last = format!("it can't be connected to within {CONNECT:?}"),
        }
    }
    Err(Missed::Again(last))
}

/// Addresses that no hook asks: of the link alone, of nobody, of many, and of the metadata services of clouds.
fn is_forbidden(address: IpAddr) -> bool {
    /// Alibaba's and Azure's.
    const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
    /// Amazon's.
    const METADATA_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
                || METADATA.contains(&address)
        }
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address == METADATA_6
        }
    }
}

async fn exchange(
    endpoint: &Endpoint,
    id: &str,
    body: Bytes,
    words: Words,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), Missed> {
    let again = |error: hyper::Error| Missed::Again(format!("there was no answer: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(again)?;
    let request = Request::post(&endpoint.target)
        .header(header::HOST, endpoint.authority())
        .header(header::USER_AGENT, concat!("dunlin/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", id)
        .body(Full::new(body))
        .map_err(|_| Missed::ForGood("its path can't be sent".to_owned()))?;
    let asking = async {
        let mut answer = sender.send_request(request).await.map_err(again)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        if words == Words::Hidden {
            return Err(judged(status, None));
        }
        let mut said = Vec::new();
        while let Some(Ok(frame)) = answer.body_mut().frame().await {
            said.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if said.len() >= ANSWER {
                break;
            }
        }
        Err(judged(status, Some(&quoted(&String::from_utf8_lossy(&said)))))
    };
    let mut connection = std::pin::pin!(connection);
    let mut asking = std::pin::pin!(asking);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut asking => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}

/// What an answer means that is no success, and what it says where that may be seen.
fn judged(status: StatusCode, said: Option<&str>) -> Missed {
    let mut why = format!("it answered {status}");
    if status.is_redirection() {
        why.push_str(", and no redirect is followed");
    }
    match said {
        None => {
            why.push_str("; its own log may say why (what it says is shown where the operator has --allowed-hosts)");
        }
        Some("") => {}
        Some(said) => {
            why.push_str(": ");
            why.push_str(said);
        }
    }
    let passing = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if status.is_server_error() || passing { Missed::Again(why) } else { Missed::ForGood(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_link_and_of_metadata_are_never_asked() {
        for (address, expected) in [
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("::ffff:169.254.169.254", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("100.100.100.200", true),
            ("168.63.129.16", true),
            ("0.0.0.0", true),
            ("::", true),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("10.0.0.1", false),
            ("fd00::1", false),
            ("93.184.216.34", false),
        ] {
            assert_eq!(is_forbidden(address.parse().expect(address)), expected, "{address}");
        }
    }

    #[test]
    fn an_answer_decides_whether_it_is_asked_again() {
        for (status, again) in
            [(500, true), (503, true), (429, true), (408, true), (404, false), (401, false), (302, false)]
        {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(matches!(judged(status, Some("")), Missed::Again(_)), again, "{status}");
        }
    }

    #[test]
    fn what_a_server_says_is_shown_only_where_that_may_be_seen() {
        let said = |shown| match judged(StatusCode::FORBIDDEN, shown) {
            Missed::Again(why) | Missed::ForGood(why) => why,
        };
        assert_eq!(said(Some("go away")), "it answered 403 Forbidden: go away");
        assert_eq!(said(Some("")), "it answered 403 Forbidden");
        assert!(said(None).starts_with("it answered 403 Forbidden; its own log may say why"), "{}", said(None));
    }

    #[test]
    fn a_body_is_the_facts_by_their_names() {
        let facts = [
            Fact { name: "hook", value: Value::Text("preApply".to_owned()) },
            Fact { name: "versions", value: Value::List(vec!["001".to_owned()]) },
            Fact { name: "run", value: Value::Number(7) },
        ];
        assert_eq!(body(&facts), r#"{"hook":"preApply","run":7,"versions":["001"]}"#);
    }
}
