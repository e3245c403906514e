//! Whose certificates a hook's request trusts, and what it means when one isn't trusted.

use std::{io, sync::Arc};

use rustls::{CertificateError, ClientConfig, crypto::ring};

use crate::database::tls::system_roots;

/// Where it says how to trust further authorities.
const HOW: &str = "have whoever runs the operator add the authority that signed it to those that it trusts \
                   (SSL_CERT_DIR or SSL_CERT_FILE in its environment)";

/// Certificates are checked against those of [`system_roots`].
///
/// # Errors
/// There are none.
pub(super) fn config() -> Result<ClientConfig, String> {
    let roots = system_roots().map_err(|why| {
        format!(
            "the operator trusts no certificate to check its host's with ({why}): have whoever runs it name a file of \
             them by SSL_CERT_FILE in its environment"
        )
    })?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Why a certificate is refused, and what to do; None for whatever else can happen to a connection, and may pass.
pub(super) fn refusal(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(problem) => Some(meaning(problem)),
        _ => None,
    }
}

fn meaning(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("its certificate isn't signed by an authority that the operator trusts: {HOW}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate isn't valid yet: check its dates, and the clocks".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host: ask it by a name that the certificate has, or have it renewed with this one"
                .to_owned()
        }
        other => format!("its certificate can't be used ({other}): have it renewed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_is_told_from_what_may_pass() {
        for (problem, says) in [
            (CertificateError::UnknownIssuer, "SSL_CERT_DIR or SSL_CERT_FILE"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidYet, "isn't valid yet"),
            (CertificateError::NotValidForName, "for another host"),
            (CertificateError::Revoked, "can't be used"),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(problem.clone()));
            let why = refusal(&error).unwrap_or_else(|| panic!("{problem:?} may pass"));
            assert!(why.contains(says), "{problem:?}: {why}");
        }
        for passing in [io::Error::from(io::ErrorKind::UnexpectedEof), io::Error::other(rustls::Error::DecryptError)] {
            assert_eq!(refusal(&passing), None, "{passing}");
        }
    }
}
