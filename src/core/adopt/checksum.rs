//! Other tools' checksums, made anew from our files.

use md5::{Digest as _, Md5};

use super::{ForeignRow, Tool};
use crate::core::{bundle::hexadecimal, migration::Migration};

/// What is said of a file that isn't what the tool applied; None where it is, or where nobody can tell.
pub(super) fn edited(from: Tool, migration: &Migration, row: &ForeignRow) -> Option<String> {
    let recorded = row.checksum.as_deref()?;
    let found = match from {
        Tool::Migretti => hexadecimal(&migration.file_hash),
        Tool::Metapg => metapg(&migration.up.text),
        // Theirs are of Python, if there are any.
        Tool::Psqlmodel | Tool::Herogold => return None,
    };
    let short = |checksum: &str| checksum.escape_debug().take(12).collect::<String>();
    (!found.eq_ignore_ascii_case(recorded))
        .then(|| format!("{} (recorded {}, now {})", migration.file, short(recorded), short(&found)))
}

/// MD5 over what metapg sends (`Migration.from_file`, metapg-migrations 0.0.1): what stands before the first `-- ROLLBACK`,
/// without lines that begin with `--`, blank lines, and what is blank at both ends.
fn metapg(up: &str) -> String {
    let text = up.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.split("-- ROLLBACK").next().unwrap_or_default();
    let kept: Vec<&str> = text.split('\n').map(|line| if line.starts_with("--") { "" } else { line }).collect();
    let text = without_blank_lines(&kept.join("\n"));
    hexadecimal(&Md5::digest(text.trim_matches(is_space)))
}

/// What `re.sub(r"\n\s*\n", "\n", text)` makes of it.
fn without_blank_lines(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\n') {
        let (before, behind) = rest.split_at(at + 1);
        kept.push_str(before);
        let blank = behind.find(|letter| !is_space(letter)).unwrap_or(behind.len());
        rest = match behind[..blank].rfind('\n') {
            Some(last) => &behind[last + 1..],
            None => behind,
        };
    }
    kept + rest
}

/// Python's `str.isspace`, which has four characters more.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digits come from metapg-migrations 0.0.1 itself, given these files.
    #[test]
    fn metapgs_checksum_is_made_as_metapg_makes_it() {
        for (text, expected) in VECTORS {
            assert_eq!(metapg(text), *expected, "{text:?}");
        }
    }

    const VECTORS: &[(&str, &str)] = &[
        ("CREATE TABLE users (id int);\n", "e9e9c81d70303294e63f4325c32f6cf3"),
        (
            "-- Create users table\n-- Description: Add users\n-- Depends: (none)\n\nCREATE TABLE users (\n    id int\n);\n\n\n  \n  \
             CREATE INDEX i ON users (id);\n",
            "038204976198173473125c6cc383162c",
        ),
        (
            "CREATE TABLE a (a int);\r\n\r\n-- gone\r\nCREATE TABLE b (a int); -- kept\r\n",
            "3aa26f397c256b16c6ce3ecd9526af21",
        ),
        ("SELECT 1; -- ROLLBACK\nSELECT 2;\n", "71568061b2970a4b7c5160fe75356e10"),
        ("\tSELECT '\u{a0}\n \u{1f}\n\u{a0}é';\n -- kept\n--gone\nSELECT 2;", "86ba0974e91195003806d34234dfa730"),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$\n-- gone\n\nSELECT 1\n$$;\rSELECT 3;\n\n",
            "b212ea59e877e5533e542f377cce73ce",
        ),
    ];
}
