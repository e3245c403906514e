//! Every effect on the world outside, by name: where a test may stop the process, before it and after it.
//!
//! Points are compiled in by the feature `failpoints` alone, which no release has; without it a point is nothing. With it
//! a point that `FAILPOINTS` arms (crate `fail`, action `return(HOST:PORT)`) tells its name to whoever listens there, and
//! waits for a line in answer. Whoever listens may meanwhile kill this process, cut its connection, or end the server.

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A moment right before or right after an effect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point {
            $($(#[$doc])* $variant,)*
        }

        impl Point {
            /// All of them, in the order in which a run meets them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name under which it is armed.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

points! {
    /// The session lock is about to be asked for.
    LockBefore = "lock_before",
    /// The locks are held.
    LockAfter = "lock_after",
    /// The history's tables are about to be made.
    TablesBefore = "tables_before",
    /// The history's tables are there.
    TablesAfter = "tables_after",
    /// The set is about to be claimed.
    ClaimBefore = "claim_before",
    /// The claim is committed.
    ClaimAfter = "claim_after",
    /// A resolution, a checksum or a down section is about to be written down.
    AmendmentBefore = "amendment_before",
    /// It is committed.
    AmendmentAfter = "amendment_after",
    /// BEGIN is about to be sent, with the whole file where that goes as one message.
    BeginBefore = "begin_before",
    /// BEGIN is answered, where the file goes statement by statement.
    BeginAfter = "begin_after",
    /// A statement is about to be sent by itself.
    StatementBefore = "statement_before",
    /// It is on its way; the answer isn't awaited yet.
    StatementSent = "statement_sent",
    /// It is answered.
    StatementAfter = "statement_after",
    /// COMMIT is about to be sent, where the file went statement by statement.
    CommitBefore = "commit_before",
    /// A message that holds COMMIT is on its way; the answer isn't awaited yet.
    CommitSent = "commit_sent",
    /// COMMIT is answered.
    CommitAfter = "commit_after",
    /// A no-transaction migration's run is about to be written down.
    RunBefore = "run_before",
    /// The run is written down in a transaction that is still open.
    RunWritten = "run_written",
    /// The run is committed.
    RunAfter = "run_after",
    /// A statement's intent is about to be written down.
    IntentBefore = "intent_before",
    /// The intent is committed.
    IntentAfter = "intent_after",
    /// What a statement that was cut off has left is about to be cleared away or finished.
    RepairBefore = "repair_before",
    /// It is cleared away or finished.
    RepairAfter = "repair_after",
    /// A statement's end is about to be written down.
    DoneBefore = "done_before",
    /// The end is committed.
    DoneAfter = "done_after",
    /// A no-transaction migration is about to be written down as applied.
    AppliedBefore = "applied_before",
    /// It is committed.
    AppliedAfter = "applied_after",
    /// A try that is to be repeated is about to be written down.
    RetryingBefore = "retrying_before",
    /// It is committed.
    RetryingAfter = "retrying_after",
    /// A failure, or a statement that nothing proves, is about to be written down.
    FailureBefore = "failure_before",
    /// It is committed.
    FailureAfter = "failure_after",
    /// The locks are about to be given back.
    UnlockBefore = "unlock_before",
    /// The locks are given back.
    UnlockAfter = "unlock_after",
    /// A status is about to be written.
    StatusBefore = "status_before",
    /// The status is written.
    StatusAfter = "status_after",
    /// An event is about to be told.
    EventBefore = "event_before",
    /// The event is told.
    EventAfter = "event_after",
}

#[cfg(not(feature = "failpoints"))]
mod points {
    /// Nothing: this is no build for fault tests.
    #[inline]
    pub fn reached(_: super::Point) -> std::future::Ready<()> {
        std::future::ready(())
    }

    /// Nothing: this is no build for fault tests.
    #[inline]
    pub fn arm() {}
}

#[cfg(feature = "failpoints")]
mod points {
    use tokio::{
        io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
        net::TcpStream,
    };

    use super::Point;

    /// Tells whoever has armed the point, and waits until it may go on. Nobody there is no reason to stop.
    pub async fn reached(point: Point) {
        let Some(address) = armed(point) else { return };
        let asking = async {
            let mut stream = TcpStream::connect(&address).await?;
            stream.write_all(format!("{}\n", point.name()).as_bytes()).await?;
            BufReader::new(stream).read_line(&mut String::new()).await
        };
        if let Err(error) = asking.await {
            tracing::debug!(point = point.name(), %error, "nobody listens at a fail point");
        }
    }

    fn armed(point: Point) -> Option<String> {
        fail::fail_point!(point.name(), |address| address);
        None
    }

    /// Arms what the environment's `FAILPOINTS` names, until the process ends.
    pub fn arm() {
        // Its end would disarm them.
        std::mem::forget(fail::FailScenario::setup());
    }
}

pub use points::{arm, reached};
