//! `dunlin init`, `create`, `heads` and `merge`: files alone, no database.

use std::path::{Path, PathBuf};

use clap::Args;
use rand::RngExt as _;

use super::{args::FilesArgs, error::LocalError, project::Project, settings, talk};
use crate::{
    cli::{
        CliError,
        exit::Exit,
        output::{self, OutputFormat},
    },
    core::{
        format::Format,
        migration::{Migration, MigrationDir, Moment, Version, next_version},
    },
    source::dir,
};

/// Settings of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where; this folder, unless another is said.
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub folder: PathBuf,
}

/// Settings of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What the migration does: `add_users_table`, or "Add users table".
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Let it run outside of a transaction.
    #[arg(long)]
    pub no_transaction: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

/// Settings of `heads`.
#[derive(Debug, Args)]
pub struct HeadsArgs {
    /// How to print them.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

/// Settings of `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The new file's name; merge, unless another is said.
    #[arg(value_name = "NAME", default_value = "merge")]
    pub name: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

const SETTINGS: &str = "\
# Settings of dunlin. ${VARIABLES} are those of the environment; no password belongs here.
database:
  host: localhost
  user: postgres
  dbname: postgres
  # password: ${DB_PASSWORD}

# envs:
#   production:
#     database:
#       host: db.example.com
#       dbname: shop
";

/// Makes a folder for migrations, and settings.
pub(in crate::cli) fn init(args: &InitArgs) -> Result<Exit, LocalError> {
    let file = args.folder.join(settings::FILE);
    let migrations = args.folder.join("migrations");
    for path in [&file, &migrations] {
        if path.exists() {
            return Err(LocalError::Exists { path: path.clone(), instead: "nothing was changed; edit what is there" });
        }
    }
    std::fs::create_dir_all(&migrations).map_err(|source| LocalError::Write { path: migrations.clone(), source })?;
    write_new(&file, SETTINGS)?;
    let (file, migrations) = (file.display(), migrations.display());
    talk::say("made", format!("made {file} and {migrations}: dunlin create NAME writes the first migration"));
    Ok(Exit::Done)
}

/// Writes a migration for somebody to fill in.
pub(in crate::cli) fn create(args: &CreateArgs) -> Result<Exit, CliError> {
    let project = Project::open_files(&args.project)?;
    let folder = &project.settings.migrations;
    let mode = if args.no_transaction { "-- migrate: no-transaction\n" } else { "" };
    let body = |version: &str| {
        let id = if version.len() == 26 { format!("-- id: {version}\n") } else { String::new() };
        format!("-- migration: {}\n{id}{mode}\n-- migrate: up\n\n\n-- migrate: down\n\n", title(&args.name))
    };
    write(folder, &args.name, last(folder)?.as_ref(), body)
}

/// Prints the ends of the set's branches.
pub(in crate::cli) fn heads(args: &HeadsArgs) -> Result<Exit, CliError> {
    let project = Project::open_files(&args.project)?;
    let content = project.content()?;
    let heads = content.dir.heads();
    match args.output {
        OutputFormat::Json => {
            let heads =
                heads.iter().map(|head| serde_json::json!({"version": head.version.as_str(), "name": head.name}));
            output::print_json(&heads.collect::<Vec<_>>())?;
        }
        OutputFormat::Text => {
            let lines: Vec<String> = heads.iter().map(|head| format!("{}_{}\n", head.version, head.name)).collect();
            output::print(&lines.concat())?;
        }
    }
    Ok(Exit::Done)
}

/// Writes a migration that needs every head and does nothing, so that what comes next needs one file alone.
pub(in crate::cli) fn merge(args: &MergeArgs) -> Result<Exit, CliError> {
    let project = Project::open_files(&args.project)?;
    let content = project.content()?;
    let heads = content.dir.heads();
    if heads.len() < 2 {
        let head = heads.first().map_or_else(String::new, |head| format!(": {}", head.file));
        return Err(LocalError::Impossible(format!(
            "there is one head{head}; nothing is to be merged, and nothing was written"
        ))
        .into());
    }
    let text = joined(&heads);
    write(&project.settings.migrations, &args.name, highest(&content.dir), |_| text.clone())
}

fn joined(heads: &[&Migration]) -> String {
    let named: Vec<String> = heads.iter().map(|head| format!("{}_{}", head.version, head.name)).collect();
    format!(
        "-- migration: Merge {}\n-- depends: {}\n\n-- migrate: up\n-- It joins branches: there is nothing to run.\n\n\
         -- migrate: down\n-- There is nothing to undo.\n",
        named.join(" and "),
        named.join(", ")
    )
}

/// The highest version of a folder; None where there is no file yet.
fn last(folder: &Path) -> Result<Option<Version>, LocalError> {
    let mut entries = std::fs::read_dir(folder).map_err(|source| LocalError::Read {
        path: folder.to_owned(),
        source,
        instead: "run dunlin init, or name the folder with --migrations",
    })?;
    let is_shown = |name: &std::ffi::OsStr| !name.as_encoded_bytes().starts_with(b".");
    if !entries.any(|entry| entry.is_ok_and(|entry| is_shown(&entry.file_name()))) {
        return Ok(None);
    }
    Ok(highest(&dir::read(folder, Format::Auto)?.dir).cloned())
}

fn highest(dir: &MigrationDir) -> Option<&Version> {
    dir.migrations().iter().map(|migration| &migration.version).max()
}

/// Writes a new migration, and prints its path.
fn write(folder: &Path, name: &str, last: Option<&Version>, body: impl Fn(&str) -> String) -> Result<Exit, CliError> {
    let slug = slug(name)?;
    #[expect(clippy::disallowed_methods, reason = "a command begins here")]
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let (day, time) = (now.strftime("%Y%m%d").to_string(), now.strftime("%H%M%S").to_string());
    let millis = u64::try_from(now.timestamp().as_millisecond()).unwrap_or_default();
    let moment = Moment { millis, day: &day, time: &time, random: rand::rng().random() };
    let version = next_version(last, moment);
    let path = folder.join(format!("{version}_{slug}.sql"));
    write_new(&path, &body(&version))?;
    output::print(&format!("{}\n", path.display()))?;
    Ok(Exit::Done)
}

pub(super) fn write_new(path: &Path, text: &str) -> Result<(), LocalError> {
    use std::io::Write as _;
    let file = std::fs::File::options().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| LocalError::Write { path: path.to_owned(), source })
}

/// A name as a file has it: letters and digits of ASCII in lower case, one `_` between words.
///
/// # Errors
/// It has none of them.
pub(super) fn slug(name: &str) -> Result<String, LocalError> {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let slug = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_");
    if slug.is_empty() {
        return Err(LocalError::setting(format!("{name:?}"), "has no letter or digit to make a file's name of"));
    }
    Ok(slug)
}

/// A name as a title has it.
pub(super) fn title(name: &str) -> String {
    let title: String = name.replace('_', " ").chars().filter(|letter| !letter.is_control()).collect();
    let mut letters = title.trim().chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M10: a name without a letter or a digit makes no file.
    #[test]
    fn a_name_becomes_a_files_and_a_title() {
        for (name, expected, title_of_it) in [
            ("add_users_table", Some("add_users_table"), "Add users table"),
            ("Add  users, table!", Some("add_users_table"), "Add  users, table!"),
            ("!!!", None, "!!!"),
            ("../evil", Some("evil"), "../evil"),
            ("naïve\n-- migrate: up", Some("na_ve_migrate_up"), "Naïve-- migrate: up"),
        ] {
            assert_eq!((slug(name).ok().as_deref(), title(name).as_str()), (expected, title_of_it), "{name:?}");
        }
    }
}
