//! A project that is open: its settings, checked, and the ways to its files and its database.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    args::{FilesArgs, HookArgs, ProjectArgs},
    environment::Environment,
    error::LocalError,
    settings::Settings,
    talk, variables,
};
use crate::{
    api::v1alpha1::{self, MigrationSet},
    core::{
        desired::{Audience, Desired},
        format::Format,
        history::History,
        outcome::Failure,
    },
    database::{
        parameters::Parameters,
        tls::{ClientPem, Pem, TlsInput},
    },
    execute::{self, Session},
    source::{Content, dir},
};

/// A project that is open.
#[derive(Clone)]
pub struct Project {
    /// What it works with.
    pub settings: Settings,
    /// What the engine is asked for.
    pub desired: Desired,
    /// `policy` and `approval` as they count, defaults among them.
    pub counted: Value,
}

impl Project {
    /// Reads the settings, and checks those that are the engine's as a MigrationSet's are.
    ///
    /// # Errors
    /// [`LocalError`] with the place of what can't be honoured.
    pub fn open(args: &ProjectArgs) -> Result<Self, LocalError> {
        if args.url.as_deref().is_some_and(has_password) {
            talk::say(
                "passwordSeen",
                "dunlin: --url has a password in it, which everybody on this machine can see: set DUNLIN_DATABASE_URL or PGPASSWORD instead",
            );
        }
        Self::open_for(&args.files, Some(args))
    }

    /// The same for whoever works with files alone: what is said of the database isn't looked at.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_files(args: &FilesArgs) -> Result<Self, LocalError> {
        Self::open_for(args, None)
    }

    fn open_for(files: &FilesArgs, database: Option<&ProjectArgs>) -> Result<Self, LocalError> {
        let settings = Settings::read(files, database, &Environment::read(files.env_file.as_deref())?)?;
        let (mut desired, counted) = desired(&settings)?;
        desired.variables = variables::values(&settings.variables)?;
        Ok(Self { settings, desired, counted })
    }

    /// Takes the hooks, for a command that runs migrations; or leaves them out, where that is asked for, and says so.
    pub fn choose_hooks(&mut self, args: HookArgs) {
        let places = self.settings.hooks.places();
        if !args.no_hooks {
            self.desired.hooks = self.settings.hooks.clone();
            return;
        }
        if places.is_empty() {
            return;
        }
        let names: Vec<&str> = places.iter().map(|place| place.field()).collect();
        talk::say("hooksLeftOut", format!("hooks are left out, as --no-hooks asks: {}", names.join(", ")));
    }

    /// Reads the migration files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn content(&self) -> Result<Content, LocalError> {
        Ok(dir::read(&self.settings.migrations, Format::Auto)?)
    }

    /// How to reach the database.
    ///
    /// # Errors
    /// What is wrong with the connection settings.
    pub fn parameters(&self) -> Result<Parameters, LocalError> {
        let Settings { database, certificates, .. } = &self.settings;
        if database.url.is_none() && database.fields.is_empty() && database.absent.is_empty() {
            return Err(LocalError::NoDatabase);
        }
        let file = |name: &str| certificates.get(name).map(|path| pem(path)).transpose();
        let (ca, certificate, key) = (file("sslrootcert")?, file("sslcert")?, file("sslkey")?);
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(ClientPem { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(LocalError::setting("sslcert", "needs sslkey beside it")),
            (None, Some(_)) => return Err(LocalError::setting("sslkey", "needs sslcert beside it")),
        };
        Ok(Parameters::by_hand(database, &TlsInput { mode: None, ca, client })?)
    }

    /// Reads the files while the server has something to do: neither waits for the other, and what is wrong with the files is
    /// said first.
    ///
    /// # Errors
    /// What is wrong with the files or the connection settings, or why the database can't be looked at.
    pub async fn read_both(&self) -> Result<Both, LocalError> {
        // On a thread of its own, this would vie with the server for the processor; it has enough time while that works.
        let mut reading = std::pin::pin!(async {
            // The server is asked first.
            tokio::task::yield_now().await;
            let mut folder = dir::Reading::open(&self.settings.migrations)?;
            while folder.read_some() {
                tokio::task::yield_now().await;
            }
            Ok::<_, LocalError>(folder.end(Format::Auto)?)
        });
        let mut looking = std::pin::pin!(async {
            let parameters = self.parameters()?;
            let (session, history) = self.look(&parameters).await?;
            Ok::<_, LocalError>((parameters, session, history))
        });
        let (content, looked) = tokio::select! {
            biased;
            looked = &mut looking => (reading.await?, looked),
            content = &mut reading => (content?, looking.await),
        };
        let (parameters, session, history) = looked?;
        Ok(Both { content, parameters, session, history })
    }

    /// Looks at the database.
    ///
    /// # Errors
    /// Why it can't be reached or its history not read.
    pub async fn look(&self, parameters: &Parameters) -> Result<(Session, History), Failure> {
        execute::observe(parameters, &self.desired).await
    }
}

/// The files, and the database that they are compared with.
pub struct Both {
    pub content: Content,
    pub parameters: Parameters,
    pub session: Session,
    pub history: History,
}

fn desired(settings: &Settings) -> Result<(Desired, Value), LocalError> {
    let object = json!({
        "apiVersion": "dunlin.dev/v1alpha1", "kind": "MigrationSet",
        "metadata": {"namespace": "by-hand", "name": settings.spec["history"]["set"]},
        "spec": settings.spec,
    });
    let set: MigrationSet =
        serde_json::from_value(object).map_err(|error| LocalError::setting("dunlin.yaml", error.to_string()))?;
    for (name, known) in [("policy", json!(set.spec.policy)), ("approval", json!(set.spec.approval))] {
        for field in settings.spec[name].as_object().into_iter().flatten().map(|(field, _)| field) {
            if known.get(field).is_none() {
                let known: Vec<&str> =
                    known.as_object().into_iter().flatten().map(|(field, _)| field.as_str()).collect();
                return Err(LocalError::setting(
                    format!("{name}.{field}"),
                    format!("is no field: {name} has {}", known.join(", ")),
                ));
            }
        }
    }
    let mut desired = v1alpha1::desired(&set).map_err(LocalError::Spec)?;
    desired.audience = Audience::CommandLine;
    Ok((desired, json!({"policy": set.spec.policy, "approval": set.spec.approval})))
}

fn pem(path: &Path) -> Result<Pem, LocalError> {
    let bytes = std::fs::read(path).map_err(|source| LocalError::Read {
        path: path.to_owned(),
        source,
        instead: "name a file of certificates or keys in PEM",
    })?;
    Ok(Pem { from: path.display().to_string(), bytes })
}

/// Whether a URL has a password in it, or a string of keywords has one.
fn has_password(url: &str) -> bool {
    let login = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()?.rsplit_once('@'));
    login.is_some_and(|(login, _)| login.contains(':')) || url.contains("password=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_noticed() {
        for (url, has) in [
            ("postgres://joe:secret@db/shop", true),
            ("postgres://joe@db:5432/shop", false),
            ("postgres://db/shop?password=secret", true),
            ("host=db password=secret", true),
            ("host=db", false),
        ] {
            assert_eq!(has_password(url), has, "{url}");
        }
    }
}
