//! The rustls configuration of one connection, and what its errors mean in the words of somebody who can act on them.

use std::{error::Error, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, InconsistentKeys, RootCertStore, SupportedProtocolVersion,
    crypto::CryptoProvider,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{Check, Identity, ProtocolVersion, Roots, Tls, TlsError, verify::ServerVerifier};

/// ring, given by hand: no process-wide default is needed, and none can change what happens here.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes the configuration. May read the operating system's trusted certificates.
///
/// # Errors
///
/// Says why the server can't be checked.
pub(in crate::database) fn client_config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = provider();
    let verifier = match (tls.check, &tls.roots) {
        (Check::Nothing, _) => ServerVerifier::trusting(&provider),
        (check, Roots::Given(certificates)) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            ServerVerifier::new(check, roots, certificates.to_vec(), &provider)
        }
        (check, Roots::System) => {
            let roots = system_roots().map_err(|_| NO_ROOTS.to_owned())?;
            ServerVerifier::new(check, roots, Vec::new(), &provider)
        }
    };
    let versions: Vec<&'static SupportedProtocolVersion> =
        [(ProtocolVersion::Tls12, &TLS12), (ProtocolVersion::Tls13, &TLS13)]
            .into_iter()
            .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version))
            .map(|(_, supported)| supported)
            .collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = certified(identity, &provider).map_err(|error| error.to_string())?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    };
    config.enable_sni = tls.sni;
    if tls.direct {
        // A server refuses direct negotiation without it (PostgreSQL 18 manual, 54.2.11).
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

const NO_ROOTS: &str = "the operating system has no trusted certificates to check the server's with; \
                        give the CA by tls.caSecretRef (by hand: sslrootcert)";

/// Whom the operating system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` name. They are read anew each time, so that a file
/// which changes counts at once.
///
/// # Errors
/// There are none: why, as far as the system says.
pub fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let why: Vec<String> = found.errors.iter().take(3).map(ToString::to_string).collect();
    Err(if why.is_empty() { "none is there".to_owned() } else { why.join("; ") })
}

fn certified(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, rustls::Error> {
    let key = provider.key_provider.load_private_key(identity.key.clone_key())?;
    Ok(CertifiedKey::new(identity.chain.clone(), key))
}

/// Whether certificate and key belong together.
pub(super) fn check_identity(identity: &Identity) -> Result<(), TlsError> {
    let problem = match certified(identity, &provider()).map(|it| it.keys_match()) {
        Err(_) => "the private key that goes with it is of a kind that isn't supported; use RSA, ECDSA or Ed25519",
        Ok(Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch))) => {
            "the private key given with it belongs to another certificate"
        }
        Ok(_) => return Ok(()),
    };
    Err(TlsError::Pem { from: identity.from.clone(), problem })
}

/// What a TLS error among an error's causes means, and what to do; None if there is none.
pub(in crate::database) fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(meaning(tls));
        }
        // An `io::Error` hides the error that it was made of from `source`.
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(tls) = inner.downcast_ref::<rustls::Error>()
        {
            return Some(meaning(tls));
        }
        next = error.source();
    }
    None
}

fn meaning(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(problem) => certificate(problem),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server asks for a client certificate; give it by tls.clientSecretRef (by hand: sslcert and sslkey)"
                .to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate),
        ) => format!(
            "the server refuses the client certificate ({alert:?}); give another by tls.clientSecretRef (by hand: sslcert and sslkey)"
        ),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => {
            format!(
                "the server and Dunlin have no version or cipher of TLS in common; enable TLS 1.2 or 1.3 there ({error})"
            )
        }
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server doesn't speak PostgreSQL behind sslnegotiation=direct; remove that parameter".to_owned()
        }
        rustls::Error::InvalidMessage(_) => "what answers there doesn't speak TLS; check host and port".to_owned(),
        other => other.to_string(),
    }
}

fn certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            "the server's certificate isn't signed by a trusted CA; give the CA that signed it by tls.caSecretRef (by hand: sslrootcert)"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired; renew it".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate isn't valid yet; check its dates, and the clocks".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => format!(
            "the server's certificate is for {}, not for this host; connect by a name that it carries, or renew it for this one",
            presented.iter().take(5).map(|name| plain(name)).collect::<Vec<_>>().join(", ")
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate isn't for this host; renew it with the host as a subjectAltName".to_owned()
        }
        CertificateError::Revoked => "the server's certificate is revoked; renew it".to_owned(),
        // Authorities are looked up by name: a new one of the same name is the usual cause.
        CertificateError::BadSignature => {
            "the server's certificate isn't signed by the trusted CA of that name; give the CA that signed it by tls.caSecretRef (by hand: sslrootcert)"
                .to_owned()
        }
        other => {
            // rustls has no variants of its own for these.
            let text = format!("{other:?}");
            if text.contains("UnsupportedCertVersion") {
                "the server's certificate is of X.509 version 1, which can't be checked; make it anew with a subjectAltName"
                    .to_owned()
            } else if text.contains("CaUsedAsEndEntity") {
                "the server shows the certificate of a CA as its own; give that very certificate by tls.caSecretRef (by hand: sslrootcert), or issue one for the server"
                    .to_owned()
            } else {
                format!("the server's certificate can't be used ({other})")
            }
        }
    }
}

/// Names out of a stranger's certificate, as a message may show them.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(100).collect()
}
