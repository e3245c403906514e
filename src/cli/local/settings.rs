//! `dunlin.yaml`, the environment and flags into what a command works with.
//!
//! A flag wins over the environment, which wins over the file; within the file, an environment's own fields win over those
//! of all. A field that nobody honours is an error, and so is an environment that isn't there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    args::{FilesArgs, ProjectArgs},
    environment::Environment,
    error::LocalError,
    hook_fields::{self, HookFields},
    interpolate::interpolate,
    variables::{self, AllGiven, Written},
};
use crate::{
    core::hook::Hooks,
    database::parameters::{ByHand, Said, VARIABLES},
};

/// The file that is read where no flag names another.
pub const FILE: &str = "dunlin.yaml";
/// The environment that is meant where nobody names one.
pub const DEFAULT: &str = "default";
/// Names of environments that are protected, in any case.
const PROTECTED: [&str; 3] = ["prod", "production", "live"];

/// What a command works with.
#[derive(Clone)]
pub struct Settings {
    /// The environment's name.
    pub env: String,
    /// Whether it asks before anything is changed.
    pub protected: bool,
    /// The folder of the migrations.
    pub migrations: PathBuf,
    /// The folder of the seeds.
    pub seeds: PathBuf,
    /// What is said of the database.
    pub database: ByHand,
    /// Files of certificates, as `sslrootcert`, in the order of their names.
    pub certificates: BTreeMap<String, PathBuf>,
    /// Where settings were said, by their names; what isn't in it is the default.
    pub places: BTreeMap<String, String>,
    /// The variables of files.
    pub variables: AllGiven,
    /// Fields of the spec that the engine is given: `history`, `policy`, `approval`, and those of `database`.
    pub spec: Value,
    /// The folder of the file of settings, where hooks run.
    pub folder: PathBuf,
    /// What to run around a plan.
    pub hooks: Hooks,
}

/// The fields that an environment may have of its own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    database: Option<BTreeMap<String, Value>>,
    lock_id: Option<Value>,
    seeds: Option<String>,
    set: Option<String>,
    schema: Option<String>,
    role: Option<String>,
    search_path: Option<Vec<String>>,
    protected: Option<bool>,
    policy: Option<BTreeMap<String, Value>>,
    approval: Option<BTreeMap<String, Value>>,
    hooks: Option<HookFields>,
}

impl Settings {
    /// Reads everything that says what to work with. A command that needs no database (None) needs no variable of its
    /// settings, in a commit hook as anywhere.
    ///
    /// # Errors
    /// [`LocalError`] with the place of what can't be honoured.
    pub fn read(
        args: &FilesArgs,
        database: Option<&ProjectArgs>,
        environment: &Environment,
    ) -> Result<Self, LocalError> {
        let path = args.config.clone().unwrap_or_else(|| FILE.into());
        let mut file = read_file(&path, args.config.is_some())?;
        let shown = path.display().to_string();
        let beside = path.parent().map(Path::to_owned).unwrap_or_default();
        let migrations = take_text(&mut file, "migrations", environment, &shown)?;
        let mut envs = take_envs(&mut file, &shown)?;
        if database.is_none() {
            file.remove("database");
            for fields in envs.values_mut().filter_map(Value::as_object_mut) {
                fields.remove("database");
            }
        }
        let mut file = Value::Object(file);
        let root_variables = variables::take(&mut file, "", &shown)?;
        let root = fields(file, "", environment, &shown)?;
        let named = args.env.as_deref().or_else(|| environment.get("DUNLIN_ENV"));
        let (env, own_variables, own) = choose(envs, named, environment, &shown)?;
        let flags = database.map_or(&[][..], |args| &args.variables);
        let variables = variables::all(root_variables, own_variables, flags, database.map(|_| environment), &shown)?;
        let own_place = if env == DEFAULT { "default".to_owned() } else { format!("envs.{env}") };
        let url = match database {
            Some(args) => url(args, environment, named.filter(|name| *name != DEFAULT))?,
            None => None,
        };
        let mut places = places(&root, &own, &env, &shown);
        let (database, certificates) =
            said_of_database(&root, &own, &own_place, url, environment, (&beside, &shown), &mut places)?;
        let lock_id = lock_id(&root, &own, environment)?;
        let hooks =
            hook_fields::read(root.hooks.as_ref(), own.hooks.as_ref(), &format!("envs.{env}"), &shown, &mut places)?;
        let said = [
            ("migrations", migrations.as_ref().map(|_| format!("{shown}: migrations"))),
            ("migrations", args.migrations.as_ref().map(|_| "--migrations".to_owned())),
            ("env", environment.get("DUNLIN_ENV").map(|_| "DUNLIN_ENV".to_owned())),
            ("env", args.env.as_ref().map(|_| "--env".to_owned())),
            ("lock_id", environment.get("DUNLIN_LOCK_ID").map(|_| "DUNLIN_LOCK_ID".to_owned())),
        ];
        places.extend({ said }.into_iter().filter_map(|(name, place)| Some((name.to_owned(), place?))));
        let protected = own.protected.or(root.protected).unwrap_or(false);
        let protected = protected || PROTECTED.iter().any(|name| env.eq_ignore_ascii_case(name));
        let migrations = match (&args.migrations, migrations) {
            (Some(flag), _) => flag.clone(),
            (None, Some(field)) => beside.join(field),
            (None, None) => beside.join("migrations"),
        };
        let seeds = beside.join(own.seeds.or(root.seeds).unwrap_or_else(|| "seeds".to_owned()));
        let set = own.set.or(root.set).unwrap_or_else(|| "default".to_owned());
        let spec = serde_json::json!({
            "database": {"secretRef": {"name": "none"}, "role": own.role.or(root.role), "searchPath": own.search_path.or(root.search_path)},
            "source": {"configMaps": [{"name": "none"}]},
            "history": {"set": set, "schema": own.schema.or(root.schema).unwrap_or_else(|| "dunlin".to_owned()), "lockId": lock_id},
            "policy": merged(root.policy, own.policy),
            "approval": merged(root.approval, own.approval),
        });
        Ok(Self {
            env,
            protected,
            migrations,
            seeds,
            database,
            certificates,
            places,
            variables,
            spec: without_nulls(spec),
            folder: beside,
            hooks,
        })
    }
}

