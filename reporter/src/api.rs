//! The API server, as a pod sees it, and the two requests that are sent to it.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::time::timeout;

use crate::connection::{self, Connection};
use crate::trust::Trust;

/// For one request, from the first byte to the last.
const PATIENCE: Duration = Duration::from_secs(10);
/// A node is some 20 kB, and etcd stores 1.5 MiB at most.
const LARGEST: usize = 8 * 1024 * 1024;
/// Where the kubelet puts what a pod needs.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Another folder than [`SERVICE_ACCOUNT`], for tests: they are no pods. Not for users, who have no
/// use for it.
const FOLDER_VARIABLE: &str = "REPORTER_SERVICE_ACCOUNT_FOLDER";

/// Why a request did not do what it was for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There was no answer.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// There is no token to ask with.
    #[error("the token of the service account cannot be read: {0}")]
    NoToken(String),
    /// It refused, or failed.
    #[error("the API server answered {status}: {message}")]
    Answered {
        /// Its status.
        status: u16,
        /// Its words.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Duration,
    },
    /// What it answered is no node.
    #[error("the API server answered with something that is no node: {0}")]
    NoNode(String),
}

impl ApiError {
    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// How the API server is reached from within a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InCluster {
    host: String,
    port: u16,
    folder: PathBuf,
}

impl InCluster {
    /// From the environment of a pod.
    ///
    /// # Errors
    /// This is no pod, or one without a service account.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let [host, port] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"]
            .map(|name| variable(name).filter(|value| !value.is_empty()));
        let (Some(host), Some(port)) = (host, port) else {
            return Err("this is not in a cluster: KUBERNETES_SERVICE_HOST and \
                        KUBERNETES_SERVICE_PORT, which every pod has, are not set"
                .to_owned());
        };
        let port = port
            .parse()
            .map_err(|_| format!("KUBERNETES_SERVICE_PORT={port}: this is no port"))?;
        let folder = PathBuf::from(
            variable(FOLDER_VARIABLE)
                .as_deref()
                .unwrap_or(SERVICE_ACCOUNT),
        );
        for name in ["token", "ca.crt"] {
            let file = folder.join(name);
            std::fs::File::open(&file).map_err(|error| {
                format!(
                    "{}: {}: the pod needs a service account whose token is mounted",
                    file.display(),
                    serve::chain(&error)
                )
            })?;
        }
        Ok(Self {
            // As in a URL.
            host: if host.contains(':') {
                format!("[{host}]")
            } else {
                host
            },
            port,
            folder,
        })
    }
}

/// The API server, for one node.
pub struct Api {
    server: InCluster,
    node: String,
    impersonate: Option<HeaderValue>,
    trust: Trust,
    /// Kept open: a handshake costs the server more than the request, and there are many nodes.
    connection: Option<Connection>,
    token: String,
    /// Is the node read as `nodes/status`?
    reads_status: bool,
}

impl Api {
    /// Connects when there is something to ask.
    pub fn new(server: InCluster, node: &str, impersonate: bool) -> Self {
        let user = format!("system:node:{node}");
        Self {
            trust: Trust::new(Some(server.folder.join("ca.crt"))),
            server,
            node: node.to_owned(),
            // The name of a node has nothing that a header cannot have.
            impersonate: HeaderValue::try_from(user).ok().filter(|_| impersonate),
            connection: None,
            token: String::new(),
            reads_status: false,
        }
    }

    /// The node, as JSON. `cached` is content with what the server remembers, without asking etcd.
    ///
    /// # Errors
    /// Why not.
    pub async fn get(&mut self, cached: bool) -> Result<Vec<u8>, ApiError> {
        let read = self.read_at(self.reads_status, cached).await;
        if read
            .as_ref()
            .is_err_and(|error| error.status() == Some(403))
        {
            // The node and its status are the same object, and some roles grant only the other one.
            if let Ok(node) = self.read_at(!self.reads_status, cached).await {
                self.reads_status = !self.reads_status;
                return Ok(node);
            }
        }
        read
    }

    async fn read_at(&mut self, status: bool, cached: bool) -> Result<Vec<u8>, ApiError> {
        let place = if status { "/status" } else { "" };
        let query = if cached { "?resourceVersion=0" } else { "" };
        let path = format!("/api/v1/nodes/{}{place}{query}", self.node);
        self.request(Method::GET, &path, Bytes::new()).await
    }

