//! A small HTTP server, with or without TLS, for everything that the host and the reporter serve.
//!
//! Nobody who connects can hold it up: every wait for a client has an end, and so has the number of
//! connections. HTTP/1.1 only, which is what probes, Prometheus and API servers are content with.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// Before connections are accepted again after an error.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections at the same time; others wait.
const CONNECTIONS: usize = 256;
/// For the handshake of TLS, for a request's body, and for each step of taking an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the head of a request, which may be the next one on a connection that is kept.
const IDLE: Duration = Duration::from_secs(30);
/// For requests that are under way when the server ends.
const DRAIN: Duration = Duration::from_secs(5);

/// A port that is bound, and not served yet: connections wait.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// What the system says: somebody else has it, most likely.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            tls: None,
        })
    }

    /// Speaks TLS.
    #[must_use]
    pub fn with_tls(mut self, config: ServerConfig) -> Self {
        self.tls = Some(TlsAcceptor::from(Arc::new(config)));
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` is true. Then nobody is accepted any more, and requests that are under way
    /// are answered, but not waited for long.
    pub async fn serve<H, F, B>(self, handler: H, mut end: watch::Receiver<bool>)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self { listener, tls } = self;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accept = async {
                // It is never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                _ = end.wait_for(|end| *end) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, most likely: the next attempt at once would fail as well.
                sleep(PAUSE).await;
                continue;
            };
            let (tls, handler, end) = (tls.clone(), handler.clone(), end.clone());
            connections.spawn(async move {
                if let Err(error) = connection(stream, tls, handler, end).await {
                    debug!(error = chain(&*error), "a connection failed");
                }
                drop(place);
            });
        }
        drop(listener);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(DRAIN, all).await.is_err() {
            connections.shutdown().await;
        }
    }
}

async fn connection<H, F, B>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    handler: H,
    end: watch::Receiver<bool>,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    // Answers are small, and somebody waits for each.
    stream.set_nodelay(true)?;
    match tls {
        None => requests(stream, handler, end).await,
        Some(tls) => {
            let stream = timeout(PATIENCE, tls.accept(stream)).await??;
            requests(stream, handler, end).await
        }
    }
}

async fn requests<S, H, F, B>(
    stream: S,
    handler: H,
    mut end: watch::Receiver<bool>,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(PATIENCE));
    let service = service_fn(move |request| {
        let answer = handler(request);
        async { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        _ = end.wait_for(|end| *end) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// TLS 1.3 and 1.2, with whatever certificate `resolver` has at the moment.
///
/// # Errors
/// The TLS library refuses its own defaults: a defect.
pub fn tls(resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The whole body of a request, if it has at most this many bytes and comes in time.
///
/// # Errors
/// The status of the answer.
pub async fn read_body(body: Incoming, most: usize) -> Result<Bytes, StatusCode> {
    match timeout(PATIENCE, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// An address as Go writes it: `host:port`, `:port` for all addresses of the machine, `0` or
/// nothing for none.
///
/// # Errors
/// What is wrong, and what to give instead.
pub fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    let wrong = |why: &str| format!("{why}: give `:PORT`, `ADDRESS:PORT`, or `0` for none");
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    if let Some(port) = text.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|_| wrong("this is no port"))?;
        return Ok(Some(SocketAddr::new(any_address(), port)));
    }
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| wrong(&error.to_string()))?;
    addresses
        .next()
        .map(Some)
        .ok_or_else(|| wrong("this name has no address"))
}

/// As Go listens on `:port`: on IPv6 and IPv4 alike, where the machine has IPv6.
fn any_address() -> IpAddr {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// An error with its causes, each once, without the numbers of the system.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = words(error);
        if !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        next = error.source();
    }
    text
}

fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let is_of_system = error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.raw_os_error().is_some());
    if is_of_system && let Some(end) = text.rfind(" (os error ") {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
