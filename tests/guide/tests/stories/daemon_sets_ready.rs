//! A policy that looks at the DaemonSets that should run on a node.

use guide_tests::Guide;

use crate::{linux_worker, page};

#[tokio::test]
async fn a_node_is_held_until_each_of_its_daemon_sets_runs() {
    let mut guide = Guide::start_without_host().await.unwrap();
    guide.cluster.install_policies().await.unwrap();
    guide.host = Some(guide.cluster.start_host().await.unwrap());
    guide.join(&linux_worker("worker-1", None)).await.unwrap();
    let (mut page, shell) = page("daemon-sets-ready", &guide.cluster);
    for section in [
        "The policy and the rule",
        "The DaemonSets",
        "Without a host",
    ] {
        page.section(section, &shell).await.unwrap();
    }
    page.end().unwrap();
}
