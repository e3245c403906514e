//! The three calls at a hostile server: each ends in its time with something that can be said, and the history stays as
//! good as it was.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use dunlin::{
    core::outcome::Reason,
    execute::{End, Report},
};
use futures::{StreamExt as _, stream};

use crate::{
    fixture::Fixture,
    memory::{Grown, Growth},
    server::{Hostile, Misdeed, Moment, large_row},
    support::{Dedicated, dedicated_postgres, eventually},
};

/// What a query of ours may take, and a session that was lost to one, with its farewells.
const LIMIT: Duration = Duration::from_secs(150);
/// How long a misdeed in the middle of a migration, which may take days, is looked at.
const A_WHILE: Duration = Duration::from_secs(5);
/// By how much the process may grow for one hostile server.
const GROWTH_MIB: usize = 32;
/// What is kept of an answer at most. It is there as it arrived and as it is read; and the allocator may still hold the
/// one before it.
const ANSWER_MIB: usize = 12;

const TRANSACTIONAL: &str = "CREATE TABLE hostile_words (a int); SELECT 'größe';";
const JOURNALED: &str =
    "-- migrate: no-transaction\nCREATE TABLE hostile_words (a int);\nVACUUM hostile_words;\nSELECT 1;\n";

/// Moments, and what runs then.
const MOMENTS: [(&str, Moment, &str); 7] = [
    ("startup", Moment::Startup, TRANSACTIONAL),
    ("the first question", Moment::Asked("server_version_num"), TRANSACTIONAL),
    ("the look at the history", Moment::Asked("SELECT 'layout'"), TRANSACTIONAL),
    ("the lock", Moment::Asked("pg_try_advisory_lock"), TRANSACTIONAL),
    ("a migration", Moment::Asked("CREATE TABLE hostile_words"), TRANSACTIONAL),
    ("a journaled statement", Moment::Asked("VACUUM hostile_words"), JOURNALED),
    ("the reset", Moment::Committed("CREATE TABLE hostile_words"), TRANSACTIONAL),
];

const LARGE: Misdeed = Misdeed::EndlessLargeRows;

type Case = ((&'static str, Moment, &'static str), Misdeed);

/// One case: how it went, or what is wrong with it.
async fn case((moment, misdeed): Case, server: &Dedicated, real: &str) -> Result<String, String> {
    let (when, moment, text) = moment;
    let about = server.about();
    let address = SocketAddr::new(about.host.parse().expect("an address"), about.port);
    let hostile = Hostile::start(moment, misdeed, address).await;
    let mut fixture = Fixture::on(real.to_owned()).await;
    let schema = format!("{when} {misdeed:?}");
    fixture.desired.history.schema.clone_from(&schema);
    fixture.desired.history.set.clone_from(&schema);
    fixture.desired.session.search_path = vec![schema.clone()];
    fixture.url = hostile.url(real, about.port);
    let begun = Instant::now();
    let in_the_users_time = misdeed.is_endless() && ["a migration", "a journaled statement"].contains(&when);
    let limit = if in_the_users_time { A_WHILE } else { LIMIT };
    let report = {
        let files = [("001_a.sql", text)];
        let mut execution = std::pin::pin!(fixture.execute(&files));
        let turns = eventually("it turns hostile", LIMIT, async || match hostile.turned() {
            0 => Err("it is honest"),
            turned => Ok(turned),
        });
        tokio::select! {
            report = &mut execution => Ok(report),
            _ = turns => tokio::time::timeout(limit, &mut execution).await,
        }
    };
    if hostile.turned() == 0 {
        return Err(format!("{when}, {misdeed:?}: it never turned hostile: {:?}", report.map(|report| report.end)));
    }
    let said = match report {
        Err(_) if in_the_users_time => "goes on, as a migration may".to_owned(),
        Err(_) => return Err(format!("{when}, {misdeed:?}: no end within {limit:?}")),
        Ok(report) => said(when, misdeed, &report, &about.password)?,
    };
    // Nothing of it is left that would need a person.
    fixture.url = real.to_owned();
    let ran = fixture.apply(&[("001_a.sql", text)]).await;
    if !matches!(ran.report.end, End::Finished) || !ran.assessment.findings.is_empty() || ran.assessment.pending > 0 {
        return Err(format!("{when}, {misdeed:?}: the real server is left so: {ran:?}", ran = ran.report.end));
    }
    let failures =
        format!("SELECT count(*) FROM \"{schema}\".run WHERE outcome NOT IN ('succeeded') OR resolution IS NOT NULL");
    let failures = fixture.ask(&failures).await;
    if failures != "0" && misdeed != Misdeed::LyingError {
        return Err(format!("{when}, {misdeed:?}: {failures} failures were written down"));
    }
    Ok(format!("{when}, {misdeed:?}: {:.1?}, {said}", begun.elapsed()))
}

