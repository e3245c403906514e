//! `spec.database` and `spec.source`: what the set refers to.

use super::{
    super::{
        database::{
            Database, DatabaseKeys, DatabaseSecretReference, LocalReference, SecretKeyReference, Tls, TlsModeName,
        },
        extras::Seeds,
        source::{FormatName, Selector, SelectorOperator, SelectorRequirement, Source},
    },
    problems::Problems,
};
use crate::core::{
    bundle::Digest,
    format::Format,
    reference::{DatabaseRef, LabelSelector, Requirement, SecretKey, SecretKeys, SeedsRef, SourceRef, TlsMode, TlsRef},
};

pub(super) fn read_database(database: &Database) -> (DatabaseRef, Option<String>, Vec<String>) {
    let Database { secret_ref, direct_secret_ref, tls, role, search_path } = database;
    // One way for everything: what was seen through a pooler may be another server than what lies behind it.
    let DatabaseSecretReference { name, keys } = direct_secret_ref.as_ref().unwrap_or(secret_ref);
    let keys = keys.as_ref().map_or_else(SecretKeys::default, |keys| {
        let DatabaseKeys { uri, host, port, user, password, dbname } = keys.clone();
        SecretKeys { uri, host, port, user, password, dbname }
    });
    let tls = tls.as_ref().map_or_else(TlsRef::default, read_tls);
    (DatabaseRef { secret: name.clone(), keys, tls }, role.clone(), search_path.clone())
}

fn read_tls(tls: &Tls) -> TlsRef {
    let Tls { mode, ca_secret_ref, client_secret_ref } = tls;
    TlsRef {
        mode: mode.map(|mode| match mode {
            TlsModeName::Disable => TlsMode::Disable,
            TlsModeName::Prefer => TlsMode::Prefer,
            TlsModeName::Require => TlsMode::Require,
            TlsModeName::VerifyCa => TlsMode::VerifyCa,
            TlsModeName::VerifyFull => TlsMode::VerifyFull,
        }),
        ca: ca_secret_ref.clone().map(|SecretKeyReference { name, key }| SecretKey { secret: name, key }),
        client_secret: client_secret_ref.clone().map(|LocalReference { name }| name),
    }
}

pub(super) fn read_source(source: &Source, problems: &mut Problems) -> (Option<SourceRef>, Option<Digest>, Format) {
    let Source { config_maps, config_map_selector, digest, format } = source;
    let reference = match (config_maps, config_map_selector) {
        (Some(config_maps), None) if !config_maps.is_empty() => {
            let mut names: Vec<String> = config_maps.iter().map(|LocalReference { name }| name.clone()).collect();
            names.sort_unstable();
            names.dedup();
            Some(SourceRef::ConfigMaps(names))
        }
        (None, Some(selector)) => read_selector(selector, problems).map(SourceRef::Selector),
        _ => {
            problems.add("spec.source", "name exactly one kind of source: configMaps or configMapSelector");
            None
        }
    };
    let digest = digest.as_ref().and_then(|digest| problems.take("spec.source.digest", digest.parse()));
    let format = match format {
        FormatName::Auto => Format::Auto,
        FormatName::Dunlin => Format::Dunlin,
        FormatName::Metapg => Format::Metapg,
        FormatName::Goose
        | FormatName::Dbmate
        | FormatName::GolangMigrate
        | FormatName::Sqlx
        | FormatName::Diesel
        | FormatName::Flyway
        | FormatName::Refinery
        | FormatName::Atlas
        | FormatName::Liquibase
        | FormatName::Sqitch
        | FormatName::NodePgMigrate
        | FormatName::Prisma
        | FormatName::Drizzle => {
            problems.add("spec.source.format", format!("{format:?} is not supported yet: Auto, Dunlin and Metapg are"));
            Format::Auto
        }
    };
    (reference, digest, format)
}

pub(super) fn read_seeds(seeds: &Seeds, source: Option<&SourceRef>, problems: &mut Problems) -> SeedsRef {
    let Seeds { config_maps, environment } = seeds;
    let mut names: Vec<String> = config_maps.iter().map(|LocalReference { name }| name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    if let Some(SourceRef::ConfigMaps(of_source)) = source {
        for (index, LocalReference { name }) in config_maps.iter().enumerate() {
            if of_source.contains(name) {
                problems.add(
                    format!("spec.seeds.configMaps[{index}]"),
                    format!("{name} holds the migrations (spec.source): put seeds into a ConfigMap of their own"),
                );
            }
        }
    }
    SeedsRef { config_maps: names, environment: environment.clone() }
}

fn read_selector(selector: &Selector, problems: &mut Problems) -> Option<LabelSelector> {
    let Selector { match_labels, match_expressions } = selector;
    let mut requirements: Vec<Requirement> =
        match_labels.iter().map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
    let mut sound = true;
    for (index, SelectorRequirement { key, operator, values }) in match_expressions.iter().enumerate() {
        let path = format!("spec.source.configMapSelector.matchExpressions[{index}]");
        let (key, values) = (key.clone(), values.clone());
        requirements.push(match (operator, values.is_empty()) {
            (SelectorOperator::In, false) => Requirement::In(key, values),
            (SelectorOperator::NotIn, false) => Requirement::NotIn(key, values),
            (SelectorOperator::Exists, true) => Requirement::Exists(key),
            (SelectorOperator::DoesNotExist, true) => Requirement::DoesNotExist(key),
            (SelectorOperator::In | SelectorOperator::NotIn, true) => {
                problems.add(path, format!("{operator:?} needs values: name one"));
                sound = false;
                continue;
            }
            (SelectorOperator::Exists | SelectorOperator::DoesNotExist, false) => {
                problems.add(path, format!("{operator:?} has no values: remove them"));
                sound = false;
                continue;
            }
        });
    }
    if requirements.is_empty() && sound {
        problems.add(
            "spec.source.configMapSelector",
            "an empty selector would take every ConfigMap of the namespace: name a label",
        );
        sound = false;
    }
    sound.then(|| LabelSelector::new(requirements))
}
