//! Reads what a spec refers to: ConfigMaps when they have changed, Secrets by name each time.
//!
//! What isn't there is a value, not an error. Nothing of a Secret outlives the look that read it, but its version.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};

use super::registry::{Remembered, Seen};
use crate::{
    api::v1alpha1::Parsed,
    core::{
        hosts::AllowedHosts,
        outcome::{Failure, Reason},
        reference::{self, DatabaseRef, ValueRef, VariableRef},
        variables::{Origin, Variable, Variables},
    },
    database::{
        parameters::{Parameters, SecretKeys},
        tls::{ClientPem, Pem, TlsInput, TlsMode},
    },
    source::{Snapshot, Stamp, config_map},
};

/// How long the API server may take for a Secret.
const DEADLINE: Duration = Duration::from_secs(30);
/// The keys of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Versions of the Secrets that a look has read; None for one that isn't there.
pub(super) type SecretStamps = BTreeMap<String, Option<Stamp>>;

/// The Secrets of a set, as they were read.
pub(super) struct Secrets {
    found: BTreeMap<String, Option<Secret>>,
}

/// The content of a set: what was read before, when that is still what there is.
///
/// # Errors
/// As [`config_map::fetch`].
pub(super) async fn content(
    client: &Client,
    parsed: &Parsed,
    remembered: &Remembered,
    reread: Seen,
) -> Result<Arc<Snapshot>, Failure> {
    let format = parsed.desired.format;
    if let Some(snapshot) = &remembered.snapshot
        && reread == Seen::No
        && snapshot.reference == parsed.source
        && snapshot.seeds == parsed.seeds
        && snapshot.format == format
    {
        return Ok(Arc::clone(snapshot));
    }
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &parsed.desired.owner.namespace);
    config_map::fetch(&api, &parsed.source, parsed.seeds.as_ref(), format).await.map(Arc::new)
}

/// Reads the Secrets that a set refers to, each by its name.
///
/// # Errors
/// `WaitingForSecret` when the API server doesn't answer or refuses.
pub(super) async fn secrets(
    client: &Client,
    namespace: &str,
    database: &DatabaseRef,
    variables: &[VariableRef],
) -> Result<Secrets, Failure> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let DatabaseRef { secret, keys: _, tls } = database;
    let mut names = vec![secret.clone()];
    names.extend(tls.ca.as_ref().map(|ca| ca.secret.clone()));
    names.extend(tls.client_secret.clone());
    names.extend({ variables }.iter().filter_map(|variable| match &variable.value {
        ValueRef::Secret(key) => Some(key.secret.clone()),
        ValueRef::Given(_) | ValueRef::ConfigMap(_) => None,
    }));
    names.sort_unstable();
    names.dedup();
    let reads = names.into_iter().map(|name| {
        let api = api.clone();
        async move { read(&api, &name).await.map(|secret| (name, secret)) }
    });
    Ok(Secrets { found: try_join_all(reads).await?.into_iter().collect() })
}

