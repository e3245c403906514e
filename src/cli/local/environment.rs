//! The variables that settings may come from: those of the process, and behind them those of a file that was asked for.

use std::{collections::BTreeMap, path::Path};

use super::error::LocalError;

/// Variables by name. `Debug` is left out: values may be secrets.
#[derive(Clone, Default)]
pub struct Environment {
    process: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the process's variables, and those of `--env-file`. Variables that aren't UTF-8 don't count.
    ///
    /// # Errors
    /// A file that can't be read, or a line in it that is no `NAME=value`.
    pub fn read(file: Option<&Path>) -> Result<Self, LocalError> {
        let process = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = match file {
            None => BTreeMap::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| LocalError::Read {
                    path: path.to_owned(),
                    source,
                    instead: "name another with --env-file",
                })?;
                parse(&text).map_err(|line| {
                    let place = format!("{}:{line}", path.display());
                    LocalError::setting(
                        place,
                        "isn't NAME=value, with quotes around a value that has blanks or # in it",
                    )
                })?
            }
        };
        Ok(Self { process, file })
    }

    /// The value of a variable that is set and isn't empty, and where it was found.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.process.get(name).or_else(|| self.file.get(name)).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Lines of `NAME=value`; blank ones and comments are left out. The error is the line, from 1.
fn parse(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(number + 1)?;
        let name = name.trim_end();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(number + 1);
        }
        variables.insert(name.to_owned(), unquote(value.trim()).ok_or(number + 1)?);
    }
    Ok(variables)
}

/// What stands in quotes is taken as it is; elsewhere ` #` begins a comment.
fn unquote(value: &str) -> Option<String> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            let (inside, behind) = rest.split_once(quote)?;
            let behind = behind.trim_start();
            return (behind.is_empty() || behind.starts_with('#')).then(|| inside.to_owned());
        }
    }
    Some(value.split(" #").next().unwrap_or_default().trim_end().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Variables of the process.
    pub fn environment(variables: &[(&str, &str)]) -> Environment {
        let process = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment { process, file: BTreeMap::new() }
    }

    /// M38: a file of variables is read when it is asked for, and as it is written.
    #[test]
    fn a_file_of_variables_is_read_as_it_is_written() {
        let text = "# why\nexport A=1\nB = two words # why\nC=\"a # b\" # why\nD='$x'\n\nE=\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "a # b"), ("D", "$x"), ("E", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), Ok(BTreeMap::from(expected)));
        for (text, line) in [("A=1\nnonsense", 2), ("A-B=1", 1), ("A=\"open", 1), ("A='x'y", 1)] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }

    /// The process wins, also with an empty value, which counts as none.
    #[test]
    fn the_process_wins_over_the_file() {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let environment = Environment {
            process: map(&[("A", "process"), ("B", "")]),
            file: map(&[("A", "file"), ("B", "file"), ("C", "file")]),
        };
        assert_eq!(
            (environment.get("A"), environment.get("B"), environment.get("C")),
            (Some("process"), None, Some("file"))
        );
    }
}
