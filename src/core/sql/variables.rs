//! psql's variables: where `:'name'` and `:"name"` stand in a text, and what takes their place.
//!
//! Found by psql's own rules, outside of literals, quoted names, dollar quotes and comments. What is put in is one token
//! whatever the value: nothing of it is read again.

use std::{borrow::Cow, ops::Range};

use super::{
    lexer::{Backslashes, Lexer, TokenKind},
    scan::{Found, Next, scan},
};

/// How a variable is written, and so what it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `:'name'`: a literal.
    Literal,
    /// `:"name"`: an identifier.
    Identifier,
}

/// A place of a text at which a variable stands, if its name is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use<'a> {
    /// From the colon to behind the closing quote, in bytes.
    pub range: Range<usize>,
    /// The name between the quotes.
    pub name: &'a str,
    /// What it becomes.
    pub form: Form,
    /// Whether the same characters may be SQL of another meaning: the upper bound of a slice, `a[1:"n"]`, or a value of
    /// `JSON_OBJECT('a':'b')`. Elsewhere no statement has them.
    pub ambiguous: bool,
}

/// Functions in whose parentheses a colon is SQL.
const WITH_COLONS: &[&str] = &["json_object", "json_objectagg", "graph_table"];

/// Everything in a section that may be a variable, in order.
#[must_use]
pub fn uses(text: &str) -> Vec<Use<'_>> {
    let mut found = Vec::new();
    // Most files have none, and are looked at often.
    if !text.contains(":'") && !text.contains(":\"") {
        return found;
    }
    scan(text, |part| {
        if let Found::Statement { span, copy_data: _, backslashes } = part {
            let of_statement = uses_in(&text[span.clone()], backslashes);
            found.extend(
                of_statement
                    .into_iter()
                    .map(|found| Use { range: found.range.start + span.start..found.range.end + span.start, ..found }),
            );
        }
        Next::Continue
    });
    found
}

/// The same of one statement.
pub(super) fn uses_in(sql: &str, backslashes: Backslashes) -> Vec<Use<'_>> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let (mut brackets, mut colons) = (0_usize, 0_usize);
    let mut parentheses: Vec<bool> = Vec::new();
    let mut takes_colons = false;
    for token in Lexer::new(sql, backslashes) {
        if token.kind.is_blank() {
            colons = 0;
            continue;
        }
        let text = &sql[token.start..token.end];
        match token.kind {
            TokenKind::Symbol if text == ":" => colons += 1,
            TokenKind::String | TokenKind::QuotedIdentifier if colons % 2 == 1 => {
                // `::` is a cast; a colon that is left over begins a variable.
                let ambiguous = brackets > 0 || parentheses.iter().any(|with_colons| *with_colons);
                if let Some((name, length)) = quoted_name(text) {
                    let form = if bytes[token.start] == b'"' { Form::Identifier } else { Form::Literal };
                    found.push(Use { range: token.start - 1..token.start + length, name, form, ambiguous });
                }
            }
            TokenKind::Symbol if text == "[" => brackets += 1,
            TokenKind::Symbol if text == "]" => brackets = brackets.saturating_sub(1),
            TokenKind::OpenParenthesis => parentheses.push(takes_colons),
            TokenKind::CloseParenthesis => {
                parentheses.pop();
            }
            _ => {}
        }
        if text != ":" {
            colons = 0;
        }
        takes_colons = token.kind == TokenKind::Word && WITH_COLONS.iter().any(|word| text.eq_ignore_ascii_case(word));
    }
    found
}

/// The name between the quotes with which a token begins, and how many bytes both take. A string may go on behind it, on a
/// later line: that is a string of its own to psql.
fn quoted_name(token: &str) -> Option<(&str, usize)> {
    let quote = token.bytes().next().filter(|byte| matches!(byte, b'\'' | b'"'))?;
    let rest = &token[1..];
    let end = rest.bytes().position(|byte| byte == quote)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let name = &rest[..end];
    // A doubled quote is a character of a longer text.
    let doubled = rest.as_bytes().get(end + 1) == Some(&quote);
    (!name.is_empty() && name.bytes().all(is_name) && !doubled).then_some((name, end + 2))
}

/// A statement whose variables are the literals and names that they become, character for character: for whoever must know
/// what a statement is, whatever its variables hold.
pub(super) fn masked(sql: &str, backslashes: Backslashes) -> Cow<'_, str> {
    if !sql.contains(":'") && !sql.contains(":\"") {
        return Cow::Borrowed(sql);
    }
    let found = uses_in(sql, backslashes);
    let mut masked = sql.to_owned();
    for found in found {
        masked.replace_range(found.range.start..=found.range.start, " ");
    }
    Cow::Owned(masked)
}

/// A value as a string constant, the same whatever `standard_conforming_strings` is, as `quote_literal` writes it.
///
/// A file may have set an encoding in which a byte of a character and a backslash make a character: beside others than
/// ASCII's, a backslash is written by its number, so that nothing it loses can end the constant.
#[must_use]
pub fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    match (quoted.contains('\\'), quoted.is_ascii()) {
        (false, _) => format!("'{quoted}'"),
        (true, true) => format!("E'{}'", quoted.replace('\\', "\\\\")),
        (true, false) => format!("E'{}'", quoted.replace('\\', "\\134")),
    }
}

