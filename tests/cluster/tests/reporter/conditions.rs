//! What it writes, and when.

use cluster_tests::endpoint::{Answer, Endpoint};
use cluster_tests::{Cluster, Reporter, Settings, worker};

const FALCO: &str = "falco.org/FalcoReady";

#[tokio::test]
async fn compat_048_an_answer_becomes_a_condition() {
    let cluster = Cluster::start().await.unwrap();
    cluster
        .create_node(&worker("worker-1", false))
        .await
        .unwrap();
    let endpoint = Endpoint::start().await.unwrap();
    let url = endpoint.url("/healthz");
    let reporter = Reporter::start(&cluster, &Settings::new("worker-1", &url, FALCO)).unwrap();
    let condition = cluster.until_condition("worker-1", FALCO, "False").await;
    let condition = condition.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("EndpointNotReady"));
    let expected = format!("Endpoint returned non-2xx status code 503 at {url}: starting");
    assert_eq!(condition.message, Some(expected));

    endpoint.answer(Answer::new(204, ""));
    let condition = cluster.until_condition("worker-1", FALCO, "True").await;
    let condition = condition.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("EndpointOK"));
    let expected = format!("Endpoint reports ready at {url}");
    assert_eq!(condition.message, Some(expected));

    drop(endpoint);
    let condition = cluster.until_condition("worker-1", FALCO, "False").await;
    let condition = condition.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("EndpointConnectionError"));
    let expected = format!("Failed to reach endpoint {url}: cannot connect to ");
    assert!(condition.message.unwrap().starts_with(&expected));
    reporter.terminate().await.unwrap();
}
