//! What runs around a plan in a cluster: SQL, requests, and Jobs, whose controller these tests stand in for.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use dunlin::api::v1alpha1::MigrationSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    going::{ITEMS, ORDERS, USERS},
    line::is_ready,
    shop::{LIMIT, Shop, message},
    support::eventually,
};

/// SQL that writes down what it was told.
const TOLD: &str = "INSERT INTO told (what) SELECT current_setting('dunlin.hook') || ' ' || current_setting('dunlin.direction') || ' ' || \
                    current_setting('dunlin.versions') || ' ' || coalesce(nullif(current_setting('dunlin.outcome', true), ''), '-')";

async fn with_table() -> Shop {
    let shop = Shop::open().await;
    shop.ask("CREATE TABLE told (id serial, what text)").await;
    shop
}

async fn told(shop: &Shop) -> String {
    shop.ask("SELECT what FROM told ORDER BY id").await
}

/// The last of it tells what came of it: `preApply[0] succeeded`.
async fn runs(shop: &Shop) -> String {
    shop.ask("SELECT version || ' ' || outcome FROM dunlin.run WHERE kind = 'hook' ORDER BY id").await
}

/// M26, M27, M28, M29: SQL around a plan, under the lock, in its own transaction, told what it runs for.
#[tokio::test(flavor = "multi_thread")]
async fn sql_runs_around_a_plan_and_is_told_what_for() {
    let shop = with_table().await;
    let hooks = json!({
        "preApply": [{"sql": TOLD}], "postApply": [{"sql": TOLD}], "preRollback": [{"sql": TOLD}], "postRollback": [{"sql": TOLD}],
    });
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.apply(json!({"hooks": hooks, "policy": {"rollback": "Allow"}})).await;
    shop.until("UpToDate").await;
    assert_eq!(told(&shop).await, "preApply up 001 002 -,postApply up 001 002 succeeded");
    shop.annotate("dunlin.dev/reconcile", "1").await;
    shop.until_that("shop", "it was looked at", |set| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref()) == Some("1")
    })
    .await;
    assert_eq!(shop.ask("SELECT count(*) FROM told").await, "2", "nothing was to be done");
    shop.apply(json!({"hooks": hooks, "policy": {"rollback": "Allow"}, "target": "001"})).await;
    eventually("it goes back", LIMIT, async || {
        let told = told(&shop).await;
        if told.ends_with("preRollback down 002 -,postRollback down 002 succeeded") { Ok(()) } else { Err(told) }
    })
    .await;
    shop.until("UpToDate").await;
    assert_eq!(
        runs(&shop).await,
        "preApply[0] succeeded,postApply[0] succeeded,preRollback[0] succeeded,postRollback[0] succeeded"
    );
    shop.close().await;
}

/// M26, M27: a pre hook that fails stops the plan; its place and the server's words are said; an edit lets it run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_pre_hook_that_fails_holds_the_plan_up_until_it_is_edited() {
    let shop = with_table().await;
    shop.files("sql", &[USERS]).await;
    shop.apply(json!({"hooks": {"preApply": [{"sql": "INSERT INTO told (what) VALUES ('x');\nSELECT nonsense"}]}}))
        .await;
    let set = shop.until("HookFailed").await;
    for words in
        ["spec.hooks.preApply[0].sql:2:8: ", "nonsense", "42703", "Nothing of the plan was run", "dunlin.dev/resolve="]
    {
        assert!(message(&set).contains(words), "{words} in: {}", message(&set));
    }
    let failure = set.status.as_ref().and_then(|status| status.failure.clone()).expect("it is shown");
    assert_eq!((failure.version.as_deref(), failure.sqlstate.as_deref()), (Some("preApply[0]"), Some("42703")));
    assert_eq!(shop.ask("SELECT to_regclass('users')").await, "NULL");
    assert_eq!(told(&shop).await, "", "it was rolled back");
    shop.apply(json!({"hooks": {"preApply": [{"sql": "INSERT INTO told (what) VALUES ('x')"}]}})).await;
    shop.until("UpToDate").await;
    assert_eq!(told(&shop).await, "x");
    assert!(shop.reasons().await.contains(&"HookFailed".to_owned()));
    shop.close().await;
}

