//! A policy that looks at the node's lease.

use guide_tests::{Guide, History, condition, taint_keys};
use k8s_openapi::api::core::v1::Node;

use crate::{linux_worker, page};

#[tokio::test]
async fn a_node_is_held_when_its_kubelet_renews_its_lease_no_more() {
    let mut guide = Guide::start_without_host().await.unwrap();
    guide.cluster.install_policies().await.unwrap();
    guide.host = Some(guide.cluster.start_host().await.unwrap());
    guide.join(&linux_worker("worker-1", None)).await.unwrap();
    let (mut page, shell) = page("heartbeat", &guide.cluster);
    for section in ["The policy and the rule", "Without a host"] {
        page.section(section, &shell).await.unwrap();
    }
    let history = History::of_node(guide.cluster.client.clone(), "worker-1");
    let history = history.await.unwrap();
    drop(guide.kwok);
    page.section("A kubelet that stops", &shell).await.unwrap();
    page.end().unwrap();
    // By its lease alone, and sooner than the cluster takes it for lost.
    let taint = "readiness.k8s.io/alive";
    let is_held = |node: &Node| taint_keys(node).iter().any(|key| key == taint);
    let versions = history.until("the node is held", is_held).await.unwrap();
    let ready = versions.last().and_then(|node| condition(node, "Ready"));
    assert_eq!(ready, Some("True"), "when {taint} came");
}
