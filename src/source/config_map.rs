//! ConfigMaps into a migration directory.
//!
//! Objects are read by name, all of them, and only when asked for: whoever asks knows from their metadata that they have
//! changed. A key that is no migration file is an error that names it; nothing is skipped silently.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::ListParams};

use super::{Content, Snapshot, Stamp, files::Files};
use crate::core::{
    format::Format,
    outcome::{Failure, Reason},
    reference::{SeedsRef, SourceRef},
};

/// How many ConfigMaps are read at a time.
const AT_A_TIME: usize = 8;
/// How long the API server may take for an answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Reads the content of a source from the API server.
///
/// # Errors
/// `WaitingForSource` when the API server doesn't answer or refuses: nothing is known of the content then. What is wrong
/// with the content itself is in the [`Snapshot`].
pub async fn fetch(
    api: &Api<ConfigMap>,
    reference: &SourceRef,
    seeds: Option<&SeedsRef>,
    format: Format,
) -> Result<Snapshot, Failure> {
    let names = match reference {
        SourceRef::ConfigMaps(names) => names.clone(),
        SourceRef::Selector(selector) => {
            let query = ListParams::default().labels(&selector.to_string());
            let listed = within_deadline("looking for ConfigMaps by label", api.list_metadata(&query)).await?;
            listed.items.iter().map(ResourceExt::name_any).collect()
        }
    };
    let maps = read_all(api, names).await?;
    let of_seeds = read_all(api, seeds.map(|seeds| seeds.config_maps.clone()).unwrap_or_default()).await?;
    let (reference, seeds) = (reference.clone(), seeds.cloned());
    // Reading and checking thousands of files is work for a thread that nobody waits on.
    let read = tokio::task::spawn_blocking(move || snapshot((reference, maps), (seeds, of_seeds), format));
    read.await.map_err(|error| Failure::new(Reason::WaitingForSource, format!("reading the migration files: {error}")))
}

/// ConfigMaps by their names; None where there is none of that name.
type Maps = Vec<(String, Option<ConfigMap>)>;

async fn read_all(api: &Api<ConfigMap>, names: Vec<String>) -> Result<Maps, Failure> {
    stream::iter(names)
        .map(|name| async move {
            let map = get(api, &name).await?;
            Ok::<_, Failure>((name, map))
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Reads one ConfigMap by its name; None where there is none.
///
/// # Errors
/// `WaitingForSource` when the API server doesn't answer or refuses.
pub async fn get(api: &Api<ConfigMap>, name: &str) -> Result<Option<ConfigMap>, Failure> {
    within_deadline(&format!("reading ConfigMap {name}"), api.get_opt(name)).await
}

async fn within_deadline<T>(what: &str, answer: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    let trouble = match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(answer)) => return Ok(answer),
        // kube prints an answer of the API server twice, once as a structure.
        Ok(Err(kube::Error::Api(status))) => status.message.clone(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
    };
    Err(Failure::new(Reason::WaitingForSource, format!("{what}: {trouble}; it is tried again")))
}

/// Reads ConfigMaps that were fetched, by name; None where there is none of that name.
fn snapshot(
    (reference, mut maps): (SourceRef, Maps),
    (seeds, mut of_seeds): (Option<SeedsRef>, Maps),
    format: Format,
) -> Snapshot {
    maps.sort_by(|a, b| a.0.cmp(&b.0));
    of_seeds.sort_by(|a, b| a.0.cmp(&b.0));
    let all = maps.iter().chain(&of_seeds);
    let stamps = all.filter_map(|(name, map)| Some((name.clone(), stamp(map.as_ref()?)))).collect();
    let content = apart(&maps, &of_seeds).and_then(|()| read(&reference, format, maps)).and_then(|content| {
        let seeds = seeds.as_ref().map(|seeds| super::seeds::of_config_maps(seeds, of_seeds)).transpose()?;
        Ok(Content { seeds: seeds.unwrap_or_default(), ..content })
    });
    Snapshot { reference, seeds, format, stamps, content }
}

/// A selector may find what the seeds are in: a file is a migration or a seed.
fn apart(maps: &Maps, of_seeds: &Maps) -> Result<(), Failure> {
    match maps.iter().find(|(name, map)| map.is_some() && of_seeds.iter().any(|(other, _)| other == name)) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::new(
            Reason::InvalidSource,
            format!(
                "ConfigMap {name} is named by spec.seeds, and spec.source selects it by its labels too: take the labels off it, or \
                 select by others"
            ),
        )),
    }
}

fn stamp(map: &ConfigMap) -> Stamp {
    Stamp { uid: map.uid().unwrap_or_default(), resource_version: map.resource_version().unwrap_or_default() }
}

