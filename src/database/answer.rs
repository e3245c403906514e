//! What a query of our own answers: rows of text, no more of them than an honest server sends.
//!
//! The other end may be anybody. A row that is short, isn't text or is too large is an error, never a panic; and what is
//! collected of one answer has a limit, whatever the server goes on to send.

use futures::StreamExt as _;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream};

/// The most that is kept of one answer: the history of some 30,000 migrations.
const ANSWER_BYTES: usize = 12 << 20;
/// What a row costs beside its text.
const ROW_COST: usize = 64;
const COLUMN_COST: usize = 4;

/// The bit of an end that says that the column is NULL.
const NULL: u32 = 1 << 31;
/// In the first column of what stands for a row that was too large to be let in.
pub(super) const TOO_LARGE: &str = "\u{1}dunlin: too large";

/// One row of text, on its own: nothing of what it was read from is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    text: String,
    /// For each column the end of its text, with [`NULL`] where it has none.
    ends: Vec<u32>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// The driver's or the server's own.
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
    /// It is none that a server gives to what was asked.
    #[error("{0}")]
    Nonsense(&'static str),
}

impl Row {
    /// The text of a column; None for NULL, and where there is no such column.
    #[must_use]
    pub fn get(&self, column: usize) -> Option<&str> {
        let end = *self.ends.get(column)?;
        let start = column.checked_sub(1).map_or(0, |before| self.ends[before] & !NULL);
        if end & NULL == 0 { self.text.get(start as usize..end as usize) } else { None }
    }

    /// How many columns it has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.ends.len()
    }

    /// Becomes this row, in the memory of the one that it was.
    fn read(&mut self, row: &SimpleQueryRow) -> Result<(), AnswerError> {
        self.text.clear();
        self.ends.clear();
        for column in 0..row.len() {
            let value = row.try_get(column).map_err(|_| AnswerError::Nonsense("a row of its answer isn't UTF-8"))?;
            if column == 0 && value == Some(TOO_LARGE) {
                return Err(AnswerError::Nonsense("a row of its answer is larger than any that is kept"));
            }
            self.text.push_str(value.unwrap_or_default());
            let end = u32::try_from(self.text.len()).ok().filter(|end| end & NULL == 0);
            let end = end.ok_or(AnswerError::Nonsense("a row of its answer has no end"))?;
            self.ends.push(if value.is_some() { end } else { end | NULL });
        }
        Ok(())
    }

    fn cost(&self) -> usize {
        self.text.len() + ROW_COST + COLUMN_COST * self.ends.len()
    }
}

/// A message that was sent by the simple protocol, whose answer is read later: another may be sent before that comes in.
pub struct Sent(Result<SimpleQueryStream, tokio_postgres::Error>);

impl Sent {
    /// Sends it; a session that is lost is told where the answer is read.
    pub async fn now(client: &Client, sql: &str) -> Self {
        Self(client.simple_query_raw(sql).await)
    }
}

/// Collects the rows of an answer.
///
/// Takes as long as the server takes: the caller has the deadline.
pub(super) async fn collect(sent: Sent) -> Result<Vec<Row>, AnswerError> {
    let mut rows = Vec::new();
    // A copy takes no more memory than it holds.
    each(sent, &mut 0, |row| rows.push(row.clone())).await?;
    Ok(rows)
}

/// The same, and shows each row as it comes in: a long answer isn't kept beside what is made of it. `completed` counts the
/// statements that are through.
pub(super) async fn each(sent: Sent, completed: &mut usize, mut see: impl FnMut(&Row)) -> Result<(), AnswerError> {
    let stream = sent.0?;
    futures::pin_mut!(stream);
    let mut row = Row::default();
    let mut answered = 0;
    while let Some(message) = stream.next().await {
        answered += ROW_COST;
        match message? {
            SimpleQueryMessage::Row(next) => {
                row.read(&next)?;
                answered += row.cost();
                see(&row);
            }
            SimpleQueryMessage::CommandComplete(_) => *completed += 1,
            _ => {}
        }
        if answered > ANSWER_BYTES {
            return Err(AnswerError::Nonsense("it answers with more than is kept of any answer"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{NULL, Row};

    #[test]
    fn a_column_is_its_text_or_null_and_none_is_nothing() {
        let row = Row { text: "abé".to_owned(), ends: [1, 1 | NULL, 1, 4, 4 | NULL].into() };
        let columns: Vec<_> = (0..6).map(|column| row.get(column)).collect();
        assert_eq!(columns, [Some("a"), None, Some(""), Some("bé"), None, None]);
        assert_eq!(row.columns(), 5);
    }
}