/// A value as a quoted identifier.
#[must_use]
pub fn identifier(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{fragments::sql_like, literal as constants},
        *,
    };

    fn found(sql: &str) -> Vec<&str> {
        uses(sql).into_iter().map(|found| &sql[found.range]).collect()
    }

    /// M09, M37: variables are found where psql finds them, and nowhere else.
    #[test]
    fn variables_stand_outside_of_everything_that_is_quoted() {
        for (sql, expected) in [
            ("SELECT :'a', :\"b\"", vec![":'a'", ":\"b\""]),
            ("SELECT ':''a''', 'x:', E':\\'a\\''", vec![]),
            ("SELECT $$ :'a' $$, $f$ :\"b\" $f$", vec![]),
            ("SELECT 1 -- :'a'\n /* :'a' */", vec![]),
            ("SELECT \":'a'\", \"b:\"", vec![]),
            ("SELECT 'x'::\"char\"", vec![]),
            ("SELECT 'x':::'a'", vec![":'a'"]),
            ("SELECT 'x'::text, a[1:2], a[:2]", vec![]),
            ("SELECT : 'a', :/**/'a'", vec![]),
            ("SELECT :E'a', :U&'a', :N'a', :$$a$$", vec![]),
            ("SELECT :'', :\"\", :'a-b', :'a b', :'a''b', :\"a\"\"b\"", vec![]),
            ("SELECT :'größe', :'_1'", vec![":'größe'", ":'_1'"]),
            ("SELECT :'a'\n'b'", vec![":'a'"]),
            ("SELECT 'a'\n:'b'", vec![":'b'"]),
            ("CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT :'a'; END; SELECT :\"b\"", vec![":'a'", ":\"b\""]),
            ("COPY t FROM stdin;\n:'a'\n\\.\nSELECT :'b'", vec![":'b'"]),
            ("SET standard_conforming_strings = off; SELECT '\\':''a', :'b'", vec![":'b'"]),
            ("BEGIN; UPDATE :\"a\" SET x=:'b'; COMMIT", vec![":\"a\"", ":'b'"]),
        ] {
            assert_eq!(found(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_may_be_sql_of_another_meaning_is_known() {
        for (sql, ambiguous) in [
            ("SELECT :'a'", false),
            ("INSERT INTO t VALUES (1, :'a')", false),
            ("SELECT (a[1]) + :'a'", false),
            ("SELECT a[1:'a']", true),
            ("SELECT a[:\"a\"]", true),
            ("SELECT a[f(:'a')]", true),
            ("SELECT JSON_OBJECT('k':'a')", true),
            ("SELECT json_object('k' : upper(:'a'))", true),
            ("SELECT json_objectagg(k:\"a\")", true),
            ("SELECT json_object('k':1), :'a'", false),
        ] {
            let uses = uses(sql);
            assert_eq!(uses.iter().map(|found| found.ambiguous).collect::<Vec<_>>(), [ambiguous], "{sql}");
        }
    }

    #[test]
    fn a_masked_statement_has_the_same_places() {
        let sql = "ALTER TABLE :\"t\" DETACH PARTITION :\"p\" CONCURRENTLY";
        assert_eq!(masked(sql, Backslashes::Ordinary), "ALTER TABLE  \"t\" DETACH PARTITION  \"p\" CONCURRENTLY");
        assert!(matches!(masked("SELECT 1", Backslashes::Ordinary), Cow::Borrowed(_)));
    }

    /// What a value is written as.
    #[test]
    fn a_value_is_quoted_as_the_server_quotes_it() {
        for (value, expected) in [
            ("", "''"),
            ("it's", "'it''s'"),
            ("a\nb", "'a\nb'"),
            (r"a\b", r"E'a\\b'"),
            (r"\'; DROP TABLE t; --", r"E'\\''; DROP TABLE t; --'"),
            (r"é\'", r"E'é\134'''"),
            (":'x'", "':''x'''"),
        ] {
            assert_eq!(literal(value), expected);
        }
        assert_eq!(identifier("we\"ird"), "\"we\"\"ird\"");
    }

    proptest! {
        /// A value is one token, and holds itself, whatever it is and however strings are read.
        #[test]
        fn no_value_leaves_its_quotes(value in prop_oneof![sql_like(), "[\\\\'\"é:;$-]{0,12}"], escape in any::<bool>()) {
            prop_assume!(!value.contains('\0'));
            let backslashes = if escape { Backslashes::Escape } else { Backslashes::Ordinary };
            let constant = literal(&value);
            let kinds: Vec<TokenKind> = Lexer::new(&constant, backslashes).map(|token| token.kind).collect();
            prop_assert_eq!(kinds, [TokenKind::String]);
            let content = constants::content(&constant, backslashes);
            prop_assert_eq!(content.as_deref(), Some(value.as_str()));
            let name = identifier(&value);
            let kinds: Vec<TokenKind> = Lexer::new(&name, backslashes).map(|token| token.kind).collect();
            prop_assert_eq!(kinds, [TokenKind::QuotedIdentifier]);
        }

        #[test]
        fn uses_lie_in_order_and_apart(text in sql_like()) {
            let mut end = 0;
            for found in uses(&text) {
                prop_assert!(found.range.start >= end && text.is_char_boundary(found.range.end));
                prop_assert_eq!(&text[found.range.clone()][2..found.range.len() - 1], found.name);
                end = found.range.end;
            }
        }
    }
}
