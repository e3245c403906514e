//! A statement with one part of it replaced: what the engine sends instead of a file's own text, and why that is safe.

use std::ops::Range;

use super::lexer::{Backslashes, Lexer, Token, TokenKind};

/// A block from BEGIN to COMMIT, taken apart: the modes of its BEGIN, and the bytes between the two.
#[must_use]
pub fn block_parts(statement: &str) -> Option<(&str, Range<usize>)> {
    let tokens = significant(statement);
    let semicolon = |token: &&Token| token.kind == TokenKind::Semicolon;
    let (first, last) = (tokens.iter().find(semicolon)?, tokens.iter().rfind(semicolon)?);
    let text = |token: &Token| &statement[token.start..token.end];
    let mut modes = tokens.iter().take_while(|token| token.start < first.start).peekable();
    if text(modes.next()?).eq_ignore_ascii_case("START") {
        modes.next()?;
    } else {
        modes.next_if(|token| ["WORK", "TRANSACTION"].iter().any(|word| text(token).eq_ignore_ascii_case(word)));
    }
    let modes = modes.next().map_or("", |token| statement[token.start..first.start].trim_end());
    (first.end <= last.start).then_some((modes, first.end..last.start))
}

/// `CREATE INDEX CONCURRENTLY … ON table …` as `CREATE INDEX … ON target …`, so that the server can be asked for the
/// definition that it would give. None when the statement doesn't have that form.
#[must_use]
pub fn probe_index(statement: &str, target: &str) -> Option<String> {
    let tokens = significant(statement);
    let is = |token: &Token, word: &str| {
        token.kind == TokenKind::Word && statement[token.start..token.end].eq_ignore_ascii_case(word)
    };
    let concurrently = tokens.iter().position(|token| is(token, "CONCURRENTLY"))?;
    let on = concurrently + tokens[concurrently..].iter().position(|token| is(token, "ON"))?;
    let mut table = on + 1;
    if is(tokens.get(table)?, "ONLY") {
        table += 1;
    }
    let mut end = table + 1;
    while tokens.get(end).is_some_and(|token| &statement[token.start..token.end] == ".") {
        end += 2;
    }
    let last = tokens.get(end - 1)?;
    Some(format!(
        "{}{}{target}{}",
        &statement[..tokens[concurrently].start],
        &statement[tokens[concurrently].end..tokens[table].start],
        &statement[last.end..]
    ))
}

fn significant(statement: &str) -> Vec<Token> {
    Lexer::new(statement, Backslashes::Ordinary).filter(|token| !token.kind.is_blank()).collect()
}

#[cfg(test)]
mod tests {
    use super::{block_parts, probe_index};

    #[test]
    fn a_block_is_taken_apart() {
        for (statement, modes, inner) in [
            ("BEGIN; SELECT ';'; COMMIT", "", " SELECT ';'"),
            ("begin work isolation level serializable; a; b; end", "isolation level serializable", " a; b"),
            ("START TRANSACTION READ WRITE ; x;\nCOMMIT", "READ WRITE", " x"),
            ("BEGIN; COMMIT", "", ""),
        ] {
            let parts = block_parts(statement);
            if inner.is_empty() {
                assert_eq!(parts, None, "one semicolon holds nothing");
            } else {
                let (found, range) = parts.expect(statement);
                assert_eq!((found, &statement[range]), (modes, inner));
            }
        }
    }

    #[test]
    fn an_index_moves_to_another_table() {
        for (statement, expected) in [
            ("CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX  i ON p (a)"),
            (
                "create unique index /* on */ concurrently if not exists i on only \"S\".\"T\" using btree (a)",
                "create unique index /* on */  if not exists i on only p using btree (a)",
            ),
            ("CREATE INDEX CONCURRENTLY ON app.t(a) WHERE b", "CREATE INDEX  ON p(a) WHERE b"),
        ] {
            assert_eq!(probe_index(statement, "p").as_deref(), Some(expected));
        }
        assert_eq!(probe_index("CREATE INDEX i ON t (a)", "p"), None);
    }
}
