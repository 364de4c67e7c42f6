//! Drivers of storage and GPUs.

use std::net::TcpListener;

use cluster_tests::endpoint::Endpoint;
use guide_tests::Guide;

use crate::{linux_worker, page, pod};

#[tokio::test]
async fn the_drivers_of_a_node() {
    let guide = Guide::start().await.unwrap();
    let storage = Endpoint::start().await.unwrap();
    // An address of its own, so that nobody else takes the port while it is free.
    let listener = TcpListener::bind("127.0.77.1:0").unwrap();
    let gpu = listener.local_addr().unwrap();
    drop(listener);
    let (mut page, shell) = page("driver-readiness", &guide.cluster);
    let node = linux_worker("worker-1", Some(("example.com/accelerator", "gpu")));
    guide.join(&node).await.unwrap();
    let (http, tcp) = (storage.url(""), format!("tcp://{gpu}"));
    let replaced = [
        ("http://localhost:9808", http.as_str()),
        ("tcp://localhost:5555", tcp.as_str()),
    ];
    let (tried, _reporter) = tokio::join!(
        page.section("Try it", &shell),
        pod::start_reporter(&guide, "driver-reporter", "worker-1", &replaced, &[])
    );
    tried.unwrap();
    storage.set_ready(true);
    page.section("When the storage driver answers", &shell)
        .await
        .unwrap();
    let engine = TcpListener::bind(gpu).unwrap();
    page.section("When the GPU's host engine listens", &shell)
        .await
        .unwrap();
    drop(engine);
    page.section("When the host engine is gone", &shell)
        .await
        .unwrap();
    page.end().unwrap();
}
