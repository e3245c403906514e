//! A database of its own, a spec with defaults, and the three calls: observe, plan, execute.

use dunlin::{
    core::{
        bundle::{Bundle, BundleFile},
        desired::{Action, Desired, Owner, Resolution},
        format::{self, Format},
        history::History,
        migration::MigrationDir,
        outcome::Failure,
        plan::{self, Assessment},
    },
    database::{
        parameters::{Parameters, Source},
        tls::TlsInput,
    },
    execute::{self, End, Report, Running, Shell, SqlAlone, Stop, Work},
};
use tokio::sync::watch;

use crate::support;

pub struct Fixture {
    pub url: String,
    pub desired: Desired,
    pub stop: watch::Sender<Stop>,
    pub running: watch::Sender<Option<Running>>,
    pub take_over_from: Option<String>,
    pub shell: Shell,
    pub uid: Option<String>,
    pub sql: tokio_postgres::Client,
}

/// What a run left: how it ended, and what a look at the history says now.
pub struct Ran {
    pub report: Report,
    pub assessment: Assessment,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::on(support::fresh_database().await).await
    }

    pub async fn on(url: String) -> Self {
        let sql = connect(&url).await;
        Self {
            url,
            desired: desired(),
            stop: watch::Sender::new(Stop::No),
            running: watch::Sender::new(None),
            take_over_from: None,
            shell: Shell::Operator,
            uid: None,
            sql,
        }
    }

    /// Applies the files, and looks at the history afterwards.
    pub async fn apply(&self, files: &[(&str, &str)]) -> Ran {
        let (dir, _) = read(files);
        let report = self.execute(files).await;
        let history = self.observe().await.expect("the history is read");
        let assessment = plan::plan(&dir, &history, &self.desired);
        Ran { report, assessment }
    }

    pub async fn execute(&self, files: &[(&str, &str)]) -> Report {
        let (dir, bundle) = read(files);
        let parameters = self.parameters();
        let session = match execute::observe(&parameters, &self.desired).await {
            Ok((session, _)) => session,
            Err(failure) => {
                return Report { history: None, applied: Vec::new(), seeded: Vec::new(), end: End::Failed(failure) };
            }
        };
        let digest = bundle.digest();
        let work = Work {
            parameters: &parameters,
            desired: &self.desired,
            dir: &dir,
            source_digest: &digest,
            take_over_from: self.take_over_from.as_deref(),
            shell: self.shell,
            uid: self.uid.as_deref(),
            environment: None,
            hooks: &SqlAlone,
        };
        Box::pin(execute::execute(session, work, self.stop.subscribe(), &self.running)).await
    }

    pub async fn observe(&self) -> Result<History, Failure> {
        execute::observe(&self.parameters(), &self.desired).await.map(|(_, history)| history)
    }

    pub fn parameters(&self) -> Parameters {
        Parameters::from_url(&self.url, Source::Operator, &TlsInput::default()).expect("the URL is good")
    }

    /// Another session on the same database.
    pub async fn another(&self) -> tokio_postgres::Client {
        connect(&self.url).await
    }

    /// The first column of the first row, as text.
    pub async fn ask(&self, query: &str) -> String {
        ask(&self.sql, query).await
    }

    pub async fn run_sql(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// What there is in the database, as one text: every object and its definition, and no data.
    pub async fn catalogs(&self) -> String {
        self.ask(support::CATALOGS).await
    }

    pub fn resolve(&mut self, run: i64, action: Action) {
        self.desired.resolutions =
            vec![Resolution { version: None, run, action, by: "spec.resolutions[0]".to_owned() }];
    }
}

impl Ran {
    /// Everything ran, and nothing holds the set up.
    #[track_caller]
    pub fn is_up_to_date(&self) -> &Self {
        assert!(matches!(self.report.end, End::Finished), "{:?}", self.report.end);
        assert_eq!(self.assessment.findings, [], "{:?}", self.report);
        assert_eq!(self.assessment.pending, 0);
        self
    }

    #[track_caller]
    pub fn finding(&self) -> &dunlin::core::plan::Finding {
        assert!(matches!(self.report.end, End::Finished), "{:?}", self.report.end);
        self.assessment.findings.first().expect("something holds the set up")
    }

    #[track_caller]
    pub fn failure(&self) -> &Failure {
        match &self.report.end {
            End::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

pub async fn ask(client: &tokio_postgres::Client, query: &str) -> String {
    let messages = client.simple_query(query).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    messages
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        })
        .unwrap_or_else(|| "no row".to_owned())
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the test's server answers");
    tokio::spawn(connection);
    client
}

pub fn read(files: &[(&str, &str)]) -> (MigrationDir, Bundle) {
    let files = files
        .iter()
        .map(|(name, text)| BundleFile {
            name: (*name).to_owned(),
            bytes: text.as_bytes().to_vec(),
            origin: "the test".to_owned(),
        })
        .collect();
    let bundle = Bundle::new(files).expect("names are unique");
    (format::read(&bundle, Format::Auto).expect("the files are good"), bundle)
}

fn desired() -> Desired {
    let owner = Owner { namespace: "shop".to_owned(), name: "shop".to_owned() };
    Desired { generation: 1, ..Desired::new(owner) }
}
