//! What a person at a terminal sees: colours, and one line that shows how far it is. The binary runs on a real terminal, whose
//! other end is held here.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::{fd::AsFd, unix::ffi::OsStrExt as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{
    project::{self, Project, line},
    support::eventually,
};

/// A command on a terminal of its own.
struct Terminal {
    child: Child,
    written: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    fn start(project: &Project, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("it is ours");
        unlockpt(&ours).expect("it is ours");
        let path = ptsname(ours.as_fd(), Vec::new()).expect("it has a name");
        let path = std::ffi::OsStr::from_bytes(path.to_bytes());
        let theirs = || OpenOptions::new().read(true).write(true).open(path).expect("its other end");
        let usual = [("DUNLIN_DATABASE_URL", project.url.as_str()), ("TERM", "xterm-256color")];
        let environment = [&usual[..], environment].concat();
        let mut command: Command = project::command(project.folder.path(), arguments, &environment);
        command.stdin(theirs()).stdout(Stdio::from(theirs())).stderr(Stdio::from(theirs()));
        let child = command.spawn().expect("the program runs");
        drop(command);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let filled = Arc::clone(&written);
        let reader = std::thread::spawn(move || {
            let mut ours = File::from(ours);
            let mut bytes = [0; 4096];
            // Once nobody holds the other end, reading is an error.
            while let Ok(count @ 1..) = ours.read(&mut bytes) {
                filled.lock().expect("nobody panics with it").extend(&bytes[..count]);
            }
        });
        Self { child, written, reader }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect("nobody panics with it")).into_owned()
    }

    async fn until(&self, shown: &str) {
        eventually(&format!("{shown:?} is shown"), Duration::from_secs(20), async || {
            let so_far = self.so_far();
            if so_far.contains(shown) { Ok(()) } else { Err(so_far) }
        })
        .await;
    }

    fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Waits for its end: its code, all that it wrote, and what is left of that on the screen.
    async fn end(mut self) -> (Option<i32>, String, Vec<String>) {
        let ended = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().expect("it ends");
            self.reader.join().expect("it reads to the end");
            let written = self.written.lock().expect("nobody panics with it").clone();
            (status.code(), String::from_utf8(written).expect("it writes text"))
        });
        let (code, written) = ended.await.expect("it is waited for");
        let screen = screen(&written);
        (code, written, screen)
    }
}

/// What a terminal makes of it: the lines of its screen, without colours. Any sequence that isn't known here is a mistake.
fn screen(written: &str) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let mut column = 0;
    let mut wraps = true;
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("a sequence ends");
                let (sequence, behind) = rest.split_at(end + 1);
                rest = behind;
                let line = lines.last_mut().expect("there is one");
                match sequence {
                    "[K" => line.truncate(column),
                    "[?7l" => wraps = false,
                    "[?7h" => wraps = true,
                    "[0m" | "[31m" | "[32m" | "[33m" => {}
                    other => panic!("{other:?} in {written:?}"),
                }
            }
            c => {
                let line = lines.last_mut().expect("there is one");
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    assert!(wraps, "the terminal is left as it was: {written:?}");
    lines.iter().map(|line| line.iter().collect()).collect()
}

const COLORS: [&str; 3] = ["\x1b[31m", "\x1b[32m", "\x1b[33m"];

/// A project whose second migration waits in its second statement until `let_on`.
async fn blocked() -> Project {
    let project = line(&["001"]).await;
    project.ask("CREATE TABLE gate (a int)").await;
    project.ask("SELECT pg_advisory_lock(4711)").await;
    project.migration(
        "002_b.sql",
        "-- migrate: up\nSELECT 1;\nSELECT pg_advisory_xact_lock(4711);\n-- migrate: down\nSELECT 1;\n",
    );
    project.write("dunlin.yaml", "policy: {lockTimeout: 0s}\n");
    project
}

async fn let_on(project: &Project) {
    project.ask("SELECT pg_advisory_unlock(4711)").await;
}

