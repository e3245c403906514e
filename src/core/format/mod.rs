//! A bundle into a migration directory; one file a convention.
//!
//! The whole set is read, checked and ordered before anything runs, and everything that is wrong with it is said at once.

pub mod dunlin;
mod file;
mod markers;
pub mod metapg;
mod problems;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, hash_map::Entry};

pub(super) use file::line_alone;
pub use file::without_directives;
pub(super) use markers::distance;

use file::{Draft, Reference};
use problems::Problems;

use super::{
    bundle::{Bundle, BundleFile},
    graph,
    migration::{Migration, MigrationDir, Version, VersionKind},
    outcome::Reason,
};

/// The convention by which files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Told from the files: Dunlin's own, which reads Migretti's and metapg's too.
    #[default]
    Auto,
    /// Dunlin's own, a superset of Migretti's and metapg's.
    Dunlin,
    /// metapg.migration's.
    Metapg,
}

/// Why a bundle is no migration directory. Everything that is wrong is reported, not just the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// `InvalidSource`, `DuplicateVersion` or `DependencyCycle`.
    pub reason: Reason,
    /// Says what, where (`003_add_index.sql:12:7`), and what to do.
    pub message: String,
}

/// One thing that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceProblem {
    /// `InvalidSource`, `DuplicateVersion` or `DependencyCycle`.
    pub reason: Reason,
    /// Where it stands; None for what is wrong between files.
    pub place: Option<Place>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
}

impl std::fmt::Display for SourceProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Some(Place { file, line, column }) => write!(f, "{file}:{line}:{column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// A file whose name is a migration's, whatever it holds.
struct Named<'a> {
    file: &'a BundleFile,
    version: Version,
    name: &'a str,
}

/// Reads, checks and orders a whole bundle.
///
/// # Errors
/// [`SourceError`] for the first class of trouble by precedence, its message naming every place.
pub fn read(bundle: &Bundle, format: Format) -> Result<MigrationDir, SourceError> {
    check(bundle, format).map_err(|found| problems::joined(&found))
}

/// Reads and checks a whole bundle for everything that is wrong with it, however much that is.
///
/// # Errors
/// All of it, that of the strongest reason first; cycles are looked for where nothing else is wrong.
pub fn check(bundle: &Bundle, format: Format) -> Result<MigrationDir, Vec<SourceProblem>> {
    let mut problems = Problems::default();
    let migrations = read_files(bundle, format, &mut problems);
    let mut found = problems.into_list();
    if found.is_empty() {
        let mut problems = Problems::default();
        let ordered = order(migrations, &mut problems);
        found = problems.into_list();
        if found.is_empty() {
            return Ok(MigrationDir::new(ordered));
        }
    }
    Err(found)
}

fn read_files(bundle: &Bundle, format: Format, problems: &mut Problems) -> Vec<(Migration, Vec<Reference>)> {
    let convention = match format {
        Format::Auto | Format::Dunlin => &dunlin::DUNLIN,
        Format::Metapg => &metapg::METAPG,
    };
    let mut named = Vec::with_capacity(bundle.files().len());
    let mut drafts = Vec::with_capacity(bundle.files().len());
    if bundle.files().is_empty() {
        problems.add(
            Reason::InvalidSource,
            "the source holds no migration file: put one into it, named as in 001_users.sql".into(),
        );
    }
    for file in bundle.files() {
        let Some((version, name)) = file::named(file, convention, problems) else { continue };
        drafts.extend(file::read(file, (version.clone(), name), convention, problems));
        named.push(Named { file, version, name });
    }
    check_kinds(&named, problems);
    let known = unique(&named, problems);
    resolve(drafts, &named, &known, problems)
}

/// One kind of version to a set: between two kinds there is no order that anybody means. A number of eight digits may be a
/// date.
fn check_kinds(named: &[Named], problems: &mut Problems) {
    let (mut ulid, mut date, mut number, mut eight_digits) = (None, None, None, None);
    for named in named {
        let first = match named.version.kind() {
            VersionKind::Ulid => &mut ulid,
            VersionKind::Date => &mut date,
            VersionKind::Number if named.version.may_be_a_date() => &mut eight_digits,
            VersionKind::Number => &mut number,
        };
        first.get_or_insert(named);
    }
    let [ulid, date, number, either] =
        [(ulid, "a ULID"), (date, "a date"), (number, "a number"), (eight_digits, "a date")]
            .map(|(first, kind)| first.map(|named| (named, kind)));
    for (one, other) in [(ulid, date.or(number).or(either)), (date, number)] {
        if let (Some((one, one_kind)), Some((other, other_kind))) = (one, other) {
            problems.add(
                Reason::InvalidSource,
                format!(
                    "the versions are of two kinds: that of {} is {one_kind}, that of {} {other_kind}; one set has one kind: rename the one that isn't applied yet",
                    one.file.name, other.file.name
                ),
            );
        }
    }
}

