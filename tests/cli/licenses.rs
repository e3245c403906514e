//! `licenses`: nothing is built in that isn't named.

use std::{collections::BTreeSet, process::Command};

use crate::dunlin;

/// `ring 0.17.14`, as a line of the list has it in front of its licence.
fn named(printed: &str) -> BTreeSet<String> {
    let list = printed.split("(make generate).\n\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let lines = list.expect("there is a list").lines().filter(|line| !line.starts_with("the Rust standard library"));
    lines.map(|line| line.split_once(": ").expect("a licence stands behind it").0.to_owned()).collect()
}

/// M39: the program's own licence, and that of everything that is built into it.
#[test]
fn everything_that_is_built_in_is_named_with_its_licence() {
    let ran = dunlin(&["licenses"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.trim_start().starts_with("Apache License"), "{}", &ran.stdout[..200]);
    let named = named(&ran.stdout);
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "-e", "normal,no-proc-macro", "--prefix", "none", "-f", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let built_in: BTreeSet<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once(" v"))
        .filter(|(name, _)| *name != "dunlin")
        .map(|(name, rest)| format!("{name} {}", rest.split(' ').next().unwrap_or_default()))
        .collect();
    assert!(built_in.len() > 100, "cargo lists what is built in");
    let missing: Vec<_> = built_in.difference(&named).collect();
    assert!(missing.is_empty(), "run make generate, and commit it: {missing:?}");
    let lock = include_str!("../../Cargo.lock");
    for crate_ in &named {
        let (name, version) = crate_.split_once(' ').expect("a version");
        let is_locked = lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n"));
        assert!(is_locked, "run make generate, and commit it: {crate_} isn't built in any more");
        let texts = ran.stdout.matches(crate_.as_str()).count();
        assert!(texts > 1, "{crate_} has no text of its licence");
    }
}
