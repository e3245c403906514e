//! The one place where text becomes SQL: literals and identifiers, as `quote_literal` and `quote_ident` do it.
//!
//! Everything goes by the simple protocol, which knows no parameters: an extended-protocol portal left open holds a
//! snapshot, for which `CREATE INDEX CONCURRENTLY` waits. None of it depends on `standard_conforming_strings`, which a role
//! may have turned off, or a file before ours is read.

use std::fmt::Write as _;

/// `'…'` with quotes doubled; ` E'…'` with backslashes doubled too, if there are any.
#[must_use]
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// `'…'` or `NULL`.
#[must_use]
pub fn optional<T: AsRef<str>>(text: Option<T>) -> String {
    text.map_or_else(|| "NULL".to_owned(), |text| literal(text.as_ref()))
}

/// A number or `NULL`.
#[must_use]
pub fn number<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

/// `"…"`, with double quotes doubled.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `ARRAY['…', …]::pg_catalog.text[]`.
#[must_use]
pub fn text_array<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let mut sql = "ARRAY[".to_owned();
    for (index, item) in items.into_iter().enumerate() {
        let _ = write!(sql, "{}{}", if index == 0 { "" } else { ", " }, literal(item));
    }
    sql.push_str("]::pg_catalog.text[]");
    sql
}

#[cfg(test)]
mod tests {
    use super::{identifier, literal, optional, text_array};

    #[test]
    fn what_is_quoted_is_read_alike_whatever_backslashes_mean() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"it's a \ path"), r" E'it''s a \\ path'");
        assert_eq!(literal(r"\'; DROP TABLE t; --"), r" E'\\''; DROP TABLE t; --'");
        assert_eq!(identifier("we\"ird"), "\"we\"\"ird\"");
        assert_eq!(optional(None::<&str>), "NULL");
        assert_eq!(text_array([]), "ARRAY[]::pg_catalog.text[]");
        assert_eq!(text_array(["a", "b'"]), "ARRAY['a', 'b''']::pg_catalog.text[]");
    }
}
