//! From what is referred to, to who refers to it: which MigrationSets a ConfigMap concerns.
//!
//! It holds names and selectors, never anything of the ConfigMaps themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::core::{
    desired::Owner,
    reference::{LabelSelector, SeedsRef, SourceRef},
};

/// Who refers to which ConfigMaps.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_name: HashMap<Owner, BTreeSet<String>>,
    by_selector: HashMap<String, BTreeMap<String, LabelSelector>>,
    references: HashMap<Owner, (Option<SourceRef>, Vec<String>)>,
}

impl Index {
    /// Notes what a set refers to, in place of what it referred to before: its source, and the ConfigMaps of its seeds.
    pub fn note(&mut self, set: &Owner, source: Option<SourceRef>, seeds: Option<SeedsRef>) {
        let references = (source, seeds.map(|seeds| seeds.config_maps).unwrap_or_default());
        if self.references.get(set) == Some(&references) {
            return;
        }
        self.forget(set);
        for name in named(&references) {
            let map = Owner { namespace: set.namespace.clone(), name: name.clone() };
            self.by_name.entry(map).or_default().insert(set.name.clone());
        }
        if let Some(SourceRef::Selector(selector)) = &references.0 {
            let of_namespace = self.by_selector.entry(set.namespace.clone()).or_default();
            of_namespace.insert(set.name.clone(), selector.clone());
        }
        self.references.insert(set.clone(), references);
    }

    /// Forgets a set.
    pub fn forget(&mut self, set: &Owner) {
        let Some(references) = self.references.remove(set) else { return };
        for name in named(&references) {
            let map = Owner { namespace: set.namespace.clone(), name: name.clone() };
            if let Some(sets) = self.by_name.get_mut(&map) {
                sets.remove(&set.name);
                if sets.is_empty() {
                    self.by_name.remove(&map);
                }
            }
        }
        if let Some(SourceRef::Selector(_)) = &references.0
            && let Some(sets) = self.by_selector.get_mut(&set.namespace)
        {
            sets.remove(&set.name);
            if sets.is_empty() {
                self.by_selector.remove(&set.namespace);
            }
        }
    }

    /// The sets that refer to a ConfigMap by its name.
    pub fn by_name(&self, map: &Owner) -> impl Iterator<Item = Owner> {
        let sets = self.by_name.get(map).into_iter().flatten();
        sets.map(|name| Owner { namespace: map.namespace.clone(), name: name.clone() })
    }

    /// The sets of a namespace that select ConfigMaps by their labels, each with whether these labels match.
    pub fn by_selector(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (Owner, Match)> {
        let sets = self.by_selector.get(namespace).into_iter().flatten();
        sets.map(|(name, selector)| {
            let set = Owner { namespace: namespace.to_owned(), name: name.clone() };
            (set, if selector.matches(labels) { Match::Yes } else { Match::No })
        })
    }
}

/// The ConfigMaps that are referred to by their names.
fn named((source, seeds): &(Option<SourceRef>, Vec<String>)) -> impl Iterator<Item = &String> {
    let names = match source {
        Some(SourceRef::ConfigMaps(names)) => names.as_slice(),
        Some(SourceRef::Selector(_)) | None => &[],
    };
    names.iter().chain(seeds)
}

/// Whether labels match a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::reference::Requirement;

    fn name(namespace: &str, name: &str) -> Owner {
        Owner { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn maps(names: &[&str]) -> SourceRef {
        SourceRef::ConfigMaps(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn named(index: &Index, map: &Owner) -> Vec<String> {
        index.by_name(map).map(|set| set.to_string()).collect()
    }

    #[test]
    fn a_config_map_concerns_every_set_that_names_it_in_its_namespace() {
        let mut index = Index::default();
        index.note(&name("a", "shop"), Some(maps(&["sql", "more"])), None);
        index.note(&name("a", "till"), Some(maps(&["sql"])), None);
        index.note(&name("b", "shop"), Some(maps(&["sql"])), None);
        assert_eq!(named(&index, &name("a", "sql")), ["a/shop", "a/till"]);
        assert_eq!(named(&index, &name("a", "more")), ["a/shop"]);
        assert_eq!(named(&index, &name("c", "sql")), [""; 0]);
    }

    #[test]
    fn a_changed_reference_takes_the_place_of_the_old_one() {
        let mut index = Index::default();
        index.note(&name("a", "shop"), Some(maps(&["old"])), None);
        index.note(&name("a", "shop"), Some(maps(&["new"])), None);
        assert_eq!(named(&index, &name("a", "old")), [""; 0]);
        assert_eq!(named(&index, &name("a", "new")), ["a/shop"]);
    }

    #[test]
    fn the_config_maps_of_seeds_concern_a_set_too() {
        let mut index = Index::default();
        let seeds = SeedsRef { config_maps: vec!["seeds".to_owned()], environment: None };
        index.note(&name("a", "shop"), Some(SourceRef::Selector(LabelSelector::default())), Some(seeds));
        assert_eq!(named(&index, &name("a", "seeds")), ["a/shop"]);
        index.note(&name("a", "shop"), Some(maps(&["sql"])), None);
        assert_eq!(named(&index, &name("a", "seeds")), [""; 0]);
    }

    #[test]
    fn a_selector_is_asked_about_every_config_map_of_its_namespace() {
        let mut index = Index::default();
        let selector = LabelSelector::new(vec![Requirement::Exists("migrations".to_owned())]);
        index.note(&name("a", "shop"), Some(SourceRef::Selector(selector)), None);
        let labels = BTreeMap::from([("migrations".to_owned(), String::new())]);
        let unlabelled = BTreeMap::new();
        let found = |namespace, labels| index.by_selector(namespace, labels).collect::<Vec<_>>();
        assert_eq!(found("a", &labels), [(name("a", "shop"), Match::Yes)]);
        assert_eq!(found("a", &unlabelled), [(name("a", "shop"), Match::No)]);
        assert_eq!(found("b", &labels), []);
    }

    #[test]
    fn nothing_is_left_of_sets_that_are_gone() {
        let mut index = Index::default();
        index.note(&name("a", "shop"), Some(maps(&["sql"])), None);
        index.note(&name("a", "till"), Some(SourceRef::Selector(LabelSelector::default())), None);
        index.forget(&name("a", "shop"));
        index.forget(&name("a", "till"));
        assert!(index.by_name.is_empty() && index.by_selector.is_empty() && index.references.is_empty());
    }
}
