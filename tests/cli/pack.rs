//! A folder as objects: what is printed, written, and not overwritten.

use crate::project::line;

const NAMES: [&str; 7] = ["pack", "--name", "shop", "--namespace", "prod", "--secret", "db"];

#[tokio::test]
async fn a_folder_becomes_documents_of_yaml() {
    let project = line(&["001", "002"]).await;
    project.write("dunlin.yaml", "policy: {rollback: Allow}\n");
    let ran = project.dunlin_with(&[&NAMES[..], &["-o", "yaml"]].concat(), &[]).await;
    ran.code(0).says(&["packed 2 files into 1 ConfigMaps: sha256:"]);
    let documents: Vec<serde_json::Value> =
        ran.stdout.split("---\n").map(|text| dunlin::yaml::from_str(text).expect("it is YAML")).collect();
    let [map, set] = documents.as_slice() else { panic!("{}", ran.stdout) };
    assert_eq!((&map["kind"], &map["metadata"]["name"]), (&"ConfigMap".into(), &"shop-migrations-1".into()));
    assert_eq!((&set["kind"], &set["metadata"]["namespace"]), (&"MigrationSet".into(), &"prod".into()));
    assert_eq!(set["spec"]["policy"]["rollback"], "Allow");
    assert_eq!(ran.stderr.trim().rsplit(' ').next(), set["spec"]["source"]["digest"].as_str());
}

/// Seeds go along where they are asked for, and are never left out without a word.
#[tokio::test]
async fn seeds_are_packed_on_demand() {
    let project = line(&["001"]).await;
    std::fs::create_dir(project.path("seeds")).expect("a folder");
    project.write("seeds/010_a.yaml", "t_001: [{a: 1}]\n");
    project.dunlin_with(&NAMES, &[]).await.code(0).says(&["seeds isn't packed: --seeds packs it too"]);
    let ran = project.dunlin_with(&[&NAMES[..], &["--seeds"]].concat(), &[]).await;
    let set = ran.code(0).stdout.split("---\n").last().expect("a set");
    let set: serde_json::Value = dunlin::yaml::from_str(set).expect("it is YAML");
    assert_eq!(set["spec"]["seeds"], serde_json::json!({"configMaps": [{"name": "shop-seeds-1"}]}));
    project.write("seeds/010_a.yaml", "t_001: 7\n");
    project.dunlin_with(&[&NAMES[..], &["--seeds"]].concat(), &[]).await.code(3).says(&["010_a.yaml:1: t_001 has"]);
}

#[tokio::test]
async fn what_somebody_else_has_written_is_not_overwritten() {
    let project = line(&["001"]).await;
    let arguments = [&NAMES[..], &["--output-dir", "out/deep"]].concat();
    for _ in 0..2 {
        let ran = project.dunlin_with(&arguments, &[]).await;
        assert_eq!(ran.code(0).stdout, "out/deep/shop-migrations-1.yaml\nout/deep/shop.yaml\n");
    }
    project.write("out/deep/shop.yaml", "mine: true\n");
    std::fs::remove_file(project.path("out/deep/shop-migrations-1.yaml")).expect("it is there");
    project
        .dunlin_with(&arguments, &[])
        .await
        .code(4)
        .says(&["out/deep/shop.yaml is there already", "hasn't written it"]);
    assert!(!project.path("out/deep/shop-migrations-1.yaml").exists());
}

#[tokio::test]
async fn what_the_operator_would_not_take_is_not_packed() {
    let project = line(&["001"]).await;
    project.dunlin_with(&["pack", "--name", "Shop!", "--namespace", "prod", "--secret", "db"], &[]).await.code(3);
    project.dunlin_with(&NAMES[..5], &[]).await.code(2);
    project.migration("002_b.sql", "SELECT 'open;\n");
    project.dunlin_with(&NAMES, &[]).await.code(3).says(&["002_b.sql:1:8"]);
}
