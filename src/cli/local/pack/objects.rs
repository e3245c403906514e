//! Files into the objects that a cluster holds them in. Pure.
//!
//! A file goes where the files before it leave room, in the order of their names, so that a new one changes the last
//! ConfigMap alone.

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::{Value, json};

use crate::{
    api::v1alpha1::{self, MigrationSet},
    cli::local::error::LocalError,
    core::{
        bundle::{Bundle, BundleFile},
        seed::split_path,
    },
    source::seeds::ENVIRONMENT_LABEL,
};

/// What a ConfigMap is filled with, keys and values: Kubernetes takes 1 MiB (`MaxSecretSize`, which holds for ConfigMaps
/// too), and metadata need room.
const MAP_BYTES: usize = 900 << 10;
/// `maxItems` of `spec.source.configMaps`.
const MAPS: usize = 64;

/// How the objects are called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The MigrationSet.
    pub name: &'a str,
    /// The namespace of all.
    pub namespace: &'a str,
    /// The database's Secret.
    pub secret: &'a str,
}

/// An object, and the file that it is written into.
#[derive(Debug)]
pub struct Object {
    /// The file's name.
    pub file: String,
    /// What a cluster is given.
    pub body: Value,
}

/// The ConfigMaps of a folder, and the MigrationSet behind them. `spec` holds what the settings say, in the fields of a
/// MigrationSet's.
///
/// # Errors
/// What doesn't fit, or has no name that a cluster takes.
pub fn objects(bundle: &Bundle, names: Names<'_>, spec: &Value) -> Result<Vec<Object>, LocalError> {
    let Names { name, namespace, secret } = names;
    for (flag, text, most) in [("--name", name, 200), ("--namespace", namespace, 63), ("--secret", secret, 253)] {
        if !is_name(text) || text.len() > most {
            return Err(LocalError::setting(
                format!("{flag} {text:?}"),
                format!("is no name of an object: at most {most} of a-z, 0-9, - and ., as in shop-migrations"),
            ));
        }
    }
    let maps = config_maps(bundle.files(), &format!("{name}-migrations"), namespace)?;
    let set = migration_set(bundle, names, &maps, spec)?;
    let mut objects = Vec::with_capacity(maps.len() + 1);
    for map in maps {
        objects.push(object(map)?);
    }
    objects.push(Object { file: format!("{name}.yaml"), body: set });
    Ok(objects)
}

fn object(map: ConfigMap) -> Result<Object, LocalError> {
    let file = format!("{}.yaml", map.metadata.name.as_deref().unwrap_or_default());
    let body = serde_json::to_value(map).map_err(|error| LocalError::Impossible(error.to_string()))?;
    Ok(Object { file, body })
}

/// Puts the ConfigMaps of seeds before the MigrationSet, which refers to them: those of all environments, and those of
/// the one that is packed for.
///
/// # Errors
/// What doesn't fit, or has no name that a cluster takes.
pub fn add_seeds(
    objects: &mut Vec<Object>,
    bundle: &Bundle,
    environment: Option<&str>,
    Names { name, namespace, secret: _ }: Names<'_>,
) -> Result<(), LocalError> {
    let of = |wanted: Option<&str>| -> Vec<BundleFile> {
        let key = |file: &BundleFile| match (split_path(&file.name), wanted) {
            (Ok((environment, key, _)), wanted) if environment == wanted => Some(key.to_owned()),
            _ => None,
        };
        let files = bundle.files().iter().filter_map(|file| Some(BundleFile { name: key(file)?, ..file.clone() }));
        files.collect()
    };
    let mut maps = Vec::new();
    let of_all = of(None);
    if !of_all.is_empty() {
        maps.extend(config_maps(&of_all, &format!("{name}-seeds"), namespace)?);
    }
    if let Some(environment) = environment {
        let own = of(Some(environment));
        if !own.is_empty() {
            let stem = format!("{name}-seeds-{}", environment.to_ascii_lowercase().replace(['_', '.'], "-"));
            let labels = BTreeMap::from([(ENVIRONMENT_LABEL.to_owned(), environment.to_owned())]);
            let labelled = |mut map: ConfigMap| {
                map.metadata.labels = Some(labels.clone());
                map
            };
            maps.extend(config_maps(&own, &stem, namespace)?.into_iter().map(labelled));
        }
    }
    if maps.is_empty() {
        return Err(LocalError::Impossible(
            "there is no seed to pack: leave --seeds out, or name the environment with --env".to_owned(),
        ));
    }
    let named: Vec<Value> = maps.iter().map(|map| json!({"name": map.metadata.name})).collect();
    let mut seeds = json!({"configMaps": named});
    if let Some(environment) = environment {
        seeds["environment"] = json!(environment);
    }
    let Some(mut set) = objects.pop() else { return Ok(()) };
    set.body["spec"]["seeds"] = seeds;
    for map in maps {
        objects.push(object(map)?);
    }
    objects.push(set);
    Ok(())
}