fn read_file(path: &Path, named: bool) -> Result<serde_json::Map<String, Value>, LocalError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return Ok(serde_json::Map::new()),
        Err(source) => {
            let instead = "name another with --config, or run dunlin init";
            return Err(LocalError::Read { path: path.to_owned(), source, instead });
        }
    };
    let value: Value =
        crate::yaml::from_str(&text).map_err(|problem| LocalError::Yaml { path: path.to_owned(), problem })?;
    match value {
        Value::Object(fields) => Ok(fields),
        Value::Null => Ok(serde_json::Map::new()),
        _ => Err(LocalError::setting(
            path.display().to_string(),
            "holds no fields: write database: and what belongs to it",
        )),
    }
}

fn take_text(
    file: &mut serde_json::Map<String, Value>,
    name: &str,
    environment: &Environment,
    shown: &str,
) -> Result<Option<String>, LocalError> {
    let Some(mut value) = file.remove(name) else { return Ok(None) };
    interpolate(&mut value, name, environment).map_err(|(field, problem)| at(shown, &field, problem))?;
    match value {
        Value::String(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        _ => Err(at(shown, name, "is no text".to_owned())),
    }
}

fn take_envs(file: &mut serde_json::Map<String, Value>, shown: &str) -> Result<BTreeMap<String, Value>, LocalError> {
    match file.remove("envs") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(envs)) => Ok(envs.into_iter().collect()),
        Some(_) => Err(at(shown, "envs", "has an environment's name before each one's fields".to_owned())),
    }
}

/// The fields of all, or of one environment: those alone are interpolated, so that nobody needs the variables of others.
fn fields(mut value: Value, place: &str, environment: &Environment, shown: &str) -> Result<Fields, LocalError> {
    if value.is_null() {
        return Ok(Fields::default());
    }
    let hooks = hook_fields::take(&mut value);
    interpolate(&mut value, place, environment).map_err(|(field, problem)| at(shown, &field, problem))?;
    if let (Some(fields), Some(hooks)) = (value.as_object_mut(), hooks) {
        fields.insert("hooks".to_owned(), hooks);
    }
    serde_json::from_value(value).map_err(|error| {
        let place = if place.is_empty() { shown.to_owned() } else { format!("{shown}: {place}") };
        LocalError::setting(place, error.to_string())
    })
}

/// The environment that is meant. Its name counts in any case, as it does where protection is decided.
fn choose(
    envs: BTreeMap<String, Value>,
    named: Option<&str>,
    environment: &Environment,
    shown: &str,
) -> Result<(String, Written, Fields), LocalError> {
    let name = named.unwrap_or(DEFAULT);
    let known: Vec<String> = envs.keys().cloned().collect();
    let mut found = envs.into_iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    match (found.next(), found.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(at(shown, "envs", format!("{first} and {second} are one name, written in two ways: keep one")))
        }
        (Some((name, mut value)), None) => {
            let place = format!("envs.{name}");
            let own_variables = variables::take(&mut value, &place, shown)?;
            Ok((name, own_variables, fields(value, &place, environment, shown)?))
        }
        (None, _) if name == DEFAULT => Ok((name.to_owned(), Written::default(), Fields::default())),
        (None, _) => {
            let known = if known.is_empty() { "has none".to_owned() } else { format!("has {}", known.join(", ")) };
            Err(LocalError::setting(shown, format!("there is no environment {name}: envs {known}")))
        }
    }
}

/// The URL that a flag or the environment gives, and where. Beside an environment that was named, it might be another's.
fn url(
    args: &ProjectArgs,
    environment: &Environment,
    named: Option<&str>,
) -> Result<Option<(String, String)>, LocalError> {
    let flag = args.url.clone().map(|url| (url, "--url".to_owned()));
    let said = flag.or_else(|| {
        environment.get("DUNLIN_DATABASE_URL").map(|url| (url.to_owned(), "DUNLIN_DATABASE_URL".to_owned()))
    });
    match (&said, named) {
        (Some((_, place)), Some(name)) if !args.url_overrides => Err(LocalError::setting(
            place.clone(),
            format!(
                "gives a database while the environment {name} is named, which has its own: leave one of them out, or add --url-overrides"
            ),
        )),
        _ => Ok(said),
    }
}