/// M27: a post hook that fails is a reason of its own: the migrations are applied, none runs again, `Retry` of its run
/// runs it alone, and other migrations aren't held up.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_hook_that_fails_runs_again_by_retry_and_no_sql_does() {
    let shop = with_table().await;
    shop.files("sql", &[USERS]).await;
    let hooks = json!({"postApply": [{"sql": "INSERT INTO gate VALUES (current_setting('dunlin.versions'))"}]});
    shop.apply(json!({"hooks": hooks})).await;
    let set = shop.until("HookFailed").await;
    assert!(message(&set).contains("none of them runs again"), "{}", message(&set));
    let applied =
        set.status.as_ref().and_then(|status| status.applied.as_ref()).map(|applied| (applied.count, applied.pending));
    assert_eq!(applied, Some((1, 0)), "what is applied is applied");
    shop.files("sql", &[USERS, ORDERS]).await;
    shop.until_that("shop", "the next plan runs all the same", |set| {
        set.status.as_ref().and_then(|status| status.applied.as_ref()).is_some_and(|applied| applied.count == 2)
            && message(set).contains("gate")
            && set.status.as_ref().is_some_and(|status| status.failure.is_some())
    })
    .await;
    shop.ask("CREATE TABLE gate (versions text)").await;
    let run = shop.ask("SELECT max(id) FROM dunlin.run WHERE kind = 'hook'").await;
    shop.apply(json!({
        "hooks": hooks,
        "resolutions": [{"version": "postApply[0]", "run": run.parse::<i64>().expect("a number"), "action": "Retry"}],
    }))
    .await;
    shop.until("UpToDate").await;
    assert_eq!(shop.ask("SELECT versions FROM gate").await, "001 002", "it is told of both plans");
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run WHERE kind = 'apply'").await, "2");
    shop.close().await;
}

/// M27: a migration's failure is told once, with what failed, and stays the reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_once_and_stays_the_reason() {
    let shop = with_table().await;
    shop.files("sql", &[USERS, ("002_bad.sql", "SELECT nonsense;\n")]).await;
    let sql = "INSERT INTO told (what) SELECT current_setting('dunlin.failed_version') || ' ' || current_setting('dunlin.sqlstate')";
    shop.apply(json!({"hooks": {"onFailure": [{"sql": sql}, {"sql": "SELECT absent"}]}})).await;
    let set = shop.until_that("shop", "both are told", |set| message(set).contains("Beside that")).await;
    assert!(message(&set).contains("spec.hooks.onFailure[1].sql:1:8"), "{}", message(&set));
    let failure = set.status.as_ref().and_then(|status| status.failure.clone()).expect("it is shown");
    assert_eq!(failure.version.as_deref(), Some("002"));
    assert_eq!(told(&shop).await, "002 42703");
    shop.annotate("dunlin.dev/reconcile", "1").await;
    shop.until_that("shop", "it was looked at", |set| {
        set.status.as_ref().and_then(|status| status.last_handled_reconcile.as_deref()) == Some("1")
    })
    .await;
    assert_eq!(told(&shop).await, "002 42703");
    shop.close().await;
}

/// What a server was asked, each with its idempotency key.
pub type Heard = Arc<Mutex<Vec<(String, Value)>>>;

/// What a server answers: a status line's end, and a body.
pub type Answer = (&'static str, &'static str);

/// Answers requests, each with the next of these; the last one for good.
async fn server(answers: Vec<Answer>) -> (SocketAddr, Heard) {
    serve(answers, None).await
}

/// The same, over TLS where that is given. Whoever breaks off its handshake isn't heard.
pub async fn serve(mut answers: Vec<Answer>, tls: Option<TlsAcceptor>) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    let heard = Heard::default();
    let asked = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answered = match &tls {
                None => answer(stream, answers[0]).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => answer(stream, answers[0]).await,
                    Err(_) => continue,
                },
            };
            asked.lock().expect("nobody panicked").push(answered);
            if answers.len() > 1 {
                answers.remove(0);
            }
        }
    });
    (address, heard)
}

/// Reads one request, and answers it.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, (status, text): Answer) -> (String, Value) {
    let (top, body) = request(&mut stream).await;
    assert!(top.starts_with("POST /hook?token=secret HTTP/1.1\r\n"), "{top}");
    let header = |name: &str| {
        let line =
            top.lines().find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)));
        line.unwrap_or_else(|| panic!("no {name} in {top}")).1.to_owned()
    };
    assert_eq!(header("content-type"), "application/json");
    let body = serde_json::from_slice(&body).expect("JSON");
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n{text}"
    );
    stream.write_all(answer.as_bytes()).await.expect("it is heard");
    stream.flush().await.expect("it is heard");
    (header("idempotency-key"), body)
}

/// The head of a request, and its body.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.expect("it is sent") > 0, "it is sent whole");
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let length: usize = length.expect("it has a length").parse().expect("a number");
        if bytes.len() == end + 4 + length {
            return (head, bytes.split_off(end + 4));
        }
    }
}

