//! A proxy between the host and the API server that can stop a request, do something, and let it go
//! on: what otherwise is a race becomes a step of a test.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use control_plane::Lifetime;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::webhook::Pair;
use crate::{Cluster, Host, tls};

/// A request that went through.
#[derive(Debug, Clone)]
pub struct Passed {
    /// `GET`, `PATCH`, …
    pub method: String,
    /// Path with query.
    pub path: String,
    /// The server's answer.
    pub status: u16,
}

/// What the proxy does with a request before it is sent on.
pub enum Fault {
    /// Nothing.
    Pass,
    /// Answers with this status instead.
    Refuse(StatusCode),
    /// Never answers, and sends nothing on.
    Stall,
    /// Sends it on, and breaks the connection instead of answering.
    Lose,
    /// Sends it on, and does this before the answer goes back.
    Then(BoxFuture<'static, ()>),
}

/// What becomes of watches: from then on, and of those that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watches {
    /// Do they pass nothing on for now? Then the host's cache grows old.
    pub paused: bool,
    /// … those of paths that begin so; empty: all.
    pub path: &'static str,
    /// Those that are open break when this number changes.
    pub generation: u64,
}

/// Looks at method and path of each request.
pub type Hook = dyn Fn(String, String) -> BoxFuture<'static, Fault> + Send + Sync;

/// A running proxy; ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    passed: Arc<Mutex<Vec<Passed>>>,
    watches: watch::Sender<Watches>,
    task: AbortHandle,
}

impl Proxy {
    /// Listens on a free port and sends everything on as the client does.
    ///
    /// # Errors
    /// No port.
    pub async fn start(client: Client, hook: Arc<Hook>) -> anyhow::Result<Self> {
        Self::start_with(client, hook, None).await
    }

    /// The same by TLS, for whoever speaks nothing else.
    ///
    /// # Errors
    /// No port, or this is no certificate.
    pub async fn start_tls(client: Client, hook: Arc<Hook>, pair: &Pair) -> anyhow::Result<Self> {
        Self::start_with(client, hook, Some(tls::acceptor(pair)?)).await
    }

    async fn start_with(
        client: Client,
        hook: Arc<Hook>,
        tls: Option<TlsAcceptor>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let passed = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&passed);
        let (watches, is) = watch::channel(Watches::default());
        let serve = async move {
            while let Ok((connection, _)) = listener.accept().await {
                let between = Between {
                    client: client.clone(),
                    hook: Arc::clone(&hook),
                    seen: Arc::clone(&seen),
                    watches: is.clone(),
                };
                let service = service_fn(move |request| between.clone().forward(request));
                let tls = tls.clone();
                tokio::spawn(async move {
                    if let Some(connection) = tls::accept(connection, tls).await {
                        // One that breaks is what the hook wanted.
                        let connection = TokioIo::new(connection);
                        let _ = http1::Builder::new()
                            .serve_connection(connection, service)
                            .await;
                    }
                });
            }
        };
        let task = tokio::spawn(serve).abort_handle();
        Ok(Self {
            address,
            passed,
            watches,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of watches.
    pub fn watches(&self) -> &watch::Sender<Watches> {
        &self.watches
    }

    /// Starts a host that reaches the cluster through the proxy, and waits until its caches are
    /// synced.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub async fn start_host(&self, cluster: &Cluster) -> anyhow::Result<Host> {
        self.start_host_with(cluster, &[]).await
    }

    /// As [`Proxy::start_host`], with these flags.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub async fn start_host_with(&self, cluster: &Cluster, flags: &[&str]) -> anyhow::Result<Host> {
        let mut host = self.spawn_host(cluster, flags)?;
        host.until_logged("caches are synced").await?;
        Ok(host)
    }

    /// Starts such a host, and waits for nothing.
    ///
    /// # Errors
    /// As [`Host::spawn`].
    pub fn spawn_host(&self, cluster: &Cluster, flags: &[&str]) -> anyhow::Result<Host> {
        let kubeconfig = self.kubeconfig(cluster)?;
        Host::spawn(
            &kubeconfig,
            &cluster.new_log(),
            Lifetime::OfThisProcess,
            flags,
        )
    }

