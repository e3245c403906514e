//! A port that leads to a server at some distance: every byte arrives later by as much, and none waits for another.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Opens a port that leads to `target` on this machine, `delay` away in each direction. Threads, since they sleep more
/// exactly than a runtime's timers do.
pub fn to(target: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (back_from, back_to) = (clone(&server), clone(&client));
            carry(client, server, delay);
            carry(back_from, back_to, delay);
        }
    });
    port
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("a socket");
    stream.try_clone().expect("a socket")
}

#[allow(clippy::disallowed_methods, reason = "the distance is what is slept for")]
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, arrivals) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in arrivals {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        // A side that is gone is gone for the other.
        let _ = to.shutdown(Shutdown::Write);
    });
}