/// Reads the content of ConfigMaps that were fetched, by name; None where there is none of that name.
///
/// # Errors
/// `WaitingForSource` where one is absent; `InvalidSource`, `DuplicateVersion` or `DependencyCycle` for what is wrong with
/// their content.
pub fn read(reference: &SourceRef, format: Format, maps: Vec<(String, Option<ConfigMap>)>) -> Result<Content, Failure> {
    let maps = present(reference, maps)?;
    let mut files = Files::default();
    for (name, map) in maps {
        unpack(&name, map, &mut files);
    }
    files.read(format)
}

/// The ConfigMaps, if all of them are there. One that a selector found and that has gone since counts as never found.
fn present(reference: &SourceRef, maps: Vec<(String, Option<ConfigMap>)>) -> Result<Vec<(String, ConfigMap)>, Failure> {
    let waiting = |message: String| Err(Failure::new(Reason::WaitingForSource, message));
    let absent: Vec<&str> = maps.iter().filter(|(_, map)| map.is_none()).map(|(name, _)| name.as_str()).collect();
    match reference {
        SourceRef::ConfigMaps(_) if !absent.is_empty() => {
            let (subject, verb) = if absent.len() == 1 { ("ConfigMap", "isn't") } else { ("ConfigMaps", "aren't") };
            waiting(format!(
                "{subject} {} {verb} there: nothing runs until every ConfigMap of spec.source is. Where kustomize puts a \
                 hash behind a name, its nameReference configuration must name spec/source/configMaps/name of \
                 MigrationSet, or the name here stays the old one",
                absent.join(", ")
            ))
        }
        SourceRef::Selector(selector) if absent.len() == maps.len() => {
            waiting(format!("no ConfigMap has the labels {selector}: nothing runs until one does"))
        }
        SourceRef::ConfigMaps(_) | SourceRef::Selector(_) => {
            Ok(maps.into_iter().filter_map(|(name, map)| Some((name, map?))).collect())
        }
    }
}

