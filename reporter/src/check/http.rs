//! Asking an HTTP endpoint.

use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, timeout_at};

use super::{Outcome, PATIENCE, READ, no_answer, ready, start};
use crate::connection::{self, Connection};
use crate::trust::Trust;

/// Redirects that are followed for one answer.
const REDIRECTS: usize = 10;

/// What did not work.
enum Failure {
    /// There is no request that could be sent.
    Request(String),
    /// There is no answer.
    Connection(String),
}

pub(super) async fn ask(endpoint: &str, url: &Uri, trust: &mut Trust) -> Outcome {
    let end = Instant::now() + PATIENCE;
    let answer = match timeout_at(end, answer(url, trust)).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::Connection(no_answer())),
    };
    let (_connection, answer) = match answer {
        Ok(answer) => answer,
        Err(Failure::Connection(why)) => return Outcome::unreachable(endpoint, &why),
        Err(Failure::Request(why)) => {
            let message = format!("Failed to create request for endpoint {endpoint}: {why}");
            return Outcome::failed("RequestCreationError", message);
        }
    };
    let status = answer.status();
    if status.is_success() {
        return Outcome::ready("EndpointOK", ready(endpoint));
    }
    let mut body = Vec::new();
    // What is there when it breaks off, or takes too long, is what there is to say.
    let _ = timeout_at(end, connection::read(answer.into_body(), &mut body, READ)).await;
    Outcome::unready(
        "EndpointNotReady",
        format!(
            "Endpoint returned non-2xx status code {} at {endpoint}: {}",
            status.as_u16(),
            start(&body)
        ),
    )
}

/// The answer, and the connection that its body comes from. Each check has a connection of its own:
/// whether new ones are accepted is part of the question.
async fn answer(url: &Uri, trust: &mut Trust) -> Result<(Connection, Response<Incoming>), Failure> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS {
        let (host, is_tls) = (
            url.host().unwrap_or_default(),
            url.scheme() == Some(&Scheme::HTTPS),
        );
        let port = connection::port(&url).map_err(Failure::Connection)?;
        let port = port.unwrap_or(if is_tls { 443 } else { 80 });
        let request = request(&url).map_err(Failure::Request)?;
        let tls = match is_tls {
            true => Some(trust.config().map_err(Failure::Connection)?),
            false => None,
        };
        let mut connection = Connection::open(host, port, tls)
            .await
            .map_err(Failure::Connection)?;
        let answer = connection
            .send(request)
            .await
            .map_err(Failure::Connection)?;
        match redirect(&url, &answer) {
            Some(next) => url = next,
            None => return Ok((connection, answer)),
        }
    }
    Err(Failure::Connection(format!(
        "more than {REDIRECTS} redirects"
    )))
}

fn request(url: &Uri) -> Result<Request<Full<Bytes>>, String> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let host = url.authority().map_or("", |authority| authority.as_str());
    Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, connection::USER_AGENT)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Full::default())
        .map_err(|error| error.to_string())
}

/// Where an answer sends us, if we go there.
fn redirect(from: &Uri, answer: &Response<Incoming>) -> Option<Uri> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    resolve(from, location).filter(|to| is_followed(from, to))
}

/// Only on the same host, as the kubelet does: an endpoint decides about itself, and about nobody
/// else. And never from https to http.
fn is_followed(from: &Uri, to: &Uri) -> bool {
    let is_http = to.scheme() == Some(&Scheme::HTTP);
    let is_https = to.scheme() == Some(&Scheme::HTTPS);
    let same_host = match (from.host(), to.host()) {
        (Some(from), Some(to)) => from.eq_ignore_ascii_case(to),
        _ => false,
    };
    same_host && (is_https || is_http && from.scheme() == Some(&Scheme::HTTP))
}

/// A reference as RFC 3986 resolves it, without `.` and `..`, which servers resolve as well.
fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    if has_scheme(reference) {
        return reference.parse().ok();
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let path = base.path();
    let text = if let Some(rest) = reference.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') || reference.is_empty() {
        format!("{scheme}://{authority}{path}{reference}")
    } else {
        let folder = path
            .rfind('/')
            .map_or("/", |end| path.get(..=end).unwrap_or("/"));
        format!("{scheme}://{authority}{folder}{reference}")
    };
    text.parse().ok()
}

fn has_scheme(reference: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(allowed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(base: &str, reference: &str) -> String {
        let base = base.parse().unwrap();
        let to = resolve(&base, reference).filter(|to| is_followed(&base, to));
        to.map_or("-".to_owned(), |to| to.to_string())
    }

    #[test]
    fn compat_048_redirects_stay_on_the_host() {
        let base = "http://agent:8765/a/b?q";
        for (reference, expected) in [
            ("/c", "http://agent:8765/c"),
            ("c", "http://agent:8765/a/c"),
            ("?x", "http://agent:8765/a/b?x"),
            ("/c?u=http://other/", "http://agent:8765/c?u=http://other/"),
            ("//agent/c#f", "http://agent/c"),
            ("http://AGENT:1/c", "http://AGENT:1/c"),
            ("https://agent/c", "https://agent/c"),
            ("http://agent.example/c", "-"),
            ("http://other/c", "-"),
            ("//other/c", "-"),
            ("http://agent@other/c", "-"),
            ("ftp://agent/c", "-"),
            ("http://", "-"),
        ] {
            assert_eq!(to(base, reference), expected, "{reference}");
        }
        assert_eq!(to("https://agent/", "http://agent/"), "-");
        assert_eq!(
            to("https://[::1]:1/", "https://[::1]:2/"),
            "https://[::1]:2/"
        );
    }
}