/// As RFC 1123 has it.
fn is_name(text: &str) -> bool {
    let is_edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.split('.').all(|label| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(is_edge)
            && bytes.last().is_some_and(is_edge)
            && bytes.iter().all(|byte| is_edge(byte) || *byte == b'-')
    })
}

/// Files into as many ConfigMaps as it takes, named behind `stem`.
fn config_maps(files: &[BundleFile], stem: &str, namespace: &str) -> Result<Vec<ConfigMap>, LocalError> {
    let mut maps = Vec::new();
    let mut map = ConfigMap::default();
    let mut held = 0;
    for file in files {
        let (key, value) = value(file)?;
        let bytes = key.len() + value.len();
        if bytes > MAP_BYTES {
            return Err(LocalError::Impossible(format!(
                "{}: holds {} KiB even when it is packed with gzip, and a ConfigMap takes {}: split it into several \
                 migrations, and load large data by other means",
                file.origin,
                bytes >> 10,
                MAP_BYTES >> 10
            )));
        }
        if held + bytes > MAP_BYTES {
            maps.push(std::mem::take(&mut map));
            held = 0;
        }
        held += bytes;
        match value {
            Held::Text(text) => map.data.get_or_insert_default().insert(key, text).map(drop),
            Held::Bytes(bytes) => map.binary_data.get_or_insert_default().insert(key, ByteString(bytes)).map(drop),
        };
    }
    maps.push(map);
    if maps.len() > MAPS {
        return Err(LocalError::Impossible(format!(
            "the files fill {} ConfigMaps, and a MigrationSet names {MAPS} at most: squash what every database has, or let \
             another set have some of them",
            maps.len()
        )));
    }
    for (at, map) in maps.iter_mut().enumerate() {
        map.metadata = ObjectMeta {
            name: Some(format!("{stem}-{}", at + 1)),
            namespace: Some(namespace.to_owned()),
            // Flux would read ${…} in SQL as its own variables.
            annotations: Some(BTreeMap::from([(
                "kustomize.toolkit.fluxcd.io/substitute".to_owned(),
                "disabled".to_owned(),
            )])),
            ..ObjectMeta::default()
        };
    }
    Ok(maps)
}

/// What a ConfigMap holds of a file.
enum Held {
    Text(String),
    Bytes(Vec<u8>),
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A file's key and value: as text, unless it is too much for a ConfigMap, or holds what readers of YAML may change.
fn value(file: &BundleFile) -> Result<(String, Held), LocalError> {
    let BundleFile { name, bytes, origin } = file;
    if name.len() > 250 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(LocalError::setting(
            origin.clone(),
            "its name can't be a ConfigMap's key: rename it to letters and digits of ASCII, -, _ and .",
        ));
    }
    if name.len() + bytes.len() > MAP_BYTES {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
        let packed = packed.map_err(|error| LocalError::Impossible(format!("{origin}: can't be packed: {error}")))?;
        return Ok((format!("{name}.gz"), Held::Bytes(packed)));
    }
    let is_plain = |letter: char| {
        matches!(letter, '\n' | '\t') || !letter.is_control() && !matches!(letter, '\u{feff}' | '\u{2028}' | '\u{2029}')
    };
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_plain) => (name.clone(), Held::Text(text.to_owned())),
        Ok(_) | Err(_) => (name.clone(), Held::Bytes(bytes.clone())),
    })
}

