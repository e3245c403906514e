//! The page docs/kubectl.md: its table of rights is what verbs need, no more and no less, and its examples are commands.

use std::collections::BTreeSet;

use dunlin::cli::args::Program;
use dunlin::cli::cluster::args::ClusterCli;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::{Value, json};

use super::plugin::{Plugin, Ran};
use crate::{
    going::{ITEMS, ORDERS, USERS},
    shop::{LIMIT, Shop},
    support::eventually,
    support::markdown::{blocks, outside_of_blocks},
};

/// A verb of RBAC and the resource, as `check` says it: `get migrationsets.dunlin.dev`.
pub type Rights = BTreeSet<String>;

pub fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kubectl.md")).expect("the page is there")
}

/// The rows of the table: the verb as it is typed, and its rights.
fn table() -> Vec<(String, Rights)> {
    let page = page();
    let section = page.split("\n## Rights\n").nth(1).expect("a section");
    let section = section.split("\n## ").next().expect("it has a beginning");
    let mut rows = outside_of_blocks(section).filter(|line| line.starts_with('|'));
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let resources = cells(rows.next().expect("a header"));
    rows.skip(1)
        .map(|row| {
            let cells = cells(row);
            let rights = resources.iter().zip(&cells).skip(1).flat_map(|(resource, verbs)| {
                verbs.split(", ").filter(|verb| !verb.is_empty()).map(move |verb| format!("{verb} {resource}"))
            });
            (cells[0].clone(), rights.collect())
        })
        .collect()
}

/// Gives a user these rights in the shop's namespace.
pub async fn allow(shop: &Shop, user: &str, rights: &Rights) {
    let rules = rights.iter().map(|right| {
        let (verb, resource) = right.split_once(' ').expect("a verb and a resource");
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        PolicyRule {
            verbs: vec![verb.to_owned()],
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            ..PolicyRule::default()
        }
    });
    let metadata = ObjectMeta { name: Some(user.to_owned()), ..ObjectMeta::default() };
    let role = Role { metadata: metadata.clone(), rules: Some(rules.collect()) };
    let group = "rbac.authorization.k8s.io".to_owned();
    let binding = RoleBinding {
        metadata,
        role_ref: RoleRef { api_group: group.clone(), kind: "Role".to_owned(), name: user.to_owned() },
        subjects: Some(vec![Subject {
            api_group: Some(group),
            kind: "User".to_owned(),
            name: user.to_owned(),
            namespace: None,
        }]),
    };
    let role_api: Api<Role> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let binding_api: Api<RoleBinding> = Api::namespaced(shop.client.clone(), &shop.namespace);
    role_api.create(&PostParams::default(), &role).await.expect("a role is made");
    binding_api.create(&PostParams::default(), &binding).await.expect("it is bound");
}

/// Sets in the states that the verbs work on: `shop` and `picked` are Ready, `back` can go back, `waits` waits for
/// approval, `broken` has failed, `late` has no content.
async fn sets(shop: &Shop) {
    shop.files("sql", &[USERS]).await;
    shop.files("back", &[ORDERS, ("003_more.sql", "CREATE TABLE more ();\n-- migrate: down\nDROP TABLE more;")]).await;
    shop.files("broken", &[("001_broken.sql", "SELEKT 1;")]).await;
    shop.labelled_files("labelled", &[("app", "picked")], &[ITEMS]).await;
    let of = |map: &str| json!({"configMaps": [{"name": map}]});
    shop.apply(json!({})).await;
    shop.apply_as("back", json!({"source": of("back"), "policy": {"rollback": "Allow"}})).await;
    shop.apply_as("waits", json!({"source": of("sql"), "approval": {"required": "Always"}})).await;
    shop.apply_as("broken", json!({"source": of("broken")})).await;
    shop.apply_as("late", json!({"source": of("late")})).await;
    shop.apply_as("picked", json!({"source": {"configMapSelector": {"matchLabels": {"app": "picked"}}}})).await;
    for (name, reason) in [
        ("shop", "UpToDate"),
        ("back", "UpToDate"),
        ("waits", "ApprovalRequired"),
        ("broken", "MigrationFailed"),
        ("late", "WaitingForSource"),
        ("picked", "UpToDate"),
    ] {
        shop.until_of(name, reason).await;
    }
}

