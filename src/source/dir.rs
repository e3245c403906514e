//! A folder's files into a migration directory, as a person works on them.
//!
//! Everything in it is a migration file, or hidden: a file that is neither is an error that names it, as it would be in a
//! ConfigMap. Folders in it are not looked into.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    vec,
};

use super::{Content, files::Files};
use crate::core::{
    bundle::{Bundle, BundleFile},
    format::Format,
    outcome::{Failure, Reason},
};

/// Reads the migration files of a folder.
///
/// # Errors
/// `WaitingForSource` when the folder isn't there or can't be read, and `InvalidSource`, `DuplicateVersion` or
/// `DependencyCycle` for what is wrong with its files.
pub fn read(folder: &Path, format: Format) -> Result<Content, Failure> {
    collect(folder)?.read(format)
}

/// Takes the files of a folder as they are, whatever they hold.
///
/// # Errors
/// `WaitingForSource` when the folder isn't there or can't be read, and `InvalidSource` for what is no migration file.
pub fn bundle(folder: &Path) -> Result<Bundle, Failure> {
    collect(folder)?.bundle()
}

/// Takes the files of a folder that are migration files by their names, and what is wrong with the others.
///
/// # Errors
/// `WaitingForSource` when the folder isn't there or can't be read.
pub fn parts(folder: &Path) -> Result<(Vec<BundleFile>, Vec<String>), Failure> {
    Ok(collect(folder)?.into_parts())
}

fn collect(folder: &Path) -> Result<Files, Failure> {
    let mut reading = Reading::open(folder)?;
    while reading.read_some() {}
    Ok(reading.files)
}

/// A folder that is being read: some files, then others, so that who reads can look after something else in between.
pub struct Reading {
    entries: vec::IntoIter<Entry>,
    files: Files,
    scratch: Vec<u8>,
}

impl Reading {
    /// Lists the folder.
    ///
    /// # Errors
    /// `WaitingForSource` when the folder isn't there or can't be read.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let mut files = Files::default();
        let absent = "name the folder with --migrations or in dunlin.yaml, or run dunlin init";
        let entries = entries(folder, absent, &mut files)?.into_iter();
        Ok(Self { entries, files, scratch: Vec::with_capacity(SCRATCH) })
    }

    /// Reads the next few files; false when there are no more.
    pub fn read_some(&mut self) -> bool {
        for entry in self.entries.by_ref().take(SOME) {
            if entry.is_folder {
                let problem = format!("{}: a folder, which is not looked into; keep it elsewhere", entry.origin());
                self.files.refuse(problem);
            } else if let Some(bytes) = entry.read(&mut self.scratch, &mut self.files) {
                let origin = entry.origin();
                self.files.add(entry.name, bytes, origin);
            }
        }
        self.entries.len() > 0
    }

    /// What the files say.
    ///
    /// # Errors
    /// As [`read`].
    pub fn end(self, format: Format) -> Result<Content, Failure> {
        self.files.read(format)
    }
}

/// Files that are read before anything else is looked after: a fraction of a millisecond's.
const SOME: usize = 16;

/// What one file after the other is read into, in bytes: nearly all fit, and have it for one call to the system.
pub(super) const SCRATCH: usize = 32 << 10;

/// What stands in a folder and isn't hidden.
pub(super) struct Entry {
    /// Its name in the folder.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a folder, or a link to one.
    pub is_folder: bool,
}

impl Entry {
    /// Where it is, for messages.
    pub fn origin(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Its bytes, by way of `scratch`; one that can't be read is wrong with the files.
    pub fn read(&self, scratch: &mut Vec<u8>, files: &mut Files) -> Option<Vec<u8>> {
        scratch.clear();
        // Behind `take`, nobody asks for the file's size first.
        let read = File::open(&self.path).and_then(|file| file.take(u64::MAX).read_to_end(scratch));
        let refuse = |error| files.refuse(format!("{}: {error}; see to it that it can be read", self.origin()));
        read.map_err(refuse).ok().map(|_| scratch.clone())
    }
}

/// Lists a folder by name; `absent` says what to do where there is none. A name that isn't text is wrong with the files.
///
/// # Errors
/// `WaitingForSource` when the folder isn't there or can't be read.
pub(super) fn entries(folder: &Path, absent: &str, files: &mut Files) -> Result<Vec<Entry>, Failure> {
    let trouble = |error: io::Error| {
        let cure = match error.kind() {
            io::ErrorKind::NotFound => absent,
            io::ErrorKind::NotADirectory => "name the folder, not a file in it",
            _ => "see to it that it can be read",
        };
        Failure::new(Reason::WaitingForSource, format!("{}: {error}; {cure}", folder.display()))
    };
    let named = |entry: io::Result<fs::DirEntry>| entry.map(|entry| (entry.file_name(), entry));
    let found = fs::read_dir(folder).and_then(|listed| listed.map(named).collect());
    let mut found: Vec<(OsString, fs::DirEntry)> = found.map_err(trouble)?;
    found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut entries = Vec::with_capacity(found.len());
    for (name, entry) in found {
        let path = entry.path();
        // The listing says what a name stands for without another call; it doesn't look behind links.
        let is_folder = entry
            .file_type()
            .map_or_else(|_| path.is_dir(), |kind| kind.is_dir() || (kind.is_symlink() && path.is_dir()));
        match name.into_string() {
            Ok(name) if name.starts_with('.') => {}
            Ok(name) => entries.push(Entry { name, path, is_folder }),
            Err(_) => files.refuse(format!("{}: its name isn't UTF-8; rename it", path.display())),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    /// P03, H08: what isn't there is an error, and never "up to date".
    #[test]
    fn a_folder_that_is_absent_or_empty_is_an_error() {
        let empty = folder(&[]);
        let failure = read(empty.path(), Format::Auto).expect_err("there is nothing in it");
        assert_eq!(failure.reason, Reason::InvalidSource);
        let absent = read(&empty.path().join("gone"), Format::Auto).expect_err("it isn't there");
        assert_eq!(absent.reason, Reason::WaitingForSource);
        assert!(absent.message.contains("gone") && absent.message.contains("dunlin init"), "{absent}");
    }

    /// P23: a file that doesn't fit is an error, not a skip.
    #[test]
    fn everything_in_a_folder_is_a_migration_file_or_hidden() {
        let sound = folder(&[("001_a.sql", "SELECT 1;"), (".gitkeep", "")]);
        assert_eq!(read(sound.path(), Format::Auto).expect("all of it is sound").files, 1);
        let odd = folder(&[("001_a.sql", "SELECT 1;"), ("002_b.SQL", ""), ("notes.txt", "")]);
        fs::create_dir(odd.path().join("more")).expect("a folder");
        let failure = read(odd.path(), Format::Auto).expect_err("some are no migration files");
        assert_eq!(failure.reason, Reason::InvalidSource);
        for named in ["002_b.SQL", "notes.txt", "more: a folder"] {
            assert!(failure.message.contains(named), "{failure}");
        }
    }
}
