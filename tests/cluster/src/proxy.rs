//! A proxy between the host and the API server that can stop a request, do something, and let it go
//! on: what otherwise is a race becomes a step of a test.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use control_plane::Lifetime;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::{Cluster, Host};

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
}

/// Looks at method and path of each request.
pub type Hook = dyn Fn(String, String) -> BoxFuture<'static, Fault> + Send + Sync;

/// A running proxy; ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    passed: Arc<Mutex<Vec<Passed>>>,
    task: AbortHandle,
}

impl Proxy {
    /// Listens on a free port and sends everything on as the client does.
    ///
    /// # Errors
    /// No port.
    pub async fn start(client: Client, hook: Arc<Hook>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let passed = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&passed);
        let serve = async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (client, hook, seen) = (client.clone(), Arc::clone(&hook), Arc::clone(&seen));
                let service = service_fn(move |request| {
                    forward(
                        client.clone(),
                        Arc::clone(&hook),
                        Arc::clone(&seen),
                        request,
                    )
                });
                tokio::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(connection), service),
                );
            }
        };
        let task = tokio::spawn(serve).abort_handle();
        Ok(Self {
            address,
            passed,
            task,
        })
    }

    /// Starts a host that reaches the cluster through the proxy, and waits until its caches are
    /// synced.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub async fn start_host(&self, cluster: &Cluster) -> anyhow::Result<Host> {
        let mut host = self.spawn_host(cluster)?;
        host.until_logged("caches are synced").await?;
        Ok(host)
    }

    /// Starts such a host, and waits for nothing.
    ///
    /// # Errors
    /// As [`Host::spawn`].
    pub fn spawn_host(&self, cluster: &Cluster) -> anyhow::Result<Host> {
        let kubeconfig = self.kubeconfig(cluster.plane.folder())?;
        Host::spawn(
            &kubeconfig,
            &cluster.new_log(),
            Lifetime::OfThisProcess,
            &[],
        )
    }

    fn kubeconfig(&self, folder: &Path) -> anyhow::Result<PathBuf> {
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

async fn forward(
    client: Client,
    hook: Arc<Hook>,
    seen: Arc<Mutex<Vec<Passed>>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let answer = match hook(method.clone(), path.clone()).await {
        Fault::Refuse(status) => Err(status),
        Fault::Pass => send(client, request)
            .await
            .map_err(|_| StatusCode::BAD_GATEWAY),
    };
    let answer = answer.unwrap_or_else(|status| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    });
    let passed = Passed {
        method,
        path,
        status: answer.status().as_u16(),
    };
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(passed);
    Ok(answer)
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
