//! Named bytes and their digest: what every source yields.
//!
//! A bundle is sorted by name (bytewise) and holds each name once; it knows nothing of what the bytes mean.

use std::fmt;

use sha2::{Digest as _, Sha256};

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
    pub fn new(mut files: Vec<BundleFile>) -> Result<Self, DuplicateFile> {
        // The origin takes part, so that the answer doesn't depend on the order in which the sources were read.
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name).then_with(|| a.origin.cmp(&b.origin)));
        for pair in files.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
                && first.bytes != second.bytes
            {
                return Err(DuplicateFile {
                    name: first.name.clone(),
                    first: first.origin.clone(),
                    second: second.origin.clone(),
                });
            }
        }
        files.dedup_by(|second, first| second.name == first.name);
        Ok(Self { files })
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
        let mut hash = Sha256::new();
        for BundleFile { name, bytes, origin: _ } in &self.files {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(bytes.len().to_string().as_bytes());
            hash.update([0]);
            hash.update(bytes);
        }
        Digest(hash.finalize().into())
    }
}

impl Digest {
    /// SHA-256 of the bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl Digest {
    /// Takes a SHA-256 as it was computed.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hexadecimal(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unreadable = || format!("{text:?} is no digest: a digest is sha256: and 64 hexadecimal digits");
        let digits = text.strip_prefix("sha256:").ok_or_else(unreadable)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return Err(unreadable());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
            let value = high.zip(low).map(|(high, low)| high * 16 + low).ok_or_else(unreadable)?;
            *byte = u8::try_from(value).map_err(|_| unreadable())?;
        }
        Ok(Self(bytes))
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = vec![0; 2 * bytes.len()];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    // They are ASCII.
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8], origin: &str) -> BundleFile {
        BundleFile { name: name.into(), bytes: bytes.into(), origin: origin.into() }
    }

    /// The expected digits come from Python's hashlib over the bytes that the contract names.
    #[test]
    fn the_digest_is_the_one_that_the_contract_describes() {
        let bundle = Bundle::new(vec![
            file("002_b.sql", "-- é\r\nSELECT 2;\n".as_bytes(), "ConfigMap b"),
            file("001_a.sql", b"SELECT 1;\n", "ConfigMap a"),
        ])
        .unwrap();
        let expected = "sha256:1303dc44c4b4e3a27a51de7da96c1a7964022568147f47b1be5364cfd7d9f880";
        assert_eq!(bundle.digest().to_string(), expected);
        assert_eq!(expected.parse::<Digest>().unwrap(), bundle.digest());
    }

    #[test]
    fn an_empty_bundle_has_the_digest_of_nothing() {
        let expected = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Bundle::default().digest().to_string(), expected);
        assert_eq!(Digest::of(b"").to_string(), expected);
    }

    #[test]
    fn files_are_sorted_bytewise_whatever_the_order_of_the_sources() {
        let names = ["a.sql", "B.sql", "é.sql", "10.sql", "9.sql"];
        let bundle = Bundle::new(names.iter().map(|name| file(name, b"x", "here")).collect()).unwrap();
        let sorted: Vec<&str> = bundle.files().iter().map(|file| file.name.as_str()).collect();
        assert_eq!(sorted, ["10.sql", "9.sql", "B.sql", "a.sql", "é.sql"]);
    }

    #[test]
    fn a_file_that_stands_in_two_places_with_the_same_bytes_is_one_file() {
        let bundle = Bundle::new(vec![file("1_a.sql", b"x", "old"), file("1_a.sql", b"x", "new")]).unwrap();
        assert_eq!(bundle.files().len(), 1);
        assert_eq!(bundle.digest(), Bundle::new(vec![file("1_a.sql", b"x", "other")]).unwrap().digest());
    }

    #[test]
    fn a_file_that_stands_in_two_places_with_other_bytes_is_refused_naming_both() {
        let files = vec![file("1_a.sql", b"x", "ConfigMap b"), file("1_a.sql", b"y", "ConfigMap a")];
        let error = Bundle::new(files).unwrap_err();
        assert_eq!(
            error.to_string(),
            "1_a.sql stands in ConfigMap a and, with other content, in ConfigMap b: remove one of the two"
        );
    }

    #[test]
    fn a_digest_is_read_in_either_case_and_nothing_else_is_a_digest() {
        let digits = "AB".repeat(32);
        assert_eq!(
            format!("sha256:{digits}").parse::<Digest>().unwrap().to_string(),
            format!("sha256:{}", "ab".repeat(32))
        );
        for wrong in
            ["", "sha256:", &digits, "sha256:zz", &format!("sha256:{}é", "a".repeat(62)), &format!("md5:{digits}")]
        {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
