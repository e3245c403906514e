//! libpq's TLS modes on rustls: what was asked for, what that comes to, and the configuration that does it.
//!
//! What a URL or a spec asks for is never weakened: of two the stricter counts, and a handshake that fails is an error
//! also under `prefer`, which goes without TLS only when the server says that it has none.

mod client;
mod verify;

use std::{fmt, sync::Arc};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

pub use client::system_roots;
pub(super) use client::{client_config, explain};

pub use crate::core::reference::TlsMode;

/// What the spec says about TLS, its references resolved. `Default` says nothing.
#[derive(Clone, Default)]
pub struct TlsInput {
    /// `tls.mode`.
    pub mode: Option<TlsMode>,
    /// What `tls.caSecretRef` refers to: one or more certificates.
    pub ca: Option<Pem>,
    /// What `tls.clientSecretRef` refers to.
    pub client: Option<ClientPem>,
}

/// PEM text, and where it is from.
#[derive(Clone)]
pub struct Pem {
    /// For errors: `key ca.crt of Secret shop-db-ca`.
    pub from: String,
    /// The text.
    pub bytes: Vec<u8>,
}

/// A client's certificate with the chain above it, and its unencrypted key.
#[derive(Clone)]
pub struct ClientPem {
    /// `tls.crt`.
    pub certificate: Pem,
    /// `tls.key`.
    pub key: Pem,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("from", &self.from).field("bytes", &format_args!("…")).finish()
    }
}

impl fmt::Debug for TlsInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, ca, client } = self;
        f.debug_struct("TlsInput")
            .field("mode", mode)
            .field("ca", ca)
            .field("client", &client.as_ref().map(|it| &it.certificate))
            .finish()
    }
}

