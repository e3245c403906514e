//! The rules of the house: who imports whom, what the core never touches, how long a file may be, and that generated
//! files are what they are generated from.
//!
//! It reads source text, not meaning: every path that is written out, in `use` lines and elsewhere, outside comments,
//! literals and test modules. Whoever hides a path behind a macro escapes it.

#[path = "architecture/book.rs"]
mod book;
#[path = "architecture/parity.rs"]
mod parity;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who may import whom, among the modules at the top of the crate.
const IMPORTS: [(&str, &[&str]); 11] = [
    ("core", &[]),
    ("api", &["core"]),
    ("source", &["core", "yaml"]),
    ("database", &["core", "fail_points"]),
    ("execute", &["core", "database", "fail_points"]),
    ("controller", &["api", "core", "database", "execute", "fail_points", "serve", "source", "telemetry", "yaml"]),
    ("cli", &["api", "core", "database", "execute", "fail_points", "serve", "source", "telemetry", "yaml"]),
    ("fail_points", &[]),
    ("serve", &[]),
    ("telemetry", &[]),
    ("yaml", &["core"]),
];

/// What the table doesn't allow and is right all the same: `dunlin operator` is the one command that runs the
/// controller.
const EXCEPTIONS: [(&str, &[&str]); 2] = [
    ("src/cli/operator.rs", &["crate::controller", "crate::controller::Options", "crate::controller::run"]),
    (
        "src/cli/mod.rs",
        &["crate::controller::Error", "crate::controller::Error::LeaseLost", "crate::controller::Error::Listen"],
    ),
];

/// Paths that a module must not write, whatever it imports: input, output, clocks and async in the core; Kubernetes and
/// the command line in the database layer.
const FORBIDDEN: [(&str, &[&str]); 3] = [
    (
        "core",
        &[
            "anyhow",
            "clap",
            "futures",
            "k8s_openapi",
            "kube",
            "rand",
            "rustls",
            "std::env",
            "std::fs",
            "std::io",
            "std::net",
            "std::os",
            "std::process",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "tokio",
            "tokio_postgres",
            "tokio_postgres_rustls",
            "tracing",
            "tracing_subscriber",
        ],
    ),
    ("database", &["anyhow", "clap", "k8s_openapi", "kube"]),
    ("execute", &["anyhow", "clap", "k8s_openapi", "kube"]),
];

/// What the core writes all the same: a thread whose stack is deep enough for a recursive grammar, and whose end is
/// awaited in the same call, is a call like any other; and an address is data, whoever connects to it.
const FORBIDDEN_EXCEPTIONS: [(&str, &str); 2] =
    [("src/core/hosts.rs", "std::net"), ("src/core/sql/cross_check.rs", "std::thread")];

/// Calls that ask a clock; the core is given the time.
const CLOCKS: [&str; 4] = ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"];

const LONGEST_FILE: usize = 800;

struct Source {
    /// `src/core/plan.rs`.
    path: String,
    /// `["core", "plan"]`.
    module: Vec<String>,
    text: String,
}

