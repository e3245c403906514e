//! A transactional migration: the file and its history row commit together, in one message where the protocol allows.
//!
//! What was reached is counted by `CommandComplete`, so that an error after COMMIT's own is no failed migration.

use std::{borrow::Cow, pin::pin};

use futures::{SinkExt as _, StreamExt as _};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    error::SqlError,
    session::{self, OWN_DEADLINE, SessionSql},
};
use crate::{
    core::{
        migration::Section,
        sql::{Kind, Script, split::split},
    },
    fail_points::{Point, reached},
};

/// The server holds all parse trees of a message at once: a larger file goes statement by statement.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const MESSAGE_STATEMENTS: usize = 5_000;
/// The savepoint before each section of a rehearsal.
const REHEARSED: &str = "dunlin_rehearsed";

/// Which ends of its transaction a file makes: all of them, unless the whole plan is one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The file is the transaction's first.
    pub begins: bool,
    /// The file is the transaction's last.
    pub commits: bool,
}

/// How far a file came.
#[derive(Debug)]
pub enum Applied {
    /// Committed (or, inside a longer transaction, through), and the session is ours again.
    Whole,
    /// Committed, but the session could not be brought back: it must not be used any more.
    CommittedSessionLost(SqlError),
    /// Not committed, as far as is known. (A lost answer to COMMIT is settled by the history.)
    Not(Refusal),
}

/// Where an error struck.
#[derive(Debug)]
pub struct Refusal {
    /// The part of the transaction.
    pub part: Part,
    /// Character of the section at which the error points, from 0.
    pub position: Option<usize>,
    /// The error.
    pub error: SqlError,
}

/// The parts of a migration's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// BEGIN and the settings of the file's session.
    Opening,
    /// The statement of that index in the section's script.
    Statement(usize),
    /// Constraints and triggers that were deferred to the end.
    Deferred,
    /// The claim and the history's rows, or COMMIT.
    Closing,
}

/// Runs a section in its transaction and writes `record` with it. `begin` is told the index of each statement whose
/// beginning is known; of several that go as one message none is, since the server answers for all at the end.
pub async fn apply(
    client: &Client,
    section: &Section,
    session: &SessionSql,
    frame: Frame,
    record: &str,
    begin: &(impl Fn(usize) + Sync),
) -> Applied {
    let opening = opening(section, session, frame);
    let closing = closing(session, frame, record);
    let reset = session.reset();
    if goes_whole(section) {
        if let [only] = sent(&section.script)[..] {
            begin(only);
        }
        whole(client, section, &opening, &closing, &reset).await
    } else {
        piecewise(client, section, &opening, &closing, &reset, begin).await
    }
}

/// Runs a section within a transaction that is rolled back in the end, between a savepoint and its release, as it would
/// run in one of its own; `checks` asks for its deferred constraints at its end, as a COMMIT would.
pub async fn rehearse(client: &Client, section: &Section, session: &SessionSql, checks: bool) -> Applied {
    let mut opening = vec![format!("SAVEPOINT {REHEARSED}")];
    opening.extend(session.file_settings("LOCAL "));
    let mut closing = Vec::new();
    if checks {
        closing.push("SET CONSTRAINTS ALL IMMEDIATE".to_owned());
    }
    closing.extend(session.bookkeeping_settings(""));
    closing.push(format!("RELEASE SAVEPOINT {REHEARSED}"));
    let reset = session.reset();
    if goes_whole(section) {
        whole(client, section, &opening, &closing, &reset).await
    } else {
        piecewise(client, section, &opening, &closing, &reset, &|_| {}).await
    }
}

fn opening(section: &Section, session: &SessionSql, frame: Frame) -> Vec<String> {
    let modes = section.script.own_transaction.as_ref().map_or("", |own| own.modes.as_str());
    let mut statements = Vec::new();
    if frame.begins {
        statements.push(format!("BEGIN {modes}").trim_end().to_owned());
    }
    statements.extend(session.file_settings("LOCAL "));
    statements
}

/// What follows the file: deferred work under the file's own role and path, then ours.
pub(super) fn closing(session: &SessionSql, frame: Frame, record: &str) -> Vec<String> {
    let mut statements = Vec::new();
    if frame.commits {
        statements.push("SET CONSTRAINTS ALL IMMEDIATE".to_owned());
    }
    statements.extend(session.bookkeeping_settings(""));
    statements.push(record.to_owned());
    if frame.commits {
        statements.push("COMMIT".to_owned());
    }
    statements
}

fn goes_whole(section: &Section) -> bool {
    section.text.len() <= MESSAGE_BYTES
        && section.script.statements.len() <= MESSAGE_STATEMENTS
        && !section.script.has_copy_data()
        && !section.script.has_standard_conforming_strings_set()
}

