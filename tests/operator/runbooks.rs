//! H32: the pages of `docs/runbooks/`: there is one for each reason, and what they say is so.

pub mod page;
mod surroundings;
mod trial;

use dunlin::core::outcome::Reason;
use page::{Page, SECTIONS, TRY_IT, folder};

/// Pages that are tried out, each by a test.
macro_rules! pages {
    ($($test:ident: $page:literal),* $(,)?) => {
        const TRIED: &[&str] = &[$($page),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                trial::every_way_out($page).await;
            }
        )*
    };
}

pages! {
    approval_required_has_the_ways_out_of_its_page: "ApprovalRequired",
    authentication_failed_has_the_ways_out_of_its_page: "AuthenticationFailed",
    checksum_drift_has_the_ways_out_of_its_page: "ChecksumDrift",
    conflict_has_the_ways_out_of_its_page: "Conflict",
    database_ahead_has_the_ways_out_of_its_page: "DatabaseAhead",
    dependency_cycle_has_the_ways_out_of_its_page: "DependencyCycle",
    duplicate_version_has_the_ways_out_of_its_page: "DuplicateVersion",
    hook_failed_has_the_ways_out_of_its_page: "HookFailed",
    interrupted_has_the_ways_out_of_its_page: "Interrupted",
    invalid_source_has_the_ways_out_of_its_page: "InvalidSource",
    invalid_spec_has_the_ways_out_of_its_page: "InvalidSpec",
    migration_failed_has_the_ways_out_of_its_page: "MigrationFailed",
    missing_migration_has_the_ways_out_of_its_page: "MissingMigration",
    no_down_migration_has_the_ways_out_of_its_page: "NoDownMigration",
    non_transactional_failed_has_the_ways_out_of_its_page: "NonTransactionalFailed",
    out_of_order_has_the_ways_out_of_its_page: "OutOfOrder",
    permission_denied_has_the_ways_out_of_its_page: "PermissionDenied",
    pooler_not_supported_has_the_ways_out_of_its_page: "PoolerNotSupported",
    retrying_has_the_ways_out_of_its_page: "Retrying",
    rollback_denied_has_the_ways_out_of_its_page: "RollbackDenied",
    rolling_back_has_the_ways_out_of_its_page: "RollingBack",
    seed_failed_has_the_ways_out_of_its_page: "SeedFailed",
    suspended_has_the_ways_out_of_its_page: "Suspended",
    tls_failed_has_the_ways_out_of_its_page: "TLSFailed",
    up_to_date_has_the_ways_out_of_its_page: "UpToDate",
    waiting_for_database_has_the_ways_out_of_its_page: "WaitingForDatabase",
    waiting_for_digest_has_the_ways_out_of_its_page: "WaitingForDigest",
    waiting_for_lock_has_the_ways_out_of_its_page: "WaitingForLock",
    waiting_for_secret_has_the_ways_out_of_its_page: "WaitingForSecret",
    waiting_for_source_has_the_ways_out_of_its_page: "WaitingForSource",
}

/// Q43: each reason is a stable word, with a page that says what to do.
#[test]
fn every_reason_has_a_page_and_every_page_a_reason() {
    let mut pages: Vec<String> = std::fs::read_dir(folder())
        .expect("the pages have a folder")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "README.md")
        .collect();
    pages.sort();
    let mut reasons: Vec<String> = Reason::ALL.iter().map(|reason| format!("{reason}.md")).collect();
    reasons.sort();
    assert_eq!(pages, reasons);
}

#[test]
fn every_page_begins_with_its_reason_and_has_the_sections_in_their_order() {
    for reason in Reason::ALL {
        let page = Page::read(&reason.to_string());
        assert!(page.text.starts_with(&format!("# {reason}\n")), "{reason}");
        let mut sections = page.sections();
        if sections.last() == Some(&TRY_IT) {
            sections.pop();
        }
        assert_eq!(sections, SECTIONS, "{reason}");
        assert!(page.block("What you see", "text", "status").text.contains(&reason.to_string()), "{reason}");
        assert!(!page.ways().is_empty() || !TRIED.contains(&page.name.as_str()), "{reason}");
    }
}

/// H32, Q67: what a page says is run as it stands, a password by standard input among it.
#[test]
fn a_page_is_tried_out_if_it_says_how_to_try_it() {
    let says = |reason: &&String| Page::read(reason).sections().contains(&TRY_IT);
    let reasons: Vec<String> = Reason::ALL.iter().map(ToString::to_string).collect();
    let mut with_trial: Vec<&String> = reasons.iter().filter(says).collect();
    with_trial.sort();
    assert_eq!(with_trial, TRIED);
}

#[test]
fn the_index_has_a_line_for_each_reason_in_the_order_of_the_specification() {
    let index = Page::read("README");
    let lines = index.text.lines().filter_map(|line| line.strip_prefix("| [")?.split_once(']').map(|(name, _)| name));
    let listed: Vec<String> = lines.map(|name| name.replace('`', "")).collect();
    let reasons: Vec<String> = Reason::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(listed, reasons);
    for reason in reasons {
        assert!(index.text.contains(&format!("({reason}.md)")), "{reason}");
    }
}

#[test]
fn the_readme_and_the_specification_lead_to_the_index() {
    let root = env!("CARGO_MANIFEST_DIR");
    for (file, link) in
        [("README.md", "(docs/runbooks/README.md)"), ("docs/spec/migrationset.md", "(../runbooks/README.md)")]
    {
        let text = std::fs::read_to_string(format!("{root}/{file}")).expect("the file is there");
        assert!(text.contains(link), "{file} has no link {link}");
    }
}

#[test]
fn every_link_of_a_page_leads_to_a_page_or_a_heading() {
    for name in Reason::ALL.iter().map(ToString::to_string).chain(["README".to_owned()]) {
        let text = Page::read(&name).text;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link)) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { folder().join(format!("{name}.md")) } else { folder().join(path) };
            let target = std::fs::read_to_string(&target).unwrap_or_else(|error| panic!("{name}: {link}: {error}"));
            let anchor = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                title.chars().filter(|it| it.is_alphanumeric() || "-_".contains(*it)).collect::<String>()
            };
            let found = target.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
            assert!(heading.is_empty() || found, "{name}: {link}");
        }
    }
}
