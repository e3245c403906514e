//! `docs/parity.md`: what each feature is shown by. Its last column comes from the tests themselves, which name features
//! in front of what they show: `/// M10, P07: …`. With `PARITY=write` in the environment, as `make generate` sets it, the
//! column is written anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

const PAGE: &str = "docs/parity.md";
/// How many features each family has.
const FAMILIES: [(char, u32); 4] = [('M', 39), ('P', 33), ('Q', 84), ('H', 33)];
/// What the last column says of a feature that no test shows, and why.
const NOT_YET: &str = "Not yet: ";

/// Every feature.
fn features() -> Vec<String> {
    FAMILIES.iter().flat_map(|(family, count)| (1..=*count).map(move |number| format!("{family}{number:02}"))).collect()
}

fn sources() -> Vec<PathBuf> {
    super::rust_files(&["src", "tests"])
}

/// The features that a line of a comment names at its front, if it names nothing else there.
fn named(line: &str) -> Vec<String> {
    let Some(text) = line.trim().strip_prefix("/// ") else { return Vec::new() };
    let front = text.split(':').next().unwrap_or_default();
    let parts: Vec<&str> = front.split(", ").collect();
    let is_feature = |part: &&str| {
        let family = part.chars().next().is_some_and(|first| FAMILIES.iter().any(|(family, _)| *family == first));
        family && part.len() == 3 && part[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    if parts.iter().all(is_feature) { parts.into_iter().map(str::to_owned).collect() } else { Vec::new() }
}

/// The tests of a file that name features: the name, and what it shows.
fn shown(text: &str) -> Vec<(String, Vec<String>)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let features = named(line);
        let behind = &lines[at + 1..];
        let function = behind.iter().position(|line| !line.starts_with("///") && !line.starts_with("#["));
        let Some(function) = function.filter(|_| !features.is_empty()) else { continue };
        // Attributes that take several lines end in one of their own.
        let is_test = behind[..function].iter().any(|line| line.starts_with("#[") && line.contains("test"));
        let name = behind[function].split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
        if let Some(name) = name.filter(|_| is_test) {
            found.push((name.to_owned(), features));
        }
    }
    found
}

/// For each feature the tests that show it, `path`: `name`, …
fn evidence() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut evidence: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("a source is text");
        let path = path.strip_prefix(super::root()).expect("it is in the crate").display().to_string();
        for (name, features) in shown(&text) {
            for feature in features {
                evidence.entry(feature).or_default().entry(path.clone()).or_default().insert(name.clone());
            }
        }
    }
    evidence
}

fn in_words(tests: &BTreeMap<String, BTreeSet<String>>) -> String {
    let of_file = |(path, names): (&String, &BTreeSet<String>)| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        format!("[{path}](../{path}): {}", names.join(", "))
    };
    tests.iter().map(of_file).collect::<Vec<_>>().join("; ")
}

/// The columns of a row of the page, if the line is one.
fn row(line: &str) -> Option<(&str, &str, &str)> {
    let mut columns = line.strip_prefix("| ")?.strip_suffix(" |")?.splitn(3, " | ");
    let (feature, what, shown) = (columns.next()?, columns.next()?, columns.next()?);
    (feature.len() == 3 && feature[1..].bytes().all(|byte| byte.is_ascii_digit())).then_some((feature, what, shown))
}

/// The page with its last column as the tests say.
fn written(page: &str) -> String {
    let evidence = evidence();
    page.lines().fold(String::new(), |mut text, line| {
        let _ = match row(line).and_then(|(feature, what, _)| Some((feature, what, evidence.get(feature)?))) {
            Some((feature, what, tests)) => writeln!(text, "| {feature} | {what} | {} |", in_words(tests)),
            None => writeln!(text, "{line}"),
        };
        text
    })
}

fn page() -> String {
    let path = Path::new(super::root()).join(PAGE);
    let page = std::fs::read_to_string(&path).expect("the page is there");
    if std::env::var_os("PARITY").is_some_and(|mode| mode == "write") {
        let written = written(&page);
        std::fs::write(&path, &written).expect("the page can be written");
        return written;
    }
    page
}

#[test]
fn every_feature_is_shown_by_a_test_or_said_to_be_not_yet() {
    let page = page();
    let rows: Vec<(&str, &str, &str)> = page.lines().filter_map(row).collect();
    let there: Vec<&str> = rows.iter().map(|(feature, _, _)| *feature).collect();
    assert_eq!(there, features(), "{PAGE} has a row for each, in their order");
    let evidence = evidence();
    for (feature, what, shown) in rows {
        let unshown = !evidence.contains_key(feature);
        let reason = shown.strip_prefix(NOT_YET).is_some_and(|why| why.len() > 3);
        assert!(what.len() > 3 && (!unshown || reason), "{feature}: no test names it, and {PAGE} doesn't say why");
    }
    assert_eq!(page, written(&page), "{PAGE} isn't what the tests say: run make generate, and commit it");
}

#[test]
fn no_test_names_a_feature_that_there_is_not() {
    let features = features();
    let unknown: Vec<String> = evidence().into_keys().filter(|feature| !features.contains(feature)).collect();
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn a_test_shows_what_stands_at_the_front_of_its_comment() {
    let source = "/// M01, Q02: that.\n/// And more.\n#[tokio::test(flavor = \"x\")]\nasync fn it_does() {}\n\n\
                  /// H03\n#[test]\nfn bare() {}\n\n/// See M04: no.\n#[test]\nfn none() {}\n\n/// M05: no test.\nfn helper() {}\n";
    let expected = [("it_does", vec!["M01", "Q02"]), ("bare", vec!["H03"])];
    let expected =
        expected.map(|(name, features)| (name.to_owned(), features.iter().map(ToString::to_string).collect()));
    assert_eq!(shown(source), expected);
}
