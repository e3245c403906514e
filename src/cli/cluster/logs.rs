//! `kubectl dunlin logs`: the operator's log lines about MigrationSets.
//!
//! The operator's pods are found by their label. Their lines are read with the kubelet's times, by which those of several
//! pods are put in order, and a stream that is opened again goes on where it ended.

mod about;
mod pods;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use futures::{
    Stream, StreamExt,
    stream::{BoxStream, SelectAll},
};
use jiff::{SignedDuration, Timestamp};

use super::super::{CliError, output, talk};
use super::{access::Cluster, args::LogsArgs, error::ClusterError, output::now};
use about::About;
pub(super) use pods::list as operator_pods;
use pods::{Line, OperatorPod};

/// How often a follower looks for pods that have come since.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Prints them.
pub(super) async fn run(cluster: &Cluster, args: &LogsArgs) -> Result<(), CliError> {
    let logs = Logs {
        cluster,
        operator_namespace: args.operator_namespace.as_deref(),
        about: About { namespace: cluster.namespace.clone(), name: args.name.clone() },
        since: args.since.and_then(|since| now().checked_sub(SignedDuration::try_from(since).ok()?).ok()),
    };
    let mut ends = HashMap::new();
    let is_read = logs.print_so_far(args.tail, &mut ends).await?;
    if args.follow && is_read {
        logs.follow(ends).await?;
    }
    Ok(())
}

struct Logs<'a> {
    cluster: &'a Cluster,
    operator_namespace: Option<&'a str>,
    about: About,
    since: Option<Timestamp>,
}

/// When the last line of each pod was written, by the pod's uid.
type Ends = HashMap<String, Timestamp>;

/// What a pod says: a line, or None at its end.
type Said = Option<Result<Line, ClusterError>>;

impl Logs<'_> {
    /// Prints what there is, and says whether anybody reads.
    async fn print_so_far(&self, tail: Option<usize>, ends: &mut Ends) -> Result<bool, CliError> {
        let mut lines: VecDeque<Line> = VecDeque::new();
        let mut refused = None;
        let mut read = 0;
        let pods = pods::find(self.cluster, self.operator_namespace).await?;
        for pod in &pods {
            let mut stream = match pod.lines(self.cluster, self.since, false).await {
                Ok(stream) => stream.boxed(),
                Err(error) if error.is_refused() => return Err(error.into()),
                // A pod that hasn't begun has no log; another may have one.
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            };
            read += 1;
            while let Some(line) = stream.next().await {
                let line = line?;
                ends.insert(pod.uid.clone(), line.at);
                if self.about.is_said_in(&line.text) {
                    lines.push_back(line);
                }
            }
        }
        if let (Some(error), 0) = (refused, read) {
            return Err(error.into());
        }
        lines.make_contiguous().sort_by_key(|line| line.at);
        let left_out = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        if lines.is_empty() {
            talk::say("note", format!("the operator's log has no line about {}", self.about));
        }
        print(lines.into_iter().skip(left_out))
    }

    /// Prints lines as they are written, also those of pods that come later, until whoever reads goes away.
    async fn follow(&self, mut ends: Ends) -> Result<(), CliError> {
        let mut streams: SelectAll<BoxStream<'_, (String, Said)>> = SelectAll::new();
        let mut open: HashSet<String> = HashSet::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                Some((uid, line)) = streams.next() => match line {
                    Some(Ok(line)) => {
                        // The kubelet is asked by the second: what was printed before comes again.
                        let is_new = ends.get(&uid).is_none_or(|end| line.at > *end);
                        ends.insert(uid, line.at);
                        if is_new && self.about.is_said_in(&line.text) && !print(std::iter::once(line))? {
                            return Ok(());
                        }
                    }
                    Some(Err(error)) => talk::say("note", format!("the log is interrupted: {error}")),
                    None => {
                        open.remove(&uid);
                    }
                },
                _ = look.tick() => self.open(&mut streams, &mut open, &ends).await?,
            }
        }
    }

    /// Opens the logs of pods that aren't open.
    async fn open(
        &self,
        streams: &mut SelectAll<BoxStream<'_, (String, Said)>>,
        open: &mut HashSet<String>,
        ends: &Ends,
    ) -> Result<(), ClusterError> {
        let pods = match pods::find(self.cluster, self.operator_namespace).await {
            Ok(pods) => pods,
            Err(error) if error.is_refused() => return Err(error),
            // An operator that is away comes back.
            Err(error) => {
                tracing::debug!(%error, "the operator's pods can't be found");
                return Ok(());
            }
        };
        for pod in pods {
            if open.contains(&pod.uid) {
                continue;
            }
            let since = ends.get(&pod.uid).copied().or(self.since);
            match pod.lines(self.cluster, since, true).await {
                Ok(lines) => {
                    open.insert(pod.uid.clone());
                    streams.push(ended(pod, lines).boxed());
                }
                Err(error) if error.is_refused() => return Err(error),
                // It hasn't begun, or has just ended: the next look tries again.
                Err(error) => tracing::debug!(%error, "a log can't be opened yet"),
            }
        }
        Ok(())
    }
}

/// A pod's lines, and its end.
fn ended(
    pod: OperatorPod,
    lines: impl Stream<Item = Result<Line, ClusterError>>,
) -> impl Stream<Item = (String, Said)> {
    let end = futures::stream::iter([None]);
    lines.map(Some).chain(end).map(move |line| (pod.uid.clone(), line))
}

/// Prints lines as they were written, and says whether anybody reads.
fn print(lines: impl Iterator<Item = Line>) -> Result<bool, CliError> {
    let text: String = lines.flat_map(|line| [line.text, "\n".to_owned()]).collect();
    if text.is_empty() { Ok(true) } else { output::print_some(&text) }
}
