//! A node of the cluster as far as the API server needs one to answer for the log of a pod: a kubelet's `containerLogs`,
//! over TLS, with what tests say that the pod has written.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Client,
    api::{Api, DeleteParams, PostParams},
};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use serde_json::json;

/// A node that the API server knows.
pub struct Kubelet {
    name: String,
    client: Client,
    written: Arc<Written>,
}

/// What pods have written, by namespace and name.
#[derive(Default)]
struct Written {
    lines: Mutex<HashMap<String, Vec<(Timestamp, String)>>>,
    more: Condvar,
}

impl Kubelet {
    /// Starts one, and tells the API server where it is. It answers until the process ends.
    pub async fn start(client: &Client, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let written = Arc::<Written>::default();
        let answering = Arc::clone(&written);
        std::thread::spawn(move || listen(&listener, &answering));
        let node = json!({
            "metadata": {"name": name},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            },
        });
        let node: Node = serde_json::from_value(node).expect("it is a node");
        let nodes: Api<Node> = Api::all(client.clone());
        nodes.create(&PostParams::default(), &node).await.expect("the node is made");
        Self { name: name.to_owned(), client: client.clone(), written }
    }

    /// A pod on it in which an operator is said to run.
    pub async fn operator_pod(&self, namespace: &str, name: &str) {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "dunlin"}},
            "spec": {"nodeName": self.name, "containers": [{"name": "operator", "image": "dunlin"}]},
        });
        let pod: Pod = serde_json::from_value(pod).expect("it is a pod");
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        pods.create(&PostParams::default(), &pod).await.expect("the pod is made");
    }

    /// The pod writes these lines, at a time.
    pub fn writes(&self, namespace: &str, pod: &str, at: Timestamp, text: &str) {
        let mut lines = self.written.lines.lock().expect("nobody panics with it");
        let lines = lines.entry(format!("{namespace}/{pod}")).or_default();
        lines.extend(text.lines().map(|line| (at, line.to_owned())));
        self.written.more.notify_all();
    }

    /// Takes the node away.
    pub async fn end(self) {
        let nodes: Api<Node> = Api::all(self.client);
        nodes.delete(&self.name, &DeleteParams::default()).await.expect("the node is deleted");
    }
}

fn listen(listener: &TcpListener, written: &Arc<Written>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("key and certificate fit");
    let config = Arc::new(config);
    for stream in listener.incoming().flatten() {
        let (config, written) = (Arc::clone(&config), Arc::clone(written));
        // Whoever asks may go away at any time.
        std::thread::spawn(move || drop(answer(stream, config, &written)));
    }
}

fn answer(mut stream: TcpStream, config: Arc<ServerConfig>, written: &Written) -> std::io::Result<()> {
    let mut session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && tls.read(&mut byte)? == 1 {
        request.extend(byte);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut path = path.trim_start_matches("/containerLogs/").split('/');
    let pod = format!("{}/{}", path.next().unwrap_or_default(), path.next().unwrap_or_default());
    let query: HashMap<&str, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key, value.replace("%3A", ":")))
        .collect();
    let since: Option<Timestamp> = query.get("sinceTime").map(|since| since.parse().expect("a time"));
    assert_eq!(query.get("timestamps").map(String::as_str), Some("true"), "{request}");
    tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")?;
    let mut said = 0;
    loop {
        let lines: Vec<(Timestamp, String)> = {
            let mut lines = written.lines.lock().expect("nobody panics with it");
            while query.contains_key("follow") && lines.get(&pod).is_none_or(|lines| lines.len() == said) {
                lines = written.more.wait(lines).expect("nobody panics with it");
            }
            lines.get(&pod).map(|lines| lines[said..].to_vec()).unwrap_or_default()
        };
        said += lines.len();
        for (at, line) in lines.iter().filter(|(at, _)| since.is_none_or(|since| *at >= since)) {
            tls.write_all(format!("{at:.9} {line}\n").as_bytes())?;
        }
        tls.flush()?;
        if !query.contains_key("follow") {
            tls.conn.send_close_notify();
            return tls.flush();
        }
    }
}
