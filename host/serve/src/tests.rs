use std::sync::Mutex;

use http_body_util::Full;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::SupportedProtocolVersion;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;

/// What is served at the moment.
#[derive(Debug, Default)]
struct Served(Mutex<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().clone()
    }
}

/// What is under way in the handler of these tests.
#[derive(Default)]
struct Steps {
    begun: Notify,
    go_on: Notify,
}

/// Echoes a body of at most 4 bytes. `/wait` waits to be told to go on.
async fn start(
    tls: Option<ServerConfig>,
) -> (SocketAddr, Arc<Steps>, watch::Sender<bool>, JoinHandle<()>) {
    let mut server = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    if let Some(config) = tls {
        server = server.with_tls(config);
    }
    let address = server.address().unwrap();
    let steps = Arc::new(Steps::default());
    let seen = Arc::clone(&steps);
    let answer = move |request: Request<Incoming>| {
        let steps = Arc::clone(&seen);
        async move {
            if request.uri().path() == "/wait" {
                steps.begun.notify_one();
                steps.go_on.notified().await;
            }
            let (status, body) = match read_body(request.into_body(), 4).await {
                Ok(body) => (StatusCode::OK, body),
                Err(status) => (status, Bytes::new()),
            };
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            response
        }
    };
    let end = watch::Sender::new(false);
    let serve = tokio::spawn(server.serve(answer, end.subscribe()));
    (address, steps, end, serve)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn post(path: &str, length: usize, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_body_is_bounded() {
    let (address, _, _end, _) = start(None).await;
    for (request, status, body) in [
        (post("/", 4, "four"), "HTTP/1.1 200 ", "four"),
        (post("/", 5, "fives"), "HTTP/1.1 413 ", ""),
        (
            "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfives\r\n0\r\n\r\n".to_owned(),
            "HTTP/1.1 413 ",
            "",
        ),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let answer = answer(stream, &request).await;
        assert!(answer.starts_with(status), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
    }
}

/// Time is that of the test: it passes when nothing else can happen.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let (address, _, _end, _) = start(None).await;
    let silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(answer(silent, "").await, "");
    let silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(answer(silent, "POST / HTTP/1.1\r\n").await, "");
    let slow = TcpStream::connect(address).await.unwrap();
    let answer = answer(slow, &post("/", 4, "f")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn what_is_under_way_is_finished() {
    let (address, steps, end, serve) = start(None).await;
    let idle = TcpStream::connect(address).await.unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let request = "POST /wait HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nfour";
    let waiting = tokio::spawn(answer(stream, request));
    steps.begun.notified().await;
    end.send_replace(true);
    // A connection without a request is closed, and there are no new ones.
    assert_eq!(answer(idle, "").await, "");
    steps.go_on.notify_one();
    let answer = waiting.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serve.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn tls_1_2_and_1_3_and_no_handshake_without_a_certificate() {
    let made = rcgen::generate_simple_self_signed(vec!["host.test".to_owned()]).unwrap();
    let served = Arc::new(Served::default());
    let (address, _, _end, _) = start(Some(tls(Arc::clone(&served) as _).unwrap())).await;
    let connect = async |version: &'static SupportedProtocolVersion| {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("host.test").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    };
    assert!(connect(&TLS13).await.is_err());
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let pair = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).unwrap();
    *served.0.lock().unwrap() = Some(Arc::new(pair));
    for version in [&TLS12, &TLS13] {
        let answer = answer(connect(version).await.unwrap(), &post("/", 4, "four")).await;
        assert!(answer.ends_with("\r\n\r\nfour"), "{answer}");
    }
}
