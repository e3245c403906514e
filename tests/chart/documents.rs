//! What docs/install.md says, held against the chart.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    helm::{Helm, Release, chart, root},
    scopes::rights,
    support::markdown::blocks,
};

fn page() -> String {
    std::fs::read_to_string(root().join("docs/install.md")).expect("the page is there")
}

/// The rows of the table under a title, without its header, their code without its marks.
fn table(title: &str) -> Vec<Vec<String>> {
    let page = page();
    let (_, section) = page.split_once(&format!("\n## {title}\n")).expect("a section");
    let section = section.split("\n## ").next().expect("it has a beginning");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

#[test]
fn the_table_of_rights_is_that_of_the_role() {
    let written: BTreeSet<String> = { table("What the operator may do") }
        .iter()
        .flat_map(|row| row[1].split(", ").map(|verb| format!("{verb} {}", row[0])))
        .collect();
    let objects = Release::with(json!({"scope": {"mode": "Own"}, "podGates": {"enabled": true}})).objects();
    let role = objects.iter().find(|object| object["kind"] == "Role" && object["metadata"]["name"] == "dunlin");
    assert_eq!(written, rights(&role.expect("it is there")["rules"]));
}

/// Each command of Helm's is one that Helm takes, and its values are the chart's.
#[test]
fn the_commands_of_helm_are_commands() {
    let mut ran = 0;
    for block in blocks(&page()).iter().filter(|block| block.language == "sh") {
        for line in block.text.lines().filter_map(|line| line.strip_prefix("helm ")) {
            let line = line.replace('\'', "");
            let mut words: Vec<&str> = line.split(' ').filter(|word| !word.starts_with("--create")).collect();
            if words[0] == "uninstall" {
                continue;
            }
            let chart = chart();
            words[0] = "template";
            for word in &mut words {
                if word.starts_with("oci://") {
                    *word = chart.to_str().expect("a path in UTF-8");
                }
            }
            for helm in Helm::BOTH {
                let said = helm.run(&words);
                assert!(said.is_ok(), "{helm:?} {line}: {}", said.expect_err("it isn't"));
            }
            ran += 1;
        }
    }
    assert!(ran >= 4, "the page has lost its commands");
}

#[test]
fn every_link_and_every_file_of_the_page_is_there() {
    for link in page().split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link)) {
        let there = link.starts_with("https://")
            || match link.strip_prefix('#') {
                Some(anchor) => {
                    page().lines().any(|line| line.to_lowercase().replace(' ', "-") == format!("##-{anchor}"))
                }
                // That other pages have their headings is held of the whole book.
                None => root().join("docs").join(link.split('#').next().unwrap_or_default()).exists(),
            };
        assert!(there, "{link}");
    }
    for word in page().split_whitespace().filter(|word| word.starts_with("deploy/") || word.starts_with("crds/")) {
        assert!(root().join(word.trim_end_matches(['`', ':', ','])).exists(), "{word}");
    }
    let runbook = "https://github.com/dunlin-dev/dunlin/blob/main/";
    for entry in std::fs::read_dir(chart().join("alerts")).expect("the folder is there") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("it is text");
        let (_, path) = text.rsplit_once(runbook).expect("an alert has a page");
        assert!(root().join(path.lines().next().expect("a path")).exists(), "{path}");
    }
}
