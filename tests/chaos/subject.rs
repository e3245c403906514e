//! One MigrationSet and its database: what it is asked for, and what has become of it.

use std::{collections::BTreeMap, time::Duration};

use dunlin::api::v1alpha1::MigrationSet;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// Migration files, by name.
pub type Files = Vec<(String, String)>;

/// Longer than anything takes that ends well, on a machine with everything else going on.
pub const LIMIT: Duration = Duration::from_secs(90);

const TABLES: &str = "SELECT quote_ident(c.relname) FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'm') ORDER BY 1";

/// The schema outside the history, as sorted lines: equal after two runs means the same.
const SCHEMA: &str = "
SELECT format('column %s.%s %s %s %s', a.attrelid::regclass, a.attname, a.atttypid::regtype, a.attnotnull,
              pg_get_expr(d.adbin, d.adrelid)) AS line
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT format('index %s valid %s ready %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL SELECT format('constraint %s %s %s', n.conrelid::regclass, pg_get_constraintdef(n.oid), n.convalidated)
FROM pg_constraint n WHERE n.connamespace = 'public'::regnamespace
UNION ALL SELECT format('label %s %s', e.enumtypid::regtype, e.enumlabel) FROM pg_enum e
UNION ALL SELECT format('partition %s of %s %s', h.inhrelid::regclass, h.inhparent::regclass, h.inhdetachpending)
FROM pg_inherits h
ORDER BY 1";

#[derive(Clone)]
pub struct Subject {
    pub client: Client,
    pub namespace: String,
    pub name: String,
    /// The superuser's URL of its database, past every proxy.
    pub url: String,
}

impl Subject {
    /// Writes the Secret; what stands in it is what operators connect to.
    pub async fn secret(&self, uri: &str) {
        let data = BTreeMap::from([("uri".to_owned(), ByteString(uri.as_bytes().to_vec()))]);
        let secret = Secret { metadata: self.metadata(), data: Some(data), ..Secret::default() };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(&self.name, &manager(), &Patch::Apply(&secret)).await.expect("the Secret is written");
    }

    pub async fn files(&self, files: &Files) {
        let map = ConfigMap {
            metadata: self.metadata(),
            data: Some(files.iter().cloned().collect()),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(&self.name, &manager(), &Patch::Apply(&map)).await.expect("the ConfigMap is written");
    }

    /// Applies the MigrationSet, with what is said about its spec.
    pub async fn apply(&self, spec: &Value) {
        let mut object = json!({
            "apiVersion": "dunlin.dev/v1alpha1",
            "kind": "MigrationSet",
            "metadata": {"name": self.name},
            "spec": {
                "database": {"secretRef": {"name": self.name}},
                "source": {"configMaps": [{"name": self.name}]},
            },
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        self.sets().patch(&self.name, &manager(), &Patch::Apply(&object)).await.expect("the MigrationSet is applied");
    }

    pub async fn delete(&self) {
        let delete = DeleteParams::default();
        self.sets().delete(&self.name, &delete).await.expect("nothing holds it");
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        maps.delete(&self.name, &delete).await.expect("nothing holds it");
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        secrets.delete(&self.name, &delete).await.expect("nothing holds it");
    }

    pub async fn get(&self) -> MigrationSet {
        self.sets().get(&self.name).await.expect("the MigrationSet is there")
    }

    fn sets(&self) -> Api<MigrationSet> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }
    }

    /// A session of its own with the database, as soon as that takes one.
    pub async fn connect(&self) -> tokio_postgres::Client {
        connect(&self.url).await
    }

    /// Runs SQL; a server that is just restarting is waited for.
    /// The server may be killed under it, and it is sent again then: it is to be one that does no harm twice.
    pub async fn run(&self, sql: &str) {
        let run = until("the server runs it", LIMIT, || async {
            match self.connect().await.batch_execute(sql).await {
                Err(error) if error.as_db_error().is_some_and(|error| !is_of_an_end(error)) => {
                    panic!("{sql}: {error:?}")
                }
                answer => answer.map_err(|error| format!("{error:?}")),
            }
        });
        run.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The first column of every row, asked for again while the server is killed under the question.
    pub async fn column(&self, sql: &str) -> Result<Vec<String>, String> {
        until("the server answers", LIMIT, || async { column(&self.connect().await, sql).await }).await
    }

    /// The database outside the history, as lines: its schema, and every table's rows.
    pub async fn digest(&self) -> Result<Vec<String>, String> {
        let client = self.connect().await;
        let mut lines = column(&client, SCHEMA).await?;
        for table in column(&client, TABLES).await? {
            let rows = column(&client, &format!("SELECT t::text FROM public.{table} AS t ORDER BY 1")).await?;
            lines.push(format!("rows {table} {}", rows.join(" ")));
        }
        Ok(lines)
    }
}

/// Reason of Ready, when the status speaks of the spec as it is.
pub fn reason(set: &MigrationSet) -> Option<&str> {
    let status = set.status.as_ref().filter(|status| status.observed_generation == set.metadata.generation)?;
    status.conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.reason.as_str())
}

pub async fn connect(url: &str) -> tokio_postgres::Client {
    let asked = until("the server takes a connection", LIMIT, || async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|error| format!("{error:?}"))?;
        tokio::spawn(connection);
        Ok(client)
    });
    asked.await.unwrap_or_else(|error| panic!("{error}"))
}

/// Asks again and again until the answer is `Ok`; when the time is up, says what the last one was. (What
/// `support::eventually` is for tests, for tasks that may move between threads.)
pub async fn until<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    limit: Duration,
    probe: impl Fn() -> F,
) -> Result<T, String> {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let state = match tokio::time::timeout(limit, probe()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(state)) => state,
            Err(_) => "the question itself got no answer".to_owned(),
        };
        if tokio::time::Instant::now() > deadline {
            return Err(format!("not so within {limit:?}: {what}; at last: {state}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Class 57: the server, or somebody, ends the session.
fn is_of_an_end(error: &tokio_postgres::error::DbError) -> bool {
    error.code().code().starts_with("57")
}

pub async fn column(client: &tokio_postgres::Client, sql: &str) -> Result<Vec<String>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| format!("{error:?}"))?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    Ok(rows.collect())
}

fn manager() -> PatchParams {
    PatchParams::apply("chaos").force()
}