/// The section with what isn't sent blanked out, character for character, so that positions stay.
#[must_use]
pub fn sendable<'a>(text: &'a str, script: &Script) -> Cow<'a, str> {
    let mut blanked: Vec<std::ops::Range<usize>> = script.skipped.clone();
    if script.own_transaction.is_some() {
        let own = script.statements.iter().filter(|statement| matches!(statement.kind, Kind::Begin | Kind::Commit));
        blanked.extend(own.map(|statement| statement.span.clone()));
    }
    if blanked.is_empty() {
        return Cow::Borrowed(text);
    }
    blanked.sort_by_key(|range| range.start);
    let mut sent = String::with_capacity(text.len());
    let mut end = 0;
    for range in blanked {
        sent.push_str(&text[end..range.start]);
        sent.extend(text[range.clone()].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        end = range.end;
    }
    sent.push_str(&text[end..]);
    Cow::Owned(sent)
}

/// Indexes of the statements that are sent.
fn sent(script: &Script) -> Vec<usize> {
    (0..script.statements.len())
        .filter(|index| {
            script.own_transaction.is_none() || !matches!(script.statements[*index].kind, Kind::Begin | Kind::Commit)
        })
        .collect()
}

async fn whole(client: &Client, section: &Section, opening: &[String], closing: &[String], reset: &str) -> Applied {
    let prefix = format!("{};", opening.join(";"));
    let file = sendable(&section.text, &section.script);
    let message = format!("{prefix}{file}\n;{};{reset}", closing.join(";"));
    let sent = sent(&section.script);
    reached(Point::BeginBefore).await;
    let through_file = opening.len() + sent.len();
    let through = through_file + closing.len();
    let (completed, error) = send_all(client, &message, Extent::new(through, reset), Some(Point::CommitSent)).await;
    reached(Point::CommitAfter).await;
    let Some(error) = error else { return Applied::Whole };
    if completed >= through {
        return Applied::CommittedSessionLost(error);
    }
    let part = if completed < opening.len() {
        Part::Opening
    } else if completed < through_file {
        Part::Statement(sent[completed - opening.len()])
    } else {
        closing_part(closing, completed - through_file)
    };
    let prefix_chars = prefix.chars().count();
    let position = error.position().and_then(|position| position.checked_sub(prefix_chars));
    let position =
        position.filter(|position| matches!(part, Part::Statement(_)) && *position < section.text.chars().count());
    // A syntax error is found before anything runs, whatever was counted: its position says where it stands.
    let part = match (part, &error, error.position()) {
        (Part::Opening, SqlError::Server(_), Some(position)) if position >= prefix_chars => {
            let position = position - prefix_chars;
            return Applied::Not(Refusal {
                part: statement_at(section, position).map_or(Part::Closing, Part::Statement),
                position: Some(position),
                error,
            });
        }
        (part, _, _) => part,
    };
    Applied::Not(Refusal { part, position, error })
}

/// The statement on which, or right before which, a character of the section stands.
fn statement_at(section: &Section, position: usize) -> Option<usize> {
    let byte = section.text.char_indices().nth(position).map_or(section.text.len(), |(byte, _)| byte);
    let statements = &section.script.statements;
    let after = statements.partition_point(|statement| statement.span.start <= byte);
    if after > 0 {
        Some(after - 1)
    } else if statements.is_empty() {
        None
    } else {
        Some(0)
    }
}

pub(super) fn closing_part(closing: &[String], completed: usize) -> Part {
    if completed == 0 && closing.first().is_some_and(|first| first.starts_with("SET CONSTRAINTS")) {
        Part::Deferred
    } else {
        Part::Closing
    }
}

async fn piecewise(
    client: &Client,
    section: &Section,
    opening: &[String],
    closing: &[String],
    reset: &str,
    begin: &(impl Fn(usize) + Sync),
) -> Applied {
    let refused = |part, position, error| Applied::Not(Refusal { part, position, error });
    reached(Point::BeginBefore).await;
    if let Err(error) = session::query(client, &opening.join(";")).await {
        return refused(Part::Opening, None, error);
    }
    reached(Point::BeginAfter).await;
    for index in sent(&section.script) {
        begin(index);
        let statement = &section.script.statements[index];
        let text = &section.text[statement.span.clone()];
        reached(Point::StatementBefore).await;
        let answer = match &statement.copy_data {
            Some(data) => copy_in(client, text, &section.text[data.clone()]).await,
            None => send_one(client, text).await,
        };
        reached(Point::StatementAfter).await;
        if let Err(error) = answer {
            let before = section.text[..statement.span.start].chars().count();
            let position = error.position().map(|position| before + position);
            return refused(Part::Statement(index), position, error);
        }
    }
    // A file may have set another encoding, in which our rows would be read.
    if let Err(error) = session::query(client, "SET LOCAL client_encoding = 'UTF8'").await {
        return refused(Part::Closing, None, error);
    }
    let message = format!("{};{reset}", closing.join(";"));
    reached(Point::CommitBefore).await;
    let (completed, error) =
        send_all(client, &message, Extent::new(closing.len(), reset), Some(Point::CommitSent)).await;
    reached(Point::CommitAfter).await;
    match error {
        None => Applied::Whole,
        Some(error) if completed >= closing.len() => Applied::CommittedSessionLost(error),
        Some(error) => refused(closing_part(closing, completed), None, error),
    }
}

