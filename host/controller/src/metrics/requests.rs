//! `rest_client_requests_total`: a layer around the client that counts what is answered, labelled as
//! client-go does it.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use prometheus::IntCounterVec;
use tower::{Layer, Service};

/// Instead of a status code, where there was no answer.
const NO_ANSWER: &str = "<error>";

/// Counts requests to one host.
#[derive(Debug, Clone)]
pub(crate) struct CountRequests {
    total: IntCounterVec,
    host: String,
}

impl CountRequests {
    pub(super) fn new(total: IntCounterVec, host: String) -> Self {
        Self { total, host }
    }

    pub(super) fn count(&self, code: &str, method: &str) {
        self.total
            .with_label_values(&[code, &self.host, method])
            .inc();
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            count: self.clone(),
        }
    }
}

/// A client whose requests are counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted<S> {
    inner: S,
    count: CountRequests,
}

impl<S, Q, A> Service<Request<Q>> for Counted<S>
where
    S: Service<Request<Q>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let mut pending = Pending {
            count: self.count.clone(),
            method: request.method().clone(),
            answered: false,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(response) = &answer {
                pending.answered = true;
                pending
                    .count
                    .count(response.status().as_str(), pending.method.as_str());
            }
            answer
        })
    }
}

/// A request that is under way. One that is given up, because nobody answers in time, counts as
/// unanswered.
struct Pending {
    count: CountRequests,
    method: http::Method,
    answered: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answered {
            self.count.count(NO_ANSWER, self.method.as_str());
        }
    }
}
