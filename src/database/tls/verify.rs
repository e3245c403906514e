//! Checks a server's certificate as libpq does, where rustls's own verifier is stricter than PostgreSQL's users expect:
//! a self-signed certificate that is given as its own CA is trusted, and a certificate without any subjectAltName may
//! carry the host as its common name (PostgreSQL 18 manual, 18.9.5 and 32.19.1). The rest is webpki's.
//!
//! The signature on the handshake is verified in every mode, `require` without a CA too: else somebody in the middle
//! could show the true server's certificate without having its key, and channel binding would prove nothing.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::ParsedCertificate,
};
use x509_cert::{
    Certificate,
    der::{Decode, Encode, oid::db::rfc4519::COMMON_NAME, oid::db::rfc5912::ID_CE_SUBJECT_ALT_NAME},
};

use super::Check;

/// Checks the server by one of the modes.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    check: Check,
    roots: RootCertStore,
    /// The certificates of `roots`, if they were given: a server may show one of them itself.
    given: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn trusting(provider: &Arc<CryptoProvider>) -> Self {
        Self::new(Check::Nothing, RootCertStore::empty(), Vec::new(), provider)
    }

    pub(super) fn new(
        check: Check,
        roots: RootCertStore,
        given: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        Self { check, roots, given, algorithms: provider.signature_verification_algorithms }
    }

    fn verify_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.given.iter().any(|it| it == end_entity) {
            return verify_dates(&parse(end_entity)?, now);
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, self.algorithms.all)
    }

    fn verify_name(&self, end_entity: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        if !self.given.is_empty() {
            let certificate = parse(end_entity)?;
            if !has_alternative_names(&certificate) {
                return verify_common_name(&certificate, name);
            }
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check {
            Check::Nothing => {}
            Check::Chain => self.verify_chain(end_entity, intermediates, now)?,
            Check::ChainAndName => {
                self.verify_chain(end_entity, intermediates, now)?;
                self.verify_name(end_entity, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // webpki doesn't parse a certificate of version 1, which `openssl x509 -req` of the manual's example made until
        // lately. Its key is as good, and all that the modes without a check need.
        let key = parse(certificate)
            .ok()
            .filter(|it| it.tbs_certificate.version != x509_cert::Version::V3)
            .and_then(|it| it.tbs_certificate.subject_public_key_info.to_der().ok());
        match key {
            Some(key) => {
                let key = SubjectPublicKeyInfoDer::from(key);
                verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
            }
            None => verify_tls13_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether it can be read at all.
pub(super) fn is_certificate(certificate: &CertificateDer<'_>) -> bool {
    parse(certificate).is_ok()
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|error| CertificateError::Other(OtherError(Arc::new(error))).into())
}

fn verify_dates(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    let validity = &certificate.tbs_certificate.validity;
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

fn has_alternative_names(certificate: &Certificate) -> bool {
    certificate.tbs_certificate.extensions.iter().flatten().any(|it| it.extn_id == ID_CE_SUBJECT_ALT_NAME)
}

/// The last common name of the subject, as libpq takes it; a wildcard is the whole leftmost label.
fn verify_common_name(certificate: &Certificate, name: &ServerName<'_>) -> Result<(), Error> {
    let attributes = certificate.tbs_certificate.subject.0.iter().flat_map(|it| it.0.iter());
    let common_name = attributes
        .filter(|it| it.oid == COMMON_NAME)
        .filter_map(|it| std::str::from_utf8(it.value.value()).ok())
        .next_back()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let wanted = name.to_str().to_ascii_lowercase();
    let wanted = wanted.trim_end_matches('.');
    let matches = match common_name.strip_prefix("*.") {
        Some(parent) => {
            let is_name = matches!(name, ServerName::DnsName(_));
            is_name && parent.contains('.') && wanted.split_once('.').is_some_and(|(_, rest)| rest == parent)
        }
        None => !common_name.is_empty() && common_name == wanted,
    };
    if matches { Ok(()) } else { Err(CertificateError::NotValidForName.into()) }
}
