//! Which rights each verb needs: the table that `check` asks about, and that docs/kubectl.md shows.

/// A right in RBAC's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Right {
    /// `get`, `list`, `watch` or `patch`.
    pub verb: &'static str,
    /// The API group; empty for Kubernetes' own.
    pub group: &'static str,
    /// The resource, in the plural.
    pub resource: &'static str,
}

const fn sets(verb: &'static str) -> Right {
    Right { verb, group: "dunlin.dev", resource: "migrationsets" }
}

const fn own(verb: &'static str, resource: &'static str) -> Right {
    Right { verb, group: "", resource }
}

const GET: Right = sets("get");
const LIST: Right = sets("list");
const WATCH: Right = sets("watch");
const PATCH: Right = sets("patch");

/// Every verb, as it is typed, with the rights that it needs. Everybody who is let in may ask what the server serves and
/// what they may do, so that isn't in it.
pub(super) const NEEDED: &[(&str, &[Right])] = &[
    ("status NAME", &[GET]),
    ("status", &[LIST]),
    ("status --watch", &[LIST, WATCH]),
    ("plan", &[GET]),
    ("history", &[GET]),
    ("approve", &[GET, PATCH]),
    ("resolve", &[GET, PATCH]),
    ("retry", &[GET, PATCH]),
    ("reconcile", &[PATCH, LIST, WATCH]),
    ("reconcile --no-wait", &[PATCH]),
    ("suspend", &[PATCH]),
    ("resume", &[PATCH]),
    ("rollback", &[GET, PATCH]),
    ("wait", &[GET, LIST, WATCH]),
    ("check", &[LIST]),
    ("report", &[GET, own("get", "configmaps"), own("list", "configmaps"), own("list", "events")]),
];

/// Each right once, with the verbs that need it.
pub(super) fn by_right() -> Vec<(Right, Vec<&'static str>)> {
    let mut found: Vec<(Right, Vec<&'static str>)> = Vec::new();
    for (verb, rights) in NEEDED {
        for right in *rights {
            match found.iter_mut().find(|(other, _)| other == right) {
                Some((_, verbs)) => verbs.push(verb),
                None => found.push((*right, vec![verb])),
            }
        }
    }
    found
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group {
            "" => write!(f, "{} {}", self.verb, self.resource),
            group => write!(f, "{} {}.{group}", self.verb, self.resource),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::args::ClusterCli;
    use super::*;

    #[test]
    fn every_verb_that_asks_the_cluster_is_in_the_table() {
        for verb in ClusterCli::command().get_subcommands().map(clap::Command::get_name) {
            let is_there = NEEDED.iter().any(|(typed, _)| typed.split(' ').next() == Some(verb));
            // The rights that logs needs are needed where the operator runs, which is elsewhere.
            let elsewhere = ["logs", "version", "completion", "__complete"];
            assert_eq!(is_there, !elsewhere.contains(&verb), "{verb}");
        }
    }

    #[test]
    fn each_right_stands_once() {
        let rights = by_right();
        for (index, (right, verbs)) in rights.iter().enumerate() {
            assert!(rights[index + 1..].iter().all(|(other, _)| other != right), "{right}");
            assert!(!verbs.is_empty());
        }
        assert_eq!(rights[0].0.to_string(), "get migrationsets.dunlin.dev");
        assert!(rights.iter().any(|(right, _)| right.to_string() == "list events"));
    }
}
