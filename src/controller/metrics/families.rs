//! Every family of metrics there is: a format. Names, labels and meanings stand in `docs/metrics.md` as well, which a test
//! compares.

/// A family of metrics: its name, and what its samples are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Histogram, labels, help }
}

/// The labels of a MigrationSet's own series, which go when it goes.
const OF_SET: &[&str] = &["namespace", "name"];

pub(super) const READY: Family =
    gauge("dunlin_ready", OF_SET, "1 when Ready is True: the database holds what the set asks for.");
pub(super) const STALLED: Family = gauge("dunlin_stalled", OF_SET, "1 when Stalled is True: a person must act.");
pub(super) const WAITING_FOR_APPROVAL: Family =
    gauge("dunlin_waiting_for_approval", OF_SET, "1 while a plan waits for its approval.");
pub(super) const SUSPENDED: Family = gauge("dunlin_suspended", OF_SET, "1 while the set is suspended.");
pub(super) const REASON: Family = gauge(
    "dunlin_reason",
    &["namespace", "name", "reason"],
    "1 for the reason that Ready has; a set has one reason at a time.",
);
pub(super) const PENDING: Family =
    gauge("dunlin_pending_migrations", OF_SET, "Versions of the source that the database doesn't have.");
pub(super) const APPLIED: Family =
    gauge("dunlin_applied_migrations", OF_SET, "Versions of the source that the database has.");
pub(super) const DRIFT: Family = gauge(
    "dunlin_drift",
    &["namespace", "name", "kind"],
    "What the database or its history has otherwise than the source, by kind: checksum, missing, schema.",
);
pub(super) const LAST_SUCCESS: Family = gauge(
    "dunlin_last_success_timestamp_seconds",
    OF_SET,
    "When a look last found the set Ready, as Unix time; absent until one has.",
);
pub(super) const MIGRATIONS: Family = counter(
    "dunlin_migrations_total",
    &["namespace", "name", "direction", "result"],
    "Migrations that ran, by direction (up, down) and result (succeeded, failed).",
);
pub(super) const FAILURES: Family = counter(
    "dunlin_failures_total",
    &["namespace", "name", "reason", "sqlstate_class"],
    "Looks that came to a failure that the one before hadn't come to, by the reason of Ready and the class of the SQLSTATE.",
);
pub(super) const MIGRATION_DURATION: Family =
    histogram("dunlin_migration_duration_seconds", &["direction"], "How long migrations took that succeeded.");
pub(super) const LOCK_WAIT: Family = histogram(
    "dunlin_lock_wait_seconds",
    &[],
    "How long executions that waited for locks of others were seen waiting.",
);
pub(super) const BUILD_INFO: Family =
    gauge("dunlin_build_info", &["version", "commit", "history_layout"], "1: what this program is.");

pub(super) const RECONCILES: Family = counter(
    "controller_runtime_reconcile_total",
    &["controller", "result"],
    "Reconciles, by result: success, requeue_after, requeue, error.",
);
pub(super) const RECONCILE_ERRORS: Family = counter(
    "controller_runtime_reconcile_errors_total",
    &["controller"],
    "Reconciles whose status couldn't be written; what else goes wrong is said in the status.",
);
pub(super) const RECONCILE_TIME: Family =
    histogram("controller_runtime_reconcile_time_seconds", &["controller"], "How long reconciles took.");
pub(super) const ACTIVE_WORKERS: Family =
    gauge("controller_runtime_active_workers", &["controller"], "Reconciles under way.");
pub(super) const MAX_CONCURRENT: Family = gauge(
    "controller_runtime_max_concurrent_reconciles",
    &["controller"],
    "Looks at databases that may be under way at one time. Running migrations isn't counted among them.",
);

const OF_QUEUE: &[&str] = &["name"];

pub(super) const QUEUE_DEPTH: Family = gauge("workqueue_depth", OF_QUEUE, "Sets that wait for a reconcile.");
pub(super) const QUEUE_ADDS: Family = counter("workqueue_adds_total", OF_QUEUE, "Sets put into the queue.");
pub(super) const QUEUE_DURATION: Family =
    histogram("workqueue_queue_duration_seconds", OF_QUEUE, "How long sets waited in the queue.");
pub(super) const WORK_DURATION: Family =
    histogram("workqueue_work_duration_seconds", OF_QUEUE, "How long sets were worked on.");
