//! The binary as a shell sees it: what it prints where, and how it exits.

mod apply;
mod ci;
mod convert;
mod docs;
mod errors;
mod files;
mod hooks;
mod import;
mod licenses;
mod lint;
mod pack;
mod past;
mod project;
mod rehearse;
mod seeds;
mod settings;
mod squash;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod trial;
mod variables;
mod wait;
mod walk;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use project::Ran;
use serde_json::Value;

const DUNLIN: &str = env!("CARGO_BIN_EXE_dunlin");

fn run(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let Output { status, stdout, stderr } = Command::new(program)
        .args(arguments)
        .env_remove("RUST_LOG")
        .envs(environment.iter().copied())
        .output()
        .expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn dunlin(arguments: &[&str]) -> Ran {
    run(Path::new(DUNLIN), arguments, &[])
}

/// A folder with the binary in it by the name that kubectl looks for.
fn plugin() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let link = folder.path().join("kubectl-dunlin");
    symlink(DUNLIN, &link).expect("a link can be made");
    (folder, link)
}

/// What the build was told; it asks no Git, so that a build from a tarball is the same.
const COMMIT: &str = match option_env!("DUNLIN_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// M01: one binary, which says its version.
#[test]
fn version_prints_the_program_and_the_api() {
    let ran = dunlin(&["version"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(
        ran.stdout,
        format!(
            "dunlin   {}\ncommit   {COMMIT}\nAPI      dunlin.dev/v1alpha1\nhistory  layout 1\n",
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(ran.stderr, "");
}

/// M01
#[test]
fn version_prints_json_for_programs() {
    let ran = dunlin(&["version", "-o", "json"]);
    assert_eq!(ran.code, Some(0));
    let versions: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    assert_eq!(
        versions,
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": COMMIT,
            "apiVersion": "dunlin.dev/v1alpha1",
            "historyLayout": 1,
        })
    );
}

/// P33
#[test]
fn crd_prints_one_yaml_document_and_nothing_else() {
    let ran = dunlin(&["crd"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let crd: Value = dunlin::yaml::from_str(&ran.stdout).expect("it is one document of YAML");
    assert_eq!(crd["kind"], "CustomResourceDefinition");
    assert_eq!(crd["metadata"]["name"], "migrationsets.dunlin.dev");
    assert_eq!(crd, serde_json::to_value(dunlin::api::v1alpha1::crd()).expect("it is JSON"));
}

#[test]
fn every_list_map_and_string_of_the_crd_has_a_bound_and_every_field_a_manual() {
    fn look(path: &str, schema: &Value, wrong: &mut Vec<String>) {
        let bounded = match schema["type"].as_str() {
            Some("string") => {
                !schema["enum"].is_null() || !schema["maxLength"].is_null() || schema["format"] == "date-time"
            }
            Some("array") => !schema["maxItems"].is_null(),
            Some("object") => !schema["properties"].is_null() || !schema["maxProperties"].is_null(),
            Some("integer" | "boolean") => true,
            other => panic!("{path} is of type {other:?}"),
        };
        if !bounded {
            wrong.push(format!("{path} has no bound"));
        }
        let documented = path.ends_with("[]") || path.ends_with("{}") || schema["description"].is_string();
        if !documented {
            wrong.push(format!("{path} has no description"));
        }
        if schema["nullable"] == true {
            wrong.push(format!("{path} is nullable"));
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            look(&format!("{path}.{name}"), property, wrong);
        }
        if schema["items"].is_object() {
            look(&format!("{path}[]"), &schema["items"], wrong);
        }
        if schema["additionalProperties"].is_object() {
            look(&format!("{path}{{}}"), &schema["additionalProperties"], wrong);
        }
    }
    let crd = serde_json::to_value(dunlin::api::v1alpha1::crd()).expect("it is JSON");
    let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut wrong = Vec::new();
    look("spec", &root["spec"], &mut wrong);
    look("status", &root["status"], &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_flag_that_does_not_exist_is_a_usage_error_that_names_the_one_meant() {
    let ran = dunlin(&["operator", "--leader-elekt=true"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("unexpected argument") && ran.stderr.contains("'--leader-elect'"), "{}", ran.stderr);
    for arguments in [&["frobnicate"][..], &[], &["version", "-o", "xml"], &["operator", "--leader-elect=perhaps"]] {
        let ran = dunlin(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.contains("Usage:") || ran.stderr.contains("--help"), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_flag_of_the_operator_that_would_do_nothing_is_an_error() {
    for (arguments, said) in [
        (["--lease-name", "till"], "--lease-name is of no use without --leader-elect"),
        (["--lease-namespace", "shop"], "--lease-namespace is of no use without --leader-elect"),
        (["--lease-name", "Till_1"], "a name of Kubernetes has"),
        (["--health-addr", "8080"], "an address is IP:PORT"),
        (["--metrics-addr", "localhost:8080"], "an address is IP:PORT"),
    ] {
        let ran = dunlin(&["operator", arguments[0], arguments[1]]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

#[test]
fn help_that_was_asked_for_goes_to_stdout() {
    let ran = dunlin(&["--help"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("Usage: dunlin [OPTIONS] <COMMAND>"), "{}", ran.stdout);
}

#[test]
fn by_the_name_of_the_plugin_it_says_what_a_person_types() {
    let (_folder, plugin) = plugin();
    let help = run(&plugin, &["--help"], &[]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("Usage: kubectl dunlin [OPTIONS] <COMMAND>"), "{}", help.stdout);
    let help = run(&plugin, &["version", "--help"], &[]);
    assert!(help.stdout.contains("Usage: kubectl dunlin version"), "{}", help.stdout);
    let wrong = run(&plugin, &["frobnicate"], &[]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("Usage: kubectl dunlin"), "{}", wrong.stderr);
    assert_eq!(run(&plugin, &["version"], &[]).stdout, dunlin(&["version"]).stdout);
}

/// Q04: one binary, also as kubectl-dunlin.
#[test]
fn the_plugin_has_the_verbs_of_the_cluster_and_those_alone() {
    let (_folder, plugin) = plugin();
    let help = run(&plugin, &["--help"], &[]).stdout;
    let commands =
        help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list of commands");
    let verbs: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty())
        .collect();
    let expected = [
        "status",
        "plan",
        "history",
        "approve",
        "resolve",
        "retry",
        "reconcile",
        "suspend",
        "resume",
        "rollback",
        "wait",
        "check",
        "report",
        "logs",
        "completion",
        "version",
    ];
    assert_eq!(verbs, expected);
    for elsewhere in ["operator", "crd"] {
        assert_eq!(run(&plugin, &[elsewhere], &[]).code, Some(2), "{elsewhere}");
    }
    assert_eq!(dunlin(&["approve", "shop"]).code, Some(2));
}

#[test]
fn a_log_level_that_is_none_is_refused_with_where_it_was_said() {
    let ran = dunlin(&["version", "--log-level", "dunlin=loud"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("--log-level"), "{}", ran.stderr);
    let ran = run(Path::new(DUNLIN), &["version"], &[("RUST_LOG", "dunlin=loud")]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("RUST_LOG"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(DUNLIN)
        .arg("crd")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
