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
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::past::Past;
use crate::webhook::Pair;
use crate::{Cluster, Host, tls};

/// Where all nodes and all rules are.
pub(crate) const LISTS: [&str; 2] = [
    "/api/v1/nodes",
    "/apis/readiness.node.x-k8s.io/v1alpha1/nodereadinessrules",
];

/// A request that went through.
#[derive(Debug, Clone)]
pub struct Passed {
    /// `GET`, `PATCH`, …
    pub method: String,
    /// Path with query.
    pub path: String,
    /// What it wants to have back: its `Accept` header.
    pub accept: String,
    /// The server's answer.
    pub status: u16,
}

/// What the proxy does with a request before it is sent on.
pub enum Fault {
    /// Nothing.
    Pass,
    /// Answers with this status instead, and without a word: as something on the way does.
    Refuse(StatusCode),
    /// The same as an API server does: with a `Status`, and where it is busy with when to come back.
    Explain(StatusCode),
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
    /// Do they break because the server has forgotten their resource version? Then the host lists again.
    pub expired: bool,
}

/// What whoever comes through a proxy sees of the cluster. All of it, as it is, by default.
#[derive(Clone, Default)]
pub struct View {
    /// Nodes and rules with these labels alone.
    pub selector: Option<String>,
    /// What the server still answers from after a reconnect.
    pub past: Option<Arc<Past>>,
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
        Self::start_with(client, hook, View::default(), None).await
    }

    /// The same, and whoever comes this way sees only a part of the cluster, or what it was.
    ///
    /// # Errors
    /// No port.
    pub async fn start_view(client: Client, hook: Arc<Hook>, view: View) -> anyhow::Result<Self> {
        Self::start_with(client, hook, view, None).await
    }

    /// The same by TLS, for whoever speaks nothing else.
    ///
    /// # Errors
    /// No port, or this is no certificate.
    pub async fn start_tls(client: Client, hook: Arc<Hook>, pair: &Pair) -> anyhow::Result<Self> {
        let tls = Some(tls::acceptor(pair)?);
        Self::start_with(client, hook, View::default(), tls).await
    }

    async fn start_with(
        client: Client,
        hook: Arc<Hook>,
        view: View,
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
                    view: view.clone(),
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
pub(crate) type Answer = UnsyncBoxBody<Bytes, io::Error>;

/// What stands between one connection of the host and the API server.
#[derive(Clone)]
struct Between {
    client: Client,
    hook: Arc<Hook>,
    seen: Arc<Mutex<Vec<Passed>>>,
    watches: watch::Receiver<Watches>,
    view: View,
}

impl Between {
    /// An error breaks the connection.
    async fn forward(self, mut request: Request<Incoming>) -> Result<Response<Answer>, io::Error> {
        let (method, path) = (request.method().to_string(), request.uri().to_string());
        let accept = request.headers().get(ACCEPT);
        let accept = accept.and_then(|accept| accept.to_str().ok());
        let accept = accept.unwrap_or_default().to_owned();
        let fault = (self.hook)(method.clone(), path.clone()).await;
        if let Some(selector) = &self.view.selector {
            select(&mut request, selector).map_err(io::Error::other)?;
        }
        let past = self.view.past.as_ref();
        let answer = match fault {
            Fault::Stall => return futures::future::pending().await,
            Fault::Refuse(status) => boxed(empty(status)),
            Fault::Explain(status) => boxed(explained(status)),
            Fault::Pass | Fault::Lose | Fault::Then(_) => {
                match past.and_then(|past| past.answer(&self.client, request.uri())) {
                    Some(answer) => answer,
                    None => boxed(
                        send(self.client.clone(), request)
                            .await
                            .unwrap_or_else(|_| empty(StatusCode::BAD_GATEWAY)),
                    ),
                }
            }
        };
        let status = answer.status().as_u16();
        // What refuses a watch is an answer as any other.
        let is_watch = path.contains("watch=true") && answer.status().is_success();
        let passed = Passed {
            method,
            path: path.clone(),
            accept,
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
                body
            }
        }))
    }
}

fn boxed(answer: Response<Body>) -> Response<Answer> {
    answer.map(|body| body.map_err(io::Error::other).boxed_unsync())
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// As an API server refuses.
fn explained(status: StatusCode) -> Response<Body> {
    let reason = match status.as_u16() {
        403 => "Forbidden",
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let text = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the proxy of a test refuses it", "reason": reason, "code": status.as_u16(),
    });
    let mut response = Response::new(Body::from(text.to_string().into_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Asks for those nodes or rules alone, where it asks for all.
fn select(request: &mut Request<Incoming>, selector: &str) -> anyhow::Result<()> {
    let uri = request.uri();
    if request.method() != Method::GET || !LISTS.contains(&uri.path()) {
        return Ok(());
    }
    let query = uri.query().unwrap_or_default();
    let selector = selector.replace('=', "%3D");
    *request.uri_mut() = format!("{}?{query}&labelSelector={selector}", uri.path()).parse()?;
    Ok(())
}

/// A watch that can be paused and broken.
fn interrupt(body: Answer, watches: watch::Receiver<Watches>, path: &str) -> Answer {
    let path: Arc<str> = path.into();
    let born = watches.borrow().generation;
    let mut breaks = watches.clone();
    let how = watches.clone();
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
    let end = futures::stream::once(async move {
        if how.borrow().expired {
            let gone = json!({ "type": "ERROR", "object": {
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410,
            }});
            Ok(Frame::data(format!("{gone}\n").into()))
        } else {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    });
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
