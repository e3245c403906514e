//! Several files into the text of one that does what they did, or why that can't be. Pure.
//!
//! What is written is read again before anybody gets it: it must hold the same statements in the same order, and run at the
//! place where they ran.

use std::{collections::BTreeSet, fmt::Write as _, ops::Range};

use crate::{
    cli::local::error::LocalError,
    core::{
        bundle::{Bundle, BundleFile},
        format::{self, Format},
        migration::{Migration, MigrationDir, Moment, Section, TransactionMode, Version, VersionKind, next_version},
        sql::{
            Boundaries, Kind, Script, SessionEffect, Statement,
            lexer::{Backslashes, Lexer, TokenKind},
        },
    },
};

/// The file that stands for others.
#[derive(Debug)]
pub struct Joined {
    /// Its version.
    pub version: String,
    /// Its name.
    pub file: String,
    /// What it holds.
    pub text: String,
    /// Those that have no way down, so that it has none.
    pub without_down: Vec<String>,
}

/// Joins the migrations at these places of the set's order under a name, as a file and as a title have it.
///
/// # Errors
/// [`LocalError::Impossible`] with the reason and what to do.
pub fn join(
    bundle: &Bundle,
    set: &MigrationDir,
    range: Range<usize>,
    (slug, title): (&str, &str),
) -> Result<Joined, LocalError> {
    let parts = &set.migrations()[range.clone()];
    if let [only] = parts {
        return refuse(format!("{} is alone, and one file is one already: nothing was changed", only.file));
    }
    check_modes(parts)?;
    check_replaced(set, parts)?;
    let without_down: Vec<String> =
        parts.iter().filter(|part| part.down.is_none()).map(|part| part.file.clone()).collect();
    let ups: Vec<Part> = parts.iter().map(|part| (part, &part.up)).collect();
    let downs: Vec<Part> = if without_down.is_empty() {
        parts.iter().rev().filter_map(|part| Some((part, part.down.as_ref()?))).collect()
    } else {
        Vec::new()
    };
    check_sessions(&ups)?;
    check_sessions(&downs)?;
    let version = version(set, parts)?;
    let mut text = header(set, range.start, parts, (&version, title));
    let _ = write!(text, "\n-- migrate: up\n{}", ups.iter().map(body).collect::<String>());
    if !downs.is_empty() {
        let _ = write!(text, "\n-- migrate: down\n{}", downs.iter().map(body).collect::<String>());
    }
    let joined = Joined { file: format!("{version}_{slug}.sql"), version, text, without_down };
    check(&joined, bundle, set, range, (&ups, &downs))?;
    Ok(joined)
}

/// A migration, and the way of it that is joined.
type Part<'a> = (&'a Migration, &'a Section);

fn refuse<T>(why: String) -> Result<T, LocalError> {
    Err(LocalError::Impossible(why))
}

/// One file runs in a transaction or outside of one.
fn check_modes(parts: &[Migration]) -> Result<(), LocalError> {
    let runs: Vec<&[Migration]> = parts.chunk_by(|one, next| one.mode == next.mode).collect();
    if runs.len() < 2 {
        return Ok(());
    }
    let how = |migration: &Migration| match migration.mode {
        TransactionMode::Transactional => "in a transaction",
        TransactionMode::NonTransactional => "outside of one (no-transaction)",
    };
    let boundaries = runs.windows(2).filter_map(|pair| {
        let (before, behind) = (pair[0].last()?, pair[1].first()?);
        Some(format!("{} runs {}, {} {}", before.file, how(before), behind.file, how(behind)))
    });
    let ranges = runs
        .iter()
        .filter(|run| run.len() > 1)
        .filter_map(|run| Some(format!("--from {} --to {}", run.first()?.version, run.last()?.version)));
    let (boundaries, ranges): (Vec<_>, Vec<_>) = (boundaries.collect(), ranges.collect());
    let instead = if ranges.is_empty() {
        "no two neighbours of the range run alike, so it stays as it is".to_owned()
    } else {
        format!("what can be joined is {}", ranges.join(", or "))
    };
    refuse(format!("one file can't do both: {}; {instead}", boundaries.join("; ")))
}