    /// A kubeconfig of the way through the proxy. Whoever uses it is the proxy's client.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn kubeconfig(&self, cluster: &Cluster) -> anyhow::Result<PathBuf> {
        let folder = cluster.plane.folder();
        let path = folder.join(format!("proxy-{}.yaml", self.address.port()));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: proxy\n\
             clusters: [{{name: proxy, cluster: {{server: \"http://{}\"}}}}]\n\
             contexts: [{{name: proxy, context: {{cluster: proxy, user: proxy}}}}]\n\
             users: [{{name: proxy, user: {{}}}}]\n",
            self.address
        );
        std::fs::write(&path, text).context("the kubeconfig of the proxy cannot be written")?;
        Ok(path)
    }

    /// The requests that were answered so far, watches too.
    pub fn passed(&self) -> Vec<Passed> {
        self.passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Those of a method on paths that begin so.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let is = |request: &&Passed| request.method == method && request.path.starts_with(path);
        self.passed().iter().filter(is).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What goes back to the host.
type Answer = UnsyncBoxBody<Bytes, io::Error>;

/// What stands between one connection of the host and the API server.
#[derive(Clone)]
struct Between {
    client: Client,
    hook: Arc<Hook>,
    seen: Arc<Mutex<Vec<Passed>>>,
    watches: watch::Receiver<Watches>,
}

impl Between {
    /// An error breaks the connection.
    async fn forward(self, request: Request<Incoming>) -> Result<Response<Answer>, io::Error> {
        let (method, path) = (request.method().to_string(), request.uri().to_string());
        let fault = (self.hook)(method.clone(), path.clone()).await;
        let answer = match fault {
            Fault::Stall => return futures::future::pending().await,
            Fault::Refuse(status) => empty(status),
            Fault::Pass | Fault::Lose | Fault::Then(_) => send(self.client.clone(), request)
                .await
                .unwrap_or_else(|_| empty(StatusCode::BAD_GATEWAY)),
        };
        let status = answer.status().as_u16();
        let is_watch = path.contains("watch=true");
        let passed = Passed {
            method,
            path: path.clone(),
            status,
        };
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(passed);
        match fault {
            Fault::Lose => return Err(io::ErrorKind::ConnectionReset.into()),
            Fault::Then(what) => what.await,
            _ => {}
        }
        Ok(answer.map(|body| {
            if is_watch {
                interrupt(body, self.watches, &path)
            } else {
                body.map_err(io::Error::other).boxed_unsync()
            }
        }))
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A watch that can be paused and broken.
fn interrupt(body: Body, watches: watch::Receiver<Watches>, path: &str) -> Answer {
    let path: Arc<str> = path.into();
    let born = watches.borrow().generation;
    let mut breaks = watches.clone();
    let frames = body.into_data_stream().then(move |data| {
        let (mut watches, path) = (watches.clone(), Arc::clone(&path));
        async move {
            // Who controls it may be gone: then nothing is paused any more.
            let goes_on = |watches: &Watches| !(watches.paused && path.starts_with(watches.path));
            let _ = watches.wait_for(goes_on).await;
            data.map(Frame::data).map_err(io::Error::other)
        }
    });
    let broken = async move {
        let changed = breaks.wait_for(|watches| watches.generation != born);
        let gone = changed.await.is_err();
        if gone {
            futures::future::pending::<()>().await;
        }
    };
    let end = futures::stream::once(async { Err(io::ErrorKind::ConnectionReset.into()) });
    let frames = frames.take_until(Box::pin(broken)).chain(end);
    StreamBody::new(frames).boxed_unsync()
}

async fn send(client: Client, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    // The client knows where to and as whom.
    parts.headers.remove(http::header::HOST);
    parts.headers.remove(http::header::AUTHORIZATION);
    let body = body.collect().await?.to_bytes();
    Ok(client
        .send(Request::from_parts(parts, Body::from(body)))
        .await?)
}
