//! Tab behind `kubectl dunlin`: a real kubectl runs the executable that `completion` prints.

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::json;

use super::plugin::Plugin;
use crate::{shop::Shop, support::kubernetes};

/// What kubectl offers its shell for these words.
fn offered(plugin: &Plugin, words: &[&str]) -> (Vec<String>, String) {
    let path = format!("{}:/usr/bin:/bin", plugin.folder().display());
    let output = Command::new(kubernetes().bin().join("kubectl"))
        .args(["__complete", "dunlin"])
        .args(words)
        .env("PATH", path)
        .env("KUBECONFIG", plugin.kubeconfig())
        .output()
        .expect("kubectl runs");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let directive = lines.pop().expect("a directive is last");
    (lines, directive)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_completes_verbs_flags_and_names() {
    let shop = Shop::closed().await;
    let plugin = Plugin::new(&shop.namespace);
    let script = plugin.folder().join("kubectl_complete-dunlin");
    std::fs::write(&script, plugin.succeeds(&["completion", "kubectl"])).expect("it is written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it is made executable");
    shop.apply(json!({})).await;
    shop.apply_as("shelf", json!({})).await;

    let (verbs, directive) = offered(&plugin, &["re"]);
    let named: Vec<&str> = verbs.iter().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(named, ["resolve", "retry", "reconcile", "resume", "report"], "{verbs:?}");
    assert!(verbs[0].ends_with("\tDecide about a run that failed, was cut off or drifted"), "{verbs:?}");
    assert_eq!(directive, ":4", "and no file");
    assert_eq!(offered(&plugin, &["status", "sh"]).0, ["shelf", "shop"]);
    assert_eq!(offered(&plugin, &["status", "sho"]).0, ["shop"]);
    assert_eq!(
        offered(&plugin, &["status", "-n", &shop.namespace[..6]])
            .0
            .iter()
            .filter(|name| **name == shop.namespace)
            .count(),
        1
    );
    assert_eq!(offered(&plugin, &["status", "-n", "elsewhere", ""]).0, [""; 0]);
    assert_eq!(offered(&plugin, &["wait", "--dig"]).0.len(), 1);
    assert_eq!(offered(&plugin, &["status", "--kubeconfig", ""]).1, ":0", "files are the shell's");

    let nowhere = Plugin::with(&shop.namespace, |kubeconfig| {
        kubeconfig["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    });
    let ran = nowhere.run(&["__complete", "--", "status", ""]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), ":4\n", ""), "no word of an error");
    shop.close().await;
}
