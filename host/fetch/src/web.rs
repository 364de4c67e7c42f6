//! Requests with bounds on everything that a server can do.

mod explain;
mod location;

pub(crate) use explain::plain;
pub(crate) use location::resolve;

use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, LOCATION, RETRY_AFTER, USER_AGENT,
};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{sleep, timeout};

use crate::error::Problem;
use crate::limits::{Limits, PATIENCE, REDIRECTS, REFUSAL};
use crate::trust::{self, Authorities};

const AGENT: &str = concat!("node-readiness-host/", env!("CARGO_PKG_VERSION"));

/// A client with connections of its own.
#[derive(Debug)]
pub(crate) struct Web {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    plain_http: bool,
    limits: Limits,
}

/// A request that can be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Ask {
    pub(crate) fn get(uri: Uri) -> Self {
        Self::new(Method::GET, uri)
    }

    pub(crate) fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// An answer of which the body was not read.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response<Incoming>,
    /// Where it came from, after redirects.
    pub(crate) uri: Uri,
}

/// How many bytes a body may have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Size {
    AtMost(u64),
    /// As a manifest says.
    Exactly(u64),
}

impl Web {
    pub(crate) fn new(
        authorities: &Authorities,
        plain_http: bool,
        limits: Limits,
    ) -> Result<Self, rustls::Error> {
        let tls = trust::tls(authorities)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(limits.wait));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self {
            client,
            plain_http,
            limits,
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How a registry is asked.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.plain_http { "http" } else { "https" }
    }

