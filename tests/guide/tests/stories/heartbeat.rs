//! A policy that looks at the node's lease.

use guide_tests::Guide;

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
    drop(guide.kwok);
    page.section("A kubelet that stops", &shell).await.unwrap();
    page.end().unwrap();
}
