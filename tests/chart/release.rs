//! The image and how it is released, as far as it can be told without a registry.

use serde_json::Value;

use crate::helm::{file, root};

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every step of every job.
fn steps(workflow: &Value) -> Vec<Value> {
    let jobs = workflow["jobs"].as_object().expect("it has jobs");
    jobs.values().flat_map(|job| job["steps"].as_array().expect("it has steps").clone()).collect()
}

/// A tag of somebody's action can be moved; a commit can't.
#[test]
fn actions_are_pinned_by_commit_and_keep_no_credentials() {
    let workflow: Value = dunlin::yaml::from_str(&text(".github/workflows/release.yml")).expect("it is YAML");
    assert_eq!(workflow["permissions"], serde_json::json!({}), "each job asks for what it needs");
    let mut pinned = 0;
    for step in steps(&workflow) {
        let Some(action) = step["uses"].as_str() else {
            let run = step["run"].as_str().expect("a step uses or runs");
            // What somebody else chooses, a tag's name among it, is no part of a script.
            assert!(!run.contains("${{"), "{run}");
            continue;
        };
        let commit = action.split_once('@').expect("it is pinned").1;
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
        assert!(!action.starts_with("actions/checkout@") || step["with"]["persist-credentials"] == false);
        pinned += 1;
    }
    assert!(pinned > 5, "the workflow has lost its actions");
    for (name, job) in workflow["jobs"].as_object().expect("it has jobs") {
        assert!(job["timeout-minutes"].is_u64() && job["permissions"].is_object(), "{name}");
    }
}

#[test]
fn the_workflow_builds_what_the_chart_installs() {
    let workflow = text(".github/workflows/release.yml");
    for words in [
        "cosign sign --yes --recursive",
        "cosign attest --yes --type cyclonedx",
        "file: Containerfile",
        "cosign sign-blob --yes",
    ] {
        assert!(workflow.contains(words), "{words}");
    }
    // The line that the workflow fills in.
    assert!(file("values.yaml").contains("\n  digest: \"\"\n"));
    let chart: Value = dunlin::yaml::from_str(&file("Chart.yaml")).expect("it is YAML");
    assert_eq!(chart["version"], chart["appVersion"], "one tag is the version of both");
}

#[test]
fn the_image_runs_as_the_user_that_the_chart_names() {
    let containerfile = text("Containerfile");
    let values: Value = dunlin::yaml::from_str(&file("values.yaml")).expect("it is YAML");
    let user = &values["podSecurityContext"]["runAsUser"];
    assert!(containerfile.contains(&format!("\nUSER {user}:{user}\n")), "{user}");
    assert!(containerfile.contains("cargo build --locked --release --bin dunlin"), "nothing but what Cargo.lock names");
    let minimum = text("Cargo.toml").lines().find_map(|line| line.strip_prefix("rust-version = ").map(str::to_owned));
    let rust = minimum.expect("Cargo.toml has it").trim_matches('"').to_owned();
    assert!(containerfile.contains(&format!("\nARG RUST=docker.io/library/rust:{rust}-alpine\n")), "{rust}");
    assert_eq!(text(".containerignore"), text(".dockerignore"), "whichever tool builds it");
}