    /// Writes the status of the node, if the node is still the one that was read.
    ///
    /// # Errors
    /// Why not.
    pub async fn put_status(&mut self, node: Vec<u8>) -> Result<(), ApiError> {
        let path = format!("/api/v1/nodes/{}/status", self.node);
        self.request(Method::PUT, &path, node.into())
            .await
            .map(drop)
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Vec<u8>, ApiError> {
        self.read_token()?;
        let mut answer = self.reach(&method, path, &body).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            // The token may have been exchanged at this very moment.
            let refused = self.token.clone();
            self.read_token()?;
            if self.token != refused {
                answer = self.reach(&method, path, &body).await?;
            }
        }
        answer.into_result()
    }

    /// It is read each time: the kubelet exchanges it, and a file is cheap to read.
    fn read_token(&mut self) -> Result<(), ApiError> {
        let file = self.server.folder.join("token");
        match std::fs::read_to_string(&file) {
            Ok(token) => self.token = token.trim().to_owned(),
            // The one that was read last may be good for a while.
            Err(_) if !self.token.is_empty() => {}
            Err(error) => {
                return Err(ApiError::NoToken(format!(
                    "{}: {}",
                    file.display(),
                    serve::chain(&error)
                )));
            }
        }
        Ok(())
    }

    /// Sends a request, on the connection that is open if there is one. Servers close what was idle
    /// for long; since a request can do nothing twice, it is sent again then.
    async fn reach(
        &mut self,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Answer, ApiError> {
        let was_open = self.connection.is_some();
        match self.exchange(method, path, body).await {
            Err(ApiError::Unreachable(_)) if was_open => self.exchange(method, path, body).await,
            answer => answer,
        }
    }

    async fn exchange(
        &mut self,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Answer, ApiError> {
        let request = self.build(method, path, body)?;
        // Whatever goes wrong, a connection is not used again that an answer may still come from.
        let connection = self.connection.take();
        let exchange = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => {
                    let tls = self.trust.config()?;
                    Connection::open(&self.server.host, self.server.port, Some(tls)).await?
                }
            };
            let (head, body) = connection.send(request).await?.into_parts();
            let mut text = Vec::new();
            connection::read(body, &mut text, LARGEST).await?;
            let answer = Answer {
                status: head.status,
                retry_after: retry_after(&head.headers),
                text,
            };
            Ok((connection, answer))
        };
        match timeout(PATIENCE, exchange).await {
            Ok(Ok((connection, answer))) => {
                if answer.text.len() < LARGEST {
                    self.connection = Some(connection);
                }
                Ok(answer)
            }
            Ok(Err(why)) => Err(ApiError::Unreachable(why)),
            Err(_) => Err(ApiError::Unreachable(format!(
                "no answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    fn build(
        &self,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Request<Full<Bytes>>, ApiError> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.token))
            .map_err(|_| ApiError::NoToken("the file has something else in it".to_owned()))?;
        bearer.set_sensitive(true);
        let server = format!("{}:{}", self.server.host, self.server.port);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, server)
            .header(USER_AGENT, connection::USER_AGENT)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, bearer);
        if method == Method::PUT {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(user) = &self.impersonate {
            request = request.header("Impersonate-User", user);
        }
        request
            .body(Full::new(body.clone()))
            .map_err(|error| ApiError::Unreachable(error.to_string()))
    }
}

/// What the server said.
struct Answer {
    status: StatusCode,
    retry_after: Duration,
    text: Vec<u8>,
}

impl Answer {
    fn into_result(self) -> Result<Vec<u8>, ApiError> {
        if self.status.is_success() {
            return Ok(self.text);
        }
        /// `metav1.Status`.
        #[derive(Deserialize)]
        struct Status {
            message: String,
        }
        let message = match serde_json::from_slice(&self.text) {
            Ok(Status { message }) => message,
            // Something on the way answered, and not the API server.
            Err(_) => String::from_utf8_lossy(&self.text).trim().to_owned(),
        };
        Err(ApiError::Answered {
            status: self.status.as_u16(),
            message: crate::check::clip(&message).to_owned(),
            retry_after: self.retry_after,
        })
    }
}

fn retry_after(headers: &http::HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    // More than a minute is more than an API server asks for.
    Duration::from_secs(seconds.unwrap_or(0).min(60))
}