/// What is wrong with TLS settings before any connection is tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key that can't be read.
    #[error("{from}: {problem}")]
    Pem {
        /// Which.
        from: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Settings that contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// What a connection string says about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a parameter of libpq's with two values")]
pub struct Asked {
    /// `sslmode`.
    pub mode: Option<TlsMode>,
    /// `sslrootcert=system`.
    pub system_roots: bool,
    /// `sslnegotiation=direct`.
    pub direct: bool,
    /// `sslsni`.
    pub sni: bool,
    /// `ssl_min_protocol_version`.
    pub min_version: ProtocolVersion,
    /// `ssl_max_protocol_version`.
    pub max_version: ProtocolVersion,
    /// `sslcertmode` isn't `disable`.
    pub offer_client_certificate: bool,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtocolVersion {
    /// 1.0 and 1.1, which are never spoken.
    Older,
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// TLS as it will be done. There is no `Debug`: it holds a key.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) mode: TlsMode,
    pub(super) check: Check,
    pub(super) roots: Roots,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) direct: bool,
    pub(super) sni: bool,
    pub(super) min_version: ProtocolVersion,
    pub(super) max_version: ProtocolVersion,
}

/// What is checked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

/// Whose signature counts.
#[derive(Clone)]
pub(super) enum Roots {
    System,
    Given(Arc<[CertificateDer<'static>]>),
}

/// The client's certificate, the chain above it, and its key.
pub(super) struct Identity {
    pub(super) from: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Who says which certificates are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authority {
    Nobody,
    Given,
    System,
}

impl Tls {
    /// Resolves what a connection string and a spec ask for, and reads certificates and key.
    pub(super) fn resolve(asked: Asked, input: &TlsInput) -> Result<Self, TlsError> {
        let authority = match (asked.system_roots, &input.ca) {
            (true, Some(_)) => {
                return Err(TlsError::Contradiction(
                    "sslrootcert=system in the URL and tls.caSecretRef name two sets of trusted certificates; keep one",
                ));
            }
            (true, None) => Authority::System,
            (false, Some(_)) => Authority::Given,
            (false, None) => Authority::Nobody,
        };
        let (mode, check) = resolve_mode(asked.mode, input.mode, authority)?;
        if asked.direct && mode < TlsMode::Require {
            return Err(TlsError::Contradiction(
                "sslnegotiation=direct needs sslmode (or tls.mode) require, verify-ca or verify-full",
            ));
        }
        let identity = input.client.as_ref().map(Identity::read).transpose()?;
        if identity.is_some() && mode == TlsMode::Disable {
            return Err(TlsError::Contradiction(
                "a client certificate is given by tls.clientSecretRef (by hand: sslcert), and TLS is disabled; use mode require or stricter, or remove it",
            ));
        }
        if identity.is_some() && !asked.offer_client_certificate {
            return Err(TlsError::Contradiction(
                "a client certificate is given by tls.clientSecretRef (by hand: sslcert), and the URL says sslcertmode=disable; remove one",
            ));
        }
        let roots = match &input.ca {
            Some(pem) => Roots::Given(certificates(pem)?.into()),
            None => Roots::System,
        };
        Ok(Self {
            mode,
            check,
            roots,
            identity: identity.map(Arc::new),
            direct: asked.direct,
            sni: asked.sni,
            min_version: asked.min_version.max(ProtocolVersion::Tls12),
            max_version: asked.max_version,
        })
    }
}

/// The rule: both silent, `prefer`, or with trusted certificates given `verify-full`; one speaks, what it says; both
/// speak, the stricter.
///
/// `require` (and `prefer`, when the server has TLS) with a CA checks the chain, as libpq does for compatibility
/// (manual, 32.19.1). `verify-ca` without a CA would take anybody's public certificate, which libpq refuses for
/// `sslrootcert=system`: the name is checked then too.
fn resolve_mode(
    url: Option<TlsMode>,
    spec: Option<TlsMode>,
    authority: Authority,
) -> Result<(TlsMode, Check), TlsError> {
    if authority == Authority::System && url.is_some_and(|it| it < TlsMode::VerifyFull) {
        return Err(TlsError::Contradiction("sslrootcert=system needs sslmode=verify-full; remove the weaker sslmode"));
    }
    if authority == Authority::Given && spec.is_none() && url == Some(TlsMode::Disable) {
        return Err(TlsError::Contradiction(
            "the URL says sslmode=disable, and a CA is given by tls.caSecretRef (by hand: sslrootcert); remove one, or say which counts by tls.mode (by hand: sslmode)",
        ));
    }
    let said = match (url, spec) {
        (Some(url), Some(spec)) => Some(url.max(spec)),
        (one, other) => one.or(other),
    };
    let mode = match (said, authority) {
        (_, Authority::System) | (None, Authority::Given) => TlsMode::VerifyFull,
        (Some(said), Authority::Given | Authority::Nobody) => said,
        (None, Authority::Nobody) => TlsMode::Prefer,
    };
    let check = match (mode, authority) {
        (TlsMode::Disable, _) | (TlsMode::Prefer | TlsMode::Require, Authority::Nobody | Authority::System) => {
            Check::Nothing
        }
        (TlsMode::Prefer | TlsMode::Require | TlsMode::VerifyCa, Authority::Given) => Check::Chain,
        (TlsMode::VerifyCa, Authority::Nobody | Authority::System) | (TlsMode::VerifyFull, _) => Check::ChainAndName,
    };
    Ok((mode, check))
}

impl Identity {
    fn read(pem: &ClientPem) -> Result<Self, TlsError> {
        let ClientPem { certificate, key } = pem;
        let problem = if contains(&key.bytes, b"ENCRYPTED") {
            "it holds an encrypted private key; store it unencrypted"
        } else {
            "it holds no private key in PEM form"
        };
        let parsed =
            PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|_| TlsError::Pem { from: key.from.clone(), problem })?;
        let identity = Self { from: certificate.from.clone(), chain: certificates(certificate)?, key: parsed };
        client::check_identity(&identity)?;
        Ok(identity)
    }
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem| TlsError::Pem { from: pem.from.clone(), problem };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem.bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("it can't be read as PEM"))?;
    if found.is_empty() {
        return Err(wrong("it holds no certificate in PEM form"));
    }
    if !found.iter().all(verify::is_certificate) {
        return Err(wrong("it holds a PEM section that is called a certificate and isn't one"));
    }
    Ok(found)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|it| it == part)
}

#[cfg(test)]
mod tests {
    use super::{Authority::*, Check::*, TlsMode::*, *};

    /// P19
    #[test]
    fn of_a_url_and_a_spec_the_stricter_counts() {
        #[rustfmt::skip]
        let table = [
            // URL, spec, who is trusted, what comes of it
            (None, None, Nobody, Some((Prefer, Nothing))),
            (None, None, Given, Some((VerifyFull, ChainAndName))),
            (None, None, System, Some((VerifyFull, ChainAndName))),
            (Some(Disable), None, Nobody, Some((Disable, Nothing))),
            (Some(Prefer), None, Nobody, Some((Prefer, Nothing))),
            (Some(Require), None, Nobody, Some((Require, Nothing))),
            (Some(VerifyCa), None, Nobody, Some((VerifyCa, ChainAndName))),
            (Some(VerifyFull), None, Nobody, Some((VerifyFull, ChainAndName))),
            (Some(Disable), None, Given, None),
            (Some(Prefer), None, Given, Some((Prefer, Chain))),
            (Some(Require), None, Given, Some((Require, Chain))),
            (Some(VerifyCa), None, Given, Some((VerifyCa, Chain))),
            (Some(VerifyFull), None, Given, Some((VerifyFull, ChainAndName))),
            (Some(Disable), None, System, None),
            (Some(Prefer), None, System, None),
            (Some(Require), None, System, None),
            (Some(VerifyCa), None, System, None),
            (Some(VerifyFull), None, System, Some((VerifyFull, ChainAndName))),
            (None, Some(Disable), Nobody, Some((Disable, Nothing))),
            (None, Some(Disable), Given, Some((Disable, Nothing))),
            (None, Some(Disable), System, Some((VerifyFull, ChainAndName))),
            (None, Some(Require), Given, Some((Require, Chain))),
            (None, Some(VerifyCa), Nobody, Some((VerifyCa, ChainAndName))),
            (None, Some(VerifyCa), Given, Some((VerifyCa, Chain))),
            (None, Some(VerifyFull), Given, Some((VerifyFull, ChainAndName))),
        ];
        for (url, spec, authority, expected) in table {
            assert_eq!(resolve_mode(url, spec, authority).ok(), expected, "{url:?} {spec:?} {authority:?}");
        }
        let all = [Disable, Prefer, Require, VerifyCa, VerifyFull];
        for url in all {
            for spec in all {
                for authority in [Nobody, Given] {
                    let (mode, _) = resolve_mode(Some(url), Some(spec), authority).unwrap();
                    assert_eq!(mode, url.max(spec), "{url} {spec}");
                }
            }
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let pem = Pem { from: "key ca.crt of Secret shop-db-ca".to_owned(), bytes: b"swordfish".to_vec() };
        let asked = Asked {
            mode: None,
            system_roots: false,
            direct: false,
            sni: true,
            min_version: ProtocolVersion::Tls12,
            max_version: ProtocolVersion::Tls13,
            offer_client_certificate: true,
        };
        let input = TlsInput { ca: Some(pem), ..TlsInput::default() };
        let error = Tls::resolve(asked, &input).err().unwrap().to_string();
        assert_eq!(error, "key ca.crt of Secret shop-db-ca: it holds no certificate in PEM form");
        assert!(!format!("{input:?}").contains("swordfish"));
    }
}
