//! The new file into the folder, and those that it stands for out of it: all of that, or nothing.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::join::Joined;
use crate::cli::{local::error::LocalError, talk};

/// Hidden from whoever reads migrations.
const BACKUP: &str = ".squash_backup";

/// Puts the new file into the folder, and the originals into a hidden one, whose path it returns.
///
/// # Errors
/// What can't be written or moved; everything is where it was then.
pub fn swap(folder: &Path, joined: &Joined, originals: &[&Path]) -> Result<PathBuf, LocalError> {
    let path = folder.join(&joined.file);
    let hidden = folder.join(format!(".{}.new", joined.file));
    let backup = folder.join(BACKUP).join(&joined.version);
    let instead =
        "nothing was changed; what a squash put away there was cut off or taken back: move it elsewhere, or back";
    if let Some(path) = [&path, &backup].into_iter().find(|path| path.exists()) {
        return Err(LocalError::Exists { path: path.clone(), instead });
    }
    let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut done = write(&hidden, &joined.text).and_then(|()| {
        fs::create_dir_all(&backup).map_err(|source| LocalError::Write { path: backup.clone(), source })
    });
    let steps = originals.iter().map(|name| (folder.join(name), backup.join(name)));
    for (from, to) in steps.chain([(hidden.clone(), path)]) {
        if done.is_ok() {
            done = rename(&from, &to);
        }
        if done.is_ok() {
            moved.push((from, to));
        }
    }
    if done.is_err() {
        for (from, to) in moved.iter().rev() {
            if let Err(error) = rename(to, from) {
                talk::say("note", format!("{error}: its content is in {}", to.display()));
            }
        }
        // What isn't empty stays, and so does what can't be removed.
        let _ = fs::remove_file(&hidden);
        let _ = fs::remove_dir(&backup);
    }
    done.map(|()| backup)
}

fn write(path: &Path, text: &str) -> Result<(), LocalError> {
    let file = fs::File::create(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|source| LocalError::Write { path: path.to_owned(), source })
}

fn rename(from: &Path, to: &Path) -> Result<(), LocalError> {
    fs::rename(from, to).map_err(|source| LocalError::Write { path: from.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// M30: nothing is lost where moving fails half-way.
    #[test]
    fn a_move_that_fails_leaves_everything_where_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("001_a.sql"), "SELECT 1;").expect("a file");
        let joined = Joined {
            version: "003".to_owned(),
            file: "003_all.sql".to_owned(),
            text: "SELECT 1;".to_owned(),
            without_down: Vec::new(),
        };
        let originals = [Path::new("001_a.sql"), Path::new("002_gone.sql")];
        let error = swap(folder.path(), &joined, &originals).expect_err("one of them is gone");
        assert!(error.to_string().contains("002_gone.sql"), "{error}");
        assert_eq!(names(folder.path()), [".squash_backup", "001_a.sql"]);
        assert_eq!(names(&folder.path().join(BACKUP)), Vec::<String>::new());
        let backup = swap(folder.path(), &joined, &originals[..1]).expect("it can be done then");
        assert_eq!(names(folder.path()), [".squash_backup", "003_all.sql"]);
        assert_eq!(names(&backup), ["001_a.sql"]);
        swap(folder.path(), &joined, &[]).expect_err("it is there already");
    }
}
