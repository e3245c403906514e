//! Named bytes into a migration directory, the same for every source: unpacked within bounds, all of them or none.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use super::{Content, SeedFiles};
use crate::core::{
    bundle::{Bundle, BundleFile},
    format::{self, Format},
    outcome::{Failure, Reason},
    seed::split_path,
};

/// Bytes that one file may hold when unpacked.
pub(super) const FILE_BYTES: usize = 64 << 20;
/// Bytes that all files of a set may hold when unpacked.
const SET_BYTES: usize = 256 << 20;

/// The files of a source as they come in, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Files {
    unpacked: Vec<BundleFile>,
    bytes: usize,
    problems: Vec<String>,
}

impl Files {
    /// Takes a file by its name in the source; `origin` says where it was found.
    pub(super) fn add(&mut self, name: String, bytes: Vec<u8>, origin: String) {
        self.take(unpacked(name, bytes, SET_BYTES - self.bytes), origin);
    }

    /// Takes a seed by its path in the source.
    pub(super) fn add_seed(&mut self, path: &str, bytes: Vec<u8>, origin: String) {
        self.take(unpacked_seed(path, bytes, SET_BYTES - self.bytes), origin);
    }

    fn take(&mut self, unpacked: Result<(String, Vec<u8>), String>, origin: String) {
        match unpacked {
            Ok((name, bytes)) => {
                self.bytes += bytes.len();
                self.unpacked.push(BundleFile { name, bytes, origin });
            }
            Err(problem) => self.refuse(format!("{origin}: {problem}")),
        }
    }

    /// Takes note of something that is wrong: nothing is read then.
    pub(super) fn refuse(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// The files, and what is wrong with others.
    pub(super) fn into_parts(self) -> (Vec<BundleFile>, Vec<String>) {
        (self.unpacked, self.problems)
    }

    /// All of them, or none.
    ///
    /// # Errors
    /// `InvalidSource` or `DuplicateVersion`, with everything that is wrong.
    pub(super) fn bundle(self) -> Result<Bundle, Failure> {
        if !self.problems.is_empty() {
            return Err(Failure::new(Reason::InvalidSource, self.problems.join("; ")));
        }
        Bundle::new(self.unpacked).map_err(|error| Failure::new(Reason::DuplicateVersion, error.to_string()))
    }

    /// Reads them.
    ///
    /// # Errors
    /// `InvalidSource`, `DuplicateVersion` or `DependencyCycle`, with everything that is wrong.
    pub(super) fn read(self, format: Format) -> Result<Content, Failure> {
        let bundle = self.bundle()?;
        let dir = format::read(&bundle, format).map_err(|error| Failure::new(error.reason, error.message))?;
        let (digest, files) = (bundle.digest(), bundle.files().len());
        Ok(Content { digest, files, dir: dir.into(), seeds: SeedFiles::default() })
    }
}

/// The name and the bytes of a file without its packing, if it is a migration file.
fn unpacked(name: String, bytes: Vec<u8>, left: usize) -> Result<(String, Vec<u8>), String> {
    let (name, bytes) = match name.strip_suffix(".gz") {
        Some(name) if is_sql(name) => (name.to_owned(), gunzip(&bytes, left.min(FILE_BYTES))?),
        _ if is_sql(&name) => (name, bytes),
        _ => {
            return Err("no migration file: name it <version>_<name>.sql (or .sql.gz), or keep it elsewhere".to_owned());
        }
    };
    within(bytes.len(), left)?;
    Ok((name, bytes))
}

/// The path and the bytes of a seed without its packing.
fn unpacked_seed(path: &str, bytes: Vec<u8>, left: usize) -> Result<(String, Vec<u8>), String> {
    let (path, packed) = path.strip_suffix(".gz").map_or((path, false), |path| (path, true));
    split_path(path)?;
    let bytes = if packed { gunzip(&bytes, left.min(FILE_BYTES))? } else { bytes };
    within(bytes.len(), left)?;
    Ok((path.to_owned(), bytes))
}

fn within(bytes: usize, left: usize) -> Result<(), String> {
    if bytes > left {
        return Err(format!(
            "with it, the files of this set hold more than {} MiB: let another set have some of them",
            SET_BYTES >> 20
        ));
    }
    Ok(())
}

/// Names are taken as they are written: `.SQL` is no migration file.
fn is_sql(name: &str) -> bool {
    name.strip_suffix(".sql").is_some()
}

/// Unpacks at most `cap` bytes, so that a small file can't fill the memory.
fn gunzip(packed: &[u8], cap: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("can't be unpacked: {error}; pack it with gzip"))?;
    if bytes.len() > cap {
        return Err(format!(
            "holds too much when unpacked: a file may hold {} MiB, and all files of a set {} MiB; split it",
            FILE_BYTES >> 20,
            SET_BYTES >> 20
        ));
    }
    Ok(bytes)
}