async fn read(api: &Api<Secret>, name: &str) -> Result<Option<Secret>, Failure> {
    let trouble = match tokio::time::timeout(DEADLINE, api.get_opt(name)).await {
        Ok(Ok(secret)) => return Ok(secret),
        Ok(Err(kube::Error::Api(status))) => status.message.clone(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
    };
    Err(Failure::new(Reason::WaitingForSecret, format!("reading Secret {name}: {trouble}; it is tried again")))
}

impl Secrets {
    /// Which versions these are.
    pub fn stamps(&self) -> SecretStamps {
        self.found.iter().map(|(name, secret)| (name.clone(), secret.as_ref().map(stamp))).collect()
    }

    /// How to reach the database.
    ///
    /// # Errors
    /// `WaitingForSecret` when a Secret or a key isn't there; `InvalidSpec` when what it holds can't be used, or names a host
    /// that isn't allowed.
    pub fn parameters(&self, database: &DatabaseRef, allowed_hosts: &AllowedHosts) -> Result<Parameters, Failure> {
        let DatabaseRef { secret, keys, tls } = database;
        let data = self.data(secret)?;
        let input = TlsInput {
            mode: tls.mode.map(tls_mode),
            ca: tls.ca.as_ref().map(|ca| self.pem(&ca.secret, &ca.key)).transpose()?,
            client: tls.client_secret.as_ref().map(|name| self.client(name)).transpose()?,
        };
        let reference::SecretKeys { uri, host, port, user, password, dbname } = keys.clone();
        let keys = SecretKeys { uri, host, port, user, password, dbname };
        Ok(Parameters::from_secret(secret, &data, &keys, &input, allowed_hosts)?)
    }

    /// The values of the variables; what a Secret holds is known to be another by its version.
    ///
    /// # Errors
    /// `WaitingForSecret` or `WaitingForSource` when an object or a key isn't there, `InvalidSpec` for what is no value.
    pub fn variables(&self, variables: &[VariableRef], maps: &ConfigMaps) -> Result<Variables, Failure> {
        let value = |VariableRef { name, value }: &VariableRef| {
            let (value, origin, from) = match value {
                ValueRef::Given(value) => (value.clone(), Origin::Plain, "its value".to_owned()),
                ValueRef::ConfigMap(reference::ConfigMapKey { config_map, key }) => {
                    (maps.value(name, config_map, key)?, Origin::Plain, format!("key {key} of ConfigMap {config_map}"))
                }
                ValueRef::Secret(reference::SecretKey { secret, key }) => {
                    let from = format!("key {key} of Secret {secret}");
                    (self.value(name, secret, key)?, Origin::Secret { version: self.version(secret, key) }, from)
                }
            };
            let variable = Variable::new(value, origin).map_err(|why| {
                Failure::new(Reason::InvalidSpec, format!("spec.variables: {name}, from {from}: {why}"))
            })?;
            Ok((name.clone(), variable))
        };
        variables.iter().map(value).collect()
    }

    fn value(&self, variable: &str, secret: &str, key: &str) -> Result<String, Failure> {
        let waiting = |what: &str| {
            Failure::new(
                Reason::WaitingForSecret,
                format!(
                    "Secret {secret} {what}: the variable {variable} of spec.variables has its value there; create it in this namespace"
                ),
            )
        };
        let Some(Some(found)) = self.found.get(secret) else { return Err(waiting("isn't there")) };
        let bytes = found.data.iter().flatten().find(|(name, _)| *name == key).map(|(_, bytes)| bytes.0.clone());
        let bytes = bytes.ok_or_else(|| waiting(&format!("has no key {key}")))?;
        String::from_utf8(bytes).map_err(|_| {
            let what =
                format!("key {key} of Secret {secret}, for the variable {variable} of spec.variables, is no UTF-8");
            Failure::new(Reason::InvalidSpec, format!("{what}: write a text there"))
        })
    }

    fn version(&self, secret: &str, key: &str) -> String {
        let stamp = self.found.get(secret).and_then(Option::as_ref).map(stamp);
        let version = stamp.map(|stamp| format!("{} {}", stamp.uid, stamp.resource_version)).unwrap_or_default();
        format!("{secret}/{key} {version}")
    }

    fn data(&self, name: &str) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        match self.found.get(name) {
            Some(Some(secret)) => {
                let data = secret.data.iter().flatten();
                Ok(data.map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect())
            }
            Some(None) | None => Err(Failure::new(
                Reason::WaitingForSecret,
                format!("Secret {name} isn't there: create it in this namespace, or name another in spec.database"),
            )),
        }
    }

    fn pem(&self, name: &str, key: &str) -> Result<Pem, Failure> {
        let bytes = self.data(name)?.remove(key).filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            Failure::new(
                Reason::WaitingForSecret,
                format!("Secret {name} has no key {key}: add it, or name another in spec.database.tls"),
            )
        })?;
        Ok(Pem { from: format!("key {key} of Secret {name}"), bytes })
    }

    fn client(&self, name: &str) -> Result<ClientPem, Failure> {
        Ok(ClientPem { certificate: self.pem(name, CERTIFICATE)?, key: self.pem(name, KEY)? })
    }
}

/// The ConfigMaps that hold values of a set's variables, as they were read.
pub(super) struct ConfigMaps {
    found: BTreeMap<String, Option<ConfigMap>>,
}

/// Reads the ConfigMaps that hold values of variables, each by its name.
///
/// # Errors
/// `WaitingForSource` when the API server doesn't answer or refuses.
pub(super) async fn config_maps(client: &Client, namespace: &str, names: Vec<String>) -> Result<ConfigMaps, Failure> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut names = names;
    names.sort_unstable();
    names.dedup();
    let reads = names.into_iter().map(|name| {
        let api = api.clone();
        async move { config_map::get(&api, &name).await.map(|map| (name, map)) }
    });
    Ok(ConfigMaps { found: try_join_all(reads).await?.into_iter().collect() })
}

impl ConfigMaps {
    /// Which versions these are.
    pub fn stamps(&self) -> BTreeMap<String, Option<Stamp>> {
        self.found.iter().map(|(name, map)| (name.clone(), map.as_ref().map(stamp))).collect()
    }

    /// Whether every key is there that a variable names.
    ///
    /// # Errors
    /// `WaitingForSource`, naming what isn't.
    pub fn complete(&self, variables: &[VariableRef]) -> Result<(), Failure> {
        for VariableRef { name, value } in variables {
            if let ValueRef::ConfigMap(reference::ConfigMapKey { config_map, key }) = value {
                self.value(name, config_map, key)?;
            }
        }
        Ok(())
    }

    fn value(&self, variable: &str, map: &str, key: &str) -> Result<String, Failure> {
        let waiting = |what: &str| {
            Failure::new(
                Reason::WaitingForSource,
                format!(
                    "ConfigMap {map} {what}: the variable {variable} of spec.variables has its value there; create it in this namespace"
                ),
            )
        };
        let Some(Some(found)) = self.found.get(map) else { return Err(waiting("isn't there")) };
        let text = found.data.iter().flatten().find(|(name, _)| *name == key).map(|(_, text)| text.clone());
        text.ok_or_else(|| waiting(&format!("has no key {key} of text")))
    }
}

