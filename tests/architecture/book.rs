//! The documents as a book: no page is left out of it, and no link of one leads nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::root;

fn docs() -> PathBuf {
    root().join("docs")
}

/// Every page, by its path within the folder, with its text; the summary is none.
fn pages() -> BTreeMap<PathBuf, String> {
    let (mut folders, mut pages) = (vec![docs()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("SUMMARY.md") {
                let name = path.strip_prefix(docs()).expect("it is in it").to_path_buf();
                pages.insert(name, std::fs::read_to_string(&path).expect("it is text"));
            }
        }
    }
    pages
}

/// The lines of prose: no fenced block, and nothing that stands between backquotes on its line.
fn prose(text: &str) -> impl Iterator<Item = String> {
    let mut inside = false;
    text.lines().filter_map(move |line| {
        let is_fence = line.starts_with("```");
        inside ^= is_fence;
        (!inside && !is_fence).then(|| line.split('`').step_by(2).collect::<Vec<_>>().join("`"))
    })
}

/// Where the links of a text lead.
fn links(text: &str) -> Vec<String> {
    let of_line = |line: String| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.map(|(target, _)| target.to_owned()).collect::<Vec<_>>()
    };
    prose(text).flat_map(of_line).filter(|target| !target.is_empty()).collect()
}

/// What a heading is called in a link, by GitHub and mdBook alike.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let headings = text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence && line.starts_with('#')
    });
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            title.chars().filter(|it| it.is_alphanumeric() || "-_".contains(*it)).collect()
        })
        .collect()
}

/// A path without its `..`, where none leads out of what it begins in.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        if part == Component::ParentDir {
            path.pop();
        } else {
            path.push(part);
        }
        path
    })
}

#[test]
fn every_page_stands_in_the_book_once_and_the_book_names_no_other() {
    let summary = std::fs::read_to_string(docs().join("SUMMARY.md")).expect("the book has a summary");
    let mut listed: Vec<PathBuf> = links(&summary).into_iter().map(PathBuf::from).collect();
    listed.sort();
    assert_eq!(listed, pages().into_keys().collect::<Vec<_>>());
}

#[test]
fn every_link_of_the_book_leads_to_a_file_and_a_heading() {
    let mut nowhere = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.parent().expect("it is a file");
            let target = docs().join(if path.is_empty() { page.clone() } else { folder.join(path) });
            let target = plain(&target);
            let there = if heading.is_empty() {
                target.exists()
            } else {
                std::fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(heading))
            };
            if !there {
                nowhere.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(seen > 100, "links aren't found");
    assert!(nowhere.is_empty(), "these links lead nowhere:\n{}", nowhere.join("\n"));
}

#[test]
fn links_are_those_of_prose_and_headings_have_a_name() {
    let text = "# One: `two`, three\n[a](b.md#c) and `[x](y)`\n```sh\n# no heading\n[n](m)\n```\n[](z)";
    assert_eq!(links(text), ["b.md#c", "z"]);
    assert_eq!(anchors(text), BTreeSet::from(["one-two-three".to_owned()]));
}
