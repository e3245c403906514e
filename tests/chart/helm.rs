//! Helm 3 and Helm 4, as `make tools` builds them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    Three,
    Four,
}

/// A release as it is rendered.
#[derive(Debug, Clone)]
pub struct Release {
    pub name: String,
    pub namespace: String,
    pub values: Value,
}

impl Helm {
    pub const BOTH: [Self; 2] = [Self::Three, Self::Four];

    fn program(self) -> PathBuf {
        let name = match self {
            Self::Three => "helm3",
            Self::Four => "helm4",
        };
        let program = root().join("target/tools/bin").join(name);
        assert!(program.is_file(), "{} isn't there: build it with `make tools`", program.display());
        program
    }

    /// Runs it with folders of its own and without a cluster; what it prints, or what it says when it fails.
    pub fn run(self, arguments: &[&str]) -> Result<String, String> {
        self.run_at(Path::new("/dev/null"), arguments)
    }

    fn run_at(self, kubeconfig: &Path, arguments: &[&str]) -> Result<String, String> {
        let home = tempfile::tempdir().expect("a folder");
        let output = Command::new(self.program())
            .args(arguments)
            .env("HELM_CACHE_HOME", home.path())
            .env("HELM_CONFIG_HOME", home.path())
            .env("HELM_DATA_HOME", home.path())
            .env("KUBECONFIG", kubeconfig)
            .output()
            .expect("helm runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    }

    /// The objects of a release, or why there are none.
    pub fn render(self, release: &Release) -> Result<Vec<Value>, String> {
        self.with_values(release, Path::new("/dev/null"), &["template"]).map(|text| documents(&text))
    }

    /// What is printed at the end of an installation.
    pub fn notes(self, release: &Release, kubeconfig: &Path) -> String {
        let said = self.with_values(release, kubeconfig, &["install", "--dry-run=client"]).expect("it is rendered");
        said.split("\nNOTES:\n").nth(1).expect("it has notes").to_owned()
    }

    fn with_values(self, release: &Release, kubeconfig: &Path, command: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("values.yaml");
        std::fs::write(&file, release.values.to_string()).expect("JSON is YAML");
        let (chart, file) = (chart(), file.to_string_lossy().into_owned());
        let chart = chart.to_string_lossy();
        let of_release = [&release.name, &*chart, "--namespace", &release.namespace, "--values", &file];
        self.run_at(kubeconfig, &[command, &of_release].concat())
    }
}

impl Release {
    /// A release `dunlin` in `dunlin-system`.
    pub fn with(values: Value) -> Self {
        Self { name: "dunlin".to_owned(), namespace: "dunlin-system".to_owned(), values }
    }

    /// Its objects, as both render them.
    pub fn objects(&self) -> Vec<Value> {
        let [three, four] = Helm::BOTH
            .map(|helm| helm.render(self).unwrap_or_else(|error| panic!("{helm:?} with {}: {error}", self.values)));
        assert_eq!(three, four, "Helm 3 and 4 differ with {}", self.values);
        three
    }
}

/// Values under which no object of the chart is missing.
pub fn everything() -> Value {
    json!({
        "rbac": {"aggregate": {"edit": true}},
        "networkPolicy": {"enabled": true},
        "metrics": {"serviceMonitor": {"enabled": true}, "prometheusRule": {"enabled": true}, "dashboard": {"enabled": true}},
    })
}

/// The folder of the crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the chart.
pub fn chart() -> PathBuf {
    root().join("charts/dunlin")
}

/// A file of the chart.
pub fn file(path: &str) -> String {
    std::fs::read_to_string(chart().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML stream that have anything in them.
pub fn documents(text: &str) -> Vec<Value> {
    format!("\n{text}")
        .split("\n---")
        .map(|document| {
            dunlin::yaml::from_str::<Value>(document).unwrap_or_else(|error| panic!("{error} in {document}"))
        })
        .filter(|document| !document.is_null())
        .collect()
}

/// The kind and name of an object.
pub fn called(object: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// The one object of this kind.
pub fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = objects.iter().filter(|object| object["kind"] == kind).collect();
    let [one] = found.as_slice() else { panic!("{} of {kind}", found.len()) };
    one
}
