//! `/metrics`: over TLS to whoever may read it, or in the clear to everybody.

mod access;

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use kube::Client;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::certificates::{CertificateError, Files, Pair, Served};
use crate::options::{Metrics, MetricsCertificate};
use crate::shared::Shared;
use access::{Access, Reviews};
use serve::Server;

/// Every version of Prometheus reads it, and it is the only one in which the name of a gauge may end
/// as the Go controller's does.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address cannot be served.
    #[error(
        "metrics cannot be served at {address}: {error}; --metrics-bind-address gives another, 0 none"
    )]
    Address {
        /// As given.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is no certificate, or none that can be used.
    #[error("the metrics have no {0}; leave --metrics-cert-dir out for a self-signed one")]
    Certificate(#[from] CertificateError),
    /// The TLS library refuses its own defaults: a defect.
    #[error("the metrics have no TLS: {0}; please report this")]
    Tls(String),
}

/// A port that is bound, and the certificate that it is served with.
pub(crate) struct Bound {
    server: Server,
    secure: bool,
    /// The files to look at again, and who serves them.
    files: Option<(Files, Arc<Served>)>,
}

impl Bound {
    /// Needs no cluster, so that a missing certificate is known at once.
    pub(crate) async fn new(options: Metrics) -> Result<Self, MetricsError> {
        let Metrics {
            address,
            certificate,
        } = options;
        let server = Server::bind(address)
            .await
            .map_err(|error| MetricsError::Address { address, error })?;
        let Some(certificate) = certificate else {
            return Ok(Self {
                server,
                secure: false,
                files: None,
            });
        };
        let served = Arc::new(Served::default());
        let config = serve::tls(Arc::clone(&served) as _)
            .map_err(|error| MetricsError::Tls(error.to_string()))?;
        let files = match certificate {
            MetricsCertificate::Folder(folder) => Some((Files::load(&folder)?, served)),
            MetricsCertificate::SelfSigned => {
                served.set(&self_signed().map_err(MetricsError::Tls)?);
                None
            }
        };
        Ok(Self {
            server: server.with_tls(config),
            secure: true,
            files,
        })
    }

    /// Answers until `end` is true.
    pub(crate) async fn serve(
        self,
        shared: Arc<Shared>,
        reviews: Client,
        end: watch::Receiver<bool>,
    ) {
        if let Ok(address) = self.server.address() {
            info!(%address, tls = self.secure, "metrics are served");
        }
        let reviews = self.secure.then(|| Arc::new(Reviews::new(reviews)));
        let answer = move |request| answer(Arc::clone(&shared), reviews.clone(), request);
        let keep_certificate = async {
            match self.files {
                Some((files, served)) => files.watch(served).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.server.serve(answer, end) => {}
            () = keep_certificate => {}
        }
    }
}

/// For this process alone: whoever scrapes it must not verify it, as with the Go controller.
fn self_signed() -> Result<Pair, String> {
    let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .and_then(|parameters| parameters.self_signed(&key))
        .map_err(|error| error.to_string())?;
    Pair::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
}

async fn answer(
    shared: Arc<Shared>,
    reviews: Option<Arc<Reviews>>,
    request: Request<Incoming>,
) -> Response<String> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "not found; there is /metrics\n");
    }
    if let Some(reviews) = reviews {
        match reviews.of(request.headers()).await {
            Access::Granted => {}
            Access::Unknown => {
                let mut response = plain(StatusCode::UNAUTHORIZED, "Unauthorized\n");
                let bearer = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
                return response;
            }
            Access::Denied(who) => {
                let text = format!(
                    "{who} may not get /metrics: grant the verb get on the non-resource URL /metrics\n"
                );
                return plain(StatusCode::FORBIDDEN, &text);
            }
            Access::Failed => {
                let text = "the API server could not be asked who you are; the log says why\n";
                return plain(StatusCode::INTERNAL_SERVER_ERROR, text);
            }
        }
    }
    // With a thousand rules it takes a while; no node shall wait for it.
    let scraped = tokio::task::spawn_blocking(move || shared.scrape()).await;
    let error = match scraped {
        Ok(Ok(text)) => {
            let mut response = Response::new(text);
            response.headers_mut().insert(CONTENT_TYPE, FORMAT);
            return response;
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!(error, "the metrics could not be printed");
    let text = "the metrics could not be printed; the log says why\n";
    plain(StatusCode::INTERNAL_SERVER_ERROR, text)
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}
