//! The templates of docs/ci.md: their commands are run as they stand, in a repository with migrations, on a real database.

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::project::{Project, line, ran};

const SERVICE: &str = "postgres:postgres@";

fn repository(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn template(name: &str) -> Value {
    dunlin::yaml::from_str(&repository(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A repository with migrations, and `dunlin` on its PATH and nothing else of ours.
async fn checkout() -> Project {
    let project = line(&["001", "002"]).await;
    project.write("dunlin.yaml", "envs:\n  production:\n    database:\n      url: ${PRODUCTION_URL}\n");
    std::fs::create_dir(project.path("bin")).expect("a folder");
    symlink(env!("CARGO_BIN_EXE_dunlin"), project.path("bin/dunlin")).expect("a link");
    project
}

/// A shell in it, as those of CI: the first command that fails ends it.
fn shell(project: &Project, script: &str, variables: &[(String, String)]) -> Output {
    let path = format!("{}:/usr/bin:/bin", project.path("bin").display());
    let mut command = Command::new("bash");
    command.args(["-e", "-o", "pipefail", "-c", script]).current_dir(project.folder.path());
    command.env_clear().env("PATH", path).env("HOME", project.folder.path());
    command.envs(variables.iter().map(|(name, value)| (name, value))).output().expect("there is a bash")
}

#[track_caller]
fn succeeds(project: &Project, script: &str, variables: &[(String, String)]) -> String {
    let ran = ran(shell(project, script, variables));
    assert_eq!(ran.code, Some(0), "{script}\n{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// A template's variables, its database being the test's.
fn variables(said: &Value, url: &str) -> Vec<(String, String)> {
    let each = said.as_object().into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().expect("a variable is text");
        let value = match value {
            "${{ secrets.PRODUCTION_URL }}" => url,
            service if service.contains(SERVICE) => url,
            plain => plain,
        };
        assert!(!value.contains("${{"), "nobody knows what {value} is");
        (name.clone(), value.to_owned())
    });
    each.collect()
}

/// Q77, Q79: every step of the workflow but the one that downloads.
#[tokio::test]
async fn the_workflow_of_github_runs_as_it_stands() {
    let workflow = template("docs/ci/github-actions.yaml");
    let jobs = workflow["jobs"].as_object().expect("jobs");
    assert_eq!(jobs.keys().collect::<Vec<_>>(), ["check", "production"]);
    for (name, job) in jobs {
        // CI's database and production's are two.
        let project = checkout().await;
        let variables = variables(&job["env"], &project.url);
        let mut steps = 0;
        for step in job["steps"].as_array().expect("steps") {
            match (step["run"].as_str(), step["uses"].as_str()) {
                (Some(_), None) if step["name"] == "Install dunlin" => {}
                (Some(script), None) => {
                    assert!(!script.contains("${{"), "{name}: a value belongs into env: {script}");
                    succeeds(&project, script, &variables);
                    steps += 1;
                }
                (None, Some(action)) => assert!(action.starts_with("actions/checkout@"), "{name}: {action}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(steps >= 3, "{name} has lost its steps");
        assert_eq!(project.tables().await, "t_001 t_002", "{name}");
    }
    assert_eq!(
        workflow["jobs"]["production"]["if"], "github.event_name == 'workflow_dispatch'",
        "it is started by hand"
    );
}

/// Q78, Q79: every line of the scripts but those of the hidden job that downloads.
#[tokio::test]
async fn the_pipeline_of_gitlab_runs_as_it_stands() {
    let pipeline = template("docs/ci/gitlab-ci.yaml");
    let mut jobs = 0;
    for (name, job) in pipeline.as_object().expect("jobs") {
        match name.as_str() {
            "stages" => continue,
            ".dunlin" => {
                assert!(job["script"].is_null(), "what is no download is run by the test");
                continue;
            }
            _ => assert!(job["before_script"].is_null() && job["after_script"].is_null(), "{name}"),
        }
        let project = checkout().await;
        let mut variables = variables(&job["variables"], &project.url);
        if name == "production" {
            variables.push(("PRODUCTION_URL".to_owned(), project.url.clone()));
            assert_eq!(job["rules"][0]["when"], "manual");
        }
        let script: Vec<&str> = job["script"].as_array().expect("a script").iter().filter_map(Value::as_str).collect();
        for line in &script {
            succeeds(&project, line, &variables);
        }
        jobs += 1;
        assert_eq!(project.tables().await, "t_001 t_002", "{name}");
    }
    assert_eq!(jobs, 2);
}

/// A check that can't fail is none.
#[tokio::test]
async fn what_is_wrong_fails_in_ci() {
    let workflow = template("docs/ci/github-actions.yaml");
    let steps = workflow["jobs"]["check"]["steps"].as_array().expect("steps");
    let run = |name: &str| {
        let step = steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name:?}"));
        step["run"].as_str().expect("it runs something")
    };
    let project = checkout().await;
    let variables = variables(&workflow["jobs"]["check"]["env"], &project.url);
    project.migration("003_c.sql", "SELECT nothing;\n");
    succeeds(&project, run("The files are sound"), &variables);
    assert_eq!(ran(shell(&project, run("The server takes it"), &variables)).code, Some(5));
    assert_eq!(project.tables().await, "", "it was a rehearsal");
    project.migration("003_c.sql", "SELECT 'open;\n");
    assert_eq!(ran(shell(&project, run("The files are sound"), &variables)).code, Some(3));
    project.migration("003_c.sql", "SELECT 1;\n");
    succeeds(&project, run("Forth"), &variables);
    project.migration("001_t.sql", "SELECT 2;\n");
    assert_ne!(ran(shell(&project, run("Forth"), &variables)).code, Some(0), "an edited file is found");
}

/// Q80, Q81: a commit with a wrong file is stopped without a server, with other words than a hook that can't work; who
/// skips it is stopped by CI.
#[tokio::test]
async fn a_commit_is_checked_without_a_server() {
    let hooks = template(".pre-commit-hooks.yaml");
    let example = template("docs/ci/pre-commit-config.yaml");
    assert_eq!(example["repos"][0]["hooks"][0]["id"], hooks[0]["id"]);
    assert_eq!((hooks[0]["language"].as_str(), hooks[0]["pass_filenames"].as_bool()), (Some("script"), Some(false)));
    let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join(hooks[0]["entry"].as_str().expect("a path"));

    let project = checkout().await;
    let git = "git -c user.name=a -c user.email=a@example.com";
    succeeds(&project, &format!("git init -q . && cp {} .git/hooks/pre-commit", entry.display()), &[]);
    let commit = |file: &str, flags: &str| {
        let script = format!("git add {file} && {git} commit -q -m why {flags}");
        ran(shell(&project, &script, &[]))
    };
    let commits = || succeeds(&project, "git rev-list --all --count", &[]).trim().to_owned();
    assert_eq!(commit("migrations dunlin.yaml", "").code, Some(0), "what is sound passes");
    assert_eq!(commits(), "1");

    project.migration("003_c.sql", "SELECT 'open;\n");
    let stopped = commit("migrations", "");
    assert_eq!((stopped.code, commits().as_str()), (Some(1), "1"), "{}", stopped.stderr);
    assert!((stopped.stdout + &stopped.stderr).contains("003_c.sql:1:8"), "it says where");
    let said = |script: &str| {
        let ran = ran(shell(&project, script, &[]));
        (ran.code, ran.stderr.lines().last().unwrap_or_default().to_owned())
    };
    let entry = entry.display();
    let wrong = said(&entry.to_string());
    assert_eq!((wrong.0, wrong.1.starts_with("the migrations or dunlin.yaml are wrong")), (Some(3), true), "{wrong:?}");
    let other = said(&format!("{entry} --nonsense"));
    assert_eq!((other.0, other.1.starts_with("this dunlin doesn't understand its hook")), (Some(2), true), "{other:?}");
    let absent = said(&format!("PATH=/usr/bin:/bin {entry}"));
    assert_eq!((absent.0, absent.1.starts_with("dunlin isn't installed here")), (Some(127), true), "{absent:?}");

    assert_eq!(commit("migrations", "--no-verify").code, Some(0));
    let url = [("DUNLIN_DATABASE_URL".to_owned(), project.url.clone())];
    assert_eq!(ran(shell(&project, "dunlin apply", &url)).code, Some(3), "it is refused where it would run");
    assert_eq!(project.tables().await, "");
}

/// Every template is named by the document.
#[test]
fn the_document_names_every_template() {
    let page = repository("docs/ci.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci");
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let name = entry.expect("it can be read").file_name().into_string().expect("its name is text");
        assert!(page.contains(&format!("ci/{name}")), "{name}");
    }
}
