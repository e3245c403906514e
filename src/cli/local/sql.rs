//! `dunlin sql`: the SQL of a range of files, byte for byte, without a database.

use clap::Args;

use super::{
    args::FilesArgs,
    error::LocalError,
    project::Project,
    talk::{self, Event},
};
use crate::{
    cli::{CliError, exit::Exit, output},
    core::{
        migration::{Direction, Migration, MigrationDir, Section, TransactionMode, Version},
        outcome::{Failure, Reason},
    },
};

/// Settings of `sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The first version, in the order in which they run; without it, the first of all.
    #[arg(long, value_name = "VERSION")]
    pub from: Option<String>,
    /// The last version; without it, the last of all.
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// The ways down of the same range, the last version's first.
    #[arg(long)]
    pub down: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub project: FilesArgs,
}

/// Prints the range.
pub(in crate::cli) fn sql(args: &SqlArgs) -> Result<Exit, CliError> {
    let project = Project::open_files(&args.project)?;
    let dir = project.content()?.dir;
    let migrations = range(&dir, args)?;
    let direction = if args.down { Direction::Down } else { Direction::Up };
    let mut sections: Vec<(&Migration, &Section)> = Vec::new();
    for migration in migrations {
        let section = match direction {
            Direction::Up => Some(&migration.up),
            Direction::Down => migration.down.as_ref(),
        };
        let section = section.ok_or_else(|| {
            let why = format!(
                "{} has no way down: write its `-- migrate: down` section, or choose a range without it",
                migration.file
            );
            LocalError::from(Failure::new(Reason::NoDownMigration, why))
        })?;
        sections.push((migration, section));
    }
    if direction == Direction::Down {
        sections.reverse();
    }
    for (at, (migration, section)) in sections.iter().enumerate() {
        let alone = if migration.mode == TransactionMode::NonTransactional { ", outside of a transaction" } else { "" };
        let words = format!("{} {}_{}{alone}", direction.word(), migration.version, migration.name);
        Event::new("printed", words).set(&project.desired.history.set).of(&migration.version, direction).say();
        if at + 1 < sections.len() && is_open(section) {
            let words = format!(
                "{} ends without a semicolon: as printed, what follows joins its last statement",
                migration.file
            );
            talk::say("note", words);
        }
    }
    output::print(&sections.iter().map(|(_, section)| section.text.as_str()).collect::<String>())?;
    Ok(Exit::Done)
}

/// The migrations of the range, in the order in which they run.
fn range<'a>(dir: &'a MigrationDir, args: &SqlArgs) -> Result<&'a [Migration], LocalError> {
    let migrations = dir.migrations();
    let from = args.from.as_deref().map(|text| position(dir, "--from", text)).transpose()?.unwrap_or(0);
    let to = args.to.as_deref().map(|text| position(dir, "--to", text)).transpose()?;
    let end = to.map_or(migrations.len(), |to| to + 1);
    if from > end.saturating_sub(1) && !migrations.is_empty() {
        let (from, to) = (&migrations[from].file, &migrations[end - 1].file);
        return Err(LocalError::setting("--from", format!("{from} runs after {to}: there is nothing between them")));
    }
    Ok(&migrations[from..end])
}

fn position(dir: &MigrationDir, flag: &str, text: &str) -> Result<usize, LocalError> {
    let (version, name) = Version::parse_reference(text).map_err(|why| LocalError::setting(flag, why))?;
    let migrations = dir.migrations();
    let Some(position) = dir.position(&version) else {
        let files = match migrations {
            [] => "there are none".to_owned(),
            [first, .., last] => format!("there are {} to {}", first.file, last.file),
            [only] => format!("there is {} alone", only.file),
        };
        return Err(LocalError::setting(flag, format!("no file has the version {text}; {files}")));
    };
    match name {
        Some(name) if name != migrations[position].name => {
            let why = format!("{text} is named, but that version's file is {}", migrations[position].file);
            Err(LocalError::setting(flag, why))
        }
        _ => Ok(position),
    }
}

/// Whether its last statement goes on into whatever is printed behind it.
fn is_open(section: &Section) -> bool {
    let Some(last) = section.script.statements.last() else { return false };
    last.copy_data.is_none() && !section.text[last.span.end..].contains(';')
}