/// Adds the files of one ConfigMap, and what is wrong with its keys.
fn unpack(map_name: &str, map: ConfigMap, files: &mut Files) {
    let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let binary = map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    let entries: BTreeMap<String, Vec<u8>> = text.chain(binary).collect();
    if entries.is_empty() {
        files.refuse(format!("ConfigMap {map_name} holds no file: put migration files into it, or don't refer to it"));
    }
    for (key, bytes) in entries {
        let origin = format!("ConfigMap {map_name}, key {key}");
        files.add(key, bytes, origin);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;
    use crate::{
        core::reference::{LabelSelector, Requirement},
        source::files::FILE_BYTES,
    };

    fn map(name: &str, data: &[(&str, &str)], binary: &[(&str, &[u8])]) -> (String, Option<ConfigMap>) {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                uid: Some(format!("uid-of-{name}")),
                resource_version: Some("7".to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()),
            binary_data: Some(
                binary.iter().map(|(key, bytes)| ((*key).to_owned(), ByteString(bytes.to_vec()))).collect(),
            ),
            ..ConfigMap::default()
        };
        (name.to_owned(), Some(map))
    }

    fn names(names: &[&str]) -> SourceRef {
        SourceRef::ConfigMaps(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything")
    }

    fn read_maps(maps: Vec<(String, Option<ConfigMap>)>) -> Result<Content, Failure> {
        let reference = SourceRef::ConfigMaps(maps.iter().map(|(name, _)| name.clone()).collect());
        snapshot((reference, maps), (None, Vec::new()), Format::Auto).content
    }

    fn refused(maps: Vec<(String, Option<ConfigMap>)>) -> Failure {
        read_maps(maps).expect_err("the content is refused")
    }

    #[test]
    fn files_of_several_config_maps_are_one_directory() {
        let content = read_maps(vec![
            map("b", &[("002_b.sql", "SELECT 2;")], &[]),
            map("a", &[("001_a.sql", "SELECT 1;")], &[("003_c.sql", b"SELECT 3;")]),
        ])
        .expect("all of it is sound");
        let files: Vec<&str> = content.dir.migrations().iter().map(|migration| migration.file.as_str()).collect();
        assert_eq!(files, ["001_a.sql", "002_b.sql", "003_c.sql"]);
        assert_eq!(content.files, 3);
    }

    #[test]
    fn the_digest_knows_neither_config_maps_nor_packing() {
        let plain = read_maps(vec![map("a", &[("001_a.sql", "SELECT 1;"), ("002_b.sql", "SELECT 2;")], &[])]);
        let packed = read_maps(vec![
            map("y", &[], &[("002_b.sql.gz", &gzip(b"SELECT 2;"))]),
            map("x", &[("001_a.sql", "SELECT 1;")], &[]),
        ]);
        assert_eq!(plain.expect("sound").digest, packed.expect("sound").digest);
    }

    #[test]
    fn a_file_that_stands_twice_with_the_same_bytes_is_one_file() {
        let content = read_maps(vec![
            map("old", &[("001_a.sql", "SELECT 1;")], &[]),
            map("new", &[("001_a.sql", "SELECT 1;")], &[]),
        ]);
        assert_eq!(content.expect("sound").files, 1);
    }

    #[test]
    fn a_file_that_stands_twice_with_other_bytes_names_both_places() {
        let failure = refused(vec![
            map("old", &[("001_a.sql", "SELECT 1;")], &[]),
            map("new", &[("001_a.sql", "SELECT 2;")], &[]),
        ]);
        assert_eq!(failure.reason, Reason::DuplicateVersion);
        assert!(failure.message.contains("ConfigMap old") && failure.message.contains("ConfigMap new"), "{failure}");
    }

    #[test]
    fn keys_that_are_no_migration_files_are_named_all_of_them() {
        let failure = refused(vec![map("shop", &[("001_a.sql", "SELECT 1;"), ("README.md", "")], &[("a.gz", b"")])]);
        assert_eq!(failure.reason, Reason::InvalidSource);
        for named in ["ConfigMap shop, key README.md", "ConfigMap shop, key a.gz"] {
            assert!(failure.message.contains(named), "{failure}");
        }
    }

    #[test]
    fn a_config_map_without_a_file_is_no_source() {
        let failure = refused(vec![map("shop", &[("001_a.sql", "SELECT 1;")], &[]), map("empty", &[], &[])]);
        assert_eq!(failure.reason, Reason::InvalidSource);
        assert!(failure.message.contains("ConfigMap empty"), "{failure}");
    }

    #[test]
    fn an_absent_config_map_is_waited_for_even_if_another_is_wrong() {
        let failure = refused(vec![("gone".to_owned(), None), map("shop", &[("README.md", "")], &[])]);
        assert_eq!(failure.reason, Reason::WaitingForSource);
        assert!(failure.message.contains("gone") && failure.message.contains("nameReference"), "{failure}");
    }

    #[test]
    fn a_selector_without_a_match_is_waited_for() {
        let selector = LabelSelector::new(vec![Requirement::In("app".to_owned(), vec!["shop".to_owned()])]);
        for maps in [vec![], vec![("gone".to_owned(), None)]] {
            let found =
                snapshot((SourceRef::Selector(selector.clone()), maps), (None, Vec::new()), Format::Auto).content;
            let failure = found.expect_err("nothing was found");
            assert_eq!(failure.reason, Reason::WaitingForSource);
            assert!(failure.message.contains("app=shop"), "{failure}");
        }
    }

    #[test]
    fn a_file_that_unpacks_to_too_much_is_refused_by_its_key() {
        let bomb = gzip(&vec![b' '; FILE_BYTES + 1]);
        assert!(bomb.len() < 1 << 20, "it would fit into a ConfigMap");
        let failure = refused(vec![map("shop", &[], &[("001_a.sql.gz", &bomb)])]);
        assert_eq!(failure.reason, Reason::InvalidSource);
        assert!(failure.message.contains("key 001_a.sql.gz") && failure.message.contains("64 MiB"), "{failure}");
    }

    #[test]
    fn what_is_not_gzip_is_refused_by_its_key() {
        let failure = refused(vec![map("shop", &[], &[("001_a.sql.gz", b"SELECT 1;")])]);
        assert!(failure.message.contains("key 001_a.sql.gz: can't be unpacked"), "{failure}");
    }

    /// A seed is never taken for a migration.
    #[test]
    fn a_config_map_of_seeds_is_not_the_sources_too() {
        let both = || map("seeds", &[("010_users.sql", "SELECT 1;")], &[]);
        let seeds = SeedsRef { config_maps: vec!["seeds".to_owned()], environment: None };
        let maps = vec![map("sql", &[("001_a.sql", "SELECT 1;")], &[]), both()];
        let selector = SourceRef::Selector(LabelSelector::default());
        let content = snapshot((selector, maps), (Some(seeds), vec![both()]), Format::Auto).content;
        let failure = content.expect_err("it is both");
        assert_eq!(failure.reason, Reason::InvalidSource);
        assert!(failure.message.contains("ConfigMap seeds is named by spec.seeds"), "{failure}");
    }

    #[test]
    fn a_snapshot_knows_the_versions_that_it_was_read_from() {
        let maps = vec![map("shop", &[("README.md", "")], &[]), ("gone".to_owned(), None)];
        let snapshot = snapshot((names(&["gone", "shop"]), maps), (None, Vec::new()), Format::Auto);
        assert!(snapshot.content.is_err(), "also when the content can't be used");
        let stamp = Stamp { uid: "uid-of-shop".to_owned(), resource_version: "7".to_owned() };
        assert_eq!(snapshot.stamps, BTreeMap::from([("shop".to_owned(), stamp)]));
    }
}
