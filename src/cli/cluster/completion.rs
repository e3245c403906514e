//! `kubectl dunlin completion`: kubectl asks an executable named `kubectl_complete-dunlin` what may stand next on a command
//! line (k8s.io/kubectl, `pkg/cmd/plugin/plugin_completion.go`); this prints it, and answers what it asks.
//!
//! Whoever presses Tab wants no word of an error: what can't be found out isn't offered.

use std::{fmt::Write as _, time::Duration};

use clap::{Arg, Command, CommandFactory as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt, api::ListParams};

use super::super::{CliError, output};
use super::{
    access::Cluster,
    args::{AccessArgs, ClusterCli},
};

/// How long somebody who pressed Tab is kept waiting.
const DEADLINE: Duration = Duration::from_secs(2);
/// cobra's directives: files may stand there; nothing else may.
const FILES: &str = ":0\n";
const NOTHING_ELSE: &str = ":4\n";

const SCRIPT: &str = "#!/bin/sh
# kubectl runs this when Tab is pressed behind `kubectl dunlin`: put it into a folder of PATH as kubectl_complete-dunlin,
# and make it executable.
exec kubectl-dunlin __complete -- \"$@\"
";

/// What may stand next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// One of these words, each with what it means.
    Words(Vec<(String, String)>),
    /// The name of a MigrationSet.
    Sets,
    /// The name of a namespace, behind what is typed already.
    Namespaces(&'static str),
    /// A file.
    File,
}

/// Prints the executable.
pub(super) fn script() -> Result<(), CliError> {
    output::print(SCRIPT)
}

/// Prints what may stand in the place of the last word.
pub(super) async fn complete(words: &[String]) -> Result<(), CliError> {
    let (last, before) = words.split_last().map_or(("", [].as_slice()), |(last, before)| (last.as_str(), before));
    let mut root = ClusterCli::command();
    root.build();
    let (next, access) = next(&root, before, last);
    let found = match next {
        Next::File => return output::print(FILES),
        Next::Words(words) => words,
        Next::Sets => ask(&access, sets).await,
        Next::Namespaces(flag) => {
            ask(&access, namespaces).await.into_iter().map(|(name, help)| (format!("{flag}{name}"), help)).collect()
        }
    };
    let mut text = String::new();
    for (word, help) in found.iter().filter(|(word, _)| word.starts_with(last)) {
        // Writing to a String can't fail.
        let _ = if help.is_empty() { writeln!(text, "{word}") } else { writeln!(text, "{word}\t{help}") };
    }
    output::print(&(text + NOTHING_ELSE))
}

/// Reads what is typed already.
fn next(root: &Command, before: &[String], last: &str) -> (Next, AccessArgs) {
    let mut access = AccessArgs { namespace: None, context: None, kubeconfig: None };
    let (mut command, mut positionals, mut expected) = (root, 0, None::<&Arg>);
    for word in before {
        if let Some(flag) = expected.take() {
            remember(&mut access, flag, word);
        } else if let Some(flag) = flag(command, word) {
            match word.split_once('=').filter(|_| word.starts_with("--")) {
                Some((_, value)) => remember(&mut access, flag, value),
                None => expected = Some(flag).filter(|flag| flag.get_action().takes_values()),
            }
        } else if let Some(verb) = command.find_subcommand(word).filter(|_| std::ptr::eq(command, root)) {
            command = verb;
        } else {
            positionals += 1;
        }
    }
    let next = match expected {
        Some(flag) => value(flag, ""),
        None => match last.split_once('=').filter(|_| last.starts_with("--")) {
            Some((typed, _)) => flag(command, typed).map_or(Next::Words(Vec::new()), value_behind),
            None if last.starts_with('-') => Next::Words(flags(command)),
            None if std::ptr::eq(command, root) => Next::Words(verbs(root)),
            None => match command.get_positionals().nth(positionals) {
                Some(positional) if positional.get_id() == "name" => Next::Sets,
                Some(positional) => value(positional, ""),
                None => Next::Words(Vec::new()),
            },
        },
    };
    (next, access)
}

fn remember(access: &mut AccessArgs, flag: &Arg, value: &str) {
    match flag.get_id().as_str() {
        "namespace" => access.namespace = Some(value.to_owned()),
        "context" => access.context = Some(value.to_owned()),
        "kubeconfig" => access.kubeconfig = Some(value.into()),
        _ => {}
    }
}

/// The flag that a word is, whether its value stands behind it or not.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let long = word.strip_prefix("--").map(|long| long.split('=').next().unwrap_or_default());
    let short = word.strip_prefix('-').and_then(|short| short.chars().next()).filter(|_| long.is_none());
    command
        .get_arguments()
        .find(|arg| (long.is_some() && arg.get_long() == long) || (short.is_some() && arg.get_short() == short))
}

