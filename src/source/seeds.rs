//! Seeds from where they are: a folder with one folder for each environment, or ConfigMaps with a label that names one.
//!
//! Both come to the same paths, by which seeds are recorded: `010_users.sql`, and `dev/010_users.sql`.

use std::{collections::BTreeMap, path::Path};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use super::{SeedFiles, dir, files::Files};
use crate::{
    core::{
        bundle::{Bundle, BundleFile},
        outcome::{Failure, Reason},
        reference::SeedsRef,
        seed::{self, Seed, split_path},
    },
    yaml,
};

/// The label of a ConfigMap whose seeds belong to one environment.
pub const ENVIRONMENT_LABEL: &str = "dunlin.dev/environment";

/// Reads the seeds of a folder that are loaded in this environment.
///
/// # Errors
/// `WaitingForSource` when the folder isn't there or can't be read, and `InvalidSource` for what is wrong with its files.
pub fn of_folder(folder: &Path, environment: Option<&str>) -> Result<SeedFiles, Failure> {
    read(&bundle_of_folder(folder)?, environment)
}

/// Takes the seeds of a folder as they are, those of every environment.
///
/// # Errors
/// As [`of_folder`]; what the files hold isn't looked at.
pub fn bundle_of_folder(folder: &Path) -> Result<Bundle, Failure> {
    let mut files = Files::default();
    collect(folder, None, &mut files)?;
    files.bundle()
}

fn collect(folder: &Path, environment: Option<&str>, files: &mut Files) -> Result<(), Failure> {
    let absent = "dunlin seed create NAME makes it, or name it with seeds in dunlin.yaml";
    let mut scratch = Vec::with_capacity(dir::SCRATCH);
    for entry in dir::entries(folder, absent, files)? {
        match environment {
            None if entry.is_folder => collect(&entry.path, Some(&entry.name), files)?,
            Some(_) if entry.is_folder => files.refuse(format!(
                "{}: a folder in an environment's folder, which is not looked into; keep it elsewhere",
                entry.origin()
            )),
            _ => {
                let Some(bytes) = entry.read(&mut scratch, files) else { continue };
                let path = environment.map_or_else(|| entry.name.clone(), |of| format!("{of}/{}", entry.name));
                files.add_seed(&path, bytes, entry.origin());
            }
        }
    }
    Ok(())
}

/// Reads the seeds of ConfigMaps that were fetched, by name; None where there is none of that name.
///
/// # Errors
/// `WaitingForSource` where one is absent; `InvalidSource` or `DuplicateVersion` for what is wrong with their content.
pub(super) fn of_config_maps(
    reference: &SeedsRef,
    maps: Vec<(String, Option<ConfigMap>)>,
) -> Result<SeedFiles, Failure> {
    let absent: Vec<&str> = maps.iter().filter(|(_, map)| map.is_none()).map(|(name, _)| name.as_str()).collect();
    if !absent.is_empty() {
        let message = format!(
            "ConfigMap {} of spec.seeds isn't there: nothing runs until every one of them is. Where kustomize puts a hash behind \
             a name, its nameReference configuration must name spec/seeds/configMaps/name of MigrationSet",
            absent.join(", ")
        );
        return Err(Failure::new(Reason::WaitingForSource, message));
    }
    let mut files = Files::default();
    for (name, map) in maps.into_iter().filter_map(|(name, map)| Some((name, map?))) {
        let environment = map.labels().get(ENVIRONMENT_LABEL).cloned();
        let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
        let binary = map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
        let entries: BTreeMap<String, Vec<u8>> = text.chain(binary).collect();
        if entries.is_empty() {
            files.refuse(format!("ConfigMap {name} holds no seed: put one into it, or don't refer to it"));
        }
        for (key, bytes) in entries {
            let path = environment.as_ref().map_or_else(|| key.clone(), |environment| format!("{environment}/{key}"));
            files.add_seed(&path, bytes, format!("ConfigMap {name}, key {key}"));
        }
    }
    read(&files.bundle()?, reference.environment.as_deref())
}

