//! Hooks by hand: commands of the shell, in the project's folder, with what they are told in their environment.
//!
//! A command runs in a process group of its own, all of which ends at the time limit, and when dunlin is asked to stop.
//! What it prints is told on stderr, line by line, without the database's password.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    sync::{mpsc, watch},
    time::Instant,
};

use super::talk::Event;
use crate::{
    core::hook::{Act, Fact},
    database::parameters::Parameters,
    execute::{HookCall, HookEnd, RunHook, Stop},
};

/// The longest line that is told whole.
const LINE: usize = 8 * 1024;
/// How much of the last lines a failure repeats.
const LAST_WORDS: usize = 1_024;
/// How long a group that was asked to end has for it.
const GRACE: Duration = Duration::from_secs(5);
/// How long the output of a command that has ended is waited for: a child of it may hold it open for ever.
const REST: Duration = Duration::from_secs(1);
/// Lines that wait to be told.
const LINES: usize = 64;

/// Runs commands for a project.
pub(super) struct Commands<'a> {
    /// The folder of `dunlin.yaml`.
    pub folder: PathBuf,
    /// The database, whose password isn't told.
    pub parameters: &'a Parameters,
}

impl RunHook for Commands<'_> {
    fn run<'a>(&'a self, call: HookCall<'a>) -> BoxFuture<'a, HookEnd> {
        async move {
            match &call.hook.act {
                Act::Command(command) => self.command(command, &call).await,
                Act::Sql(_) | Act::Job(_) | Act::Http(_) => {
                    HookEnd::Failed("is no command, which alone runs by hand".to_owned())
                }
            }
        }
        .boxed()
    }
}

/// How a command came to its end.
enum Came {
    Ended(std::io::Result<ExitStatus>),
    Late,
    Stopped,
}

impl Commands<'_> {
    async fn command(&self, text: &str, call: &HookCall<'_>) -> HookEnd {
        let mut command = Command::new("sh");
        command.arg("-c").arg(text).envs(call.facts.iter().map(|fact: &Fact| (fact.variable(), fact.text())));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A group of its own: a Ctrl-C at the terminal is for dunlin, which ends all of it.
        command.process_group(0);
        if !self.folder.as_os_str().is_empty() {
            command.current_dir(&self.folder);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return HookEnd::Failed(format!("sh can't be started: {error}")),
        };
        let deadline = Instant::now() + call.hook.timeout;
        let (sender, mut lines) = mpsc::channel(LINES);
        read(child.stdout.take(), sender.clone());
        read(child.stderr.take(), sender);
        let mut last = String::new();
        let mut stop = call.stop.clone();
        let came = {
            let waiting = wait(&mut child, deadline, &mut stop);
            let mut waiting = std::pin::pin!(waiting);
            loop {
                tokio::select! {
                    biased;
                    Some(line) = lines.recv() => self.tell(call, &line, &mut last),
                    came = &mut waiting => break came,
                }
            }
        };
        let ended = matches!(came, Came::Ended(_));
        if !ended {
            signal(&child, "TERM").await;
        }
        let rest = async {
            while let Some(line) = lines.recv().await {
                self.tell(call, &line, &mut last);
            }
        };
        // Who is still there to write after a good end is none of ours any more.
        let _ = tokio::time::timeout(if ended { REST } else { GRACE }, rest).await;
        if !ended {
            signal(&child, "KILL").await;
            let _ = child.wait().await;
        }
        concluded(came, call.hook.timeout, &last)
    }

    fn tell(&self, call: &HookCall<'_>, line: &str, last: &mut String) {
        let line = self.parameters.without_password(line);
        Event::new("hookOutput", format!("{}: {line}", call.name)).say();
        last.push_str(&line);
        last.push('\n');
        if last.len() > LAST_WORDS {
            let from = last.ceil_char_boundary(last.len() - LAST_WORDS);
            last.drain(..from);
        }
    }
}

async fn wait(child: &mut Child, deadline: Instant, stop: &mut watch::Receiver<Stop>) -> Came {
    tokio::select! {
        biased;
        status = child.wait() => Came::Ended(status),
        Ok(_) = stop.wait_for(|stop| *stop == Stop::CancelTransaction) => Came::Stopped,
        () = tokio::time::sleep_until(deadline) => Came::Late,
    }
}

fn concluded(came: Came, limit: Duration, last: &str) -> HookEnd {
    let how = match came {
        Came::Stopped => return HookEnd::Stopped,
        Came::Ended(Ok(status)) if status.success() => return HookEnd::Through,
        Came::Ended(Ok(status)) => match status.code() {
            Some(code) => format!("ended with exit code {code}"),
            None => format!("was ended: {status}"),
        },
        Came::Ended(Err(error)) => format!("can't be waited for: {error}"),
        Came::Late => format!("took longer than its time limit of {limit:?}, and was ended"),
    };
    let last = last.trim_end();
    if last.is_empty() { HookEnd::Failed(how) } else { HookEnd::Failed(format!("{how}; its last words:\n{last}")) }
}

/// Signals the whole group. Its number is that of its first process, and nobody else's until that one is waited for.
async fn signal(child: &Child, name: &str) {
    let Some(group) = child.id() else { return };
    let kill = format!("kill -s {name} -- -{group}");
    let _ = Command::new("sh").args(["-c", &kill]).stdin(Stdio::null()).stderr(Stdio::null()).status().await;
}

/// Reads lines, the longest of them in pieces, and hands them on until nobody wants them any more.
fn read(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, lines: mpsc::Sender<String>) {
    let Some(mut pipe) = pipe else { return };
    tokio::spawn(async move {
        let mut buffer = Vec::with_capacity(LINE);
        while let Ok(read) = (&mut pipe).take(LINE as u64).read_buf(&mut buffer).await {
            let over = read == 0;
            for line in cut(&mut buffer, over) {
                if lines.send(line).await.is_err() {
                    return;
                }
            }
            if over {
                return;
            }
        }
    });
}

/// Takes the lines that are whole out of a buffer, and what is too long or the last.
fn cut(buffer: &mut Vec<u8>, over: bool) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = buffer.drain(..=end).collect();
        lines.push(text(&line[..end]));
    }
    if buffer.len() >= LINE || over && !buffer.is_empty() {
        lines.push(text(buffer));
        buffer.clear();
    }
    lines
}

fn text(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // A terminal is not the hook's to steer.
    String::from_utf8_lossy(line).chars().filter(|letter| !letter.is_control() || *letter == '\t').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_as_they_end_and_the_last_without_its_end() {
        let mut buffer = b"one\r\ntwo\nthr".to_vec();
        assert_eq!(cut(&mut buffer, false), ["one", "two"]);
        buffer.extend(b"ee");
        assert_eq!(cut(&mut buffer, true), ["three"]);
        assert_eq!(cut(&mut buffer, true), [""; 0]);
        let mut long = vec![b'x'; LINE];
        assert_eq!(cut(&mut long, false).len(), 1);
        assert_eq!(text("a\u{1b}[31mé\tb".as_bytes()), "a[31mé\tb");
    }

    #[test]
    fn a_failure_says_how_it_ended_and_what_it_said_last() {
        let limit = Duration::from_secs(2);
        let HookEnd::Failed(why) = concluded(Came::Late, limit, "so far\n") else { panic!("it failed") };
        assert_eq!(why, "took longer than its time limit of 2s, and was ended; its last words:\nso far");
        assert!(matches!(concluded(Came::Stopped, limit, ""), HookEnd::Stopped));
    }
}
