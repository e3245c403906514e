//! Migrations that go both ways and say so, and what there is to be asked about them.

use dunlin::core::{
    desired::{Reference, Rollback, Target},
    migration::{Direction, Version},
};

use super::fixture::{Fixture, Ran};

/// Names and texts of files.
pub type Files = Vec<(String, String)>;

/// What undisturbed sections leave behind: rows in the order in which they committed.
const LOG: &str = "CREATE TABLE went (n serial, what text)";

/// A database with a log, and a spec that allows rollbacks.
pub async fn fixture() -> Fixture {
    let mut fixture = Fixture::new().await;
    fixture.run_sql(LOG).await;
    fixture.desired.policy.rollback = Rollback::Allow;
    fixture
}

/// A file that makes a table, takes it away, and logs both.
pub fn file(version: &str, header: &str) -> (String, String) {
    let text = format!(
        "{header}-- migrate: up\nCREATE TABLE t_{version} (a int);\nINSERT INTO went (what) VALUES ('+{version}');\n\
         -- migrate: down\nDROP TABLE t_{version};\nINSERT INTO went (what) VALUES ('-{version}');\n"
    );
    (format!("{version}_t.sql"), text)
}

/// The same for each of some versions.
pub fn line(versions: &[&str]) -> Files {
    versions.iter().map(|version| file(version, "")).collect()
}

/// Files that say what they need.
pub fn graph(needs: &[(&str, &str)]) -> Files {
    let header = |needs: &str| if needs.is_empty() { String::new() } else { format!("-- depends: {needs}\n") };
    needs.iter().map(|(version, needs)| file(version, &header(needs))).collect()
}

pub fn target(text: &str) -> Target {
    if let Some(batch) = text.strip_prefix("batch:") {
        return Target::Batch(batch.parse().expect("a number"));
    }
    match text {
        "latest" => Target::Latest,
        "none" => Target::None,
        _ => Target::Version(reference(text)),
    }
}

pub fn reference(text: &str) -> Reference {
    let (version, name) = text.split_once('_').map_or((text, None), |(version, name)| (version, Some(name.to_owned())));
    Reference { version: Version::parse(version).expect("a version"), name }
}

impl Fixture {
    /// Sets the target and applies the files.
    pub async fn go(&mut self, to: &str, files: &Files) -> Ran {
        self.desired.target = target(to);
        self.run(files).await
    }

    pub async fn run(&self, files: &Files) -> Ran {
        self.apply(&borrowed(files)).await
    }

    /// What the log says since it was last asked.
    pub async fn went(&self) -> String {
        let went = "WITH gone AS (DELETE FROM went RETURNING n, what) SELECT coalesce(string_agg(what, ' ' ORDER BY n), 'nothing') FROM gone";
        self.ask(went).await
    }

    /// Every migration and its state.
    pub async fn states(&self) -> String {
        self.ask("SELECT string_agg(version || ' ' || state, ', ' ORDER BY version) FROM dunlin.migration").await
    }

    /// Every run by its kind and outcome.
    pub async fn runs(&self) -> String {
        self.ask("SELECT string_agg(concat_ws(' ', version, direction, kind, outcome, resolution), ', ' ORDER BY id) FROM dunlin.run").await
    }

    /// Changes with every row that is written about migrations, runs, statements or plans.
    pub async fn written(&self) -> String {
        self.ask(
            "SELECT string_agg(concat_ws(' ', what, id, at), ', ' ORDER BY what, id) FROM ( \
             SELECT 'migration', version, xmin::text FROM dunlin.migration UNION ALL SELECT 'run', id::text, xmin::text FROM dunlin.run \
             UNION ALL SELECT 'statement', run || ' ' || ordinal, xmin::text FROM dunlin.statement \
             UNION ALL SELECT 'plan', id::text, xmin::text FROM dunlin.plan) AS it(what, id, at)",
        )
        .await
    }

    /// The schema by names and definitions, the history left out.
    pub async fn shape(&self) -> String {
        self.ask(
            "SELECT coalesce(string_agg(x, E'\\n' ORDER BY x), '') FROM ( \
             SELECT concat_ws(' ', c.relname, c.relkind, i.indisvalid, pg_get_indexdef(i.indexrelid)) FROM pg_class c \
               LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace \
             UNION ALL SELECT concat_ws(' ', attrelid::regclass, attnum, attname, atttypid::regtype, attnotnull) FROM pg_attribute \
               JOIN pg_class c ON c.oid = attrelid WHERE c.relnamespace = 'public'::regnamespace AND attnum > 0 \
             UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint \
               WHERE connamespace = 'public'::regnamespace) AS it(x)",
        )
        .await
    }
}

pub fn borrowed(files: &Files) -> Vec<(&str, &str)> {
    files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

impl Ran {
    /// Everything that the target asks for has happened, and nothing holds the set up.
    #[track_caller]
    pub fn is_there(&self) -> &Self {
        assert!(matches!(self.report.end, dunlin::execute::End::Finished), "{:?}", self.report.end);
        assert_eq!(self.assessment.findings, []);
        assert_eq!(self.assessment.plan.steps, []);
        assert_eq!(self.assessment.pending, self.assessment.left_out);
        self
    }

    /// What the report says that ran, as `+001 -002`.
    pub fn steps(&self) -> String {
        let step = |(version, direction): &(Version, Direction)| match direction {
            Direction::Up => format!("+{version}"),
            Direction::Down => format!("-{version}"),
        };
        self.report.applied.iter().map(step).collect::<Vec<_>>().join(" ")
    }

    /// The run that holds the set up.
    #[track_caller]
    pub fn failed_run(&self) -> i64 {
        self.finding().failure.as_ref().expect("the run is named").run
    }
}