/// What a message holds, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The statements that take as long as they take: a user's, and COMMIT. Those behind them are ours, with a deadline.
    unhurried: usize,
    /// All of them.
    statements: usize,
}

impl Extent {
    const UNKNOWN: Self = Self { unhurried: usize::MAX, statements: usize::MAX };

    pub(super) fn new(unhurried: usize, reset: &str) -> Self {
        let reset = split(reset).map_or(usize::MAX, |script| script.statements.len());
        Self { unhurried, statements: unhurried.saturating_add(reset) }
    }
}

/// Sends one message by the simple protocol; rows are dropped as they arrive. Returns how many statements were through.
pub async fn send(client: &Client, sql: &str) -> (usize, Option<SqlError>) {
    send_past(client, sql, None).await
}

/// The same, past a point at which the message is on its way.
pub async fn send_past(client: &Client, sql: &str, sent: Option<Point>) -> (usize, Option<SqlError>) {
    send_all(client, sql, Extent::UNKNOWN, sent).await
}

/// The same for a message that holds a single statement.
///
/// # Errors
/// [`SqlError`].
pub async fn send_one(client: &Client, sql: &str) -> Result<(), SqlError> {
    let extent = Extent { unhurried: 1, statements: 1 };
    send_all(client, sql, extent, Some(Point::StatementSent)).await.1.map_or(Ok(()), Err)
}

pub(super) async fn send_all(
    client: &Client,
    sql: &str,
    extent: Extent,
    sent: Option<Point>,
) -> (usize, Option<SqlError>) {
    let mut completed = 0;
    let mut deadline = None;
    let stream = match client.simple_query_raw(sql).await {
        Ok(stream) => stream,
        Err(error) => return (0, Some(error.into())),
    };
    if let Some(sent) = sent {
        reached(sent).await;
    }
    let mut stream = pin!(stream);
    loop {
        let next = match deadline {
            None => stream.next().await,
            Some(deadline) => match tokio::time::timeout_at(deadline, stream.next()).await {
                Ok(next) => next,
                Err(_) => return (completed, Some(session::no_answer())),
            },
        };
        match next {
            Some(Ok(SimpleQueryMessage::CommandComplete(_))) => completed += 1,
            Some(Ok(_)) => {}
            Some(Err(error)) => return (completed, Some(error.into())),
            None => break,
        }
        if completed > extent.statements {
            return (completed, Some(nonsense("more statements than it was sent")));
        }
        if completed >= extent.unhurried && deadline.is_none() {
            deadline = Some(tokio::time::Instant::now() + OWN_DEADLINE);
        }
    }
    if extent.statements != usize::MAX && completed < extent.statements {
        return (completed, Some(nonsense("fewer statements than it was sent")));
    }
    (completed, None)
}

fn nonsense(what: &str) -> SqlError {
    SqlError::Lost { message: format!("what answers there says that it is through with {what}") }
}

/// Runs `COPY … FROM stdin` with its data.
///
/// # Errors
/// [`SqlError`]; a position points into the statement.
pub async fn copy_in(client: &Client, statement: &str, data: &str) -> Result<(), SqlError> {
    let prepared = client.prepare(statement).await?;
    let sink = match client.copy_in::<_, std::io::Cursor<Vec<u8>>>(&prepared).await {
        Ok(sink) => sink,
        Err(error) => {
            // Where COPY is refused before its data, tokio-postgres 0.7 has sent one Sync too many, and the second
            // ReadyForQuery is taken for the answer to the next request, or ends the connection.
            let mut error = SqlError::from(error);
            if let SqlError::Server(server) = &mut error {
                server.out_of_step = true;
            }
            return Err(error);
        }
    };
    let mut sink = pin!(sink);
    sink.send(std::io::Cursor::new(data.as_bytes().to_vec())).await?;
    sink.as_mut().finish().await?;
    Ok(())
}
