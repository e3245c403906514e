//! Connection parameters out of a Secret: by the keys of the spec, else by the conventions of those who write such
//! Secrets (CloudNativePG, Crunchy PGO, Bitnami and whatever follows the service binding specification).

use std::collections::BTreeMap;

use super::{
    Parameters, Source, conninfo,
    error::{ParametersError, Place, Problem},
    table::Given,
};
use crate::{core::hosts::AllowedHosts, database::tls::TlsInput};

pub use crate::core::reference::SecretKeys;

pub(super) const URLS: &[&str] = &["uri", "url", "DATABASE_URL", "connectionString"];
const PARTS: &[(&str, &[&str])] = &[
    ("host", &["host"]),
    ("port", &["port"]),
    ("user", &["user", "username"]),
    ("password", &["password"]),
    ("dbname", &["dbname", "database"]),
];

impl Parameters {
    /// Reads a Secret's data.
    ///
    /// In this order: the keys that the spec names (parts named beside `uri` replace those of the URL; what it doesn't
    /// name of the parts is found by convention); `uri`, `url`, `DATABASE_URL` or `connectionString`; `host`, `port`,
    /// `user` or `username`, `password`, `dbname` or `database`. Only `port` may lack among the parts, and `password`
    /// where a client certificate is given: a missing `dbname` must not turn into the user's own database by surprise.
    ///
    /// The session is to write: see [`Parameters::for_writing`].
    ///
    /// All of its hosts must be allowed, as they are written; whoever connects looks at the addresses of names.
    ///
    /// Empty values count as absent. Newlines at a value's end are dropped; of a password, one.
    ///
    /// # Errors
    ///
    /// Keys without a value, by name; and what [`Parameters::from_url`] refuses.
    pub fn from_secret(
        secret_name: &str,
        data: &BTreeMap<String, Vec<u8>>,
        keys: &SecretKeys,
        tls: &TlsInput,
        allowed_hosts: &AllowedHosts,
    ) -> Result<Self, ParametersError> {
        let secret = Secret { name: secret_name, data };
        let SecretKeys { uri, host, port, user, password, dbname } = keys;
        let named = [("host", host), ("port", port), ("user", user), ("password", password), ("dbname", dbname)];
        let by_parts = named.iter().any(|(_, key)| key.is_some());

        let absent: Vec<String> = named
            .iter()
            .filter_map(|(_, key)| key.as_ref())
            .chain(uri)
            .filter(|key| secret.value(key).is_none())
            .cloned()
            .collect();
        if !absent.is_empty() {
            return Err(secret.missing(absent, false));
        }

        let url = match uri {
            Some(key) => Some(key.as_str()),
            None if by_parts => None,
            None => URLS.iter().copied().find(|key| secret.value(key).is_some()),
        };
        let (mut given, place) = match url {
            Some(key) => secret.url(key)?,
            None => (Given::default(), Place::Secret(secret_name.to_owned())),
        };
        let mut place_of_host = place.clone();
        let mut looked_for: Vec<String> = Vec::new();
        for ((part, conventional), (_, named)) in PARTS.iter().zip(&named) {
            let key = match named {
                Some(key) => Some(key.as_str()),
                None if url.is_some() => None,
                None => conventional.iter().copied().find(|key| secret.value(key).is_some()),
            };
            match key {
                Some(key) => {
                    secret.part(&mut given, part, key)?;
                    if *part == "host" {
                        place_of_host = secret.place(key);
                    }
                }
                None if url.is_some() || *part == "port" => {}
                None if *part == "password" && tls.client.is_some() => {}
                None => looked_for.push(conventional.join(" or ")),
            }
        }
        if !looked_for.is_empty() {
            return Err(secret.missing(looked_for, !by_parts));
        }
        let parameters = Self::from_given(given, Source::Operator, tls, &place)?;
        parameters.for_writing().within(allowed_hosts, &place_of_host)
    }
}

struct Secret<'a> {
    name: &'a str,
    data: &'a BTreeMap<String, Vec<u8>>,
}

impl Secret<'_> {
    fn value(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(|value| without_newlines(value)).filter(|value| !value.is_empty())
    }

    fn place(&self, key: &str) -> Place {
        Place::Key { secret: self.name.to_owned(), key: key.to_owned() }
    }

    fn url(&self, key: &str) -> Result<(Given, Place), ParametersError> {
        let place = self.place(key);
        let text = std::str::from_utf8(self.value(key).unwrap_or_default())
            .map_err(|_| Problem::Form("isn't UTF-8").at(&place))?;
        let given = conninfo::parse(text.trim()).map_err(|problem| problem.at(&place))?;
        Ok((given, place))
    }

    fn part(&self, given: &mut Given, part: &str, key: &str) -> Result<(), ParametersError> {
        let value = if part == "password" {
            let value = self.data.get(key).map(Vec::as_slice).unwrap_or_default();
            value.strip_suffix(b"\r\n").or_else(|| value.strip_suffix(b"\n")).unwrap_or(value)
        } else {
            self.value(key).unwrap_or_default()
        };
        given.set(part, value.to_vec()).map_err(|problem| problem.at(&self.place(key)))
    }

    fn missing(&self, looked_for: Vec<String>, by_convention: bool) -> ParametersError {
        ParametersError::MissingKeys {
            secret: self.name.to_owned(),
            looked_for,
            by_convention,
            has: self.data.keys().take(50).cloned().collect(),
        }
    }
}

fn without_newlines(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = value {
        value = rest;
    }
    value
}