fn value_behind(flag: &Arg) -> Next {
    match (flag.get_long().unwrap_or_default(), value(flag, "")) {
        ("namespace", Next::Namespaces(_)) => Next::Namespaces("--namespace="),
        ("operator-namespace", Next::Namespaces(_)) => Next::Namespaces("--operator-namespace="),
        (long, Next::Words(words)) => {
            Next::Words(words.into_iter().map(|(word, help)| (format!("--{long}={word}"), help)).collect())
        }
        (_, next) => next,
    }
}

fn value(arg: &Arg, typed: &'static str) -> Next {
    match arg.get_id().as_str() {
        "namespace" | "operator_namespace" => Next::Namespaces(typed),
        "kubeconfig" => Next::File,
        _ => {
            let values = arg.get_possible_values();
            let visible = values.iter().filter(|value| !value.is_hide_set());
            Next::Words(visible.map(|value| (value.get_name().to_owned(), line(value.get_help()))).collect())
        }
    }
}

fn flags(command: &Command) -> Vec<(String, String)> {
    let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
    visible.filter_map(|arg| Some((format!("--{}", arg.get_long()?), line(arg.get_help())))).collect()
}

fn verbs(root: &Command) -> Vec<(String, String)> {
    let visible = root.get_subcommands().filter(|verb| !verb.is_hide_set());
    visible.map(|verb| (verb.get_name().to_owned(), line(verb.get_about()))).collect()
}

fn line(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(|help| help.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// Asks the cluster, for a while.
async fn ask(
    access: &AccessArgs,
    question: impl AsyncFnOnce(&Cluster) -> kube::Result<Vec<String>>,
) -> Vec<(String, String)> {
    let asked = async { question(&Cluster::access(access).await.ok()?).await.ok() };
    let found = tokio::time::timeout(DEADLINE, asked).await.ok().flatten().unwrap_or_default();
    found.into_iter().map(|name| (name, String::new())).collect()
}

async fn sets(cluster: &Cluster) -> kube::Result<Vec<String>> {
    let sets = cluster.objects().list_metadata(&ListParams::default()).await?;
    Ok(sets.items.iter().map(ResourceExt::name_any).collect())
}

async fn namespaces(cluster: &Cluster) -> kube::Result<Vec<String>> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let namespaces = api.list_metadata(&ListParams::default()).await?;
    Ok(namespaces.items.iter().map(ResourceExt::name_any).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(words: &str) -> (Next, AccessArgs) {
        let mut root = ClusterCli::command();
        root.build();
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let (last, before) = words.split_last().expect("a split has a last part");
        next(&root, before, last)
    }

    fn words(typed: &str) -> Vec<String> {
        match after(typed).0 {
            Next::Words(words) => words.into_iter().map(|(word, _)| word).collect(),
            other => panic!("{typed:?}: {other:?}"),
        }
    }

    #[test]
    fn verbs_flags_and_values_are_offered_where_they_may_stand() {
        assert!(["status", "logs", "resolve"].iter().all(|verb| words("").iter().any(|word| word == verb)));
        assert!(words("").iter().all(|word| word != "__complete"));
        assert!(words("resolve -").iter().any(|word| word == "--run"));
        assert!(words("resolve -").iter().any(|word| word == "--namespace"));
        assert!(words("resolve shop --as ").iter().any(|word| word == "mark-applied"));
        assert!(words("resolve shop --as=").iter().any(|word| word == "--as=mark-applied"));
        assert_eq!(words("status -o "), ["json", "yaml", "wide", "name"]);
        assert_eq!(words("completion "), ["kubectl"]);
        assert_eq!(words("status shop "), [""; 0], "no more than one name");
        assert_eq!(words("wait shop --timeout "), [""; 0]);
    }

    #[test]
    fn names_are_asked_for_in_the_cluster_that_is_meant() {
        for typed in ["status ", "-n shop status ", "status -n shop ", "resolve --as retry --namespace=shop "] {
            let (next, access) = after(typed);
            assert_eq!(next, Next::Sets, "{typed}");
            assert_eq!(access.namespace.is_some(), typed.contains("shop"), "{typed}");
        }
        assert_eq!(after("status -n ").0, Next::Namespaces(""));
        assert_eq!(after("logs --operator-namespace=").0, Next::Namespaces("--operator-namespace="));
        assert_eq!(after("--kubeconfig ").0, Next::File);
        let (next, access) = after("--kubeconfig a --context b status ");
        assert_eq!((next, access.context.as_deref()), (Next::Sets, Some("b")));
    }
}
