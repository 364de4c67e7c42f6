//! A policy that looks at the agent's pod.

use guide_tests::Guide;

use crate::{linux_worker, page};

#[tokio::test]
async fn a_pod_waits_for_its_nodes_agent_and_nobody_reports() {
    let mut guide = Guide::start_without_host().await.unwrap();
    guide.cluster.install_policies().await.unwrap();
    guide.host = Some(guide.cluster.start_host().await.unwrap());
    guide.join(&linux_worker("worker-1", None)).await.unwrap();
    let (mut page, shell) = page("pods-ready", &guide.cluster);
    for section in ["The policy and the rule", "The agent", "Without a host"] {
        page.section(section, &shell).await.unwrap();
    }
    page.end().unwrap();
}