/// What a file stands for is recorded, or runs in its place: joined with it, it would run twice.
fn check_replaced(set: &MigrationDir, parts: &[Migration]) -> Result<(), LocalError> {
    let is_part = |version: &Version| parts.iter().any(|part| part.version == *version);
    for migration in set.migrations() {
        let there = migration.replaces.iter().filter_map(|version| set.get(version));
        if let Some(replaced) =
            there.into_iter().find(|replaced| is_part(&replaced.version) || is_part(&migration.version))
        {
            return refuse(format!(
                "{} stands for {}, whose file is still there: remove it when every database has it, then squash",
                migration.file, replaced.file
            ));
        }
    }
    Ok(())
}

/// Each file begins with a session as new. In one file, what one leaves in it would hold for those behind it.
fn check_sessions(parts: &[Part]) -> Result<(), LocalError> {
    let Some((_, before)) = parts.split_last() else { return Ok(()) };
    for (migration, section) in before {
        let place = |statement: &Statement| {
            format!("{}:{}:{}", migration.file, section.first_line + statement.line, statement.column)
        };
        if let Some(own) = section.script.own_transaction.as_ref().filter(|own| !own.modes.is_empty()) {
            return refuse(format!(
                "{} begins its own transaction as {}, which would hold for the others: leave it out of the range",
                migration.file, own.modes
            ));
        }
        let leaves = |statement: &&Statement| {
            let word = section.text[statement.span.clone()].split_whitespace().next().unwrap_or_default();
            statement.session != SessionEffect::None
                || word.eq_ignore_ascii_case("set") && statement.kind == Kind::Plain
        };
        if let Some(statement) = section.script.statements.iter().find(leaves) {
            return refuse(format!(
                "{}: leaves a setting or something temporary behind, which would hold for the files behind it: let the \
                 range end or begin there, or print it with --dry-run from a copy without that statement",
                place(statement)
            ));
        }
    }
    // The last one's own modes would come too late.
    let last = parts.last().and_then(|(last, section)| Some((last, section.script.own_transaction.as_ref()?)));
    match last.filter(|(_, own)| !own.modes.is_empty()) {
        Some((last, own)) => refuse(format!(
            "{} begins its own transaction as {}, which would come too late behind others: leave it out of the range",
            last.file, own.modes
        )),
        None => Ok(()),
    }
}

/// The version right behind the last of the range, which says nothing of when it was made: whoever squashes the same range
/// on another branch writes the same file, and both see it.
fn version(set: &MigrationDir, parts: &[Migration]) -> Result<String, LocalError> {
    let last = parts.iter().map(|part| &part.version).max();
    let text = next_version(last, Moment { millis: 0, day: "", time: "", random: 0 });
    let (Some(last), Ok(version)) = (last, Version::parse(&text)) else {
        return refuse(format!("behind the range there is no version: {text} is none"));
    };
    let taken = set.migrations().iter().find(|other| other.version > *last && other.version <= version);
    match taken {
        Some(other) => refuse(format!(
            "the new file needs a version between {last} and {}, where none is free, and behind it it would be out of \
             order: let the range go on to {} (--to {}), or squash when no file stands behind it",
            other.file, other.file, other.version
        )),
        None => Ok(text),
    }
}

fn header(set: &MigrationDir, start: usize, parts: &[Migration], (version, title): (&str, &str)) -> String {
    let mut text = format!("-- migration: {title}\n");
    if Version::parse(version).is_ok_and(|version| version.kind() == VersionKind::Ulid) {
        let _ = writeln!(text, "-- id: {version}");
    }
    let depends = depends(set, start, parts);
    if !depends.is_empty() {
        let _ = writeln!(text, "-- depends: {}", depends.join(", "));
    }
    let replaces: BTreeSet<&Version> =
        parts.iter().flat_map(|part| std::iter::once(&part.version).chain(&part.replaces)).collect();
    let replaces: Vec<&str> = replaces.into_iter().map(Version::as_str).collect();
    let _ = writeln!(text, "-- replaces: {}", replaces.join(", "));
    if parts.iter().any(|part| part.mode == TransactionMode::NonTransactional) {
        text.push_str("-- migrate: no-transaction\n");
    }
    if parts.iter().any(is_trusted) {
        text.push_str("-- migrate: trust-splitter\n");
    }
    text
}

