//! A wire between operators and PostgreSQL that can be cut, and that can keep the server's answers to itself.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Forwards connections to one address.
pub struct Proxy {
    pub port: u16,
    /// Counts the cuts: a connection ends when it changes.
    cuts: Arc<watch::Sender<u64>>,
    /// Whether answers are held back.
    holds: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (cuts, holds) = (Arc::new(watch::Sender::new(0)), Arc::new(watch::Sender::new(false)));
        let (cutting, holding) = (Arc::clone(&cuts), Arc::clone(&holds));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server, cutting.subscribe(), holding.subscribe()));
            }
        });
        Self { port, cuts, holds, task }
    }

    /// Ends every connection; what was held back is lost.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
        self.holds.send_replace(false);
    }

    /// Keeps what the server answers from now on, until a cut or [`Self::release`].
    pub fn hold(&self) -> impl FnOnce() + Send + 'static {
        let holds = Arc::clone(&self.holds);
        move || {
            holds.send_replace(true);
        }
    }

    /// Hands over what was held back.
    pub fn release(&self) {
        self.holds.send_replace(false);
    }
}

async fn connection(
    mut client: TcpStream,
    server: SocketAddr,
    mut cuts: watch::Receiver<u64>,
    mut holds: watch::Receiver<bool>,
) {
    cuts.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let answers = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match from_server.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    if holds.wait_for(|holds| !holds).await.is_err()
                        || to_client.write_all(&buffer[..length]).await.is_err()
                    {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        _ = cuts.changed() => {}
        () = answers => {}
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
    }
}