pub(super) const QUEUE_RETRIES: Family =
    counter("workqueue_retries_total", OF_QUEUE, "Sets put back because their status couldn't be written.");
pub(super) const UNFINISHED_WORK: Family =
    gauge("workqueue_unfinished_work_seconds", OF_QUEUE, "How long everything under way has taken so far, in all.");
pub(super) const LONGEST_RUNNING: Family = gauge(
    "workqueue_longest_running_processor_seconds",
    OF_QUEUE,
    "How long what is under way for longest has taken so far.",
);

pub(super) const REQUESTS: Family = counter(
    "rest_client_requests_total",
    &["code", "method"],
    "Requests to the API server, by status code (<error> where no answer came) and method.",
);
pub(super) const REQUEST_DURATION: Family = histogram(
    "rest_client_request_duration_seconds",
    &["method"],
    "How long the API server took to begin its answers.",
);
pub(super) const LEADER: Family = gauge(
    "leader_election_master_status",
    &["name"],
    "1 for the replica that holds the lease of that name, 0 for one that doesn't; absent without --leader-elect.",
);

pub(super) const CPU: Family = counter("process_cpu_seconds_total", &[], "CPU time of this process.");
pub(super) const RESIDENT: Family = gauge("process_resident_memory_bytes", &[], "Resident memory of this process.");
pub(super) const VIRTUAL: Family = gauge("process_virtual_memory_bytes", &[], "Virtual memory of this process.");
pub(super) const START: Family =
    gauge("process_start_time_seconds", &[], "When this process was started, as Unix time.");
pub(super) const OPEN_FDS: Family = gauge("process_open_fds", &[], "Open file descriptors.");
pub(super) const MAX_FDS: Family = gauge("process_max_fds", &[], "File descriptors that may be open.");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::metrics::Metrics;

    /// What `/metrics` has of families, in its order: name and type.
    fn served() -> Vec<(String, String)> {
        let text = Metrics::default().text(&crate::controller::lease::Leadership::Alone);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split_once(' ')).map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
    }

    /// The rows of the page: name, type, labels.
    fn documented() -> Vec<(String, String, String)> {
        let page = include_str!("../../../docs/metrics.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| {
            let mut columns = row.splitn(4, " | ").map(str::to_owned);
            let mut next = || columns.next().expect("a row has four columns");
            let (name, kind, labels, meaning) = (next(), next(), next(), next());
            assert!(meaning.len() > 10, "{name} means something");
            (name.trim_end_matches('`').to_owned(), kind, labels)
        })
        .collect()
    }

    const ALL: [&Family; 35] = [
        &READY,
        &STALLED,
        &WAITING_FOR_APPROVAL,
        &SUSPENDED,
        &REASON,
        &PENDING,
        &APPLIED,
        &DRIFT,
        &LAST_SUCCESS,
        &MIGRATIONS,
        &FAILURES,
        &MIGRATION_DURATION,
        &LOCK_WAIT,
        &BUILD_INFO,
        &RECONCILES,
        &RECONCILE_ERRORS,
        &RECONCILE_TIME,
        &ACTIVE_WORKERS,
        &MAX_CONCURRENT,
        &QUEUE_DEPTH,
        &QUEUE_ADDS,
        &QUEUE_DURATION,
        &WORK_DURATION,
        &QUEUE_RETRIES,
        &UNFINISHED_WORK,
        &LONGEST_RUNNING,
        &REQUESTS,
        &REQUEST_DURATION,
        &LEADER,
        &CPU,
        &RESIDENT,
        &VIRTUAL,
        &START,
        &OPEN_FDS,
        &MAX_FDS,
    ];

    #[test]
    fn every_family_is_documented_and_nothing_else_is() {
        let documented = documented();
        let mut names: Vec<(String, String)> =
            documented.iter().map(|(name, kind, _)| (name.clone(), kind.clone())).collect();
        let mut served = served();
        names.sort();
        served.sort();
        assert_eq!(names, served);
        assert_eq!(served.len(), ALL.len());
        for family in ALL {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let row = documented.iter().find(|(name, ..)| name == family.name).expect("it is documented");
            assert_eq!(row.2, labels.join(", "), "{}", family.name);
        }
    }

    /// The conventions that promtool would check.
    #[test]
    fn counters_end_in_total_and_units_are_base_units() {
        for (name, kind) in served() {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(!["_ms", "_milliseconds", "_minutes", "_kb"].iter().any(|unit| name.contains(unit)), "{name}");
            assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
        }
    }
}
