//! Endpoints that hang, never end, or speak TLS.

use cluster_tests::endpoint::{Answer, Endpoint};
use cluster_tests::webhook::Authority;
use cluster_tests::{Reporter, Settings};

use crate::{FALCO, NODE, cluster, until_asked};

/// What a container of the reporter may have.
const LIMIT_KIB: u64 = 32 * 1024;

#[tokio::test]
async fn compat_048_an_answer_without_an_end_takes_no_memory() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.answer(Answer::Endless(200));
    let url = endpoint.url("/");
    let settings = Settings::new(NODE, &url, FALCO).set("CHECK_INTERVAL", "100ms");
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    endpoint.answer(Answer::Endless(503));
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let expected = format!(
        "Endpoint returned non-2xx status code 503 at {url}: {}",
        "x".repeat(1024)
    );
    assert_eq!(condition.message, Some(expected));
    until_asked(&endpoint, 20).await;
    let peak = control_plane::peak_memory_kib(reporter.pid()).unwrap();
    assert!(peak < LIMIT_KIB, "{peak} KiB");
    reporter.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_048_who_does_not_answer_is_given_up() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.answer(Answer::Hang);
    let url = endpoint.url("/");
    let _reporter = Reporter::start(&cluster, &Settings::new(NODE, &url, FALCO)).unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("EndpointConnectionError"));
    let expected = format!("Failed to reach endpoint {url}: no answer within 10 s");
    assert_eq!(condition.message, Some(expected));
    endpoint.set_ready(true);
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();

    // What came of a body that stops is what there is to say.
    endpoint.answer(Answer::Stuck(503, "waiting for".into()));
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("EndpointNotReady"));
    let expected = format!("Endpoint returned non-2xx status code 503 at {url}: waiting for");
    assert_eq!(condition.message, Some(expected));
}

#[tokio::test]
async fn compat_048_an_https_endpoint_shows_a_certificate_that_is_trusted() {
    let cluster = cluster().await;
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let endpoint = Endpoint::start_tls(&authority.sign(1).unwrap())
        .await
        .unwrap();
    endpoint.set_ready(true);
    let file = cluster.plane.folder().join("endpoint-ca.pem");
    std::fs::write(&file, &other.pem).unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    // By the authorities that are built in.
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let message = condition.message.unwrap();
    assert!(
        message.contains("invalid peer certificate: UnknownIssuer"),
        "{message}"
    );
    reporter.terminate().await.unwrap();

    // By a file, whose authority is exchanged.
    let settings = settings.set("CHECK_CA_FILE", file.to_str().unwrap());
    let mut reporter = Reporter::start(&cluster, &settings.clone().argument("-v=4")).unwrap();
    reporter
        .until_logged("invalid peer certificate")
        .await
        .unwrap();
    std::fs::write(&file, &authority.pem).unwrap();
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    reporter.terminate().await.unwrap();

    let expired = Endpoint::start_tls(&authority.sign(-1).unwrap())
        .await
        .unwrap();
    let settings = settings.set("CHECK_ENDPOINT", expired.url("/"));
    let _reporter = Reporter::start(&cluster, &settings).unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let message = condition.message.unwrap();
    assert!(message.contains("certificate expired"), "{message}");
}