/// What the range needs and isn't in it. Where one of its files doesn't say what it needs, it needs all that comes before.
fn depends(set: &MigrationDir, start: usize, parts: &[Migration]) -> Vec<String> {
    let before = &set.migrations()[..start];
    let mut needed: BTreeSet<&Version> = parts.iter().flat_map(|part| &part.depends).collect();
    needed.retain(|version| parts.iter().all(|part| part.version != **version));
    if !needed.is_empty() && parts.iter().any(|part| part.depends.is_empty()) {
        let is_end = |one: &&Migration| before.iter().all(|other| !other.depends.contains(&one.version));
        needed.extend(before.iter().filter(is_end).map(|end| &end.version));
    }
    let files = needed.into_iter().filter_map(|version| set.get(version));
    files.map(|file| format!("{}_{}", file.version, file.name)).collect()
}

/// Whether a file's statements were taken as found, though a grammar sees others.
fn is_trusted(migration: &Migration) -> bool {
    let reads = |section: &Section| Script::read(&section.text, migration.mode, Boundaries::CrossChecked).is_ok();
    !reads(&migration.up) || !migration.down.as_ref().is_none_or(reads)
}

/// A file's part: what ran, under its name, ended so that nothing behind it becomes a part of it.
fn body((migration, section): &Part) -> String {
    let Section { text, script, .. } = section;
    let description = migration.description.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
    let mut body = String::new();
    let mut from = 0;
    if script.own_transaction.is_some() {
        for statement in [script.statements.first(), script.statements.last()].into_iter().flatten() {
            body.push_str(&text[from..statement.span.start]);
            from = statement.span.end;
            from += usize::from(text[from..].starts_with(';'));
        }
    }
    body.push_str(&text[from..]);
    let body = format::without_directives(&body);
    let mut part = format!("-- {}{description}\n{}", migration.file, body.trim_matches('\n'));
    if !part.ends_with('\n') {
        part.push('\n');
    }
    if script.own_transaction.is_none() && script.statements.last().is_some_and(|last| !is_ended(text, last)) {
        // On a line of its own, for the one before it may end in a comment.
        part.push_str(";\n");
    }
    part.push('\n');
    part
}

fn is_ended(text: &str, last: &Statement) -> bool {
    last.copy_data.is_some()
        || Lexer::new(&text[last.span.end..], Backslashes::Ordinary).any(|token| token.kind == TokenKind::Semicolon)
}

/// Reads the new file in place of the old ones: the same statements, at the same place of the same order.
fn check(
    joined: &Joined,
    bundle: &Bundle,
    set: &MigrationDir,
    range: Range<usize>,
    (ups, downs): (&[Part], &[Part]),
) -> Result<(), LocalError> {
    let gone: BTreeSet<&str> = ups.iter().map(|(part, _)| part.file.as_str()).collect();
    let mut files: Vec<BundleFile> =
        bundle.files().iter().filter(|file| !gone.contains(file.name.as_str())).cloned().collect();
    let Joined { file, text, .. } = joined;
    files.push(BundleFile { name: file.clone(), bytes: text.clone().into(), origin: file.clone() });
    let wrong = |why: &str| LocalError::Impossible(format!("these can't be joined, and nothing was changed: {why}"));
    let bundle = Bundle::new(files).map_err(|error| wrong(&error.to_string()))?;
    let new = format::read(&bundle, Format::Auto).map_err(|error| wrong(&error.message))?;
    let order = |set: &MigrationDir| {
        let kept = set.migrations().iter().filter(|one| !gone.contains(one.file.as_str()) && one.file != *file);
        kept.map(|one| one.file.clone()).collect::<Vec<_>>()
    };
    let Some(written) = new.migrations().get(range.start).filter(|one| one.file == *file) else {
        return Err(wrong("the new file would not run where they ran; let the range reach further"));
    };
    if order(&new) != order(set) {
        return Err(wrong("the others would run in another order; let the range reach further"));
    }
    let ways = [(Some(&written.up), ups), (written.down.as_ref(), downs)];
    let same = ways.into_iter().all(|(section, parts)| {
        let expected: Vec<&str> = parts.iter().flat_map(|(_, section)| statements(section)).collect();
        section.map_or_else(Vec::new, |section| statements(section)) == expected
    });
    if same {
        Ok(())
    } else {
        Err(wrong("the new file would be split otherwise, which is a defect of Dunlin: report it"))
    }
}

/// What a section sends, and the data that goes with it.
fn statements(section: &Section) -> Vec<&str> {
    let Section { text, script, .. } = section;
    let own = script.own_transaction.is_some();
    let sent = script.statements.iter().filter(|one| !(own && matches!(one.kind, Kind::Begin | Kind::Commit)));
    sent.flat_map(|one| [Some(one.span.clone()), one.copy_data.clone()]).flatten().map(|span| &text[span]).collect()
}
