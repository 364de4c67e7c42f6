//! `/healthz` and `/readyz`: the process lives and serves. Neither depends on the cluster, so that
//! an API server that is away does not restart everybody who waits for it.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

/// Answers a probe.
pub(crate) async fn answer(request: Request<Incoming>) -> Response<String> {
    let (status, text) = match request.uri().path() {
        "/healthz" | "/readyz" => (StatusCode::OK, "ok"),
        _ => (
            StatusCode::NOT_FOUND,
            "not found; there are /healthz and /readyz",
        ),
    };
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}
