//! What `dunlin pack` writes is what the operator takes.

use std::{fmt::Write as _, process::Command};

use crate::{shop::Shop, support::kubernetes};

fn pack(folder: &std::path::Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let packed = command.arg("pack").args(arguments).current_dir(folder).env_clear().output().expect("it runs");
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    String::from_utf8(packed.stdout).expect("it prints text")
}

fn apply(shop: &Shop, path: &std::path::Path) {
    let path = path.to_str().expect("its name is text");
    let applied = kubernetes().kubectl(&["apply", "--server-side", "--namespace", &shop.namespace, "-f", path]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

/// A folder of more than one ConfigMap, with a file that none takes as it is, from stdout and from a folder of files.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_is_applied() {
    let shop = Shop::open().await;
    let project = tempfile::tempdir().expect("a folder");
    let migrations = project.path().join("migrations");
    std::fs::create_dir(&migrations).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(migrations.join(name), text).expect("it is written");
    write("001_a.sql", "CREATE TABLE a (x text DEFAULT 'yes: ${no} # \"so\"');\r\nINSERT INTO a VALUES ('é');\n");
    for number in 2..=4 {
        let mut text = String::new();
        for row in 0..7_000 {
            let _ = writeln!(text, "INSERT INTO a VALUES ('{number} {row} of a file of its own');");
        }
        write(&format!("{number:03}_rows.sql"), &text);
    }
    write("005_large.sql", &"INSERT INTO a VALUES (DEFAULT);\n".repeat(40_000));
    let arguments = ["--name", "shop", "--namespace", &shop.namespace, "--secret", "db"];
    let all = project.path().join("all.yaml");
    std::fs::write(&all, pack(project.path(), &arguments)).expect("it is written");
    apply(&shop, &all);
    let set = shop.until("UpToDate").await;
    assert_eq!(
        set.spec.source.config_maps.map(|maps| maps.len()),
        Some(2),
        "{}",
        pack(project.path(), &arguments).len()
    );
    assert_eq!(shop.ask("SELECT count(*) || ' ' || count(DISTINCT x) FROM a").await, "61001 21002");

    write("006_b.sql", "CREATE TABLE b (x int);\n");
    let written = pack(project.path(), &[&arguments[..], &["--output-dir", "manifests"]].concat());
    assert_eq!(written, "manifests/shop-migrations-1.yaml\nmanifests/shop-migrations-2.yaml\nmanifests/shop.yaml\n");
    apply(&shop, &project.path().join("manifests"));
    let set = shop
        .until_that("shop", "it has all six", |set| {
            set.status.as_ref().and_then(|status| status.applied.as_ref()).is_some_and(|applied| applied.count == 6)
        })
        .await;
    let status = set.status.expect("a status");
    assert_eq!(status.source.and_then(|source| source.digest), set.spec.source.digest);
    shop.close().await;
}
