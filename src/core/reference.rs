//! What a set refers to: the Secret of its database, and the ConfigMaps of its source.
//!
//! Names alone: a reference never holds what it refers to, so none of these types can leak a secret.

use std::collections::BTreeMap;

/// Where connection parameters are found. Everything is in the set's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DatabaseRef {
    /// The Secret's name.
    pub secret: String,
    /// Keys that the spec names; the others are found by convention.
    pub keys: SecretKeys,
    /// What the spec asks of TLS.
    pub tls: TlsRef,
}

/// Where the seeds of a set are, and whose of them it loads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeedsRef {
    /// The ConfigMaps' names, sorted.
    pub config_maps: Vec<String>,
    /// The environment whose seeds are loaded with those of all.
    pub environment: Option<String>,
}

/// Keys of the Secret, where the spec names them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SecretKeys {
    /// The key that holds a whole URL.
    pub uri: Option<String>,
    /// The key of the host.
    pub host: Option<String>,
    /// The key of the port.
    pub port: Option<String>,
    /// The key of the user.
    pub user: Option<String>,
    /// The key of the password.
    pub password: Option<String>,
    /// The key of the database's name.
    pub dbname: Option<String>,
}

/// What the spec asks of TLS. The URL may ask for more, never for less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsRef {
    /// The mode, if the spec names one.
    pub mode: Option<TlsMode>,
    /// The certificate authority to trust.
    pub ca: Option<SecretKey>,
    /// A Secret of type `kubernetes.io/tls` (`tls.crt`, `tls.key`) to present to the server.
    pub client_secret: Option<String>,
}

/// libpq's TLS modes, in order of strictness (PostgreSQL 18 manual, 32.19.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsMode {
    /// Never TLS.
    Disable,
    /// TLS where the server offers it.
    Prefer,
    /// TLS, with whatever certificate.
    Require,
    /// TLS, with a certificate of a trusted authority.
    VerifyCa,
    /// TLS, with a certificate of a trusted authority for this very host.
    VerifyFull,
}

/// One key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretKey {
    /// The Secret's name.
    pub secret: String,
    /// The key.
    pub key: String,
}

/// Where migration files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceRef {
    /// ConfigMaps by name: all of them, each name once.
    ConfigMaps(Vec<String>),
    /// Every ConfigMap of the namespace whose labels match.
    Selector(LabelSelector),
}

/// Labels that must match: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// What one label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// The label is there with one of the values.
    In(String, Vec<String>),
    /// The label is absent, or there with none of the values.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is absent.
    DoesNotExist(String),
}

impl LabelSelector {
    /// Makes a selector that matches what meets every requirement. Without any it matches everything.
    #[must_use]
    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements }
    }

    /// Whether these labels meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

/// The selector as a query to the API server writes it.
impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) => match values.as_slice() {
                    [value] => write!(f, "{key}={value}")?,
                    several => write!(f, "{key} in ({})", several.join(","))?,
                },
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(","))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::DoesNotExist(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

impl SourceRef {
    /// Whether a ConfigMap of this name and with these labels belongs to the source.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::ConfigMaps(names) => names.iter().any(|known| known == name),
            Self::Selector(selector) => selector.matches(labels),
        }
    }

    /// Whether several ConfigMaps may make up the source, which don't change at one moment.
    #[must_use]
    pub fn may_be_several(&self) -> bool {
        match self {
            Self::ConfigMaps(names) => names.len() > 1,
            Self::Selector(_) => true,
        }
    }
}

impl TlsMode {
    /// The mode as libpq and the spec spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl std::str::FromStr for TlsMode {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull]
            .into_iter()
            .find(|mode| mode.as_str() == word)
            .ok_or(())
    }
}

impl std::fmt::Display for TlsMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn values(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn a_requirement_matches_as_the_api_server_does() {
        let shop = labels(&[("app", "shop"), ("tier", "db")]);
        let table = [
            (Requirement::In("app".into(), values(&["shop", "till"])), true),
            (Requirement::In("app".into(), values(&["till"])), false),
            (Requirement::In("absent".into(), values(&["shop"])), false),
            (Requirement::NotIn("app".into(), values(&["till"])), true),
            (Requirement::NotIn("app".into(), values(&["shop"])), false),
            (Requirement::NotIn("absent".into(), values(&["shop"])), true),
            (Requirement::Exists("tier".into()), true),
            (Requirement::Exists("absent".into()), false),
            (Requirement::DoesNotExist("tier".into()), false),
            (Requirement::DoesNotExist("absent".into()), true),
        ];
        for (requirement, expected) in table {
            assert_eq!(LabelSelector::new(vec![requirement.clone()]).matches(&shop), expected, "{requirement:?}");
        }
    }

    #[test]
    fn every_requirement_must_hold() {
        let selector = LabelSelector::new(vec![
            Requirement::In("app".into(), values(&["shop"])),
            Requirement::DoesNotExist("retired".into()),
        ]);
        assert!(selector.matches(&labels(&[("app", "shop")])));
        assert!(!selector.matches(&labels(&[("app", "shop"), ("retired", "")])));
    }

    #[test]
    fn a_selector_prints_as_a_query() {
        let selector = LabelSelector::new(vec![
            Requirement::In("app".into(), values(&["shop"])),
            Requirement::In("tier".into(), values(&["db", "web"])),
            Requirement::NotIn("stage".into(), values(&["dev"])),
            Requirement::Exists("team".into()),
            Requirement::DoesNotExist("retired".into()),
        ]);
        assert_eq!(selector.to_string(), "app=shop,tier in (db,web),stage notin (dev),team,!retired");
    }

    #[test]
    fn tls_modes_are_ordered_by_strength() {
        assert!(TlsMode::Disable < TlsMode::Prefer);
        assert!(TlsMode::VerifyCa < TlsMode::VerifyFull);
    }
}
