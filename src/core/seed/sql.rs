//! A seed of SQL: one transactional section, and directives that say when it runs.

use super::{Mode, node::Wrong};
use crate::core::{
    format::line_alone,
    migration::{Checksum, Section},
    sql::{Boundaries, Found, Next, Script, TransactionMode, position::locate_byte, scan},
};

/// Reads a file.
pub(super) fn read(text: &str) -> Result<(Mode, Section), Vec<Wrong>> {
    let mut found: Vec<(u32, Result<Mode, String>)> = Vec::new();
    scan(text, |part| {
        if let Found::LineComment(comment) = part
            && line_alone(text, &comment).is_some()
            && let Some(said) = directive(&text[comment.clone()])
        {
            found.push((locate_byte(text, 1, comment.start).line, said));
        }
        Next::Continue
    });
    let mut wrong = Vec::new();
    let mut mode = None;
    for (line, said) in found {
        match said {
            Ok(_) if mode.is_some() => wrong.push(Wrong::new(line, "`-- seed:` stands twice: keep one")),
            Ok(said) => mode = Some(said),
            Err(message) => wrong.push(Wrong::new(line, message)),
        }
    }
    match Script::read(text, TransactionMode::Transactional, Boundaries::CrossChecked) {
        Ok(script) if wrong.is_empty() => {
            let section = Section { text: text.to_owned(), first_line: 1, script, checksum: Checksum::of(text) };
            Ok((mode.unwrap_or_default(), section))
        }
        Ok(_) => Err(wrong),
        Err(problems) => {
            wrong.extend(problems.into_iter().map(|problem| Wrong::new(problem.line + 1, in_a_seed(&problem.message))));
            Err(wrong)
        }
    }
}

/// What a comment says of its file. `-- Seed: Users`, as Migretti writes it, is a title.
fn directive(comment: &str) -> Option<Result<Mode, String>> {
    let content = comment.strip_prefix("--").unwrap_or(comment).trim();
    let (key, value) = content.split_once(':')?;
    let value = value.trim();
    match key.trim_end() {
        "seed" => Some(Mode::parse(value).ok_or_else(|| {
            format!("`-- seed: {value}` isn't known: `-- seed: once` and `-- seed: on-change` are; a title begins with `-- Seed:`")
        })),
        key if key.eq_ignore_ascii_case("migrate") => Some(Err(format!(
            "`-- migrate: {value}` has no place in a seed, which is one section and runs in one transaction: remove it, or let a \
             migration do this"
        ))),
        _ => None,
    }
}

/// What is said of a migration, said of a seed: there is no way out of the transaction.
fn in_a_seed(message: &str) -> String {
    let cures = ["add a line `-- migrate: no-transaction`, best with this statement in a file of its own"];
    cures
        .iter()
        .fold(message.to_owned(), |text, cure| text.replace(cure, "a seed always runs in one; let a migration do this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<(u32, String)> {
        let wrong = read(text).expect_err(text);
        wrong.into_iter().map(|wrong| (wrong.line, wrong.message)).collect()
    }

    #[test]
    fn a_directive_says_when_a_seed_runs_again() {
        for (text, expected) in [
            ("SELECT 1;", Mode::Once),
            ("-- seed: once\nSELECT 1;", Mode::Once),
            ("-- why\n  -- seed: on-change\nSELECT 1;", Mode::OnChange),
            ("--seed:on-change\r\nSELECT 1;", Mode::OnChange),
            ("-- Seed: demo users\nSELECT 1;", Mode::Once),
            ("SELECT '\n-- seed: nonsense\n';", Mode::Once),
            ("SELECT 1; -- seed: nonsense", Mode::Once),
        ] {
            assert_eq!(read(text).expect(text).0, expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_place_in_a_seed_is_refused_with_its_line() {
        for (text, line, said) in [
            ("-- x\n-- seed: always\nSELECT 1;", 2, "isn't known"),
            ("-- seed: once\n-- seed: once\nSELECT 1;", 2, "twice"),
            ("-- migrate: no-transaction\nVACUUM;", 1, "no place in a seed"),
            ("-- migrate: down\nSELECT 1;", 1, "no place in a seed"),
            ("SELECT 1;\nCOMMIT;\nSELECT 2;", 2, "COMMIT"),
            ("SELECT 1;\n\nVACUUM;", 3, "let a migration do this"),
            ("SELECT 'open", 1, ""),
        ] {
            let found = wrong(text);
            assert!(found.iter().any(|(at, message)| *at == line && message.contains(said)), "{text}: {found:?}");
        }
    }
}
