//! The CustomResourceDefinition, installed once for all tests that share an API server.

use std::sync::OnceLock;

use crate::support::{Kubernetes, kubernetes};

/// The generated file, as users apply it.
pub const CRD_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/migrationsets.dunlin.dev.yaml");

/// Installs the CustomResourceDefinition at the shared API server, if no test has done so yet, and waits until it is
/// served. Returns what kubectl said on stderr, where the API server's warnings are.
pub fn install_crd() -> &'static str {
    static INSTALLED: OnceLock<String> = OnceLock::new();
    INSTALLED.get_or_init(|| install_crd_at(kubernetes()))
}

/// The same at another API server.
pub fn install_crd_at(kubernetes: &Kubernetes) -> String {
    let applied = kubernetes.kubectl(&["apply", "--server-side", "-f", CRD_FILE]);
    let said = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert!(applied.status.success(), "the CRD is refused: {said}");
    let established = ["wait", "crd/migrationsets.dunlin.dev", "--for=condition=Established", "--timeout=30s"];
    let waited = kubernetes.kubectl(&established);
    assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    said
}
