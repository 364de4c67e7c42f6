//! One HTTP/1.1 connection, with or without TLS.

use std::sync::Arc;

use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

/// By what the reporter is known to whom it asks.
pub const USER_AGENT: &str = concat!("node-readiness-reporter/", env!("CARGO_PKG_VERSION"));
/// The head of an answer, and what is read ahead of a body.
const BUFFER: usize = 64 * 1024;

/// The port in a URL, if there is one. A number that is none must not be taken for none at all: somebody else may
/// listen where the scheme points.
///
/// # Errors
/// What stands there is no port.
pub fn port(url: &Uri) -> Result<Option<u16>, String> {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let address = authority
        .rsplit_once('@')
        .map_or(authority, |(_, rest)| rest);
    let host = url.host().unwrap_or_default();
    let text = address.get(host.len()..).unwrap_or_default();
    let text = text.strip_prefix(':').unwrap_or(text);
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(format!("{text} is no port")),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection; closed when it is dropped.
pub struct Connection {
    send: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Connection {
    /// Connects to a host, which may be an address, in brackets if it is of IPv6.
    ///
    /// # Errors
    /// Why not.
    pub async fn open(
        host: &str,
        port: u16,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, String> {
        let stream = tcp(host, port).await?;
        // A request is small, and somebody waits for it.
        stream
            .set_nodelay(true)
            .map_err(|error| serve::chain(&error))?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from(bare(host).to_owned())
                    .map_err(|_| format!("{host} cannot be the name of a server"))?;
                let stream = TlsConnector::from(config).connect(name, stream).await;
                Box::new(stream.map_err(|error| serve::chain(&error))?)
            }
        };
        let (send, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| serve::chain(&error))?;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer is told the error.
            let _ = connection.await;
        });
        Ok(Self {
            send,
            task: task.abort_handle(),
        })
    }

    /// Sends a request once the one before is done.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        let answer = async {
            self.send.ready().await?;
            self.send.send_request(request).await
        };
        answer.await.map_err(|error| serve::chain(&error))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects to a port.
///
/// # Errors
/// Why not.
pub async fn tcp(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((bare(host), port))
        .await
        .map_err(|error| format!("cannot connect to {host}:{port}: {}", serve::chain(&error)))
}

/// Reads a body into `text`, until it ends or `most` bytes are there. What comes before an error, or
/// before whoever waits gives up, stays in `text`.
///
/// # Errors
/// Why it did not go on.
pub async fn read(mut body: Incoming, text: &mut Vec<u8>, most: usize) -> Result<(), String> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| serve::chain(&error))?;
        if let Ok(data) = frame.into_data() {
            let room = most.saturating_sub(text.len());
            text.extend_from_slice(data.get(..room).unwrap_or(&data));
        }
        if text.len() >= most {
            break;
        }
    }
    Ok(())
}

/// An address of IPv6 without its brackets.
fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}