/// M26, M27: a request has the facts as JSON and one key for all its tries; what may pass is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_until_it_is_answered_well() {
    let (address, heard) = server(vec![("503 Service Unavailable", "later"), ("200 OK", "")]).await;
    let shop = with_table().await;
    shop.files("sql", &[USERS]).await;
    let url = format!("http://{address}/hook?token=secret");
    shop.apply(json!({"hooks": {"preApply": [{"http": {"url": url}}]}})).await;
    shop.until("UpToDate").await;
    let heard = heard.lock().expect("nobody panicked").clone();
    let [(first, body), (second, _)] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((first, first.len()), (second, 32));
    let mut body = body.clone();
    assert_eq!(body["id"], json!(first));
    for varies in ["id", "plan"] {
        assert!(body.as_object_mut().expect("an object").remove(varies).is_some(), "{body}");
    }
    assert_eq!(
        body,
        json!({
            "hook": "preApply", "set": "shop", "migrationSet": format!("{}/shop", shop.namespace), "direction": "up",
            "versions": ["001"], "run": 1,
        })
    );
    shop.close().await;
}

/// M26: what won't do better is not tried again; no redirect is followed, and no address asked at which credentials are. What an
/// answer says beside its status isn't shown where any host may be asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_fails_without_showing_its_token() {
    let shop = with_table().await;
    shop.files("sql", &[USERS]).await;
    for (status, says) in [
        ("403 Forbidden", "it answered 403 Forbidden; its own log may say why"),
        ("302 Found", "302 Found, and no redirect is followed"),
    ] {
        let (address, heard) = server(vec![(status, "go away")]).await;
        let url = format!("http://{address}/hook?token=secret");
        shop.apply(json!({"hooks": {"preApply": [{"http": {"url": url}}]}})).await;
        let set = shop.until_that("shop", says, |set| message(set).contains(says)).await;
        assert!(
            message(&set).contains(&format!("spec.hooks.preApply[0] (http://{address}/hook) failed")),
            "{}",
            message(&set)
        );
        assert!(!message(&set).contains("secret") && !message(&set).contains("go away"), "{}", message(&set));
        assert_eq!(heard.lock().expect("nobody panicked").len(), 1);
    }
    for url in ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/"] {
        shop.apply(json!({"hooks": {"preApply": [{"http": {"url": url}}]}})).await;
        shop.until_that("shop", url, |set| message(set).contains(url) && message(set).contains("no hook may ask it"))
            .await;
    }
    shop.apply(json!({"hooks": {"preApply": [{"http": {"url": "http://127.0.0.1:1/"}, "timeout": "1s"}]}})).await;
    let set = shop.until_that("shop", "nobody listens", |set| message(set).contains("time limit of 1s")).await;
    assert!(message(&set).contains("can't be connected to"), "{}", message(&set));
    assert_eq!(shop.ask("SELECT to_regclass('users')").await, "NULL");
    shop.close().await;
}

fn jobs(shop: &Shop) -> Api<Job> {
    Api::namespaced(shop.client.clone(), &shop.namespace)
}

/// A CronJob that is there for its template.
async fn template(shop: &Shop) {
    let template: CronJob = serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backup-template"},
        "spec": {
            "schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": {
                "metadata": {"labels": {"app": "backup"}},
                "spec": {"backoffLimit": 0, "template": {"spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "backup", "image": "backup", "env": [{"name": "DUNLIN_SET", "value": "no"}, {"name": "OWN", "value": "$(DUNLIN_VERSIONS)"}]}],
                }}},
            },
        },
    }))
    .expect("it is one");
    let api: Api<CronJob> = Api::namespaced(shop.client.clone(), &shop.namespace);
    api.create(&PostParams::default(), &template).await.expect("it is made");
}

async fn one_job(shop: &Shop) -> Job {
    eventually("there is a Job", LIMIT, async || {
        let found =
            jobs(shop).list(&ListParams::default().labels("dunlin.dev/set=shop")).await.expect("they are listed");
        let running =
            found.items.into_iter().find(|job| job.status.as_ref().is_none_or(|status| status.conditions.is_none()));
        running.ok_or("none")
    })
    .await
}

/// Ends a Job as its controller does.
async fn end(shop: &Shop, job: &Job, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    jobs(shop).patch_status(&job.name_any(), &PatchParams::default(), &patch).await.expect("it is patched");
}

