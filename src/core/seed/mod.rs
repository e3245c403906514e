//! Seeds: SQL and rows to load once the schema is complete, each recorded by its checksum.

pub mod node;
pub mod rows;
mod sql;

use super::{
    bundle::BundleFile,
    migration::{Checksum, Section},
};
use node::{Node, Wrong};
use rows::Table;

/// When a seed runs again after it has run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Never, also when it is edited.
    #[default]
    Once,
    /// When its text is another than the one that ran.
    OnChange,
}

impl Mode {
    /// As files and settings write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::OnChange => "on-change",
        }
    }

    /// Reads what files write.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Once, Self::OnChange].into_iter().find(|mode| mode.word() == text)
    }
}

/// One seed, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Its path, by which it is recorded: `010_users.sql`, or `dev/010_users.sql` where it is an environment's.
    pub path: String,
    /// When it runs again.
    pub mode: Mode,
    /// Of its text, line endings normalized.
    pub checksum: Checksum,
    /// What it holds.
    pub body: Body,
}

/// What a seed holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Statements, which run in one transaction.
    Sql(Section),
    /// Rows.
    Rows(Vec<Table>),
}

/// How a document of rows is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// `.json`
    Json,
    /// `.yaml`, `.yml`
    Yaml,
}

impl Seed {
    /// How many statements or tables it has.
    #[must_use]
    pub fn parts(&self) -> usize {
        match &self.body {
            Body::Sql(section) => section.script.statements.len(),
            Body::Rows(tables) => tables.len(),
        }
    }

    /// Whether there is nothing in it: it is never run, nor recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.body {
            Body::Sql(section) => section.script.statements.is_empty(),
            Body::Rows(tables) => tables.iter().all(|table| table.rows.is_empty()),
        }
    }
}

/// What a path says of a seed: its environment, the file's name, and how it is read (None: as SQL).
///
/// # Errors
/// Why it is no seed's.
pub fn split_path(path: &str) -> Result<(Option<&str>, &str, Option<Notation>), &'static str> {
    let (environment, name) = match path.split_once('/') {
        Some((environment, name)) => (Some(environment), name),
        None => (None, path),
    };
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if !environment.is_none_or(is_plain) || !is_plain(name) {
        return Err("its name has other characters than letters and digits of ASCII, -, _ and .: rename it");
    }
    let notation = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("sql") => None,
        Some("json") => Some(Notation::Json),
        Some("yaml" | "yml") => Some(Notation::Yaml),
        _ => return Err("no seed: name it <name>.sql (or .sql.gz), .json, .yaml or .yml, or keep it elsewhere"),
    };
    Ok((environment, name, notation))
}

/// The order in which seeds run: by their files' names, bytewise; of one name, those of all environments first.
#[must_use]
pub fn order(path: &str) -> (&str, &str) {
    let name = path.split_once('/').map_or(path, |(_, name)| name);
    (name, path)
}

/// Reads a seed from its file; `yaml` is the reader of YAML.
///
/// # Errors
/// Everything that is wrong with it, as `dev/010_users.sql:3: what`.
pub fn read(file: &BundleFile, yaml: impl Fn(&str) -> Result<Node, Wrong>) -> Result<Seed, Vec<String>> {
    let BundleFile { name: path, bytes, origin } = file;
    let (_, _, notation) = split_path(path).map_err(|why| vec![format!("{origin}: {why}")])?;
    let text = std::str::from_utf8(bytes)
        .map_err(|error| vec![format!("{origin}: byte {} isn't UTF-8: save the file as UTF-8", error.valid_up_to())])?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let placed = |wrong: Wrong| format!("{path}:{}: {}", wrong.line, wrong.message);
    let (mode, body) = match notation {
        None => {
            let (mode, section) = sql::read(text).map_err(|wrong| wrong.into_iter().map(placed).collect::<Vec<_>>())?;
            (mode, Body::Sql(section))
        }
        Some(notation) => {
            let document = match notation {
                Notation::Json => node::from_json(text),
                Notation::Yaml => yaml(text),
            };
            let (mode, tables) = document.and_then(rows::read).map_err(|wrong| vec![placed(wrong)])?;
            (mode, Body::Rows(tables))
        }
    };
    Ok(Seed { path: path.clone(), mode, checksum: Checksum::of(text), body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_environment_name_and_notation() {
        for (path, expected) in [
            ("010_users.sql", Some((None, "010_users.sql", None))),
            ("dev/010_users.yaml", Some((Some("dev"), "010_users.yaml", Some(Notation::Yaml)))),
            ("a.b.json", Some((None, "a.b.json", Some(Notation::Json)))),
            ("x.yml", Some((None, "x.yml", Some(Notation::Yaml)))),
            ("notes.txt", None),
            ("sql", None),
            ("a b.sql", None),
            ("../evil.sql", None),
            ("dev/../evil.sql", None),
            ("dev/more/a.sql", None),
            (".hidden.sql", None),
            ("/a.sql", None),
        ] {
            assert_eq!(split_path(path).ok(), expected, "{path}");
        }
    }

    /// M25: by name, whatever the environment.
    #[test]
    fn seeds_run_in_the_order_of_their_files_names() {
        let mut paths = ["dev/010_a.sql", "020_b.sql", "010_a.sql", "9.sql", "dev/015_c.json"];
        paths.sort_by(|a, b| order(a).cmp(&order(b)));
        assert_eq!(paths, ["010_a.sql", "dev/010_a.sql", "dev/015_c.json", "020_b.sql", "9.sql"]);
    }

    #[test]
    fn a_seed_is_known_by_its_text_whatever_its_line_ends() {
        let read = |text: &str| {
            let file = BundleFile { name: "a.json".into(), bytes: text.into(), origin: "here".into() };
            super::read(&file, |_| unreachable!("it is JSON")).expect("it is sound").checksum
        };
        assert_eq!(read("{\r\n}"), read("{\n}"));
        assert_ne!(read("{}"), read("{ }"));
    }
}
