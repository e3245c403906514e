//! Hooks of the kind `http` whose URL is https: whose certificates are trusted, and what is said where one isn't.

use std::sync::Arc;

use dunlin::api::v1alpha1::MigrationSet;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::{
    going::{ORDERS, USERS},
    hooks::{Heard, serve},
    line::applied,
    process::OperatorProcess,
    shop::{Shop, message},
    support::kubernetes,
};

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("it signs itself").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// What a server needs that shows a certificate for a name.
    fn certifies(&self, name: &str) -> TlsAcceptor {
        let own = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("it is a name");
        let signed = params.signed_by(&own, &self.issuer).expect("it is signed");
        let key = PrivateKeyDer::from_pem_slice(own.serialize_pem().as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], key)
            .expect("key and certificate fit");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A server that answers well, under TLS, and the URL of its hook.
async fn server(tls: TlsAcceptor) -> (String, Heard) {
    let (address, heard) = serve(vec![("200 OK", "")], Some(tls)).await;
    (format!("https://{address}/hook?token=secret"), heard)
}

fn count(heard: &Heard) -> usize {
    heard.lock().expect("nobody panicked").len()
}

/// An operator that finds certificates where these variables say.
fn operator(shop: &Shop, variables: &[(&str, &str)]) -> OperatorProcess {
    OperatorProcess::start_in(kubernetes().kubeconfig(), &shop.namespace, &[], variables)
}

/// What the set says when a hook of that place and URL has failed for that.
async fn failed(shop: &Shop, place: &str, url: &str, says: &str) -> MigrationSet {
    let address = url.split('?').next().unwrap_or_default();
    let words = format!("spec.hooks.{place}[0] ({address}) failed: {says}");
    let set = shop.until_that("shop", &words, |set| message(set).contains(&words)).await;
    assert!(!message(&set).contains("secret"), "{}", message(&set));
    set
}

/// M26, M27: a server is asked whose certificate an authority signed that the operator's environment names; to another one
/// nothing is sent, and the hook fails at once, saying what to do. After a plan, that undoes none of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_over_https_when_its_certificate_is_trusted() {
    let (known, stranger) = (Authority::new("Known"), Authority::new("Stranger"));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("known.crt"), &known.pem).expect("the folder takes a file");
    let directories = format!("/etc/ssl/certs:{}", folder.path().display());
    let (trusted, heard) = server(known.certifies("127.0.0.1")).await;
    let (untrusted, of_stranger) = server(stranger.certifies("127.0.0.1")).await;
    let (misnamed, of_another) = server(known.certifies("ci.example.org")).await;
    let hook = |place: &str, url: &str| json!({"hooks": {place: [{"http": {"url": url}}]}});

    let shop = Shop::closed().await;
    shop.files("sql", &[USERS]).await;
    let running = operator(&shop, &[("SSL_CERT_DIR", &directories)]);
    shop.apply(hook("preApply", &untrusted)).await;
    let says =
        "its certificate isn't signed by an authority that the operator trusts: have whoever runs the operator add";
    failed(&shop, "preApply", &untrusted, says).await;
    shop.apply(hook("preApply", &misnamed)).await;
    failed(&shop, "preApply", &misnamed, "its certificate is for another host").await;
    assert_eq!(shop.ask("SELECT to_regclass('users')").await, "NULL");
    shop.apply(hook("preApply", &trusted)).await;
    shop.until("UpToDate").await;
    assert_eq!(count(&heard), 1);

    shop.apply(hook("postApply", &untrusted)).await;
    shop.until("UpToDate").await;
    shop.files("sql", &[USERS, ORDERS]).await;
    let set = failed(&shop, "postApply", &untrusted, says).await;
    assert!(message(&set).contains("none of them runs again"), "{}", message(&set));
    assert_eq!(applied(&set), 2, "what is applied is applied");
    assert_eq!((count(&of_stranger), count(&of_another)), (0, 0), "nothing was sent to them");
    assert!(!running.log().contains("token"), "{}", running.log());
    running.end().await;
    shop.close().await;
}

/// An operator that trusts nobody says so, and which file it looked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_without_trusted_certificates_says_where_it_looked() {
    let (url, heard) = server(Authority::new("Any").certifies("127.0.0.1")).await;
    let shop = Shop::closed().await;
    shop.files("sql", &[USERS]).await;
    let nowhere = "/nowhere/ca.crt";
    let running = operator(&shop, &[("SSL_CERT_FILE", nowhere)]);
    shop.apply(json!({"hooks": {"preApply": [{"http": {"url": url}}]}})).await;
    let set = failed(&shop, "preApply", &url, "the operator trusts no certificate to check its host's with").await;
    assert!(message(&set).contains(nowhere) && message(&set).contains("SSL_CERT_FILE"), "{}", message(&set));
    assert_eq!(count(&heard), 0);
    running.end().await;
    shop.close().await;
}
