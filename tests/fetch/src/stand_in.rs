//! A stand-in for a server: it does what it is told, which no real one would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`, …
    pub method: String,
    /// With the query.
    pub path: String,
    /// Of the headers.
    pub headers: HeaderMap,
    /// How often the same was asked before.
    pub before: usize,
    body: Vec<u8>,
}

impl Seen {
    /// A header as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as text.
    pub fn body(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What is done about a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An answer: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// That of the server at this URL.
    Forward(String),
    /// Announces so many bytes, sends these, and breaks off.
    Cut(usize, Vec<u8>),
    /// Announces so many bytes, sends these, and nothing more.
    Stall(usize, Vec<u8>),
    /// Sends bytes for as long as somebody reads.
    Endless,
    /// Takes the request, and says nothing.
    Silence,
    /// Takes the request, and hangs up.
    HangUp,
}

impl Reply {
    /// An answer without headers of its own.
    pub fn status(status: u16, body: &str) -> Self {
        Self::Answer(status, Vec::new(), body.as_bytes().to_vec())
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A running stand-in; ends when it is dropped.
pub struct StandIn {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: AbortHandle,
}

impl StandIn {
    /// Listens on a free port.
    ///
    /// # Errors
    /// No port.
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let handler: Arc<Handler> = Arc::new(handler);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                // Who hangs up early is a client that was tested.
                tokio::spawn(async move { serve(stream, &*handler, &log).await.ok() });
            }
        });
        Ok(Self {
            address,
            seen,
            task: task.abort_handle(),
        })
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://HOST:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What arrived so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many of them had this in their path.
    pub fn count(&self, part: &str) -> usize {
        let seen = self.seen();
        seen.iter().filter(|seen| seen.path.contains(part)).count()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request on each connection.
async fn serve(stream: TcpStream, handler: &Handler, log: &Mutex<Vec<Seen>>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut seen = read(&mut stream).await?;
    {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |one: &&Seen| (&one.method, &one.path) == (&seen.method, &seen.path);
        seen.before = log.iter().filter(same).count();
        log.push(seen.clone());
    }
    let stream = stream.get_mut();
    match handler(&seen) {
        Reply::Answer(status, headers, body) => answer(stream, status, &headers, &body).await?,
        Reply::Forward(url) => {
            let (status, headers, body) = forward(&url, &seen).await?;
            answer(stream, status, &headers, &body).await?;
        }
        Reply::Cut(length, body) => {
            head(stream, 200, &[("content-length", length.to_string())]).await?;
            stream.write_all(&body).await?;
        }
        Reply::Stall(length, body) => {
            head(stream, 200, &[("content-length", length.to_string())]).await?;
            stream.write_all(&body).await?;
            stream.flush().await?;
            gone(stream).await;
        }
        Reply::Endless => {
            head(stream, 200, &[]).await?;
            loop {
                stream.write_all(&[b' '; 64 << 10]).await?;
            }
        }
        Reply::Silence => gone(stream).await,
        Reply::HangUp => {}
    }
    stream.shutdown().await?;
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>) -> Result<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut words = line.split(' ');
    let method = words.next().context("no method")?.to_owned();
    let path = words.next().context("no path")?.to_owned();
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        let name: http::HeaderName = name.parse()?;
        headers.append(name, value.parse()?);
    }
    let length = headers.get(http::header::CONTENT_LENGTH);
    let length = length.map_or(Ok(0), |length| {
        length
            .to_str()?
            .parse::<usize>()
            .map_err(anyhow::Error::from)
    })?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Seen {
        method,
        path,
        headers,
        before: 0,
        body,
    })
}

async fn head(stream: &mut TcpStream, status: u16, headers: &[(&str, String)]) -> Result<()> {
    let mut head = format!("HTTP/1.1 {status} Status\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).await?;
    Ok(())
}

async fn answer(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(impl AsRef<str>, String)],
    body: &[u8],
) -> Result<()> {
    let mut all: Vec<(&str, String)> = headers
        .iter()
        .map(|(name, value)| (name.as_ref(), value.clone()))
        .collect();
    if !all.iter().any(|(name, _)| *name == "content-length") {
        all.push(("content-length", body.len().to_string()));
    }
    head(stream, status, &all).await?;
    stream.write_all(body).await?;
    Ok(())
}

/// Until the client has had enough.
async fn gone(stream: &mut TcpStream) {
    let mut byte = [0];
    while matches!(stream.read(&mut byte).await, Ok(1)) {}
}

/// An answer: status, headers, body.
pub type Answer = (u16, Vec<(String, String)>, Vec<u8>);

async fn forward(url: &str, seen: &Seen) -> Result<Answer> {
    let mut headers = seen.headers.clone();
    headers.remove(http::header::CONNECTION);
    let url = format!("{url}{}", seen.path);
    exchange(seen.method.parse()?, &url, headers, seen.body.clone()).await
}

/// A request over plain http, as it is.
///
/// # Errors
/// No answer.
pub async fn exchange(
    method: Method,
    url: &str,
    headers: HeaderMap,
    body: Vec<u8>,
) -> Result<Answer> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = Request::builder()
        .method(method)
        .uri(url)
        .body(Full::from(body))?;
    *request.headers_mut() = headers;
    let answer = client.request(request).await?;
    let status = answer.status().as_u16();
    let mut headers = Vec::new();
    for (name, value) in answer.headers() {
        let framing = name == http::header::TRANSFER_ENCODING || name == http::header::CONNECTION;
        if !framing {
            headers.push((name.to_string(), value.to_str()?.to_owned()));
        }
    }
    Ok((
        status,
        headers,
        answer.into_body().collect().await?.to_bytes().to_vec(),
    ))
}
