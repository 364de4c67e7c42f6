//! A network between a host and the API server that can be cut and healed. It knows bytes, not
//! requests: what is under way when it is cut arrives when it is healed, unless its sender gave the
//! connection up, as TCP has it where the sender's system gives up with it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use control_plane::ControlPlane;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A network that works until it is cut; ends when it is dropped.
pub struct Link {
    address: SocketAddr,
    url: String,
    up: watch::Sender<bool>,
    task: AbortHandle,
}

impl Link {
    /// Listens on a free port and passes everything on to the API server.
    ///
    /// # Errors
    /// No port.
    pub async fn start(plane: &ControlPlane) -> anyhow::Result<Self> {
        let server = plane.url().trim_start_matches("https://").to_owned();
        let url = plane.url().to_owned();
        Self::to(server, url).await
    }

    /// As [`Link::start`], to another server at a host and port, which clients know by this URL.
    ///
    /// # Errors
    /// No port.
    pub async fn to(server: String, url: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (up, is_up) = watch::channel(true);
        let serve = async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, is_up) = (server.clone(), is_up.clone());
                tokio::spawn(async move {
                    // A connection that breaks is no failure of the network.
                    let _ = pass(client, &server, is_up).await;
                });
            }
        };
        let task = tokio::spawn(serve).abort_handle();
        Ok(Self {
            address,
            url,
            up,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kubeconfig of a user who comes through here.
    ///
    /// # Errors
    /// There is no such user, or no file can be written.
    pub fn kubeconfig(&self, plane: &ControlPlane, user: &str) -> anyhow::Result<PathBuf> {
        let text = std::fs::read_to_string(plane.kubeconfig_for(user)?)?;
        let through = format!("https://{}", self.address);
        let path = plane
            .folder()
            .join(format!("link-{}.yaml", self.address.port()));
        std::fs::write(&path, text.replace(&self.url, &through))
            .context("the kubeconfig of the link cannot be written")?;
        Ok(path)
    }

    /// From now on nothing arrives, in either direction.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Everything goes on.
    pub fn heal(&self) {
        self.up.send_replace(true);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut client: TcpStream,
    server: &str,
    mut up: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    up.wait_for(|up| *up).await?;
    let mut server = TcpStream::connect(server).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    // The end of one direction ends the connection.
    tokio::select! {
        end = copy(from_client, to_server, up.clone()) => end,
        end = copy(from_server, to_client, up) => end,
    }
}

async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut up: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if !*up.borrow_and_update() {
            up.wait_for(|up| *up).await?;
            let closed = async { from.ready(Interest::READABLE).await };
            let closed = futures::future::poll_immediate(closed).await;
            if closed.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed())) {
                return Ok(());
            }
        }
        let read = tokio::select! {
            biased;
            changed = up.changed() => {
                changed?;
                continue;
            }
            read = from.read(&mut buffer) => read?,
        };
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
