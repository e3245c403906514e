//! Named bytes and their digest: what every source yields.
//!
//! A bundle is sorted by name (bytewise) and holds each name once; it knows nothing of what the bytes mean.

use std::fmt;

/// One file of a source, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFile {
    /// The file's name without `.gz`, as `003_add_index.sql`.
    pub name: String,
    /// The unpacked bytes.
    pub bytes: Vec<u8>,
    /// Where it was found, for messages: `ConfigMap shop-migrations, key 003_add_index.sql`.
    pub origin: String,
}

/// All files of a source, sorted by name, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    files: Vec<BundleFile>,
}

/// Two files of one name hold different bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} stands in {first} and, with other content, in {second}: remove one of the two")]
pub struct DuplicateFile {
    /// The file's name.
    pub name: String,
    /// Where it was found first.
    pub first: String,
    /// Where it was found again.
    pub second: String,
}

/// SHA-256 over a bundle's files, printed as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Bundle {
    /// Sorts the files by name; a file met twice with the same bytes is one file.
    ///
    /// # Errors
    /// [`DuplicateFile`] when one name comes with different bytes.
    pub fn new(files: Vec<BundleFile>) -> Result<Self, DuplicateFile> {
        todo!("{}", files.len())
    }

    /// The files, sorted by name.
    #[must_use]
    pub fn files(&self) -> &[BundleFile] {
        &self.files
    }

    /// SHA-256 over the files sorted by name (bytewise), each as name without `.gz`, NUL, length of the unpacked
    /// bytes in decimal, NUL, the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        todo!()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("todo")
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl std::str::FromStr for Digest {
    type Err = String;
    fn from_str(_text: &str) -> Result<Self, String> {
        todo!()
    }
}