    /// Again, where it fails for a reason that may pass.
    pub(crate) async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let mut pause = self.limits.pause;
        for _ in 1..self.limits.attempts {
            match ask().await {
                Err(problem) if problem.is_transient() => match problem {
                    Problem::Busy {
                        after: Some(after), ..
                    } if after <= PATIENCE => sleep(after.max(pause)).await,
                    Problem::Busy { after: Some(_), .. } => return Err(problem),
                    _ => sleep(pause).await,
                },
                done => return done,
            }
            pause *= 2;
        }
        ask().await
    }

    /// Sends it, and follows redirects where something is read. What opens a door is not carried to
    /// another.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Answer, Problem> {
        let Ask {
            method,
            uri,
            headers,
            body,
        } = ask;
        let (mut uri, mut headers) = (uri.clone(), headers.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for _ in 0..=REDIRECTS {
            let response = self.exchange(method, &uri, &headers, body).await?;
            let follows = *method == Method::GET && response.status().is_redirection();
            let location = response.headers().get(LOCATION).filter(|_| follows);
            let Some(location) = location else {
                return Ok(Answer { response, uri });
            };
            let Some(next) = location::resolve(&uri, location) else {
                return Err(unexpected(&uri, "it redirects to something that is no URL"));
            };
            if !same_origin(&uri, &next) {
                headers.remove(AUTHORIZATION);
            }
            uri = next;
        }
        Err(unexpected(&uri, "it redirects without end"))
    }

    async fn exchange(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<Incoming>, Problem> {
        if uri.scheme() != Some(&Scheme::HTTPS) && !self.plain_http {
            return Err(Problem::PlainHttp { host: host(uri) });
        }
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        timeout(self.limits.wait, self.client.request(request))
            .await
            .map_err(|_| self.timeout(uri))?
            .map_err(|error| explain::connection(&error, uri))
    }

    /// All of the body, and nothing that is more than `size`.
    pub(crate) async fn read(
        &self,
        answer: Answer,
        what: &str,
        size: Size,
    ) -> Result<Vec<u8>, Problem> {
        let Answer { response, uri } = answer;
        let encoding = response.headers().get(CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
            let encoding = plain(&String::from_utf8_lossy(encoding.as_bytes()));
            let why = format!("{what} is compressed as {encoding}, which was not asked for");
            return Err(unexpected(&uri, &why));
        }
        let mut body = response.into_body();
        let announced = body.size_hint().exact();
        let limit = match size {
            Size::AtMost(limit) | Size::Exactly(limit) => limit,
        };
        if announced.is_some_and(|announced| announced > limit) {
            return Err(too_much(&uri, what, size));
        }
        let expected = match size {
            Size::Exactly(size) => Some(size),
            Size::AtMost(_) => announced,
        };
        // What is announced is not believed before it comes.
        let room = expected.unwrap_or(0).min(1 << 20);
        let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
        let truncated = |bytes: &Vec<u8>, expected| Problem::Truncated {
            what: what.to_owned(),
            received: bytes.len() as u64,
            expected,
        };
        loop {
            let frame = timeout(self.limits.wait, body.frame()).await;
            let frame = frame.map_err(|_| self.timeout(&uri))?;
            let frame = match (frame, expected) {
                (None, Some(expected)) if (bytes.len() as u64) < expected => {
                    return Err(truncated(&bytes, expected));
                }
                (None, _) => return Ok(bytes),
                (Some(Ok(frame)), _) => frame,
                // The connection ended within the body.
                (Some(Err(_)), Some(expected)) => return Err(truncated(&bytes, expected)),
                (Some(Err(error)), None) => {
                    return Err(explain::connection(&error, &uri));
                }
            };
            if let Some(data) = frame.data_ref() {
                if bytes.len() as u64 + data.len() as u64 > limit {
                    return Err(too_much(&uri, what, size));
                }
                bytes.extend_from_slice(data);
            }
        }
    }

    /// What an answer other than the expected one means.
    pub(crate) async fn refusal(&self, answer: Answer, what: &str) -> Problem {
        let host = answer.host();
        let status = answer.status();
        let after = answer.after();
        let said = self.words(answer).await;
        match status {
            StatusCode::FORBIDDEN => Problem::Forbidden { host, said },
            StatusCode::NOT_FOUND => Problem::NotFound {
                host,
                what: what.to_owned(),
                said,
            },
            StatusCode::TOO_MANY_REQUESTS => Problem::Busy {
                host,
                status: status.as_u16(),
                after,
                said,
            },
            status if status.is_server_error() => Problem::Busy {
                host,
                status: status.as_u16(),
                after,
                said,
            },
            status => Problem::Unexpected {
                host,
                why: match said.as_str() {
                    "" => status.to_string(),
                    said => format!("{status}: {said}"),
                },
            },
        }
    }

    /// The words of a server that refuses are good to have, and no more: what goes wrong with them is
    /// nothing.
    pub(crate) async fn words(&self, answer: Answer) -> String {
        let read = self.read(answer, "its answer", Size::AtMost(REFUSAL)).await;
        explain::said(&read.unwrap_or_default())
    }

    fn timeout(&self, uri: &Uri) -> Problem {
        Problem::Timeout {
            host: host(uri),
            waited: self.limits.wait,
        }
    }
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn host(&self) -> String {
        host(&self.uri)
    }

    /// Where it sends to.
    pub(crate) fn location(&self) -> Option<Uri> {
        location::resolve(&self.uri, self.headers().get(LOCATION)?)
    }

    fn after(&self) -> Option<Duration> {
        let seconds = self.headers().get(RETRY_AFTER)?.to_str().ok()?;
        Some(Duration::from_secs(seconds.parse().ok()?))
    }
}

/// For messages: host and port.
pub(crate) fn host(uri: &Uri) -> String {
    uri.authority()
        .map_or_else(String::new, |authority| authority.to_string())
}

pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && one.authority() == other.authority()
}

pub(crate) fn unexpected(uri: &Uri, why: &str) -> Problem {
    Problem::Unexpected {
        host: host(uri),
        why: why.to_owned(),
    }
}

fn too_much(uri: &Uri, what: &str, size: Size) -> Problem {
    match size {
        Size::AtMost(limit) => Problem::TooLarge {
            what: what.to_owned(),
            limit,
        },
        Size::Exactly(size) => {
            let why = format!("{what} has more than the {size} bytes that its manifest says");
            unexpected(uri, &why)
        }
    }
}