/// What goes on is shown on one line, which goes when it is over; what is said stands in lines of its own.
#[tokio::test]
async fn a_run_is_shown_while_it_goes_on_and_then_what_it_did() {
    let project = blocked().await;
    let terminal = Terminal::start(&project, &["apply"], &[]);
    terminal.until("[##########----------] 2 of 2: 002_b").await;
    terminal.until("waiting for pid").await;
    let_on(&project).await;
    let (code, written, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{written}");
    assert_eq!(screen, ["applied 001_t.sql", "applied 002_b.sql", ""]);
    assert!(written.contains("\x1b[32mapplied 001_t.sql\x1b[0m\r\n"), "{written:?}");
}

/// The server's own measure of an index build.
#[tokio::test]
async fn how_far_an_index_is_built_is_shown() {
    let project = Project::with(&[
        ("001_t.sql", "CREATE TABLE t (a int);\n"),
        ("002_i.sql", "-- migrate: no-transaction\nSELECT 1;\nCREATE INDEX CONCURRENTLY i ON t (a);\n"),
    ])
    .await;
    project.dunlin(&["up"]).await.code(0);
    project.ask("BEGIN").await;
    project.ask("INSERT INTO t VALUES (1) RETURNING a").await;
    let terminal = Terminal::start(&project, &["apply"], &[]);
    terminal.until("1 of 1: 002_i, statement 2 of 2, waiting for writers before build 0%, waiting for pid").await;
    project.ask("COMMIT").await;
    let (code, written, screen) = terminal.end().await;
    assert_eq!((code, screen.as_slice()), (Some(0), &["applied 002_i.sql".to_owned(), String::new()][..]), "{written}");
}

/// Ctrl-C says what it does above the line, and leaves nothing of the line behind.
#[tokio::test]
async fn ctrl_c_leaves_the_terminal_clean() {
    let project = blocked().await;
    let terminal = Terminal::start(&project, &["apply"], &[]);
    terminal.until("2 of 2: 002_b").await;
    terminal.interrupt();
    let (code, written, screen) = terminal.end().await;
    assert_eq!(code, Some(130), "{written}");
    let expected =
        ["stopping: what is in a transaction is rolled back, a statement outside of one ends", "applied 001_t.sql"];
    assert_eq!(screen[..2], expected, "{written:?}");
    assert!(screen[2].starts_with("stopped: 1 of the plan done") && screen[3..] == [""], "{screen:?}");
}

/// Colours are for people who want them, and progress for terminals that can.
#[tokio::test]
async fn colours_and_progress_are_for_terminals_and_for_those_who_want_them() {
    let project = blocked().await;
    let plain = [
        (&["up"][..], "NO_COLOR", true),
        (&["--color", "never", "apply"], "CLICOLOR_FORCE", true),
        (&["down", "--json-log"], "CLICOLOR_FORCE", false),
        (&["up", "--json-log"], "CLICOLOR", false),
        (&["list", "-o", "json"], "CLICOLOR_FORCE", false),
    ];
    for (arguments, variable, shows) in plain {
        let terminal = Terminal::start(&project, arguments, &[(variable, "1")]);
        if arguments.contains(&"apply") {
            terminal.until("1 of 1: 002_b").await;
            let_on(&project).await;
        }
        let (code, written, _) = terminal.end().await;
        assert_eq!(code, Some(0), "{arguments:?}: {written}");
        assert!(COLORS.iter().all(|color| !written.contains(color)), "{arguments:?}: {written:?}");
        assert!(shows || !written.contains('\x1b'), "{arguments:?}: {written:?}");
    }
    for (arguments, color) in [
        (&["list"][..], "\x1b[32mapplied\x1b[0m"),
        (&["verify"], "\x1b[32mverified\x1b[0m"),
        (&["history"], "\x1b[32msucceeded\x1b[0m"),
        (&["show", "099"], "\x1b[31mdunlin: "),
    ] {
        let (_, written, _) = Terminal::start(&project, arguments, &[]).end().await;
        assert!(written.contains(color), "{arguments:?}: {written:?}");
    }
    let (_, written, _) = Terminal::start(&project, &["list"], &[("TERM", "dumb")]).end().await;
    assert!(written.contains("applied") && !written.contains('\x1b'), "{written:?}");
}

/// Without a terminal, it is text alone, byte for byte, unless colours are asked for.
#[tokio::test]
async fn without_a_terminal_nothing_is_coloured_or_drawn() {
    let project = line(&["001", "002"]).await;
    let ran = project.dunlin(&["apply"]).await;
    let expected = "1 of 2: 001_t\n2 of 2: 002_t\napplied 001_t.sql\napplied 002_t.sql\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", expected));
    let current = project.dunlin(&["list", "--state", "pending"]).await;
    assert_eq!(current.code(0).stdout, "VERSION   STATE   NAME   APPLIED AT   DURATION   BY\n");
    for arguments in [&["list", "--color", "always"][..], &["verify", "--color=always"]] {
        let ran = project.dunlin(arguments).await;
        assert!(ran.code(0).stdout.contains("\x1b[32m"), "{}", ran.stdout);
    }
    let url = [("DUNLIN_DATABASE_URL", project.url.as_str()), ("CLICOLOR_FORCE", "1")];
    assert!(project.dunlin_with(&["list"], &url).await.stdout.contains("\x1b[32m"));
    let json = project.dunlin(&["list", "-o", "json", "--color", "always"]).await;
    assert!(!json.code(0).stdout.contains('\x1b'), "{}", json.stdout);
    let json = project.dunlin(&["apply", "--json-log", "--color", "always"]).await;
    assert!(!json.code(0).stderr.contains('\x1b'), "{}", json.stderr);
}