/// What is said of the database, and which files of certificates it names.
fn said_of_database(
    root: &Fields,
    own: &Fields,
    own_place: &str,
    url: Option<(String, String)>,
    environment: &Environment,
    (beside, shown): (&Path, &str),
    places: &mut BTreeMap<String, String>,
) -> Result<(ByHand, BTreeMap<String, PathBuf>), LocalError> {
    let mut said: BTreeMap<&str, (String, String)> = BTreeMap::new();
    if url.is_none() {
        for (fields, place) in [(root, "database".to_owned()), (own, format!("{own_place}.database"))] {
            let Some(fields) = &fields.database else { continue };
            if fields.contains_key("url") {
                said.clear();
            }
            for (name, value) in fields {
                let place = format!("{shown}: {place}.{name}");
                let Some(text) = scalar(value) else {
                    return Err(LocalError::setting(place, "is neither text nor a number"));
                };
                said.insert(name, (text, place));
            }
        }
    }
    let mut certificates = BTreeMap::new();
    for name in ["sslrootcert", "sslcert", "sslkey"] {
        let variable = format!("PG{}", name.to_ascii_uppercase());
        let value = environment.get(&variable).map(PathBuf::from).map(|file| (file, variable));
        let field = said.remove(name).map(|(file, place)| (beside.join(file), place));
        if let Some((file, place)) = field.or(value).filter(|(file, _)| file.as_os_str() != "system") {
            certificates.insert(name.to_owned(), file);
            places.insert(format!("database.{name}"), place);
        }
    }
    let url = url.or_else(|| said.remove("url"));
    let fields =
        { said }.into_iter().map(|(name, (value, place))| Said { name: name.to_owned(), value, place }).collect();
    let absent = VARIABLES.iter().filter_map(|(variable, name)| {
        let value = environment.get(variable)?.to_owned();
        Some(Said { name: (*name).to_owned(), value, place: (*variable).to_owned() })
    });
    let absent: Vec<Said> = absent.collect();
    let named = absent.iter().any(|said| matches!(said.name.as_str(), "host" | "hostaddr" | "dbname"));
    let database = ByHand { url, fields, absent };
    if database.url.is_none() && database.fields.is_empty() && !named {
        return Ok((ByHand::default(), certificates));
    }
    Ok((database, certificates))
}

/// Where the fields of the file stand that count.
fn places(root: &Fields, own: &Fields, env: &str, shown: &str) -> BTreeMap<String, String> {
    let of_all = format!("{shown}: ");
    let of_env = format!("{shown}: envs.{env}.");
    let mut places = BTreeMap::new();
    let by_name = PROTECTED.iter().any(|name| env.eq_ignore_ascii_case(name));
    if by_name {
        places.insert("protected".to_owned(), "the environment's name".to_owned());
    }
    for (fields, place) in [(root, of_all), (own, of_env)] {
        let plain = [
            ("seeds", fields.seeds.is_some()),
            ("set", fields.set.is_some()),
            ("schema", fields.schema.is_some()),
            ("role", fields.role.is_some()),
            ("search_path", fields.search_path.is_some()),
            ("lock_id", fields.lock_id.is_some()),
            // A name that protects does so whatever the fields say.
            ("protected", fields.protected.is_some() && !by_name),
        ];
        let mut names: Vec<String> =
            { plain }.into_iter().filter(|(_, said)| *said).map(|(name, _)| name.to_owned()).collect();
        for (group, said) in [("policy", &fields.policy), ("approval", &fields.approval)] {
            names.extend(said.iter().flat_map(BTreeMap::keys).map(|field| format!("{group}.{field}")));
        }
        places.extend(names.into_iter().map(|name| (name.clone(), format!("{place}{name}"))));
    }
    places
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn lock_id(root: &Fields, own: &Fields, environment: &Environment) -> Result<Option<i64>, LocalError> {
    let variable = environment.get("DUNLIN_LOCK_ID").map(|text| (text.to_owned(), "DUNLIN_LOCK_ID"));
    let field = || own.lock_id.as_ref().or(root.lock_id.as_ref()).and_then(scalar).map(|text| (text, "lock_id"));
    let Some((text, place)) = variable.or_else(field).filter(|(text, _)| !text.is_empty()) else { return Ok(None) };
    let number = text.parse().map_err(|_| LocalError::setting(place, "is no whole number, as 894321 is"))?;
    Ok(Some(number))
}

fn merged(root: Option<BTreeMap<String, Value>>, own: Option<BTreeMap<String, Value>>) -> BTreeMap<String, Value> {
    let mut fields = root.unwrap_or_default();
    fields.extend(own.unwrap_or_default());
    fields
}

/// What nobody says is left to the contract's defaults.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}

fn at(shown: &str, field: &str, problem: String) -> LocalError {
    LocalError::setting(format!("{shown}: {field}"), problem)
}