/// Reads those that belong to all environments, or to this one.
fn read(bundle: &Bundle, environment: Option<&str>) -> Result<SeedFiles, Failure> {
    let is_ours =
        |file: &&BundleFile| split_path(&file.name).is_ok_and(|(of, _, _)| of.is_none_or(|of| Some(of) == environment));
    let mut seeds: Vec<Seed> = Vec::new();
    let mut problems = Vec::new();
    for file in bundle.files().iter().filter(is_ours) {
        match seed::read(file, yaml::nodes) {
            Ok(seed) => seeds.push(seed),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::new(Reason::InvalidSource, problems.join("\n")));
    }
    seeds.sort_by(|a, b| seed::order(&a.path).cmp(&seed::order(&b.path)));
    Ok(SeedFiles { digest: Some(bundle.digest()), seeds: seeds.into() })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn map(name: &str, environment: Option<&str>, data: &[(&str, &str)]) -> (String, Option<ConfigMap>) {
        let label = environment.map(|name| BTreeMap::from([(ENVIRONMENT_LABEL.to_owned(), name.to_owned())]));
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels: label, ..ObjectMeta::default() },
            data: Some(data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()),
            ..ConfigMap::default()
        };
        (name.to_owned(), Some(map))
    }

    fn paths(found: &SeedFiles) -> Vec<&str> {
        found.seeds.iter().map(|seed| seed.path.as_str()).collect()
    }

    /// Q64: by folder or by label, the same seeds under the same paths.
    #[test]
    fn a_folder_and_config_maps_come_to_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in
            [("010_a.sql", "SELECT 1;"), ("dev/015_b.yaml", "t: [{a: 1}]"), ("live/020_c.json", "{}"), (".keep", "")]
        {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let maps = || {
            vec![
                map("all", None, &[("010_a.sql", "SELECT 1;")]),
                map("dev", Some("dev"), &[("015_b.yaml", "t: [{a: 1}]")]),
                map("live", Some("live"), &[("020_c.json", "{}")]),
            ]
        };
        for (environment, expected) in [
            (None, &["010_a.sql"][..]),
            (Some("dev"), &["010_a.sql", "dev/015_b.yaml"]),
            (Some("live"), &["010_a.sql", "live/020_c.json"]),
            (Some("other"), &["010_a.sql"]),
        ] {
            let reference = SeedsRef { config_maps: Vec::new(), environment: environment.map(str::to_owned) };
            let by_label = of_config_maps(&reference, maps()).expect("all of it is sound");
            let by_folder = of_folder(folder.path(), environment).expect("all of it is sound");
            assert_eq!((paths(&by_label), &by_label), (expected.to_vec(), &by_folder));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let reference = SeedsRef { config_maps: Vec::new(), environment: Some("dev".to_owned()) };
        let refused = |maps| of_config_maps(&reference, maps).expect_err("it is refused");
        let absent = refused(vec![("gone".to_owned(), None)]);
        assert_eq!(absent.reason, Reason::WaitingForSource);
        assert!(absent.message.contains("gone"), "{absent}");
        let odd = refused(vec![map("a", None, &[("notes.txt", "x")]), map("b", None, &[])]);
        for named in ["ConfigMap a, key notes.txt: no seed", "ConfigMap b holds no seed"] {
            assert!(odd.message.contains(named), "{odd}");
        }
        let twice = refused(vec![map("a", None, &[("a.sql", "SELECT 1;")]), map("b", None, &[("a.sql", "SELECT 2;")])]);
        assert_eq!(twice.reason, Reason::DuplicateVersion);
        let wrong = refused(vec![map("a", Some("dev"), &[("a.sql", "SELECT 1;\nCOMMIT;"), ("b.yaml", "t: [1]")])]);
        for named in ["dev/a.sql:2: COMMIT", "dev/b.yaml:1: a number where a row"] {
            assert!(wrong.message.contains(named), "{wrong}");
        }
        // Another environment's files are nobody's business here.
        let other = vec![map("a", Some("live"), &[("a.sql", "COMMIT;")])];
        assert_eq!(of_config_maps(&reference, other).expect("it isn't read").seeds.len(), 0);
    }
}
