//! `dunlin pack`: a folder into ConfigMaps and the MigrationSet that refers to them. Files alone, no cluster.

mod objects;

use std::path::{Path, PathBuf};

use clap::Args;

use super::{args::FilesArgs, error::LocalError, project::Project, settings::DEFAULT, talk};
use crate::{
    cli::{CliError, exit::Exit, output},
    core::{
        bundle::Bundle,
        format::{self, Format},
        outcome::Failure,
    },
    source::{dir, seeds},
    yaml,
};

/// Settings of `pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// The MigrationSet's name; the ConfigMaps' begin with it.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// The namespace of all of them.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    pub namespace: String,
    /// The Secret that says how to reach the database, in the same namespace.
    #[arg(long, value_name = "SECRET")]
    pub secret: String,
    /// How to write it.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: PackFormat,
    /// Pack the folder of seeds too: those of all environments, and those of --env.
    #[arg(long)]
    pub seeds: bool,
    /// Write a file for each object into this folder, in place of stdout.
    #[arg(long, value_name = "FOLDER")]
    pub output_dir: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

/// How objects are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PackFormat {
    /// Documents of YAML.
    #[default]
    Yaml,
}

/// The first line of what is written into a folder: what doesn't begin with it is somebody's own.
const MARK: &str = "# Written by dunlin pack, which overwrites it. Apply it with kubectl apply --server-side.\n";

/// Writes the objects.
pub(in crate::cli) fn pack(args: &PackArgs) -> Result<Exit, CliError> {
    let PackArgs { name, namespace, secret, output: PackFormat::Yaml, seeds: with_seeds, output_dir, project } = args;
    let project = Project::open_files(project)?;
    let bundle = sound(&project.settings.migrations)?;
    let names = objects::Names { name, namespace, secret };
    let mut objects = objects::objects(&bundle, names, &project.settings.spec)?;
    if *with_seeds {
        pack_seeds(&project, &mut objects, names)?;
    } else if project.settings.seeds.is_dir() {
        talk::say("note", format!("{} isn't packed: --seeds packs it too", project.settings.seeds.display()));
    }
    let texts: Vec<(&str, String)> = objects
        .iter()
        .map(|object| Ok((object.file.as_str(), yaml::to_string(&object.body)?)))
        .collect::<Result<_, yaml::YamlError>>()
        .map_err(|error| CliError::Encode(error.into()))?;
    match output_dir {
        None => {
            let documents: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
            output::print(&format!("{MARK}{}", documents.join("---\n")))?;
        }
        Some(folder) => {
            let paths = write(folder, &texts)?;
            let lines: Vec<String> = paths.iter().map(|path| format!("{}\n", path.display())).collect();
            output::print(&lines.concat())?;
        }
    }
    talk::say(
        "note",
        format!("packed {} files into {} ConfigMaps: {}", bundle.files().len(), objects.len() - 1, bundle.digest()),
    );
    Ok(Exit::Done)
}

/// Adds the seeds of the environment, if the operator would take them.
fn pack_seeds(
    project: &Project,
    objects: &mut Vec<objects::Object>,
    names: objects::Names<'_>,
) -> Result<(), LocalError> {
    let settings = &project.settings;
    let environment = Some(settings.env.as_str()).filter(|env| *env != DEFAULT);
    seeds::of_folder(&settings.seeds, environment)?;
    objects::add_seeds(objects, &seeds::bundle_of_folder(&settings.seeds)?, environment, names)
}

/// The files of a folder, if the operator would take them.
fn sound(folder: &Path) -> Result<Bundle, LocalError> {
    let bundle = dir::bundle(folder)?;
    format::read(&bundle, Format::Auto).map_err(|error| Failure::new(error.reason, error.message))?;
    Ok(bundle)
}

/// Writes all of them, or none where one would overwrite what somebody else has written.
fn write(folder: &Path, texts: &[(&str, String)]) -> Result<Vec<PathBuf>, LocalError> {
    let paths: Vec<PathBuf> = texts.iter().map(|(file, _)| folder.join(file)).collect();
    let is_foreign =
        |path: &&PathBuf| path.exists() && !std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(MARK.as_bytes()));
    if let Some(path) = paths.iter().find(is_foreign) {
        let instead = "dunlin pack hasn't written it, and nothing was changed; name another folder or another --name";
        return Err(LocalError::Exists { path: path.clone(), instead });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LocalError::Write { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for (path, (_, text)) in paths.iter().zip(texts) {
        std::fs::write(path, format!("{MARK}{text}")).map_err(failed(path))?;
    }
    Ok(paths)
}