fn said(when: &str, misdeed: Misdeed, report: &Report, password: &str) -> Result<String, String> {
    let failure = match &report.end {
        End::Failed(failure) => failure,
        End::Finished => return Ok("finished".to_owned()),
        End::Stopped => return Err(format!("{when}, {misdeed:?}: it was stopped")),
    };
    let said = format!("{}: {}", failure.reason, failure.message);
    let sound = match failure.reason {
        Reason::WaitingForDatabase | Reason::Retrying | Reason::WaitingForLock => true,
        Reason::AuthenticationFailed => Misdeed::LOGINS.contains(&misdeed),
        _ => false,
    };
    if !sound {
        return Err(format!("{when}, {misdeed:?}: {said}"));
    }
    if said.contains(password) || said.contains('\x1b') || failure.message.len() > 20_000 {
        return Err(format!("{when}, {misdeed:?}: it says too much: {said}"));
    }
    Ok(said)
}

/// Runs cases side by side, and answers with what is wrong and by how many MiB the process grew.
async fn run(cases: Vec<Case>, at_once: usize) -> (Vec<String>, Grown) {
    let mut growth = Growth::measure().await;
    let server = dedicated_postgres(&["max_connections=300"], &[], &[]);
    let real = server.fresh_database().await;
    let fixture = Fixture::on(real.clone()).await;
    for ((when, _, _), misdeed) in &cases {
        fixture.run_sql(&format!("CREATE SCHEMA \"{when} {misdeed:?}\"")).await;
    }
    // What the first of all cases needs once is none of what is measured.
    Box::pin(case((MOMENTS[1], Misdeed::Nulls), &server, &real)).await.err();
    large_row();
    growth.again();
    let count = cases.len();
    let results: Vec<Result<String, String>> = stream::iter(cases)
        .map(|one| case(one, &server, &real))
        .buffer_unordered(at_once)
        .inspect(|result| println!("{}", result.as_ref().unwrap_or_else(|wrong| wrong)))
        .collect()
        .await;
    let grown = growth.most();
    println!("hostile: {count} cases, {at_once} at once; the process grew by {grown:?} MiB");
    (results.into_iter().filter_map(Result::err).collect(), grown)
}

/// Every misdeed at every moment, but floods at fewer: to whoever drops or collects, one moment is like another.
#[tokio::test(flavor = "multi_thread")]
async fn every_misdeed_ends_in_its_time_takes_little_memory_and_leaves_the_history_as_good_as_it_was() {
    let moments = |misdeed: Misdeed| {
        MOMENTS
            .into_iter()
            .filter(move |(when, _, _)| !misdeed.is_a_flood() || !["the lock", "a journaled statement"].contains(when))
    };
    let cases = Misdeed::ALL.into_iter().flat_map(|misdeed| moments(misdeed).map(move |moment| (moment, misdeed)));
    let logins = Misdeed::LOGINS.into_iter().map(|misdeed| (MOMENTS[0], misdeed));
    let (wrong, grown) = Box::pin(run(cases.chain(logins).filter(|case| case.1 != LARGE).collect(), 48)).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(grown.resident < 2 * GROWTH_MIB, "48 at once: {grown:?} MiB");
}

/// What collects rows has the memory of one answer: it is looked at by itself.
#[tokio::test(flavor = "multi_thread")]
async fn of_endless_large_rows_no_more_is_kept_than_of_one_answer() {
    let moments = ["the first question", "the look at the history", "a migration"];
    let cases =
        MOMENTS.into_iter().filter(|moment| moments.contains(&moment.0)).map(|moment| (moment, LARGE)).collect();
    let (wrong, grown) = Box::pin(run(cases, 1)).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(grown.allocated < 3 * ANSWER_MIB, "{grown:?} MiB");
    assert!(grown.resident < 2 * GROWTH_MIB, "{grown:?} MiB");
}
