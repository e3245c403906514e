//! `dunlin config view`: the settings as they count, and where each was said. Secrets are never shown.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::{args::ProjectArgs, error::LocalError, project::Project};
use crate::{
    cli::{
        CliError,
        exit::Exit,
        output::{self, OutputFormat},
    },
    core::hook::Act,
};

/// Settings of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do with the settings.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print each setting as it counts, with the place that it comes from; a password is shown as `…`, and so is a variable
    /// of files whose value comes from the environment.
    ///
    /// A flag wins over a variable of the process, which wins over one of --env-file, which wins over the file; within the
    /// file, an environment's own fields win over those of all. `PG…` variables count for what neither a URL nor a field
    /// says.
    View(ViewArgs),
}

/// Settings of `config view`.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// How to print it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: ProjectArgs,
}

/// A setting. A format: fields are added, never renamed.
#[derive(Serialize)]
struct Setting {
    name: String,
    value: Value,
    from: String,
}

/// Prints the settings.
pub(in crate::cli) fn config(args: &ConfigArgs) -> Result<Exit, CliError> {
    let ConfigCommand::View(ViewArgs { output, project }) = &args.command;
    let settings = settings(&Project::open(project)?)?;
    match output {
        format @ (OutputFormat::Json | OutputFormat::Yaml) => output::print_as(*format, &settings)?,
        OutputFormat::Text => {
            let rows = settings.iter().map(|Setting { name, value, from }| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                vec![name.clone(), value, from.clone()]
            });
            output::print(&output::table(vec!["SETTING", "VALUE", "FROM"], &rows.collect::<Vec<_>>()))?;
        }
    }
    Ok(Exit::Done)
}

fn settings(project: &Project) -> Result<Vec<Setting>, LocalError> {
    let Project { settings, desired, counted } = project;
    let from = |name: &str| settings.places.get(name).map_or_else(|| "the default".to_owned(), Clone::clone);
    let setting = |name: &str, value: Value| Setting { name: name.to_owned(), value, from: from(name) };
    let mut shown = vec![
        setting("env", settings.env.clone().into()),
        setting("protected", settings.protected.into()),
        setting("migrations", settings.migrations.display().to_string().into()),
        setting("seeds", settings.seeds.display().to_string().into()),
        setting("set", desired.history.set.clone().into()),
        setting("schema", desired.history.schema.clone().into()),
    ];
    if let Some(lock_id) = desired.history.lock_id {
        shown.push(setting("lock_id", lock_id.into()));
    }
    if let Some(role) = &desired.session.role {
        shown.push(setting("role", role.clone().into()));
    }
    if !desired.session.search_path.is_empty() {
        shown.push(setting("search_path", desired.session.search_path.join(", ").into()));
    }
    shown.extend(settings.variables.iter().map(|(name, given)| {
        let value = given.value.clone().filter(|_| !given.is_secret).unwrap_or_else(|| "…".to_owned());
        Setting { name: format!("variables.{name}"), value: value.into(), from: given.place.clone() }
    }));
    let said = settings.database.counted()?;
    shown.extend(said.into_iter().map(|said| Setting {
        name: format!("database.{}", said.name),
        value: said.value.into(),
        from: said.place,
    }));
    for (name, path) in &settings.certificates {
        shown.push(Setting {
            name: format!("database.{name}"),
            value: path.display().to_string().into(),
            from: from(&format!("database.{name}")),
        });
    }
    for (group, fields) in counted.as_object().into_iter().flatten() {
        for (field, value) in fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            shown.push(setting(&format!("{group}.{field}"), value.clone()));
        }
    }
    for place in settings.hooks.places() {
        let commands = settings.hooks.at(place).iter().map(|hook| match &hook.act {
            Act::Command(command) => command.as_str(),
            Act::Sql(_) | Act::Job(_) | Act::Http(_) => "…",
        });
        let commands: Vec<&str> = commands.collect();
        shown.push(setting(&format!("hooks.{}", place.field()), commands.into()));
    }
    if let Some(hook) = settings.hooks.places().first().and_then(|place| settings.hooks.at(*place).first()) {
        shown.push(setting("hooks.timeout", format!("{:?}", hook.timeout).into()));
    }
    Ok(shown)
}
