//! A policy that looks at the CSI drivers of a node.

use guide_tests::Guide;

use crate::{linux_worker, page};

#[tokio::test]
async fn a_node_is_held_until_the_driver_of_its_volumes_is_registered() {
    let mut guide = Guide::start_without_host().await.unwrap();
    guide.cluster.install_policies().await.unwrap();
    guide.host = Some(guide.cluster.start_host().await.unwrap());
    guide.join(&linux_worker("worker-1", None)).await.unwrap();
    let (mut page, shell) = page("csi-ready", &guide.cluster);
    for section in ["The policy and the rule", "The driver", "Without a host"] {
        page.section(section, &shell).await.unwrap();
    }
    page.end().unwrap();
}
