//! What a reporter asks: a stand-in for the health endpoint of an agent, which says what it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future::pending;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::tls;
use crate::webhook::Pair;

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This, at once.
    Status {
        /// Status.
        status: u16,
        /// Body.
        body: Bytes,
        /// `Location` of a redirect.
        location: Option<String>,
    },
    /// Nothing, ever.
    Hang,
    /// A status, and a body without an end.
    Endless(u16),
    /// A status and the beginning of a body, and then nothing more.
    Stuck(u16, Bytes),
}

impl Answer {
    /// A status with a body.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self::Status {
            status,
            body: body.into(),
            location: None,
        }
    }

    /// A redirect.
    pub fn redirect(location: &str) -> Self {
        Self::Status {
            status: 302,
            body: Bytes::new(),
            location: Some(location.to_owned()),
        }
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path with query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
}

struct State {
    answers: Vec<(String, Answer)>,
    otherwise: Answer,
    asked: Vec<Asked>,
}

/// A running endpoint; ends when it is dropped.
pub struct Endpoint {
    scheme: &'static str,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

impl Endpoint {
    /// Listens on a free port, and is not ready.
    ///
    /// # Errors
    /// No port.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(None).await
    }

    /// The same, by TLS.
    ///
    /// # Errors
    /// No port, or this is no certificate.
    pub async fn start_tls(pair: &Pair) -> anyhow::Result<Self> {
        Self::start_with(Some(tls::acceptor(pair)?)).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> anyhow::Result<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            answers: Vec::new(),
            otherwise: Answer::new(503, "starting"),
            asked: Vec::new(),
        }));
        let seen = Arc::clone(&state);
        let serve = async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&seen), tls.clone());
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(async move {
                    if let Some(connection) = tls::accept(connection, tls).await {
                        // One that breaks is the client's business.
                        let connection = TokioIo::new(connection);
                        let _ = http1::Builder::new()
                            .serve_connection(connection, service)
                            .await;
                    }
                });
            }
        };
        Ok(Self {
            scheme,
            address,
            state,
            task: tokio::spawn(serve).abort_handle(),
        })
    }

    /// From now on this is answered, whatever the path.
    pub fn answer(&self, answer: Answer) {
        self.state().otherwise = answer;
    }

    /// From now on this is answered to a path.
    pub fn answer_at(&self, path: &str, answer: Answer) {
        self.state().answers.insert(0, (path.to_owned(), answer));
    }

    /// Is it ready?
    pub fn set_ready(&self, ready: bool) {
        self.answer(if ready {
            Answer::new(200, "ok")
        } else {
            Answer::new(503, "starting")
        });
    }

    /// Its URL with a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, http::Error> {
    let path = request.uri().path().to_owned();
    let answer = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.push(Asked {
            path: request.uri().to_string(),
            headers: request.headers().clone(),
        });
        let special = state.answers.iter().find(|(known, _)| *known == path);
        special.map_or_else(|| state.otherwise.clone(), |(_, answer)| answer.clone())
    };
    let response = Response::builder();
    match answer {
        Answer::Hang => pending().await,
        Answer::Status {
            status,
            body,
            location,
        } => {
            let mut response = response.status(status);
            if let Some(location) = location {
                response = response.header(http::header::LOCATION, location);
            }
            response.body(Full::new(body).boxed_unsync())
        }
        Answer::Endless(status) => {
            let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
            let chunks = futures::stream::repeat(chunk).map(|chunk| Ok(Frame::data(chunk)));
            response
                .status(status)
                .body(StreamBody::new(chunks).boxed_unsync())
        }
        Answer::Stuck(status, body) => {
            let begin = futures::stream::once(async { Ok(Frame::data(body)) });
            let chunks = begin.chain(futures::stream::pending());
            response
                .status(status)
                .body(StreamBody::new(chunks).boxed_unsync())
        }
    }
}
