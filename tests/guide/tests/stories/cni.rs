//! The network of a node.

use cluster_tests::endpoint::Endpoint;
use guide_tests::{Guide, taint_keys};

use serde_json::json;

use crate::{linux_worker, page, pod};

#[tokio::test]
async fn the_network_of_a_node() {
    let guide = Guide::start().await.unwrap();
    let calico = Endpoint::start().await.unwrap();
    let (mut page, shell) = page("cni-readiness", &guide.cluster);
    // Its kubelet says what it has, and waits for a network: it is not Ready.
    let node = linux_worker("worker-1", None);
    let node = guide.cluster.create_node(&node).await.unwrap();
    assert_eq!(taint_keys(&node), ["node.kubernetes.io/not-ready"]);
    let room = json!({"cpu": "2", "memory": "4Gi", "pods": "10"});
    let status = json!({"status": {"capacity": room, "allocatable": room}}).to_string();
    let patch = [
        "patch",
        "node",
        "worker-1",
        "--subresource=status",
        "--patch",
        &status,
    ];
    guide.cluster.plane.kubectl_ok(&patch).unwrap();
    let url = calico.url("");
    let replaced = [("http://localhost:9099", url.as_str())];
    let (tried, _reporter) = tokio::join!(
        page.section("Try it", &shell),
        pod::start_reporter(&guide, "cni-reporter", "worker-1", &replaced, &[])
    );
    tried.unwrap();
    calico.set_ready(true);
    page.section("When Calico answers", &shell).await.unwrap();
    let asked = calico.asked();
    assert!(asked.iter().all(|asked| asked.path == "/readiness"));
    calico.set_ready(false);
    page.section("When Calico fails", &shell).await.unwrap();
    page.end().unwrap();
}
