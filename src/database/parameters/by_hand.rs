//! Connection parameters of a person: a URL, fields of a file, and the environment for what neither says, as libpq has it
//! (PostgreSQL 18 manual, 32.15).

use std::collections::BTreeMap;

use super::{
    Parameters, Source, conninfo,
    error::{ParametersError, Place, Problem},
    table::{Fate, Given, HIDDEN, TABLE},
};
use crate::database::tls::TlsInput;

/// The variables of the environment that stand for a parameter that nobody gives.
pub const VARIABLES: &[(&str, &str)] = &[
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGOPTIONS", "options"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
];

/// A parameter that somebody gives.
#[derive(Clone)]
pub struct Said {
    /// Its name, as libpq has it.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it was said, for messages: `dunlin.yaml: database.host`.
    pub place: String,
}

/// What a person gives of a database.
#[derive(Clone, Default)]
pub struct ByHand {
    /// The URL, and where it was said.
    pub url: Option<(String, String)>,
    /// What replaces a part of it, or stands without one.
    pub fields: Vec<Said>,
    /// What counts where nothing else says it.
    pub absent: Vec<Said>,
}

impl ByHand {
    /// What counts of it, by name and with the place where it was said, for a person to see: a password is `…`.
    ///
    /// # Errors
    /// A URL that can't be read.
    pub fn counted(&self) -> Result<Vec<Said>, ParametersError> {
        let Self { url, fields, absent } = self;
        let mut counted: BTreeMap<String, Said> = BTreeMap::new();
        if let Some((url, place)) = url {
            let given = conninfo::parse(url.trim()).map_err(|problem| problem.at(&Place::Said(place.clone())))?;
            for (name, value) in given.shown() {
                let said = Said { name: name.to_owned(), value, place: place.clone() };
                counted.insert(said.name.clone(), said);
            }
        }
        for said in fields {
            // An empty value means the default.
            counted.remove(&said.name);
            if !said.value.is_empty() {
                counted.insert(said.name.clone(), said.hidden());
            }
        }
        for said in absent {
            counted.entry(said.name.clone()).or_insert_with(|| said.hidden());
        }
        Ok(counted.into_values().collect())
    }
}

impl Said {
    fn hidden(&self) -> Self {
        let is_plain = TABLE.iter().any(|(name, fate)| *name == self.name && matches!(fate, Fate::Honour(_)));
        // A name that nobody knows may be that of a secret.
        let value = if is_plain && self.name != "password" { self.value.clone() } else { HIDDEN.to_owned() };
        Self { name: self.name.clone(), value, place: self.place.clone() }
    }
}

impl Parameters {
    /// Reads what a person gives. A Unix socket's directory may be the host; `localhost` is, where nobody names one.
    ///
    /// # Errors
    /// What [`Parameters::from_url`] refuses, with the place where it was said.
    pub fn by_hand(said: &ByHand, tls: &TlsInput) -> Result<Self, ParametersError> {
        let ByHand { url, fields, absent } = said;
        let mut place = Place::Said("the connection settings".to_owned());
        let mut given = Given::default();
        if let Some((url, said)) = url {
            place = Place::Said(said.clone());
            given = conninfo::parse(url.trim()).map_err(|problem| problem.at(&place))?;
        }
        for Said { name, value, place } in fields {
            set(&mut given, name, value, place)?;
        }
        for Said { name, value, place } in absent {
            if !given.has(name) {
                set(&mut given, name, value, place)?;
            }
        }
        if !given.has("host") && !given.has("hostaddr") {
            set(&mut given, "host", "localhost", "the default")?;
        }
        if !given.has("user") {
            let what = Problem::Form("name no user: give database.user, PGUSER, or a URL with one");
            return Err(what.at(&Place::Said("the connection settings".to_owned())));
        }
        Self::from_given(given, Source::CommandLine, tls, &place).map(Self::for_writing)
    }
}

fn set(given: &mut Given, name: &str, value: &str, place: &str) -> Result<(), ParametersError> {
    given.set(name, value.as_bytes().to_vec()).map_err(|problem| problem.at(&Place::Said(place.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, value: &str) -> Said {
        Said { name: name.to_owned(), value: value.to_owned(), place: format!("dunlin.yaml: database.{name}") }
    }

    fn read(url: Option<&str>, fields: &[Said], absent: &[Said]) -> Result<Parameters, String> {
        let url = url.map(|url| (url.to_owned(), "DUNLIN_DATABASE_URL".to_owned()));
        let said = ByHand { url, fields: fields.to_vec(), absent: absent.to_vec() };
        Parameters::by_hand(&said, &TlsInput::default()).map_err(|error| error.to_string())
    }

    /// M03, M06: fields replace parts of a URL, and the environment counts for what neither says.
    #[test]
    fn a_field_wins_over_a_url_which_wins_over_the_environment() {
        let url = Some("postgres://joe@db.example/shop");
        let read = read(url, &[said("dbname", "other")], &[said("user", "env"), said("password", "secret")]);
        let parameters = read.expect("all of it is sound");
        assert_eq!((parameters.user.as_str(), parameters.dbname.as_str()), ("joe", "other"));
        assert_eq!(parameters.password.as_deref(), Some(b"secret".as_slice()));
    }

    #[test]
    fn without_a_host_it_is_this_machine_and_without_a_user_nobody() {
        let parameters = read(None, &[said("user", "joe")], &[]).expect("all of it is sound");
        assert_eq!(parameters.dbname, "joe");
        let error = read(None, &[said("dbname", "shop")], &[]).expect_err("there is no user");
        assert!(error.contains("PGUSER"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place_and_without_its_value() {
        let error = read(None, &[said("user", "joe"), said("port", "hunter2")], &[]).expect_err("that is no port");
        assert!(error.contains("port") && !error.contains("hunter2"), "{error}");
        let error = read(None, &[said("usr", "joe")], &[]).expect_err("there is no such parameter");
        assert!(error.starts_with("dunlin.yaml: database.usr: parameter usr is not known"), "{error}");
    }
}
