use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;

use super::*;

/// A client that notes what reaches it and never answers writes.
fn client(reached: Arc<Mutex<Vec<String>>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let reached = Arc::clone(&reached);
        async move {
            let line = format!("{} {}", request.method(), request.uri().path());
            reached.lock().unwrap().push(line);
            if request.method() == "PATCH" {
                std::future::pending::<()>().await;
            }
            Ok::<_, tower::BoxError>(http::Response::new(Body::empty()))
        }
    });
    Client::new(service, "default")
}

fn request(method: &str, uri: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri);
    request.body(Body::empty()).unwrap()
}

fn is_not_leading(answer: kube::Result<http::Response<Body>>) -> bool {
    matches!(answer, Err(kube::Error::Service(source)) if source.is::<NotLeading>())
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_only_reads_and_questions_pass() {
    let reached = Arc::default();
    let (_lead, gate) = Gate::new(Lead::No);
    let client = gate.guard(client(Arc::clone(&reached)));
    for (method, uri) in [
        ("PATCH", "/api/v1/nodes/a"),
        ("POST", "/apis/events.k8s.io/v1/namespaces/default/events"),
        ("DELETE", "/api/v1/nodes/a"),
    ] {
        assert!(is_not_leading(client.send(request(method, uri)).await));
    }
    let review = "/apis/authentication.k8s.io/v1/tokenreviews";
    client.send(request("GET", "/api/v1/nodes")).await.unwrap();
    client.send(request("POST", review)).await.unwrap();
    let expected = ["GET /api/v1/nodes".to_owned(), format!("POST {review}")];
    assert_eq!(*reached.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_write_under_way_is_cut_off_when_the_time_is_over() {
    let reached = Arc::default();
    let start = Instant::now();
    let end = start + Duration::from_secs(10);
    let (lead, gate) = Gate::new(Lead::Until { end, term: 1 });
    let client = gate.guard(client(Arc::clone(&reached)));
    let renewed = async {
        tokio::time::sleep(Duration::from_secs(8)).await;
        let end = end + Duration::from_secs(8);
        lead.send_replace(Lead::Until { end, term: 1 });
    };
    let patch = client.send(request("PATCH", "/api/v1/nodes/a"));
    let (answer, ()) = tokio::join!(patch, renewed);
    assert!(is_not_leading(answer));
    assert_eq!(start.elapsed().as_secs(), 18, "a renewal counts");
    assert!(is_not_leading(
        client.send(request("PATCH", "/api/v1/nodes/b")).await
    ));
    assert_eq!(*reached.lock().unwrap(), ["PATCH /api/v1/nodes/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_does_not_outlive_its_term() {
    let reached = Arc::default();
    let end = Instant::now() + Duration::from_secs(60);
    let (lead, gate) = Gate::new(Lead::Until { end, term: 1 });
    let client = gate.guard(client(reached));
    let next_term = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lead.send_replace(Lead::Until { end, term: 2 });
    };
    let patch = client.send(request("PATCH", "/api/v1/nodes/a"));
    let (answer, ()) = tokio::join!(patch, next_term);
    assert!(is_not_leading(answer));
}