fn stamp(object: &impl ResourceExt) -> Stamp {
    Stamp { uid: object.uid().unwrap_or_default(), resource_version: object.resource_version().unwrap_or_default() }
}

fn tls_mode(mode: reference::TlsMode) -> TlsMode {
    match mode {
        reference::TlsMode::Disable => TlsMode::Disable,
        reference::TlsMode::Prefer => TlsMode::Prefer,
        reference::TlsMode::Require => TlsMode::Require,
        reference::TlsMode::VerifyCa => TlsMode::VerifyCa,
        reference::TlsMode::VerifyFull => TlsMode::VerifyFull,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;
    use crate::core::reference::{SecretKey, TlsRef};

    fn secret(version: &str, data: &[(&str, &str)]) -> Secret {
        Secret {
            metadata: ObjectMeta {
                uid: Some("1".to_owned()),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(
                data.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()))).collect(),
            ),
            ..Secret::default()
        }
    }

    fn secrets(found: Vec<(&str, Option<Secret>)>) -> Secrets {
        Secrets { found: found.into_iter().map(|(name, secret)| (name.to_owned(), secret)).collect() }
    }

    fn database() -> DatabaseRef {
        DatabaseRef { secret: "db".to_owned(), keys: reference::SecretKeys::default(), tls: TlsRef::default() }
    }

    fn refused(secrets: &Secrets, database: &DatabaseRef) -> Failure {
        secrets.parameters(database, &AllowedHosts::default()).map(|_| ()).expect_err("it is refused")
    }

    #[test]
    fn an_absent_secret_is_waited_for_by_name() {
        let failure = refused(&secrets(vec![("db", None)]), &database());
        assert_eq!(failure.reason, Reason::WaitingForSecret);
        assert!(failure.message.contains("Secret db"), "{failure}");
    }

    #[test]
    fn an_absent_key_is_waited_for_and_what_is_there_is_named_without_its_value() {
        let failure = refused(&secrets(vec![("db", Some(secret("1", &[("passphrase", "hunter2")])))]), &database());
        assert_eq!(failure.reason, Reason::WaitingForSecret);
        assert!(failure.message.contains("passphrase") && !failure.message.contains("hunter2"), "{failure}");
    }

    #[test]
    fn a_certificate_that_is_asked_for_is_waited_for() {
        let url = ("uri", "postgresql://u:p@h/d");
        let found = secrets(vec![("db", Some(secret("1", &[url]))), ("ca", Some(secret("1", &[("other", "x")])))]);
        let ca = SecretKey { secret: "ca".to_owned(), key: "ca.crt".to_owned() };
        let database = DatabaseRef { tls: TlsRef { ca: Some(ca), ..TlsRef::default() }, ..database() };
        let failure = refused(&found, &database);
        assert_eq!(failure.reason, Reason::WaitingForSecret);
        assert!(failure.message.contains("Secret ca has no key ca.crt"), "{failure}");
    }

    /// M09: what a variable waits for is named with its key; what there is is never shown.
    #[test]
    fn a_variables_value_is_waited_for_by_object_and_key() {
        let of = |name: &str, value| VariableRef { name: name.to_owned(), value };
        let in_secret =
            |key: &str| of("tenant", ValueRef::Secret(SecretKey { secret: "values".to_owned(), key: key.to_owned() }));
        let in_map = of(
            "region",
            ValueRef::ConfigMap(reference::ConfigMapKey { config_map: "map".to_owned(), key: "k".to_owned() }),
        );
        let found = || secrets(vec![("values", Some(secret("1", &[("k", "hunter2"), ("nul", "a\0b")])))]);
        let none = ConfigMaps { found: BTreeMap::from([("map".to_owned(), None)]) };
        for (variable, reason, says) in [
            (in_secret("gone"), Reason::WaitingForSecret, "Secret values has no key gone: the variable tenant"),
            (in_secret("nul"), Reason::InvalidSpec, "tenant, from key nul of Secret values: the value has a NUL byte"),
            (in_map, Reason::WaitingForSource, "ConfigMap map isn't there: the variable region"),
        ] {
            let failure = found().variables(&[variable], &none).expect_err("it can't be used");
            assert_eq!(failure.reason, reason);
            assert!(failure.message.contains(says) && !failure.message.contains("hunter2"), "{failure}");
        }
        let variables = found().variables(&[in_secret("k")], &none).expect("it is there");
        let later = secrets(vec![("values", Some(secret("2", &[("k", "hunter2")])))]);
        let later = later.variables(&[in_secret("k")], &none).expect("it is there");
        assert_ne!(variables.fingerprint("SELECT :'tenant'"), later.fingerprint("SELECT :'tenant'"));
    }

    #[test]
    fn another_version_of_a_secret_is_another_stamp() {
        let stamps = |version| secrets(vec![("db", Some(secret(version, &[])))]).stamps();
        assert_eq!(stamps("1"), stamps("1"));
        assert_ne!(stamps("1"), stamps("2"));
        assert_ne!(stamps("1"), secrets(vec![("db", None)]).stamps());
    }
}