/// The files by their versions, of which each may have one.
fn unique<'a>(named: &'a [Named<'a>], problems: &mut Problems) -> HashMap<&'a Version, &'a Named<'a>> {
    let mut first: HashMap<&Version, &Named> = HashMap::with_capacity(named.len());
    for this in named {
        let other = match first.entry(&this.version) {
            Entry::Occupied(other) => *other.get(),
            Entry::Vacant(place) => {
                place.insert(this);
                continue;
            }
        };
        problems.add(
            Reason::DuplicateVersion,
            format!(
                "{} ({}) and {} ({}) have the same version: give the one that isn't applied yet another",
                other.file.name, other.file.origin, this.file.name, this.file.origin
            ),
        );
    }
    first
}

/// Turns references into versions of the set.
fn resolve(
    drafts: Vec<Draft>,
    named: &[Named],
    known: &HashMap<&Version, &Named>,
    problems: &mut Problems,
) -> Vec<(Migration, Vec<Reference>)> {
    // Who needs a migration that was replaced needs the one that stands for it.
    let replacing: HashMap<Version, Version> = drafts
        .iter()
        .flat_map(|draft| {
            draft.replaces.iter().map(|reference| (reference.version.clone(), draft.migration.version.clone()))
        })
        .collect();
    drafts.into_iter().map(|draft| resolve_draft(draft, named, known, &replacing, problems)).collect()
}

fn resolve_draft(
    draft: Draft,
    named: &[Named],
    known: &HashMap<&Version, &Named>,
    replacing: &HashMap<Version, Version>,
    problems: &mut Problems,
) -> (Migration, Vec<Reference>) {
    let Draft { mut migration, depends, replaces } = draft;
    let place = |reference: &Reference| (reference.location.line, reference.location.column);
    for reference in &depends {
        let (line, column) = place(reference);
        if let Some(found) = known.get(&reference.version) {
            if let Some(message) = misnamed(reference, found) {
                problems.at(&migration.file, line, column, &message);
            }
            migration.depends.push(found.version.clone());
        } else if let Some(version) = replacing.get(&reference.version) {
            migration.depends.push(version.clone());
        } else {
            let close = if problems.is_full() { String::new() } else { close(reference, &migration.file, named) };
            let message = format!(
                "depends on {}, which isn't in the source{close}: add its file, or remove it from `-- depends:`",
                reference.text
            );
            problems.at(&migration.file, line, column, &message);
        }
    }
    for reference in &replaces {
        let (line, column) = place(reference);
        if reference.version == migration.version {
            problems.at(
                &migration.file,
                line,
                column,
                "a migration can't replace itself: remove it from `-- replaces:`",
            );
        }
        let found = known.get(&reference.version);
        if let Some(message) = found.and_then(|found| misnamed(reference, found)) {
            problems.at(&migration.file, line, column, &message);
        }
        migration.replaces.push(found.map_or_else(|| reference.version.clone(), |found| found.version.clone()));
    }
    for list in [&mut migration.depends, &mut migration.replaces] {
        list.sort();
        list.dedup();
    }
    (migration, depends)
}

/// A reference with a name must name the file.
fn misnamed(reference: &Reference, found: &Named) -> Option<String> {
    let name = reference.name.as_deref()?;
    (name != found.name).then(|| {
        format!("{} is named, but that version's file is {}: correct the name", reference.text, found.file.name)
    })
}

/// Up to three other files that may have been meant.
fn close(reference: &Reference, from: &str, named: &[Named]) -> String {
    let mut close: Vec<(usize, &str)> = Vec::new();
    for Named { file, version, name } in named.iter().filter(|named| named.file.name != from) {
        let stem = file.name.strip_suffix(".sql").unwrap_or(&file.name);
        let distance =
            markers::distance(&reference.text, stem).min(markers::distance(&reference.text, version.as_str()));
        if reference.name.as_deref() == Some(*name) {
            close.push((0, stem));
        } else if distance <= 2 && distance < reference.text.len() {
            close.push((distance, stem));
        }
    }
    close.sort_unstable();
    let stems: Vec<&str> = close.into_iter().take(3).map(|(_, stem)| stem).collect();
    if stems.is_empty() { String::new() } else { format!(" (did you mean {}?)", stems.join(" or ")) }
}

/// Dependencies first, then by version.
fn order(mut migrations: Vec<(Migration, Vec<Reference>)>, problems: &mut Problems) -> Vec<Migration> {
    migrations.sort_unstable_by(|(one, _), (other, _)| one.version.cmp(&other.version));
    if migrations.iter().all(|(migration, _)| migration.depends.is_empty()) {
        return migrations.into_iter().map(|(migration, _)| migration).collect();
    }
    let places: HashMap<&Version, usize> =
        migrations.iter().enumerate().map(|(place, (migration, _))| (&migration.version, place)).collect();
    let depends: Vec<Vec<usize>> = migrations
        .iter()
        .map(|(migration, _)| migration.depends.iter().filter_map(|version| places.get(version).copied()).collect())
        .collect();
    match graph::order(&depends) {
        Ok(order) => {
            let mut ranks = vec![0; order.len()];
            for (rank, &place) in order.iter().enumerate() {
                ranks[place] = rank;
            }
            // Where they are, rather than from one list into another: a migration isn't small.
            let rank = |(place, (migration, _))| (ranks[place], migration);
            let mut ranked: Vec<(usize, Migration)> = migrations.into_iter().enumerate().map(rank).collect();
            ranked.sort_unstable_by_key(|(rank, _)| *rank);
            ranked.into_iter().map(|(_, migration)| migration).collect()
        }
        Err(cycles) => {
            for cycle in cycles {
                let around = cycle.iter().chain(cycle.first());
                let versions: Vec<&str> = around.map(|&place| migrations[place].0.version.as_str()).collect();
                let lines = cycle.iter().filter_map(|&place| {
                    let (migration, references) = &migrations[place];
                    let line = references.first()?.location.line;
                    Some(format!("{}:{line}", migration.file))
                });
                let message = format!(
                    "{}: each depends on the next; remove one of `-- depends:` in {}",
                    versions.join(" -> "),
                    lines.collect::<Vec<_>>().join(", ")
                );
                problems.add(Reason::DependencyCycle, message);
            }
            Vec::new()
        }
    }
}