fn complete() -> Value {
    let time = "2026-11-21T10:00:00Z";
    json!({"startTime": time, "completionTime": time, "succeeded": 1, "conditions": [
        {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": time, "lastProbeTime": time},
        {"type": "Complete", "status": "True", "lastTransitionTime": time, "lastProbeTime": time},
    ]})
}

fn failed() -> Value {
    let time = "2026-11-21T10:00:00Z";
    let condition = |kind| {
        json!({"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit",
               "lastTransitionTime": time, "lastProbeTime": time})
    };
    json!({"startTime": time, "failed": 1, "conditions": [condition("FailureTarget"), condition("Failed")]})
}

/// M26: a Job is made from the template, told what it runs for, owned by the set, and waited for; an operator that comes after
/// another finds it and makes no second one.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_made_once_and_waited_for() {
    let mut shop = with_table().await;
    template(&shop).await;
    shop.files("sql", &[USERS, ITEMS]).await;
    shop.apply(json!({"hooks": {"preApply": [{"job": {"name": "backup-template"}, "timeout": "1h"}]}})).await;
    let job = one_job(&shop).await;
    let set = shop.until("RunningHook").await;
    assert!(message(&set).contains("hook preApply[0]"), "{}", message(&set));
    assert_eq!(shop.ask("SELECT to_regclass('users')").await, "NULL", "nothing runs before it ends");
    assert_eq!(job.labels()["app"], "backup");
    assert_eq!(job.annotations()["cronjob.kubernetes.io/instantiate"], "manual");
    let [owner] = job.owner_references() else { panic!("{job:?}") };
    assert_eq!((owner.kind.as_str(), Some(&owner.uid)), ("MigrationSet", set.metadata.uid.as_ref()));
    let spec = job.spec.as_ref().expect("a spec");
    assert_eq!(spec.active_deadline_seconds, Some(3600));
    let containers = &spec.template.spec.as_ref().expect("pods").containers;
    let env = containers[0].env.as_ref().expect("variables");
    let value = |name: &str| {
        env.iter().filter(|env| env.name == name).map(|env| env.value.clone().unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!((value("DUNLIN_HOOK"), value("DUNLIN_SET")), (vec!["preApply".to_owned()], vec!["shop".to_owned()]));
    assert_eq!(
        (value("DUNLIN_VERSIONS"), value("OWN")),
        (vec!["001 003".to_owned()], vec!["$(DUNLIN_VERSIONS)".to_owned()])
    );

    shop.stop_operator().await;
    shop.start_operator().await;
    shop.until_that("shop", "the other operator waits for it", |set| message(set).contains("hook preApply[0]")).await;
    assert_eq!(shop.ask("SELECT count(*) FROM dunlin.run WHERE kind = 'hook'").await, "1");
    end(&shop, &job, complete()).await;
    shop.until("UpToDate").await;
    assert_eq!(jobs(&shop).list(&ListParams::default()).await.expect("they are listed").items.len(), 1);
    shop.close().await;
}

/// M26: a Job that fails says why; `Retry` makes another one; a time limit ends it, and a template that isn't there is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_made_again_by_retry() {
    let shop = with_table().await;
    shop.files("sql", &[USERS]).await;
    let hooks =
        |timeout: &str| json!({"hooks": {"preApply": [{"job": {"name": "backup-template"}, "timeout": timeout}]}});
    shop.apply(hooks("1h")).await;
    let set = shop.until("HookFailed").await;
    assert!(
        message(&set).contains("names the CronJob backup-template, which isn't in the namespace"),
        "{}",
        message(&set)
    );
    template(&shop).await;
    retry(&shop, &set).await;
    let job = one_job(&shop).await;
    end(&shop, &job, failed()).await;
    let says = format!("failed as Job {}: BackoffLimitExceeded: Job has reached", job.name_any());
    let set = shop.until_that("shop", &says, |set| message(set).contains(&says)).await;
    retry(&shop, &set).await;
    let other = one_job(&shop).await;
    assert_ne!(other.name_any(), job.name_any());
    end(&shop, &other, complete()).await;
    shop.until_that("shop", "it goes on", is_ready).await;

    shop.apply(hooks("2s")).await;
    shop.until_that("shop", "the other time limit is known", is_ready).await;
    shop.files("sql", &[USERS, ORDERS]).await;
    let set = shop.until("HookFailed").await;
    assert!(message(&set).contains("took longer than its time limit of 2s"), "{}", message(&set));
    let left = jobs(&shop).list(&ListParams::default()).await.expect("they are listed");
    let running = left.items.iter().filter(|job| job.metadata.deletion_timestamp.is_none());
    assert_eq!(running.filter(|job| job.status.as_ref().is_none_or(|status| status.conditions.is_none())).count(), 0);
    shop.close().await;
}

/// Says `Retry` of the run that failed.
async fn retry(shop: &Shop, set: &MigrationSet) {
    let failure = set.status.as_ref().and_then(|status| status.failure.as_ref()).expect("it is shown");
    let run = failure.run.expect("it has a number");
    shop.annotate("dunlin.dev/resolve", &format!("{run}=Retry")).await;
}
