//! A limit on requests, as `--kube-api-qps` and `--kube-api-burst` ask for it: a token bucket.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::client::Body;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// So many requests at once, and so many in each second after that.
#[derive(Debug)]
pub(crate) struct Limit {
    per_second: f64,
    burst: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Requests that may begin at once.
    tokens: f64,
    /// When that was so.
    at: Instant,
}

impl Limit {
    /// A full bucket. `per_second` is positive, `burst` at least 1.
    pub(crate) fn new(per_second: f64, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        let bucket = Bucket {
            tokens: burst,
            at: Instant::now(),
        };
        Self {
            per_second,
            burst,
            bucket: Mutex::new(bucket),
        }
    }

    /// The same client behind the limit. Watches pass.
    pub(crate) fn guard(self, client: Client) -> Client {
        let limit = Arc::new(self);
        let namespace = client.default_namespace().to_owned();
        let limited = tower::service_fn(move |request: http::Request<Body>| {
            let (client, limit) = (client.clone(), Arc::clone(&limit));
            async move {
                if !is_watch(&request) {
                    limit.wait().await;
                }
                Ok::<_, tower::BoxError>(client.send(request).await?)
            }
        });
        Client::new(limited, namespace)
    }

    /// Waits until a request may begin. First come, first served; who gives up takes nothing.
    pub(crate) async fn wait(&self) {
        let mut bucket = self.bucket.lock().await;
        loop {
            let now = Instant::now();
            let added = now.duration_since(bucket.at).as_secs_f64() * self.per_second;
            (bucket.tokens, bucket.at) = ((bucket.tokens + added).min(self.burst), now);
            if bucket.tokens >= 1.0 {
                bucket.tokens -= 1.0;
                return;
            }
            let missing = (1.0 - bucket.tokens) / self.per_second;
            // Rounded up: a wait that ends too early would be followed by one of nothing.
            let wait = Duration::try_from_secs_f64(missing).unwrap_or(Duration::MAX);
            sleep(wait.saturating_add(Duration::from_millis(1))).await;
        }
    }
}

fn is_watch(request: &http::Request<Body>) -> bool {
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    parameters.any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_at_once_and_then_so_many_in_a_second() {
        let limit = Limit::new(10.0, 5);
        let start = Instant::now();
        for _ in 0..5 {
            limit.wait().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "the burst");
        for _ in 0..20 {
            limit.wait().await;
        }
        let two_seconds = start.elapsed().as_secs_f64();
        assert!((2.0..2.1).contains(&two_seconds), "{two_seconds}");
        sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..6 {
            limit.wait().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(100), "saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn it_holds_up_all_but_watches() {
        let service = tower::service_fn(|_: http::Request<Body>| async {
            Ok::<_, tower::BoxError>(http::Response::new(Body::empty()))
        });
        let client = Limit::new(1.0, 1).guard(Client::new(service, "default"));
        let request = |uri: &str| http::Request::get(uri).body(Body::empty()).unwrap();
        let start = Instant::now();
        for _ in 0..10 {
            let watch = "/api/v1/nodes?allowWatchBookmarks=true&watch=true";
            client.send(request(watch)).await.unwrap();
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..4 {
            client.send(request("/version")).await.unwrap();
        }
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nothing() {
        let limit = Limit::new(0.01, 1);
        limit.wait().await;
        let start = Instant::now();
        for _ in 0..3 {
            let given_up = tokio::time::timeout(Duration::from_secs(30), limit.wait()).await;
            assert!(given_up.is_err());
        }
        limit.wait().await;
        assert!(start.elapsed() < Duration::from_secs(101));
    }
}