/// The set, with what the settings say beyond the contract's defaults, checked as the operator checks it.
fn migration_set(
    bundle: &Bundle,
    Names { name, namespace, secret }: Names<'_>,
    maps: &[ConfigMap],
    said: &Value,
) -> Result<Value, LocalError> {
    let mut spec = said.clone();
    spec["database"]["secretRef"]["name"] = json!(secret);
    let maps: Vec<Value> = maps.iter().map(|map| json!({"name": map.metadata.name})).collect();
    spec["source"] = json!({"configMaps": maps, "digest": bundle.digest().to_string()});
    // Where nobody names the set, it is the object's name in a cluster.
    for (field, default) in [("set", "default"), ("schema", "dunlin")] {
        if spec["history"][field] == default
            && let Some(history) = spec["history"].as_object_mut()
        {
            history.remove(field);
        }
    }
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| value.as_object().is_none_or(|value| !value.is_empty()));
    }
    let object = json!({
        "apiVersion": "dunlin.dev/v1alpha1",
        "kind": "MigrationSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    });
    let set: MigrationSet = serde_json::from_value(object.clone())
        .map_err(|error| LocalError::setting("the settings", error.to_string()))?;
    v1alpha1::desired(&set).map_err(LocalError::Spec)?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::{format::Format, reference::SourceRef},
        source::config_map,
        yaml,
    };

    const NAMES: Names<'_> = Names { name: "shop", namespace: "prod", secret: "db" };

    fn bundle(files: &[(&str, &str)]) -> Bundle {
        let file = |(name, text): &(&str, &str)| BundleFile {
            name: (*name).to_owned(),
            bytes: text.as_bytes().to_vec(),
            origin: format!("migrations/{name}"),
        };
        Bundle::new(files.iter().map(file).collect()).expect("the names differ")
    }

    fn said() -> Value {
        json!({"database": {"secretRef": {"name": "none"}}, "history": {"set": "default", "schema": "dunlin"}, "policy": {}})
    }

    /// Text that gzip makes nothing of.
    fn noise(bytes: usize) -> String {
        let mut state = 0x2545_f491_u64;
        let letter = std::iter::from_fn(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some(char::from(b' ' + u8::try_from((state >> 33) % 90).expect("it is less than 90")))
        });
        format!("-- {}", letter.take(bytes).collect::<String>())
    }

    /// What the objects' YAML holds, read as the operator reads objects: the MigrationSet, and each ConfigMap.
    fn round_trip(bundle: &Bundle) -> (MigrationSet, Vec<ConfigMap>) {
        let objects = objects(bundle, NAMES, &said()).expect("it fits");
        let mut texts: Vec<String> =
            objects.iter().map(|object| yaml::to_string(&object.body).expect("it is YAML")).collect();
        let set: MigrationSet = yaml::from_str(&texts.pop().expect("a set")).expect("it is a MigrationSet");
        let maps: Vec<ConfigMap> = texts.iter().map(|text| yaml::from_str(text).expect("it is a ConfigMap")).collect();
        let reference = set.spec.source.config_maps.as_ref().expect("ConfigMaps");
        let reference = SourceRef::ConfigMaps(reference.iter().map(|reference| reference.name.clone()).collect());
        let named = maps.iter().map(|map| (map.metadata.name.clone().expect("a name"), Some(map.clone())));
        let content = config_map::read(&reference, Format::Auto, named.collect()).expect("it is sound");
        assert_eq!(content.digest, bundle.digest());
        assert_eq!(set.spec.source.digest, Some(bundle.digest().to_string()));
        (set, maps)
    }

    fn keys(map: &ConfigMap) -> Vec<&str> {
        let data = map.data.iter().flat_map(BTreeMap::keys);
        data.chain(map.binary_data.iter().flat_map(BTreeMap::keys)).map(String::as_str).collect()
    }

    #[test]
    fn what_is_packed_is_read_to_the_same_digest() {
        let large = "SELECT 1;\n".repeat(200_000);
        let (half, second_half) = (noise(500_000), noise(500_000));
        let (set, maps) = round_trip(&bundle(&[
            ("001_a.sql", "CREATE TABLE a (x text DEFAULT 'yes: no # \"so\"');  \n\n\tSELECT '${x}', '''';\n"),
            ("002_b.sql", "SELECT 1;\r\nSELECT 'é😀';\r\n"),
            ("003_c.sql", "\u{feff}SELECT '\u{1}\u{2028}\u{85}';"),
            ("004_d.sql", &large),
            ("005_e.sql", &half),
            ("006_f.sql", &second_half),
            ("007_g.sql", "---\n..."),
        ]));
        assert_eq!(
            maps.iter().map(keys).collect::<Vec<_>>(),
            [vec!["001_a.sql", "005_e.sql", "002_b.sql", "003_c.sql", "004_d.sql.gz"], vec!["006_f.sql", "007_g.sql"]]
        );
        for map in &maps {
            let annotations = map.metadata.annotations.as_ref().expect("annotations");
            assert_eq!(annotations["kustomize.toolkit.fluxcd.io/substitute"], "disabled");
            assert_eq!(map.metadata.namespace.as_deref(), Some("prod"));
        }
        assert_eq!(set.spec.database.secret_ref.name, "db");
    }

    /// What is packed comes back under the same paths; another environment's seeds stay where they are.
    #[test]
    fn seeds_are_packed_for_one_environment() {
        let mut objects = objects(&bundle(&[("001_a.sql", "SELECT 1;")]), NAMES, &said()).expect("it fits");
        let seeds =
            bundle(&[("010_a.sql", "SELECT 1;"), ("dev_1/020_b.yaml", "t: []"), ("live/030_c.sql", "SELECT 3;")]);
        add_seeds(&mut objects, &seeds, Some("dev_1"), NAMES).expect("they fit");
        let files: Vec<&str> = objects.iter().map(|object| object.file.as_str()).collect();
        assert_eq!(files, ["shop-migrations-1.yaml", "shop-seeds-1.yaml", "shop-seeds-dev-1-1.yaml", "shop.yaml"]);
        let set = &objects[3].body["spec"]["seeds"];
        assert_eq!(
            *set,
            json!({"configMaps": [{"name": "shop-seeds-1"}, {"name": "shop-seeds-dev-1-1"}], "environment": "dev_1"})
        );
        assert_eq!(objects[2].body["metadata"]["labels"]["dunlin.dev/environment"], "dev_1");
        assert_eq!(objects[2].body["data"], json!({"020_b.yaml": "t: []"}));
        let other = bundle(&[("live/030_c.sql", "SELECT 3;")]);
        add_seeds(&mut objects, &other, None, NAMES).expect_err("there is none for nobody");
    }

    #[test]
    fn what_fits_into_no_config_map_is_refused_by_its_name() {
        let text = noise(2_000_000);
        let error = objects(&bundle(&[("001_a.sql", &text)]), NAMES, &said()).expect_err("it is too much");
        assert!(error.to_string().starts_with("migrations/001_a.sql: holds "), "{error}");
        assert!(error.to_string().contains("split it"), "{error}");
    }

    #[test]
    fn what_fits_into_no_set_is_refused() {
        let text = "-".repeat(600_000);
        let names: Vec<String> = (0..=MAPS).map(|number| format!("{number:03}_a.sql")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), text.as_str())).collect();
        let error = objects(&bundle(&files), NAMES, &said()).expect_err("it is too much");
        assert!(
            error.to_string().contains("fill 65 ConfigMaps") && error.to_string().contains("64 at most"),
            "{error}"
        );
        objects(&bundle(&files[1..]), NAMES, &said()).expect("one less fits");
    }

    #[test]
    fn the_set_says_what_the_settings_say_and_no_defaults() {
        let files = bundle(&[("001_a.sql", "SELECT 1;")]);
        let spec = |said: &Value| {
            let mut objects = objects(&files, NAMES, said).expect("it fits");
            objects.pop().expect("the set").body["spec"].clone()
        };
        let source = json!({"configMaps": [{"name": "shop-migrations-1"}], "digest": files.digest().to_string()});
        assert_eq!(spec(&said()), json!({"database": {"secretRef": {"name": "db"}}, "source": source}));
        let more = json!({
            "database": {"secretRef": {"name": "none"}, "role": "owner"},
            "history": {"set": "mine", "schema": "dunlin"}, "policy": {"rollback": "Allow"},
        });
        assert_eq!(
            spec(&more),
            json!({
                "database": {"secretRef": {"name": "db"}, "role": "owner"}, "source": source,
                "history": {"set": "mine"}, "policy": {"rollback": "Allow"},
            })
        );
    }

    #[test]
    fn names_that_a_cluster_does_not_take_are_refused() {
        let files = bundle(&[("001_a.sql", "SELECT 1;")]);
        for name in ["", "Shop", "-shop", "shop-", "a..b", "a_b"] {
            objects(&files, Names { name, ..NAMES }, &said()).expect_err(name);
        }
        let files = bundle(&[("001_é.sql", "SELECT 1;")]);
        let error = objects(&files, NAMES, &said()).expect_err("no key");
        assert!(error.to_string().starts_with("migrations/001_é.sql: its name"), "{error}");
    }
}