impl Source {
    fn top(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Every path that is written out, with `crate` at its front where it is one of ours.
    fn paths(&self) -> BTreeSet<String> {
        paths(&tokens(&code(without_tests(&self.text))))
            .into_iter()
            .map(|path| {
                let supers = path.iter().take_while(|part| *part == "super").count();
                if supers == 0 || supers > self.module.len() {
                    return path.join("::");
                }
                let mut absolute = vec!["crate".to_owned()];
                absolute.extend_from_slice(&self.module[..self.module.len() - supers]);
                absolute.extend_from_slice(&path[supers..]);
                absolute.join("::")
            })
            .collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of Rust in these folders, sorted.
fn rust_files(folders: &[&str]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let found: Vec<Source> = rust_files(&["src"]).iter().map(|path| source(path)).collect();
    assert!(found.len() > 20, "only {} files: is this the right folder?", found.len());
    found
}

fn source(path: &Path) -> Source {
    let text = std::fs::read_to_string(path).expect("the file is text");
    let path: PathBuf = path.strip_prefix(root()).expect("it is below the root").into();
    let mut module: Vec<String> = path
        .with_extension("")
        .iter()
        .skip(1)
        .map(|part| part.to_str().expect("its name is text").to_owned())
        .collect();
    if module.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        module.pop();
    }
    Source { path: path.to_str().expect("its name is text").to_owned(), module, text }
}

/// The text up to its test module, which stands at the end.
fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests {").map_or(text, |end| &text[..end])
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// The text with comments and literals blanked out.
fn code(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(&bytes, at);
        if end > at {
            out.push(' ');
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins here ends; `at` itself when none does.
fn literal_end(text: &[char], at: usize) -> usize {
    let starts = |from: usize, what: &str| what.chars().enumerate().all(|(i, c)| text.get(from + i) == Some(&c));
    let in_word = at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_');
    if starts(at, "//") {
        return (at..text.len()).find(|&i| text[i] == '\n').unwrap_or(text.len());
    }
    if starts(at, "/*") {
        let (mut depth, mut i) = (1, at + 2);
        while i < text.len() && depth > 0 {
            if starts(i, "/*") {
                (depth, i) = (depth + 1, i + 2);
            } else if starts(i, "*/") {
                (depth, i) = (depth - 1, i + 2);
            } else {
                i += 1;
            }
        }
        return i;
    }
    let raw = if !in_word && starts(at, "r") {
        at + 1
    } else if !in_word && starts(at, "br") {
        at + 2
    } else {
        at
    };
    if raw > at {
        let hashes = text[raw..].iter().take_while(|c| **c == '#').count();
        if text.get(raw + hashes) == Some(&'"') {
            let close: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let body = raw + hashes + 1;
            return (body..text.len()).find(|&i| starts(i, &close)).map_or(text.len(), |i| i + close.len());
        }
    }
    if text[at] == '"' {
        let mut i = at + 1;
        while i < text.len() && text[i] != '"' {
            i += if text[i] == '\\' { 2 } else { 1 };
        }
        return i + 1;
    }
    // A character, not a lifetime: it is closed, or it is an escape.
    if text[at] == '\'' && text.get(at + 1) == Some(&'\\') {
        return (at + 3..text.len()).find(|&i| text[i] == '\'').map_or(text.len(), |i| i + 1);
    }
    if text[at] == '\'' && text.get(at + 2) == Some(&'\'') {
        return at + 3;
    }
    at
}

/// Words, `::`, and single other characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            let mut word = c.to_string();
            while let Some(more) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                word.push(more);
            }
            tokens.push(word);
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            tokens.push("::".to_owned());
        } else if !c.is_whitespace() {
            tokens.push(c.to_string());
        }
    }
    tokens
}

/// Every path of at least two parts, trees in braces expanded, and every `use` of a single word.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at]) && (tokens.get(at + 1).is_some_and(|next| next == "::") || after_use(tokens, at)) {
            at = tree(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn after_use(tokens: &[String], at: usize) -> bool {
    at > 0 && tokens[at - 1] == "use"
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads the path that begins here, puts it (or, of a tree, each of its branches) behind the prefix, and returns where
/// it ends.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if tokens.get(at.wrapping_sub(1)).is_some_and(|token| token == "::") => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at = match tokens[at].as_str() {
                        "as" => at + 2,
                        word if is_word(word) => tree(tokens, at, &path, found),
                        _ => at + 1,
                    };
                }
                return at + 1;
            }
            Some(word) if is_word(word) => {
                if word != "self" || path.is_empty() {
                    path.push(word.to_owned());
                }
                at += 1;
            }
            _ => at += 1,
        }
        if tokens.get(at).is_some_and(|token| token == "::") {
            at += 1;
        } else {
            found.push(path);
            return at;
        }
    }
}

fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn every_module_imports_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.module.is_empty() && source.top() != "bin") {
        let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| *module == source.top()) else {
            wrong.push(format!("{}: {} is not in the table of imports: add it", source.path, source.top()));
            continue;
        };
        let exceptions: &[&str] =
            EXCEPTIONS.iter().find(|(path, _)| *path == source.path).map_or(&[], |(_, paths)| paths);
        for path in source.paths() {
            let Some(ours) = path.strip_prefix("crate::") else { continue };
            let top = ours.split("::").next().unwrap_or_default();
            let known = IMPORTS.iter().any(|(module, _)| *module == top);
            if known && top != source.top() && !allowed.contains(&top) && !exceptions.contains(&path.as_str()) {
                wrong.push(format!("{} imports {path}, and {} may import {allowed:?}", source.path, source.top()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure_and_the_database_layer_knows_no_kubernetes() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_test_file(&source.path)) {
        for path in source.paths() {
            let forbidden = FORBIDDEN.iter().filter(|(module, _)| *module == source.top());
            for prefix in forbidden.flat_map(|(_, prefixes)| *prefixes) {
                let excepted = FORBIDDEN_EXCEPTIONS.contains(&(source.path.as_str(), prefix));
                if begins_with(&path, prefix) && !excepted {
                    wrong.push(format!("{} writes {path}", source.path));
                }
            }
            if source.top() == "core" && CLOCKS.iter().any(|clock| path.ends_with(clock)) {
                wrong.push(format!("{} asks a clock: {path}", source.path));
            }
        }
        let waits = tokens(&code(without_tests(&source.text))).iter().any(|token| token == "async" || token == "await");
        if source.top() == "core" && waits {
            wrong.push(format!("{} is async", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn anyhow_stays_in_the_binary() {
    let users: Vec<String> = sources()
        .iter()
        .filter(|source| source.top() != "bin" && source.paths().iter().any(|path| begins_with(path, "anyhow")))
        .map(|source| source.path.clone())
        .collect();
    assert!(users.is_empty(), "a library's errors are types of its own: {users:?}");
}

#[test]
fn every_module_opens_with_its_job_and_none_is_too_long() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") && !is_test_file(&source.path) {
            wrong.push(format!("{} doesn't open with //!", source.path));
        }
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{} has {lines} lines: split it", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A point that stands nowhere, or in two places that are one effect, would be struck and prove nothing.
#[test]
fn every_fail_point_stands_somewhere() {
    let text: String =
        sources().iter().filter(|source| source.top() != "fail_points").map(|source| code(&source.text)).collect();
    for point in dunlin::fail_points::Point::ALL {
        assert!(text.contains(&format!("Point::{point:?}")), "{point:?} stands nowhere");
    }
}

#[test]
fn no_release_has_fail_points() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
    let features = manifest.split("[features]").nth(1).and_then(|rest| rest.split("\n[").next()).expect("a section");
    assert!(!features.lines().any(|line| line.trim_start().starts_with("default")), "{features}");
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("it is there");
    let releases: Vec<&str> =
        makefile.lines().filter(|line| line.contains("--release") || line.contains("cargo bench")).collect();
    assert!(!releases.is_empty());
    for line in releases {
        assert!(!line.to_lowercase().contains("failpoints"), "{line}");
    }
}

#[test]
fn the_crd_file_is_the_generated_one() {
    let path = root().join("crds/migrationsets.dunlin.dev.yaml");
    let written = std::fs::read_to_string(&path).expect("the file is there");
    let generated = std::process::Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("crd").output().expect("it runs");
    assert!(
        written.as_bytes() == generated.stdout,
        "{} isn't what `dunlin crd` prints: run `make generate`",
        path.display()
    );
}

#[test]
fn the_specification_names_every_field_and_every_reason() {
    fn fields(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            found.insert(name.clone());
            fields(property, found);
        }
        if schema["items"].is_object() {
            fields(&schema["items"], found);
        }
    }
    let page = std::fs::read_to_string(root().join("docs/spec/migrationset.md")).expect("the page is there");
    let words: BTreeSet<&str> = page.split(|c: char| !c.is_alphanumeric()).collect();
    let crd = serde_json::to_value(dunlin::api::v1alpha1::crd()).expect("it is JSON");
    let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut names = BTreeSet::new();
    fields(&root["spec"], &mut names);
    for (name, property) in root["status"]["properties"].as_object().into_iter().flatten() {
        names.insert(name.clone());
        if name != "conditions" {
            fields(property, &mut names);
        }
    }
    names.extend(dunlin::core::outcome::Reason::ALL.iter().map(ToString::to_string));
    let absent: Vec<&String> = names.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(absent.is_empty(), "docs/spec/migrationset.md doesn't speak of {absent:?}");
}

#[test]
fn the_specification_names_every_annotation() {
    let page = std::fs::read_to_string(root().join("docs/spec/migrationset.md")).expect("the page is there");
    let mut names = BTreeSet::new();
    for Source { path, text, .. } in sources() {
        if is_test_file(&path) {
            continue;
        }
        // Where an annotation is read, its key is a literal of its own.
        let literals = without_tests(&text).split('"').map(str::to_owned);
        names.extend(literals.filter(|literal| {
            let key = literal.strip_prefix("dunlin.dev/").or_else(|| literal.strip_prefix("reconcile.fluxcd.io/"));
            key.is_some_and(|key| {
                !key.is_empty() && !key.starts_with("v1") && key.chars().all(|c| c.is_ascii_alphabetic() || c == '-')
            })
        }));
    }
    assert!(names.len() >= 5, "{names:?}: are annotations written otherwise now?");
    let absent: Vec<&String> = names.iter().filter(|name| !page.contains(&format!("`{name}: "))).collect();
    assert!(absent.is_empty(), "docs/spec/migrationset.md doesn't speak of {absent:?}");
}

/// The reader above reads what it is meant to read.
#[test]
fn paths_are_found_in_trees_and_expressions_and_not_in_comments_or_literals() {
    let text = r##"
        //! crate::comment::one
        use crate::core::{self, plan::{Plan, Step as Other}, *};
        use tokio;
        /* crate::comment::two /* nested */ crate::comment::three */
        fn f<'a>(x: &'a str) -> std::io::Result<()> {
            let c = ':'; let quote = '\''; let s = "crate::literal \" crate::literal"; let r = r#"crate::raw"#;
            super::super::g(kube::Client::try_default());
        }
    "##;
    let source = Source {
        path: "src/core/sql/x.rs".into(),
        module: ["core", "sql", "x"].map(String::from).into(),
        text: text.into(),
    };
    let expected = [
        "crate::core",
        "crate::core::g",
        "crate::core::plan::Plan",
        "crate::core::plan::Step",
        "kube::Client::try_default",
        "std::io::Result",
        "tokio",
    ];
    assert_eq!(source.paths().into_iter().collect::<Vec<_>>(), expected);
}
