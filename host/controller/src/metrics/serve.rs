//! `/metrics`, over plain HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::shared::Shared;

/// Every version of Prometheus reads it, and it is the only one in which the name of a gauge may end
/// as the Go controller's does.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Before connections are accepted again after an error.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds the address and returns the work of serving what `shared` knows.
pub(crate) async fn serve(
    address: SocketAddr,
    shared: Arc<Shared>,
) -> std::io::Result<impl Future<Output = ()>> {
    let listener = TcpListener::bind(address).await?;
    info!(address = %listener.local_addr()?, "metrics are served");
    Ok(async move {
        loop {
            let Ok((connection, _)) = listener.accept().await else {
                // Out of descriptors, most likely: the next attempt at once would fail as well.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // The timer ends connections that never send a request.
            let serve = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(connection), service);
            tokio::spawn(serve);
        }
    })
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    let plain = |status: StatusCode, text: &str| {
        let mut response = Response::new(text.to_owned());
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return Ok(plain(
            StatusCode::NOT_FOUND,
            "not found; there is /metrics\n",
        ));
    }
    // With a thousand rules it takes a while; no node shall wait for it.
    let scraped = tokio::task::spawn_blocking(move || shared.scrape()).await;
    let error = match scraped {
        Ok(Ok(text)) => {
            let mut response = Response::new(text);
            response.headers_mut().insert(CONTENT_TYPE, FORMAT);
            return Ok(response);
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!(error, "the metrics could not be printed");
    Ok(plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the metrics could not be printed; the log says why\n",
    ))
}
