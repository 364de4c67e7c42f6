//! `/healthz` and `/readyz`: the process lives and serves. Neither depends on the cluster, so that
//! an API server that is away does not restart everybody who waits for it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tracing::info;

/// Before connections are accepted again after an error.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds the address and returns the work of serving it.
pub(crate) async fn serve(address: SocketAddr) -> std::io::Result<impl Future<Output = ()>> {
    let listener = TcpListener::bind(address).await?;
    info!(address = %listener.local_addr()?, "health probes are served");
    Ok(async move {
        loop {
            let Ok((connection, _)) = listener.accept().await else {
                // Out of descriptors, most likely: the next attempt at once would fail as well.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // The timer ends connections that never send a request.
            let serve = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(connection), service_fn(answer));
            tokio::spawn(serve);
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/healthz" | "/readyz" => (StatusCode::OK, "ok"),
        _ => (
            StatusCode::NOT_FOUND,
            "not found; there are /healthz and /readyz",
        ),
    };
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    Ok(response)
}