/// Runs a verb on the set that fits it.
async fn run(shop: &Shop, plugin: &Plugin, verb: &str) -> Ran {
    let arguments = match verb {
        "status NAME" => vec!["status", "shop"],
        "status" | "check" => vec![verb],
        "approve" => vec!["approve", "waits"],
        // One that is Ready is found so by the first look.
        "wait" => vec!["wait", "late", "--timeout", "2s"],
        "retry" => vec!["retry", "broken"],
        "resolve" => {
            let set = shop.until_of("broken", "MigrationFailed").await;
            let run = set.status.and_then(|status| status.failure?.run).expect("it names its run").to_string();
            return plugin.run(&["resolve", "broken", "--run", &run, "--as", "retry"]);
        }
        "reconcile --no-wait" => vec!["reconcile", "shop", "--no-wait"],
        "rollback" => vec!["rollback", "back", "--to", "002", "--yes"],
        "report" => {
            let (named, picked) = (plugin.run(&["report", "shop"]), plugin.run(&["report", "picked"]));
            let (stdout, stderr) = (named.stdout + &picked.stdout, named.stderr + &picked.stderr);
            return Ran { code: named.code.max(picked.code), stdout, stderr };
        }
        "status --watch" => {
            let mut going = plugin.start(&["status", "--watch"]);
            let mut seen = 0;
            // Its first row is from the list, and the second, of a change, from the watch alone.
            while seen < 2 {
                let line = going.line();
                if line.is_empty() {
                    break;
                }
                if line.starts_with("shop ") {
                    seen += 1;
                    shop.annotate("example.com/touched", &format!("{:?}", std::time::Instant::now())).await;
                }
            }
            going.interrupt();
            return going.end();
        }
        verb => vec![verb, "shop"],
    };
    plugin.run(&arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_works_with_the_rights_of_the_table_and_with_none_fewer() {
    let shop = Shop::open().await;
    sets(&shop).await;
    let rows = table();
    for (index, (_, rights)) in rows.iter().enumerate() {
        allow(&shop, &format!("user-{index}"), rights).await;
        for missing in rights {
            let fewer: Rights = rights.iter().filter(|right| *right != missing).cloned().collect();
            allow(&shop, &format!("user-{index}-without-{}", missing.replace(' ', "-")), &fewer).await;
        }
    }
    for (index, (verb, rights)) in rows.iter().enumerate() {
        for missing in rights {
            let user = format!("user-{index}-without-{}", missing.replace(' ', "-"));
            let plugin = Plugin::of_user(&shop.namespace, &user);
            let (needed, resource) = missing.split_once(' ').expect("a verb and a resource");
            let resource = resource.split('.').next().expect("it has a name");
            let refused = match verb.as_str() {
                "check" => format!("you may list migrationsets.dunlin.dev in namespace {}  ", shop.namespace),
                _ => format!("cannot {needed} resource \"{resource}\""),
            };
            eventually(&format!("{verb} without {missing} is refused"), LIMIT, async || {
                let ran = run(&shop, &plugin, verb).await;
                // A long message of a report is wrapped.
                let said = (ran.stdout.clone() + &ran.stderr).replace("\\\"", "\"");
                if said.contains(&refused) { Ok(()) } else { Err(ran) }
            })
            .await;
        }
        let plugin = Plugin::of_user(&shop.namespace, &format!("user-{index}"));
        eventually(&format!("{verb} works with {rights:?}"), LIMIT, async || {
            let ran = run(&shop, &plugin, verb).await;
            let is_good = match verb.as_str() {
                "check" => ran.code == Some(1) && ran.stdout.contains("database of"),
                "status --watch" => ran.code == Some(130),
                "wait" => ran.code == Some(7),
                "report" => ran.code == Some(0) && ran.stdout.matches("unread: []").count() == 2,
                _ => ran.code == Some(0),
            };
            if is_good { Ok(()) } else { Err(ran) }
        })
        .await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_about_the_rights_of_the_table() {
    let shop = Shop::closed().await;
    let checks: Value =
        serde_json::from_str(&Plugin::new(&shop.namespace).run(&["check", "-o", "json"]).stdout).expect("it is JSON");
    let mut asked: Vec<(String, String)> = Vec::new();
    for check in checks["checks"].as_array().expect("a list") {
        let Some(right) = check["check"].as_str().and_then(|text| text.strip_prefix("you may ")) else { continue };
        let right = right.split(" in ").next().expect("it has a beginning");
        for verb in check["neededBy"].as_array().expect("it says who needs it") {
            asked.push((verb.as_str().expect("a verb").to_owned(), right.to_owned()));
        }
    }
    let mut written: Vec<(String, String)> = table()
        .into_iter()
        .flat_map(|(verb, rights)| rights.into_iter().map(move |right| (verb.clone(), right)))
        .collect();
    asked.sort();
    written.sort();
    assert_eq!(asked, written);
    shop.close().await;
}

#[test]
fn every_example_of_the_page_is_a_command() {
    let blocks = blocks(&page());
    let commands = blocks.iter().flat_map(|block| block.text.lines()).filter_map(|line| {
        let line = line.strip_prefix("$ ").unwrap_or(line);
        line.strip_prefix("kubectl dunlin ").and_then(|command| command.split(" > ").next())
    });
    let mut verbs = BTreeSet::new();
    for command in commands {
        let words = std::iter::once("kubectl-dunlin").chain(command.split_whitespace());
        let read = Program::KubectlPlugin.parse::<ClusterCli>(words.map(Into::into));
        assert!(read.is_ok(), "{command}: {}", read.expect_err("it isn't").render());
        verbs.extend(command.split_whitespace().next());
    }
    for (verb, _) in table() {
        let verb = verb.split(' ').next().expect("it has a name").to_owned();
        assert!(verbs.contains(verb.as_str()), "no example of {verb}");
    }
}
